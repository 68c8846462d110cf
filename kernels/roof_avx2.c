/* Roofs of AVX2: vpmaddubsw, vpmaddwd and vpaddd multiply 32 bytes into sums of 32 bits. */
#include <immintrin.h>

#include "kernels/roof.h"

enum { N_SUMS = 12 }; /* eleven rounds of latency; three registers are left */

static inline __m256i load(const uint8_t *p)
{
    return _mm256_load_si256((const __m256i *)(const void *)p);
}

static uint32_t sum_of(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
    return (uint32_t)_mm_cvtsi128_si32(s) + (uint32_t)_mm_extract_epi32(s, 1);
}

static uint32_t read(const uint8_t *p, size_t n)
{
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i < n; i += 256) {
        const uint8_t *q = p + i;
        a = _mm256_xor_si256(a, load(q));
        b = _mm256_xor_si256(b, load(q + 32));
        c = _mm256_xor_si256(c, load(q + 64));
        d = _mm256_xor_si256(d, load(q + 96));
        a = _mm256_xor_si256(a, load(q + 128));
        b = _mm256_xor_si256(b, load(q + 160));
        c = _mm256_xor_si256(c, load(q + 192));
        d = _mm256_xor_si256(d, load(q + 224));
    }
    return sum_of(_mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d)));
}

/* The first factor is another for each sum and the sum itself a part of the next one, or
 * the compiler would multiply once for all. */
static inline __m256i step(__m256i sum, __m256i x, __m256i ones)
{
    __m256i pairs = _mm256_maddubs_epi16(sum, x);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
}

static uint32_t multiply(const int8_t *operand, uint32_t rounds)
{
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)operand);
    __m256i ones = _mm256_set1_epi16(1), sum[N_SUMS];
    for (int j = 0; j < N_SUMS; j++)
        sum[j] = _mm256_add_epi8(x, _mm256_set1_epi8((char)j));
    for (uint32_t i = 0; i < rounds; i++) {
        sum[0] = step(sum[0], x, ones);
        sum[1] = step(sum[1], x, ones);
        sum[2] = step(sum[2], x, ones);
        sum[3] = step(sum[3], x, ones);
        sum[4] = step(sum[4], x, ones);
        sum[5] = step(sum[5], x, ones);
        sum[6] = step(sum[6], x, ones);
        sum[7] = step(sum[7], x, ones);
        sum[8] = step(sum[8], x, ones);
        sum[9] = step(sum[9], x, ones);
        sum[10] = step(sum[10], x, ones);
        sum[11] = step(sum[11], x, ones);
    }
    for (int j = 1; j < N_SUMS; j++)
        sum[0] = _mm256_add_epi32(_mm256_slli_epi32(sum[0], 1), sum[j]);
    return sum_of(sum[0]);
}

const struct ruvm_roof ruvm_roof_avx2 = {
    .kernels = "avx2",
    .instruction = "vpmaddubsw, 256 bits",
    .macs = N_SUMS * 32,
    .read = read,
    .multiply = multiply,
};
