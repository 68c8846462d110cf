/* The container of a GGUF file: its header and metadata, checked once, read in place.
 *
 *     struct ruvm_gguf g;
 *     rc = ruvm_gguf_open(&g, arena, data, size, err);
 *     struct ruvm_gguf_array tokens;
 *     struct ruvm_gguf_string token;
 *     if (ruvm_gguf_array(&g, "tokenizer.ggml.tokens", &tokens))
 *         while (ruvm_gguf_next_string(&tokens, &token))
 *             ... token.text, token.n ...
 *
 * formats/gguf.h makes tensors and a model's numbers of it, formats/gguf_vocab.h a
 * vocabulary.
 */
#ifndef RUVM_FORMATS_GGUF_READ_H
#define RUVM_FORMATS_GGUF_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/gguf_layout.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

/* Bytes of the file: not NUL-terminated, may hold anything. */
struct ruvm_gguf_string {
    const uint8_t *text;
    size_t n;
};

/* A value; of an array, the elements follow their type and count. */
struct ruvm_gguf_pair {
    struct ruvm_gguf_string key;
    uint32_t type; /* enum ruvm_gguf_type */
    const uint8_t *data, *end;
};

struct ruvm_gguf {
    const uint8_t *data; /* of the whole file, borrowed */
    size_t size;
    uint32_t version;
    uint64_t n_tensors;
    size_t tensors_off;           /* their descriptions, not yet checked */
    struct ruvm_gguf_pair *pairs; /* [n_pairs], by key */
    size_t n_pairs;
};

/* Elements that have not been read; the next_ functions move on in it. */
struct ruvm_gguf_array {
    uint32_t type; /* of the elements, enum ruvm_gguf_type */
    uint64_t n;    /* elements left */
    const uint8_t *data, *end;
};

/* Whether the bytes begin as GGUF of any version does. */
bool ruvm_gguf_probe(const uint8_t *data, size_t size);

/* Checks the header and all metadata: lengths, types, nesting, keys that stand twice.
 * RUVM_ERR_CORRUPT, _UNSUPPORTED, _MEMORY. */
int ruvm_gguf_open(struct ruvm_gguf *g, struct ruvm_arena *arena, const uint8_t *data, size_t size,
                   struct ruvm_error *err);

/* The three getters: false, and *out untouched, when the key is absent or of another kind.
 * Any number or bool of at most 64 bits is a double. */
bool ruvm_gguf_number(const struct ruvm_gguf *g, const char *key, double *out);
bool ruvm_gguf_text(const struct ruvm_gguf *g, const char *key, struct ruvm_gguf_string *out);
bool ruvm_gguf_array(const struct ruvm_gguf *g, const char *key, struct ruvm_gguf_array *out);
/* NULL when the key is absent. */
const struct ruvm_gguf_pair *ruvm_gguf_find(const struct ruvm_gguf *g, const char *key);

/* The next element; false at the end, or when elements are of another kind. */
bool ruvm_gguf_next_string(struct ruvm_gguf_array *a, struct ruvm_gguf_string *out);
bool ruvm_gguf_next_number(struct ruvm_gguf_array *a, double *out);

#endif
