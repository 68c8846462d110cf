/* The engine from inside: one struct at the start of the caller's memory.
 *
 * engine.c lays the memory out and walks the layers; attention.c and
 * feed_forward.c are the two halves of a layer; vector.c is what both do to a
 * vector before and after a matrix, cache.c what stays of it for later tokens. Read
 * them in that order.
 *
 * A vector that comes out of a matrix is "raw": int32 steps whose worth is one
 * ruvm_real for the whole vector. Only the residual stream has a fixed unit.
 */
#ifndef RUVM_CORE_ENGINE_H
#define RUVM_CORE_ENGINE_H

#include "formats/ruvm_read.h"
#include "kernels/kernels.h"
#include "lib/core/cache.h"
#include "lib/core/fixed.h"
#include "lib/core/mask.h"
#include "lib/ruvm.h"

/* A build for a chip leaves out what only workstations ask for, threads, masks and panels: an
 * engine with these is then RUVM_ERR_UNSUPPORTED. */
#ifndef RUVM_CORE_SMALL
#define RUVM_CORE_SMALL 0
#endif

enum { RUVM_MAX_BLOCK = 64, RUVM_DEFAULT_BLOCK = 8, RUVM_MAX_HEAD_DIM = 2048 };

/* Quantized vectors are padded with zeros to whole numbers of these columns, and consist
 * of whole numbers of them: kernels of packed weights go by 32. */
enum { RUVM_X_ALIGN = 32 };

/* The gated vector has outliers, so it is quantized in up to eight groups, each with its
 * own scale: on stories260K that halves its share of the loss. The input of the head has
 * two where the model is so narrow that every bit shows and the head so small that it
 * costs nothing. The input of a TERNARY or XNOR matrix has one. */
enum {
    RUVM_MAX_GROUPS = 8,
    RUVM_MIN_GROUP = 32,
    RUVM_HEAD_GROUP = 32,
    RUVM_NARROW_DIM = 64,
};
_Static_assert(RUVM_NARROW_DIM / RUVM_HEAD_GROUP <= RUVM_MAX_GROUPS,
               "x_unit has room for the groups of the head's input");
_Static_assert((int)RUVM_MAX_GROUPS <= (int)RUVM_PANELS_MAX_PARTS,
               "kernels with panels take all groups together");
_Static_assert(RUVM_MIN_GROUP % RUVM_X_ALIGN == 0 && RUVM_HEAD_GROUP % RUVM_X_ALIGN == 0,
               "groups begin at whole columns of the kernels");

/* A token of the block at hand. */
struct ruvm_block_row {
    struct ruvm_engine *of; /* whose text it belongs to: its position and caches */
    uint32_t position;      /* there */
    uint16_t token;
    int32_t *logits;         /* [vocab] where they are wanted, or NULL */
    struct ruvm_real q_unit; /* worth of a step of its queries */
};

struct ruvm_engine {
    struct ruvm_image img;
    const struct ruvm_parallel *parallel; /* of the options, or NULL */
    struct ruvm_engine *views;            /* [n_parts - 1] of the other threads: parallel.h */

    const struct ruvm_kernels *k;
    const uint8_t *const *panels; /* [img.n_tensors] of the options, or NULL */
    uint32_t context, block;      /* positions and prompt tokens there is room for */
    uint32_t position;            /* tokens in the context */
    uint32_t end;                 /* position after the rows of the call at hand */
    struct ruvm_mask mask;
    uint32_t slots;              /* positions that the caches keep: context, or fewer */
    uint32_t written;            /* slots hold the newest positions below this one */
    uint32_t q_dim, kv_dim;      /* n_heads * head_dim, n_kv_heads * head_dim */
    uint32_t x_stride;           /* bytes of one quantized vector */
    uint32_t sign_stride;        /* bytes of its packed signs; 0: no matrix is XNOR */
    uint32_t head_group;         /* columns of a group of the head's input */
    uint32_t group;              /* columns of a group of the gated vector */
    uint32_t work_ints;          /* capacity of work */
    struct ruvm_real inv_dim;    /* 1 / dim */
    struct ruvm_real score_unit; /* log2(e) times the scale of the scores */
    struct ruvm_block_row *rows; /* [block] */
    int32_t *residual;           /* [block, dim] unit 2^resid_exp */
    int32_t *layer_input;        /* the same, or what it was before a parallel layer */
    int32_t *work;               /* [work_ints] raw outputs of a block's matrix */
    int32_t *vector;             /* [max(dim, hidden)] one token's before quantizing */
    int8_t *levels;              /* [dim] a row of embedding or positions; when packed */
    int8_t *x;                   /* [block, x_stride] quantized inputs of a matrix */
    struct ruvm_real *x_unit;    /* [block, RUVM_MAX_GROUPS] worth of one step of x */
    uint8_t *signs;              /* [block, sign_stride] of x, packed as a BINARY row */
    struct ruvm_real *sign_unit; /* [block] mean magnitude of x: worth of a sign */
    int16_t *rope;               /* [block, rope_dims]: cosines, then sines, Q14 */
    int16_t *query;              /* [head_dim] */
    int32_t *scores;             /* [slots] */
    uint16_t *weights;           /* [slots] */
    int32_t *mixed;              /* [head_dim] */
    int64_t *mixed_sum;          /* [head_dim] */
    int32_t *logits;             /* [vocab] Q16 */
    struct ruvm_cache keys;      /* of layers * n_kv_heads heads, after rotation */
    struct ruvm_cache values;
};

/* Their sizes on a processor of 32 bits, so that a workstation can say what an engine takes on
 * a chip. */
enum { RUVM_ENGINE_BYTES_32 = 340, RUVM_BLOCK_ROW_BYTES_32 = 24 };
_Static_assert(sizeof(void *) != 4 || (sizeof(struct ruvm_engine) == RUVM_ENGINE_BYTES_32 &&
                                       sizeof(struct ruvm_block_row) == RUVM_BLOCK_ROW_BYTES_32),
               "the sizes above are those of the structs: correct them");

/* The threads that share the work; NULL: the caller does all of it. */
static inline const struct ruvm_parallel *ruvm_engine_parallel(const struct ruvm_engine *e)
{
    return RUVM_CORE_SMALL ? NULL : e->parallel;
}

static inline bool ruvm_engine_is_far(const struct ruvm_engine *e)
{
    return ruvm_panels_are_far(e->img.size);
}

/* n values as quantized vectors store them. */
static inline uint32_t ruvm_vector_padded(uint32_t n)
{
    return (n + RUVM_X_ALIGN - 1) & ~(RUVM_X_ALIGN - 1u);
}

/* Columns of a group of the input of w: `usual`, or all when its type takes x whole. */
static inline uint32_t ruvm_vector_group(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                                         uint32_t usual)
{
    return w->type == RUVM_TYPE_TERNARY || w->type == RUVM_TYPE_XNOR ? e->x_stride : usual;
}

/* A part of a product of a matrix and the quantized vectors: which columns, from a
 * group's first one on, and which tokens. n_cols may reach beyond the last column. Where
 * there are panels, the first row is a multiple of RUVM_PANEL_ROWS. */
struct ruvm_part {
    uint32_t row; /* of the whole matrix, where the tensor at hand begins */
    uint32_t col, n_cols, token, n_tokens;
    int32_t *out; /* [n_tokens, out_stride] */
    uint32_t out_stride;
};

/* n rows of a matrix, from one on. */
struct ruvm_tensor ruvm_vector_rows(const struct ruvm_tensor *w, uint32_t row, uint32_t n);
/* The sums of that part, not yet scaled: out[t * out_stride + r]. */
void ruvm_vector_matmul(struct ruvm_engine *e, const struct ruvm_tensor *w,
                        const struct ruvm_part *p);
/* The sums of n matrices with x as one group, side by side: rows of all of them a token
 * in e->work. They follow each other in the image and have the same width. */
void ruvm_vector_matmul_all(struct ruvm_engine *e, const struct ruvm_tensor *w, uint32_t n,
                            uint32_t n_tokens);
/* Quantizes v[n] into x of token t (zero-padded as above) in groups of
 * `group` values, at most RUVM_MAX_GROUPS; unit: the worth of one step of v. */
void ruvm_vector_quantize(struct ruvm_engine *e, uint32_t t, const int32_t *v, uint32_t n,
                          uint32_t group, struct ruvm_real unit);
/* The layer's input of each of n tokens, normalised with gain and bias `norm` and quantized
 * into x in groups. */
void ruvm_vector_norm(struct ruvm_engine *e, uint32_t norm, uint32_t group, uint32_t n_tokens);
/* Applies a tensor's row scales to its sums with x of token t, which is one group, in place;
 * returns the worth of one step. */
struct ruvm_real ruvm_vector_rescale(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                                     int32_t *sums, uint32_t t);
/* Sums of a tensor's rows with one group of x, and the unit that they are wanted in. */
struct ruvm_sums {
    int32_t *v; /* anything, once they are used */
    uint32_t token, group;
    int32_t exp;   /* 2^exp */
    bool is_first; /* h holds nothing yet: they are added to 0 */
};
/* Adds them to h with the tensor's row scales. */
void ruvm_vector_add(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                     const struct ruvm_sums *s, int32_t *h);
/* Adds a bias, if there is one, to a vector; returns what a step is worth then. */
struct ruvm_real ruvm_vector_add_bias(const struct ruvm_engine *e, int32_t *v, struct ruvm_bias b,
                                      struct ruvm_real unit);
/* Multiplies x, quantized in groups of `group`, by w and adds the result and a bias to the
 * residual stream, for n tokens. */
void ruvm_vector_add_to_residual(struct ruvm_engine *e, const struct ruvm_tensor *w,
                                 struct ruvm_bias bias, uint32_t group, uint32_t n_tokens);

/* The same by the calling thread alone, whose view e is. */
void ruvm_vector_matmul_part(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                             const struct ruvm_part *p);

/* Layer l for the block's n tokens, as e->rows has them: their keys and values into the caches;
 * then, once those of all tokens of the block are there, attention and feed-forward. */
void ruvm_attention_prepare(struct ruvm_engine *e, uint32_t layer, uint32_t n_tokens);
void ruvm_attention_run(struct ruvm_engine *e, uint32_t layer, uint32_t n_tokens);
void ruvm_feed_forward_run(struct ruvm_engine *e, uint32_t layer, uint32_t n_tokens);
/* Fills e->rope for the block's positions. */
void ruvm_attention_rope(struct ruvm_engine *e, uint32_t n_tokens);

#endif
