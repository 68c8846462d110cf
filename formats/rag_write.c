/* Writer of the knowledge blob: places the parts, then fills header and table around them.
 *
 * Nothing but the draft enters the file, so the same draft gives the same bytes. What the
 * parts hold is the caller's business; the reader checks it.
 */
#include "formats/rag_write.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

static bool is_written(const struct ruvm_rag_draft *d, unsigned part)
{
    switch (part) {
    case RUVM_RAG_VECT:
    case RUVM_RAG_CHNK:
    case RUVM_RAG_TEXT:
    case RUVM_RAG_SRCE:
    case RUVM_RAG_STRS:
    case RUVM_RAG_RCPE: return true;
    case RUVM_RAG_SIDE: return ruvm_rag_side_bytes(d->type, d->metric) > 0;
    default: return d->part[part].data != NULL;
    }
}

/* Places of the parts in file order; returns the file's size. */
static size_t place(const struct ruvm_rag_draft *d, size_t off[RUVM_RAG_N_PARTS], unsigned *n)
{
    *n = 0;
    for (unsigned i = 0; i < RUVM_RAG_N_PARTS; i++)
        *n += is_written(d, i);
    size_t end = RUVM_RAG_HDR_BYTES + (size_t)*n * RUVM_RSEC_BYTES;
    for (unsigned i = 0; i < RUVM_RAG_N_PARTS; i++) {
        if (!is_written(d, i))
            continue;
        off[i] = ruvm_align_up(end, RUVM_RSEC_ALIGN);
        end = off[i] + d->part[i].bytes;
    }
    return end;
}

static void store_entry(uint8_t *entry, const char *name, const struct ruvm_rag_part *part,
                        size_t off)
{
    memcpy(entry + RUVM_RSEC_NAME, name, 4);
    ruvm_store_u32(entry + RUVM_RSEC_OFF, (uint32_t)off);
    ruvm_store_u32(entry + RUVM_RSEC_SIZE, part->bytes);
    ruvm_store_u32(entry + RUVM_RSEC_CRC, ruvm_crc32(0, part->data, part->bytes));
}

static void store_figures(uint8_t *h, const struct ruvm_rag_figures *f)
{
    h[RUVM_RAG_K] = (uint8_t)f->k;
    ruvm_store_u16(h + RUVM_RAG_N_QUERIES, f->n_queries);
    ruvm_store_u16(h + RUVM_RAG_RECALL_CODE, f->recall_code);
    ruvm_store_u16(h + RUVM_RAG_RECALL_GRAPH, f->recall_graph);
    ruvm_store_u32(h + RUVM_RAG_DISTANCES, f->distances);
    ruvm_store_u32(h + RUVM_RAG_DISTANCES_MAX, f->distances_max);
}

/* The table must be there already: the header's CRC covers it. */
static void store_header(uint8_t *h, const struct ruvm_rag_draft *d, unsigned n_sections,
                         size_t file_bytes)
{
    memcpy(h + RUVM_RAG_MAGIC_OFF, RUVM_RAG_MAGIC, 4);
    h[RUVM_RAG_VERSION] = RUVM_RAG_VERSION_1;
    h[RUVM_RAG_METRIC] = d->metric;
    h[RUVM_RAG_TYPE] = d->type;
    ruvm_store_u32(h + RUVM_RAG_N, d->n);
    ruvm_store_u16(h + RUVM_RAG_DIMS, d->dims);
    ruvm_store_u16(h + RUVM_RAG_N_SECTIONS, (uint16_t)n_sections);
    ruvm_store_u32(h + RUVM_RAG_ROW_BYTES, ruvm_rag_row_bytes(d->type, d->dims));
    ruvm_store_u32(h + RUVM_RAG_FILE_BYTES, (uint32_t)file_bytes);
    ruvm_store_u32(h + RUVM_RAG_N_DELETED, d->n_deleted);
    ruvm_store_u32(h + RUVM_RAG_UNIT, d->unit);
    h[RUVM_RAG_UNIT_EXP] = (uint8_t)d->unit_exp;
    ruvm_store_u16(h + RUVM_RAG_EF, d->ef);
    ruvm_store_u16(h + RUVM_RAG_EF_BUILD, d->ef_build);
    ruvm_store_u32(h + RUVM_RAG_QUERY_BYTES, d->query_bytes);
    ruvm_store_u32(h + RUVM_RAG_N_SOURCES, d->n_sources);
    ruvm_store_u32(h + RUVM_RAG_GENERATION, d->generation);
    store_figures(h, &d->figures);
    uint32_t crc = ruvm_crc32(0, h, RUVM_RAG_CRC);
    crc = ruvm_crc32(crc, h + RUVM_RAG_HDR_BYTES, (size_t)n_sections * RUVM_RSEC_BYTES);
    ruvm_store_u32(h + RUVM_RAG_CRC, crc);
}

int ruvm_rag_write(struct ruvm_buffer *out, const struct ruvm_rag_draft *d)
{
    size_t off[RUVM_RAG_N_PARTS] = {0};
    unsigned n, entry = 0;
    size_t file_bytes = place(d, off, &n);
    if (file_bytes > UINT32_MAX || d->n > RUVM_RAG_MAX_VECTORS ||
        d->n_sources > RUVM_RAG_MAX_SOURCES)
        return RUVM_ERR_UNSUPPORTED;
    uint8_t *file = ruvm_buffer_zeros(out, file_bytes);
    if (!file)
        return RUVM_ERR_MEMORY;
    for (unsigned i = 0; i < RUVM_RAG_N_PARTS; i++) {
        if (!is_written(d, i))
            continue;
        if (d->part[i].bytes)
            memcpy(file + off[i], d->part[i].data, d->part[i].bytes);
        store_entry(file + RUVM_RAG_HDR_BYTES + (size_t)entry++ * RUVM_RSEC_BYTES,
                    ruvm_rag_names[i], &d->part[i], off[i]);
    }
    store_header(file, d, n, file_bytes);
    return RUVM_OK;
}

uint32_t ruvm_rag_write_string(struct ruvm_buffer *strs, const void *text, size_t n)
{
    uint32_t at = (uint32_t)strs->size;
    ruvm_buffer_u16(strs, (uint16_t)n);
    ruvm_buffer_bytes(strs, text, n);
    return at;
}

void ruvm_rag_write_chunk(struct ruvm_buffer *chnk, const struct ruvm_rag_write_chunk *chunk)
{
    ruvm_buffer_u32(chnk, chunk->off);
    ruvm_buffer_u16(chnk, chunk->bytes);
    ruvm_buffer_u16(chnk, chunk->source);
    ruvm_buffer_u32(chnk, chunk->meta);
    ruvm_buffer_u32(chnk, chunk->expires);
}

void ruvm_rag_write_source(struct ruvm_buffer *srce, const struct ruvm_rag_write_source *source)
{
    ruvm_buffer_u32(srce, source->name);
    ruvm_buffer_u32(srce, source->meta);
    ruvm_buffer_u32(srce, source->bytes);
    ruvm_buffer_u32(srce, source->crc);
}
