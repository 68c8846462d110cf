/* Any bytes as the knobs of a model: its shape, the types of its weights, every exponent,
 * and whether each array holds random numbers, extremes or nothing. The model is always valid, so
 * the engine must run it: with each kernel table, whatever the memory held before and however the
 * prompt is cut, to the same logits, and within the kernels' contract. A context of 65535 costs
 * nothing here: the cache is filled by hand and the engine told that it got there. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_codes.h"
#include "formats/ruvm_write.h"
#include "lib/base/bytes.h"
#include "lib/core/engine.h"
#include "tests/support/strict_kernels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MAX_LAYERS = 3,
    MAX_TOKENS = 8,
    MAX_WEIGHTS = 1 << 17,      /* bytes, so that a run takes milliseconds */
    MAX_ENGINE_BYTES = 3 << 19, /* a cache of 65535 positions */
};

static void check(int holds)
{
    if (!holds)
        abort();
}

/* ---- the knobs ------------------------------------------------------------- */

struct knobs {
    const uint8_t *data;
    size_t size, at;
    uint64_t rng; /* fills arrays; splitmix64 */
};

static uint32_t random_bits(struct knobs *k)
{
    uint64_t z = k->rng += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

/* Inputs may be short: the knobs they leave are turned at random. */
static uint8_t turn(struct knobs *k)
{
    return k->at < k->size ? k->data[k->at++] : (uint8_t)random_bits(k);
}

static uint16_t choose(struct knobs *k, const uint16_t *from, size_t n)
{
    return from[turn(k) % n];
}
#define CHOOSE(knobs, ...)                                                                         \
    choose(knobs, (const uint16_t[]){__VA_ARGS__},                                                 \
           sizeof((const uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t))

/* A sensible exponent, one near it, or any. */
static int8_t exponent(struct knobs *k, int sensible)
{
    int b = turn(k);
    if (b < 160)
        return (int8_t)sensible;
    if (b < 192)
        return (int8_t)(sensible + b - 176);
    return (int8_t)(RUVM_MIN_EXP + (b - 192) * (RUVM_MAX_EXP - RUVM_MIN_EXP) / 63);
}

/* The i-th number of an array, low to high, in one of seven manners. */
static int32_t number(struct knobs *k, uint8_t manner, uint32_t i, int32_t low, int32_t high)
{
    uint32_t r = random_bits(k);
    int32_t any = low + (int32_t)(r % ((uint32_t)(high - low) + 1));
    int32_t mild = high - (int32_t)(r % ((uint32_t)high / 2 + 1));
    switch (manner % 8) {
    case 0: return high;
    case 1: return low;
    case 2: return i % 2 ? low : high;
    case 3: return low > 0 ? low : 0;
    case 4: return r >> 29 ? (low > 0 ? low : 0) : any;
    case 5: return mild;
    default: return any;
    }
}

/* ---- the image ------------------------------------------------------------- */

enum { MIXED = 0xFF }; /* each tensor has a type of its own */

enum { ARCH, TENS, SCAL, NORM, BIAS, ROPE, WIND, KVSC, WGTS, N_SECTIONS };
static const char *const names[N_SECTIONS] = {"ARCH", "TENS", "SCAL", "NORM", "BIAS",
                                              "ROPE", "WIND", "KVSC", "WGTS"};

/* Knobs of their own, the last bytes of an input that ends with 'N'; else it is Llama. */
struct network {
    uint8_t kinds;    /* bit 0 norm, 1-2 activation, 3 positions, 4 parallel */
    uint8_t window;   /* 0: none */
    uint8_t local;    /* bit 7: a section of windows; the others: that of each layer */
    uint8_t score;    /* 0: as usual; else 1.5 * 2^(score - 128), within the limits */
    uint8_t biases_0; /* kinds */
    uint8_t biases_8;
    uint8_t bias_exp; /* 0: sensible ones; else drawn ones */
    uint8_t mark;
};
_Static_assert(sizeof(struct network) == 8, "bytes of an input");

struct maker {
    struct knobs *k;
    struct ruvm_write_header h;
    uint16_t head_dim, rope_dims;
    bool tied;
    uint8_t type;           /* byte of all tensors, or MIXED */
    uint8_t k_bits, v_bits; /* as in ARCH */
    struct ruvm_buffer part[N_SECTIONS];
    struct network net;
    uint16_t biases; /* kinds */
    struct ruvm_write_tensor tensors[2 + MAX_LAYERS * RUVM_TENSORS_PER_LAYER + 1];
    uint32_t n_tensors;
};

/* Groups of log2 columns, if the type has them and the number is one. */
static uint8_t type_byte(uint32_t type, uint32_t log2)
{
    bool is_grouped = ruvm_codes_has_groups((int)type) && log2 >= 4 && log2 <= 6;
    return (uint8_t)(type | (is_grouped ? log2 : 0) << RUVM_TYPE_GROUP_SHIFT);
}

/* One knob: 0 and 1 are INT8 everywhere and caches of 8 bits. */
static void choose_types(struct maker *m)
{
    uint8_t knob = turn(m->k);
    uint32_t type = knob >> 1 & 7, log2 = 3u + (knob >> 4 & 3);
    m->tied = knob & 1;
    m->type = type < RUVM_N_TYPES ? type_byte(type, log2) : MIXED;
    m->k_bits = knob & 64 ? 4 : 0;
    m->v_bits = knob & 128 ? 4 : 0;
}

static int act_of(const struct maker *m)
{
    return m->net.kinds >> 1 & 3;
}

static bool is_learned(const struct maker *m)
{
    return m->net.kinds >> 3 & 1;
}

static void choose_network(struct maker *m)
{
    struct knobs *k = m->k;
    if (k->size < sizeof m->net || k->data[k->size - 1] != 'N')
        return;
    k->size -= sizeof m->net;
    memcpy(&m->net, k->data + k->size, sizeof m->net);
    m->biases = (uint16_t)(m->net.biases_0 | (m->net.biases_8 & 3) << 8);
    if (act_of(m) != RUVM_ACT_SILU_GATED)
        m->biases &= (uint16_t) ~(1u << RUVM_BIAS_W_GATE);
}

/* One statement a knob: the order within an initializer would be the compiler's choice. */
static void choose_shape(struct maker *m)
{
    struct knobs *k = m->k;
    struct ruvm_write_header *h = &m->h;
    h->n_kv_heads = (uint8_t)CHOOSE(k, 1, 2, 3, 4);
    h->vocab = CHOOSE(k, 40, 1, 2, 15, 17, 97, 300, 1000);
    h->dim = CHOOSE(k, 16, 1, 2, 7, 15, 17, 30, 33, 48, 63, 64, 65, 80, 129, 300, 1000);
    h->hidden = CHOOSE(k, 20, 1, 3, 15, 16, 17, 31, 64, 65, 129, 172, 255, 257, 1000, 4097);
    h->context = CHOOSE(k, 24, 1, 2, 7, 8, 9, 100, 1023, 1024, 1025, 2050, 65535);
    h->n_layers = (uint8_t)CHOOSE(k, 1, 2, MAX_LAYERS);
    h->n_heads = (uint8_t)(h->n_kv_heads * CHOOSE(k, 1, 2, 3, 8));
    m->head_dim = CHOOSE(k, 8, 2, 4, 6, 10, 14, 16, 18, 24, 32, 40, 48, 64, 66, 128, 2048);
    m->rope_dims = (uint16_t)(m->head_dim - 2 * (turn(k) % (m->head_dim / 2)));
    choose_types(m);
}

static void add_numbers(struct maker *m, int part, uint32_t n, int32_t low, int32_t high)
{
    uint8_t manner = turn(m->k);
    for (uint32_t i = 0; i < n; i++)
        ruvm_buffer_u16(&m->part[part], (uint16_t)number(m->k, manner, i, low, high));
}

/* A number of -127..127 as one of the type's levels. */
static int8_t level(int type, int32_t x)
{
    int max = ruvm_codes_max_level(type);
    if (type == RUVM_TYPE_INT8)
        return (int8_t)x;
    if (type == RUVM_TYPE_TERNARY)
        return (int8_t)((x > 42) - (x < -42));
    return (int8_t)(2 * ((x + 127) * (max + 1) / 255) - max);
}

static void add_rows(struct maker *m, int type, uint32_t rows, uint32_t cols)
{
    struct ruvm_buffer *w = &m->part[WGTS];
    static int8_t levels[1 << 16];
    uint8_t manner = turn(m->k);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t c = 0; c < cols; c++)
            levels[c] = level(type, number(m->k, manner, c, -127, 127));
        uint8_t *row = ruvm_buffer_zeros(w, ruvm_codes_row_bytes(type, cols));
        check(row != NULL);
        ruvm_codes_pack(type, row, levels, cols);
    }
    ruvm_buffer_align(w, RUVM_ROW_ALIGN);
}

static void add_multipliers(struct maker *m, uint32_t rows, uint32_t n_groups)
{
    struct ruvm_buffer *scales = &m->part[SCAL];
    uint8_t manner = turn(m->k);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t g = 0; g < n_groups; g += 2) {
            int32_t low = number(m->k, manner, g, 0, RUVM_MULT_MAX);
            int32_t high = number(m->k, manner, g + 1, 0, RUVM_MULT_MAX);
            ruvm_buffer_u8(scales, (uint8_t)(low | (g + 1 < n_groups ? high << 4 : 0)));
        }
    }
    ruvm_buffer_align(scales, 2);
}

static void add_tensor(struct maker *m, int kind, int layer, uint32_t rows, uint32_t cols)
{
    uint8_t knob = m->type == MIXED ? turn(m->k) : 0;
    uint8_t byte = m->type == MIXED ? type_byte(knob % RUVM_N_TYPES, 3u + knob / 64) : m->type;
    int type = byte & RUVM_TYPE_MASK;
    uint32_t log2 = byte >> RUVM_TYPE_GROUP_SHIFT;
    struct ruvm_buffer *w = &m->part[WGTS], *scales = &m->part[SCAL];
    struct ruvm_write_tensor *t = &m->tensors[m->n_tensors++];
    *t = (struct ruvm_write_tensor){
        .kind = (uint8_t)kind,
        .layer = (uint8_t)layer,
        .type = byte,
        .scale_exp = exponent(m->k, -24),
        .rows = rows,
        .cols = cols,
        .row_bytes = ruvm_codes_row_bytes(type, cols),
        .data_off = (uint32_t)w->size,
        .scale_off = (uint32_t)scales->size,
    };
    add_rows(m, type, rows, cols);
    add_numbers(m, SCAL, rows, 0, UINT16_MAX);
    if (log2)
        add_multipliers(m, rows, (cols + (1u << log2) - 1) >> log2);
    t->data_bytes = (uint32_t)w->size - t->data_off;
    t->scale_bytes = (uint32_t)scales->size - t->scale_off;
}

/* What the header calls all of them. */
static uint8_t quantization(const struct maker *m)
{
    static const uint8_t published[RUVM_N_TYPES] = {
        RUVM_QUANT_INT8,   RUVM_QUANT_INT4,    RUVM_QUANT_MIXED, RUVM_QUANT_MIXED,
        RUVM_QUANT_BINARY, RUVM_QUANT_TERNARY, RUVM_QUANT_MIXED};
    int first = m->tensors[0].type & RUVM_TYPE_MASK;
    for (uint32_t i = 1; i < m->n_tensors; i++)
        if ((m->tensors[i].type & RUVM_TYPE_MASK) != first)
            return RUVM_QUANT_MIXED;
    return published[first];
}

static void add_tensors(struct maker *m)
{
    const struct ruvm_write_header *h = &m->h;
    uint32_t q_dim = (uint32_t)h->n_heads * m->head_dim, kv = (uint32_t)h->n_kv_heads * m->head_dim;
    add_tensor(m, RUVM_TENSOR_EMBED, 0, h->vocab, h->dim);
    if (is_learned(m))
        add_tensor(m, RUVM_TENSOR_POSITION, 0, h->context, h->dim);
    for (int l = 0; l < h->n_layers; l++) {
        add_tensor(m, RUVM_TENSOR_WQ, l, q_dim, h->dim);
        add_tensor(m, RUVM_TENSOR_WK, l, kv, h->dim);
        add_tensor(m, RUVM_TENSOR_WV, l, kv, h->dim);
        add_tensor(m, RUVM_TENSOR_WO, l, h->dim, q_dim);
        add_tensor(m, RUVM_TENSOR_W_UP, l, h->hidden, h->dim);
        if (act_of(m) == RUVM_ACT_SILU_GATED)
            add_tensor(m, RUVM_TENSOR_W_GATE, l, h->hidden, h->dim);
        add_tensor(m, RUVM_TENSOR_W_DOWN, l, h->dim, h->hidden);
    }
    if (!m->tied)
        add_tensor(m, RUVM_TENSOR_HEAD, 0, h->vocab, h->dim);
    m->h.quant = quantization(m);
}

static void add_arch(struct maker *m)
{
    struct ruvm_buffer *b = &m->part[ARCH];
    int parallel = m->net.kinds >> 4 & 1 ? RUVM_ARCH_FLAG_PARALLEL : 0;
    ruvm_buffer_u8(b, m->net.kinds & 1);
    ruvm_buffer_u8(b, (uint8_t)act_of(m));
    ruvm_buffer_u8(b, is_learned(m));
    ruvm_buffer_u8(b, (uint8_t)((m->tied ? RUVM_ARCH_FLAG_TIED : 0) | parallel));
    ruvm_buffer_u16(b, m->head_dim);
    ruvm_buffer_u16(b, is_learned(m) ? 0 : m->rope_dims);
    ruvm_buffer_u32(b, turn(m->k) & 1 ? 0 : 1407374884u);
    ruvm_buffer_u8(b, (uint8_t)exponent(m->k, -47));
    ruvm_buffer_u8(b, (uint8_t)exponent(m->k, -20));
    ruvm_buffer_u8(b, m->k_bits);
    ruvm_buffer_u8(b, m->v_bits);
    int score = m->net.score ? m->net.score - 129 : 0;
    score = score < RUVM_MIN_EXP ? RUVM_MIN_EXP : score > RUVM_MAX_EXP ? RUVM_MAX_EXP : score;
    ruvm_buffer_u16(b, m->net.window);
    ruvm_buffer_u8(b, (uint8_t)score);
    ruvm_buffer_u8(b, 0);
    ruvm_buffer_u32(b, m->net.score ? 3 : 0);
    ruvm_buffer_align(b, RUVM_ARCH_BYTES);
}

static void add_norms_and_positions(struct maker *m)
{
    uint32_t norms = 2u * m->h.n_layers + 1, kv = (uint32_t)m->h.n_kv_heads * m->head_dim;
    for (uint32_t i = 0; i < norms; i++)
        ruvm_buffer_u8(&m->part[NORM], (uint8_t)exponent(m->k, -14));
    ruvm_buffer_align(&m->part[NORM], 16);
    for (uint32_t i = 0; i < norms; i++)
        add_numbers(m, NORM, m->h.dim, INT16_MIN, INT16_MAX);
    for (uint32_t i = 0; i < m->rope_dims / 2u && !is_learned(m); i++)
        ruvm_buffer_u32(&m->part[ROPE], random_bits(m->k));
    for (int l = 0; l < m->h.n_layers; l++) {
        static const int sensible[RUVM_KVSC_ARRAYS] = {-21, -10, -21, -10};
        for (int i = 0; i < RUVM_KVSC_ARRAYS; i++)
            ruvm_buffer_u8(&m->part[KVSC], (uint8_t)exponent(m->k, sensible[i]));
        for (int i = 0; i < 4; i++)
            add_numbers(m, KVSC, kv, 0, UINT16_MAX);
        add_numbers(m, KVSC, kv, -RUVM_KVSC_ZERO_MAX, RUVM_KVSC_ZERO_MAX);
    }
}

static uint32_t bias_length(const struct maker *m, int kind)
{
    switch (kind) {
    case RUVM_BIAS_WQ: return (uint32_t)m->h.n_heads * m->head_dim;
    case RUVM_BIAS_WK:
    case RUVM_BIAS_WV: return (uint32_t)m->h.n_kv_heads * m->head_dim;
    case RUVM_BIAS_W_UP:
    case RUVM_BIAS_W_GATE: return m->h.hidden;
    default: return m->h.dim;
    }
}

static void add_bias(struct maker *m, int kind, bool is_exponent)
{
    if (!(m->biases >> kind & 1))
        return;
    if (!is_exponent)
        add_numbers(m, BIAS, bias_length(m, kind), INT16_MIN, INT16_MAX);
    else
        ruvm_buffer_u8(&m->part[BIAS],
                       (uint8_t)(m->net.bias_exp ? exponent(m->k, -15) : -15 - kind));
}

static void add_all_biases(struct maker *m, bool is_exponent)
{
    for (int l = 0; l < m->h.n_layers; l++)
        for (int kind = 0; kind < RUVM_BIAS_FINAL_NORM; kind++)
            add_bias(m, kind, is_exponent);
    add_bias(m, RUVM_BIAS_FINAL_NORM, is_exponent);
}

static void add_biases_and_windows(struct maker *m)
{
    if (m->biases) {
        ruvm_buffer_u16(&m->part[BIAS], m->biases);
        add_all_biases(m, true);
        ruvm_buffer_align(&m->part[BIAS], 16);
        add_all_biases(m, false);
    }
    for (int l = 0; l < m->h.n_layers && m->net.window && m->net.local >> 7; l++)
        ruvm_buffer_u8(&m->part[WIND], m->net.local >> l & 1);
}

/* Sections that are there, and where each part stands among them. */
static unsigned list_sections(const struct maker *m, struct ruvm_write_section *list,
                              size_t part_off[N_SECTIONS])
{
    size_t off[N_SECTIONS] = {0};
    unsigned n = 0, part[N_SECTIONS];
    for (unsigned i = 0; i < N_SECTIONS; i++) {
        if (m->part[i].size == 0)
            continue;
        part[n] = i;
        list[n++] = (struct ruvm_write_section){names[i], m->part[i].data, m->part[i].size};
    }
    ruvm_write_layout(list, n, off);
    for (unsigned i = 0; i < n; i++)
        part_off[part[i]] = off[i];
    return n;
}

static void write_image(struct maker *m, struct ruvm_buffer *out)
{
    struct ruvm_write_section list[N_SECTIONS];
    size_t off[N_SECTIONS];
    uint8_t *tens = ruvm_buffer_zeros(&m->part[TENS], (size_t)m->n_tensors * RUVM_TENS_BYTES);
    check(tens != NULL);
    unsigned n = list_sections(m, list, off);
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        m->tensors[i].data_off += (uint32_t)off[WGTS];
        m->tensors[i].scale_off += (uint32_t)off[SCAL];
        ruvm_write_tensor(tens + (size_t)i * RUVM_TENS_BYTES, &m->tensors[i]);
    }
    check(ruvm_write_image(out, &m->h, list, n) == RUVM_OK);
}

static bool is_small(const struct maker *m)
{
    uint32_t q_dim = (uint32_t)m->h.n_heads * m->head_dim;
    uint32_t kv_dim = (uint32_t)m->h.n_kv_heads * m->head_dim;
    uint32_t dim = (uint32_t)ruvm_align_up(m->h.dim, RUVM_ROW_ALIGN);
    uint32_t layer = dim * (2 * q_dim + 2 * kv_dim + 3u * m->h.hidden);
    uint32_t rows = 2u * m->h.vocab + (is_learned(m) ? m->h.context : 0u);
    return layer * m->h.n_layers + rows * dim <= MAX_WEIGHTS;
}

/* ---- running it ------------------------------------------------------------ */

/* What every run has in common. */
struct test {
    const uint8_t *image;
    size_t size;
    uint16_t tokens[MAX_TOKENS];
    uint32_t n_tokens, first; /* position of the first token */
    uint8_t manner;           /* of the cache before it */
    uint64_t seed;
};

static void *aligned(size_t size)
{
    void *p;
    check(posix_memalign(&p, 64, size + !size) == 0);
    return p;
}

/* What a cache may hold: steps of 1 to 135 with any codes, or any values but -128. */
static void fill(struct knobs *k, const struct test *t, const struct ruvm_cache *c, size_t vectors)
{
    size_t n = vectors * c->head_dim * c->bits / 8;
    for (size_t i = 0; i < n; i++)
        c->data[i] = c->bits == 4 ? (uint8_t)number(k, t->manner, (uint32_t)i, 0, UINT8_MAX)
                                  : (uint8_t)number(k, t->manner, (uint32_t)i, -127, 127);
    for (size_t i = 0; i < vectors && c->bits == 4; i++)
        c->m[i] = (uint8_t)number(k, t->manner, (uint32_t)i, 1, 135);
}

/* As if `first` tokens had been fed. */
static void jump(struct ruvm_engine *e, const struct test *t)
{
    struct knobs k = {.rng = t->seed};
    size_t vectors = (size_t)e->img.n_layers * e->img.n_kv_heads * e->context;
    if (t->first) {
        fill(&k, t, &e->keys, vectors);
        fill(&k, t, &e->values, vectors);
    }
    e->position = t->first;
}

/* The logits after each token, malloc'ed; NULL when the engine is not small. */
static int32_t *run(const struct test *t, const struct ruvm_kernels *kernels, uint32_t block,
                    uint8_t before)
{
    const struct ruvm_engine_options o = {.block = block, .kernels = kernels};
    struct ruvm_engine *e;
    size_t bytes;
    check(ruvm_engine_bytes(t->image, t->size, &o, &bytes) == RUVM_OK);
    if (bytes > MAX_ENGINE_BYTES)
        return NULL;
    void *memory = aligned(bytes);
    memset(memory, before, bytes);
    check(ruvm_engine_init(&e, memory, bytes, t->image, t->size, &o) == RUVM_OK);
    int32_t *logits = aligned((size_t)t->n_tokens * e->img.vocab * sizeof *logits);
    jump(e, t);
    check(ruvm_engine_eval(e, t->tokens, t->n_tokens, logits) == RUVM_OK);
    free(memory);
    return logits;
}

static void run_all(const struct test *t, size_t logits_bytes)
{
    int32_t *expected = run(t, &strict_kernels, 1, 0);
    for (const struct ruvm_kernels *const *k = ruvm_kernels_all; expected && *k; k++) {
        int32_t *found = (*k)->available() ? run(t, *k, t->n_tokens, 0xA5) : NULL;
        check(!found || memcmp(found, expected, logits_bytes) == 0);
        free(found);
    }
    free(expected);
}

static void choose_test(struct test *t, struct knobs *k, const struct ruvm_write_header *h)
{
    t->manner = turn(k);
    t->n_tokens = 1u + turn(k) % MAX_TOKENS;
    t->n_tokens = t->n_tokens < h->context ? t->n_tokens : h->context;
    t->first = turn(k) & 1 ? h->context - t->n_tokens : 0;
    for (uint32_t i = 0; i < t->n_tokens; i++)
        t->tokens[i] = (uint16_t)(random_bits(k) % h->vocab);
}

static void make_image(struct maker *m, struct ruvm_buffer *out)
{
    add_arch(m);
    add_tensors(m);
    add_norms_and_positions(m);
    add_biases_and_windows(m);
    write_image(m, out);
    for (int i = 0; i < N_SECTIONS; i++)
        ruvm_buffer_free(&m->part[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct knobs k = {.data = data, .size = size};
    struct maker m = {.k = &k};
    struct ruvm_buffer out = {0};
    struct test t = {0};
    choose_network(&m);
    choose_shape(&m);
    if (!is_small(&m))
        return 0;
    k.rng = t.seed = turn(&k);
    choose_test(&t, &k, &m.h);
    make_image(&m, &out);
    uint8_t *image = aligned(out.size);
    memcpy(image, out.data, out.size);
    t.image = image;
    t.size = out.size;
    run_all(&t, (size_t)t.n_tokens * m.h.vocab * sizeof(int32_t));
    free(image);
    ruvm_buffer_free(&out);
    return 0;
}
