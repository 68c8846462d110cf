/* Kernels: the arithmetic of the engine, one table of functions a machine.
 *
 * Every variant returns exactly the integers of the scalar one (the oracle, in
 * scalar.c): where this page says "sum" it is the exact mathematical sum, and
 * rounding is spelled out. So laptop = RISC-V = Xtensa, and tests compare
 * with ==. Kernels know arithmetic but no models: no allocation, no state.
 *
 * ">> n" of a negative number is an arithmetic shift (floor), as on every
 * compiler we use. Arrays do not overlap unless stated. The rows and inputs of a
 * matrix are 16-byte aligned; keys, values and all else only as their type asks.
 */
#ifndef RUVM_KERNELS_KERNELS_H
#define RUVM_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    RUVM_Q_MAX = 8191,    /* queries are quantized to +-RUVM_Q_MAX (14 bits) */
    RUVM_E_MAX = 16383,   /* softmax weights: 14 bits, unsigned */
    RUVM_MIX_BLOCK = 1024 /* positions a sum of mix may take: 1024 * 16383 * 127 < 2^31 */
};

/* y = W x for several x: out[v * out_stride + r] = sum over c of
 * w[r * row_bytes + c] * x[v * x_stride + c], c < n_cols.
 * n_cols is a multiple of 16 and <= row_bytes (rows are zero-padded); w is
 * -127..127 (never -128), x is -127..127; |sum| < 2^30 since n_cols <= 65536. */
struct ruvm_matmul {
    const int8_t *w; /* [n_rows, row_bytes] */
    const int8_t *x; /* [n_vecs, x_stride] */
    int32_t *out;    /* [n_vecs, out_stride] */
    uint32_t n_rows, n_cols, row_bytes;
    uint32_t n_vecs, x_stride, out_stride;
};

/* The same with packed weights (formats/ruvm_layout.h says how; w is the start of row 0):
 * out[v * out_stride + r] = sum over c of
 *     level(r, first_col + c) * multiplier(r, (first_col + c) / group) * x[v * x_stride + c]
 * for c < n_cols. first_col is a multiple of 32; first_col + n_cols is the number of
 * columns padded to 16, or less and then a multiple of 32. x is zero from the real columns
 * on, readable and zero up to n_cols rounded up to 32, and 16-byte aligned; w is 4-byte
 * aligned. |sum| < 2^30. group 0: no multipliers, mult is NULL.
 *   ternary: first_col is 0, n_cols the real columns; w has any alignment; group is 0.
 *   xnor: first_col is 0, n_cols the real columns, group 0. x is not numbers but packed
 *         signs, as a row of w is; out = n_cols - 2 * (bits in which row and x differ).
 * Nothing is read outside of the rows, the multipliers and x as described. */
struct ruvm_matmul_codes {
    const uint8_t *w;    /* [n_rows, row_bytes] */
    const uint8_t *mult; /* [n_rows, mult_bytes], or NULL */
    const int8_t *x;     /* [n_vecs, x_stride] of the columns from first_col on */
    int32_t *out;        /* [n_vecs, out_stride] */
    uint32_t n_rows, first_col, n_cols, row_bytes;
    uint32_t group, mult_bytes; /* group: 0, 16, 32 or 64 columns */
    uint32_t n_vecs, x_stride, out_stride;
};

/* Rows laid out as panels (panels.h): how many a panel has, and the bytes of one. */
enum {
    RUVM_PANEL_ROWS = 16,
    RUVM_PANEL_ALIGN = 64,
    RUVM_PANELS_MAX_COLS = 32768,
    RUVM_PANELS_MAX_PARTS = 8,
    RUVM_PANELS_FEW_VECS = 3 /* that are multiplied in less time than memory is read */
};
static inline uint32_t ruvm_panels_bytes(uint32_t row_bytes, uint32_t mult_bytes)
{
    uint32_t bytes = (row_bytes + mult_bytes) * RUVM_PANEL_ROWS;
    return (bytes + RUVM_PANEL_ALIGN - 1) & ~(RUVM_PANEL_ALIGN - 1u);
}

/* The weights of a larger image are in no cache any more when a token needs them again. */
enum { RUVM_NEAR_BYTES = 16 << 20 };
static inline int ruvm_panels_are_far(size_t image_bytes)
{
    return image_bytes > RUVM_NEAR_BYTES;
}

/* The same product with panels:
 * out[v * out_stride + r] = sum over c < n_cols of weight(r, first_col + c) *
 * x[v * x_stride + c], where a weight is an INT8 level, or with fewer bits that of INT4,
 * INT3, INT2 or BINARY times its multiplier. first_col is a multiple of 32, n_cols one of 16;
 * those of fewer bits have at most RUVM_PANELS_MAX_COLS columns. x need not be aligned.
 * With parts, part i has the columns from i * part_cols of x on, and its sums are behind those
 * of all vectors of the parts before it: out[(i * n_vecs + v) * out_stride + r]. */
struct ruvm_matmul_panels {
    const uint8_t *w; /* [ceil(n_rows / 16), panel_bytes] */
    const int8_t *x;  /* [n_vecs, x_stride] of the columns from first_col on */
    int32_t *out;     /* [parts, n_vecs, out_stride] */
    uint32_t bits;    /* 8, 4, 3, 2 or 1 */
    uint32_t n_rows, first_col, n_cols, panel_bytes;
    uint32_t part_cols;   /* a multiple of 32, for at most MAX_PARTS; 0: there is one */
    uint32_t group;       /* columns of a multiplier: 0, 16, 32 or 64 */
    uint32_t words_bytes; /* of a panel's weights; the others are multipliers */
    uint32_t n_vecs, x_stride, out_stride;
    uint32_t is_odd; /* 1: w is the second panel of a pair, if there are pairs (panels.h) */
    uint32_t is_far; /* 1: the weights come from memory, not a cache, and are laid out so */
};

/* How the inputs of swiglu are brought to 15 bits, and gate to an absolute unit. */
struct ruvm_swiglu {
    uint32_t up_down, gate_down; /* right shifts (floor) after which |.| <= 2^15 */
    uint32_t mult, shift; /* gate in Q12 = (gate15 * mult) >> shift; mult < 2^15, shift <= 30 */
};

/* The same for gelu, and which one. */
struct ruvm_gelu {
    uint32_t row; /* of ruvm_scalar_gelu in exact.h: 0 with tanh, 1 with erf */
    uint32_t down, mult, shift;
};

/* What is taken from a residual vector, and the shift of what is left: one of up and down
 * is 0. */
struct ruvm_centre {
    int32_t mean;
    uint32_t up, down;
};

/* How a rotated or plain vector becomes int8, ready for the cache. */
struct ruvm_to_cache {
    const uint16_t *inverse; /* [n] */
    const int16_t *zero;     /* [n], or NULL for none */
    uint32_t mult, shift;    /* mult < 2^31, 1 <= shift <= 62 */
};

/* Heads that are turned together: head h is v[h * head_dim ..). */
struct ruvm_turn {
    uint32_t n_heads, head_dim, n_pairs; /* n_pairs is 0, or at most head_dim / 2 */
    const int16_t *turn;                 /* [2 * n_pairs]: cosines, then sines */
    const uint16_t *scale; /* NULL, or head h has scale[(first + h) / share * head_dim ..) */
    uint32_t first, share;
};

/* What became of one of them. */
struct ruvm_turned {
    uint32_t down, largest;
};

/* How divide() is told to divide by a sum of softmax weights. */
struct ruvm_divisor {
    uint32_t down, inverse;
};

static inline struct ruvm_divisor ruvm_divisor_of(uint32_t total)
{
    uint32_t down = total >> 16 ? 16u - (uint32_t)__builtin_clz(total) : 0;
    return (struct ruvm_divisor){down, (1u << 31) / (total >> down)};
}

/* Attention of several queries over the cache of one head: arrays by query. */
enum { RUVM_ATTEND_QUERIES = 16, RUVM_ATTEND_MAX_DIM = 128 };
struct ruvm_attend {
    uint32_t n, head_dim;             /* queries, at least one; a multiple of 8 */
    const int8_t *keys, *values;      /* [largest n_pos, head_dim] */
    const uint16_t *scale;            /* [head_dim] of divide */
    int32_t *v[RUVM_ATTEND_QUERIES];  /* [head_dim] what narrow takes, then the result */
    uint32_t up[RUVM_ATTEND_QUERIES]; /* of narrow, and the next two */
    uint32_t down[RUVM_ATTEND_QUERIES];
    uint32_t narrow_mult[RUVM_ATTEND_QUERIES];
    uint32_t n_pos[RUVM_ATTEND_QUERIES]; /* positions it sees: 1 .. RUVM_MIX_BLOCK */
    uint32_t mult[RUVM_ATTEND_QUERIES];  /* of weights, and the next one */
    uint32_t shift[RUVM_ATTEND_QUERIES];
};

/* How sums of a matrix join a vector: scales of rows, and what is common to all. */
struct ruvm_addition {
    const uint16_t *scale;
    uint32_t mult, shift; /* mult < 2^31, 1 <= shift <= 62 */
    uint32_t is_first;    /* 1: what is added to is 0, whatever it holds */
};

struct ruvm_kernels {
    const char *name;       /* what --kernels takes */
    int (*available)(void); /* nonzero when this machine can run the table */
    uint8_t panel_zero;     /* what stands for 0 in its panels of INT8: 0 or 128 */
    uint8_t panel_pairs;    /* 1: its panels of BINARY are pairs (panels.h) */

    void (*matmul_s8)(const struct ruvm_matmul *m);
    void (*matmul_int4)(const struct ruvm_matmul_codes *m);
    void (*matmul_int3)(const struct ruvm_matmul_codes *m);
    void (*matmul_int2)(const struct ruvm_matmul_codes *m);
    void (*matmul_binary)(const struct ruvm_matmul_codes *m);
    void (*matmul_ternary)(const struct ruvm_matmul_codes *m);
    void (*matmul_xnor)(const struct ruvm_matmul_codes *m);
    void (*matmul_panels)(const struct ruvm_matmul_panels *m); /* NULL: panels do not help */

    /* Attention scores of one head: out[p] = sum over d of q[d] * k[p * stride + d].
     * |q| <= RUVM_Q_MAX, |k| <= 127, head_dim <= 2048 and even. */
    void (*scores)(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                   uint32_t head_dim, uint32_t stride);

    /* Softmax weights: e[p] = ruvm_exp2_weight(t) of exact.h with
     * t = ((max - s[p]) * mult) >> shift in 64 bits, where max is the largest s. Returns the sum of
     * e (< 2^30: n_pos <= 65535). e of the largest score is RUVM_E_MAX.
     * mult < 2^31, shift <= 62. */
    uint32_t (*weights)(uint16_t *e, const int32_t *s, uint32_t n_pos, uint32_t mult,
                        uint32_t shift);

    /* Weighted values: acc[d] += sum over p of e[p] * v[p * stride + d];
     * |v| <= 127; acc starts at 0 and takes RUVM_MIX_BLOCK positions at most, in one call
     * or several, so it never overflows. */
    void (*mix)(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos, uint32_t head_dim,
                uint32_t stride);

    /* What narrow, scores, weights, mix and divide with ruvm_divisor_of() the sum of the weights
     * make of each query with the first of its positions. NULL: it is no faster than those. */
    void (*attend)(const struct ruvm_attend *a);

    /* Brings each head to 14 bits and turns its first pairs: v[i] >>= down (floor), where
     * down leaves max |v| 14 bits; then for p < n_pairs, with c = turn[p],
     * s = turn[n_pairs + p], a = v[2p], b = v[2p + 1]: v[2p] = (a * c - b * s + 2^13) >> 14
     * and v[2p + 1] = (a * s + b * c + 2^13) >> 14. |turn| <= 2^14; v is never INT32_MIN.
     * With scales, then v[i] *= scale[i], and largest is the largest |v| of that; without
     * them it is 0. */
    void (*rotate)(struct ruvm_turned *out, int32_t *v, const struct ruvm_turn *t);

    /* q[i] = clamp(clamp((v[i] * inverse[i] * mult + 2^(shift-1)) >> shift, 32767) - zero[i],
     * 127) in 64 bits, where clamp(x, m) is within +-m; |v[i]| < 2^15. */
    void (*to_cache)(int8_t *q, const int32_t *v, uint32_t n, const struct ruvm_to_cache *p);

    /* q[i] = (((x[i] << up) >> down) * mult + 2^17) >> 18, one of up, down is 0; the shifted
     * |x| <= 2^16 and the result within 16 bits. */
    void (*narrow)(int16_t *q, const int32_t *x, uint32_t n, uint32_t up, uint32_t down,
                   uint32_t mult);

    /* out[i] = clamp(((x[i] >> down) * inverse) >> 23) * scale[i] in 64 bits, clamped to
     * +-32767; inverse < 2^18. */
    void (*divide)(int32_t *out, const int32_t *x, const uint16_t *scale, uint32_t n, uint32_t down,
                   uint32_t inverse);

    /* Values of 4 bits: position p has the step m[p] <= 135, and in n / 2 bytes its n codes,
     * low half first; v[p * n + i] = ((2 * code - 15) * m[p] + 8) >> 4. n is even. */
    void (*unpack)(int8_t *v, const uint8_t *codes, const uint8_t *m, uint32_t n_pos, uint32_t n);

    /* x[i] = (x[i] * scale[i] + 2^15) >> 16, in 64 bits; |x| < 2^30. */
    void (*rescale)(int32_t *x, const uint16_t *scale, uint32_t n);

    /* max over i of |x[i]|; x is never INT32_MIN. 0 for n = 0. */
    uint32_t (*amax)(const int32_t *x, uint32_t n);

    /* The first i whose x[i] is the largest; n > 0. NULL on a chip: it has few logits, and the
     * sampler's own loop. */
    uint32_t (*largest)(const int32_t *x, uint32_t n);

    /* q[i] = (((x[i] << up) >> down) * mult + 2^23) >> 24, one of up, down is 0;
     * the caller chooses them so that the shifted |x| <= 2^16 and the result is
     * within +-127. q[n .. n_padded) = 0. */
    void (*quantize)(int8_t *q, const int32_t *x, uint32_t n, uint32_t n_padded, uint32_t up,
                     uint32_t down, uint32_t mult);

    /* h[i] = clamp(h[i] + ((y * mult + 2^(shift-1)) >> shift)) in 64 bits, to +-(2^31 - 1),
     * where y is what rescale() makes of x[i] and scale[i]. x is anything afterwards. */
    void (*add_scaled)(int32_t *h, int32_t *x, uint32_t n, const struct ruvm_addition *p);

    /* RMSNorm's first half: y[i] = ((h[i] + half) >> down) * gain[i] with half =
     * 2^(down-1), 0 for down = 0; returns the sum of the squares of the
     * shifted h. The shifted |h| <= 2^15. */
    uint64_t (*norm)(int32_t *y, const int32_t *h, const int16_t *gain, uint32_t n, uint32_t down);

    /* SwiGLU, with g = gate[i] >> gate_down and u = up[i] >> up_down:
     * x[i] = ((g * ruvm_sigmoid_q15((g * mult) >> shift) + 2^14) >> 15) * u.
     * |x| <= 2^30. x may be up. */
    void (*swiglu)(int32_t *x, const int32_t *up, const int32_t *gate, uint32_t n,
                   const struct ruvm_swiglu *p);

    /* LayerNorm's first part: *mean = floor((sum of h + n / 2) / n), n / 2 rounded down;
     * returns the largest |h[i] - *mean|. h is never INT32_MIN, n > 0. */
    uint32_t (*spread)(const int32_t *h, uint32_t n, int32_t *mean);

    /* LayerNorm's second part, in 64 bits: v = ((h[i] - mean) << up), or for down > 0
     * (h[i] - mean + 2^(down-1)) >> down; y[i] = (v * gain[i] + 2^7) >> 8; returns the sum
     * of the squares of the v (< 2^62: n <= 65535). |v| <= 2^23, so |y| <= 2^30. */
    uint64_t (*layernorm)(int32_t *y, const int32_t *h, const int16_t *gain, uint32_t n,
                          const struct ruvm_centre *c);

    /* x[i] = (x[i] * mult + 2^(shift-1)) >> shift in 64 bits; the result is within +-2^30;
     * mult < 2^31, 1 <= shift <= 62. */
    void (*scale)(int32_t *x, uint32_t n, uint32_t mult, uint32_t shift);

    /* x[i] = clamp(x[i] + ((bias[i] * mult + 2^(shift-1)) >> shift)), as add_scaled. */
    void (*add_bias)(int32_t *x, const int16_t *bias, uint32_t n, uint32_t mult, uint32_t shift);

    /* GELU, with g = in[i] >> down, |g| <= 2^15: x[i] = g * ruvm_gelu_q15(row, t) with
     * t = (g * mult) >> shift, which is g in Q12; mult < 2^15, shift <= 30. |x| <= 2^30. x
     * may be in. */
    void (*gelu)(int32_t *x, const int32_t *in, uint32_t n, const struct ruvm_gelu *p);

    /* x[i] = max(in[i], 0); x may be in. */
    void (*relu)(int32_t *x, const int32_t *in, uint32_t n);
};

/* The tables, best first; ends with NULL. scalar is always there and last. */
extern const struct ruvm_kernels *const ruvm_kernels_all[];
extern const struct ruvm_kernels ruvm_kernels_scalar;

/* The first available table, or the one of that name; NULL when the name is
 * unknown or this machine cannot run it. name NULL: best. */
const struct ruvm_kernels *ruvm_kernels_select(const char *name);

#endif
