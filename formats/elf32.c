/* ELF for 32-bit little-endian machines: the segments that are loaded, and nothing else. */
#include "formats/elf32.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"

enum {
    AT_CLASS = 4,
    AT_DATA = 5,
    AT_TYPE = 16,
    AT_MACHINE = 18,
    AT_ENTRY = 24,
    AT_PHOFF = 28,
    AT_PHENTSIZE = 42,
    AT_PHNUM = 44,
    HEADER_BYTES = 52,
    PH_OFF = 4,
    PH_PADDR = 12,
    PH_FILESZ = 16,
    PH_BYTES = 32,
    PT_LOAD = 1,
    ET_EXEC = 2,
};

bool ruvm_elf32_probe(const void *data, size_t size)
{
    return size >= 4 && memcmp(data, "\177ELF", 4) == 0;
}

static int check_header(const char *name, const uint8_t *p, size_t size, struct ruvm_error *err)
{
    if (size < HEADER_BYTES)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: ends within its ELF header; build it again",
                         name);
    if (p[AT_CLASS] != 1 || p[AT_DATA] != 1 || ruvm_load_u16(p + AT_TYPE) != ET_EXEC)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: is no ELF executable for a 32-bit little-endian chip; link it for "
                         "one",
                         name);
    uint64_t end = ruvm_load_u32(p + AT_PHOFF) +
                   (uint64_t)ruvm_load_u16(p + AT_PHNUM) * ruvm_load_u16(p + AT_PHENTSIZE);
    if (ruvm_load_u16(p + AT_PHENTSIZE) < PH_BYTES || end > size)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: its program headers at byte 0x%x go past the end; build it again",
                         name, (unsigned)ruvm_load_u32(p + AT_PHOFF));
    return RUVM_OK;
}

static int add(struct ruvm_elf32 *elf, const char *name, const uint8_t *data, size_t size,
               const uint8_t *ph, struct ruvm_error *err)
{
    struct ruvm_elf32_segment s = {.address = ruvm_load_u32(ph + PH_PADDR),
                                   .bytes = ruvm_load_u32(ph + PH_FILESZ)};
    uint32_t off = ruvm_load_u32(ph + PH_OFF);
    if (ruvm_load_u32(ph) != PT_LOAD || s.bytes == 0)
        return RUVM_OK;
    if ((uint64_t)off + s.bytes > size || (uint64_t)s.address + s.bytes > UINT32_MAX)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: its segment at byte 0x%x goes past the end; build it again", name,
                         (unsigned)off);
    if (elf->n_segments == RUVM_ELF32_MAX_SEGMENTS)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: has more than %d segments", name,
                         RUVM_ELF32_MAX_SEGMENTS);
    s.data = data + off;
    unsigned i = elf->n_segments++;
    for (; i > 0 && elf->segments[i - 1].address > s.address; i--)
        elf->segments[i] = elf->segments[i - 1];
    elf->segments[i] = s;
    return RUVM_OK;
}

int ruvm_elf32_read(struct ruvm_elf32 *elf, const char *name, const void *data, size_t size,
                    struct ruvm_error *err)
{
    const uint8_t *p = data;
    *elf = (struct ruvm_elf32){0};
    int rc = check_header(name, p, size, err);
    if (rc != RUVM_OK)
        return rc;
    elf->machine = ruvm_load_u16(p + AT_MACHINE);
    elf->entry = ruvm_load_u32(p + AT_ENTRY);
    const uint8_t *ph = p + ruvm_load_u32(p + AT_PHOFF);
    for (unsigned i = 0; i < ruvm_load_u16(p + AT_PHNUM) && rc == RUVM_OK; i++)
        rc = add(elf, name, p, size, ph + (size_t)i * ruvm_load_u16(p + AT_PHENTSIZE), err);
    if (rc == RUVM_OK && elf->n_segments == 0)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: has nothing to load; link a program",
                         name);
    return rc;
}
