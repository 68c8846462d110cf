/* A taxonomy as a knowledge blob: a chunk a node, its vector a point of hyperbolic space. */
#ifndef RUVM_BUNDLE_TREE_BLOB_H
#define RUVM_BUNDLE_TREE_BLOB_H

#include "lib/base/buffer.h"
#include "lib/ruvm_tool.h"

enum { RUVM_TREE_BLOB_DIMS = 16 };

struct ruvm_tree_blob {
    const char *path;
    uint32_t dims; /* 0: 16 */
    uint32_t generation;
    const struct ruvm_progress *progress;
};
/* Appends the whole file to out, and notes in r what it is like. */
int ruvm_tree_blob(struct ruvm_buffer *out, const struct ruvm_tree_blob *o,
                   struct ruvm_rag_add_result *r, struct ruvm_error *err);

#endif
