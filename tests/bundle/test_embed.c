/* The recipe: what is learned from chunks, and the vectors it gives. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "lib/base/status.h"
#include "lib/bundle/embed.h"
#include "lib/vector/words.h"

enum { DIMS = 256 };

static const char *const chunks[] = {
    "The boiler heats the water of the house.",
    "The lamp in the kitchen is broken.",
    "The garden pump waters the flowers at night.",
    "The door of the garage opens by a button.",
};
enum { N = sizeof chunks / sizeof *chunks };

static struct ruvm_embed_text text_of(const void *context, uint32_t i)
{
    (void)context;
    return (struct ruvm_embed_text){chunks[i], (uint32_t)strlen(chunks[i])};
}
static const struct ruvm_embed_texts texts = {text_of, NULL, N};
static const struct ruvm_recipe shape = {
    .kind = RUVM_RECIPE_HASHED, .gram = 4, .gram_weight = 128, .share = 10};

static void learn(struct ruvm_buffer *out, struct ruvm_recipe *r, uint32_t max_buckets)
{
    const struct ruvm_embed_options o = {shape, max_buckets};
    cr_assert_eq(ruvm_embed_learn(out, &o, &texts, NULL), RUVM_OK);
    cr_assert_eq(ruvm_recipe_open(r, out->data, (uint32_t)out->size), RUVM_OK);
}

static double cosine(const int32_t *x, const int32_t *y)
{
    double dot = 0, xx = 0, yy = 0;
    for (int i = 0; i < DIMS; i++) {
        dot += (double)x[i] * y[i];
        xx += (double)x[i] * x[i];
        yy += (double)y[i] * y[i];
    }
    return xx > 0 && yy > 0 ? dot / sqrt(xx * yy) : 0;
}

Test(embed, rare_features_weigh_more)
{
    struct ruvm_buffer section = {0};
    struct ruvm_recipe r;
    learn(&section, &r, 1 << 14);
    uint32_t the = ruvm_recipe_weight(&r, ruvm_words_hash(0, "the", 3), false);
    uint32_t lamp = ruvm_recipe_weight(&r, ruvm_words_hash(0, "lamp", 4), false);
    uint32_t never = ruvm_recipe_weight(&r, ruvm_words_hash(0, "quark", 5), false);
    cr_expect(the < lamp && lamp <= never, "%u %u %u", the, lamp, never);
    ruvm_buffer_free(&section);
}

Test(embed, the_chunk_meant_is_the_nearest)
{
    static const char *const questions[] = {"heating boilers", "broken kitchn lamp",
                                            "watering flower", "open garages"};
    struct ruvm_buffer section = {0};
    struct ruvm_recipe r;
    learn(&section, &r, 1 << 14);
    struct ruvm_embedder e = {.recipe = &r};
    for (unsigned i = 0; i < N; i++) {
        int32_t q[DIMS], x[DIMS];
        double best = -2;
        unsigned nearest = N;
        ruvm_recipe_embed(&r, q, DIMS, questions[i], strlen(questions[i]));
        for (unsigned j = 0; j < N; j++) {
            cr_assert_eq(ruvm_embed_chunk(&e, x, DIMS, chunks[j], strlen(chunks[j])), RUVM_OK);
            if (cosine(q, x) > best) {
                best = cosine(q, x);
                nearest = j;
            }
        }
        cr_expect_eq(nearest, i, "%s", questions[i]);
    }
    ruvm_embedder_free(&e);
    ruvm_buffer_free(&section);
}

/* Features of different hashes are at right angles but for noise of 1 / sqrt(dims). */
Test(embed, signs_are_balanced)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < 500; i++) {
        int32_t x[DIMS] = {0}, y[DIMS] = {0};
        ruvm_recipe_add(x, DIMS, ruvm_words_hash(0, &i, 4), 1);
        uint32_t j = i + 1;
        ruvm_recipe_add(y, DIMS, ruvm_words_hash(0, &j, 4), 1);
        double c = cosine(x, y);
        sum += c;
        squares += c * c;
    }
    cr_expect_lt(fabs(sum / 500), 0.012);
    cr_expect_lt(fabs(sqrt(squares / 500) * sqrt(DIMS) - 1), 0.15);
}

Test(embed, a_text_without_words_is_nothing)
{
    struct ruvm_buffer section = {0};
    struct ruvm_recipe r;
    int32_t x[DIMS];
    learn(&section, &r, 1 << 14);
    ruvm_recipe_embed(&r, x, DIMS, " .,\xFF", 4);
    for (int i = 0; i < DIMS; i++)
        cr_assert_eq(x[i], 0);
    ruvm_buffer_free(&section);
}

Test(embed, tables_are_as_small_as_wanted)
{
    for (uint32_t max = 256; max <= 4096; max *= 4) {
        struct ruvm_buffer section = {0};
        struct ruvm_recipe r;
        learn(&section, &r, max);
        cr_expect_leq(r.n_buckets, max);
        ruvm_buffer_free(&section);
    }
}

Test(embed, damaged_recipes_are_refused)
{
    struct ruvm_buffer section = {0};
    struct ruvm_recipe r;
    learn(&section, &r, 256);
    uint32_t n = (uint32_t)section.size;
    cr_expect_eq(ruvm_recipe_open(&r, section.data, n - 1), RUVM_ERR_CORRUPT);
    cr_expect_eq(ruvm_recipe_open(&r, section.data, 15), RUVM_ERR_CORRUPT);
    cr_expect_eq(ruvm_recipe_open(&r, NULL, 0), RUVM_ERR_CORRUPT);
    section.data[RUVM_RCPE_GRAM] = 9;
    cr_expect_eq(ruvm_recipe_open(&r, section.data, n), RUVM_ERR_CORRUPT);
    section.data[RUVM_RCPE_GRAM] = 4;
    section.data[RUVM_RCPE_KIND] = RUVM_N_RECIPES;
    cr_expect_eq(ruvm_recipe_open(&r, section.data, n), RUVM_ERR_UNSUPPORTED);
    ruvm_buffer_free(&section);
}
