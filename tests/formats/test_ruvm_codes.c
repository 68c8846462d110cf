/* Packed rows against a reading of the layout's sentences, one bit at a time. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_codes.h"

enum { MAX_COLS = 200, MAX_ROW = 208 };

static uint64_t state = 1;

/* splitmix64 */
static uint32_t random_bits(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

static int max_level(int type)
{
    static const int max[RUVM_N_TYPES] = {127, 15, 7, 3, 1, 1, 1};
    return max[type];
}

/* A level of the type: any, or one of the two ends when ends is set. */
static int8_t random_level(int type, int ends)
{
    int max = max_level(type);
    if (ends)
        return (int8_t)(random_bits() & 1 ? max : -max);
    if (type == RUVM_TYPE_INT8 || type == RUVM_TYPE_TERNARY)
        return (int8_t)((int)(random_bits() % (2 * (unsigned)max + 1)) - max);
    return (int8_t)(2 * (int)(random_bits() % ((unsigned)max + 1)) - max);
}

/* ---- the oracle: bits of little-endian words ------------------------------------- */

static uint32_t word(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Column c of a row of b-bit fields: column 4f + j of a word is its bits from 8j + bf on. */
static int field(const uint8_t *row, uint32_t c, uint32_t b)
{
    uint32_t per_word = 32 / b, f = c % per_word / 4, j = c % 4;
    int u = 0;
    for (uint32_t bit = 0; bit < b; bit++)
        u |= (int)(word(row + 4 * (c / per_word)) >> (8 * j + b * f + bit) & 1) << bit;
    return u;
}

static int ternary_digit(const uint8_t *row, uint32_t c, uint32_t cols)
{
    static const int weight[5] = {81, 27, 9, 3, 1};
    uint32_t n = (cols + 4) / 5;
    for (int v = 0; v < 243; v++)
        if ((v * 256 + 242) / 243 == row[c % n])
            return v / weight[c / n] % 3;
    return -100;
}

static int naive_level(int type, const uint8_t *row, uint32_t c, uint32_t cols)
{
    const uint8_t *block = row + 12 * (c / 32);
    switch (type) {
    case RUVM_TYPE_INT8: return (int8_t)row[c];
    case RUVM_TYPE_INT4: return 2 * field(row, c, 4) - 15;
    case RUVM_TYPE_INT3:
        return 2 * (field(block + c % 32 / 16 * 4, c % 16, 2) + 4 * field(block + 8, c % 32, 1)) -
               7;
    case RUVM_TYPE_INT2: return 2 * field(row, c, 2) - 3;
    case RUVM_TYPE_TERNARY: return ternary_digit(row, c, cols) - 1;
    default: return 2 * field(row, c, 1) - 1;
    }
}

static uint32_t naive_row_bytes(int type, uint32_t cols)
{
    uint32_t by16 = (cols + 15) / 16, by32 = (cols + 31) / 32;
    const uint32_t bytes[RUVM_N_TYPES] = {16 * by16, 8 * by16,       4 * by16, 0,
                                          4 * by32,  (cols + 4) / 5, 4 * by32};
    return type == RUVM_TYPE_INT3 ? 12 * by32 : type == RUVM_TYPE_INT2 ? 4 * by16 : bytes[type];
}

/* ---- facts --------------------------------------------------------------------- */

Test(ruvm_codes, names_levels_groups)
{
    static const char *const names[] = {"int8",   "int4",    "int3", "int2",
                                        "binary", "ternary", "xnor"};
    for (int t = 0; t < RUVM_N_TYPES; t++) {
        cr_expect_str_eq(ruvm_codes_name(t), names[t]);
        cr_expect(ruvm_codes_max_level(t) == max_level(t), "%s", names[t]);
        cr_expect(ruvm_codes_has_groups(t) == (t >= RUVM_TYPE_INT4 && t <= RUVM_TYPE_BINARY));
    }
    cr_expect_null(ruvm_codes_name(-1));
    cr_expect_null(ruvm_codes_name(RUVM_N_TYPES));
}

Test(ruvm_codes, bytes_of_multipliers)
{
    cr_expect(ruvm_codes_mult_bytes(64, 0) == 0);
    cr_expect(ruvm_codes_mult_bytes(1, 16) == 1);
    cr_expect(ruvm_codes_mult_bytes(32, 16) == 1);
    cr_expect(ruvm_codes_mult_bytes(33, 16) == 2);
    cr_expect(ruvm_codes_mult_bytes(172, 16) == 6);
    cr_expect(ruvm_codes_mult_bytes(172, 32) == 3);
    cr_expect(ruvm_codes_mult_bytes(172, 64) == 2);
    static const uint8_t mult[] = {0x21, 0xf0};
    static const uint32_t expected[] = {1, 2, 0, 15};
    for (uint32_t g = 0; g < 4; g++)
        cr_expect(ruvm_codes_mult(mult, g) == expected[g]);
}

static void check_row(int type, uint32_t cols, int ends)
{
    uint32_t n = ruvm_codes_row_bytes(type, cols);
    cr_assert(n == naive_row_bytes(type, cols), "type %d, %u columns: %u bytes", type, cols, n);
    int8_t levels[MAX_COLS], *back = malloc(cols);
    uint8_t *row = malloc(n); /* exactly sized: the sanitizers watch its ends */
    for (uint32_t c = 0; c < cols; c++)
        levels[c] = random_level(type, ends);
    memset(row, 0xa5, n);
    ruvm_codes_pack(type, row, levels, cols);
    for (uint32_t c = 0; c < cols; c++)
        cr_assert(naive_level(type, row, c, cols) == levels[c], "type %d, column %u of %u", type, c,
                  cols);
    cr_assert(ruvm_codes_valid(type, row, cols), "type %d, %u columns", type, cols);
    ruvm_codes_unpack(type, back, row, cols);
    cr_assert(memcmp(back, levels, cols) == 0, "type %d, %u columns", type, cols);
    free(row);
    free(back);
}

Test(ruvm_codes, rows_are_as_the_layout_says)
{
    for (int type = 0; type < RUVM_N_TYPES; type++)
        for (uint32_t cols = 1; cols <= MAX_COLS; cols++)
            for (int i = 0; i < 4; i++)
                check_row(type, cols, i == 0);
}

/* A row is valid when its levels, packed anew, give the same bytes; so a flip of any one
 * bit must be judged, right or wrong, as that says. */
Test(ruvm_codes, valid_is_what_pack_can_make)
{
    int seen[2] = {0, 0};
    for (int type = 0; type < RUVM_N_TYPES; type++)
        for (uint32_t cols = 1; cols <= 70; cols++) {
            uint8_t row[MAX_ROW] = {0}, again[MAX_ROW] = {0};
            int8_t levels[MAX_COLS];
            uint32_t n = ruvm_codes_row_bytes(type, cols);
            for (uint32_t c = 0; c < cols; c++)
                levels[c] = random_level(type, 0);
            ruvm_codes_pack(type, row, levels, cols);
            for (uint32_t bit = 0; bit < 8 * n; bit++) {
                row[bit / 8] ^= (uint8_t)(1 << bit % 8);
                ruvm_codes_unpack(type, levels, row, cols);
                ruvm_codes_pack(type, again, levels, cols);
                int expected = memcmp(row, again, n) == 0;
                if (type == RUVM_TYPE_INT8)
                    for (uint32_t c = 0; c < cols; c++)
                        expected &= levels[c] != -128;
                cr_assert(ruvm_codes_valid(type, row, cols) == expected,
                          "type %d, %u columns, bit %u", type, cols, bit);
                seen[expected]++;
                row[bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
        }
    cr_expect(seen[0] > 1000 && seen[1] > 1000);
}

Test(ruvm_codes, int8_has_no_minus_128)
{
    uint8_t row[16] = {0};
    cr_expect(ruvm_codes_valid(RUVM_TYPE_INT8, row, 3));
    row[2] = 0x80;
    cr_expect(!ruvm_codes_valid(RUVM_TYPE_INT8, row, 3));
}

Test(ruvm_codes, every_ternary_byte)
{
    int n_valid = 0;
    for (int byte = 0; byte < 256; byte++) {
        uint8_t row = (uint8_t)byte;
        int value = -1;
        for (int v = 0; v < 243; v++)
            value = (v * 256 + 242) / 243 == byte ? v : value;
        cr_expect(ruvm_codes_valid(RUVM_TYPE_TERNARY, &row, 5) == (value >= 0), "byte %d", byte);
        n_valid += value >= 0;
        if (value < 0)
            continue;
        int8_t levels[5];
        ruvm_codes_unpack(RUVM_TYPE_TERNARY, levels, &row, 5);
        int back = 0;
        for (int i = 0; i < 5; i++) {
            cr_expect(levels[i] >= -1 && levels[i] <= 1);
            back = back * 3 + levels[i] + 1;
        }
        cr_expect(back == value, "byte %d", byte);
        uint8_t packed;
        ruvm_codes_pack(RUVM_TYPE_TERNARY, &packed, levels, 5);
        cr_expect(packed == byte, "byte %d", byte);
        for (uint32_t cols = 1; cols < 5; cols++) {
            int centred = 1; /* the digits behind the last column */
            for (uint32_t i = cols; i < 5; i++)
                centred &= levels[i] == 0;
            cr_expect(ruvm_codes_valid(RUVM_TYPE_TERNARY, &row, cols) == centred);
        }
    }
    cr_expect(n_valid == 243, "%d", n_valid);
}
