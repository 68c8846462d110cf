/* Pruned vocabularies: the encoder of the engine finds the same tokens as before in every
 * text that needed no others, and the model says the same of them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/convert/reference.h"
#include "lib/convert/tokenizer_build.h"
#include "lib/core/tokenizer.h"
#include "lib/import/source.h"
#include "lib/prune/prune.h"
#include "lib/prune/prune_vocab.h"
#include "tests/prune/random_vocab.h"
#include "tests/support/tiny_model.h"

static size_t decode(const struct ruvm_tokenizer *t, char *out, const uint16_t *ids, size_t n)
{
    size_t used = 0;
    uint16_t previous = RUVM_NO_PREVIOUS;
    for (size_t i = 0; i < n; i++) {
        size_t bytes;
        const uint8_t *text = ruvm_decode(t, previous, ids[i], &bytes);
        memcpy(out + used, text, bytes);
        used += bytes;
        previous = ids[i];
    }
    return used;
}

/* The pieces kept, in their order; ids of the pruned vocabulary in now[]. */
static struct ruvm_vocab kept_of(struct ruvm_arena *arena, const struct ruvm_vocab *v,
                                 const bool *keep, uint16_t *now)
{
    struct ruvm_vocab out = *v;
    out.pieces = ruvm_arena_alloc(arena, v->n_pieces, sizeof *out.pieces);
    out.n_pieces = 0;
    for (uint32_t i = 0; i < v->n_pieces; i++) {
        now[i] = keep[i] ? (uint16_t)out.n_pieces : RUVM_NO_TOKEN;
        if (keep[i])
            out.pieces[out.n_pieces++] = v->pieces[i];
    }
    out.bos = now[v->bos];
    out.eos = now[v->eos];
    out.unk = v->unk == RUVM_VOCAB_NONE ? RUVM_VOCAB_NONE : now[v->unk];
    out.merges = ruvm_arena_alloc(arena, v->n_merges + 1u, sizeof *out.merges);
    out.n_merges = 0;
    for (uint32_t i = 0; i < v->n_merges; i++) {
        const struct ruvm_merge *m = &v->merges[i];
        if (keep[m->left] && keep[m->right] && keep[m->result])
            out.merges[out.n_merges++] =
                (struct ruvm_merge){now[m->left], now[m->right], now[m->result]};
    }
    return out;
}

static unsigned check_vocab(uint64_t *rng)
{
    struct ruvm_arena arena = {0};
    struct ruvm_vocab v = random_vocab(&arena, rng);
    struct random_vocab_encoder all = random_vocab_encoder(&v);
    bool keep[RANDOM_VOCAB_PIECES] = {false};
    uint16_t now[RANDOM_VOCAB_PIECES], ids[200], pruned_ids[200];
    char text[RANDOM_VOCAB_TEXT], back[RANDOM_VOCAB_TEXT];
    size_t n_text = random_vocab_text(text, rng, 1 + tiny_random(rng) % 30);
    int n = ruvm_encode(&all.t, ids, 200, text, n_text, 0);
    cr_assert_gt(n, 0);
    for (int i = 0; i < n; i++)
        keep[ids[i]] = true;
    cr_assert_eq(ruvm_prune_vocab(keep, &v, &arena, NULL), RUVM_OK);
    struct ruvm_vocab pruned = kept_of(&arena, &v, keep, now);
    struct random_vocab_encoder less = random_vocab_encoder(&pruned);
    cr_assert_eq(ruvm_encode(&less.t, pruned_ids, 200, text, n_text, 0), n);
    for (int i = 0; i < n; i++)
        cr_assert_eq(pruned_ids[i], now[ids[i]], "token %d of \"%.*s\"", i, (int)n_text, text);
    n_text = random_vocab_text(text, rng, 30);
    n = ruvm_encode(&less.t, ids, 200, text, n_text, 0);
    cr_assert_gt(n, 0);
    cr_assert_eq(decode(&less.t, back, ids, (size_t)n), n_text);
    cr_assert(memcmp(text, back, n_text) == 0);
    ruvm_buffer_free(&all.section);
    ruvm_buffer_free(&less.section);
    ruvm_arena_free(&arena);
    return v.n_pieces - pruned.n_pieces;
}

Test(prune_vocab, the_text_kept_for_is_encoded_as_before_and_any_other_still_is)
{
    uint64_t rng = 5;
    unsigned n_pruned = 0;
    for (int i = 0; i < 2000; i++)
        n_pruned += check_vocab(&rng);
    cr_assert_gt(n_pruned, 20000, "%u pieces were pruned in 2000 vocabularies", n_pruned);
}

/* "abcd" comes up as ab, cd, abcd: "bc" is never on its way, and merges last. */
Test(prune_vocab, keeps_the_way_of_merges_and_nothing_else)
{
#define PIECE(text_, score_, kind_)                                                                \
    {                                                                                              \
        (const uint8_t *)(text_), sizeof(text_) - 1, score_, RUVM_PIECE_##kind_                    \
    }
    static struct ruvm_piece p[] = {
        PIECE("", 0, CONTROL),   PIECE("", 0, CONTROL),     PIECE("a", 0, BYTE),
        PIECE("a", -9, NORMAL),  PIECE("b", -9, NORMAL),    PIECE("c", -9, NORMAL),
        PIECE("d", -9, NORMAL),  PIECE("\xC3", 0, BYTE),    PIECE("ab", -1, NORMAL),
        PIECE("bc", -3, NORMAL), PIECE("cd", -2, NORMAL),   PIECE("abcd", -4, NORMAL),
        PIECE("e", -9, NORMAL),  PIECE("abc", -5, NORMAL),  PIECE("\xC3\xA9", -9, NORMAL),
        PIECE(" ", -9, NORMAL),  PIECE("", 0, CONTROL),     PIECE("aa", -9, NORMAL),
        PIECE(" ", 0, BYTE),     PIECE("b\xF0", -9, NORMAL)};
    enum { N = sizeof p / sizeof *p };
    const char expected[N + 1] = "#########.###..#..##";
    struct ruvm_vocab v = {.pieces = p,
                           .n_pieces = N,
                           .bos = 1,
                           .eos = RUVM_VOCAB_NONE,
                           .unk = 0,
                           .space_prefix = true};
    struct ruvm_arena arena = {0};
    bool keep[N] = {[11] = true, [19] = true}; /* of 19 no text can be made */
    char found[N + 1] = "";
    cr_assert_eq(ruvm_prune_vocab(keep, &v, &arena, NULL), RUVM_OK);
    for (int i = 0; i < N; i++)
        found[i] = keep[i] ? '#' : '.';
    cr_assert_str_eq(found, expected);
    ruvm_arena_free(&arena);
}

/* ---- a whole model ------------------------------------------------------------------ */

struct opened {
    struct ruvm_source source;
    struct ruvm_prune_subject s;
    struct random_vocab_encoder encoder; /* of the source */
    struct ruvm_error err;
};

/* The demo's vocabulary, and its texts, for a model of an odd shape. */
static struct opened open_demo(bool untied)
{
    const struct tiny_shape shape = {.dim = 18,
                                     .hidden = 11,
                                     .layers = 2,
                                     .heads = 3,
                                     .kv_heads = 1,
                                     .vocab = 512,
                                     .context = 64,
                                     .untied = untied,
                                     .seed = 4};
    struct opened o = {0};
    struct ruvm_buffer model = tiny_checkpoint(&shape);
    struct ruvm_source_options so = {.path = tiny_file(model.data, model.size),
                                     .tokenizer = "tests/demo/demo-tokenizer.bin"};
    cr_assert_eq(ruvm_source_open(&o.source, &so, &o.err), RUVM_OK, "%s", o.err.text);
    ruvm_buffer_free(&model);
    o.encoder = random_vocab_encoder(&o.source.vocab);
    o.s = (struct ruvm_prune_subject){
        .model = o.source.model, .has_vocab = true, .vocab = o.source.vocab};
    return o;
}

static struct ruvm_text read_text(struct opened *o, const char *path, uint64_t max)
{
    struct ruvm_text t;
    struct ruvm_text_options to = {.tokenizer = &o->encoder.t, .context = 64, .max_positions = max};
    cr_assert_eq(ruvm_text_read(&t, &o->source.arena, path, &to, &o->err), RUVM_OK, "%s",
                 o->err.text);
    return t;
}

static void close_demo(struct opened *o)
{
    ruvm_buffer_free(&o->encoder.section);
    ruvm_source_close(&o->source);
}

static bool same_piece(const struct ruvm_piece *a, const struct ruvm_piece *b)
{
    return a->kind == b->kind && a->n_bytes == b->n_bytes && a->text == b->text &&
           !(a->score < b->score || a->score > b->score);
}

/* Where each piece stood: found by its text alone, which a pruned vocabulary shares. */
static void find_old(uint16_t *old, const struct ruvm_vocab *pruned, const struct ruvm_vocab *all)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < pruned->n_pieces; i++, at++) {
        while (at < all->n_pieces && !same_piece(&pruned->pieces[i], &all->pieces[at]))
            at++;
        cr_assert(at < all->n_pieces, "piece %u is not of the source, or out of order", i);
        old[i] = (uint16_t)at;
    }
}

static void expect_same_predictions(struct opened *o, const struct ruvm_model *all,
                                    const uint16_t *old)
{
    struct ruvm_reference *before, *after;
    const struct ruvm_text *t = &o->s.calibration;
    struct ruvm_arena *arena = &o->source.arena;
    cr_assert_eq(ruvm_reference_open(&before, arena, all, 64, NULL), RUVM_OK);
    cr_assert_eq(ruvm_reference_open(&after, arena, &o->s.model, 64, NULL), RUVM_OK);
    for (uint32_t i = t->first[0]; i + 1 < t->first[1]; i++) {
        const float *a = ruvm_reference_step(before, old[t->tokens[i]]);
        const float *b = ruvm_reference_step(after, t->tokens[i]);
        for (uint32_t k = 0; k < o->s.model.vocab; k++)
            cr_assert(a[old[k]] == b[k], "position %u, token %u", i, k);
    }
}

static void check_model(bool untied)
{
    struct opened o = open_demo(untied);
    struct ruvm_prune_report r;
    uint16_t old[512];
    o.s.calibration = o.s.eval = read_text(&o, "tests/demo/heldout.txt", 400);
    struct ruvm_prune_subject before = o.s;
    cr_assert_eq(
        ruvm_prune(&r, &o.s, &o.source.arena, &(struct ruvm_prune_options){.vocab = true}, &o.err),
        RUVM_OK, "%s", o.err.text);
    uint32_t n = o.s.vocab.n_pieces;
    char what[64];
    snprintf(what, sizeof what, "%u of 512 tokens, 0.00 %% of the text", 512 - n);
    cr_assert_str_eq(r.steps[0].what, what);
    cr_assert(n < 450 && n > 259 && o.s.model.vocab == n);
    cr_assert_eq(r.steps[0].parameters_before - r.steps[0].parameters_after,
                 (untied ? 2u : 1u) * 18 * (512 - n));
    cr_assert(r.steps[0].kl_mean == 0.0);
    cr_assert(r.steps[0].perplexity_before == r.steps[0].perplexity_after);
    cr_assert((o.s.model.head == o.s.model.embed) == !untied);
    find_old(old, &o.s.vocab, &before.vocab);
    cr_assert(o.s.vocab.bos == 1 && o.s.vocab.eos == 2 && o.s.vocab.unk == 0);
    cr_assert_eq(o.s.calibration.n_tokens, before.calibration.n_tokens);
    for (uint32_t i = 0; i < o.s.calibration.first[o.s.calibration.n_windows]; i++) {
        cr_assert_eq(old[o.s.calibration.tokens[i]], before.calibration.tokens[i]);
        cr_assert_eq(o.s.eval.tokens[i], o.s.calibration.tokens[i]);
    }
    expect_same_predictions(&o, &before.model, old);
    close_demo(&o);
}

Test(prune_vocab, a_model_says_the_same_of_the_tokens_it_keeps)
{
    check_model(false);
    check_model(true);
}

Test(prune_vocab, the_texts_are_encoded_as_before)
{
    struct opened o = open_demo(false);
    struct ruvm_prune_report r;
    static const char text[] = "Tom had a lamp. Is the kitchen radio off?\n";
    static const char other[] = "Zebra \xE2\x82\xAC 42, quite unheard of: [Quux].";
    const char *path = tiny_file(text, strlen(text));
    uint16_t ids[128], old[512];
    char back[128];
    o.s.calibration = read_text(&o, path, 0);
    struct ruvm_text before = o.s.calibration;
    cr_assert_eq(
        ruvm_prune(&r, &o.s, &o.source.arena, &(struct ruvm_prune_options){.vocab = true}, &o.err),
        RUVM_OK, "%s", o.err.text);
    cr_assert(o.s.eval.n_windows == 0 && r.steps[0].perplexity_after == 0.0);
    struct random_vocab_encoder less = random_vocab_encoder(&o.s.vocab);
    find_old(old, &o.s.vocab, &o.source.vocab);
    int n = ruvm_encode(&less.t, ids, 128, text, strlen(text), 0);
    cr_assert_eq(n, (int)before.first[1]);
    for (int i = 0; i < n; i++)
        cr_assert_eq(old[ids[i]], before.tokens[i]);
    cr_assert_eq(decode(&less.t, back, ids, (size_t)n), strlen(text));
    cr_assert(memcmp(back, text, strlen(text)) == 0);
    n = ruvm_encode(&less.t, ids, 128, other, strlen(other), 0);
    cr_assert_eq(decode(&less.t, back, ids, (size_t)n), strlen(other));
    cr_assert(memcmp(back, other, strlen(other)) == 0);
    ruvm_buffer_free(&less.section);
    close_demo(&o);
}

/* What follows a pruned token begins anew behind the start token. */
Test(prune_vocab, a_text_to_measure_on_is_cut_at_pruned_tokens)
{
    struct opened o = open_demo(false);
    struct ruvm_prune_report r;
    /* 300 and 301 are pieces that nothing else of the text is made of */
    uint32_t calibration[] = {1, 270, 271, 272},
             eval[] = {1, 270, 300, 271, 1, 271, 272, 270, 1, 300, 1, 272, 301, 270, 271};
    uint32_t one[] = {0, 4}, four[] = {0, 4, 8, 10, 15};
    o.s.calibration =
        (struct ruvm_text){.tokens = calibration, .first = one, .n_windows = 1, .n_positions = 3};
    o.s.eval = (struct ruvm_text){.tokens = eval, .first = four, .n_windows = 4, .n_positions = 11};
    cr_assert_eq(
        ruvm_prune(&r, &o.s, &o.source.arena, &(struct ruvm_prune_options){.vocab = true}, &o.err),
        RUVM_OK, "%s", o.err.text);
    cr_assert_not_null(strstr(r.steps[0].what, "tokens, 20.00 % of the text"), "%s",
                       r.steps[0].what);
    static const uint16_t left[] = {1, 270, 1, 271, 1, 271, 272, 270, 1, 272, 1, 270, 271};
    static const uint32_t first[] = {0, 2, 4, 8, 10, 13};
    uint16_t old[512];
    find_old(old, &o.s.vocab, &o.source.vocab);
    cr_assert(o.s.eval.n_windows == 5 && o.s.eval.n_positions == 8);
    cr_assert(memcmp(o.s.eval.first, first, sizeof first) == 0);
    for (int i = 0; i < 13; i++)
        cr_assert_eq(old[o.s.eval.tokens[i]], left[i]);
    close_demo(&o);
}

/* Tokens come last: what they cost is told apart from what the other steps did. */
Test(prune_vocab, after_other_steps_the_loss_over_kept_tokens_is_theirs)
{
    struct opened o = open_demo(true);
    struct ruvm_prune_report r;
    struct ruvm_model source = o.s.model;
    o.s.calibration = o.s.eval = read_text(&o, "tests/demo/heldout.txt", 300);
    uint32_t layers[] = {0};
    struct ruvm_prune_options po = {
        .drop_layers = layers, .n_drop_layers = 1, .ffn = 4, .vocab = true};
    cr_assert_eq(ruvm_prune(&r, &o.s, &o.source.arena, &po, &o.err), RUVM_OK, "%s", o.err.text);
    cr_assert_eq(r.n_steps, 3);
    cr_assert(r.steps[2].perplexity_before == r.steps[2].perplexity_after);
    cr_assert(r.steps[2].perplexity_after < r.steps[1].perplexity_after);
    uint16_t old[512];
    find_old(old, &o.s.vocab, &o.source.vocab);
    struct ruvm_reference *a, *b;
    cr_assert_eq(ruvm_reference_open(&a, &o.source.arena, &source, 64, NULL), RUVM_OK);
    cr_assert_eq(ruvm_reference_open(&b, &o.source.arena, &o.s.model, 64, NULL), RUVM_OK);
    double kl = 0.0;
    const struct ruvm_text *t = &o.s.eval;
    for (uint32_t w = 0; w < t->n_windows; w++) {
        ruvm_reference_reset(a);
        ruvm_reference_reset(b);
        for (uint32_t i = t->first[w]; i + 1 < t->first[w + 1]; i++) {
            const float *x = ruvm_reference_step(a, old[t->tokens[i]]);
            const float *y = ruvm_reference_step(b, t->tokens[i]);
            double zx = 0.0, zy = 0.0, sum = 0.0;
            for (uint32_t k = 0; k < o.s.model.vocab; k++) {
                double px = exp((double)x[old[k]]);
                zx += px;
                zy += exp((double)y[k]);
                sum += px * ((double)x[old[k]] - (double)y[k]);
            }
            kl += sum / zx - log(zx) + log(zy);
        }
    }
    cr_assert_float_eq(r.steps[2].kl_mean, kl / (double)t->n_positions, 1e-9);
    cr_assert(r.steps[2].kl_mean > 0.001);
    close_demo(&o);
}

Test(prune_vocab, special_tokens_stay_and_follow)
{
    struct opened o = open_demo(false);
    struct ruvm_prune_report r;
    uint32_t calibration[] = {420, 270, 271};
    uint16_t old[512];
    uint32_t one[] = {0, 3};
    o.s.calibration =
        (struct ruvm_text){.tokens = calibration, .first = one, .n_windows = 1, .n_positions = 2};
    o.s.vocab.bos = 420;
    o.s.vocab.eos = 430;
    o.s.vocab.unk = RUVM_VOCAB_NONE;
    cr_assert_eq(
        ruvm_prune(&r, &o.s, &o.source.arena, &(struct ruvm_prune_options){.vocab = true}, &o.err),
        RUVM_OK, "%s", o.err.text);
    find_old(old, &o.s.vocab, &o.source.vocab);
    cr_assert(old[o.s.vocab.bos] == 420 && old[o.s.vocab.eos] == 430);
    cr_assert(o.s.vocab.bos < 420 && o.s.vocab.eos < 430 && o.s.vocab.unk == RUVM_VOCAB_NONE);
    cr_assert_eq(old[0], 3, "the unknown token of old is a token like any other");
    close_demo(&o);
}

Test(prune_vocab, an_eval_text_in_which_nothing_is_left_is_not_measured_on)
{
    struct opened o = open_demo(false);
    struct ruvm_prune_report r;
    uint32_t calibration[] = {1, 270, 271}, eval[] = {1, 300, 301};
    uint32_t one[] = {0, 3};
    o.s.calibration =
        (struct ruvm_text){.tokens = calibration, .first = one, .n_windows = 1, .n_positions = 2};
    o.s.eval = (struct ruvm_text){.tokens = eval, .first = one, .n_windows = 1, .n_positions = 2};
    cr_assert_eq(
        ruvm_prune(&r, &o.s, &o.source.arena, &(struct ruvm_prune_options){.vocab = true}, &o.err),
        RUVM_OK, "%s", o.err.text);
    cr_assert(o.s.eval.n_windows == 0 && r.steps[0].perplexity_before == 0.0);
    cr_assert_not_null(strstr(r.steps[0].what, "66.67 % of the text"), "%s", r.steps[0].what);
    close_demo(&o);
}
