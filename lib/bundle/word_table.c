/* Word table: words counted, vectors centred, rows rounded, in the order of their hashes.
 *
 * What all word vectors of a table share tells no text from another, and it is much of them: their
 * mean and the direction in which they differ most are taken off ("All-but-the-top", Mu and
 * Viswanath 2018). As sums of vectors are linear, that is done here once and costs a question
 * nothing. It needs no texts, of which a blob may have few, as the common part of these would. Sums
 * of floats are in a fixed order, so that the same file gives the same bytes.
 */
#include "lib/bundle/word_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ragtext_layout.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/vector/bm25.h"
#include "lib/vector/words.h"

enum { TOP_CODE = 127, TOP_UNIT = 65535, ROUNDS = 24, MAX_WEIGHT = 255 };

void ruvm_word_table_free(struct ruvm_word_table *w)
{
    ruvm_word_vectors_free(&w->words);
    free(w->n_texts);
    ruvm_slots_free(&w->counted);
    *w = (struct ruvm_word_table){0};
}

static int fail_memory(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a table of words");
}

/* ---- words of the texts ------------------------------------------------------------------- */

static bool count_text(struct ruvm_word_table *w, struct ruvm_embed_text text, uint32_t number)
{
    uint32_t n = text.n < RUVM_RECIPE_MAX_TEXT ? text.n : RUVM_RECIPE_MAX_TEXT;
    struct ruvm_words words = ruvm_words_over(text.text, n);
    while (ruvm_words_next(&words)) {
        uint32_t hash = ruvm_words_hash(RUVM_WORD_SEED, words.word, words.n_word);
        struct ruvm_slot *slot = ruvm_slots_take(&w->counted, hash);
        if (!slot)
            return false;
        slot->n += slot->n == 0 || slot->last != number;
        slot->last = number;
    }
    return true;
}

static int count_texts(struct ruvm_word_table *w, const struct ruvm_embed_texts *texts,
                       struct ruvm_error *err)
{
    *w = (struct ruvm_word_table){.texts = texts->n};
    bool ok = true;
    for (uint32_t i = 0; ok && i < texts->n; i++)
        ok = count_text(w, texts->text(texts->context, i), i);
    return ok ? RUVM_OK : fail_memory(err);
}

/* Notes how many texts have each word of the table. */
static int match(struct ruvm_word_table *w, struct ruvm_error *err)
{
    w->n_texts = calloc((size_t)w->words.n + 1, sizeof *w->n_texts);
    if (!w->n_texts)
        return fail_memory(err);
    w->n_unknown = (uint32_t)w->counted.used;
    for (uint32_t i = 0; i < w->words.n; i++) {
        const struct ruvm_slot *slot = ruvm_slots_find(&w->counted, w->words.hashes[i]);
        w->n_texts[i] = slot ? slot->n : 0;
        w->n_unknown -= slot != NULL;
    }
    return RUVM_OK;
}

/* ---- what all share --------------------------------------------------------------------- */

static void take_off_mean(struct ruvm_word_vectors *t, double *mean)
{
    memset(mean, 0, t->dims * sizeof *mean);
    for (uint32_t i = 0; i < t->n; i++)
        for (uint32_t d = 0; d < t->dims; d++)
            mean[d] += (double)t->v[(size_t)i * t->dims + d] / t->n;
    for (uint32_t i = 0; i < t->n; i++)
        for (uint32_t d = 0; d < t->dims; d++)
            t->v[(size_t)i * t->dims + d] -= (float)mean[d];
}

static double dot(const float *v, const double *u, uint32_t dims)
{
    double sum = 0;
    for (uint32_t d = 0; d < dims; d++)
        sum += (double)v[d] * u[d];
    return sum;
}

static bool normalize(double *u, uint32_t dims)
{
    double square = 0;
    for (uint32_t d = 0; d < dims; d++)
        square += u[d] * u[d];
    for (uint32_t d = 0; square > 0 && d < dims; d++)
        u[d] /= sqrt(square);
    return square > 0;
}

/* The direction in which rows differ most, by the power method; false: in none. */
static bool find_direction(const struct ruvm_word_vectors *t, double *u, double *next)
{
    for (uint32_t d = 0; d < t->dims; d++)
        u[d] = 1 + d % 3;
    for (int round = 0; round < ROUNDS; round++) {
        memset(next, 0, t->dims * sizeof *next);
        for (uint32_t i = 0; i < t->n; i++) {
            const float *v = t->v + (size_t)i * t->dims;
            double along = dot(v, u, t->dims);
            for (uint32_t d = 0; d < t->dims; d++)
                next[d] += along * (double)v[d];
        }
        if (!normalize(next, t->dims))
            return false;
        memcpy(u, next, t->dims * sizeof *u);
    }
    return true;
}

static void take_off_common(struct ruvm_word_vectors *t)
{
    double u[RUVM_RAG_MAX_DIMS], next[RUVM_RAG_MAX_DIMS];
    take_off_mean(t, next);
    if (!find_direction(t, u, next))
        return;
    for (uint32_t i = 0; i < t->n; i++) {
        float *v = t->v + (size_t)i * t->dims;
        double along = dot(v, u, t->dims);
        for (uint32_t d = 0; d < t->dims; d++)
            v[d] -= (float)(along * u[d]);
    }
}

/* Rows of length 1: how long word vectors are says how often words are, which weights say. */
static void make_equal(struct ruvm_word_vectors *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        float *v = t->v + (size_t)i * t->dims;
        double square = 0;
        for (uint32_t d = 0; d < t->dims; d++)
            square += (double)v[d] * (double)v[d];
        for (uint32_t d = 0; square > 0 && d < t->dims; d++)
            v[d] = (float)((double)v[d] / sqrt(square));
    }
}

/* ---- in ------------------------------------------------------------------------------------- */

static bool has_word(const void *context, uint32_t hash)
{
    const struct ruvm_word_table *w = context;
    return ruvm_slots_find(&w->counted, hash) != NULL;
}

int ruvm_word_table_read(struct ruvm_word_table *w, const struct ruvm_word_table_source *source,
                         const struct ruvm_embed_texts *texts, const struct ruvm_progress *progress,
                         struct ruvm_error *err)
{
    const struct ruvm_word_vectors_wanted wanted = {.first = source->first,
                                                    .wants = has_word,
                                                    .context = w,
                                                    .map = source->map,
                                                    .progress = progress};
    int rc = count_texts(w, texts, err);
    if (rc == RUVM_OK)
        rc = ruvm_word_vectors_parse(&w->words, source->name, source->map->data, source->map->size,
                                     &wanted, err);
    if (rc == RUVM_OK)
        rc = match(w, err);
    if (rc == RUVM_OK) {
        take_off_common(&w->words);
        make_equal(&w->words);
    }
    if (rc != RUVM_OK)
        ruvm_word_table_free(w);
    return rc;
}

int ruvm_word_table_load(struct ruvm_word_table *w, const struct ruvm_rag *rag,
                         const struct ruvm_embed_texts *texts, struct ruvm_error *err)
{
    const uint8_t *section = rag->part[RUVM_RAG_WORD].data;
    uint32_t n = ruvm_load_u32(section + RUVM_WORD_N), dims = rag->dims;
    const uint8_t *hashes = section + RUVM_WORD_HASHES, *units = hashes + (size_t)n * 4;
    const int8_t *codes = (const int8_t *)units + (size_t)n * 2;
    int rc = count_texts(w, texts, err);
    w->words = (struct ruvm_word_vectors){.n = n, .dims = dims, .n_entries = n};
    w->words.hashes = calloc((size_t)n + 1, sizeof *w->words.hashes);
    w->words.v = calloc((size_t)n * dims + 1, sizeof *w->words.v);
    if (rc == RUVM_OK && !(w->words.hashes && w->words.v))
        rc = fail_memory(err);
    for (uint32_t i = 0; rc == RUVM_OK && i < n; i++) {
        w->words.hashes[i] = ruvm_load_u32(hashes + (size_t)i * 4);
        for (uint32_t d = 0; d < dims; d++)
            w->words.v[(size_t)i * dims + d] =
                (float)(codes[(size_t)i * dims + d] * ruvm_load_u16(units + (size_t)i * 2));
    }
    if (rc == RUVM_OK)
        rc = match(w, err);
    if (rc != RUVM_OK)
        ruvm_word_table_free(w);
    return rc;
}

/* ---- out ------------------------------------------------------------------------------------- */

/* A word on its way into the section. */
struct row {
    uint32_t hash, word, n_texts;
};

static int by_worth(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->n_texts != y->n_texts)
        return x->n_texts > y->n_texts ? -1 : 1;
    return x->word < y->word ? -1 : x->word > y->word;
}

static int by_hash(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static double largest_of(const struct ruvm_word_vectors *t, uint32_t i)
{
    double most = 0;
    for (uint32_t d = 0; d < t->dims; d++)
        most = fmax(most, fabs((double)t->v[(size_t)i * t->dims + d]));
    return most;
}

/* The rows that go in, in the order of the section. */
static struct row *choose(const struct ruvm_word_table *w, uint32_t n)
{
    struct row *rows = calloc((size_t)w->words.n + 1, sizeof *rows);
    for (uint32_t i = 0; rows && i < w->words.n; i++)
        rows[i] = (struct row){w->words.hashes[i], i, w->n_texts[i]};
    if (rows && n < w->words.n)
        qsort(rows, w->words.n, sizeof *rows, by_worth);
    if (rows)
        qsort(rows, n, sizeof *rows, by_hash);
    return rows;
}

static void put_vectors(const struct ruvm_word_vectors *t, const struct row *rows, uint32_t n,
                        struct ruvm_buffer *out)
{
    double most = 0;
    for (uint32_t i = 0; i < n; i++)
        most = fmax(most, largest_of(t, rows[i].word));
    for (uint32_t i = 0; i < n; i++) {
        double own = largest_of(t, rows[i].word);
        ruvm_buffer_u16(out, (uint16_t)(most > 0 ? lround(own / most * TOP_UNIT) : 0));
    }
    for (uint32_t i = 0; i < n; i++) {
        const float *v = t->v + (size_t)rows[i].word * t->dims;
        double own = largest_of(t, rows[i].word);
        for (uint32_t d = 0; d < t->dims; d++)
            ruvm_buffer_u8(out, (uint8_t)(own > 0 ? lround((double)v[d] / own * TOP_CODE) : 0));
    }
}

static uint8_t weight_of(uint32_t texts, uint32_t n)
{
    uint32_t q4 = ruvm_bm25_idf(texts, n) >> 6;
    return (uint8_t)(q4 < 1 ? 1 : q4 > MAX_WEIGHT ? MAX_WEIGHT : q4);
}

int ruvm_word_table_write(const struct ruvm_word_table *w, const struct ruvm_recipe *recipe,
                          uint32_t max_words, struct ruvm_buffer *rcpe, struct ruvm_buffer *word,
                          struct ruvm_error *err)
{
    uint32_t n = w->words.n < max_words ? w->words.n : max_words;
    struct row *rows = choose(w, n);
    uint8_t *weights = malloc((size_t)n + 1);
    struct ruvm_recipe r = *recipe;
    r.n_buckets = n;
    r.weights = weights;
    if (rows && weights) {
        ruvm_buffer_u32(word, n);
        ruvm_buffer_u16(word, (uint16_t)w->words.dims);
        ruvm_buffer_u16(word, 0);
        for (uint32_t i = 0; i < n; i++) {
            ruvm_buffer_u32(word, rows[i].hash);
            weights[i] = weight_of(w->texts, rows[i].n_texts);
        }
        put_vectors(&w->words, rows, n, word);
        ruvm_embed_recipe(rcpe, &r);
    }
    bool ok = rows && weights && ruvm_buffer_ok(word) && ruvm_buffer_ok(rcpe);
    free(rows);
    free(weights);
    return ok ? RUVM_OK : fail_memory(err);
}
