/* NumPy's array files (.npy): a line of Python that describes the array, then its bytes.
 *
 * The line is a literal dictionary of three keys in an order that NumPy writes but does not
 * promise; so each key is looked for by itself.
 */
#include <math.h>
#include <string.h>

#include "formats/grid.h"
#include "lib/base/bytes.h"

enum { MAGIC = 6, MAX_DIMS = 8 };

struct numpy {
    const char *header; /* [size] */
    size_t size;
    char kind; /* 'f', 'i', 'u', 'b' */
    uint32_t bytes;
    uint32_t n_dims;
    uint64_t dims[MAX_DIMS];
};

/* What follows "'key':", without blanks; NULL: no such key. */
static const char *value_of(const struct numpy *n, const char *key)
{
    size_t bytes = strlen(key);
    const char *end = n->header + n->size;
    for (const char *p = n->header; p + bytes + 3 < end; p++) {
        if ((*p != '\'' && *p != '"') || memcmp(p + 1, key, bytes) != 0 || p[bytes + 1] != *p)
            continue;
        for (p += bytes + 2; p < end && (*p == ' ' || *p == ':'); p++)
            ;
        return p;
    }
    return NULL;
}

/* "'<f4'" */
static int read_type(struct numpy *n, struct ruvm_error *err)
{
    const char *p = value_of(n, "descr"), *end = n->header + n->size;
    bool is_plain = p && end - p > 4 && (p[1] == '<' || p[1] == '|') && p[4] == *p;
    n->kind = is_plain ? p[2] : '\0';
    n->bytes = is_plain && p[3] >= '1' && p[3] <= '8' ? (uint32_t)(p[3] - '0') : 0;
    bool is_float = n->kind == 'f' && (n->bytes == 2 || n->bytes == 4 || n->bytes == 8);
    bool is_whole = (n->kind == 'i' || n->kind == 'u') &&
                    (n->bytes == 1 || n->bytes == 2 || n->bytes == 4 || n->bytes == 8);
    bool is_bool = n->kind == 'b' && n->bytes == 1;
    if (is_float || is_whole || is_bool)
        return RUVM_OK;
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                     "NumPy array: its type is %.*s; save it as float32: "
                     "np.save(file, x.astype('<f4'))",
                     p && end - p > 6 ? 6 : 0, p ? p : "");
}

/* "(3, 4)" */
static int read_shape(struct numpy *n, struct ruvm_error *err)
{
    const char *p = value_of(n, "shape"), *end = n->header + n->size;
    bool ok = p && p < end && *p++ == '(';
    while (ok && p < end && *p != ')') {
        uint64_t dim = 0;
        ok = n->n_dims < MAX_DIMS && *p >= '0' && *p <= '9';
        for (; ok && p < end && *p >= '0' && *p <= '9'; p++) {
            dim = dim * 10 + (uint64_t)(*p - '0');
            ok = dim <= UINT32_MAX;
        }
        if (ok)
            n->dims[n->n_dims++] = dim;
        while (p < end && (*p == ',' || *p == ' ' || *p == 'L'))
            p++;
    }
    if (ok && p < end && n->n_dims > 0)
        return RUVM_OK;
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                     "NumPy array: its shape is not one to %d numbers below 2^32", MAX_DIMS);
}

static int read_header(struct numpy *n, const uint8_t *data, size_t size, size_t *off,
                       struct ruvm_error *err)
{
    struct ruvm_reader r = ruvm_reader_over(data, size);
    ruvm_reader_take(&r, MAGIC);
    uint8_t version = ruvm_reader_u8(&r);
    ruvm_reader_u8(&r);
    n->size = version == 1 ? ruvm_reader_u16(&r) : ruvm_reader_u32(&r);
    n->header = (const char *)ruvm_reader_take(&r, n->size);
    if (!n->header || version < 1 || version > 3)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "NumPy array: its header is cut off or not of version 1 to 3");
    *off = r.off;
    const char *order = value_of(n, "fortran_order");
    if (!order || n->header + n->size - order < 5 || memcmp(order, "False", 5) != 0)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "NumPy array: not in C order: np.save(file, np.ascontiguousarray(x))");
    int rc = read_type(n, err);
    return rc == RUVM_OK ? read_shape(n, err) : rc;
}

/* IEEE's binary16. */
static double half_of(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = exponent == 31  ? (fraction ? (double)NAN : (double)INFINITY)
                  : exponent == 0 ? ldexp(fraction, -24)
                                  : ldexp(fraction + 1024, exponent - 25);
    return bits >> 15 ? -size : size;
}

static double float_at(const struct numpy *n, const uint8_t *p)
{
    if (n->bytes == 2)
        return half_of(ruvm_load_u16(p));
    if (n->bytes == 4) {
        uint32_t bits = ruvm_load_u32(p);
        float x;
        memcpy(&x, &bits, sizeof x);
        return (double)x;
    }
    uint64_t bits = ruvm_load_u64(p);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double value_at(const struct numpy *n, const uint8_t *p)
{
    if (n->kind == 'f')
        return float_at(n, p);
    bool is_signed = n->kind == 'i';
    switch (n->bytes) {
    case 1: return is_signed ? (int8_t)*p : *p;
    case 2: return is_signed ? (int16_t)ruvm_load_u16(p) : ruvm_load_u16(p);
    case 4: return is_signed ? (double)(int32_t)ruvm_load_u32(p) : (double)ruvm_load_u32(p);
    default: return is_signed ? (double)(int64_t)ruvm_load_u64(p) : (double)ruvm_load_u64(p);
    }
}

/* Rows and columns, when the bytes that are there are just theirs. */
static int find_size(struct ruvm_grid *g, const struct numpy *n, size_t bytes,
                     struct ruvm_error *err)
{
    uint64_t values = 1, most = bytes / n->bytes;
    for (uint32_t i = 0; i < n->n_dims; i++) {
        if (n->dims[i] == 0 || values > most / n->dims[i])
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "NumPy array: empty, or its shape is larger than the file");
        values *= n->dims[i];
    }
    if (values * n->bytes != bytes || values / n->dims[0] > UINT32_MAX || values > UINT32_MAX)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "NumPy array: %zu bytes of data, but its shape makes %llu", bytes,
                         (unsigned long long)(values * n->bytes));
    g->n_rows = n->n_dims == 1 ? 1 : (uint32_t)n->dims[0];
    g->n_cols = (uint32_t)(values / g->n_rows);
    return RUVM_OK;
}

int ruvm_grid_numpy(struct ruvm_grid *g, struct ruvm_arena *arena, const uint8_t *data, size_t size,
                    struct ruvm_error *err)
{
    struct numpy n = {0};
    size_t off = 0;
    int rc = read_header(&n, data, size, &off, err);
    if (rc == RUVM_OK)
        rc = find_size(g, &n, size - off, err);
    if (rc != RUVM_OK)
        return rc;
    size_t values = (size_t)g->n_rows * g->n_cols;
    g->v = ruvm_arena_alloc(arena, values, sizeof *g->v);
    if (!g->v)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u rows", g->n_rows);
    for (size_t i = 0; i < values; i++) {
        g->v[i] = value_at(&n, data + off + i * n.bytes);
        if (!isfinite(g->v[i]))
            return ruvm_fail(err, RUVM_ERR_CORRUPT, "NumPy array: row %zu, column %zu is %g",
                             i / g->n_cols, i % g->n_cols, g->v[i]);
    }
    return RUVM_OK;
}
