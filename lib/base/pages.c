#define _DEFAULT_SOURCE /* madvise */
#include "lib/base/pages.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "lib/base/bytes.h"

enum { LARGE_BYTES = 2 << 20 };

void *ruvm_pages_alloc(size_t bytes)
{
    size_t align = bytes < LARGE_BYTES ? (size_t)RUVM_PAGES_ALIGN : (size_t)LARGE_BYTES;
    size_t whole = ruvm_align_up(bytes, align);
    void *memory = aligned_alloc(align, whole);
    if (memory && align == LARGE_BYTES)
        madvise(memory, whole, MADV_HUGEPAGE); /* a wish only */
    return memory;
}
