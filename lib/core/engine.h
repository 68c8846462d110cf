/* The engine from inside: one struct at the start of the caller's memory.
 *
 * engine.c lays the memory out and walks the layers; attention.c and
 * feed_forward.c are the two halves of a layer; vector.c is what both do to a
 * vector before and after a matrix. Read them in that order.
 *
 * A vector that comes out of a matrix is "raw": int32 steps whose worth is one
 * ruvm_real for the whole vector. Only the residual stream has a fixed unit.
 */
#ifndef RUVM_CORE_ENGINE_H
#define RUVM_CORE_ENGINE_H

#include "formats/ruvm_read.h"
#include "kernels/kernels.h"
#include "lib/core/fixed.h"
#include "lib/ruvm.h"

enum { RUVM_MAX_BLOCK = 64, RUVM_DEFAULT_BLOCK = 8, RUVM_MAX_HEAD_DIM = 2048 };

/* The gated vector has outliers, so it is quantized in up to eight groups, each with its
 * own scale: on stories260K that halves its share of the loss. The input of the head has
 * two where the model is so narrow that every bit shows and the head so small that it
 * costs nothing. */
enum {
    RUVM_MAX_GROUPS = 8,
    RUVM_MIN_GROUP = 32,
    RUVM_HEAD_GROUP = 32,
    RUVM_NARROW_DIM = 64,
};
_Static_assert(RUVM_NARROW_DIM / RUVM_HEAD_GROUP <= RUVM_MAX_GROUPS,
               "x_unit has room for the groups of the head's input");
_Static_assert(RUVM_MIN_GROUP % RUVM_ROW_ALIGN == 0 && RUVM_HEAD_GROUP % RUVM_ROW_ALIGN == 0,
               "kernels take columns by 16");

struct ruvm_engine {
    struct ruvm_image img;
    const struct ruvm_kernels *k;
    uint32_t context, block;     /* positions and prompt tokens there is room for */
    uint32_t position;           /* tokens in the context */
    uint32_t q_dim, kv_dim;      /* n_heads * head_dim, n_kv_heads * head_dim */
    uint32_t x_stride;           /* bytes of one quantized vector */
    uint32_t head_group;         /* columns of a group of the head's input */
    uint32_t group;              /* columns of a group of the gated vector, a multiple of 16 */
    uint32_t work_ints;          /* capacity of work */
    struct ruvm_real inv_dim;    /* 1 / dim */
    struct ruvm_real score_unit; /* log2(e) / sqrt(head_dim) */
    int32_t *residual;           /* [block, dim] unit 2^resid_exp */
    int32_t *work;               /* [work_ints] raw outputs of a block's matrix */
    int32_t *vector;          /* [max(dim, hidden, q_dim)] one token's vector before quantizing */
    int8_t *x;                /* [block, x_stride] quantized inputs of a matrix */
    int16_t *rope;            /* [block, rope_dims]: cosines, then sines, Q14 */
    struct ruvm_real *x_unit; /* [block, RUVM_MAX_GROUPS] worth of one step of x */
    int16_t *query;           /* [head_dim] */
    int32_t *scores;          /* [context] */
    uint16_t *weights;        /* [context] */
    int32_t *mixed;           /* [head_dim] */
    int64_t *mixed_sum;       /* [head_dim] */
    int32_t *logits;          /* [vocab] Q16 */
    int8_t *keys;             /* [layers, n_kv_heads, context, head_dim] after rotation */
    int8_t *values;           /* [layers, n_kv_heads, context, head_dim] */
};

/* n values as quantized vectors store them: a whole number of 16. */
static inline uint32_t ruvm_vector_padded(uint32_t n)
{
    return (n + RUVM_ROW_ALIGN - 1) & ~(RUVM_ROW_ALIGN - 1u);
}

/* A part of a product of a matrix and the quantized vectors: which rows and columns, and
 * which tokens. n_cols may reach beyond the last column. */
struct ruvm_part {
    uint32_t row, n_rows, col, n_cols, token, n_tokens;
};

/* The sums of that part, not yet scaled: work[t * n_rows + r]. Rows may go on into the
 * tensors that follow w with the same width. */
void ruvm_vector_matmul(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                        const struct ruvm_part *p);
/* Quantizes v[n] into x of token t (zero-padded as above) in groups of
 * `group` values, at most RUVM_MAX_GROUPS; unit: the worth of one step of v. */
void ruvm_vector_quantize(struct ruvm_engine *e, uint32_t t, const int32_t *v, uint32_t n,
                          uint32_t group, struct ruvm_real unit);
/* Worth of one step of the x of token t, quantized as one group. */
static inline struct ruvm_real ruvm_vector_unit(const struct ruvm_engine *e, uint32_t t)
{
    return e->x_unit[(size_t)t * RUVM_MAX_GROUPS];
}
/* RMSNorm of the residual of each of n tokens by gain vector `norm`, quantized into x in
 * groups. */
void ruvm_vector_norm(struct ruvm_engine *e, uint32_t norm, uint32_t group, uint32_t n_tokens);
/* Applies a tensor's row scales to a sum in place; returns the worth of one step. */
struct ruvm_real ruvm_vector_rescale(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                                     int32_t *sums, struct ruvm_real x_unit);
/* Multiplies x, quantized in groups of `group`, by w and adds the result to the residual
 * stream, for n tokens. */
void ruvm_vector_add_to_residual(struct ruvm_engine *e, const struct ruvm_tensor *w, uint32_t group,
                                 uint32_t n_tokens);

/* The two halves of layer l for the block's n tokens at positions e->position.. */
void ruvm_attention_run(struct ruvm_engine *e, uint32_t layer, uint32_t n_tokens);
void ruvm_feed_forward_run(struct ruvm_engine *e, uint32_t layer, uint32_t n_tokens);
/* Fills e->rope for the block's positions. */
void ruvm_attention_rope(struct ruvm_engine *e, uint32_t n_tokens);

#endif
