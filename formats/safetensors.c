/* Reader of safetensors files: u64 length of the header, the header, the data.
 *
 * The header is JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 * with offsets into the data, and "__metadata__", which says nothing about tensors. Everything
 * in it is checked against the file before a view is made: each tensor's bytes follow from its
 * type and shape, and the tensors must cover the data exactly, without holes or overlaps.
 */
#include "formats/safetensors.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/json.h"
#include "lib/base/problems.h"

enum {
    LENGTH_BYTES = 8,
    MAX_HEADER_BYTES = 100 << 20, /* the format's limit */
    /* Ours, as a header becomes a tree of many times its size; a hundred thousand tensors of
     * the greatest models need less. */
    MAX_READ_BYTES = 16 << 20,
    MAX_DIMS = 4,
};

static const uint64_t max_whole = (uint64_t)1 << 53; /* a double is exact up to here */

static const struct dtype {
    const char *name;
    uint32_t bytes;
    int dtype; /* enum ruvm_dtype, or -1: known, but no type of weights */
} dtypes[] = {
    {"F32", 4, RUVM_DTYPE_F32},
    {"F16", 2, RUVM_DTYPE_F16},
    {"BF16", 2, RUVM_DTYPE_BF16},
    {"F64", 8, RUVM_DTYPE_F64},
    {"BOOL", 1, -1},
    {"U8", 1, -1},
    {"I8", 1, -1},
    {"F8_E4M3", 1, -1},
    {"F8_E5M2", 1, -1},
    {"I16", 2, -1},
    {"U16", 2, -1},
    {"I32", 4, -1},
    {"U32", 4, -1},
    {"I64", 8, -1},
    {"U64", 8, -1},
};

/* One tensor of the header; texts are the JSON tree's. */
struct entry {
    const char *name, *type;
    const struct dtype *dtype; /* NULL: of a type that we have never heard of */
    bool is_buffer;
    uint64_t begin, end; /* in the data */
    unsigned n_dims;     /* may exceed MAX_DIMS, then it is noted as a problem */
    uint64_t dims[MAX_DIMS];
    uint64_t n_values;
};

struct header {
    const uint8_t *data; /* after the header */
    uint64_t data_bytes;
    struct entry *entries;
    size_t n;
    struct ruvm_arena scratch;
    struct ruvm_problems problems;
    struct ruvm_error *err;
};

/* Names may be as long as the header. */
#define SHORT "%.100s"

bool ruvm_safetensors_probe(const uint8_t *data, size_t size)
{
    return size > LENGTH_BYTES && data[LENGTH_BYTES] == '{' && ruvm_load_u64(data) >= 2 &&
           ruvm_load_u64(data) <= MAX_HEADER_BYTES;
}

bool ruvm_safetensors_is_buffer(const char *name)
{
    static const char *const ends[] = {
        ".attn.bias",           ".attn.masked_bias", ".attention.bias", ".attention.masked_bias",
        ".rotary_emb.inv_freq", ".position_ids",
    };
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n_end = strlen(ends[i]);
        if (n >= n_end && strcmp(name + n - n_end, ends[i]) == 0)
            return true;
    }
    return false;
}

/* ---- one tensor ----------------------------------------------------------------- */

static const struct dtype *find_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

static int corrupt(struct header *h, const struct entry *e, const char *what)
{
    return ruvm_fail(h->err, RUVM_ERR_CORRUPT, SHORT ": %s", e->name, what);
}

/* Exactly one item of that key; NULL also when there are two, for which would count? */
static const cJSON *only(const cJSON *object, const char *key)
{
    const cJSON *found = NULL, *item;
    cJSON_ArrayForEach(item, object)
    {
        if (strcmp(item->string, key) != 0)
            continue;
        if (found)
            return NULL;
        found = item;
    }
    return found;
}

static int read_shape(struct header *h, struct entry *e, const cJSON *shape)
{
    const cJSON *item;
    e->n_values = 1;
    if (!cJSON_IsArray(shape))
        return corrupt(h, e, "has no shape, or two");
    cJSON_ArrayForEach(item, shape)
    {
        uint64_t dim;
        if (!ruvm_json_whole(item, max_whole, &dim))
            return corrupt(h, e, "its shape holds something that is no size");
        if (dim && e->n_values > max_whole / dim)
            return corrupt(h, e, "its shape multiplies to more than any file holds");
        if (e->n_dims < MAX_DIMS)
            e->dims[e->n_dims] = dim;
        e->n_dims++;
        e->n_values *= dim;
    }
    if (e->n_dims == 0)
        e->dims[e->n_dims++] = 1;
    return RUVM_OK;
}

static int read_offsets(struct header *h, struct entry *e, const cJSON *offsets)
{
    if (!cJSON_IsArray(offsets) || !offsets->child || !offsets->child->next ||
        offsets->child->next->next)
        return corrupt(h, e, "its data_offsets are not two numbers");
    if (!ruvm_json_whole(offsets->child, max_whole, &e->begin) ||
        !ruvm_json_whole(offsets->child->next, max_whole, &e->end) || e->begin > e->end)
        return corrupt(h, e, "its data_offsets are no range of bytes");
    if (e->end > h->data_bytes)
        return ruvm_fail(h->err, RUVM_ERR_CORRUPT,
                         SHORT
                         ": ends at byte %llu of the data, but the file holds %llu: is it "
                         "cut short?",
                         e->name, (unsigned long long)e->end, (unsigned long long)h->data_bytes);
    return RUVM_OK;
}

static int check_bytes(struct header *h, const struct entry *e)
{
    uint64_t bytes = e->end - e->begin;
    if (!e->dtype || (bytes % e->dtype->bytes == 0 && bytes / e->dtype->bytes == e->n_values))
        return RUVM_OK;
    return ruvm_fail(h->err, RUVM_ERR_CORRUPT,
                     SHORT ": its shape has %llu values of %s, its data_offsets %llu bytes",
                     e->name, (unsigned long long)e->n_values, e->dtype->name,
                     (unsigned long long)bytes);
}

/* What is well-formed but no weight that we could use. */
static void note_unsupported(struct header *h, const struct entry *e)
{
    if (!e->dtype || e->dtype->dtype < 0)
        ruvm_problems_note(&h->problems, RUVM_ERR_UNSUPPORTED,
                           SHORT " is of type %.20s, expected F32, F16, BF16 or F64", e->name,
                           e->type);
    else if (e->n_dims > MAX_DIMS)
        ruvm_problems_note(&h->problems, RUVM_ERR_UNSUPPORTED,
                           SHORT " has %u dimensions, expected up to %d", e->name, e->n_dims,
                           MAX_DIMS);
    else if (e->n_values == 0)
        ruvm_problems_note(&h->problems, RUVM_ERR_UNSUPPORTED, SHORT " is empty", e->name);
}

static int read_entry(struct header *h, struct entry *e, const cJSON *item)
{
    e->name = item->string;
    e->is_buffer = ruvm_safetensors_is_buffer(e->name);
    e->type = cJSON_IsObject(item) ? cJSON_GetStringValue(only(item, "dtype")) : NULL;
    if (!e->type)
        return corrupt(h, e, "has no dtype, or two");
    e->dtype = find_dtype(e->type);
    int rc = read_shape(h, e, only(item, "shape"));
    if (rc == RUVM_OK)
        rc = read_offsets(h, e, only(item, "data_offsets"));
    if (rc == RUVM_OK)
        rc = check_bytes(h, e);
    if (rc == RUVM_OK && !e->is_buffer)
        note_unsupported(h, e);
    return rc;
}

static int read_entries(struct header *h, const cJSON *json)
{
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, json) n++;
    h->entries = ruvm_arena_alloc(&h->scratch, n + 1, sizeof *h->entries);
    if (!h->entries)
        return ruvm_fail(h->err, RUVM_ERR_MEMORY, "no memory for %zu tensors", n);
    cJSON_ArrayForEach(item, json)
    {
        int rc = RUVM_OK;
        if (strcmp(item->string, "__metadata__") != 0)
            rc = read_entry(h, &h->entries[h->n++], item);
        if (rc != RUVM_OK)
            return rc;
    }
    return RUVM_OK;
}

/* ---- all tensors ---------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int check_cover(struct header *h)
{
    uint64_t at = 0;
    qsort(h->entries, h->n, sizeof *h->entries, by_place);
    for (size_t i = 0; i < h->n; at = h->entries[i++].end) {
        const struct entry *e = &h->entries[i];
        if (e->begin < at)
            return ruvm_fail(h->err, RUVM_ERR_CORRUPT,
                             SHORT " and " SHORT " overlap at byte %llu of the data", e->name,
                             h->entries[i - 1].name, (unsigned long long)e->begin);
        if (e->begin > at)
            return ruvm_fail(h->err, RUVM_ERR_CORRUPT,
                             SHORT ": %llu bytes before it belong to no tensor", e->name,
                             (unsigned long long)(e->begin - at));
    }
    if (at != h->data_bytes)
        return ruvm_fail(h->err, RUVM_ERR_CORRUPT, "the last %llu bytes belong to no tensor",
                         (unsigned long long)(h->data_bytes - at));
    return RUVM_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Within the file, and against what the directory held before. */
static int check_names(struct header *h, const struct ruvm_tensors *t)
{
    size_t n = 0;
    const char **names = ruvm_arena_alloc(&h->scratch, t->n_views + h->n + 1, sizeof *names);
    if (!names)
        return ruvm_fail(h->err, RUVM_ERR_MEMORY, "no memory for %zu names", t->n_views + h->n);
    for (size_t i = 0; i < t->n_views; i++)
        names[n++] = t->views[i].name;
    for (size_t i = 0; i < h->n; i++)
        names[n++] = h->entries[i].name;
    qsort(names, n, sizeof *names, by_text);
    for (size_t i = 1; i < n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return ruvm_fail(h->err, RUVM_ERR_CORRUPT, SHORT " is there twice", names[i]);
    return RUVM_OK;
}

static int add_views(const struct header *h, struct ruvm_tensors *t, struct ruvm_arena *arena)
{
    for (size_t i = 0; i < h->n; i++) {
        const struct entry *e = &h->entries[i];
        bool is_view = e->dtype && e->dtype->dtype >= 0 && e->n_dims <= MAX_DIMS && e->n_values;
        if (!is_view) /* a mask: else it was noted */
            continue;
        struct ruvm_view v = {.name = ruvm_arena_text(arena, e->name, strlen(e->name)),
                              .dtype = (enum ruvm_dtype)e->dtype->dtype,
                              .n_dims = e->n_dims,
                              .data = h->data + e->begin,
                              .bytes = (size_t)(e->end - e->begin)};
        memcpy(v.dims, e->dims, sizeof v.dims);
        if (!v.name || !ruvm_tensors_add(t, arena, &v))
            return ruvm_fail(h->err, RUVM_ERR_MEMORY, "no memory for %zu tensors", h->n);
    }
    return RUVM_OK;
}

static int add_tensors(struct header *h, struct ruvm_tensors *t, struct ruvm_arena *arena,
                       const cJSON *json)
{
    int rc = read_entries(h, json);
    if (rc == RUVM_OK)
        rc = check_names(h, t);
    if (rc == RUVM_OK)
        rc = check_cover(h);
    if (rc == RUVM_OK)
        rc = ruvm_problems_report(&h->problems, h->err);
    if (rc == RUVM_OK)
        rc = add_views(h, t, arena);
    return rc;
}

int ruvm_safetensors_add(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                         size_t size, struct ruvm_error *err)
{
    out->format = "safetensors model";
    if (size < LENGTH_BYTES)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "ends within the length of its header");
    uint64_t n = ruvm_load_u64(data);
    if (n > size - LENGTH_BYTES)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "its header has %llu bytes, but only %zu follow: is it cut short?",
                         (unsigned long long)n, size - LENGTH_BYTES);
    if (n > MAX_READ_BYTES)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "its header has %llu bytes, expected up to %d",
                         (unsigned long long)n, MAX_READ_BYTES);
    struct header h = {
        .data = data + LENGTH_BYTES + n, .data_bytes = size - LENGTH_BYTES - n, .err = err};
    cJSON *json = ruvm_json_parse(data + LENGTH_BYTES, (size_t)n, err);
    if (!json) {
        ruvm_error_prefix(err, "its header");
        return RUVM_ERR_CORRUPT;
    }
    int rc = add_tensors(&h, out, arena, json);
    cJSON_Delete(json);
    ruvm_arena_free(&h.scratch);
    return rc;
}

int ruvm_safetensors_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                          size_t size, struct ruvm_error *err)
{
    *out = (struct ruvm_tensors){0};
    return ruvm_safetensors_add(out, arena, data, size, err);
}
