/* Ask: a question in words to a knowledge blob, in the caller's memory.
 *
 *     bytes = ruvm_ask_bytes(&rag, k);
 *     n = ruvm_ask(&rag, k, question, n_bytes, memory, bytes, answers);
 *
 * Looks the question up by its words and by its vector, as far as the blob has them, and joins
 * both as its recipe says: the passages, scores and confidences that `ruvm run --rag` finds,
 * but for chunks that expire, as there is no clock here. Chip-safe.
 */
#ifndef RUVM_VECTOR_ASK_H
#define RUVM_VECTOR_ASK_H

#include "formats/rag_read.h"

struct ruvm_answer {
    uint32_t id;             /* of the chunk */
    uint32_t score_q16;      /* the highest first; scores compare within one list */
    uint32_t confidence_q16; /* how much of the question the chunk has, up to 65536 */
};

enum { RUVM_ASK_MAX = 32 }; /* answers to a question */

/* Candidates that words and vectors each bring for k answers. */
uint32_t ruvm_ask_candidates(uint32_t k);

/* Memory for k answers, 16-byte aligned; 0: the blob cannot be asked in words, or k is out of
 * range. */
size_t ruvm_ask_bytes(const struct ruvm_rag *rag, uint32_t k);

/* Returns the number of answers, at most k. RUVM_ERR_ARG: k; RUVM_ERR_UNSUPPORTED: the blob
 * has neither words nor a recipe; RUVM_ERR_CORRUPT; RUVM_ERR_MEMORY: memory too small. */
int ruvm_ask(const struct ruvm_rag *rag, uint32_t k, const void *question, size_t n, void *memory,
             size_t bytes, struct ruvm_answer *answers);

/* Confidence below which the blob says that nothing was found. */
uint32_t ruvm_ask_floor_q16(const struct ruvm_rag *rag);

#endif
