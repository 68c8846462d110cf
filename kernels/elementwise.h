/* Element-wise: the bodies of all kernels that walk one vector.
 *
 * Written once, as plain loops over 32-bit lanes without branches, and included
 * by each variant: the compiler makes of them what that file's flags allow. A
 * variant replaces one only where a compiler does clearly worse than a person.
 * Where kernels.h says "in 64 bits", the value here is split so that 32 suffice,
 * which matters on a chip and in vector lanes alike.
 */
#ifndef RUVM_KERNELS_ELEMENTWISE_H
#define RUVM_KERNELS_ELEMENTWISE_H

#include "kernels/exact.h"
#include "kernels/kernels.h"

/* Before what most networks never need; a variant may give it a meaning. */
#ifndef RUVM_SELDOM
#define RUVM_SELDOM
#endif

static inline int32_t ruvm_elementwise_max(const int32_t *s, uint32_t n)
{
    int32_t max = INT32_MIN;
    for (uint32_t i = 0; i < n; i++)
        max = s[i] > max ? s[i] : max;
    return max;
}

enum { RUVM_LARGEST_BLOCK = 256 };

/* A loop that keeps a place has no lanes, one that keeps a value has: so first the block that
 * the place is in. */
static inline uint32_t ruvm_elementwise_largest(const int32_t *x, uint32_t n)
{
    uint32_t best = 0;
    int32_t most = x[0];
    for (uint32_t i = 0; i < n; i += RUVM_LARGEST_BLOCK) {
        uint32_t left = n - i;
        int32_t max =
            ruvm_elementwise_max(x + i, left < RUVM_LARGEST_BLOCK ? left : RUVM_LARGEST_BLOCK);
        if (max > most) {
            most = max;
            best = i;
        }
    }
    while (x[best] != most)
        best++;
    return best;
}

/* The weights of n_pos scores none of which is above max. */
static inline uint32_t ruvm_elementwise_weights_below(uint16_t *e, const int32_t *s, uint32_t n_pos,
                                                      int32_t max, uint32_t mult, uint32_t shift)
{
    uint32_t sum = 0;
    for (uint32_t p = 0; p < n_pos; p++) {
        uint32_t below = (uint32_t)max - (uint32_t)s[p]; /* may need all 32 bits */
        uint32_t w = ruvm_exp2_weight(((uint64_t)below * mult) >> shift);
        e[p] = (uint16_t)w;
        sum += w;
    }
    return sum;
}

static inline uint32_t ruvm_elementwise_weights(uint16_t *e, const int32_t *s, uint32_t n_pos,
                                                uint32_t mult, uint32_t shift)
{
    int32_t max = ruvm_elementwise_max(s, n_pos);
    return ruvm_elementwise_weights_below(e, s, n_pos, max, mult, shift);
}

/* ---- heads --------------------------------------------------------------------- */

static inline uint32_t ruvm_elementwise_amax(const int32_t *x, uint32_t n)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t a = x[i] < 0 ? 0u - (uint32_t)x[i] : (uint32_t)x[i];
        max = a > max ? a : max;
    }
    return max;
}

enum { RUVM_HEAD_BITS = 14 };

/* How far a vector of that largest value is shifted down to have so many bits. */
static inline uint32_t ruvm_elementwise_down(uint32_t largest)
{
    return largest >> RUVM_HEAD_BITS ? 32u - RUVM_HEAD_BITS - (uint32_t)__builtin_clz(largest) : 0;
}

/* x[i] *= scale[i]; returns the largest |x|. */
static inline uint32_t ruvm_elementwise_fold(int32_t *x, const uint16_t *scale, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] *= (int32_t)scale[i];
    return ruvm_elementwise_amax(x, n);
}

/* The scales of head h. */
static inline const uint16_t *ruvm_elementwise_scale_of(const struct ruvm_turn *t, uint32_t h)
{
    return t->scale + (size_t)((t->first + h) / t->share) * t->head_dim;
}

static inline void ruvm_elementwise_rotate(struct ruvm_turned *out, int32_t *v,
                                           const struct ruvm_turn *t)
{
    uint32_t n = t->head_dim, pairs = t->n_pairs;
    for (uint32_t h = 0; h < t->n_heads; h++, v += n) {
        uint32_t down = ruvm_elementwise_down(ruvm_elementwise_amax(v, n));
        for (uint32_t i = 0; i < n; i++)
            v[i] >>= down;
        for (uint32_t p = 0; p < pairs; p++) {
            int32_t a = v[2 * p], b = v[2 * p + 1], c = t->turn[p], s = t->turn[pairs + p];
            v[2 * p] = (a * c - b * s + 8192) >> 14;
            v[2 * p + 1] = (a * s + b * c + 8192) >> 14;
        }
        uint32_t largest =
            t->scale ? ruvm_elementwise_fold(v, ruvm_elementwise_scale_of(t, h), n) : 0;
        out[h] = (struct ruvm_turned){down, largest};
    }
}

static inline void ruvm_elementwise_to_cache(int8_t *q, const int32_t *v, uint32_t n,
                                             const struct ruvm_to_cache *p)
{
    int64_t half = (int64_t)1 << (p->shift - 1);
    for (uint32_t i = 0; i < n; i++) {
        int64_t y = (int64_t)(v[i] * (int32_t)p->inverse[i]) * (int32_t)p->mult;
        y = (y + half) >> p->shift;
        int32_t x = y > 32767 ? 32767 : y < -32767 ? -32767 : (int32_t)y;
        x -= p->zero ? p->zero[i] : 0;
        q[i] = (int8_t)(x > 127 ? 127 : x < -127 ? -127 : x);
    }
}

static inline void ruvm_elementwise_narrow(int16_t *q, const int32_t *x, uint32_t n, uint32_t up,
                                           uint32_t down, uint32_t mult)
{
    for (uint32_t i = 0; i < n; i++) {
        int32_t v = (int32_t)((uint32_t)x[i] << up) >> down;
        q[i] = (int16_t)((v * (int32_t)mult + (1 << 17)) >> 18);
    }
}

static inline void ruvm_elementwise_divide(int32_t *out, const int32_t *x, const uint16_t *scale,
                                           uint32_t n, uint32_t down, uint32_t inverse)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t q = ((int64_t)(x[i] >> down) * (int32_t)inverse) >> 23;
        int32_t o = q > 32767 ? 32767 : q < -32767 ? -32767 : (int32_t)q;
        out[i] = o * (int32_t)scale[i];
    }
}

RUVM_SELDOM static inline void ruvm_elementwise_unpack(int8_t *v, const uint8_t *codes,
                                                       const uint8_t *m, uint32_t n_pos, uint32_t n)
{
    for (uint32_t p = 0; p < n_pos; p++)
        for (uint32_t i = 0; i < n; i += 2, codes++) {
            *v++ = (int8_t)(((2 * (*codes & 15) - 15) * m[p] + 8) >> 4);
            *v++ = (int8_t)(((2 * (*codes >> 4) - 15) * m[p] + 8) >> 4);
        }
}

/* ---- vectors ------------------------------------------------------------------- */

/* x = high * 2^16 + low, so x * scale / 2^16 = high * scale + low * scale / 2^16. */
static inline void ruvm_elementwise_rescale(int32_t *x, const uint16_t *scale, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t low = (uint32_t)x[i] & 0xffff;
        int32_t high = x[i] >> 16;
        x[i] = high * scale[i] + (int32_t)((low * scale[i] + 0x8000) >> 16);
    }
}

/* The contract's range of the result keeps the product within 32 bits. */
static inline void ruvm_elementwise_quantize(int8_t *q, const int32_t *x, uint32_t n,
                                             uint32_t n_padded, uint32_t up, uint32_t down,
                                             uint32_t mult)
{
    for (uint32_t i = 0; i < n; i++) {
        int32_t v = (int32_t)((uint32_t)x[i] << up) >> down;
        q[i] = (int8_t)((int32_t)((uint32_t)v * mult + (1u << 23)) >> 24);
    }
    for (uint32_t i = n; i < n_padded; i++)
        q[i] = 0;
}

RUVM_SELDOM static inline void ruvm_elementwise_add(int32_t *h, const int32_t *x, uint32_t n,
                                                    uint32_t mult, uint32_t shift)
{
    int64_t half = (int64_t)1 << (shift - 1);
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = h[i] + (((int64_t)x[i] * (int32_t)mult + half) >> shift);
        v = v > INT32_MAX ? INT32_MAX : v;
        h[i] = v < -INT32_MAX ? -INT32_MAX : (int32_t)v;
    }
}

static inline void ruvm_elementwise_add_scaled(int32_t *h, int32_t *x, uint32_t n,
                                               const struct ruvm_addition *p)
{
    if (p->is_first)
        __builtin_memset(h, 0, n * sizeof *h);
    ruvm_elementwise_rescale(x, p->scale, n);
    ruvm_elementwise_add(h, x, n, p->mult, p->shift);
}

/* (h + half) >> down could overflow; ((h >> (down - 1)) + 1) >> 1 is the same and cannot. */
static inline uint64_t ruvm_elementwise_norm(int32_t *y, const int32_t *h, const int16_t *gain,
                                             uint32_t n, uint32_t down)
{
    uint32_t first = down ? down - 1 : 0, last = down ? 1 : 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t v = ((h[i] >> first) + (int32_t)last) >> last;
        y[i] = v * gain[i];
        sum += (uint32_t)v * (uint32_t)v;
    }
    return sum;
}

static inline void ruvm_elementwise_swiglu(int32_t *x, const int32_t *up, const int32_t *gate,
                                           uint32_t n, const struct ruvm_swiglu *p)
{
    for (uint32_t i = 0; i < n; i++) {
        int32_t g = gate[i] >> p->gate_down;
        int32_t s = ruvm_sigmoid_q15((g * (int32_t)p->mult) >> p->shift);
        x[i] = ((g * s + 16384) >> 15) * (up[i] >> p->up_down);
    }
}

/* The sum of n numbers and n / 2, divided by n, towards minus infinity. */
static inline int32_t ruvm_elementwise_mean(int64_t sum, uint32_t n)
{
    int64_t with_half = sum + n / 2;
    int64_t quotient = with_half / n;
    return (int32_t)(quotient - (with_half < 0 && quotient * n != with_half));
}

RUVM_SELDOM static inline uint32_t ruvm_elementwise_spread(const int32_t *h, uint32_t n,
                                                           int32_t *mean)
{
    int64_t sum = 0;
    int32_t low = h[0], high = h[0];
    for (uint32_t i = 0; i < n; i++) {
        sum += h[i];
        low = h[i] < low ? h[i] : low;
        high = h[i] > high ? h[i] : high;
    }
    int32_t m = *mean = ruvm_elementwise_mean(sum, n);
    uint32_t below = (uint32_t)m - (uint32_t)low, above = (uint32_t)high - (uint32_t)m;
    return below > above ? below : above;
}

RUVM_SELDOM static inline uint64_t ruvm_elementwise_layernorm(int32_t *y, const int32_t *h,
                                                              const int16_t *gain, uint32_t n,
                                                              const struct ruvm_centre *c)
{
    int64_t offset = c->down ? ((int64_t)1 << (c->down - 1)) - c->mean : -(int64_t)c->mean;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t d = h[i] + offset;
        int32_t v = (int32_t)(c->down ? d >> c->down : d * ((int64_t)1 << c->up));
        y[i] = (int32_t)(((int64_t)v * gain[i] + 128) >> 8);
        sum += (uint64_t)((int64_t)v * v);
    }
    return sum;
}

RUVM_SELDOM static inline void ruvm_elementwise_scale(int32_t *x, uint32_t n, uint32_t mult,
                                                      uint32_t shift)
{
    int64_t half = (int64_t)1 << (shift - 1);
    for (uint32_t i = 0; i < n; i++)
        x[i] = (int32_t)(((int64_t)x[i] * (int32_t)mult + half) >> shift);
}

RUVM_SELDOM static inline void ruvm_elementwise_add_bias(int32_t *x, const int16_t *bias,
                                                         uint32_t n, uint32_t mult, uint32_t shift)
{
    int64_t half = (int64_t)1 << (shift - 1);
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = x[i] + (((int64_t)bias[i] * (int32_t)mult + half) >> shift);
        v = v > INT32_MAX ? INT32_MAX : v;
        x[i] = v < -INT32_MAX ? -INT32_MAX : (int32_t)v;
    }
}

RUVM_SELDOM static inline void ruvm_elementwise_gelu(int32_t *x, const int32_t *in, uint32_t n,
                                                     const struct ruvm_gelu *p)
{
    for (uint32_t i = 0; i < n; i++) {
        int32_t g = in[i] >> p->down;
        x[i] = g * ruvm_gelu_q15(p->row, (g * (int32_t)p->mult) >> p->shift);
    }
}

RUVM_SELDOM static inline void ruvm_elementwise_relu(int32_t *x, const int32_t *in, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = in[i] > 0 ? in[i] : 0;
}

#endif
