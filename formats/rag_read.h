/* Reader of the knowledge blob: opens it in place, in constant time.
 *
 *     struct ruvm_rag rag;
 *     rc = ruvm_rag_open(&rag, data, size, &fault);
 *     struct ruvm_chunk c = ruvm_rag_chunk(&rag, id);
 *
 * Opening looks at the header, the section table and the sizes: no walk over vectors and no
 * memory but the struct. ruvm_rag_check() walks over everything, checksums included. What
 * is opened but not checked is safe to use all the same: every number that leads somewhere
 * is looked at again when it is followed, and one that leads nowhere gives nothing.
 *
 * Chip-safe: freestanding, no memory of its own, integers only.
 */
#ifndef RUVM_FORMATS_RAG_READ_H
#define RUVM_FORMATS_RAG_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/rag_layout.h"
#include "lib/base/status.h"

/* A section: data is NULL when it is absent. */
struct ruvm_rag_part {
    const uint8_t *data;
    uint32_t bytes;
};

enum ruvm_rag_part_name {
    RUVM_RAG_VECT,
    RUVM_RAG_SIDE,
    RUVM_RAG_GRPH,
    RUVM_RAG_DEAD,
    RUVM_RAG_CHNK,
    RUVM_RAG_TEXT,
    RUVM_RAG_SRCE,
    RUVM_RAG_STRS,
    RUVM_RAG_RCPE,
    RUVM_RAG_BM25,
    RUVM_RAG_BITS,
    RUVM_RAG_BOOK,
    RUVM_RAG_WORD,
    RUVM_RAG_N_PARTS,
};
extern const char ruvm_rag_names[RUVM_RAG_N_PARTS][5];

/* One level of the graph in place. */
struct ruvm_rag_level {
    uint32_t n;         /* nodes */
    const uint8_t *ids; /* u32[n], ascending; NULL in level 0, where a place is a vector */
    const uint8_t *lists;
    uint32_t list_bytes, degree;
};

/* What was measured when the blob was made; n_queries 0: nothing. */
struct ruvm_rag_figures {
    uint16_t n_queries, k;
    uint16_t recall_code, recall_graph; /* / 65535 */
    uint32_t distances, distances_max;  /* a query: mean and largest */
};

struct ruvm_rag {
    const uint8_t *data;
    size_t size;
    uint8_t metric, type; /* enum ruvm_metric, ruvm_vector_type */
    uint32_t n, n_deleted, n_sources, generation;
    uint16_t dims, n_sections;
    uint32_t row_bytes, side_bytes; /* a vector */
    uint32_t unit;
    int8_t unit_exp;
    uint16_t ef, ef_build;
    uint32_t query_bytes;
    struct ruvm_rag_figures figures;
    struct ruvm_rag_part part[RUVM_RAG_N_PARTS];
    /* the graph; n_levels 0: there is none */
    uint8_t n_levels, id_bits;
    uint32_t entry; /* a place in the top level */
    struct ruvm_rag_level level[RUVM_GRPH_MAX_LEVELS];
};

/* Where a blob is damaged, the twin of the status; what is static text. */
struct ruvm_rag_fault {
    uint32_t off; /* of the byte in the file */
    const char *what;
    char section[5]; /* "" in the header and the table */
    uint64_t expected, found;
};

/* RUVM_ERR_CORRUPT, RUVM_ERR_UNSUPPORTED (a newer version, a required section, metric or
 * type that this reader does not know), RUVM_ERR_ARG: data is not 16-byte aligned. fault may
 * be NULL. After a failure the contents of rag mean nothing. */
int ruvm_rag_open(struct ruvm_rag *rag, const void *data, size_t size,
                  struct ruvm_rag_fault *fault);

/* Walks over all of an opened blob: checksums, padding, every offset, id and link, so that
 * what it says of itself holds. That every vector can be reached in the graph is
 * ruvm_hnsw_validate()'s to say, which needs memory. Of RCPE and BM25 the insides are not
 * looked at. */
int ruvm_rag_check(const struct ruvm_rag *rag, struct ruvm_rag_fault *fault);

/* Size and place of section i < n_sections; the name is four bytes. */
struct ruvm_rag_part ruvm_rag_section(const struct ruvm_rag *rag, unsigned i, char name[5]);

struct ruvm_rag_text {
    const char *text; /* NULL: none, or its place is not in the blob */
    uint32_t bytes;
};

struct ruvm_chunk {
    struct ruvm_rag_text text, meta;
    uint16_t source;
    uint32_t expires; /* seconds since 1970; 0: never */
};
/* Chunk id < n. */
struct ruvm_chunk ruvm_rag_chunk(const struct ruvm_rag *rag, uint32_t id);

struct ruvm_source {
    struct ruvm_rag_text name, meta;
    uint32_t bytes, crc;
};
/* Source i < n_sources. */
struct ruvm_source ruvm_rag_source(const struct ruvm_rag *rag, uint32_t i);

/* Row id < n. */
const uint8_t *ruvm_rag_row(const struct ruvm_rag *rag, uint32_t id);
bool ruvm_rag_is_deleted(const struct ruvm_rag *rag, uint32_t id);

/* The links of a place, at most RUVM_GRPH_MAX_DEGREE, ended by the owner; a link that leads
 * nowhere is left out. Returns their number. */
uint32_t ruvm_rag_links(const struct ruvm_rag *rag, unsigned level, uint32_t place,
                        uint32_t *links);

/* Bytes of a row, and of a record of SIDE, for a shape; 0 when there is none of it. */
uint32_t ruvm_rag_row_bytes(unsigned type, uint32_t dims);
uint32_t ruvm_rag_side_bytes(unsigned type, unsigned metric);
/* Whether vectors of that type have that metric. */
bool ruvm_rag_has_metric(unsigned type, unsigned metric);
/* Bytes of BOOK for that many dimensions. */
uint32_t ruvm_rag_book_bytes(uint32_t dims);
/* Bits of a link among n places, 1..32. */
uint32_t ruvm_rag_id_bits(uint32_t n);
static inline uint32_t ruvm_rag_list_bytes(uint32_t degree, uint32_t id_bits)
{
    return (degree * id_bits + 7) / 8;
}

#endif
