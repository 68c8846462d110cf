/* Tiles made where the rows stand, and their products: what one value after the other gives. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "lib/convert/tiles.h"
#include "lib/train/isa.h"

enum { ROWS = 37, COLS = 85, LANES = RUVM_FLOATS_LANES, MOST = 9 };

static const enum ruvm_dtype dtypes[] = {RUVM_DTYPE_F32, RUVM_DTYPE_F16, RUVM_DTYPE_BF16,
                                         RUVM_DTYPE_F64, RUVM_DTYPE_I8_SCALED};

/* Any bytes: small numbers, large ones, and those that are none. At an odd address. */
static const uint8_t *bytes(void)
{
    static uint8_t data[1 + ROWS * COLS * 8];
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof data; i++) {
        state = state * 1664525 + 1013904223;
        data[i] = (uint8_t)(state >> 24);
    }
    return data + 1;
}

static struct ruvm_view view_of(enum ruvm_dtype dtype)
{
    return (struct ruvm_view){.dtype = dtype,
                              .n_dims = 2,
                              .dims = {ROWS, COLS},
                              .data = bytes(),
                              .bytes = sizeof(double) * ROWS * COLS,
                              .scale = 0.25f};
}

/* Columns in two parts, of which the second begins anywhere. */
static void check_tiles(const struct ruvm_view *v, uint32_t split)
{
    static float room[LANES * COLS], tile[COLS * LANES], row[COLS];
    for (uint32_t first = 0; first < ROWS; first += LANES) {
        struct ruvm_tiles_rows rows;
        ruvm_tiles_rows(&rows, v, first, room);
        ruvm_tiles_make(tile, &rows, 0, split);
        ruvm_tiles_make(tile + (size_t)split * LANES, &rows, split, COLS - split);
        for (uint32_t r = 0; r < LANES && first + r < ROWS; r++) {
            ruvm_view_row(v, first + r, row);
            for (uint32_t c = 0; c < COLS; c++)
                cr_assert(memcmp(&tile[ruvm_floats_tiled(r, c, COLS)], &row[c], sizeof *row) == 0,
                          "%s, row %u, column %u of %u", ruvm_dtype_name(v->dtype), first + r, c,
                          split);
        }
    }
}

Test(tiles, are_the_rows_whatever_their_type)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        struct ruvm_view v = view_of(dtypes[i]);
        for (uint32_t split = 0; split <= COLS; split += 17)
            check_tiles(&v, split);
    }
}

Test(tiles, of_rows_in_another_order)
{
    uint32_t order[ROWS];
    for (uint32_t r = 0; r < ROWS; r++)
        order[r] = (r * 11 + 5) % ROWS;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        struct ruvm_view v = view_of(dtypes[i]);
        v.order = order;
        check_tiles(&v, 64);
    }
}

/* As PyTorch's Conv1D is stored: its columns one after the other, among others' values. */
Test(tiles, of_columns)
{
    for (size_t i = 0; i < 4; i++) {
        struct ruvm_view v = view_of(dtypes[i]);
        v.stride = ROWS;
        check_tiles(&v, 40);
    }
}

/* 1 .. 9 inputs, on every instruction set, over all columns and in two parts. */
Test(tiles, inputs_side_by_side_have_the_same_sums)
{
    float tile[COLS * LANES], x[MOST * COLS], one[LANES], each[MOST * LANES];
    for (int i = 0; i < LANES * COLS; i++)
        tile[i] = sinf((float)i);
    for (int i = 0; i < MOST * COLS; i++)
        x[i] = cosf((float)i * 3);
    for (int isa = 0; isa < RUVM_N_ISAS; isa++) {
        ruvm_isa_limit((enum ruvm_isa)isa);
        for (uint32_t n = 1; n <= MOST; n++)
            for (uint32_t split = 0; split < COLS; split += 21) {
                struct ruvm_floats_vectors out = {each, LANES, n}, in = {x, COLS, n};
                ruvm_tiles_multiply(out, tile, in, split, false);
                in.x += split;
                ruvm_tiles_multiply(out, tile + (size_t)split * LANES, in, COLS - split, true);
                for (uint32_t i = 0; i < n; i++) {
                    ruvm_floats_tile(one, tile, x + i * COLS, COLS);
                    cr_assert(memcmp(one, each + i * LANES, sizeof one) == 0);
                }
            }
    }
    ruvm_isa_limit(RUVM_N_ISAS);
}
