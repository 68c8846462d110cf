/* Builds each section with random contents and lets the writer place them. */
#include "tests/core/random_image.h"

#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_codes.h"
#include "formats/ruvm_write.h"
#include "lib/base/bytes.h"

enum { ARCH, TENS, NORM, BIAS, ROPE, WIND, KVSC, SCAL, WGTS, TOKN, N_SECTIONS };
static const char *const section_names[N_SECTIONS] = {"ARCH", "TENS", "NORM", "BIAS", "ROPE",
                                                      "WIND", "KVSC", "SCAL", "WGTS", "tokn"};

uint64_t random_next(uint64_t *state)
{
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

struct maker {
    const struct random_shape *s;
    uint64_t rng;
    struct ruvm_buffer part[N_SECTIONS];
    size_t off[N_SECTIONS];
    uint32_t n_tensors;
};

/* Sum of four uniform values: a bell of standard deviation about 37, within +-127. */
static int8_t weight(struct maker *m)
{
    uint64_t r = random_next(&m->rng);
    int sum = (int)(r & 63) + (int)(r >> 8 & 63) + (int)(r >> 16 & 63) + (int)(r >> 24 & 63);
    return (int8_t)(sum - 126);
}

static uint16_t rope_dims(const struct random_shape *s)
{
    if (s->pos != RUVM_POS_ROPE)
        return 0;
    return s->rope_dims ? s->rope_dims : s->head_dim;
}

static void add_arch(struct maker *m)
{
    struct ruvm_buffer *b = &m->part[ARCH];
    uint8_t tied = m->s->tied ? RUVM_ARCH_FLAG_TIED : 0;
    uint8_t parallel = m->s->parallel ? RUVM_ARCH_FLAG_PARALLEL : 0;
    ruvm_buffer_u8(b, m->s->norm);
    ruvm_buffer_u8(b, m->s->act);
    ruvm_buffer_u8(b, m->s->pos);
    ruvm_buffer_u8(b, tied | parallel);
    ruvm_buffer_u16(b, m->s->head_dim);
    ruvm_buffer_u16(b, rope_dims(m->s));
    ruvm_buffer_u32(b, 1407374884u); /* 1e-5 = this * 2^-47 */
    ruvm_buffer_u8(b, (uint8_t)-47);
    ruvm_buffer_u8(b, (uint8_t)-20);
    ruvm_buffer_u8(b, m->s->k_bits);
    ruvm_buffer_u8(b, m->s->v_bits);
    ruvm_buffer_u16(b, m->s->window);
    ruvm_buffer_u8(b, (uint8_t)m->s->score_exp);
    ruvm_buffer_u8(b, 0);
    ruvm_buffer_u32(b, m->s->score);
    ruvm_buffer_align(b, RUVM_ARCH_BYTES);
}

/* ---- tensors --------------------------------------------------------------- */

static uint8_t type_byte(const struct random_shape *s, uint32_t tensor)
{
    return s->types ? s->types[tensor % s->n_types] : RUVM_TYPE_INT8;
}

/* The bell, in the levels that the type has. */
static int8_t level(struct maker *m, int type)
{
    int w = weight(m), max = ruvm_codes_max_level(type);
    if (type == RUVM_TYPE_INT8)
        return (int8_t)w;
    if (type == RUVM_TYPE_TERNARY)
        return (int8_t)((w > 25) - (w < -25));
    return (int8_t)(2 * ((w + 126) * (max + 1) / 253) - max);
}

static void add_row(struct maker *m, int type, uint32_t cols)
{
    int8_t levels[65536];
    for (uint32_t c = 0; c < cols; c++)
        levels[c] = level(m, type);
    uint8_t *row = ruvm_buffer_zeros(&m->part[WGTS], ruvm_codes_row_bytes(type, cols));
    ruvm_codes_pack(type, row, levels, cols);
    ruvm_buffer_u16(&m->part[SCAL], (uint16_t)(30000 + random_next(&m->rng) % 30000));
}

/* Of all groups one in sixteen is zero, as chance has it. */
static void add_multipliers(struct maker *m, uint32_t rows, uint32_t cols, uint32_t group)
{
    uint32_t n = group ? (cols + group - 1) / group : 0;
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t g = 0; g < n; g += 2) {
            uint32_t both = (uint32_t)random_next(&m->rng) & 255;
            ruvm_buffer_u8(&m->part[SCAL], (uint8_t)(g + 1 < n ? both : both & 15));
        }
    }
    ruvm_buffer_align(&m->part[SCAL], 2);
}

/* Weights of about 1/sqrt(cols): scale mantissas near 2^15 with a fitting exponent. */
static int8_t scale_exp(int type, uint32_t group, uint32_t cols)
{
    static const int8_t small_levels[RUVM_N_TYPES] = {0, 3, 4, 5, 5, 6, 5};
    int exp = -20 + small_levels[type] - (group ? 3 : 0);
    for (uint32_t c = cols; c > 1; c /= 4)
        exp--;
    return (int8_t)exp;
}

static void add_tensor(struct maker *m, uint8_t kind, uint8_t layer, uint32_t rows, uint32_t cols)
{
    uint8_t byte = type_byte(m->s, m->n_tensors++), type = byte & RUVM_TYPE_MASK;
    uint32_t group = byte >> RUVM_TYPE_GROUP_SHIFT ? 1u << (byte >> RUVM_TYPE_GROUP_SHIFT) : 0;
    struct ruvm_buffer *weights = &m->part[WGTS], *scales = &m->part[SCAL];
    struct ruvm_write_tensor t = {
        .kind = kind,
        .layer = layer,
        .type = byte,
        .scale_exp = scale_exp(type, group, cols),
        .rows = rows,
        .cols = cols,
        .row_bytes = ruvm_codes_row_bytes(type, cols),
        .data_off = (uint32_t)(m->off[WGTS] + weights->size),
        .scale_off = (uint32_t)(m->off[SCAL] + scales->size),
    };
    for (uint32_t r = 0; r < rows; r++)
        add_row(m, type, cols);
    ruvm_buffer_align(weights, 16);
    add_multipliers(m, rows, cols, group);
    t.data_bytes = (uint32_t)(m->off[WGTS] + weights->size) - t.data_off;
    t.scale_bytes = (uint32_t)(m->off[SCAL] + scales->size) - t.scale_off;
    ruvm_write_tensor(ruvm_buffer_zeros(&m->part[TENS], RUVM_TENS_BYTES), &t);
}

/* What the header calls the types of all n tensors together. */
static uint8_t quantization(const struct random_shape *s, uint32_t n)
{
    uint8_t type = type_byte(s, 0) & RUVM_TYPE_MASK;
    for (uint32_t i = 1; i < n; i++)
        if ((type_byte(s, i) & RUVM_TYPE_MASK) != type)
            return RUVM_QUANT_MIXED;
    switch (type) {
    case RUVM_TYPE_INT8: return RUVM_QUANT_INT8;
    case RUVM_TYPE_INT4: return RUVM_QUANT_INT4;
    case RUVM_TYPE_BINARY: return RUVM_QUANT_BINARY;
    case RUVM_TYPE_TERNARY: return RUVM_QUANT_TERNARY;
    default: return RUVM_QUANT_MIXED;
    }
}

static void add_tensors(struct maker *m)
{
    const struct random_shape *s = m->s;
    uint32_t q = (uint32_t)s->heads * s->head_dim, kv = (uint32_t)s->kv_heads * s->head_dim;
    add_tensor(m, RUVM_TENSOR_EMBED, 0, s->vocab, s->dim);
    if (s->pos == RUVM_POS_LEARNED)
        add_tensor(m, RUVM_TENSOR_POSITION, 0, s->context, s->dim);
    for (uint8_t l = 0; l < s->layers; l++) {
        add_tensor(m, RUVM_TENSOR_WQ, l, q, s->dim);
        add_tensor(m, RUVM_TENSOR_WK, l, kv, s->dim);
        add_tensor(m, RUVM_TENSOR_WV, l, kv, s->dim);
        add_tensor(m, RUVM_TENSOR_WO, l, s->dim, q);
        add_tensor(m, RUVM_TENSOR_W_UP, l, s->hidden, s->dim);
        if (s->act == RUVM_ACT_SILU_GATED)
            add_tensor(m, RUVM_TENSOR_W_GATE, l, s->hidden, s->dim);
        add_tensor(m, RUVM_TENSOR_W_DOWN, l, s->dim, s->hidden);
    }
    if (!s->tied)
        add_tensor(m, RUVM_TENSOR_HEAD, 0, s->vocab, s->dim);
}

static void add_norms(struct maker *m)
{
    uint32_t n = 2u * m->s->layers + 1;
    for (uint32_t i = 0; i < n; i++)
        ruvm_buffer_u8(&m->part[NORM], (uint8_t)-14);
    ruvm_buffer_align(&m->part[NORM], 16);
    for (uint32_t i = 0; i < n * m->s->dim; i++)
        ruvm_buffer_u16(&m->part[NORM], (uint16_t)(random_next(&m->rng) % 65535 + 32769));
}

static uint32_t bias_length(const struct random_shape *s, unsigned kind)
{
    switch (kind) {
    case RUVM_BIAS_WQ: return (uint32_t)s->heads * s->head_dim;
    case RUVM_BIAS_WK:
    case RUVM_BIAS_WV: return (uint32_t)s->kv_heads * s->head_dim;
    case RUVM_BIAS_W_UP:
    case RUVM_BIAS_W_GATE: return s->hidden;
    default: return s->dim;
    }
}

/* About as large as what they are added to, each kind of an exponent of its own; one in
 * seven vectors is all zeros. */
static void add_bias(struct maker *m, unsigned kind, bool is_exponent)
{
    struct ruvm_buffer *b = &m->part[BIAS];
    if (is_exponent) {
        ruvm_buffer_u8(b, (uint8_t)(-14 - (int)kind % 3));
        return;
    }
    uint32_t n = bias_length(m->s, kind);
    bool zero = random_next(&m->rng) % 7 == 0;
    for (uint32_t i = 0; i < n; i++) {
        uint16_t number = (uint16_t)random_next(&m->rng);
        ruvm_buffer_u16(b, zero ? 0 : number);
    }
}

static void add_all_biases(struct maker *m, bool is_exponent)
{
    for (uint8_t l = 0; l < m->s->layers; l++)
        for (unsigned kind = 0; kind < RUVM_BIAS_FINAL_NORM; kind++)
            if (m->s->biases >> kind & 1)
                add_bias(m, kind, is_exponent);
    if (m->s->biases >> RUVM_BIAS_FINAL_NORM & 1)
        add_bias(m, RUVM_BIAS_FINAL_NORM, is_exponent);
}

static void add_biases(struct maker *m)
{
    if (!m->s->biases)
        return;
    ruvm_buffer_u16(&m->part[BIAS], m->s->biases);
    add_all_biases(m, true);
    ruvm_buffer_align(&m->part[BIAS], 16);
    add_all_biases(m, false);
}

static void add_windows(struct maker *m)
{
    for (uint8_t l = 0; m->s->local && l < m->s->layers; l++)
        ruvm_buffer_u8(&m->part[WIND], m->s->local[l] == '1');
}

/* Any two near channels differ; the inverse fits 16 bits as well. */
static uint32_t channel_scale(uint32_t channel)
{
    return 33000 + 800 * (channel * 7 % 40);
}

static void add_positions(struct maker *m)
{
    uint32_t kv = (uint32_t)m->s->kv_heads * m->s->head_dim;
    for (uint32_t i = 0; i < rope_dims(m->s) / 2u; i++)
        ruvm_buffer_u32(&m->part[ROPE], 683565276u >> (i % 20));
    for (uint32_t l = 0; l < m->s->layers; l++) {
        struct ruvm_buffer *b = &m->part[KVSC];
        ruvm_buffer_u8(b, (uint8_t)-21); /* a step of 2^-5.5 or so */
        ruvm_buffer_u8(b, (uint8_t)-10);
        ruvm_buffer_u8(b, (uint8_t)-21);
        ruvm_buffer_u8(b, (uint8_t)-10);
        for (uint32_t part = 0; part < 2; part++) {
            for (uint32_t i = 0; i < kv; i++)
                ruvm_buffer_u16(b, (uint16_t)channel_scale(i));
            for (uint32_t i = 0; i < kv; i++)
                ruvm_buffer_u16(b, (uint16_t)((1u << 31) / channel_scale(i)));
        }
        for (uint32_t i = 0; i < kv; i++)
            ruvm_buffer_u16(b, (uint16_t)(random_next(&m->rng) % 41 - 20));
    }
}

/* Ids 0..2 control, then the given pieces in order of rank; every byte falls back to
 * unknown unless it is a piece. */
static void add_tokenizer(struct maker *m)
{
    const struct random_shape *s = m->s;
    struct ruvm_buffer *b = &m->part[TOKN];
    uint16_t n = s->vocab;
    uint32_t text = 0, longest = 1;
    for (uint16_t i = 0; i < n; i++) {
        size_t len = i >= 3 && i < 3 + s->n_pieces ? strlen(s->pieces[i - 3]) : 0;
        text += (uint32_t)len;
        longest = len > longest ? (uint32_t)len : longest;
    }
    ruvm_buffer_u8(b, 1);
    ruvm_buffer_u8(b, RUVM_TOKN_FLAG_ADD_BOS | RUVM_TOKN_FLAG_SPACE_PREFIX);
    ruvm_buffer_u16(b, n);
    ruvm_buffer_u16(b, 1);
    ruvm_buffer_u16(b, 2);
    ruvm_buffer_u16(b, 0);
    ruvm_buffer_u16(b, (uint16_t)longest);
    ruvm_buffer_u32(b, text);
    uint32_t off = 0;
    for (uint16_t i = 0; i <= n; i++) {
        ruvm_buffer_u32(b, off);
        if (i >= 3 && i < 3 + s->n_pieces)
            off += (uint32_t)strlen(s->pieces[i - 3]);
    }
    for (uint16_t i = 0; i < n; i++)
        ruvm_buffer_u16(b, i < 3 ? 0 : (uint16_t)(i - 3));
    /* insertion sort by bytes: the pieces come first, all others after them */
    uint16_t sorted[4096];
    size_t n_sorted = 0;
    for (size_t p = 0; p < s->n_pieces; p++) {
        size_t at = n_sorted++;
        while (at > 0 && strcmp(s->pieces[sorted[at - 1] - 3], s->pieces[p]) > 0) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = (uint16_t)(p + 3);
    }
    for (size_t i = 0; i < n; i++)
        ruvm_buffer_u16(b, i < n_sorted       ? sorted[i]
                           : i - n_sorted < 3 ? (uint16_t)(i - n_sorted)
                                              : (uint16_t)i);
    for (unsigned c = 0; c < 256; c++) {
        uint16_t id = RUVM_NO_TOKEN;
        for (size_t p = 0; p < s->n_pieces; p++)
            if ((uint8_t)s->pieces[p][0] == c && strlen(s->pieces[p]) == 1)
                id = (uint16_t)(p + 3);
        ruvm_buffer_u16(b, id);
    }
    for (uint16_t i = 0; i < n; i++)
        ruvm_buffer_u8(b, i < 3 ? RUVM_PIECE_CONTROL : RUVM_PIECE_NORMAL);
    ruvm_buffer_align(b, 2);
    ruvm_buffer_u16(b, (uint16_t)n_sorted);
    for (size_t p = 0; p < s->n_pieces; p++)
        ruvm_buffer_bytes(b, s->pieces[p], strlen(s->pieces[p]));
}

static unsigned list_sections(const struct maker *m, struct ruvm_write_section *list)
{
    unsigned n = 0;
    for (unsigned i = 0; i < N_SECTIONS; i++)
        if (m->part[i].size)
            list[n++] =
                (struct ruvm_write_section){section_names[i], m->part[i].data, m->part[i].size};
    return n;
}

/* Tensor entries hold file offsets, which depend on the sizes of all sections: made
 * twice, first with offsets that are not yet right. */
static void add_all(struct maker *m)
{
    m->rng = m->s->seed;
    m->n_tensors = 0;
    for (unsigned i = 0; i < N_SECTIONS; i++)
        ruvm_buffer_free(&m->part[i]);
    add_arch(m);
    add_tensors(m);
    add_norms(m);
    add_positions(m);
    add_biases(m);
    add_windows(m);
    if (m->s->pieces)
        add_tokenizer(m);
    struct ruvm_write_section list[N_SECTIONS];
    size_t off[N_SECTIONS];
    unsigned n = list_sections(m, list);
    ruvm_write_layout(list, n, off);
    for (unsigned i = 0; i < n; i++)
        for (unsigned part = 0; part < N_SECTIONS; part++)
            if (strcmp(list[i].name, section_names[part]) == 0)
                m->off[part] = off[i];
}

uint8_t *random_image(const struct random_shape *s, size_t *bytes)
{
    struct maker m = {.s = s};
    add_all(&m);
    add_all(&m);
    struct ruvm_write_section list[N_SECTIONS];
    unsigned n = list_sections(&m, list);
    struct ruvm_write_header header = {.vocab = s->vocab,
                                       .dim = s->dim,
                                       .hidden = s->hidden,
                                       .context = s->context,
                                       .n_layers = s->layers,
                                       .n_heads = s->heads,
                                       .n_kv_heads = s->kv_heads,
                                       .quant = quantization(s, m.n_tensors)};
    struct ruvm_buffer out = {0};
    int rc = ruvm_write_image(&out, &header, list, n);
    uint8_t *image = rc == 0 ? aligned_alloc(64, (out.size + 63) & ~(size_t)63) : NULL;
    if (image)
        memcpy(image, out.data, out.size);
    *bytes = out.size;
    ruvm_buffer_free(&out);
    for (unsigned i = 0; i < N_SECTIONS; i++)
        ruvm_buffer_free(&m.part[i]);
    return image;
}
