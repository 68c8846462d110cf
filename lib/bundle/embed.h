/* Embed: what chunks of text weigh, learned from them, and their vectors.
 *
 *     rc = ruvm_embed_learn(&recipe, &options, chunks, n, &err);       the section RCPE
 *     ruvm_recipe_open(&r, recipe.data, ...);
 *     rc = ruvm_embed_chunk(&embedder, x, dims, text, n);
 *
 * The rarer a feature among the chunks, the more it weighs: log2((n + 1) / (chunks that have
 * it + 1/2)). Features that share a bucket weigh what the commonest of them does. In a chunk a
 * feature that is there often counts less than so many times: 1 + log2(count), which a
 * question, being short, does without.
 */
#ifndef RUVM_BUNDLE_EMBED_H
#define RUVM_BUNDLE_EMBED_H

#include "lib/base/buffer.h"
#include "lib/vector/recipe.h"

struct ruvm_error;

struct ruvm_embed_text {
    const char *text;
    uint32_t n;
};

/* The numbers of RCPE; n_buckets 0: as many as there are features, at most `max_buckets`. */
struct ruvm_embed_options {
    struct ruvm_recipe recipe; /* weights are learned; n_buckets is set here */
    uint32_t max_buckets;
};

/* Appends RCPE to out. text(context, i) gives chunk i < n. RUVM_ERR_MEMORY. */
struct ruvm_embed_texts {
    struct ruvm_embed_text (*text)(const void *context, uint32_t i);
    const void *context;
    uint32_t n;
};
int ruvm_embed_learn(struct ruvm_buffer *out, const struct ruvm_embed_options *o,
                     const struct ruvm_embed_texts *texts, struct ruvm_error *err);

/* Appends RCPE of another kind: recipe with the bytes that follow its head, n_buckets of them. */
void ruvm_embed_recipe(struct ruvm_buffer *out, const struct ruvm_recipe *recipe);

/* Features of one text, sorted, each once with its count. */
struct ruvm_embed_feature {
    uint32_t hash;
    uint32_t count; /* twice, and 1 more for a piece of a word */
};
struct ruvm_embedder {
    const struct ruvm_recipe *recipe;
    struct ruvm_embed_feature *features; /* owned */
    size_t n, cap;
    bool failed; /* memory ran short */
};
/* x[dims] of a chunk; RUVM_ERR_MEMORY. A zeroed embedder with a recipe is ready. */
int ruvm_embed_chunk(struct ruvm_embedder *e, int32_t *x, uint32_t dims, const char *text,
                     size_t n);
void ruvm_embedder_free(struct ruvm_embedder *e);

/* Appends BM25 of the chunks to out. RUVM_ERR_MEMORY. */
int ruvm_embed_bm25(struct ruvm_buffer *out, const struct ruvm_embed_texts *texts,
                    struct ruvm_error *err);

#endif
