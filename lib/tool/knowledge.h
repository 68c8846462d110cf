/* Knowledge blobs: ruvm_rag_add(), and asking one.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_KNOWLEDGE_H
#define RUVM_TOOL_KNOWLEDGE_H

#include "session.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ruvm_rag_add_options {
    const char *blob;           /* made when it is not there */
    const char *const *sources; /* files; each replaces the source of its name */
    uint32_t n_sources;
    const char *stdin_name;     /* what a source /dev/stdin is called; NULL: "stdin" */
    const char *format;         /* "text", "markdown", "csv", "jsonl"; NULL: by the name's ending */
    const char *const *deletes; /* names of sources to take out, before anything is added */
    uint32_t n_deletes;
    const char *const *metas; /* "KEY=VALUE", kept with each source that is added */
    uint32_t n_metas;
    uint64_t ttl_s;         /* chunks that are added expire after so many seconds; 0: never */
    uint32_t now_s;         /* seconds since 1970, what has expired by then goes; 0: the clock's */
    uint32_t chunk_bytes;   /* 0: the blob's, or 600 */
    bool has_overlap;       /* else the blob's, or a sixth of a chunk */
    uint32_t overlap_bytes; /* at most half of a chunk */
    const char *split;      /* "sentence", "heading", "size"; NULL: the blob's, or sentence */
    bool keep_duplicates;   /* chunks whose text is there already are added all the same */
    const char *type;       /* of vectors: "int8", "binary"; NULL: the blob's, or int8 */
    uint32_t dims;          /* 0: the blob's, or 256 */
    uint32_t degree;        /* links of a vector in the graph; 0: the smallest of 8 to 32
                             * with which a walk finds 98 % of what a scan does */
    bool no_words;          /* without BM25 */
    const char *rank;       /* "sum", "reciprocal", "words", "vectors"; NULL: the blob's */
    uint64_t budget_bytes;  /* of the file: the best that fits; 0: no limit */
    bool dry_run;           /* nothing is written */
    const char *memory;     /* "factual", "episodic", "procedural", "preference": what is added
                             * is a memory of now; NULL: plain text, which lasts */
    bool has_importance;    /* else 50 */
    uint32_t importance;    /* of what is added, 0..100 */
    const char *embed;      /* where vectors come from: "words", hashed; "words:FILE", sums of those
                             * of a table of word vectors; "vectors:FILE", a .npy or JSONL file
                             * with one a text; "model:MODEL", means of a language model's states;
                             * NULL: words, or as the blob has them */
    bool has_table_words;   /* else 10,000 */
    uint32_t table_words;   /* of a table the first so many, besides those of the texts */
    const char *knn_model;  /* image, or "demo": the sources become its states and the tokens that
                             * came next, for ruvm_session_options.knn; alone */
    bool documents;         /* with knn_model: sources hold documents separated by <|end|> lines */
    const char *taxonomy;   /* CSV of parents and children, whose tree becomes the blob; alone */
    struct ruvm_progress progress;
};

/* How much of a tree the distances of an embedding tell; measured on its codes. */
struct ruvm_taxonomy_quality {
    uint32_t dims, vector_bytes; /* vector_bytes: a node, with what stands beside its codes */
    uint32_t n_queries;          /* nodes that were asked for the MAP: all, or 1,000 */
    double map;                  /* mean average precision of parents and children */
    double average_distortion;   /* mean |scaled distance / edges - 1| */
    double worst_distortion;     /* largest distance / edges over the smallest; 0: two nodes
                                  * share a place */
};
struct ruvm_taxonomy_report {
    uint32_t n_nodes, n_levels, max_children; /* n_nodes 0: it was no taxonomy */
    struct ruvm_taxonomy_quality hyperbolic, euclidean;
};

struct ruvm_rag_add_result {
    struct ruvm_taxonomy_report taxonomy;
    uint32_t n_sources, n_chunks;                         /* in the blob now */
    uint32_t n_added, n_removed, n_expired, n_duplicates; /* chunks */
    uint32_t n_empty;                                     /* sources that gave no chunk */
    uint64_t n_bad_bytes;                                 /* of sources, that are no UTF-8: kept */
    uint32_t dims, chunk_bytes, overlap_bytes;
    const char *type, *rank, *split;
    uint32_t degree, ef; /* 0: no graph, every search looks at all */
    uint64_t text_bytes, vector_bytes, graph_bytes, word_bytes, recipe_bytes, table_bytes;
    uint64_t file_bytes;
    uint32_t n_table_words;                 /* in the blob; 0: it has no table of word vectors */
    bool is_old_table;                      /* the one that the blob had */
    uint32_t n_text_words, n_unknown_words; /* different words of the texts, with a table, and those
                                             * that it lacked */
    uint32_t n_queries;               /* that the recalls were measured with; 0: they were not */
    double recall_code, recall_graph; /* at 10: codes against integers before rounding, graph
                                       * against a scan; measured */
    uint32_t distances;               /* that a search computes, their mean; measured */
    double seconds;                   /* measured */
};

/* Adds, replaces, deletes; the file appears whole or stays as it was. RUVM_ERR_IO: another
 * process is at it. */
int ruvm_rag_add(const struct ruvm_rag_add_options *o, struct ruvm_rag_add_result *r,
                 struct ruvm_error *err);

/* An opened blob, or the one in a pack, to be asked. */
struct ruvm_knowledge;
int ruvm_knowledge_open(struct ruvm_knowledge **k, const char *path, struct ruvm_error *err);
void ruvm_knowledge_close(struct ruvm_knowledge *k);

struct ruvm_knowledge_info {
    uint32_t n_chunks, n_sources, dims;
    const char *type, *rank;
    double floor;                     /* confidence below which it does not know */
    uint64_t file_bytes, query_bytes; /* query_bytes: memory that a search works in */
    bool has_words, has_recipe;       /* recipe: text becomes a vector here and now */
    const char *embed; /* "words", "vectors": they were given, "model", "next": for --knn,
                        * "table": of words */
};
struct ruvm_knowledge_info ruvm_knowledge_info(const struct ruvm_knowledge *k);

/* Vectors of the blob that are states of a language model need it to become those of questions:
 * opens it, and refuses another one with RUVM_ERR_MISMATCH. Nothing to do for other blobs. */
int ruvm_knowledge_use_model(struct ruvm_knowledge *k, const char *model, struct ruvm_error *err);

/* The one vector of a file as of ruvm_rag_add_options.embed, to be freed. */
int ruvm_knowledge_read_vector(float **v, uint32_t *n, const char *path, struct ruvm_error *err);

struct ruvm_knowledge_source {
    const char *name, *meta; /* meta: a JSON object, or NULL; neither ends with NUL */
    uint32_t n_name, n_meta;
    uint32_t bytes, crc32, n_chunks;
};
/* Source i < n_sources. */
struct ruvm_knowledge_source ruvm_knowledge_source(const struct ruvm_knowledge *k, uint32_t i);

struct ruvm_knowledge_ask {
    const char *question; /* any bytes */
    size_t n_bytes;
    uint32_t k;                  /* 0: 3; at most 1000 */
    const char *rank;            /* NULL: the blob's */
    bool exact;                  /* compare with all vectors, whatever the graph says */
    uint32_t now_s;              /* chunks that have expired are not found; 0: the clock's */
    const char *const *contexts; /* "KEY=VALUE": chunks that say so in their metadata are worth
                                  * more, those with another value less; at most 8 */
    uint32_t n_contexts;
    const float *vector; /* [n_vector] of the question, in place of what the blob would make of
                          * its words; NULL: none. n_vector is the blob's dims */
    uint32_t n_vector;
};
struct ruvm_knowledge_hit {
    uint32_t chunk;
    double score;      /* compares within one answer; times the weight */
    double weight;     /* of importance, age and context (lib/memory/traits.h); 1 without */
    double confidence; /* share of the question, weighed, whose words are there, 0..1; of a
                        * blob without words, or by vectors alone, the cosine */
    const char *text, *source, *meta; /* in the blob; meta NULL: none; no NUL at their ends */
    uint32_t n_text, n_source, n_meta;
};
/* Chunk i < n_chunks with score and confidence 0; false: it was deleted. */
bool ruvm_knowledge_chunk(const struct ruvm_knowledge *k, uint32_t i,
                          struct ruvm_knowledge_hit *hit);
/* Whether two hits leave open which is meant: the second's score is more than 4/5 of the
 * first's. */
bool ruvm_knowledge_is_ambiguous(const struct ruvm_knowledge_hit *hits, uint32_t n_hits);
/* The hits, best first, at most k; returns their number. RUVM_ERR_ARG: a context is none. */
int ruvm_knowledge_ask(struct ruvm_knowledge *k, const struct ruvm_knowledge_ask *ask,
                       struct ruvm_knowledge_hit *hits, struct ruvm_error *err);

struct ruvm_knowledge_scores {
    const char *name; /* "sum", "words", ...: a rank; "exact": the blob's, without its graph */
    double hit1, hit3, hit10, mrr, ndcg10;
    double seconds_a_question; /* measured */
};
enum { RUVM_KNOWLEDGE_MAX_ROWS = 5 };
struct ruvm_knowledge_eval {
    uint32_t n_questions, n_without; /* without: no chunk of the blob answers them; left out */
    uint32_t n_rows;
    struct ruvm_knowledge_scores row[RUVM_KNOWLEDGE_MAX_ROWS];
};
/* Asks the questions of a JSONL file: "question", and of what answers it at least one of
 * "answer" (text in the chunk), "source" (its name) and "id" (that of its metadata). */
int ruvm_knowledge_eval(struct ruvm_knowledge *k, const char *path,
                        const struct ruvm_progress *progress, struct ruvm_knowledge_eval *e,
                        struct ruvm_error *err);

/* Passages before a question, for ruvm_generate(). */
struct ruvm_passages {
    const struct ruvm_knowledge_hit *hits; /* the best first */
    uint32_t n_hits;
    const char *question;
    size_t n_question;
    const char *form;  /* %c: the passages, %q: the question; NULL: passages, newline, question */
    uint32_t n_tokens; /* room to keep for the answer; 0: a quarter of the context */
};
/* The prompt, malloc'ed, with as many passages as there is room for: n_used. */
int ruvm_session_passages(struct ruvm_session *s, const struct ruvm_passages *p, char **prompt,
                          size_t *n_bytes, uint32_t *n_used, struct ruvm_error *err);

#ifdef __cplusplus
}
#endif

#endif
