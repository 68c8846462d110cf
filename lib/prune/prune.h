/* Prune: leaves parts of the float model out, and measures what that costs.
 *
 *     struct ruvm_prune_subject s = {.model = source.model, .calibration = text, .eval = other};
 *     struct ruvm_prune_options o = {.ffn = 32};
 *     rc = ruvm_prune(&report, &s, &arena, &o, err);
 *     ... s.model is the pruned one ...
 *
 * The kinds are done one after another: layers, heads, feed-forward units, tokens. Each
 * choice is made on what the model so far does with the calibration text.
 */
#ifndef RUVM_PRUNE_PRUNE_H
#define RUVM_PRUNE_PRUNE_H

#include "lib/convert/text.h"
#include "lib/import/model.h"
#include "lib/ruvm_tool.h"

struct ruvm_prune_options {
    const uint32_t *drop_layers; /* layers of the source, counted from 0; each once */
    uint32_t n_drop_layers;
    /* Key/value heads to take from every layer together with their queries, and units from
     * every feed-forward. Each layer loses those that change its output least after the
     * columns of wo and w_down that stay have been fitted again: see prune_columns.h. */
    uint32_t heads, ffn;
    /* Leave out the tokens that the calibration text does not hold, but for what the
     * tokenizer needs: see prune_vocab.h. */
    bool vocab;
    struct ruvm_progress progress; /* stages "prune" and "measure pruning", in positions */
};

/* What is pruned. Texts are windows of at most the model's context. */
struct ruvm_prune_subject {
    struct ruvm_model model;
    bool has_vocab; /* needed to prune tokens */
    struct ruvm_vocab vocab;
    struct ruvm_text calibration; /* needed for all but layers */
    struct ruvm_text eval;        /* to measure on; without windows nothing is measured */
};

enum { RUVM_PRUNE_KINDS = 4 };

/* One step a kind that was asked for. kl_mean is that of the model after the step against
 * the one that came, all steps so far included; the perplexities are those before and after
 * this step; all three 0 when nothing was measured.
 * Pruned tokens are measured by what is left: every distribution is taken over the kept
 * tokens, renormalised, and a window is cut at a pruned token in two. So a
 * model that lost nothing but tokens shows no loss there; the loss is that a text has to do
 * without them, and `what` says how often the eval text wanted one: "48 of 512 tokens,
 * 0.05 % of the text". */
struct ruvm_prune_report {
    uint32_t n_steps;
    struct ruvm_quantize_prune steps[RUVM_PRUNE_KINDS];
};

/* RUVM_ERR_ARG for what ruvm_prune() refuses whatever the texts hold: before they are drawn. */
int ruvm_prune_check(const struct ruvm_prune_subject *s, const struct ruvm_prune_options *o,
                     struct ruvm_error *err);

/* Replaces the model of s; new tensors are F32 and live in the arena, the others remain the
 * views they were, and nothing of the model that came is written to: a copy of it stays
 * good. When tokens are pruned the vocabulary and both texts are replaced as well, ids
 * renumbered in their order; a window of eval ends before a pruned token, and what follows it
 * is a window of its own behind the same start token. Nothing may be left to measure on.
 * After a failure s is as it was. The same on every machine, but for the last bits of what
 * is measured.
 * RUVM_ERR_ARG: there is not that much to prune, a layer is named twice, or a text or the
 * vocabulary is missing; _CORRUPT: something is not finite; _MEMORY; _IO "interrupted". */
int ruvm_prune(struct ruvm_prune_report *report, struct ruvm_prune_subject *s,
               struct ruvm_arena *arena, const struct ruvm_prune_options *o,
               struct ruvm_error *err);

#endif
