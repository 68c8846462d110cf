/* Writer of the knowledge blob: parts in, one deterministic file out. The reader's twin.
 *
 *     struct ruvm_rag_draft d = {.metric = ..., .type = ..., .dims = ..., .n = ...};
 *     d.part[RUVM_RAG_VECT] = (struct ruvm_rag_part){rows, n_bytes};
 *     ...
 *     rc = ruvm_rag_write(&buffer, &d);
 *
 * The three sections of text are made by the functions below, GRPH by
 * ruvm_hnsw_write() of lib/bundle/hnsw.h.
 */
#ifndef RUVM_FORMATS_RAG_WRITE_H
#define RUVM_FORMATS_RAG_WRITE_H

#include "formats/rag_read.h"
#include "lib/base/buffer.h"

/* What a file is made of. Sections whose data is NULL are left out, but RCPE, TEXT, CHNK,
 * SRCE, STRS and VECT are always there, if empty. */
struct ruvm_rag_draft {
    uint8_t metric, type;
    uint16_t dims;
    uint32_t n, n_deleted, n_sources, generation;
    uint32_t unit; /* 1 and 0 where there is nothing to say */
    int8_t unit_exp;
    uint16_t ef, ef_build;
    uint32_t query_bytes;
    struct ruvm_rag_figures figures;
    struct ruvm_rag_part part[RUVM_RAG_N_PARTS];
};

/* Appends the whole file to out: the same draft gives the same bytes. RUVM_ERR_MEMORY;
 * RUVM_ERR_UNSUPPORTED when it would exceed 4 GiB or RUVM_RAG_MAX_VECTORS. */
int ruvm_rag_write(struct ruvm_buffer *out, const struct ruvm_rag_draft *draft);

/* Appends to STRS; returns its place there (what NAME and META hold). n <= 65535. */
uint32_t ruvm_rag_write_string(struct ruvm_buffer *strs, const void *text, size_t n);

struct ruvm_rag_write_chunk {
    uint32_t off; /* in TEXT */
    uint16_t bytes, source;
    uint32_t meta; /* RUVM_RAG_NONE */
    uint32_t expires;
};
void ruvm_rag_write_chunk(struct ruvm_buffer *chnk, const struct ruvm_rag_write_chunk *chunk);

struct ruvm_rag_write_source {
    uint32_t name, meta, bytes, crc;
};
void ruvm_rag_write_source(struct ruvm_buffer *srce, const struct ruvm_rag_write_source *source);

#endif
