/* Reads heads, RoPE and the scale of scores out of an ONNX graph.
 *
 * The size of a head is in the shape that q is given. The base of RoPE is in the constant behind
 * Cos and Sin, the frequencies theta^(-2i / n), or in tables of cosines and sines, whose row 1
 * holds the angles of position 1, which are the frequencies. Which values make a pair is seen from
 * how q is cut: into two runs, or into every second value.
 */
#include "lib/import/onnx_attention.h"

#include <math.h>

enum { MAX_FREQUENCIES = 1024 };

struct turning {
    const struct ruvm_onnx_tensor *cosines, *sines; /* tables */
    bool every_second, runs;                        /* how it is cut */
    uint32_t odd_scale;                             /* a node that scales amid the turning */
};

/* ---- heads -------------------------------------------------------------------------------- */

/* Values a head, from the Reshape [.., heads, head_dim] behind a linear. */
static uint64_t head_dim_of(const struct ruvm_onnx_walk *w, const struct ruvm_onnx_linear *l)
{
    if (l->reshape == RUVM_ONNX_NONE)
        return 0;
    uint32_t shape = w->o->nodes[l->reshape].in[1];
    if (shape == RUVM_ONNX_NONE)
        return 0;
    uint64_t size = ruvm_onnx_walk_shape(w, shape, 0), heads = ruvm_onnx_walk_shape(w, shape, 1);
    if (size && l->rows % size == 0)
        return size;
    return heads && l->rows % heads == 0 ? l->rows / heads : 0;
}

/* ---- how q is cut ---------------------------------------------------------------------------- */

static void see_table(const struct ruvm_onnx_walk *w, uint32_t value, struct turning *t)
{
    uint32_t tensor = value == RUVM_ONNX_NONE ? value : w->constants[value].tensor;
    const struct ruvm_onnx_tensor *table = tensor == RUVM_ONNX_NONE ? NULL : &w->o->tensors[tensor];
    double x;
    if (!table || table->n_values < 2 || table->n_dims < 2 || !ruvm_onnx_real(table, 0, &x))
        return;
    if (x > 0.999 && x < 1.001)
        t->cosines = table;
    else if (x > -0.001 && x < 0.001)
        t->sines = table;
}

/* Slice(data, starts, ends, axes, steps): whether it takes every second value. */
static bool is_every_second(const struct ruvm_onnx_walk *w, const struct ruvm_onnx_node *node)
{
    double step;
    return node->n_in > 4 && ruvm_onnx_walk_scalar(w, node->in[4], &step) && step > 1;
}

static bool makes_pairs(const struct ruvm_onnx_walk *w, const struct ruvm_onnx_node *node)
{
    return node->n_in > 1 && node->in[1] != RUVM_ONNX_NONE &&
           ruvm_onnx_walk_shape(w, node->in[1], 0) == 2;
}

static void see_turning(const struct ruvm_onnx_walk *w, uint32_t n, uint64_t head_dim,
                        struct turning *t)
{
    const struct ruvm_onnx_node *node = &w->o->nodes[n];
    double x;
    switch (w->ops[n]) {
    case RUVM_ONNX_OP_SLICE:
        t->every_second = t->every_second || is_every_second(w, node);
        t->runs = true;
        break;
    case RUVM_ONNX_OP_SPLIT: t->runs = true; break;
    case RUVM_ONNX_OP_RESHAPE:
        t->every_second = t->every_second || (head_dim != 2 && makes_pairs(w, node));
        break;
    case RUVM_ONNX_OP_MUL:
    case RUVM_ONNX_OP_DIV:
        for (uint32_t i = 0; i < node->n_in; i++) {
            see_table(w, node->in[i], t);
            if (ruvm_onnx_walk_scalar(w, node->in[i], &x) && (x < 1 || x > 1))
                t->odd_scale = n;
        }
        break;
    default: break;
    }
    if (node->n_in > 0)
        see_table(w, node->in[0], t);
}

/* ---- the base ----------------------------------------------------------------------------------
 */

/* A base is a round number; what float arithmetic left of it is rounded again. */
static double round_base(double x)
{
    for (int digits = 1; digits <= 4; digits++) {
        double unit = pow(10, floor(log10(x)) + 1 - digits);
        double nice = round(x / unit) * unit;
        if (fabs(nice / x - 1) < 2e-5)
            return nice;
    }
    return x;
}

/* theta of frequencies theta^(-i / n), i < n. */
static void read_base(struct ruvm_onnx_attention *a, const double *frequencies, uint64_t n)
{
    a->rotary_dim = 2 * n;
    if (n < 2 || !(frequencies[n - 1] > 0) || fabs(frequencies[0] - 1) > 1e-3) {
        a->scaled = n >= 2;
        return;
    }
    double step = -log(frequencies[n - 1]) / (double)(n - 1);
    for (uint64_t i = 0; i < n; i++)
        if (fabs(frequencies[i] * exp(step * (double)i) - 1) > 2e-3)
            a->scaled = true;
    if (!a->scaled)
        a->theta = round_base(exp(step * (double)n));
}

static void read_frequencies(struct ruvm_onnx_attention *a, const struct ruvm_onnx_tensor *t)
{
    double frequencies[MAX_FREQUENCIES];
    for (uint64_t i = 0; i < t->n_values; i++)
        if (!ruvm_onnx_real(t, i, &frequencies[i]))
            return;
    read_base(a, frequencies, t->n_values);
}

/* Whether row 1 has each angle twice, as halves or as pairs. */
static bool is_twice(const struct ruvm_onnx_tensor *t, uint64_t width, bool halves)
{
    double x, y;
    if (width % 2 != 0 || t->n_values < 2 * width)
        return false;
    for (uint64_t i = 0; i < width / 2; i++) {
        uint64_t at = width + (halves ? i : 2 * i), other = at + (halves ? width / 2 : 1);
        if (!ruvm_onnx_real(t, at, &x) || !ruvm_onnx_real(t, other, &y) || x < y || x > y)
            return false;
    }
    return true;
}

/* A folded product of positions and frequencies: row 0 is 0, and row 1 the frequencies. */
static void read_angles(struct ruvm_onnx_attention *a, const struct ruvm_onnx_tensor *t)
{
    double frequencies[MAX_FREQUENCIES], x;
    uint64_t width = t->n_dims >= 2 ? t->dims[t->n_dims - 1] : 0;
    if (width == 0 || width > MAX_FREQUENCIES || t->n_values < 2 * width)
        return;
    uint64_t n = is_twice(t, width, a->halves) ? width / 2 : width;
    for (uint64_t i = 0; i < width; i++)
        if (!ruvm_onnx_real(t, i, &x) || x < 0 || x > 0)
            return;
    for (uint64_t i = 0; i < n; i++)
        if (!ruvm_onnx_real(t, width + (n < width && !a->halves ? 2 * i : i), &frequencies[i]))
            return;
    if (frequencies[0] > 0.999 && frequencies[0] < 1.001) {
        a->context = t->n_values / width;
        read_base(a, frequencies, n);
    }
}

/* A constant behind a Cos: frequencies begin with 1 and fall. Positions, which may be constant too,
 * begin with 0 and rise. */
static void read_constant(struct ruvm_onnx_attention *a, const struct ruvm_onnx_walk *w,
                          uint32_t value)
{
    uint32_t tensor = value == RUVM_ONNX_NONE ? value : w->constants[value].tensor;
    double first, last;
    if (tensor == RUVM_ONNX_NONE)
        return;
    const struct ruvm_onnx_tensor *t = &w->o->tensors[tensor];
    read_angles(a, t);
    if (t->n_values >= 2 && t->n_values <= MAX_FREQUENCIES && ruvm_onnx_real(t, 0, &first) &&
        ruvm_onnx_real(t, t->n_values - 1, &last) && first > last && last > 0)
        read_frequencies(a, t);
}

static void find_frequencies(struct ruvm_onnx_attention *a, struct ruvm_onnx_walk *w, uint32_t cos)
{
    const struct ruvm_onnx *o = w->o;
    uint32_t angles = o->nodes[cos].n_in ? o->nodes[cos].in[0] : RUVM_ONNX_NONE;
    const struct ruvm_onnx_hits hits = ruvm_onnx_walk_back(w, angles, 0);
    for (uint32_t i = 0; i < hits.n && i < RUVM_ONNX_MAX_HITS; i++)
        for (uint32_t k = 0; k < o->nodes[hits.nodes[i]].n_in; k++)
            ruvm_onnx_walk_also(w, o->nodes[hits.nodes[i]].in[k]);
    read_constant(a, w, angles);
    for (uint32_t i = 0; i < cos; i++)
        for (uint32_t k = 0; ruvm_onnx_walk_seen(w, i) && k < o->nodes[i].n_in; k++)
            read_constant(a, w, o->nodes[i].in[k]);
}

/* Row 1 of both tables: [positions, n] or, each angle twice, [positions, 2n]. */
static void read_tables(struct ruvm_onnx_attention *a, const struct turning *t)
{
    double frequencies[MAX_FREQUENCIES], c, s;
    uint64_t width = t->cosines->dims[t->cosines->n_dims - 1];
    uint64_t rows = width ? t->cosines->n_values / width : 0;
    bool twice = is_twice(t->cosines, width, a->halves);
    uint64_t n = twice ? width / 2 : width;
    if (rows < 2 || t->sines->n_values != t->cosines->n_values || n > MAX_FREQUENCIES || n == 0)
        return;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at = width + (twice && !a->halves ? 2 * i : i);
        if (!ruvm_onnx_real(t->cosines, at, &c) || !ruvm_onnx_real(t->sines, at, &s))
            return;
        frequencies[i] = atan2(s, c);
    }
    a->context = rows;
    read_base(a, frequencies, n);
}

/* ---- scale --------------------------------------------------------------------------------------
 */

/* Goes back from a value through what scales it to `end`; false when something else is there. */
static double scale_before(const struct ruvm_onnx_walk *w, uint32_t value, uint32_t *end)
{
    double scale = 1, x;
    for (;;) {
        value = w->plain[value];
        const struct ruvm_onnx_node *mul = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_MUL);
        const struct ruvm_onnx_node *div = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_DIV);
        const struct ruvm_onnx_node *node = mul ? mul : div;
        *end = value;
        if (!node || node->n_in != 2 || node->in[0] == RUVM_ONNX_NONE ||
            node->in[1] == RUVM_ONNX_NONE)
            return scale;
        if (ruvm_onnx_walk_scalar(w, node->in[1], &x)) {
            scale = mul ? scale * x : scale / x;
            value = node->in[0];
        } else if (mul && ruvm_onnx_walk_scalar(w, node->in[0], &x)) {
            scale *= x;
            value = node->in[1];
        } else {
            return scale;
        }
    }
}

/* From the Softmax back over the mask's Add or Where to the scores. */
static double scale_after(struct ruvm_onnx_walk *w, const struct ruvm_onnx_layer *l, bool *known)
{
    const struct ruvm_onnx *o = w->o;
    uint32_t value = o->nodes[l->softmax].in[0], end;
    double scale = 1;
    for (;;) {
        scale *= scale_before(w, value, &end);
        uint32_t maker = o->values[end].maker;
        *known = maker == l->scores;
        if (maker == RUVM_ONNX_NONE || *known)
            return scale;
        const struct ruvm_onnx_node *node = &o->nodes[maker];
        uint32_t op = w->ops[maker], i = 0;
        if (op != RUVM_ONNX_OP_ADD && op != RUVM_ONNX_OP_WHERE && op != RUVM_ONNX_OP_MASK)
            return scale;
        for (; i < node->n_in; i++)
            if (ruvm_onnx_walk_back(w, node->in[i], 0).n == 1)
                break;
        if (i == node->n_in)
            return scale;
        value = node->in[i];
    }
}

/* Whether a factor that is no constant (computed from the shape) scales q or k. */
static bool is_computed(const struct ruvm_onnx_walk *w, uint32_t value)
{
    const struct ruvm_onnx_node *node = ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_MUL);
    node = node ? node : ruvm_onnx_walk_maker(w, value, RUVM_ONNX_OP_DIV);
    for (uint32_t i = 0; node && i < node->n_in; i++)
        if (ruvm_onnx_walk_maker(w, node->in[i], RUVM_ONNX_OP_SQRT))
            return true;
    return false;
}

static double score_scale(struct ruvm_onnx_walk *w, const struct ruvm_onnx_layer *l,
                          uint64_t head_dim)
{
    const struct ruvm_onnx_node *scores = &w->o->nodes[l->scores];
    uint32_t q, k;
    bool known;
    double scale = scale_after(w, l, &known) * scale_before(w, scores->in[0], &q) *
                   scale_before(w, scores->in[1], &k);
    if (!known || is_computed(w, q) || is_computed(w, k) ||
        fabs(scale * sqrt((double)head_dim) - 1) < 1e-3)
        return 0;
    return scale;
}

/* ---- a layer ------------------------------------------------------------------------------------
 */

/* How q or k is turned; *cos is a node of cosines, or RUVM_ONNX_NONE. */
static struct turning see_side(struct ruvm_onnx_walk *w, const struct ruvm_onnx_layer *l,
                               uint32_t side, uint64_t head_dim, uint32_t *cos)
{
    struct turning t = {.odd_scale = RUVM_ONNX_NONE};
    const struct ruvm_onnx_linear *linear = side == 0 ? l->q : l->k;
    uint32_t top;
    scale_before(w, w->o->nodes[l->scores].in[side], &top);
    struct ruvm_onnx_hits hits =
        ruvm_onnx_walk_back(w, top, RUVM_ONNX_BIT(COS) | RUVM_ONNX_BIT(SIN));
    *cos = RUVM_ONNX_NONE;
    for (uint32_t i = 0; i < hits.n && i < RUVM_ONNX_MAX_HITS; i++)
        if (w->ops[hits.nodes[i]] == RUVM_ONNX_OP_COS)
            *cos = hits.nodes[i];
    for (uint32_t i = 0; i < l->scores; i++) {
        if (!ruvm_onnx_walk_seen(w, i))
            continue;
        if (i >= linear->node)
            see_turning(w, i, head_dim, &t);
        else if (w->o->nodes[i].n_in > 0) /* tables are often cut out before */
            see_table(w, w->o->nodes[i].in[0], &t);
    }
    return t;
}

static void find_turning(struct ruvm_onnx_attention *a, struct ruvm_onnx_walk *w,
                         const struct ruvm_onnx_layer *l, struct ruvm_problems *r)
{
    uint32_t cos, cos_k;
    struct turning k = see_side(w, l, 1, a->head_dim, &cos_k);
    struct turning q = see_side(w, l, 0, a->head_dim, &cos);
    a->halves = q.runs && !q.every_second;
    if (cos != RUVM_ONNX_NONE)
        find_frequencies(a, w, cos);
    else if (q.cosines && q.sines)
        read_tables(a, &q);
    else
        ruvm_onnx_report_node(r, w, l->scores, "its q is not turned by cosines and sines (RoPE)");
    if (!q.runs && !q.every_second)
        ruvm_onnx_report_node(r, w, l->scores,
                              "its q is not cut into halves or pairs before it is turned (RoPE)");
    if (k.every_second != q.every_second || (cos == RUVM_ONNX_NONE) != (cos_k == RUVM_ONNX_NONE) ||
        k.cosines != q.cosines || k.sines != q.sines)
        ruvm_onnx_report_node(r, w, l->scores, "its q and k are not turned alike (RoPE)");
    uint32_t odd = q.odd_scale != RUVM_ONNX_NONE ? q.odd_scale : k.odd_scale;
    if (odd != RUVM_ONNX_NONE)
        ruvm_onnx_report_node(r, w, odd, "scales q or k amid their turning (RoPE)");
}

static bool is_turned(struct ruvm_onnx_walk *w, const struct ruvm_onnx_layer *l)
{
    uint32_t cos;
    struct turning q = see_side(w, l, 0, 0, &cos);
    return cos != RUVM_ONNX_NONE || (q.cosines && q.sines);
}

static void find_layer(struct ruvm_onnx_attention *a, struct ruvm_onnx_walk *w,
                       const struct ruvm_onnx_layer *l, bool learned, struct ruvm_problems *r)
{
    *a = (struct ruvm_onnx_attention){.head_dim = l->rows.head_dim};
    const struct ruvm_onnx_linear *const from[] = {l->q, l->k, l->v};
    for (size_t i = 0; i < 3 && !a->head_dim && l->q != l->k; i++)
        a->head_dim = head_dim_of(w, from[i]);
    if (!learned)
        find_turning(a, w, l, r);
    else if (is_turned(w, l))
        ruvm_onnx_report_node(r, w, l->scores, "its q is turned (RoPE), and positions are learned");
    if (a->head_dim)
        a->score_scale = score_scale(w, l, a->head_dim);
}

static bool agree(const struct ruvm_onnx_attention *a, const struct ruvm_onnx_attention *b)
{
    return a->head_dim == b->head_dim && a->rotary_dim == b->rotary_dim && a->halves == b->halves &&
           a->scaled == b->scaled && fabs(a->theta - b->theta) <= 1e-3 * a->theta &&
           fabs(a->score_scale - b->score_scale) <= 1e-3 * fabs(a->score_scale);
}

void ruvm_onnx_attention_find(struct ruvm_onnx_attention *a, struct ruvm_onnx_walk *w,
                              const struct ruvm_onnx_decoder *d, struct ruvm_problems *r)
{
    struct ruvm_onnx_attention other;
    bool learned = d->embed.positions != RUVM_ONNX_NONE;
    find_layer(a, w, &d->layers[0], learned, r);
    for (uint32_t i = 1; i < d->n_layers && r->n == 0; i++) {
        find_layer(&other, w, &d->layers[i], learned, r);
        if (r->n == 0 && !agree(a, &other))
            ruvm_problems_note(r, RUVM_ERR_UNSUPPORTED,
                               "layer %u: its attention differs from that of layer 0 (heads, "
                               "RoPE or scale)",
                               i);
    }
}
