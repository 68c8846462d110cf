/* Stored types: what the format's own words make of a block, value by value, and rows of
 * matrices that lie in other orders. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/dtype_write.h"
#include "formats/tensors.h"
#include "lib/base/bytes.h"
#include "lib/base/random.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { LARGEST = 256, LARGEST_BYTES = 256 };

static bool same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static struct ruvm_view view_of(enum ruvm_dtype dtype, const void *data, uint64_t rows,
                                uint64_t cols)
{
    return (struct ruvm_view){
        .name = "t", .dtype = dtype, .n_dims = 2, .dims = {rows, cols}, .data = data};
}

/* ---- one value ------------------------------------------------------------------- */

static const struct {
    uint16_t bits;
    float value;
} halves[] = {
    {0x0000, 0.0f},        {0x8000, -0.0f},        {0x0001, 0x1p-24f},
    {0x8001, -0x1p-24f},   {0x03ff, 0x1.ff8p-15f}, {0x0400, 0x1p-14f},
    {0x3555, 0x1.554p-2f}, {0x3c00, 1.0f},         {0x3c01, 1.0f + 0x1p-10f},
    {0xc000, -2.0f},       {0x7bff, 65504.0f},     {0xfbff, -65504.0f},
    {0x7c00, INFINITY},    {0xfc00, -INFINITY},
};

Test(dtype, halves_subnormal_infinite_and_nan)
{
    for (size_t i = 0; i < COUNT(halves); i++) {
        uint8_t data[2];
        float x;
        ruvm_store_u16(data, halves[i].bits);
        struct ruvm_view v = view_of(RUVM_DTYPE_F16, data, 1, 1);
        ruvm_view_row(&v, 0, &x);
        cr_expect(same(x, halves[i].value), "%04x is %a", halves[i].bits, (double)x);
    }
    static const uint16_t nans[] = {0x7c01, 0x7e00, 0x7fff, 0xfe00};
    float x[4];
    struct ruvm_view v = view_of(RUVM_DTYPE_F16, nans, 1, 4);
    ruvm_view_row(&v, 0, x);
    for (size_t i = 0; i < 4; i++)
        cr_expect(isnan(x[i]));
}

/* The definition: sign, 2^(exponent - 15), fraction. */
Test(dtype, every_finite_half_is_what_ieee_754_says)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        int exponent = bits >> 10 & 31;
        double fraction = bits & 1023, want;
        uint8_t data[2];
        float x;
        if (exponent == 31)
            continue;
        want = exponent ? ldexp(1 + fraction / 1024, exponent - 15) : ldexp(fraction / 1024, -14);
        ruvm_store_u16(data, (uint16_t)bits);
        struct ruvm_view v = view_of(RUVM_DTYPE_F16, data, 1, 1);
        ruvm_view_row(&v, 0, &x);
        cr_assert(same(x, (float)(bits & 0x8000 ? -want : want)), "%04x is %a", bits, (double)x);
    }
}

Test(dtype, bf16_and_f64)
{
    static const uint8_t bf16[] = {0x80, 0x3f, 0x40, 0xc0, 0x80, 0xff, 1, 0};
    static const uint8_t f64[] = {0,    0,    0,    0,    0,    0,    0xf8, 0x3f,
                                  0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0xbf};
    static const float bf16_values[] = {1, -3, -INFINITY, 0x1p-133f};
    float x[4];
    struct ruvm_view v = view_of(RUVM_DTYPE_BF16, bf16, 1, 4),
                     w = view_of(RUVM_DTYPE_F64, f64, 1, 2);
    ruvm_view_row(&v, 0, x);
    for (size_t i = 0; i < 4; i++)
        cr_expect(same(x[i], bf16_values[i]), "%zu: %a", i, (double)x[i]);
    ruvm_view_row(&w, 0, x);
    cr_expect(same(x[0], 1.5f) && same(x[1], -0.1f));
}

/* ---- blocks by hand ---------------------------------------------------------------- */

static const struct {
    enum ruvm_dtype dtype;
    uint8_t bytes[LARGEST_BYTES];
    struct {
        int i;
        float value;
    } values[4];
} by_hand[] = {
    /* scale 0.5; value 0 has the low nibble of byte 0, value 16 the high one; less 8 */
    {RUVM_DTYPE_Q4_0, {0, 0x38, 0xf0, 0x09}, {{0, -4}, {16, 3.5f}, {1, 0.5f}, {17, -4}}},
    /* scale 0.5, minimum -1 */
    {RUVM_DTYPE_Q4_1, {0, 0x38, 0, 0xbc, 0xf0, 0x09}, {{0, -1}, {16, 6.5f}, {1, 3.5f}, {2, -1}}},
    /* scale 2, fifth bits of values 0 and 17; less 16 */
    {RUVM_DTYPE_Q5_0, {0, 0x40, 1, 0, 2, 0, 0x21, 0x43}, {{0, 2}, {16, -28}, {1, -26}, {17, 8}}},
    {RUVM_DTYPE_Q5_1,
     {0, 0x40, 0, 0x3c, 1, 0, 2, 0, 0x21, 0x43},
     {{0, 35}, {16, 5}, {1, 7}, {17, 41}}},
    /* scale -0.25; int8 */
    {RUVM_DTYPE_Q8_0, {0, 0xb4, 0x80, 0x7f, 0, 1}, {{0, 32}, {1, -31.75f}, {3, -0.25f}, {31, 0}}},
    /* scale 1, minima 0.5; sub-block 0: 2 and 3; sub-block 1: 33 and 1; sub-block 4 has its low
     * bits in byte 8 (scale 5, minimum 4) and its upper ones on bytes 0 and 4 (16 and 48) */
    {RUVM_DTYPE_Q4_K,
     {0, 0x3c, 0, 0x38, 0x42, 33, 0, 0, 0xc3, 1, 0, 0, 0x45, 0, 0, 0, 0x21, [80] = 0x07},
     {{0, 2 * 1 - 1.5f}, {32, 33 * 2 - 0.5f}, {128, 21 * 7 - 26}, {129, -26}}},
    /* the same, with the fifth bits of the values 0 of sub-blocks 0 and 4 */
    {RUVM_DTYPE_Q5_K,
     {0, 0x3c, 0, 0x38, 0x42, 33, 0, 0, 0xc3, 1, 0, 0, 0x45, 0, 0, 0,
      0x11, [48] = 0x21, [112] = 0x07},
     {{0, 2 * 17 - 1.5f}, {32, 33 * 2 - 0.5f}, {128, 21 * 23 - 26}, {129, -26}}},
    /* byte 0: low nibble of value 0, high one of value 64; byte 128: two bits of 0, 32, 64, 96;
     * scales -1 (value 0), 3 (value 64), 2 (value 240); f16 0.5 at the end */
    {RUVM_DTYPE_Q6_K,
     {0x5a, [127] = 0xf0, [128] = 0x21, [191] = 0xc0, [192] = 0xff, [196] = 3, [207] = 2,
      [209] = 0x38},
     {{0, -0.5f * (26 - 32)}, {64, 1.5f * (37 - 32)}, {255, 63 - 32}, {1, 16}}},
};

Test(dtype, blocks_hold_what_the_format_says)
{
    for (size_t i = 0; i < COUNT(by_hand); i++) {
        uint32_t bytes, n = ruvm_dtype_block(by_hand[i].dtype, &bytes);
        float x[LARGEST];
        struct ruvm_view v = view_of(by_hand[i].dtype, by_hand[i].bytes, 1, n);
        ruvm_view_row(&v, 0, x);
        for (size_t k = 0; k < 4; k++)
            cr_expect(x[by_hand[i].values[k].i] == by_hand[i].values[k].value,
                      "%s: value %d is %g, expected %g", ruvm_dtype_name(by_hand[i].dtype),
                      by_hand[i].values[k].i, (double)x[by_hand[i].values[k].i],
                      (double)by_hand[i].values[k].value);
    }
}

/* ---- blocks by a slow reader --------------------------------------------------------- */

static double half(const uint8_t *p)
{
    uint32_t bits = ruvm_load_u16(p);
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023;
    double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits & 0x8000 ? -size : size;
}

/* n bits of a stream of bytes, from bit `at` on, lowest first. */
static uint32_t bits_at(const uint8_t *p, uint32_t at, uint32_t n)
{
    uint32_t value = 0;
    for (uint32_t k = 0; k < n; k++)
        value |= (uint32_t)(p[(at + k) / 8] >> (at + k) % 8 & 1) << k;
    return value;
}

static uint32_t nibble(const uint8_t *codes, uint32_t i, uint32_t bytes)
{
    return bits_at(codes, 8 * (i % bytes) + 4 * (i / bytes), 4);
}

static double small_block(enum ruvm_dtype dtype, const uint8_t *p, uint32_t i)
{
    switch (dtype) {
    case RUVM_DTYPE_Q4_0: return half(p) * ((double)nibble(p + 2, i, 16) - 8);
    case RUVM_DTYPE_Q4_1: return half(p) * nibble(p + 4, i, 16) + half(p + 2);
    case RUVM_DTYPE_Q5_0:
        return half(p) * ((double)(nibble(p + 6, i, 16) + 16 * bits_at(p + 2, i, 1)) - 16);
    case RUVM_DTYPE_Q5_1:
        return half(p) * (nibble(p + 8, i, 16) + 16 * bits_at(p + 4, i, 1)) + half(p + 2);
    default: return half(p) * (p[2 + i] < 128 ? p[2 + i] : p[2 + i] - 256);
    }
}

static double k_block(enum ruvm_dtype dtype, const uint8_t *p, uint32_t i)
{
    const uint8_t *s = p + 4;
    uint32_t j = i / 32, k = i % 32, scale, least, code;
    if (dtype == RUVM_DTYPE_Q6_K) {
        code = nibble(p + i / 128 * 64, i % 128, 64);
        code += 16 * bits_at(p + 128 + i / 128 * 32 + k, i / 32 % 4 * 2, 2);
        int step = p[192 + i / 16] < 128 ? p[192 + i / 16] : p[192 + i / 16] - 256;
        return (double)(float)(half(p + 208) * step) * ((double)code - 32);
    }
    scale = j < 4 ? s[j] % 64u : s[j + 4] % 16u + s[j - 4] / 64u * 16;
    least = j < 4 ? s[j + 4] % 64u : s[j + 4] / 16u + s[j] / 64u * 16;
    code = nibble(p + (dtype == RUVM_DTYPE_Q5_K ? 48 : 16) + j / 2 * 32, i % 64, 32);
    if (dtype == RUVM_DTYPE_Q5_K)
        code += 16 * bits_at(p + 16 + k, j, 1);
    return half(p) * scale * code - half(p + 2) * least;
}

/* Random bytes with halves of a moderate size, so that doubles are exact. */
static void fill(enum ruvm_dtype dtype, uint8_t *p, uint32_t n, uint64_t *state)
{
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint8_t)ruvm_random_next(state);
    uint32_t first = dtype == RUVM_DTYPE_Q6_K ? 209 : 1;
    p[first] = (uint8_t)((p[first] & 0x80) | (0x2c + p[first] % 16));
    if (dtype == RUVM_DTYPE_Q4_1 || dtype == RUVM_DTYPE_Q5_1 || dtype == RUVM_DTYPE_Q4_K ||
        dtype == RUVM_DTYPE_Q5_K)
        p[3] = (uint8_t)((p[3] & 0x80) | (0x2c + p[3] % 16));
}

Test(dtype, random_rows_of_blocks_equal_a_slow_reader)
{
    enum { BLOCKS = 3, ROWS = 4 };
    static uint8_t data[ROWS * BLOCKS * LARGEST_BYTES];
    static float x[BLOCKS * LARGEST];
    uint64_t state = 4;
    for (enum ruvm_dtype dtype = RUVM_DTYPE_Q4_0; dtype <= RUVM_DTYPE_Q6_K; dtype++) {
        uint32_t bytes, n = ruvm_dtype_block(dtype, &bytes);
        for (uint32_t b = 0; b < ROWS * BLOCKS; b++)
            fill(dtype, data + b * bytes, bytes, &state);
        struct ruvm_view v = view_of(dtype, data, ROWS, BLOCKS * n);
        for (uint32_t row = 0; row < ROWS; row++) {
            ruvm_view_row(&v, row, x);
            for (uint32_t i = 0; i < BLOCKS * n; i++) {
                const uint8_t *p = data + (row * BLOCKS + i / n) * bytes;
                double want = n == 32 ? small_block(dtype, p, i % n) : k_block(dtype, p, i % n);
                cr_assert(x[i] == (float)want, "%s [%u, %u] is %a, expected %a",
                          ruvm_dtype_name(dtype), row, i, (double)x[i], want);
            }
        }
    }
}

/* ---- rows in other orders -------------------------------------------------------------- */

Test(dtype, a_matrix_stored_the_other_way_gives_the_same_rows)
{
    static const uint8_t bf16[] = {0x80, 0x3f, 0x00, 0x40, 0x40, 0x40,  /* 1 2 3 */
                                   0x80, 0x40, 0xa0, 0x40, 0xc0, 0x40}; /* 4 5 6 */
    static const float columns[3][2] = {{1, 4}, {2, 5}, {3, 6}};
    struct ruvm_view v = view_of(RUVM_DTYPE_BF16, bf16, 3, 2);
    v.stride = 3;
    for (uint64_t row = 0; row < 3; row++) {
        float x[2];
        ruvm_view_row(&v, row, x);
        cr_expect(x[0] == columns[row][0] && x[1] == columns[row][1]);
    }
}

Test(dtype, an_order_says_which_stored_row_each_row_is)
{
    static const uint8_t f16[] = {0, 0x3c, 0, 0x40, 0, 0x42}; /* 1 2 3 */
    static const uint32_t order[] = {2, 0, 1};
    struct ruvm_view v = view_of(RUVM_DTYPE_F16, f16, 3, 1);
    v.order = order;
    for (uint32_t row = 0; row < 3; row++) {
        float x;
        ruvm_view_row(&v, row, &x);
        cr_expect(x == (float)(order[row] + 1));
    }
}

/* ---- writing ----------------------------------------------------------------------------- */

Test(dtype, every_finite_half_is_written_back_as_it_was)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        uint8_t data[2], again[2];
        float x;
        ruvm_store_u16(data, (uint16_t)bits);
        struct ruvm_view v = view_of(RUVM_DTYPE_F16, data, 1, 1);
        ruvm_view_row(&v, 0, &x);
        bool finite = (bits >> 10 & 31) != 31;
        cr_assert_eq(ruvm_dtype_write(RUVM_DTYPE_F16, &x, 1, again), finite, "%04x", bits);
        cr_assert(!finite || memcmp(data, again, 2) == 0, "%04x", bits);
    }
}

static const struct {
    float value;
    uint16_t f16, bf16;
} rounded[] = {
    {1.0f + 0x1p-11f, 0x3c00, 0x3f80},       /* a tie: to the even one */
    {1.0f + 0x3p-11f, 0x3c02, 0x3f80},       /* the other way */
    {1.0f + 0x1p-8f, 0x3c04, 0x3f80},        /* a tie of bf16 */
    {1.0f + 0x3p-8f, 0x3c0c, 0x3f82},        /* the other way */
    {0x1.ffep0f + 0x1p-11f, 0x4000, 0x4000}, /* carries into the exponent */
    {0x1p-25f, 0x0000, 0x3300},              /* half of the smallest: to zero */
    {0x1.8p-24f, 0x0002, 0x33c0},            /* one and a half */
    {0x1p-14f - 0x1p-26f, 0x0400, 0x3880},   /* the largest subnormal, and up */
    {-65519.0f, 0xfbff, 0xc780},
};

Test(dtype, halves_are_rounded_to_the_nearest_and_ties_to_even)
{
    for (size_t i = 0; i < COUNT(rounded); i++) {
        uint8_t f16[2], bf16[2];
        cr_expect(ruvm_dtype_write(RUVM_DTYPE_F16, &rounded[i].value, 1, f16));
        cr_expect(ruvm_dtype_write(RUVM_DTYPE_BF16, &rounded[i].value, 1, bf16));
        cr_expect_eq(ruvm_load_u16(f16), rounded[i].f16, "%a: f16 %04x", (double)rounded[i].value,
                     ruvm_load_u16(f16));
        cr_expect_eq(ruvm_load_u16(bf16), rounded[i].bf16, "%a: bf16 %04x",
                     (double)rounded[i].value, ruvm_load_u16(bf16));
    }
}

Test(dtype, what_a_type_cannot_hold_is_told)
{
    static const float f16 = 65520, bf16 = 0x1.ffp127f;
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    static const enum ruvm_dtype types[] = {RUVM_DTYPE_F32, RUVM_DTYPE_F16, RUVM_DTYPE_BF16,
                                            RUVM_DTYPE_Q8_0, RUVM_DTYPE_Q4_0};
    uint8_t out[LARGEST_BYTES];
    cr_expect_not(ruvm_dtype_write(RUVM_DTYPE_F16, &f16, 1, out));
    cr_expect_not(ruvm_dtype_write(RUVM_DTYPE_BF16, &bf16, 1, out));
    for (size_t t = 0; t < COUNT(types); t++)
        for (size_t i = 0; i < COUNT(odd); i++) {
            uint32_t bytes;
            float x[32] = {[7] = odd[i]};
            x[0] = odd[i];
            cr_expect(ruvm_dtype_writes(types[t]));
            cr_expect_not(ruvm_dtype_write(types[t], x, ruvm_dtype_block(types[t], &bytes), out));
        }
    cr_expect_not(ruvm_dtype_writes(RUVM_DTYPE_Q6_K));
}

/* Scale 127/127: the codes are the values, halves away from zero. */
Test(dtype, q8_0_is_the_nearest_code)
{
    float x[32] = {127, -127, 0.5f, -0.5f, 1.49f, -2.5f}, back[32];
    static const float want[] = {127, -127, 1, -1, 1, -3, 0};
    uint8_t out[34];
    cr_assert(ruvm_dtype_write(RUVM_DTYPE_Q8_0, x, 32, out));
    struct ruvm_view v = view_of(RUVM_DTYPE_Q8_0, out, 1, 32);
    ruvm_view_row(&v, 0, back);
    for (size_t i = 0; i < COUNT(want); i++)
        cr_expect(back[i] == want[i], "%zu: %g", i, (double)back[i]);
}

/* The farthest, -4, is code 0 of scale 0.5; 4 would be code 16. */
Test(dtype, q4_0_gives_the_farthest_value_its_whole_range)
{
    float x[32] = {-4, 3.5f, 4, 0.2f, [16] = 0.3f, [31] = -4}, back[32];
    uint8_t out[18];
    cr_assert(ruvm_dtype_write(RUVM_DTYPE_Q4_0, x, 32, out));
    struct ruvm_view v = view_of(RUVM_DTYPE_Q4_0, out, 1, 32);
    ruvm_view_row(&v, 0, back);
    cr_expect(back[0] == -4 && back[1] == 3.5f && back[2] == 3.5f && back[3] == 0);
    cr_expect(back[16] == 0.5f && back[31] == -4 && back[5] == 0);
}

Test(dtype, blocks_of_zeros_and_of_next_to_nothing)
{
    static const enum ruvm_dtype types[] = {RUVM_DTYPE_Q8_0, RUVM_DTYPE_Q4_0};
    for (size_t t = 0; t < COUNT(types); t++)
        for (int tiny = 0; tiny < 2; tiny++) {
            float x[32] = {[3] = tiny ? 0x1p-140f : 0}, back[32];
            uint8_t out[34];
            cr_assert(ruvm_dtype_write(types[t], x, 32, out));
            struct ruvm_view v = view_of(types[t], out, 1, 32);
            ruvm_view_row(&v, 0, back);
            for (size_t i = 0; i < 32; i++)
                cr_expect(back[i] == 0);
        }
}
