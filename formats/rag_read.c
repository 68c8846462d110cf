/* Reader of the knowledge blob: looks at what is needed to find everything, then trusts
 * nothing.
 *
 * A chip maps a blob and wants to search at once, so opening costs the same for ten chunks
 * and ten million: header, table, and whether sizes agree. What is behind was checked when
 * the blob was made or sent (ruvm_rag_check); should flash have rotted since, the functions
 * below still lead nowhere outside of the blob.
 */
#include "formats/rag_read.h"

#include "formats/ragcheck_read.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

enum { BLOB_ALIGN = 16 };

const char ruvm_rag_names[RUVM_RAG_N_PARTS][5] = {
    RUVM_RSEC_VECT, RUVM_RSEC_SIDE, RUVM_RSEC_GRPH, RUVM_RSEC_DEAD, RUVM_RSEC_CHNK,
    RUVM_RSEC_TEXT, RUVM_RSEC_SRCE, RUVM_RSEC_STRS, RUVM_RSEC_RCPE, RUVM_RSEC_BM25,
    RUVM_RSEC_BITS, RUVM_RSEC_BOOK, RUVM_RSEC_WORD,
};

/* ---- shapes ---------------------------------------------------------------- */

uint32_t ruvm_rag_row_bytes(unsigned type, uint32_t dims)
{
    if (type == RUVM_VECTOR_BINARY)
        return (uint32_t)ruvm_align_up((dims + 7) / 8, RUVM_RAG_ALIGN_BINARY);
    if (type == RUVM_VECTOR_PQ)
        return (uint32_t)ruvm_align_up(dims / RUVM_RAG_BOOK_DIMS, RUVM_RAG_ALIGN_PQ);
    return (uint32_t)ruvm_align_up(dims, RUVM_RAG_ALIGN_INT8);
}

uint32_t ruvm_rag_side_bytes(unsigned type, unsigned metric)
{
    static const uint8_t bytes[RUVM_N_METRICS] = {2, 4, 2, 0, 0, 8, 8};
    return type != RUVM_VECTOR_BINARY && metric < RUVM_N_METRICS ? bytes[metric] : 0;
}

bool ruvm_rag_has_metric(unsigned type, unsigned metric)
{
    switch (type) {
    case RUVM_VECTOR_INT8: return metric < RUVM_N_METRICS && metric != RUVM_METRIC_HAMMING;
    case RUVM_VECTOR_BINARY: return metric < RUVM_METRIC_POINCARE;
    case RUVM_VECTOR_PQ: return metric == RUVM_METRIC_COSINE || metric == RUVM_METRIC_EUCLIDEAN;
    default: return false;
    }
}

uint32_t ruvm_rag_book_bytes(uint32_t dims)
{
    return dims * RUVM_RAG_BOOK_ENTRIES;
}

uint32_t ruvm_rag_id_bits(uint32_t n)
{
    uint32_t bits = 1;
    while (bits < 32 && (n - (n > 0)) >> bits)
        bits++;
    return bits;
}

/* ---- header ---------------------------------------------------------------- */

static bool same(const uint8_t *p, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (uint8_t)text[i])
            return false;
    return true;
}

static void read_header(struct ruvm_rag *rag)
{
    const uint8_t *h = rag->data;
    rag->metric = h[RUVM_RAG_METRIC];
    rag->type = h[RUVM_RAG_TYPE];
    rag->n = ruvm_load_u32(h + RUVM_RAG_N);
    rag->dims = ruvm_load_u16(h + RUVM_RAG_DIMS);
    rag->n_sections = ruvm_load_u16(h + RUVM_RAG_N_SECTIONS);
    rag->row_bytes = ruvm_load_u32(h + RUVM_RAG_ROW_BYTES);
    rag->side_bytes = ruvm_rag_side_bytes(rag->type, rag->metric);
    rag->n_deleted = ruvm_load_u32(h + RUVM_RAG_N_DELETED);
    rag->unit = ruvm_load_u32(h + RUVM_RAG_UNIT);
    rag->unit_exp = (int8_t)h[RUVM_RAG_UNIT_EXP];
    rag->ef = ruvm_load_u16(h + RUVM_RAG_EF);
    rag->ef_build = ruvm_load_u16(h + RUVM_RAG_EF_BUILD);
    rag->query_bytes = ruvm_load_u32(h + RUVM_RAG_QUERY_BYTES);
    rag->n_sources = ruvm_load_u32(h + RUVM_RAG_N_SOURCES);
    rag->generation = ruvm_load_u32(h + RUVM_RAG_GENERATION);
    rag->figures = (struct ruvm_rag_figures){
        .n_queries = ruvm_load_u16(h + RUVM_RAG_N_QUERIES),
        .k = h[RUVM_RAG_K],
        .recall_code = ruvm_load_u16(h + RUVM_RAG_RECALL_CODE),
        .recall_graph = ruvm_load_u16(h + RUVM_RAG_RECALL_GRAPH),
        .distances = ruvm_load_u32(h + RUVM_RAG_DISTANCES),
        .distances_max = ruvm_load_u32(h + RUVM_RAG_DISTANCES_MAX),
    };
}

/* Size and checksum before anything they protect. */
static bool check_whole(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    const uint8_t *h = rag->data;
    if (!ruvm_ragcheck_range(c, h + RUVM_RAG_N_SECTIONS, "number of sections", 0,
                             RUVM_RAG_MAX_SECTIONS, rag->n_sections))
        return false;
    size_t table = (size_t)rag->n_sections * RUVM_RSEC_BYTES;
    if (RUVM_RAG_HDR_BYTES + table > rag->size)
        return ruvm_ragcheck_fail(c, h + RUVM_RAG_N_SECTIONS, "the file ends in the section table");
    uint32_t sum = ruvm_crc32(0, h, RUVM_RAG_CRC);
    sum = ruvm_crc32(sum, h + RUVM_RAG_HDR_BYTES, table);
    return ruvm_ragcheck_equal(c, h + RUVM_RAG_CRC, "CRC-32 of header and section table",
                               ruvm_load_u32(h + RUVM_RAG_CRC), sum) &&
           ruvm_ragcheck_equal(c, h + RUVM_RAG_FILE_BYTES, "size of the file",
                               ruvm_load_u32(h + RUVM_RAG_FILE_BYTES), rag->size);
}

static bool check_shape(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    const uint8_t *h = rag->data;
    return ruvm_ragcheck_known(c, h + RUVM_RAG_FLAGS, "flags", 0, h[RUVM_RAG_FLAGS]) &&
           ruvm_ragcheck_known(c, h + RUVM_RAG_METRIC, "metric", RUVM_N_METRICS - 1, rag->metric) &&
           ruvm_ragcheck_known(c, h + RUVM_RAG_TYPE, "type of the vectors", RUVM_N_VECTOR_TYPES - 1,
                               rag->type) &&
           ruvm_ragcheck_holds(c, h + RUVM_RAG_METRIC, "this metric is not one of such vectors",
                               ruvm_rag_has_metric(rag->type, rag->metric)) &&
           ruvm_ragcheck_holds(c, h + RUVM_RAG_DIMS, "dimensions of PQ are no multiple of 4",
                               rag->type != RUVM_VECTOR_PQ ||
                                   rag->dims % RUVM_RAG_BOOK_DIMS == 0) &&
           ruvm_ragcheck_range(c, h + RUVM_RAG_DIMS, "dimensions", RUVM_RAG_MIN_DIMS,
                               RUVM_RAG_MAX_DIMS, rag->dims) &&
           ruvm_ragcheck_range(c, h + RUVM_RAG_N, "number of vectors", 0, RUVM_RAG_MAX_VECTORS,
                               rag->n) &&
           ruvm_ragcheck_equal(c, h + RUVM_RAG_ROW_BYTES, "bytes of a row",
                               ruvm_rag_row_bytes(rag->type, rag->dims), rag->row_bytes) &&
           ruvm_ragcheck_range(c, h + RUVM_RAG_N_DELETED, "number of deleted vectors", 0, rag->n,
                               rag->n_deleted) &&
           ruvm_ragcheck_range(c, h + RUVM_RAG_N_SOURCES, "number of sources", 0,
                               RUVM_RAG_MAX_SOURCES, rag->n_sources) &&
           ruvm_ragcheck_holds(c, h + RUVM_RAG_UNIT_EXP, "exponent of the unit is out of range",
                               rag->unit_exp >= RUVM_RAG_MIN_EXP &&
                                   rag->unit_exp <= RUVM_RAG_MAX_EXP) &&
           ruvm_ragcheck_zeros(c, h + RUVM_RAG_RESERVED, h + RUVM_RAG_CRC,
                               "reserved byte is not 0");
}

/* ---- sections -------------------------------------------------------------- */

static const uint8_t *entry_of(const struct ruvm_rag *rag, unsigned i)
{
    return rag->data + RUVM_RAG_HDR_BYTES + (size_t)i * RUVM_RSEC_BYTES;
}

static bool is_name(const uint8_t *p)
{
    for (int k = 0; k < 4; k++) {
        bool letter = (p[k] >= 'A' && p[k] <= 'Z') || (p[k] >= 'a' && p[k] <= 'z');
        if (!letter && (k == 0 || p[k] < '0' || p[k] > '9'))
            return false;
    }
    return true;
}

static bool is_new(const struct ruvm_rag *rag, unsigned i)
{
    for (unsigned j = 0; j < i; j++)
        if (same(entry_of(rag, i), (const char *)entry_of(rag, j), 4))
            return false;
    return true;
}

static bool check_place(struct ruvm_ragcheck *c, const uint8_t *entry, uint64_t end)
{
    uint64_t off = ruvm_load_u32(entry + RUVM_RSEC_OFF);
    return ruvm_ragcheck_equal(c, entry + RUVM_RSEC_OFF, "offset modulo the alignment", 0,
                               off % RUVM_RSEC_ALIGN) &&
           ruvm_ragcheck_range(c, entry + RUVM_RSEC_OFF, "offset", end, end + RUVM_RSEC_ALIGN - 1,
                               off) &&
           ruvm_ragcheck_range(c, entry + RUVM_RSEC_SIZE, "end of the section", 0, c->rag->size,
                               off + ruvm_load_u32(entry + RUVM_RSEC_SIZE));
}

static bool remember(struct ruvm_ragcheck *c, struct ruvm_rag *rag, const uint8_t *entry)
{
    for (int k = 0; k < RUVM_RAG_N_PARTS; k++) {
        if (same(entry, ruvm_rag_names[k], 4)) {
            rag->part[k].data = rag->data + ruvm_load_u32(entry + RUVM_RSEC_OFF);
            rag->part[k].bytes = ruvm_load_u32(entry + RUVM_RSEC_SIZE);
            return true;
        }
    }
    if (entry[0] >= 'a')
        return true;
    ruvm_ragcheck_fail(c, entry, "this version does not know the section, but it is required");
    c->rc = RUVM_ERR_UNSUPPORTED;
    return false;
}

static bool check_sections(struct ruvm_ragcheck *c, struct ruvm_rag *rag)
{
    uint64_t end = RUVM_RAG_HDR_BYTES + (uint64_t)rag->n_sections * RUVM_RSEC_BYTES;
    for (unsigned i = 0; i < rag->n_sections; i++) {
        const uint8_t *entry = entry_of(rag, i);
        if (!ruvm_ragcheck_holds(c, entry, "name of a section is not four letters", is_name(entry)))
            return false;
        c->section = (const char *)entry;
        if (!ruvm_ragcheck_holds(c, entry, "section is there twice", is_new(rag, i)) ||
            !check_place(c, entry, end) || !remember(c, rag, entry))
            return false;
        end =
            (uint64_t)ruvm_load_u32(entry + RUVM_RSEC_OFF) + ruvm_load_u32(entry + RUVM_RSEC_SIZE);
        c->section = "";
    }
    return ruvm_ragcheck_equal(c, rag->data + RUVM_RAG_FILE_BYTES, "end of the last section",
                               rag->size, end);
}

static bool check_bytes(struct ruvm_ragcheck *c, enum ruvm_rag_part_name part, bool required,
                        uint64_t bytes)
{
    const struct ruvm_rag_part *p = &c->rag->part[part];
    c->section = ruvm_rag_names[part];
    bool ok = ruvm_ragcheck_holds(c, c->rag->data + RUVM_RAG_N_SECTIONS, "section is missing",
                                  p->data || !required) &&
              (!p->data || ruvm_ragcheck_equal(c, p->data, "size of the section", bytes, p->bytes));
    c->section = "";
    return ok;
}

static bool check_sizes(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    uint64_t n = rag->n, bits = (n + 7) / 8;
    bool int8 = rag->type == RUVM_VECTOR_INT8;
    uint64_t book = rag->type == RUVM_VECTOR_PQ ? ruvm_rag_book_bytes(rag->dims) : 0;
    uint64_t signs = int8 ? n * ruvm_rag_row_bytes(RUVM_VECTOR_BINARY, rag->dims) : 0;
    return check_bytes(c, RUVM_RAG_VECT, true, n * rag->row_bytes) &&
           check_bytes(c, RUVM_RAG_SIDE, rag->side_bytes > 0, n * rag->side_bytes) &&
           check_bytes(c, RUVM_RAG_DEAD, rag->n_deleted > 0, bits) &&
           check_bytes(c, RUVM_RAG_CHNK, true, n * RUVM_CHNK_RECORD) &&
           check_bytes(c, RUVM_RAG_SRCE, true, (uint64_t)rag->n_sources * RUVM_SRCE_RECORD) &&
           check_bytes(c, RUVM_RAG_TEXT, true, rag->part[RUVM_RAG_TEXT].bytes) &&
           check_bytes(c, RUVM_RAG_STRS, true, rag->part[RUVM_RAG_STRS].bytes) &&
           check_bytes(c, RUVM_RAG_RCPE, true, rag->part[RUVM_RAG_RCPE].bytes) &&
           check_bytes(c, RUVM_RAG_BITS, false, signs) &&
           check_bytes(c, RUVM_RAG_BOOK, rag->type == RUVM_VECTOR_PQ, book);
}

/* ---- graph ----------------------------------------------------------------- */

static bool check_graph_shape(struct ruvm_ragcheck *c, const uint8_t *g, uint32_t bytes)
{
    uint32_t n = c->rag->n;
    if (!ruvm_ragcheck_range(c, g, "size of the section", RUVM_GRPH_ARRAYS, UINT32_MAX, bytes))
        return false;
    uint32_t d0 = g[RUVM_GRPH_DEGREE_0], d = g[RUVM_GRPH_DEGREE], levels = g[RUVM_GRPH_LEVELS];
    return ruvm_ragcheck_holds(c, g, "a graph of no vectors", n > 0) &&
           ruvm_ragcheck_equal(c, g + RUVM_GRPH_ID_BITS, "bits of a link", ruvm_rag_id_bits(n),
                               g[RUVM_GRPH_ID_BITS]) &&
           ruvm_ragcheck_range(c, g + RUVM_GRPH_DEGREE_0, "links of a vector", RUVM_GRPH_MIN_DEGREE,
                               RUVM_GRPH_MAX_DEGREE, d0) &&
           ruvm_ragcheck_range(c, g + RUVM_GRPH_DEGREE, "links of a node above",
                               RUVM_GRPH_MIN_DEGREE, RUVM_GRPH_MAX_DEGREE, d) &&
           ruvm_ragcheck_range(c, g + RUVM_GRPH_LEVELS, "number of levels", 1, RUVM_GRPH_MAX_LEVELS,
                               levels) &&
           ruvm_ragcheck_range(c, g, "size of the section",
                               RUVM_GRPH_ARRAYS + 4 * (uint64_t)(levels - 1), UINT32_MAX, bytes);
}

static bool read_levels(struct ruvm_ragcheck *c, struct ruvm_rag *rag, const uint8_t *g,
                        uint32_t bytes)
{
    rag->n_levels = g[RUVM_GRPH_LEVELS];
    rag->id_bits = g[RUVM_GRPH_ID_BITS];
    rag->level[0] = (struct ruvm_rag_level){.n = rag->n, .degree = g[RUVM_GRPH_DEGREE_0]};
    uint64_t at = RUVM_GRPH_ARRAYS + 4 * (uint64_t)(rag->n_levels - 1);
    for (unsigned i = 1; i < rag->n_levels; i++) {
        const uint8_t *p = g + RUVM_GRPH_ARRAYS + (size_t)(i - 1) * 4;
        uint32_t n = ruvm_load_u32(p);
        if (!ruvm_ragcheck_range(c, p, "nodes of a level", 1, rag->level[i - 1].n, n))
            return false;
        rag->level[i] = (struct ruvm_rag_level){.n = n, .degree = g[RUVM_GRPH_DEGREE]};
        rag->level[i].ids = at < bytes ? g + at : NULL;
        at += 4 * (uint64_t)n;
    }
    for (unsigned i = 0; i < rag->n_levels; i++) {
        struct ruvm_rag_level *l = &rag->level[i];
        l->list_bytes = ruvm_rag_list_bytes(l->degree, rag->id_bits);
        l->lists = at < bytes ? g + at : NULL;
        at += (uint64_t)l->n * l->list_bytes;
    }
    rag->entry = ruvm_load_u32(g + RUVM_GRPH_ENTRY);
    return ruvm_ragcheck_equal(c, g, "size of the section", at + RUVM_GRPH_TAIL, bytes) &&
           ruvm_ragcheck_range(c, g + RUVM_GRPH_ENTRY, "entry", 0,
                               rag->level[rag->n_levels - 1].n - 1, rag->entry);
}

static bool check_graph(struct ruvm_ragcheck *c, struct ruvm_rag *rag)
{
    const struct ruvm_rag_part *p = &rag->part[RUVM_RAG_GRPH];
    if (!p->data)
        return true;
    c->section = RUVM_RSEC_GRPH;
    bool ok = check_graph_shape(c, p->data, p->bytes) && read_levels(c, rag, p->data, p->bytes);
    c->section = "";
    return ok;
}

/* ---- the whole ------------------------------------------------------------- */

static bool check_magic(struct ruvm_ragcheck *c)
{
    const struct ruvm_rag *rag = c->rag;
    bool is_blob = rag->size >= 4 && same(rag->data, RUVM_RAG_MAGIC, 4);
    return ruvm_ragcheck_holds(c, rag->data, "not a knowledge blob", is_blob) &&
           ruvm_ragcheck_range(c, rag->data, "size of the file", RUVM_RAG_HDR_BYTES, UINT32_MAX,
                               rag->size) &&
           ruvm_ragcheck_known(c, rag->data + RUVM_RAG_VERSION, "version", RUVM_RAG_VERSION_1,
                               rag->data[RUVM_RAG_VERSION]) &&
           ruvm_ragcheck_range(c, rag->data + RUVM_RAG_VERSION, "version", RUVM_RAG_VERSION_1,
                               RUVM_RAG_VERSION_1, rag->data[RUVM_RAG_VERSION]);
}

int ruvm_rag_open(struct ruvm_rag *rag, const void *data, size_t size, struct ruvm_rag_fault *fault)
{
    struct ruvm_rag_fault unwanted;
    struct ruvm_ragcheck c = {.rag = rag, .fault = fault ? fault : &unwanted, .section = ""};
    *c.fault = (struct ruvm_rag_fault){.what = ""};
    *rag = (struct ruvm_rag){.data = data, .size = size};
    if (((uintptr_t)data & (BLOB_ALIGN - 1)) != 0)
        return RUVM_ERR_ARG;
    if (!check_magic(&c))
        return c.rc;
    read_header(rag);
    if (check_whole(&c) && check_shape(&c) && check_sections(&c, rag) && check_sizes(&c))
        check_graph(&c, rag);
    return c.rc;
}

struct ruvm_rag_part ruvm_rag_section(const struct ruvm_rag *rag, unsigned i, char name[5])
{
    const uint8_t *entry = entry_of(rag, i);
    for (int k = 0; k < 4; k++)
        name[k] = (char)entry[k];
    name[4] = '\0';
    return (struct ruvm_rag_part){rag->data + ruvm_load_u32(entry + RUVM_RSEC_OFF),
                                  ruvm_load_u32(entry + RUVM_RSEC_SIZE)};
}

/* ---- what is inside -------------------------------------------------------- */

static struct ruvm_rag_text string_at(const struct ruvm_rag *rag, uint32_t off)
{
    const struct ruvm_rag_part *s = &rag->part[RUVM_RAG_STRS];
    if (off >= s->bytes || s->bytes - off < 2)
        return (struct ruvm_rag_text){0};
    uint32_t n = ruvm_load_u16(s->data + off);
    if (n > s->bytes - off - 2)
        return (struct ruvm_rag_text){0};
    return (struct ruvm_rag_text){(const char *)s->data + off + 2, n};
}

struct ruvm_chunk ruvm_rag_chunk(const struct ruvm_rag *rag, uint32_t id)
{
    const uint8_t *p = rag->part[RUVM_RAG_CHNK].data + (size_t)id * RUVM_CHNK_RECORD;
    const struct ruvm_rag_part *text = &rag->part[RUVM_RAG_TEXT];
    uint32_t off = ruvm_load_u32(p + RUVM_CHNK_OFF), bytes = ruvm_load_u16(p + RUVM_CHNK_BYTES);
    struct ruvm_chunk c = {
        .meta = string_at(rag, ruvm_load_u32(p + RUVM_CHNK_META)),
        .source = ruvm_load_u16(p + RUVM_CHNK_SOURCE),
        .expires = ruvm_load_u32(p + RUVM_CHNK_EXPIRES),
    };
    if (off <= text->bytes && bytes <= text->bytes - off)
        c.text = (struct ruvm_rag_text){(const char *)text->data + off, bytes};
    return c;
}

struct ruvm_source ruvm_rag_source(const struct ruvm_rag *rag, uint32_t i)
{
    const uint8_t *p = rag->part[RUVM_RAG_SRCE].data + (size_t)i * RUVM_SRCE_RECORD;
    return (struct ruvm_source){
        .name = string_at(rag, ruvm_load_u32(p + RUVM_SRCE_NAME)),
        .meta = string_at(rag, ruvm_load_u32(p + RUVM_SRCE_META)),
        .bytes = ruvm_load_u32(p + RUVM_SRCE_BYTES),
        .crc = ruvm_load_u32(p + RUVM_SRCE_CRC),
    };
}

const uint8_t *ruvm_rag_row(const struct ruvm_rag *rag, uint32_t id)
{
    return rag->part[RUVM_RAG_VECT].data + (size_t)id * rag->row_bytes;
}

bool ruvm_rag_is_deleted(const struct ruvm_rag *rag, uint32_t id)
{
    const uint8_t *bits = rag->part[RUVM_RAG_DEAD].data;
    return bits && (bits[id / 8] >> (id % 8) & 1);
}

/* The eight bytes from the link's first one on: the section's tail makes that readable. */
uint32_t ruvm_rag_links(const struct ruvm_rag *rag, unsigned level, uint32_t place, uint32_t *links)
{
    const struct ruvm_rag_level *l = &rag->level[level];
    const uint8_t *list = l->lists + (size_t)place * l->list_bytes;
    uint64_t mask = ((uint64_t)1 << rag->id_bits) - 1;
    uint32_t n = 0;
    for (uint32_t i = 0, bit = 0; i < l->degree; i++, bit += rag->id_bits) {
        uint32_t link = (uint32_t)(ruvm_load_u64(list + bit / 8) >> bit % 8 & mask);
        if (link == place)
            break;
        if (link < l->n)
            links[n++] = link;
    }
    return n;
}
