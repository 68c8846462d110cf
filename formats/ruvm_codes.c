/* Codes: rows of quantized weights to packed bytes and back.
 *
 * A code of b bits is the number u of the level 2u - (2^b - 1). The types that are packed
 * into words differ in b alone, and INT3 is an INT2 row and a BINARY row laid side by
 * side, 32 columns of each in turn. TERNARY is five digits of base 3 in a byte that is
 * read by multiplying: the byte is the fraction v / 243 rounded up to 256ths, so each
 * multiplication by 3 pushes the next digit above the point. 13 bytes are no such
 * fraction.
 */
#include "formats/ruvm_codes.h"

#include <stddef.h>

enum { TERNARY_DIGITS = 5, TERNARY_VALUES = 243, INT3_BLOCK = 32, INT3_BLOCK_BYTES = 12 };
enum { INT3_HIGH = 8 }; /* where a block's high bits begin */

static const struct {
    const char *name;
    uint8_t max_level, has_groups;
} types[RUVM_N_TYPES] = {
    [RUVM_TYPE_INT8] = {"int8", 127, 0},   [RUVM_TYPE_INT4] = {"int4", 15, 1},
    [RUVM_TYPE_INT3] = {"int3", 7, 1},     [RUVM_TYPE_INT2] = {"int2", 3, 1},
    [RUVM_TYPE_BINARY] = {"binary", 1, 1}, [RUVM_TYPE_TERNARY] = {"ternary", 1, 0},
    [RUVM_TYPE_XNOR] = {"xnor", 1, 0},
};

static bool is_type(int type)
{
    return type >= 0 && type < RUVM_N_TYPES;
}

const char *ruvm_codes_name(int type)
{
    return is_type(type) ? types[type].name : NULL;
}

int ruvm_codes_max_level(int type)
{
    return is_type(type) ? types[type].max_level : 0;
}

bool ruvm_codes_has_groups(int type)
{
    return is_type(type) && types[type].has_groups;
}

uint32_t ruvm_codes_row_bytes(int type, uint32_t cols)
{
    switch (type) {
    case RUVM_TYPE_INT8: return (cols + 15) / 16 * 16;
    case RUVM_TYPE_INT4: return (cols + 15) / 16 * 8;
    case RUVM_TYPE_INT3: return (cols + 31) / 32 * INT3_BLOCK_BYTES;
    case RUVM_TYPE_INT2: return (cols + 15) / 16 * 4;
    case RUVM_TYPE_BINARY:
    case RUVM_TYPE_XNOR: return (cols + 31) / 32 * 4;
    case RUVM_TYPE_TERNARY: return (cols + TERNARY_DIGITS - 1) / TERNARY_DIGITS;
    default: return 0;
    }
}

uint32_t ruvm_codes_mult_bytes(uint32_t cols, uint32_t group)
{
    uint32_t n_groups = group ? (cols + group - 1) / group : 0;
    return (n_groups + 1) / 2;
}

/* ---- codes of 4, 2 and 1 bits in words ---------------------------------------- */

/* Where column c of a row of b-bit codes is: this byte, from this bit on. */
static uint32_t byte_of(uint32_t c, uint32_t b)
{
    return c / (32 / b) * 4 + c % 4;
}

static uint32_t bit_of(uint32_t c, uint32_t b)
{
    return c % (32 / b) / 4 * b;
}

static uint32_t get(const uint8_t *row, uint32_t c, uint32_t b)
{
    return ((uint32_t)row[byte_of(c, b)] >> bit_of(c, b)) & ((1u << b) - 1);
}

/* Into bits that are still zero. */
static void put(uint8_t *row, uint32_t c, uint32_t b, uint32_t u)
{
    row[byte_of(c, b)] = (uint8_t)(row[byte_of(c, b)] | u << bit_of(c, b));
}

static uint32_t get_code(int type, const uint8_t *row, uint32_t c)
{
    const uint8_t *block = row + c / INT3_BLOCK * INT3_BLOCK_BYTES;
    switch (type) {
    case RUVM_TYPE_INT4: return get(row, c, 4);
    case RUVM_TYPE_INT3:
        return get(block, c % INT3_BLOCK, 2) + 4 * get(block + INT3_HIGH, c % INT3_BLOCK, 1);
    case RUVM_TYPE_INT2: return get(row, c, 2);
    default: return get(row, c, 1);
    }
}

static void put_code(int type, uint8_t *row, uint32_t c, uint32_t u)
{
    uint8_t *block = row + c / INT3_BLOCK * INT3_BLOCK_BYTES;
    switch (type) {
    case RUVM_TYPE_INT4: put(row, c, 4, u); return;
    case RUVM_TYPE_INT3:
        put(block, c % INT3_BLOCK, 2, u & 3);
        put(block + INT3_HIGH, c % INT3_BLOCK, 1, u >> 2);
        return;
    case RUVM_TYPE_INT2: put(row, c, 2, u); return;
    default: put(row, c, 1, u); return;
    }
}

/* The columns that a row has room for. */
static uint32_t padded_cols(int type, uint32_t cols)
{
    uint32_t step = type == RUVM_TYPE_INT4 || type == RUVM_TYPE_INT2 ? 16 : 32;
    return (cols + step - 1) / step * step;
}

static bool valid_codes(int type, const uint8_t *row, uint32_t cols)
{
    for (uint32_t c = cols; c < padded_cols(type, cols); c++)
        if (get_code(type, row, c) != 0)
            return false;
    return true;
}

/* ---- ternary ------------------------------------------------------------------ */

static void pack_ternary(uint8_t *row, const int8_t *levels, uint32_t cols)
{
    uint32_t n = ruvm_codes_row_bytes(RUVM_TYPE_TERNARY, cols);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t v = 0;
        for (uint32_t k = 0, c = i; k < TERNARY_DIGITS; k++, c += n)
            v = v * 3 + (uint32_t)(c < cols ? levels[c] + 1 : 1);
        row[i] = (uint8_t)((v * 256 + TERNARY_VALUES - 1) / TERNARY_VALUES);
    }
}

static void unpack_ternary(int8_t *levels, const uint8_t *row, uint32_t cols)
{
    uint32_t n = ruvm_codes_row_bytes(RUVM_TYPE_TERNARY, cols);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t t = row[i];
        for (uint32_t c = i; c < cols; c += n) {
            t *= 3;
            levels[c] = (int8_t)((int)(t >> 8) - 1);
            t &= 255;
        }
    }
}

static bool valid_ternary(const uint8_t *row, uint32_t cols)
{
    uint32_t n = ruvm_codes_row_bytes(RUVM_TYPE_TERNARY, cols);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t v = row[i] * (uint32_t)TERNARY_VALUES / 256, t = row[i];
        if ((v * 256 + TERNARY_VALUES - 1) / TERNARY_VALUES != t)
            return false;
        for (uint32_t k = 0, c = i; k < TERNARY_DIGITS; k++, c += n) {
            t *= 3;
            if (c >= cols && t >> 8 != 1)
                return false;
            t &= 255;
        }
    }
    return true;
}

/* ---- bytes -------------------------------------------------------------------- */

static bool valid_bytes(const uint8_t *row, uint32_t cols)
{
    for (uint32_t c = 0; c < cols; c++)
        if (row[c] == 128) /* -128 */
            return false;
    for (uint32_t c = cols; c < ruvm_codes_row_bytes(RUVM_TYPE_INT8, cols); c++)
        if (row[c] != 0)
            return false;
    return true;
}

/* ---- all ---------------------------------------------------------------------- */

void ruvm_codes_pack(int type, uint8_t *row, const int8_t *levels, uint32_t cols)
{
    if (type == RUVM_TYPE_TERNARY) {
        pack_ternary(row, levels, cols);
        return;
    }
    uint32_t n = ruvm_codes_row_bytes(type, cols);
    for (uint32_t i = 0; i < n; i++)
        row[i] = 0;
    for (uint32_t c = 0; c < cols; c++) {
        if (type == RUVM_TYPE_INT8)
            row[c] = (uint8_t)levels[c];
        else
            put_code(type, row, c, (uint32_t)(levels[c] + ruvm_codes_max_level(type)) / 2);
    }
}

/* A loop of its own for the codes of four bits, whose places are then shifts by constants. */
static void unpack_int4(int8_t *levels, const uint8_t *row, uint32_t cols)
{
    for (uint32_t c = 0; c < cols; c++)
        levels[c] = (int8_t)(2 * (int)get(row, c, 4) - 15);
}

void ruvm_codes_unpack(int type, int8_t *levels, const uint8_t *row, uint32_t cols)
{
    if (type == RUVM_TYPE_TERNARY) {
        unpack_ternary(levels, row, cols);
        return;
    }
    if (type == RUVM_TYPE_INT4) {
        unpack_int4(levels, row, cols);
        return;
    }
    int max = ruvm_codes_max_level(type);
    for (uint32_t c = 0; c < cols; c++)
        levels[c] = (int8_t)(type == RUVM_TYPE_INT8 ? (int8_t)row[c]
                                                    : 2 * (int)get_code(type, row, c) - max);
}

bool ruvm_codes_valid(int type, const uint8_t *row, uint32_t cols)
{
    switch (type) {
    case RUVM_TYPE_INT8: return valid_bytes(row, cols);
    case RUVM_TYPE_TERNARY: return valid_ternary(row, cols);
    default: return valid_codes(type, row, cols);
    }
}
