/* NEON: vector search on every AArch64.
 *
 * Products of bytes are widened to 16 bits and added up by pairs in 32; differences are
 * widened twice as they are added; bits are counted by bytes. */
#include <arm_neon.h>

#include "kernels/vectors_keys.h"

static int available(void)
{
    return 1;
}

static inline const uint8_t *row_of(const struct ruvm_vector_job *job, uint32_t i)
{
    const uint8_t *rows = job->rows;
    return rows + (job->ids ? job->ids[i] : i) * job->stride;
}

static void dot(int32_t *out, const struct ruvm_vector_job *job)
{
    const int8_t *q = job->query;
    for (uint32_t i = 0; i < job->n; i++) {
        const int8_t *row = (const int8_t *)row_of(job, i);
        int32x4_t acc = vdupq_n_s32(0);
        for (uint32_t c = 0; c < job->row_bytes; c += 16) {
            int8x16_t a = vld1q_s8(q + c), b = vld1q_s8(row + c);
            acc = vpadalq_s16(acc, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
            acc = vpadalq_s16(acc, vmull_high_s8(a, b));
        }
        out[i] = vaddvq_s32(acc);
    }
}

/* A sum of two bytes' differences is at most 2 * 254. */
static void manhattan(int32_t *out, const struct ruvm_vector_job *job)
{
    const int8_t *q = job->query;
    for (uint32_t i = 0; i < job->n; i++) {
        const int8_t *row = (const int8_t *)row_of(job, i);
        uint32x4_t acc = vdupq_n_u32(0);
        for (uint32_t c = 0; c < job->row_bytes; c += 16) {
            uint8x16_t d = vreinterpretq_u8_s8(vabdq_s8(vld1q_s8(q + c), vld1q_s8(row + c)));
            acc = vpadalq_u16(acc, vpaddlq_u8(d));
        }
        out[i] = (int32_t)vaddvq_u32(acc);
    }
}

/* ---- bits ------------------------------------------------------------------ */

/* The bits of each byte that differ, of 16 bytes. */
static inline uint8x16_t differing(uint8x16_t q, const uint8_t *row)
{
    return vcntq_u8(veorq_u8(q, vld1q_u8(row)));
}

/* The bits of a row, in eight parts. A byte counts at most 8 of each 16, so that those of the
 * longest row fit into it. */
static inline uint16x8_t count_row(const uint8_t *q, const uint8_t *row, uint32_t n)
{
    uint8x16_t sum = vdupq_n_u8(0);
    uint32_t c = 0;
    for (; c + 16 <= n; c += 16)
        sum = vaddq_u8(sum, differing(vld1q_u8(q + c), row + c));
    if (c < n) {
        uint8x8_t last = vcnt_u8(veor_u8(vld1_u8(q + c), vld1_u8(row + c)));
        sum = vaddq_u8(sum, vcombine_u8(last, vdup_n_u8(0)));
    }
    return vpaddlq_u8(sum);
}

static inline void store8(int32_t *out, uint16x8_t counts)
{
    vst1q_s32(out, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(counts))));
    vst1q_s32(out + 4, vreinterpretq_s32_u32(vmovl_high_u16(counts)));
}

/* Eight rows of 8 bytes that follow each other, two in a register: pairs of bytes are added up
 * until two bytes of each row are left. */
static inline uint16x8_t count8_words(uint8x16_t q, const uint8_t *rows)
{
    uint8x16_t a = vpaddq_u8(differing(q, rows), differing(q, rows + 16));
    uint8x16_t b = vpaddq_u8(differing(q, rows + 32), differing(q, rows + 48));
    return vpaddlq_u8(vpaddq_u8(a, b));
}

static inline uint16x8_t count8_rows(const uint8_t *q, const uint8_t *rows, uint32_t n)
{
    uint16x8_t v[8];
    for (uint32_t k = 0; k < 8; k++)
        v[k] = count_row(q, rows + k * n, n);
    for (uint32_t k = 0; k < 4; k++)
        v[k] = vpaddq_u16(v[2 * k], v[2 * k + 1]);
    return vpaddq_u16(vpaddq_u16(v[0], v[1]), vpaddq_u16(v[2], v[3]));
}

/* As many rows that follow each other as there are in eights; returns their number. */
static uint32_t count_eights(int32_t *out, const struct ruvm_vector_job *job)
{
    const uint8_t *rows = job->rows, *q = job->query;
    const uint32_t n = job->row_bytes;
    const uint8x16_t twice = vcombine_u8(vld1_u8(q), vld1_u8(q));
    uint32_t i = 0;
    for (; i + 8 <= job->n; i += 8, rows += 8 * (size_t)n)
        store8(out + i, n == 8 ? count8_words(twice, rows) : count8_rows(q, rows, n));
    return i;
}

static void hamming(int32_t *out, const struct ruvm_vector_job *job)
{
    uint32_t i = job->ids || job->stride != job->row_bytes ? 0 : count_eights(out, job);
    for (; i < job->n; i++)
        out[i] = (int32_t)vaddvq_u16(count_row(job->query, row_of(job, i), job->row_bytes));
}

static void scaled(uint32_t *keys, const int32_t *products, const uint8_t *scales, uint32_t n,
                   uint32_t shift)
{
    keys_scaled(keys, products, scales, n, shift);
}

/* Bit i for key i, where it is below bound: nothing but the sum of them, mostly 0. */
static inline uint32_t mask_of(const uint32_t *keys, uint32_t bound)
{
    static const uint32_t bit[] = {1, 2, 4, 8};
    uint32x4_t bits = vld1q_u32(bit), b = vdupq_n_u32(bound), mask = vdupq_n_u32(0);
    mask = vorrq_u32(mask, vandq_u32(vcltq_u32(vld1q_u32(keys), b), bits));
    mask = vorrq_u32(mask, vandq_u32(vcltq_u32(vld1q_u32(keys + 4), b), vshlq_n_u32(bits, 4)));
    mask = vorrq_u32(mask, vandq_u32(vcltq_u32(vld1q_u32(keys + 8), b), vshlq_n_u32(bits, 8)));
    mask = vorrq_u32(mask, vandq_u32(vcltq_u32(vld1q_u32(keys + 12), b), vshlq_n_u32(bits, 12)));
    return vaddvq_u32(mask);
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

const struct ruvm_vector_kernels ruvm_vector_kernels_neon = {
    .name = "neon",
    .available = available,
    .dot = dot,
    .manhattan = manhattan,
    .hamming = hamming,
    .hamming_below = hamming_below,
    .scaled = scaled,
    .below = below,
};
