/* CRC-32 by products without carries, 64 bytes a step: more than ten times as fast as tables.
 *
 * What has been read is a polynomial over two values; to move it by 8 * n bits is to multiply it
 * with x^(8n) modulo the CRC's own. So 64 bytes are folded into the next 64, four of 16 into one,
 * and tables finish the 16 that are left (V. Gopal and others: Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ Instruction, Intel 2009; the powers are bit-reversed there).
 */
#include <immintrin.h>

#include "lib/base/crc32.h"

enum { REGISTER = 16, STEP = 4 * REGISTER };

#define FOLDS __attribute__((target("pclmul,sse2")))

static FOLDS __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* x moved by the distance that the powers stand for, added to what is there. */
static FOLDS __m128i fold(__m128i x, __m128i powers, __m128i there)
{
    __m128i low = _mm_clmulepi64_si128(x, powers, 0x00);
    __m128i high = _mm_clmulepi64_si128(x, powers, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), there);
}

/* Sixteen bytes with the CRC of all n, which are a multiple of 16 and 64 at least. */
static FOLDS __m128i fold_all(uint32_t crc, const uint8_t *p, size_t n)
{
    const __m128i by_64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i by_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const uint8_t *end = p + n;
    __m128i a = _mm_xor_si128(load(p), _mm_cvtsi32_si128((int)crc)), b = load(p + REGISTER);
    __m128i c = load(p + 2 * REGISTER), d = load(p + 3 * REGISTER);
    for (p += STEP; end - p >= STEP; p += STEP) {
        a = fold(a, by_64, load(p));
        b = fold(b, by_64, load(p + REGISTER));
        c = fold(c, by_64, load(p + 2 * REGISTER));
        d = fold(d, by_64, load(p + 3 * REGISTER));
    }
    a = fold(fold(fold(a, by_16, b), by_16, c), by_16, d);
    for (; p < end; p += REGISTER)
        a = fold(a, by_16, load(p));
    return a;
}

uint32_t ruvm_crc32(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t whole = n / REGISTER * REGISTER;
    if (n < STEP || !__builtin_cpu_supports("pclmul"))
        return ruvm_crc32_tables(crc, data, n);
    __m128i left = fold_all(~crc, p, whole);
    return ruvm_crc32_tables(ruvm_crc32_tables(UINT32_MAX, &left, sizeof left), p + whole,
                             n - whole);
}
