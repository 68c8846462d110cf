/* The frame of a RUVM file: header, section table and checksums, whatever network it holds.
 *
 * The order is that of a person's questions: is it a RUVM file at all, is it whole, is
 * each part undamaged? What the sections mean is for others to say.
 */
#include "formats/frame_read.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "scales, gains and increments are read in place, as little-endian");

enum { IMAGE_ALIGN = 16 };

bool ruvm_frame_over(struct ruvm_check *c, const void *data, size_t size)
{
    *c->fault = (struct ruvm_image_fault){.what = ""};
    *c->img = (struct ruvm_image){.data = data, .size = size};
    c->rc = ((uintptr_t)data & (IMAGE_ALIGN - 1)) != 0 ? RUVM_ERR_ARG : RUVM_OK;
    return c->rc == RUVM_OK;
}

/* ---- header -------------------------------------------------------------- */

static bool same(const uint8_t *p, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (uint8_t)text[i])
            return false;
    return true;
}

static void read_header(struct ruvm_image *img)
{
    const uint8_t *h = img->data;
    img->version = h[RUVM_HDR_VERSION];
    img->vocab = ruvm_load_u16(h + RUVM_HDR_VOCAB);
    img->dim = ruvm_load_u16(h + RUVM_HDR_DIM);
    img->hidden = ruvm_load_u16(h + RUVM_HDR_HIDDEN);
    img->n_layers = h[RUVM_HDR_LAYERS];
    img->n_heads = h[RUVM_HDR_HEADS];
    img->quant = h[RUVM_HDR_QUANT];
    bool bare = img->version == RUVM_VERSION_V0;
    img->n_kv_heads = bare ? img->n_heads : h[RUVM_HDR_KV_HEADS];
    img->context = bare ? h[RUVM_HDR_MAX_SEQ] : ruvm_load_u16(h + RUVM_HDR_CONTEXT);
    img->n_sections = bare ? 0 : ruvm_load_u16(h + RUVM_HDR_N_SECTIONS);
}

/* A file that ends early or late, the commonest damage, has a sentence of its own: the
 * one who says how long it should be, e.g. "its header says". */
bool ruvm_frame_size(struct ruvm_check *c, const char *who, uint64_t expected)
{
    const struct ruvm_image_fault f = {
        .what = who, .kind = RUVM_FAULT_SIZE, .expected = expected, .found = c->img->size};
    return c->img->size == expected || ruvm_check_fail(c, c->img->data + RUVM_HDR_FILE_BYTES, &f);
}

bool ruvm_frame_begin(struct ruvm_check *c)
{
    struct ruvm_image *img = c->img;
    bool has_magic = img->size >= 4 && same(img->data, RUVM_MAGIC, 4);
    if (!ruvm_check_holds(c, img->data, "not a RUVM file", has_magic))
        return false;
    if (img->size < RUVM_HDR_BYTES)
        return ruvm_frame_size(c, "a header takes", RUVM_HDR_BYTES);
    read_header(img);
    return true;
}

/* The CRC comes first: after it a size that disagrees means a truncated file, not
 * a damaged number. */
bool ruvm_frame_header(struct ruvm_check *c)
{
    const struct ruvm_image *img = c->img;
    const uint8_t *h = img->data;
    size_t table = (size_t)img->n_sections * RUVM_SEC_BYTES;
    if (RUVM_HDR_BYTES + table <= img->size) {
        uint32_t sum = ruvm_crc32(0, h, RUVM_HDR_CRC);
        sum = ruvm_crc32(sum, h + RUVM_HDR_BYTES, table);
        if (!ruvm_check_crc(c, h + RUVM_HDR_CRC, ruvm_load_u32(h + RUVM_HDR_CRC), sum))
            return false;
    }
    uint32_t flags = ruvm_load_u32(h + RUVM_HDR_FLAGS);
    return ruvm_frame_size(c, "its header says", ruvm_load_u32(h + RUVM_HDR_FILE_BYTES)) &&
           ruvm_check_at_most(c, h + RUVM_HDR_N_SECTIONS, "end of the section table", img->size,
                              RUVM_HDR_BYTES + table) &&
           ruvm_check_known(c, h + RUVM_HDR_FLAGS, "flags", 0, flags) &&
           ruvm_check_at_most(c, h + RUVM_HDR_N_SECTIONS, "number of sections", RUVM_MAX_SECTIONS,
                              img->n_sections);
}

/* ---- sections ------------------------------------------------------------ */

static const uint8_t *entry_of(const struct ruvm_image *img, unsigned i)
{
    return img->data + RUVM_HDR_BYTES + (size_t)i * RUVM_SEC_BYTES;
}

static bool is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool check_name(struct ruvm_check *c, unsigned i)
{
    const uint8_t *name = entry_of(c->img, i);
    for (int k = 0; k < 4; k++)
        if (!ruvm_check_holds(c, name + k, "name is not four letters", is_letter(name[k])))
            return false;
    c->section = (const char *)name;
    for (unsigned j = 0; j < i; j++)
        if (!ruvm_check_holds(c, name, "section is there twice",
                              !same(name, (const char *)entry_of(c->img, j), 4)))
            return false;
    return true;
}

/* Where a section lies: after the one before it (which ends at `end`) and in the file. */
static bool check_place(struct ruvm_check *c, const uint8_t *entry, const struct ruvm_section *s,
                        uint32_t end)
{
    const uint8_t *data = c->img->data;
    uint32_t align = same(entry, RUVM_SEC_WGTS, 4) ? RUVM_WGTS_ALIGN : RUVM_SEC_ALIGN;
    return ruvm_check_multiple(c, entry + RUVM_SEC_OFF, "offset", align, s->off) &&
           ruvm_check_at_least(c, entry + RUVM_SEC_OFF, "offset", end, s->off) &&
           ruvm_check_at_most(c, entry + RUVM_SEC_SIZE, "end", c->img->size,
                              (uint64_t)s->off + s->size) &&
           ruvm_check_zeros(c, data + end, data + s->off, "gap before the section");
}

bool ruvm_frame_foreign(struct ruvm_check *c, enum ruvm_section_index part)
{
    c->section = ruvm_check_names[part];
    return ruvm_check_supported(c, c->part[part].data, "a network of this kind has no such section",
                                c->part[part].data == NULL);
}

/* Upper-case names are required reading; others are skipped when they are not known. */
static bool remember(struct ruvm_check *c, const uint8_t *entry, const struct ruvm_section *s)
{
    for (int k = 0; k < RUVM_N_SECTIONS; k++) {
        if (same(entry, ruvm_check_names[k], 4)) {
            c->part[k] = *s;
            return true;
        }
    }
    if (entry[0] >= 'a')
        return true;
    return ruvm_check_supported(
        c, entry, "this version does not know the section, but it is required", false);
}

bool ruvm_frame_sections(struct ruvm_check *c)
{
    const struct ruvm_image *img = c->img;
    uint32_t end = RUVM_HDR_BYTES + (uint32_t)img->n_sections * RUVM_SEC_BYTES;
    for (unsigned i = 0; i < img->n_sections; i++) {
        const uint8_t *entry = entry_of(img, i);
        struct ruvm_section s = ruvm_image_section(img, i);
        if (!check_name(c, i) || !check_place(c, entry, &s, end) ||
            !ruvm_check_crc(c, s.data, s.crc, ruvm_crc32(0, s.data, s.size)) ||
            !remember(c, entry, &s))
            return false;
        c->section = "";
        end = s.off + s.size;
    }
    return ruvm_check_equal(c, img->data + RUVM_HDR_FILE_BYTES, "end of the last section",
                            img->size, end);
}

struct ruvm_section ruvm_image_section(const struct ruvm_image *img, unsigned i)
{
    const uint8_t *entry = entry_of(img, i);
    struct ruvm_section s = {
        .off = ruvm_load_u32(entry + RUVM_SEC_OFF),
        .size = ruvm_load_u32(entry + RUVM_SEC_SIZE),
        .crc = ruvm_load_u32(entry + RUVM_SEC_CRC),
    };
    for (int k = 0; k < 4; k++)
        s.name[k] = (char)entry[k];
    s.data = s.off <= img->size ? img->data + s.off : NULL;
    return s;
}
