/* Distance: from codes back to the user's numbers, for a few rows.
 *
 * Scaled integers of lib/core/fixed.h: roots and quotients by Newton, each within 2^-28 of
 * its value, no float. Hyperbolic distances are sums of terms that are never negative, so
 * nothing cancels, near the boundary of the ball or anywhere:
 *
 *     cosh d - 1 = (cosh(r - s) - 1) + sinh r sinh s (1 - cos)
 *     cosh(r - s) - 1 = (cosh r - cosh s)^2 / (cosh r cosh s - 1 + sinh r sinh s)
 *     1 - cos = (N M - p^2) / (sqrt(N M) (sqrt(N M) + p))      p = product of the codes >= 0
 *
 * with N and M the sums of their squares, so that N M - p^2 is an exact integer; and last
 * d = 2 asinh(sqrt((cosh d - 1) / 2)), by its series where it is small.
 */
#include "lib/vector/distance.h"

#include "lib/core/fixed.h"
#include "lib/vector/pq.h"

enum { Q16 = 16 };

/* ---- a few more operations on scaled numbers ---------------------------------- */

static struct ruvm_real integer(uint64_t x)
{
    return ruvm_real_make(x, 0);
}

static struct ruvm_real root(struct ruvm_real a)
{
    return ruvm_real_mul(a, ruvm_real_rsqrt(a));
}

/* |a - b| */
static struct ruvm_real difference(struct ruvm_real a, struct ruvm_real b)
{
    if (a.m == 0 || (b.m && (b.e > a.e || (b.e == a.e && b.m > a.m)))) {
        struct ruvm_real t = a;
        a = b;
        b = t;
    }
    uint32_t gap = b.m ? (uint32_t)(a.e - b.e) : 64;
    uint64_t small = gap < 64 ? ((uint64_t)b.m << 31) >> gap : 0;
    return ruvm_real_make(((uint64_t)a.m << 31) - small, a.e - 31);
}

/* Rounded to Q16; what is larger than fits, as large as fits. */
static int64_t to_q16(struct ruvm_real a)
{
    int32_t e = a.e + Q16;
    if (a.m == 0 || e < -32)
        return 0;
    if (e >= 31)
        return INT64_MAX;
    if (e >= 0)
        return (int64_t)((uint64_t)a.m << e);
    return (int64_t)(((uint64_t)a.m + ((uint64_t)1 << (-e - 1))) >> -e);
}

/* ---- hyperbolic ---------------------------------------------------------------- */

/* 2 asinh x in Q16: below 1/16 the first terms, 2 (x - x^3 / 6). */
static int64_t twice_asinh(struct ruvm_real x)
{
    struct ruvm_real square = ruvm_real_mul(x, x);
    if (x.m == 0 || x.e + 32 <= -4) {
        struct ruvm_real cube =
            ruvm_real_mul(ruvm_real_mul(x, square), ruvm_real_rsqrt(integer(36)));
        return to_q16(ruvm_real_shift(difference(x, cube), 1));
    }
    struct ruvm_real sum = ruvm_real_add(x, root(ruvm_real_add(integer(1), square)));
    return (2 * ruvm_real_log(sum) + 128) >> 8;
}

/* What a point is made of: r is its distance from the origin. */
struct point {
    uint64_t norm2; /* of its codes */
    struct ruvm_real sinh, cosh_less_1;
};

static struct point point_of(const uint32_t *side, uint32_t norm2)
{
    struct ruvm_real code = ruvm_real_make(side[1], -RUVM_VECTORS_SINH_BITS);
    struct ruvm_real sinh = ruvm_real_mul(code, root(integer(norm2)));
    struct ruvm_real square = ruvm_real_mul(sinh, sinh);
    struct ruvm_real cosh = root(ruvm_real_add(integer(1), square));
    return (struct point){norm2, sinh, ruvm_real_div(square, ruvm_real_add(integer(1), cosh))};
}

/* 1 - cosine of the angle between two rows, neither of them 0. */
static struct ruvm_real one_less_cosine(uint64_t n, uint64_t m, int32_t product)
{
    struct ruvm_real size = root(integer(n * m));
    int64_t p = product;
    if (p < 0)
        return ruvm_real_add(integer(1), ruvm_real_div(integer((uint64_t)-p), size));
    struct ruvm_real both = ruvm_real_mul(size, ruvm_real_add(size, integer((uint64_t)p)));
    return ruvm_real_div(integer(n * m - (uint64_t)(p * p)), both);
}

static int64_t hyperbolic(struct point a, struct point b, int32_t product)
{
    struct ruvm_real ss = ruvm_real_mul(a.sinh, b.sinh), sum = {0};
    struct ruvm_real gap = difference(a.cosh_less_1, b.cosh_less_1);
    /* cosh r cosh s - 1 + sinh r sinh s */
    struct ruvm_real below = ruvm_real_add(ruvm_real_add(a.cosh_less_1, b.cosh_less_1),
                                           ruvm_real_mul(a.cosh_less_1, b.cosh_less_1));
    below = ruvm_real_add(below, ss);
    if (below.m)
        sum = ruvm_real_div(ruvm_real_mul(gap, gap), below);
    if (ss.m)
        sum = ruvm_real_add(sum, ruvm_real_mul(ss, one_less_cosine(a.norm2, b.norm2, product)));
    return twice_asinh(root(ruvm_real_shift(sum, -1)));
}

/* ---- the others ------------------------------------------------------------------ */

static struct ruvm_real unit_of(const struct ruvm_vectors *set)
{
    return ruvm_real_make(set->unit, set->unit_exp);
}

static int64_t cosine(uint64_t n, uint64_t m, int32_t product)
{
    const int64_t one = 1 << Q16;
    if (n == 0 || m == 0)
        return one;
    uint64_t size = product < 0 ? (uint64_t) - (int64_t)product : (uint64_t)product;
    struct ruvm_real inverse =
        ruvm_real_mul(ruvm_real_rsqrt(integer(n)), ruvm_real_rsqrt(integer(m)));
    int64_t c = to_q16(ruvm_real_mul(integer(size), inverse));
    c = c < one ? c : one;
    return product < 0 ? one + c : one - c;
}

static int64_t minus_dot(struct ruvm_real scale, int32_t product)
{
    uint64_t size = product < 0 ? (uint64_t) - (int64_t)product : (uint64_t)product;
    int64_t value = to_q16(ruvm_real_mul(scale, integer(size)));
    return product < 0 ? value : -value;
}

/* h bits of dims differ; a bit is -1 or 1 times the unit. */
static int64_t of_bits(const struct ruvm_vectors *set, uint32_t h)
{
    struct ruvm_real unit = unit_of(set);
    int32_t product = (int32_t)set->dims - 2 * (int32_t)h;
    switch (set->metric) {
    case RUVM_METRIC_COSINE: return cosine(set->dims, set->dims, product);
    case RUVM_METRIC_EUCLIDEAN: return to_q16(ruvm_real_mul(root(integer(4 * (uint64_t)h)), unit));
    case RUVM_METRIC_DOT: return minus_dot(ruvm_real_mul(unit, unit), product);
    case RUVM_METRIC_MANHATTAN: return to_q16(ruvm_real_mul(integer(2 * (uint64_t)h), unit));
    default: return (int64_t)h << Q16;
    }
}

static int64_t of_codes(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                        uint32_t id, int32_t product)
{
    struct ruvm_real unit = unit_of(set);
    const uint8_t *row = set->rows + (size_t)id * set->row_bytes;
    uint32_t norm2 = set->type == RUVM_VECTOR_PQ ? ruvm_pq_norm2(set, row)
                                                 : ruvm_vectors_norm2(row, set->row_bytes);
    uint32_t own = ruvm_vectors_norm2(q->row, ruvm_vectors_query_bytes(set));
    uint32_t side[2];
    ruvm_vectors_side(set, id, side);
    switch (set->metric) {
    case RUVM_METRIC_COSINE: return cosine(own, norm2, product);
    case RUVM_METRIC_EUCLIDEAN: {
        int64_t square = (int64_t)own + norm2 - 2 * (int64_t)product;
        return to_q16(ruvm_real_mul(root(integer((uint64_t)square)), unit));
    }
    case RUVM_METRIC_DOT: {
        struct ruvm_real scale = integer((uint64_t)q->side[0] * side[0]);
        return minus_dot(ruvm_real_mul(scale, ruvm_real_mul(unit, unit)), product);
    }
    case RUVM_METRIC_MANHATTAN: return to_q16(ruvm_real_mul(integer((uint64_t)product), unit));
    default: return hyperbolic(point_of(q->side, own), point_of(side, norm2), product);
    }
}

int64_t ruvm_distance_q16(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                          uint32_t id)
{
    int32_t product;
    const struct ruvm_vector_job job = {
        .query = q->row,
        .rows = set->rows + (size_t)id * set->row_bytes,
        .n = 1,
        .row_bytes = set->row_bytes,
        .stride = set->row_bytes,
    };
    if (set->type == RUVM_VECTOR_BINARY) {
        set->kernels->hamming(&product, &job);
        return of_bits(set, (uint32_t)product);
    }
    if (set->type == RUVM_VECTOR_PQ)
        ruvm_pq_products(set, q, &job, &product);
    else if (set->metric == RUVM_METRIC_MANHATTAN)
        set->kernels->manhattan(&product, &job);
    else
        set->kernels->dot(&product, &job);
    return of_codes(set, q, id, product);
}

int32_t ruvm_distance_cosine_q16(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                                 uint32_t id)
{
    int64_t distance = ruvm_distance_q16(set, q, id);
    if (set->metric == RUVM_METRIC_HAMMING)
        distance = 2 * distance / set->dims;
    return (int32_t)((1 << Q16) - distance);
}
