/* Keys rank as the true distances do, and distances are within what distance.h states. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/random.h"
#include "lib/vector/distance.h"
#include "tests/vector/vector_set.h"

/* How much nearer a row may be than one with a smaller key: what SIDE and the key round. */
static double slack_of(const struct ruvm_vectors *set, double d)
{
    switch (set->type == RUVM_VECTOR_BINARY ? RUVM_METRIC_HAMMING : set->metric) {
    case RUVM_METRIC_COSINE: return 3e-4; /* 1 / 4096: an inverse norm of 12 bits */
    case RUVM_METRIC_DOT: return fabs(d) * 1e-3 + 1e-3;
    case RUVM_METRIC_POINCARE:
    case RUVM_METRIC_LORENTZ: return 2e-2 + 1.2e-2 / (d + 1e-3);
    default: return 1e-5 * (1 + d);
    }
}

static void check_ranking(struct ruvm_vectors *set, uint32_t query)
{
    struct ruvm_vector_query q;
    uint32_t *keys = calloc(set->n, sizeof *keys);
    ruvm_vectors_query_row(&q, set, query);
    for (uint32_t i = 0; i < set->n; i += RUVM_VECTORS_BATCH)
        ruvm_vectors_keys(set, &q, NULL, i,
                          set->n - i < RUVM_VECTORS_BATCH ? set->n - i : RUVM_VECTORS_BATCH,
                          keys + i);
    for (uint32_t i = 0; i < set->n; i++) {
        double a = vector_set_distance(set, &q, i);
        for (uint32_t j = 0; j < set->n; j++) {
            double b = vector_set_distance(set, &q, j);
            if (keys[i] < keys[j] && a > b + slack_of(set, b))
                cr_assert_fail("metric %d type %d dims %d: keys %u < %u, distances %g > %g",
                               set->metric, set->type, set->dims, keys[i], keys[j], a, b);
        }
    }
    free(keys);
}

Test(vectors, keys_rank_as_distances)
{
    static const uint32_t dims[] = {8, 15, 64, 100, 1024};
    for (int sort = 0; sort < VECTOR_SORTS; sort++) {
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            struct vector_set s;
            vector_set_make(&s, vector_sorts[sort].type, vector_sorts[sort].metric, dims[d], 80,
                            d + 1);
            for (uint32_t query = 0; query < 4; query++)
                check_ranking(&s.set, query);
            vector_set_free(&s);
        }
    }
}

Test(vectors, gathered_keys_are_those_of_a_range)
{
    for (int sort = 0; sort < VECTOR_SORTS; sort++) {
        struct vector_set s;
        struct ruvm_vector_query q;
        uint32_t ids[50], gathered[50], range[64];
        vector_set_make(&s, vector_sorts[sort].type, vector_sorts[sort].metric, 24, 64, 3);
        ruvm_vectors_query_row(&q, &s.set, 5);
        ruvm_vectors_keys(&s.set, &q, NULL, 0, 64, range);
        for (uint32_t i = 0; i < 50; i++)
            ids[i] = (i * 29 + 3) % 64;
        ruvm_vectors_keys(&s.set, &q, ids, 0, 50, gathered);
        for (uint32_t i = 0; i < 50; i++)
            cr_assert_eq(gathered[i], range[ids[i]]);
        vector_set_free(&s);
    }
}

/* ---- distances --------------------------------------------------------------- */

static double stated_error(const struct ruvm_vectors *set, double d)
{
    switch (set->metric) {
    case RUVM_METRIC_COSINE: return 0x1p-16;
    case RUVM_METRIC_HAMMING: return 0;
    case RUVM_METRIC_POINCARE:
    case RUVM_METRIC_LORENTZ: return 0x1p-14;
    default: return fmax(0x1p-16, fabs(d) * 0x1p-20);
    }
}

/* Returns the largest error as a part of what is stated. */
static double check_distances(const struct ruvm_vectors *set, const struct ruvm_vector_query *q)
{
    double worst = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        double want = vector_set_distance(set, q, i), off, most = stated_error(set, want);
        off = fabs((double)ruvm_distance_q16(set, q, i) / 65536 - want);
        worst = fmax(worst, most > 0 ? off / most : off);
        if (off > most)
            cr_assert_fail("metric %d type %d dims %d: %.9g instead of %.9g", set->metric,
                           set->type, set->dims, (double)ruvm_distance_q16(set, q, i) / 65536,
                           want);
    }
    return worst;
}

Test(distance, is_within_what_is_stated)
{
    static const uint32_t dims[] = {8, 64, 1000};
    for (int sort = 0; sort < VECTOR_SORTS; sort++) {
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            struct vector_set s;
            vector_set_make(&s, vector_sorts[sort].type, vector_sorts[sort].metric, dims[d], 300,
                            d + 9);
            for (uint32_t query = 0; query < 30; query++) {
                struct ruvm_vector_query q;
                ruvm_vectors_query_row(&q, &s.set, query);
                check_distances(&s.set, &q);
            }
            vector_set_free(&s);
        }
    }
}

/* Points from almost the origin to radius 10, at almost no and at any angle. */
Test(distance, hyperbolic_over_the_whole_range)
{
    enum { N = 64, DIMS = 16 };
    static int8_t rows[N * DIMS] __attribute__((aligned(64)));
    static uint32_t side[N * 2];
    struct ruvm_vectors set;
    uint64_t state = 4;
    cr_assert_eq(ruvm_vectors_shape(&set, RUVM_VECTOR_INT8, RUVM_METRIC_LORENTZ, DIMS), RUVM_OK);
    for (int i = 0; i < N; i++) {
        double radius = 10 * pow(0.85, i % 40);
        for (int k = 0; k < DIMS; k++)
            rows[i * DIMS + k] =
                (int8_t)((k * 37 % 127) + (i % 3 ? (int)(ruvm_random_next(&state) % 3) - 1
                                                 : (int)(ruvm_random_next(&state) % 255) - 127) /
                                              2);
        rows[i * DIMS] = 127;
        double norm = sqrt(ruvm_vectors_norm2(rows + i * DIMS, DIMS));
        side[2 * i] = (uint32_t)round(cosh(radius) * RUVM_VECTORS_COSH_ONE);
        side[2 * i + 1] = (uint32_t)round(sinh(radius) / norm * 0x1p24);
    }
    set.rows = (const uint8_t *)rows;
    set.side = (const uint8_t *)side;
    set.n = N;
    double worst = 0;
    for (uint32_t i = 0; i < N; i++) {
        struct ruvm_vector_query q;
        ruvm_vectors_query_row(&q, &set, i);
        worst = fmax(worst, check_distances(&set, &q));
        cr_assert_leq(ruvm_distance_q16(&set, &q, i), 1, "a point is 0 from itself");
    }
    cr_assert_gt(worst, 0.01, "the comparison sees nothing: %g", worst);
}

Test(distance, of_vectors_of_zeros)
{
    static const uint8_t rows[2 * 16] __attribute__((aligned(64))) = {[16] = 5};
    static const uint8_t side[2 * 8] = {0};
    for (unsigned metric = 0; metric < RUVM_N_METRICS; metric++) {
        struct ruvm_vectors set;
        struct ruvm_vector_query q;
        uint32_t keys[2];
        if (ruvm_vectors_shape(&set, RUVM_VECTOR_INT8, metric, 16) != RUVM_OK)
            continue;
        set.rows = rows;
        set.side = side;
        set.n = 2;
        ruvm_vectors_query(&q, &set, rows, NULL);
        ruvm_vectors_keys(&set, &q, NULL, 0, 2, keys);
        int64_t want = metric == RUVM_METRIC_COSINE ? 65536 : 0;
        cr_assert_eq(ruvm_distance_q16(&set, &q, 0), want, "metric %u", metric);
    }
}

/* ---- codes -------------------------------------------------------------------- */

Test(vectors, inverse_is_the_nearest)
{
    for (uint32_t norm2 = 16129; norm2 <= 16516096; norm2 += 1 + norm2 / 97) {
        double exact = 65535.0 * 127 / sqrt(norm2);
        cr_assert_leq(fabs(ruvm_vectors_inverse(norm2) - exact), 0.5 + 1e-6, "%u", norm2);
    }
    cr_assert_eq(ruvm_vectors_inverse(0), 0);
    cr_assert_eq(ruvm_vectors_inverse(1), 65535);
}

Test(vectors, quantize_uses_all_codes)
{
    static const int32_t x[9] = {INT32_MIN, INT32_MAX, 0,        1 << 30, -(1 << 30),
                                 1,         -1,        16909321, 8454661};
    static const int8_t want[16] = {-127, 127, 0, 64, -64, 0, 0, 1, 1};
    static const int32_t zeros[9] = {0};
    int8_t row[16];
    ruvm_vectors_quantize(row, x, 9, 16);
    for (int i = 0; i < 16; i++)
        cr_expect_eq(row[i], want[i], "code %d is %d", i, row[i]);
    ruvm_vectors_quantize(row, zeros, 9, 16);
    for (int i = 0; i < 16; i++)
        cr_expect_eq(row[i], 0);
    uint8_t signs[8];
    ruvm_vectors_signs(signs, x, 9, 8);
    cr_expect(signs[0] == 0xAE && signs[1] == 1 && signs[2] == 0, "%x %x", signs[0], signs[1]);
}

Test(vectors, shapes_that_do_not_exist)
{
    struct ruvm_vectors set;
    cr_expect_eq(ruvm_vectors_shape(&set, RUVM_VECTOR_INT8, RUVM_METRIC_HAMMING, 64),
                 RUVM_ERR_UNSUPPORTED);
    cr_expect_eq(ruvm_vectors_shape(&set, RUVM_VECTOR_BINARY, RUVM_METRIC_LORENTZ, 64),
                 RUVM_ERR_UNSUPPORTED);
    cr_expect_eq(ruvm_vectors_shape(&set, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, 7), RUVM_ERR_ARG);
    cr_expect_eq(ruvm_vectors_shape(&set, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, 1025),
                 RUVM_ERR_ARG);
    cr_expect_eq(ruvm_vectors_shape(&set, 3, RUVM_METRIC_COSINE, 64), RUVM_ERR_ARG);
    cr_expect_eq(ruvm_vectors_shape(&set, RUVM_VECTOR_INT8, 7, 64), RUVM_ERR_ARG);
}

/* What codes stand for is what they were made of, within half a step of the row. */
Test(codes, read_back)
{
    for (int sort = 0; sort < 6; sort++) {
        struct vector_set s;
        float x[64];
        vector_set_make(&s, vector_sorts[sort].type, vector_sorts[sort].metric, 64, 50, 21);
        for (uint32_t i = 0; i < 50; i++) {
            const float *want = s.x + (size_t)i * 64;
            double length = 0, largest = 0;
            for (int k = 0; k < 64; k++) {
                length += (double)want[k] * (double)want[k];
                largest = fmax(largest, fabs((double)want[k]));
            }
            length = vector_sorts[sort].metric == RUVM_METRIC_COSINE ? sqrt(length) : 1;
            ruvm_codes_read(&s.set, i, x);
            for (int k = 0; k < 64; k++)
                cr_assert_leq(fabs((double)x[k] - (double)want[k] / length),
                              largest / length * 0.03 + 1e-3, "sort %d", sort);
        }
        vector_set_free(&s);
    }
}

Test(codes, refuse_what_is_no_vector)
{
    struct ruvm_vectors set;
    struct ruvm_error err = {0};
    float x[8] = {0.5f, 0.9f};
    uint8_t row[16], side[8];
    cr_assert_eq(ruvm_codes_shape(&set, 0, RUVM_METRIC_POINCARE, 8, x, 1, &err), RUVM_OK);
    cr_expect_eq(ruvm_codes_row(&set, x, row, side, &err), RUVM_ERR_ARG);
    cr_expect(strstr(err.text, "Poincare"), "%s", err.text);
    err = (struct ruvm_error){0};
    x[0] = NAN;
    cr_expect_eq(ruvm_codes_row(&set, x, row, side, &err), RUVM_ERR_ARG);
    cr_expect(strstr(err.text, "not finite"), "%s", err.text);
    err = (struct ruvm_error){0};
    cr_expect_eq(ruvm_codes_shape(&set, 0, RUVM_METRIC_EUCLIDEAN, 8, x, 1, &err), RUVM_ERR_ARG);
    cr_expect(strstr(err.text, "vector 0"), "%s", err.text);
    err = (struct ruvm_error){0};
    x[0] = 1e6f;
    cr_assert_eq(ruvm_codes_shape(&set, 0, RUVM_METRIC_LORENTZ, 8, x, 1, &err), RUVM_OK);
    cr_expect_eq(ruvm_codes_row(&set, x, row, side, &err), RUVM_ERR_ARG);
    cr_expect(strstr(err.text, "at most 10"), "%s", err.text);
    err = (struct ruvm_error){0};
    cr_expect_eq(ruvm_codes_shape(&set, 1, RUVM_METRIC_LORENTZ, 8, x, 1, &err),
                 RUVM_ERR_UNSUPPORTED);
    cr_expect(strstr(err.text, "binary vectors have no lorentz"), "%s", err.text);
}
