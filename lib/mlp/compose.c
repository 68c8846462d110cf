/* The image of a classifier, section by section. The first layer is quantized as it will be
 * used: with its columns times the ranges of the inputs, and the centres in its bias.
 */
#include "lib/mlp/compose.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/ruvm_write.h"
#include "lib/base/bytes.h"
#include "lib/quant/gptq.h"
#include "lib/quant/mantissa.h"
#include "lib/quant/steps.h"
#include "lib/ruvm.h"

enum {
    GPTQ_MAX_COLS = 2048,
    GPTQ_MAX_ROWS_OF_DATA = 4096, /* more teach nothing new */
};

enum part { MLP, TENS, SCAL, WGTS, LABELS, META, N_PARTS };
static const char *const part_names[N_PARTS] = {RUVM_SEC_MLP,  RUVM_SEC_TENS,   RUVM_SEC_SCAL,
                                                RUVM_SEC_WGTS, RUVM_SEC_LABELS, RUVM_SEC_META};

struct job {
    const struct ruvm_compose *c;
    struct ruvm_arena *arena; /* of the layer at hand */
    struct ruvm_buffer part[N_PARTS];
    struct ruvm_write_tensor *tensors; /* [n] offsets within SCAL and WGTS */
    double *rows, *next;               /* [n_rows, widest] what goes into the layer at hand */
    uint32_t n_rows, widest;
    struct ruvm_error *err;
};

static int no_memory(struct job *j)
{
    return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the image");
}

void ruvm_compose_tensors(struct ruvm_scheme_tensor *tensors, const struct ruvm_layers *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        tensors[i] = (struct ruvm_scheme_tensor){.kind = RUVM_TENSOR_LINEAR,
                                                 .layer = (uint8_t)i,
                                                 .rows = l->layer[i].rows,
                                                 .cols = l->layer[i].cols};
        snprintf(tensors[i].name, sizeof tensors[i].name, "layers.%u", i);
    }
}

/* ---- one layer ----------------------------------------------------------------- */

/* The layer for inputs in parts of their range. */
static bool scale_first(struct job *j, struct ruvm_layer *layer)
{
    const struct ruvm_inputs *in = j->c->inputs;
    size_t n = (size_t)layer->rows * layer->cols;
    float *w = ruvm_arena_alloc(j->arena, n, sizeof *w);
    double *bias = ruvm_arena_alloc(j->arena, layer->rows, sizeof *bias);
    if (!w || !bias)
        return false;
    for (uint32_t r = 0; r < layer->rows; r++) {
        const float *from = layer->w + (size_t)r * layer->cols;
        bias[r] = layer->bias[r];
        for (uint32_t c = 0; c < layer->cols; c++) {
            bias[r] += (double)from[c] * in->centre[c];
            w[(size_t)r * layer->cols + c] = (float)((double)from[c] * in->range[c]);
        }
    }
    layer->w = w;
    layer->bias = bias;
    return true;
}

/* Sum of x x^T over the rows of data. */
static void sum_moments(const struct job *j, double *moments, uint32_t n)
{
    for (uint32_t r = 0; r < j->n_rows; r++) {
        const double *x = j->rows + (size_t)r * j->widest;
        for (uint32_t a = 0; a < n; a++)
            for (uint32_t b = 0; x[a] != 0.0 && b < n; b++)
                moments[(size_t)a * n + b] += x[a] * x[b];
    }
}

/* Without data, or for int8, which loses next to nothing, each weight to its nearest level. */
static int round_weights(struct job *j, struct ruvm_quant_matrix *q, const struct ruvm_layer *y)
{
    bool is_int8 = q->scheme.type == RUVM_TYPE_INT8;
    bool by_data = !is_int8 && j->n_rows > 1 && y->cols <= GPTQ_MAX_COLS;
    struct ruvm_gptq g;
    double *moments = NULL;
    int rc = RUVM_OK;
    if (by_data) {
        moments = ruvm_arena_alloc(j->arena, (size_t)y->cols * y->cols, sizeof *moments);
        if (!moments)
            return no_memory(j);
        sum_moments(j, moments, y->cols);
        for (uint32_t i = 0; i < y->cols; i++) /* an input that was never there may come */
            moments[(size_t)i * (y->cols + 1)] += 1e-3;
        rc = ruvm_gptq_open(&g, j->arena, moments, y->cols, j->err);
    }
    if (rc == RUVM_OK)
        rc = ruvm_steps_choose(q, y->w, is_int8 ? RUVM_STEPS_MAX : RUVM_STEPS_MSE,
                               by_data ? g.importance : NULL, j->err);
    if (rc == RUVM_OK && by_data)
        return ruvm_gptq_round(&g, q, y->w, j->err);
    if (rc == RUVM_OK)
        ruvm_steps_round(q, y->w);
    return rc;
}

static int pack_weights(struct job *j, uint32_t i, const struct ruvm_quant_matrix *q)
{
    struct ruvm_write_tensor *t = &j->tensors[i];
    uint64_t data = ruvm_scheme_data_bytes(q->scheme, q->rows, q->cols);
    uint64_t scales = ruvm_scheme_scale_bytes(q->scheme, q->rows, q->cols);
    if (j->part[WGTS].size + data > INT32_MAX)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED, "more than 2 GiB of weights");
    *t = (struct ruvm_write_tensor){.kind = RUVM_TENSOR_LINEAR,
                                    .layer = (uint8_t)i,
                                    .type = ruvm_scheme_code(q->scheme),
                                    .scale_exp = q->scale_exp,
                                    .rows = q->rows,
                                    .cols = q->cols,
                                    .row_bytes = ruvm_codes_row_bytes(q->scheme.type, q->cols),
                                    .data_off = (uint32_t)j->part[WGTS].size,
                                    .data_bytes = (uint32_t)data,
                                    .scale_off = (uint32_t)j->part[SCAL].size,
                                    .scale_bytes = (uint32_t)scales};
    uint8_t *to = ruvm_buffer_zeros(&j->part[WGTS], (size_t)data);
    uint8_t *to_scales = ruvm_buffer_zeros(&j->part[SCAL], (size_t)scales);
    if (!to || !to_scales)
        return no_memory(j);
    ruvm_quant_matrix_pack(q, to, to_scales);
    return RUVM_OK;
}

static void add_record(struct job *j, uint32_t i)
{
    const struct ruvm_layer *y = &j->c->layers->layer[i];
    double slope = floor(y->slope * 65536 + 0.5);
    uint8_t *r = j->part[MLP].data + RUVM_MLP_LAYERS + (size_t)i * RUVM_MLP_LAYER_BYTES;
    r[RUVM_MLP_LAYER_ACT] = y->act;
    ruvm_store_u16(r + RUVM_MLP_LAYER_SLOPE, (uint16_t)fmin(slope, UINT16_MAX));
    ruvm_store_u16(r + RUVM_MLP_LAYER_WIDTH, (uint16_t)y->rows);
}

static int add_bias(struct job *j, uint32_t i, const struct ruvm_layer *y)
{
    double largest = 0;
    for (uint32_t r = 0; r < y->rows; r++)
        largest = fmax(largest, fabs(y->bias[r]));
    if (!ruvm_mantissa_fits(2 * largest))
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED, "layer %u has a bias of %g", i, largest);
    int exp = largest > 0 ? ruvm_mantissa_exponent(2 * largest) : 0;
    for (uint32_t r = 0; r < y->rows; r++) {
        double m = fmax(fmin(round(ldexp(y->bias[r], -exp)), INT16_MAX), -INT16_MAX);
        ruvm_buffer_u16(&j->part[MLP], (uint16_t)(int16_t)m);
    }
    if (j->part[MLP].failed)
        return no_memory(j);
    uint8_t *record = j->part[MLP].data + RUVM_MLP_LAYERS + (size_t)i * RUVM_MLP_LAYER_BYTES;
    record[RUVM_MLP_LAYER_BIAS_EXP] = (uint8_t)exp;
    return RUVM_OK;
}

static void run_rows(struct job *j, const struct ruvm_layer *y)
{
    for (uint32_t r = 0; r < j->n_rows; r++)
        ruvm_layers_apply(y, j->next + (size_t)r * j->widest, j->rows + (size_t)r * j->widest);
    double *rows = j->rows;
    j->rows = j->next;
    j->next = rows;
}

static int add_layer(struct job *j, uint32_t i)
{
    struct ruvm_layer y = j->c->layers->layer[i];
    struct ruvm_quant_matrix q;
    if ((i == 0 && !scale_first(j, &y)) ||
        !ruvm_quant_matrix_open(&q, j->arena, j->c->schemes[i], y.rows, y.cols))
        return no_memory(j);
    if (q.scheme.group && y.cols > RUVM_GROUPED_MAX_COLS)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "layers.%u has %u columns: groups go to %d; use the type with :row", i,
                         y.cols, RUVM_GROUPED_MAX_COLS);
    add_record(j, i);
    int rc = round_weights(j, &q, &y);
    if (rc == RUVM_OK)
        rc = pack_weights(j, i, &q);
    if (rc == RUVM_OK)
        rc = add_bias(j, i, &y);
    double *work = ruvm_arena_alloc(j->arena, y.cols, sizeof *work);
    if (rc == RUVM_OK && !work)
        rc = no_memory(j);
    if (rc == RUVM_OK)
        j->c->loss[i] = ruvm_quant_matrix_loss(&q, y.w, work);
    if (rc == RUVM_OK)
        run_rows(j, &y);
    return rc;
}

/* ---- the sections ---------------------------------------------------------------- */

static void add_inputs(struct job *j)
{
    const struct ruvm_compose *c = j->c;
    uint8_t *head = ruvm_buffer_zeros(&j->part[MLP], RUVM_MLP_LAYERS + (size_t)c->layers->n *
                                                                           RUVM_MLP_LAYER_BYTES);
    if (head)
        head[RUVM_MLP_OUTPUT] = c->layers->output;
    for (uint32_t i = 0; i < c->inputs->n; i++) {
        ruvm_buffer_u32(&j->part[MLP], (uint32_t)c->records[i].centre);
        ruvm_buffer_u16(&j->part[MLP], c->records[i].mult);
        ruvm_buffer_u8(&j->part[MLP], c->records[i].shift);
        ruvm_buffer_u8(&j->part[MLP], (uint8_t)c->records[i].exp);
    }
    ruvm_buffer_bytes(&j->part[LABELS], c->labels, c->labels_bytes);
    ruvm_buffer_bytes(&j->part[META], c->meta, c->meta_bytes);
}

/* The data as the first layer sees it. */
static bool take_rows(struct job *j, struct ruvm_arena *arena)
{
    const struct ruvm_grid *grid = j->c->grid;
    const struct ruvm_inputs *in = j->c->inputs;
    if (!grid)
        return true;
    j->widest = ruvm_layers_widest(j->c->layers);
    j->n_rows = grid->n_rows < GPTQ_MAX_ROWS_OF_DATA ? grid->n_rows : GPTQ_MAX_ROWS_OF_DATA;
    j->rows = ruvm_arena_alloc(arena, j->n_rows, j->widest * sizeof *j->rows);
    j->next = ruvm_arena_alloc(arena, j->n_rows, j->widest * sizeof *j->next);
    for (uint32_t r = 0; j->rows && r < j->n_rows; r++)
        for (uint32_t i = 0; i < in->n; i++)
            j->rows[(size_t)r * j->widest + i] =
                (grid->v[(size_t)r * grid->n_cols + i] - in->centre[i]) / in->range[i];
    return j->rows && j->next;
}

static struct ruvm_write_header header_of(const struct ruvm_compose *c)
{
    uint32_t hidden = 0, n = c->layers->n;
    for (uint32_t i = 0; i + 1 < n; i++)
        hidden = c->layers->layer[i].rows > hidden ? c->layers->layer[i].rows : hidden;
    return (struct ruvm_write_header){.vocab = (uint16_t)ruvm_layers_outputs(c->layers),
                                      .dim = (uint16_t)ruvm_layers_inputs(c->layers),
                                      .hidden = (uint16_t)hidden,
                                      .n_layers = (uint8_t)n,
                                      .quant = (uint8_t)ruvm_scheme_quant(c->schemes, n)};
}

static int write_file(struct job *j, struct ruvm_buffer *out)
{
    struct ruvm_write_section sections[N_PARTS];
    size_t offsets[N_PARTS];
    unsigned n = 0;
    struct ruvm_write_header header = header_of(j->c);
    ruvm_buffer_zeros(&j->part[TENS], (size_t)j->c->layers->n * RUVM_TENS_BYTES);
    for (int i = 0; i < N_PARTS; i++) {
        if (j->part[i].failed)
            return no_memory(j);
        if (j->part[i].size)
            sections[n++] =
                (struct ruvm_write_section){part_names[i], j->part[i].data, j->part[i].size};
    }
    ruvm_write_layout(sections, n, offsets); /* the first four are always there */
    for (uint32_t i = 0; i < j->c->layers->n; i++) {
        j->tensors[i].data_off += (uint32_t)offsets[WGTS];
        j->tensors[i].scale_off += (uint32_t)offsets[SCAL];
        ruvm_write_tensor(j->part[TENS].data + (size_t)i * RUVM_TENS_BYTES, &j->tensors[i]);
    }
    int rc = ruvm_write_image(out, &header, sections, n);
    return rc == RUVM_OK
               ? rc
               : ruvm_fail(j->err, rc, "the image cannot be composed: %s", ruvm_status_text(rc));
}

int ruvm_compose_image(struct ruvm_buffer *out, struct ruvm_arena *arena,
                       const struct ruvm_compose *c, struct ruvm_error *err)
{
    struct ruvm_arena work = {0};
    struct job j = {.c = c, .arena = &work, .err = err};
    j.tensors = ruvm_arena_alloc(arena, c->layers->n, sizeof *j.tensors);
    int rc = j.tensors && take_rows(&j, arena) ? RUVM_OK : no_memory(&j);
    add_inputs(&j);
    for (uint32_t i = 0; i < c->layers->n && rc == RUVM_OK; i++) {
        rc = j.part[MLP].failed ? no_memory(&j) : add_layer(&j, i);
        ruvm_arena_free(&work);
    }
    if (rc == RUVM_OK)
        rc = write_file(&j, out);
    for (int i = 0; i < N_PARTS; i++)
        ruvm_buffer_free(&j.part[i]);
    return rc;
}
