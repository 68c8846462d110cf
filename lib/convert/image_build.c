/* Composes an image: packs the matrices, then lets the writer place all sections.
 *
 * The published order of the tensors is also the order in WGTS and SCAL, without
 * gaps, so that an engine may multiply wq|wk|wv as one matrix.
 */
#include "lib/convert/image_build.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/convert/image_parts.h"

static const char *const part_names[RUVM_BUILD_COUNT] = {
    [RUVM_BUILD_ARCH] = RUVM_SEC_ARCH, [RUVM_BUILD_TENS] = RUVM_SEC_TENS,
    [RUVM_BUILD_SCAL] = RUVM_SEC_SCAL, [RUVM_BUILD_NORM] = RUVM_SEC_NORM,
    [RUVM_BUILD_BIAS] = RUVM_SEC_BIAS, [RUVM_BUILD_ROPE] = RUVM_SEC_ROPE,
    [RUVM_BUILD_WIND] = RUVM_SEC_WIND, [RUVM_BUILD_KVSC] = RUVM_SEC_KVSC,
    [RUVM_BUILD_WGTS] = RUVM_SEC_WGTS, [RUVM_BUILD_TOKN] = RUVM_SEC_TOKN,
    [RUVM_BUILD_META] = RUVM_SEC_META, [RUVM_BUILD_GOLD] = RUVM_SEC_GOLD,
};

static int no_memory(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the image");
}

/* ---- tensors --------------------------------------------------------------- */

uint32_t ruvm_image_build_most(const struct ruvm_model *m)
{
    return m->n_layers * RUVM_TENSORS_PER_LAYER + 3;
}

/* Adds the tensor if the network has it; returns how many there are then. */
static uint32_t add_tensor(struct ruvm_scheme_tensor *tensors, uint32_t n,
                           const struct ruvm_model *m, int kind, unsigned layer)
{
    struct ruvm_scheme_tensor *t = &tensors[n];
    char name[sizeof t->name];
    const struct ruvm_view *view = ruvm_model_tensor(m, kind, layer, name);
    if (!view)
        return n;
    *t = (struct ruvm_scheme_tensor){.kind = (uint8_t)kind,
                                     .layer = (uint8_t)layer,
                                     .rows = (uint32_t)view->dims[0],
                                     .cols = (uint32_t)view->dims[1]};
    memcpy(t->name, name, sizeof name);
    return n + 1;
}

uint32_t ruvm_image_build_tensors(struct ruvm_scheme_tensor *tensors, const struct ruvm_model *m)
{
    uint32_t n = add_tensor(tensors, 0, m, RUVM_TENSOR_EMBED, 0);
    n = add_tensor(tensors, n, m, RUVM_TENSOR_POSITION, 0);
    for (unsigned l = 0; l < m->n_layers; l++)
        for (int kind = RUVM_TENSOR_WQ; kind <= RUVM_TENSOR_W_DOWN; kind++)
            n = add_tensor(tensors, n, m, kind, l);
    return m->tied ? n : add_tensor(tensors, n, m, RUVM_TENSOR_HEAD, 0);
}

static int check_size(const struct ruvm_scheme_tensor *tensors, const struct ruvm_scheme *schemes,
                      uint32_t n, struct ruvm_error *err)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        bytes += ruvm_scheme_data_bytes(schemes[i], tensors[i].rows, tensors[i].cols);
        if (schemes[i].group && tensors[i].cols > RUVM_GROUPED_MAX_COLS)
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                             "%s has %u columns: groups go to %d; use the type with :row",
                             tensors[i].name, tensors[i].cols, RUVM_GROUPED_MAX_COLS);
    }
    if (bytes > INT32_MAX)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "the weights take %llu bytes: an image holds "
                         "2 GiB at most",
                         (unsigned long long)bytes);
    return RUVM_OK;
}

static struct ruvm_write_tensor lay_out(const struct ruvm_scheme_tensor *t, struct ruvm_scheme s)
{
    return (struct ruvm_write_tensor){
        .kind = t->kind,
        .layer = t->layer,
        .type = ruvm_scheme_code(s),
        .rows = t->rows,
        .cols = t->cols,
        .row_bytes = ruvm_codes_row_bytes(s.type, t->cols),
        .data_bytes = (uint32_t)ruvm_scheme_data_bytes(s, t->rows, t->cols),
        .scale_bytes = (uint32_t)ruvm_scheme_scale_bytes(s, t->rows, t->cols),
    };
}

static int lay_out_all(struct ruvm_image_build *b, struct ruvm_arena *arena, struct ruvm_error *err)
{
    uint32_t most = ruvm_image_build_most(b->model);
    struct ruvm_scheme_tensor *tensors = ruvm_arena_alloc(arena, most, sizeof *tensors);
    b->tensors = ruvm_arena_alloc(arena, most, sizeof *b->tensors);
    if (!b->tensors || !tensors)
        return no_memory(err);
    b->n_tensors = ruvm_image_build_tensors(tensors, b->model);
    int rc = check_size(tensors, b->schemes, b->n_tensors, err);
    for (uint32_t i = 0; i < b->n_tensors && rc == RUVM_OK; i++) {
        struct ruvm_write_tensor *t = &b->tensors[i];
        *t = lay_out(&tensors[i], b->schemes[i]);
        if (i > 0) {
            t->data_off = t[-1].data_off + t[-1].data_bytes;
            t->scale_off = t[-1].scale_off + t[-1].scale_bytes;
        }
    }
    return rc;
}

static int make_room(struct ruvm_image_build *b, struct ruvm_error *err)
{
    const struct ruvm_write_tensor *last = &b->tensors[b->n_tensors - 1];
    b->weights_bytes = (size_t)last->data_off + last->data_bytes;
    ruvm_buffer_room(&b->file, b->weights_bytes);
    ruvm_buffer_zeros(&b->file, b->weights_bytes);
    ruvm_buffer_zeros(&b->part[RUVM_BUILD_SCAL], (size_t)last->scale_off + last->scale_bytes);
    bool failed = b->file.failed || b->part[RUVM_BUILD_SCAL].failed;
    return failed ? no_memory(err) : RUVM_OK;
}

static uint8_t *data_of(const struct ruvm_image_build *b, uint32_t i)
{
    return b->file.data + b->weights_off + b->tensors[i].data_off;
}

static uint8_t *scales_of(const struct ruvm_image_build *b, uint32_t i)
{
    return b->part[RUVM_BUILD_SCAL].data + b->tensors[i].scale_off;
}

const uint8_t *ruvm_image_build_data(const struct ruvm_image_build *b, uint32_t i)
{
    return data_of(b, i);
}

const uint8_t *ruvm_image_build_scales(const struct ruvm_image_build *b, uint32_t i)
{
    return scales_of(b, i);
}

void ruvm_image_build_rows(struct ruvm_image_build *b, uint32_t i, uint32_t first,
                           const struct ruvm_quant_matrix *slice)
{
    struct ruvm_write_tensor *t = &b->tensors[i];
    ruvm_quant_matrix_pack_slice(slice, first, t->rows, data_of(b, i), scales_of(b, i));
    t->scale_exp = slice->scale_exp;
}

void ruvm_image_build_matrix(struct ruvm_image_build *b, uint32_t i,
                             const struct ruvm_quant_matrix *q)
{
    memset(data_of(b, i), 0, b->tensors[i].data_bytes);
    memset(scales_of(b, i), 0, b->tensors[i].scale_bytes);
    ruvm_image_build_rows(b, i, 0, q);
}

/* ---- the file -------------------------------------------------------------- */

int ruvm_image_build_open(struct ruvm_image_build *b, struct ruvm_arena *arena,
                          const struct ruvm_model *m, const struct ruvm_scheme *schemes,
                          struct ruvm_error *err)
{
    *b = (struct ruvm_image_build){.model = m, .schemes = schemes, .k_bits = 8, .v_bits = 8};
    int rc = lay_out_all(b, arena, err);
    if (rc == RUVM_OK)
        rc = make_room(b, err);
    if (rc == RUVM_OK)
        rc = ruvm_image_build_norms(b, arena, m, err);
    ruvm_image_parts_rope(&b->part[RUVM_BUILD_ROPE], m);
    ruvm_image_parts_window(&b->part[RUVM_BUILD_WIND], m);
    return rc;
}

void ruvm_image_build_ranges(struct ruvm_image_build *b, const struct ruvm_calibration *c)
{
    ruvm_buffer_free(&b->part[RUVM_BUILD_ARCH]);
    ruvm_buffer_free(&b->part[RUVM_BUILD_KVSC]);
    ruvm_image_parts_arch(&b->part[RUVM_BUILD_ARCH], b->model, c);
    uint8_t *arch = b->part[RUVM_BUILD_ARCH].data;
    if (arch && b->k_bits != 8)
        arch[RUVM_ARCH_K_BITS] = b->k_bits;
    if (arch && b->v_bits != 8)
        arch[RUVM_ARCH_V_BITS] = b->v_bits;
    ruvm_image_parts_kv(&b->part[RUVM_BUILD_KVSC], c);
}

void ruvm_image_build_close(struct ruvm_image_build *b)
{
    for (int i = 0; i < RUVM_BUILD_COUNT; i++)
        ruvm_buffer_free(&b->part[i]);
    ruvm_buffer_free(&b->file);
}

int ruvm_image_build_norms(struct ruvm_image_build *b, struct ruvm_arena *arena,
                           const struct ruvm_model *m, struct ruvm_error *err)
{
    ruvm_buffer_free(&b->part[RUVM_BUILD_NORM]);
    ruvm_buffer_free(&b->part[RUVM_BUILD_BIAS]);
    int rc = ruvm_image_parts_norm(&b->part[RUVM_BUILD_NORM], arena, m, err);
    return rc == RUVM_OK ? ruvm_image_parts_bias(&b->part[RUVM_BUILD_BIAS], arena, m, err) : rc;
}

/* The parts that are there as sections; order[i] is the part of section i. */
static unsigned list_sections(const struct ruvm_image_build *b, struct ruvm_write_section *sections,
                              unsigned *order)
{
    unsigned n = 0;
    for (unsigned i = 0; i < RUVM_BUILD_COUNT; i++) {
        struct ruvm_write_section s = {part_names[i], b->part[i].data, b->part[i].size};
        if (i == RUVM_BUILD_WGTS && b->file.data)
            s = (struct ruvm_write_section){part_names[i], b->file.data + b->weights_off,
                                            b->weights_bytes};
        if (s.size == 0)
            continue;
        order[n] = i;
        sections[n++] = s;
    }
    return n;
}

uint64_t ruvm_image_build_bytes(const struct ruvm_image_build *b, const struct ruvm_scheme *schemes)
{
    struct ruvm_write_section sections[RUVM_BUILD_COUNT];
    size_t offsets[RUVM_BUILD_COUNT];
    unsigned order[RUVM_BUILD_COUNT], n = list_sections(b, sections, order);
    uint64_t data = 0, scales = 0;
    for (uint32_t i = 0; i < b->n_tensors; i++) {
        data += ruvm_scheme_data_bytes(schemes[i], b->tensors[i].rows, b->tensors[i].cols);
        scales += ruvm_scheme_scale_bytes(schemes[i], b->tensors[i].rows, b->tensors[i].cols);
    }
    for (unsigned i = 0; i < n; i++) {
        if (order[i] == RUVM_BUILD_WGTS)
            sections[i].size = (size_t)data;
        if (order[i] == RUVM_BUILD_SCAL)
            sections[i].size = (size_t)scales;
    }
    return ruvm_write_layout(sections, n, offsets);
}

/* TENS last: it says where the others will stand, and its own size is known. */
static void build_directory(struct ruvm_image_build *b, size_t wgts_off, size_t scal_off)
{
    uint8_t *entries = b->part[RUVM_BUILD_TENS].data;
    for (uint32_t i = 0; i < b->n_tensors; i++) {
        struct ruvm_write_tensor t = b->tensors[i];
        t.data_off += (uint32_t)wgts_off;
        t.scale_off += (uint32_t)scal_off;
        ruvm_write_tensor(entries + (size_t)i * RUVM_TENS_BYTES, &t);
    }
}

static struct ruvm_write_header header_of(const struct ruvm_image_build *b)
{
    const struct ruvm_model *m = b->model;
    return (struct ruvm_write_header){
        .vocab = (uint16_t)m->vocab,
        .dim = (uint16_t)m->dim,
        .hidden = (uint16_t)m->hidden,
        .context = (uint16_t)m->context,
        .n_layers = (uint8_t)m->n_layers,
        .n_heads = (uint8_t)m->n_heads,
        .n_kv_heads = (uint8_t)m->n_kv_heads,
        .quant = (uint8_t)ruvm_scheme_quant(b->schemes, b->n_tensors),
    };
}

/* The file grows around its weights, which move to where they stand in it. */
static int grow_file(struct ruvm_image_build *b, size_t weights_off, size_t bytes,
                     struct ruvm_error *err)
{
    ruvm_buffer_room(&b->file, bytes);
    if (b->file.failed)
        return no_memory(err);
    memmove(b->file.data + weights_off, b->file.data + b->weights_off, b->weights_bytes);
    b->weights_off = weights_off;
    b->file.size = bytes;
    return RUVM_OK;
}

int ruvm_image_build_write(struct ruvm_image_build *b, struct ruvm_error *err)
{
    struct ruvm_write_section sections[RUVM_BUILD_COUNT];
    size_t offsets[RUVM_BUILD_COUNT], part_off[RUVM_BUILD_COUNT] = {0};
    unsigned order[RUVM_BUILD_COUNT];
    ruvm_buffer_free(&b->part[RUVM_BUILD_TENS]);
    ruvm_buffer_zeros(&b->part[RUVM_BUILD_TENS], (size_t)b->n_tensors * RUVM_TENS_BYTES);
    for (unsigned i = 0; i < RUVM_BUILD_COUNT; i++)
        if (!ruvm_buffer_ok(&b->part[i]))
            return no_memory(err);
    unsigned n = list_sections(b, sections, order);
    size_t bytes = ruvm_write_layout(sections, n, offsets);
    for (unsigned i = 0; i < n; i++)
        part_off[order[i]] = offsets[i];
    build_directory(b, part_off[RUVM_BUILD_WGTS], part_off[RUVM_BUILD_SCAL]);
    int rc = grow_file(b, part_off[RUVM_BUILD_WGTS], bytes, err);
    if (rc != RUVM_OK)
        return rc;
    struct ruvm_write_header header = header_of(b);
    list_sections(b, sections, order); /* of the weights where they are now */
    rc = ruvm_write_around(b->file.data, &header, sections, n);
    return rc == RUVM_OK
               ? rc
               : ruvm_fail(err, rc, "the image cannot be composed: %s", ruvm_status_text(rc));
}
