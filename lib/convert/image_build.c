/* Composes an image: quantizes the matrices, then lets the writer place all sections.
 *
 * The published order of the tensors is also the order in WGTS and SCAL, without
 * gaps, so that an engine may multiply wq|wk|wv as one matrix.
 */
#include "lib/convert/image_build.h"

#include "lib/base/bytes.h"
#include "lib/convert/image_parts.h"

static const char *const part_names[RUVM_BUILD_COUNT] = {
    [RUVM_BUILD_ARCH] = RUVM_SEC_ARCH, [RUVM_BUILD_TENS] = RUVM_SEC_TENS,
    [RUVM_BUILD_SCAL] = RUVM_SEC_SCAL, [RUVM_BUILD_NORM] = RUVM_SEC_NORM,
    [RUVM_BUILD_ROPE] = RUVM_SEC_ROPE, [RUVM_BUILD_KVSC] = RUVM_SEC_KVSC,
    [RUVM_BUILD_WGTS] = RUVM_SEC_WGTS, [RUVM_BUILD_TOKN] = RUVM_SEC_TOKN,
    [RUVM_BUILD_META] = RUVM_SEC_META, [RUVM_BUILD_GOLD] = RUVM_SEC_GOLD,
};

static int no_memory(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the image");
}

/* ---- tensors --------------------------------------------------------------- */

static void lay_out(struct ruvm_image_build *b, int kind, unsigned layer)
{
    char name[48];
    const struct ruvm_view *view = ruvm_model_tensor(b->model, kind, layer, name);
    struct ruvm_write_tensor *t = &b->tensors[b->n_tensors];
    *t = (struct ruvm_write_tensor){.kind = (uint8_t)kind,
                                    .layer = (uint8_t)layer,
                                    .type = RUVM_TYPE_INT8_ROW,
                                    .rows = (uint32_t)view->dims[0],
                                    .cols = (uint32_t)view->dims[1]};
    t->row_bytes = (uint32_t)ruvm_align_up(t->cols, RUVM_ROW_ALIGN);
    t->data_bytes = t->rows * t->row_bytes;
    t->scale_bytes = t->rows * 2;
    if (b->n_tensors > 0) {
        t->data_off = t[-1].data_off + t[-1].data_bytes;
        t->scale_off = t[-1].scale_off + t[-1].scale_bytes;
    }
    b->n_tensors++;
}

/* Weights as one sum in 64 bits: an image's offsets have 32. */
static uint64_t count_bytes(const struct ruvm_model *m)
{
    uint64_t q = (uint64_t)m->n_heads * m->head_dim, kv = (uint64_t)m->n_kv_heads * m->head_dim;
    uint64_t dim = ruvm_align_up(m->dim, RUVM_ROW_ALIGN);
    uint64_t layer = (q + 2 * kv + 2 * (uint64_t)m->hidden) * dim +
                     m->dim * ruvm_align_up(q, RUVM_ROW_ALIGN) +
                     m->dim * ruvm_align_up(m->hidden, RUVM_ROW_ALIGN);
    return m->n_layers * layer + (m->tied ? 1 : 2) * m->vocab * dim;
}

static int lay_out_all(struct ruvm_image_build *b, struct ruvm_arena *arena, struct ruvm_error *err)
{
    const struct ruvm_model *m = b->model;
    if (count_bytes(m) > INT32_MAX)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "the weights take %llu bytes: an image holds "
                         "2 GiB at most",
                         (unsigned long long)count_bytes(m));
    uint32_t most = m->n_layers * RUVM_TENSORS_PER_LAYER + 2;
    b->tensors = ruvm_arena_alloc(arena, most, sizeof *b->tensors);
    b->losses = ruvm_arena_alloc(arena, most, sizeof *b->losses);
    if (!b->tensors || !b->losses)
        return no_memory(err);
    lay_out(b, RUVM_TENSOR_EMBED, 0);
    for (unsigned l = 0; l < m->n_layers; l++)
        for (int kind = RUVM_TENSOR_WQ; kind <= RUVM_TENSOR_W_DOWN; kind++)
            lay_out(b, kind, l);
    if (!m->tied)
        lay_out(b, RUVM_TENSOR_HEAD, 0);
    return RUVM_OK;
}

static int quantize_tensor(struct ruvm_image_build *b, uint32_t i, float *row,
                           struct ruvm_error *err)
{
    struct ruvm_write_tensor *t = &b->tensors[i];
    char name[48];
    const struct ruvm_view *view = ruvm_model_tensor(b->model, t->kind, t->layer, name);
    struct ruvm_int8_matrix q = {
        .rows = t->rows,
        .cols = t->cols,
        .row_bytes = t->row_bytes,
        .data = (int8_t *)b->part[RUVM_BUILD_WGTS].data + t->data_off,
        .scales = b->part[RUVM_BUILD_SCAL].data + t->scale_off,
    };
    int rc = ruvm_int8_quantize(&q, view, row, name, err);
    t->scale_exp = q.scale_exp;
    b->losses[i] = q.loss;
    return rc;
}

static uint32_t widest(const struct ruvm_image_build *b)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < b->n_tensors; i++)
        most = b->tensors[i].cols > most ? b->tensors[i].cols : most;
    return most;
}

int ruvm_image_build_weights(struct ruvm_image_build *b, struct ruvm_arena *arena,
                             const struct ruvm_progress *progress, struct ruvm_error *err)
{
    const struct ruvm_write_tensor *last = &b->tensors[b->n_tensors - 1];
    uint64_t total = (uint64_t)last->data_off + last->data_bytes;
    float *row = ruvm_arena_alloc(arena, widest(b), sizeof *row);
    ruvm_buffer_zeros(&b->part[RUVM_BUILD_WGTS], (size_t)total);
    ruvm_buffer_zeros(&b->part[RUVM_BUILD_SCAL], last->scale_off + last->scale_bytes);
    if (!row || b->part[RUVM_BUILD_WGTS].failed || b->part[RUVM_BUILD_SCAL].failed)
        return no_memory(err);
    for (uint32_t i = 0; i < b->n_tensors; i++) {
        int rc = quantize_tensor(b, i, row, err);
        if (rc != RUVM_OK)
            return rc;
        uint64_t done = b->tensors[i].data_off + b->tensors[i].data_bytes;
        if (progress->report && progress->report(progress->user, "quantize", done, total) != 0)
            return ruvm_fail(err, RUVM_ERR_IO, "interrupted");
    }
    return RUVM_OK;
}

/* ---- the file -------------------------------------------------------------- */

int ruvm_image_build_open(struct ruvm_image_build *b, struct ruvm_arena *arena,
                          const struct ruvm_model *m, struct ruvm_error *err)
{
    *b = (struct ruvm_image_build){.model = m};
    int rc = lay_out_all(b, arena, err);
    if (rc == RUVM_OK)
        rc = ruvm_image_parts_norm(&b->part[RUVM_BUILD_NORM], arena, m, err);
    if (rc == RUVM_OK)
        ruvm_image_parts_rope(&b->part[RUVM_BUILD_ROPE], m);
    return rc;
}

void ruvm_image_build_ranges(struct ruvm_image_build *b, const struct ruvm_calibration *c)
{
    ruvm_buffer_free(&b->part[RUVM_BUILD_ARCH]);
    ruvm_buffer_free(&b->part[RUVM_BUILD_KVSC]);
    ruvm_image_parts_arch(&b->part[RUVM_BUILD_ARCH], b->model, c);
    ruvm_image_parts_kv(&b->part[RUVM_BUILD_KVSC], c);
}

void ruvm_image_build_close(struct ruvm_image_build *b)
{
    for (int i = 0; i < RUVM_BUILD_COUNT; i++)
        ruvm_buffer_free(&b->part[i]);
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

static struct ruvm_write_header header_of(const struct ruvm_model *m)
{
    return (struct ruvm_write_header){
        .vocab = (uint16_t)m->vocab,
        .dim = (uint16_t)m->dim,
        .hidden = (uint16_t)m->hidden,
        .context = (uint16_t)m->context,
        .n_layers = (uint8_t)m->n_layers,
        .n_heads = (uint8_t)m->n_heads,
        .n_kv_heads = (uint8_t)m->n_kv_heads,
        .quant = RUVM_QUANT_INT8,
    };
}

int ruvm_image_build_write(struct ruvm_buffer *out, struct ruvm_image_build *b,
                           struct ruvm_error *err)
{
    struct ruvm_write_section sections[RUVM_BUILD_COUNT];
    size_t offsets[RUVM_BUILD_COUNT], part_off[RUVM_BUILD_COUNT] = {0};
    unsigned n = 0, order[RUVM_BUILD_COUNT];
    ruvm_buffer_free(&b->part[RUVM_BUILD_TENS]);
    ruvm_buffer_zeros(&b->part[RUVM_BUILD_TENS], (size_t)b->n_tensors * RUVM_TENS_BYTES);
    for (unsigned i = 0; i < RUVM_BUILD_COUNT; i++) {
        if (!ruvm_buffer_ok(&b->part[i]))
            return no_memory(err);
        if (b->part[i].size == 0)
            continue;
        order[n] = i;
        sections[n++] =
            (struct ruvm_write_section){part_names[i], b->part[i].data, b->part[i].size};
    }
    ruvm_write_layout(sections, n, offsets);
    for (unsigned i = 0; i < n; i++)
        part_off[order[i]] = offsets[i];
    build_directory(b, part_off[RUVM_BUILD_WGTS], part_off[RUVM_BUILD_SCAL]);
    struct ruvm_write_header header = header_of(b->model);
    int rc = ruvm_write_image(out, &header, sections, n);
    return rc == RUVM_OK
               ? rc
               : ruvm_fail(err, rc, "the image cannot be composed: %s", ruvm_status_text(rc));
}
