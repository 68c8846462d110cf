/* What a matrix says it holds is what its packed bytes hold; and what was lost. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/quant/matrix.h"
#include "tests/quant/numbers.h"

static const struct ruvm_scheme schemes[] = {
    {RUVM_TYPE_INT8, 0},    {RUVM_TYPE_INT4, 0},   {RUVM_TYPE_INT4, 16},   {RUVM_TYPE_INT4, 32},
    {RUVM_TYPE_INT4, 64},   {RUVM_TYPE_INT3, 0},   {RUVM_TYPE_INT3, 16},   {RUVM_TYPE_INT2, 16},
    {RUVM_TYPE_INT2, 64},   {RUVM_TYPE_BINARY, 0}, {RUVM_TYPE_BINARY, 16}, {RUVM_TYPE_BINARY, 32},
    {RUVM_TYPE_TERNARY, 0}, {RUVM_TYPE_XNOR, 0},
};
enum { N_SCHEMES = sizeof schemes / sizeof *schemes };

/* A random level of the type. */
static int8_t any_level(struct ruvm_scheme s, uint64_t *rng)
{
    int max = ruvm_codes_max_level(s.type);
    bool even = s.type == RUVM_TYPE_INT8 || s.type == RUVM_TYPE_TERNARY;
    return (int8_t)(even ? (int)number_below(rng, 2 * (uint32_t)max + 1) - max
                         : 2 * (int)number_below(rng, (uint32_t)max + 1) - max);
}

static void fill(struct ruvm_quant_matrix *q, uint64_t *rng)
{
    for (size_t i = 0; i < (size_t)q->rows * q->cols; i++)
        q->level[i] = any_level(q->scheme, rng);
    for (size_t i = 0; q->scheme.group && i < (size_t)q->rows * q->n_groups; i++)
        q->mult[i] = (uint8_t)number_below(rng, 16);
    for (uint32_t r = 0; r < q->rows; r++)
        q->scale[r] = (uint16_t)number_below(rng, 65536);
    q->scale_exp = (int8_t)(-20 + (int)number_below(rng, 10));
}

/* Row r of the packed bytes by the formula of the layout. */
static double packed_weight(const struct ruvm_quant_matrix *q, const uint8_t *data,
                            const uint8_t *scales, uint32_t r, uint32_t c)
{
    int8_t levels[200];
    const uint8_t *row = data + (size_t)r * ruvm_codes_row_bytes(q->scheme.type, q->cols);
    const uint8_t *mult =
        scales + 2 * (size_t)q->rows + (size_t)r * ruvm_codes_mult_bytes(q->cols, q->scheme.group);
    cr_assert(ruvm_codes_valid(q->scheme.type, row, q->cols));
    ruvm_codes_unpack(q->scheme.type, levels, row, q->cols);
    double m = q->scheme.group ? ruvm_codes_mult(mult, c / q->scheme.group) : 1;
    return ldexp(levels[c] * m * ruvm_load_u16(scales + 2 * (size_t)r), q->scale_exp);
}

Test(matrix, a_row_is_what_its_packed_bytes_say)
{
    static const uint32_t cols[] = {1, 5, 16, 17, 31, 48, 64, 65, 172};
    uint64_t rng = 1;
    for (int i = 0; i < N_SCHEMES * 9; i++) {
        struct ruvm_arena arena = {0};
        struct ruvm_quant_matrix q;
        struct ruvm_scheme s = schemes[i / 9];
        uint32_t rows = 1 + number_below(&rng, 5), n = cols[i % 9];
        cr_assert(ruvm_quant_matrix_open(&q, &arena, s, rows, n));
        fill(&q, &rng);
        uint8_t *data = ruvm_arena_alloc(&arena, ruvm_scheme_data_bytes(s, rows, n), 1);
        uint8_t *scales = ruvm_arena_alloc(&arena, ruvm_scheme_scale_bytes(s, rows, n), 1);
        ruvm_quant_matrix_pack(&q, data, scales);
        for (uint32_t r = 0; r < rows; r++) {
            double row[200];
            ruvm_quant_matrix_row(&q, r, row);
            for (uint32_t c = 0; c < n; c++) {
                double expected = packed_weight(&q, data, scales, r, c);
                cr_assert(row[c] >= expected && row[c] <= expected, "scheme %d, %u x %u", i / 9,
                          rows, n);
            }
        }
        ruvm_arena_free(&arena);
    }
}

Test(matrix, open_says_how_many_groups_there_are)
{
    static const struct {
        uint8_t group;
        uint32_t cols, n_groups, columns;
    } table[] = {{0, 40, 1, 40}, {16, 40, 3, 16}, {16, 48, 3, 16}, {64, 40, 1, 64}, {32, 1, 1, 32}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ruvm_arena arena = {0};
        struct ruvm_quant_matrix q;
        struct ruvm_scheme s = {RUVM_TYPE_INT4, table[i].group};
        cr_assert(ruvm_quant_matrix_open(&q, &arena, s, 2, table[i].cols));
        cr_assert_eq(q.n_groups, table[i].n_groups);
        cr_assert_eq(ruvm_quant_matrix_group(&q), table[i].columns);
        cr_assert(q.mult[0] == 1 && q.scale[1] == 0 && q.level[0] == 0);
        ruvm_arena_free(&arena);
    }
}

/* ---- what was lost --------------------------------------------------------- */

static struct ruvm_quant_loss loss_of(const float *w, const int8_t *levels, uint32_t rows,
                                      uint32_t cols)
{
    struct ruvm_arena arena = {0};
    struct ruvm_quant_matrix q;
    double work[8];
    cr_assert(
        ruvm_quant_matrix_open(&q, &arena, (struct ruvm_scheme){RUVM_TYPE_INT8, 0}, rows, cols));
    memcpy(q.level, levels, (size_t)rows * cols);
    for (uint32_t r = 0; r < rows; r++)
        q.scale[r] = 1;
    struct ruvm_quant_loss loss = ruvm_quant_matrix_loss(&q, w, work);
    ruvm_arena_free(&arena);
    return loss;
}

Test(matrix, loss_worked_out_by_hand)
{
    /* row 0 is exact, row 1 loses a half step in 2 of 3 values, rows 2 and 3 are silent */
    const float w[] = {127, -3, 5, 127, 0.5f, 1.5f, 0, 0, 0, 0, 0, 0};
    const int8_t levels[12] = {127, -3, 5, 127, 1, 2};
    struct ruvm_quant_loss loss = loss_of(w, levels, 4, 3);
    double row = 10 * log10((127.0 * 127 + 0.25 + 2.25) / 0.5);
    double all = 10 * log10((2 * 127.0 * 127 + 9 + 25 + 2.5) / 0.5);
    cr_assert_eq(loss.worst_row, 1);
    cr_assert_float_eq(loss.worst_row_snr_db, row, 1e-9);
    cr_assert_float_eq(loss.snr_db, all, 1e-9);
    cr_assert(loss.zero_rows == 2 && loss.first_zero_row == 2);
}

Test(matrix, nothing_lost_is_the_largest_snr)
{
    const float zeros[6] = {0};
    const int8_t none[6] = {0};
    struct ruvm_quant_loss loss = loss_of(zeros, none, 2, 3);
    cr_assert_float_eq(loss.snr_db, RUVM_MAX_SNR_DB, 0.0);
    cr_assert_float_eq(loss.worst_row_snr_db, RUVM_MAX_SNR_DB, 0.0);
    cr_assert(loss.zero_rows == 2 && loss.first_zero_row == 0);
    const float ones[6] = {1, 1, 1, 1, 1, 1};
    const int8_t same[6] = {1, 1, 1, 1, 1, 1};
    loss = loss_of(ones, same, 2, 3);
    cr_assert_float_eq(loss.snr_db, RUVM_MAX_SNR_DB, 0.0);
    cr_assert_eq(loss.zero_rows, 0);
}

/* ---- what comes in --------------------------------------------------------- */

static int take(float *out, const float *w, uint32_t rows, uint32_t cols, struct ruvm_error *err)
{
    struct ruvm_view view = {.name = "w",
                             .dtype = RUVM_DTYPE_F32,
                             .n_dims = 2,
                             .dims = {rows, cols},
                             .data = (const uint8_t *)w,
                             .bytes = (size_t)rows * cols * sizeof *w};
    return ruvm_quant_weights(out, &view, "layers.0.wq", err);
}

Test(matrix, weights_come_as_they_are)
{
    const float w[] = {1, -2, 3.5f, 0, 1e-30f, 6};
    float out[6];
    cr_assert_eq(take(out, w, 2, 3, NULL), RUVM_OK);
    cr_assert_eq(memcmp(out, w, sizeof w), 0);
}

Test(matrix, refuses_what_is_not_a_number_by_name_and_row)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3 * 6; i++) {
        float w[] = {1, 2, 3, 4, 5, 6}, out[6];
        struct ruvm_error err = {0};
        char expected[64];
        w[i % 6] = bad[i / 6];
        cr_assert_eq(take(out, w, 3, 2, &err), RUVM_ERR_CORRUPT);
        snprintf(expected, sizeof expected, "layers.0.wq: row %d:", i % 6 / 2);
        cr_assert_not_null(strstr(err.text, expected), "%s", err.text);
    }
}

Test(matrix, refuses_what_no_exponent_reaches)
{
    const float w[] = {1.0f, 2e16f, 3.0f}, large[] = {1.0f, 8e15f, 3.0f};
    float out[3];
    struct ruvm_error err = {0};
    cr_assert_eq(take(out, w, 1, 3, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "layers.0.wq"), "%s", err.text);
    cr_assert_eq(take(out, large, 1, 3, NULL), RUVM_OK);
}
