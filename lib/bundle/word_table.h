/* Word table: section WORD of a blob and the weights of its words.
 *
 *     rc = ruvm_word_table_read(&w, &source, &texts, &progress, &err);     of a file
 *     rc = ruvm_word_table_load(&w, &rag, &texts, &err);                   or of a blob
 *     rc = ruvm_word_table_write(&w, &recipe, max_words, &rcpe, &word, &err);
 *     ruvm_word_table_free(&w);
 *
 * The rarer a word among the texts, the more it weighs, as in embed.h.
 */
#ifndef RUVM_BUNDLE_WORD_TABLE_H
#define RUVM_BUNDLE_WORD_TABLE_H

#include "lib/base/file.h"
#include "lib/bundle/embed.h"
#include "lib/bundle/slots.h"
#include "lib/bundle/word_vectors.h"

struct ruvm_word_table {
    struct ruvm_word_vectors words;
    uint32_t *n_texts;         /* [words.n] that have the word; owned */
    struct ruvm_slots counted; /* by a word of the texts: n of them have it, `last` the last */
    uint32_t n_unknown;        /* words of the texts without a vector */
    uint32_t texts;
};

struct ruvm_word_table_source {
    const char *name; /* for messages */
    const struct ruvm_map *map;
    uint32_t first; /* words from its beginning that are kept, besides those of the texts */
};
int ruvm_word_table_read(struct ruvm_word_table *w, const struct ruvm_word_table_source *source,
                         const struct ruvm_embed_texts *texts, const struct ruvm_progress *progress,
                         struct ruvm_error *err);
/* The table that a blob has, whose recipe is of that kind. */
int ruvm_word_table_load(struct ruvm_word_table *w, const struct ruvm_rag *rag,
                         const struct ruvm_embed_texts *texts, struct ruvm_error *err);
void ruvm_word_table_free(struct ruvm_word_table *w);

/* Appends WORD with at most max_words words, those of most texts before those that come first in
 * the file, and RCPE: recipe with their weights. RUVM_ERR_MEMORY. */
int ruvm_word_table_write(const struct ruvm_word_table *w, const struct ruvm_recipe *recipe,
                          uint32_t max_words, struct ruvm_buffer *rcpe, struct ruvm_buffer *word,
                          struct ruvm_error *err);

#endif
