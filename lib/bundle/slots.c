/* Slots: a table at most half full, in which a key stands at its place or soon behind it. */
#include "lib/bundle/slots.h"

#include <stdbool.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 4096 };

/* The key's slot, or the empty one where it would go. */
static struct ruvm_slot *slot_of(const struct ruvm_slots *s, uint64_t key)
{
    size_t i = (uint32_t)key & (s->cap - 1);
    while (s->slot[i].n && s->slot[i].key != key)
        i = (i + 1) & (s->cap - 1);
    return &s->slot[i];
}

static bool make_room(struct ruvm_slots *s)
{
    struct ruvm_slots bigger = {.cap = s->cap ? 2 * s->cap : FIRST_CAPACITY, .used = s->used};
    if (2 * s->used < s->cap)
        return true;
    bigger.slot = calloc(bigger.cap, sizeof *bigger.slot);
    if (!bigger.slot)
        return false;
    for (size_t i = 0; i < s->cap; i++)
        if (s->slot[i].n)
            *slot_of(&bigger, s->slot[i].key) = s->slot[i];
    free(s->slot);
    *s = bigger;
    return true;
}

struct ruvm_slot *ruvm_slots_take(struct ruvm_slots *s, uint64_t key)
{
    if (!make_room(s))
        return NULL;
    struct ruvm_slot *slot = slot_of(s, key);
    s->used += slot->n == 0;
    slot->key = key;
    return slot;
}

const struct ruvm_slot *ruvm_slots_find(const struct ruvm_slots *s, uint64_t key)
{
    const struct ruvm_slot *slot = s->cap ? slot_of(s, key) : NULL;
    return slot && slot->n ? slot : NULL;
}

void ruvm_slots_free(struct ruvm_slots *s)
{
    free(s->slot);
    *s = (struct ruvm_slots){0};
}
