/* kNN-LM: integers against doubles, and what is refused. */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/rag_write.h"
#include "lib/base/bytes.h"
#include "lib/base/random.h"
#include "lib/vector/distance.h"
#include "lib/vector/knn.h"

enum { N = 200, DIMS = 24, ROW = 32, VOCAB = 50, K = 16 };

static _Alignas(64) uint8_t rows[N * ROW];
static uint8_t recipe[RUVM_RCPE_WEIGHTS + RUVM_RCPE_MODEL_BYTES];
static uint64_t state = 7;
static uint64_t memory[4096];

static int32_t draw(int32_t most)
{
    return (int32_t)(ruvm_random_next(&state) % (2u * (uint32_t)most + 1)) - most;
}

/* A blob whose chunk i is token i % `tokens`. */
static void make_blob(struct ruvm_buffer *file, struct ruvm_rag *rag, uint8_t kind, uint32_t tokens)
{
    struct ruvm_buffer side = {0}, chunks = {0}, text = {0}, sources = {0}, strings = {0};
    struct ruvm_rag_draft d = {
        .metric = RUVM_METRIC_COSINE, .dims = DIMS, .n = N, .n_sources = 1, .unit = 1};
    const struct ruvm_rag_write_source source = {ruvm_rag_write_string(&strings, "s", 1),
                                                 RUVM_RAG_NONE, 0, 0};
    ruvm_rag_write_source(&sources, &source);
    for (uint32_t i = 0; i < N; i++) {
        int32_t x[DIMS];
        for (uint32_t k = 0; k < DIMS; k++)
            x[k] = draw(1000) + (k == i % 8 ? 2000 : 0);
        ruvm_vectors_quantize((int8_t *)rows + i * ROW, x, DIMS, ROW);
        ruvm_buffer_u16(&side, ruvm_vectors_inverse(ruvm_vectors_norm2(rows + i * ROW, ROW)));
        const struct ruvm_rag_write_chunk c = {(uint32_t)text.size, 2, 0, RUVM_RAG_NONE, 0};
        ruvm_rag_write_chunk(&chunks, &c);
        ruvm_buffer_u16(&text, (uint16_t)(i % tokens));
    }
    memset(recipe, 0, sizeof recipe);
    recipe[RUVM_RCPE_KIND] = kind;
    ruvm_store_u32(recipe + RUVM_RCPE_BUCKETS, kind ? RUVM_RCPE_MODEL_BYTES : 0);
    d.part[RUVM_RAG_VECT] = (struct ruvm_rag_part){rows, sizeof rows};
    d.part[RUVM_RAG_SIDE] = (struct ruvm_rag_part){side.data, (uint32_t)side.size};
    d.part[RUVM_RAG_CHNK] = (struct ruvm_rag_part){chunks.data, (uint32_t)chunks.size};
    d.part[RUVM_RAG_TEXT] = (struct ruvm_rag_part){text.data, (uint32_t)text.size};
    d.part[RUVM_RAG_SRCE] = (struct ruvm_rag_part){sources.data, (uint32_t)sources.size};
    d.part[RUVM_RAG_STRS] = (struct ruvm_rag_part){strings.data, (uint32_t)strings.size};
    d.part[RUVM_RAG_RCPE] = (struct ruvm_rag_part){
        recipe, RUVM_RCPE_WEIGHTS + (kind ? (uint32_t)RUVM_RCPE_MODEL_BYTES : 0)};
    cr_assert_eq(ruvm_rag_write(file, &d), RUVM_OK);
    cr_assert_eq(ruvm_rag_open(rag, file->data, file->size, NULL), RUVM_OK);
    cr_assert_eq(ruvm_rag_check(rag, NULL), RUVM_OK);
    struct ruvm_buffer *const all[] = {&side, &chunks, &text, &sources, &strings};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ruvm_buffer_free(all[i]);
}

static void softmax(const int32_t *logits, double *p)
{
    double best = -1e9, sum = 0;
    for (uint32_t i = 0; i < VOCAB; i++)
        best = fmax(best, logits[i] / 65536.0);
    for (uint32_t i = 0; i < VOCAB; i++)
        sum += p[i] = exp(logits[i] / 65536.0 - best);
    for (uint32_t i = 0; i < VOCAB; i++)
        p[i] /= sum;
}

/* The formula in doubles, from the codes of blob and query. */
static void reference(const struct ruvm_knn *knn, const int32_t *x, const int32_t *logits,
                      double *p)
{
    _Alignas(16) int8_t row[ROW];
    struct ruvm_vector_query q;
    struct ruvm_hit hits[K];
    struct ruvm_search s = {.k = knn->k};
    double votes[VOCAB] = {0}, all = 0, share = knn->share_q16 / 65536.0, nearest = 0;
    ruvm_vectors_quantize(row, x, DIMS, ROW);
    ruvm_vectors_query(&q, &knn->set, row, NULL);
    int n = ruvm_search_scan(&knn->set, &q, &s, memory, sizeof memory, hits);
    for (int i = 0; i < n; i++) {
        double dot = 0, a = 0, b = 0;
        const int8_t *y = (const int8_t *)rows + hits[i].id * ROW;
        for (uint32_t k = 0; k < DIMS; k++) {
            dot += row[k] * y[k];
            a += row[k] * row[k];
            b += y[k] * y[k];
        }
        double square = 2 * (1 - dot / sqrt(a * b));
        nearest = i ? nearest : square;
        double vote = exp((nearest - square) / (knn->spread_q16 / 65536.0));
        uint32_t token =
            ruvm_load_u16((const uint8_t *)ruvm_rag_chunk(knn->rag, hits[i].id).text.text);
        all += token < VOCAB ? vote : 0;
        if (token < VOCAB)
            votes[token] += vote;
    }
    softmax(logits, p);
    for (uint32_t i = 0; i < VOCAB && all > 0; i++)
        p[i] = (1 - share) * p[i] + share * votes[i] / all;
}

Test(knn, mixes_as_the_formula_says)
{
    static const uint32_t shares[] = {655, 16384, 32768, RUVM_KNN_MAX_SHARE};
    static const uint32_t spreads[] = {1311, 3277, 65536};
    struct ruvm_buffer file = {0};
    struct ruvm_rag rag;
    struct ruvm_knn knn;
    double worst = 0;
    make_blob(&file, &rag, RUVM_RECIPE_NEXT, 60); /* tokens 50 to 59 have no vote */
    cr_assert_eq(ruvm_knn_open(&knn, &rag, NULL), RUVM_OK);
    knn.k = K;
    cr_assert_leq(ruvm_knn_bytes(&knn), sizeof memory);
    for (int round = 0; round < 300; round++) {
        int32_t x[DIMS], logits[VOCAB], mixed[VOCAB];
        double expected[VOCAB], found[VOCAB];
        for (uint32_t k = 0; k < DIMS; k++)
            x[k] = draw(1000) + (k == (uint32_t)round % 8 ? 2000 : 0);
        for (uint32_t i = 0; i < VOCAB; i++)
            mixed[i] = logits[i] = draw(round % 3 ? 65536 * 4 : 65536 * 30);
        knn.share_q16 = shares[round % 4];
        knn.spread_q16 = spreads[round / 4 % 3];
        reference(&knn, x, logits, expected);
        int n = ruvm_knn_mix(&knn, x, mixed, VOCAB, memory, sizeof memory);
        cr_assert(n > 0 && n <= K, "%d", n);
        softmax(mixed, found);
        for (uint32_t i = 0; i < VOCAB; i++) {
            worst = fmax(worst, fabs(found[i] - expected[i]));
            cr_expect(mixed[i] >= logits[i], "no logit falls");
        }
    }
    cr_log_info("largest difference of a probability: %.2e", worst);
    cr_expect_lt(worst, 2.5e-3); /* distances of 2^-16 over a spread of 0.02 */
    ruvm_buffer_free(&file);
}

Test(knn, share_of_nothing_changes_nothing)
{
    struct ruvm_buffer file = {0};
    struct ruvm_rag rag;
    struct ruvm_knn knn;
    int32_t x[DIMS] = {1}, logits[VOCAB], mixed[VOCAB];
    make_blob(&file, &rag, RUVM_RECIPE_NEXT, VOCAB);
    cr_assert_eq(ruvm_knn_open(&knn, &rag, NULL), RUVM_OK);
    for (uint32_t i = 0; i < VOCAB; i++)
        mixed[i] = logits[i] = draw(65536 * 8);
    knn.share_q16 = 0;
    cr_expect_gt(ruvm_knn_mix(&knn, x, mixed, VOCAB, memory, sizeof memory), 0);
    cr_expect_arr_eq(mixed, logits, sizeof logits);
    ruvm_buffer_free(&file);
}

Test(knn, refuses_what_it_cannot_do)
{
    struct ruvm_buffer file = {0}, other = {0};
    struct ruvm_rag rag, given;
    struct ruvm_knn knn;
    int32_t x[DIMS] = {1}, logits[VOCAB] = {0};
    make_blob(&other, &given, RUVM_RECIPE_NONE, VOCAB);
    cr_expect_eq(ruvm_knn_open(&knn, &given, NULL), RUVM_ERR_UNSUPPORTED);
    make_blob(&file, &rag, RUVM_RECIPE_NEXT, VOCAB);
    cr_assert_eq(ruvm_knn_open(&knn, &rag, NULL), RUVM_OK);
    cr_expect_eq(ruvm_knn_mix(&knn, x, logits, VOCAB, memory, ruvm_knn_bytes(&knn) - 1),
                 RUVM_ERR_MEMORY);
    struct ruvm_knn bad[] = {knn, knn, knn, knn};
    bad[0].k = 0;
    bad[1].k = RUVM_KNN_MAX_K + 1;
    bad[2].spread_q16 = 0;
    bad[3].share_q16 = 65536;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(ruvm_knn_mix(&bad[i], x, logits, VOCAB, memory, sizeof memory), RUVM_ERR_ARG,
                     "%zu", i);
    ruvm_buffer_free(&file);
    ruvm_buffer_free(&other);
}
