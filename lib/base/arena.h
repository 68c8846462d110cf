/* Arena: one growing region a command, freed at once.
 *
 * Workstation side only. Allocation is zeroed and aligned to 64 bytes, so that
 * vector kernels may work on it. A count is multiplied with overflow checks;
 * NULL means that memory is short or the product absurd: pass on
 * RUVM_ERR_MEMORY. Nothing is freed singly.
 */
#ifndef RUVM_BASE_ARENA_H
#define RUVM_BASE_ARENA_H

#include <stddef.h>

struct ruvm_arena_block;

struct ruvm_arena {
    struct ruvm_arena_block *blocks; /* newest first */
    size_t used_bytes;               /* sum of all that was given out */
};

/* count * size zeroed bytes, or NULL. A zero-initialised arena is empty and ready. */
void *ruvm_arena_alloc(struct ruvm_arena *arena, size_t count, size_t size);

/* A NUL-terminated copy of n bytes, or NULL. */
char *ruvm_arena_text(struct ruvm_arena *arena, const char *text, size_t n);

/* Frees everything; the arena is empty and ready again. */
void ruvm_arena_free(struct ruvm_arena *arena);

#endif
