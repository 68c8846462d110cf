/* Fixed point arithmetic on scales, and sines from a quarter-wave table.
 *
 * Everything is exact integer arithmetic with the rounding spelled out, so two
 * machines cannot differ. The functions run a few times a layer; they are
 * written for clarity and small code.
 */
#include "lib/core/fixed.h"

struct ruvm_real ruvm_real_make(uint64_t m, int32_t e)
{
    if (m == 0)
        return (struct ruvm_real){0, 0};
    uint32_t high = (uint32_t)(m >> 32);
    if (high != 0) {
        uint32_t down = ruvm_bits(high);
        m >>= down;
        e += (int32_t)down;
    }
    uint32_t up = 32 - ruvm_bits((uint32_t)m);
    return (struct ruvm_real){(uint32_t)m << up, e - (int32_t)up};
}

/* Of two mantissas with bit 31 set the product has 63 or 64 bits. */
struct ruvm_real ruvm_real_mul(struct ruvm_real a, struct ruvm_real b)
{
    uint64_t m = (uint64_t)a.m * b.m;
    int32_t e = a.e + b.e + 32;
    if (m == 0)
        return (struct ruvm_real){0, 0};
    return m >> 63 ? (struct ruvm_real){(uint32_t)(m >> 32), e}
                   : (struct ruvm_real){(uint32_t)(m >> 31), e - 1};
}

struct ruvm_real ruvm_real_add(struct ruvm_real a, struct ruvm_real b)
{
    if (a.m == 0)
        return b;
    if (b.m == 0)
        return a;
    if (a.e < b.e) {
        struct ruvm_real t = a;
        a = b;
        b = t;
    }
    uint32_t gap = (uint32_t)(a.e - b.e);
    uint64_t small = gap < 32 ? (uint64_t)b.m >> gap : 0;
    return ruvm_real_make(a.m + small, a.e);
}

/* Newton's y' = y (3 - x y^2) / 2 on x in [1/4, 1), where the line 2.19 - 1.24 x is
 * within 11 % of the answer: four steps square that error down to the last bits. */
#define LINE_START 2352000000u /* Q30 */
#define LINE_SLOPE 1331000000u /* Q30 */

struct ruvm_real ruvm_real_rsqrt(struct ruvm_real a)
{
    if (a.m == 0)
        return a;
    uint32_t odd = (uint32_t)a.e & 1u;
    uint32_t x = a.m >> odd;        /* Q32 in [1/4, 1) */
    int32_t e = a.e + (int32_t)odd; /* even; a = x * 2^(e + 32) */
    uint32_t y = LINE_START - (uint32_t)(((uint64_t)x * LINE_SLOPE) >> 32);
    for (int i = 0; i < 4; i++) {
        uint32_t yy = (uint32_t)(((uint64_t)y * y) >> 32);   /* Q28 */
        uint32_t xyy = (uint32_t)(((uint64_t)x * yy) >> 32); /* Q28, near 1 */
        uint32_t step = 3u * (1u << 28) - xyy;               /* Q28, near 2 */
        y = (uint32_t)(((uint64_t)y * step) >> 29);
    }
    return ruvm_real_make(y, -30 - (e + 32) / 2);
}

struct ruvm_real ruvm_real_div(struct ruvm_real a, struct ruvm_real b)
{
    struct ruvm_real r = ruvm_real_rsqrt(b);
    return ruvm_real_mul(a, ruvm_real_mul(r, r));
}

/* By its binary digits: squaring doubles it. */
int64_t ruvm_real_log(struct ruvm_real a)
{
    const int64_t ln2_q32 = 2977044472;
    int64_t log2 = (int64_t)(a.e + 31) * (1 << 24);
    uint64_t m = a.m; /* Q31 in [1, 2) */
    for (int i = 23; i >= 0; i--) {
        m = m * m >> 31;
        if (m >> 32) {
            m >>= 1;
            log2 += (int64_t)1 << i;
        }
    }
    return log2 * ln2_q32 >> 32;
}

struct ruvm_ratio ruvm_real_ratio(struct ruvm_real a)
{
    int32_t shift = -(a.e + 1);
    if (a.m == 0)
        return (struct ruvm_ratio){0, 1};
    if (shift < 1)
        return (struct ruvm_ratio){0x7FFFFFFFu, 1};
    uint32_t mult = a.m >> 1;
    while (shift > 62 && mult != 0) {
        mult >>= 1;
        shift--;
    }
    return (struct ruvm_ratio){mult, shift > 62 ? 62u : (uint32_t)shift};
}

struct ruvm_ratio ruvm_real_ratio_q12(struct ruvm_real unit)
{
    struct ruvm_real q12 = ruvm_real_shift(unit, 12);
    int32_t shift = -(q12.e + 17);
    uint32_t mult = q12.m >> 17;
    if (shift < 0) {
        mult = 32767;
        shift = 0;
    }
    if (shift > 30) {
        mult = shift - 30 < 15 ? mult >> (shift - 30) : 0;
        shift = 30;
    }
    return (struct ruvm_ratio){mult, (uint32_t)shift};
}

/* round(2^14 * sin(i * pi / 512)), one past the end for the interpolation */
static const int16_t quarter_wave[258] = {
    0,     101,   201,   302,   402,   503,   603,   704,   804,   904,   1005,  1105,  1205,
    1306,  1406,  1506,  1606,  1706,  1806,  1906,  2006,  2105,  2205,  2305,  2404,  2503,
    2603,  2702,  2801,  2900,  2999,  3098,  3196,  3295,  3393,  3492,  3590,  3688,  3786,
    3883,  3981,  4078,  4176,  4273,  4370,  4467,  4563,  4660,  4756,  4852,  4948,  5044,
    5139,  5235,  5330,  5425,  5520,  5614,  5708,  5803,  5897,  5990,  6084,  6177,  6270,
    6363,  6455,  6547,  6639,  6731,  6823,  6914,  7005,  7096,  7186,  7276,  7366,  7456,
    7545,  7635,  7723,  7812,  7900,  7988,  8076,  8163,  8250,  8337,  8423,  8509,  8595,
    8680,  8765,  8850,  8935,  9019,  9102,  9186,  9269,  9352,  9434,  9516,  9598,  9679,
    9760,  9841,  9921,  10001, 10080, 10159, 10238, 10316, 10394, 10471, 10549, 10625, 10702,
    10778, 10853, 10928, 11003, 11077, 11151, 11224, 11297, 11370, 11442, 11514, 11585, 11656,
    11727, 11797, 11866, 11935, 12004, 12072, 12140, 12207, 12274, 12340, 12406, 12472, 12537,
    12601, 12665, 12729, 12792, 12854, 12916, 12978, 13039, 13100, 13160, 13219, 13279, 13337,
    13395, 13453, 13510, 13567, 13623, 13678, 13733, 13788, 13842, 13896, 13949, 14001, 14053,
    14104, 14155, 14206, 14256, 14305, 14354, 14402, 14449, 14497, 14543, 14589, 14635, 14680,
    14724, 14768, 14811, 14854, 14896, 14937, 14978, 15019, 15059, 15098, 15137, 15175, 15213,
    15250, 15286, 15322, 15357, 15392, 15426, 15460, 15493, 15525, 15557, 15588, 15619, 15649,
    15679, 15707, 15736, 15763, 15791, 15817, 15843, 15868, 15893, 15917, 15941, 15964, 15986,
    16008, 16029, 16049, 16069, 16088, 16107, 16125, 16143, 16160, 16176, 16192, 16207, 16221,
    16235, 16248, 16261, 16273, 16284, 16295, 16305, 16315, 16324, 16332, 16340, 16347, 16353,
    16359, 16364, 16369, 16373, 16376, 16379, 16381, 16383, 16384, 16384, 16384,
};

int16_t ruvm_fixed_sin(uint32_t phase)
{
    uint32_t quadrant = phase >> 30;
    uint32_t x = phase & 0x3FFFFFFFu;
    if (quadrant & 1u)
        x = 0x40000000u - x;
    uint32_t i = x >> 22;
    int32_t fraction = (int32_t)((x >> 8) & 0x3FFFu);
    int32_t low = quarter_wave[i], high = quarter_wave[i + 1];
    int32_t y = low + (((high - low) * fraction + 8192) >> 14);
    return (int16_t)(quadrant & 2u ? -y : y);
}

int16_t ruvm_fixed_cos(uint32_t phase)
{
    return ruvm_fixed_sin(phase + 0x40000000u);
}
