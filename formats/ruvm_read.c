/* Reader of the RUVM image: looks at every byte once, then trusts it.
 *
 * The order is that of a person's questions: is it a RUVM file at all, is it whole,
 * is each part undamaged, does it make sense? Each check returns whether it holds
 * and notes the first one that does not, so that checks chain with && and the
 * code reads like the rules of ruvm-image(5). What the sections mean inside is
 * first checked here, then read in place.
 */
#include "formats/ruvm_read.h"

#include "formats/arch_read.h"
#include "formats/check_read.h"
#include "formats/optional_read.h"
#include "formats/tokn_read.h"
#include "formats/weights_read.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "scales, gains and increments are read in place, as little-endian");

enum { IMAGE_ALIGN = 16 };

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

static bool check_shape(struct ruvm_check *c)
{
    const struct ruvm_image *img = c->img;
    const uint8_t *h = img->data;
    return ruvm_check_at_least(c, h + RUVM_HDR_VOCAB, "vocabulary", 1, img->vocab) &&
           ruvm_check_at_least(c, h + RUVM_HDR_DIM, "embedding dimension", 1, img->dim) &&
           ruvm_check_at_least(c, h + RUVM_HDR_HIDDEN, "feed-forward dimension", 1, img->hidden) &&
           ruvm_check_at_least(c, h + RUVM_HDR_LAYERS, "number of layers", 1, img->n_layers) &&
           ruvm_check_at_least(c, h + RUVM_HDR_HEADS, "number of heads", 1, img->n_heads);
}

/* A file that ends early or late, the commonest damage, has a sentence of its own: the
 * one who says how long it should be, e.g. "its header says". */
static bool check_size(struct ruvm_check *c, const char *who, uint64_t expected)
{
    const struct ruvm_image_fault f = {
        .what = who, .kind = RUVM_FAULT_SIZE, .expected = expected, .found = c->img->size};
    return c->img->size == expected || ruvm_check_fail(c, c->img->data + RUVM_HDR_FILE_BYTES, &f);
}

static bool check_v0(struct ruvm_check *c)
{
    const uint8_t *h = c->img->data;
    return ruvm_check_zeros(c, h + RUVM_HDR_VERSION, h + RUVM_HDR_BYTES,
                            "reserved byte of version 0") &&
           check_shape(c) &&
           ruvm_check_known(c, h + RUVM_HDR_QUANT, "quantization of version 0", RUVM_QUANT_INT8,
                            c->img->quant) &&
           check_size(c, "its shape in the bare layout (v0) makes", ruvm_image_v0_bytes(c->img));
}

/* The CRC comes first: after it a size that disagrees means a truncated file, not
 * a damaged number. */
static bool check_header(struct ruvm_check *c)
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
    return check_size(c, "its header says", ruvm_load_u32(h + RUVM_HDR_FILE_BYTES)) &&
           ruvm_check_at_most(c, h + RUVM_HDR_N_SECTIONS, "end of the section table", img->size,
                              RUVM_HDR_BYTES + table) &&
           ruvm_check_known(c, h + RUVM_HDR_FLAGS, "flags", 0, flags) &&
           ruvm_check_at_most(c, h + RUVM_HDR_N_SECTIONS, "number of sections", RUVM_MAX_SECTIONS,
                              img->n_sections) &&
           check_shape(c) &&
           ruvm_check_at_least(c, h + RUVM_HDR_CONTEXT, "context", 1, img->context) &&
           ruvm_check_equal(c, h + RUVM_HDR_MAX_SEQ, "max_seq_len",
                            img->context < 255 ? img->context : 255, h[RUVM_HDR_MAX_SEQ]) &&
           ruvm_check_at_least(c, h + RUVM_HDR_KV_HEADS, "number of key heads", 1,
                               img->n_kv_heads) &&
           ruvm_check_multiple(c, h + RUVM_HDR_HEADS, "number of heads", img->n_kv_heads,
                               img->n_heads);
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

static bool check_sections(struct ruvm_check *c)
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

static bool check_required(struct ruvm_check *c)
{
    for (int k = 0; k < RUVM_N_REQUIRED; k++)
        if (!ruvm_check_present(c, (enum ruvm_section_index)k))
            return false;
    return true;
}

/* ---- the whole ----------------------------------------------------------- */

static bool check_image(struct ruvm_check *c)
{
    struct ruvm_image *img = c->img;
    bool has_magic = img->size >= 4 && same(img->data, RUVM_MAGIC, 4);
    if (!ruvm_check_holds(c, img->data, "not a RUVM file", has_magic))
        return false;
    if (img->size < RUVM_HDR_BYTES)
        return check_size(c, "a header takes", RUVM_HDR_BYTES);
    read_header(img);
    if (img->version == RUVM_VERSION_V0)
        return check_v0(c);
    return ruvm_check_known(c, img->data + RUVM_HDR_VERSION, "version", RUVM_VERSION_V1,
                            img->version) &&
           check_header(c) && check_sections(c) && check_required(c) && ruvm_arch_check(c) &&
           ruvm_weights_check(c) && ruvm_tokn_check(c) && ruvm_optional_gold(c) &&
           ruvm_optional_meta(c);
}

int ruvm_image_open(struct ruvm_image *img, const void *data, size_t size,
                    struct ruvm_image_fault *fault)
{
    struct ruvm_image_fault unwanted;
    struct ruvm_check c = {.img = img, .fault = fault ? fault : &unwanted, .section = ""};
    *c.fault = (struct ruvm_image_fault){.what = ""};
    *img = (struct ruvm_image){.data = data, .size = size};
    if (((uintptr_t)data & (IMAGE_ALIGN - 1)) != 0)
        return RUVM_ERR_ARG;
    check_image(&c);
    return c.rc;
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

uint64_t ruvm_image_v0_bytes(const struct ruvm_image *img)
{
    uint64_t dim = img->dim;
    uint64_t layer = 4 * dim * dim + 3 * dim * img->hidden;
    return RUVM_HDR_BYTES + 2 * img->vocab * dim + img->n_layers * layer;
}
