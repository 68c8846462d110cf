/* AVX-512 with VNNI: vector search, 64 bytes of a row at a time.
 *
 * vpdpbusd wants one unsigned operand: the row, by a flipped bit, which adds 128 times the
 * sum of the query to every product; the sums start at minus that. Where bits cannot be counted
 * by an instruction, AVX2's table does it, which every such machine has. */
#include <stdbool.h>

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
#define COUNTS_BITS __attribute__((target("avx512vpopcntdq"), always_inline))

COUNTS_BITS static inline __m512i step_popcount(__m512i acc, __m512i q, __m512i row)
{
    return _mm512_add_epi64(acc, _mm512_popcnt_epi64(_mm512_xor_si512(q, row)));
}

COUNTS_BITS static inline __m512i differing(__m512i q, const uint8_t *row)
{
    return _mm512_popcnt_epi64(_mm512_xor_si512(q, _mm512_loadu_si512(row)));
}

/* Counts fit into halves of their lanes: a's there, b's in the other halves. */
static inline __m512i halves(__m512i a, __m512i b)
{
    return _mm512_mask_shuffle_epi32(a, 0xAAAA, b, _MM_PERM_CCAA);
}

/* Of four registers of counts the sums of each 128 bits, four to a lane of as many. */
static inline __m512i quarters(const __m512i *v)
{
    __m512i ab = halves(v[0], v[1]), cd = halves(v[2], v[3]);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* Lanes 0 + 1 and 2 + 3 of a, then those of b. */
static inline __m512i lanes(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xDD));
}

/* 16 rows of 8 bytes, 16 or 32 that follow each other: several in a register, whose counts are
 * added up for all of them at once and then put in order. */
COUNTS_BITS static inline __m512i count16_words(__m512i q, const uint8_t *rows)
{
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_epi32(differing(q, rows), even, differing(q, rows + 64));
}

COUNTS_BITS static inline __m512i count16_pairs(__m512i q, const uint8_t *rows)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i v[4];
    for (uint32_t k = 0; k < 4; k++)
        v[k] = differing(q, rows + 64 * k);
    return _mm512_permutexvar_epi32(order, quarters(v));
}

COUNTS_BITS static inline __m512i count16_quads(__m512i q, const uint8_t *rows)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    __m512i v[8];
    for (uint32_t k = 0; k < 8; k++)
        v[k] = differing(q, rows + 64 * k);
    return _mm512_permutexvar_epi32(order, lanes(quarters(v), quarters(v + 4)));
}

/* Longer rows: of one register, or two; the last of them is full or not. */
struct long_query {
    __m512i first, last;
    __mmask64 in_last; /* its bytes */
};

COUNTS_BITS static inline __m512i count_row(const struct long_query *q, const uint8_t *row,
                                            bool has_two, bool is_full)
{
    const uint8_t *end = has_two ? row + 64 : row;
    __m512i last = is_full ? _mm512_loadu_si512(end) : load(q->in_last, end);
    __m512i sum = _mm512_popcnt_epi64(_mm512_xor_si512(q->last, last));
    return has_two ? _mm512_add_epi64(sum, differing(q->first, row)) : sum;
}

COUNTS_BITS static inline __m512i count16_rows(const struct long_query *q, const uint8_t *rows,
                                               size_t row_bytes, bool has_two, bool is_full)
{
    __m512i four[4];
    for (uint32_t k = 0; k < 4; k++, rows += 4 * row_bytes) {
        __m512i v[4];
        for (uint32_t j = 0; j < 4; j++)
            v[j] = count_row(q, rows + j * row_bytes, has_two, is_full);
        four[k] = quarters(v);
    }
    return lanes(lanes(four[0], four[1]), lanes(four[2], four[3]));
}

/* As many rows as there are in sixteens; returns their number. */
COUNTS_BITS static inline uint32_t count_short(int32_t *out, const struct ruvm_vector_job *job,
                                               __m512i q,
                                               __m512i (*count16)(__m512i, const uint8_t *))
{
    const uint8_t *rows = job->rows;
    uint32_t i = 0;
    for (; i + 16 <= job->n; i += 16)
        _mm512_storeu_si512(out + i, count16(q, rows + (size_t)i * job->row_bytes));
    return i;
}

COUNTS_BITS static inline uint32_t count_long(int32_t *out, const struct ruvm_vector_job *job,
                                              bool has_two, bool is_full)
{
    const uint32_t n = job->row_bytes, before = has_two ? 64 : 0;
    const uint8_t *rows = job->rows, *query = job->query;
    struct long_query q = {.in_last = bytes_from(before, n)};
    uint32_t i = 0;
    q.last = load(q.in_last, query + before);
    q.first = has_two ? _mm512_loadu_si512(query) : q.last;
    for (; i + 16 <= job->n; i += 16)
        _mm512_storeu_si512(out + i, count16_rows(&q, rows + (size_t)i * n, n, has_two, is_full));
    return i;
}

COUNTS_BITS static inline uint32_t count_sixteens(int32_t *out, const struct ruvm_vector_job *job)
{
    const uint32_t n = job->row_bytes;
    const __m256i q = _mm256_maskz_loadu_epi8((__mmask32)bytes_from(0, n), job->query);
    const __m128i low = _mm256_castsi256_si128(q);
    switch (n) {
    case 8: return count_short(out, job, _mm512_broadcastq_epi64(low), count16_words);
    case 16: return count_short(out, job, _mm512_broadcast_i64x2(low), count16_pairs);
    case 32: return count_short(out, job, _mm512_broadcast_i64x4(q), count16_quads);
    case 64: return count_long(out, job, false, true);
    case 128: return count_long(out, job, true, true);
    default: return count_long(out, job, n > 64, false);
    }
}

__attribute__((target("avx512vpopcntdq"))) static void count_all(int32_t *out,
                                                                 const struct ruvm_vector_job *job)
{
    struct ruvm_vector_job rest = *job;
    uint32_t done = job->ids || job->stride != job->row_bytes ? 0 : count_sixteens(out, job);
    rest.rows = (const uint8_t *)job->rows + (size_t)done * job->stride;
    rest.n -= done;
    if (rest.n)
        rows_in_turns(out + done, &rest, _mm512_setzero_si512(), step_popcount);
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

static inline uint32_t mask_of(const uint32_t *keys, uint32_t bound)
{
    return _mm512_cmplt_epu32_mask(_mm512_loadu_si512(keys), _mm512_set1_epi32((int)bound));
}

static uint32_t hamming_below(uint32_t *places, uint32_t *out, uint32_t room,
                              const struct ruvm_vector_job *job, uint32_t bound)
{
    return bits_below(places, out, room, job, bound, hamming, mask_of);
}

static uint32_t below(uint32_t *places, const uint32_t *keys, uint32_t n, uint32_t bound)
{
    return keys_below(places, n, keys, n, bound, mask_of);
}

const struct ruvm_vector_kernels ruvm_vector_kernels_avx512 = {
    .name = "avx512vnni",
    .available = available,
    .dot = dot,
    .manhattan = manhattan,
    .hamming = hamming,
    .hamming_below = hamming_below,
    .scaled = scaled,
    .below = below,
};
