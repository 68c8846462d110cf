/* Codes: rounding of vectors to bytes, with what was measured to keep the most of them.
 *
 * A row of its own scale uses all 255 codes, and cosine and dot can afford it: the one
 * forgets lengths, the other keeps the scale beside the row. Where coordinates are compared
 * with each other they must share a unit: the largest number of all would be wasted on one
 * outlier, so the unit is set by a high quantile of the largest of each row.
 */
#include "lib/bundle/codes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/vector/pq.h"

enum { CODE_MAX = 127, SCALE_MAX = 65535 };
#define MAX_RADIUS 10.0
/* Rows whose largest number the unit may cut: one in a thousand. */
#define CUT_ROWS 1000

static const char *const metric_names[RUVM_N_METRICS] = {
    "cosine", "euclidean", "dot", "manhattan", "hamming", "poincare", "lorentz",
};
static const char *const type_names[RUVM_N_VECTOR_TYPES] = {"int8", "binary", "pq"};

const char *ruvm_codes_metric_name(unsigned metric)
{
    return metric < RUVM_N_METRICS ? metric_names[metric] : NULL;
}

const char *ruvm_codes_type_name(unsigned type)
{
    return type < RUVM_N_VECTOR_TYPES ? type_names[type] : NULL;
}

static double largest_of(const float *x, uint32_t dims)
{
    double largest = 0;
    for (uint32_t i = 0; i < dims; i++)
        largest = fmax(largest, fabs((double)x[i]));
    return largest;
}

/* ---- units ------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value that all but a few rows stay below: 0 without rows, negative without memory. */
static double quantile(const float *x, size_t n, uint32_t dims)
{
    if (n == 0)
        return 0;
    double *largest = malloc(n * sizeof *largest);
    if (!largest)
        return -1;
    for (size_t i = 0; i < n; i++)
        largest[i] = largest_of(x + i * dims, dims);
    qsort(largest, n, sizeof *largest, by_size);
    double result = largest[n - 1 - n / CUT_ROWS];
    free(largest);
    return result;
}

/* unit as mantissa of 31 bits and exponent, a little above rather than below. */
static int store_unit(struct ruvm_vectors *set, double unit, struct ruvm_error *err)
{
    int e;
    double m = frexp(unit, &e);
    if (unit <= 0) {
        set->unit = 1;
        return RUVM_OK;
    }
    if (e - 31 < RUVM_RAG_MIN_EXP || e - 31 > RUVM_RAG_MAX_EXP)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "vectors: numbers of about %g are beyond what a blob can hold: scale them",
                         unit);
    set->unit = (uint32_t)ceil(m * 0x1p31);
    set->unit_exp = (int8_t)(e - 31);
    return RUVM_OK;
}

static double unit_of(const struct ruvm_vectors *set)
{
    return ldexp((double)set->unit, set->unit_exp);
}

static int check_shape(unsigned type, unsigned metric, uint32_t dims, int rc,
                       struct ruvm_error *err)
{
    if (rc == RUVM_ERR_UNSUPPORTED)
        return ruvm_fail(err, rc, "vectors: %s vectors have no %s distance; choose another",
                         type_names[type], metric_names[metric]);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc,
                         "vectors: %u dimensions, metric %u or type %u is out of range: "
                         "there are %d to %d dimensions",
                         (unsigned)dims, metric, type, RUVM_RAG_MIN_DIMS, RUVM_RAG_MAX_DIMS);
    return RUVM_OK;
}

int ruvm_codes_shape(struct ruvm_vectors *set, unsigned type, unsigned metric, uint32_t dims,
                     const float *x, size_t n, struct ruvm_error *err)
{
    int rc = check_shape(type, metric, dims, ruvm_vectors_shape(set, type, metric, dims), err);
    if (rc != RUVM_OK || type == RUVM_VECTOR_BINARY)
        return rc;
    if (type == RUVM_VECTOR_PQ)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "vectors: pq is made of int8 vectors, not of numbers");
    for (size_t i = 0; i < n * dims; i++)
        if (!isfinite(x[i]))
            return ruvm_fail(err, RUVM_ERR_ARG, "vectors: vector %zu holds no finite number at %zu",
                             i / dims, i % dims);
    double largest = quantile(x, n, dims);
    if (largest < 0)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "vectors: out of memory");
    if (metric == RUVM_METRIC_EUCLIDEAN || metric == RUVM_METRIC_MANHATTAN)
        return store_unit(set, largest / CODE_MAX, err);
    if (metric == RUVM_METRIC_DOT) {
        for (size_t i = 0; i < n; i++)
            largest = fmax(largest, largest_of(x + i * dims, dims));
        return store_unit(set, largest / CODE_MAX / SCALE_MAX, err);
    }
    return RUVM_OK;
}

/* ---- rows -------------------------------------------------------------------- */

static void store_codes(const struct ruvm_vectors *set, const float *x, double step, uint8_t *row)
{
    for (uint32_t i = 0; i < set->dims; i++) {
        double code = step > 0 ? round((double)x[i] / step) : 0;
        row[i] = (uint8_t)(int8_t)fmax(-CODE_MAX, fmin(CODE_MAX, code));
    }
}

static void store_signs(const struct ruvm_vectors *set, const float *x, uint8_t *row)
{
    for (uint32_t i = 0; i < set->dims; i++)
        if (x[i] >= 0)
            row[i / 8] = (uint8_t)(row[i / 8] | 1u << i % 8);
}

/* The distance of x from the origin; negative where x is no point. */
static double radius_of(const struct ruvm_vectors *set, const float *x)
{
    double square = 0;
    for (uint32_t i = 0; i < set->dims; i++)
        square += (double)x[i] * (double)x[i];
    if (set->metric == RUVM_METRIC_LORENTZ)
        return asinh(sqrt(square));
    return square < 1 ? 2 * atanh(sqrt(square)) : -1;
}

static int store_point(const struct ruvm_vectors *set, double radius, const uint8_t *row,
                       uint8_t *side, struct ruvm_error *err)
{
    if (radius < 0)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "vectors: a vector of length 1 or more is no point of "
                         "the Poincare ball; divide by the largest length");
    if (radius > MAX_RADIUS)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "vectors: a point is %.3g from the origin; at most %g "
                         "is kept: scale the points",
                         radius, MAX_RADIUS);
    double norm = sqrt(ruvm_vectors_norm2(row, set->row_bytes));
    double code = norm > 0 ? sinh(radius) / norm : 0;
    ruvm_store_u32(side, (uint32_t)round(cosh(radius) * RUVM_VECTORS_COSH_ONE));
    ruvm_store_u32(side + 4, (uint32_t)round(ldexp(code, RUVM_VECTORS_SINH_BITS)));
    return RUVM_OK;
}

static int store_side(const struct ruvm_vectors *set, const float *x, double step,
                      const uint8_t *row, uint8_t *side, struct ruvm_error *err)
{
    uint32_t norm2 = ruvm_vectors_norm2(row, set->row_bytes);
    switch (set->metric) {
    case RUVM_METRIC_COSINE: ruvm_store_u16(side, ruvm_vectors_inverse(norm2)); break;
    case RUVM_METRIC_EUCLIDEAN: ruvm_store_u32(side, norm2); break;
    case RUVM_METRIC_DOT:
        ruvm_store_u16(side, (uint16_t)fmin(SCALE_MAX, round(step / unit_of(set))));
        break;
    case RUVM_METRIC_POINCARE:
    case RUVM_METRIC_LORENTZ: return store_point(set, radius_of(set, x), row, side, err);
    default: break;
    }
    return RUVM_OK;
}

int ruvm_codes_row(const struct ruvm_vectors *set, const float *x, uint8_t *row, uint8_t *side,
                   struct ruvm_error *err)
{
    bool shared = set->metric == RUVM_METRIC_EUCLIDEAN || set->metric == RUVM_METRIC_MANHATTAN;
    double largest = largest_of(x, set->dims), step = shared ? unit_of(set) : largest / CODE_MAX;
    memset(row, 0, set->row_bytes);
    for (uint32_t i = 0; i < set->dims; i++)
        if (!isfinite(x[i]))
            return ruvm_fail(err, RUVM_ERR_ARG, "vectors: number %u of a vector is not finite",
                             (unsigned)i);
    if (set->type == RUVM_VECTOR_BINARY) {
        store_signs(set, x, row);
        return RUVM_OK;
    }
    store_codes(set, x, step, row);
    return set->side_bytes ? store_side(set, x, step, row, side, err) : RUVM_OK;
}

/* ---- back -------------------------------------------------------------------- */

/* What one code of a row is worth. */
static double worth_of(const struct ruvm_vectors *set, uint32_t id)
{
    const uint8_t *row = set->rows + (size_t)id * set->row_bytes;
    double norm = sqrt(set->type == RUVM_VECTOR_PQ ? ruvm_pq_norm2(set, row)
                                                   : ruvm_vectors_norm2(row, set->row_bytes));
    uint32_t side[2];
    ruvm_vectors_side(set, id, side);
    double sinh = ldexp(side[1], -RUVM_VECTORS_SINH_BITS);
    switch (set->metric) {
    case RUVM_METRIC_COSINE: return norm > 0 ? 1 / norm : 0;
    case RUVM_METRIC_DOT: return side[0] * unit_of(set);
    case RUVM_METRIC_LORENTZ: return sinh;
    case RUVM_METRIC_POINCARE: return sinh / (1 + sqrt(1 + sinh * norm * sinh * norm));
    default: return unit_of(set);
    }
}

void ruvm_codes_read(const struct ruvm_vectors *set, uint32_t id, float *x)
{
    const uint8_t *row = set->rows + (size_t)id * set->row_bytes;
    if (set->type == RUVM_VECTOR_BINARY) {
        double unit = unit_of(set);
        for (uint32_t i = 0; i < set->dims; i++)
            x[i] = (float)(row[i / 8] >> i % 8 & 1 ? unit : -unit);
        return;
    }
    double worth = worth_of(set, id);
    int8_t codes[RUVM_RAG_MAX_DIMS];
    if (set->type == RUVM_VECTOR_PQ) {
        ruvm_pq_read(set, row, codes);
        row = (const uint8_t *)codes;
    }
    for (uint32_t i = 0; i < set->dims; i++)
        x[i] = (float)((int8_t)row[i] * worth);
}
