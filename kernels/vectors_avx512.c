/* AVX-512 with VNNI: vector search, 64 bytes of a row at a time.
 *
 * vpdpbusd wants one unsigned operand: the row, by a flipped bit, which adds 128 times the
 * sum of the query to every product; the sums start at minus that. Where bits cannot be counted
 * by an instruction, AVX2's table does it, which every such machine has. */
#include "kernels/vectors_keys.h"
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

static inline __m512i pairs(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

/* The sums of all lanes of each of four registers. */
static inline __m128i sum4(const __m512i *v)
{
    __m512i ab = pairs(v[0], v[1]), cd = pairs(v[2], v[3]);
    __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    return x86_fold(
        _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1)));
}

static inline __attribute__((always_inline)) __m512i one_row(__m512i acc, const uint8_t *q,
                                                             const uint8_t *row, uint32_t n,
                                                             __m512i (*step)(__m512i, __m512i,
                                                                             __m512i))
{
    uint32_t c = 0;
    for (; c + 64 <= n; c += 64)
        acc = step(acc, _mm512_loadu_si512(q + c), _mm512_loadu_si512(row + c));
    if (c < n)
        acc = step(acc, load(bytes_from(c, n), q + c), load(bytes_from(c, n), row + c));
    return acc;
}

/* Row by row is as fast as memory can be read, since the machine sees that it goes in order; in
 * turns is faster where a cache has them. */
static inline __attribute__((always_inline)) void rows_in_order(
    int32_t *out, const struct ruvm_vector_job *job, __m512i start,
    __m512i (*step)(__m512i, __m512i, __m512i))
{
    const uint8_t *q = job->query;
    for (uint32_t i = 0; i < job->n; i += 4) {
        const uint8_t *row[4];
        __m512i acc[4];
        x86_rows4(row, job, i);
        acc[0] = one_row(start, q, row[0], job->row_bytes, step);
        acc[1] = one_row(start, q, row[1], job->row_bytes, step);
        acc[2] = one_row(start, q, row[2], job->row_bytes, step);
        acc[3] = one_row(start, q, row[3], job->row_bytes, step);
        x86_store4(out, job, i, sum4(acc));
    }
}

static inline __attribute__((always_inline)) void rows_in_turns(
    int32_t *out, const struct ruvm_vector_job *job, __m512i start,
    __m512i (*step)(__m512i, __m512i, __m512i))
{
    const uint8_t *q = job->query;
    const __mmask64 tail = bytes_from(job->row_bytes / 64 * 64, job->row_bytes);
    for (uint32_t i = 0; i < job->n; i += 4) {
        const uint8_t *row[4];
        __m512i acc[4];
        x86_rows4(row, job, i);
        for (uint32_t k = 0; k < 4; k++)
            acc[k] = start;
        uint32_t c = 0;
        for (; c + 64 <= job->row_bytes; c += 64) {
            __m512i part = _mm512_loadu_si512(q + c);
            if (!job->ids)
                x86_fetch_ahead(row, c, 64);
            for (uint32_t k = 0; k < 4; k++)
                acc[k] = step(acc[k], part, _mm512_loadu_si512(row[k] + c));
        }
        if (c < job->row_bytes) {
            __m512i part = load(tail, q + c);
            for (uint32_t k = 0; k < 4; k++)
                acc[k] = step(acc[k], part, load(tail, row[k] + c));
        }
        x86_store4(out, job, i, sum4(acc));
    }
}

static inline __attribute__((always_inline)) void all_rows(
    int32_t *out, const struct ruvm_vector_job *job, __m512i start,
    __m512i (*step)(__m512i, __m512i, __m512i))
{
    if (job->streams)
        rows_in_order(out, job, start, step);
    else
        rows_in_turns(out, job, start, step);
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

/* Newer machines count the bits of 64 at once, in a third of the instructions. */
#define COUNTS_BITS __attribute__((target("avx512vpopcntdq")))

COUNTS_BITS static inline __m512i step_popcount(__m512i acc, __m512i q, __m512i row)
{
    return _mm512_add_epi64(acc, _mm512_popcnt_epi64(_mm512_xor_si512(q, row)));
}

/* Rows of 8 bytes that follow each other: eight to a register, each with its own sum. */
COUNTS_BITS static uint32_t count_words(int32_t *out, const struct ruvm_vector_job *job)
{
    const uint8_t *rows = job->rows;
    long long word;
    __builtin_memcpy(&word, job->query, sizeof word);
    const __m512i q = _mm512_set1_epi64(word), zero = _mm512_setzero_si512();
    uint32_t i = 0;
    for (; i + 8 <= job->n; i += 8) {
        __m512i sums = step_popcount(zero, q, _mm512_loadu_si512(rows + (size_t)i * 8));
        _mm256_storeu_si256((void *)(out + i), _mm512_cvtepi64_epi32(sums));
    }
    return i;
}

COUNTS_BITS static void count_all(int32_t *out, const struct ruvm_vector_job *job)
{
    struct ruvm_vector_job rest = *job;
    uint32_t done = 0;
    if (job->row_bytes == 8 && job->stride == 8 && !job->ids)
        done = count_words(out, job);
    rest.rows = (const uint8_t *)job->rows + (size_t)done * job->stride;
    rest.n -= done;
    all_rows(out + done, &rest, _mm512_setzero_si512(), step_popcount);
}

static void hamming(int32_t *out, const struct ruvm_vector_job *job)
{
    if (__builtin_cpu_supports("avx512vpopcntdq"))
        count_all(out, job);
    else
        ruvm_vector_kernels_avx2.hamming(out, job);
}

static void scaled(uint32_t *keys, const int32_t *products, const uint8_t *scales, uint32_t n,
                   uint32_t shift)
{
    keys_scaled(keys, products, scales, n, shift);
}

static uint32_t least(const uint32_t *keys, uint32_t n)
{
    return keys_least(keys, n);
}

const struct ruvm_vector_kernels ruvm_vector_kernels_avx512 = {
    .name = "avx512vnni",
    .available = available,
    .dot = dot,
    .manhattan = manhattan,
    .hamming = hamming,
    .scaled = scaled,
    .least = least,
};
