/* Reader of llama2.c checkpoints: a short header, then the weights one after another.
 *
 * Nothing in the file says where a tensor stands: that follows from the order of
 * the version and the shape in the header. So one table says what each part is,
 * one list a version says in which order they stand, and the size that follows
 * must be exactly the size of the file; only then is anything allocated.
 *
 *   legacy  7 numbers; a negative vocabulary says that the classifier is separate
 *   1       "ak42", version, 7 numbers, 1 byte "classifier is shared", 256 bytes in all
 *   2       the same and an i32 group size; matrices are int8, each followed by a
 *           float scale a group of the flattened matrix; norms stay float
 */
#include "formats/llama2c.h"

#include <assert.h>
#include <stdio.h>

#include "lib/base/bytes.h"

enum { AK42_MAGIC = 0x616b3432, AK42_HEADER_BYTES = 256, NAME_BYTES = 64 };

/* No llama2.c model comes near these; with them no product below exceeds 2^56. */
enum { MAX_WIDTH = 1 << 20, MAX_DEPTH = 1 << 10 };

/* The header's numbers in their order in the file, then what follows from them. */
enum size_id {
    DIM,
    HIDDEN,
    LAYERS,
    HEADS,
    KV_HEADS,
    VOCAB,
    CONTEXT,
    N_FIELDS,
    KV_DIM = N_FIELDS,
    HEAD_DIM,
    ONE,
    N_SIZES
};

static const struct {
    const char *name; /* as llama2.c calls it, also the key of the metadata */
    uint32_t max;
} fields[N_FIELDS] = {
    [DIM] = {"dim", MAX_WIDTH},
    [HIDDEN] = {"hidden_dim", MAX_WIDTH},
    [LAYERS] = {"n_layers", MAX_DEPTH},
    [HEADS] = {"n_heads", MAX_DEPTH},
    [KV_HEADS] = {"n_kv_heads", MAX_DEPTH},
    [VOCAB] = {"vocab_size", MAX_WIDTH},
    [CONTEXT] = {"max_seq_len", MAX_WIDTH},
};

enum part_id {
    EMBED,
    ATTN_NORM,
    WQ,
    WK,
    WV,
    WO,
    FFN_NORM,
    W1,
    W2,
    W3,
    NORM,
    TURNS,
    OUTPUT,
    N_PARTS
};

/* Vectors are of one row. The turns are the cosines and sines of RoPE: both tables
 * together hold head_dim floats a position, and nobody reads them any more. */
static const struct {
    const char *name; /* NULL: skipped */
    bool per_layer;
    enum size_id rows, cols;
} parts[N_PARTS] = {
    [EMBED] = {"tok_embeddings.weight", false, VOCAB, DIM},
    [ATTN_NORM] = {"attention_norm.weight", true, ONE, DIM},
    [WQ] = {"attention.wq.weight", true, DIM, DIM},
    [WK] = {"attention.wk.weight", true, KV_DIM, DIM},
    [WV] = {"attention.wv.weight", true, KV_DIM, DIM},
    [WO] = {"attention.wo.weight", true, DIM, DIM},
    [FFN_NORM] = {"ffn_norm.weight", true, ONE, DIM},
    [W1] = {"feed_forward.w1.weight", true, HIDDEN, DIM},
    [W2] = {"feed_forward.w2.weight", true, DIM, HIDDEN},
    [W3] = {"feed_forward.w3.weight", true, HIDDEN, DIM},
    [NORM] = {"norm.weight", false, ONE, DIM},
    [TURNS] = {NULL, false, CONTEXT, HEAD_DIM},
    [OUTPUT] = {"output.weight", false, VOCAB, DIM},
};

static const uint8_t legacy_order[] = {EMBED, ATTN_NORM, WQ, WK,   WV,    WO,    FFN_NORM,
                                       W1,    W2,        W3, NORM, TURNS, OUTPUT};
static const uint8_t ak42_order[] = {ATTN_NORM, FFN_NORM, NORM, EMBED, WQ, WK,
                                     WV,        WO,       W1,   W2,    W3, OUTPUT};

struct checkpoint {
    uint32_t version; /* 0: legacy */
    uint32_t size[N_SIZES];
    uint32_t group; /* values a scale; 0 when all is float */
    bool tied;
    uint32_t header_bytes;
    const uint8_t *order; /* of parts */
    size_t n_order;
};

/* ---- header -------------------------------------------------------------- */

static int read_fields(struct checkpoint *c, struct ruvm_reader *r, struct ruvm_error *err)
{
    for (int i = 0; i < N_FIELDS; i++) {
        size_t off = r->off;
        int32_t value = (int32_t)ruvm_reader_u32(r);
        if (r->failed)
            return ruvm_fail(err, RUVM_ERR_CORRUPT, "byte %zu: the file ends inside its header",
                             r->fail_off);
        if (i == VOCAB && c->version == 0) {
            c->tied = value > 0;
            value = value < 0 && value != INT32_MIN ? -value : value;
        }
        if (value < 1 || (uint32_t)value > fields[i].max)
            return ruvm_fail(err, RUVM_ERR_CORRUPT, "header: byte %zu: %s is %d, expected 1 to %u",
                             off, fields[i].name, value, fields[i].max);
        c->size[i] = (uint32_t)value;
    }
    return RUVM_OK;
}

static int derive_sizes(struct checkpoint *c, struct ruvm_error *err)
{
    uint32_t *s = c->size;
    assert(s[HEADS] > 0 && s[KV_HEADS] > 0); /* by read_fields() */
    if (s[DIM] % s[HEADS] != 0 || s[DIM] / s[HEADS] % 2 != 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "header: dim %u does not divide into n_heads %u of an even size", s[DIM],
                         s[HEADS]);
    if (s[HEADS] % s[KV_HEADS] != 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "header: n_heads %u is not a multiple of n_kv_heads %u", s[HEADS],
                         s[KV_HEADS]);
    s[HEAD_DIM] = s[DIM] / s[HEADS];
    s[KV_DIM] = s[HEAD_DIM] * s[KV_HEADS];
    s[ONE] = 1;
    return RUVM_OK;
}

static int read_ak42_flags(struct checkpoint *c, struct ruvm_reader *r, struct ruvm_error *err)
{
    size_t off = r->off;
    uint8_t shared = ruvm_reader_u8(r);
    uint32_t group = c->version == 2 ? ruvm_reader_u32(r) : 0;
    if (r->size < AK42_HEADER_BYTES)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "byte %zu: the file ends inside its header",
                         r->size);
    if (shared > 1)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "header: byte %zu: shared_classifier is %u, expected 0 or 1", off, shared);
    if (c->version == 2 && (group < 1 || group > MAX_WIDTH))
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "header: byte %zu: group_size is %u, expected 1 to %d", off + 1, group,
                         MAX_WIDTH);
    c->tied = shared;
    c->group = group;
    return RUVM_OK;
}

static int read_legacy(struct checkpoint *c, const uint8_t *data, size_t size,
                       struct ruvm_error *err)
{
    struct ruvm_reader r = ruvm_reader_over(data, size);
    *c = (struct checkpoint){
        .header_bytes = 4 * N_FIELDS, .order = legacy_order, .n_order = sizeof legacy_order};
    int rc = read_fields(c, &r, err);
    return rc == RUVM_OK ? derive_sizes(c, err) : rc;
}

static int read_ak42(struct checkpoint *c, const uint8_t *data, size_t size, struct ruvm_error *err)
{
    struct ruvm_reader r = ruvm_reader_over(data, size);
    ruvm_reader_u32(&r); /* the magic */
    *c = (struct checkpoint){.version = ruvm_reader_u32(&r),
                             .header_bytes = AK42_HEADER_BYTES,
                             .order = ak42_order,
                             .n_order = sizeof ak42_order};
    if (!r.failed && c->version != 1 && c->version != 2)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "header: byte 4: version is %u, ruvm reads 1 (float) and 2 (int8)",
                         c->version);
    int rc = read_fields(c, &r, err);
    if (rc == RUVM_OK)
        rc = read_ak42_flags(c, &r, err);
    return rc == RUVM_OK ? derive_sizes(c, err) : rc;
}

static bool has_magic(const uint8_t *data, size_t size)
{
    return size >= 4 && ruvm_load_u32(data) == AK42_MAGIC;
}

static int read_header(struct checkpoint *c, const uint8_t *data, size_t size,
                       struct ruvm_error *err)
{
    return has_magic(data, size) ? read_ak42(c, data, size, err) : read_legacy(c, data, size, err);
}

/* ---- sizes --------------------------------------------------------------- */

static uint64_t part_values(const struct checkpoint *c, enum part_id part)
{
    return (uint64_t)c->size[parts[part].rows] * c->size[parts[part].cols];
}

static bool is_grouped(const struct checkpoint *c, enum part_id part)
{
    return c->group != 0 && parts[part].rows != ONE;
}

static uint64_t part_bytes(const struct checkpoint *c, enum part_id part)
{
    uint64_t n = part_values(c, part);
    return is_grouped(c, part) ? n + n / c->group * 4 : n * 4;
}

static uint32_t part_count(const struct checkpoint *c, enum part_id part)
{
    if (part == OUTPUT)
        return c->tied ? 0 : 1;
    return parts[part].per_layer ? c->size[LAYERS] : 1;
}

static uint64_t expected_bytes(const struct checkpoint *c)
{
    uint64_t sum = c->header_bytes;
    for (size_t i = 0; i < c->n_order; i++)
        sum += part_count(c, c->order[i]) * part_bytes(c, c->order[i]);
    return sum;
}

static int check_size(const struct checkpoint *c, size_t size, struct ruvm_error *err)
{
    const uint32_t *s = c->size;
    uint64_t expected = expected_bytes(c);
    if (size == expected)
        return RUVM_OK;
    bool is_short = size < expected;
    unsigned long long off_by = is_short ? expected - size : size - expected;
    return ruvm_fail(err, RUVM_ERR_CORRUPT,
                     "size: dim %u, hidden_dim %u, n_layers %u, n_heads %u, n_kv_heads %u, "
                     "vocab_size %u, max_seq_len %u, %s classifier make %llu bytes, but the file "
                     "has %zu: %llu %s",
                     s[DIM], s[HIDDEN], s[LAYERS], s[HEADS], s[KV_HEADS], s[VOCAB], s[CONTEXT],
                     c->tied ? "shared" : "separate", (unsigned long long)expected, size, off_by,
                     is_short ? "missing (truncated: fetch it again)" : "too many");
}

static int check_groups(const struct checkpoint *c, struct ruvm_error *err)
{
    for (size_t i = 0; i < c->n_order; i++) {
        enum part_id part = c->order[i];
        uint64_t n = part_values(c, part);
        if (is_grouped(c, part) && n % c->group != 0)
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "header: byte 37: group_size %u does not divide %s of %llu values",
                             c->group, parts[part].name, (unsigned long long)n);
    }
    return RUVM_OK;
}

/* ---- tensors ------------------------------------------------------------- */

static const char *part_name(enum part_id part, uint32_t layer, struct ruvm_arena *arena)
{
    char name[NAME_BYTES];
    int n = parts[part].per_layer
                ? snprintf(name, sizeof name, "layers.%u.%s", layer, parts[part].name)
                : snprintf(name, sizeof name, "%s", parts[part].name);
    return ruvm_arena_text(arena, name, (size_t)n);
}

static struct ruvm_view part_view(const struct checkpoint *c, enum part_id part,
                                  const uint8_t *data)
{
    uint64_t n = part_values(c, part);
    struct ruvm_view view = {.dtype = RUVM_DTYPE_F32,
                             .n_dims = 2,
                             .data = data,
                             .bytes = (size_t)(4 * n),
                             .dims = {c->size[parts[part].rows], c->size[parts[part].cols]}};
    if (parts[part].rows == ONE) {
        view.n_dims = 1;
        view.dims[0] = view.dims[1];
        view.dims[1] = 0;
    }
    if (is_grouped(c, part)) {
        view.dtype = RUVM_DTYPE_I8_GROUPS;
        view.bytes = (size_t)n;
        view.scales = data + n;
        view.group = c->group;
    }
    return view;
}

/* A scale that is negative or not finite means that the bytes are not scales. */
static int check_scales(const struct ruvm_view *v, const uint8_t *file, struct ruvm_error *err)
{
    size_t n = v->group ? v->bytes / v->group : 0;
    for (size_t i = 0; i < n; i++) {
        float scale = ruvm_tensors_f32(v->scales + 4 * i);
        if (!(scale >= 0 && scale < 1e30f))
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "byte %zu: %s: a scale is %g, expected a finite number from 0 up",
                             (size_t)(v->scales - file) + 4 * i, v->name, (double)scale);
    }
    return RUVM_OK;
}

static int add_part(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct checkpoint *c,
                    enum part_id part, const uint8_t *file, size_t *off, struct ruvm_error *err)
{
    for (uint32_t layer = 0; layer < part_count(c, part); layer++) {
        struct ruvm_view view = part_view(c, part, file + *off);
        *off += (size_t)part_bytes(c, part);
        if (!parts[part].name)
            continue;
        view.name = part_name(part, layer, arena);
        if (!view.name || !ruvm_tensors_add(out, arena, &view))
            return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the list of tensors");
        int rc = check_scales(&view, file, err);
        if (rc != RUVM_OK)
            return rc;
    }
    return RUVM_OK;
}

static int add_meta(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct checkpoint *c,
                    struct ruvm_error *err)
{
    bool ok = true;
    for (int i = 0; i < N_FIELDS; i++)
        ok = ok && ruvm_tensors_meta(out, arena, fields[i].name, c->size[i]);
    ok = ok && ruvm_tensors_meta(out, arena, "tied", c->tied) &&
         ruvm_tensors_meta(out, arena, "norm_eps", 1e-5) &&
         ruvm_tensors_meta(out, arena, "rope_theta", 10000);
    return ok ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the metadata");
}

int ruvm_llama2c_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                      size_t size, struct ruvm_error *err)
{
    static const char *const names[] = {"llama2.c legacy checkpoint", "llama2.c checkpoint v1",
                                        "llama2.c checkpoint v2 (int8)"};
    struct checkpoint c;
    int rc = read_header(&c, data, size, err);
    if (rc == RUVM_OK)
        rc = check_groups(&c, err);
    if (rc == RUVM_OK)
        rc = check_size(&c, size, err);
    if (rc != RUVM_OK)
        return rc;
    *out = (struct ruvm_tensors){.format = names[c.version]};
    size_t off = c.header_bytes;
    for (size_t i = 0; rc == RUVM_OK && i < c.n_order; i++)
        rc = add_part(out, arena, &c, c.order[i], data, &off, err);
    return rc == RUVM_OK ? add_meta(out, arena, &c, err) : rc;
}

/* ---- probe --------------------------------------------------------------- */

/* Whether the first values look like trained weights: normal floats of a moderate
 * size, not all zero. Integers and text read as floats fail this at once. */
static bool looks_trained(const uint8_t *data, size_t size)
{
    enum { SAMPLE = 16 };
    size_t n = size / 4 < SAMPLE ? size / 4 : SAMPLE;
    bool any = n == 0;
    for (size_t i = 0; i < n; i++) {
        float x = ruvm_tensors_f32(data + 4 * i);
        float magnitude = x < 0 ? -x : x;
        if (!(magnitude < 256) || (x != 0 && magnitude < 1e-12f))
            return false;
        any = any || x != 0;
    }
    return any;
}

/* Without a magic the header must make sense, and either the size is exactly the
 * one that follows from it, or (a truncated file) the weights begin as weights do. */
bool ruvm_llama2c_probe(const uint8_t *data, size_t size)
{
    struct checkpoint c;
    if (has_magic(data, size))
        return true;
    if (read_legacy(&c, data, size, NULL) != RUVM_OK)
        return false;
    return size == expected_bytes(&c) ||
           looks_trained(data + c.header_bytes, size - c.header_bytes);
}
