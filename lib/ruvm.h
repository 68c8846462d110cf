/* ruvm: run small language models with integers only.
 *
 * The public, chip-safe part of the library: no malloc, no float, no libc; the
 * caller owns all memory. The whole life of a model:
 *
 *     size_t bytes;
 *     ruvm_engine_bytes(image, image_bytes, NULL, &bytes);
 *     struct ruvm_engine *e;
 *     ruvm_engine_init(&e, memory, bytes, image, image_bytes, NULL);
 *     n = ruvm_encode(&tok, ids, max_ids, text, text_bytes);
 *     ruvm_engine_eval(e, ids, n, NULL);
 *     while (!ruvm_is_end(&tok, id = ruvm_sample(&sampler, ruvm_engine_logits(e), ...)))
 *         ruvm_engine_eval(e, &id, 1, NULL);
 *
 * Every kernel on every machine gives the same logits, bit for bit.
 * Functions return RUVM_OK or a negative RUVM_ERR_* (base/status.h).
 */
#ifndef RUVM_H
#define RUVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RUVM_VERSION_TEXT "0.1.0"

/* A short English name of a status, static. */
const char *ruvm_status_text(int status);

/* ---- the image ----------------------------------------------------------- */

/* What a caller needs of a RUVM image's header. */
struct ruvm_model_info {
    uint16_t vocab, dim, hidden, context; /* context: positions the model was made for */
    uint8_t n_layers, n_heads, n_kv_heads;
    uint16_t head_dim;
    bool has_tokenizer;
};

/* Validates the whole image, checksums included. image is 16-byte aligned and
 * stays mapped as long as anything made from it lives. */
int ruvm_model_info(struct ruvm_model_info *info, const void *image, size_t image_bytes);

/* ---- the engine ---------------------------------------------------------- */

struct ruvm_engine;  /* lives at the start of the caller's memory */
struct ruvm_kernels; /* kernels/kernels.h */

/* Which of the positions before it a token sees, its own always; by default all. */
enum ruvm_mask_kind {
    RUVM_MASK_NONE,
    RUVM_MASK_WINDOW,  /* the newest n[0], and the first n[1]: sinks; the others are forgotten */
    RUVM_MASK_STRIDED, /* the newest n[0], and each n[1]th back from its own */
    RUVM_MASK_DILATED, /* n[0] positions, each n[1]th back from its own */
    RUVM_MASK_BIGBIRD, /* the newest n[0], the first n[1], and n[2] drawn for each token */
};

enum { RUVM_MASK_MAX_DRAWN = 64 };

struct ruvm_mask {
    uint16_t kind; /* enum ruvm_mask_kind */
    uint16_t n[3]; /* n[0] at least 1; steps, too; what a kind does not name is 0 */
};

/* RUVM_ERR_ARG: its numbers make no mask. */
int ruvm_mask_check(const struct ruvm_mask *mask);
/* The definition: whether a token at position `query` sees the one at `key`. */
bool ruvm_mask_sees(const struct ruvm_mask *mask, uint32_t query, uint32_t key);

/* Threads that share an engine's work; they are the caller's, and a chip has none. */
struct ruvm_parallel {
    /* Calls part(job, i, n_parts) once for each i < n_parts, from any threads, and returns
     * when all have returned. */
    void (*run)(void *user, void (*part)(void *job, uint32_t i, uint32_t n_parts), void *job);
    void *user;
    uint32_t n_parts;   /* 1..RUVM_MAX_PARTS */
    uint64_t min_work;  /* multiplications below which splitting costs more than it saves */
    uint64_t min_block; /* the same for all of a block: threads that sleep come too late */
};

enum { RUVM_MAX_PARTS = 64 };

struct ruvm_engine_options {
    uint32_t context; /* positions to make room for; 0: the image's; at most the image's */
    uint32_t block;   /* prompt tokens a thread multiplies together, 1..64; 0: 8 */
    const struct ruvm_kernels *kernels; /* NULL: scalar, the only table on a chip */
    struct ruvm_mask mask;
    /* The matrices once more as these kernels like them (kernels/panels.h), one pointer a
     * tensor of the image, NULL where there is none; they are in use as the image is.
     * NULL: none at all. Results are the same. */
    const uint8_t *const *panels;
    /* NULL: none. In use as the image is. Results are the same, memory is more. */
    const struct ruvm_parallel *parallel;
};

/* Exact size of the memory an engine needs: nothing else is ever allocated and
 * all of it is used. options may be NULL. */
int ruvm_engine_bytes(const void *image, size_t image_bytes,
                      const struct ruvm_engine_options *options, size_t *bytes);

/* memory: at least ruvm_engine_bytes(), 64-byte aligned, the caller's; it and the
 * image are in use until the caller stops using *engine. There is no close. */
int ruvm_engine_init(struct ruvm_engine **engine, void *memory, size_t memory_bytes,
                     const void *image, size_t image_bytes,
                     const struct ruvm_engine_options *options);

/* The same for another text: an empty engine over the image of `other` with its options, and
 * nothing is validated again. memory_bytes: what ruvm_engine_bytes() says for these. */
int ruvm_engine_init_like(struct ruvm_engine **engine, void *memory, size_t memory_bytes,
                          const struct ruvm_engine *other);

/* Appends n tokens to the context and computes. all_logits: NULL, or n * vocab
 * values that receive the logits after each token (else only the last one's are
 * kept). RUVM_ERR_FULL when they do not fit: then nothing was appended.
 * RUVM_ERR_ARG: a token >= vocab, or n is 0. */
int ruvm_engine_eval(struct ruvm_engine *engine, const uint16_t *tokens, size_t n,
                     int32_t *all_logits);

/* A token for one of several texts, each of which has an engine of its own. */
struct ruvm_row {
    struct ruvm_engine *engine;
    uint16_t token;
};

/* Appends every row's token to its engine's context and computes all of them together, so
 * that weights are read once for many texts: what results is what one ruvm_engine_eval() an
 * engine gives. The engines are over the same image and have the same options; `engine`,
 * any one of these, lends its work areas. RUVM_ERR_FULL, _ARG as above, and then nothing was
 * appended anywhere. */
int ruvm_engine_eval_rows(struct ruvm_engine *engine, const struct ruvm_row *rows, size_t n);

/* Logits after the last token, vocab values in Q16 (65536 is 1.0), natural log. */
const int32_t *ruvm_engine_logits(const struct ruvm_engine *engine);
/* The same to be changed in place, for who has no room for a copy: ruvm_sample() may. They are
 * the engine's again with the next token. */
int32_t *ruvm_engine_take_logits(struct ruvm_engine *engine);

/* What the head made these logits of: the last hidden state with the final norm, dim values in
 * Q16. Right after ruvm_engine_eval() without all_logits. */
void ruvm_engine_hidden(struct ruvm_engine *engine, int32_t *x);

/* Tokens in the context now; and going back to the first n of them. RUVM_ERR_UNSUPPORTED: a
 * window has forgotten what they see; back to 0 is always possible, and as far as a block behind
 * the furthest it has been, for which a loaded state counts a block more than it has. */
uint32_t ruvm_engine_position(const struct ruvm_engine *engine);
int ruvm_engine_rewind(struct ruvm_engine *engine, uint32_t n);

/* What the engine knows after its first n tokens, as bytes that any engine over the same image
 * takes: prompts that are computed once. The state after n tokens has ruvm_engine_state_bytes()
 * bytes; save writes that of the position. RUVM_ERR_ARG: bytes is another number. load replaces
 * what the engine knew; RUVM_ERR_FULL: the context is smaller, RUVM_ERR_CORRUPT: no engine
 * wrote this, and then the position is 0. The caller sees to it that image and state match. */
size_t ruvm_engine_state_bytes(const struct ruvm_engine *engine, uint32_t n);
int ruvm_engine_state_save(const struct ruvm_engine *engine, void *state, size_t bytes);
int ruvm_engine_state_load(struct ruvm_engine *engine, uint32_t n, const void *state, size_t bytes);

/* CRC-32 of zlib over logits as little-endian bytes, continued from crc (0 at first):
 * what golden vectors store. */
uint32_t ruvm_logits_crc(uint32_t crc, const int32_t *logits, size_t n);

struct ruvm_verify_result {
    uint32_t n_prompt, n_tokens;      /* tokens replayed */
    uint32_t first_wrong;             /* index of the first differing token, or n_tokens */
    uint32_t crc_expected, crc_found; /* of the logits */
};

/* Replays the golden vectors of the image on a fresh engine (position 0).
 * RUVM_ERR_MISMATCH when tokens or logits differ, RUVM_ERR_UNSUPPORTED when the
 * image carries none, RUVM_ERR_FULL when the engine's context is too small. */
int ruvm_engine_verify(struct ruvm_engine *engine, struct ruvm_verify_result *result);

/* ---- the tokenizer ------------------------------------------------------- */

struct ruvm_tokenizer {
    const uint8_t *section; /* in the image */
    const uint8_t *joins;   /* 8192 bytes from ruvm_tokenizer_joins(), or NULL */
    uint16_t n_pieces, n_sorted, bos, eos, unk, max_piece; /* 0xFFFF: none */
    uint8_t flags;
    const uint8_t *off, *rank, *sorted, *byte_id, *kind, *text;
    uint8_t method, pattern, n_ends; /* method: how neighbours merge, as in the image */
    uint16_t options, n_special, n_merges;
    int32_t unk_score;
    const uint8_t *score, *special, *ends, *merges; /* NULL where the method has none */
    const char *chat; /* template of a conversation, not NUL-terminated */
    uint32_t chat_bytes;
};

/* RUVM_ERR_UNSUPPORTED when the image has no tokenizer. */
int ruvm_tokenizer_init(struct ruvm_tokenizer *t, const void *image, size_t image_bytes);

/* Optional speed for long texts: a bit for each pair of bytes that some piece
 * joins. Text is cut where no piece can reach across; the tokens are the same. */
void ruvm_tokenizer_joins(struct ruvm_tokenizer *t, uint8_t joins[8192]);

/* Room for the ids of any text of n bytes: BOS, space and a token a byte. */
#define RUVM_MAX_TOKENS(n_bytes) ((n_bytes) + 2)

enum {
    RUVM_ENCODE_PLAIN = 1,   /* add neither BOS nor the space: continue a text */
    RUVM_ENCODE_SPECIAL = 2, /* "<|im_start|>" in the text is that token: for texts that the
                                program wrote, not for those of strangers */
    RUVM_ENCODE_NO_BOS = 4,  /* add the space, but no BOS */
};

/* Encodes any bytes (NUL included). ids has room for RUVM_MAX_TOKENS(n_bytes)
 * ids, is also the work space, and receives them. Returns their number or
 * RUVM_ERR_ARG (room too small). A byte that the vocabulary cannot express
 * becomes the unknown token; without one RUVM_ERR_UNSUPPORTED. */
int ruvm_encode(const struct ruvm_tokenizer *t, uint16_t *ids, size_t max_ids, const void *text,
                size_t n_bytes, unsigned flags);

/* Bytes of one token in place, given the token before it (RUVM_NO_PREVIOUS at
 * the start of a text that was encoded with BOS): the space put before a text
 * is taken away again. *n_bytes may be 0. */
enum { RUVM_NO_PREVIOUS = 0xFFFF };
const uint8_t *ruvm_decode(const struct ruvm_tokenizer *t, uint16_t previous, uint16_t id,
                           size_t *n_bytes);

/* Whether a generated token ends the text: BOS, EOS or another one that the model uses so. */
bool ruvm_is_end(const struct ruvm_tokenizer *t, uint16_t id);

/* ---- the sampler --------------------------------------------------------- */

/* Zero-initialised: greedy. All values are integers so that the same seed gives
 * the same text on every machine. Order of work: repeat penalty, temperature,
 * top-k, min-p, top-p, draw. */
struct ruvm_sampler {
    uint32_t temperature_q16; /* 0: greedy; 65536: 1.0; at most 100.0 */
    uint32_t top_k;           /* 0: off */
    uint32_t top_p_q16;       /* 0 or 65536: off */
    uint32_t min_p_q16;       /* 0: off; relative to the most likely token */
    uint32_t repeat_q16;      /* 0 or 65536: off; divides positive, multiplies negative logits */
    uint32_t repeat_last;     /* tokens looked back at for the repeat penalty */
    uint64_t state;           /* random state: ruvm_sampler_seed() */
    const struct ruvm_kernels *kernels; /* NULL: plain loops; the tokens are the same */
};

void ruvm_sampler_seed(struct ruvm_sampler *s, uint64_t seed);

/* Chooses the next token. logits: vocab values in Q16, changed in place.
 * recent[n_recent]: the tokens so far, newest last, for the repeat penalty.
 * Equal logits: the lower id comes first. */
uint16_t ruvm_sample(struct ruvm_sampler *s, int32_t *logits, uint32_t vocab,
                     const uint16_t *recent, size_t n_recent);

/* ---- classifiers --------------------------------------------------------- */

/* A network of plain layers in a RUVM image, from numbers to classes:
 *
 *     ruvm_mlp_bytes(image, image_bytes, &bytes);
 *     ruvm_mlp_init(&m, memory, bytes, image, image_bytes, NULL);
 *     x[i] = value of input i in steps of 2^ruvm_mlp_input_exp(m, i);
 *     ruvm_mlp_run(m, x, logits);
 *     best = ruvm_mlp_best(m, logits);
 */
struct ruvm_mlp; /* lives at the start of the caller's memory */

enum ruvm_mlp_output_kind {
    RUVM_MLP_IS_LOGITS,  /* numbers; the class is the largest one */
    RUVM_MLP_IS_SOFTMAX, /* probabilities of classes of which one holds */
    RUVM_MLP_IS_SIGMOID, /* probabilities, each for itself; one output: class 1 is yes, 0 no */
};

struct ruvm_mlp_info {
    uint16_t n_inputs, n_outputs;
    uint16_t n_classes;       /* 2 for one output, else n_outputs */
    uint8_t n_layers, output; /* enum ruvm_mlp_output_kind */
    bool has_labels;
    uint64_t n_weights; /* a multiplication each, for every run */
};

/* As ruvm_model_info(). RUVM_ERR_UNSUPPORTED: the image holds no classifier. */
int ruvm_mlp_info(struct ruvm_mlp_info *info, const void *image, size_t image_bytes);

/* As the same functions of the engine. kernels: NULL for scalar. */
int ruvm_mlp_bytes(const void *image, size_t image_bytes, size_t *bytes);
int ruvm_mlp_init(struct ruvm_mlp **mlp, void *memory, size_t memory_bytes, const void *image,
                  size_t image_bytes, const struct ruvm_kernels *kernels);

/* Input i < n_inputs is given in steps of 2^this. */
int8_t ruvm_mlp_input_exp(const struct ruvm_mlp *mlp, uint32_t i);
/* logits: n_outputs values in Q16, before any softmax or sigmoid. */
void ruvm_mlp_run(struct ruvm_mlp *mlp, const int32_t *x, int32_t *logits);
/* The class: the largest output (of equal ones the first), or of one output whether it is
 * positive. */
uint32_t ruvm_mlp_best(const struct ruvm_mlp *mlp, const int32_t *logits);
/* Softmax or sigmoid of the logits: n_outputs values in Q15 (32768 is 1), off by less than
 * 2e-4. Of LOGITS, softmax. */
void ruvm_mlp_probabilities(const struct ruvm_mlp *mlp, const int32_t *logits, uint16_t *p);
/* The name of a class, in the image, not NUL-terminated; NULL when it has none. */
const char *ruvm_mlp_label(const struct ruvm_mlp *mlp, uint32_t i, size_t *n_bytes);

#ifdef __cplusplus
}
#endif

#endif
