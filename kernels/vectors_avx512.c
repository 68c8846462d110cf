/* AVX-512 with VNNI: vector search, 64 bytes of a row at a time.
 *
 * vpdpbusd wants one unsigned operand: the row, by a flipped bit, which adds 128 times the
 * sum of the query to every product; the sums start at minus that. Bits are counted in the
 * way of AVX2, which every such machine has. */
#include "kernels/vectors_x86.h"

static int available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

static inline __m512i load(__mmask64 bytes, const uint8_t *p)
{
    return _mm512_maskz_loadu_epi8(bytes, p);
}

/* The bytes from column c on that one register takes. */
static inline __mmask64 bytes_from(uint32_t c, uint32_t n)
{
    return n - c >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (n - c)) - 1;
}

static inline __m512i flipped(__m512i x)
{
    return _mm512_xor_si512(x, _mm512_set1_epi8(-128));
}

static inline __m512i step_dot(__m512i acc, __m512i q, __m512i row)
{
    return _mm512_dpbusd_epi32(acc, flipped(row), q);
}

static inline __m512i step_manhattan(__m512i acc, __m512i q, __m512i row)
{
    return _mm512_add_epi32(acc, _mm512_sad_epu8(flipped(q), flipped(row)));
}

static inline __m512i step_hamming(__m512i acc, __m512i q, __m512i row)
{
    const __m512i counts =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i low = _mm512_set1_epi8(15);
    __m512i x = _mm512_xor_si512(q, row);
    __m512i n = _mm512_add_epi8(
        _mm512_shuffle_epi8(counts, _mm512_and_si512(x, low)),
        _mm512_shuffle_epi8(counts, _mm512_and_si512(_mm512_srli_epi16(x, 4), low)));
    return _mm512_add_epi32(acc, _mm512_sad_epu8(n, _mm512_setzero_si512()));
}

static inline __m128i fold(__m512i v)
{
    return x86_fold(_mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1)));
}

static inline __attribute__((always_inline)) void all_rows(
    int32_t *out, const struct ruvm_vector_job *job, __m512i start,
    __m512i (*step)(__m512i, __m512i, __m512i))
{
    const uint8_t *q = job->query;
    for (uint32_t i = 0; i < job->n; i += 4) {
        const uint8_t *row[4];
        __m512i acc[4];
        for (uint32_t k = 0; k < 4; k++) {
            row[k] = x86_row4(job, i, k);
            acc[k] = start;
        }
        for (uint32_t c = 0; c < job->row_bytes; c += 64) {
            __mmask64 bytes = bytes_from(c, job->row_bytes);
            __m512i part = load(bytes, q + c);
            for (uint32_t k = 0; k < 4; k++)
                acc[k] = step(acc[k], part, load(bytes, row[k] + c));
        }
        x86_store4(out, job, i, x86_sum4(fold(acc[0]), fold(acc[1]), fold(acc[2]), fold(acc[3])));
    }
}

static void dot(int32_t *out, const struct ruvm_vector_job *job)
{
    const uint8_t *q = job->query;
    __m512i sum = _mm512_setzero_si512();
    for (uint32_t c = 0; c < job->row_bytes; c += 64)
        sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128),
                                  load(bytes_from(c, job->row_bytes), q + c));
    all_rows(out, job, _mm512_sub_epi32(_mm512_setzero_si512(), sum), step_dot);
}

static void manhattan(int32_t *out, const struct ruvm_vector_job *job)
{
    all_rows(out, job, _mm512_setzero_si512(), step_manhattan);
}

static void hamming(int32_t *out, const struct ruvm_vector_job *job)
{
    all_rows(out, job, _mm512_setzero_si512(), step_hamming);
}

const struct ruvm_vector_kernels ruvm_vector_kernels_avx512 = {
    .name = "avx512vnni",
    .available = available,
    .dot = dot,
    .manhattan = manhattan,
    .hamming = hamming,
};
