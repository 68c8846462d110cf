/* Index: a graph is built for the clock, and written into a blob in memory with empty chunks, so
 * that it is searched as a chip does it. */
#include "lib/measure/rag_index.h"

#include <stdlib.h>
#include <string.h>

#include "formats/rag_write.h"
#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"

/* A file around vectors and graph, with empty chunks. */
static int wrap(struct ruvm_buffer *file, const struct ruvm_vectors *set,
                const struct ruvm_buffer *graph)
{
    static const uint8_t no_name[2] = {0},
                         source[RUVM_SRCE_RECORD] = {0, 0, 0, 0, 255, 255, 255, 255};
    struct ruvm_buffer chunks = {0};
    struct ruvm_rag_draft d = {.metric = set->metric,
                               .type = set->type,
                               .dims = set->dims,
                               .n = set->n,
                               .n_sources = 1,
                               .unit = set->unit,
                               .unit_exp = set->unit_exp};
    const struct ruvm_rag_write_chunk none = {.meta = RUVM_RAG_NONE};
    for (uint32_t i = 0; i < set->n; i++)
        ruvm_rag_write_chunk(&chunks, &none);
    d.part[RUVM_RAG_VECT] = (struct ruvm_rag_part){set->rows, set->n * set->row_bytes};
    d.part[RUVM_RAG_SIDE] = (struct ruvm_rag_part){set->side, set->n * set->side_bytes};
    d.part[RUVM_RAG_BOOK].data = (const uint8_t *)set->book;
    d.part[RUVM_RAG_BOOK].bytes = set->book ? ruvm_rag_book_bytes(set->dims) : 0;
    d.part[RUVM_RAG_GRPH] = (struct ruvm_rag_part){graph->data, (uint32_t)graph->size};
    d.part[RUVM_RAG_CHNK] = (struct ruvm_rag_part){chunks.data, (uint32_t)chunks.size};
    d.part[RUVM_RAG_SRCE] = (struct ruvm_rag_part){source, sizeof source};
    d.part[RUVM_RAG_STRS] = (struct ruvm_rag_part){no_name, sizeof no_name};
    int rc = ruvm_buffer_ok(&chunks) ? ruvm_rag_write(file, &d) : RUVM_ERR_MEMORY;
    ruvm_buffer_free(&chunks);
    return rc;
}

static int make_graph(struct ruvm_rag_index *x, const struct ruvm_vectors *linked,
                      struct ruvm_buffer *graph, const struct ruvm_hnsw_progress *progress,
                      struct ruvm_error *err)
{
    struct ruvm_hnsw g;
    int rc = ruvm_hnsw_init(&g, &x->options, err);
    if (rc != RUVM_OK)
        return rc;
    x->options = g.options;
    rc = ruvm_hnsw_add(&g, linked, progress, err);
    if (rc == RUVM_OK)
        rc = ruvm_hnsw_finish(&g, linked, err);
    if (rc == RUVM_OK)
        rc = ruvm_hnsw_write(&g, graph, err);
    ruvm_hnsw_free(&g);
    return rc;
}

/* A copy of the file, aligned as blobs are. */
static int open_copy(struct ruvm_rag_index *x, const struct ruvm_buffer *file,
                     struct ruvm_error *err)
{
    enum { ALIGN = 64 };
    x->blob = aligned_alloc(ALIGN, ruvm_align_up(file->size, ALIGN));
    if (!x->blob)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "out of memory");
    memcpy(x->blob, file->data, file->size);
    int rc = ruvm_rag_open(&x->rag, x->blob, file->size, NULL);
    return rc == RUVM_OK ? rc : ruvm_fail(err, rc, "the graph made is none");
}

int ruvm_rag_index_build(struct ruvm_rag_index *x, const struct ruvm_vectors *set,
                         const struct ruvm_vectors *linked,
                         const struct ruvm_hnsw_progress *progress, struct ruvm_error *err)
{
    struct ruvm_buffer graph = {0}, file = {0};
    double start = ruvm_clock_s();
    int rc = make_graph(x, linked, &graph, progress, err);
    x->build_s = ruvm_clock_s() - start;
    if (rc == RUVM_OK) {
        rc = wrap(&file, set, &graph);
        if (rc != RUVM_OK)
            ruvm_fail(err, rc,
                      rc == RUVM_ERR_MEMORY ? "out of memory" : "more than 4 GiB of vectors");
    }
    ruvm_buffer_free(&graph);
    if (rc == RUVM_OK)
        rc = open_copy(x, &file, err);
    ruvm_buffer_free(&file);
    return rc;
}

void ruvm_rag_index_free(struct ruvm_rag_index *x)
{
    free(x->blob);
    *x = (struct ruvm_rag_index){0};
}
