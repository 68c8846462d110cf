/* Reader of the pack: what stands where in a flash partition or a file. Freestanding.
 *
 *     struct ruvm_pack pack;
 *     struct ruvm_pack_section model;
 *     int rc = ruvm_pack_open(&pack, mapped, partition_bytes, NULL);
 *     if (rc == RUVM_OK && ruvm_pack_find(&pack, RUVM_PACK_MODEL, &model))
 *         ... model.data, model.size: a RUVM image in place ...
 *
 * The bytes are borrowed and must stay mapped, at a multiple of RUVM_PACK_MEMORY_ALIGN.
 * Opening reads the header and the table, not the sections, so that a chip starts at once;
 * ruvm_pack_check() reads all. A section may check itself: a RUVM image does.
 */
#ifndef RUVM_FORMATS_PACK_READ_H
#define RUVM_FORMATS_PACK_READ_H

#include "formats/pack_layout.h"
#include "formats/ruvm_read.h"

enum {
    RUVM_PACK_MEMORY_ALIGN = 16,    /* of what is mapped; weights want 64, as any mapping has it */
    RUVM_PACK_MODEL_ALIGN_LOG2 = 6, /* the weights of an image are aligned to 64 */
};

struct ruvm_pack {
    const uint8_t *data;
    uint32_t size; /* of the pack, which may be smaller than what holds it */
    uint16_t n_sections;
    bool is_signed;     /* that there is a signature, not that it is right */
    const uint8_t *key; /* [32] */
};

struct ruvm_pack_section {
    char name[5]; /* NUL-terminated */
    uint8_t align_log2;
    uint32_t off, size, crc;
    const uint8_t *data;
    const uint8_t *sha256; /* [32] */
};

/* Whether the bytes begin as a pack does. */
bool ruvm_pack_probe(const void *data, size_t size);

/* size: of the bytes there are, at least those of the pack. RUVM_ERR_CORRUPT,
 * RUVM_ERR_UNSUPPORTED (a newer version), RUVM_ERR_ARG (data is not aligned); fault may be
 * NULL. After a failure the contents of pack mean nothing. */
int ruvm_pack_open(struct ruvm_pack *pack, const void *data, size_t size,
                   struct ruvm_image_fault *fault);
/* Of an open pack: every section's CRC-32 and the gaps between them. The SHA-256 and the
 * signature are for those who can compute them (lib/bundle). */
int ruvm_pack_check(const struct ruvm_pack *pack, struct ruvm_image_fault *fault);

/* Section i < n_sections, ascending by offset. */
struct ruvm_pack_section ruvm_pack_section_at(const struct ruvm_pack *pack, unsigned i);
/* The section of that name (four characters); false: there is none. */
bool ruvm_pack_find(const struct ruvm_pack *pack, const char *name,
                    struct ruvm_pack_section *section);

#endif
