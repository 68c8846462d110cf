/* Reads the tensors: the directory, the packed weights, their scales and multipliers.
 *
 * Which tensors there are and how large each one is follows from the header, and where
 * they stand from the sizes of those before; so a directory has nothing to say but each
 * one's type. It is checked all the same, for a chip that wants one tensor should not
 * have to add up the others.
 */
#include "formats/weights_read.h"

#include "formats/ruvm_codes.h"
#include "lib/base/bytes.h"

enum { GROUP_LOG2_MIN = 4, GROUP_LOG2_MAX = 6 };

struct ruvm_tensor ruvm_image_tensor(const struct ruvm_image *img, unsigned i)
{
    const uint8_t *e = img->tens + (size_t)i * RUVM_TENS_BYTES;
    const uint8_t *data = img->data + ruvm_load_u32(e + RUVM_TENS_DATA_OFF);
    const uint8_t *scales = img->data + ruvm_load_u32(e + RUVM_TENS_SCALE_OFF);
    uint32_t log2 = e[RUVM_TENS_TYPE] >> RUVM_TYPE_GROUP_SHIFT;
    struct ruvm_tensor t = {
        .kind = e[RUVM_TENS_KIND],
        .layer = e[RUVM_TENS_LAYER],
        .type = e[RUVM_TENS_TYPE] & RUVM_TYPE_MASK,
        .group = log2 >= GROUP_LOG2_MIN && log2 <= GROUP_LOG2_MAX ? (uint8_t)(1u << log2) : 0,
        .scale_exp = (int8_t)e[RUVM_TENS_SCALE_EXP],
        .rows = ruvm_load_u32(e + RUVM_TENS_ROWS),
        .cols = ruvm_load_u32(e + RUVM_TENS_COLS),
        .row_bytes = ruvm_load_u32(e + RUVM_TENS_ROW_BYTES),
        .data_bytes = ruvm_load_u32(e + RUVM_TENS_DATA_BYTES),
        .scale_bytes = ruvm_load_u32(e + RUVM_TENS_SCALE_BYTES),
        .data = (const int8_t *)data,
        .scales = (const uint16_t *)(const void *)scales,
        .index = i,
    };
    t.mult = t.group ? scales + 2 * (size_t)t.rows : NULL;
    t.mult_bytes = ruvm_codes_mult_bytes(t.cols, t.group);
    return t;
}

/* Tensors before the first layer, and of a layer. */
static unsigned before_layers(const struct ruvm_image *img)
{
    return img->pos == RUVM_POS_LEARNED ? 2 : 1;
}

static unsigned per_layer(const struct ruvm_image *img)
{
    return RUVM_TENSORS_PER_LAYER - (img->act != RUVM_ACT_SILU_GATED);
}

/* W_DOWN takes the place of a gate that is not there. */
struct ruvm_tensor ruvm_image_find(const struct ruvm_image *img, int kind, unsigned layer)
{
    unsigned place = (unsigned)(kind - RUVM_TENSOR_WQ);
    if (kind == RUVM_TENSOR_EMBED || (kind == RUVM_TENSOR_HEAD && img->tied))
        return ruvm_image_tensor(img, 0);
    if (kind == RUVM_TENSOR_HEAD)
        return ruvm_image_tensor(img, img->n_tensors - 1);
    if (kind == RUVM_TENSOR_POSITION)
        return ruvm_image_tensor(img, 1);
    if (kind == RUVM_TENSOR_W_DOWN)
        place = per_layer(img) - 1;
    return ruvm_image_tensor(img, before_layers(img) + layer * per_layer(img) + place);
}

uint32_t ruvm_image_multiplier(const struct ruvm_tensor *t, uint32_t row, uint32_t col)
{
    return t->group ? ruvm_codes_mult(t->mult + (size_t)row * t->mult_bytes, col / t->group) : 1;
}

/* ---- the directory ------------------------------------------------------- */

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
    case RUVM_TENSOR_POSITION: return img->context;
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
    unsigned first = before_layers(img), n = per_layer(img);
    if (i < first)
        return i == 0 ? RUVM_TENSOR_EMBED : RUVM_TENSOR_POSITION;
    if (i - first >= n * img->n_layers)
        return RUVM_TENSOR_HEAD;
    unsigned place = (i - first) % n;
    return place == n - 1 ? RUVM_TENSOR_W_DOWN : RUVM_TENSOR_WQ + (int)place;
}

static unsigned layer_of(const struct ruvm_image *img, unsigned i)
{
    unsigned first = before_layers(img), n = per_layer(img);
    return i < first || i - first >= n * img->n_layers ? 0 : (i - first) / n;
}

static bool check_type(struct ruvm_check *c, const uint8_t *at, const struct ruvm_tensor *t)
{
    bool is_grouped = *at >> RUVM_TYPE_GROUP_SHIFT != 0;
    return ruvm_check_known(c, at, "type of a tensor", RUVM_N_TYPES - 1, t->type) &&
           ruvm_check_supported(c, at, "groups of a tensor are of no size that its type has",
                                !is_grouped || (t->group && ruvm_codes_has_groups(t->type)));
}

/* What the entry is about, and the shape that the header gives such a tensor. */
static bool check_shape(struct ruvm_check *c, const struct ruvm_tensor *t,
                        const struct ruvm_tensor *expected)
{
    const uint8_t *e = c->img->tens + (size_t)t->index * RUVM_TENS_BYTES;
    uint32_t most = t->group ? RUVM_GROUPED_MAX_COLS : UINT16_MAX;
    return ruvm_check_equal(c, e + RUVM_TENS_KIND, "kind of tensor", expected->kind, t->kind) &&
           ruvm_check_equal(c, e + RUVM_TENS_LAYER, "layer of a tensor", expected->layer,
                            t->layer) &&
           check_type(c, e + RUVM_TENS_TYPE, t) &&
           ruvm_check_exponents(c, e + RUVM_TENS_SCALE_EXP, 1) &&
           ruvm_check_equal(c, e + RUVM_TENS_ROWS, "rows of a tensor", expected->rows, t->rows) &&
           ruvm_check_equal(c, e + RUVM_TENS_COLS, "columns of a tensor", expected->cols,
                            t->cols) &&
           ruvm_check_at_most(c, e + RUVM_TENS_COLS, "columns of a tensor with groups", most,
                              t->cols);
}

/* Of a decoder. */
static struct ruvm_tensor expected_tensor(const struct ruvm_image *img, unsigned i)
{
    int kind = kind_of(img, i);
    return (struct ruvm_tensor){.kind = (uint8_t)kind,
                                .layer = (uint8_t)layer_of(img, i),
                                .rows = rows_of(img, kind),
                                .cols = cols_of(img, kind)};
}

static uint64_t padded(uint64_t n, uint32_t align)
{
    return (n + align - 1) / align * align;
}

/* The sizes that follow from shape and type. */
static bool check_sizes(struct ruvm_check *c, const uint8_t *e, const struct ruvm_tensor *t)
{
    uint64_t scale_bytes = (uint64_t)t->rows * (sizeof *t->scales + t->mult_bytes);
    return ruvm_check_equal(c, e + RUVM_TENS_ROW_BYTES, "bytes of a row",
                            ruvm_codes_row_bytes(t->type, t->cols), t->row_bytes) &&
           ruvm_check_equal(c, e + RUVM_TENS_DATA_BYTES, "bytes of a tensor",
                            padded((uint64_t)t->rows * t->row_bytes, RUVM_ROW_ALIGN),
                            t->data_bytes) &&
           ruvm_check_equal(c, e + RUVM_TENS_SCALE_BYTES, "bytes of a tensor's scales",
                            padded(scale_bytes, sizeof *t->scales), t->scale_bytes);
}

/* Where its parts lie: behind those of the tensor before it, and within their section. */
static bool check_places(struct ruvm_check *c, const uint8_t *e, uint64_t data_off,
                         uint64_t scale_off)
{
    const struct ruvm_section *w = &c->part[RUVM_SECTION_WGTS], *s = &c->part[RUVM_SECTION_SCAL];
    uint32_t data_bytes = ruvm_load_u32(e + RUVM_TENS_DATA_BYTES);
    uint32_t scale_bytes = ruvm_load_u32(e + RUVM_TENS_SCALE_BYTES);
    return ruvm_check_equal(c, e + RUVM_TENS_DATA_OFF, "offset of a tensor", data_off,
                            ruvm_load_u32(e + RUVM_TENS_DATA_OFF)) &&
           ruvm_check_at_most(c, e + RUVM_TENS_DATA_BYTES, "end of a tensor",
                              w->off + (uint64_t)w->size, data_off + data_bytes) &&
           ruvm_check_equal(c, e + RUVM_TENS_SCALE_OFF, "offset of a tensor's scales", scale_off,
                            ruvm_load_u32(e + RUVM_TENS_SCALE_OFF)) &&
           ruvm_check_at_most(c, e + RUVM_TENS_SCALE_BYTES, "end of a tensor's scales",
                              s->off + (uint64_t)s->size, scale_off + scale_bytes);
}

/* ---- what it points to --------------------------------------------------- */

/* Whether one of n bytes, a multiple of eight, is -128: flipped, a byte is 0 then. */
static bool has_128(const uint8_t *p, uint32_t n)
{
    uint64_t found = 0;
    for (const uint8_t *end = p + n; p < end; p += sizeof found) {
        uint64_t eight;
        __builtin_memcpy(&eight, p, sizeof eight);
        eight ^= 0x8080808080808080u;
        found |= (eight - 0x0101010101010101u) & ~eight & 0x8080808080808080u;
    }
    return found != 0;
}
_Static_assert(RUVM_ROW_ALIGN % 8 == 0, "rows of INT8 are whole eights of bytes");

/* Kernels rely on both: -128 has no counterpart, and padding is multiplied, too. */
static bool check_levels(struct ruvm_check *c, const struct ruvm_tensor *t, const uint8_t *row)
{
    uint32_t i = RUVM_CORE_SMALL || has_128(row, t->row_bytes) ? 0 : t->cols;
    while (i < t->cols && row[i] != 0x80)
        i++;
    return ruvm_check_holds(c, row + i, "weight is -128, but weights are -127 to 127",
                            i == t->cols) &&
           ruvm_check_zeros(c, row + t->cols, row + t->row_bytes, "padding of a row");
}

static bool check_codes(struct ruvm_check *c, const struct ruvm_tensor *t, const uint8_t *row)
{
    return ruvm_check_holds(c, row, "packed row has a byte or padding that packing cannot make",
                            ruvm_codes_valid(t->type, row, t->cols));
}

static bool check_weights(struct ruvm_check *c, const struct ruvm_tensor *t)
{
    const uint8_t *row = (const uint8_t *)t->data, *end = row + t->data_bytes;
    bool ok = true;
    c->section = ruvm_check_names[RUVM_SECTION_WGTS];
    for (uint32_t r = 0; r < t->rows && ok; r++, row += t->row_bytes)
        ok = t->type == RUVM_TYPE_INT8 ? check_levels(c, t, row) : check_codes(c, t, row);
    return ok && ruvm_check_zeros(c, row, end, "padding of a tensor");
}

/* A row with an odd number of groups has half a byte to spare, and a tensor may have a
 * whole one. */
static bool check_multipliers(struct ruvm_check *c, const struct ruvm_tensor *t)
{
    if (!t->group)
        return true;
    bool is_odd = (t->cols + t->group - 1) / t->group % 2 != 0;
    const uint8_t *last = t->mult + t->mult_bytes - 1;
    const uint8_t *end = (const uint8_t *)t->scales + t->scale_bytes;
    c->section = ruvm_check_names[RUVM_SECTION_SCAL];
    for (uint32_t r = 0; r < t->rows && is_odd; r++, last += t->mult_bytes)
        if (!ruvm_check_holds(c, last, "unused half of a row's last multiplier is not 0",
                              *last >> 4 == 0))
            return false;
    return ruvm_check_zeros(c, t->mult + (size_t)t->rows * t->mult_bytes, end,
                            "padding of a tensor's scales");
}

/* ---- all of them --------------------------------------------------------- */

/* The published byte of the header, which knows four types. */
static uint8_t quantization_of(const struct ruvm_image *img)
{
    static const uint8_t published[RUVM_N_TYPES] = {
        [RUVM_TYPE_INT8] = RUVM_QUANT_INT8,     [RUVM_TYPE_INT4] = RUVM_QUANT_INT4,
        [RUVM_TYPE_INT3] = RUVM_QUANT_MIXED,    [RUVM_TYPE_INT2] = RUVM_QUANT_MIXED,
        [RUVM_TYPE_BINARY] = RUVM_QUANT_BINARY, [RUVM_TYPE_TERNARY] = RUVM_QUANT_TERNARY,
        [RUVM_TYPE_XNOR] = RUVM_QUANT_MIXED,
    };
    uint8_t type = ruvm_image_tensor(img, 0).type;
    for (unsigned i = 1; i < img->n_tensors; i++)
        if (ruvm_image_tensor(img, i).type != type)
            return RUVM_QUANT_MIXED;
    return published[type];
}

static bool check_tensor(struct ruvm_check *c, const struct ruvm_tensor *t,
                         const struct ruvm_tensor *expected, uint64_t data_off, uint64_t scale_off)
{
    const uint8_t *e = c->img->tens + (size_t)t->index * RUVM_TENS_BYTES;
    c->section = ruvm_check_names[RUVM_SECTION_TENS];
    return check_shape(c, t, expected) && check_sizes(c, e, t) &&
           check_places(c, e, data_off, scale_off) && check_weights(c, t) &&
           check_multipliers(c, t);
}

bool ruvm_weights_check_as(struct ruvm_check *c, uint32_t n,
                           struct ruvm_tensor (*expected_of)(const struct ruvm_image *img,
                                                             unsigned i))
{
    struct ruvm_image *img = c->img;
    const struct ruvm_section *w = &c->part[RUVM_SECTION_WGTS], *s = &c->part[RUVM_SECTION_SCAL];
    uint64_t data_off = w->off, scale_off = s->off;
    img->n_tensors = n;
    img->tens = c->part[RUVM_SECTION_TENS].data;
    if (!ruvm_check_enter(c, RUVM_SECTION_TENS, (uint64_t)n * RUVM_TENS_BYTES))
        return false;
    for (unsigned i = 0; i < n; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(img, i), expected = expected_of(img, i);
        if (!check_tensor(c, &t, &expected, data_off, scale_off))
            return false;
        data_off += t.data_bytes;
        scale_off += t.scale_bytes;
    }
    if (!ruvm_check_enter(c, RUVM_SECTION_WGTS, data_off - w->off) ||
        !ruvm_check_enter(c, RUVM_SECTION_SCAL, scale_off - s->off))
        return false;
    c->section = "";
    return ruvm_check_equal(c, img->data + RUVM_HDR_QUANT, "quantization", quantization_of(img),
                            img->quant);
}

bool ruvm_weights_check(struct ruvm_check *c)
{
    const struct ruvm_image *img = c->img;
    return ruvm_weights_check_as(
        c, before_layers(img) + img->n_layers * per_layer(img) + !img->tied, expected_tensor);
}
