/* Chunks: a passage cut into pieces small enough to be found and shown on their own.
 *
 *     struct ruvm_chunker c = ruvm_chunker_over(text, n, &options);
 *     while (ruvm_chunker_next(&c))
 *         ... c.chunk, c.n_chunk ...
 *
 * A chunk is a part of the text as it stands, without the blanks around it. It ends with a
 * paragraph or sentence where that leaves it at least half full, else with a word, never
 * within a character. The next one begins where it ended, or earlier by whole sentences (else
 * words) of at most `overlap` bytes.
 */
#ifndef RUVM_BUNDLE_CHUNK_H
#define RUVM_BUNDLE_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/ragtext_layout.h"

struct ruvm_chunk_options {
    uint32_t bytes;   /* of a chunk, at most */
    uint32_t overlap; /* at most half of bytes */
    uint8_t split;    /* enum ruvm_rag_split; HEADING: the passage whole, if it can be */
};

struct ruvm_chunker {
    const char *text;
    size_t n, at;
    struct ruvm_chunk_options o;
    const char *chunk;
    size_t n_chunk;
};

struct ruvm_chunker ruvm_chunker_over(const char *text, size_t n,
                                      const struct ruvm_chunk_options *o);
bool ruvm_chunker_next(struct ruvm_chunker *c);

#endif
