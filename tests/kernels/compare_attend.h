/* Attention of several queries at once, which few tables have, beside the oracle's kernels one
 * after the other. */
#ifndef TESTS_KERNELS_COMPARE_ATTEND_H
#define TESTS_KERNELS_COMPARE_ATTEND_H

#include "tests/kernels/arrays.h"

/* What kernels.h says that attend does. */
static void compare_attend_singly(const struct ruvm_kernels *k, const struct ruvm_attend *a)
{
    static int16_t query[RUVM_ATTEND_MAX_DIM];
    static int32_t scores[RUVM_MIX_BLOCK];
    static uint16_t weights[RUVM_MIX_BLOCK];
    uint32_t dim = a->head_dim;
    for (uint32_t i = 0; i < a->n; i++) {
        int32_t mixed[RUVM_ATTEND_MAX_DIM] = {0};
        k->narrow(query, a->v[i], dim, a->up[i], a->down[i], a->narrow_mult[i]);
        k->scores(scores, query, a->keys, a->n_pos[i], dim, dim);
        uint32_t total = k->weights(weights, scores, a->n_pos[i], a->mult[i], a->shift[i]);
        struct ruvm_divisor by = ruvm_divisor_of(total);
        k->mix(mixed, weights, a->values, a->n_pos[i], dim, dim);
        k->divide(a->v[i], mixed, a->scale, dim, by.down, by.inverse);
    }
}

/* Query i: of so many bits, as narrow takes them; weights are all, nothing or between. */
static void compare_attend_query(struct ruvm_attend *a, uint32_t i, uint32_t bits, uint32_t most)
{
    uint32_t top = (uint32_t)(((uint64_t)1 << bits) - 1);
    a->up[i] = bits < 16 ? 16 - bits : 0;
    a->down[i] = bits > 16 ? bits - 16 : 0;
    top = (top << a->up[i]) >> a->down[i];
    a->narrow_mult[i] = ((uint32_t)RUVM_Q_MAX << 18) / (top ? top : 1);
    a->n_pos[i] = 1 + (uint32_t)compare_random() % most;
    a->mult[i] = (uint32_t)(compare_random() & INT32_MAX) >> compare_random() % 31;
    a->shift[i] = (uint32_t)compare_random() % 63;
    if (compare_random() & 3) {
        a->mult[i] = 0x40000000u + (uint32_t)(compare_random() & 0x3fffffff);
        a->shift[i] = 28 + (uint32_t)compare_random() % 10;
    }
}

/* Every number of queries, multiples of 8 as head sizes; positions up to a few, some or many. */
static struct ruvm_attend compare_attend_call(uint32_t i, int32_t *bits)
{
    static const uint32_t most[] = {1, 2, 7, 20, 64, 65, 66, 130, 300, RUVM_MIX_BLOCK};
    struct ruvm_attend a = {.n = 1 + i % RUVM_ATTEND_QUERIES, .head_dim = 8 + i / 7 % 16 * 8};
    uint32_t n_pos = most[i / 3 % 10];
    if (i % 4 == 0)
        a.head_dim = i & 4 ? 48 : 8;
    if (a.head_dim * n_pos > COMPARE_SLOT_BYTES / 8)
        n_pos = 130;
    *bits = (int32_t)(i % 31);
    for (uint32_t j = 0; j < a.n; j++)
        compare_attend_query(&a, j, (uint32_t)*bits, n_pos);
    uint32_t largest = 0;
    for (uint32_t j = 0; j < a.n; j++)
        largest = a.n_pos[j] > largest ? a.n_pos[j] : largest;
    a.keys = compare_s8((size_t)largest * a.head_dim, (int)(i / 2 % 5));
    a.values = compare_s8((size_t)largest * a.head_dim, (int)(i / 3 % 5));
    a.scale = compare_u16(a.head_dim, (int)(i / 5 % 5), 65535);
    return a;
}

static int compare_attend(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 1200 && !bad; i++) {
        int32_t bits;
        compare_slot = 0;
        struct ruvm_attend a = compare_attend_call(i, &bits), b = a;
        uint32_t values = a.n * a.head_dim;
        int32_t *x = compare_s32(values, (int)(i % 5), ((int64_t)1 << bits) - 1);
        int32_t *y = compare_twin(x, values * 4);
        for (uint32_t j = 0; j < a.n; j++) {
            a.v[j] = x + (size_t)(a.n - 1 - j) * a.head_dim; /* in any order */
            b.v[j] = y + (size_t)(a.n - 1 - j) * a.head_dim;
        }
        if (k->attend)
            k->attend(&a);
        else
            compare_attend_singly(k, &a);
        compare_attend_singly(oracle, &b);
        bad = compare_same("attend", x, y, values * 4, a.n, a.head_dim);
    }
    return bad;
}

#endif
