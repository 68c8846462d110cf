/* How much of a tree the distances of its codes tell.
 *
 * Mean average precision: each node ranks all others by their keys, as a search on a chip
 * does; precision is averaged over the ranks of its neighbours in the tree (De Sa and others,
 * ICML 2018). Distortion: distances in edges against those of the space times the one scale
 * that fits best.
 */
#include <math.h>
#include <stdlib.h>

#include "lib/base/error.h"
#include "lib/bundle/tree.h"
#include "lib/vector/distance.h"

enum { MAX_QUERIES = 1000, MAX_DISTANCES = 100 }; /* nodes that are asked; of large trees */

static double precision_of(const struct ruvm_tree *t, uint32_t a, const uint32_t *keys)
{
    const struct ruvm_tree_node *node = &t->nodes[a];
    uint32_t n = node->n_children + (a != 0);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t own = keys[i < node->n_children ? node->first_child + i : node->parent];
        uint32_t before = 0, good = 0; /* ties count as before: what is equal is not told */
        for (uint32_t b = 0; b < t->n; b++)
            before += b != a && keys[b] <= own;
        for (uint32_t c = 0; c < node->n_children; c++)
            good += keys[node->first_child + c] <= own;
        good += a != 0 && keys[node->parent] <= own;
        sum += (double)good / before;
    }
    return n ? sum / n : 1;
}

static void keys_of(const struct ruvm_vectors *set, uint32_t a, uint32_t *keys)
{
    struct ruvm_vector_query q;
    ruvm_vectors_query_row(&q, set, a);
    for (uint32_t i = 0; i < set->n; i += RUVM_VECTORS_BATCH) {
        uint32_t n = set->n - i < RUVM_VECTORS_BATCH ? set->n - i : RUVM_VECTORS_BATCH;
        ruvm_vectors_keys(set, &q, NULL, i, n, keys + i);
    }
}

/* Ratios of space to edges: their sums, the smallest and the largest. */
struct ratios {
    double sum, squares, smallest, largest, count;
};

static void add_ratios(const struct ruvm_tree *t, const struct ruvm_vectors *set, uint32_t a,
                       struct ratios *r)
{
    struct ruvm_vector_query q;
    ruvm_vectors_query_row(&q, set, a);
    for (uint32_t b = 0; b < t->n; b++) {
        if (b == a)
            continue;
        double d = ldexp((double)ruvm_distance_q16(set, &q, b), -16);
        double ratio = d / ruvm_tree_distance(t, a, b);
        r->sum += ratio;
        r->squares += ratio * ratio;
        r->smallest = r->count == 0 || ratio < r->smallest ? ratio : r->smallest;
        r->largest = ratio > r->largest ? ratio : r->largest;
        r->count++;
    }
}

/* mean |s ratio - 1| with the s that makes the mean square least. */
static double average_distortion(const struct ruvm_tree *t, const struct ruvm_vectors *set,
                                 const struct ratios *r, uint32_t n_nodes)
{
    double scale = r->squares > 0 ? r->sum / r->squares : 0, sum = 0;
    for (uint32_t i = 0; i < n_nodes; i++) {
        uint32_t a = (uint32_t)((uint64_t)i * t->n / n_nodes);
        struct ruvm_vector_query q;
        ruvm_vectors_query_row(&q, set, a);
        for (uint32_t b = 0; b < t->n; b++)
            if (b != a)
                sum += fabs(scale * ldexp((double)ruvm_distance_q16(set, &q, b), -16) /
                                ruvm_tree_distance(t, a, b) -
                            1);
    }
    return r->count > 0 ? sum / r->count : 0;
}

int ruvm_tree_measure(const struct ruvm_tree *t, const struct ruvm_vectors *set,
                      struct ruvm_taxonomy_quality *q, struct ruvm_error *err)
{
    uint32_t *keys = calloc(t->n, sizeof *keys);
    uint32_t n_queries = t->n < MAX_QUERIES ? t->n : MAX_QUERIES;
    uint32_t n_distances = t->n < MAX_DISTANCES ? t->n : MAX_DISTANCES;
    struct ratios r = {0};
    double sum = 0;
    if (!keys)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory to measure %u nodes", t->n);
    for (uint32_t i = 0; i < n_queries; i++) {
        uint32_t a = (uint32_t)((uint64_t)i * t->n / n_queries);
        keys_of(set, a, keys);
        sum += precision_of(t, a, keys);
    }
    for (uint32_t i = 0; i < n_distances; i++)
        add_ratios(t, set, (uint32_t)((uint64_t)i * t->n / n_distances), &r);
    *q = (struct ruvm_taxonomy_quality){
        .dims = set->dims,
        .vector_bytes = set->row_bytes + set->side_bytes,
        .n_queries = n_queries,
        .map = sum / n_queries,
        .average_distortion = average_distortion(t, set, &r, n_distances),
        .worst_distortion = r.smallest > 0 ? r.largest / r.smallest : 0};
    free(keys);
    return RUVM_OK;
}
