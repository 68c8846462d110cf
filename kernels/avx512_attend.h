/* AVX-512: attention of sixteen queries of one head at once, a lane each.
 *
 * Scores and mixed values are matrix products then: two values of 16 bits, of keys or of
 * cached values, go to all lanes. Softmax is what it is for one query, but neither its largest
 * score nor its sum is looked for across lanes. Keys and values are widened in pieces that
 * stay in the nearest cache. */
#ifndef RUVM_KERNELS_AVX512_ATTEND_H
#define RUVM_KERNELS_AVX512_ATTEND_H

#include "kernels/avx512_heads.h"

enum {
    ATTEND_TILE = 8,   /* positions or channels that share what is loaded of all lanes */
    ATTEND_PIECE = 64, /* positions that are widened at a time */
    ATTEND_PAIRS = RUVM_ATTEND_MAX_DIM / 2
};

/* Rows have a lane a query. */
struct attend_room {
    int32_t queries[ATTEND_PAIRS][LANES];  /* two channels a row */
    int32_t scores[RUVM_MIX_BLOCK][LANES]; /* of positions; then weights, two positions a row */
    int32_t mixed[RUVM_ATTEND_MAX_DIM][LANES];
    int32_t piece[ATTEND_PIECE * ATTEND_PAIRS]; /* keys or values, two a number */
};

/* Row i becomes lane i. */
static inline void attend_transpose(__m512i r[LANES])
{
    __m512i t[LANES], u[LANES];
    X86_UNROLL
    for (uint32_t i = 0; i < LANES; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < LANES; i += 4) {
        u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    X86_UNROLL
    for (uint32_t i = 0; i < 4; i++) { /* quarter k of them has row 4k + i */
        __m512i even = _mm512_shuffle_i32x4(u[i], u[4 + i], 0x88);
        __m512i even2 = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0x88);
        __m512i odd = _mm512_shuffle_i32x4(u[i], u[4 + i], 0xdd);
        __m512i odd2 = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0xdd);
        r[i] = _mm512_shuffle_i32x4(even, even2, 0x88);
        r[4 + i] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
        r[8 + i] = _mm512_shuffle_i32x4(even, even2, 0xdd);
        r[12 + i] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
    }
}

/* Per query, 0 in the lanes that have none. */
static inline __m512i attend_lanes(const struct ruvm_attend *a, const uint32_t *of_queries)
{
    return _mm512_maskz_loadu_epi32(lanes_from(0, a->n), of_queries);
}

static inline uint32_t attend_most(const struct ruvm_attend *a)
{
    return _mm512_reduce_max_epu32(attend_lanes(a, a->n_pos));
}

/* ---- products ------------------------------------------------------------------------ */

/* acc[i] += the sum over j < n of row j of lanes times b[i * row + j * step], two products each. */
X86_INLINE void attend_tile(__m512i acc[ATTEND_TILE], const int32_t *lanes, const int32_t *b,
                            size_t row, size_t step, uint32_t n)
{
    for (uint32_t j = 0; j < n; j++, b += step, lanes += LANES) {
        __m512i x = _mm512_load_si512(lanes);
        X86_UNROLL
        for (size_t i = 0; i < ATTEND_TILE; i++)
            acc[i] = _mm512_dpwssd_epi32(acc[i], x, _mm512_set1_epi32(b[i * row]));
    }
}

static inline void attend_queries(struct attend_room *room, const struct ruvm_attend *a)
{
    const uint32_t pairs = a->head_dim / 2;
    int16_t rows[LANES][RUVM_ATTEND_MAX_DIM];
    __m512i r[LANES];
    for (uint32_t i = 0; i < a->n; i++)
        avx512_narrow(rows[i], a->v[i], a->head_dim, a->up[i], a->down[i], a->narrow_mult[i]);
    for (uint32_t c = 0; c < pairs; c += LANES) {
        for (uint32_t i = 0; i < LANES; i++)
            r[i] = _mm512_maskz_loadu_epi32(i < a->n ? lanes_from(c, pairs) : 0, rows[i] + 2 * c);
        attend_transpose(r);
        for (uint32_t i = 0; i < LANES && c + i < pairs; i++)
            _mm512_store_si512(room->queries[c + i], r[i]);
    }
}

/* Those keys, and zeros to the end of the last tile. */
static inline void attend_widen_keys(int32_t *to, const int8_t *keys, uint32_t n, uint32_t head_dim)
{
    const uint32_t padded = (n + ATTEND_TILE - 1) / ATTEND_TILE * ATTEND_TILE * head_dim;
    for (uint32_t i = 0; i < padded; i += 32, to += LANES) {
        __mmask32 bytes = (__mmask32)bytes_of(i, n * head_dim);
        _mm512_storeu_si512(to, _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(bytes, keys + i)));
    }
}

/* Returns the largest score of each query. */
static inline __m512i attend_scores(struct attend_room *room, const struct ruvm_attend *a)
{
    const uint32_t most = attend_most(a), pairs = a->head_dim / 2;
    const __m512i n_pos = attend_lanes(a, a->n_pos);
    __m512i max = _mm512_set1_epi32(INT32_MIN);
    for (uint32_t p = 0; p < most; p += ATTEND_TILE) {
        const uint32_t at = p % ATTEND_PIECE, left = most - p;
        if (at == 0)
            attend_widen_keys(room->piece, a->keys + (size_t)p * a->head_dim,
                              left < ATTEND_PIECE ? left : ATTEND_PIECE, a->head_dim);
        __m512i acc[ATTEND_TILE] = {0};
        attend_tile(acc, room->queries[0], room->piece + (size_t)at * pairs, pairs, 1, pairs);
        X86_UNROLL
        for (uint32_t i = 0; i < ATTEND_TILE; i++) {
            __mmask16 seen = _mm512_cmpgt_epi32_mask(n_pos, _mm512_set1_epi32((int32_t)(p + i)));
            max = _mm512_mask_max_epi32(max, seen, max, acc[i]);
            _mm512_store_si512(room->scores[p + i], acc[i]);
        }
    }
    return max;
}

/* ---- softmax ------------------------------------------------------------------------- */

/* As struct softmax; of odd lanes in even ones what the products of these are made with. */
struct attend_softmax {
    __m512i max, n_pos, mult, odd_mult;
    __m512i shift, odd_shift; /* of 64 bits; or shift of 32, less 32 */
};

static inline struct attend_softmax attend_softmax(const struct ruvm_attend *a, __m512i max,
                                                   bool is_high)
{
    const __m512i mult = attend_lanes(a, a->mult), shift = attend_lanes(a, a->shift);
    return (struct attend_softmax){
        .max = max,
        .n_pos = attend_lanes(a, a->n_pos),
        .mult = mult,
        .odd_mult = _mm512_srli_epi64(mult, 32),
        .shift = is_high ? _mm512_sub_epi32(shift, _mm512_set1_epi32(32))
                         : _mm512_maskz_mov_epi32(0x5555, shift),
        .odd_shift = _mm512_srli_epi64(shift, 32),
    };
}

/* As softmax_t, of position p; RUVM_EXP2_ZERO where it is not seen. */
X86_INLINE __m512i attend_t(const struct attend_softmax *m, bool is_high, const int32_t *scores,
                            uint32_t p)
{
    const __m512i zero = _mm512_set1_epi32(RUVM_EXP2_ZERO);
    __mmask16 seen = _mm512_cmpgt_epi32_mask(m->n_pos, _mm512_set1_epi32((int32_t)p));
    __m512i below = _mm512_sub_epi32(m->max, _mm512_load_si512(scores));
    __m512i even = _mm512_mul_epu32(below, m->mult);
    __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(below, 32), m->odd_mult);
    if (is_high) {
        __m512i high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, 0xf5);
        return _mm512_mask_min_epu32(zero, seen, _mm512_srlv_epi32(high, m->shift), zero);
    }
    const __m512i most = _mm512_set1_epi64(RUVM_EXP2_ZERO);
    even = _mm512_min_epu64(_mm512_srlv_epi64(even, m->shift), most);
    odd = _mm512_min_epu64(_mm512_srlv_epi64(odd, m->odd_shift), most);
    return _mm512_mask_mov_epi32(zero, seen, wide_join((struct wide){even, odd}));
}

/* Weights take the place of scores; returns their sums. */
X86_INLINE __m512i attend_weights(struct attend_room *room, const struct ruvm_attend *a,
                                  __m512i max, bool is_high)
{
    const struct attend_softmax m = attend_softmax(a, max, is_high);
    const uint32_t most = attend_most(a);
    const __m512i one = _mm512_set1_epi16(1);
    __m512i sum = _mm512_setzero_si512();
    for (uint32_t p = 0; p < most; p += 2) {
        __m512i w = softmax_pairs(attend_t(&m, is_high, room->scores[p], p),
                                  attend_t(&m, is_high, room->scores[p + 1], p + 1));
        sum = _mm512_dpwssd_epi32(sum, w, one);
        _mm512_store_si512(room->scores[p / 2], w);
    }
    return sum;
}

static inline __m512i attend_softmax_all(struct attend_room *room, const struct ruvm_attend *a,
                                         __m512i max)
{
    const __mmask16 lanes = lanes_from(0, a->n);
    const __m512i shift = attend_lanes(a, a->shift);
    if (_mm512_mask_cmplt_epu32_mask(lanes, shift, _mm512_set1_epi32(32)) == 0)
        return attend_weights(room, a, max, true);
    return attend_weights(room, a, max, false);
}

/* ---- values -------------------------------------------------------------------------- */

/* Two positions side by side; the last of an odd number is there twice, and the second time
 * has no weight. */
static inline void attend_widen_values(int32_t *to, const int8_t *values, uint32_t n,
                                       uint32_t head_dim)
{
    for (uint32_t p = 0; p < n; p += 2, values += 2 * (size_t)head_dim, to += head_dim) {
        const int8_t *next = p + 1 < n ? values + head_dim : values;
        for (uint32_t d = 0; d < head_dim; d += LANES) {
            __mmask16 lanes = lanes_from(d, head_dim);
            __m512i a = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(lanes, values + d));
            __m512i b = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(lanes, next + d));
            store32(to + d, lanes, _mm512_mask_mov_epi16(a, 0xaaaaaaaa, _mm512_slli_epi32(b, 16)));
        }
    }
}

static inline void attend_mix(struct attend_room *room, const struct ruvm_attend *a)
{
    const uint32_t most = attend_most(a), dim = a->head_dim;
    for (uint32_t p = 0, n; p < most; p += n) {
        n = most - p < ATTEND_PIECE ? most - p : ATTEND_PIECE;
        attend_widen_values(room->piece, a->values + (size_t)p * dim, n, dim);
        for (uint32_t d = 0; d < dim; d += ATTEND_TILE) {
            __m512i acc[ATTEND_TILE] = {0};
            for (uint32_t i = 0; p && i < ATTEND_TILE; i++)
                acc[i] = _mm512_load_si512(room->mixed[d + i]);
            attend_tile(acc, room->scores[p / 2], room->piece + d, 1, dim, (n + 1) / 2);
            X86_UNROLL
            for (uint32_t i = 0; i < ATTEND_TILE; i++)
                _mm512_store_si512(room->mixed[d + i], acc[i]);
        }
    }
}

/* As divide does it, each lane by its own sum. */
struct attend_divisors {
    uint32_t down[LANES], inverse[LANES];
};

static inline struct attend_divisors attend_divisors(uint32_t n, __m512i totals)
{
    struct attend_divisors all = {0};
    uint32_t of[LANES];
    _mm512_storeu_si512(of, totals);
    for (uint32_t i = 0; i < n; i++) {
        struct ruvm_divisor d = ruvm_divisor_of(of[i]);
        all.down[i] = d.down;
        all.inverse[i] = d.inverse;
    }
    return all;
}

/* Quotients have few more than 15 bits, so the lower halves of the products' shifts are all. */
static inline __m512i attend_divide(const int32_t *mixed, __m512i down, __m512i inverse,
                                    uint16_t scale)
{
    const __m512i most = _mm512_set1_epi32(32767), least = _mm512_set1_epi32(-32767);
    __m512i x = _mm512_srav_epi32(_mm512_load_si512(mixed), down);
    __m512i even = _mm512_mul_epi32(x, inverse);
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(inverse, 32));
    x = wide_join((struct wide){_mm512_srli_epi64(even, 23), _mm512_srli_epi64(odd, 23)});
    x = _mm512_max_epi32(_mm512_min_epi32(x, most), least);
    return _mm512_mullo_epi32(x, _mm512_set1_epi32(scale));
}

static inline void attend_end(const struct attend_room *room, const struct ruvm_attend *a,
                              __m512i totals)
{
    const struct attend_divisors by = attend_divisors(a->n, totals);
    const __m512i down = _mm512_loadu_si512(by.down), inverse = _mm512_loadu_si512(by.inverse);
    __m512i r[LANES];
    for (uint32_t d = 0; d < a->head_dim; d += LANES) {
        for (uint32_t i = 0; i < LANES; i++)
            r[i] = d + i < a->head_dim
                       ? attend_divide(room->mixed[d + i], down, inverse, a->scale[d + i])
                       : _mm512_setzero_si512();
        attend_transpose(r);
        for (uint32_t i = 0; i < a->n; i++)
            store32(a->v[i] + d, lanes_from(d, a->head_dim), r[i]);
    }
}

static inline void avx512_attend(const struct ruvm_attend *a)
{
    _Alignas(64) struct attend_room room;
    attend_queries(&room, a);
    __m512i max = attend_scores(&room, a);
    __m512i totals = attend_softmax_all(&room, a, max);
    attend_mix(&room, a);
    attend_end(&room, a, totals);
}

#endif
