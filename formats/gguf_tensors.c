/* The tensors of a GGUF file: where each one stands, of which type, that none reaches past
 * the end or into another, and which ones ruvm cannot read, all of them in one message.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/gguf.h"
#include "lib/base/buffer.h"
#include "lib/base/bytes.h"

enum {
    SHOWN_NAMES = 3,     /* of the tensors of one type, in a message */
    SHOWN_TYPES = 16,    /* in a message */
    MESSAGE_BYTES = 800, /* of it, for tensors and types */
    MAX_ALIGNMENT = 1 << 20,
    N_TYPES = 40, /* numbers that ggml has given out */
};

/* ggml's types by number. */
static const struct type {
    const char *name;    /* NULL: not in use any more */
    const char *nearest; /* that ruvm reads, by llama-quantize's name; NULL: ruvm reads it */
    uint8_t dtype;
} types[N_TYPES] = {
    [RUVM_GGUF_TENSOR_F32] = {"f32", NULL, RUVM_DTYPE_F32},
    [RUVM_GGUF_TENSOR_F16] = {"f16", NULL, RUVM_DTYPE_F16},
    [RUVM_GGUF_TENSOR_Q4_0] = {"q4_0", NULL, RUVM_DTYPE_Q4_0},
    [RUVM_GGUF_TENSOR_Q4_1] = {"q4_1", NULL, RUVM_DTYPE_Q4_1},
    [RUVM_GGUF_TENSOR_Q5_0] = {"q5_0", NULL, RUVM_DTYPE_Q5_0},
    [RUVM_GGUF_TENSOR_Q5_1] = {"q5_1", NULL, RUVM_DTYPE_Q5_1},
    [RUVM_GGUF_TENSOR_Q8_0] = {"q8_0", NULL, RUVM_DTYPE_Q8_0},
    [9] = {"q8_1", "Q8_0", 0},
    [10] = {"q2_K", "Q4_K_M", 0},
    [11] = {"q3_K", "Q4_K_M", 0},
    [RUVM_GGUF_TENSOR_Q4_K] = {"q4_K", NULL, RUVM_DTYPE_Q4_K},
    [RUVM_GGUF_TENSOR_Q5_K] = {"q5_K", NULL, RUVM_DTYPE_Q5_K},
    [RUVM_GGUF_TENSOR_Q6_K] = {"q6_K", NULL, RUVM_DTYPE_Q6_K},
    [15] = {"q8_K", "Q8_0", 0},
    [16] = {"iq2_xxs", "Q4_K_M", 0},
    [17] = {"iq2_xs", "Q4_K_M", 0},
    [18] = {"iq3_xxs", "Q4_K_M", 0},
    [19] = {"iq1_s", "Q4_K_M", 0},
    [20] = {"iq4_nl", "Q4_K_M", 0},
    [21] = {"iq3_s", "Q4_K_M", 0},
    [22] = {"iq2_s", "Q4_K_M", 0},
    [23] = {"iq4_xs", "Q4_K_M", 0},
    [24] = {"i8", "Q8_0", 0},
    [25] = {"i16", "F32", 0},
    [26] = {"i32", "F32", 0},
    [27] = {"i64", "F32", 0},
    [RUVM_GGUF_TENSOR_F64] = {"f64", NULL, RUVM_DTYPE_F64},
    [29] = {"iq1_m", "Q4_K_M", 0},
    [RUVM_GGUF_TENSOR_BF16] = {"bf16", NULL, RUVM_DTYPE_BF16},
    [34] = {"tq1_0", "Q4_K_M", 0},
    [35] = {"tq2_0", "Q4_K_M", 0},
    [39] = {"mxfp4", "Q4_K_M", 0},
};

struct tensor {
    const char *name; /* a copy that ends with NUL */
    uint32_t type, n_dims;
    uint64_t dims[RUVM_GGUF_MAX_DIMS]; /* outermost first */
    uint64_t off, bytes;               /* off: from the start of the data */
};

/* The tensors being read. */
struct list {
    const struct ruvm_gguf *g;
    struct tensor *items, **sorted;
    size_t n;
    size_t data_off;
    uint64_t alignment;
};

static bool is_read(uint32_t type)
{
    return type < N_TYPES && types[type].name && !types[type].nearest;
}

/* ---- descriptions ---------------------------------------------------------------- */

static int read_name(struct tensor *t, struct ruvm_arena *arena, struct ruvm_reader *r,
                     struct ruvm_error *err)
{
    size_t off = r->off;
    uint64_t n = ruvm_reader_u64(r);
    if (!r->failed && (n == 0 || n > RUVM_GGUF_MAX_NAME_BYTES))
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "tensors: byte %zu: a name of %llu bytes, expected 1 to %d", off,
                         (unsigned long long)n, RUVM_GGUF_MAX_NAME_BYTES);
    const uint8_t *text = ruvm_reader_take(r, r->failed ? 0 : (size_t)n);
    if (!text)
        return RUVM_OK; /* the caller tells of the end */
    if (memchr(text, 0, (size_t)n))
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "tensors: byte %zu: a name holds a zero byte", off);
    t->name = ruvm_arena_text(arena, (const char *)text, (size_t)n);
    return t->name ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the list of tensors");
}

static int read_dims(struct tensor *t, struct ruvm_reader *r, struct ruvm_error *err)
{
    t->n_dims = ruvm_reader_u32(r);
    if (!r->failed && (t->n_dims == 0 || t->n_dims > RUVM_GGUF_MAX_DIMS))
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s has %u dimensions, expected 1 to %d", t->name,
                         t->n_dims, RUVM_GGUF_MAX_DIMS);
    for (uint32_t i = t->n_dims; i-- > 0;)
        t->dims[i] = ruvm_reader_u64(r);
    return RUVM_OK;
}

/* Bytes of the values; of a type that ruvm does not read nobody asks. */
static int measure(struct tensor *t, struct ruvm_error *err)
{
    uint64_t n = 1, cols = t->dims[t->n_dims - 1];
    uint32_t block_bytes, block = ruvm_dtype_block(types[t->type].dtype, &block_bytes);
    for (uint32_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] == 0 || t->dims[i] > INT64_MAX / block_bytes / n)
            return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: dimension %u is %llu: %s", t->name, i,
                             (unsigned long long)t->dims[i],
                             t->dims[i] ? "no file could hold it" : "expected at least 1");
        n *= t->dims[i];
    }
    if (cols % block != 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: rows of %llu values are not whole blocks of %s (%u values)", t->name,
                         (unsigned long long)cols, types[t->type].name, block);
    t->bytes = n / block * block_bytes;
    return RUVM_OK;
}

static int read_tensor(struct tensor *t, struct ruvm_arena *arena, struct ruvm_reader *r,
                       struct ruvm_error *err)
{
    int rc = read_name(t, arena, r, err);
    if (rc == RUVM_OK)
        rc = read_dims(t, r, err);
    t->type = ruvm_reader_u32(r);
    t->off = ruvm_reader_u64(r);
    if (rc == RUVM_OK && r->failed)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "tensors: byte %zu: the file ends inside their list (truncated, or "
                         "damaged?)",
                         r->fail_off);
    return rc == RUVM_OK && is_read(t->type) ? measure(t, err) : rc;
}

static int read_alignment(struct list *l, struct ruvm_error *err)
{
    double x = RUVM_GGUF_DEFAULT_ALIGNMENT;
    ruvm_gguf_number(l->g, "general.alignment", &x);
    l->alignment = x >= 1 && x <= MAX_ALIGNMENT ? (uint64_t)x : 0;
    if (l->alignment == 0 || (l->alignment & (l->alignment - 1)) != 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "metadata: general.alignment is %g, expected a power of two to %d", x,
                         MAX_ALIGNMENT);
    return RUVM_OK;
}

static int read_list(struct list *l, struct ruvm_arena *arena, struct ruvm_error *err)
{
    struct ruvm_reader r = ruvm_reader_over(l->g->data, l->g->size);
    l->n = (size_t)l->g->n_tensors;
    l->items = ruvm_arena_alloc(arena, l->n, sizeof *l->items);
    l->sorted = ruvm_arena_alloc(arena, l->n, sizeof *l->sorted);
    if (!l->items || !l->sorted)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the list of tensors");
    int rc = read_alignment(l, err);
    ruvm_reader_take(&r, l->g->tensors_off);
    for (size_t i = 0; rc == RUVM_OK && i < l->n; i++) {
        rc = read_tensor(&l->items[i], arena, &r, err);
        l->sorted[i] = &l->items[i];
    }
    l->data_off = ruvm_align_up(r.off, (size_t)l->alignment);
    return rc;
}

/* ---- what ruvm cannot read ------------------------------------------------------- */

static size_t count_type(const struct list *l, uint32_t type)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->items[i].type == type;
    return n;
}

/* "40 tensors of q2_K (blk.0.attn_q.weight, ... and 37 more)". */
static void tell_type(struct ruvm_buffer *text, const struct list *l, uint32_t type)
{
    size_t n = count_type(l, type), shown = 0;
    ruvm_buffer_printf(text, "%s%zu tensor%s of ", text->size ? ", " : "", n, n == 1 ? "" : "s");
    if (type < N_TYPES && types[type].name)
        ruvm_buffer_printf(text, "%s (", types[type].name);
    else
        ruvm_buffer_printf(text, "the unknown type %u (", type);
    for (size_t i = 0; i < l->n && shown < SHOWN_NAMES; i++)
        if (l->items[i].type == type)
            ruvm_buffer_printf(text, "%s%s", shown++ ? ", " : "", l->items[i].name);
    if (n > shown)
        ruvm_buffer_printf(text, " and %zu more", n - shown);
    ruvm_buffer_printf(text, ")");
}

/* The types that ruvm does not read, each once, at most SHOWN_TYPES; returns how many. */
static size_t unread_types(const struct list *l, uint32_t *found)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n && n < SHOWN_TYPES; i++) {
        size_t j = 0;
        while (j < n && found[j] != l->items[i].type)
            j++;
        if (j == n && !is_read(l->items[i].type))
            found[n++] = l->items[i].type;
    }
    return n;
}

static int check_types(const struct list *l, struct ruvm_error *err)
{
    uint32_t found[SHOWN_TYPES];
    size_t n = unread_types(l, found);
    const char *nearest = "Q8_0";
    if (n == 0)
        return RUVM_OK;
    if (found[0] < N_TYPES && types[found[0]].name)
        nearest = types[found[0]].nearest;
    struct ruvm_buffer text = {0};
    for (size_t i = 0; i < n; i++)
        tell_type(&text, l, found[i]);
    int rc = ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                       "tensors: %.*s; ruvm reads f32 f16 bf16 f64 q4_0 q4_1 q5_0 q5_1 q8_0 q4_K "
                       "q5_K q6_K: convert with llama-quantize --allow-requantize ... %s",
                       text.size < MESSAGE_BYTES ? (int)text.size : MESSAGE_BYTES,
                       text.data ? (const char *)text.data : "", nearest);
    ruvm_buffer_free(&text);
    return rc;
}

/* ---- places ---------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct tensor *const *)a)->name, (*(struct tensor *const *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    uint64_t x = (*(struct tensor *const *)a)->off, y = (*(struct tensor *const *)b)->off;
    return (x > y) - (x < y);
}

static int check_names(const struct list *l, struct ruvm_error *err)
{
    qsort(l->sorted, l->n, sizeof *l->sorted, by_name);
    for (size_t i = 1; i < l->n; i++)
        if (strcmp(l->sorted[i - 1]->name, l->sorted[i]->name) == 0)
            return ruvm_fail(err, RUVM_ERR_CORRUPT, "tensors: %s stands twice", l->sorted[i]->name);
    return RUVM_OK;
}

static int check_place(const struct list *l, const struct tensor *t, struct ruvm_error *err)
{
    uint64_t room = l->g->size > l->data_off ? l->g->size - l->data_off : 0;
    if (t->off % l->alignment != 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: its offset %llu is no multiple of the alignment %llu", t->name,
                         (unsigned long long)t->off, (unsigned long long)l->alignment);
    if (t->off > room || t->bytes > room - t->off)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: %llu bytes at offset %llu of the data reach past the end of the "
                         "file, which has %llu there (truncated: an unfinished download?)",
                         t->name, (unsigned long long)t->bytes, (unsigned long long)t->off,
                         (unsigned long long)room);
    return RUVM_OK;
}

static int check_places(const struct list *l, struct ruvm_error *err)
{
    int rc = RUVM_OK;
    for (size_t i = 0; rc == RUVM_OK && i < l->n; i++)
        rc = check_place(l, &l->items[i], err);
    qsort(l->sorted, l->n, sizeof *l->sorted, by_place);
    for (size_t i = 1; rc == RUVM_OK && i < l->n; i++)
        if (l->sorted[i]->off - l->sorted[i - 1]->off < l->sorted[i - 1]->bytes)
            rc = ruvm_fail(err, RUVM_ERR_CORRUPT, "tensors: %s and %s overlap",
                           l->sorted[i - 1]->name, l->sorted[i]->name);
    return rc;
}

static bool add_view(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct list *l,
                     const struct tensor *t)
{
    struct ruvm_view v = {.name = t->name,
                          .dtype = types[t->type].dtype,
                          .n_dims = t->n_dims,
                          .data = l->g->data + l->data_off + t->off,
                          .bytes = (size_t)t->bytes};
    memcpy(v.dims, t->dims, sizeof v.dims);
    return ruvm_tensors_add(out, arena, &v);
}

int ruvm_gguf_tensors(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct ruvm_gguf *g,
                      struct ruvm_error *err)
{
    struct list l = {.g = g};
    int rc = read_list(&l, arena, err);
    if (rc == RUVM_OK)
        rc = check_types(&l, err);
    if (rc == RUVM_OK)
        rc = check_names(&l, err);
    if (rc == RUVM_OK)
        rc = check_places(&l, err);
    for (size_t i = 0; rc == RUVM_OK && i < l.n; i++)
        if (!add_view(out, arena, &l, &l.items[i]))
            rc = ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the list of tensors");
    return rc;
}
