/* NEON with dot product (ARMv8.2 and most phones since 2018): one instruction
 * multiplies and adds four bytes a lane. */
#include "kernels/neon_codes.h"
#include "kernels/neon_panels.h"
#include "kernels/variants.h"

enum { AT_HWCAP_ENTRY = 16, HWCAP_ASIMDDP_BIT = 1 << 20 };

/* Of <sys/auxv.h>: what the Linux kernel told this process about its processor. */
unsigned long getauxval(unsigned long type);

static int available(void)
{
    return (getauxval(AT_HWCAP_ENTRY) & HWCAP_ASIMDDP_BIT) != 0;
}

static inline int32x4_t dot(int32x4_t acc, int8x16_t w, int8x16_t x)
{
    return vdotq_s32(acc, w, x);
}

static void matmul_s8(const struct ruvm_matmul *m)
{
    neon_matmul_s8(m, dot);
}

static inline int32x4_t dot_pairs(int32x4_t acc, struct neon_pair w, struct neon_pair x)
{
    return vdotq_s32(vdotq_s32(acc, w.low, x.low), w.high, x.high);
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

/* The instruction takes its four columns of x from a lane. */
NEON_INLINE struct panel_sum add(struct panel_sum s, int8x16_t w, int8x16_t x, uint32_t lane)
{
    switch (lane) {
    case 0: s.a = vdotq_laneq_s32(s.a, w, x, 0); break;
    case 1: s.a = vdotq_laneq_s32(s.a, w, x, 1); break;
    case 2: s.a = vdotq_laneq_s32(s.a, w, x, 2); break;
    default: s.a = vdotq_laneq_s32(s.a, w, x, 3); break;
    }
    return s;
}

NEON_INLINE struct panel_sum add_s8(struct panel_sum s, const int8x16_t w[2], int8x16_t x,
                                    uint32_t pair)
{
    return add(add(s, w[0], x, 2 * pair), w[1], x, 2 * pair + 1);
}

static inline int32x4_t end_s8(struct panel_sum s)
{
    return s.a;
}

static inline struct panel_sum begin(int32x4_t acc)
{
    return (struct panel_sum){acc, acc};
}

static inline int32x4_t end(int32x4_t acc, struct panel_sum s)
{
    (void)acc; /* it began with it */
    return s.a;
}

static void matmul_part(const struct ruvm_matmul_panels *m)
{
    neon_matmul_panels((struct panel_products){add_s8, end_s8, begin, add, end, 4, 4}, m);
}

static void matmul_panels(const struct ruvm_matmul_panels *m)
{
    panel_each_part_once(m, matmul_part);
}

const struct ruvm_kernels ruvm_kernels_neondot = {
    .name = "neondot",
    .available = available,
    .matmul_s8 = matmul_s8,
    .matmul_int4 = matmul_int4,
    .matmul_int3 = matmul_int3,
    .matmul_int2 = matmul_int2,
    .matmul_binary = matmul_binary,
    .matmul_ternary = matmul_ternary,
    .matmul_xnor = neon_xnor,
    .matmul_panels = matmul_panels,
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
