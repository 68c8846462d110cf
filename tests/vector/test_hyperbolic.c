/* Hyperbolic ranking: the rows nearest by key are those nearest in double precision, for
 * points of a tree of radius up to 8, and both models of the space say the same. */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/base/random.h"
#include "lib/bundle/codes.h"
#include "lib/vector/distance.h"
#include "lib/vector/search.h"

enum { LEVELS = 4, BRANCHES = 8, N = 5000, QUERIES = 300, K = 10, MAX_DIMS = 64 };

/* Points as unit directions and distances from the origin. */
struct points {
    uint32_t dims;
    double radius[N + QUERIES];
    double direction[N + QUERIES][MAX_DIMS];
};

static double normal(uint64_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += ruvm_random_unit(state);
    return sum;
}

/* Around its parent's direction, less the deeper it lies. */
static void draw(struct points *p, uint32_t i, uint32_t parent, unsigned level, double radius,
                 uint64_t *state)
{
    double square = 0;
    for (uint32_t k = 0; k < p->dims; k++) {
        double x = normal(state) * pow(0.5, level - 1) / sqrt(p->dims);
        p->direction[i][k] = x + (level > 1 ? p->direction[parent][k] : 0);
        square += p->direction[i][k] * p->direction[i][k];
    }
    for (uint32_t k = 0; k < p->dims; k++)
        p->direction[i][k] /= sqrt(square);
    p->radius[i] = radius * (level - ruvm_random_unit(state) / 2) / LEVELS;
}

/* Level after level; what is left of N, and the queries, lie in the last one. */
static struct points *make_points(uint32_t dims, double radius)
{
    struct points *p = malloc(sizeof *p);
    uint64_t state = dims;
    uint32_t from = 0, to = 0;
    p->dims = dims;
    for (unsigned level = 1; level <= LEVELS; level++) {
        uint32_t n = level == 1 ? BRANCHES : (to - from) * BRANCHES, end = to + n;
        end = level == LEVELS ? N + QUERIES : end;
        for (uint32_t i = to; i < end; i++)
            draw(p, i, level > 1 ? from + (i - to) % (to - from) : 0, level, radius, &state);
        from = to;
        to = end;
    }
    return p;
}

/* (cosh d - 1) / 2 = sinh^2(d / 2), of terms that never cancel. */
static double true_distance(const struct points *p, uint32_t a, uint32_t b)
{
    double square = 0, gap = sinh((p->radius[a] - p->radius[b]) / 2);
    for (uint32_t k = 0; k < p->dims; k++) {
        double x = p->direction[a][k] - p->direction[b][k];
        square += x * x;
    }
    return 2 * asinh(sqrt(gap * gap + sinh(p->radius[a]) * sinh(p->radius[b]) * square / 4));
}

/* Point i in the coordinates of a metric; Euclidean takes those of the ball. */
static void coordinates(const struct points *p, uint32_t i, unsigned metric, float *x)
{
    double length = metric == RUVM_METRIC_LORENTZ ? sinh(p->radius[i]) : tanh(p->radius[i] / 2);
    for (uint32_t k = 0; k < p->dims; k++)
        x[k] = (float)(p->direction[i][k] * length);
}

struct codes {
    struct ruvm_vectors set;
    float *x;
    uint8_t *rows, *side;
};

static void make_codes(struct codes *c, const struct points *p, unsigned metric)
{
    struct ruvm_error err = {0};
    c->x = malloc((N + QUERIES) * p->dims * sizeof *c->x);
    for (uint32_t i = 0; i < N + QUERIES; i++)
        coordinates(p, i, metric, c->x + (size_t)i * p->dims);
    cr_assert_eq(ruvm_codes_shape(&c->set, RUVM_VECTOR_INT8, metric, p->dims, c->x, N, &err), 0);
    c->rows = aligned_alloc(64, (size_t)(N + QUERIES + 12) * c->set.row_bytes);
    c->side = aligned_alloc(64, (size_t)(N + QUERIES + 12) * c->set.side_bytes);
    for (uint32_t i = 0; i < N + QUERIES; i++)
        cr_assert_eq(ruvm_codes_row(&c->set, c->x + (size_t)i * p->dims,
                                    c->rows + (size_t)i * c->set.row_bytes,
                                    c->side + (size_t)i * c->set.side_bytes, &err),
                     RUVM_OK, "%s", err.text);
    c->set.rows = c->rows;
    c->set.side = c->side;
    c->set.n = N;
}

static void free_codes(struct codes *c)
{
    free(c->x);
    free(c->rows);
    free(c->side);
}

static void find(const struct codes *c, uint32_t query, struct ruvm_hit *hits)
{
    static uint64_t memory[256];
    struct ruvm_vector_query q;
    struct ruvm_search s = {.k = K};
    ruvm_vectors_query_row(&q, &c->set, query);
    cr_assert_eq(ruvm_search_scan(&c->set, &q, &s, memory, sizeof memory, hits), K);
}

static void find_true(const struct points *p, uint32_t query, struct ruvm_hit *hits)
{
    double best[K];
    uint32_t n = 0;
    for (uint32_t i = 0; i < N; i++) {
        double d = true_distance(p, query, i);
        if (n == K && d >= best[K - 1])
            continue;
        uint32_t at = n < K ? n++ : K - 1;
        for (; at > 0 && best[at - 1] > d; at--) {
            best[at] = best[at - 1];
            hits[at] = hits[at - 1];
        }
        best[at] = d;
        hits[at].id = i;
    }
}

static unsigned common(const struct ruvm_hit *a, const struct ruvm_hit *b)
{
    unsigned n = 0;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            n += a[i].id == b[j].id;
    return n;
}

/* Recall@10 of each metric against the truth, and of one hyperbolic metric in the other. */
struct recalls {
    double poincare, lorentz, agreement;
    double flat; /* Euclidean distances of the ball's coordinates */
};

static struct recalls measure(uint32_t dims, double radius)
{
    struct points *p = make_points(dims, radius);
    struct codes ball, sheet, flat;
    struct ruvm_hit t[K], a[K], b[K], c[K];
    unsigned n_ball = 0, n_sheet = 0, n_flat = 0, n_same = 0;
    make_codes(&ball, p, RUVM_METRIC_POINCARE);
    make_codes(&sheet, p, RUVM_METRIC_LORENTZ);
    make_codes(&flat, p, RUVM_METRIC_EUCLIDEAN);
    for (uint32_t query = N; query < N + QUERIES; query++) {
        find_true(p, query, t);
        find(&ball, query, a);
        find(&sheet, query, b);
        find(&flat, query, c);
        n_ball += common(t, a);
        n_sheet += common(t, b);
        n_flat += common(t, c);
        n_same += common(a, b);
    }
    free_codes(&ball);
    free_codes(&sheet);
    free_codes(&flat);
    free(p);
    const double all = QUERIES * K;
    return (struct recalls){n_ball / all, n_sheet / all, n_same / all, n_flat / all};
}

static void check(uint32_t dims)
{
    static const double radii[] = {1, 2, 4, 6, 8};
    for (size_t i = 0; i < sizeof radii / sizeof *radii; i++) {
        struct recalls r = measure(dims, radii[i]);
        cr_log_info(
            "%u dimensions, radius %g: Poincare %.4f, Lorentz %.4f, agreement %.4f, "
            "Euclidean %.4f",
            (unsigned)dims, radii[i], r.poincare, r.lorentz, r.agreement, r.flat);
        cr_expect_geq(r.poincare, 0.975, "%u dimensions, radius %g", (unsigned)dims, radii[i]);
        cr_expect_geq(r.lorentz, 0.975, "%u dimensions, radius %g", (unsigned)dims, radii[i]);
        cr_expect_geq(r.agreement, 0.999, "%u dimensions, radius %g", (unsigned)dims, radii[i]);
        if (radii[i] >= 6)
            cr_expect_lt(r.flat, 0.5, "coordinates of the ball would do without its metric");
    }
}

Test(hyperbolic, recall_at_10_in_16_dimensions)
{
    check(16);
}

Test(hyperbolic, recall_at_10_in_64_dimensions)
{
    check(64);
}
