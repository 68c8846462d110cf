/* Chooses the types for a limit of bytes or of loss, and keeps the curve it chose from.
 *
 * Every tensor is quantized in every type it may have, which tells its bytes and, by the
 * moments, its loss. That is a model; so a limit of loss is searched along the curve with
 * whole images that are measured.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/convert/golden.h"
#include "lib/convert/quantize_job.h"
#include "lib/convert/target.h"
#include "lib/measure/quality.h"
#include "lib/quant/search.h"
#include "lib/ruvm.h"

/* What a tensor may become. Of each number of bits the one that loses least at these sizes. */
static const struct ruvm_scheme candidates[] = {
    {RUVM_TYPE_INT8, 0},
    {RUVM_TYPE_INT4, RUVM_DEFAULT_GROUP},
    {RUVM_TYPE_INT3, RUVM_DEFAULT_GROUP},
    {RUVM_TYPE_INT2, RUVM_DEFAULT_GROUP},
    {RUVM_TYPE_TERNARY, 0},
    {RUVM_TYPE_BINARY, RUVM_DEFAULT_GROUP},
};
enum { N_CANDIDATES = sizeof candidates / sizeof *candidates };

enum { PROBE_TOKENS = 8192 };
#define PROBE_SEED 0xA0761D6478BD642Fu

struct hunt {
    struct ruvm_quantize_job *j;
    struct ruvm_search *search;
    bool *fixed;                   /* [n_tensors] by a rule of the caller */
    struct ruvm_text probe;        /* text the losses of whole images are measured on */
    struct ruvm_scheme *schemes;   /* [n_tensors] of the choice being looked at */
    struct ruvm_image_build sizes; /* an image of this model, for its other parts */
    double *measured;              /* [choices] nats, NaN: not yet */
    double *error;                 /* [choices] standard error of the measured */
    uint32_t n;
    uint32_t built; /* choice whose image the job holds; n: none's */
};

/* ---- choices of each tensor ------------------------------------------------------ */

/* The caller's rules, with `type` where there is none. */
static int apply_rules(struct hunt *h, struct ruvm_scheme *schemes, const char *type)
{
    const struct ruvm_quantize_job *j = h->j;
    struct ruvm_scheme_rules rules = {.type = type,
                                      .embed_type = j->o->embed_type,
                                      .head_type = j->o->head_type,
                                      .tied = j->model.tied,
                                      .tensor_types = j->o->tensor_types,
                                      .n_tensor_types = j->o->n_tensor_types};
    if (!rules.embed_type && !(rules.tied && rules.head_type))
        rules.embed_type = type;
    if (!rules.head_type && !rules.tied)
        rules.head_type = type;
    return ruvm_scheme_choose(schemes, j->tensors, j->n_tensors, &rules, j->err);
}

/* A tensor whose type is the same for two defaults has it by a rule. Rules of the caller
 * stand; all other tensors are free. */
static int find_fixed(struct hunt *h)
{
    struct ruvm_quantize_job *j = h->j;
    struct ruvm_scheme *other = calloc(j->n_tensors, sizeof *other);
    h->fixed = ruvm_arena_alloc(&j->source.arena, j->n_tensors, sizeof *h->fixed);
    int rc = other && h->fixed ? apply_rules(h, other, "xnor")
                               : ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a search");
    if (rc == RUVM_OK)
        rc = apply_rules(h, j->schemes, "int8");
    for (uint32_t i = 0; i < j->n_tensors && rc == RUVM_OK; i++)
        h->fixed[i] = j->schemes[i].type == other[i].type;
    free(other);
    return rc;
}

/* Groups are not for the widest rows. */
static struct ruvm_scheme scheme_for(const struct ruvm_scheme_tensor *t, struct ruvm_scheme s)
{
    if (s.group && t->cols > RUVM_GROUPED_MAX_COLS)
        s.group = 0;
    return s;
}

static uint64_t bytes_of(const struct ruvm_scheme_tensor *t, struct ruvm_scheme s)
{
    return ruvm_scheme_data_bytes(s, t->rows, t->cols) +
           ruvm_scheme_scale_bytes(s, t->rows, t->cols);
}

static int try_scheme(struct hunt *h, struct ruvm_arena *arena, uint32_t i, const float *w,
                      struct ruvm_scheme s)
{
    struct ruvm_quantize_job *j = h->j;
    const struct ruvm_scheme_tensor *t = &j->tensors[i];
    struct ruvm_moments_tensor moments;
    struct ruvm_quant_matrix q;
    double loss = 0.0;
    if (!ruvm_quant_matrix_open(&q, arena, s, t->rows, t->cols))
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %s", t->name);
    int rc = ruvm_moments_tensor(j->moments, i, &moments, j->err);
    if (rc == RUVM_OK)
        rc = ruvm_weights_matrix(&q, w, j->method, &moments, j->err);
    if (rc == RUVM_OK)
        rc = ruvm_moments_loss(&loss, &moments, &q, w, j->err);
    if (rc == RUVM_OK)
        ruvm_search_add(h->search, i, s, bytes_of(t, s), loss);
    return rc;
}

static int try_tensor(struct hunt *h, uint32_t i)
{
    struct ruvm_quantize_job *j = h->j;
    const struct ruvm_scheme_tensor *t = &j->tensors[i];
    struct ruvm_arena arena = {0};
    char name[48];
    const struct ruvm_view *view = ruvm_model_tensor(&j->model, t->kind, t->layer, name);
    float *w = ruvm_arena_alloc(&arena, t->rows, t->cols * sizeof *w);
    int rc = w ? ruvm_quant_weights(w, view, name, j->err)
               : ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %s", name);
    if (rc == RUVM_OK && h->fixed[i])
        rc = try_scheme(h, &arena, i, w, j->schemes[i]);
    for (int c = 0; c < N_CANDIDATES && rc == RUVM_OK && !h->fixed[i]; c++)
        rc = try_scheme(h, &arena, i, w, scheme_for(t, candidates[c]));
    ruvm_arena_free(&arena);
    return rc;
}

static int try_all(struct hunt *h)
{
    struct ruvm_quantize_job *j = h->j;
    int rc = ruvm_search_open(&h->search, &j->source.arena, j->n_tensors, j->err);
    for (uint32_t i = 0; i < j->n_tensors && rc == RUVM_OK; i++) {
        rc = try_tensor(h, i);
        if (rc == RUVM_OK)
            rc = ruvm_quantize_tell(j, "search", i + 1, j->n_tensors);
    }
    if (rc == RUVM_OK)
        rc = ruvm_search_solve(h->search, j->err);
    if (rc != RUVM_OK)
        return rc;
    h->n = h->built = ruvm_search_count(h->search);
    h->measured = ruvm_arena_alloc(&j->source.arena, h->n, sizeof *h->measured);
    h->error = ruvm_arena_alloc(&j->source.arena, h->n, sizeof *h->error);
    if (!h->measured || !h->error)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a search");
    for (uint32_t k = 0; k < h->n; k++)
        h->measured[k] = (double)NAN;
    return RUVM_OK;
}

/* ---- whole images ---------------------------------------------------------------- */

/* Makes it the job's choice; returns the bytes its image will have. */
static uint64_t take(struct hunt *h, uint32_t k)
{
    uint64_t bytes;
    double loss;
    ruvm_search_choice(h->search, k, h->schemes, &bytes, &loss);
    return ruvm_image_build_bytes(&h->sizes, h->schemes);
}

/* The choice as the job's image. */
static int build(struct hunt *h, uint32_t k)
{
    struct ruvm_quantize_job *j = h->j;
    if (h->built == k)
        return RUVM_OK;
    take(h, k);
    memcpy(j->schemes, h->schemes, j->n_tensors * sizeof *h->schemes);
    h->built = k;
    return ruvm_quantize_image(j, false);
}

/* What the choice loses as a whole image. */
static int measure(struct hunt *h, uint32_t k)
{
    struct ruvm_quantize_job *j = h->j;
    struct ruvm_quality quality;
    if (!isnan(h->measured[k]))
        return RUVM_OK;
    int rc = build(h, k);
    if (rc != RUVM_OK)
        return rc;
    struct ruvm_quality_options o = {.image = j->image.data,
                                     .image_bytes = j->image.size,
                                     .text = &h->probe,
                                     .reference = j->reference,
                                     .progress = j->o->progress};
    rc = ruvm_quality_measure(&quality, &o, j->err);
    if (rc == RUVM_OK) {
        h->measured[k] = quality.kl_mean;
        h->error[k] = quality.kl_mean_error;
    }
    return rc;
}

/* What choice k loses at most on other text than was measured, nearly always. */
static double upper_bound(const struct hunt *h, uint32_t k)
{
    return h->measured[k] + 2.0 * h->error[k];
}

/* The smallest choice that does not lose more than max_kl, by halving: a larger image is
 * taken to lose less. */
static int search_loss(struct hunt *h, uint32_t *chosen)
{
    uint32_t low = 0, high = h->n - 1;
    int rc = measure(h, high);
    if (rc == RUVM_OK && upper_bound(h, high) > h->j->o->max_kl)
        return ruvm_fail(h->j->err, RUVM_ERR_UNSUPPORTED,
                         "a KL of %g cannot be reached: the largest choice of types loses %.3g; "
                         "allow that much",
                         h->j->o->max_kl, 1.01 * upper_bound(h, high)); /* never rounded below */
    while (rc == RUVM_OK && low < high) {
        uint32_t middle = low + (high - low) / 2;
        rc = measure(h, middle);
        if (rc == RUVM_OK && upper_bound(h, middle) <= h->j->o->max_kl)
            high = middle;
        else
            low = middle + 1;
    }
    *chosen = high;
    return rc;
}

/* The largest choice whose image is not above the limit. */
static int search_bytes(struct hunt *h, uint32_t *chosen)
{
    *chosen = 0;
    for (uint32_t k = 1; k < h->n; k++)
        if (take(h, k) <= h->j->r->limit_bytes)
            *chosen = k;
    return measure(h, *chosen);
}

/* ---- the limit -------------------------------------------------------------------- */

/* Of each tensor the smallest type it may have. */
static uint64_t smallest_bytes(struct hunt *h)
{
    const struct ruvm_quantize_job *j = h->j;
    memcpy(h->schemes, j->schemes, j->n_tensors * sizeof *h->schemes);
    for (uint32_t i = 0; i < j->n_tensors; i++)
        for (int c = 0; c < N_CANDIDATES && !h->fixed[i]; c++) {
            struct ruvm_scheme s = scheme_for(&j->tensors[i], candidates[c]);
            if (bytes_of(&j->tensors[i], s) < bytes_of(&j->tensors[i], h->schemes[i]))
                h->schemes[i] = s;
        }
    return ruvm_image_build_bytes(&h->sizes, h->schemes);
}

/* The smaller one of both limits of bytes; one that nothing meets is refused before the work. */
static int set_limit(struct hunt *h, const struct ruvm_device *target)
{
    struct ruvm_quantize_job *j = h->j;
    uint64_t limit = j->o->max_bytes, chip = target ? ruvm_target_image_bytes(target) : 0;
    bool is_chip = chip && (!limit || chip < limit);
    j->r->limit_bytes = limit = is_chip ? chip : limit;
    uint64_t smallest = limit ? smallest_bytes(h) : 0;
    if (smallest <= limit)
        return RUVM_OK;
    if (is_chip)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "the %s has %llu bytes for an image, the smallest image of this model has "
                         "%llu: prune it, or choose a larger chip",
                         target->name, (unsigned long long)limit, (unsigned long long)smallest);
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "%llu bytes are too few: the smallest image of this model has %llu; allow "
                     "that, or prune it",
                     (unsigned long long)limit, (unsigned long long)smallest);
}

/* ---- the curve -------------------------------------------------------------------- */

static int keep_curve(struct hunt *h, uint32_t chosen)
{
    struct ruvm_quantize_job *j = h->j;
    uint64_t weights = 0, bytes;
    for (uint32_t i = 0; i < j->n_tensors; i++)
        weights += (uint64_t)j->tensors[i].rows * j->tensors[i].cols;
    j->r->choices = calloc(h->n, sizeof *j->r->choices);
    if (!j->r->choices)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the curve");
    j->r->n_choices = h->n;
    for (uint32_t k = 0; k < h->n; k++) {
        struct ruvm_quantize_choice *c = &j->r->choices[k];
        ruvm_search_choice(h->search, k, h->schemes, &bytes, &c->kl_estimate);
        c->image_bytes = take(h, k);
        c->bits_per_weight = 8.0 * (double)bytes / (double)weights;
        c->kl_measured = h->measured[k];
        c->chosen = k == chosen;
        ruvm_scheme_summary(c->types, h->schemes, j->n_tensors);
    }
    return RUVM_OK;
}

/* Some points of the curve besides the chosen one: what the sum of estimates is worth can
 * then be seen. */
static int measure_some(struct hunt *h)
{
    enum { POINTS = 6 };
    int rc = RUVM_OK;
    for (uint32_t i = 0; i <= POINTS && rc == RUVM_OK; i++)
        rc = measure(h, (uint32_t)((uint64_t)(h->n - 1) * i / POINTS));
    return rc;
}

static int draw_probe(struct hunt *h)
{
    struct ruvm_quantize_job *j = h->j;
    struct ruvm_samples_options o =
        ruvm_quantize_samples(j, "sample", ruvm_quantize_positions(j, &j->model, PROBE_TOKENS),
                              ruvm_quantize_seed(j) ^ PROBE_SEED);
    return ruvm_samples_draw(&h->probe, &j->source.arena, j->reference, j->source.model.vocab, &o,
                             j->err);
}

/* An image of the types so far, whose other parts stay what they are in every choice. */
static int open_sizes(struct hunt *h)
{
    struct ruvm_quantize_job *j = h->j;
    h->schemes = ruvm_arena_alloc(&j->source.arena, j->n_tensors, sizeof *h->schemes);
    if (!h->schemes)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a search");
    int rc = ruvm_quantize_image(j, true);
    if (rc == RUVM_OK)
        rc = ruvm_golden_build(&j->build.part[RUVM_BUILD_GOLD], j->image.data, j->image.size, false,
                               &j->r->n_golden_tokens, j->err);
    if (rc != RUVM_OK)
        return rc;
    h->sizes = j->build; /* taken over */
    j->build = (struct ruvm_image_build){0};
    j->image.data = NULL;
    j->image.size = 0;
    struct ruvm_write_tensor *tensors =
        ruvm_arena_alloc(&j->source.arena, j->n_tensors, sizeof *tensors);
    if (!tensors)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a search");
    memcpy(tensors, h->sizes.tensors, j->n_tensors * sizeof *tensors);
    h->sizes.tensors = tensors;
    return RUVM_OK;
}

static int check_memory(struct hunt *h, const struct ruvm_device *target)
{
    struct ruvm_quantize_job *j = h->j;
    size_t bytes = 0;
    const struct ruvm_engine_options engine = {.block = RUVM_DEVICES_BLOCK};
    int rc = ruvm_quantize_image(j, true);
    if (rc == RUVM_OK)
        rc = ruvm_engine_bytes(j->image.data, j->image.size, &engine, &bytes);
    uint64_t room = ruvm_target_engine_bytes(target, j->model.context);
    if (rc == RUVM_OK && ruvm_align_up(bytes, RUVM_DEVICES_ALIGN) > room)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "the engine takes %zu bytes of memory at a context of %u, the %s has %llu "
                         "for it: choose a shorter context, or a cache of 4 bits for values",
                         bytes, j->model.context, target->name, (unsigned long long)room);
    return rc;
}

static int hunt(struct hunt *h, const struct ruvm_device *target)
{
    uint32_t chosen = 0;
    int rc = target ? check_memory(h, target) : RUVM_OK;
    if (rc == RUVM_OK)
        rc = find_fixed(h);
    if (rc == RUVM_OK)
        rc = open_sizes(h);
    if (rc == RUVM_OK)
        rc = set_limit(h, target);
    if (rc == RUVM_OK)
        rc = ruvm_quantize_moments(h->j);
    if (rc == RUVM_OK)
        rc = draw_probe(h);
    if (rc == RUVM_OK)
        rc = try_all(h);
    if (rc == RUVM_OK && h->j->o->measure_curve)
        rc = measure_some(h);
    if (rc == RUVM_OK)
        rc = h->j->o->max_kl != 0.0 ? search_loss(h, &chosen) : search_bytes(h, &chosen);
    if (rc == RUVM_OK)
        rc = keep_curve(h, chosen);
    return rc == RUVM_OK ? build(h, chosen) : rc;
}

int ruvm_quantize_search(struct ruvm_quantize_job *j)
{
    struct hunt h = {.j = j};
    const struct ruvm_device *target = NULL;
    int rc = j->o->target ? ruvm_devices_find(&target, j->o->target, j->err) : RUVM_OK;
    if (rc == RUVM_OK)
        rc = hunt(&h, target);
    ruvm_image_build_close(&h.sizes);
    return rc;
}
