/* Truth: every vector compared in doubles. */
#include "lib/measure/rag_truth.h"

#include <math.h>
#include <stdlib.h>

struct sums {
    double product, q2, x2, square, absolute, signs; /* square: of the differences */
};

static struct sums sums_of(const float *q, const float *x, uint32_t dims)
{
    struct sums s = {0};
    for (uint32_t i = 0; i < dims; i++) {
        double a = (double)q[i], b = (double)x[i];
        s.product += a * b;
        s.q2 += a * a;
        s.x2 += b * b;
        s.square += (a - b) * (a - b);
        s.absolute += fabs(a - b);
        s.signs += (a >= 0) != (b >= 0);
    }
    return s;
}

double ruvm_rag_truth_rank(unsigned metric, const float *q, const float *x, uint32_t dims)
{
    struct sums s = sums_of(q, x, dims);
    double time = sqrt(1 + s.q2) - sqrt(1 + s.x2);
    switch (metric) {
    case RUVM_METRIC_COSINE: return s.x2 > 0 ? -s.product / sqrt(s.x2) : 0;
    case RUVM_METRIC_EUCLIDEAN: return s.square;
    case RUVM_METRIC_DOT: return -s.product;
    case RUVM_METRIC_MANHATTAN: return s.absolute;
    case RUVM_METRIC_POINCARE: return s.square / (1 - s.x2);
    case RUVM_METRIC_LORENTZ: return s.square - time * time;
    default: return s.signs;
    }
}

/* The k-th smallest of rank[n]; best is room for k. */
static double kth(const double *rank, uint32_t n, uint32_t k, double *best)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (have == k && rank[i] >= best[k - 1])
            continue;
        uint32_t at = have < k ? have++ : k - 1;
        for (; at > 0 && best[at - 1] > rank[i]; at--)
            best[at] = best[at - 1];
        best[at] = rank[i];
    }
    return best[have - 1];
}

double ruvm_rag_truth_recall(const struct ruvm_rag_subject *s, uint32_t n_queries,
                             const struct ruvm_hit *hits, uint32_t k)
{
    double *rank = malloc(((size_t)s->n + k) * sizeof *rank);
    uint64_t found = 0;
    for (uint32_t i = 0; rank && i < n_queries; i++) {
        const float *q = s->x + ((size_t)s->n + i) * s->dims;
        for (uint32_t j = 0; j < s->n; j++)
            rank[j] = ruvm_rag_truth_rank(s->metric, q, s->x + (size_t)j * s->dims, s->dims);
        double last = kth(rank, s->n, k, rank + s->n);
        for (uint32_t j = 0; j < k; j++)
            found += rank[hits[(size_t)i * k + j].id] <= last;
    }
    free(rank);
    return rank ? (double)found / ((double)n_queries * k) : -1;
}
