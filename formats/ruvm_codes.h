/* Codes: how one row of quantized weights is packed, both ways.
 *
 *     n = ruvm_codes_row_bytes(RUVM_TYPE_INT4, cols);
 *     ruvm_codes_pack(RUVM_TYPE_INT4, row, levels, cols);
 *     ruvm_codes_unpack(RUVM_TYPE_INT4, levels, row, cols);
 *
 * formats/ruvm_layout.h says what the bytes mean. Freestanding. Levels are those of the
 * type: odd numbers of -15..15 for INT4 and so on, 0 and +-1 for TERNARY.
 */
#ifndef RUVM_FORMATS_RUVM_CODES_H
#define RUVM_FORMATS_RUVM_CODES_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/ruvm_layout.h"

/* "int8", "int4", "int3", "int2", "binary", "ternary", "xnor"; NULL for no type. */
const char *ruvm_codes_name(int type);
/* The largest level: 127, 15, 7, 3, 1, 1, 1. */
int ruvm_codes_max_level(int type);
/* Bits of a code: 8, 4, 3, 2, 1; not of the types after BINARY. */
static inline uint32_t ruvm_codes_bits(int type)
{
    return type == RUVM_TYPE_INT8 ? 8 : (uint32_t)(RUVM_TYPE_BINARY + 1 - type);
}
/* Whether a tensor of the type may have multipliers. */
bool ruvm_codes_has_groups(int type);
/* Bytes of a packed row. */
uint32_t ruvm_codes_row_bytes(int type, uint32_t cols);
/* Bytes of a row's multipliers; 0 for group 0. */
uint32_t ruvm_codes_mult_bytes(uint32_t cols, uint32_t group);
/* Multiplier g of a row's multipliers. */
static inline uint32_t ruvm_codes_mult(const uint8_t *mult, uint32_t g)
{
    return (mult[g / 2] >> (g % 2 * 4)) & RUVM_MULT_MAX;
}

/* row: ruvm_codes_row_bytes() bytes, all of which are written. levels: [cols]. */
void ruvm_codes_pack(int type, uint8_t *row, const int8_t *levels, uint32_t cols);
void ruvm_codes_unpack(int type, int8_t *levels, const uint8_t *row, uint32_t cols);
/* Whether a packed row is one that ruvm_codes_pack() can make: no value without a level,
 * zeros in the padding. */
bool ruvm_codes_valid(int type, const uint8_t *row, uint32_t cols);

#endif
