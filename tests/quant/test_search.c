/* The curve against all combinations of all choices. */
#include <criterion/criterion.h>
#include <math.h>

#include "lib/quant/search.h"
#include "tests/quant/numbers.h"

enum { MAX_TENSORS = 4, MAX_CHOICES = RUVM_SEARCH_MAX_CHOICES };

struct problem {
    uint32_t n_tensors, n_choices[MAX_TENSORS];
    uint64_t bytes[MAX_TENSORS][MAX_CHOICES];
    double loss[MAX_TENSORS][MAX_CHOICES];
};

/* Choice c of tensor t has type c and group t, so that it is known again. */
static struct ruvm_scheme mark(uint32_t t, uint32_t c)
{
    return (struct ruvm_scheme){(uint8_t)c, (uint8_t)t};
}

static struct problem make(uint64_t *rng)
{
    struct problem p = {.n_tensors = 1 + number_below(rng, MAX_TENSORS)};
    for (uint32_t t = 0; t < p.n_tensors; t++) {
        p.n_choices[t] = 1 + number_below(rng, 5);
        for (uint32_t c = 0; c < p.n_choices[t]; c++) {
            p.bytes[t][c] = 1 + number_below(rng, 50);
            p.loss[t][c] =
                number_below(rng, 4) == 0 ? number_below(rng, 3) : number_uniform(rng) * 5 + 5;
        }
    }
    return p;
}

static struct ruvm_search *solve(struct ruvm_arena *arena, const struct problem *p)
{
    struct ruvm_search *s;
    cr_assert_eq(ruvm_search_open(&s, arena, p->n_tensors, NULL), RUVM_OK);
    for (uint32_t t = 0; t < p->n_tensors; t++)
        for (uint32_t c = 0; c < p->n_choices[t]; c++)
            ruvm_search_add(s, t, mark(t, c), p->bytes[t][c], p->loss[t][c]);
    cr_assert_eq(ruvm_search_solve(s, NULL), RUVM_OK);
    return s;
}

/* Combination number i, counted through. false: there is none. */
static bool combine(const struct problem *p, uint64_t i, uint64_t *bytes, double *loss)
{
    *bytes = 0;
    *loss = 0.0;
    for (uint32_t t = 0; t < p->n_tensors; t++) {
        uint32_t c = (uint32_t)(i % p->n_choices[t]);
        i /= p->n_choices[t];
        *bytes += p->bytes[t][c];
        *loss += p->loss[t][c];
    }
    return i == 0;
}

static void check_point(const struct problem *p, uint64_t bytes, double loss)
{
    uint64_t b;
    double l;
    for (uint64_t i = 0; combine(p, i, &b, &l); i++) {
        bool beaten = (b < bytes && l <= loss - 1e-9) || (b <= bytes && l < loss - 1e-9);
        cr_assert_not(beaten, "%llu bytes, %g by %llu, %g", (unsigned long long)bytes, loss,
                      (unsigned long long)b, l);
    }
}

/* bytes and loss are those of the schemes. */
static void check_sums(const struct problem *p, const struct ruvm_scheme *schemes, uint64_t bytes,
                       double loss)
{
    for (uint32_t t = 0; t < p->n_tensors; t++) {
        cr_assert(schemes[t].group == t && schemes[t].type < p->n_choices[t]);
        bytes -= p->bytes[t][schemes[t].type];
        loss -= p->loss[t][schemes[t].type];
    }
    cr_assert_eq(bytes, 0);
    cr_assert_float_eq(loss, 0.0, 1e-9);
}

Test(search, no_combination_beats_a_point_of_the_curve)
{
    uint64_t rng = 1;
    for (int round = 0; round < 400; round++) {
        struct ruvm_arena arena = {0};
        struct problem p = make(&rng);
        struct ruvm_search *s = solve(&arena, &p);
        struct ruvm_scheme schemes[MAX_TENSORS];
        uint64_t bytes, before = 0;
        double loss, loss_before = HUGE_VAL;
        for (uint32_t k = 0; k < ruvm_search_count(s); k++) {
            ruvm_search_choice(s, k, schemes, &bytes, &loss);
            cr_assert(bytes > before && loss < loss_before, "round %d, point %u", round, k);
            check_sums(&p, schemes, bytes, loss);
            check_point(&p, bytes, loss);
            before = bytes;
            loss_before = loss;
        }
        ruvm_arena_free(&arena);
    }
}

/* Its ends: no fewer bytes and no less loss exist; and every corner of the hull of all
 * combinations is a point of it. */
Test(search, the_curve_is_the_hull_of_all_combinations)
{
    uint64_t rng = 2;
    for (int round = 0; round < 200; round++) {
        struct ruvm_arena arena = {0};
        struct problem p = make(&rng);
        struct ruvm_search *s = solve(&arena, &p);
        struct ruvm_scheme schemes[MAX_TENSORS];
        uint64_t bytes, b;
        double price, loss, l;
        for (price = 0.001; price < 20; price *= 1.3) { /* of a byte, in loss */
            double best = HUGE_VAL, ours = HUGE_VAL;
            for (uint64_t i = 0; combine(&p, i, &b, &l); i++)
                best = fmin(best, l + price * (double)b);
            for (uint32_t k = 0; k < ruvm_search_count(s); k++) {
                ruvm_search_choice(s, k, schemes, &bytes, &loss);
                ours = fmin(ours, loss + price * (double)bytes);
            }
            cr_assert_float_eq(ours, best, 1e-9, "round %d, price %g", round, price);
        }
        ruvm_arena_free(&arena);
    }
}

Test(search, more_choices_than_there_is_room_for_are_left_out)
{
    struct ruvm_arena arena = {0};
    struct ruvm_search *s;
    struct ruvm_scheme scheme;
    uint64_t bytes;
    double loss;
    cr_assert_eq(ruvm_search_open(&s, &arena, 1, NULL), RUVM_OK);
    for (uint32_t c = 0; c < MAX_CHOICES + 3; c++)
        ruvm_search_add(s, 0, mark(0, c), 100 - c, c);
    cr_assert_eq(ruvm_search_solve(s, NULL), RUVM_OK);
    ruvm_search_choice(s, 0, &scheme, &bytes, &loss);
    cr_assert_eq(bytes, 100 - MAX_CHOICES + 1);
    ruvm_arena_free(&arena);
}
