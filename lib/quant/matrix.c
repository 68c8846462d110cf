/* Keeps levels, multipliers and scales of a matrix, packs them and says what was lost. */
#include "lib/quant/matrix.h"

#include <math.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/quant/mantissa.h"

enum { BYTE_MAX = 127 };

bool ruvm_quant_matrix_open(struct ruvm_quant_matrix *q, struct ruvm_arena *arena,
                            struct ruvm_scheme scheme, uint32_t rows, uint32_t cols)
{
    *q = (struct ruvm_quant_matrix){.scheme = scheme, .rows = rows, .cols = cols, .n_groups = 1};
    if (scheme.group)
        q->n_groups = (cols + scheme.group - 1) / scheme.group;
    q->level = ruvm_arena_alloc(arena, rows, cols);
    q->mult = ruvm_arena_alloc(arena, rows, q->n_groups);
    q->scale = ruvm_arena_alloc(arena, rows, sizeof *q->scale);
    if (!q->level || !q->mult || !q->scale)
        return false;
    memset(q->mult, 1, (size_t)rows * q->n_groups);
    return true;
}

uint32_t ruvm_quant_matrix_group(const struct ruvm_quant_matrix *q)
{
    return q->scheme.group ? q->scheme.group : q->cols;
}

double ruvm_quant_matrix_step(const struct ruvm_quant_matrix *q, uint32_t r, uint32_t g)
{
    return ldexp((double)q->mult[(size_t)r * q->n_groups + g] * q->scale[r], q->scale_exp);
}

void ruvm_quant_matrix_row(const struct ruvm_quant_matrix *q, uint32_t r, double *out)
{
    uint32_t group = ruvm_quant_matrix_group(q);
    const int8_t *level = q->level + (size_t)r * q->cols;
    for (uint32_t g = 0; g < q->n_groups; g++) {
        double step = ruvm_quant_matrix_step(q, r, g);
        for (uint32_t c = g * group; c < q->cols && c < (g + 1) * group; c++)
            out[c] = level[c] * step;
    }
}

static void pack_multipliers(const struct ruvm_quant_matrix *q, uint8_t *out)
{
    uint32_t bytes = ruvm_codes_mult_bytes(q->cols, q->scheme.group);
    for (uint32_t r = 0; r < q->rows; r++)
        for (uint32_t g = 0; g < q->n_groups; g++) {
            uint32_t m = q->mult[(size_t)r * q->n_groups + g];
            out[(size_t)r * bytes + g / 2] |= (uint8_t)(m << (g % 2 * 4));
        }
}

void ruvm_quant_matrix_pack(const struct ruvm_quant_matrix *q, uint8_t *data, uint8_t *scales)
{
    uint32_t row_bytes = ruvm_codes_row_bytes(q->scheme.type, q->cols);
    for (uint32_t r = 0; r < q->rows; r++) {
        ruvm_codes_pack(q->scheme.type, data + (size_t)r * row_bytes,
                        q->level + (size_t)r * q->cols, q->cols);
        ruvm_store_u16(scales + 2 * (size_t)r, q->scale[r]);
    }
    if (q->scheme.group)
        pack_multipliers(q, scales + 2 * (size_t)q->rows);
}

/* ---- what was lost --------------------------------------------------------- */

struct energy {
    double signal, noise; /* sums of squares */
};

static double decibels(struct energy e)
{
    if (e.noise <= 0.0 || e.signal <= 0.0)
        return RUVM_MAX_SNR_DB;
    return fmin(10.0 * log10(e.signal / e.noise), RUVM_MAX_SNR_DB);
}

struct ruvm_quant_loss ruvm_quant_matrix_loss(const struct ruvm_quant_matrix *q, const float *w,
                                              double *work)
{
    struct energy all = {0.0, 0.0};
    struct ruvm_quant_loss loss = {.worst_row_snr_db = RUVM_MAX_SNR_DB};
    for (uint32_t r = 0; r < q->rows; r++, w += q->cols) {
        struct energy e = {0.0, 0.0};
        ruvm_quant_matrix_row(q, r, work);
        for (uint32_t c = 0; c < q->cols; c++) {
            double x = (double)w[c], lost = x - work[c];
            e.signal += x * x;
            e.noise += lost * lost;
        }
        all.signal += e.signal;
        all.noise += e.noise;
        if (e.signal <= 0.0 && loss.zero_rows++ == 0)
            loss.first_zero_row = r;
        if (decibels(e) < loss.worst_row_snr_db) {
            loss.worst_row_snr_db = decibels(e);
            loss.worst_row = r;
        }
    }
    loss.snr_db = decibels(all);
    return loss;
}

/* ---- what comes in --------------------------------------------------------- */

int ruvm_quant_weights(float *w, const struct ruvm_view *view, const char *name,
                       struct ruvm_error *err)
{
    uint32_t rows = (uint32_t)view->dims[0], cols = (uint32_t)view->dims[1];
    for (uint32_t r = 0; r < rows; r++) {
        float *row = w + (size_t)r * cols, largest = 0.0f;
        ruvm_view_row(view, r, row);
        for (uint32_t c = 0; c < cols; c++) {
            if (!isfinite(row[c]))
                return ruvm_fail(err, RUVM_ERR_CORRUPT,
                                 "%s: row %u: holds a weight that is not a "
                                 "finite number; the file is damaged or its training diverged",
                                 name, r);
            largest = fmaxf(largest, fabsf(row[c]));
        }
        if (!ruvm_mantissa_fits((double)largest / BYTE_MAX))
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                             "%s: holds a weight of %g, beyond any scale of an image; the file is "
                             "damaged or its training diverged",
                             name, (double)largest);
    }
    return RUVM_OK;
}
