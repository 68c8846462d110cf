/* Library: the sections TEXT, CHNK, SRCE and STRS of what is left.
 *
 * Chunks that overlap share their text: where a chunk begins with the end of the one before
 * it, only its rest is written. Metadata of a chunk that are those of the one before are the
 * same string.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/bundle/library.h"

enum { MAX_SHARED = 2048 }; /* bytes of an overlap that are looked for */

/* Bytes that the text so far ends, and the chunk begins with. */
static uint32_t shared_bytes(const struct ruvm_buffer *text, const struct ruvm_library_chunk *c)
{
    uint32_t n = c->n_text < MAX_SHARED ? c->n_text : MAX_SHARED;
    if (n > text->size)
        n = (uint32_t)text->size;
    for (; n > 0; n--)
        if (text->data[text->size - n] == (uint8_t)c->text[0] &&
            memcmp(text->data + text->size - n, c->text, n) == 0)
            return n;
    return 0;
}

static uint32_t string_or_none(struct ruvm_buffer *strings, const char *text, size_t n)
{
    return text && n ? ruvm_rag_write_string(strings, text, n) : RUVM_RAG_NONE;
}

static bool same_meta(const struct ruvm_library_chunk *a, const struct ruvm_library_chunk *b)
{
    return a->n_meta == b->n_meta && (a->n_meta == 0 || memcmp(a->meta, b->meta, a->n_meta) == 0);
}

/* The numbers that sources which stay have in the blob. */
static uint32_t write_sources(struct ruvm_library *lib, struct ruvm_library_text *out,
                              uint16_t *numbers)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < lib->n_sources; i++) {
        const struct ruvm_library_source *s = &lib->sources[i];
        if (s->gone)
            continue;
        const struct ruvm_rag_write_source w = {
            .name = ruvm_rag_write_string(&out->strings, s->name, s->n_name),
            .meta = string_or_none(&out->strings, s->meta, s->n_meta),
            .bytes = s->bytes,
            .crc = s->crc};
        ruvm_rag_write_source(&out->sources, &w);
        numbers[i] = (uint16_t)n++;
    }
    return n;
}

static void write_chunks(struct ruvm_library *lib, struct ruvm_library_text *out,
                         const uint16_t *numbers)
{
    uint32_t meta = RUVM_RAG_NONE;
    for (uint32_t i = 0; i < lib->n_chunks; i++) {
        const struct ruvm_library_chunk *c = &lib->chunks[i];
        uint32_t shared = shared_bytes(&out->text, c);
        if (i == 0 || !same_meta(c, c - 1))
            meta = string_or_none(&out->strings, c->meta, c->n_meta);
        const struct ruvm_rag_write_chunk w = {.off = (uint32_t)(out->text.size - shared),
                                               .bytes = (uint16_t)c->n_text,
                                               .source = numbers[c->source],
                                               .meta = meta,
                                               .expires = c->expires};
        ruvm_buffer_bytes(&out->text, c->text + shared, c->n_text - shared);
        ruvm_rag_write_chunk(&out->chunks, &w);
    }
}

int ruvm_library_write(struct ruvm_library *lib, struct ruvm_library_text *out,
                       struct ruvm_error *err)
{
    *out = (struct ruvm_library_text){0};
    uint16_t *numbers = calloc(lib->n_sources + 1, sizeof *numbers);
    if (!numbers)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the sources of a blob");
    out->n_sources = write_sources(lib, out, numbers);
    write_chunks(lib, out, numbers);
    free(numbers);
    if (out->text.size > UINT32_MAX || out->strings.size > UINT32_MAX)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "more than 4 GiB of text: use several blobs");
    bool ok = ruvm_buffer_ok(&out->text) && ruvm_buffer_ok(&out->chunks) &&
              ruvm_buffer_ok(&out->sources) && ruvm_buffer_ok(&out->strings);
    return ok ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the text of a blob");
}

void ruvm_library_text_free(struct ruvm_library_text *out)
{
    ruvm_buffer_free(&out->text);
    ruvm_buffer_free(&out->chunks);
    ruvm_buffer_free(&out->sources);
    ruvm_buffer_free(&out->strings);
}
