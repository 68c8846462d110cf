/* Prompt caches: what an engine knew after a prompt, in a file. ruvm-run(1) has every bit.
 *
 * This folder knows the bytes only: whether a state fits a model is decided by who has both,
 * from the fields of `made_for`, which have to be equal.
 */
#ifndef RUVM_FORMATS_PROMPT_CACHE_H
#define RUVM_FORMATS_PROMPT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buffer.h"
#include "lib/base/error.h"

#define RUVM_PROMPT_CACHE_MAGIC "RVPC"
enum { RUVM_PROMPT_CACHE_VERSION = 1, RUVM_PROMPT_CACHE_HEADER = 44 };

/* What a state is worth nothing without. */
struct ruvm_prompt_cache_for {
    uint32_t model_bytes, model_crc; /* of the image, and its header's CRC-32 */
    uint32_t context;
    uint8_t k_bits, v_bits;
    uint16_t mask[4]; /* kind of the attention's mask and its numbers; zeros: none */
    uint32_t slots;   /* positions that the caches keep */
};

struct ruvm_prompt_cache {
    struct ruvm_prompt_cache_for made_for;
    uint32_t n_tokens, state_bytes;
    const uint8_t *tokens; /* [n_tokens] u16, little-endian; in the file */
    const uint8_t *state;
};

/* Whether the bytes begin as one, however they go on. */
bool ruvm_prompt_cache_probe(const void *data, size_t size);
/* RUVM_ERR_CORRUPT: cut off or damaged; RUVM_ERR_UNSUPPORTED: of another version. The message
 * begins with the place. */
int ruvm_prompt_cache_read(struct ruvm_prompt_cache *c, const void *data, size_t size,
                           struct ruvm_error *err);
/* Appends the file; c->tokens is not looked at but tokens, which are the machine's own. */
void ruvm_prompt_cache_write(struct ruvm_buffer *out, const struct ruvm_prompt_cache *c,
                             const uint16_t *tokens);

#endif
