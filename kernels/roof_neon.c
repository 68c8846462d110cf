/* Roofs of NEON: smull, smlal2 and sadalp multiply 16 bytes into sums of 32 bits. */
#include <arm_neon.h>

#include "kernels/roof_neon.h"

enum { N_SUMS = 8 };

/* The sum is a part of the next products, or the compiler would multiply once for all. */
static inline int32x4_t step(int32x4_t sum, int8x16_t x, int8x16_t y)
{
    int8x16_t s = vreinterpretq_s8_s32(sum);
    int16x8_t products = vmull_s8(vget_low_s8(x), vget_low_s8(s));
    return vpadalq_s16(sum, vmlal_high_s8(products, s, y));
}

static uint32_t multiply(const int8_t *operand, uint32_t rounds)
{
    int8x16_t x = vld1q_s8(operand), y = vld1q_s8(operand + 16);
    int32x4_t sum[N_SUMS];
    for (int j = 0; j < N_SUMS; j++)
        sum[j] = vdupq_n_s32(j); /* equal sums would be computed once */
    for (uint32_t i = 0; i < rounds; i++) {
        sum[0] = step(sum[0], x, y);
        sum[1] = step(sum[1], x, y);
        sum[2] = step(sum[2], x, y);
        sum[3] = step(sum[3], x, y);
        sum[4] = step(sum[4], x, y);
        sum[5] = step(sum[5], x, y);
        sum[6] = step(sum[6], x, y);
        sum[7] = step(sum[7], x, y);
    }
    for (int j = 1; j < N_SUMS; j++)
        sum[0] = vaddq_s32(vshlq_n_s32(sum[0], 1), sum[j]);
    return (uint32_t)vaddvq_s32(sum[0]);
}

const struct ruvm_roof ruvm_roof_neon = {
    .kernels = "neon",
    .instruction = "smull, smlal2, sadalp, 128 bits",
    .macs = N_SUMS * 16,
    .read = neon_read,
    .multiply = multiply,
};
