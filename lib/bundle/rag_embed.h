/* Where the vectors of a blob of text come from: its words, those of a table, a file, or a
 * language model.
 *
 *     rc = ruvm_rag_embed_open(&e, "vectors:v.npy", &err);
 *         or "model:m.ruvm", "words:glove.txt", or NULL: words
 *     ... chunks are added ...
 *     rc = ruvm_rag_embed_rows(&e, &lib, &plan, &progress, &err);
 *     ... ruvm_rag_build() ...
 *     ruvm_rag_embed_close(&e);
 */
#ifndef RUVM_BUNDLE_RAG_EMBED_H
#define RUVM_BUNDLE_RAG_EMBED_H

#include "lib/bundle/given.h"
#include "lib/bundle/rag_build.h"
#include "lib/bundle/states.h"
#include "lib/bundle/word_table.h"

struct ruvm_rag_embed {
    uint8_t kind; /* enum ruvm_recipe_kind */
    bool is_said; /* how vectors are made: else as the blob has them */
    const char *path;
    struct ruvm_given given;
    struct ruvm_states *states;
    const struct ruvm_rag *old; /* of rows or a table that are kept, or NULL; borrowed */
    uint32_t dims;
    int32_t *x;      /* [chunks, dims] of states */
    uint8_t *recipe; /* what follows the head of RCPE */
    struct ruvm_rag_rows rows;
    struct ruvm_map map; /* of a table's file */
    struct ruvm_word_table table;
    uint32_t first_words; /* of the file that are kept in any case */
};

/* Opens the file or the model. RUVM_ERR_ARG: it says neither. */
int ruvm_rag_embed_open(struct ruvm_rag_embed *e, const char *embed, struct ruvm_error *err);
void ruvm_rag_embed_close(struct ruvm_rag_embed *e);

/* Whether a blob that is there can be gone on with: NULL, or why not. */
const char *ruvm_rag_embed_refuses(const struct ruvm_rag_embed *e, const struct ruvm_rag *old,
                                   const struct ruvm_recipe *recipe);

/* What the plan needs for these chunks: recipe, dimensions, rows. */
int ruvm_rag_embed_rows(struct ruvm_rag_embed *e, const struct ruvm_library *lib,
                        struct ruvm_rag_plan *plan, const struct ruvm_progress *progress,
                        struct ruvm_error *err);

/* The mean of all states is taken off each: what all texts share tells none from another. */
void ruvm_rag_embed_centre(int32_t *x, uint32_t dims, const uint8_t *recipe);
/* Bytes that follow the head of RCPE. */
uint32_t ruvm_rag_embed_recipe_bytes(uint32_t dims);

#endif
