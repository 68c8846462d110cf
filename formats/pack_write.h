/* Writer of the pack: sections in, one deterministic file out. The reader's twin. */
#ifndef RUVM_FORMATS_PACK_WRITE_H
#define RUVM_FORMATS_PACK_WRITE_H

#include "formats/pack_layout.h"
#include "lib/base/buffer.h"

struct ruvm_pack_part {
    char name[5]; /* four letters or digits */
    uint8_t align_log2;
    const void *data;
    size_t size;
};

/* The alignment that a section of that name and size is given, as log2: a sector, but 16
 * bytes for small ones that can share the first sector with the table. */
uint8_t ruvm_pack_align_of(const char *name, size_t size);

/* The order in which parts stand: small ones first, then by kind, so that the same parts
 * make the same file however they were named. */
void ruvm_pack_sort(struct ruvm_pack_part *parts, unsigned n);

/* Appends the whole pack to out (which must be empty), without signature. RUVM_ERR_MEMORY,
 * RUVM_ERR_UNSUPPORTED when there are too many parts or it would exceed 4 GiB. */
int ruvm_pack_write(struct ruvm_buffer *out, const struct ruvm_pack_part *parts, unsigned n);

/* Signs a pack in memory with the seed of an ed25519 key, 32 bytes. */
void ruvm_pack_sign(uint8_t *pack, const uint8_t *seed);
/* Whether the signature of an open pack (pack_read.h) is that of its own key. */
bool ruvm_pack_signature_holds(const uint8_t *pack);

#endif
