/* From rows of parent and child to a blob that is searched by name and by kinship.
 *
 * A node's text is its way from the root, so that a search by words finds the node itself
 * before those below it. Its vector is int8 of the Lorentz metric. Two embeddings, from a wide
 * and a narrow start, are measured, and the one whose codes keep more of the tree stays. The
 * same is done in flat space, with as many dimensions as the same bytes hold, for the report.
 */
#include "lib/bundle/tree_blob.h"

#include <stdlib.h>
#include <string.h>

#include "formats/rag_write.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/bundle/codes.h"
#include "lib/bundle/embed.h"
#include "lib/bundle/rag_names.h"
#include "lib/bundle/tree.h"

enum { N_STARTS = 2, SHOWN_ANCESTORS = 6, SHARE_OF_KIN = 64, FLOOR = 115 };
enum { ROW_ALIGN = 64, FLAT_SIDE = 4 };
/* From the root to the deepest leaf, where the descent begins; and the longest edge. */
#define FIRST_RADIUS 4.0
#define LONGEST_EDGE 1.0

/* Codes of an embedding. */
struct codes {
    struct ruvm_vectors set;
    uint8_t *rows, *side;
};

static void free_codes(struct codes *c)
{
    free(c->rows);
    free(c->side);
    *c = (struct codes){0};
}

static uint8_t *rows_alloc(size_t n, size_t row_bytes)
{
    size_t bytes = (n * row_bytes + ROW_ALIGN) / ROW_ALIGN * ROW_ALIGN;
    uint8_t *rows = aligned_alloc(ROW_ALIGN, bytes);
    if (rows)
        memset(rows, 0, bytes);
    return rows;
}

static int encode(struct codes *c, unsigned metric, const float *x, uint32_t n, uint32_t dims,
                  struct ruvm_error *err)
{
    int rc = ruvm_codes_shape(&c->set, RUVM_VECTOR_INT8, metric, dims, x, n, err);
    if (rc != RUVM_OK)
        return rc;
    c->rows = rows_alloc(n, c->set.row_bytes);
    c->side = rows_alloc(n, c->set.side_bytes);
    if (!c->rows || !c->side)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u vectors", n);
    for (uint32_t i = 0; rc == RUVM_OK && i < n; i++)
        rc = ruvm_codes_row(&c->set, x + (size_t)i * dims, c->rows + (size_t)i * c->set.row_bytes,
                            c->side + (size_t)i * c->set.side_bytes, err);
    c->set.rows = c->rows;
    c->set.side = c->side;
    c->set.n = n;
    c->set.kernels = ruvm_vector_kernels_select(NULL);
    return rc;
}

/* The embedding that keeps more, of N_STARTS. */
static int embed_best(const struct ruvm_tree *t, struct ruvm_tree_embedding e,
                      const double edges[N_STARTS], struct codes *best,
                      struct ruvm_taxonomy_quality *quality, struct ruvm_error *err)
{
    unsigned metric = e.space == RUVM_TREE_FLAT ? RUVM_METRIC_EUCLIDEAN : RUVM_METRIC_LORENTZ;
    float *x = calloc((size_t)t->n * e.dims, sizeof *x);
    int rc = x ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u vectors", t->n);
    for (int i = 0; rc == RUVM_OK && i < N_STARTS; i++) {
        struct ruvm_taxonomy_quality q = {0};
        struct codes c = {0};
        e.edge = edges[i];
        rc = ruvm_tree_embed(t, &e, x, err);
        if (rc == RUVM_OK)
            rc = encode(&c, metric, x, t->n, e.dims, err);
        if (rc == RUVM_OK)
            rc = ruvm_tree_measure(t, &c.set, &q, err);
        if (rc == RUVM_OK && (i == 0 || q.map > quality->map)) {
            free_codes(best);
            *best = c;
            *quality = q;
        } else {
            free_codes(&c);
        }
    }
    free(x);
    return rc;
}

static int embed_curved(const struct ruvm_tree *t, const struct ruvm_tree_blob *o, struct codes *c,
                        struct ruvm_taxonomy_quality *q, struct ruvm_error *err)
{
    double edge = t->n_levels > 1 ? FIRST_RADIUS / (t->n_levels - 1) : LONGEST_EDGE;
    edge = edge < LONGEST_EDGE ? edge : LONGEST_EDGE;
    const double edges[N_STARTS] = {edge, edge / 2};
    const struct ruvm_tree_embedding e = {RUVM_TREE_HYPERBOLIC,
                                          o->dims ? o->dims : RUVM_TREE_BLOB_DIMS, 0, o->progress};
    int rc = embed_best(t, e, edges, c, q, err);
    q->vector_bytes = e.dims + c->set.side_bytes; /* without padding */
    return rc;
}

/* As many dimensions as the bytes of `curved` hold: codes, and 4 bytes beside them. Padding, which
 * differs, counts for neither. */
static int embed_flat(const struct ruvm_tree *t, const struct ruvm_tree_blob *o,
                      const struct ruvm_taxonomy_quality *curved, struct ruvm_taxonomy_quality *q,
                      struct ruvm_error *err)
{
    static const double edges[N_STARTS] = {2, 4};
    struct codes c = {0};
    const struct ruvm_tree_embedding e = {RUVM_TREE_FLAT, curved->vector_bytes - FLAT_SIDE, 0,
                                          o->progress};
    int rc = embed_best(t, e, edges, &c, q, err);
    q->vector_bytes = curved->vector_bytes;
    free_codes(&c);
    return rc;
}

/* ---- the file ------------------------------------------------------------------------- */

struct texts {
    struct ruvm_buffer text, chunks, sources, strings, recipe, words;
};

static void put_path(const struct ruvm_tree *t, uint32_t i, struct ruvm_buffer *out)
{
    uint32_t way[SHOWN_ANCESTORS + 1], n = 0;
    for (; i != RUVM_TREE_NONE && n <= SHOWN_ANCESTORS; i = t->nodes[i].parent)
        way[n++] = i;
    ruvm_buffer_printf(out, "%s", i == RUVM_TREE_NONE ? "" : "... > ");
    while (n--)
        ruvm_buffer_printf(out, "%s%s", t->nodes[way[n]].name, n ? " > " : "");
}

static void put_texts(const struct ruvm_tree *t, const char *name, const struct ruvm_map *map,
                      struct texts *s)
{
    const struct ruvm_rag_write_source source = {
        ruvm_rag_write_string(&s->strings, name, strlen(name)), RUVM_RAG_NONE, (uint32_t)map->size,
        ruvm_crc32(0, map->data, map->size)};
    ruvm_rag_write_source(&s->sources, &source);
    for (uint32_t i = 0; i < t->n; i++) {
        struct ruvm_rag_write_chunk c = {(uint32_t)s->text.size, 0, 0, RUVM_RAG_NONE, 0};
        put_path(t, i, &s->text);
        c.bytes = (uint16_t)(s->text.size - c.off);
        ruvm_rag_write_chunk(&s->chunks, &c);
    }
}

static void put_recipe(struct ruvm_buffer *out)
{
    uint8_t *p = ruvm_buffer_zeros(out, RUVM_RCPE_WEIGHTS);
    if (!p)
        return;
    p[RUVM_RCPE_KIND] = RUVM_RECIPE_NONE;
    p[RUVM_RCPE_RANK] = RUVM_RANK_SUM;
    p[RUVM_RCPE_SHARE] = SHARE_OF_KIN;
    p[RUVM_RCPE_FLOOR] = FLOOR;
}

static struct ruvm_embed_text text_of(const void *context, uint32_t i)
{
    const struct texts *s = context;
    const uint8_t *c = s->chunks.data + (size_t)i * RUVM_CHNK_RECORD;
    return (struct ruvm_embed_text){(const char *)s->text.data + ruvm_load_u32(c + RUVM_CHNK_OFF),
                                    ruvm_load_u16(c + RUVM_CHNK_BYTES)};
}

static struct ruvm_rag_part part_of(const struct ruvm_buffer *b)
{
    return (struct ruvm_rag_part){b->size ? b->data : NULL, (uint32_t)b->size};
}

static int put_file(struct ruvm_buffer *out, const struct codes *c, const struct texts *s,
                    uint32_t generation, struct ruvm_error *err)
{
    const struct ruvm_vectors *set = &c->set;
    struct ruvm_rag_draft d = {.metric = set->metric,
                               .type = set->type,
                               .dims = set->dims,
                               .n = set->n,
                               .n_sources = 1,
                               .generation = generation,
                               .unit = set->unit,
                               .unit_exp = set->unit_exp};
    d.part[RUVM_RAG_VECT] = (struct ruvm_rag_part){c->rows, set->n * set->row_bytes};
    d.part[RUVM_RAG_SIDE] = (struct ruvm_rag_part){c->side, set->n * set->side_bytes};
    d.part[RUVM_RAG_CHNK] = part_of(&s->chunks);
    d.part[RUVM_RAG_TEXT] = part_of(&s->text);
    d.part[RUVM_RAG_SRCE] = part_of(&s->sources);
    d.part[RUVM_RAG_STRS] = part_of(&s->strings);
    d.part[RUVM_RAG_RCPE] = part_of(&s->recipe);
    d.part[RUVM_RAG_BM25] = part_of(&s->words);
    bool ok = ruvm_buffer_ok(&s->text) && ruvm_buffer_ok(&s->chunks) &&
              ruvm_buffer_ok(&s->sources) && ruvm_buffer_ok(&s->strings) &&
              ruvm_buffer_ok(&s->recipe);
    int rc = ok ? ruvm_rag_write(out, &d) : RUVM_ERR_MEMORY;
    return rc == RUVM_OK ? rc : ruvm_fail(err, rc, "no memory for a blob of %u nodes", set->n);
}

static int write_blob(struct ruvm_buffer *out, const struct ruvm_tree *t, const struct codes *c,
                      const struct ruvm_tree_blob *o, const struct ruvm_map *map,
                      struct ruvm_rag_add_result *r, struct ruvm_error *err)
{
    struct texts s = {0};
    put_texts(t, o->path, map, &s);
    put_recipe(&s.recipe);
    const struct ruvm_embed_texts texts = {text_of, &s, t->n};
    int rc = ruvm_buffer_ok(&s.text) && ruvm_buffer_ok(&s.chunks)
                 ? ruvm_embed_bm25(&s.words, &texts, err)
                 : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the names of %u nodes", t->n);
    if (rc == RUVM_OK)
        rc = put_file(out, c, &s, o->generation, err);
    r->text_bytes = s.text.size + s.chunks.size + s.sources.size + s.strings.size;
    r->vector_bytes = (uint64_t)t->n * (c->set.row_bytes + c->set.side_bytes);
    r->word_bytes = s.words.size;
    r->recipe_bytes = s.recipe.size;
    r->file_bytes = out->size;
    ruvm_buffer_free(&s.text);
    ruvm_buffer_free(&s.chunks);
    ruvm_buffer_free(&s.sources);
    ruvm_buffer_free(&s.strings);
    ruvm_buffer_free(&s.recipe);
    ruvm_buffer_free(&s.words);
    return rc;
}

static void note(const struct ruvm_tree *t, const struct codes *c, struct ruvm_rag_add_result *r)
{
    r->taxonomy.n_nodes = t->n;
    r->taxonomy.n_levels = t->n_levels;
    for (uint32_t i = 0; i < t->n; i++)
        if (t->nodes[i].n_children > r->taxonomy.max_children)
            r->taxonomy.max_children = t->nodes[i].n_children;
    r->n_sources = 1;
    r->n_chunks = r->n_added = t->n;
    r->dims = c->set.dims;
    r->type = ruvm_rag_type_names[c->set.type];
    r->rank = ruvm_rag_rank_names[RUVM_RANK_SUM];
    r->split = ruvm_rag_split_names[RUVM_SPLIT_SENTENCE];
}

int ruvm_tree_blob(struct ruvm_buffer *out, const struct ruvm_tree_blob *o,
                   struct ruvm_rag_add_result *r, struct ruvm_error *err)
{
    struct ruvm_map map;
    struct ruvm_tree t;
    struct codes c = {0};
    int rc = ruvm_file_map(&map, o->path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_tree_read(&t, o->path, (const char *)map.data, map.size, err);
    if (rc == RUVM_OK)
        rc = embed_curved(&t, o, &c, &r->taxonomy.hyperbolic, err);
    if (rc == RUVM_OK)
        rc = embed_flat(&t, o, &r->taxonomy.hyperbolic, &r->taxonomy.euclidean, err);
    if (rc == RUVM_OK)
        rc = write_blob(out, &t, &c, o, &map, r, err);
    if (rc == RUVM_OK)
        note(&t, &c, r);
    free_codes(&c);
    ruvm_tree_free(&t);
    ruvm_file_unmap(&map);
    return rc;
}
