/* BM25: what the section written by lib/bundle finds, against the formula in doubles. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/random.h"
#include "lib/bundle/embed.h"
#include "lib/vector/bm25.h"
#include "lib/vector/words.h"

enum { N = 200, K = 20, MAX_TEXT = 1024 };

static char texts[N][MAX_TEXT];
static struct ruvm_buffer section;

static struct ruvm_embed_text text_of(const void *context, uint32_t i)
{
    (void)context;
    return (struct ruvm_embed_text){texts[i], (uint32_t)strlen(texts[i])};
}

/* Words w0 .. w99, the low ones common; some texts are empty. */
static void make_texts(void)
{
    uint64_t state = 7;
    for (uint32_t i = 0; i < N; i++) {
        uint32_t words = i % 17 == 0 ? 0 : 3 + (uint32_t)(ruvm_random_next(&state) % 60);
        size_t used = 0;
        texts[i][0] = '\0';
        for (uint32_t j = 0; j < words; j++) {
            double x = ruvm_random_unit(&state);
            used += (size_t)snprintf(texts[i] + used, MAX_TEXT - used, "w%d ", (int)(x * x * 100));
        }
    }
    const struct ruvm_embed_texts all = {text_of, NULL, N};
    ruvm_buffer_free(&section);
    cr_assert_eq(ruvm_embed_bm25(&section, &all, NULL), RUVM_OK);
}

static unsigned count(const char *text, uint32_t stem, unsigned *length)
{
    struct ruvm_words w = ruvm_words_over(text, strlen(text));
    unsigned n = 0;
    *length = 0;
    while (ruvm_words_next(&w)) {
        n += w.stem == stem;
        ++*length;
    }
    return n;
}

static double plain_score(const char *question, uint32_t id, double mean)
{
    struct ruvm_words w = ruvm_words_over(question, strlen(question));
    double score = 0;
    while (ruvm_words_next(&w)) {
        unsigned chunks = 0, length;
        for (uint32_t i = 0; i < N; i++)
            chunks += count(texts[i], w.stem, &length) > 0;
        unsigned n = count(texts[id], w.stem, &length);
        if (n)
            score += log2((N + 1) / (chunks + 0.5)) * n * 2.2 / (n + 0.3 + 0.9 * length / mean);
    }
    return score;
}

static double mean_length(void)
{
    unsigned length, sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        count(texts[i], 0, &length);
        sum += length;
    }
    return (double)sum / N;
}

Test(bm25, scores_as_the_formula)
{
    static const char *const questions[] = {"w3", "w70 w1 w2", "w99 w50 w50 nothing",
                                            "w0 w0 w0 w5"};
    make_texts();
    double mean = mean_length();
    struct ruvm_bm25 b;
    cr_assert_eq(ruvm_bm25_open(&b, section.data, (uint32_t)section.size, N), RUVM_OK);
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        struct ruvm_bm25_question q;
        struct ruvm_search s = {.k = K};
        struct ruvm_hit hits[K];
        uint64_t memory[K];
        ruvm_bm25_ask(&q, &b, questions[i], strlen(questions[i]));
        int n = ruvm_bm25_search(&q, &s, memory, sizeof memory, hits);
        cr_assert_gt(n, 0);
        double last = 0;
        for (int j = 0; j < n; j++) {
            double expected = plain_score(questions[i], hits[j].id, mean);
            double found = ruvm_bm25_score(&hits[j]) / 1024.0;
            cr_expect_lt(fabs(found - expected), 0.02 * expected + 0.01, "%s: %u: %f, %f",
                         questions[i], hits[j].id, found, expected);
            last = found;
        }
        for (uint32_t id = 0; n == K && id < N; id++) { /* none that is clearly better is missing */
            bool there = false;
            for (int j = 0; j < n; j++)
                there = there || hits[j].id == id;
            cr_expect(there || plain_score(questions[i], id, mean) < 1.03 * last + 0.02);
        }
    }
    ruvm_buffer_free(&section);
}

Test(bm25, leaves_out_what_may_not_be_a_hit)
{
    uint8_t deleted[N / 8] = {0xFF, 0xFF};
    struct ruvm_search s = {.k = K, .deleted = deleted};
    struct ruvm_bm25_question q;
    struct ruvm_bm25 b;
    struct ruvm_hit hits[K], again[K];
    uint64_t memory[K];
    make_texts();
    cr_assert_eq(ruvm_bm25_open(&b, section.data, (uint32_t)section.size, N), RUVM_OK);
    ruvm_bm25_ask(&q, &b, "w1 w2 w3", 8);
    int n = ruvm_bm25_search(&q, &s, memory, sizeof memory, hits);
    cr_assert_eq(n, K);
    for (int i = 0; i < n; i++)
        cr_expect_geq(hits[i].id, 16);
    cr_assert_eq(ruvm_bm25_search(&q, &s, memory, sizeof memory, again), K); /* twice the same */
    cr_expect_arr_eq(hits, again, sizeof hits);
    cr_expect_eq(ruvm_bm25_search(&q, &s, memory, 8, hits), RUVM_ERR_MEMORY);
    s.k = 0;
    cr_expect_eq(ruvm_bm25_search(&q, &s, memory, sizeof memory, hits), RUVM_ERR_ARG);
    ruvm_buffer_free(&section);
}

Test(bm25, covers_by_weight)
{
    struct ruvm_bm25_question q;
    struct ruvm_bm25 b;
    make_texts();
    cr_assert_eq(ruvm_bm25_open(&b, section.data, (uint32_t)section.size, N), RUVM_OK);
    ruvm_bm25_ask(&q, &b, "w90 unheard", 11);
    cr_expect_eq(ruvm_bm25_cover_q16(&q, "", 0), 0);
    cr_expect_eq(ruvm_bm25_cover_q16(&q, "unheard W90", 11), 65536);
    uint32_t half = ruvm_bm25_cover_q16(&q, "w90 w1", 6);
    cr_expect(half > 0 && half < 65536 / 2);
    ruvm_bm25_ask(&q, &b, "the how do", 10); /* short and unknown: they weigh nothing */
    cr_expect_eq(q.idf_sum, 0);
    cr_expect_eq(ruvm_bm25_cover_q16(&q, "the", 3), 0);
    ruvm_buffer_free(&section);
}

/* More words than a question may have: the rarest stay. */
Test(bm25, keeps_the_rarest_words)
{
    char question[600] = "";
    size_t used = 0;
    struct ruvm_bm25_question q;
    struct ruvm_bm25 b;
    make_texts();
    cr_assert_eq(ruvm_bm25_open(&b, section.data, (uint32_t)section.size, N), RUVM_OK);
    for (int i = 0; i < 100; i++)
        used += (size_t)snprintf(question + used, sizeof question - used, "w%d ", i);
    ruvm_bm25_ask(&q, &b, question, used);
    cr_assert_eq(q.n_words, RUVM_BM25_MAX_WORDS);
    uint32_t common = ruvm_words_hash(0, "w0", 2);
    for (uint32_t i = 0; i < q.n_words; i++)
        cr_expect_neq(q.word[i].stem, common);
    ruvm_buffer_free(&section);
}

Test(bm25, log2_is_right)
{
    for (uint32_t x = 1; x < 1u << 30; x += 1 + x / 7) {
        double exact = log2(x) * 1024;
        cr_assert(ruvm_bm25_log2_q10(x) <= exact + 1e-6 && ruvm_bm25_log2_q10(x) > exact - 2, "%u",
                  x);
    }
}

/* Any byte changed: refused, or searched without harm. */
Test(bm25, survives_damage)
{
    struct ruvm_bm25_question q;
    struct ruvm_bm25 b;
    make_texts();
    for (size_t i = 0; i < section.size; i++) {
        uint8_t was = section.data[i];
        for (unsigned change = 1; change < 256; change = change * 4 + 3) {
            struct ruvm_search s = {.k = K};
            struct ruvm_hit hits[K];
            uint64_t memory[K];
            section.data[i] = (uint8_t)(was ^ change);
            if (ruvm_bm25_open(&b, section.data, (uint32_t)section.size, N) != RUVM_OK)
                continue;
            ruvm_bm25_ask(&q, &b, "w1 w50 w99", 10);
            int n = ruvm_bm25_search(&q, &s, memory, sizeof memory, hits);
            cr_assert(n >= 0 && n <= K);
            for (int j = 0; j < n; j++)
                cr_assert_lt(hits[j].id, N);
        }
        section.data[i] = was;
    }
    for (uint32_t n = 0; n < 64; n++)
        cr_expect_eq(ruvm_bm25_open(&b, section.data, n, N), RUVM_ERR_CORRUPT);
    ruvm_buffer_free(&section);
}
