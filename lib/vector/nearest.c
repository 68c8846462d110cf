/* Nearest: where an entry belongs is found from the end, where most of them go. */
#include "lib/vector/nearest.h"

uint32_t ruvm_nearest_insert(struct ruvm_nearest *l, uint64_t entry)
{
    uint32_t at = l->n < l->cap ? l->n++ : l->n - 1;
    for (; at > 0 && entry < l->entry[at - 1]; at--)
        l->entry[at] = l->entry[at - 1];
    l->entry[at] = entry;
    return at;
}

uint32_t ruvm_nearest_hits(const struct ruvm_nearest *l, uint32_t k, struct ruvm_hit *hits)
{
    uint32_t n = l->n < k ? l->n : k;
    for (uint32_t i = 0; i < n; i++) {
        hits[i].key = (uint32_t)(l->entry[i] >> 32);
        hits[i].id = ruvm_nearest_id(l->entry[i]);
    }
    return n;
}
