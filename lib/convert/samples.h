/* Samples: text that a model writes itself, so that nobody needs a data set.
 *
 * What a model says at temperature 1 is drawn from the very distribution it
 * will meet at work; calibration and measurement use it with different seeds.
 */
#ifndef RUVM_CONVERT_SAMPLES_H
#define RUVM_CONVERT_SAMPLES_H

#include "lib/convert/reference.h"
#include "lib/convert/text.h"
#include "lib/ruvm_tool.h"

struct ruvm_samples_options {
    uint64_t n_positions; /* predictions wanted */
    uint64_t seed;        /* same seed, same text, on every machine */
    uint32_t start;       /* first token of every window: BOS */
    uint32_t end;         /* a token that ends a text besides start, or RUVM_VOCAB_NONE */
    uint32_t context;     /* positions of a window at most */
    bool fill_context;    /* go on after the end of a text: every position is visited */
    bool any_token;       /* all tokens alike: what this model would never write itself */
    struct ruvm_progress progress;
    const char *stage; /* name for the progress */
};

/* Draws at temperature 1 from the reference (reset first; its observer sees every step). Where
 * it has several sequences, they write as many texts side by side, each with a generator of its
 * own. RUVM_ERR_MEMORY, _IO "interrupted", _CORRUPT when the logits are not finite. */
int ruvm_samples_draw(struct ruvm_text *t, struct ruvm_arena *arena, struct ruvm_reference *r,
                      uint32_t vocab, const struct ruvm_samples_options *o, struct ruvm_error *err);

#endif
