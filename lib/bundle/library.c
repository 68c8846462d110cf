/* Library: chunks in a list, sources in another, and a hash table that knows every text.
 *
 * Chunks that go are taken out of the list at once, so that those that stay keep their order
 * and the same documents, added in the same order, give the same blob whatever was deleted
 * between. The hash table is made anew when something was taken out.
 */
#include "lib/bundle/library.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/crc32.h"

/* A blob of text is for a chip's flash; more would take hours to connect, and be found out at
 * the end. */
enum { MAX_BLOB_CHUNKS = 1000000 };

static int no_memory(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the chunks of a blob");
}

/* Room for one more element; the new array, or NULL. */
static void *grown(void *array, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return array;
    uint32_t bigger = *cap ? 2 * *cap : 256;
    void *p = realloc(array, bigger * size);
    if (p)
        *cap = bigger;
    return p;
}

/* ---- which texts are there --------------------------------------------------------- */

static uint32_t *slot_of(struct ruvm_library *lib, const char *text, uint32_t n)
{
    uint32_t mask = lib->seen_cap - 1, i = ruvm_crc32(0, text, n) & mask;
    for (; lib->seen[i]; i = (i + 1) & mask) {
        const struct ruvm_library_chunk *c = &lib->chunks[lib->seen[i] - 1];
        if (c->n_text == n && memcmp(c->text, text, n) == 0)
            break;
    }
    return &lib->seen[i];
}

/* A table at most half full with all chunks in it. */
static bool remember_all(struct ruvm_library *lib)
{
    uint32_t cap = 256;
    while (cap < 4 * (uint64_t)(lib->n_chunks + 1))
        cap *= 2;
    free(lib->seen);
    lib->seen = calloc(cap, sizeof *lib->seen);
    lib->seen_cap = lib->seen ? cap : 0;
    if (!lib->seen)
        return false;
    for (uint32_t i = 0; i < lib->n_chunks; i++) {
        uint32_t *slot = slot_of(lib, lib->chunks[i].text, lib->chunks[i].n_text);
        if (!*slot)
            *slot = i + 1;
    }
    return true;
}

/* ---- adding -------------------------------------------------------------------------- */

int ruvm_library_append(struct ruvm_library *lib, const struct ruvm_library_chunk *chunk,
                        struct ruvm_error *err)
{
    if (lib->n_chunks == MAX_BLOB_CHUNKS)
        return ruvm_fail(
            err, RUVM_ERR_UNSUPPORTED,
            "more than %d chunks: a blob holds no more; make chunks larger (--chunk) or "
            "use several blobs",
            MAX_BLOB_CHUNKS);
    void *p = grown(lib->chunks, lib->n_chunks, &lib->chunks_cap, sizeof *lib->chunks);
    if (!p)
        return no_memory(err);
    lib->chunks = p;
    if (2 * (uint64_t)lib->n_chunks >= lib->seen_cap && !remember_all(lib))
        return no_memory(err);
    uint32_t *slot = slot_of(lib, chunk->text, chunk->n_text);
    if (*slot && !lib->keep_duplicates) {
        lib->n_duplicates++;
        return RUVM_OK;
    }
    lib->chunks[lib->n_chunks++] = *chunk;
    lib->sources[chunk->source].n_chunks++;
    if (!*slot)
        *slot = lib->n_chunks;
    return RUVM_OK;
}

static int append_source(struct ruvm_library *lib, const struct ruvm_library_source *source,
                         struct ruvm_error *err)
{
    if (lib->n_sources == RUVM_RAG_MAX_SOURCES)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "more than %d sources: put several documents into one JSONL file",
                         RUVM_RAG_MAX_SOURCES);
    void *p = grown(lib->sources, lib->n_sources, &lib->sources_cap, sizeof *lib->sources);
    if (!p)
        return no_memory(err);
    lib->sources = p;
    lib->sources[lib->n_sources++] = *source;
    return RUVM_OK;
}

/* A document on its way into the library. */
struct adding {
    struct ruvm_library *lib;
    const struct ruvm_library_add *add;
    uint32_t source;
};

/* The passage's text; with a heading before each chunk it must be put together. */
static const char *with_context(struct adding *a, const struct ruvm_passage *p,
                                const struct ruvm_chunker *c, uint32_t *n)
{
    bool has_context = p->n_context > 0;
    char *text = ruvm_arena_alloc(&a->lib->arena, p->n_context + 1 + c->n_chunk, 1);
    if (!text)
        return NULL;
    if (has_context) {
        memcpy(text, p->context, p->n_context);
        text[p->n_context] = '\n';
    }
    size_t start = has_context ? p->n_context + 1 : 0;
    memcpy(text + start, c->chunk, c->n_chunk);
    *n = (uint32_t)(start + c->n_chunk);
    return text;
}

static int take_passage(void *context, const struct ruvm_passage *p, struct ruvm_error *err)
{
    struct adding *a = context;
    struct ruvm_passage cut = *p;
    if (cut.n_context > a->add->chunks.bytes / 2) /* a heading as long as a chunk is none */
        cut.n_context = 0;
    struct ruvm_chunk_options o = a->add->chunks;
    o.bytes = o.split == RUVM_SPLIT_HEADING ? RUVM_RAG_MAX_CHUNK : o.bytes;
    o.bytes -= (uint32_t)cut.n_context + (cut.n_context > 0);
    o.overlap = o.overlap < o.bytes / 2 ? o.overlap : o.bytes / 2;
    struct ruvm_chunker c = ruvm_chunker_over(cut.text, cut.n_text, &o);
    struct ruvm_library_chunk chunk = {.source = a->source,
                                       .expires = p->expires ? p->expires : a->add->expires};
    if (p->meta && *p->meta) {
        size_t n = strlen(p->meta);
        if (n > UINT16_MAX)
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                             "%s: metadata of %zu bytes: a chunk may have 65535",
                             a->add->document.name, n);
        chunk.meta = ruvm_arena_text(&a->lib->arena, p->meta, n);
        chunk.n_meta = (uint32_t)n;
        if (!chunk.meta)
            return no_memory(err);
    }
    int rc = RUVM_OK;
    while (rc == RUVM_OK && ruvm_chunker_next(&c)) {
        chunk.row = a->lib->n_rows++;
        chunk.text = with_context(a, &cut, &c, &chunk.n_text);
        rc = chunk.text ? ruvm_library_append(a->lib, &chunk, err) : no_memory(err);
    }
    return rc;
}

static int describe(struct ruvm_library *lib, const struct ruvm_library_add *add,
                    struct ruvm_library_source *s, struct ruvm_error *err)
{
    const struct ruvm_document *d = &add->document;
    size_t n_name = strlen(d->name), n_meta = add->meta ? strlen(add->meta) : 0;
    if (n_name > UINT16_MAX || n_meta > UINT16_MAX)
        return ruvm_fail(err, RUVM_ERR_ARG, "%.64s: names and metadata may have 65535 bytes",
                         d->name);
    *s =
        (struct ruvm_library_source){.name = ruvm_arena_text(&lib->arena, d->name, n_name),
                                     .n_name = n_name,
                                     .n_meta = n_meta,
                                     .bytes = d->size > UINT32_MAX ? UINT32_MAX : (uint32_t)d->size,
                                     .crc = ruvm_crc32(0, d->data, d->size)};
    s->meta = n_meta ? ruvm_arena_text(&lib->arena, add->meta, n_meta) : NULL;
    return s->name && (s->meta || !n_meta) ? RUVM_OK : no_memory(err);
}

int ruvm_library_begin(struct ruvm_library *lib, const struct ruvm_library_add *add,
                       struct ruvm_error *err)
{
    struct ruvm_library_source source;
    ruvm_library_forget(lib, add->document.name);
    int rc = describe(lib, add, &source, err);
    return rc == RUVM_OK ? append_source(lib, &source, err) : rc;
}

int ruvm_library_add(struct ruvm_library *lib, struct ruvm_library_add *add, struct ruvm_error *err)
{
    int rc = ruvm_library_begin(lib, add, err);
    uint32_t before = lib->n_chunks;
    if (rc != RUVM_OK)
        return rc;
    struct adding a = {lib, add, lib->n_sources - 1};
    const struct ruvm_passage_sink sink = {take_passage, &a};
    rc = ruvm_document_read(&add->document, &sink, err);
    lib->n_bad_bytes += add->document.n_bad_bytes;
    lib->n_added += lib->n_chunks - before;
    lib->n_empty += lib->n_chunks == before;
    return rc;
}

/* ---- taking out ------------------------------------------------------------------------ */

struct ruvm_library_source *ruvm_library_find(const struct ruvm_library *lib, const char *name)
{
    size_t n = strlen(name);
    for (uint32_t i = 0; i < lib->n_sources; i++) {
        struct ruvm_library_source *s = &lib->sources[i];
        if (!s->gone && s->n_name == n && memcmp(s->name, name, n) == 0)
            return s;
    }
    return NULL;
}

bool ruvm_library_forget(struct ruvm_library *lib, const char *name)
{
    struct ruvm_library_source *s = ruvm_library_find(lib, name);
    if (!s)
        return false;
    uint32_t source = (uint32_t)(s - lib->sources), kept = 0;
    for (uint32_t i = 0; i < lib->n_chunks; i++)
        if (lib->chunks[i].source != source)
            lib->chunks[kept++] = lib->chunks[i];
    lib->n_removed += lib->n_chunks - kept;
    lib->n_chunks = kept;
    lib->seen_cap = 0; /* its numbers are others now */
    s->gone = true;
    return true;
}

/* ---- a blob ------------------------------------------------------------------------------ */

static int load_sources(struct ruvm_library *lib, const struct ruvm_rag *rag,
                        struct ruvm_error *err)
{
    int rc = RUVM_OK;
    for (uint32_t i = 0; rc == RUVM_OK && i < rag->n_sources; i++) {
        struct ruvm_source s = ruvm_rag_source(rag, i);
        const struct ruvm_library_source source = {.name = s.name.text ? s.name.text : "",
                                                   .n_name = s.name.bytes,
                                                   .meta = s.meta.text,
                                                   .n_meta = s.meta.bytes,
                                                   .bytes = s.bytes,
                                                   .crc = s.crc};
        rc = append_source(lib, &source, err);
    }
    return rc;
}

int ruvm_library_load(struct ruvm_library *lib, const struct ruvm_rag *rag, uint32_t now,
                      struct ruvm_error *err)
{
    int rc = load_sources(lib, rag, err);
    bool keep_duplicates = lib->keep_duplicates;
    lib->keep_duplicates = true; /* those of the blob were wanted */
    for (uint32_t i = 0; rc == RUVM_OK && i < rag->n; i++) {
        struct ruvm_chunk c = ruvm_rag_chunk(rag, i);
        bool expired = c.expires && c.expires <= now;
        const struct ruvm_library_chunk chunk = {.text = c.text.text,
                                                 .n_text = c.text.bytes,
                                                 .meta = c.meta.text,
                                                 .n_meta = c.meta.bytes,
                                                 .source = c.source,
                                                 .expires = c.expires,
                                                 .row = i | RUVM_LIBRARY_OLD};
        lib->n_expired += expired;
        if (!expired && chunk.text && !ruvm_rag_is_deleted(rag, i) && chunk.source < lib->n_sources)
            rc = ruvm_library_append(lib, &chunk, err);
    }
    lib->keep_duplicates = keep_duplicates;
    return rc;
}

void ruvm_library_free(struct ruvm_library *lib)
{
    free(lib->sources);
    free(lib->chunks);
    free(lib->seen);
    ruvm_arena_free(&lib->arena);
    *lib = (struct ruvm_library){0};
}
