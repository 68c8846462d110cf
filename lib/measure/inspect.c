/* Inspect: what is in a model file, of any format we read.
 *
 * A RUVM image is described from its own sections, anything else from the directory that its
 * importer makes; both are a list of rows that can be asked for as floats, so that ranges and
 * histograms are measured one way. Nothing in the result points into the file.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/bundle/pack_open.h"
#include "lib/import/vocab_open.h"
#include "lib/measure/inspect_subject.h"

struct job {
    const struct ruvm_inspect_options *o;
    struct ruvm_inspect_result *r;
    struct ruvm_subject s;
    struct ruvm_arena *arena; /* of the result */
    struct ruvm_error *err;
};

static int no_memory(const struct job *j)
{
    return ruvm_fail(j->err, RUVM_ERR_MEMORY, "%s: memory is short for its description",
                     j->s.name ? j->s.name : "inspect");
}

/* ---- ranges and histograms ------------------------------------------------- */

struct range {
    double min, max; /* of the finite values */
    bool has_finite, has_other;
};

static struct range measure_range(const struct ruvm_matrix *m, float *row, int8_t *levels)
{
    struct range range = {0};
    for (uint64_t r = 0; r < m->rows; r++) {
        ruvm_matrix_row(m, r, row, levels);
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

static void measure_histogram(struct ruvm_inspect_result *r, const struct ruvm_matrix *m,
                              const struct range *range, float *row, int8_t *levels)
{
    double width = range->max - range->min;
    r->has_histogram = true;
    r->histogram_min = range->min;
    r->histogram_max = range->max;
    for (uint64_t k = 0; k < m->rows; k++) {
        ruvm_matrix_row(m, k, row, levels);
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
static int measure(const struct job *j, const struct ruvm_matrix *m, struct ruvm_inspect_tensor *t)
{
    float *row = ruvm_matrix_room(m, 1);
    if (!row)
        return no_memory(j);
    int8_t *levels = (int8_t *)(row + m->cols);
    struct range range = measure_range(m, row, levels);
    t->min = range.has_other ? (double)NAN : range.min;
    t->max = range.has_other ? (double)NAN : range.max;
    if (j->o->tensor && strcmp(j->o->tensor, t->name) == 0)
        measure_histogram(j->r, m, &range, row, levels);
    free(row);
    return RUVM_OK;
}

/* ---- tensors ------------------------------------------------------------------ */

/* Which file of several, and where in it. */
static void find_place(struct job *j, const struct ruvm_view *v, struct ruvm_inspect_tensor *d)
{
    const struct ruvm_container *c = &j->s.container;
    const struct ruvm_map *map;
    const char *name;
    bool several = ruvm_container_file(c, 1, NULL) != NULL;
    for (size_t i = 0; (map = ruvm_container_file(c, i, &name)) != NULL; i++) {
        if (v->data < map->data || v->data > map->data + map->size)
            continue;
        d->off_bytes = (uint64_t)(v->data - map->data);
        d->file = several ? ruvm_arena_text(j->arena, name, strlen(name)) : NULL;
        return;
    }
}

static int describe_tensor(struct job *j, const struct ruvm_matrix *m,
                           struct ruvm_inspect_tensor *d)
{
    *d = (struct ruvm_inspect_tensor){.n_dims = m->n_dims};
    snprintf(d->name, sizeof d->name, "%s", m->name);
    memcpy(d->type, m->type, sizeof d->type);
    memcpy(d->dims, m->dims, sizeof d->dims);
    if (m->view) {
        d->size_bytes = m->view->bytes;
        find_place(j, m->view, d);
    } else {
        d->size_bytes = m->tensor.data_bytes;
        d->off_bytes = (uint64_t)((const uint8_t *)m->tensor.data - j->s.img.data);
    }
    j->r->parameters += m->rows * m->cols;
    return measure(j, m, d);
}

static int describe_tensors(struct job *j)
{
    struct ruvm_inspect_result *r = j->r;
    struct ruvm_matrix *list;
    size_t n;
    int rc = ruvm_subject_list(&list, &n, &j->s, false, j->err);
    if (rc != RUVM_OK)
        return rc;
    r->tensors = ruvm_arena_alloc(j->arena, n, sizeof *r->tensors);
    if (!r->tensors)
        return no_memory(j);
    r->n_tensors = (uint32_t)n;
    for (size_t i = 0; i < n && rc == RUVM_OK; i++)
        rc = describe_tensor(j, &list[i], &r->tensors[i]);
    return rc;
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

/* Numbers that are in no tensor with a type of its own: gains and biases. */
static uint64_t count_vectors(const struct ruvm_image *img)
{
    uint64_t n = (2 * (uint64_t)img->n_layers + 1) * img->dim;
    n += ruvm_image_bias(img, RUVM_BIAS_FINAL_NORM, 0).n;
    for (unsigned l = 0; l < img->n_layers; l++)
        for (int kind = 0; kind < RUVM_BIAS_FINAL_NORM; kind++)
            n += ruvm_image_bias(img, (enum ruvm_bias_kind)kind, l).n;
    return n;
}

static uint32_t token(const uint8_t *field)
{
    uint16_t id = ruvm_load_u16(field);
    return id == RUVM_NO_TOKEN ? RUVM_VOCAB_NONE : id;
}

static void describe_extras(struct ruvm_inspect_result *r, const struct ruvm_image *img)
{
    if (img->tokn) {
        r->has_tokenizer = true;
        r->n_pieces = ruvm_load_u16(img->tokn + RUVM_TOKN_N_PIECES);
        r->bos = token(img->tokn + RUVM_TOKN_BOS);
        r->eos = token(img->tokn + RUVM_TOKN_EOS);
        r->unk = token(img->tokn + RUVM_TOKN_UNK);
    }
    if (img->gold) {
        r->n_golden_prompt = ruvm_load_u16(img->gold + RUVM_GOLD_N_PROMPT);
        r->n_golden_tokens = ruvm_load_u16(img->gold + RUVM_GOLD_N_TOKENS);
    }
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
                         j->s.name, j->o->context, img->context);
    r->engine_context = j->o->context ? j->o->context : img->context;
    r->kv_cache_bytes =
        (uint64_t)img->n_layers * r->engine_context * img->n_kv_heads *
        (cached_bytes(img->k_bits, img->head_dim) + cached_bytes(img->v_bits, img->head_dim));
    int rc = ruvm_engine_bytes(j->s.file.data, j->s.file.size, &options, &bytes);
    r->engine_bytes = bytes;
    return rc == RUVM_OK || rc == RUVM_ERR_UNSUPPORTED
               ? RUVM_OK
               : ruvm_fail(j->err, rc, "%s: %s", j->s.name, ruvm_status_text(rc));
}

static int describe_image(struct job *j)
{
    const struct ruvm_image *img = &j->s.img;
    snprintf(j->r->format, sizeof j->r->format, "RUVM v1 image");
    j->r->is_image = true;
    j->r->parameters = count_vectors(img);
    describe_extras(j->r, img);
    int rc = describe_sections(j, img);
    return rc == RUVM_OK ? describe_memory(j, img) : rc;
}

/* ---- everything else ----------------------------------------------------------- */

static int describe_operators(struct job *j)
{
    struct ruvm_inspect_result *r = j->r;
    struct ruvm_onnx_operator *list;
    int n = ruvm_onnx_operators(&list, &j->s.arena, &j->s.container.onnx);
    r->operators = n < 0 ? NULL : ruvm_arena_alloc(j->arena, (size_t)n, sizeof *r->operators);
    if (!r->operators)
        return no_memory(j);
    r->n_operators = (uint32_t)n;
    for (int i = 0; i < n; i++) {
        struct ruvm_inspect_operator *o = &r->operators[i];
        const struct ruvm_onnx_operator *from = &list[i];
        snprintf(o->name, sizeof o->name, "%.*s%s%.*s", (int)from->domain.size, from->domain.at,
                 from->domain.size ? "." : "", (int)from->op.size, from->op.at);
        o->n_nodes = from->n_nodes;
    }
    return RUVM_OK;
}

/* A tokenizer that cannot be read is no reason not to describe the rest. */
static void describe_vocab(struct job *j)
{
    struct ruvm_inspect_result *r = j->r;
    struct ruvm_vocab v;
    struct ruvm_vocab_file file = {0};
    struct ruvm_error err = {0};
    bool found;
    int rc = ruvm_vocab_find(&v, &found, &file, &j->s.arena, &j->s.container, &err);
    if (rc == RUVM_OK && found) {
        if (j->s.has_model)
            ruvm_vocab_follow(&v, &j->s.network);
        r->has_tokenizer = true;
        r->n_pieces = v.n_pieces;
        r->bos = v.bos;
        r->eos = v.eos;
        r->unk = v.unk;
    }
    if (rc != RUVM_OK && !r->note[0])
        snprintf(r->note, sizeof r->note, "its tokenizer cannot be read: %.900s", err.text);
    ruvm_vocab_close(&file);
}

static int describe_foreign(struct job *j)
{
    struct ruvm_inspect_result *r = j->r;
    snprintf(r->format, sizeof r->format, "%s", j->s.container.tensors.format);
    snprintf(r->note, sizeof r->note, "%s", j->s.why.text);
    r->file_bytes = ruvm_container_bytes(&j->s.container);
    if (j->s.is_v0) {
        r->is_v0 = true;
        snprintf(r->format, sizeof r->format, "RUVM v0 (bare layout)");
        snprintf(
            r->note, sizeof r->note,
            "the bare layout has no scales, norms, tokenizer or checksums: an engine cannot "
            "run it; if you know what one step of a weight is worth, convert it: ruvm quantize "
            "FILE --v0-scale STEP -o OUT.ruvm");
    }
    describe_vocab(j);
    if (j->s.has_model && r->vocab > RUVM_NO_TOKEN && !r->note[0])
        snprintf(r->note, sizeof r->note,
                 "an image holds at most %d tokens: ruvm quantize --vocab-prune keeps those that a "
                 "text needs",
                 RUVM_NO_TOKEN);
    return j->s.container.kind == RUVM_CONTAINER_ONNX ? describe_operators(j) : RUVM_OK;
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
    return ruvm_fail(j->err, RUVM_ERR_ARG, "%s: has no tensor \"%s\"; it has %s", j->s.name,
                     j->o->tensor, names);
}

/* The pack around the model, if there is one; all of it is checked. */
static int describe_pack(struct job *j)
{
    struct ruvm_pack pack;
    const struct ruvm_file *f = &j->s.file;
    if (!f->pack)
        return RUVM_OK;
    int rc = ruvm_pack_open_bytes(&pack, j->s.name, f->pack, f->pack_size, j->err);
    struct ruvm_pack_result *r = ruvm_arena_alloc(j->arena, 1, sizeof *r);
    if (rc != RUVM_OK || !r)
        return rc != RUVM_OK ? rc : no_memory(j);
    ruvm_pack_describe(r, &pack);
    j->r->pack = r;
    return RUVM_OK;
}

static int describe(struct job *j)
{
    struct ruvm_inspect_result *r = j->r;
    r->file_bytes = j->s.file.size;
    r->bos = r->eos = r->unk = RUVM_VOCAB_NONE;
    int rc = describe_pack(j);
    if (rc != RUVM_OK)
        return rc;
    ruvm_subject_numbers(r, &j->s);
    rc = j->s.is_image ? describe_image(j) : describe_foreign(j);
    if (rc == RUVM_OK)
        rc = describe_tensors(j);
    if (rc != RUVM_OK)
        return rc;
    r->meta = ruvm_subject_meta(&j->s, j->arena);
    if (!r->meta)
        return no_memory(j);
    return j->o->tensor && !r->has_histogram ? refuse_name(j) : RUVM_OK;
}

int ruvm_inspect(const struct ruvm_inspect_options *o, struct ruvm_inspect_result *r,
                 struct ruvm_error *err)
{
    struct job j = {.o = o, .r = r, .err = err};
    *r = (struct ruvm_inspect_result){0};
    int rc = ruvm_subject_open(&j.s, o->input, err);
    if (rc != RUVM_OK)
        return rc;
    j.arena = calloc(1, sizeof *j.arena);
    r->owned = j.arena;
    rc = j.arena ? describe(&j) : no_memory(&j);
    ruvm_subject_close(&j.s);
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
