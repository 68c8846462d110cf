/* Causal attention by blocks of queries, with the queries of a block as the columns.
 *
 * Scores stand transposed, [keys, BLOCK]: a column is one query, so that largest value,
 * exponentials and sum run down the rows, BLOCK queries side by side, and the products
 * find them as panels without copying. Keys outside of a query's window are given the
 * weight 0; those that no query of the block sees are left out.
 */
#include "lib/train/attend.h"

#include <string.h>

#include "lib/base/exp.h"
#include "lib/train/isa.h"
#include "lib/train/math.h"
#include "lib/train/matrix.h"

enum { BLOCK = RUVM_ATTEND_BLOCK };

/* One head and one block of its queries. */
struct block {
    const float *q, *k, *v;       /* of the head; of the first query, and of its first key */
    size_t q_row, kv_row;         /* distances of two tokens */
    uint32_t head_dim, n_keys, n; /* keys up to the last query; queries */
    uint32_t first;               /* the first query's own key */
    uint32_t window;              /* keys that a query sees */
    float scale;                  /* of the scores */
    float *weights, *d_weights;   /* [n_keys, BLOCK] work */
    float *turned;                /* [head_dim, BLOCK] work */
};

size_t ruvm_attend_work_floats(uint32_t n, uint32_t head_dim)
{
    return (2 * (size_t)n + head_dim) * BLOCK;
}

static struct block block_of(const struct ruvm_attend *a, uint32_t head, uint32_t first)
{
    uint32_t kv = head / (a->n_heads / a->n_kv_heads) * a->head_dim;
    struct block b = {.q_row = (size_t)a->n_heads * a->head_dim,
                      .kv_row = (size_t)a->n_kv_heads * a->head_dim,
                      .head_dim = a->head_dim,
                      .window = a->window,
                      .scale = a->scale};
    uint32_t left_out = first >= a->window ? first - a->window + 1 : 0;
    b.n = a->n - first < BLOCK ? a->n - first : BLOCK;
    b.first = first - left_out;
    b.n_keys = b.first + b.n;
    b.q = a->q + first * b.q_row + (size_t)head * a->head_dim;
    b.k = a->k + left_out * b.kv_row + kv;
    b.v = a->v + left_out * b.kv_row + kv;
    b.weights = a->work;
    b.d_weights = a->work + (size_t)a->n * BLOCK;
    b.turned = a->work + 2 * (size_t)a->n * BLOCK;
    return b;
}

/* out [n_keys, BLOCK] = rows of keys or values times the tokens of x, a row q_row each. */
static void keys_times(float *out, const float *keys, const float *x, const struct block *b)
{
    ruvm_matrix_multiply(&(struct ruvm_matrix_product){.c = out,
                                                       .a = keys,
                                                       .b = x,
                                                       .c_row = BLOCK,
                                                       .a_row = b->kv_row,
                                                       .a_col = 1,
                                                       .b_row = 1,
                                                       .b_col = b->q_row,
                                                       .m = b->n_keys,
                                                       .n = b->n,
                                                       .k = b->head_dim});
}

/* out [n queries, head_dim], rows q_row apart: sums of rows of values, weighted. */
static void weighted_sum(float *out, const float *values, const float *weights,
                         const struct block *b)
{
    ruvm_matrix_multiply(&(struct ruvm_matrix_product){.c = b->turned,
                                                       .a = values,
                                                       .b = weights,
                                                       .c_row = BLOCK,
                                                       .a_row = 1,
                                                       .a_col = b->kv_row,
                                                       .b_row = BLOCK,
                                                       .b_col = 1,
                                                       .m = b->head_dim,
                                                       .n = b->n,
                                                       .k = b->n_keys});
    for (uint32_t d = 0; d < b->head_dim; d++)
        for (uint32_t i = 0; i < b->n; i++)
            out[i * b->q_row + d] = b->turned[d * BLOCK + i];
}

/* out [n_keys, head_dim] += for each key its weights times the queries' rows of x. */
static void spread_to_keys(float *out, const float *weights, const float *x, const struct block *b)
{
    ruvm_matrix_multiply(&(struct ruvm_matrix_product){.c = out,
                                                       .a = weights,
                                                       .b = x,
                                                       .c_row = b->kv_row,
                                                       .a_row = BLOCK,
                                                       .a_col = 1,
                                                       .b_row = b->q_row,
                                                       .b_col = 1,
                                                       .m = b->n_keys,
                                                       .n = b->head_dim,
                                                       .k = b->n,
                                                       .add = true});
}

/* ---- softmax ----------------------------------------------------------------- */

static inline RUVM_ISA_BODY void softmax_body(float *restrict s, uint32_t n_keys, float scale)
{
    float max[BLOCK], sum[BLOCK] = {0};
    const size_t n = (size_t)n_keys * BLOCK;
    memcpy(max, s, sizeof max);
    for (size_t j = BLOCK; j < n; j += BLOCK)
        for (size_t i = 0; i < BLOCK; i++)
            max[i] = s[j + i] > max[i] ? s[j + i] : max[i];
    for (size_t j = 0; j < n; j += BLOCK)
        for (size_t i = 0; i < BLOCK; i++)
            s[j + i] = (s[j + i] - max[i]) * scale;
    for (size_t i = 0; i < n; i++)
        s[i] = ruvm_exp_f32(s[i]);
    for (size_t j = 0; j < n; j += BLOCK)
        for (size_t i = 0; i < BLOCK; i++)
            sum[i] += s[j + i];
    for (size_t i = 0; i < BLOCK; i++)
        sum[i] = 1.0f / sum[i];
    for (size_t j = 0; j < n; j += BLOCK)
        for (size_t i = 0; i < BLOCK; i++)
            s[j + i] *= sum[i];
}

RUVM_ISA_EACH(softmax, (float *s, uint32_t n_keys, float scale), s, n_keys, scale)

/* d_weights becomes the derivative by the scores before scaling. */
static inline RUVM_ISA_BODY void softmax_back_body(float *restrict d, const float *restrict w,
                                                   uint32_t n_keys, float scale)
{
    float mean[BLOCK] = {0};
    const size_t n = (size_t)n_keys * BLOCK;
    for (size_t j = 0; j < n; j += BLOCK)
        for (size_t i = 0; i < BLOCK; i++)
            mean[i] += w[j + i] * d[j + i];
    for (size_t j = 0; j < n; j += BLOCK)
        for (size_t i = 0; i < BLOCK; i++)
            d[j + i] = w[j + i] * (d[j + i] - mean[i]) * scale;
}

RUVM_ISA_EACH(softmax_back, (float *d, const float *w, uint32_t n_keys, float scale), d, w, n_keys,
              scale)

/* Each query's entries for the keys behind it, and for those before its window. */
static void fill_unseen(float *weights, const struct block *b, float value)
{
    for (uint32_t key = 0; key + b->window < b->n_keys; key++)
        for (uint32_t i = key + b->window - b->first; i < BLOCK; i++)
            weights[(size_t)key * BLOCK + i] = value;
    for (uint32_t key = b->first + 1; key < b->n_keys; key++)
        for (uint32_t i = 0; i < key - b->first; i++)
            weights[(size_t)key * BLOCK + i] = value;
}

static void compute_weights(const struct block *b)
{
    keys_times(b->weights, b->k, b->q, b);
    fill_unseen(b->weights, b, -1e30f);
    softmax(b->weights, b->n_keys, b->scale);
    fill_unseen(b->weights, b, 0.0f);
}

/* ---- all heads ----------------------------------------------------------------- */

void ruvm_attend_forward(float *mixed, const struct ruvm_attend *a)
{
    for (uint32_t head = 0; head < a->n_heads; head++)
        for (uint32_t first = 0; first < a->n; first += BLOCK) {
            struct block b = block_of(a, head, first);
            compute_weights(&b);
            weighted_sum(mixed + first * b.q_row + (size_t)head * a->head_dim, b.v, b.weights, &b);
        }
}

void ruvm_attend_backward(float *dq, float *dk, float *dv, const float *dmixed,
                          const struct ruvm_attend *a)
{
    size_t kv_floats = (size_t)a->n * a->n_kv_heads * a->head_dim;
    memset(dk, 0, kv_floats * sizeof *dk);
    memset(dv, 0, kv_floats * sizeof *dv);
    for (uint32_t head = 0; head < a->n_heads; head++)
        for (uint32_t first = 0; first < a->n; first += BLOCK) {
            struct block b = block_of(a, head, first);
            size_t q = first * b.q_row + (size_t)head * a->head_dim;
            size_t kv = (size_t)(b.k - a->k);
            compute_weights(&b);
            keys_times(b.d_weights, b.v, dmixed + q, &b);
            spread_to_keys(dv + kv, b.weights, dmixed + q, &b);
            softmax_back(b.d_weights, b.weights, b.n_keys, b.scale);
            weighted_sum(dq + q, b.k, b.d_weights, &b);
            spread_to_keys(dk + kv, b.d_weights, b.q, &b);
        }
}
