/* Tree: a taxonomy, read from rows of parent and child, and its points in a curved space.
 *
 *     rc = ruvm_tree_read(&tree, name, data, size, &err);
 *     rc = ruvm_tree_embed(&tree, &options, x, &err);       a point a node
 *     rc = ruvm_tree_measure(&tree, &set, &quality, &err);    how much of the tree is left
 *     ruvm_tree_free(&tree);
 *
 * Nodes are numbered level by level, the root is 0, siblings follow each other in the order of
 * the file. So parents come before their children, and all children of a node are a range.
 */
#ifndef RUVM_BUNDLE_TREE_H
#define RUVM_BUNDLE_TREE_H

#include "lib/base/arena.h"
#include "lib/ruvm_tool.h"
#include "lib/vector/vectors.h"

enum { RUVM_TREE_MAX_NODES = 1 << 17, RUVM_TREE_MAX_NAME = 255 };
#define RUVM_TREE_NONE 0xFFFFFFFFu

struct ruvm_tree_node {
    const char *name; /* ends with NUL */
    uint32_t parent;  /* RUVM_TREE_NONE: the root */
    uint32_t first_child, n_children;
    uint32_t level; /* of the root: 0 */
};

struct ruvm_tree {
    struct ruvm_tree_node *nodes; /* [n] */
    uint32_t n, n_levels;
    struct ruvm_arena arena;
};

/* Rows of two fields, "parent,child"; a first row that says so is left out, and an empty parent
 * is none: its child is the root. RUVM_ERR_CORRUPT, telling all that is wrong: cycles, nodes of
 * two parents, several roots. RUVM_ERR_UNSUPPORTED: more nodes than RUVM_TREE_MAX_NODES. */
int ruvm_tree_read(struct ruvm_tree *t, const char *name, const char *data, size_t size,
                   struct ruvm_error *err);
void ruvm_tree_free(struct ruvm_tree *t);

/* Edges on the way from a to b. */
uint32_t ruvm_tree_distance(const struct ruvm_tree *t, uint32_t a, uint32_t b);
static inline bool ruvm_tree_is_edge(const struct ruvm_tree *t, uint32_t a, uint32_t b)
{
    return t->nodes[a].parent == b || t->nodes[b].parent == a;
}

enum ruvm_tree_space {
    RUVM_TREE_HYPERBOLIC, /* coordinates are the space-like ones of the hyperboloid */
    RUVM_TREE_FLAT,
};
struct ruvm_tree_embedding {
    enum ruvm_tree_space space;
    uint32_t dims;
    double edge; /* length of an edge where the descent begins; hyperbolic ones are shortened
                  * to stay within the radius that codes can resolve */
    const struct ruvm_progress *progress;
};
/* x[n, dims]. Hyperbolic: the same on every machine, being made of + - * / and roots only.
 * RUVM_ERR_MEMORY; RUVM_ERR_IO: interrupted. */
int ruvm_tree_embed(const struct ruvm_tree *t, const struct ruvm_tree_embedding *e, float *x,
                    struct ruvm_error *err);

/* How much of the tree the distances of a set tell, node i being row i. */
int ruvm_tree_measure(const struct ruvm_tree *t, const struct ruvm_vectors *set,
                      struct ruvm_taxonomy_quality *q, struct ruvm_error *err);

#endif
