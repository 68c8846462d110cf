/* Reader of the pack: the header and the table are looked at once, then trusted.
 *
 * The checks are those of the image's reader, chained in the order of a person's questions:
 * is it a pack, is it whole, is its table undamaged, does each section lie where it may? A
 * partition is larger than what it holds, so bytes behind the pack are nobody's business.
 */
#include "formats/pack_read.h"

#include "formats/check_read.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

static bool same(const uint8_t *p, const char *text)
{
    for (size_t i = 0; i < 4; i++)
        if (p[i] != (uint8_t)text[i])
            return false;
    return true;
}

bool ruvm_pack_probe(const void *data, size_t size)
{
    return size >= 4 && same(data, RUVM_PACK_MAGIC);
}

static const uint8_t *entry_of(const struct ruvm_pack *pack, unsigned i)
{
    return pack->data + RUVM_PACK_TABLE + (size_t)i * RUVM_PACK_SEC_BYTES;
}

/* ---- header -------------------------------------------------------------- */

static void read_header(struct ruvm_pack *pack)
{
    const uint8_t *h = pack->data;
    pack->size = ruvm_load_u32(h + RUVM_PACK_FILE_BYTES);
    pack->n_sections = ruvm_load_u16(h + RUVM_PACK_N_SECTIONS);
    pack->is_signed = (ruvm_load_u32(h + RUVM_PACK_FLAGS) & RUVM_PACK_FLAG_SIGNED) != 0;
    pack->key = h + RUVM_PACK_KEY;
}

static bool check_size(struct ruvm_check *c, const char *who, uint64_t expected)
{
    const struct ruvm_image_fault f = {
        .what = who, .kind = RUVM_FAULT_SIZE, .expected = expected, .found = c->img->size};
    return c->img->size >= expected || ruvm_check_fail(c, c->img->data + RUVM_PACK_FILE_BYTES, &f);
}

static bool check_header(struct ruvm_check *c, const struct ruvm_pack *pack)
{
    const uint8_t *h = pack->data;
    size_t table = (size_t)pack->n_sections * RUVM_PACK_SEC_BYTES;
    if (!check_size(c, "its section table takes", RUVM_PACK_TABLE + table))
        return false;
    uint32_t crc = ruvm_crc32(0, h, RUVM_PACK_CRC);
    crc = ruvm_crc32(crc, h + RUVM_PACK_TABLE, table);
    return ruvm_check_crc(c, h + RUVM_PACK_CRC, ruvm_load_u32(h + RUVM_PACK_CRC), crc) &&
           check_size(c, "its header says", pack->size) &&
           ruvm_check_known(c, h + RUVM_PACK_FLAGS, "flags", RUVM_PACK_FLAG_SIGNED,
                            ruvm_load_u32(h + RUVM_PACK_FLAGS)) &&
           ruvm_check_at_least(c, h + RUVM_PACK_N_SECTIONS, "number of sections", 1,
                               pack->n_sections) &&
           ruvm_check_at_most(c, h + RUVM_PACK_N_SECTIONS, "number of sections",
                              RUVM_PACK_MAX_SECTIONS, pack->n_sections) &&
           ruvm_check_zeros(c, h + RUVM_PACK_RESERVED, h + RUVM_PACK_CRC, "reserved byte") &&
           (pack->is_signed || ruvm_check_zeros(c, h + RUVM_PACK_KEY, h + RUVM_PACK_TABLE,
                                                "byte of a signature that is not there"));
}

/* ---- sections ------------------------------------------------------------ */

static bool is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool check_name(struct ruvm_check *c, const struct ruvm_pack *pack, unsigned i)
{
    const uint8_t *name = entry_of(pack, i);
    bool ok = is_letter(name[0]);
    for (int k = 1; k < 4; k++)
        ok = ok && (is_letter(name[k]) || (name[k] >= '0' && name[k] <= '9'));
    if (!ruvm_check_holds(c, name, "name is not four letters or digits", ok))
        return false;
    c->section = (const char *)name;
    for (unsigned j = 0; j < i; j++)
        if (!ruvm_check_holds(c, name, "section is there twice",
                              !same(name, (const char *)entry_of(pack, j))))
            return false;
    return true;
}

/* Where a section lies: after the one before it (which ends at `end`) and in the pack. */
static bool check_place(struct ruvm_check *c, const uint8_t *entry, uint32_t size, uint32_t end)
{
    uint8_t align = entry[RUVM_PACK_SEC_ALIGN];
    uint32_t off = ruvm_load_u32(entry + RUVM_PACK_SEC_OFF);
    uint32_t bytes = ruvm_load_u32(entry + RUVM_PACK_SEC_SIZE);
    return ruvm_check_at_least(c, entry + RUVM_PACK_SEC_ALIGN, "alignment (log2)",
                               RUVM_PACK_MIN_ALIGN_LOG2, align) &&
           ruvm_check_at_most(c, entry + RUVM_PACK_SEC_ALIGN, "alignment (log2)",
                              RUVM_PACK_MAX_ALIGN_LOG2, align) &&
           ruvm_check_zeros(c, entry + RUVM_PACK_SEC_ZERO, entry + RUVM_PACK_SEC_SHA256,
                            "reserved byte") &&
           ruvm_check_at_least(c, entry + RUVM_PACK_SEC_SIZE, "size", 1, bytes) &&
           ruvm_check_multiple(c, entry + RUVM_PACK_SEC_OFF, "offset", 1u << align, off) &&
           ruvm_check_at_least(c, entry + RUVM_PACK_SEC_OFF, "offset", end, off) &&
           ruvm_check_at_most(c, entry + RUVM_PACK_SEC_SIZE, "end", size, (uint64_t)off + bytes);
}

/* Upper-case names are required reading: an application that needs more than this version
 * knows must not start without it. */
static bool check_known(struct ruvm_check *c, const uint8_t *entry)
{
    bool known = entry[0] >= 'a' || same(entry, RUVM_PACK_MODEL);
    if (known && same(entry, RUVM_PACK_MODEL))
        return ruvm_check_at_least(c, entry + RUVM_PACK_SEC_ALIGN, "alignment (log2) of a model",
                                   RUVM_PACK_MODEL_ALIGN_LOG2, entry[RUVM_PACK_SEC_ALIGN]);
    return ruvm_check_supported(
        c, entry, "this version does not know the section, but it is required", known);
}

static bool check_table(struct ruvm_check *c, const struct ruvm_pack *pack)
{
    uint32_t end = RUVM_PACK_TABLE + (uint32_t)pack->n_sections * RUVM_PACK_SEC_BYTES;
    for (unsigned i = 0; i < pack->n_sections; i++) {
        const uint8_t *entry = entry_of(pack, i);
        if (!check_name(c, pack, i) || !check_place(c, entry, pack->size, end) ||
            !check_known(c, entry))
            return false;
        c->section = "";
        end = ruvm_load_u32(entry + RUVM_PACK_SEC_OFF) + ruvm_load_u32(entry + RUVM_PACK_SEC_SIZE);
    }
    return ruvm_check_equal(c, pack->data + RUVM_PACK_FILE_BYTES, "end of the last section",
                            pack->size, end);
}

static bool check_gap(struct ruvm_check *c, const uint8_t *from, const uint8_t *to)
{
    while (from < to && *from == RUVM_PACK_GAP)
        from++;
    return from == to || ruvm_check_equal(c, from, "gap before the section", RUVM_PACK_GAP, *from);
}

/* ---- the whole ----------------------------------------------------------- */

static void check_all(struct ruvm_check *c, struct ruvm_pack *pack)
{
    const uint8_t *h = pack->data;
    if (!ruvm_check_holds(c, h, "not a pack", ruvm_pack_probe(h, c->img->size)) ||
        !check_size(c, "a header takes", RUVM_PACK_TABLE) ||
        !ruvm_check_known(c, h + RUVM_PACK_VERSION_AT, "version", RUVM_PACK_VERSION,
                          ruvm_load_u16(h + RUVM_PACK_VERSION_AT)) ||
        !ruvm_check_at_least(c, h + RUVM_PACK_VERSION_AT, "version", RUVM_PACK_VERSION,
                             ruvm_load_u16(h + RUVM_PACK_VERSION_AT)))
        return;
    read_header(pack);
    if (check_header(c, pack))
        check_table(c, pack);
}

int ruvm_pack_open(struct ruvm_pack *pack, const void *data, size_t size,
                   struct ruvm_image_fault *fault)
{
    struct ruvm_image_fault unwanted;
    struct ruvm_image bytes = {.data = data, .size = size};
    struct ruvm_check c = {.img = &bytes, .fault = fault ? fault : &unwanted, .section = ""};
    *c.fault = (struct ruvm_image_fault){.what = ""};
    *pack = (struct ruvm_pack){.data = data};
    if (((uintptr_t)data & (RUVM_PACK_MEMORY_ALIGN - 1)) != 0)
        return RUVM_ERR_ARG;
    check_all(&c, pack);
    return c.rc;
}

int ruvm_pack_check(const struct ruvm_pack *pack, struct ruvm_image_fault *fault)
{
    struct ruvm_image_fault unwanted;
    struct ruvm_image bytes = {.data = pack->data, .size = pack->size};
    struct ruvm_check c = {.img = &bytes, .fault = fault ? fault : &unwanted, .section = ""};
    const uint8_t *end = entry_of(pack, pack->n_sections);
    *c.fault = (struct ruvm_image_fault){.what = ""};
    for (unsigned i = 0; i < pack->n_sections && c.rc == RUVM_OK; i++) {
        struct ruvm_pack_section s = ruvm_pack_section_at(pack, i);
        c.section = s.name;
        if (check_gap(&c, end, s.data))
            ruvm_check_crc(&c, s.data, s.crc, ruvm_crc32(0, s.data, s.size));
        end = s.data + s.size;
    }
    return c.rc;
}

struct ruvm_pack_section ruvm_pack_section_at(const struct ruvm_pack *pack, unsigned i)
{
    const uint8_t *entry = entry_of(pack, i);
    struct ruvm_pack_section s = {
        .align_log2 = entry[RUVM_PACK_SEC_ALIGN],
        .off = ruvm_load_u32(entry + RUVM_PACK_SEC_OFF),
        .size = ruvm_load_u32(entry + RUVM_PACK_SEC_SIZE),
        .crc = ruvm_load_u32(entry + RUVM_PACK_SEC_CRC),
        .sha256 = entry + RUVM_PACK_SEC_SHA256,
    };
    for (int k = 0; k < 4; k++)
        s.name[k] = (char)entry[RUVM_PACK_SEC_NAME + k];
    s.data = pack->data + s.off;
    return s;
}

bool ruvm_pack_find(const struct ruvm_pack *pack, const char *name,
                    struct ruvm_pack_section *section)
{
    for (unsigned i = 0; i < pack->n_sections; i++) {
        if (same(entry_of(pack, i), name)) {
            *section = ruvm_pack_section_at(pack, i);
            return true;
        }
    }
    return false;
}
