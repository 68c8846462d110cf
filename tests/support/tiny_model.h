/* A llama2.c checkpoint and its tokenizer.bin with random weights, for tests of the
 * workstation side: any shape, made in memory or written to a temporary folder. */
#ifndef TESTS_SUPPORT_TINY_MODEL_H
#define TESTS_SUPPORT_TINY_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buffer.h"

struct tiny_shape {
    uint32_t dim, hidden, layers, heads, kv_heads, vocab, context;
    bool untied;
    uint64_t seed;
};

/* Legacy checkpoint: header, then the tensors in llama2.c's order. */
struct ruvm_buffer tiny_checkpoint(const struct tiny_shape *s);
/* Where the first weight (embedding row 0) stands in it. */
enum { TINY_FIRST_WEIGHT = 28 };
/* Unknown, BOS, EOS, the letters a..z and a space, then pairs such as "on"; n pieces. */
struct ruvm_buffer tiny_tokenizer(uint32_t n);

/* Writes bytes to a new temporary file and returns its path. Path and file live for 64
 * calls of these two, and no longer than the process. */
const char *tiny_file(const void *data, size_t n);
/* A path that does not exist yet, of the same kind. */
const char *tiny_path(void);

uint64_t tiny_random(uint64_t *state); /* splitmix64 */

#endif
