/* x86: what the tables of vector search share: where rows are, and sums of four rows. */
#ifndef RUVM_KERNELS_VECTORS_X86_H
#define RUVM_KERNELS_VECTORS_X86_H

#include <immintrin.h>

#include "kernels/vectors.h"

static inline const uint8_t *x86_row(const struct ruvm_vector_job *job, uint32_t i)
{
    const uint8_t *rows = job->rows;
    return rows + (job->ids ? job->ids[i] : i) * job->stride;
}

static inline __m128i x86_fold(__m256i v)
{
    return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

/* Four rows together, the last ones once more when n is no multiple: they are computed
 * twice, which costs less than a loop of their own. */
static inline void x86_store4(int32_t *out, const struct ruvm_vector_job *job, uint32_t i,
                              __m128i sums)
{
    if (i + 4 <= job->n) {
        _mm_storeu_si128((void *)(out + i), sums);
        return;
    }
    int32_t last[4];
    _mm_storeu_si128((void *)last, sums);
    for (uint32_t k = 0; i + k < job->n; k++)
        out[i + k] = last[k];
}

/* Four rows that follow each other are read in turns, `step` bytes of each, which no machine
 * takes for reading in order: so what comes a few groups later is asked for, in order. */
static inline void x86_fetch_ahead(const uint8_t *const *row, uint32_t c, uint32_t step)
{
    enum { AHEAD = 6144, LINE = 64 };
    for (uint32_t k = 0; k < 4 * step; k += LINE)
        _mm_prefetch((const void *)(row[0] + AHEAD + 4 * c + k), _MM_HINT_T0);
}

/* The rows of the group from i on; behind the end, the last one. */
static inline void x86_rows4(const uint8_t **row, const struct ruvm_vector_job *job, uint32_t i)
{
    uint32_t last = job->n - 1;
    for (uint32_t k = 0; k < 4; k++)
        row[k] = x86_row(job, i + k <= last ? i + k : last);
}

#endif
