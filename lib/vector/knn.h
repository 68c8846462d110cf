/* Knn: what came next where a language model was in a state like this one.
 *
 *     rc = ruvm_knn_open(&knn, &rag, kernels);
 *     bytes = ruvm_knn_bytes(&knn);
 *     ruvm_engine_hidden(engine, state);
 *     n = ruvm_knn_mix(&knn, state, logits, vocab, memory, bytes);
 *
 * The kNN-LM of Khandelwal et al. (2020): p = (1 - share) p_LM + share p_kNN. A blob of recipe
 * RUVM_RECIPE_NEXT has the model's states over a text as vectors, and the token that followed
 * each as its chunk. The k nearest vote, each with exp(-d^2 / spread), where d is the distance
 * of the two states scaled to length 1. Only logits of tokens that were voted for change, and
 * they grow: the others keep their values, and their probabilities shrink with the sum.
 * Integers only, so that every machine mixes the same. Chip-safe.
 */
#ifndef RUVM_VECTOR_KNN_H
#define RUVM_VECTOR_KNN_H

#include "lib/vector/recipe.h"
#include "lib/vector/search.h"

enum {
    RUVM_KNN_MAX_K = 256,
    RUVM_KNN_DEFAULT_K = 32,
    RUVM_KNN_DEFAULT_SHARE = 16384, /* 0.25 */
    RUVM_KNN_DEFAULT_SPREAD = 3277, /* 0.05 */
    RUVM_KNN_MAX_SHARE = 65470,     /* 0.999 */
};

struct ruvm_knn {
    const struct ruvm_rag *rag;
    struct ruvm_vectors set;
    struct ruvm_recipe recipe;
    uint32_t k;          /* 1..RUVM_KNN_MAX_K */
    uint32_t share_q16;  /* of the neighbours, up to RUVM_KNN_MAX_SHARE */
    uint32_t spread_q16; /* not 0 */
    bool exact;          /* scan, whatever graph there is */
};

/* With the defaults above. RUVM_ERR_UNSUPPORTED: the blob is of another recipe; borrows rag. */
int ruvm_knn_open(struct ruvm_knn *knn, const struct ruvm_rag *rag,
                  const struct ruvm_vector_kernels *kernels);
/* Memory that one call of mix works in; 16-byte aligned. */
size_t ruvm_knn_bytes(const struct ruvm_knn *knn);

/* state[dims of the blob], only its direction counts; logits[vocab] in Q16, as of an engine.
 * Returns how many neighbours voted; RUVM_ERR_MEMORY, _ARG: a number above is out of range. A
 * blob's token that is not below vocab has no vote. */
int ruvm_knn_mix(const struct ruvm_knn *knn, const int32_t *state, int32_t *logits, uint32_t vocab,
                 void *memory, size_t bytes);

#endif
