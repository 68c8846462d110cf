/* Inside of a session, for the files of lib/run and their tests.
 *
 * The tokens kept here are those of the context in order. The engine may lag
 * behind them by what nobody has needed yet: a generated token is computed only
 * when another one is wanted after it. Anyone who drives the engine directly
 * begins with ruvm_generate() without continue_context, which starts anew.
 */
#ifndef RUVM_RUN_SESSION_H
#define RUVM_RUN_SESSION_H

#include "lib/run/panels.h"
#include "lib/run/threads.h"
#include "lib/ruvm_tool.h"

struct ruvm_draft;
struct ruvm_run_knn;

struct ruvm_session {
    const struct ruvm_session *host; /* whose file this one uses, and panels for equal kernels */
    struct ruvm_file file;
    struct ruvm_model_info info;
    const struct ruvm_kernels *kernels;
    struct ruvm_panels panels;
    struct ruvm_threads threads;
    struct ruvm_engine *engine;
    void *memory; /* the engine's, owned */
    size_t memory_bytes;
    size_t engine_bytes; /* that one thread needs of it */
    uint32_t context;    /* positions the engine has room for */
    uint32_t block;      /* prompt tokens that a thread multiplies together */
    struct ruvm_mask mask;
    bool has_tokenizer;
    struct ruvm_tokenizer tokenizer;
    uint8_t joins[8192]; /* the tokenizer's */
    struct ruvm_sampler sampler;
    uint16_t *tokens;         /* [context + 1] */
    uint32_t n_tokens;        /* in the text so far; the engine's position is at most this */
    int32_t *logits;          /* [vocab] the sampler's copy, which it changes */
    struct ruvm_draft *draft; /* owned; NULL: a token at a time */
    struct ruvm_run_knn *knn; /* owned; NULL: the model's probabilities as they are */
};

/* Opens with the context of the options, or the image's, but not more than `most`. */
int ruvm_session_open_within(struct ruvm_session **session, const struct ruvm_session_options *o,
                             uint32_t most, struct ruvm_error *err);

/* Opens the model of another session once more, with other options: its file is not mapped
 * again, nor are panels laid out again that it has. The host stays open longer. */
int ruvm_session_open_beside(struct ruvm_session **session, const struct ruvm_session *host,
                             const struct ruvm_session_options *o, struct ruvm_error *err);

/* Draws the next token from logits with the session's sampler. They stay as they are, unless
 * they are the session's own copy. */
uint16_t ruvm_session_sample(struct ruvm_session *s, const int32_t *logits);

/* The demo model inside the library (lib/demo.S). */
extern const unsigned char ruvm_demo_start[], ruvm_demo_end[];

#endif
