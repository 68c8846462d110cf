/* Rows of bytes: scales that fit, rounding within half a step, and refusals by name. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/base/bytes.h"
#include "lib/convert/int8.h"
#include "tests/support/tiny_model.h"

enum { MAX_ROWS = 8, MAX_COLS = 40 };

struct result {
    struct ruvm_int8_matrix q;
    int8_t data[MAX_ROWS * 48];
    uint8_t scales[MAX_ROWS * 2];
    struct ruvm_error err;
    int rc;
};

static struct result *quantize(const float *w, uint32_t rows, uint32_t cols)
{
    struct result *r = calloc(1, sizeof *r);
    float row[MAX_COLS];
    struct ruvm_view view = {.name = "w",
                             .dtype = RUVM_DTYPE_F32,
                             .n_dims = 2,
                             .dims = {rows, cols},
                             .data = (const uint8_t *)w,
                             .bytes = (size_t)rows * cols * sizeof *w};
    memset(r->data, 0x55, sizeof r->data);
    r->q = (struct ruvm_int8_matrix){.rows = rows,
                                     .cols = cols,
                                     .row_bytes = (cols + 15) & ~15u,
                                     .data = r->data,
                                     .scales = r->scales};
    r->rc = ruvm_int8_quantize(&r->q, &view, row, "layers.0.wq", &r->err);
    return r;
}

static double scale_of(const struct result *r, uint32_t row)
{
    return ldexp(ruvm_load_u16(r->scales + 2 * row), r->q.scale_exp);
}

Test(int8, every_weight_is_within_half_a_step)
{
    uint64_t rng = 1;
    for (int round = 0; round < 200; round++) {
        uint32_t rows = 1 + (uint32_t)(tiny_random(&rng) % MAX_ROWS);
        uint32_t cols = 1 + (uint32_t)(tiny_random(&rng) % MAX_COLS);
        float w[MAX_ROWS * MAX_COLS];
        double size = ldexp(1.0, (int)(tiny_random(&rng) % 60) - 40);
        for (uint32_t i = 0; i < rows * cols; i++)
            w[i] = (float)(((double)(tiny_random(&rng) >> 11) * 0x1p-52 - 1.0) * size);
        struct result *r = quantize(w, rows, cols);
        cr_assert_eq(r->rc, RUVM_OK);
        uint16_t most = 0;
        for (uint32_t i = 0; i < rows; i++) {
            uint16_t mantissa = ruvm_load_u16(r->scales + 2 * i);
            most = mantissa > most ? mantissa : most;
            for (uint32_t c = 0; c < cols; c++) {
                int8_t q = r->data[i * r->q.row_bytes + c];
                double lost = fabs((double)w[i * cols + c] - q * scale_of(r, i));
                cr_assert(q >= -127 && lost <= 0.5035 * scale_of(r, i), "round %d: %g", round,
                          lost / scale_of(r, i));
            }
            for (uint32_t c = cols; c < r->q.row_bytes; c++)
                cr_assert_eq(r->data[i * r->q.row_bytes + c], 0, "padding");
        }
        cr_assert(most > 32767, "round %d: largest mantissa %u", round, most);
        free(r);
    }
}

Test(int8, halves_round_away_from_zero)
{
    const float w[] = {127.0f, 0.5f, -0.5f, 1.5f, 2.5f, -2.5f, 0.49f, -127.0f};
    const int8_t expected[] = {127, 1, -1, 2, 3, -3, 0, -127};
    struct result *r = quantize(w, 1, 8);
    cr_assert_eq(r->rc, RUVM_OK);
    cr_assert_float_eq(scale_of(r, 0), 1.0, 0.0);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(r->data[i], expected[i], "%g became %d", (double)w[i], r->data[i]);
    free(r);
}

Test(int8, loss_is_measured)
{
    /* row 0 is exact, row 1 loses a half step in 2 of 3 values, row 2 is silent */
    const float w[] = {127, -3, 5, 127, 0.5f, 1.5f, 0, 0, 0};
    struct result *r = quantize(w, 3, 3);
    cr_assert_eq(r->rc, RUVM_OK);
    double row = 10 * log10((127.0 * 127 + 0.25 + 2.25) / 0.5);
    double all = 10 * log10((2 * 127.0 * 127 + 9 + 25 + 2.5) / 0.5);
    cr_assert_eq(r->q.loss.worst_row, 1);
    cr_assert_float_eq(r->q.loss.worst_row_snr_db, row, 1e-9);
    cr_assert_float_eq(r->q.loss.snr_db, all, 1e-9);
    cr_assert_eq(ruvm_load_u16(r->scales + 4), 0, "a silent row has no scale");
    free(r);
    const float zeros[6] = {0};
    r = quantize(zeros, 2, 3);
    cr_assert_eq(r->rc, RUVM_OK);
    cr_assert_float_eq(r->q.loss.snr_db, RUVM_INT8_MAX_SNR_DB, 0.0);
    free(r);
}

Test(int8, a_very_quiet_row_keeps_a_scale)
{
    const float w[] = {1.0f, 1e-9f};
    struct result *r = quantize(w, 2, 1);
    cr_assert_eq(ruvm_load_u16(r->scales + 2), 1, "0 would silence it on purpose only");
    free(r);
}

Test(int8, refuses_what_is_not_a_number_by_name_and_row)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        for (int where = 0; where < 6; where++) {
            float w[] = {1, 2, 3, 4, 5, 6};
            w[where] = bad[i];
            struct result *r = quantize(w, 3, 2);
            cr_assert_eq(r->rc, RUVM_ERR_CORRUPT);
            char expected[64];
            snprintf(expected, sizeof expected, "layers.0.wq: row %d:", where / 2);
            cr_assert_not_null(strstr(r->err.text, expected), "%s", r->err.text);
            free(r);
        }
    }
}

Test(int8, refuses_what_no_exponent_reaches)
{
    const float w[] = {1.0f, 2e16f, 3.0f};
    struct result *r = quantize(w, 1, 3);
    cr_assert_eq(r->rc, RUVM_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(r->err.text, "layers.0.wq"), "%s", r->err.text);
    free(r);
    cr_assert(ruvm_int8_fits(7.0e13) && !ruvm_int8_fits(7.1e13));
}

Test(int8, mantissa_and_exponent)
{
    static const struct {
        double value;
        int exp;
        uint16_t mantissa;
    } table[] = {
        {1.0, -15, 32768},   {65535.0, 0, 65535}, {65535.4, 0, 65535}, {65535.6, 1, 32768},
        {32768.0, 0, 32768}, {32767.9, 0, 32768}, {0.75, -16, 49152},  {3e-22, RUVM_MIN_EXP, 363},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int e = ruvm_int8_exponent(table[i].value);
        cr_assert_eq(e, table[i].exp, "%g: exponent %d", table[i].value, e);
        cr_assert_eq(ruvm_int8_mantissa(table[i].value, e), table[i].mantissa, "%g",
                     table[i].value);
    }
    cr_assert_eq(ruvm_int8_mantissa(0.0, 0), 0);
    cr_assert_eq(ruvm_int8_mantissa(1e-30, 0), 1);
    cr_assert_eq(ruvm_int8_mantissa(1e30, 0), 65535);
}
