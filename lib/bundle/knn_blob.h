/* Texts and a language model into a blob for kNN-LM: the model's state after each token, and
 * the token that came next. See lib/vector/knn.h. */
#ifndef RUVM_BUNDLE_KNN_BLOB_H
#define RUVM_BUNDLE_KNN_BLOB_H

#include "lib/base/buffer.h"
#include "lib/ruvm_tool.h"

struct ruvm_knn_blob {
    const char *model;          /* as ruvm_states_open() takes it */
    const char *const *sources; /* text files */
    uint32_t n_sources;
    const char *stdin_name; /* of a source /dev/stdin */
    bool documents;         /* separated by lines "<|end|>" */
    uint32_t degree;        /* of the graph; 0: the smallest that meets the goal */
    uint32_t generation;
    const struct ruvm_progress *progress;
};

/* Appends the file to out. RUVM_ERR_UNSUPPORTED: more tokens than a blob has chunks. */
int ruvm_knn_blob(struct ruvm_buffer *out, const struct ruvm_knn_blob *o,
                  struct ruvm_rag_add_result *r, struct ruvm_error *err);

#endif
