/* Keeps levels, multipliers and scales of a matrix, packs them and says what was lost. */
#include "lib/quant/matrix.h"

#include <math.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/quant/mantissa.h"

enum { BYTE_MAX = 127 };

bool ruvm_quant_matrix_open_sliced(struct ruvm_quant_matrix *q, struct ruvm_arena *arena,
                                   struct ruvm_scheme scheme, uint32_t rows, uint32_t cols)
{
    *q = (struct ruvm_quant_matrix){.scheme = scheme, .rows = rows, .cols = cols, .n_groups = 1};
    if (scheme.group)
        q->n_groups = (cols + scheme.group - 1) / scheme.group;
    q->mult = ruvm_arena_alloc(arena, rows, q->n_groups);
    q->scale = ruvm_arena_alloc(arena, rows, sizeof *q->scale);
    if (!q->mult || !q->scale)
        return false;
    memset(q->mult, 1, (size_t)rows * q->n_groups);
    return true;
}

bool ruvm_quant_matrix_open(struct ruvm_quant_matrix *q, struct ruvm_arena *arena,
                            struct ruvm_scheme scheme, uint32_t rows, uint32_t cols)
{
    bool ok = ruvm_quant_matrix_open_sliced(q, arena, scheme, rows, cols);
    q->level = ruvm_arena_alloc(arena, rows, cols);
    return ok && q->level;
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

struct ruvm_quant_matrix ruvm_quant_matrix_slice(const struct ruvm_quant_matrix *q, uint32_t first,
                                                 uint32_t n, int8_t *level)
{
    struct ruvm_quant_matrix slice = *q;
    slice.rows = n;
    slice.level = level ? level : q->level + (size_t)first * q->cols;
    slice.mult += (size_t)first * q->n_groups;
    slice.scale += first;
    return slice;
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

void ruvm_quant_matrix_pack_slice(const struct ruvm_quant_matrix *slice, uint32_t first,
                                  uint32_t rows, uint8_t *data, uint8_t *scales)
{
    uint32_t row_bytes = ruvm_codes_row_bytes(slice->scheme.type, slice->cols);
    uint32_t mult_bytes = ruvm_codes_mult_bytes(slice->cols, slice->scheme.group);
    data += (size_t)first * row_bytes;
    for (uint32_t r = 0; r < slice->rows; r++) {
        ruvm_codes_pack(slice->scheme.type, data + (size_t)r * row_bytes,
                        slice->level + (size_t)r * slice->cols, slice->cols);
        ruvm_store_u16(scales + 2 * ((size_t)first + r), slice->scale[r]);
    }
    if (slice->scheme.group)
        pack_multipliers(slice, scales + 2 * (size_t)rows + (size_t)first * mult_bytes);
}

void ruvm_quant_matrix_pack(const struct ruvm_quant_matrix *q, uint8_t *data, uint8_t *scales)
{
    ruvm_quant_matrix_pack_slice(q, 0, q->rows, data, scales);
}

/* ---- what was lost --------------------------------------------------------- */

static double decibels(struct ruvm_quant_energy e)
{
    if (e.noise <= 0.0 || e.signal <= 0.0)
        return RUVM_MAX_SNR_DB;
    return fmin(10.0 * log10(e.signal / e.noise), RUVM_MAX_SNR_DB);
}

void ruvm_quant_matrix_energy(struct ruvm_quant_energy *e, const struct ruvm_quant_matrix *slice,
                              const float *w, double *work)
{
    for (uint32_t r = 0; r < slice->rows; r++, w += slice->cols, e++) {
        *e = (struct ruvm_quant_energy){0.0, 0.0};
        ruvm_quant_matrix_row(slice, r, work);
        for (uint32_t c = 0; c < slice->cols; c++) {
            double x = (double)w[c], lost = x - work[c];
            e->signal += x * x;
            e->noise += lost * lost;
        }
    }
}

static void add_row(struct ruvm_quant_loss *loss, struct ruvm_quant_energy e, uint32_t r)
{
    if (e.signal <= 0.0 && loss->zero_rows++ == 0)
        loss->first_zero_row = r;
    if (decibels(e) < loss->worst_row_snr_db) {
        loss->worst_row_snr_db = decibels(e);
        loss->worst_row = r;
    }
}

struct ruvm_quant_loss ruvm_quant_energy_loss(const struct ruvm_quant_energy *e, uint32_t rows)
{
    struct ruvm_quant_energy all = {0.0, 0.0};
    struct ruvm_quant_loss loss = {.worst_row_snr_db = RUVM_MAX_SNR_DB};
    for (uint32_t r = 0; r < rows; r++) {
        all.signal += e[r].signal;
        all.noise += e[r].noise;
        add_row(&loss, e[r], r);
    }
    loss.snr_db = decibels(all);
    return loss;
}

struct ruvm_quant_loss ruvm_quant_matrix_loss(const struct ruvm_quant_matrix *q, const float *w,
                                              double *work)
{
    struct ruvm_quant_energy all = {0.0, 0.0};
    struct ruvm_quant_loss loss = {.worst_row_snr_db = RUVM_MAX_SNR_DB};
    for (uint32_t r = 0; r < q->rows; r++) {
        const struct ruvm_quant_matrix row = ruvm_quant_matrix_slice(q, r, 1, NULL);
        struct ruvm_quant_energy e;
        ruvm_quant_matrix_energy(&e, &row, w + (size_t)r * q->cols, work);
        all.signal += e.signal;
        all.noise += e.noise;
        add_row(&loss, e, r);
    }
    loss.snr_db = decibels(all);
    return loss;
}

/* ---- what comes in --------------------------------------------------------- */

/* Sizes of floats are in the order of their bits; those that are none come last. */
float ruvm_quant_largest(const float *w, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, w + i, sizeof bits);
        bits &= 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    float largest;
    memcpy(&largest, &most, sizeof largest);
    return largest;
}

int ruvm_quant_weights_rows(float *w, const struct ruvm_view *view, uint32_t first, uint32_t n,
                            const char *name, struct ruvm_error *err)
{
    uint32_t cols = (uint32_t)view->dims[1];
    for (uint32_t r = first; r < first + n; r++) {
        float *row = w + (size_t)(r - first) * cols;
        ruvm_view_row(view, r, row);
        float largest = ruvm_quant_largest(row, cols);
        if (!isfinite(largest))
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "%s: row %u: holds a weight that is not a "
                             "finite number; the file is damaged or its training diverged",
                             name, r);
        if (!ruvm_mantissa_fits((double)largest / BYTE_MAX))
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                             "%s: holds a weight of %g, beyond any scale of an image; the file is "
                             "damaged or its training diverged",
                             name, (double)largest);
    }
    return RUVM_OK;
}

int ruvm_quant_weights(float *w, const struct ruvm_view *view, const char *name,
                       struct ruvm_error *err)
{
    return ruvm_quant_weights_rows(w, view, 0, (uint32_t)view->dims[0], name, err);
}
