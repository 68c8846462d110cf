/* rag-add: one knowledge blob, changed as a whole.
 *
 * The old file is read, changed in memory, built anew and renamed over; until then nobody
 * sees anything of it, and a lock keeps a second writer away.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/bundle/blob_lock.h"
#include "lib/bundle/knn_blob.h"
#include "lib/bundle/rag_build.h"
#include "lib/bundle/rag_embed.h"
#include "lib/bundle/rag_names.h"
#include "lib/bundle/tree_blob.h"

enum { DEFAULT_CHUNK = 600, MIN_CHUNK = 32, OVERLAP_SHARE = 6 };
enum { DEFAULT_TABLE_WORDS = 10000 };
enum { DEFAULT_GRAM = 4, DEFAULT_GRAM_WEIGHT = 128, DEFAULT_SHARE = 10, DEFAULT_FLOOR = 115 };

/* One call of the verb. */
struct adding {
    const struct ruvm_rag_add_options *o;
    struct ruvm_error *err;
    struct ruvm_rag_add_result *r;
    struct ruvm_map old; /* data NULL: there was no blob */
    struct ruvm_rag rag; /* of it */
    struct ruvm_library lib;
    struct ruvm_map *sources; /* [n_sources], mapped while their texts are used */
    struct ruvm_rag_plan plan;
    struct ruvm_rag_embed embed;
    char *meta; /* of the sources, or NULL */
    uint32_t now;
};

/* ---- what is there ------------------------------------------------------------------------ */

static int fail_blob(const struct adding *a, int rc, const struct ruvm_rag_fault *fault)
{
    return ruvm_fail(a->err, rc,
                     "%s: byte %u%s%s: %s: it is no knowledge blob, or damaged; make a "
                     "new one of the sources",
                     a->o->blob, fault->off, fault->section[0] ? ", section " : "", fault->section,
                     fault->what ? fault->what : "wrong");
}

static int open_old(struct adding *a)
{
    struct ruvm_rag_fault fault = {0};
    struct stat st;
    if (stat(a->o->blob, &st) != 0 && errno == ENOENT)
        return RUVM_OK;
    int rc = ruvm_file_map(&a->old, a->o->blob, a->err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_rag_open(&a->rag, a->old.data, a->old.size, &fault);
    if (rc == RUVM_OK)
        rc = ruvm_rag_check(&a->rag, &fault);
    if (rc != RUVM_OK)
        return fail_blob(a, rc, &fault);
    return ruvm_library_load(&a->lib, &a->rag, a->now, a->err);
}

/* ---- the plan ------------------------------------------------------------------------------ */

static void plan_defaults(struct ruvm_rag_plan *p)
{
    *p = (struct ruvm_rag_plan){.words = true,
                                .dims = RUVM_RAG_DEFAULT_DIMS,
                                .max_buckets = RUVM_RAG_DEFAULT_BUCKETS,
                                .generation = 1,
                                .recipe = {.kind = RUVM_RECIPE_HASHED,
                                           .gram = DEFAULT_GRAM,
                                           .gram_weight = DEFAULT_GRAM_WEIGHT,
                                           .share = DEFAULT_SHARE,
                                           .floor = DEFAULT_FLOOR,
                                           .chunk = DEFAULT_CHUNK}};
}

/* What the blob was made with goes on. */
static int plan_from_old(struct adding *a)
{
    struct ruvm_rag_plan *p = &a->plan;
    struct ruvm_recipe old;
    int rc = ruvm_recipe_of(&old, &a->rag);
    if (rc != RUVM_OK)
        return ruvm_fail(a->err, rc, "%s: section RCPE: is damaged, or of a newer version",
                         a->o->blob);
    const char *why = ruvm_rag_embed_refuses(&a->embed, &a->rag, &old);
    if (why)
        return ruvm_fail(a->err, RUVM_ERR_UNSUPPORTED, "%s: %s", a->o->blob, why);
    if (old.kind == RUVM_RECIPE_NONE) {
        a->embed.kind = old.kind;
        a->embed.dims = a->rag.dims;
        a->embed.old = &a->rag;
    }
    if (old.kind == RUVM_RECIPE_TABLE && !a->embed.is_said) {
        a->embed.kind = old.kind;
        a->embed.old = &a->rag;
    }
    p->recipe = old;
    p->type = a->rag.type;
    p->dims = a->rag.dims;
    p->words = a->rag.part[RUVM_RAG_BM25].data != NULL;
    p->generation = a->rag.generation + 1;
    return RUVM_OK;
}

static int plan_options(struct adding *a)
{
    const struct ruvm_rag_add_options *o = a->o;
    struct ruvm_recipe *r = &a->plan.recipe;
    int rc = ruvm_rag_name_find(&r->rank, ruvm_rag_rank_names, o->rank, "rank", a->err);
    if (rc == RUVM_OK)
        rc = ruvm_rag_name_find(&r->split, ruvm_rag_split_names, o->split, "split", a->err);
    if (rc == RUVM_OK)
        rc = ruvm_rag_name_find(&a->plan.type, ruvm_rag_type_names, o->type, "type of vectors",
                                a->err);
    if (rc != RUVM_OK)
        return rc;
    bool new_size = o->chunk_bytes && o->chunk_bytes != r->chunk;
    if (o->chunk_bytes)
        r->chunk = (uint16_t)o->chunk_bytes;
    if (o->has_overlap && o->overlap_bytes > r->chunk / 2u)
        return ruvm_fail(a->err, RUVM_ERR_ARG,
                         "an overlap of %u bytes is too large: half a chunk at most, here %u",
                         o->overlap_bytes, r->chunk / 2u);
    if (o->has_overlap)
        r->overlap = (uint16_t)o->overlap_bytes;
    else if (!a->old.data || new_size)
        r->overlap = (uint16_t)(r->chunk / OVERLAP_SHARE);
    if (o->dims && a->embed.kind == RUVM_RECIPE_TABLE)
        return ruvm_fail(a->err, RUVM_ERR_ARG,
                         "%s: its vectors have the dimensions of a table of words: they are not to "
                         "be chosen",
                         o->blob);
    if (o->dims)
        a->plan.dims = o->dims;
    a->embed.first_words = o->has_table_words ? o->table_words : DEFAULT_TABLE_WORDS;
    if (a->embed.kind == RUVM_RECIPE_NONE) { /* a vector a text */
        a->lib.keep_duplicates = true;
        r->chunk = RUVM_RAG_MAX_CHUNK;
        r->overlap = 0;
        r->split = RUVM_SPLIT_SIZE;
    }
    if (o->degree)
        a->plan.degree = o->degree;
    if (o->no_words)
        a->plan.words = false;
    return RUVM_OK;
}

static int check_options(const struct ruvm_rag_add_options *o, struct ruvm_error *err)
{
    if (o->chunk_bytes && (o->chunk_bytes < MIN_CHUNK || o->chunk_bytes > RUVM_RAG_MAX_CHUNK))
        return ruvm_fail(err, RUVM_ERR_ARG, "chunks of %u bytes: there are %d to %d",
                         o->chunk_bytes, MIN_CHUNK, RUVM_RAG_MAX_CHUNK);
    if (o->dims && (o->dims < RUVM_RAG_MIN_DIMS || o->dims > RUVM_RAG_MAX_DIMS || o->dims % 8))
        return ruvm_fail(err, RUVM_ERR_ARG, "%u dimensions: there are 8 to 1024, a multiple of 8",
                         o->dims);
    return RUVM_OK;
}

/* ---- the sources ---------------------------------------------------------------------------- */

static int delete_sources(struct adding *a)
{
    if (a->o->n_deletes && !a->old.data)
        return ruvm_fail(a->err, RUVM_ERR_ARG,
                         "%s: is not there, so that nothing can be deleted from it: check the name",
                         a->o->blob);
    for (uint32_t i = 0; i < a->o->n_deletes; i++)
        if (!ruvm_library_forget(&a->lib, a->o->deletes[i]))
            return ruvm_fail(a->err, RUVM_ERR_ARG,
                             "%s: has no source %s: ruvm rag-add --list shows those it has",
                             a->o->blob, a->o->deletes[i]);
    return RUVM_OK;
}

/* What makes an entry of a memory: its type, what it is worth, and since when it ages. */
static int check_memory(const struct adding *a)
{
    static const char *const names[] = {"factual", "episodic", "procedural", "preference", NULL};
    uint8_t type;
    if (a->o->has_importance && a->o->importance > 100)
        return ruvm_fail(a->err, RUVM_ERR_ARG, "an importance of %u: there are 0 to 100",
                         a->o->importance);
    return ruvm_rag_name_find(&type, names, a->o->memory, "type of memory", a->err);
}

static void put_memory(const struct adding *a, cJSON *object)
{
    if (a->o->memory) {
        cJSON_AddStringToObject(object, "memory", a->o->memory);
        cJSON_AddNumberToObject(object, "time", a->now);
    }
    if (a->o->has_importance)
        cJSON_AddNumberToObject(object, "importance", a->o->importance);
}

/* "KEY=VALUE" words as a JSON object. */
static int join_metas(struct adding *a)
{
    bool any = a->o->n_metas || a->o->memory || a->o->has_importance;
    cJSON *object = any ? cJSON_CreateObject() : NULL;
    int rc = RUVM_OK;
    for (uint32_t i = 0; rc == RUVM_OK && i < a->o->n_metas; i++) {
        const char *word = a->o->metas[i], *equals = strchr(word, '=');
        char key[128];
        size_t n = equals ? (size_t)(equals - word) : 0;
        if (n == 0 || n >= sizeof key) {
            rc = ruvm_fail(a->err, RUVM_ERR_ARG,
                           "metadata %s: write KEY=VALUE, the key at most 127 "
                           "bytes",
                           word);
            break;
        }
        memcpy(key, word, n);
        key[n] = '\0';
        cJSON_DeleteItemFromObjectCaseSensitive(object, key);
        cJSON_AddStringToObject(object, key, equals + 1);
    }
    if (object)
        put_memory(a, object);
    a->meta = object && rc == RUVM_OK ? cJSON_PrintUnformatted(object) : NULL;
    if (rc == RUVM_OK && object && !a->meta)
        rc = ruvm_fail(a->err, RUVM_ERR_MEMORY, "no memory for metadata");
    cJSON_Delete(object);
    return rc;
}

static int format_of(enum ruvm_document_format *format, const char *name, struct ruvm_error *err)
{
    static const char *const names[] = {"auto", "text", "markdown", "csv", "jsonl", NULL};
    uint8_t value = RUVM_DOCUMENT_AUTO;
    int rc = ruvm_rag_name_find(&value, names, name, "format of documents", err);
    *format = value;
    return rc;
}

static int add_source(struct adding *a, uint32_t i, enum ruvm_document_format format)
{
    const struct ruvm_rag_add_options *o = a->o;
    const char *path = o->sources[i];
    int rc = ruvm_file_map(&a->sources[i], path, a->err);
    if (rc != RUVM_OK)
        return rc;
    bool is_stdin = strcmp(path, "/dev/stdin") == 0;
    if (is_stdin && a->sources[i].size == 0)
        return ruvm_fail(a->err, RUVM_ERR_IO,
                         "standard input: is empty: check what writes to it (--delete takes a "
                         "source out)");
    struct ruvm_library_add add = {
        .document = {.name = is_stdin ? (o->stdin_name ? o->stdin_name : "stdin") : path,
                     .data = (const char *)a->sources[i].data,
                     .size = a->sources[i].size,
                     .format = format,
                     .now = a->now},
        .chunks = {a->plan.recipe.chunk, a->plan.recipe.overlap, a->plan.recipe.split},
        .meta = a->meta,
        .expires = o->ttl_s ? (uint32_t)(a->now + o->ttl_s) : 0};
    return ruvm_library_add(&a->lib, &add, a->err);
}

static int add_sources(struct adding *a)
{
    const struct ruvm_progress *p = &a->o->progress;
    enum ruvm_document_format format;
    int rc = format_of(&format, a->o->format, a->err);
    if (a->o->ttl_s > UINT32_MAX - (uint64_t)a->now)
        return ruvm_fail(a->err, RUVM_ERR_ARG, "a time to live that ends after the year 2106");
    for (uint32_t i = 0; rc == RUVM_OK && i < a->o->n_sources; i++) {
        if (p->report && p->report(p->user, "reading", i, a->o->n_sources))
            return ruvm_fail(a->err, RUVM_ERR_IO, "interrupted");
        rc = add_source(a, i, format);
    }
    return rc;
}

/* ---- the budget ----------------------------------------------------------------------------- */

/* What is given up to fit, from the best to the least: dimensions, links and weights, then
 * rows of bits, at last the words. Degree 0: the smallest that meets the goal. */
static const struct step {
    uint16_t dims, max_buckets;
    uint8_t type, degree;
    bool words;
} steps[] = {
    {256, 1 << 14, RUVM_VECTOR_INT8, 0, true},   {192, 1 << 14, RUVM_VECTOR_INT8, 0, true},
    {128, 1 << 13, RUVM_VECTOR_INT8, 12, true},  {96, 1 << 12, RUVM_VECTOR_INT8, 12, true},
    {64, 1 << 12, RUVM_VECTOR_INT8, 8, true},    {64, 1 << 10, RUVM_VECTOR_INT8, 8, true},
    {256, 1 << 10, RUVM_VECTOR_BINARY, 8, true}, {128, 1 << 8, RUVM_VECTOR_BINARY, 8, true},
    {64, 1 << 8, RUVM_VECTOR_BINARY, 8, true},   {256, 1 << 10, RUVM_VECTOR_BINARY, 8, false},
    {128, 1 << 8, RUVM_VECTOR_BINARY, 8, false}, {64, 1 << 8, RUVM_VECTOR_BINARY, 8, false},
};
enum { N_STEPS = sizeof steps / sizeof *steps };

/* Step i, but for what the caller chose. */
static struct step step_of(const struct adding *a, size_t i)
{
    const struct ruvm_rag_add_options *o = a->o;
    struct step s = steps[i];
    bool is_made = !a->plan.rows && !a->plan.table;
    s.dims = o->dims ? (uint16_t)o->dims : is_made ? s.dims : (uint16_t)a->plan.dims;
    s.degree = o->degree ? (uint8_t)o->degree : s.degree;
    s.type = o->type ? a->plan.type : s.type;
    s.words = s.words && !o->no_words;
    return s;
}

static int build(struct adding *a, struct ruvm_buffer *out, struct ruvm_rag_sections *s)
{
    return ruvm_rag_build(out, &a->lib, s, &a->plan, &a->o->progress, a->r, a->err);
}

static int build_within(struct adding *a, struct ruvm_buffer *out, struct ruvm_rag_sections *s)
{
    uint64_t smallest = UINT64_MAX;
    for (size_t i = 0; i < N_STEPS; i++) {
        struct step step = step_of(a, i);
        uint64_t rows = (uint64_t)a->lib.n_chunks * ruvm_rag_row_bytes(step.type, step.dims);
        if (rows + s->text.text.size > a->o->budget_bytes && i + 1 < N_STEPS)
            continue;
        a->plan.dims = step.dims;
        a->plan.type = step.type;
        a->plan.degree = step.degree;
        a->plan.words = step.words;
        a->plan.max_buckets = a->plan.max_words = step.max_buckets;
        int rc = build(a, out, s);
        if (rc != RUVM_OK || out->size <= a->o->budget_bytes)
            return rc;
        smallest = out->size < smallest ? out->size : smallest;
    }
    return ruvm_fail(a->err, RUVM_ERR_UNSUPPORTED,
                     "%s: %llu bytes do not hold %u chunks with %zu bytes of text: the least is "
                     "%llu",
                     a->o->blob, (unsigned long long)a->o->budget_bytes, a->lib.n_chunks,
                     s->text.text.size, (unsigned long long)smallest);
}

/* ---- the verb ------------------------------------------------------------------------------- */

static void note(const struct adding *a)
{
    const struct ruvm_library *lib = &a->lib;
    const struct ruvm_recipe *recipe = &a->plan.recipe;
    a->r->n_added = lib->n_added;
    a->r->n_removed = lib->n_removed;
    a->r->n_expired = lib->n_expired;
    a->r->n_duplicates = lib->n_duplicates;
    a->r->n_empty = lib->n_empty;
    a->r->n_bad_bytes = lib->n_bad_bytes;
    a->r->chunk_bytes = recipe->chunk;
    a->r->overlap_bytes = recipe->overlap;
    a->r->rank = ruvm_rag_rank_names[recipe->rank];
    a->r->split = ruvm_rag_split_names[recipe->split];
    a->r->type = ruvm_rag_type_names[a->plan.type];
    a->r->is_old_table = a->embed.kind == RUVM_RECIPE_TABLE && !a->embed.path;
    a->r->n_text_words = (uint32_t)a->embed.table.counted.used;
    a->r->n_unknown_words = a->embed.table.n_unknown;
}

static int write_blob(const struct adding *a, const struct ruvm_buffer *out)
{
    return a->o->dry_run ? RUVM_OK : ruvm_file_write(a->o->blob, out->data, out->size, a->err);
}

static int build_and_write(struct adding *a)
{
    struct ruvm_rag_sections s = {0};
    struct ruvm_buffer out = {0};
    int rc = ruvm_library_write(&a->lib, &s.text, a->err);
    if (rc == RUVM_OK)
        rc = a->o->budget_bytes ? build_within(a, &out, &s) : build(a, &out, &s);
    if (rc == RUVM_OK)
        rc = write_blob(a, &out);
    note(a);
    ruvm_rag_sections_free(&s);
    ruvm_buffer_free(&out);
    return rc;
}

/* A tree's blob, and one for kNN-LM, are made anew in the place of one of their kind; what else
 * is there stays. */
static int open_same(struct adding *a, uint8_t kind, const char *what)
{
    struct ruvm_recipe old;
    int rc = open_old(a);
    if (rc != RUVM_OK || !a->old.data)
        return rc;
    const struct ruvm_rag_part *part = &a->rag.part[RUVM_RAG_RCPE];
    bool may_be = kind != RUVM_RECIPE_NONE || a->rag.metric == RUVM_METRIC_LORENTZ;
    if (may_be && ruvm_recipe_open(&old, part->data, part->bytes) == RUVM_OK && old.kind == kind)
        return RUVM_OK;
    return ruvm_fail(a->err, RUVM_ERR_ARG,
                     "%s: is there and %s: name a new blob, or remove it first", a->o->blob, what);
}

static uint32_t next_generation(const struct adding *a)
{
    return a->old.data ? a->rag.generation + 1 : 1;
}

static int change_taxonomy(struct adding *a)
{
    struct ruvm_buffer out = {0};
    int rc = open_same(a, RUVM_RECIPE_NONE, "no taxonomy");
    const struct ruvm_tree_blob o = {.path = a->o->taxonomy,
                                     .dims = a->o->dims,
                                     .generation = next_generation(a),
                                     .progress = &a->o->progress};
    if (rc == RUVM_OK)
        rc = ruvm_tree_blob(&out, &o, a->r, a->err);
    if (rc == RUVM_OK)
        rc = write_blob(a, &out);
    ruvm_buffer_free(&out);
    return rc;
}

static int change_knn(struct adding *a)
{
    struct ruvm_buffer out = {0};
    int rc = open_same(a, RUVM_RECIPE_NEXT, "not for kNN-LM");
    const struct ruvm_knn_blob o = {.model = a->o->knn_model,
                                    .sources = a->o->sources,
                                    .n_sources = a->o->n_sources,
                                    .stdin_name = a->o->stdin_name,
                                    .documents = a->o->documents,
                                    .degree = a->o->degree,
                                    .generation = next_generation(a),
                                    .progress = &a->o->progress};
    if (rc == RUVM_OK)
        rc = ruvm_knn_blob(&out, &o, a->r, a->err);
    if (rc == RUVM_OK)
        rc = write_blob(a, &out);
    ruvm_buffer_free(&out);
    return rc;
}

static int change(struct adding *a)
{
    if (a->o->taxonomy)
        return change_taxonomy(a);
    if (a->o->knn_model)
        return change_knn(a);
    plan_defaults(&a->plan);
    int rc = ruvm_rag_embed_open(&a->embed, a->o->embed, a->err);
    if (rc == RUVM_OK)
        rc = open_old(a);
    if (rc == RUVM_OK && a->old.data)
        rc = plan_from_old(a);
    if (rc == RUVM_OK)
        rc = plan_options(a);
    if (rc == RUVM_OK)
        rc = delete_sources(a);
    if (rc == RUVM_OK)
        rc = check_memory(a);
    if (rc == RUVM_OK)
        rc = join_metas(a);
    if (rc == RUVM_OK)
        rc = add_sources(a);
    if (rc == RUVM_OK)
        rc = ruvm_rag_embed_rows(&a->embed, &a->lib, &a->plan, &a->o->progress, a->err);
    return rc == RUVM_OK ? build_and_write(a) : rc;
}

int ruvm_rag_add(const struct ruvm_rag_add_options *o, struct ruvm_rag_add_result *r,
                 struct ruvm_error *err)
{
    double start = ruvm_clock_s();
    struct adding a = {.o = o, .err = err, .r = r};
    struct ruvm_blob_lock lock = {0};
    *r = (struct ruvm_rag_add_result){0};
    a.now = o->now_s ? o->now_s : (uint32_t)time(NULL);
    a.lib.keep_duplicates = o->keep_duplicates;
    a.sources = calloc(o->n_sources + 1, sizeof *a.sources);
    int rc = a.sources ? check_options(o, err) : RUVM_ERR_MEMORY;
    if (rc == RUVM_OK && !o->dry_run)
        rc = ruvm_blob_lock_take(&lock, o->blob, err);
    if (rc == RUVM_OK)
        rc = change(&a);
    ruvm_blob_lock_release(&lock);
    ruvm_library_free(&a.lib);
    ruvm_rag_embed_close(&a.embed);
    for (uint32_t i = 0; a.sources && i < o->n_sources; i++)
        ruvm_file_unmap(&a.sources[i]);
    ruvm_file_unmap(&a.old);
    free(a.sources);
    cJSON_free(a.meta);
    r->seconds = ruvm_clock_s() - start;
    return rc;
}
