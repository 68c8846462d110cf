/* A text in the ids of a source whose vocabulary is beyond what an image holds.
 *
 * The one tokenizer that exists has 16 bits for an id. So the text is read in parts, and each
 * with those pieces alone that can be met in it, which gives the very same tokens. A part ends
 * with a line where it can; one that needs too many pieces is halved.
 */
#define _GNU_SOURCE /* memrchr */
#include <string.h>

#include "lib/base/buffer.h"
#include "lib/base/file.h"
#include "lib/convert/text.h"
#include "lib/convert/tokenizer_build.h"
#include "lib/core/tokenizer.h"
#include "lib/prune/vocab_part.h"

/* Large, for the pieces are gone through for each; few bytes never need too many pieces. */
enum { PART_BYTES = 1 << 18, LEAST_BYTES = 1 << 10 };

struct reading {
    struct ruvm_text *text;
    const struct ruvm_vocab *vocab;
    struct ruvm_text_options o;
    const char *path;
    struct ruvm_error *err;
};

/* Bytes of a part of at most `most`: whole lines, or whole characters. */
static size_t part_of(const char *bytes, size_t left, size_t most)
{
    if (left <= most)
        return left;
    const char *end = memrchr(bytes, '\n', most);
    size_t n = end ? (size_t)(end - bytes) + 1 : most;
    for (size_t back = 0; !end && back < 3 && ((uint8_t)bytes[n] & 0xC0u) == 0x80u; back++)
        n--;
    return n;
}

static bool fits(const struct ruvm_vocab *v)
{
    return v->n_pieces <= RUVM_NO_TOKEN && v->n_merges <= UINT16_MAX;
}

/* The part of the vocabulary for the bytes; *n becomes fewer of them if it must. */
static int find_part(struct reading *r, struct ruvm_vocab_part *part, struct ruvm_arena *arena,
                     const char *bytes, size_t *n)
{
    for (;; *n = part_of(bytes, *n, *n / 2)) {
        struct ruvm_arena work = {0};
        bool *keep = ruvm_arena_alloc(&work, r->vocab->n_pieces, sizeof *keep);
        int rc = keep ? ruvm_vocab_part_of_text(keep, r->vocab, bytes, *n, &work, r->err)
                      : ruvm_fail(r->err, RUVM_ERR_MEMORY, "memory is short for %u pieces",
                                  r->vocab->n_pieces);
        if (rc == RUVM_OK)
            rc = ruvm_vocab_part_take(part, arena, r->vocab, keep, r->err);
        ruvm_arena_free(&work);
        if (rc != RUVM_OK || fits(&part->vocab) || *n <= LEAST_BYTES)
            return rc;
        ruvm_arena_free(arena);
    }
}

static int encode_part(struct reading *r, const struct ruvm_vocab_part *part, const char *bytes,
                       size_t n, size_t line)
{
    struct ruvm_buffer section = {0};
    struct ruvm_tokenizer tokenizer;
    int rc = ruvm_tokenizer_build(&section, &part->vocab, r->err);
    if (rc == RUVM_OK) {
        ruvm_tokenizer_over(&tokenizer, section.data);
        r->o.tokenizer = &tokenizer;
        rc = ruvm_text_add(r->text, &r->o, part->old, r->path, bytes, n, line, r->err);
    }
    ruvm_buffer_free(&section);
    return rc;
}

static size_t count_lines(const char *bytes, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += bytes[i] == '\n';
    return lines;
}

static int read_parts(struct reading *r, const char *bytes, size_t size)
{
    int rc = RUVM_OK;
    for (size_t at = 0, line = 1, n; at < size && rc == RUVM_OK; at += n) {
        struct ruvm_arena arena = {0};
        struct ruvm_vocab_part part;
        if (ruvm_text_is_full(r->text, &r->o))
            break;
        n = part_of(bytes + at, size - at, PART_BYTES);
        rc = find_part(r, &part, &arena, bytes + at, &n);
        if (rc == RUVM_OK)
            rc = encode_part(r, &part, bytes + at, n, line);
        line += count_lines(bytes + at, n);
        ruvm_arena_free(&arena);
    }
    return rc;
}

int ruvm_text_read_source(struct ruvm_text *t, struct ruvm_arena *arena, const char *path,
                          const struct ruvm_vocab *vocab, const struct ruvm_text_options *o,
                          struct ruvm_error *err)
{
    struct reading r = {.text = t, .vocab = vocab, .o = *o, .path = path, .err = err};
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    /* a start token and a space a part, which has a thousand bytes at least or is the last */
    uint64_t max = (uint64_t)map.size + map.size / 128 + 16;
    r.o.documents = false;
    if (o->max_positions != 0 && o->max_positions < max)
        max = o->max_positions;
    if (!ruvm_text_reserve(t, arena, max))
        rc = ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short for its %zu bytes of text", path,
                       map.size);
    else
        rc = read_parts(&r, (const char *)map.data, map.size);
    ruvm_file_unmap(&map);
    uint32_t start = vocab->bos != RUVM_VOCAB_NONE ? vocab->bos : vocab->n_pieces > 1 ? 1 : 0;
    return rc == RUVM_OK ? ruvm_text_end(t, start, path, err) : rc;
}
