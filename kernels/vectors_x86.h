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

static inline __m128i x86_pairs(__m128i a, __m128i b)
{
    return _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
}

/* The sums of the four lanes of a, b, c and d. */
static inline __m128i x86_sum4(__m128i a, __m128i b, __m128i c, __m128i d)
{
    __m128i ab = x86_pairs(a, b), cd = x86_pairs(c, d);
    return _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
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

/* The row of lane k of the group from i on; behind the end, the last one. */
static inline const uint8_t *x86_row4(const struct ruvm_vector_job *job, uint32_t i, uint32_t k)
{
    return x86_row(job, i + k < job->n ? i + k : job->n - 1);
}

#endif
