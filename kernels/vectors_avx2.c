/* AVX2: vector search on x86 of the last ten years.
 *
 * Products as in avx2.c: |q| * (row with the sign of q), two of which fit into 16 bits.
 * Differences of codes reach 254, too much for a signed byte, so both are made unsigned by
 * a flipped bit, and vpsadbw adds them up. Bits are counted by a table of 16 entries. */
#include "kernels/vectors_keys.h"
#include "kernels/vectors_x86.h"

static int available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

/* What is done with 32 bytes of the query and of a row. */
static inline __m256i step_dot(__m256i acc, __m256i q, __m256i row)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(row, q));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

static inline __m256i step_manhattan(__m256i acc, __m256i q, __m256i row)
{
    const __m256i flip = _mm256_set1_epi8(-128);
    __m256i sums = _mm256_sad_epu8(_mm256_xor_si256(q, flip), _mm256_xor_si256(row, flip));
    return _mm256_add_epi32(acc, sums);
}

/* The bits of each byte that differ. */
static inline __m256i differing(__m256i q, __m256i row)
{
    const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                            2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    __m256i x = _mm256_xor_si256(q, row);
    return _mm256_add_epi8(
        _mm256_shuffle_epi8(counts, _mm256_and_si256(x, low)),
        _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

static inline __m256i sum_bytes(__m256i n)
{
    return _mm256_sad_epu8(n, _mm256_setzero_si256());
}

static inline __m256i step_hamming(__m256i acc, __m256i q, __m256i row)
{
    return _mm256_add_epi32(acc, sum_bytes(differing(q, row)));
}

static inline __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

/* The last 8, 16 or 24 bytes, and zeros. */
static inline __m256i load_tail(const uint8_t *p, uint32_t bytes)
{
    __m256i words = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(bytes / 4)), words);
    return _mm256_maskload_epi32((const void *)p, mask);
}

static inline __m256i pairs(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

/* The sums of all lanes of each of four registers. */
static inline __m128i sum4(const __m256i *v)
{
    __m256i ab = pairs(v[0], v[1]), cd = pairs(v[2], v[3]);
    return x86_fold(_mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd)));
}

static inline __attribute__((always_inline)) __m256i one_row(
    const uint8_t *q, const uint8_t *row, uint32_t n, __m256i (*step)(__m256i, __m256i, __m256i))
{
    __m256i acc = _mm256_setzero_si256();
    uint32_t c = 0;
    for (; c + 32 <= n; c += 32)
        acc = step(acc, load(q + c), load(row + c));
    return c < n ? step(acc, load_tail(q + c, n - c), load_tail(row + c, n - c)) : acc;
}

/* Row by row is as fast as memory can be read; in turns is faster where a cache has them. */
static inline __attribute__((always_inline)) void rows_in_order(
    int32_t *out, const struct ruvm_vector_job *job, __m256i (*step)(__m256i, __m256i, __m256i))
{
    const uint8_t *q = job->query;
    for (uint32_t i = 0; i < job->n; i += 4) {
        const uint8_t *row[4];
        __m256i acc[4];
        x86_rows4(row, job, i);
        acc[0] = one_row(q, row[0], job->row_bytes, step);
        acc[1] = one_row(q, row[1], job->row_bytes, step);
        acc[2] = one_row(q, row[2], job->row_bytes, step);
        acc[3] = one_row(q, row[3], job->row_bytes, step);
        x86_store4(out, job, i, sum4(acc));
    }
}

static inline __attribute__((always_inline)) void rows_in_turns(
    int32_t *out, const struct ruvm_vector_job *job, __m256i (*step)(__m256i, __m256i, __m256i))
{
    const uint8_t *q = job->query;
    for (uint32_t i = 0; i < job->n; i += 4) {
        const uint8_t *row[4];
        __m256i acc[4] = {0};
        uint32_t c = 0;
        x86_rows4(row, job, i);
        for (; c + 32 <= job->row_bytes; c += 32) {
            if (!job->ids)
                x86_fetch_ahead(row, c, 32);
            for (uint32_t k = 0; k < 4; k++)
                acc[k] = step(acc[k], load(q + c), load(row[k] + c));
        }
        if (c < job->row_bytes)
            for (uint32_t k = 0; k < 4; k++)
                acc[k] = step(acc[k], load_tail(q + c, job->row_bytes - c),
                              load_tail(row[k] + c, job->row_bytes - c));
        x86_store4(out, job, i, sum4(acc));
    }
}

static inline __attribute__((always_inline)) void all_rows(
    int32_t *out, const struct ruvm_vector_job *job, __m256i (*step)(__m256i, __m256i, __m256i))
{
    if (job->streams)
        rows_in_order(out, job, step);
    else
        rows_in_turns(out, job, step);
}

static void dot(int32_t *out, const struct ruvm_vector_job *job)
{
    all_rows(out, job, step_dot);
}

static void manhattan(int32_t *out, const struct ruvm_vector_job *job)
{
    all_rows(out, job, step_manhattan);
}

/* ---- bits ------------------------------------------------------------------ */

static inline __m256i words_differing(__m256i q, const uint8_t *rows)
{
    return sum_bytes(differing(q, load(rows)));
}

/* Counts fit into halves of their lanes: a's there, b's in the other halves. */
static inline __m256i halves(__m256i a, __m256i b)
{
    return _mm256_or_si256(a, _mm256_slli_epi64(b, 32));
}

/* Of four registers of counts the sums of each 128 bits, four to a lane of as many. */
static inline __m256i quarters(const __m256i *v)
{
    __m256i ab = halves(v[0], v[1]), cd = halves(v[2], v[3]);
    return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

/* The lanes of a, added, then those of b. */
static inline __m256i lanes(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

/* 8 rows of 8 bytes or 16 that follow each other: several in a register, whose counts are added
 * up for all of them at once and then put in order. */
static inline __m256i count8_words(__m256i q, const uint8_t *rows)
{
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    return _mm256_permutevar8x32_epi32(
        halves(words_differing(q, rows), words_differing(q, rows + 32)), order);
}

static inline __m256i count8_pairs(__m256i q, const uint8_t *rows)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i v[4];
    for (uint32_t k = 0; k < 4; k++)
        v[k] = words_differing(q, rows + 32 * k);
    return _mm256_permutevar8x32_epi32(quarters(v), order);
}

/* Longer rows: of whole registers, and what is left. A byte counts at most 8 bits of each, so
 * that all four of the longest row fit into it. */
static inline __m256i count_row(const uint8_t *q, const uint8_t *row, uint32_t n)
{
    __m256i sum = _mm256_setzero_si256();
    uint32_t c = 0;
    for (; c + 32 <= n; c += 32)
        sum = _mm256_add_epi8(sum, differing(load(q + c), load(row + c)));
    if (c < n)
        sum = _mm256_add_epi8(sum, differing(load_tail(q + c, n - c), load_tail(row + c, n - c)));
    return sum_bytes(sum);
}

static inline __attribute__((always_inline)) __m256i count8_rows(const uint8_t *q,
                                                                 const uint8_t *rows, uint32_t n)
{
    __m256i four[2];
    for (uint32_t k = 0; k < 2; k++, rows += 4 * n) {
        __m256i v[4];
        for (uint32_t j = 0; j < 4; j++)
            v[j] = count_row(q, rows + j * n, n);
        four[k] = quarters(v);
    }
    return lanes(four[0], four[1]);
}

static inline __attribute__((always_inline)) uint32_t count_short(
    int32_t *out, const struct ruvm_vector_job *job, __m256i q,
    __m256i (*count8)(__m256i, const uint8_t *))
{
    const uint8_t *rows = job->rows;
    uint32_t i = 0;
    for (; i + 8 <= job->n; i += 8)
        _mm256_storeu_si256((void *)(out + i), count8(q, rows + (size_t)i * job->row_bytes));
    return i;
}

static inline __attribute__((always_inline)) uint32_t count_long(int32_t *out,
                                                                 const struct ruvm_vector_job *job,
                                                                 uint32_t row_bytes)
{
    const uint8_t *rows = job->rows;
    uint32_t i = 0;
    for (; i + 8 <= job->n; i += 8)
        _mm256_storeu_si256((void *)(out + i),
                            count8_rows(job->query, rows + (size_t)i * row_bytes, row_bytes));
    return i;
}

/* As many rows that follow each other as there are in eights; returns their number. */
static uint32_t count_eights(int32_t *out, const struct ruvm_vector_job *job)
{
    const __m128i q =
        _mm_maskload_epi64(job->query, _mm_set_epi64x(job->row_bytes > 8 ? -1 : 0, -1));
    switch (job->row_bytes) {
    case 8: return count_short(out, job, _mm256_broadcastq_epi64(q), count8_words);
    case 16: return count_short(out, job, _mm256_broadcastsi128_si256(q), count8_pairs);
    case 32: return count_long(out, job, 32);
    case 64: return count_long(out, job, 64);
    case 128: return count_long(out, job, 128);
    default: return count_long(out, job, job->row_bytes);
    }
}

static void hamming(int32_t *out, const struct ruvm_vector_job *job)
{
    struct ruvm_vector_job rest = *job;
    uint32_t done = job->ids || job->stride != job->row_bytes ? 0 : count_eights(out, job);
    rest.rows = (const uint8_t *)job->rows + (size_t)done * job->stride;
    rest.n -= done;
    if (rest.n)
        rows_in_turns(out + done, &rest, step_hamming);
}

/* ---- keys ------------------------------------------------------------------ */

static void scaled(uint32_t *keys, const int32_t *products, const uint8_t *scales, uint32_t n,
                   uint32_t shift)
{
    keys_scaled(keys, products, scales, n, shift);
}

/* Comparisons are of signed numbers: both are moved by half of their range. */
static inline uint32_t mask8_of(const uint32_t *keys, __m256i bound)
{
    const __m256i half = _mm256_set1_epi32(INT32_MIN);
    __m256i moved = _mm256_xor_si256(_mm256_loadu_si256((const void *)keys), half);
    __m256i is_below = _mm256_cmpgt_epi32(_mm256_xor_si256(bound, half), moved);
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(is_below));
}

static inline uint32_t mask_of(const uint32_t *keys, uint32_t bound)
{
    __m256i b = _mm256_set1_epi32((int)bound);
    return mask8_of(keys, b) | mask8_of(keys + 8, b) << 8;
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

const struct ruvm_vector_kernels ruvm_vector_kernels_avx2 = {
    .name = "avx2",
    .available = available,
    .dot = dot,
    .manhattan = manhattan,
    .hamming = hamming,
    .hamming_below = hamming_below,
    .scaled = scaled,
    .below = below,
};
