/* Embed: features are gathered, sorted and counted; sums are of integers only, so that the
 * same chunks give the same bytes on every machine.
 */
#include "lib/bundle/embed.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/slots.h"
#include "lib/vector/bm25.h"

enum { MIN_BUCKETS = 256, PIECE = 1, ONCE = 2 };

/* ---- the features of a text ----------------------------------------------------------- */

static void gather(void *context, uint32_t hash, bool is_piece)
{
    struct ruvm_embedder *e = context;
    if (e->n == e->cap) {
        size_t cap = 2 * e->cap + 1024;
        void *p = realloc(e->features, cap * sizeof *e->features);
        e->failed = e->failed || !p;
        if (!p)
            return;
        e->features = p;
        e->cap = cap;
    }
    e->features[e->n++] = (struct ruvm_embed_feature){hash, ONCE | (is_piece ? PIECE : 0)};
}

static int compare(const void *a, const void *b)
{
    const struct ruvm_embed_feature *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (int)(x->count & PIECE) - (int)(y->count & PIECE);
}

static bool same(const struct ruvm_embed_feature *a, const struct ruvm_embed_feature *b)
{
    return a->hash == b->hash && (a->count & PIECE) == (b->count & PIECE);
}

/* Features of the text, ascending, each once. */
static int features_of(struct ruvm_embedder *e, const char *text, size_t n)
{
    size_t kept = 0;
    e->n = 0;
    ruvm_recipe_features(e->recipe, text, n, gather, e);
    if (e->failed)
        return RUVM_ERR_MEMORY;
    if (e->n)
        qsort(e->features, e->n, sizeof *e->features, compare);
    for (size_t i = 0; i < e->n; i++) {
        if (kept && same(&e->features[kept - 1], &e->features[i]))
            e->features[kept - 1].count += ONCE;
        else
            e->features[kept++] = e->features[i];
    }
    e->n = kept;
    return RUVM_OK;
}

void ruvm_embedder_free(struct ruvm_embedder *e)
{
    free(e->features);
    *e = (struct ruvm_embedder){0};
}

int ruvm_embed_chunk(struct ruvm_embedder *e, int32_t *x, uint32_t dims, const char *text, size_t n)
{
    int rc = features_of(e, text, n);
    memset(x, 0, dims * sizeof *x);
    for (size_t i = 0; rc == RUVM_OK && i < e->n; i++) {
        const struct ruvm_embed_feature *f = &e->features[i];
        uint32_t weight = ruvm_recipe_weight(e->recipe, f->hash, f->count & PIECE);
        uint32_t times_q10 = 1024 + ruvm_bm25_log2_q10(f->count / ONCE);
        ruvm_recipe_add(x, dims, f->hash, (int32_t)(weight * times_q10 >> 10));
    }
    return rc;
}

/* ---- weights ------------------------------------------------------------------------------ */

/* A word and a piece may share a hash. */
static uint64_t key_of(const struct ruvm_embed_feature *f)
{
    return (uint64_t)(f->count & PIECE) << 32 | f->hash;
}

/* Counts a chunk for each of its features. */
static bool count_text(struct ruvm_slots *counts, const struct ruvm_embedder *e)
{
    for (size_t i = 0; i < e->n; i++) {
        struct ruvm_slot *slot = ruvm_slots_take(counts, key_of(&e->features[i]));
        if (!slot)
            return false;
        slot->n++;
    }
    return true;
}

static int count_all(struct ruvm_slots *counts, const struct ruvm_recipe *recipe,
                     const struct ruvm_embed_texts *texts)
{
    struct ruvm_embedder e = {.recipe = recipe};
    int rc = RUVM_OK;
    for (uint32_t i = 0; rc == RUVM_OK && i < texts->n; i++) {
        struct ruvm_embed_text t = texts->text(texts->context, i);
        rc = features_of(&e, t.text, t.n);
        if (rc == RUVM_OK && !count_text(counts, &e))
            rc = RUVM_ERR_MEMORY;
    }
    ruvm_embedder_free(&e);
    return rc;
}

static uint32_t buckets_for(size_t n_features, uint32_t max)
{
    uint32_t n = MIN_BUCKETS;
    while (n < n_features && n < max)
        n *= 2;
    return n < max ? n : max;
}

static uint8_t weight_of(uint32_t n_chunks, uint32_t chunks)
{
    uint32_t q4 = ruvm_bm25_idf(n_chunks, chunks) >> 6;
    return (uint8_t)(q4 < 1 ? 1 : q4 > 255 ? 255 : q4);
}

static void write_head(struct ruvm_buffer *out, const struct ruvm_recipe *r)
{
    ruvm_buffer_u8(out, r->kind);
    ruvm_buffer_u8(out, r->gram);
    ruvm_buffer_u8(out, r->gram_weight);
    ruvm_buffer_u8(out, r->rank);
    ruvm_buffer_u8(out, r->share);
    ruvm_buffer_u8(out, r->floor);
    ruvm_buffer_u16(out, r->chunk);
    ruvm_buffer_u16(out, r->overlap);
    ruvm_buffer_u8(out, r->split);
    ruvm_buffer_u8(out, 0);
    ruvm_buffer_u32(out, r->n_buckets);
}

void ruvm_embed_recipe(struct ruvm_buffer *out, const struct ruvm_recipe *recipe)
{
    write_head(out, recipe);
    ruvm_buffer_bytes(out, recipe->weights, recipe->n_buckets);
}

int ruvm_embed_learn(struct ruvm_buffer *out, const struct ruvm_embed_options *o,
                     const struct ruvm_embed_texts *texts, struct ruvm_error *err)
{
    struct ruvm_slots counts = {0};
    struct ruvm_recipe r = o->recipe;
    int rc = count_all(&counts, &r, texts);
    if (rc == RUVM_OK) {
        r.n_buckets = buckets_for(counts.used, o->max_buckets);
        write_head(out, &r);
        uint8_t *weights = ruvm_buffer_zeros(out, r.n_buckets);
        for (uint32_t i = 0; weights && i < r.n_buckets; i++)
            weights[i] = weight_of(texts->n, 0);
        for (size_t i = 0; weights && i < counts.cap; i++) {
            const struct ruvm_slot *slot = &counts.slot[i];
            uint8_t weight = weight_of(texts->n, slot->n);
            uint8_t *bucket = &weights[slot->key & (r.n_buckets - 1)];
            *bucket = slot->n && weight < *bucket ? weight : *bucket;
        }
    }
    ruvm_slots_free(&counts);
    if (rc == RUVM_OK && !ruvm_buffer_ok(out))
        rc = RUVM_ERR_MEMORY;
    return rc == RUVM_OK ? rc
                         : ruvm_fail(err, rc, "no memory for the weights of %u chunks", texts->n);
}
