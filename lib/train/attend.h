/* Attend: causal attention of one sequence, forward and backward.
 *
 * Query heads share key and value heads in groups (GQA, arXiv 2305.13245). The weights of a
 * block of queries are computed, used and forgotten; the way back computes them again:
 * that is cheaper than keeping n * n of them a head (arXiv 2205.14135).
 */
#ifndef RUVM_TRAIN_ATTEND_H
#define RUVM_TRAIN_ATTEND_H

#include <stddef.h>
#include <stdint.h>

enum { RUVM_ATTEND_BLOCK = 32 }; /* queries */

struct ruvm_attend {
    const float *q;     /* [n, n_heads * head_dim], rotated */
    const float *k, *v; /* [n, n_kv_heads * head_dim], k rotated */
    uint32_t n, n_heads, n_kv_heads, head_dim;
    uint32_t window; /* positions that a query sees, its own included; >= 1 */
    float scale;     /* of the scores */
    float *work;     /* ruvm_attend_work_floats() floats */
};

size_t ruvm_attend_work_floats(uint32_t n, uint32_t head_dim);
/* mixed [n, n_heads * head_dim] = softmax(scale * q k^T) v, each query over the keys of its
 * window: those up to its own position. */
void ruvm_attend_forward(float *mixed, const struct ruvm_attend *a);
/* dq, dk, dv (shaped as q, k, v): written, from dmixed. */
void ruvm_attend_backward(float *dq, float *dk, float *dv, const float *dmixed,
                          const struct ruvm_attend *a);

#endif
