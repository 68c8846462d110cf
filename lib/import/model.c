/* Gives a foreign directory its meaning: which tensor is which, and whether all agree.
 *
 * A person with an odd file wants to know everything that is wrong with it, not
 * the first thing: so problems are gathered in one text, and the whole directory is
 * looked at even when its numbers are already known to be beyond the image.
 */
#include "lib/import/model.h"

#include <math.h>
#include <string.h>

#include "lib/import/claims.h"
#include "lib/import/names.h"
#include "lib/import/numbers.h"

static int gather_tensors(struct ruvm_model *m, struct ruvm_arena *arena,
                          const struct ruvm_tensors *t, struct ruvm_problems *problems,
                          struct ruvm_error *err)
{
    m->layers = ruvm_arena_alloc(arena, m->n_layers, sizeof *m->layers);
    if (!m->layers)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u layers", m->n_layers);
    ruvm_numbers_windows(m, t, problems);
    const struct ruvm_view *factors = ruvm_tensors_find(t, "rope_freqs.weight");
    if (!ruvm_numbers_rope(m, arena, t, factors, problems) ||
        !ruvm_claims_make(m, arena, t, problems))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u layers", m->n_layers);
    return ruvm_problems_report(problems, err);
}

int ruvm_model_from_tensors(struct ruvm_model *m, struct ruvm_arena *arena,
                            const struct ruvm_tensors *t, struct ruvm_error *err)
{
    struct ruvm_problems problems = {0};
    memset(m, 0, sizeof *m);
    ruvm_numbers_read(m, t, &problems);
    bool is_language = ruvm_names_dialect(t) != NULL;
    if (!is_language)
        ruvm_problems_note(&problems, RUVM_ERR_UNSUPPORTED,
                           "no tensor is named like a token embedding: is this a language model?");
    bool has_shape = m->vocab && m->hidden && m->head_dim && m->n_layers;
    if (!is_language || !has_shape || m->n_layers > RUVM_NUMBERS_MAX_LAYERS)
        return ruvm_problems_report(&problems, err);
    return gather_tensors(m, arena, t, &problems, err);
}

void ruvm_model_cut_context(struct ruvm_model *m, uint32_t context)
{
    m->context = context;
    if (m->pos == RUVM_POS_LEARNED)
        m->positions.dims[0] = context;
}

int ruvm_model_check_vocab(const struct ruvm_model *m, const struct ruvm_vocab *v,
                           struct ruvm_error *err)
{
    if (m->vocab == v->n_pieces)
        return RUVM_OK;
    return ruvm_fail(err, RUVM_ERR_MISMATCH,
                     "the tokenizer has %u pieces, the model's embedding %u rows: they belong to "
                     "different models",
                     v->n_pieces, m->vocab);
}

/* ---- what follows from the numbers ----------------------------------------- */

double ruvm_model_turn(const struct ruvm_model *m, uint32_t i)
{
    double turn = pow((double)m->rope_theta, -2.0 * i / m->rotary_dim);
    return m->rope_factors ? turn / (double)m->rope_factors[i] : turn;
}

uint32_t ruvm_model_window(const struct ruvm_model *m, uint32_t layer)
{
    bool closes = m->layers[layer].windowed && m->window != 0 && m->window < m->context;
    return closes ? m->window : m->context;
}

float ruvm_model_score_scale(const struct ruvm_model *m)
{
    return m->score_scale != 0 ? m->score_scale : 1.0f / sqrtf((float)m->head_dim);
}

static uint64_t size_of(const struct ruvm_view *v)
{
    return !v || v->n_dims == 0 ? 0 : v->n_dims == 1 ? v->dims[0] : v->dims[0] * v->dims[1];
}

uint64_t ruvm_model_parameters(const struct ruvm_model *m)
{
    uint64_t n = size_of(m->embed) + size_of(&m->positions) + size_of(m->final_norm) +
                 size_of(m->final_bias) + (m->tied ? 0 : size_of(m->head));
    for (uint32_t i = 0; i < m->n_layers; i++) {
        const struct ruvm_layer *l = &m->layers[i];
        n += size_of(l->attn_norm) + size_of(l->ffn_norm) + size_of(l->wq) + size_of(l->wk) +
             size_of(l->wv) + size_of(l->wo) + size_of(l->w_up) + size_of(l->w_gate) +
             size_of(l->w_down);
        for (int k = 0; k < RUVM_BIAS_FINAL_NORM; k++)
            n += size_of(l->bias[k]);
    }
    return n;
}

/* ---- tensors --------------------------------------------------------------- */

static const struct ruvm_view *layer_tensor(const struct ruvm_layer *l, int kind)
{
    const struct ruvm_view *const views[] = {
        [RUVM_TENSOR_WQ] = l->wq,         [RUVM_TENSOR_WK] = l->wk,
        [RUVM_TENSOR_WV] = l->wv,         [RUVM_TENSOR_WO] = l->wo,
        [RUVM_TENSOR_W_UP] = l->w_up,     [RUVM_TENSOR_W_GATE] = l->w_gate,
        [RUVM_TENSOR_W_DOWN] = l->w_down,
    };
    return views[kind];
}

const struct ruvm_view *ruvm_model_tensor(const struct ruvm_model *m, int kind, unsigned layer,
                                          char *name)
{
    enum { CALLERS_NAME_BYTES = 48 };
    ruvm_names_write(name, CALLERS_NAME_BYTES, NULL, kind, layer);
    switch (kind) {
    case RUVM_TENSOR_EMBED: return m->embed;
    case RUVM_TENSOR_HEAD: return m->head;
    case RUVM_TENSOR_POSITION: return m->pos == RUVM_POS_LEARNED ? &m->positions : NULL;
    default: return layer_tensor(&m->layers[layer], kind);
    }
}

const struct ruvm_view **ruvm_model_place(struct ruvm_model *m, int kind, unsigned layer)
{
    struct ruvm_layer *l = &m->layers[layer];
    switch (kind) {
    case RUVM_TENSOR_EMBED: return &m->embed;
    case RUVM_TENSOR_HEAD: return &m->head;
    case RUVM_TENSOR_WQ: return &l->wq;
    case RUVM_TENSOR_WK: return &l->wk;
    case RUVM_TENSOR_WV: return &l->wv;
    case RUVM_TENSOR_WO: return &l->wo;
    case RUVM_TENSOR_W_UP: return &l->w_up;
    case RUVM_TENSOR_W_GATE: return &l->w_gate;
    default: return &l->w_down;
    }
}

unsigned ruvm_model_bias_kinds(const struct ruvm_model *m)
{
    unsigned kinds = m->final_bias ? 1u << RUVM_BIAS_FINAL_NORM : 0;
    for (uint32_t l = 0; l < m->n_layers; l++)
        for (unsigned k = 0; k < RUVM_BIAS_FINAL_NORM; k++)
            kinds |= m->layers[l].bias[k] ? 1u << k : 0;
    return kinds;
}
