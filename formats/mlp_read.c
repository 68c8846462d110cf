/* Reads a classifier: what MLPN says of layers and inputs, the tensors that follow from it,
 * and the names of the classes.
 *
 * Everything that is about bytes and not about the network is checked as in any image:
 * frame_read.c, weights_read.c.
 */
#include "formats/mlp_read.h"

#include "formats/frame_read.h"
#include "formats/optional_read.h"
#include "formats/weights_read.h"
#include "lib/base/bytes.h"

static const uint8_t *layer_at(const struct ruvm_mlp_image *m, unsigned i)
{
    return m->mlp + RUVM_MLP_LAYERS + (size_t)i * RUVM_MLP_LAYER_BYTES;
}

static const uint8_t *input_at(const struct ruvm_mlp_image *m, unsigned i)
{
    return layer_at(m, m->img.n_layers) + (size_t)i * RUVM_MLP_INPUT_BYTES;
}

static uint32_t width_of(const struct ruvm_mlp_image *m, unsigned layer)
{
    return ruvm_load_u16(layer_at(m, layer) + RUVM_MLP_LAYER_WIDTH);
}

/* ---- header and MLPN ----------------------------------------------------- */

static bool check_shape(struct ruvm_check *c)
{
    const struct ruvm_image *img = c->img;
    const uint8_t *h = img->data;
    return ruvm_check_supported(c, h + RUVM_HDR_HEADS, "a language model, not a classifier",
                                img->n_heads == 0) &&
           ruvm_check_at_least(c, h + RUVM_HDR_VOCAB, "number of outputs", 1, img->vocab) &&
           ruvm_check_at_least(c, h + RUVM_HDR_DIM, "number of inputs", 1, img->dim) &&
           ruvm_check_at_least(c, h + RUVM_HDR_LAYERS, "number of layers", 1, img->n_layers) &&
           ruvm_check_equal(c, h + RUVM_HDR_MAX_SEQ, "max_seq_len of a classifier", 0,
                            h[RUVM_HDR_MAX_SEQ]) &&
           ruvm_check_equal(c, h + RUVM_HDR_KV_HEADS, "key heads of a classifier", 0,
                            img->n_kv_heads) &&
           ruvm_check_equal(c, h + RUVM_HDR_CONTEXT, "context of a classifier", 0, img->context);
}

/* The parts that a classifier must have, and those of decoders that would mean something. */
static bool check_parts(struct ruvm_check *c)
{
    static const uint8_t foreign[] = {RUVM_SECTION_ARCH, RUVM_SECTION_NORM, RUVM_SECTION_KVSC,
                                      RUVM_SECTION_ROPE, RUVM_SECTION_BIAS, RUVM_SECTION_WIND};
    for (unsigned i = 0; i < sizeof foreign; i++)
        if (!ruvm_frame_foreign(c, (enum ruvm_section_index)foreign[i]))
            return false;
    return ruvm_check_present(c, RUVM_SECTION_MLP) && ruvm_check_present(c, RUVM_SECTION_TENS) &&
           ruvm_check_present(c, RUVM_SECTION_SCAL) && ruvm_check_present(c, RUVM_SECTION_WGTS);
}

static bool check_layer(struct ruvm_check *c, const uint8_t *r)
{
    uint32_t slope = ruvm_load_u16(r + RUVM_MLP_LAYER_SLOPE);
    bool leaks = r[RUVM_MLP_LAYER_ACT] == RUVM_MLP_ACT_LEAKY_RELU;
    return ruvm_check_known(c, r + RUVM_MLP_LAYER_ACT, "kind of activation", RUVM_MLP_N_ACTS - 1,
                            r[RUVM_MLP_LAYER_ACT]) &&
           ruvm_check_exponents(c, r + RUVM_MLP_LAYER_BIAS_EXP, 1) &&
           ruvm_check_holds(c, r + RUVM_MLP_LAYER_SLOPE,
                            "slope of an activation that has none is not 0", leaks || slope == 0) &&
           ruvm_check_at_least(c, r + RUVM_MLP_LAYER_WIDTH, "outputs of a layer", 1,
                               ruvm_load_u16(r + RUVM_MLP_LAYER_WIDTH)) &&
           ruvm_check_zeros(c, r + RUVM_MLP_LAYER_WIDTH + 2, r + RUVM_MLP_LAYER_BYTES,
                            "reserved byte of a layer");
}

static bool check_input(struct ruvm_check *c, const uint8_t *r)
{
    uint32_t mult = ruvm_load_u16(r + RUVM_MLP_INPUT_MULT);
    const uint8_t *shift = r + RUVM_MLP_INPUT_SHIFT;
    return ruvm_check_at_least(c, r + RUVM_MLP_INPUT_MULT, "multiplier of an input", 1, mult) &&
           ruvm_check_at_least(c, shift, "shift of an input", 1, *shift) &&
           ruvm_check_at_most(c, shift, "shift of an input", RUVM_MLP_MAX_SHIFT, *shift) &&
           ruvm_check_exponents(c, r + RUVM_MLP_INPUT_EXP, 1);
}

/* Widths agree with what the header says of them. */
static bool check_widths(struct ruvm_check *c, const struct ruvm_mlp_image *m)
{
    const struct ruvm_image *img = &m->img;
    uint32_t last = img->n_layers - 1u, widest = 0;
    for (unsigned i = 0; i < last; i++)
        widest = width_of(m, i) > widest ? width_of(m, i) : widest;
    return ruvm_check_equal(c, layer_at(m, last) + RUVM_MLP_LAYER_WIDTH,
                            "outputs of the last layer", img->vocab, width_of(m, last)) &&
           ruvm_check_equal(c, img->data + RUVM_HDR_HIDDEN, "widest hidden layer", widest,
                            img->hidden);
}

/* The sections's size is known in two steps: the records first, then the biases of the widths
 * that they tell. */
static bool check_mlp(struct ruvm_check *c, struct ruvm_mlp_image *m)
{
    const struct ruvm_section *s = &c->part[RUVM_SECTION_MLP];
    uint64_t records = RUVM_MLP_LAYERS + (uint64_t)m->img.n_layers * RUVM_MLP_LAYER_BYTES +
                       (uint64_t)m->img.dim * RUVM_MLP_INPUT_BYTES;
    uint64_t biases = 0;
    m->mlp = s->data;
    c->section = ruvm_check_names[RUVM_SECTION_MLP];
    if (!ruvm_check_at_least(c, s->data, "size of the section", records, s->size) ||
        !ruvm_check_known(c, s->data, "kind of outputs", RUVM_MLP_N_OUTPUTS - 1, s->data[0]) ||
        !ruvm_check_zeros(c, s->data + 1, s->data + RUVM_MLP_LAYERS, "reserved byte"))
        return false;
    for (unsigned i = 0; i < m->img.n_layers; i++) {
        if (!check_layer(c, layer_at(m, i)))
            return false;
        biases += width_of(m, i);
    }
    for (unsigned i = 0; i < m->img.dim; i++)
        if (!check_input(c, input_at(m, i)))
            return false;
    m->output = s->data[RUVM_MLP_OUTPUT];
    m->bias = (const int16_t *)(const void *)(s->data + records);
    return ruvm_check_enter(c, RUVM_SECTION_MLP, records + biases * sizeof *m->bias) &&
           check_widths(c, m);
}

static struct ruvm_tensor expected_tensor(const struct ruvm_image *img, unsigned i)
{
    const struct ruvm_mlp_image *m = (const struct ruvm_mlp_image *)(const void *)img;
    return (struct ruvm_tensor){.kind = RUVM_TENSOR_LINEAR,
                                .layer = (uint8_t)i,
                                .rows = width_of(m, i),
                                .cols = i ? width_of(m, i - 1) : img->dim};
}

/* ---- labels -------------------------------------------------------------- */

/* Checks the name at p; *next: behind its line. */
static bool check_label(struct ruvm_check *c, const uint8_t *p, const uint8_t *end,
                        const uint8_t **next)
{
    const uint8_t *at = p;
    while (at < end && *at != '\n') {
        uint32_t n = ruvm_utf8_bytes(at, end);
        if (!ruvm_check_holds(c, at, "name is not UTF-8", n > 0) ||
            !ruvm_check_holds(c, at, "name has a control character", *at >= ' ' && *at != 0x7F))
            return false;
        at += n;
    }
    *next = at + 1;
    return ruvm_check_holds(c, p, "last name has no end", at < end) &&
           ruvm_check_holds(c, p, "name of a class is empty", at > p);
}

static bool check_labels(struct ruvm_check *c, struct ruvm_mlp_image *m)
{
    const struct ruvm_section *s = &c->part[RUVM_SECTION_LABELS];
    uint32_t n = 0;
    c->section = ruvm_check_names[RUVM_SECTION_LABELS];
    if (!s->data)
        return true;
    for (const uint8_t *p = s->data, *next; p < s->data + s->size; p = next, n++)
        if (!check_label(c, p, s->data + s->size, &next))
            return false;
    m->labels = s->data;
    m->labels_bytes = s->size;
    return ruvm_check_equal(c, s->data, "names of classes", ruvm_mlp_image_classes(m), n);
}

/* ---- the whole ----------------------------------------------------------- */

static bool check_image(struct ruvm_check *c, struct ruvm_mlp_image *m)
{
    const uint8_t *h = c->img->data;
    return ruvm_frame_begin(c) &&
           ruvm_check_supported(c, h + RUVM_HDR_VERSION,
                                "not of the one version that classifiers have",
                                c->img->version == RUVM_VERSION_V1) &&
           ruvm_frame_header(c) && check_shape(c) && ruvm_frame_sections(c) && check_parts(c) &&
           check_mlp(c, m) && ruvm_weights_check_as(c, m->img.n_layers, expected_tensor) &&
           check_labels(c, m) && ruvm_optional_meta(c);
}

int ruvm_mlp_image_open(struct ruvm_mlp_image *m, const void *data, size_t size,
                        struct ruvm_image_fault *fault)
{
    struct ruvm_image_fault unwanted;
    *m = (struct ruvm_mlp_image){0};
    struct ruvm_check c = {.img = &m->img, .fault = fault ? fault : &unwanted, .section = ""};
    if (ruvm_frame_over(&c, data, size))
        check_image(&c, m);
    return c.rc;
}

bool ruvm_mlp_image_probe(const void *data, size_t size)
{
    const uint8_t *h = data;
    return size >= RUVM_HDR_BYTES && ruvm_load_u32(h) == ruvm_load_u32(RUVM_MAGIC) &&
           h[RUVM_HDR_VERSION] == RUVM_VERSION_V1 && h[RUVM_HDR_HEADS] == 0;
}

struct ruvm_mlp_layer ruvm_mlp_image_layer(const struct ruvm_mlp_image *m, unsigned i)
{
    const uint8_t *r = layer_at(m, i);
    const int16_t *bias = m->bias;
    for (unsigned before = 0; before < i; before++)
        bias += width_of(m, before);
    return (struct ruvm_mlp_layer){
        .w = ruvm_image_tensor(&m->img, i),
        .bias = {.m = bias, .n = width_of(m, i), .exp = (int8_t)r[RUVM_MLP_LAYER_BIAS_EXP]},
        .act = r[RUVM_MLP_LAYER_ACT],
        .slope = ruvm_load_u16(r + RUVM_MLP_LAYER_SLOPE),
    };
}

struct ruvm_mlp_input ruvm_mlp_image_input(const struct ruvm_mlp_image *m, unsigned i)
{
    const uint8_t *r = input_at(m, i);
    return (struct ruvm_mlp_input){
        .centre = (int32_t)ruvm_load_u32(r + RUVM_MLP_INPUT_CENTRE),
        .mult = ruvm_load_u16(r + RUVM_MLP_INPUT_MULT),
        .shift = r[RUVM_MLP_INPUT_SHIFT],
        .exp = (int8_t)r[RUVM_MLP_INPUT_EXP],
    };
}

uint32_t ruvm_mlp_image_classes(const struct ruvm_mlp_image *m)
{
    return m->img.vocab == 1 ? 2 : m->img.vocab;
}

const char *ruvm_mlp_image_label(const struct ruvm_mlp_image *m, uint32_t i, size_t *n_bytes)
{
    const uint8_t *p = m->labels;
    *n_bytes = 0;
    if (!p || i >= ruvm_mlp_image_classes(m))
        return NULL;
    for (; i > 0; i--)
        while (*p++ != '\n')
            ;
    while (p[*n_bytes] != '\n')
        ++*n_bytes;
    return (const char *)p;
}
