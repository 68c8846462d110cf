/* Reader of the container of GGUF: walks the metadata once, checks every length against
 * the bytes that are left before it is believed, and keeps an index sorted by key.
 *
 * Values stay where they are. A count is compared with what could hold so many of the
 * smallest elements, so a file of a hundred bytes cannot ask for 2^63 of anything.
 */
#include "formats/gguf_read.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

enum {
    MAX_DEPTH = 4,         /* arrays of arrays; ggml itself reads none */
    SHOWN_KEY_BYTES = 64,  /* of a key in a message */
    ARRAY_HEAD_BYTES = 12, /* type and count */
};

/* Bytes of a scalar; 0: string and array. */
static const uint8_t scalar_bytes[RUVM_GGUF_N_TYPES] = {
    [RUVM_GGUF_U8] = 1,  [RUVM_GGUF_I8] = 1,  [RUVM_GGUF_U16] = 2, [RUVM_GGUF_I16] = 2,
    [RUVM_GGUF_U32] = 4, [RUVM_GGUF_I32] = 4, [RUVM_GGUF_F32] = 4, [RUVM_GGUF_BOOL] = 1,
    [RUVM_GGUF_U64] = 8, [RUVM_GGUF_I64] = 8, [RUVM_GGUF_F64] = 8,
};

static int shown(struct ruvm_gguf_string s)
{
    return s.n < SHOWN_KEY_BYTES ? (int)s.n : SHOWN_KEY_BYTES;
}

/* ---- header -------------------------------------------------------------------- */

bool ruvm_gguf_probe(const uint8_t *data, size_t size)
{
    return size >= 4 && memcmp(data, RUVM_GGUF_MAGIC, 4) == 0;
}

static int check_version(uint32_t version, struct ruvm_error *err)
{
    if (version == 1)
        return ruvm_fail(
            err, RUVM_ERR_UNSUPPORTED,
            "GGUF header: byte %d: GGUF version 1, ruvm reads 2 and 3 (of 2023: convert "
            "the original model again with a newer llama.cpp)",
            RUVM_GGUF_HDR_VERSION);
    if ((version & 0xffff) == 0 && version != 0)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "GGUF header: byte %d: a big-endian GGUF, ruvm reads little-endian ones "
                         "(gguf-py's gguf_convert_endian.py turns it)",
                         RUVM_GGUF_HDR_VERSION);
    if (version < RUVM_GGUF_MIN_VERSION || version > RUVM_GGUF_MAX_VERSION)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "GGUF header: byte %d: GGUF version %u, ruvm reads 2 and 3",
                         RUVM_GGUF_HDR_VERSION, version);
    return RUVM_OK;
}

static int check_count(const char *what, int off, uint64_t n, uint64_t bytes_each, size_t size,
                       struct ruvm_error *err)
{
    if (n > (size - RUVM_GGUF_HDR_BYTES) / bytes_each)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "GGUF header: byte %d: %llu %s do not fit into a file of %zu bytes "
                         "(truncated, or damaged?)",
                         off, (unsigned long long)n, what, size);
    return RUVM_OK;
}

static int read_header(struct ruvm_gguf *g, uint64_t *n_pairs, struct ruvm_error *err)
{
    if (!ruvm_gguf_probe(g->data, g->size))
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "GGUF header: byte 0: not GGUF");
    if (g->size < RUVM_GGUF_HDR_N_TENSORS)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "byte %zu: the file ends inside its GGUF header",
                         g->size);
    g->version = ruvm_load_u32(g->data + RUVM_GGUF_HDR_VERSION);
    int rc = check_version(g->version, err);
    if (rc != RUVM_OK)
        return rc;
    if (g->size < RUVM_GGUF_HDR_BYTES)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "byte %zu: the file ends inside its GGUF header",
                         g->size);
    g->n_tensors = ruvm_load_u64(g->data + RUVM_GGUF_HDR_N_TENSORS);
    *n_pairs = ruvm_load_u64(g->data + RUVM_GGUF_HDR_N_PAIRS);
    rc = check_count("tensors", RUVM_GGUF_HDR_N_TENSORS, g->n_tensors, RUVM_GGUF_MIN_TENSOR_BYTES,
                     g->size, err);
    return rc == RUVM_OK ? check_count("metadata keys", RUVM_GGUF_HDR_N_PAIRS, *n_pairs,
                                       RUVM_GGUF_MIN_PAIR_BYTES, g->size, err)
                         : rc;
}

/* ---- values -------------------------------------------------------------------- */

static const uint8_t *take(struct ruvm_reader *r, uint64_t n)
{
    return ruvm_reader_take(r, n > PTRDIFF_MAX ? SIZE_MAX : (size_t)n);
}

static struct ruvm_gguf_string take_string(struct ruvm_reader *r)
{
    uint64_t n = ruvm_reader_u64(r);
    const uint8_t *text = take(r, n);
    return (struct ruvm_gguf_string){text ? text : r->data, text ? (size_t)n : 0};
}

/* What is wrong with the value at r, of which the reader's own failure (the file ends) is
 * not told; NULL: nothing. Moves r past it. */
static const char *skip_value(struct ruvm_reader *r, uint32_t type, int depth)
{
    if (type >= RUVM_GGUF_N_TYPES)
        return "its type is unknown";
    if (type == RUVM_GGUF_STRING)
        take_string(r);
    if (type != RUVM_GGUF_ARRAY) {
        ruvm_reader_take(r, scalar_bytes[type]);
        return NULL;
    }
    if (depth == MAX_DEPTH)
        return "its arrays are nested too deep";
    uint32_t element = ruvm_reader_u32(r);
    uint64_t n = ruvm_reader_u64(r);
    if (element >= RUVM_GGUF_N_TYPES)
        return "the type of its elements is unknown";
    if (scalar_bytes[element]) {
        take(r, n > PTRDIFF_MAX / 8 ? UINT64_MAX : n * scalar_bytes[element]);
        return NULL;
    }
    const char *wrong = NULL;
    for (uint64_t i = 0; i < n && !r->failed && !wrong; i++)
        wrong = skip_value(r, element, depth + 1);
    return wrong;
}

static int by_key(const void *a, const void *b)
{
    const struct ruvm_gguf_string *s = &((const struct ruvm_gguf_pair *)a)->key;
    const struct ruvm_gguf_string *t = &((const struct ruvm_gguf_pair *)b)->key;
    size_t n = s->n < t->n ? s->n : t->n;
    int order = n ? memcmp(s->text, t->text, n) : 0;
    return order ? order : (s->n > t->n) - (s->n < t->n);
}

static int read_pair(struct ruvm_gguf_pair *p, struct ruvm_reader *r, struct ruvm_error *err)
{
    size_t off = r->off;
    p->key = take_string(r);
    p->type = ruvm_reader_u32(r);
    p->data = r->data + r->off;
    const char *wrong = r->failed ? NULL : skip_value(r, p->type, 0);
    p->end = r->data + r->off;
    if (r->failed)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "metadata: byte %zu: key '%.*s': the file ends inside it at byte %zu "
                         "(truncated, or damaged?)",
                         off, shown(p->key), (const char *)p->key.text, r->fail_off);
    if (wrong)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "metadata: byte %zu: key '%.*s': %s", off,
                         shown(p->key), (const char *)p->key.text, wrong);
    return RUVM_OK;
}

static int check_duplicates(const struct ruvm_gguf *g, struct ruvm_error *err)
{
    for (size_t i = 1; i < g->n_pairs; i++)
        if (by_key(&g->pairs[i - 1], &g->pairs[i]) == 0)
            return ruvm_fail(err, RUVM_ERR_CORRUPT, "metadata: key '%.*s' stands twice",
                             shown(g->pairs[i].key), (const char *)g->pairs[i].key.text);
    return RUVM_OK;
}

int ruvm_gguf_open(struct ruvm_gguf *g, struct ruvm_arena *arena, const uint8_t *data, size_t size,
                   struct ruvm_error *err)
{
    uint64_t n_pairs = 0;
    *g = (struct ruvm_gguf){.data = data, .size = size};
    int rc = read_header(g, &n_pairs, err);
    if (rc != RUVM_OK)
        return rc;
    g->n_pairs = (size_t)n_pairs;
    g->pairs = ruvm_arena_alloc(arena, g->n_pairs, sizeof *g->pairs);
    if (!g->pairs)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %zu metadata keys", g->n_pairs);
    struct ruvm_reader r = ruvm_reader_over(data, size);
    ruvm_reader_take(&r, RUVM_GGUF_HDR_BYTES);
    for (size_t i = 0; rc == RUVM_OK && i < g->n_pairs; i++)
        rc = read_pair(&g->pairs[i], &r, err);
    if (rc != RUVM_OK)
        return rc;
    g->tensors_off = r.off;
    qsort(g->pairs, g->n_pairs, sizeof *g->pairs, by_key);
    return check_duplicates(g, err);
}

/* ---- getters ------------------------------------------------------------------- */

const struct ruvm_gguf_pair *ruvm_gguf_find(const struct ruvm_gguf *g, const char *key)
{
    struct ruvm_gguf_pair wanted = {.key = {(const uint8_t *)key, strlen(key)}};
    return bsearch(&wanted, g->pairs, g->n_pairs, sizeof *g->pairs, by_key);
}

/* The scalar at p. */
static double number_at(uint32_t type, const uint8_t *p)
{
    uint32_t bits32;
    uint64_t bits64;
    float single;
    double real;
    switch (type) {
    case RUVM_GGUF_U8: return p[0];
    case RUVM_GGUF_I8: return (int8_t)p[0];
    case RUVM_GGUF_U16: return ruvm_load_u16(p);
    case RUVM_GGUF_I16: return (int16_t)ruvm_load_u16(p);
    case RUVM_GGUF_U32: return ruvm_load_u32(p);
    case RUVM_GGUF_I32: return (int32_t)ruvm_load_u32(p);
    case RUVM_GGUF_BOOL: return p[0] != 0;
    case RUVM_GGUF_U64: return (double)ruvm_load_u64(p);
    case RUVM_GGUF_I64: return (double)(int64_t)ruvm_load_u64(p);
    case RUVM_GGUF_F32:
        bits32 = ruvm_load_u32(p);
        memcpy(&single, &bits32, sizeof single);
        return (double)single;
    default:
        bits64 = ruvm_load_u64(p);
        memcpy(&real, &bits64, sizeof real);
        return real;
    }
}

bool ruvm_gguf_number(const struct ruvm_gguf *g, const char *key, double *out)
{
    const struct ruvm_gguf_pair *p = ruvm_gguf_find(g, key);
    if (!p || scalar_bytes[p->type] == 0)
        return false;
    *out = number_at(p->type, p->data);
    return true;
}

bool ruvm_gguf_text(const struct ruvm_gguf *g, const char *key, struct ruvm_gguf_string *out)
{
    const struct ruvm_gguf_pair *p = ruvm_gguf_find(g, key);
    if (!p || p->type != RUVM_GGUF_STRING)
        return false;
    *out = (struct ruvm_gguf_string){p->data + 8, (size_t)(p->end - p->data) - 8};
    return true;
}

bool ruvm_gguf_array(const struct ruvm_gguf *g, const char *key, struct ruvm_gguf_array *out)
{
    const struct ruvm_gguf_pair *p = ruvm_gguf_find(g, key);
    if (!p || p->type != RUVM_GGUF_ARRAY)
        return false;
    *out = (struct ruvm_gguf_array){.type = ruvm_load_u32(p->data),
                                    .n = ruvm_load_u64(p->data + 4),
                                    .data = p->data + ARRAY_HEAD_BYTES,
                                    .end = p->end};
    return true;
}

bool ruvm_gguf_next_string(struct ruvm_gguf_array *a, struct ruvm_gguf_string *out)
{
    if (a->type != RUVM_GGUF_STRING || a->n == 0)
        return false;
    struct ruvm_reader r = ruvm_reader_over(a->data, (size_t)(a->end - a->data));
    *out = take_string(&r);
    a->data += r.off;
    a->n--;
    return !r.failed;
}

bool ruvm_gguf_next_number(struct ruvm_gguf_array *a, double *out)
{
    if (a->type >= RUVM_GGUF_N_TYPES || a->n == 0)
        return false;
    size_t bytes = scalar_bytes[a->type];
    if (bytes == 0 || (size_t)(a->end - a->data) < bytes)
        return false;
    *out = number_at(a->type, a->data);
    a->data += bytes;
    a->n--;
    return true;
}
