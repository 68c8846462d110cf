/* Roofs of AVX-512: vpdpbusd multiplies 64 bytes at once. */
#include <immintrin.h>

#include "kernels/roof.h"

enum { N_SUMS = 12 }; /* five rounds of latency, two units at most, and some room */

/* _mm512_reduce_add_epi32 adds signed, where this may wrap. */
static uint32_t sum_lanes(__m512i v)
{
    uint32_t lanes[16], sum = 0;
    _mm512_storeu_si512(lanes, v);
    for (int i = 0; i < 16; i++)
        sum += lanes[i];
    return sum;
}

static uint32_t read(const uint8_t *p, size_t n)
{
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i < n; i += RUVM_ROOF_CHUNK) {
        const uint8_t *q = p + i;
        a = _mm512_xor_si512(a, _mm512_load_si512(q));
        b = _mm512_xor_si512(b, _mm512_load_si512(q + 64));
        c = _mm512_xor_si512(c, _mm512_load_si512(q + 128));
        d = _mm512_xor_si512(d, _mm512_load_si512(q + 192));
        a = _mm512_xor_si512(a, _mm512_load_si512(q + 256));
        b = _mm512_xor_si512(b, _mm512_load_si512(q + 320));
        c = _mm512_xor_si512(c, _mm512_load_si512(q + 384));
        d = _mm512_xor_si512(d, _mm512_load_si512(q + 448));
    }
    a = _mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d));
    return sum_lanes(a);
}

static uint32_t multiply(const int8_t *operand, uint32_t rounds)
{
    __m512i x = _mm512_loadu_si512(operand), sum[N_SUMS];
    for (int j = 0; j < N_SUMS; j++)
        sum[j] = _mm512_set1_epi32(j); /* equal sums would be computed once */
    for (uint32_t i = 0; i < rounds; i++) {
        sum[0] = _mm512_dpbusd_epi32(sum[0], x, x);
        sum[1] = _mm512_dpbusd_epi32(sum[1], x, x);
        sum[2] = _mm512_dpbusd_epi32(sum[2], x, x);
        sum[3] = _mm512_dpbusd_epi32(sum[3], x, x);
        sum[4] = _mm512_dpbusd_epi32(sum[4], x, x);
        sum[5] = _mm512_dpbusd_epi32(sum[5], x, x);
        sum[6] = _mm512_dpbusd_epi32(sum[6], x, x);
        sum[7] = _mm512_dpbusd_epi32(sum[7], x, x);
        sum[8] = _mm512_dpbusd_epi32(sum[8], x, x);
        sum[9] = _mm512_dpbusd_epi32(sum[9], x, x);
        sum[10] = _mm512_dpbusd_epi32(sum[10], x, x);
        sum[11] = _mm512_dpbusd_epi32(sum[11], x, x);
    }
    for (int j = 1; j < N_SUMS; j++)
        sum[0] = _mm512_add_epi32(_mm512_slli_epi32(sum[0], 1), sum[j]);
    return sum_lanes(sum[0]);
}

const struct ruvm_roof ruvm_roof_avx512vnni = {
    .kernels = "avx512vnni",
    .instruction = "vpdpbusd, 512 bits",
    .macs = N_SUMS * 64,
    .read = read,
    .multiply = multiply,
};
