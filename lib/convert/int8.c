/* Rounds each row of a matrix to bytes.
 *
 * The scale is rounded first and the weights are then divided by the scale that
 * the engine will really use, so the rounding of the scale costs nothing. Rows
 * are read twice: once for the largest scale of the matrix, once to round.
 */
#include "lib/convert/int8.h"

#include <math.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/base/bytes.h"

enum { BYTE_MAX = 127, MANTISSA_BITS = 16 };

bool ruvm_int8_fits(double largest)
{
    return largest <= ldexp(UINT16_MAX, RUVM_MAX_EXP);
}

int ruvm_int8_exponent(double largest)
{
    int e;
    frexp(largest, &e);
    e -= MANTISSA_BITS;
    if (lround(ldexp(largest, -e)) > UINT16_MAX)
        e++;
    return e < RUVM_MIN_EXP ? RUVM_MIN_EXP : e > RUVM_MAX_EXP ? RUVM_MAX_EXP : e;
}

uint16_t ruvm_int8_mantissa(double value, int exp)
{
    if (value <= 0.0)
        return 0;
    double m = floor(ldexp(value, -exp) + 0.5);
    return m > UINT16_MAX ? UINT16_MAX : m < 1.0 ? 1 : (uint16_t)m;
}

/* The largest magnitude; a NaN or an infinity comes through. */
static float largest_of(const float *x, uint32_t n)
{
    float best = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        float size = fabsf(x[i]);
        if (!(size <= best))
            best = size;
        if (isnan(size))
            break;
    }
    return best;
}

static int find_exponent(struct ruvm_int8_matrix *q, const struct ruvm_view *view, float *row,
                         const char *name, struct ruvm_error *err)
{
    float largest = 0.0f;
    for (uint32_t r = 0; r < q->rows; r++) {
        ruvm_view_row(view, r, row);
        float size = largest_of(row, q->cols);
        if (!isfinite(size))
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "%s: row %u: holds a weight that is not a "
                             "finite number; the file is damaged or its training diverged",
                             name, r);
        largest = size > largest ? size : largest;
    }
    if (!ruvm_int8_fits((double)largest / BYTE_MAX))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: holds a weight of %g, beyond any scale of an image; the file is "
                         "damaged or its training diverged",
                         name, (double)largest);
    q->scale_exp = (int8_t)ruvm_int8_exponent((double)largest / BYTE_MAX);
    return RUVM_OK;
}

struct energy {
    double signal, noise; /* sums of squares */
};

static double decibels(struct energy e)
{
    if (e.noise <= 0.0 || e.signal <= 0.0)
        return RUVM_INT8_MAX_SNR_DB;
    return fmin(10.0 * log10(e.signal / e.noise), RUVM_INT8_MAX_SNR_DB);
}

static struct energy round_row(int8_t *out, const float *row, uint32_t n, double scale)
{
    struct energy e = {0.0, 0.0};
    for (uint32_t i = 0; i < n; i++) {
        double w = (double)row[i];
        long v = scale > 0.0 ? lround(w / scale) : 0;
        v = v > BYTE_MAX ? BYTE_MAX : v < -BYTE_MAX ? -BYTE_MAX : v;
        out[i] = (int8_t)v;
        double lost = w - (double)v * scale;
        e.signal += w * w;
        e.noise += lost * lost;
    }
    return e;
}

int ruvm_int8_quantize(struct ruvm_int8_matrix *q, const struct ruvm_view *view, float *row,
                       const char *name, struct ruvm_error *err)
{
    int rc = find_exponent(q, view, row, name, err);
    if (rc != RUVM_OK)
        return rc;
    struct energy all = {0.0, 0.0};
    q->loss = (struct ruvm_int8_loss){.worst_row_snr_db = RUVM_INT8_MAX_SNR_DB};
    for (uint32_t r = 0; r < q->rows; r++) {
        ruvm_view_row(view, r, row);
        double largest = (double)largest_of(row, q->cols);
        uint16_t mantissa = ruvm_int8_mantissa(largest / BYTE_MAX, q->scale_exp);
        int8_t *out = q->data + (size_t)r * q->row_bytes;
        memset(out + q->cols, 0, q->row_bytes - q->cols);
        struct energy e = round_row(out, row, q->cols, ldexp(mantissa, q->scale_exp));
        ruvm_store_u16(q->scales + 2 * (size_t)r, mantissa);
        all.signal += e.signal;
        all.noise += e.noise;
        if (decibels(e) < q->loss.worst_row_snr_db) {
            q->loss.worst_row_snr_db = decibels(e);
            q->loss.worst_row = r;
        }
    }
    q->loss.snr_db = decibels(all);
    return RUVM_OK;
}
