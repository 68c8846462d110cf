/* NEON: every AArch64.
 *
 * Two products of bytes, at most 2 * 127 * 127, fit into 16 bits; then pairs of
 * those are added to 32. */
#include "kernels/neon.h"
#include "kernels/variants.h"

static int available(void)
{
    return 1;
}

static inline int32x4_t dot(int32x4_t acc, int8x16_t w, int8x16_t x)
{
    int16x8_t products = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    return vpadalq_s16(acc, vmlal_high_s8(products, w, x));
}

static void matmul_s8(const struct ruvm_matmul *m)
{
    neon_matmul_s8(m, dot);
}

const struct ruvm_kernels ruvm_kernels_neon = {
    .name = "neon",
    .available = available,
    .matmul_s8 = matmul_s8,
    .scores = neon_scores,
    .weights = ruvm_elementwise_weights,
    .mix = neon_mix,
    .rescale = ruvm_elementwise_rescale,
    .amax = ruvm_elementwise_amax,
    .quantize = ruvm_elementwise_quantize,
    .add_scaled = ruvm_elementwise_add_scaled,
    .norm = ruvm_elementwise_norm,
    .swiglu = ruvm_elementwise_swiglu,
};
