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

static void hamming(int32_t *out, const struct ruvm_vector_job *job)
{
    const uint8_t *q = job->query;
    for (uint32_t i = 0; i < job->n; i++) {
        const uint8_t *row = row_of(job, i);
        uint32_t sum = 0;
        for (uint32_t c = 0; c < job->row_bytes; c += 8)
            sum += vaddlv_u8(vcnt_u8(veor_u8(vld1_u8(q + c), vld1_u8(row + c))));
        out[i] = (int32_t)sum;
    }
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

const struct ruvm_vector_kernels ruvm_vector_kernels_neon = {
    .name = "neon",
    .available = available,
    .dot = dot,
    .manhattan = manhattan,
    .hamming = hamming,
    .scaled = scaled,
    .least = least,
};
