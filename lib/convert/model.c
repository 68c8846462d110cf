/* Gives a foreign directory its meaning: which tensor is which, and whether all agree.
 *
 * A person with an odd file wants to know everything that is wrong with it, not
 * the first thing: so problems are gathered in one text, and the whole directory is
 * looked at even when its numbers are already known to be beyond the image.
 */
#include "lib/convert/model.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/convert/names.h"

/* What the image's fields can hold, and what the engine's RoPE can turn. */
enum { MAX_U16 = 65535, MAX_U8 = 255, MAX_HEAD_DIM = 2048 };

/* Leaves room in struct ruvm_error for the file's name. */
enum { PROBLEM_TEXT_BYTES = 800 };

struct problems {
    char text[PROBLEM_TEXT_BYTES]; /* joined by "; " */
    size_t used;
    unsigned n, n_left_out;
    int code; /* of the first */
};

struct gather {
    struct ruvm_model *m;
    const struct ruvm_tensors *t;
    const struct ruvm_dialect *dialect;
    bool *claimed; /* [t->n_views] */
    struct problems problems;
};

/* ---- problems ------------------------------------------------------------ */

static void __attribute__((format(printf, 3, 4)))
note(struct problems *p, int code, const char *fmt, ...)
{
    char text[192];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (p->n++ == 0)
        p->code = code;
    size_t n = strlen(text), joint = p->used ? 2 : 0;
    if (p->used + joint + n >= sizeof p->text) {
        p->n_left_out++;
        return;
    }
    memcpy(p->text + p->used, "; ", joint);
    memcpy(p->text + p->used + joint, text, n + 1);
    p->used += joint + n;
}

static int report(const struct problems *p, struct ruvm_error *err)
{
    if (p->n == 0)
        return RUVM_OK;
    if (p->n_left_out)
        return ruvm_fail(err, p->code, "%s; and %u more problems", p->text, p->n_left_out);
    return ruvm_fail(err, p->code, "%s", p->text);
}

/* ---- numbers ------------------------------------------------------------- */

/* A whole number from the metadata; 0 after noting that there is none. A value that
 * only the image cannot hold is kept: tensors are still compared with it. */
static uint32_t whole(struct gather *g, const char *key, uint32_t max)
{
    double x;
    if (!ruvm_tensors_number(g->t, key, &x)) {
        note(&g->problems, RUVM_ERR_UNSUPPORTED, "%s is not given", key);
        return 0;
    }
    if (!(x >= 1 && x <= UINT32_MAX && x == floor(x))) {
        note(&g->problems, RUVM_ERR_UNSUPPORTED, "%s is %g, expected 1 to %u", key, x, max);
        return 0;
    }
    if (x > max)
        note(&g->problems, RUVM_ERR_UNSUPPORTED, "%s is %.0f, an image holds at most %u", key, x,
             max);
    return (uint32_t)x;
}

static float real(struct gather *g, const char *key, double min, double max)
{
    double x;
    if (!ruvm_tensors_number(g->t, key, &x)) {
        note(&g->problems, RUVM_ERR_UNSUPPORTED, "%s is not given", key);
        return 0;
    }
    if (!(x >= min && x <= max))
        note(&g->problems, RUVM_ERR_UNSUPPORTED, "%s is %g, expected %g to %g", key, x, min, max);
    return (float)x;
}

/* A switch of the metadata that is `missing` when it is not given. */
static bool is_set(const struct gather *g, const char *key, bool missing)
{
    double x;
    return ruvm_tensors_number(g->t, key, &x) ? x != 0 : missing;
}

static void read_numbers(struct gather *g)
{
    struct ruvm_model *m = g->m;
    m->vocab = whole(g, "vocab_size", MAX_U16);
    m->dim = whole(g, "dim", MAX_U16);
    m->hidden = whole(g, "hidden_dim", MAX_U16);
    m->context = whole(g, "max_seq_len", UINT32_MAX); /* a part of it may be used */
    m->n_layers = whole(g, "n_layers", MAX_U8);
    m->n_heads = whole(g, "n_heads", MAX_U8);
    m->n_kv_heads = whole(g, "n_kv_heads", MAX_U8);
    m->norm_eps = real(g, "norm_eps", 1e-12, 0.1);
    m->rope_theta = real(g, "rope_theta", 1, 1e12);
    m->tied = is_set(g, "tied", false);
}

static void check_heads(struct gather *g)
{
    struct ruvm_model *m = g->m;
    if (!m->dim || !m->n_heads || !m->n_kv_heads)
        return;
    if (m->dim % m->n_heads != 0)
        note(&g->problems, RUVM_ERR_MISMATCH, "dim %u is not a multiple of n_heads %u", m->dim,
             m->n_heads);
    m->head_dim = m->dim / m->n_heads;
    if (m->head_dim % 2 != 0 || m->head_dim == 0 || m->head_dim > MAX_HEAD_DIM)
        note(&g->problems, RUVM_ERR_UNSUPPORTED,
             "a head has %u values, expected an even number to %d", m->head_dim, MAX_HEAD_DIM);
    if (m->n_heads % m->n_kv_heads != 0)
        note(&g->problems, RUVM_ERR_MISMATCH, "n_heads %u is not a multiple of n_kv_heads %u",
             m->n_heads, m->n_kv_heads);
}

/* ---- tensors ------------------------------------------------------------- */

struct matrix_shape {
    uint32_t rows, cols; /* rows 0: a vector of cols */
};

static struct matrix_shape shape_of(const struct ruvm_model *m, int role)
{
    uint32_t q_dim = m->n_heads * m->head_dim, kv_dim = m->n_kv_heads * m->head_dim;
    switch (role) {
    case RUVM_TENSOR_EMBED:
    case RUVM_TENSOR_HEAD: return (struct matrix_shape){m->vocab, m->dim};
    case RUVM_TENSOR_WQ: return (struct matrix_shape){q_dim, m->dim};
    case RUVM_TENSOR_WK:
    case RUVM_TENSOR_WV: return (struct matrix_shape){kv_dim, m->dim};
    case RUVM_TENSOR_WO: return (struct matrix_shape){m->dim, q_dim};
    case RUVM_TENSOR_W_UP:
    case RUVM_TENSOR_W_GATE: return (struct matrix_shape){m->hidden, m->dim};
    case RUVM_TENSOR_W_DOWN: return (struct matrix_shape){m->dim, m->hidden};
    default: return (struct matrix_shape){0, m->dim};
    }
}

static void check_shape(struct gather *g, const struct ruvm_view *v, struct matrix_shape want)
{
    uint32_t n_dims = want.rows ? 2 : 1;
    if (v->n_dims != n_dims)
        note(&g->problems, RUVM_ERR_MISMATCH, "%s has %u dimensions, expected %u", v->name,
             v->n_dims, n_dims);
    else if (n_dims == 1 && v->dims[0] != want.cols)
        note(&g->problems, RUVM_ERR_MISMATCH, "%s is [%llu], expected [%u]", v->name,
             (unsigned long long)v->dims[0], want.cols);
    else if (n_dims == 2 && (v->dims[0] != want.rows || v->dims[1] != want.cols))
        note(&g->problems, RUVM_ERR_MISMATCH, "%s is [%llu, %llu], expected [%u, %u]", v->name,
             (unsigned long long)v->dims[0], (unsigned long long)v->dims[1], want.rows, want.cols);
}

/* The tensor of a role, shape checked; NULL after noting that it is missing. */
static const struct ruvm_view *claim(struct gather *g, int role, unsigned layer)
{
    char name[RUVM_NAME_BYTES];
    ruvm_names_write(name, sizeof name, g->dialect, role, layer);
    const struct ruvm_view *v = ruvm_tensors_find(g->t, name);
    if (!v) {
        note(&g->problems, RUVM_ERR_UNSUPPORTED, "%s is missing", name);
        return NULL;
    }
    g->claimed[v - g->t->views] = true;
    check_shape(g, v, shape_of(g->m, role));
    return v;
}

static void claim_all(struct gather *g, const struct ruvm_view *ones)
{
    struct ruvm_model *m = g->m;
    m->embed = claim(g, RUVM_TENSOR_EMBED, 0);
    for (unsigned i = 0; i < m->n_layers; i++) {
        struct ruvm_layer *l = &m->layers[i];
        l->attn_norm = ones ? ones : claim(g, RUVM_ROLE_ATTN_NORM, i);
        l->wq = claim(g, RUVM_TENSOR_WQ, i);
        l->wk = claim(g, RUVM_TENSOR_WK, i);
        l->wv = claim(g, RUVM_TENSOR_WV, i);
        l->wo = claim(g, RUVM_TENSOR_WO, i);
        l->ffn_norm = ones ? ones : claim(g, RUVM_ROLE_FFN_NORM, i);
        l->w_up = claim(g, RUVM_TENSOR_W_UP, i);
        l->w_gate = claim(g, RUVM_TENSOR_W_GATE, i);
        l->w_down = claim(g, RUVM_TENSOR_W_DOWN, i);
    }
    m->final_norm = ones ? ones : claim(g, RUVM_ROLE_FINAL_NORM, 0);
    m->head = m->tied ? m->embed : claim(g, RUVM_TENSOR_HEAD, 0);
}

/* A tensor without a place would silently be left out of the network: a bias, say. */
static void check_unclaimed(struct gather *g)
{
    for (size_t i = 0; i < g->t->n_views; i++)
        if (!g->claimed[i])
            note(&g->problems, RUVM_ERR_UNSUPPORTED, "%s has no place in this architecture",
                 g->t->views[i].name);
}

/* The gains of a layout without norms. */
static const struct ruvm_view *make_ones(struct ruvm_arena *arena, uint32_t dim)
{
    struct ruvm_view *v = ruvm_arena_alloc(arena, 1, sizeof *v);
    uint8_t *data = ruvm_arena_alloc(arena, dim, 4);
    if (!v || !data)
        return NULL;
    for (size_t i = 0; i < dim; i++)
        ruvm_store_u32(data + 4 * i, 0x3f800000); /* 1.0 */
    *v = (struct ruvm_view){.name = "ones",
                            .dtype = RUVM_DTYPE_F32,
                            .n_dims = 1,
                            .dims = {dim},
                            .data = data,
                            .bytes = (size_t)dim * 4};
    return v;
}

static int gather_tensors(struct gather *g, struct ruvm_arena *arena, struct ruvm_error *err)
{
    bool has_norms = is_set(g, "norms", true);
    const struct ruvm_view *ones = has_norms ? NULL : make_ones(arena, g->m->dim);
    g->m->layers = ruvm_arena_alloc(arena, g->m->n_layers, sizeof *g->m->layers);
    g->claimed = ruvm_arena_alloc(arena, g->t->n_views, sizeof *g->claimed);
    if (!g->m->layers || !g->claimed || (!has_norms && !ones))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u layers", g->m->n_layers);
    claim_all(g, ones);
    check_unclaimed(g);
    return report(&g->problems, err);
}

int ruvm_model_from_tensors(struct ruvm_model *m, struct ruvm_arena *arena,
                            const struct ruvm_tensors *t, struct ruvm_error *err)
{
    struct gather g = {.m = m, .t = t, .dialect = ruvm_names_dialect(t)};
    memset(m, 0, sizeof *m);
    read_numbers(&g);
    check_heads(&g);
    if (!g.dialect)
        note(&g.problems, RUVM_ERR_UNSUPPORTED,
             "no tensor is named like a token embedding: is this a language model?");
    bool has_shape = m->vocab && m->hidden && m->head_dim && m->n_layers;
    if (!g.dialect || !has_shape || m->n_layers > MAX_U8)
        return report(&g.problems, err);
    return gather_tensors(&g, arena, err);
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
    if (kind == RUVM_TENSOR_EMBED)
        return m->embed;
    if (kind == RUVM_TENSOR_HEAD)
        return m->head;
    return layer_tensor(&m->layers[layer], kind);
}
