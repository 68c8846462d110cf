/* BM25: chunks that hold the words of a question, from the postings in the blob.
 *
 *     rc = ruvm_bm25_open(&index, section.data, section.bytes, rag.n);
 *     ruvm_bm25_ask(&question, &index, text, n_bytes);
 *     n = ruvm_bm25_search(&question, &s, memory, bytes, hits);
 *
 * The score of a chunk is the sum over the question's words of
 *
 *     idf * count * 2.2 / (count + 0.3 + 0.9 * length / mean length)
 *
 * in integers, idf = log2((live + 1) / (chunks with the word + 0.5)) (Robertson and others,
 * TREC-3, 1994, k1 1.2 and b 0.75; the logarithm as in Lucene). A word that the question says twice
 * counts twice. Postings are read in place, all words side by side, so that memory does not
 * depend on the number of chunks. Chip-safe.
 */
#ifndef RUVM_VECTOR_BM25_H
#define RUVM_VECTOR_BM25_H

#include "formats/ragtext_layout.h"
#include "lib/vector/search.h"

struct ruvm_bm25 {
    uint32_t n_terms, n_chunks, n_live;
    const uint8_t *hashes, *ends, *norms, *postings;
    uint32_t n_postings; /* bytes */
};

/* RUVM_ERR_CORRUPT when sizes contradict each other. Postings are checked as they are read:
 * damaged ones end early. Borrows the section. */
int ruvm_bm25_open(struct ruvm_bm25 *b, const uint8_t *data, uint32_t bytes, uint32_t n_chunks);

enum { RUVM_BM25_MAX_WORDS = 32 }; /* of a question; of more the rarest count */

struct ruvm_bm25_word {
    uint32_t stem, idf; /* idf: times how often the question says it */
    uint32_t form;    /* hash of the word before its ending was taken off; of several, the first */
    uint32_t at, end; /* in the postings; at the start before the first call of search */
    uint32_t chunk;   /* where the cursor stands */
    uint32_t count;   /* how often the word is there */
    uint8_t times;    /* that the question says it, at most 255 */
    bool ended;
};

struct ruvm_bm25_question {
    const struct ruvm_bm25 *index;
    uint32_t n_words, idf_sum; /* words that no chunk has are among them, short ones with less */
    struct ruvm_bm25_word word[RUVM_BM25_MAX_WORDS];
};

/* Looks up the words of a text. */
void ruvm_bm25_ask(struct ruvm_bm25_question *q, const struct ruvm_bm25 *b, const void *text,
                   size_t n);

/* The s->k best chunks that have a word of it, s->ef is not looked at. Memory as for a scan:
 * ruvm_search_bytes(s, 0). The key of a hit is ~score, so that smaller is better as it is with
 * vectors. May be called again. RUVM_ERR_ARG, RUVM_ERR_MEMORY. */
int ruvm_bm25_search(struct ruvm_bm25_question *q, struct ruvm_search *s, void *memory,
                     size_t bytes, struct ruvm_hit *hits);
static inline uint32_t ruvm_bm25_score(const struct ruvm_hit *hit)
{
    return ~hit->key;
}

/* Puts forward, among the hits of a search, chunks that have the words in the form of the
 * question: their new score is (3 score + score by such words alone) / 4. Reads their texts in
 * rag, whose index it is. */
void ruvm_bm25_prefer_forms(const struct ruvm_bm25_question *q, const struct ruvm_rag *rag,
                            struct ruvm_hit *hits, uint32_t n);

/* How much of the question a text has: the idf of its words that are there, over that of all;
 * / 65536. Without words 0. */
uint32_t ruvm_bm25_cover_q16(const struct ruvm_bm25_question *q, const void *text, size_t n);

/* log2(x) * 1024, x > 0, rounded down. */
uint32_t ruvm_bm25_log2_q10(uint32_t x);
/* idf of a word in `chunks` of `live` ones. */
uint32_t ruvm_bm25_idf(uint32_t live, uint32_t chunks);

#endif
