/* Arena: a list of blocks, the newest first, each filled from its start.
 *
 * What does not fit into the newest block opens another; the rest of the old
 * one is given up, which costs at most one block's size and keeps allocation a
 * few additions. Under AddressSanitizer every allocation has a block of its
 * own, so that a step past its end is seen.
 */
#define _POSIX_C_SOURCE 200809L
#include "lib/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };
#ifdef __has_feature /* clang */
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* as gcc says it */
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
enum { BLOCK_BYTES = 0 };
#else
enum { BLOCK_BYTES = 1 << 16 }; /* some hundred names or one row of a tensor */
#endif

struct ruvm_arena_block {
    struct ruvm_arena_block *next;
    size_t size; /* bytes after this header */
    size_t used;
    char pad[ALIGN - sizeof(void *) - 2 * sizeof(size_t)];
};
_Static_assert(sizeof(struct ruvm_arena_block) == ALIGN, "data after the header is aligned");

static struct ruvm_arena_block *add_block(struct ruvm_arena *arena, size_t bytes)
{
    size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    void *memory;
    if (posix_memalign(&memory, ALIGN, sizeof(struct ruvm_arena_block) + size) != 0)
        return NULL;
    struct ruvm_arena_block *block = memory;
    block->next = arena->blocks;
    block->size = size;
    block->used = 0;
    arena->blocks = block;
    return block;
}

void *ruvm_arena_alloc(struct ruvm_arena *arena, size_t count, size_t size)
{
    if (size && count > (PTRDIFF_MAX - 2 * ALIGN) / size)
        return NULL;
    size_t bytes = count * size;
    struct ruvm_arena_block *block = arena->blocks;
    if (!block || bytes > block->size - block->used || BLOCK_BYTES == 0)
        block = add_block(arena, bytes);
    if (!block)
        return NULL;
    uint8_t *p = (uint8_t *)(block + 1) + block->used;
    size_t left = block->size - block->used;
    size_t taken = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    block->used += taken < left ? taken : left;
    arena->used_bytes += bytes;
    return memset(p, 0, bytes);
}

char *ruvm_arena_text(struct ruvm_arena *arena, const char *text, size_t n)
{
    char *copy = n < PTRDIFF_MAX ? ruvm_arena_alloc(arena, n + 1, 1) : NULL;
    if (copy && n)
        memcpy(copy, text, n);
    return copy;
}

void ruvm_arena_free(struct ruvm_arena *arena)
{
    while (arena->blocks) {
        struct ruvm_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    *arena = (struct ruvm_arena){0};
}
