/* Each token of the texts but the last one of a window gives a vector and a chunk of two
 * bytes. All states are kept until the blob is built, since the recall of the codes is measured
 * against them.
 */
#include "lib/bundle/knn_blob.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/bundle/rag_build.h"
#include "lib/bundle/rag_names.h"
#include "lib/bundle/states.h"
#include "lib/convert/text.h"
#include "lib/run/session.h"

enum { REPORT_EVERY = 256, MAX_TOKENS = 1000000 };

struct building {
    const struct ruvm_knn_blob *o;
    struct ruvm_error *err;
    struct ruvm_states *states;
    struct ruvm_library lib;
    uint32_t dims;
    int32_t *x; /* [n, dims] states */
    uint32_t n, cap;
    uint64_t n_positions; /* of the source at hand */
    uint32_t first;       /* chunk of it */
};

static int no_memory(const struct building *b)
{
    return ruvm_fail(b->err, RUVM_ERR_MEMORY, "no memory for the states of %u tokens", b->n);
}

static int grow(struct building *b, uint64_t more)
{
    uint64_t cap = b->n + more;
    if (cap > MAX_TOKENS)
        return ruvm_fail(b->err, RUVM_ERR_UNSUPPORTED,
                         "more than %d tokens of text: a blob holds no more; use less text",
                         MAX_TOKENS);
    void *p = realloc(b->x, (size_t)cap * b->dims * sizeof *b->x);
    if (!p)
        return no_memory(b);
    b->x = p;
    b->cap = (uint32_t)cap;
    return RUVM_OK;
}

static int take_state(void *context, uint32_t i, const int32_t *state)
{
    struct building *b = context;
    const struct ruvm_progress *p = b->o->progress;
    (void)i;
    memcpy(b->x + (size_t)b->n++ * b->dims, state, b->dims * sizeof *state);
    return b->n % REPORT_EVERY == 0 && p->report &&
           p->report(p->user, "states", b->n - b->first, b->n_positions);
}

/* The chunks of a window: the tokens that follow, as bytes that live as long as the library. */
static int put_chunks(struct building *b, const uint16_t *ids, uint32_t n)
{
    uint8_t *bytes = ruvm_arena_alloc(&b->lib.arena, n, sizeof *ids);
    int rc = bytes ? RUVM_OK : no_memory(b);
    for (uint32_t i = 0; rc == RUVM_OK && i < n; i++) {
        uint8_t *next = bytes + i * sizeof *ids;
        ruvm_store_u16(next, ids[i]);
        const struct ruvm_library_chunk chunk = {.text = (const char *)next,
                                                 .n_text = sizeof *ids,
                                                 .source = b->lib.n_sources - 1,
                                                 .row = b->lib.n_chunks};
        rc = ruvm_library_append(&b->lib, &chunk, b->err);
    }
    return rc;
}

static int read_window(struct building *b, const uint32_t *tokens, uint32_t n, uint16_t *ids)
{
    const struct ruvm_states_sink sink = {take_state, b};
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (uint16_t)tokens[i];
    int rc = ruvm_states_walk(b->states, ids, n - 1, &sink, b->err);
    return rc == RUVM_OK ? put_chunks(b, ids + 1, n - 1) : rc;
}

static int read_text(struct building *b, const char *path, struct ruvm_arena *arena)
{
    const struct ruvm_session *s = ruvm_states_session(b->states);
    const struct ruvm_text_options o = {
        .tokenizer = &s->tokenizer, .context = s->context, .documents = b->o->documents};
    struct ruvm_text text;
    int rc = ruvm_text_read(&text, arena, path, &o, b->err);
    if (rc == RUVM_OK)
        rc = grow(b, text.n_positions);
    if (rc != RUVM_OK)
        return rc;
    uint16_t *ids = ruvm_arena_alloc(arena, s->context + 1u, sizeof *ids);
    b->n_positions = text.n_positions;
    b->first = b->n;
    for (uint32_t w = 0; rc == RUVM_OK && w < text.n_windows; w++)
        rc = ids ? read_window(b, text.tokens + text.first[w], text.first[w + 1] - text.first[w],
                               ids)
                 : no_memory(b);
    return rc;
}

static int read_source(struct building *b, const char *path)
{
    struct ruvm_arena arena = {0};
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, path, b->err);
    if (rc != RUVM_OK)
        return rc;
    bool is_stdin = strcmp(path, "/dev/stdin") == 0;
    const struct ruvm_library_add add = {
        .document = {.name = is_stdin && b->o->stdin_name ? b->o->stdin_name : path,
                     .data = (const char *)map.data,
                     .size = map.size}};
    if (is_stdin)
        rc = ruvm_fail(b->err, RUVM_ERR_UNSUPPORTED,
                       "standard input: a text for --knn-model is read twice: give a file");
    if (rc == RUVM_OK)
        rc = ruvm_library_begin(&b->lib, &add, b->err);
    if (rc == RUVM_OK)
        rc = read_text(b, path, &arena);
    ruvm_arena_free(&arena);
    ruvm_file_unmap(&map);
    return rc;
}

static int give_row(void *context, const struct ruvm_library_chunk *chunk, int32_t *x,
                    struct ruvm_error *err)
{
    const struct building *b = context;
    (void)err;
    memcpy(x, b->x + (size_t)chunk->row * b->dims, b->dims * sizeof *x);
    return RUVM_OK;
}

static int build(struct building *b, struct ruvm_buffer *out, struct ruvm_rag_add_result *r)
{
    const struct ruvm_rag_rows rows = {give_row, b};
    uint8_t model[RUVM_RCPE_MODEL_BYTES];
    struct ruvm_rag_sections s = {0};
    const struct ruvm_rag_plan plan = {.type = RUVM_VECTOR_INT8,
                                       .dims = b->dims,
                                       .degree = b->o->degree,
                                       .generation = b->o->generation,
                                       .rows = &rows,
                                       .recipe = {.kind = RUVM_RECIPE_NEXT,
                                                  .rank = RUVM_RANK_VECTORS,
                                                  .n_buckets = sizeof model,
                                                  .weights = model}};
    ruvm_store_u32(model, ruvm_states_crc(b->states));
    ruvm_store_u32(model + 4, ruvm_states_bytes(b->states));
    int rc = ruvm_library_write(&b->lib, &s.text, b->err);
    if (rc == RUVM_OK)
        rc = ruvm_rag_build(out, &b->lib, &s, &plan, b->o->progress, r, b->err);
    ruvm_rag_sections_free(&s);
    r->n_added = b->n;
    r->type = ruvm_rag_type_names[plan.type];
    r->rank = ruvm_rag_rank_names[plan.recipe.rank];
    r->split = ruvm_rag_split_names[plan.recipe.split];
    return rc;
}

int ruvm_knn_blob(struct ruvm_buffer *out, const struct ruvm_knn_blob *o,
                  struct ruvm_rag_add_result *r, struct ruvm_error *err)
{
    struct building b = {.o = o, .err = err, .lib = {.keep_duplicates = true}};
    int rc = ruvm_states_open(&b.states, o->model, err);
    b.dims = rc == RUVM_OK ? ruvm_states_dims(b.states) : 0;
    for (uint32_t i = 0; rc == RUVM_OK && i < o->n_sources; i++)
        rc = read_source(&b, o->sources[i]);
    if (rc == RUVM_OK)
        rc = build(&b, out, r);
    ruvm_states_close(b.states);
    ruvm_library_free(&b.lib);
    free(b.x);
    return rc;
}
