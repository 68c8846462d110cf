/* The table of families, and the questions that tell them apart. */
#include "lib/export/export_family.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/problems.h"

#define BIT(kind) (1u << RUVM_BIAS_##kind)

enum {
    QKV = BIT(WQ) | BIT(WK) | BIT(WV),
    LINEAR = BIT(WO) | BIT(W_UP) | BIT(W_DOWN),
    NORMS = BIT(ATTN_NORM) | BIT(FFN_NORM) | BIT(FINAL_NORM),
};

/* One with biases stands before those that may do without. */
static const struct ruvm_export_family families[] = {
    {"qwen2", "Qwen2ForCausalLM", "Hugging Face Llama", "qwen2", .gated = true, .always = QKV,
     .windows = RUVM_EXPORT_LAYER_WINDOWS, .usual_score = true, .halves = true},
    {"llama", "LlamaForCausalLM", "Hugging Face Llama", "llama", .gated = true,
     .may = QKV | LINEAR | BIT(W_GATE), .usual_score = true},
    {"mistral", "MistralForCausalLM", "Hugging Face Llama", "llama", .gated = true,
     .windows = RUVM_EXPORT_ONE_WINDOW, .usual_score = true},
    {"gpt2", "GPT2LMHeadModel", "Hugging Face GPT-2", "gpt2", .pos = RUVM_POS_LEARNED,
     .always = QKV | LINEAR | NORMS, .usual_score = true, .plain_score = true, .fused = true},
    {"gpt_neo", "GPTNeoForCausalLM", "Hugging Face GPT-Neo", NULL, .pos = RUVM_POS_LEARNED,
     .always = LINEAR | NORMS, .windows = RUVM_EXPORT_LAYER_WINDOWS, .plain_score = true},
    {"gpt_neox", "GPTNeoXForCausalLM", "Hugging Face GPT-NeoX", "gptneox",
     .always = QKV | LINEAR | NORMS, .usual_score = true, .fused = true, .halves = true},
};

enum { N_FAMILIES = sizeof families / sizeof *families };

/* ---- what a model has ----------------------------------------------------------- */

unsigned ruvm_export_family_biases(const struct ruvm_model *m)
{
    unsigned kinds = m->final_bias ? BIT(FINAL_NORM) : 0;
    for (uint32_t l = 0; l < m->n_layers; l++)
        for (unsigned k = 0; k < RUVM_BIAS_FINAL_NORM; k++)
            kinds |= m->layers[l].bias[k] ? 1u << k : 0;
    return kinds;
}

bool ruvm_export_family_linear(const struct ruvm_model *m, float *factor)
{
    *factor = m->rope_factors ? m->rope_factors[0] : 1;
    for (uint32_t i = 1; m->rope_factors && i < m->rotary_dim / 2; i++)
        if (m->rope_factors[i] < *factor || m->rope_factors[i] > *factor)
            return false;
    return true;
}

static bool is_plain_score(const struct ruvm_model *m)
{
    return m->score_scale >= 1 && m->score_scale <= 1;
}

static uint32_t count_windows(const struct ruvm_model *m)
{
    uint32_t n = 0;
    for (uint32_t l = 0; l < m->n_layers && m->window; l++)
        n += m->layers[l].windowed;
    return n;
}

/* ---- why a model is not of a family ----------------------------------------------- */

static const char *wrong_shape(const struct ruvm_export_family *f, const struct ruvm_model *m)
{
    if (!f->gated && (m->n_kv_heads != m->n_heads || m->n_heads * m->head_dim != m->dim))
        return "heads that share keys, or are not the embedding cut in pieces";
    if (m->pos == RUVM_POS_ROPE && f->gated && m->rotary_dim != m->head_dim)
        return "heads that turn in part";
    if (m->parallel && (f->gated || f->pos != RUVM_POS_ROPE))
        return "attention and feed-forward side by side";
    return NULL;
}

static const char *wrong_attention(const struct ruvm_export_family *f, const struct ruvm_model *m)
{
    uint32_t n = count_windows(m);
    if (n && f->windows == RUVM_EXPORT_NO_WINDOW)
        return "a sliding window";
    if (n && n < m->n_layers && f->windows == RUVM_EXPORT_ONE_WINDOW)
        return "a sliding window in some layers";
    bool usual = m->score_scale <= 0;
    if (usual ? !f->usual_score : !(f->plain_score && is_plain_score(m)))
        return "another scale of the scores";
    return NULL;
}

/* NULL: it is one. */
static const char *why_not(const struct ruvm_export_family *f, const struct ruvm_model *m)
{
    bool gated = m->norm == RUVM_NORM_RMS && m->act == RUVM_ACT_SILU_GATED;
    bool plain = m->norm == RUVM_NORM_LAYER && m->act != RUVM_ACT_SILU_GATED;
    if (f->gated ? !gated : !plain)
        return "another norm or activation";
    if (m->pos != f->pos)
        return "other positions";
    const char *why = wrong_shape(f, m);
    if (!why)
        why = wrong_attention(f, m);
    if (!why && (ruvm_export_family_biases(m) & ~(f->always | f->may)))
        why = "biases where it has none";
    return why;
}

/* A matrix that looks at the signs of its input only. */
static const struct ruvm_view *find_signs(const struct ruvm_model *m)
{
    char name[64];
    static const int others[] = {RUVM_TENSOR_EMBED, RUVM_TENSOR_HEAD};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ruvm_model_tensor(m, others[i], 0, name)->signs)
            return ruvm_model_tensor(m, others[i], 0, name);
    for (uint32_t l = 0; l < m->n_layers; l++)
        for (int kind = RUVM_TENSOR_WQ; kind <= RUVM_TENSOR_W_DOWN; kind++) {
            const struct ruvm_view *v = ruvm_model_tensor(m, kind, l, name);
            if (v && v->signs)
                return v;
        }
    return NULL;
}

/* Missing biases are written as zeros, so one that has them all is liked better. */
static bool lacks_none(const struct ruvm_export_family *f, const struct ruvm_model *m)
{
    return (f->always & ~ruvm_export_family_biases(m)) == 0;
}

static int refuse(const struct ruvm_model *m, struct ruvm_error *err)
{
    struct ruvm_problems problems = {0};
    for (int i = 0; i < N_FAMILIES; i++)
        ruvm_problems_note(&problems, RUVM_ERR_UNSUPPORTED, "%s: it has %s", families[i].name,
                           why_not(&families[i], m));
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "the network is of no family that is exported (%s)",
                     problems.text);
}

int ruvm_export_family_find(const struct ruvm_export_family **family, const struct ruvm_model *m,
                            const char *hint, struct ruvm_error *err)
{
    const struct ruvm_export_family *best = NULL;
    const struct ruvm_view *signs = find_signs(m);
    if (signs)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s is xnor: its input is reduced to signs, which no other format can "
                         "say; export the float model that the image was made of",
                         signs->name);
    for (int i = 0; i < N_FAMILIES; i++) {
        const struct ruvm_export_family *f = &families[i];
        if (why_not(f, m))
            continue;
        if (hint && strcmp(hint, f->name) == 0) {
            *family = f;
            return RUVM_OK;
        }
        if (!best || (!lacks_none(best, m) && lacks_none(f, m)))
            best = f;
    }
    *family = best;
    return best ? RUVM_OK : refuse(m, err);
}

/* ---- GGUF -------------------------------------------------------------------------- */

static bool wrong_activation(const struct ruvm_export_family *f, const struct ruvm_model *m)
{
    return !f->gated &&
           m->act != (f->pos == RUVM_POS_LEARNED ? RUVM_ACT_GELU_TANH : RUVM_ACT_GELU_ERF);
}

int ruvm_export_family_check_gguf(const struct ruvm_export_family *f, const struct ruvm_model *m,
                                  struct ruvm_error *err)
{
    struct ruvm_problems p = {0};
    float factor;
    uint32_t n = count_windows(m);
    if (!f->gguf)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "GGUF has no architecture for %s; --to safetensors can write it", f->name);
    if (wrong_activation(f, m))
        ruvm_problems_note(&p, RUVM_ERR_UNSUPPORTED, "GGUF's %s has another activation", f->gguf);
    if (n && strcmp(f->gguf, "llama") != 0)
        ruvm_problems_note(&p, RUVM_ERR_UNSUPPORTED, "GGUF's %s has no sliding window", f->gguf);
    if (m->score_scale > 0)
        ruvm_problems_note(&p, RUVM_ERR_UNSUPPORTED, "GGUF's %s has no other scale of the scores",
                           f->gguf);
    if (!ruvm_export_family_linear(m, &factor) && strcmp(f->gguf, "llama") != 0)
        ruvm_problems_note(&p, RUVM_ERR_UNSUPPORTED, "GGUF's %s has no factors of RoPE", f->gguf);
    if (p.n)
        ruvm_problems_note(&p, RUVM_ERR_UNSUPPORTED, "--to safetensors can write it");
    return ruvm_problems_report(&p, err);
}
