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

static inline __m256i step_hamming(__m256i acc, __m256i q, __m256i row)
{
    const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                            2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    __m256i x = _mm256_xor_si256(q, row);
    __m256i n = _mm256_add_epi8(
        _mm256_shuffle_epi8(counts, _mm256_and_si256(x, low)),
        _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
    return _mm256_add_epi32(acc, _mm256_sad_epu8(n, _mm256_setzero_si256()));
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

/* Rows of 8 bytes that follow each other: four to a register, each with its own sum. */
static uint32_t hamming_words(int32_t *out, const struct ruvm_vector_job *job)
{
    const uint8_t *rows = job->rows;
    long long word;
    __builtin_memcpy(&word, job->query, sizeof word);
    const __m256i q = _mm256_set1_epi64x(word);
    const __m256i low_halves = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    uint32_t i = 0;
    for (; i + 4 <= job->n; i += 4) {
        __m256i sums = step_hamming(_mm256_setzero_si256(), q, load(rows + (size_t)i * 8));
        sums = _mm256_permutevar8x32_epi32(sums, low_halves);
        _mm_storeu_si128((void *)(out + i), _mm256_castsi256_si128(sums));
    }
    return i;
}

static void hamming(int32_t *out, const struct ruvm_vector_job *job)
{
    struct ruvm_vector_job rest = *job;
    uint32_t done =
        job->row_bytes == 8 && job->stride == 8 && !job->ids ? hamming_words(out, job) : 0;
    rest.rows = (const uint8_t *)job->rows + (size_t)done * job->stride;
    rest.n -= done;
    all_rows(out + done, &rest, step_hamming);
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

const struct ruvm_vector_kernels ruvm_vector_kernels_avx2 = {
    .name = "avx2",
    .available = available,
    .dot = dot,
    .manhattan = manhattan,
    .hamming = hamming,
    .scaled = scaled,
    .least = least,
};
