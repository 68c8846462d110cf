/* Scalar: every kernel in plain C, for any machine; the oracle of all others.
 *
 * This file is also the engine's arithmetic on a small chip, where a load costs
 * as much as a multiplication: so rows and positions go four at a time, each
 * loaded input serving four. Loops that walk pointers and are unrolled by 4 take
 * 3.6 instructions a product on RV32; unrolled further, they spill registers. */
#include "kernels/elementwise.h"
#include "kernels/scalar_codes.h"

#ifdef __clang__ /* vectorises only what it need not unroll */
#define UNROLL_BY_4
#else
#define UNROLL_BY_4 _Pragma("GCC unroll 4")
#endif

const uint16_t ruvm_scalar_sigmoid[257] = {
    16384, 16896, 17407, 17916, 18421, 18923, 19420, 19912, 20397, 20874, 21344, 21804, 22255,
    22696, 23127, 23547, 23955, 24352, 24737, 25110, 25471, 25819, 26155, 26479, 26790, 27090,
    27377, 27653, 27917, 28169, 28411, 28642, 28862, 29072, 29272, 29462, 29644, 29816, 29979,
    30135, 30282, 30422, 30555, 30680, 30799, 30912, 31018, 31119, 31214, 31304, 31389, 31469,
    31545, 31616, 31684, 31747, 31807, 31864, 31917, 31968, 32015, 32060, 32102, 32141, 32179,
    32214, 32247, 32278, 32307, 32335, 32361, 32385, 32408, 32430, 32450, 32469, 32487, 32504,
    32520, 32535, 32549, 32562, 32574, 32586, 32597, 32607, 32617, 32626, 32635, 32643, 32650,
    32657, 32664, 32670, 32676, 32682, 32687, 32692, 32696, 32701, 32705, 32709, 32712, 32716,
    32719, 32722, 32725, 32727, 32730, 32732, 32734, 32736, 32738, 32740, 32742, 32743, 32745,
    32746, 32747, 32749, 32750, 32751, 32752, 32753, 32754, 32755, 32756, 32756, 32757, 32758,
    32758, 32759, 32759, 32760, 32760, 32761, 32761, 32762, 32762, 32762, 32763, 32763, 32763,
    32764, 32764, 32764, 32764, 32765, 32765, 32765, 32765, 32765, 32766, 32766, 32766, 32766,
    32766, 32766, 32766, 32766, 32767, 32767, 32767, 32767, 32767, 32767, 32767, 32767, 32767,
    32767, 32767, 32767, 32767, 32767, 32767, 32767, 32767, 32767, 32768, 32768, 32768, 32768,
    32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768,
    32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768,
    32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768,
    32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768,
    32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768,
    32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768};

const uint16_t ruvm_scalar_gelu[2][RUVM_GELU_STEPS + 1] = {
    {16384, 16792, 17200, 17608, 18014, 18418, 18821, 19221, 19618, 20013, 20403, 20790, 21173,
     21552, 21925, 22294, 22657, 23014, 23366, 23711, 24050, 24383, 24708, 25027, 25339, 25643,
     25940, 26230, 26512, 26787, 27054, 27313, 27564, 27808, 28044, 28272, 28493, 28706, 28911,
     29110, 29300, 29484, 29660, 29829, 29991, 30147, 30296, 30438, 30574, 30704, 30828, 30946,
     31058, 31165, 31266, 31362, 31453, 31540, 31622, 31699, 31772, 31841, 31906, 31967, 32024,
     32078, 32129, 32176, 32221, 32263, 32302, 32338, 32372, 32403, 32433, 32460, 32486, 32509,
     32531, 32552, 32570, 32588, 32604, 32618, 32632, 32644, 32656, 32666, 32676, 32685, 32693,
     32700, 32707, 32713, 32719, 32724, 32728, 32732, 32736, 32740, 32743, 32745, 32748, 32750,
     32752, 32754, 32756, 32757, 32758, 32759, 32761, 32761, 32762, 32763, 32764, 32764, 32765,
     32765, 32765, 32766, 32766, 32766, 32767, 32767, 32767, 32767, 32767, 32767, 32767, 32768,
     32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768,
     32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768,
     32768, 32768, 32768, 32768, 32768},
    {16384, 16792, 17201, 17608, 18014, 18418, 18821, 19221, 19618, 20013, 20404, 20791, 21174,
     21552, 21926, 22295, 22658, 23015, 23367, 23713, 24052, 24385, 24711, 25030, 25342, 25647,
     25944, 26234, 26516, 26791, 27058, 27318, 27569, 27813, 28049, 28278, 28499, 28712, 28917,
     29115, 29306, 29489, 29666, 29835, 29997, 30152, 30301, 30443, 30579, 30708, 30832, 30950,
     31061, 31168, 31269, 31365, 31455, 31541, 31623, 31699, 31772, 31840, 31905, 31965, 32023,
     32076, 32126, 32174, 32218, 32259, 32298, 32334, 32367, 32399, 32428, 32455, 32480, 32504,
     32526, 32546, 32565, 32582, 32598, 32612, 32626, 32639, 32650, 32661, 32670, 32679, 32687,
     32695, 32702, 32708, 32714, 32719, 32724, 32728, 32732, 32736, 32739, 32742, 32744, 32747,
     32749, 32751, 32753, 32754, 32756, 32757, 32758, 32759, 32760, 32761, 32762, 32763, 32763,
     32764, 32764, 32765, 32765, 32765, 32766, 32766, 32766, 32766, 32767, 32767, 32767, 32767,
     32767, 32767, 32767, 32767, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768,
     32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768, 32768,
     32768, 32768, 32768, 32768, 32768}};

static int available(void)
{
    return 1;
}

/* out[0..4) = four rows times x. */
static void dot_of_4(int32_t *out, const int8_t *w, size_t stride, const int8_t *x, uint32_t n)
{
    const int8_t *w0 = w, *w1 = w0 + stride, *w2 = w1 + stride, *w3 = w2 + stride;
    const int8_t *end = x + n;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    UNROLL_BY_4
    while (x != end) {
        int32_t v = *x++;
        s0 += *w0++ * v;
        s1 += *w1++ * v;
        s2 += *w2++ * v;
        s3 += *w3++ * v;
    }
    out[0] = s0;
    out[1] = s1;
    out[2] = s2;
    out[3] = s3;
}

static int32_t dot(const int8_t *w, const int8_t *x, uint32_t n)
{
    int32_t sum = 0;
    for (uint32_t c = 0; c < n; c++)
        sum += w[c] * x[c];
    return sum;
}

static void matmul_s8(const struct ruvm_matmul *m)
{
    const int8_t *w = m->w;
    uint32_t r = 0;
    for (; r + 4 <= m->n_rows; r += 4, w += 4 * (size_t)m->row_bytes)
        for (uint32_t v = 0; v < m->n_vecs; v++)
            dot_of_4(m->out + (size_t)v * m->out_stride + r, w, m->row_bytes,
                     m->x + (size_t)v * m->x_stride, m->n_cols);
    for (; r < m->n_rows; r++, w += m->row_bytes)
        for (uint32_t v = 0; v < m->n_vecs; v++)
            m->out[(size_t)v * m->out_stride + r] =
                dot(w, m->x + (size_t)v * m->x_stride, m->n_cols);
}

/* The same for four keys and a query of 16 bits. */
static void scores_of_4(int32_t *out, const int16_t *q, const int8_t *k, size_t stride, uint32_t n)
{
    const int8_t *k0 = k, *k1 = k0 + stride, *k2 = k1 + stride, *k3 = k2 + stride;
    const int16_t *end = q + n;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    UNROLL_BY_4
    while (q != end) {
        int32_t v = *q++;
        s0 += *k0++ * v;
        s1 += *k1++ * v;
        s2 += *k2++ * v;
        s3 += *k3++ * v;
    }
    out[0] = s0;
    out[1] = s1;
    out[2] = s2;
    out[3] = s3;
}

static void scores(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                   uint32_t head_dim, uint32_t stride)
{
    uint32_t p = 0;
    for (; p + 4 <= n_pos; p += 4, k += 4 * (size_t)stride)
        scores_of_4(out + p, q, k, stride, head_dim);
    for (; p < n_pos; p++, k += stride) {
        int32_t sum = 0;
        for (uint32_t d = 0; d < head_dim; d++)
            sum += q[d] * k[d];
        out[p] = sum;
    }
}

/* Four positions a turn, so that a sum is read and written once for four. */
static void mix_4(int32_t *acc, const uint16_t *e, const int8_t *v, size_t stride, uint32_t n)
{
    const int8_t *v0 = v, *v1 = v0 + stride, *v2 = v1 + stride, *v3 = v2 + stride;
    int32_t e0 = e[0], e1 = e[1], e2 = e[2], e3 = e[3];
    UNROLL_BY_4
    for (const int32_t *end = acc + n; acc != end; acc++)
        *acc += *v0++ * e0 + *v1++ * e1 + *v2++ * e2 + *v3++ * e3;
}

static void mix(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos, uint32_t head_dim,
                uint32_t stride)
{
    uint32_t p = 0;
    for (; p + 4 <= n_pos; p += 4, v += 4 * (size_t)stride)
        mix_4(acc, e + p, v, stride, head_dim);
    for (; p < n_pos; p++, v += stride)
        for (uint32_t d = 0; d < head_dim; d++)
            acc[d] += e[p] * v[d];
}

const struct ruvm_kernels ruvm_kernels_scalar = {
    .name = "scalar",
    .available = available,
    .matmul_s8 = matmul_s8,
    .matmul_int4 = ruvm_scalar_codes_int4,
    .matmul_int3 = ruvm_scalar_codes_int3,
    .matmul_int2 = ruvm_scalar_codes_int2,
    .matmul_binary = ruvm_scalar_codes_binary,
    .matmul_ternary = ruvm_scalar_codes_ternary,
    .matmul_xnor = ruvm_scalar_codes_xnor,
    .scores = scores,
    .weights = ruvm_elementwise_weights,
    .mix = mix,
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
