/* The sampler: greedy rules, each filter's kept set, frequencies, and determinism. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ruvm.h"
#include "tests/core/random_image.h"

enum { ONE = 65536, VOCAB = 8 };

static const int32_t base[VOCAB] = {0, 2 * ONE, ONE, -ONE, 2 * ONE, ONE / 2, -8 * ONE, 3 * ONE};

static uint16_t pick(struct ruvm_sampler *s, const uint16_t *recent, size_t n)
{
    int32_t logits[VOCAB];
    memcpy(logits, base, sizeof logits);
    return ruvm_sample(s, logits, VOCAB, recent, n);
}

/* How often each token comes in n draws. */
static void draws(struct ruvm_sampler s, int n, int counts[VOCAB])
{
    memset(counts, 0, VOCAB * sizeof *counts);
    for (int i = 0; i < n; i++)
        counts[pick(&s, NULL, 0)]++;
}

Test(sampler, greedy_takes_the_largest_and_of_equals_the_lowest_id)
{
    struct ruvm_sampler s = {0};
    cr_assert_eq(pick(&s, NULL, 0), 7);
    int32_t equal[4] = {-5, 9, 9, 9};
    cr_assert_eq(ruvm_sample(&s, equal, 4, NULL, 0), 1);
}

Test(sampler, repeat_penalty_divides_positive_and_multiplies_negative_logits)
{
    struct ruvm_sampler s = {.repeat_q16 = 2 * ONE, .repeat_last = 2};
    uint16_t recent[] = {1, 4, 7, 7}; /* only the last two count, and 7 once */
    cr_assert_eq(pick(&s, recent, 4), 1, "7 falls to 1.5, 1 and 4 stay at 2");
    int32_t negative[2] = {-ONE, -ONE - ONE / 2};
    uint16_t zero = 0;
    cr_assert_eq(ruvm_sample(&s, negative, 2, &zero, 1), 1);
}

Test(sampler, frequencies_follow_softmax_at_a_temperature)
{
    struct ruvm_sampler s = {.temperature_q16 = ONE * 7 / 10};
    ruvm_sampler_seed(&s, 5);
    int counts[VOCAB], n = 200000;
    draws(s, n, counts);
    double sum = 0;
    for (int i = 0; i < VOCAB; i++)
        sum += exp(base[i] / (double)ONE / 0.7);
    for (int i = 0; i < VOCAB; i++) {
        double p = exp(base[i] / (double)ONE / 0.7) / sum, f = counts[i] / (double)n;
        cr_assert(fabs(f - p) < 5 * sqrt(p * (1 - p) / n) + 1e-4, "token %d: %g for %g", i, f, p);
    }
}

Test(sampler, top_k_keeps_exactly_k_and_breaks_ties_by_id)
{
    struct ruvm_sampler s = {.temperature_q16 = 100 * ONE, .top_k = 2};
    int counts[VOCAB];
    draws(s, 2000, counts);
    cr_assert(counts[7] > 500 && counts[1] > 500 && counts[7] + counts[1] == 2000,
              "of the equal 1 and 4 the lower id stays");
    s.top_k = VOCAB + 5;
    draws(s, 20000, counts);
    for (int i = 0; i < VOCAB; i++)
        cr_assert(counts[i] > 0);
}

Test(sampler, top_k_of_one_is_greedy_and_ties_of_the_best_count)
{
    struct ruvm_sampler s = {.temperature_q16 = ONE, .top_k = 1};
    for (int i = 0; i < 50; i++)
        cr_assert_eq(pick(&s, NULL, 0), 7);
    int32_t counts[3] = {0};
    s.top_k = 2;
    for (int i = 0; i < 200; i++) {
        int32_t equal[3] = {ONE, ONE, ONE};
        counts[ruvm_sample(&s, equal, 3, NULL, 0)]++;
    }
    cr_assert(counts[0] > 50 && counts[1] > 50 && counts[2] == 0);
}

Test(sampler, top_p_keeps_the_smallest_set_that_reaches_p)
{
    /* softmax: 7 has 0.47, 1 and 4 0.17 each, 2 0.064, 5 0.039, 0 0.023, ... */
    struct ruvm_sampler s = {.temperature_q16 = ONE, .top_p_q16 = ONE * 6 / 10};
    int counts[VOCAB];
    draws(s, 20000, counts);
    cr_assert(counts[7] > 0 && counts[1] > 0 && counts[7] + counts[1] == 20000);
    s.top_p_q16 = ONE * 4 / 10;
    draws(s, 1000, counts);
    cr_assert_eq(counts[7], 1000);
    s.top_p_q16 = ONE * 7 / 10;
    draws(s, 20000, counts);
    cr_assert(counts[4] > 0 && counts[7] + counts[1] + counts[4] == 20000);
}

Test(sampler, min_p_is_relative_to_the_best)
{
    struct ruvm_sampler s = {.temperature_q16 = ONE, .min_p_q16 = ONE / 5};
    int counts[VOCAB];
    draws(s, 20000, counts); /* exp(-1) = 0.37 stays, exp(-2) = 0.14 goes */
    cr_assert_eq(counts[7] + counts[1] + counts[4], 20000);
    s.min_p_q16 = ONE;
    draws(s, 100, counts);
    cr_assert_eq(counts[7], 100);
    s.min_p_q16 = UINT32_MAX;
    draws(s, 100, counts);
    cr_assert_eq(counts[7], 100, "more than the best is the best");
}

/* The ids in order of weight, and how many of them all filters together leave. */
static int sort_and_filter(const struct ruvm_sampler *s, const int32_t *logits, int n, int *order)
{
    double total = 0, sum = 0;
    int kept = 0;
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && logits[order[at - 1]] < logits[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    n = s->top_k && s->top_k < (uint32_t)n ? (int)s->top_k : n;
    while (kept < n && exp((logits[order[kept]] - logits[order[0]]) / (double)ONE) >=
                           s->min_p_q16 / (double)ONE)
        total += exp(logits[order[kept++]] / (double)ONE);
    for (n = kept, kept = 0; kept < n && (kept == 0 || sum < total * s->top_p_q16 / ONE); kept++)
        sum += exp(logits[order[kept]] / (double)ONE);
    return kept;
}

Test(sampler, filters_together_keep_what_sorting_would)
{
    uint64_t rng = 1;
    for (int round = 0; round < 20000; round++) {
        int32_t logits[10], n = 1 + (int32_t)(random_next(&rng) % 10);
        int order[10];
        for (int i = 0; i < n; i++) /* many are equal */
            logits[i] = ((int32_t)(random_next(&rng) % 5) - 2) * ONE;
        struct ruvm_sampler s = {.temperature_q16 = ONE,
                                 .top_k = (uint32_t)(random_next(&rng) % 12),
                                 .min_p_q16 = (uint32_t)(random_next(&rng) % (ONE + 1)),
                                 .top_p_q16 = 1 + (uint32_t)(random_next(&rng) % ONE)};
        ruvm_sampler_seed(&s, random_next(&rng));
        int kept = sort_and_filter(&s, logits, n, order), found = 0;
        uint16_t id = ruvm_sample(&s, logits, (uint32_t)n, NULL, 0);
        for (int i = 0; i < n; i++)
            found += logits[i] > 0; /* what is left of them: weights */
        cr_assert_eq(found, kept, "round %d: %d instead of %d", round, found, kept);
        for (int i = 0; i < kept; i++)
            cr_assert(logits[order[i]] > 0, "round %d: %d is gone", round, order[i]);
        cr_assert(logits[id] > 0);
    }
}

Test(sampler, a_seed_decides_everything)
{
    struct ruvm_sampler a = {.temperature_q16 = ONE}, b = a, c = a;
    ruvm_sampler_seed(&a, 42);
    ruvm_sampler_seed(&b, 42);
    ruvm_sampler_seed(&c, 43);
    int differs = 0;
    for (int i = 0; i < 100; i++) {
        uint16_t x = pick(&a, NULL, 0);
        cr_assert_eq(x, pick(&b, NULL, 0));
        differs += x != pick(&c, NULL, 0);
    }
    cr_assert(differs > 10);
}

Test(sampler, the_smallest_temperature_is_greedy_and_extreme_logits_are_fine)
{
    struct ruvm_sampler s = {.temperature_q16 = 1};
    for (int i = 0; i < 50; i++)
        cr_assert_eq(pick(&s, NULL, 0), 7);
    int32_t wide[3] = {-INT32_MAX, INT32_MAX, 0};
    s.temperature_q16 = 100 * ONE;
    cr_assert_eq(ruvm_sample(&s, wide, 3, NULL, 0), 1);
}

/* ---- large vocabularies, exactly ---------------------------------------------- */

enum { MANY = 700 };

static int32_t sorted_by[MANY];

/* By weight from the largest on, then by id. */
static int by_weight(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    if (sorted_by[x] != sorted_by[y])
        return sorted_by[x] < sorted_by[y] ? 1 : -1;
    return x - y;
}

/* The first of these in order that reach the sum, of n; at least one. */
static int reach(const int32_t *weights, const int *order, int n, uint64_t wanted)
{
    uint64_t sum = 0;
    int kept = 0;
    while (kept < n && (kept == 0 || sum < wanted))
        sum += (uint32_t)weights[order[kept++]];
    return kept;
}

/* Zeroes the weights that the filters leave out, found by sorting all. */
static void filter_by_sorting(const struct ruvm_sampler *s, int32_t *weights, int n)
{
    int order[MANY], kept = s->top_k > 0 && s->top_k < (uint32_t)n ? (int)s->top_k : n;
    uint64_t total = 0;
    memcpy(sorted_by, weights, (size_t)n * sizeof *weights);
    for (int i = 0; i < n; i++)
        order[i] = i;
    qsort(order, (size_t)n, sizeof *order, by_weight);
    int64_t least = ((int64_t)weights[order[0]] * s->min_p_q16) >> 16;
    while (s->min_p_q16 && kept > 0 && weights[order[kept - 1]] < least)
        kept--;
    for (int i = 0; i < kept; i++)
        total += (uint32_t)weights[order[i]];
    if (s->top_p_q16 > 0 && s->top_p_q16 < ONE)
        kept = reach(weights, order, kept, (total * s->top_p_q16) >> 16);
    for (int i = kept; i < n; i++)
        weights[order[i]] = 0;
}

/* Logits of one spread, in steps that make some equal. */
static void draw_logits(uint64_t *rng, int32_t *logits, int n)
{
    static const int32_t steps[] = {1, 100, ONE / 3, 4 * ONE};
    int32_t spread = 1 << random_next(rng) % 22, step = steps[random_next(rng) % 4];
    for (int i = 0; i < n; i++) {
        uint64_t r = random_next(rng); /* a bell, as logits are */
        int32_t sum = (int32_t)(r & 255) + (int32_t)(r >> 8 & 255) + (int32_t)(r >> 16 & 255);
        logits[i] = (int32_t)((int64_t)(sum - 384) * spread / 128 / step * step);
    }
}

Test(sampler, of_many_tokens_exactly_those_stay_that_sorting_keeps)
{
    static const uint32_t ks[] = {0, 1, 2, 7, 40, 300, MANY - 1};
    static const uint32_t ps[] = {0, 1, 700, ONE / 2, ONE * 9 / 10, ONE - 1, ONE};
    static const uint32_t mins[] = {0, 0, 1, ONE / 20, ONE / 2, ONE};
    uint64_t rng = 11;
    for (int round = 0; round < 3000; round++) {
        int32_t logits[MANY], weights[MANY], found[MANY];
        int n = 1 + (int)(random_next(&rng) % MANY);
        size_t bytes = (size_t)n * sizeof *logits;
        struct ruvm_sampler plain = {.temperature_q16 = 1 + (uint32_t)(random_next(&rng) % ONE)};
        struct ruvm_sampler s = plain;
        s.top_k = ks[random_next(&rng) % 7];
        s.top_p_q16 = ps[random_next(&rng) % 7];
        s.min_p_q16 = mins[random_next(&rng) % 6];
        draw_logits(&rng, logits, n);
        memcpy(weights, logits, bytes);
        ruvm_sample(&plain, weights, (uint32_t)n, NULL, 0); /* turns logits into weights */
        filter_by_sorting(&s, weights, n);
        memcpy(found, logits, bytes);
        uint16_t id = ruvm_sample(&s, found, (uint32_t)n, NULL, 0);
        cr_assert_arr_eq(found, weights, bytes, "round %d", round);
        cr_assert(id < n && found[id] > 0, "round %d", round);
    }
}

Test(sampler, of_many_tokens_each_comes_as_often_as_its_weight_says)
{
    enum { N = 100000 };
    int32_t logits[MANY], counts[MANY] = {0};
    struct ruvm_sampler s = {.temperature_q16 = ONE, .top_p_q16 = ONE * 9 / 10};
    double total = 0;
    uint64_t rng = 12;
    for (int i = 0; i < MANY; i++)
        logits[i] = (int32_t)(random_next(&rng) % (4 * ONE));
    int32_t weights[MANY];
    for (int k = 0; k < N; k++) {
        memcpy(weights, logits, sizeof weights);
        counts[ruvm_sample(&s, weights, MANY, NULL, 0)]++;
    }
    for (int i = 0; i < MANY; i++)
        total += weights[i];
    for (int i = 0; i < MANY; i++) {
        double p = weights[i] / total, f = counts[i] / (double)N;
        cr_assert(fabs(f - p) < 5 * sqrt(p * (1 - p) / N) + 1e-4, "token %d: %g for %g", i, f, p);
    }
}
