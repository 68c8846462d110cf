/* Sessions: a model ready to talk, and text from it.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_SESSION_H
#define RUVM_TOOL_SESSION_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A model ready to talk: engine, tokenizer and sampler over one image. */
struct ruvm_session;

/* "window:64,4", "strided:16,8", "dilated:32,2", "bigbird:32,4,3", "none"; numbers as in struct
 * ruvm_mask. RUVM_ERR_ARG with the forms that there are. */
int ruvm_mask_parse(struct ruvm_mask *mask, const char *text, struct ruvm_error *err);

struct ruvm_session_options {
    const char *model;   /* path, NULL: the demo model */
    uint32_t context;    /* 0: the image's */
    uint32_t block;      /* 0: default */
    uint32_t threads;    /* 0: as many as help, which is measured */
    const char *kernels; /* NULL: best */
    const char *mask;    /* of the attention, see ruvm_mask_parse(); NULL: none */
    struct ruvm_sampler sampler;
    /* Speculation: guesses that are verified in a block, to the same tokens. "ngram": from the
     * text; else a path: from a smaller model with the same tokenizer; NULL: none. */
    const char *draft;
    uint32_t draft_tokens; /* a guess has at most, 1..63; 0: 7 */
    /* kNN-LM: a blob of this model's states (ruvm_rag_add_options.knn_model); NULL: none. Not
     * with draft, prompt_cache or many prompts. */
    const char *knn;
    uint32_t knn_k;          /* neighbours, up to 256; 0: 32 */
    uint32_t knn_share_q16;  /* their share of the probability, below 65471 */
    uint32_t knn_spread_q16; /* squared distance at which a vote has sunk to 1/e; 0: 0.05 */
};

int ruvm_session_open(struct ruvm_session **s, const struct ruvm_session_options *o,
                      struct ruvm_error *err);
void ruvm_session_close(struct ruvm_session *s);
const struct ruvm_model_info *ruvm_session_info(const struct ruvm_session *s);
const struct ruvm_tokenizer *ruvm_session_tokenizer(const struct ruvm_session *s); /* or NULL */
struct ruvm_engine *ruvm_session_engine(struct ruvm_session *s);
size_t ruvm_session_engine_bytes(const struct ruvm_session *s); /* a draft model's too */
const char *ruvm_session_kernels(const struct ruvm_session *s);
/* Positions that there is room for, and of how many the keys and values are kept at a time: of
 * fewer with a mask that forgets. */
uint32_t ruvm_session_context(const struct ruvm_session *s);
uint32_t ruvm_session_cached(const struct ruvm_session *s);
/* Threads that share the work. */
uint32_t ruvm_session_threads(const struct ruvm_session *s);
/* Prompt tokens that a thread multiplies together. */
uint32_t ruvm_session_block(const struct ruvm_session *s);

/* Begins the drawing anew, as a session opened with this seed does. */
void ruvm_session_seed(struct ruvm_session *s, uint64_t seed);

struct ruvm_generate_options {
    const void *prompt; /* any bytes; may be NULL when n_prompt_bytes is 0 */
    size_t n_prompt_bytes;
    uint32_t n_tokens;        /* to generate at most; 0: until the context is full */
    const char *const *stops; /* stop strings, not emitted */
    size_t n_stops;
    bool continue_context; /* keep what is in the context: the next turn of a conversation */
    bool keep_prefix;      /* of a prompt that begins as the text before did, compute the rest */
    /* File with what the engine knows after the first turn's prompt: read, and written when the
     * prompt is another. NULL: none. */
    const char *prompt_cache;
    bool no_crc;        /* leave logits_crc32 out: of a large vocabulary it takes long */
    bool ignore_end;    /* go on after BOS or EOS */
    bool chat;          /* the prompt is a message: put it in the image's form of a turn */
    const char *system; /* of a chat's first turn: what the model is told first, or NULL */
    /* Receives text as it comes, whole UTF-8 characters where possible; nonzero stops. */
    int (*text)(void *user, const char *bytes, size_t n_bytes);
    /* Receives each generated id before its text, or NULL. */
    int (*token)(void *user, uint16_t id);
    void *user;
};

struct ruvm_generate_result {
    uint32_t n_prompt_tokens, n_tokens;
    uint32_t n_reused; /* of the prompt's tokens: known already, not computed */
    /* What the rates are of. Computed for the prompt: its tokens that were not known, and the
     * last of the answer before. Decoded: tokens after the first, whose logits are the prompt's. */
    uint32_t n_computed, n_decoded;
    double prompt_s, generate_s; /* measured; prompt_s with the reading of a cache */
    double decode_s;             /* of generate_s: for n_decoded */
    uint32_t logits_crc32;       /* over the logits each generated token was drawn from */
    enum ruvm_stop {
        RUVM_STOP_COUNT,
        RUVM_STOP_END,
        RUVM_STOP_STRING,
        RUVM_STOP_CONTEXT,
        RUVM_STOP_CALLER
    } stop;
    bool cache_written;
    char cache_note[256]; /* why a cache was not used, or "" */
    struct ruvm_generate_drafts {
        uint32_t n_rounds;             /* blocks that verified a guess */
        uint32_t n_tokens, n_accepted; /* guessed, and right */
        uint32_t n_switched_off;       /* times that the clock found them slower than none */
    } drafts;
};

/* A prompt that does not fit the context: RUVM_ERR_FULL with both numbers. */
int ruvm_generate(struct ruvm_session *s, const struct ruvm_generate_options *o,
                  struct ruvm_generate_result *r, struct ruvm_error *err);

/* Many prompts, up to `batch` of them (1..64) computed together: each weight is read once for
 * all. Each is answered as if it were the only one, beginning with the random state that the
 * session has. */
struct ruvm_many_options {
    uint32_t batch;
    size_t n_prompts;
    /* What to do with prompt i, as for ruvm_generate(); continue_context, keep_prefix and
     * prompt_cache are not used. What it points to is in use until the prompt's end. */
    struct ruvm_generate_options (*options)(void *user, size_t i);
    /* Prompt i is done: r, or NULL and the error. In the order in which they end; after one
     * that its receiver stopped, no other begins. */
    void (*end)(void *user, size_t i, const struct ruvm_generate_result *r,
                const struct ruvm_error *err);
    void *user;
};

/* Leaves the session empty. RUVM_ERR_ARG, _MEMORY; a prompt that fails does not. */
int ruvm_generate_many(struct ruvm_session *s, const struct ruvm_many_options *o,
                       struct ruvm_error *err);

#ifdef __cplusplus
}
#endif

#endif
