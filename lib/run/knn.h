/* A blob beside a session, whose neighbours have a share in each token. */
#ifndef RUVM_RUN_KNN_H
#define RUVM_RUN_KNN_H

#include "lib/base/file.h"
#include "lib/ruvm_tool.h"
#include "lib/vector/knn.h"

struct ruvm_run_knn {
    struct ruvm_map map;
    struct ruvm_rag rag;
    struct ruvm_knn knn;
    int32_t *state; /* [dims] */
    void *memory;
    size_t bytes;
};

/* Opens the blob of the options for this session, whose model it must be of; *knn NULL without
 * one. */
int ruvm_run_knn_open(struct ruvm_run_knn **knn, const struct ruvm_session *s,
                      const struct ruvm_session_options *o, struct ruvm_error *err);
void ruvm_run_knn_close(struct ruvm_run_knn *knn);

/* Mixes the neighbours of the engine's newest state into logits[vocab]. */
void ruvm_run_knn_mix(struct ruvm_run_knn *knn, struct ruvm_engine *e, int32_t *logits,
                      uint32_t vocab);

#endif
