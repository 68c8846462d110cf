/* Library: the sources and chunks of a knowledge blob on their way from one file to the next.
 *
 *     ruvm_library_load(&lib, &rag, now, &err);        what is there, but what expired
 *     ruvm_library_forget(&lib, name);                 a source and its chunks
 *     ruvm_library_add(&lib, &source, &options, &err);   a document
 *     ruvm_library_write(&lib, &text, &err);             the sections of text
 *     ruvm_library_free(&lib);
 *
 * A source that is added again replaces what it was. A chunk whose text is already there, from
 * whichever source, is left out, unless duplicates are wanted.
 */
#ifndef RUVM_BUNDLE_LIBRARY_H
#define RUVM_BUNDLE_LIBRARY_H

#include "formats/rag_write.h"
#include "lib/base/arena.h"
#include "lib/bundle/chunk.h"
#include "lib/bundle/document.h"

struct ruvm_library_source {
    const char *name, *meta; /* meta: a JSON object, or NULL */
    size_t n_name, n_meta;
    uint32_t bytes, crc;
    uint32_t n_chunks;
    bool gone;
};

struct ruvm_library_chunk {
    const char *text, *meta;
    uint32_t n_text, n_meta;
    uint32_t source, expires;
    uint32_t row; /* passage it was, of those that were added; RUVM_LIBRARY_OLD + its number
                   * in the blob it came from */
};
#define RUVM_LIBRARY_OLD 0x80000000u

struct ruvm_library {
    struct ruvm_library_source *sources;
    struct ruvm_library_chunk *chunks;
    uint32_t n_sources, n_chunks;
    uint32_t sources_cap, chunks_cap;
    uint32_t *seen; /* [seen_cap], a power of two: hash table of chunks, their number + 1 */
    uint32_t seen_cap;
    struct ruvm_arena arena;
    bool keep_duplicates;
    uint32_t n_rows; /* chunks that were added so far, duplicates and empty ones included */
    /* what has happened so far */
    uint32_t n_added, n_removed, n_expired, n_duplicates, n_empty;
    uint64_t n_bad_bytes;
};

/* Borrows the blob's texts. Chunks that have expired by now are left out. */
int ruvm_library_load(struct ruvm_library *lib, const struct ruvm_rag *rag, uint32_t now,
                      struct ruvm_error *err);
void ruvm_library_free(struct ruvm_library *lib);

/* The source of that name, or NULL. */
struct ruvm_library_source *ruvm_library_find(const struct ruvm_library *lib, const char *name);
/* Takes its chunks out; false: there is none of that name. */
bool ruvm_library_forget(struct ruvm_library *lib, const char *name);

struct ruvm_library_add {
    struct ruvm_document document; /* its name is the source's; borrowed till write */
    struct ruvm_chunk_options chunks;
    const char *meta; /* of the source, a JSON object, or NULL */
    uint32_t expires; /* for chunks that say nothing themselves */
};
/* Chunks are appended; RUVM_ERR_UNSUPPORTED beyond the blob's limits. */
int ruvm_library_add(struct ruvm_library *lib, struct ruvm_library_add *add,
                     struct ruvm_error *err);

/* A source without chunks, in place of the one of its name, and chunks of the source at hand
 * one by one: for those that are no passages of a document. A chunk's texts are borrowed. */
int ruvm_library_begin(struct ruvm_library *lib, const struct ruvm_library_add *add,
                       struct ruvm_error *err);
int ruvm_library_append(struct ruvm_library *lib, const struct ruvm_library_chunk *chunk,
                        struct ruvm_error *err);

/* TEXT, CHNK, SRCE and STRS of what is left, in order. */
struct ruvm_library_text {
    struct ruvm_buffer text, chunks, sources, strings;
    uint32_t n_sources;
};
int ruvm_library_write(struct ruvm_library *lib, struct ruvm_library_text *out,
                       struct ruvm_error *err);
void ruvm_library_text_free(struct ruvm_library_text *out);

#endif
