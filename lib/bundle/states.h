/* States: texts as a language model sees them, as vectors.
 *
 *     rc = ruvm_states_open(&s, "model.ruvm", &err);
 *     rc = ruvm_states_embed(s, x, text, n, &err);       the mean over the text's tokens
 *     rc = ruvm_states_walk(s, tokens, n, &sink, &err);  one after each token
 *     ruvm_states_close(s);
 *
 * A state is what the model's head reads: the last hidden state with the final norm, in Q16.
 */
#ifndef RUVM_BUNDLE_STATES_H
#define RUVM_BUNDLE_STATES_H

#include <stddef.h>
#include <stdint.h>

struct ruvm_error;
struct ruvm_session;
struct ruvm_states;

/* The model: an image, a pack with one, or NULL for the demo model. It must have a tokenizer,
 * and a width that a blob's vectors can have. */
int ruvm_states_open(struct ruvm_states **states, const char *model, struct ruvm_error *err);
void ruvm_states_close(struct ruvm_states *s);

struct ruvm_session *ruvm_states_session(struct ruvm_states *s);
uint32_t ruvm_states_dims(const struct ruvm_states *s);
/* How a blob says which model it is of. */
uint32_t ruvm_states_crc(const struct ruvm_states *s);
uint32_t ruvm_states_bytes(const struct ruvm_states *s);

/* x[dims]: zeros for a text without tokens. A text longer than the context is read in pieces. */
int ruvm_states_embed(struct ruvm_states *s, int32_t *x, const char *text, size_t n,
                      struct ruvm_error *err);

/* take gets the state after each of n tokens, which fit the context; not 0: stop. */
struct ruvm_states_sink {
    int (*take)(void *context, uint32_t i, const int32_t *state);
    void *context;
};
int ruvm_states_walk(struct ruvm_states *s, const uint16_t *tokens, uint32_t n,
                     const struct ruvm_states_sink *sink, struct ruvm_error *err);

#endif
