/* Pruning against what it must leave alone, and against a loss summed up in another way. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "tests/support/prune_tiny.h"

/* ---- weights ---------------------------------------------------------------- */

/* A copy of the matrix with the rows [row, row + n_rows) and those columns set to 0. */
static const struct ruvm_view *zeroed(struct opened *o, const struct ruvm_view *v, uint32_t row,
                                      uint32_t n_rows, uint32_t col, uint32_t n_cols)
{
    struct ruvm_view *out = ruvm_arena_alloc(&o->source.arena, 1, sizeof *out);
    uint8_t *data = ruvm_arena_alloc(&o->source.arena, v->bytes, 1);
    cr_assert(v->dtype == RUVM_DTYPE_F32 && out && data);
    memcpy(data, v->data, v->bytes);
    for (uint32_t r = row; r < row + n_rows; r++)
        for (uint32_t c = col; c < col + n_cols; c++)
            ruvm_store_u32(data + 4 * (r * v->dims[1] + c), 0);
    *out = *v;
    out->data = data;
    return out;
}

static void expect_row(const struct ruvm_view *a, uint64_t row_a, const struct ruvm_view *b,
                       uint64_t row_b)
{
    cr_assert_eq(a->dims[1], b->dims[1]);
    for (uint64_t c = 0; c < a->dims[1]; c++)
        cr_assert(prune_at(a, row_a, c) == prune_at(b, row_b, c), "row %d is not row %d",
                  (int)row_a, (int)row_b);
}

/* Both models say the same, bit for bit, of a text without structure. */
static void expect_same_logits(struct opened *o, const struct ruvm_model *a,
                               const struct ruvm_model *b)
{
    struct ruvm_reference *ra = prune_reference(o, a), *rb = prune_reference(o, b);
    for (uint16_t t = 0; t < 16; t++) {
        const float *la = ruvm_reference_step(ra, (uint16_t)(t * 7 % a->vocab));
        const float *lb = ruvm_reference_step(rb, (uint16_t)(t * 7 % a->vocab));
        cr_assert(memcmp(la, lb, a->vocab * sizeof *la) == 0, "position %u", t);
    }
}

/* ---- layers ----------------------------------------------------------------- */

Test(prune, a_layer_that_adds_nothing_is_not_missed)
{
    struct opened o = prune_open(false);
    struct ruvm_model source = o.s.model;
    struct ruvm_layer *l = &source.layers[1];
    l->wo = zeroed(&o, l->wo, 0, 24, 0, 24);
    l->w_down = zeroed(&o, l->w_down, 0, 24, 0, 23);
    prune_texts(&o, 100, 200);
    uint32_t layers[] = {1};
    struct ruvm_prune_report r =
        prune(&o, &(struct ruvm_prune_options){.drop_layers = layers, .n_drop_layers = 1});
    cr_assert(r.n_steps == 1 && o.s.model.n_layers == 2);
    cr_assert_str_eq(r.steps[0].what, "layer 1");
    cr_assert(r.steps[0].kl_mean == 0.0);
    cr_assert(r.steps[0].perplexity_before == r.steps[0].perplexity_after);
    cr_assert_eq(r.steps[0].parameters_before - r.steps[0].parameters_after,
                 2 * 24 * 24 + 2 * 12 * 24 + 3 * 23 * 24 + 2 * 24);
    expect_same_logits(&o, &source, &o.s.model);
    ruvm_source_close(&o.source);
}

Test(prune, layers_that_stay_keep_their_order)
{
    struct opened o = prune_open(false);
    struct ruvm_model source = o.s.model;
    uint32_t layers[] = {2, 0};
    struct ruvm_prune_report r =
        prune(&o, &(struct ruvm_prune_options){.drop_layers = layers, .n_drop_layers = 2});
    cr_assert_str_eq(r.steps[0].what, "layers 2, 0");
    cr_assert(r.steps[0].perplexity_after == 0.0, "there is no text to measure on");
    cr_assert(o.s.model.n_layers == 1 && o.s.model.layers[0].wq == source.layers[1].wq);
    cr_assert(source.n_layers == 3 && source.layers[0].wq != o.s.model.layers[0].wq);
    ruvm_source_close(&o.source);
}

/* ---- dead parts --------------------------------------------------------------- */

/* Units 3 and 22 of layer 0 and 0 and 7 of layer 2 add nothing; 5 and 6 of layer 1 never
 * open. */
Test(prune, dead_units_are_found_in_each_layer_and_cost_nothing)
{
    struct opened o = prune_open(false);
    static const uint32_t dead[3][2] = {{3, 22}, {5, 6}, {0, 7}};
    struct ruvm_model source = o.s.model;
    for (int i = 0; i < 2; i++) {
        source.layers[0].w_down = zeroed(&o, source.layers[0].w_down, 0, 24, dead[0][i], 1);
        source.layers[1].w_up = zeroed(&o, source.layers[1].w_up, dead[1][i], 1, 0, 24);
        source.layers[2].w_down = zeroed(&o, source.layers[2].w_down, 0, 24, dead[2][i], 1);
    }
    prune_texts(&o, 200, 200);
    struct ruvm_prune_report r = prune(&o, &(struct ruvm_prune_options){.ffn = 2});
    cr_assert_str_eq(r.steps[0].what, "2 of 23 feed-forward units");
    cr_assert(fabs(r.steps[0].kl_mean) < 1e-12, "%g", r.steps[0].kl_mean);
    cr_assert_eq(o.s.model.hidden, 21);
    for (uint32_t l = 0; l < 3; l++)
        for (uint32_t unit = 0, at_row = 0; unit < 23; unit++) {
            if (unit == dead[l][0] || unit == dead[l][1])
                continue;
            expect_row(o.s.model.layers[l].w_up, at_row, source.layers[l].w_up, unit);
            expect_row(o.s.model.layers[l].w_gate, at_row++, source.layers[l].w_gate, unit);
        }
    expect_same_logits(&o, &source, &o.s.model);
    ruvm_source_close(&o.source);
}

/* Two query heads of four values share a key/value head: columns 8 i to 8 i + 7 of wo. */
Test(prune, dead_heads_are_found_in_each_layer_and_cost_nothing)
{
    struct opened o = prune_open(false);
    static const uint32_t dead[3] = {2, 0, 1};
    struct ruvm_model source = o.s.model;
    for (uint32_t l = 0; l < 3; l++)
        source.layers[l].wo = zeroed(&o, source.layers[l].wo, 0, 24, 8 * dead[l], 8);
    prune_texts(&o, 200, 200);
    struct ruvm_prune_report r = prune(&o, &(struct ruvm_prune_options){.heads = 1});
    const struct ruvm_model *m = &o.s.model;
    cr_assert_str_eq(r.steps[0].what, "1 of 3 key/value heads");
    cr_assert(fabs(r.steps[0].kl_mean) < 1e-12, "%g", r.steps[0].kl_mean);
    cr_assert(m->n_heads == 4 && m->n_kv_heads == 2 && m->head_dim == 4 && m->dim == 24);
    for (uint32_t l = 0; l < 3; l++) {
        for (uint32_t i = 0; i < 16; i++)
            expect_row(m->layers[l].wq, i, source.layers[l].wq, i < 8 * dead[l] ? i : i + 8);
        for (uint32_t i = 0; i < 8; i++) {
            expect_row(m->layers[l].wk, i, source.layers[l].wk, i < 4 * dead[l] ? i : i + 4);
            expect_row(m->layers[l].wv, i, source.layers[l].wv, i < 4 * dead[l] ? i : i + 4);
        }
        cr_assert(m->layers[l].wo->dims[0] == 24 && m->layers[l].wo->dims[1] == 16);
    }
    expect_same_logits(&o, &source, m);
    ruvm_source_close(&o.source);
}

/* ---- the loss ------------------------------------------------------------------ */

Test(prune, each_step_says_what_it_cost)
{
    struct opened o = prune_open(false);
    prune_texts(&o, 300, 200);
    struct ruvm_model source = o.s.model;
    uint32_t layers[] = {1};
    struct ruvm_prune_options options = {
        .drop_layers = layers, .n_drop_layers = 1, .heads = 1, .ffn = 5};
    struct ruvm_prune_report r = prune(&o, &options);
    cr_assert_eq(r.n_steps, 3);
    struct prune_loss all = prune_compare(&o, &source, &o.s.model, &o.s.eval);
    cr_assert(all.kl > 0.01);
    cr_assert_float_eq(r.steps[2].kl_mean, all.kl, 1e-9);
    cr_assert_float_eq(r.steps[0].perplexity_before, all.perplexity_a, 1e-9);
    cr_assert_float_eq(r.steps[2].perplexity_after, all.perplexity_b, 1e-9);
    for (int i = 1; i < 3; i++) {
        cr_assert(r.steps[i].perplexity_before == r.steps[i - 1].perplexity_after);
        cr_assert_eq(r.steps[i].parameters_before, r.steps[i - 1].parameters_after);
    }
    cr_assert_eq(r.steps[2].parameters_after,
                 2 * 50 * 24 + 24 + 2 * (24 * (16 * 2 + 8 * 2 + 18 * 3) + 48));
    ruvm_source_close(&o.source);
}

/* ---- the same everywhere ----------------------------------------------------------- */

static uint32_t crc_of(const struct ruvm_model *m)
{
    uint32_t crc = 0;
    for (uint32_t l = 0; l < m->n_layers; l++) {
        crc = ruvm_crc32(crc, m->layers[l].wo->data, m->layers[l].wo->bytes);
        crc = ruvm_crc32(crc, m->layers[l].w_down->data, m->layers[l].w_down->bytes);
    }
    return crc;
}

/* The shape of the golden model is odd, and its int8 weights become floats. */
Test(prune, gives_the_same_bits_everywhere)
{
    struct opened o = {0};
    struct ruvm_source_options so = {.path = "tests/golden/tiny-v2.bin"};
    cr_assert_eq(ruvm_source_open(&o.source, &so, &o.err), RUVM_OK, "%s", o.err.text);
    o.s.model = o.source.model;
    prune_texts(&o, 200, 0);
    prune(&o, &(struct ruvm_prune_options){.heads = 1, .ffn = 3});
    cr_assert_eq(crc_of(&o.s.model), 0x245fd204, "%08x", crc_of(&o.s.model));
    ruvm_source_close(&o.source);
}

/* ---- refusals ------------------------------------------------------------------------- */

static void expect_refusal(const struct ruvm_prune_options *options, bool with_text,
                           const char *text)
{
    struct opened o = prune_open(false);
    struct ruvm_prune_report report;
    if (with_text)
        prune_texts(&o, 20, 20);
    struct ruvm_prune_subject before = o.s;
    cr_assert_eq(ruvm_prune(&report, &o.s, &o.source.arena, options, &o.err), RUVM_ERR_ARG);
    cr_assert_not_null(strstr(o.err.text, text), "%s", o.err.text);
    cr_assert(memcmp(&before, &o.s, sizeof before) == 0);
    ruvm_source_close(&o.source);
}

Test(prune, what_is_not_there_cannot_be_pruned)
{
    uint32_t unknown[] = {0, 3}, twice[] = {1, 0, 1}, all[] = {2, 0, 1};
    struct ruvm_prune_options o = {.drop_layers = unknown, .n_drop_layers = 2};
    expect_refusal(&o, true, "layer 3 cannot be dropped: the model has 3");
    o = (struct ruvm_prune_options){.drop_layers = twice, .n_drop_layers = 3};
    expect_refusal(&o, true, "layer 1 is dropped twice");
    o = (struct ruvm_prune_options){.drop_layers = all, .n_drop_layers = 3};
    expect_refusal(&o, true, "all 3 layers would be dropped");
    o = (struct ruvm_prune_options){.heads = 3};
    expect_refusal(&o, true, "3 key/value heads cannot be pruned: every layer has 3");
    o = (struct ruvm_prune_options){.ffn = 23};
    expect_refusal(&o, true, "23 feed-forward units cannot be pruned: every layer has 23");
    o = (struct ruvm_prune_options){.vocab = true};
    expect_refusal(&o, true, "--tokenizer");
    o = (struct ruvm_prune_options){.ffn = 1};
    expect_refusal(&o, false, "no calibration text");
}

Test(prune, a_weight_that_is_no_number_is_said)
{
    struct opened o = prune_open(false);
    struct ruvm_prune_report report;
    prune_texts(&o, 20, 20);
    struct ruvm_view *w = ruvm_arena_alloc(&o.source.arena, 1, sizeof *w);
    uint8_t *data = ruvm_arena_alloc(&o.source.arena, o.s.model.layers[1].w_up->bytes, 1);
    *w = *o.s.model.layers[1].w_up;
    memcpy(data, w->data, w->bytes);
    ruvm_store_u32(data + 4 * 30, 0x7fc00000);
    w->data = data;
    o.s.model.layers[1].w_up = w;
    struct ruvm_prune_options options = {.ffn = 1};
    int rc = ruvm_prune(&report, &o.s, &o.source.arena, &options, &o.err);
    cr_assert_eq(rc, RUVM_ERR_CORRUPT);
    cr_assert_not_null(strstr(o.err.text, "not finite"), "%s", o.err.text);
    ruvm_source_close(&o.source);
}

/* ---- progress -------------------------------------------------------------------------- */

struct patience {
    unsigned left, calls;
    bool counts; /* done only grows, up to total, and then begins again */
    uint64_t done, total;
};

static int report(void *user, const char *stage, uint64_t done, uint64_t total)
{
    struct patience *p = user;
    bool begins = p->done == p->total;
    p->counts = p->counts && done <= total && stage && (begins || done > p->done);
    p->done = done;
    p->total = total;
    return ++p->calls > p->left;
}

Test(prune, can_be_interrupted_and_leaves_all_as_it_was)
{
    struct opened o = prune_open(true);
    prune_texts(&o, 100, 100);
    struct ruvm_prune_subject before = o.s;
    struct patience p = {.left = UINT32_MAX, .counts = true};
    struct ruvm_prune_options options = {
        .heads = 1, .vocab = true, .progress = {.report = report, .user = &p}};
    prune(&o, &options);
    cr_assert(p.counts && p.calls > 6, "%u calls", p.calls);
    for (unsigned left = 0; left + 1 < p.calls; left++) {
        struct ruvm_prune_report r;
        struct patience short_one = {.left = left};
        o.s = before;
        o.err = (struct ruvm_error){0};
        options.progress.user = &short_one;
        int rc = ruvm_prune(&r, &o.s, &o.source.arena, &options, &o.err);
        cr_assert(rc == RUVM_ERR_IO && strcmp(o.err.text, "interrupted") == 0);
        cr_assert(memcmp(&before, &o.s, sizeof before) == 0);
    }
    ruvm_source_close(&o.source);
}
