/* bench rag: what it says is found, counted again another way. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32.h"
#include "lib/measure/rag_crossover.h"
#include "lib/measure/rag_truth.h"
#include "lib/vector/distance.h"

enum { N = 400, DIMS = 24, K = 10 };

static struct ruvm_bench_rag_options small(void)
{
    struct ruvm_bench_rag_options o = {
        .n = N, .dims = DIMS, .n_queries = 40, .repetitions = 2, .no_crossover = true};
    o.n_points = 3;
    o.ef[0] = 10;
    o.ef[1] = 40;
    o.ef[2] = N;
    return o;
}

Test(bench_rag, draws_the_same_vectors_everywhere)
{
    float a[32 * 16], b[20 * 16];
    cr_assert(ruvm_rag_subject_draw(a, 32, 16, 1));
    cr_assert(ruvm_rag_subject_draw(b, 20, 16, 1));
    cr_assert_eq(memcmp(a, b, sizeof b), 0, "n is only where it stops");
    cr_expect_eq(ruvm_crc32(0, a, sizeof a), 0xed5801c6u, "%08x",
                 (unsigned)ruvm_crc32(0, a, sizeof a));
    cr_assert(ruvm_rag_subject_draw(b, 20, 16, 2));
    cr_assert_neq(memcmp(a, b, sizeof b), 0);
}

/* Clusters: most vectors have a neighbour much nearer than the average one. */
Test(bench_rag, draws_clusters)
{
    struct ruvm_rag_subject s = {.n = N, .dims = DIMS};
    s.x = malloc(N * DIMS * sizeof *s.x);
    cr_assert(ruvm_rag_subject_draw(s.x, N, DIMS, 3));
    int clustered = 0;
    for (int i = 0; i < N; i++) {
        double nearest = HUGE_VAL, sum = 0;
        for (int j = 0; j < N; j++) {
            double d =
                ruvm_rag_truth_rank(RUVM_METRIC_EUCLIDEAN, s.x + i * DIMS, s.x + j * DIMS, DIMS);
            nearest = j != i ? fmin(nearest, d) : nearest;
            sum += d / N;
        }
        clustered += nearest < sum / 4;
    }
    cr_expect_gt(clustered, N / 2, "%d of %d", clustered, N);
    free(s.x);
}

static void expect_curve(const struct ruvm_bench_rag_result *r)
{
    cr_expect_eq(r->n_points, 3);
    cr_expect_eq(r->n_reached, N);
    cr_expect_eq(r->points[2].recall, 1, "%s %s: all in view", r->metric, r->type);
    for (uint32_t i = 0; i < 3; i++) {
        const struct ruvm_bench_rag_point *p = &r->points[i];
        cr_expect(p->recall > 0.5 && p->recall <= 1, "%s %s: %g", r->metric, r->type, p->recall);
        cr_expect(p->distances >= K && p->distances <= p->distances_max);
        cr_expect(p->queries_per_s.n == 2 && p->queries_per_s.min > 0);
        cr_expect_leq(p->queries_per_s.min, p->queries_per_s.max);
    }
    cr_expect_lt(r->points[0].distances, r->points[1].distances);
    cr_expect(r->build_vectors_per_s > 0 && r->scan_gb_per_s.median > 0 && r->row_cost > 0);
    cr_expect_neq(r->roof[0], '\0');
}

Test(bench_rag, every_metric_and_type)
{
    int n = 0;
    for (unsigned m = 0; ruvm_bench_rag_metric(m); m++)
        for (unsigned t = 0; ruvm_bench_rag_type(t); t++) {
            struct ruvm_bench_rag_options o = small();
            struct ruvm_bench_rag_result r;
            struct ruvm_error err = {0};
            o.metric = ruvm_bench_rag_metric(m);
            o.type = ruvm_bench_rag_type(t);
            if (!ruvm_bench_rag_exists(o.metric, o.type)) {
                cr_expect_eq(ruvm_bench_rag(&o, &r, &err), RUVM_ERR_UNSUPPORTED, "%s", err.text);
                continue;
            }
            n++;
            cr_assert_eq(ruvm_bench_rag(&o, &r, &err), RUVM_OK, "%s", err.text);
            expect_curve(&r);
            cr_expect_eq(r.has_code_recall, strcmp(o.metric, "hamming") != 0);
        }
    cr_expect_eq(n, 13);
}

static int by_rank(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The recall of the codes from the true distances of a scan, by sorting. */
static double recall_of_codes(struct ruvm_rag_subject *s)
{
    uint64_t memory[K];
    double ranks[N], sorted[N];
    int found = 0;
    for (uint32_t i = 0; i < s->n_queries; i++) {
        struct ruvm_search search = {.k = K};
        struct ruvm_hit hits[K];
        struct ruvm_vector_query q;
        ruvm_vectors_query_row(&q, &s->queries, i);
        cr_assert_eq(ruvm_search_scan(&s->set, &q, &search, memory, sizeof memory, hits), K);
        for (uint32_t j = 0; j < N; j++)
            ranks[j] = ruvm_rag_truth_rank(s->metric, s->x + (size_t)(N + i) * DIMS,
                                           s->x + (size_t)j * DIMS, DIMS);
        memcpy(sorted, ranks, sizeof sorted);
        qsort(sorted, N, sizeof *sorted, by_rank);
        for (int j = 0; j < K; j++)
            found += ranks[hits[j].id] <= sorted[K - 1];
    }
    return (double)found / (s->n_queries * K);
}

Test(bench_rag, recall_of_the_codes_is_that_of_the_scan)
{
    static const char *const metrics[] = {"cosine", "manhattan", "poincare"};
    for (int i = 0; i < 3; i++) {
        struct ruvm_bench_rag_options o = small();
        struct ruvm_bench_rag_result r;
        struct ruvm_error err = {0};
        struct ruvm_rag_subject s;
        o.metric = metrics[i];
        cr_assert_eq(ruvm_bench_rag(&o, &r, &err), RUVM_OK, "%s", err.text);
        cr_assert_eq(ruvm_rag_subject_open(&s, &o, &err), RUVM_OK, "%s", err.text);
        cr_assert_eq(ruvm_rag_subject_encode(&s, &ruvm_vector_kernels_scalar, &err), RUVM_OK);
        cr_expect_float_eq(r.code_recall, recall_of_codes(&s), 1e-12);
        ruvm_rag_subject_free(&s);
    }
}

/* Points of the ball and of the hyperboloid are the same points: so are their ranks. */
Test(bench_rag, hyperbolic_truths_agree)
{
    struct ruvm_bench_rag_options o = small();
    struct ruvm_rag_subject ball, sheet;
    struct ruvm_error err = {0};
    o.metric = "poincare";
    cr_assert_eq(ruvm_rag_subject_open(&ball, &o, &err), RUVM_OK, "%s", err.text);
    o.metric = "lorentz";
    cr_assert_eq(ruvm_rag_subject_open(&sheet, &o, &err), RUVM_OK, "%s", err.text);
    for (int i = 1; i < N; i++) {
        double q2 = 0;
        for (int j = 0; j < DIMS; j++)
            q2 += (double)ball.x[j] * (double)ball.x[j];
        double a = ruvm_rag_truth_rank(RUVM_METRIC_POINCARE, ball.x, ball.x + i * DIMS, DIMS);
        double b = ruvm_rag_truth_rank(RUVM_METRIC_LORENTZ, sheet.x, sheet.x + i * DIMS, DIMS);
        /* <U - V, U - V> = 4 |u - v|^2 / ((1 - |u|^2)(1 - |v|^2)) */
        cr_expect_float_eq(4 * a / (1 - q2), b, 1e-3 * b + 1e-6);
    }
    ruvm_rag_subject_free(&ball);
    ruvm_rag_subject_free(&sheet);
}

Test(bench_rag, one_disturbed_size_sets_no_crossover)
{
    static const struct {
        double scan[5];
        uint32_t crossover;
    } cases[] = {
        {{0.2, 0.5, 1.5, 2, 4}, 1024},   {{0.2, 1.3, 0.5, 2, 4}, 2048}, /* a scan was disturbed */
        {{0.2, 0.5, 1.5, 0.8, 4}, 1024}, /* a graph was: still faster on average */
        {{0.2, 0.3, 0.4, 0.5, 0.9}, 0},  {{2, 3, 4, 5, 6}, 256},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ruvm_bench_rag_size sizes[5] = {0};
        for (uint32_t j = 0; j < 5; j++) {
            sizes[j].n = 256u << j;
            sizes[j].scan_us.median = cases[i].scan[j];
            sizes[j].graph_us.median = 1;
        }
        cr_expect_eq(ruvm_rag_crossover(sizes, 5), cases[i].crossover, "%zu: %u", i,
                     ruvm_rag_crossover(sizes, 5));
    }
}

Test(bench_rag, crossover_is_where_the_graph_was_faster)
{
    struct ruvm_bench_rag_options o = small();
    struct ruvm_bench_rag_result r;
    struct ruvm_error err = {0};
    o.no_crossover = false;
    o.kernels = "scalar"; /* slow enough that the graph wins early */
    cr_assert_eq(ruvm_bench_rag(&o, &r, &err), RUVM_OK, "%s", err.text);
    cr_assert_geq(r.n_sizes, 2);
    for (uint32_t i = 0; i < r.n_sizes; i++) {
        const struct ruvm_bench_rag_size *s = &r.sizes[i];
        cr_expect_eq(s->n, 64u << i);
        cr_expect(s->scan_us.median > 0 && s->graph_us.median > 0 && s->ef >= 10);
    }
    cr_expect_eq(r.crossover, ruvm_rag_crossover(r.sizes, r.n_sizes));
}

static int stop(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return strcmp(stage, user) == 0;
}

Test(bench_rag, refuses_and_stops)
{
    static char *const stages[] = {"vectors", "truth", "searches", "codes", "sizes"};
    struct ruvm_bench_rag_result r;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        struct ruvm_bench_rag_options o = small();
        struct ruvm_error err = {0};
        o.no_crossover = false;
        o.progress = (struct ruvm_progress){stop, stages[i]};
        cr_expect_eq(ruvm_bench_rag(&o, &r, &err), RUVM_ERR_IO, "%s", stages[i]);
        cr_expect_str_eq(err.text, "interrupted");
    }
    struct ruvm_bench_rag_options o = small();
    struct ruvm_error err = {0};
    o.ef[0] = 5000;
    cr_expect_eq(ruvm_bench_rag(&o, &r, &err), RUVM_ERR_ARG);
    o = small();
    err = (struct ruvm_error){0};
    o.degree = 65;
    cr_expect_eq(ruvm_bench_rag(&o, &r, &err), RUVM_ERR_ARG, "%s", err.text);
}

/* What chips are promised: 100 vectors in 9.5 KB, a query in 2 KB. */
Test(bench_rag, fits_a_chip)
{
    struct ruvm_bench_rag_options o = {.n = 100,
                                       .dims = 64,
                                       .n_queries = 20,
                                       .repetitions = 1,
                                       .no_crossover = true,
                                       .n_points = 1,
                                       .ef = {32}};
    struct ruvm_bench_rag_result r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_bench_rag(&o, &r, &err), RUVM_OK, "%s", err.text);
    cr_expect_leq(r.vector_bytes + r.side_bytes + r.graph_bytes, 9500);
    o.n = 10000;
    cr_assert_eq(ruvm_bench_rag(&o, &r, &err), RUVM_OK, "%s", err.text);
    cr_expect_leq(r.points[0].chip_bytes, 2048);
    cr_expect_leq(r.vector_bytes + r.side_bytes + r.graph_bytes, 96 * 10000);
    cr_expect_leq(r.graph_bytes, 30 * 10000);
    cr_expect_geq(r.points[0].recall, 0.98);
}
