/* Rows that no recipe makes: those of a file in the order of the chunks that were added, those
 * that an old blob has, and states of a model, which are all made before the first is used.
 */
#include "lib/bundle/rag_embed.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"

enum { CENTRE_OFF = RUVM_RCPE_MODEL_BYTES, REPORT_EVERY = 16 };

int ruvm_rag_embed_open(struct ruvm_rag_embed *e, const char *embed, struct ruvm_error *err)
{
    static const char vectors[] = "vectors:", model[] = "model:", words[] = "words:";
    int rc = RUVM_OK;
    *e = (struct ruvm_rag_embed){.kind = RUVM_RECIPE_HASHED, .is_said = embed != NULL};
    if (!embed || strcmp(embed, "words") == 0)
        return RUVM_OK;
    if (strncmp(embed, vectors, sizeof vectors - 1) == 0) {
        e->path = embed + sizeof vectors - 1;
        e->kind = RUVM_RECIPE_NONE;
        rc = ruvm_given_read(&e->given, e->path, err);
        e->dims = e->given.dims;
    } else if (strncmp(embed, model, sizeof model - 1) == 0) {
        e->path = embed + sizeof model - 1;
        e->kind = RUVM_RECIPE_STATES;
        rc = ruvm_states_open(&e->states, e->path, err);
        e->dims = rc == RUVM_OK ? ruvm_states_dims(e->states) : 0;
    } else if (strncmp(embed, words, sizeof words - 1) == 0) {
        e->path = embed + sizeof words - 1;
        e->kind = RUVM_RECIPE_TABLE;
        rc = ruvm_file_map(&e->map, e->path, err);
    } else {
        rc = ruvm_fail(err, RUVM_ERR_ARG,
                       "%s: is no way to make vectors: there are words, words:FILE, vectors:FILE "
                       "and model:MODEL",
                       embed);
    }
    return rc;
}

void ruvm_rag_embed_close(struct ruvm_rag_embed *e)
{
    ruvm_given_free(&e->given);
    ruvm_states_close(e->states);
    free(e->x);
    free(e->recipe);
    ruvm_word_table_free(&e->table);
    ruvm_file_unmap(&e->map);
    *e = (struct ruvm_rag_embed){0};
}

static bool is_of_model(const struct ruvm_rag_embed *e, const struct ruvm_recipe *recipe)
{
    return ruvm_load_u32(recipe->weights) == ruvm_states_crc(e->states) &&
           ruvm_load_u32(recipe->weights + 4) == ruvm_states_bytes(e->states);
}

const char *ruvm_rag_embed_refuses(const struct ruvm_rag_embed *e, const struct ruvm_rag *old,
                                   const struct ruvm_recipe *recipe)
{
    if (recipe->kind == RUVM_RECIPE_NEXT)
        return "it is for run --knn: make it anew with --knn-model";
    if (recipe->kind == RUVM_RECIPE_NONE && old->metric >= RUVM_METRIC_POINCARE)
        return "it is a taxonomy: make it anew with --taxonomy";
    if (old->metric != RUVM_METRIC_COSINE && old->metric != RUVM_METRIC_HAMMING)
        return "its metric is not cosine, and not Hamming: it was made by another program";
    if (recipe->kind == RUVM_RECIPE_NONE && old->type == RUVM_VECTOR_PQ)
        return "its vectors are those of pq, which cannot be written again: make it anew";
    if (recipe->kind == RUVM_RECIPE_STATES && e->kind != RUVM_RECIPE_STATES)
        return "its vectors are states of a language model: name it with --embed model:MODEL";
    if (recipe->kind == RUVM_RECIPE_TABLE && e->kind != RUVM_RECIPE_TABLE && e->is_said)
        return "its vectors are made of a table of words: name a new blob for others";
    if (recipe->kind == RUVM_RECIPE_HASHED && e->kind != RUVM_RECIPE_HASHED)
        return "its vectors are made of its words: name a new blob for others";
    if (recipe->kind == RUVM_RECIPE_NONE &&
        (e->kind == RUVM_RECIPE_STATES || e->kind == RUVM_RECIPE_TABLE))
        return "its vectors were given: name a new blob for others";
    if (recipe->kind == RUVM_RECIPE_STATES && !is_of_model(e, recipe))
        return "its vectors are states of another model: name a new blob";
    if (e->given.n && e->given.dims != old->dims)
        return "its vectors have other dimensions";
    return NULL;
}

/* ---- given ---------------------------------------------------------------------------- */

/* Codes are as good as what they were made of: quantized again they are the same. */
static void take_old(const struct ruvm_rag *old, uint32_t id, int32_t *x)
{
    const uint8_t *row = ruvm_rag_row(old, id);
    for (uint32_t i = 0; i < old->dims; i++)
        x[i] = old->type == RUVM_VECTOR_BINARY ? (row[i / 8] >> i % 8 & 1 ? 1 : -1)
                                               : ((const int8_t *)row)[i];
}

static int give_vector(void *context, const struct ruvm_library_chunk *chunk, int32_t *x,
                       struct ruvm_error *err)
{
    const struct ruvm_rag_embed *e = context;
    (void)err; /* all rows were counted before */
    if (chunk->row & RUVM_LIBRARY_OLD)
        take_old(e->old, chunk->row & ~RUVM_LIBRARY_OLD, x);
    else
        ruvm_given_scale(x, e->given.v + (size_t)chunk->row * e->dims, e->dims);
    return RUVM_OK;
}

static int check_count(const struct ruvm_rag_embed *e, const struct ruvm_library *lib,
                       struct ruvm_error *err)
{
    if (lib->n_rows == e->given.n)
        return RUVM_OK;
    if (!e->path)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "the blob's vectors were given: give those of what is added with --embed "
                         "vectors:FILE");
    return ruvm_fail(
        err, RUVM_ERR_MISMATCH,
        "%s: has %u vectors, but the sources have %u texts: one is needed for each, in "
        "the same order (a line of JSONL or CSV is a text; at most 65,535 bytes)",
        e->path, e->given.n, lib->n_rows);
}

/* ---- states --------------------------------------------------------------------------- */

uint32_t ruvm_rag_embed_recipe_bytes(uint32_t dims)
{
    return CENTRE_OFF + dims * (uint32_t)sizeof(int32_t);
}

void ruvm_rag_embed_centre(int32_t *x, uint32_t dims, const uint8_t *recipe)
{
    for (uint32_t d = 0; d < dims; d++)
        x[d] -= (int32_t)ruvm_load_u32(recipe + CENTRE_OFF + d * sizeof(int32_t));
}

static int give_state(void *context, const struct ruvm_library_chunk *chunk, int32_t *x,
                      struct ruvm_error *err)
{
    const struct ruvm_rag_embed *e = context;
    (void)err;
    memcpy(x, e->x + (size_t)chunk->row * e->dims, e->dims * sizeof *x);
    ruvm_rag_embed_centre(x, e->dims, e->recipe);
    return RUVM_OK;
}

static void put_recipe(struct ruvm_rag_embed *e, uint32_t n)
{
    ruvm_store_u32(e->recipe, ruvm_states_crc(e->states));
    ruvm_store_u32(e->recipe + 4, ruvm_states_bytes(e->states));
    for (uint32_t d = 0; d < e->dims; d++) {
        int64_t sum = 0;
        for (uint32_t i = 0; i < n; i++)
            sum += e->x[(size_t)i * e->dims + d];
        ruvm_store_u32(e->recipe + CENTRE_OFF + d * sizeof(int32_t),
                       (uint32_t)(n ? (int32_t)(sum / n) : 0));
    }
}

static int make_states(struct ruvm_rag_embed *e, const struct ruvm_library *lib,
                       const struct ruvm_progress *progress, struct ruvm_error *err)
{
    int rc = RUVM_OK;
    e->x = calloc((size_t)lib->n_chunks + 1, e->dims * sizeof *e->x);
    e->recipe = malloc(ruvm_rag_embed_recipe_bytes(e->dims));
    if (!e->x || !e->recipe)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the states of %u chunks",
                         lib->n_chunks);
    for (uint32_t i = 0; rc == RUVM_OK && i < lib->n_chunks; i++) {
        struct ruvm_library_chunk *c = &lib->chunks[i];
        if (i % REPORT_EVERY == 0 && progress->report &&
            progress->report(progress->user, "states", i, lib->n_chunks))
            return ruvm_fail(err, RUVM_ERR_IO, "interrupted");
        c->row = i;
        rc = ruvm_states_embed(e->states, e->x + (size_t)i * e->dims, c->text, c->n_text, err);
    }
    if (rc == RUVM_OK)
        put_recipe(e, lib->n_chunks);
    return rc;
}

/* ---- a table -------------------------------------------------------------------------- */

static int make_table(struct ruvm_rag_embed *e, const struct ruvm_library *lib,
                      struct ruvm_rag_plan *plan, const struct ruvm_progress *progress,
                      struct ruvm_error *err)
{
    const struct ruvm_embed_texts texts = ruvm_rag_texts(lib);
    const struct ruvm_word_table_source source = {e->path, &e->map, e->first_words};
    int rc = e->path ? ruvm_word_table_read(&e->table, &source, &texts, progress, err)
                     : ruvm_word_table_load(&e->table, e->old, &texts, err);
    plan->table = &e->table;
    plan->max_words = UINT32_MAX;
    plan->dims = e->table.words.dims;
    plan->recipe.kind = RUVM_RECIPE_TABLE;
    plan->recipe.gram = plan->recipe.gram_weight = 0;
    return rc;
}

int ruvm_rag_embed_rows(struct ruvm_rag_embed *e, const struct ruvm_library *lib,
                        struct ruvm_rag_plan *plan, const struct ruvm_progress *progress,
                        struct ruvm_error *err)
{
    if (e->kind == RUVM_RECIPE_HASHED)
        return RUVM_OK;
    if (e->kind == RUVM_RECIPE_TABLE)
        return make_table(e, lib, plan, progress, err);
    bool is_given = e->kind == RUVM_RECIPE_NONE;
    int rc = is_given ? check_count(e, lib, err) : make_states(e, lib, progress, err);
    e->rows = (struct ruvm_rag_rows){is_given ? give_vector : give_state, e};
    plan->rows = &e->rows;
    plan->dims = e->dims;
    plan->recipe.kind = e->kind;
    plan->recipe.n_buckets = is_given ? 0 : ruvm_rag_embed_recipe_bytes(e->dims);
    plan->recipe.weights = e->recipe;
    return rc;
}
