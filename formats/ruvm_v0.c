/* Reader of the bare RUVM layout: 32 bytes of header, then int8 matrices in the
 * published order and nothing else.
 *
 * The published header knows no separate key heads and no tied output, so every
 * attention matrix is dim x dim and the output projection is always there.
 */
#include "formats/ruvm_v0.h"

#include <stdio.h>
#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/base/bytes.h"

enum { NAME_BYTES = 32 };

struct shape {
    uint32_t vocab, dim, hidden, n_layers, n_heads, context, quant;
};

struct part {
    const char *name;
    uint32_t rows, cols;
};

static struct shape read_shape(const uint8_t *data)
{
    return (struct shape){
        .vocab = ruvm_load_u16(data + RUVM_HDR_VOCAB),
        .dim = ruvm_load_u16(data + RUVM_HDR_DIM),
        .hidden = ruvm_load_u16(data + RUVM_HDR_HIDDEN),
        .n_layers = data[RUVM_HDR_LAYERS],
        .n_heads = data[RUVM_HDR_HEADS],
        .context = data[RUVM_HDR_MAX_SEQ],
        .quant = data[RUVM_HDR_QUANT],
    };
}

static uint64_t expected_bytes(const struct shape *s)
{
    uint64_t layer = 4 * (uint64_t)s->dim * s->dim + 3 * (uint64_t)s->hidden * s->dim;
    return RUVM_HDR_BYTES + 2 * (uint64_t)s->vocab * s->dim + s->n_layers * layer;
}

static int check(const struct shape *s, size_t size, struct ruvm_error *err)
{
    if (s->quant != RUVM_QUANT_INT8)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "header: byte %d: quant_type is %u; of the bare layout (v0) ruvm converts "
                         "0 (int8) only",
                         RUVM_HDR_QUANT, s->quant);
    if (size != expected_bytes(s))
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "size: vocab %u, dim %u, hidden %u, %u layers in the bare layout (v0) "
                         "make %llu bytes, but the file has %zu",
                         s->vocab, s->dim, s->hidden, s->n_layers,
                         (unsigned long long)expected_bytes(s), size);
    return RUVM_OK;
}

/* Adds the matrix at *off and moves *off past it. */
static bool add(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct part *part,
                const uint8_t *file, size_t *off)
{
    size_t n = (size_t)part->rows * part->cols;
    struct ruvm_view view = {.dtype = RUVM_DTYPE_I8_SCALED,
                             .n_dims = 2,
                             .dims = {part->rows, part->cols},
                             .data = file + *off,
                             .bytes = n,
                             .scale = 1};
    *off += n;
    view.name = ruvm_arena_text(arena, part->name, strlen(part->name));
    return view.name && ruvm_tensors_add(out, arena, &view);
}

static bool add_layer(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct shape *s,
                      uint32_t layer, const uint8_t *file, size_t *off)
{
    const struct part parts[] = {
        {"wq", s->dim, s->dim},        {"wk", s->dim, s->dim},      {"wv", s->dim, s->dim},
        {"wo", s->dim, s->dim},        {"w_up", s->hidden, s->dim}, {"w_gate", s->hidden, s->dim},
        {"w_down", s->dim, s->hidden},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char name[NAME_BYTES];
        struct part part = parts[i];
        snprintf(name, sizeof name, "layers.%u.%s", layer, part.name);
        part.name = name;
        if (!add(out, arena, &part, file, off))
            return false;
    }
    return true;
}

static bool add_tensors(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct shape *s,
                        const uint8_t *file)
{
    size_t off = RUVM_HDR_BYTES;
    bool ok = add(out, arena, &(struct part){"embed", s->vocab, s->dim}, file, &off);
    for (uint32_t layer = 0; ok && layer < s->n_layers; layer++)
        ok = add_layer(out, arena, s, layer, file, &off);
    return ok && add(out, arena, &(struct part){"head", s->vocab, s->dim}, file, &off);
}

static bool add_meta(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct shape *s)
{
    const struct {
        const char *key;
        double number;
    } meta[] = {
        {"dim", s->dim},
        {"hidden_dim", s->hidden},
        {"n_layers", s->n_layers},
        {"n_heads", s->n_heads},
        {"n_kv_heads", s->n_heads},
        {"vocab_size", s->vocab},
        {"max_seq_len", s->context},
        {"tied", 0},
        {"norms", 0},
        {"norm_eps", 1e-5},
        {"rope_theta", 10000},
    };
    for (size_t i = 0; i < sizeof meta / sizeof *meta; i++)
        if (!ruvm_tensors_meta(out, arena, meta[i].key, meta[i].number))
            return false;
    return true;
}

bool ruvm_v0_probe(const uint8_t *data, size_t size)
{
    if (size < RUVM_HDR_BYTES || memcmp(data, RUVM_MAGIC, 4) != 0)
        return false;
    for (size_t i = RUVM_HDR_VERSION; i < RUVM_HDR_BYTES; i++)
        if (data[i] != 0)
            return false;
    return true;
}

int ruvm_v0_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                 size_t size, struct ruvm_error *err)
{
    if (!ruvm_v0_probe(data, size))
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "header: not the bare RUVM layout (v0)");
    struct shape s = read_shape(data);
    int rc = check(&s, size, err);
    if (rc != RUVM_OK)
        return rc;
    *out = (struct ruvm_tensors){.format = "RUVM v0 (bare layout)"};
    if (!add_tensors(out, arena, &s, data) || !add_meta(out, arena, &s))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the list of tensors");
    return RUVM_OK;
}
