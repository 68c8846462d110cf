/* Reader of the RUVM image: looks at every byte once, then trusts it.
 *
 * The order is that of a person's questions: is it a RUVM file at all, is it whole,
 * is each part undamaged, does it make sense? Each check returns whether it holds
 * and notes the first one that does not, so that checks chain with && and the
 * code reads like the rules of ruvm-image(5). What the sections mean inside is
 * first checked here, then read in place.
 */
#include "formats/ruvm_read.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "scales, gains and increments are read in place, as little-endian");

enum { IMAGE_ALIGN = 16 };

/* The sections this version knows, required ones first. */
enum part {
    PART_ARCH,
    PART_TENS,
    PART_SCAL,
    PART_NORM,
    PART_ROPE,
    PART_KVSC,
    PART_WGTS,
    N_REQUIRED,
    PART_TOKN = N_REQUIRED,
    PART_META,
    PART_GOLD,
    N_PARTS,
};

static const char known_names[N_PARTS][5] = {
    RUVM_SEC_ARCH, RUVM_SEC_TENS, RUVM_SEC_SCAL, RUVM_SEC_NORM, RUVM_SEC_ROPE,
    RUVM_SEC_KVSC, RUVM_SEC_WGTS, RUVM_SEC_TOKN, RUVM_SEC_META, RUVM_SEC_GOLD,
};

struct check {
    struct ruvm_image *img;
    struct ruvm_image_fault *fault; /* never NULL */
    int rc;
    const char *section;               /* being checked: its name, or "" for the header */
    struct ruvm_section part[N_PARTS]; /* data is NULL when absent */
};

/* ---- checks -------------------------------------------------------------- */

/* Notes a breach at that byte; always false. */
static bool fail(struct check *c, const uint8_t *at, const struct ruvm_image_fault *fault)
{
    c->rc = RUVM_ERR_CORRUPT;
    *c->fault = *fault;
    c->fault->off = (uint32_t)(at - c->img->data);
    for (int i = 0; i < 4 && c->section[i]; i++)
        c->fault->section[i] = c->section[i];
    return false;
}

static bool equal(struct check *c, const uint8_t *at, const char *what, uint64_t expected,
                  uint64_t found)
{
    const struct ruvm_image_fault f = {
        .what = what, .kind = RUVM_FAULT_EQUAL, .expected = expected, .found = found};
    return found == expected || fail(c, at, &f);
}

static bool at_least(struct check *c, const uint8_t *at, const char *what, uint64_t least,
                     uint64_t found)
{
    const struct ruvm_image_fault f = {
        .what = what, .kind = RUVM_FAULT_AT_LEAST, .expected = least, .found = found};
    return found >= least || fail(c, at, &f);
}

static bool at_most(struct check *c, const uint8_t *at, const char *what, uint64_t most,
                    uint64_t found)
{
    const struct ruvm_image_fault f = {
        .what = what, .kind = RUVM_FAULT_AT_MOST, .expected = most, .found = found};
    return found <= most || fail(c, at, &f);
}

static bool multiple(struct check *c, const uint8_t *at, const char *what, uint64_t of,
                     uint64_t found)
{
    const struct ruvm_image_fault f = {
        .what = what, .kind = RUVM_FAULT_MULTIPLE, .expected = of, .found = found};
    return found % of == 0 || fail(c, at, &f);
}

static bool holds(struct check *c, const uint8_t *at, const char *what, bool ok)
{
    const struct ruvm_image_fault f = {.what = what, .kind = RUVM_FAULT_TEXT};
    return ok || fail(c, at, &f);
}

static bool crc(struct check *c, const uint8_t *at, uint32_t expected, uint32_t found)
{
    const struct ruvm_image_fault f = {
        .what = "CRC-32", .kind = RUVM_FAULT_CRC, .expected = expected, .found = found};
    return found == expected || fail(c, at, &f);
}

static bool zeros(struct check *c, const uint8_t *from, const uint8_t *to, const char *what)
{
    while (from < to && *from == 0)
        from++;
    return from == to || equal(c, from, what, 0, *from);
}

static bool exponents(struct check *c, const uint8_t *at, uint32_t n)
{
    struct ruvm_image_fault f = {.what = "exponent", .kind = RUVM_FAULT_EXPONENT};
    for (uint32_t i = 0; i < n; i++) {
        int64_t e = (int8_t)at[i];
        f.found = (uint64_t)e;
        if (e < RUVM_MIN_EXP || e > RUVM_MAX_EXP)
            return fail(c, at + i, &f);
    }
    return true;
}

/* A value above `most` is not damage: a later version may give it a meaning. */
static bool known(struct check *c, const uint8_t *at, const char *what, uint64_t most,
                  uint64_t found)
{
    if (at_most(c, at, what, most, found))
        return true;
    c->rc = RUVM_ERR_UNSUPPORTED;
    return false;
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

static bool check_shape(struct check *c)
{
    const struct ruvm_image *img = c->img;
    const uint8_t *h = img->data;
    return at_least(c, h + RUVM_HDR_VOCAB, "vocabulary", 1, img->vocab) &&
           at_least(c, h + RUVM_HDR_DIM, "embedding dimension", 1, img->dim) &&
           at_least(c, h + RUVM_HDR_HIDDEN, "feed-forward dimension", 1, img->hidden) &&
           at_least(c, h + RUVM_HDR_LAYERS, "number of layers", 1, img->n_layers) &&
           at_least(c, h + RUVM_HDR_HEADS, "number of heads", 1, img->n_heads);
}

/* A file that ends early or late, the commonest damage, has a sentence of its own: the
 * one who says how long it should be, e.g. "its header says". */
static bool check_size(struct check *c, const char *who, uint64_t expected)
{
    const struct ruvm_image_fault f = {
        .what = who, .kind = RUVM_FAULT_SIZE, .expected = expected, .found = c->img->size};
    return c->img->size == expected || fail(c, c->img->data + RUVM_HDR_FILE_BYTES, &f);
}

static bool check_v0(struct check *c)
{
    const uint8_t *h = c->img->data;
    return zeros(c, h + RUVM_HDR_VERSION, h + RUVM_HDR_BYTES, "reserved byte of version 0") &&
           check_shape(c) &&
           known(c, h + RUVM_HDR_QUANT, "quantization of version 0", RUVM_QUANT_INT8,
                 c->img->quant) &&
           check_size(c, "its shape in the bare layout (v0) makes", ruvm_image_v0_bytes(c->img));
}

/* The CRC comes first: after it a size that disagrees means a truncated file, not
 * a damaged number. */
static bool check_header(struct check *c)
{
    const struct ruvm_image *img = c->img;
    const uint8_t *h = img->data;
    size_t table = (size_t)img->n_sections * RUVM_SEC_BYTES;
    if (RUVM_HDR_BYTES + table <= img->size) {
        uint32_t sum = ruvm_crc32(0, h, RUVM_HDR_CRC);
        sum = ruvm_crc32(sum, h + RUVM_HDR_BYTES, table);
        if (!crc(c, h + RUVM_HDR_CRC, ruvm_load_u32(h + RUVM_HDR_CRC), sum))
            return false;
    }
    uint32_t flags = ruvm_load_u32(h + RUVM_HDR_FLAGS);
    return check_size(c, "its header says", ruvm_load_u32(h + RUVM_HDR_FILE_BYTES)) &&
           at_most(c, h + RUVM_HDR_N_SECTIONS, "end of the section table", img->size,
                   RUVM_HDR_BYTES + table) &&
           known(c, h + RUVM_HDR_FLAGS, "flags", 0, flags) &&
           at_most(c, h + RUVM_HDR_N_SECTIONS, "number of sections", RUVM_MAX_SECTIONS,
                   img->n_sections) &&
           check_shape(c) && at_least(c, h + RUVM_HDR_CONTEXT, "context", 1, img->context) &&
           equal(c, h + RUVM_HDR_MAX_SEQ, "max_seq_len", img->context < 255 ? img->context : 255,
                 h[RUVM_HDR_MAX_SEQ]) &&
           at_least(c, h + RUVM_HDR_KV_HEADS, "number of key heads", 1, img->n_kv_heads) &&
           multiple(c, h + RUVM_HDR_HEADS, "number of heads", img->n_kv_heads, img->n_heads);
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

static bool check_name(struct check *c, unsigned i)
{
    const uint8_t *name = entry_of(c->img, i);
    for (int k = 0; k < 4; k++)
        if (!holds(c, name + k, "name is not four letters", is_letter(name[k])))
            return false;
    c->section = (const char *)name;
    for (unsigned j = 0; j < i; j++)
        if (!holds(c, name, "section is there twice",
                   !same(name, (const char *)entry_of(c->img, j), 4)))
            return false;
    return true;
}

/* Where a section lies: after the one before it (which ends at `end`) and in the file. */
static bool check_place(struct check *c, const uint8_t *entry, const struct ruvm_section *s,
                        uint32_t end)
{
    const uint8_t *data = c->img->data;
    uint32_t align = same(entry, RUVM_SEC_WGTS, 4) ? RUVM_WGTS_ALIGN : RUVM_SEC_ALIGN;
    return multiple(c, entry + RUVM_SEC_OFF, "offset", align, s->off) &&
           at_least(c, entry + RUVM_SEC_OFF, "offset", end, s->off) &&
           at_most(c, entry + RUVM_SEC_SIZE, "end", c->img->size, (uint64_t)s->off + s->size) &&
           zeros(c, data + end, data + s->off, "gap before the section");
}

/* Upper-case names are required reading; others are skipped when they are not known. */
static bool remember(struct check *c, const uint8_t *entry, const struct ruvm_section *s)
{
    for (int k = 0; k < N_PARTS; k++) {
        if (same(entry, known_names[k], 4)) {
            c->part[k] = *s;
            return true;
        }
    }
    if (entry[0] >= 'a')
        return true;
    holds(c, entry, "this version does not know the section, but it is required", false);
    c->rc = RUVM_ERR_UNSUPPORTED;
    return false;
}

static bool check_sections(struct check *c)
{
    const struct ruvm_image *img = c->img;
    uint32_t end = RUVM_HDR_BYTES + (uint32_t)img->n_sections * RUVM_SEC_BYTES;
    for (unsigned i = 0; i < img->n_sections; i++) {
        const uint8_t *entry = entry_of(img, i);
        struct ruvm_section s = ruvm_image_section(img, i);
        if (!check_name(c, i) || !check_place(c, entry, &s, end) ||
            !crc(c, s.data, s.crc, ruvm_crc32(0, s.data, s.size)) || !remember(c, entry, &s))
            return false;
        c->section = "";
        end = s.off + s.size;
    }
    return equal(c, img->data + RUVM_HDR_FILE_BYTES, "end of the last section", img->size, end);
}

static bool check_required(struct check *c)
{
    for (int k = 0; k < N_REQUIRED; k++) {
        c->section = known_names[k];
        if (!holds(c, c->img->data + RUVM_HDR_N_SECTIONS, "required section is missing",
                   c->part[k].data != NULL))
            return false;
    }
    return true;
}

/* Begins the checks of what is in a section; its size must be exactly this. */
static bool enter(struct check *c, int part, uint64_t size)
{
    c->section = known_names[part];
    return equal(c, c->part[part].data, "size of the section", size, c->part[part].size);
}

/* ---- ARCH and the small sections ------------------------------------------ */

static void read_arch(struct ruvm_image *img, const uint8_t *a)
{
    img->norm = a[RUVM_ARCH_NORM];
    img->act = a[RUVM_ARCH_ACT];
    img->pos = a[RUVM_ARCH_POS];
    img->tied = (a[RUVM_ARCH_FLAGS] & RUVM_ARCH_FLAG_TIED) != 0;
    img->head_dim = ruvm_load_u16(a + RUVM_ARCH_HEAD_DIM);
    img->rope_dims = ruvm_load_u16(a + RUVM_ARCH_ROPE_DIMS);
    img->eps_mantissa = ruvm_load_u32(a + RUVM_ARCH_EPS);
    img->eps_exp = (int8_t)a[RUVM_ARCH_EPS_EXP];
    img->resid_exp = (int8_t)a[RUVM_ARCH_RESID_EXP];
}

static bool check_arch(struct check *c)
{
    const uint8_t *a = c->part[PART_ARCH].data;
    struct ruvm_image *img = c->img;
    if (!enter(c, PART_ARCH, RUVM_ARCH_BYTES))
        return false;
    read_arch(img, a);
    return known(c, a + RUVM_ARCH_NORM, "kind of norm", 0, img->norm) &&
           known(c, a + RUVM_ARCH_ACT, "kind of activation", 0, img->act) &&
           known(c, a + RUVM_ARCH_POS, "kind of positions", 0, img->pos) &&
           known(c, a + RUVM_ARCH_FLAGS, "flags", RUVM_ARCH_FLAG_TIED, a[RUVM_ARCH_FLAGS]) &&
           at_least(c, a + RUVM_ARCH_HEAD_DIM, "size of a head", 2, img->head_dim) &&
           multiple(c, a + RUVM_ARCH_HEAD_DIM, "size of a head", 2, img->head_dim) &&
           at_most(c, a + RUVM_ARCH_HEAD_DIM, "size of all heads", UINT16_MAX,
                   (uint32_t)img->head_dim * img->n_heads) &&
           at_least(c, a + RUVM_ARCH_ROPE_DIMS, "rotating dimensions", 2, img->rope_dims) &&
           multiple(c, a + RUVM_ARCH_ROPE_DIMS, "rotating dimensions", 2, img->rope_dims) &&
           at_most(c, a + RUVM_ARCH_ROPE_DIMS, "rotating dimensions", img->head_dim,
                   img->rope_dims) &&
           exponents(c, a + RUVM_ARCH_EPS_EXP, 2) &&
           zeros(c, a + RUVM_ARCH_RESID_EXP + 1, a + RUVM_ARCH_BYTES, "reserved byte");
}

static bool check_norm(struct check *c)
{
    const uint8_t *s = c->part[PART_NORM].data;
    uint32_t n = 2u * c->img->n_layers + 1;
    uint32_t padded = (uint32_t)ruvm_align_up(n, 16);
    if (!enter(c, PART_NORM, padded + (uint64_t)n * c->img->dim * 2) || !exponents(c, s, n))
        return false;
    c->img->norm_exp = (const int8_t *)s;
    c->img->norm_gain = (const int16_t *)(const void *)(s + padded);
    return zeros(c, s + n, s + padded, "padding of the exponents");
}

static bool check_rope(struct check *c)
{
    c->img->rope_inc = (const uint32_t *)(const void *)c->part[PART_ROPE].data;
    return enter(c, PART_ROPE, c->img->rope_dims / 2u * sizeof *c->img->rope_inc);
}

static bool check_kvsc(struct check *c)
{
    const uint8_t *s = c->part[PART_KVSC].data;
    struct ruvm_image *img = c->img;
    uint32_t channels = (uint32_t)img->n_kv_heads * img->head_dim;
    uint32_t zeros_at = RUVM_KVSC_ARRAYS + 8 * channels, record = zeros_at + 2 * channels;
    if (!enter(c, PART_KVSC, (uint64_t)record * img->n_layers))
        return false;
    img->kvsc = s;
    img->kvsc_bytes = record;
    for (unsigned layer = 0; layer < img->n_layers; layer++, s += record) {
        if (!exponents(c, s, RUVM_KVSC_ARRAYS))
            return false;
        for (uint32_t i = 0; i < channels; i++) {
            const uint8_t *at = s + zeros_at + 2 * (size_t)i;
            int zero = (int16_t)ruvm_load_u16(at);
            if (!holds(c, at, "zero of a key channel is beyond +-16383",
                       zero <= RUVM_KVSC_ZERO_MAX && zero >= -RUVM_KVSC_ZERO_MAX))
                return false;
        }
    }
    return true;
}

/* ---- tensors ------------------------------------------------------------- */

static uint32_t rows_of(const struct ruvm_image *img, int kind)
{
    switch (kind) {
    case RUVM_TENSOR_WQ: return (uint32_t)img->n_heads * img->head_dim;
    case RUVM_TENSOR_WK:
    case RUVM_TENSOR_WV: return (uint32_t)img->n_kv_heads * img->head_dim;
    case RUVM_TENSOR_W_UP:
    case RUVM_TENSOR_W_GATE: return img->hidden;
    case RUVM_TENSOR_WO:
    case RUVM_TENSOR_W_DOWN: return img->dim;
    default: return img->vocab;
    }
}

static uint32_t cols_of(const struct ruvm_image *img, int kind)
{
    switch (kind) {
    case RUVM_TENSOR_WO: return (uint32_t)img->n_heads * img->head_dim;
    case RUVM_TENSOR_W_DOWN: return img->hidden;
    default: return img->dim;
    }
}

static int kind_of(const struct ruvm_image *img, unsigned i)
{
    unsigned in_layers = (unsigned)img->n_layers * RUVM_TENSORS_PER_LAYER;
    if (i == 0)
        return RUVM_TENSOR_EMBED;
    if (i > in_layers)
        return RUVM_TENSOR_HEAD;
    return RUVM_TENSOR_WQ + (int)((i - 1) % RUVM_TENSORS_PER_LAYER);
}

static unsigned layer_of(const struct ruvm_image *img, unsigned i)
{
    unsigned in_layers = (unsigned)img->n_layers * RUVM_TENSORS_PER_LAYER;
    return i == 0 || i > in_layers ? 0 : (i - 1) / RUVM_TENSORS_PER_LAYER;
}

/* What the entry is about, and the shape that the header gives such a tensor. */
static bool check_entry(struct check *c, unsigned i, const struct ruvm_tensor *t)
{
    const struct ruvm_image *img = c->img;
    const uint8_t *e = img->tens + (size_t)i * RUVM_TENS_BYTES;
    int kind = kind_of(img, i);
    return equal(c, e + RUVM_TENS_KIND, "kind of tensor", (uint64_t)kind, t->kind) &&
           equal(c, e + RUVM_TENS_LAYER, "layer of a tensor", layer_of(img, i), t->layer) &&
           known(c, e + RUVM_TENS_TYPE, "type of a tensor", RUVM_TYPE_INT8_ROW, t->type) &&
           exponents(c, e + RUVM_TENS_SCALE_EXP, 1) &&
           equal(c, e + RUVM_TENS_ROWS, "rows of a tensor", rows_of(img, kind), t->rows) &&
           equal(c, e + RUVM_TENS_COLS, "columns of a tensor", cols_of(img, kind), t->cols) &&
           equal(c, e + RUVM_TENS_ROW_BYTES, "bytes of a row",
                 ruvm_align_up(t->cols, RUVM_ROW_ALIGN), t->row_bytes) &&
           equal(c, e + RUVM_TENS_DATA_BYTES, "bytes of a tensor", (uint64_t)t->rows * t->row_bytes,
                 t->data_bytes) &&
           equal(c, e + RUVM_TENS_SCALE_BYTES, "bytes of a tensor's scales", 2 * (uint64_t)t->rows,
                 t->scale_bytes);
}

/* Where its parts lie: behind those of the tensor before it, and within their section. */
static bool check_data(struct check *c, const uint8_t *e, uint64_t data_off, uint64_t scale_off)
{
    const struct ruvm_section *w = &c->part[PART_WGTS], *s = &c->part[PART_SCAL];
    uint32_t data_bytes = ruvm_load_u32(e + RUVM_TENS_DATA_BYTES);
    uint32_t scale_bytes = ruvm_load_u32(e + RUVM_TENS_SCALE_BYTES);
    return equal(c, e + RUVM_TENS_DATA_OFF, "offset of a tensor", data_off,
                 ruvm_load_u32(e + RUVM_TENS_DATA_OFF)) &&
           at_most(c, e + RUVM_TENS_DATA_BYTES, "end of a tensor", w->off + (uint64_t)w->size,
                   data_off + data_bytes) &&
           equal(c, e + RUVM_TENS_SCALE_OFF, "offset of a tensor's scales", scale_off,
                 ruvm_load_u32(e + RUVM_TENS_SCALE_OFF)) &&
           at_most(c, e + RUVM_TENS_SCALE_BYTES, "end of a tensor's scales",
                   s->off + (uint64_t)s->size, scale_off + scale_bytes);
}

/* Kernels rely on both: -128 has no counterpart, and padding is multiplied, too. */
static bool check_weights(struct check *c, const struct ruvm_tensor *t)
{
    c->section = known_names[PART_WGTS];
    for (uint32_t r = 0; r < t->rows; r++) {
        const uint8_t *row = (const uint8_t *)t->data + (size_t)r * t->row_bytes;
        uint32_t i = 0;
        while (i < t->cols && row[i] != 0x80)
            i++;
        if (!holds(c, row + i, "weight is -128, but weights are -127 to 127", i == t->cols) ||
            !zeros(c, row + t->cols, row + t->row_bytes, "padding of a row"))
            return false;
    }
    c->section = known_names[PART_TENS];
    return true;
}

static bool check_tensors(struct check *c)
{
    struct ruvm_image *img = c->img;
    const struct ruvm_section *w = &c->part[PART_WGTS], *s = &c->part[PART_SCAL];
    uint64_t data_off = w->off, scale_off = s->off;
    img->n_tensors = 1u + (uint32_t)img->n_layers * RUVM_TENSORS_PER_LAYER + !img->tied;
    img->tens = c->part[PART_TENS].data;
    if (!enter(c, PART_TENS, (uint64_t)img->n_tensors * RUVM_TENS_BYTES))
        return false;
    for (unsigned i = 0; i < img->n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(img, i);
        if (!check_entry(c, i, &t) ||
            !check_data(c, img->tens + (size_t)i * RUVM_TENS_BYTES, data_off, scale_off) ||
            !check_weights(c, &t))
            return false;
        data_off += t.data_bytes;
        scale_off += t.scale_bytes;
    }
    return enter(c, PART_WGTS, data_off - w->off) && enter(c, PART_SCAL, scale_off - s->off) &&
           equal(c, img->data + RUVM_HDR_QUANT, "quantization", RUVM_QUANT_INT8, img->quant);
}

/* ---- tokn ---------------------------------------------------------------- */

/* The arrays of the section, as ruvm_layout.h lists them. */
struct pieces {
    uint32_t n, n_sorted;
    const uint8_t *off, *rank, *sorted, *byte_id, *kind, *n_sorted_at, *text;
};

static uint32_t u16_at(const uint8_t *array, uint32_t i)
{
    return ruvm_load_u16(array + 2 * (size_t)i);
}

static uint32_t piece_off(const struct pieces *p, uint32_t id)
{
    return ruvm_load_u32(p->off + 4 * (size_t)id);
}

static uint32_t piece_bytes(const struct pieces *p, uint32_t id)
{
    return piece_off(p, id + 1) - piece_off(p, id);
}

static bool is_findable(const struct pieces *p, uint32_t id)
{
    return p->kind[id] == RUVM_PIECE_NORMAL && piece_bytes(p, id) > 0;
}

static struct pieces pieces_of(const uint8_t *s)
{
    uint32_t n = ruvm_load_u16(s + RUVM_TOKN_N_PIECES);
    struct pieces p = {.n = n, .off = s + RUVM_TOKN_ARRAYS};
    p.rank = p.off + 4 * ((size_t)n + 1);
    p.sorted = p.rank + 2 * (size_t)n;
    p.byte_id = p.sorted + 2 * (size_t)n;
    p.kind = p.byte_id + 2 * (size_t)256;
    p.n_sorted_at = p.kind + n + (n & 1);
    p.text = p.n_sorted_at + 2;
    return p;
}

/* An id that need not be there. */
static bool check_id(struct check *c, const uint8_t *at, const char *what)
{
    uint32_t id = ruvm_load_u16(at);
    return id == RUVM_NO_TOKEN || at_most(c, at, what, c->img->vocab - 1u, id);
}

static bool check_tokn_header(struct check *c, const uint8_t *s)
{
    return known(c, s + RUVM_TOKN_KIND, "kind of tokenizer", 1, s[RUVM_TOKN_KIND]) &&
           at_least(c, s + RUVM_TOKN_KIND, "kind of tokenizer", 1, s[RUVM_TOKN_KIND]) &&
           known(c, s + RUVM_TOKN_FLAGS, "flags", 3, s[RUVM_TOKN_FLAGS]) &&
           equal(c, s + RUVM_TOKN_N_PIECES, "number of pieces", c->img->vocab,
                 ruvm_load_u16(s + RUVM_TOKN_N_PIECES)) &&
           check_id(c, s + RUVM_TOKN_BOS, "BOS") && check_id(c, s + RUVM_TOKN_EOS, "EOS") &&
           check_id(c, s + RUVM_TOKN_UNK, "unknown token");
}

static bool check_text(struct check *c, const struct pieces *p, const uint8_t *s)
{
    uint32_t end = 0, longest = 0;
    for (uint32_t i = 0; i <= p->n; i++) {
        uint32_t off = piece_off(p, i);
        if (!at_least(c, p->off + 4 * (size_t)i, "offset of a piece", end, off))
            return false;
        longest = off - end > longest ? off - end : longest;
        end = off;
    }
    return equal(c, p->off, "offset of the first piece", 0, piece_off(p, 0)) &&
           equal(c, p->off + 4 * (size_t)p->n, "end of the last piece",
                 ruvm_load_u32(s + RUVM_TOKN_TEXT_BYTES), end) &&
           equal(c, s + RUVM_TOKN_MAX_PIECE, "bytes of the longest piece", longest,
                 ruvm_load_u16(s + RUVM_TOKN_MAX_PIECE));
}

static bool check_pieces(struct check *c, const struct pieces *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const uint8_t *kind = p->kind + i;
        if (!known(c, kind, "kind of a piece", RUVM_PIECE_CONTROL, *kind) ||
            !at_most(c, p->rank + 2 * (size_t)i, "rank of a piece", p->n - 1, u16_at(p->rank, i)) ||
            (*kind == RUVM_PIECE_BYTE &&
             !equal(c, p->off + 4 * (size_t)i, "bytes of a byte's piece", 1, piece_bytes(p, i))))
            return false;
    }
    return true;
}

static bool check_byte_ids(struct check *c, const struct pieces *p)
{
    for (uint32_t b = 0; b < 256; b++) {
        const uint8_t *at = p->byte_id + 2 * (size_t)b;
        uint32_t id = ruvm_load_u16(at);
        if (id == RUVM_NO_TOKEN)
            continue;
        if (!check_id(c, at, "token of a byte") ||
            !holds(c, at, "token of a byte does not stand for that byte",
                   p->kind[id] != RUVM_PIECE_CONTROL && piece_bytes(p, id) == 1 &&
                       p->text[piece_off(p, id)] == b))
            return false;
    }
    return true;
}

/* Whether piece a comes strictly before b: by bytes, equal ones by id. */
static bool is_before(const struct pieces *p, uint32_t a, uint32_t b)
{
    const uint8_t *x = p->text + piece_off(p, a), *y = p->text + piece_off(p, b);
    uint32_t n = piece_bytes(p, a), m = piece_bytes(p, b);
    for (uint32_t i = 0; i < n && i < m; i++)
        if (x[i] != y[i])
            return x[i] < y[i];
    return n != m ? n < m : a < b;
}

/* Both parts ascend strictly and each piece is in the part it belongs to, so all n ids
 * are there once. */
static bool check_sorted(struct check *c, const struct pieces *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const uint8_t *at = p->sorted + 2 * (size_t)i;
        uint32_t id = ruvm_load_u16(at);
        bool searched = i < p->n_sorted;
        if (!at_most(c, at, "sorted piece", p->n - 1, id) ||
            !holds(c, at, "sorted piece is in the wrong part", is_findable(p, id) == searched))
            return false;
        if (i == 0 || i == p->n_sorted)
            continue;
        uint32_t before = u16_at(p->sorted, i - 1);
        if (!holds(c, at, "sorted pieces are not in order",
                   searched ? is_before(p, before, id) : before < id))
            return false;
    }
    return true;
}

static bool check_tokn(struct check *c)
{
    const uint8_t *s = c->part[PART_TOKN].data;
    uint32_t size = c->part[PART_TOKN].size;
    c->section = known_names[PART_TOKN];
    if (!s)
        return true;
    if (!at_least(c, s, "size of the section", RUVM_TOKN_ARRAYS, size) || !check_tokn_header(c, s))
        return false;
    struct pieces p = pieces_of(s);
    uint64_t text = ruvm_load_u32(s + RUVM_TOKN_TEXT_BYTES);
    if (!enter(c, PART_TOKN, (uint64_t)(p.text - s) + text))
        return false;
    p.n_sorted = ruvm_load_u16(p.n_sorted_at);
    c->img->tokn = s;
    c->img->tokn_bytes = size;
    return zeros(c, p.kind + p.n, p.n_sorted_at, "padding") &&
           at_most(c, p.n_sorted_at, "number of sorted pieces", p.n, p.n_sorted) &&
           check_text(c, &p, s) && check_pieces(c, &p) && check_byte_ids(c, &p) &&
           check_sorted(c, &p);
}

/* ---- gold and meta ------------------------------------------------------- */

static bool check_gold(struct check *c)
{
    const uint8_t *s = c->part[PART_GOLD].data;
    uint32_t size = c->part[PART_GOLD].size;
    c->section = known_names[PART_GOLD];
    if (!s)
        return true;
    if (!at_least(c, s, "size of the section", RUVM_GOLD_IDS, size))
        return false;
    uint32_t prompt = ruvm_load_u16(s + RUVM_GOLD_N_PROMPT);
    uint32_t tokens = ruvm_load_u16(s + RUVM_GOLD_N_TOKENS);
    if (!at_least(c, s + RUVM_GOLD_N_PROMPT, "tokens of the prompt", 1, prompt) ||
        !at_least(c, s + RUVM_GOLD_N_TOKENS, "golden tokens", 1, tokens) ||
        !at_most(c, s, "prompt and golden tokens", c->img->context + 1u, prompt + tokens) ||
        !enter(c, PART_GOLD, RUVM_GOLD_IDS + 2 * ((uint64_t)prompt + tokens)))
        return false;
    for (const uint8_t *id = s + RUVM_GOLD_IDS; id < s + size; id += 2)
        if (!at_most(c, id, "golden token", c->img->vocab - 1u, ruvm_load_u16(id)))
            return false;
    c->img->gold = s;
    c->img->gold_bytes = size;
    return true;
}

/* Bytes of the UTF-8 character at p (shortest form, no surrogates), or 0. */
static uint32_t utf8_bytes(const uint8_t *p, const uint8_t *end)
{
    uint32_t n = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n == 0 || p[0] > 0xF4 || (size_t)(end - p) < n)
        return 0;
    for (uint32_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
        (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return n;
}

/* Checks the line at p and moves *next past it. *key_end: where its '=' stands. */
static bool check_line(struct check *c, const uint8_t *p, const uint8_t *end,
                       const uint8_t **key_end, const uint8_t **next)
{
    *key_end = NULL;
    const uint8_t *at = p;
    while (at < end && *at != '\n') {
        uint32_t n = utf8_bytes(at, end);
        if (!holds(c, at, "text is not UTF-8", n > 0) ||
            !holds(c, at, "text has a control character", *at >= ' ' && *at != 0x7F))
            return false;
        if (*at == '=' && !*key_end)
            *key_end = at;
        at += n;
    }
    *next = at + 1;
    return holds(c, p, "last line has no end", at < end) &&
           holds(c, p, "line is not key=value", *key_end && *key_end > p);
}

/* Whether the bytes [a, a_end) come strictly before [b, b_end). */
static bool is_key_before(const uint8_t *a, const uint8_t *a_end, const uint8_t *b,
                          const uint8_t *b_end)
{
    while (a < a_end && b < b_end && *a == *b) {
        a++;
        b++;
    }
    return b < b_end && (a == a_end || *a < *b);
}

static bool check_meta(struct check *c)
{
    const uint8_t *s = c->part[PART_META].data;
    uint32_t size = c->part[PART_META].size;
    const uint8_t *before = s, *before_end = s;
    c->section = known_names[PART_META];
    if (!s)
        return true;
    for (const uint8_t *p = s, *key_end, *next; p < s + size; p = next) {
        if (!check_line(c, p, s + size, &key_end, &next) ||
            !holds(c, p, "keys are not in order", is_key_before(before, before_end, p, key_end)))
            return false;
        before = p;
        before_end = key_end;
    }
    c->img->meta = s;
    c->img->meta_bytes = size;
    return true;
}

/* ---- the whole ----------------------------------------------------------- */

static bool check_image(struct check *c)
{
    struct ruvm_image *img = c->img;
    bool has_magic = img->size >= 4 && same(img->data, RUVM_MAGIC, 4);
    if (!holds(c, img->data, "not a RUVM file", has_magic))
        return false;
    if (img->size < RUVM_HDR_BYTES)
        return check_size(c, "a header takes", RUVM_HDR_BYTES);
    read_header(img);
    if (img->version == RUVM_VERSION_V0)
        return check_v0(c);
    return known(c, img->data + RUVM_HDR_VERSION, "version", RUVM_VERSION_V1, img->version) &&
           check_header(c) && check_sections(c) && check_required(c) && check_arch(c) &&
           check_norm(c) && check_rope(c) && check_kvsc(c) && check_tensors(c) && check_tokn(c) &&
           check_gold(c) && check_meta(c);
}

int ruvm_image_open(struct ruvm_image *img, const void *data, size_t size,
                    struct ruvm_image_fault *fault)
{
    struct ruvm_image_fault unwanted;
    struct check c = {.img = img, .fault = fault ? fault : &unwanted, .section = ""};
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

struct ruvm_tensor ruvm_image_tensor(const struct ruvm_image *img, unsigned i)
{
    const uint8_t *e = img->tens + (size_t)i * RUVM_TENS_BYTES;
    const uint8_t *data = img->data + ruvm_load_u32(e + RUVM_TENS_DATA_OFF);
    const uint8_t *scales = img->data + ruvm_load_u32(e + RUVM_TENS_SCALE_OFF);
    return (struct ruvm_tensor){
        .kind = e[RUVM_TENS_KIND],
        .layer = e[RUVM_TENS_LAYER],
        .type = e[RUVM_TENS_TYPE],
        .scale_exp = (int8_t)e[RUVM_TENS_SCALE_EXP],
        .rows = ruvm_load_u32(e + RUVM_TENS_ROWS),
        .cols = ruvm_load_u32(e + RUVM_TENS_COLS),
        .row_bytes = ruvm_load_u32(e + RUVM_TENS_ROW_BYTES),
        .data_bytes = ruvm_load_u32(e + RUVM_TENS_DATA_BYTES),
        .scale_bytes = ruvm_load_u32(e + RUVM_TENS_SCALE_BYTES),
        .data = (const int8_t *)data,
        .scales = (const uint16_t *)(const void *)scales,
    };
}

struct ruvm_tensor ruvm_image_find(const struct ruvm_image *img, int kind, unsigned layer)
{
    if (kind == RUVM_TENSOR_EMBED || (kind == RUVM_TENSOR_HEAD && img->tied))
        return ruvm_image_tensor(img, 0);
    if (kind == RUVM_TENSOR_HEAD)
        return ruvm_image_tensor(img, img->n_tensors - 1);
    return ruvm_image_tensor(img, 1 + layer * RUVM_TENSORS_PER_LAYER +
                                      (unsigned)(kind - RUVM_TENSOR_WQ));
}

uint64_t ruvm_image_v0_bytes(const struct ruvm_image *img)
{
    uint64_t dim = img->dim;
    uint64_t layer = 4 * dim * dim + 3 * dim * img->hidden;
    return RUVM_HDR_BYTES + 2 * img->vocab * dim + img->n_layers * layer;
}
