/* NEON: every AArch64.
 *
 * Two products of bytes, at most 2 * 127 * 127, fit into 16 bits; then pairs of
 * those are added to 32. */
#include "kernels/neon_codes.h"
#include "kernels/neon_panels.h"
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

/* Four columns of x for each row. */
NEON_INLINE int8x16_t four_of(int8x16_t x, uint32_t lane)
{
    int32x4_t fours = vreinterpretq_s32_s8(x);
    switch (lane) {
    case 0: return vreinterpretq_s8_s32(vdupq_laneq_s32(fours, 0));
    case 1: return vreinterpretq_s8_s32(vdupq_laneq_s32(fours, 1));
    case 2: return vreinterpretq_s8_s32(vdupq_laneq_s32(fours, 2));
    default: return vreinterpretq_s8_s32(vdupq_laneq_s32(fours, 3));
    }
}

/* a is of two rows, b of the others: two lanes each. */
NEON_INLINE struct panel_sum add_s8(struct panel_sum s, const int8x16_t w[2], int8x16_t x,
                                    uint32_t pair)
{
    int8x16_t first = four_of(x, 2 * pair), second = four_of(x, 2 * pair + 1);
    int16x8_t a = vmull_s8(vget_low_s8(w[0]), vget_low_s8(first));
    int16x8_t b = vmull_high_s8(w[0], first);
    a = vmlal_s8(a, vget_low_s8(w[1]), vget_low_s8(second));
    b = vmlal_high_s8(b, w[1], second);
    return (struct panel_sum){vpadalq_s16(s.a, a), vpadalq_s16(s.b, b)};
}

static inline int32x4_t end_s8(struct panel_sum s)
{
    return vpaddq_s32(s.a, s.b);
}

/* Of codes there are sums of 16 bits, four lanes a row: 8 products of at most 15 * 127, and two
 * of these added. */
static inline struct panel_sum begin(int32x4_t acc)
{
    (void)acc; /* comes in at the end */
    return (struct panel_sum){vdupq_n_s32(0), vdupq_n_s32(0)};
}

NEON_INLINE struct panel_sum add(struct panel_sum s, int8x16_t w, int8x16_t x, uint32_t lane)
{
    int8x16_t four = four_of(x, lane);
    int16x8_t a = vmlal_s8(vreinterpretq_s16_s32(s.a), vget_low_s8(w), vget_low_s8(four));
    int16x8_t b = vmlal_high_s8(vreinterpretq_s16_s32(s.b), w, four);
    return (struct panel_sum){vreinterpretq_s32_s16(a), vreinterpretq_s32_s16(b)};
}

static inline int32x4_t end(int32x4_t acc, struct panel_sum s)
{
    return vpadalq_s16(acc, vpaddq_s16(vreinterpretq_s16_s32(s.a), vreinterpretq_s16_s32(s.b)));
}

static void matmul_part(const struct ruvm_matmul_panels *m)
{
    neon_matmul_panels((struct panel_products){add_s8, end_s8, begin, add, end, 1, 2}, m);
}

static void matmul_panels(const struct ruvm_matmul_panels *m)
{
    panel_each_part_once(m, matmul_part);
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
