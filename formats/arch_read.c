/* Reads what the network computes: ARCH, and the small sections that follow from it.
 *
 * A network is a choice of parts: a kind of norm, of feed-forward layer, of positions,
 * with or without biases and windows. Every combination is valid, so each part is
 * checked by itself, and a part that is not there has no section.
 */
#include "formats/arch_read.h"

#include "lib/base/bytes.h"

/* ---- ARCH ---------------------------------------------------------------- */

static void read_arch(struct ruvm_image *img, const uint8_t *a)
{
    img->norm = a[RUVM_ARCH_NORM];
    img->act = a[RUVM_ARCH_ACT];
    img->pos = a[RUVM_ARCH_POS];
    img->tied = (a[RUVM_ARCH_FLAGS] & RUVM_ARCH_FLAG_TIED) != 0;
    img->parallel = (a[RUVM_ARCH_FLAGS] & RUVM_ARCH_FLAG_PARALLEL) != 0;
    img->head_dim = ruvm_load_u16(a + RUVM_ARCH_HEAD_DIM);
    img->rope_dims = ruvm_load_u16(a + RUVM_ARCH_ROPE_DIMS);
    img->eps_mantissa = ruvm_load_u32(a + RUVM_ARCH_EPS);
    img->eps_exp = (int8_t)a[RUVM_ARCH_EPS_EXP];
    img->resid_exp = (int8_t)a[RUVM_ARCH_RESID_EXP];
    img->k_bits = a[RUVM_ARCH_K_BITS] ? a[RUVM_ARCH_K_BITS] : 8;
    img->v_bits = a[RUVM_ARCH_V_BITS] ? a[RUVM_ARCH_V_BITS] : 8;
    img->window = ruvm_load_u16(a + RUVM_ARCH_WINDOW);
    img->score_mantissa = ruvm_load_u32(a + RUVM_ARCH_SCORE);
    img->score_exp = (int8_t)a[RUVM_ARCH_SCORE_EXP];
}

static bool check_kinds(struct ruvm_check *c, const uint8_t *a)
{
    const uint32_t flags = RUVM_ARCH_FLAG_TIED | RUVM_ARCH_FLAG_PARALLEL;
    return ruvm_check_known(c, a + RUVM_ARCH_NORM, "kind of norm", RUVM_N_NORMS - 1,
                            c->img->norm) &&
           ruvm_check_known(c, a + RUVM_ARCH_ACT, "kind of activation", RUVM_N_ACTS - 1,
                            c->img->act) &&
           ruvm_check_known(c, a + RUVM_ARCH_POS, "kind of positions", RUVM_N_POS - 1,
                            c->img->pos) &&
           ruvm_check_known(c, a + RUVM_ARCH_FLAGS, "flags", flags, a[RUVM_ARCH_FLAGS]);
}

static bool check_heads(struct ruvm_check *c, const uint8_t *a)
{
    const struct ruvm_image *img = c->img;
    const uint8_t *head = a + RUVM_ARCH_HEAD_DIM, *rope = a + RUVM_ARCH_ROPE_DIMS;
    if (!ruvm_check_at_least(c, head, "size of a head", 2, img->head_dim) ||
        !ruvm_check_multiple(c, head, "size of a head", 2, img->head_dim) ||
        !ruvm_check_at_most(c, head, "size of all heads", UINT16_MAX,
                            (uint32_t)img->head_dim * img->n_heads))
        return false;
    if (img->pos != RUVM_POS_ROPE)
        return ruvm_check_equal(c, rope, "rotating dimensions of learned positions", 0,
                                img->rope_dims);
    return ruvm_check_at_least(c, rope, "rotating dimensions", 2, img->rope_dims) &&
           ruvm_check_multiple(c, rope, "rotating dimensions", 2, img->rope_dims) &&
           ruvm_check_at_most(c, rope, "rotating dimensions", img->head_dim, img->rope_dims);
}

/* 8 is written as 0, so that images which know nothing of this have it. */
static bool check_cache_bits(struct ruvm_check *c, const uint8_t *at, const char *what)
{
    return ruvm_check_supported(c, at, what, *at == 0 || *at == 4);
}

/* The usual scale is written as zeros, for the same reason. */
static bool check_score(struct ruvm_check *c, const uint8_t *a)
{
    const uint8_t *exponent = a + RUVM_ARCH_SCORE_EXP;
    if (c->img->score_mantissa == 0)
        return ruvm_check_equal(c, exponent, "exponent of the usual scale of scores", 0, *exponent);
    return ruvm_check_exponents(c, exponent, 1);
}

static bool check_arch(struct ruvm_check *c)
{
    const uint8_t *a = c->part[RUVM_SECTION_ARCH].data;
    if (!ruvm_check_enter(c, RUVM_SECTION_ARCH, RUVM_ARCH_BYTES))
        return false;
    read_arch(c->img, a);
    return check_kinds(c, a) && check_heads(c, a) &&
           ruvm_check_exponents(c, a + RUVM_ARCH_EPS_EXP, 2) &&
           check_cache_bits(c, a + RUVM_ARCH_K_BITS, "bits of a cached key are neither 8 nor 4") &&
           check_cache_bits(c, a + RUVM_ARCH_V_BITS,
                            "bits of a cached value are neither 8 nor 4") &&
           check_score(c, a) &&
           ruvm_check_zeros(c, a + RUVM_ARCH_SCORE_EXP + 1, a + RUVM_ARCH_SCORE, "reserved byte") &&
           ruvm_check_zeros(c, a + RUVM_ARCH_SCORE + 4, a + RUVM_ARCH_BYTES, "reserved byte");
}

/* ---- NORM and BIAS ------------------------------------------------------- */

static bool check_norm(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_SECTION_NORM].data;
    uint32_t n = 2u * c->img->n_layers + 1;
    uint32_t padded = (uint32_t)ruvm_align_up(n, 16);
    if (!ruvm_check_enter(c, RUVM_SECTION_NORM, padded + (uint64_t)n * c->img->dim * 2) ||
        !ruvm_check_exponents(c, s, n))
        return false;
    c->img->norm_exp = (const int8_t *)s;
    c->img->norm_gain = (const int16_t *)(const void *)(s + padded);
    return ruvm_check_zeros(c, s + n, s + padded, "padding of the exponents");
}

static uint32_t bias_length(const struct ruvm_image *img, unsigned kind)
{
    switch (kind) {
    case RUVM_BIAS_WQ: return (uint32_t)img->n_heads * img->head_dim;
    case RUVM_BIAS_WK:
    case RUVM_BIAS_WV: return (uint32_t)img->n_kv_heads * img->head_dim;
    case RUVM_BIAS_W_UP:
    case RUVM_BIAS_W_GATE: return img->hidden;
    default: return img->dim;
    }
}

/* Vectors and numbers of the kinds below `end` that a layer has. */
static struct bias_count {
    uint32_t vectors, numbers;
} count_biases(const struct ruvm_image *img, unsigned end)
{
    struct bias_count n = {0};
    for (unsigned kind = 0; kind < end && kind < RUVM_BIAS_FINAL_NORM; kind++) {
        if (!(img->bias_kinds >> kind & 1u))
            continue;
        n.vectors++;
        n.numbers += bias_length(img, kind);
    }
    return n;
}

struct ruvm_bias ruvm_image_bias(const struct ruvm_image *img, enum ruvm_bias_kind kind,
                                 unsigned layer)
{
    if (!(img->bias_kinds >> kind & 1u))
        return (struct ruvm_bias){0};
    struct bias_count layers = count_biases(img, RUVM_BIAS_FINAL_NORM);
    struct bias_count before = count_biases(img, kind);
    if (kind == RUVM_BIAS_FINAL_NORM) {
        before = (struct bias_count){0};
        layer = img->n_layers;
    }
    return (struct ruvm_bias){
        .m = img->bias + (size_t)layer * layers.numbers + before.numbers,
        .n = bias_length(img, kind),
        .exp = img->bias_exp[layer * layers.vectors + before.vectors],
    };
}

/* A bias of a gate that is not there would be a mistake; other bits are for later versions. */
static bool check_bias_kinds(struct ruvm_check *c, const uint8_t *s)
{
    uint32_t kinds = ruvm_load_u16(s + RUVM_BIAS_KINDS);
    c->img->bias_kinds = (uint16_t)kinds;
    return ruvm_check_known(c, s, "kinds of biases", (1u << RUVM_N_BIASES) - 1, kinds) &&
           ruvm_check_at_least(c, s, "kinds of biases", 1, kinds) &&
           ruvm_check_holds(c, s, "bias of a gate in a network without gates",
                            c->img->act == RUVM_ACT_SILU_GATED ||
                                !(kinds >> RUVM_BIAS_W_GATE & 1u));
}

static bool check_bias(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_SECTION_BIAS].data;
    struct ruvm_image *img = c->img;
    c->section = ruvm_check_names[RUVM_SECTION_BIAS];
    if (!s)
        return true;
    if (!ruvm_check_at_least(c, s, "size of the section", RUVM_BIAS_EXPS,
                             c->part[RUVM_SECTION_BIAS].size) ||
        !check_bias_kinds(c, s))
        return false;
    struct bias_count layer = count_biases(img, RUVM_BIAS_FINAL_NORM);
    uint32_t has_final = img->bias_kinds >> RUVM_BIAS_FINAL_NORM & 1u;
    uint32_t n = layer.vectors * img->n_layers + has_final;
    uint64_t numbers = (uint64_t)layer.numbers * img->n_layers + has_final * img->dim;
    uint32_t padded = (uint32_t)ruvm_align_up(RUVM_BIAS_EXPS + n, 16);
    if (!ruvm_check_enter(c, RUVM_SECTION_BIAS, padded + numbers * sizeof *img->bias) ||
        !ruvm_check_exponents(c, s + RUVM_BIAS_EXPS, n))
        return false;
    img->bias_exp = (const int8_t *)s + RUVM_BIAS_EXPS;
    img->bias = (const int16_t *)(const void *)(s + padded);
    return ruvm_check_zeros(c, s + RUVM_BIAS_EXPS + n, s + padded, "padding of the exponents");
}

/* ---- positions ----------------------------------------------------------- */

/* Whether a section is there just when the network asks for it. */
static bool check_wanted(struct ruvm_check *c, enum ruvm_section_index part, const char *unwanted,
                         bool wanted)
{
    if (wanted)
        return ruvm_check_present(c, part);
    c->section = ruvm_check_names[part];
    return ruvm_check_holds(c, c->part[part].data, unwanted, c->part[part].data == NULL);
}

static bool check_rope(struct ruvm_check *c)
{
    bool wanted = c->img->pos == RUVM_POS_ROPE;
    if (!check_wanted(c, RUVM_SECTION_ROPE, "section of rotations, but positions are learned",
                      wanted))
        return false;
    c->img->rope_inc = (const uint32_t *)(const void *)c->part[RUVM_SECTION_ROPE].data;
    return !wanted || ruvm_check_enter(c, RUVM_SECTION_ROPE,
                                       c->img->rope_dims / 2u * sizeof *c->img->rope_inc);
}

static bool check_wind(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_SECTION_WIND].data;
    c->section = ruvm_check_names[RUVM_SECTION_WIND];
    if (!s)
        return true;
    if (!ruvm_check_holds(c, s, "section of windows in a network without", c->img->window > 0) ||
        !ruvm_check_enter(c, RUVM_SECTION_WIND, c->img->n_layers))
        return false;
    c->img->wind = s;
    for (unsigned l = 0; l < c->img->n_layers; l++)
        if (!ruvm_check_known(c, s + l, "window of a layer", 1, s[l]))
            return false;
    return true;
}

uint32_t ruvm_image_window(const struct ruvm_image *img, unsigned layer)
{
    return img->wind && !img->wind[layer] ? 0 : img->window;
}

/* ---- the cache ----------------------------------------------------------- */

static bool check_kvsc(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_SECTION_KVSC].data;
    struct ruvm_image *img = c->img;
    uint32_t channels = (uint32_t)img->n_kv_heads * img->head_dim;
    uint32_t zeros_at = RUVM_KVSC_ARRAYS + 8 * channels, record = zeros_at + 2 * channels;
    if (!ruvm_check_enter(c, RUVM_SECTION_KVSC, (uint64_t)record * img->n_layers))
        return false;
    img->kvsc = s;
    img->kvsc_bytes = record;
    for (unsigned layer = 0; layer < img->n_layers; layer++, s += record) {
        if (!ruvm_check_exponents(c, s, RUVM_KVSC_ARRAYS))
            return false;
        for (uint32_t i = 0; i < channels; i++) {
            const uint8_t *at = s + zeros_at + 2 * (size_t)i;
            int zero = (int16_t)ruvm_load_u16(at);
            if (!ruvm_check_holds(c, at, "zero of a key channel is beyond +-16383",
                                  zero <= RUVM_KVSC_ZERO_MAX && zero >= -RUVM_KVSC_ZERO_MAX))
                return false;
        }
    }
    return true;
}

bool ruvm_arch_check(struct ruvm_check *c)
{
    return check_arch(c) && check_norm(c) && check_bias(c) && check_rope(c) && check_wind(c) &&
           check_kvsc(c);
}
