/* Inspect: what is in a model file, of any format we read.
 *
 * A RUVM image is described from its own sections, anything else from the
 * directory that its importer makes; both meet in struct matrix, a table of rows
 * that can be asked for as floats, so that ranges and histograms are measured
 * one way. Nothing in the result points into the file.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "formats/ruvm_codes.h"
#include "formats/ruvm_diagnose.h"
#include "formats/ruvm_read.h"
#include "lib/base/arena.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/convert/model.h"
#include "lib/convert/names.h"
#include "lib/quant/scheme.h"
#include "lib/ruvm_tool.h"

struct job {
    const struct ruvm_inspect_options *o;
    struct ruvm_inspect_result *r;
    struct ruvm_file file;
    struct ruvm_arena *arena; /* of the result */
    struct ruvm_error *err;
};

static int no_memory(const struct job *j)
{
    return ruvm_fail(j->err, RUVM_ERR_MEMORY, "%s: memory is short for its description",
                     j->file.name);
}

/* ---- ranges and histograms ------------------------------------------------- */

/* A tensor of either kind. */
struct matrix {
    uint64_t rows, cols;
    const struct ruvm_view *view; /* NULL: tensor holds it */
    struct ruvm_tensor tensor;
    int8_t *levels; /* [cols] room to unpack a row of tensor */
};

/* A level times its multiplier has 8 bits at most, times a 16-bit scale 24: exact as a
 * float. */
static void read_row(const struct matrix *m, uint64_t row, float *out)
{
    if (m->view) {
        ruvm_view_row(m->view, row, out);
        return;
    }
    const struct ruvm_tensor *t = &m->tensor;
    double scale = ldexp(t->scales[row], t->scale_exp);
    ruvm_codes_unpack(t->type, m->levels, (const uint8_t *)t->data + row * t->row_bytes, t->cols);
    for (uint32_t i = 0; i < t->cols; i++) {
        int mult = (int)ruvm_image_multiplier(t, (uint32_t)row, i);
        out[i] = (float)(m->levels[i] * mult * scale);
    }
}

struct range {
    double min, max; /* of the finite values */
    bool has_finite, has_other;
};

static struct range measure_range(const struct matrix *m, float *row)
{
    struct range range = {0};
    for (uint64_t r = 0; r < m->rows; r++) {
        read_row(m, r, row);
        for (uint64_t i = 0; i < m->cols; i++) {
            double x = (double)row[i];
            if (!isfinite(x)) {
                range.has_other = true;
                continue;
            }
            range.min = range.has_finite ? fmin(range.min, x) : x;
            range.max = range.has_finite ? fmax(range.max, x) : x;
            range.has_finite = true;
        }
    }
    return range;
}

static void measure_histogram(struct ruvm_inspect_result *r, const struct matrix *m,
                              const struct range *range, float *row)
{
    double width = range->max - range->min;
    r->has_histogram = true;
    r->histogram_min = range->min;
    r->histogram_max = range->max;
    for (uint64_t k = 0; k < m->rows; k++) {
        read_row(m, k, row);
        for (uint64_t i = 0; i < m->cols; i++) {
            double x = (double)row[i];
            if (!isfinite(x))
                continue;
            double place = width > 0 ? (x - range->min) / width * RUVM_INSPECT_BINS : 0;
            unsigned bin = place < RUVM_INSPECT_BINS ? (unsigned)place : RUVM_INSPECT_BINS - 1;
            r->histogram[bin]++;
        }
    }
}

/* Fills the measured part of t; a tensor with values that are no numbers has no range. */
static int measure(const struct job *j, struct matrix *m, struct ruvm_inspect_tensor *t)
{
    if (m->cols > SIZE_MAX / (2 * sizeof(float)))
        return no_memory(j);
    float *row = malloc((size_t)m->cols * (sizeof *row + sizeof *m->levels) + 1);
    if (!row)
        return no_memory(j);
    m->levels = (int8_t *)(row + m->cols);
    struct range range = measure_range(m, row);
    t->min = range.has_other ? (double)NAN : range.min;
    t->max = range.has_other ? (double)NAN : range.max;
    if (j->o->tensor && strcmp(j->o->tensor, t->name) == 0)
        measure_histogram(j->r, m, &range, row);
    free(row);
    return RUVM_OK;
}

/* ---- RUVM images ------------------------------------------------------------- */

static bool is_known(const char *name)
{
    static const char *const names[] = {
        RUVM_SEC_ARCH, RUVM_SEC_TENS, RUVM_SEC_SCAL, RUVM_SEC_NORM, RUVM_SEC_BIAS, RUVM_SEC_ROPE,
        RUVM_SEC_WIND, RUVM_SEC_KVSC, RUVM_SEC_WGTS, RUVM_SEC_TOKN, RUVM_SEC_META, RUVM_SEC_GOLD,
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int describe_sections(struct job *j, const struct ruvm_image *img)
{
    struct ruvm_inspect_result *r = j->r;
    r->sections = ruvm_arena_alloc(j->arena, img->n_sections, sizeof *r->sections);
    if (!r->sections)
        return no_memory(j);
    r->n_sections = img->n_sections;
    for (unsigned i = 0; i < img->n_sections; i++) {
        struct ruvm_section s = ruvm_image_section(img, i);
        struct ruvm_inspect_section *d = &r->sections[i];
        *d = (struct ruvm_inspect_section){.off_bytes = s.off,
                                           .size_bytes = s.size,
                                           .crc32 = s.crc,
                                           .required = s.name[0] < 'a',
                                           .known = is_known(s.name)};
        memcpy(d->name, s.name, sizeof d->name);
    }
    return RUVM_OK;
}

static uint64_t count_biases(const struct ruvm_image *img)
{
    uint64_t n = ruvm_image_bias(img, RUVM_BIAS_FINAL_NORM, 0).n;
    for (unsigned l = 0; l < img->n_layers; l++)
        for (int kind = 0; kind < RUVM_BIAS_FINAL_NORM; kind++)
            n += ruvm_image_bias(img, (enum ruvm_bias_kind)kind, l).n;
    return n;
}

static int describe_tensors(struct job *j, const struct ruvm_image *img)
{
    struct ruvm_inspect_result *r = j->r;
    r->tensors = ruvm_arena_alloc(j->arena, img->n_tensors, sizeof *r->tensors);
    if (!r->tensors)
        return no_memory(j);
    r->n_tensors = img->n_tensors;
    r->parameters = (2 * (uint64_t)img->n_layers + 1) * img->dim + count_biases(img);
    int rc = RUVM_OK;
    for (unsigned i = 0; i < img->n_tensors && rc == RUVM_OK; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(img, i);
        struct ruvm_inspect_tensor *d = &r->tensors[i];
        struct matrix m = {.rows = t.rows, .cols = t.cols, .tensor = t};
        *d = (struct ruvm_inspect_tensor){.n_dims = 2,
                                          .dims = {t.rows, t.cols},
                                          .off_bytes =
                                              (uint64_t)((const uint8_t *)t.data - img->data),
                                          .size_bytes = t.data_bytes};
        ruvm_names_write(d->name, sizeof d->name, NULL, t.kind, t.layer);
        r->parameters += (uint64_t)t.rows * t.cols;
        ruvm_scheme_write(d->type, (struct ruvm_scheme){t.type, t.group});
        rc = measure(j, &m, d);
    }
    return rc;
}

/* Pair i turns by theta^(-2i / rope_dims) of a radian. The pair is taken whose rounded
 * increment says most about theta. 0 when there is one pair, which says nothing. */
static double theta_of(const struct ruvm_image *img)
{
    const double turn = 6.283185307179586;
    unsigned best = 1, pairs = img->rope_dims / 2u;
    if (pairs < 2)
        return 0;
    for (unsigned i = 2; i < pairs; i++)
        if ((double)img->rope_inc[i] * i > (double)img->rope_inc[best] * best)
            best = i;
    double angle = ldexp(img->rope_inc[best], -32) * turn;
    return angle > 0 ? pow(angle, -(double)img->rope_dims / (2.0 * best)) : 0;
}

static void describe_shape(struct ruvm_inspect_result *r, const struct ruvm_image *img)
{
    r->version = img->version;
    r->quant_type = img->quant;
    r->vocab = img->vocab;
    r->dim = img->dim;
    r->hidden = img->hidden;
    r->n_layers = img->n_layers;
    r->n_heads = img->n_heads;
    r->n_kv_heads = img->n_kv_heads;
    r->head_dim =
        img->version == RUVM_VERSION_V0 ? (uint32_t)img->dim / img->n_heads : img->head_dim;
    r->context = img->context;
}

static int describe_extras(struct job *j, const struct ruvm_image *img)
{
    struct ruvm_inspect_result *r = j->r;
    r->meta = ruvm_arena_text(j->arena, (const char *)img->meta, img->meta_bytes);
    if (!r->meta)
        return no_memory(j);
    if (img->tokn) {
        r->has_tokenizer = true;
        r->n_pieces = ruvm_load_u16(img->tokn + RUVM_TOKN_N_PIECES);
        r->bos = ruvm_load_u16(img->tokn + RUVM_TOKN_BOS);
        r->eos = ruvm_load_u16(img->tokn + RUVM_TOKN_EOS);
        r->unk = ruvm_load_u16(img->tokn + RUVM_TOKN_UNK);
    }
    if (img->gold) {
        r->n_golden_prompt = ruvm_load_u16(img->gold + RUVM_GOLD_N_PROMPT);
        r->n_golden_tokens = ruvm_load_u16(img->gold + RUVM_GOLD_N_TOKENS);
    }
    return RUVM_OK;
}

/* What a key or value takes of the cache: with 4 bits it has a byte of its own. */
static uint64_t cached_bytes(uint32_t bits, uint32_t head_dim)
{
    return bits == 4 ? head_dim / 2 + 1 : head_dim;
}

/* An image beyond the engine's limits is described all the same, with 0 bytes. */
static int describe_memory(struct job *j, const struct ruvm_image *img)
{
    struct ruvm_inspect_result *r = j->r;
    struct ruvm_engine_options options = {.context = j->o->context};
    size_t bytes = 0;
    if (j->o->context > img->context)
        return ruvm_fail(j->err, RUVM_ERR_ARG,
                         "%s: a context of %u is more than the %u positions that the model was "
                         "made for",
                         j->file.name, j->o->context, img->context);
    r->engine_context = j->o->context ? j->o->context : img->context;
    r->kv_cache_bytes =
        (uint64_t)img->n_layers * r->engine_context * img->n_kv_heads *
        (cached_bytes(img->k_bits, img->head_dim) + cached_bytes(img->v_bits, img->head_dim));
    int rc = ruvm_engine_bytes(j->file.data, j->file.size, &options, &bytes);
    r->engine_bytes = bytes;
    return rc == RUVM_OK || rc == RUVM_ERR_UNSUPPORTED
               ? RUVM_OK
               : ruvm_fail(j->err, rc, "%s: %s", j->file.name, ruvm_status_text(rc));
}

static int describe_image(struct job *j, const struct ruvm_image *img)
{
    struct ruvm_inspect_result *r = j->r;
    snprintf(r->format, sizeof r->format, "RUVM v1 image");
    r->is_image = true;
    r->header_crc32 = ruvm_load_u32(img->data + RUVM_HDR_CRC);
    r->tied = img->tied;
    r->k_bits = img->k_bits;
    r->v_bits = img->v_bits;
    r->norm_eps = ldexp(img->eps_mantissa, img->eps_exp);
    r->rope_theta = theta_of(img);
    int rc = describe_sections(j, img);
    if (rc == RUVM_OK)
        rc = describe_tensors(j, img);
    if (rc == RUVM_OK)
        rc = describe_extras(j, img);
    return rc == RUVM_OK ? describe_memory(j, img) : rc;
}

/* ---- everything else ----------------------------------------------------------- */

static void type_of(const struct ruvm_view *v, char *type, size_t n)
{
    if (v->dtype == RUVM_DTYPE_I8_GROUPS)
        snprintf(type, n, "int8 groups of %u", v->group);
    else
        snprintf(type, n, "%s", ruvm_dtype_name(v->dtype));
}

static int describe_view(struct job *j, const struct ruvm_view *v, struct ruvm_inspect_tensor *d)
{
    struct matrix m = {.rows = 1, .cols = v->dims[v->n_dims - 1], .view = v};
    *d = (struct ruvm_inspect_tensor){.n_dims = v->n_dims,
                                      .off_bytes = (uint64_t)(v->data - j->file.data),
                                      .size_bytes = v->bytes};
    snprintf(d->name, sizeof d->name, "%s", v->name);
    type_of(v, d->type, sizeof d->type);
    memcpy(d->dims, v->dims, sizeof d->dims);
    for (uint32_t i = 0; i + 1 < v->n_dims; i++)
        m.rows *= v->dims[i];
    j->r->parameters += m.rows * m.cols;
    return measure(j, &m, d);
}

static int describe_views(struct job *j, const struct ruvm_tensors *t)
{
    struct ruvm_inspect_result *r = j->r;
    snprintf(r->format, sizeof r->format, "%s", t->format);
    r->meta = ruvm_arena_text(j->arena, "", 0);
    r->tensors = ruvm_arena_alloc(j->arena, t->n_views, sizeof *r->tensors);
    if (!r->tensors || !r->meta)
        return no_memory(j);
    r->n_tensors = (uint32_t)t->n_views;
    int rc = RUVM_OK;
    for (size_t i = 0; i < t->n_views && rc == RUVM_OK; i++)
        rc = describe_view(j, &t->views[i], &r->tensors[i]);
    return rc;
}

static void describe_model(struct ruvm_inspect_result *r, const struct ruvm_model *m)
{
    r->vocab = m->vocab;
    r->dim = m->dim;
    r->hidden = m->hidden;
    r->n_layers = m->n_layers;
    r->n_heads = m->n_heads;
    r->n_kv_heads = m->n_kv_heads;
    r->head_dim = m->head_dim;
    r->context = m->context;
    r->tied = m->tied;
    r->norm_eps = (double)m->norm_eps;
    r->rope_theta = (double)m->rope_theta;
}

/* The directory of a foreign file, which has no shape of ours in a header. */
static int describe_foreign(struct job *j, struct ruvm_arena *work)
{
    const uint8_t *data = j->file.data;
    const struct ruvm_format *format = ruvm_formats_probe(data, j->file.size);
    struct ruvm_tensors t;
    struct ruvm_model m;
    if (!format)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is no model that ruvm knows; it looks like %s", j->file.name,
                         ruvm_formats_guess(data, j->file.size));
    int rc = format->read(&t, work, data, j->file.size, j->err);
    if (rc == RUVM_OK && !j->r->is_v0)
        rc = ruvm_model_from_tensors(&m, work, &t, j->err);
    if (rc != RUVM_OK) {
        ruvm_error_prefix(j->err, j->file.name);
        return rc;
    }
    if (!j->r->is_v0)
        describe_model(j->r, &m);
    return describe_views(j, &t);
}

static int describe_bare(struct job *j, struct ruvm_arena *work)
{
    struct ruvm_inspect_result *r = j->r;
    r->is_v0 = true;
    int rc = describe_foreign(j, work);
    snprintf(r->format, sizeof r->format, "RUVM v0 (bare layout)");
    snprintf(r->note, sizeof r->note,
             "the bare layout has no scales, norms, tokenizer or checksums: an engine cannot run "
             "it; if you know what one step of a weight is worth, convert it: ruvm quantize FILE "
             "--v0-scale STEP -o OUT.ruvm");
    return rc;
}

static int describe_ruvm(struct job *j, struct ruvm_arena *work)
{
    struct ruvm_image img;
    struct ruvm_image_fault fault;
    int rc = ruvm_image_open(&img, j->file.data, j->file.size, &fault);
    if (rc != RUVM_OK)
        return ruvm_diagnose_fail(j->err, rc, j->file.name, &fault);
    describe_shape(j->r, &img);
    return img.version == RUVM_VERSION_V0 ? describe_bare(j, work) : describe_image(j, &img);
}

/* ---- the verb --------------------------------------------------------------------- */

/* The tensor asked for is not there: the error lists names to choose from. */
static int refuse_name(const struct job *j)
{
    char names[512] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < j->r->n_tensors; i++) {
        const char *name = j->r->tensors[i].name;
        if (used + strlen(name) + sizeof ", ..." > sizeof names) {
            snprintf(names + used, sizeof names - used, ", ...");
            break;
        }
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", name);
    }
    return ruvm_fail(j->err, RUVM_ERR_ARG, "%s: has no tensor \"%s\"; it has %s", j->file.name,
                     j->o->tensor, names);
}

static int describe(struct job *j)
{
    struct ruvm_arena work = {0};
    bool is_ruvm = j->file.size >= 4 && memcmp(j->file.data, RUVM_MAGIC, 4) == 0;
    j->r->file_bytes = j->file.size;
    j->r->bos = j->r->eos = j->r->unk = RUVM_NO_TOKEN;
    int rc = is_ruvm ? describe_ruvm(j, &work) : describe_foreign(j, &work);
    ruvm_arena_free(&work);
    if (rc == RUVM_OK && j->o->tensor && !j->r->has_histogram)
        rc = refuse_name(j);
    return rc;
}

int ruvm_inspect(const struct ruvm_inspect_options *o, struct ruvm_inspect_result *r,
                 struct ruvm_error *err)
{
    struct job j = {.o = o, .r = r, .err = err};
    *r = (struct ruvm_inspect_result){0};
    int rc = ruvm_file_open(&j.file, o->input, err);
    if (rc != RUVM_OK)
        return rc;
    j.arena = calloc(1, sizeof *j.arena);
    r->owned = j.arena;
    rc = j.arena ? describe(&j) : no_memory(&j);
    ruvm_file_close(&j.file);
    if (rc != RUVM_OK)
        ruvm_inspect_free(r);
    return rc;
}

void ruvm_inspect_free(struct ruvm_inspect_result *r)
{
    if (r->owned)
        ruvm_arena_free(r->owned);
    free(r->owned);
    *r = (struct ruvm_inspect_result){0};
}
