/* A draft of an opened blob: everything as it is, to change some of it. Borrows. */
#ifndef TESTS_SUPPORT_RAG_DRAFT_H
#define TESTS_SUPPORT_RAG_DRAFT_H

#include <string.h>

#include "formats/rag_read.h"
#include "formats/rag_write.h"

static inline struct ruvm_rag_draft rag_draft_of(const struct ruvm_rag *rag)
{
    struct ruvm_rag_draft d = {
        .metric = rag->metric,
        .type = rag->type,
        .dims = rag->dims,
        .n = rag->n,
        .n_deleted = rag->n_deleted,
        .n_sources = rag->n_sources,
        .generation = rag->generation,
        .unit = rag->unit,
        .unit_exp = rag->unit_exp,
        .ef = rag->ef,
        .ef_build = rag->ef_build,
        .query_bytes = rag->query_bytes,
        .figures = rag->figures,
    };
    memcpy(d.part, rag->part, sizeof d.part);
    return d;
}

#endif
