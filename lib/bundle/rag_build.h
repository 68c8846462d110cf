/* Building a knowledge blob: chunks in, the bytes of a file out. */
#ifndef RUVM_BUNDLE_RAG_BUILD_H
#define RUVM_BUNDLE_RAG_BUILD_H

#include "lib/bundle/embed.h"
#include "lib/bundle/hnsw.h"
#include "lib/bundle/library.h"
#include "lib/bundle/word_table.h"
#include "lib/ruvm_tool.h"

enum {
    RUVM_RAG_DEFAULT_DIMS = 256,
    RUVM_RAG_DEFAULT_BUCKETS = 1 << 14,
    /* Below so many vectors a scan takes tens of microseconds, and a graph would cost bytes
     * and recall for nothing. */
    RUVM_RAG_SCAN_BELOW = 2000,
    RUVM_RAG_GOAL_65535 = 64225, /* 0.98: what a graph finds of what a scan finds */
};

/* Vectors that a recipe does not make by itself: x[dims] of chunk i, of any length. */
struct ruvm_rag_rows {
    int (*row)(void *context, const struct ruvm_library_chunk *chunk, int32_t *x,
               struct ruvm_error *err);
    void *context;
};

/* What is chosen for a blob. */
struct ruvm_rag_plan {
    uint8_t type; /* enum ruvm_vector_type */
    bool words;   /* with BM25 */
    uint32_t dims, max_buckets;
    uint32_t degree;                     /* 0: the smallest that meets the goal */
    struct ruvm_recipe recipe;           /* of the hashed kind all but its weights */
    const struct ruvm_rag_rows *rows;    /* of the kinds that are not made of text alone, or NULL */
    const struct ruvm_word_table *table; /* of that kind, else NULL */
    uint32_t max_words;                  /* of it */
    uint32_t generation;
};

/* The sections on their way; zero it, free it. */
struct ruvm_rag_sections {
    struct ruvm_library_text text;
    struct ruvm_buffer recipe, table, words, vectors, side, graph, book;
    int32_t *exact;   /* [n_exact, dims] the first vectors before they were rounded */
    uint32_t n_exact; /* all, or as many as memory is spent on */
};
void ruvm_rag_sections_free(struct ruvm_rag_sections *s);

/* A library's chunks as texts. */
struct ruvm_embed_texts ruvm_rag_texts(const struct ruvm_library *lib);

/* Builds all sections but the text, and appends the whole file to out, with the figures
 * measured on it. Notes what it did in r. */
int ruvm_rag_build(struct ruvm_buffer *out, const struct ruvm_library *lib,
                   struct ruvm_rag_sections *s, const struct ruvm_rag_plan *plan,
                   const struct ruvm_progress *progress, struct ruvm_rag_add_result *r,
                   struct ruvm_error *err);

/* How a set of vectors answers: measured with questions made of its own chunks. Chooses the
 * smallest ef that meets the goal. */
struct ruvm_rag_measure {
    const struct ruvm_library *lib; /* whose first chunks are those of rag */
    const struct ruvm_recipe *recipe;
    const struct ruvm_rag *rag; /* of a file with all but the figures */
    const int32_t *exact;       /* [n_exact, dims] as in the sections */
    uint32_t n_exact;
};
int ruvm_rag_measure(const struct ruvm_rag_measure *m, struct ruvm_rag_draft *draft,
                     struct ruvm_error *err);

/* The set of a blob with the fastest kernels here, and a question as its query; memory as of
 * ruvm_rag_query_bytes(). */
struct ruvm_vectors ruvm_rag_set(const struct ruvm_rag *rag);
struct ruvm_rag_query {
    struct ruvm_vector_query q;
    _Alignas(16) uint8_t row[RUVM_RAG_MAX_DIMS];
    int32_t x[RUVM_RAG_MAX_DIMS];
};
/* Of q->x, which is there. */
void ruvm_rag_query_of(struct ruvm_rag_query *q, const struct ruvm_vectors *set);

#endif
