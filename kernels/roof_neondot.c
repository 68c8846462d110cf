/* Roofs of NEON with dot product: sdot multiplies 16 bytes. */
#include <arm_neon.h>

#include "kernels/roof_neon.h"

enum { N_SUMS = 12 };

static uint32_t multiply(const int8_t *operand, uint32_t rounds)
{
    int8x16_t x = vld1q_s8(operand), y = vld1q_s8(operand + 16);
    int32x4_t sum[N_SUMS];
    for (int j = 0; j < N_SUMS; j++)
        sum[j] = vdupq_n_s32(j); /* equal sums would be computed once */
    for (uint32_t i = 0; i < rounds; i++) {
        sum[0] = vdotq_s32(sum[0], x, y);
        sum[1] = vdotq_s32(sum[1], x, y);
        sum[2] = vdotq_s32(sum[2], x, y);
        sum[3] = vdotq_s32(sum[3], x, y);
        sum[4] = vdotq_s32(sum[4], x, y);
        sum[5] = vdotq_s32(sum[5], x, y);
        sum[6] = vdotq_s32(sum[6], x, y);
        sum[7] = vdotq_s32(sum[7], x, y);
        sum[8] = vdotq_s32(sum[8], x, y);
        sum[9] = vdotq_s32(sum[9], x, y);
        sum[10] = vdotq_s32(sum[10], x, y);
        sum[11] = vdotq_s32(sum[11], x, y);
    }
    for (int j = 1; j < N_SUMS; j++)
        sum[0] = vaddq_s32(vshlq_n_s32(sum[0], 1), sum[j]);
    return (uint32_t)vaddvq_s32(sum[0]);
}

const struct ruvm_roof ruvm_roof_neondot = {
    .kernels = "neondot",
    .instruction = "sdot, 128 bits",
    .macs = N_SUMS * 16,
    .read = neon_read,
    .multiply = multiply,
};
