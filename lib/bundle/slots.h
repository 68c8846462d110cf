/* Slots: numbers under keys, an open hash table.
 *
 *     struct ruvm_slots s = {0};
 *     struct ruvm_slot *slot = ruvm_slots_take(&s, hash);
 *     if (slot)
 *         slot->n++;
 *     ruvm_slots_free(&s);
 */
#ifndef RUVM_BUNDLE_SLOTS_H
#define RUVM_BUNDLE_SLOTS_H

#include <stddef.h>
#include <stdint.h>

struct ruvm_slot {
    uint64_t key; /* its lower 32 bits are a hash: they choose the place */
    uint32_t n;   /* 0: empty */
    uint32_t last;
};

struct ruvm_slots {
    struct ruvm_slot *slot; /* [cap], owned */
    size_t cap, used;       /* a power of two; keys */
};

/* The slot of a key; a new one has an n of 0, which the caller must raise. Those that were given
 * before may move. NULL: memory is short. */
struct ruvm_slot *ruvm_slots_take(struct ruvm_slots *s, uint64_t key);
/* NULL: the key was never taken. */
const struct ruvm_slot *ruvm_slots_find(const struct ruvm_slots *s, uint64_t key);
void ruvm_slots_free(struct ruvm_slots *s);

#endif
