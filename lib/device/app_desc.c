/* What the vendor's loader and tools look for at the beginning of the constants of an
 * application: what it is, and that any revision of the chip will do. */
#include <stdint.h>

#include "lib/device/port.h"
#include "lib/ruvm.h"

struct description {
    uint32_t magic, security;
    uint32_t reserved_1[2];
    char version[32], project[32], time[16], date[16], framework[32];
    uint8_t elf_sha256[32];
    uint16_t min_fuse_revision, max_fuse_revision;
    uint8_t page_log2; /* of the mapping of flash */
    uint8_t reserved_2[3];
    uint32_t reserved_3[18];
};
_Static_assert(sizeof(struct description) == 256, "the loader's size");
_Static_assert(RUVM_PORT_PAGE == 1 << 16, "the page that is told");

/* No time and no date: the same sources are the same program. */
__attribute__((used, section(".app_desc"))) static const struct description description = {
    .magic = 0xABCD5432,
    .version = RUVM_VERSION_TEXT,
    .project = "ruvm",
    .max_fuse_revision = UINT16_MAX,
    .page_log2 = 16,
};
