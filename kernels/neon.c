/* NEON: every AArch64.
 *
 * Two products of bytes, at most 2 * 127 * 127, fit into 16 bits; then pairs of
 * those are added to 32. */
#include "kernels/neon_codes.h"
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

/* Products of two, of both halves of a pair: at most 2 * 15 * 127, and two of these added. */
static inline int32x4_t dot_pairs(int32x4_t acc, struct neon_pair w, struct neon_pair x)
{
    int16x8_t low = vmull_s8(vget_low_s8(w.low), vget_low_s8(x.low));
    int16x8_t high = vmull_high_s8(w.low, x.low);
    low = vmlal_s8(low, vget_low_s8(w.high), vget_low_s8(x.high));
    high = vmlal_high_s8(high, w.high, x.high);
    return vpadalq_s16(acc, vpaddq_s16(low, high));
}

static void matmul_int4(const struct ruvm_matmul_codes *m)
{
    neon_matmul_codes(4, m, dot_pairs);
}

static void matmul_int3(const struct ruvm_matmul_codes *m)
{
    neon_matmul_codes(3, m, dot_pairs);
}

static void matmul_int2(const struct ruvm_matmul_codes *m)
{
    neon_matmul_codes(2, m, dot_pairs);
}

static void matmul_binary(const struct ruvm_matmul_codes *m)
{
    neon_matmul_codes(1, m, dot_pairs);
}

static void matmul_ternary(const struct ruvm_matmul_codes *m)
{
    neon_matmul_ternary(m, dot);
}

const struct ruvm_kernels ruvm_kernels_neon = {
    .name = "neon",
    .available = available,
    .matmul_s8 = matmul_s8,
    .matmul_int4 = matmul_int4,
    .matmul_int3 = matmul_int3,
    .matmul_int2 = matmul_int2,
    .matmul_binary = matmul_binary,
    .matmul_ternary = matmul_ternary,
    .matmul_xnor = neon_xnor,
    .scores = neon_scores,
    .weights = ruvm_elementwise_weights,
    .mix = neon_mix,
    .rotate = ruvm_elementwise_rotate,
    .to_cache = ruvm_elementwise_to_cache,
    .narrow = ruvm_elementwise_narrow,
    .divide = ruvm_elementwise_divide,
    .unpack = ruvm_elementwise_unpack,
    .rescale = ruvm_elementwise_rescale,
    .amax = ruvm_elementwise_amax,
    .largest = ruvm_elementwise_largest,
    .quantize = ruvm_elementwise_quantize,
    .add_scaled = ruvm_elementwise_add_scaled,
    .norm = ruvm_elementwise_norm,
    .swiglu = ruvm_elementwise_swiglu,
    .spread = ruvm_elementwise_spread,
    .layernorm = ruvm_elementwise_layernorm,
    .scale = ruvm_elementwise_scale,
    .add_bias = ruvm_elementwise_add_bias,
    .gelu = ruvm_elementwise_gelu,
    .relu = ruvm_elementwise_relu,
};
