/* Building a knowledge blob: weights, words, vectors, graph, file.
 *
 * Everything is made anew from the chunks each time. That costs seconds for tens of thousands
 * of them, and gives the same bytes for the same chunks whatever way led there; weights that
 * are learned from all chunks change with every one that is added anyway.
 */
#include "lib/bundle/rag_build.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/pq_learn.h"
#include "lib/vector/bm25.h"

enum { MAX_EXACT_BYTES = 64 << 20, REPORT_EVERY = 64 };
/* Degrees are tried on so many vectors, and serve if they meet the goal with such an ef. */
enum { TRIAL_VECTORS = 10000, TRIAL_EF = 64 };

void ruvm_rag_sections_free(struct ruvm_rag_sections *s)
{
    ruvm_library_text_free(&s->text);
    ruvm_buffer_free(&s->recipe);
    ruvm_buffer_free(&s->table);
    ruvm_buffer_free(&s->words);
    ruvm_buffer_free(&s->vectors);
    ruvm_buffer_free(&s->side);
    ruvm_buffer_free(&s->graph);
    ruvm_buffer_free(&s->book);
    free(s->exact);
    *s = (struct ruvm_rag_sections){0};
}

static struct ruvm_embed_text text_of(const void *context, uint32_t i)
{
    const struct ruvm_library *lib = context;
    return (struct ruvm_embed_text){lib->chunks[i].text, lib->chunks[i].n_text};
}

struct ruvm_embed_texts ruvm_rag_texts(const struct ruvm_library *lib)
{
    return (struct ruvm_embed_texts){text_of, lib, lib->n_chunks};
}

/* What all steps of a building share. */
struct building {
    const struct ruvm_library *lib;
    struct ruvm_rag_sections *s;
    const struct ruvm_rag_plan *plan;
    const struct ruvm_progress *progress;
    struct ruvm_error *err;
    struct ruvm_recipe recipe;
    struct ruvm_vectors set;
    uint32_t degree; /* of the graph */
};

static int report(const struct building *b, const char *stage, uint64_t done, uint64_t total)
{
    if (b->progress->report && b->progress->report(b->progress->user, stage, done, total))
        return ruvm_fail(b->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

static int learn(struct building *b)
{
    const struct ruvm_embed_texts texts = ruvm_rag_texts(b->lib);
    const struct ruvm_embed_options o = {b->plan->recipe, b->plan->max_buckets};
    b->s->recipe.size = b->s->table.size = 0;
    int rc = report(b, "learning", 0, 1);
    if (rc == RUVM_OK && b->plan->table)
        rc = ruvm_word_table_write(b->plan->table, &b->plan->recipe, b->plan->max_words,
                                   &b->s->recipe, &b->s->table, b->err);
    else if (rc == RUVM_OK && b->plan->rows)
        ruvm_embed_recipe(&b->s->recipe, &b->plan->recipe);
    else if (rc == RUVM_OK)
        rc = ruvm_embed_learn(&b->s->recipe, &o, &texts, b->err);
    if (rc == RUVM_OK && b->plan->words && b->s->words.size == 0)
        rc = ruvm_embed_bm25(&b->s->words, &texts, b->err);
    if (rc != RUVM_OK)
        return rc;
    if (!ruvm_buffer_ok(&b->s->recipe))
        return ruvm_fail(b->err, RUVM_ERR_MEMORY, "no memory for a recipe");
    rc = ruvm_recipe_open(&b->recipe, b->s->recipe.data, (uint32_t)b->s->recipe.size);
    if (rc == RUVM_OK && b->plan->table)
        rc = ruvm_recipe_set_table(&b->recipe, b->s->table.data, (uint32_t)b->s->table.size,
                                   b->set.dims);
    return rc == RUVM_OK ? rc : ruvm_fail(b->err, rc, "the recipe of the blob is not one");
}

/* Row i of x, in the type of the set. */
static void put_row(struct building *b, const int32_t *x)
{
    uint32_t row_bytes = b->set.row_bytes;
    uint8_t *row = ruvm_buffer_zeros(&b->s->vectors, row_bytes);
    if (!row)
        return;
    if (b->set.type == RUVM_VECTOR_BINARY) {
        ruvm_vectors_signs(row, x, b->set.dims, row_bytes);
        return;
    }
    ruvm_vectors_quantize((int8_t *)row, x, b->set.dims, row_bytes);
    ruvm_buffer_u16(&b->s->side, ruvm_vectors_inverse(ruvm_vectors_norm2(row, row_bytes)));
}

/* x[dims] of a chunk, by whoever makes vectors. */
static int embed_chunk(const struct building *b, struct ruvm_embedder *e,
                       const struct ruvm_library_chunk *chunk, int32_t *x)
{
    const struct ruvm_rag_rows *rows = b->plan->rows;
    if (b->plan->table) {
        ruvm_recipe_embed(&b->recipe, x, b->set.dims, chunk->text, chunk->n_text);
        return RUVM_OK;
    }
    return rows ? rows->row(rows->context, chunk, x, b->err)
                : ruvm_embed_chunk(e, x, b->set.dims, chunk->text, chunk->n_text);
}

/* Of a large blob only the first vectors are kept as they were: rounding costs any of them
 * about as much. */
static int make_room_for_exact(struct ruvm_rag_sections *s, uint32_t n, uint32_t dims)
{
    uint32_t most = MAX_EXACT_BYTES / (dims * (uint32_t)sizeof *s->exact);
    free(s->exact);
    s->n_exact = n < most ? n : most;
    s->exact = calloc((size_t)s->n_exact * dims + 1, sizeof *s->exact);
    return s->exact ? RUVM_OK : RUVM_ERR_MEMORY;
}

static int embed(struct building *b)
{
    struct ruvm_embedder e = {.recipe = &b->recipe};
    uint32_t n = b->lib->n_chunks, dims = b->set.dims;
    int32_t x[RUVM_RAG_MAX_DIMS];
    int rc = make_room_for_exact(b->s, n, dims);
    b->s->vectors.size = b->s->side.size = 0;
    for (uint32_t i = 0; rc == RUVM_OK && i < n; i++) {
        rc = i % REPORT_EVERY ? RUVM_OK : report(b, "vectors", i, n);
        if (rc == RUVM_OK)
            rc = embed_chunk(b, &e, &b->lib->chunks[i], x);
        if (rc == RUVM_OK)
            put_row(b, x);
        if (rc == RUVM_OK && i < b->s->n_exact)
            memcpy(b->s->exact + (size_t)i * dims, x, dims * sizeof *x);
    }
    ruvm_embedder_free(&e);
    bool ok = ruvm_buffer_ok(&b->s->vectors) && ruvm_buffer_ok(&b->s->side);
    if (rc == RUVM_ERR_MEMORY || (rc == RUVM_OK && !ok)) /* the first failure stays */
        return ruvm_fail(b->err, RUVM_ERR_MEMORY, "no memory for %u vectors of %u dimensions", n,
                         dims);
    return rc;
}

static bool tell_graph(void *context, uint32_t done, uint32_t n)
{
    const struct building *b = context;
    return done % REPORT_EVERY || report(b, "graph", done, n) == RUVM_OK;
}

static int connect(struct building *b)
{
    struct ruvm_hnsw g;
    const struct ruvm_hnsw_options o = {.degree_0 = b->degree};
    const struct ruvm_hnsw_progress progress = {tell_graph, b};
    b->s->graph.size = 0;
    int rc = ruvm_hnsw_init(&g, &o, b->err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_hnsw_add(&g, &b->set, &progress, b->err);
    if (rc == RUVM_OK)
        rc = ruvm_hnsw_finish(&g, &b->set, b->err);
    if (rc == RUVM_OK)
        rc = ruvm_hnsw_write(&g, &b->s->graph, b->err);
    ruvm_hnsw_free(&g);
    return rc;
}

/* ---- the file ---------------------------------------------------------------------------- */

static struct ruvm_rag_part part_of(const struct ruvm_buffer *b)
{
    return (struct ruvm_rag_part){b->size ? b->data : NULL, (uint32_t)b->size};
}

static struct ruvm_rag_draft draft_of(const struct building *b)
{
    const struct ruvm_rag_sections *s = b->s;
    struct ruvm_rag_draft d = {.metric = b->set.metric,
                               .type = b->set.type,
                               .dims = b->set.dims,
                               .n = b->set.n,
                               .n_sources = s->text.n_sources,
                               .generation = b->plan->generation,
                               .unit = 1,
                               .ef = 0};
    if (s->graph.size) {
        d.ef = 64;
        d.ef_build = 100;
    }
    d.part[RUVM_RAG_VECT] = part_of(&s->vectors);
    d.part[RUVM_RAG_SIDE] = part_of(&s->side);
    d.part[RUVM_RAG_GRPH] = part_of(&s->graph);
    d.part[RUVM_RAG_BOOK] = part_of(&s->book);
    d.part[RUVM_RAG_CHNK] = part_of(&s->text.chunks);
    d.part[RUVM_RAG_TEXT] = part_of(&s->text.text);
    d.part[RUVM_RAG_SRCE] = part_of(&s->text.sources);
    d.part[RUVM_RAG_STRS] = part_of(&s->text.strings);
    d.part[RUVM_RAG_RCPE] = part_of(&s->recipe);
    d.part[RUVM_RAG_WORD] = part_of(&s->table);
    if (b->plan->words)
        d.part[RUVM_RAG_BM25] = part_of(&s->words);
    return d;
}

/* The first vectors only, to try something on; there are words of all or none. */
static struct ruvm_rag_draft trial_of(const struct building *b)
{
    struct ruvm_rag_draft d = draft_of(b);
    d.part[RUVM_RAG_VECT].bytes = b->set.n * b->set.row_bytes;
    if (d.part[RUVM_RAG_SIDE].data)
        d.part[RUVM_RAG_SIDE].bytes = b->set.n * (uint32_t)sizeof(uint16_t);
    d.part[RUVM_RAG_CHNK].bytes = b->set.n * RUVM_CHNK_RECORD;
    d.part[RUVM_RAG_BM25] = (struct ruvm_rag_part){0};
    return d;
}

static int put_file(struct ruvm_buffer *out, const struct ruvm_rag_draft *d, struct ruvm_error *err)
{
    out->size = 0;
    int rc = ruvm_rag_write(out, d);
    return rc == RUVM_OK ? rc
                         : ruvm_fail(err, rc, "a blob of %u chunks: %s", d->n,
                                     rc == RUVM_ERR_MEMORY ? "memory is short"
                                                           : "more than 4 GiB: use several blobs");
}

/* Puts the figures of a file that is written without them into its draft. */
static int measure(struct ruvm_buffer *file, const struct building *b, struct ruvm_rag_draft *d)
{
    struct ruvm_rag rag;
    struct ruvm_rag_fault fault = {0};
    int rc = put_file(file, d, b->err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_rag_open(&rag, file->data, file->size, &fault);
    if (rc != RUVM_OK)
        return ruvm_fail(b->err, rc, "the blob made is none: %s", fault.what);
    const struct ruvm_rag_measure m = {b->lib, &b->recipe, &rag, b->s->exact, b->s->n_exact};
    rc = report(b, "measuring", 0, 1);
    return rc == RUVM_OK ? ruvm_rag_measure(&m, d, b->err) : rc;
}

/* The file once without figures, which are measured on it, and once with them. A graph along
 * which a search looks at a third of all vectors is left out: a scan is as fast, being in
 * order, and exact. */
static int write_file(struct ruvm_buffer *out, const struct building *b, struct ruvm_rag_draft *d)
{
    int rc = measure(out, b, d);
    if (rc == RUVM_OK && d->ef && d->figures.n_queries &&
        3 * (uint64_t)d->figures.distances > d->n) {
        b->s->graph.size = 0;
        *d = draft_of(b);
        rc = measure(out, b, d);
    }
    return rc == RUVM_OK ? put_file(out, d, b->err) : rc;
}

/* The smallest degree that meets the goal with an ef a chip has memory for, on the first
 * vectors: a graph of all would take most of the time. The largest when none does. */
static int choose_degree(struct building *b, struct building *trial)
{
    static const uint8_t degrees[] = {8, 12, 16, 24, 32};
    struct ruvm_buffer file = {0};
    bool met = false;
    int rc = RUVM_OK;
    for (size_t i = 0; rc == RUVM_OK && !met && i < sizeof degrees; i++) {
        trial->degree = degrees[i];
        rc = connect(trial);
        struct ruvm_rag_draft d = trial_of(trial);
        if (rc == RUVM_OK)
            rc = measure(&file, trial, &d);
        met = d.figures.recall_graph >= RUVM_RAG_GOAL_65535 && d.ef <= TRIAL_EF;
    }
    ruvm_buffer_free(&file);
    b->degree = trial->degree;
    return rc;
}

/* A graph, if a search is faster along one. */
static int connect_all(struct building *b)
{
    struct building trial = *b;
    int rc = RUVM_OK;
    b->s->graph.size = 0;
    b->degree = b->plan->degree;
    if (b->set.n < RUVM_RAG_SCAN_BELOW)
        return RUVM_OK;
    if (trial.set.n > TRIAL_VECTORS)
        trial.set.n = TRIAL_VECTORS;
    if (!b->degree)
        rc = choose_degree(b, &trial);
    bool is_done = !b->plan->degree && trial.set.n == b->set.n;
    return rc == RUVM_OK && !is_done ? connect(b) : rc;
}

static void note(const struct building *b, const struct ruvm_rag_draft *d, size_t file_bytes,
                 struct ruvm_rag_add_result *r)
{
    const struct ruvm_rag_sections *s = b->s;
    r->n_chunks = d->n;
    r->n_sources = d->n_sources;
    r->dims = d->dims;
    r->degree = s->graph.size ? b->degree : 0;
    r->ef = d->ef;
    r->distances = d->figures.distances;
    r->text_bytes =
        s->text.text.size + s->text.chunks.size + s->text.sources.size + s->text.strings.size;
    r->vector_bytes = s->vectors.size + s->side.size + s->book.size;
    r->graph_bytes = s->graph.size;
    r->word_bytes = b->plan->words ? s->words.size : 0;
    r->recipe_bytes = s->recipe.size;
    r->table_bytes = s->table.size;
    r->n_table_words = b->plan->table ? b->recipe.n_buckets : 0;
    r->file_bytes = file_bytes;
    r->n_queries = d->figures.n_queries;
    r->recall_code = d->figures.recall_code / 65535.0;
    r->recall_graph = d->figures.recall_graph / 65535.0;
}

/* The int8 vectors, along which the graph was made, become those of pq. */
static int compress(struct building *b)
{
    struct ruvm_rag_sections *s = b->s;
    struct ruvm_buffer rows = {0}, sides = {0};
    struct ruvm_vectors pq = {0};
    int8_t *book = (int8_t *)ruvm_buffer_zeros(&s->book, ruvm_rag_book_bytes(b->set.dims));
    int rc = report(b, "book", 0, 1);
    if (rc == RUVM_OK)
        rc = book ? ruvm_pq_learn(book, &b->set, b->err) : RUVM_ERR_MEMORY;
    if (rc == RUVM_OK)
        rc = ruvm_pq_learn_shape(&pq, &b->set, book, b->err);
    for (uint32_t i = 0; rc == RUVM_OK && i < b->set.n; i++) {
        uint8_t *row = ruvm_buffer_zeros(&rows, pq.row_bytes);
        uint8_t *side = ruvm_buffer_zeros(&sides, pq.side_bytes);
        if (!row || !side)
            rc = RUVM_ERR_MEMORY;
        else
            ruvm_pq_learn_row(&pq, (const int8_t *)b->set.rows + (size_t)i * b->set.row_bytes, row,
                              side);
    }
    ruvm_buffer_free(&s->vectors);
    ruvm_buffer_free(&s->side);
    s->vectors = rows;
    s->side = sides;
    pq.rows = rows.data;
    pq.side = sides.data;
    pq.n = b->set.n;
    b->set = pq;
    return rc == RUVM_ERR_MEMORY ? ruvm_fail(b->err, rc, "no memory for the vectors") : rc;
}

int ruvm_rag_build(struct ruvm_buffer *out, const struct ruvm_library *lib,
                   struct ruvm_rag_sections *s, const struct ruvm_rag_plan *plan,
                   const struct ruvm_progress *progress, struct ruvm_rag_add_result *r,
                   struct ruvm_error *err)
{
    struct building b = {.lib = lib, .s = s, .plan = plan, .progress = progress, .err = err};
    unsigned metric = plan->type == RUVM_VECTOR_BINARY ? RUVM_METRIC_HAMMING : RUVM_METRIC_COSINE;
    bool is_pq = plan->type == RUVM_VECTOR_PQ;
    int rc = ruvm_vectors_shape(&b.set, is_pq ? RUVM_VECTOR_INT8 : plan->type, metric, plan->dims);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "vectors of %u dimensions: there are 8 to 1024", plan->dims);
    b.set.kernels = ruvm_vector_kernels_select(NULL);
    s->book.size = 0;
    rc = learn(&b);
    if (rc == RUVM_OK)
        rc = embed(&b);
    b.set.rows = s->vectors.data;
    b.set.side = s->side.data;
    b.set.n = lib->n_chunks;
    if (rc == RUVM_OK)
        rc = connect_all(&b);
    if (rc == RUVM_OK && is_pq)
        rc = compress(&b);
    if (rc != RUVM_OK)
        return rc;
    struct ruvm_rag_draft d = draft_of(&b);
    rc = write_file(out, &b, &d);
    if (rc == RUVM_OK)
        note(&b, &d, out->size, r);
    return rc;
}
