/* The inside of three sections of the knowledge blob: RCPE, how text becomes a vector, WORD, the
 * vectors of words that it may need for that, and BM25, which words stand in which chunk.
 * man/ruvm-rag.5 says the same in prose.
 *
 * Words, their stems and hashes are those of lib/vector/words.h.
 */
#ifndef RUVM_FORMATS_RAGTEXT_LAYOUT_H
#define RUVM_FORMATS_RAGTEXT_LAYOUT_H

/* ---- RCPE ------------------------------------------------------------------------ */
enum {
    RUVM_RCPE_KIND = 0,        /* u8: enum ruvm_recipe_kind */
    RUVM_RCPE_GRAM = 1,        /* u8: bytes of a piece of a word, 2..8 */
    RUVM_RCPE_GRAM_WEIGHT = 2, /* u8 / 64: of a piece beside a word, which has 1; 0: no pieces */
    RUVM_RCPE_RANK = 3,        /* u8: enum ruvm_rag_rank, how the two searches are joined */
    RUVM_RCPE_SHARE = 4,       /* u8 / 64: of the vectors beside the words, which have 1 */
    RUVM_RCPE_FLOOR = 5,       /* u8 / 255: confidence below which nothing was found */
    RUVM_RCPE_CHUNK = 6,       /* u16: most bytes of a chunk when the blob was made */
    RUVM_RCPE_OVERLAP = 8,     /* u16: and how many of them two neighbours share at most */
    RUVM_RCPE_SPLIT = 10,      /* u8: enum ruvm_rag_split */
    RUVM_RCPE_RESERVED = 11,   /* u8: 0 */
    RUVM_RCPE_BUCKETS = 12,    /* u32: weights that follow; a power of two */
    RUVM_RCPE_WEIGHTS = 16,    /* u8[buckets] / 16: of a feature by the low bits of its hash */
    /* of the kinds that belong to a language model, where BUCKETS are bytes: */
    RUVM_RCPE_MODEL_CRC = 16,  /* u32: CRC-32 of its image */
    RUVM_RCPE_MODEL_SIZE = 20, /* u32: bytes of it */
    RUVM_RCPE_CENTRE = 24,     /* i32[dims] / 65536, with STATES: taken off each vector */
};
enum { RUVM_RCPE_MODEL_BYTES = 8 };
enum ruvm_recipe_kind {
    RUVM_RECIPE_NONE = 0,   /* vectors were given: text cannot become one; WEIGHTS is empty */
    RUVM_RECIPE_HASHED = 1, /* signs of hashed words and pieces of words */
    RUVM_RECIPE_STATES = 2, /* mean of a language model's last hidden states over the text */
    RUVM_RECIPE_NEXT = 3,   /* its last hidden state after each token of a text; the chunk is the
                             * token that came next, a u16: for ruvm run --knn */
    RUVM_RECIPE_TABLE = 4,  /* sum of its words' vectors, those of WORD, by their WEIGHTS, one of
                             * each word of it */
    RUVM_N_RECIPES,
};
enum ruvm_rag_rank {
    RUVM_RANK_SUM = 0,        /* of BM25 over the idf of the whole question, and SHARE times the
                               * cosine */
    RUVM_RANK_RECIPROCAL = 1, /* of 1 / (10 + rank), the vectors' SHARE times as much */
    RUVM_RANK_WORDS = 2,      /* BM25 alone */
    RUVM_RANK_VECTORS = 3,
    RUVM_N_RANKS,
};
enum ruvm_rag_split {
    RUVM_SPLIT_SENTENCE = 0, /* chunks end with a sentence where they can */
    RUVM_SPLIT_HEADING = 1,  /* and one more for each part between headings, however long */
    RUVM_SPLIT_SIZE = 2,     /* chunks end with a word */
    RUVM_N_SPLITS,
};
enum { RUVM_RCPE_MIN_GRAM = 2, RUVM_RCPE_MAX_GRAM = 8, RUVM_RCPE_MAX_BUCKETS = 1 << 16 };

/* ---- WORD, with RECIPE_TABLE only ------------------------------------------------------ */
enum {
    RUVM_WORD_N = 0,        /* u32: words, at least 1, as many as RCPE has weights */
    RUVM_WORD_DIMS = 4,     /* u16: that of the header */
    RUVM_WORD_RESERVED = 6, /* u16: 0 */
    RUVM_WORD_HASHES = 8,   /* u32[n], ascending: of the words, with seed RUVM_WORD_SEED */
};
/* Then u16 unit[n]; s8 code[n][dims], -127..127. The vector of word i is its codes times unit[i].
 * It adds codes * (unit[i] * weight[i] >> RUVM_WORD_UNIT_SHIFT) >> RUVM_WORD_SHIFT to the
 * vector of a text: 16 bits a word, of which there are up to 32768 in a text. */
enum { RUVM_WORD_SEED = 2, RUVM_WORD_UNIT_SHIFT = 8, RUVM_WORD_SHIFT = 7 };

/* ---- BM25 ------------------------------------------------------------------------- */
enum {
    RUVM_BM25_TERMS = 0,     /* u32 */
    RUVM_BM25_CHUNKS = 4,    /* u32: N of the header */
    RUVM_BM25_LIVE = 8,      /* u32: chunks that were counted, at least 1 */
    RUVM_BM25_POSTINGS = 12, /* u32: where they begin in the section */
    RUVM_BM25_HASHES = 16,   /* u32[terms], ascending: of the stems */
};
/* Then u32 end[terms]: where a term's postings end, from the first one's begin; u8
 * norm[chunks] / 32: what is added to a word's count below the line; zeros up to a multiple of
 * 4; the postings. Those of a term are whole numbers of 7 bits a byte, the lowest first, the
 * highest bit set on all but the last: the number of chunks; then for each, ascending, twice
 * the distance from the one before (of the first, from -1), plus 1 when the word stands there
 * more than once, which then follows, how often. */
enum { RUVM_BM25_NORM_BITS = 5 };

#endif
