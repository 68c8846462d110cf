/* Gives each tensor its role, and looks that its shape is the one that the numbers ask for.
 *
 * A tensor that nobody claims would silently be left out of the network: so it is a problem,
 * unless it is one of the tables that PyTorch stores beside the weights.
 */
#include "lib/import/claims.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/import/names.h"
#include "lib/import/numbers.h"
#include "lib/import/rows.h"

struct gather {
    struct ruvm_model *m;
    struct ruvm_arena *arena;
    const struct ruvm_tensors *t;
    const struct ruvm_dialect *dialect;
    struct ruvm_problems *problems;
    bool *claimed;   /* [t->n_views] */
    unsigned biases; /* bits of enum ruvm_bias_kind that this architecture always has */
    uint32_t halves; /* leading rows of a head of q and k that are stored as two halves */
    bool columns;    /* matrices are stored as [inputs, outputs] */
    bool no_memory;
};

/* ---- shapes ---------------------------------------------------------------- */

static uint32_t q_dim(const struct ruvm_model *m)
{
    return m->n_heads * m->head_dim;
}

static uint32_t kv_dim(const struct ruvm_model *m)
{
    return m->n_kv_heads * m->head_dim;
}

/* Outputs and inputs of a role; outputs 0: a vector of inputs. */
struct matrix_shape {
    uint32_t rows, cols;
};

static struct matrix_shape shape_of(const struct ruvm_model *m, int role)
{
    switch (role) {
    case RUVM_TENSOR_EMBED:
    case RUVM_TENSOR_HEAD: return (struct matrix_shape){m->vocab, m->dim};
    case RUVM_TENSOR_POSITION: return (struct matrix_shape){m->context, m->dim};
    case RUVM_TENSOR_WQ: return (struct matrix_shape){q_dim(m), m->dim};
    case RUVM_TENSOR_WK:
    case RUVM_TENSOR_WV: return (struct matrix_shape){kv_dim(m), m->dim};
    case RUVM_ROLE_QKV: return (struct matrix_shape){q_dim(m) + 2 * kv_dim(m), m->dim};
    case RUVM_TENSOR_WO: return (struct matrix_shape){m->dim, q_dim(m)};
    case RUVM_TENSOR_W_UP:
    case RUVM_TENSOR_W_GATE: return (struct matrix_shape){m->hidden, m->dim};
    case RUVM_TENSOR_W_DOWN: return (struct matrix_shape){m->dim, m->hidden};
    default: return (struct matrix_shape){0, m->dim};
    }
}

static bool check_vector(struct gather *g, const struct ruvm_view *v, uint32_t n)
{
    if (v->n_dims != 1)
        ruvm_problems_note(g->problems, RUVM_ERR_MISMATCH, "%s has %u dimensions, expected 1",
                           v->name, v->n_dims);
    else if (v->dims[0] != n)
        ruvm_problems_note(g->problems, RUVM_ERR_MISMATCH, "%s is [%llu], expected [%u]", v->name,
                           (unsigned long long)v->dims[0], n);
    return v->n_dims == 1 && v->dims[0] == n;
}

/* rows and cols as they are stored. */
static bool check_matrix(struct gather *g, const struct ruvm_view *v, struct matrix_shape want)
{
    bool good = v->n_dims == 2 && v->dims[0] == want.rows && v->dims[1] == want.cols;
    if (v->n_dims != 2)
        ruvm_problems_note(g->problems, RUVM_ERR_MISMATCH, "%s has %u dimensions, expected 2",
                           v->name, v->n_dims);
    else if (!good)
        ruvm_problems_note(g->problems, RUVM_ERR_MISMATCH, "%s is [%llu, %llu], expected [%u, %u]",
                           v->name, (unsigned long long)v->dims[0], (unsigned long long)v->dims[1],
                           want.rows, want.cols);
    return good;
}

/* ---- one tensor ------------------------------------------------------------ */

/* The tensor of that name, or NULL. */
static const struct ruvm_view *take(struct gather *g, const char *name)
{
    const struct ruvm_view *v = ruvm_tensors_find(g->t, name);
    if (v)
        g->claimed[v - g->t->views] = true;
    return v;
}

/* NULL after noting that it is missing. */
static const struct ruvm_view *need(struct gather *g, int role, unsigned layer)
{
    char name[RUVM_NAME_BYTES];
    if (!g->dialect->roles[role]) {
        ruvm_names_write(name, sizeof name, NULL, role, layer);
        ruvm_problems_note(g->problems, RUVM_ERR_UNSUPPORTED, "%s has no name in the dialect %s",
                           name, g->dialect->name);
        return NULL;
    }
    const struct ruvm_view *v =
        take(g, ruvm_names_write(name, sizeof name, g->dialect, role, layer));
    if (!v)
        ruvm_problems_note(g->problems, RUVM_ERR_UNSUPPORTED, "%s is missing%s", name,
                           role == RUVM_TENSOR_HEAD ? ", and the head is not said to be tied" : "");
    return v;
}

static bool is_real(enum ruvm_dtype dtype)
{
    return dtype == RUVM_DTYPE_F32 || dtype == RUVM_DTYPE_F64 || dtype == RUVM_DTYPE_F16 ||
           dtype == RUVM_DTYPE_BF16;
}

/* Whether the matrices of this tensor are its columns; a view that is turned already is not. */
static bool is_columns(struct gather *g, const struct ruvm_view *v, int role)
{
    bool table =
        role == RUVM_TENSOR_EMBED || role == RUVM_TENSOR_HEAD || role == RUVM_TENSOR_POSITION;
    return g->columns && v->stride == 0 && !table;
}

static bool check_stored(struct gather *g, const struct ruvm_view *v, int role)
{
    struct matrix_shape s = shape_of(g->m, role);
    if (s.rows == 0)
        return check_vector(g, v, s.cols);
    if (!is_columns(g, v, role))
        return check_matrix(g, v, s);
    if (is_real(v->dtype))
        return check_matrix(g, v, (struct matrix_shape){s.cols, s.rows});
    ruvm_problems_note(g->problems, RUVM_ERR_UNSUPPORTED,
                       "%s is [inputs, outputs] in %s: its rows cannot be taken", v->name,
                       ruvm_dtype_name(v->dtype));
    return false;
}

/* Nothing is cut once there is a problem: row numbers may then be beyond the tensor. */
static const struct ruvm_view *cut_matrix(struct gather *g, const struct ruvm_view *v, int role,
                                          const struct ruvm_rows *rows)
{
    if (g->problems->n)
        return NULL;
    const struct ruvm_view *matrix = ruvm_rows_matrix(g->arena, v, rows, is_columns(g, v, role));
    g->no_memory = g->no_memory || !matrix;
    return matrix;
}

/* A tensor that is one matrix or norm of the model. */
static const struct ruvm_view *claim(struct gather *g, int role, unsigned layer)
{
    const struct ruvm_view *v = need(g, role, layer);
    if (!v || !check_stored(g, v, role) || v->n_dims == 1)
        return v;
    uint32_t n = shape_of(g->m, role).rows;
    return cut_matrix(g, v, role, &(struct ruvm_rows){.n = n, .head_dim = n, .head_stride = n});
}

/* The bias of a role, n values long; NULL when there is none. kind: enum ruvm_bias_kind. */
static const struct ruvm_view *claim_bias(struct gather *g, int role, int kind, unsigned layer)
{
    char name[RUVM_NAME_BYTES];
    if (!g->dialect->roles[role])
        return NULL;
    ruvm_names_write_bias(name, sizeof name, g->dialect, role, layer);
    struct matrix_shape s = shape_of(g->m, role);
    const struct ruvm_view *v = take(g, name);
    if (!v && g->biases >> kind & 1)
        ruvm_problems_note(g->problems, RUVM_ERR_UNSUPPORTED, "%s is missing", name);
    if (v && !check_vector(g, v, s.rows ? s.rows : s.cols))
        return NULL;
    return v;
}

/* ---- query, key and value -------------------------------------------------- */

/* Where part 0, 1 or 2 (q, k, v) is in a tensor of all three, or in its own. */
static struct ruvm_rows rows_of(const struct gather *g, int part, bool fused)
{
    const struct ruvm_model *m = g->m;
    struct ruvm_rows rows = {.n = part == 0 ? q_dim(m) : kv_dim(m),
                             .head_dim = m->head_dim,
                             .head_stride = m->head_dim,
                             .halves = part == 2 ? 0 : g->halves};
    if (!fused)
        return rows;
    if (g->dialect->per_head) {
        rows.first = (uint32_t)part * m->head_dim;
        rows.head_stride = 3 * m->head_dim;
    } else if (part > 0) {
        rows.first = q_dim(m) + (uint32_t)(part - 1) * kv_dim(m);
    }
    return rows;
}

static const struct ruvm_view **place_of(struct ruvm_layer *l, int part)
{
    return part == 0 ? &l->wq : part == 1 ? &l->wk : &l->wv;
}

static void cut_part(struct gather *g, struct ruvm_layer *l, int part, const struct ruvm_view *w,
                     const struct ruvm_view *bias, int role)
{
    bool fused = role == RUVM_ROLE_QKV;
    struct ruvm_rows rows = rows_of(g, part, fused);
    if (w)
        *place_of(l, part) = cut_matrix(g, w, role, &rows);
    if (!bias || g->problems->n)
        return;
    l->bias[RUVM_BIAS_WQ + part] = ruvm_rows_vector(g->arena, bias, &rows);
    g->no_memory = g->no_memory || !l->bias[RUVM_BIAS_WQ + part];
}

static void claim_fused(struct gather *g, struct ruvm_layer *l, unsigned layer)
{
    const struct ruvm_view *w = need(g, RUVM_ROLE_QKV, layer);
    const struct ruvm_view *bias = claim_bias(g, RUVM_ROLE_QKV, RUVM_BIAS_WQ, layer);
    if (w && !check_stored(g, w, RUVM_ROLE_QKV))
        w = NULL;
    for (int part = 0; part < 3; part++)
        cut_part(g, l, part, w, bias, RUVM_ROLE_QKV);
}

static void claim_parts(struct gather *g, struct ruvm_layer *l, unsigned layer)
{
    for (int part = 0; part < 3; part++) {
        int role = RUVM_TENSOR_WQ + part;
        const struct ruvm_view *w = need(g, role, layer);
        const struct ruvm_view *bias = claim_bias(g, role, RUVM_BIAS_WQ + part, layer);
        if (w && !check_stored(g, w, role))
            w = NULL;
        cut_part(g, l, part, w, bias, role);
    }
}

static bool has_role(const struct gather *g, int role, unsigned layer)
{
    char name[RUVM_NAME_BYTES];
    return g->dialect->roles[role] &&
           ruvm_tensors_find(g->t, ruvm_names_write(name, sizeof name, g->dialect, role, layer));
}

static void claim_attention(struct gather *g, struct ruvm_layer *l, unsigned layer)
{
    if (!g->dialect->roles[RUVM_TENSOR_WQ] || has_role(g, RUVM_ROLE_QKV, layer))
        claim_fused(g, l, layer);
    else
        claim_parts(g, l, layer);
    l->wo = claim(g, RUVM_TENSOR_WO, layer);
    l->bias[RUVM_BIAS_WO] = claim_bias(g, RUVM_TENSOR_WO, RUVM_BIAS_WO, layer);
}

/* ---- all of them ----------------------------------------------------------- */

static void claim_feed_forward(struct gather *g, struct ruvm_layer *l, unsigned layer)
{
    l->w_up = claim(g, RUVM_TENSOR_W_UP, layer);
    l->bias[RUVM_BIAS_W_UP] = claim_bias(g, RUVM_TENSOR_W_UP, RUVM_BIAS_W_UP, layer);
    if (g->m->act == RUVM_ACT_SILU_GATED) {
        l->w_gate = claim(g, RUVM_TENSOR_W_GATE, layer);
        l->bias[RUVM_BIAS_W_GATE] = claim_bias(g, RUVM_TENSOR_W_GATE, RUVM_BIAS_W_GATE, layer);
    }
    l->w_down = claim(g, RUVM_TENSOR_W_DOWN, layer);
    l->bias[RUVM_BIAS_W_DOWN] = claim_bias(g, RUVM_TENSOR_W_DOWN, RUVM_BIAS_W_DOWN, layer);
}

static void claim_layer(struct gather *g, unsigned layer, const struct ruvm_view *ones)
{
    struct ruvm_layer *l = &g->m->layers[layer];
    l->attn_norm = ones ? ones : claim(g, RUVM_ROLE_ATTN_NORM, layer);
    l->bias[RUVM_BIAS_ATTN_NORM] = claim_bias(g, RUVM_ROLE_ATTN_NORM, RUVM_BIAS_ATTN_NORM, layer);
    claim_attention(g, l, layer);
    l->ffn_norm = ones ? ones : claim(g, RUVM_ROLE_FFN_NORM, layer);
    l->bias[RUVM_BIAS_FFN_NORM] = claim_bias(g, RUVM_ROLE_FFN_NORM, RUVM_BIAS_FFN_NORM, layer);
    claim_feed_forward(g, l, layer);
}

/* A table of learned positions may be longer than the context. */
static void claim_positions(struct gather *g)
{
    const struct ruvm_view *v = need(g, RUVM_TENSOR_POSITION, 0);
    if (!v)
        return;
    g->m->positions = *v;
    if (v->n_dims == 2 && v->dims[0] > g->m->context)
        g->m->positions.dims[0] = g->m->context;
    check_matrix(g, &g->m->positions, shape_of(g->m, RUVM_TENSOR_POSITION));
}

static bool is_same(const struct ruvm_view *a, const struct ruvm_view *b)
{
    return a->dtype == b->dtype && a->bytes == b->bytes && a->bytes != 0 &&
           memcmp(a->data, b->data, a->bytes) == 0;
}

/* A tied head may be stored all the same, if it says what the embedding says. */
static void claim_head(struct gather *g)
{
    char name[RUVM_NAME_BYTES];
    if (!g->m->tied) {
        g->m->head = claim(g, RUVM_TENSOR_HEAD, 0);
        return;
    }
    g->m->head = g->m->embed;
    if (!g->dialect->roles[RUVM_TENSOR_HEAD])
        return;
    ruvm_names_write(name, sizeof name, g->dialect, RUVM_TENSOR_HEAD, 0);
    const struct ruvm_view *v = ruvm_tensors_find(g->t, name);
    if (v && g->m->embed && is_same(v, g->m->embed))
        take(g, name);
}

static void claim_all(struct gather *g, const struct ruvm_view *ones)
{
    struct ruvm_model *m = g->m;
    m->embed = claim(g, RUVM_TENSOR_EMBED, 0);
    if (m->pos == RUVM_POS_LEARNED)
        claim_positions(g);
    for (unsigned i = 0; i < m->n_layers; i++)
        claim_layer(g, i, ones);
    m->final_norm = ones ? ones : claim(g, RUVM_ROLE_FINAL_NORM, 0);
    m->final_bias = claim_bias(g, RUVM_ROLE_FINAL_NORM, RUVM_BIAS_FINAL_NORM, 0);
    claim_head(g);
}

static void check_unclaimed(struct gather *g)
{
    for (size_t i = 0; i < g->t->n_views; i++)
        if (!g->claimed[i] && !ruvm_names_is_buffer(g->t->views[i].name))
            ruvm_problems_note(g->problems, RUVM_ERR_UNSUPPORTED,
                               "%s has no place in this architecture", g->t->views[i].name);
}

/* ---- what the file is like ------------------------------------------------- */

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

/* A bias that is lost would silently be another network. */
static unsigned biases_of(const char *architecture)
{
    enum {
        QKV = 1 << RUVM_BIAS_WQ | 1 << RUVM_BIAS_WK | 1 << RUVM_BIAS_WV,
        OTHERS = 1 << RUVM_BIAS_WO | 1 << RUVM_BIAS_W_UP | 1 << RUVM_BIAS_W_DOWN |
                 1 << RUVM_BIAS_ATTN_NORM | 1 << RUVM_BIAS_FFN_NORM | 1 << RUVM_BIAS_FINAL_NORM,
    };
    static const struct {
        const char *name;
        unsigned biases;
    } known[] = {
        {"qwen2", QKV}, {"gpt2", QKV | OTHERS}, {"gpt_neo", OTHERS}, {"gpt_neox", QKV | OTHERS}};
    for (size_t i = 0; architecture && i < sizeof known / sizeof *known; i++)
        if (strcmp(architecture, known[i].name) == 0)
            return known[i].biases;
    return 0;
}

/* GPT-2's names are also used by projects that store rows: the widest matrix tells. */
static bool has_columns(const struct gather *g)
{
    char name[RUVM_NAME_BYTES];
    if (!g->dialect->columns)
        return false;
    ruvm_names_write(name, sizeof name, g->dialect, RUVM_ROLE_QKV, 0);
    const struct ruvm_view *v = ruvm_tensors_find(g->t, name);
    return !v || v->n_dims != 2 || v->dims[1] != g->m->dim || v->dims[0] <= v->dims[1];
}

bool ruvm_claims_make(struct ruvm_model *m, struct ruvm_arena *arena, const struct ruvm_tensors *t,
                      struct ruvm_problems *problems)
{
    struct gather g = {.m = m, .arena = arena, .t = t, .problems = problems};
    bool has_norms = ruvm_numbers_is_set(t, "norms", true);
    const struct ruvm_view *ones = has_norms ? NULL : make_ones(arena, m->dim);
    g.dialect = ruvm_names_dialect(t);
    g.claimed = ruvm_arena_alloc(arena, t->n_views, sizeof *g.claimed);
    g.biases = biases_of(ruvm_tensors_text(t, "architecture"));
    g.halves = ruvm_numbers_is_set(t, "rope_halves", false) ? m->rotary_dim : 0;
    if (!g.claimed || (!has_norms && !ones))
        return false;
    g.columns = has_columns(&g);
    claim_all(&g, ones);
    check_unclaimed(&g);
    return !g.no_memory;
}
