/* Reads the numbers of a network and holds them against what an image can have.
 *
 * Two containers tell the same number with different precision (JSON in decimal, GGUF in
 * half the bits of a double), so whatever is real becomes a float first: then the images
 * made of them agree.
 */
#include "lib/import/numbers.h"

#include <math.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* What the image's fields can hold, and what the engine's RoPE can turn. */
enum { MAX_U16 = 65535, MAX_U8 = 255, MAX_HEAD_DIM = 2048 };

struct reader {
    struct ruvm_model *m;
    const struct ruvm_tensors *t;
    struct ruvm_problems *problems;
};

/* A whole number from the metadata; 0 after noting that there is none. A value that
 * only the image cannot hold is kept: tensors are still compared with it. */
static uint32_t whole(const struct reader *r, const char *key, uint32_t max)
{
    double x;
    if (!ruvm_tensors_number(r->t, key, &x)) {
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED, "%s is not given", key);
        return 0;
    }
    if (!(x >= 1 && x <= UINT32_MAX && x == floor(x))) {
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED, "%s is %g, expected 1 to %u", key, x,
                           max);
        return 0;
    }
    if (x > max)
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED, "%s is %.0f, %s at most %u", key, x,
                           max == RUVM_VOCAB_MAX ? "expected" : "an image holds", max);
    return (uint32_t)x;
}

/* The same, for a number that need not be there and may be 0. */
static uint32_t whole_or(const struct reader *r, const char *key, uint32_t missing, uint32_t max)
{
    double x;
    if (!ruvm_tensors_number(r->t, key, &x))
        return missing;
    if (x >= 0 && x <= max && x == floor(x))
        return (uint32_t)x;
    ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED, "%s is %g, expected 0 to %u", key, x,
                       max);
    return missing;
}

static float real(const struct reader *r, const char *key, double min, double max)
{
    double x;
    if (!ruvm_tensors_number(r->t, key, &x)) {
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED, "%s is not given", key);
        return 0;
    }
    if (!(x >= min && x <= max))
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED, "%s is %g, expected %g to %g", key, x,
                           min, max);
    return (float)x;
}

static float real_or(const struct reader *r, const char *key, float missing, double min, double max)
{
    double x;
    return ruvm_tensors_number(r->t, key, &x) ? real(r, key, min, max) : missing;
}

bool ruvm_numbers_is_set(const struct ruvm_tensors *t, const char *key, bool missing)
{
    double x;
    return ruvm_tensors_number(t, key, &x) ? x != 0 : missing;
}

/* ---- the network ---------------------------------------------------------- */

static void check_architecture(const struct reader *r)
{
    static const char *const known[] = {"llama", "mistral", "qwen2", "gpt2", "gpt_neo", "gpt_neox"};
    const char *name = ruvm_tensors_text(r->t, "architecture");
    bool found = name == NULL;
    for (size_t i = 0; i < COUNT(known) && !found; i++)
        found = strcmp(name, known[i]) == 0;
    if (!found)
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED,
                           "the architecture is %s, known are llama, mistral, qwen2, gpt2, "
                           "gpt_neo and gpt_neox",
                           name);
}

static void check_heads(const struct reader *r)
{
    struct ruvm_model *m = r->m;
    if (!m->dim || !m->n_heads || !m->n_kv_heads)
        return;
    m->head_dim = whole_or(r, "head_dim", 0, MAX_U16);
    if (m->head_dim == 0 && m->dim % m->n_heads != 0)
        ruvm_problems_note(r->problems, RUVM_ERR_MISMATCH, "dim %u is not a multiple of n_heads %u",
                           m->dim, m->n_heads);
    if (m->head_dim == 0)
        m->head_dim = m->dim / m->n_heads;
    if (m->head_dim % 2 != 0 || m->head_dim == 0 || m->head_dim > MAX_HEAD_DIM)
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED,
                           "a head has %u values, expected an even number to %d", m->head_dim,
                           MAX_HEAD_DIM);
    else if (m->n_heads <= MAX_U8 && m->head_dim * m->n_heads > MAX_U16)
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED,
                           "%u heads of %u values, an image holds at most %d in all", m->n_heads,
                           m->head_dim, MAX_U16);
    if (m->n_heads % m->n_kv_heads != 0)
        ruvm_problems_note(r->problems, RUVM_ERR_MISMATCH,
                           "n_heads %u is not a multiple of n_kv_heads %u", m->n_heads,
                           m->n_kv_heads);
}

/* The usual scale is 0, however exactly it was written down. */
static float score_scale(const struct reader *r)
{
    float x = real_or(r, "score_scale", 0, 1e-6, 1e6);
    double usual = 1 / sqrt(r->m->head_dim ? (double)r->m->head_dim : 1.0);
    return fabs((double)x - usual) < 1e-6 * usual ? 0 : x;
}

static uint32_t rotary_dim(const struct reader *r)
{
    const struct ruvm_model *m = r->m;
    if (m->pos != RUVM_POS_ROPE)
        return 0;
    uint32_t n = whole_or(r, "rotary_dim", m->head_dim, MAX_U16);
    if (m->head_dim && (n < 2 || n % 2 != 0 || n > m->head_dim)) {
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED,
                           "rotary_dim is %u, expected an even number from 2 to %u", n,
                           m->head_dim);
        return m->head_dim;
    }
    return n;
}

void ruvm_numbers_read(struct ruvm_model *m, const struct ruvm_tensors *t,
                       struct ruvm_problems *problems)
{
    const struct reader r = {m, t, problems};
    check_architecture(&r);
    m->vocab = whole(&r, "vocab_size", RUVM_VOCAB_MAX);
    m->dim = whole(&r, "dim", MAX_U16);
    m->hidden = whole(&r, "hidden_dim", MAX_U16);
    m->context = whole(&r, "max_seq_len", UINT32_MAX); /* a part of it may be used */
    m->n_layers = whole(&r, "n_layers", RUVM_NUMBERS_MAX_LAYERS);
    m->n_heads = whole(&r, "n_heads", MAX_U8);
    m->n_kv_heads = whole(&r, "n_kv_heads", MAX_U8);
    m->norm_eps = real(&r, "norm_eps", 1e-12, 0.1);
    m->rope_theta = real_or(&r, "rope_theta", 10000, 1, 1e12);
    m->tied = ruvm_numbers_is_set(t, "tied", false);
    m->norm = (uint8_t)whole_or(&r, "norm_kind", RUVM_NORM_RMS, RUVM_N_NORMS - 1);
    m->act = (uint8_t)whole_or(&r, "activation", RUVM_ACT_SILU_GATED, RUVM_N_ACTS - 1);
    m->pos = (uint8_t)whole_or(&r, "positions", RUVM_POS_ROPE, RUVM_N_POS - 1);
    m->parallel = ruvm_numbers_is_set(t, "parallel", false);
    check_heads(&r);
    m->rotary_dim = rotary_dim(&r);
    m->score_scale = score_scale(&r);
    uint32_t window = whole_or(&r, "window", 0, UINT32_MAX);
    m->window = window < m->context ? window : 0; /* a wider one never closes */
}

void ruvm_numbers_windows(struct ruvm_model *m, const struct ruvm_tensors *t,
                          struct ruvm_problems *problems)
{
    const char *local = ruvm_tensors_text(t, "local_layers");
    if (local && (strlen(local) != m->n_layers || strspn(local, "01") != m->n_layers)) {
        ruvm_problems_note(problems, RUVM_ERR_UNSUPPORTED,
                           "local_layers is \"%.40s\", expected %u digits 0 or 1", local,
                           m->n_layers);
        return;
    }
    bool any = false;
    for (uint32_t i = 0; i < m->n_layers; i++) {
        m->layers[i].windowed = m->window != 0 && (!local || local[i] == '1');
        any = any || m->layers[i].windowed;
    }
    m->window = any ? m->window : 0;
}

/* ---- RoPE ------------------------------------------------------------------ */

/* Hugging Face's "llama3": slow pairs turn `factor` times slower, fast ones as before, those
 * between in proportion to the turns they make in the original context. */
struct llama3 {
    double factor, low, high, context;
};

static double llama3_factor(const struct llama3 *s, double turn)
{
    double turns = s->context * turn / 6.283185307179586;
    if (turns < s->low)
        return s->factor;
    if (turns > s->high)
        return 1;
    double share = (turns - s->low) / (s->high - s->low);
    return 1 / ((1 - share) / s->factor + share);
}

static bool read_llama3(const struct reader *r, struct llama3 *s)
{
    unsigned before = r->problems->n;
    s->low = (double)real(r, "rope_low_freq", 1e-3, 1e6);
    s->high = (double)real(r, "rope_high_freq", 1e-3, 1e6);
    s->context = (double)real(r, "rope_original_context", 1, 1e9);
    if (r->problems->n == before && s->high <= s->low)
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED,
                           "rope_high_freq is %g, expected above rope_low_freq %g", s->high,
                           s->low);
    return r->problems->n == before;
}

/* YaRN (arXiv 2309.00071): pairs that make many turns in the original context turn as before, those
 * that make few `factor` times slower, and those between in proportion to their number. */
struct yarn {
    double factor, fast, slow, context;
    bool whole; /* the bounds are pairs, and not places between them */
};

/* The pair, or place between two, that makes so many turns in the original context. */
static double yarn_place(const struct ruvm_model *m, const struct yarn *s, double turns)
{
    return m->rotary_dim * log(s->context / (turns * 6.283185307179586)) /
           (2 * log((double)m->rope_theta));
}

static void scale_by_yarn(const struct ruvm_model *m, const struct yarn *s, float *factors)
{
    double low = yarn_place(m, s, s->fast), high = yarn_place(m, s, s->slow);
    low = fmax(s->whole ? floor(low) : low, 0);
    high = fmin(s->whole ? ceil(high) : high, (double)m->rotary_dim - 1);
    double width = high > low || high < low ? high - low : 0.001;
    for (uint32_t i = 0; i < m->rotary_dim / 2; i++) {
        double share = 1 - fmin(fmax((i - low) / width, 0), 1);
        factors[i] = (float)(1 / ((1 - share) / s->factor + share));
    }
}

/* Cosines and sines are multiplied with `x`, and so are queries and keys: scores with its square.
 */
static void scale_scores(const struct reader *r, double x)
{
    struct ruvm_model *m = r->m;
    if (!(x < 1) && !(x > 1))
        return;
    if (m->rotary_dim != m->head_dim)
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED,
                           "rope_attention is %g, and %u of a head's %u values turn; accepted "
                           "where all do",
                           x, m->rotary_dim, m->head_dim);
    m->score_scale = (float)((double)ruvm_model_score_scale(m) * x * x);
}

static bool read_yarn(const struct reader *r, float *factors)
{
    unsigned before = r->problems->n;
    double theta = (double)r->m->rope_theta;
    struct yarn s = {.factor = (double)real(r, "rope_factor", 1, 1e6),
                     .fast = (double)real_or(r, "rope_beta_fast", 32, 1e-3, 1e6),
                     .slow = (double)real_or(r, "rope_beta_slow", 1, 1e-3, 1e6),
                     .context = (double)real(r, "rope_original_context", 1, 1e9),
                     .whole = ruvm_numbers_is_set(r->t, "rope_whole", true)};
    if (r->problems->n == before && !(theta > 1))
        ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED,
                           "rope_theta is %g, expected above 1 with rope_scaling yarn", theta);
    if (r->problems->n != before)
        return false;
    double usual = 0.1 * log(s.factor) + 1;
    scale_by_yarn(r->m, &s, factors);
    scale_scores(r, (double)real_or(r, "rope_attention", (float)usual, 1e-3, 1e3));
    return r->problems->n == before;
}

/* false after noting a problem. */
static bool scale_by_numbers(const struct reader *r, float *factors, const char *kind)
{
    struct llama3 s = {0};
    unsigned before = r->problems->n;
    if (strcmp(kind, "yarn") == 0)
        return read_yarn(r, factors);
    s.factor = (double)real(r, "rope_factor", 1e-3, 1e6);
    bool is_llama3 = strcmp(kind, "llama3") == 0;
    if (is_llama3 && !read_llama3(r, &s))
        return false;
    for (uint32_t i = 0; i < r->m->rotary_dim / 2; i++)
        factors[i] = (float)(is_llama3 ? llama3_factor(&s, ruvm_model_turn(r->m, i)) : s.factor);
    return r->problems->n == before;
}

static bool scale_by_tensor(const struct reader *r, float *factors, const struct ruvm_view *v)
{
    uint32_t n = r->m->rotary_dim / 2;
    if (v->n_dims != 1 || v->dims[0] != n) {
        ruvm_problems_note(r->problems, RUVM_ERR_MISMATCH,
                           "%s has %u dimensions, the first of %llu, expected [%u]", v->name,
                           v->n_dims, (unsigned long long)v->dims[0], n);
        return false;
    }
    ruvm_view_row(v, 0, factors);
    for (uint32_t i = 0; i < n; i++)
        if (!(factors[i] >= 1e-6f && factors[i] <= 1e6f)) {
            ruvm_problems_note(r->problems, RUVM_ERR_UNSUPPORTED,
                               "%s: value %u is %g, expected 1e-06 to 1e+06", v->name, i,
                               (double)factors[i]);
            return false;
        }
    return true;
}

static bool are_ones(const float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (x[i] < 1 || x[i] > 1)
            return false;
    return true;
}

bool ruvm_numbers_rope(struct ruvm_model *m, struct ruvm_arena *arena, const struct ruvm_tensors *t,
                       const struct ruvm_view *tensor, struct ruvm_problems *problems)
{
    const struct reader r = {m, t, problems};
    const char *kind = ruvm_tensors_text(t, "rope_scaling");
    bool none = !kind || strcmp(kind, "none") == 0 || (tensor && strcmp(kind, "factors") == 0);
    if (m->pos != RUVM_POS_ROPE || (none && !tensor))
        return true;
    if (!none && strcmp(kind, "linear") != 0 && strcmp(kind, "llama3") != 0 &&
        strcmp(kind, "yarn") != 0) {
        ruvm_problems_note(problems, RUVM_ERR_UNSUPPORTED,
                           "rope_scaling is %.40s, known are none, linear, llama3 and yarn", kind);
        return true;
    }
    float *factors = ruvm_arena_alloc(arena, m->rotary_dim / 2, sizeof *factors);
    if (!factors)
        return false;
    bool good = tensor ? scale_by_tensor(&r, factors, tensor) : scale_by_numbers(&r, factors, kind);
    if (good && !are_ones(factors, m->rotary_dim / 2))
        m->rope_factors = factors;
    return true;
}
