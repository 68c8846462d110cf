/* The verb bench: how fast, how large, how good a model is on this machine.
 *
 * Speed comes first, while the process is still small, so that the peak of its
 * memory is that of running the model; then what was asked for besides. Several
 * measurements of a model are sessions beside each other, which share its weights.
 */
#include <stdio.h>
#include <stdlib.h>

#include "formats/ruvm_codes.h"
#include "formats/ruvm_read.h"
#include "lib/base/arena.h"
#include "lib/base/crc32.h"
#include "lib/base/error.h"
#include "lib/convert/samples.h"
#include "lib/core/engine.h"
#include "lib/import/source.h"
#include "lib/measure/bench_knn.h"
#include "lib/measure/exact_match.h"
#include "lib/measure/kernel_rates.h"
#include "lib/measure/machine.h"
#include "lib/measure/profile.h"
#include "lib/measure/quality.h"
#include "lib/measure/speed.h"
#include "lib/run/session.h"

enum { DEFAULT_EVAL_TOKENS = 16384, NO_TOKEN = RUVM_NO_PREVIOUS };

/* As in quantize: the seed of the calibration made an unrelated one, so that the same
 * seed measures on the same samples there and here. */
#define EVAL_SEED 0xD1B54A32D192ED03u

struct bench {
    const struct ruvm_bench_options *o;
    struct ruvm_bench_result *r;
    struct ruvm_error *err;
    struct ruvm_session *session;
};

static int ask_questions(struct bench *b)
{
    struct ruvm_exact_match m;
    int rc = ruvm_exact_match_measure(&m, b->session, b->o->questions, &b->o->progress, b->err);
    if (rc != RUVM_OK)
        return rc;
    b->r->has_exact_match = true;
    b->r->n_questions = m.n_questions;
    b->r->exact_match = (double)m.n_exact / m.n_questions;
    return RUVM_OK;
}

/* ---- quality --------------------------------------------------------------- */

static uint64_t n_positions(const struct ruvm_bench_options *o)
{
    return o->eval_tokens ? o->eval_tokens : DEFAULT_EVAL_TOKENS;
}

/* context: positions of a window at most. */
static int read_text(struct bench *b, struct ruvm_text *text, struct ruvm_arena *arena,
                     uint32_t context)
{
    const struct ruvm_text_options o = {
        .tokenizer = ruvm_session_tokenizer(b->session),
        .context = context,
        .max_positions = n_positions(b->o),
        .documents = b->o->documents,
    };
    if (!o.tokenizer)
        return ruvm_fail(b->err, RUVM_ERR_UNSUPPORTED,
                         "%s: has no tokenizer to read %s with: quantize the model again with "
                         "--tokenizer",
                         b->session->file.name, b->o->eval_text);
    return ruvm_text_read(text, arena, b->o->eval_text, &o, b->err);
}

/* Samples of the float model, which writes them at temperature 1. */
static int draw_text(struct bench *b, struct ruvm_text *text, struct ruvm_source *source,
                     struct ruvm_reference *reference)
{
    const struct ruvm_tokenizer *t = ruvm_session_tokenizer(b->session);
    const struct ruvm_samples_options o = {
        .n_positions = n_positions(b->o),
        .seed = (b->o->seed ? b->o->seed : 1) ^ EVAL_SEED,
        .start = t && t->bos != NO_TOKEN ? t->bos : ruvm_source_start(source),
        .end = t && t->eos != NO_TOKEN ? t->eos : RUVM_VOCAB_NONE,
        .context = source->model.context,
        .progress = b->o->progress,
        .stage = "sample",
    };
    return ruvm_samples_draw(text, &source->arena, reference, source->model.vocab, &o, b->err);
}

static int measure_text(struct bench *b, struct ruvm_quality *q, const struct ruvm_text *text,
                        struct ruvm_reference *reference)
{
    const struct ruvm_quality_options o = {
        .image = b->session->file.data,
        .image_bytes = b->session->file.size,
        .kernels = b->session->kernels,
        .mask = b->session->mask,
        .text = text,
        .reference = reference,
        .progress = b->o->progress,
    };
    return ruvm_quality_measure(q, &o, b->err);
}

static int measure_against(struct bench *b, struct ruvm_source *source)
{
    struct ruvm_bench_result *r = b->r;
    struct ruvm_reference *reference;
    struct ruvm_text text;
    uint32_t vocab = ruvm_session_info(b->session)->vocab;
    if (source->model.vocab != vocab)
        return ruvm_fail(b->err, RUVM_ERR_MISMATCH,
                         "%s: has a vocabulary of %u, %s one of %u: not the same model",
                         b->o->quality, source->model.vocab, b->session->file.name, vocab);
    int rc = ruvm_reference_open(&reference, &source->arena, &source->model, source->model.context,
                                 b->err);
    if (rc == RUVM_OK)
        rc = b->o->eval_text ? read_text(b, &text, &source->arena, source->model.context)
                             : draw_text(b, &text, source, reference);
    if (rc == RUVM_OK)
        rc = measure_text(b, &r->quality, &text, reference);
    r->has_quality = rc == RUVM_OK;
    return rc;
}

static int measure_quality(struct bench *b)
{
    struct ruvm_source source;
    /* windows that both models can read */
    const struct ruvm_source_options o = {.path = b->o->quality,
                                          .max_context = ruvm_session_info(b->session)->context};
    int rc = ruvm_source_open(&source, &o, b->err);
    if (rc != RUVM_OK)
        return rc;
    rc = measure_against(b, &source);
    ruvm_source_close(&source);
    return rc;
}

/* Of the image alone, without a float model beside it. */
static int measure_perplexity(struct bench *b)
{
    struct ruvm_arena arena = {0};
    struct ruvm_quality q;
    struct ruvm_text text;
    int rc = read_text(b, &text, &arena, ruvm_session_info(b->session)->context);
    if (rc == RUVM_OK && b->o->knn)
        rc = ruvm_bench_knn(b->r, b->session, b->o, &text, b->err);
    else if (rc == RUVM_OK)
        rc = measure_text(b, &q, &text, NULL);
    if (rc == RUVM_OK && !b->o->knn) {
        b->r->has_perplexity = true;
        b->r->perplexity = q.perplexity;
        b->r->perplexity_positions = q.n_positions;
    }
    ruvm_arena_free(&arena);
    return rc;
}

/* ---- the verb --------------------------------------------------------------- */

/* All but speed. */
static int measure(struct bench *b)
{
    const struct ruvm_bench_options *o = b->o;
    int rc = RUVM_OK;
    if (o->profile)
        rc = ruvm_profile_measure(&b->r->profile, b->session, o, b->err);
    if (rc == RUVM_OK && o->questions)
        rc = ask_questions(b);
    if (rc == RUVM_OK && o->quality)
        rc = measure_quality(b);
    else if (rc == RUVM_OK && o->eval_text)
        rc = measure_perplexity(b);
    /* what measures the machine takes memory that no model needs */
    b->r->peak_rss_bytes = ruvm_machine_peak_rss_bytes();
    return rc;
}

/* A token is one row of the embedding and all rows of everything else. */
static bool is_read_by_each_token(const struct ruvm_image *img, const struct ruvm_tensor *t)
{
    return t->kind != RUVM_TENSOR_POSITION && (t->kind != RUVM_TENSOR_EMBED || img->tied);
}

/* Bits a weight and types, from the directory of the image. */
static void describe_weights(struct ruvm_bench_result *r, const struct ruvm_image *img)
{
    uint64_t weights = 0, bytes = 0;
    uint32_t count[RUVM_N_TYPES] = {0};
    size_t used = 0;
    for (uint32_t i = 0; i < img->n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(img, i);
        weights += (uint64_t)t.rows * t.cols;
        bytes += (uint64_t)t.data_bytes + t.scale_bytes;
        if (is_read_by_each_token(img, &t))
            r->token_bytes += (uint64_t)t.data_bytes + t.scale_bytes;
        count[t.type]++;
    }
    r->bits_per_weight = 8.0 * (double)bytes / (double)weights;
    for (int type = RUVM_N_TYPES - 1; type >= 0; type--)
        if (count[type] && used < sizeof r->types)
            used += (size_t)snprintf(r->types + used, sizeof r->types - used, "%s%s %u",
                                     used ? ", " : "", ruvm_codes_name(type), count[type]);
}

enum { CRC_PIECE = 1 << 20 };

/* In pieces that are let go again: the weights are in memory as they are multiplied, and the
 * file beside them would count as memory that a model takes. */
static uint32_t crc_of(const struct ruvm_file *file)
{
    uint32_t crc = 0;
    for (size_t at = 0, n; at < file->size; at += n) {
        n = file->size - at < CRC_PIECE ? file->size - at : CRC_PIECE;
        crc = ruvm_crc32(crc, file->data + at, n);
        if (file->owned)
            ruvm_file_release(file->owned, at, at + n);
    }
    return crc;
}

/* What the engine keeps of the positions. */
static uint64_t cache_bytes(const struct ruvm_cache *c, const struct ruvm_image *img)
{
    uint64_t vectors = (uint64_t)img->n_layers * img->n_kv_heads * c->context;
    return vectors * (c->head_dim * c->bits / 8 + (c->bits == 4));
}

static void describe_mask(struct ruvm_bench_result *r, const struct ruvm_session *s)
{
    const struct ruvm_engine *e = s->engine;
    r->kv_bytes = cache_bytes(&e->keys, &e->img) + cache_bytes(&e->values, &e->img);
    r->cached_positions = ruvm_session_cached(s);
    for (uint32_t key = 0; key < r->context; key++)
        r->seen_positions += ruvm_mask_sees(&s->mask, r->context - 1, key);
}

static void describe(struct bench *b)
{
    struct ruvm_bench_result *r = b->r;
    snprintf(r->model, sizeof r->model, "%s", b->session->file.name);
    snprintf(r->kernels, sizeof r->kernels, "%s", ruvm_session_kernels(b->session));
    r->image_bytes = b->session->file.size;
    r->image_crc = crc_of(&b->session->file);
    r->block = ruvm_session_block(b->session);
    r->batch = b->o->batch ? b->o->batch : 1;
    r->threads = ruvm_session_threads(b->session);
    r->engine_bytes = ruvm_session_engine_bytes(b->session);
    r->has_mask = b->o->mask != NULL;
    snprintf(r->mask, sizeof r->mask, "%s", b->o->mask ? b->o->mask : "none");
    r->context = ruvm_session_context(b->session);
    describe_mask(r, b->session);
    describe_weights(r, &b->session->engine->img);
    ruvm_machine_describe(r->machine, sizeof r->machine);
}

/* A block has room for a token of each text of a batch. */
static uint32_t block_of(const struct ruvm_bench_options *o)
{
    return o->batch > 1 && o->block < o->batch ? o->batch : o->block;
}

static struct ruvm_session_options session_of(const struct ruvm_bench_options *o)
{
    return (struct ruvm_session_options){.model = o->model,
                                         .context = o->context,
                                         .block = block_of(o),
                                         .threads = o->threads,
                                         .kernels = o->kernels,
                                         .mask = o->mask};
}

/* One that is open, best of all with the same kernels; or NULL. */
static const struct ruvm_session *host_of(struct ruvm_session *const *sessions, uint32_t n,
                                          const char *kernels)
{
    const struct ruvm_kernels *k;
    const struct ruvm_session *any = NULL;
    if (ruvm_kernels_find(&k, kernels, NULL) != RUVM_OK)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (sessions[i] && !sessions[i]->host && !any)
            any = sessions[i];
        if (sessions[i] && sessions[i]->kernels == k)
            return sessions[i];
    }
    return any;
}

static void open_all(struct ruvm_session **sessions, const struct ruvm_bench_options *o, uint32_t n,
                     struct ruvm_bench_result *r, struct ruvm_error *errs)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct ruvm_session_options so = session_of(&o[i]);
        const struct ruvm_session *host = host_of(sessions, i, so.kernels);
        struct bench b = {.o = &o[i], .r = &r[i]};
        if (ruvm_session_open_beside(&sessions[i], host, &so, &errs[i]) != RUVM_OK)
            continue;
        b.session = sessions[i];
        describe(&b);
    }
}

static int measure_speeds(struct ruvm_session *const *sessions, const struct ruvm_bench_options *o,
                          uint32_t n, struct ruvm_bench_result *r, struct ruvm_error *errs)
{
    struct ruvm_speed *speeds = calloc(n, sizeof *speeds);
    if (!speeds)
        return ruvm_fail(errs, RUVM_ERR_MEMORY, "no memory for measuring speed");
    ruvm_speed_measure(speeds, sessions, o, n, errs);
    for (uint32_t i = 0; i < n; i++) {
        r[i].prompt_tokens = speeds[i].prompt_tokens;
        r[i].generate_tokens = speeds[i].generate_tokens;
        r[i].prompt_tokens_per_s = speeds[i].prompt;
        r[i].decode_tokens_per_s = speeds[i].decode;
    }
    free(speeds);
    return RUVM_OK;
}

/* What is measured of one after the other, and the kernels beside the first. */
static void measure_rest(struct ruvm_session *const *sessions, const struct ruvm_bench_options *o,
                         uint32_t n, struct ruvm_bench_result *r, struct ruvm_error *errs)
{
    bool kernel_rates = o->kernel_rates;
    for (uint32_t i = 0; i < n; i++) {
        struct bench b = {.o = &o[i], .r = &r[i], .err = &errs[i], .session = sessions[i]};
        if (errs[i].code || measure(&b) != RUVM_OK || !kernel_rates)
            continue;
        ruvm_kernel_rates_measure(&r[i], o, &errs[i]);
        kernel_rates = false;
    }
}

int ruvm_bench_each(const struct ruvm_bench_options *o, uint32_t n, struct ruvm_bench_result *r,
                    struct ruvm_error *errs)
{
    struct ruvm_session **sessions = calloc(n, sizeof *sessions);
    int rc = RUVM_OK;
    for (uint32_t i = 0; i < n; i++) {
        r[i] = (struct ruvm_bench_result){0};
        errs[i] = (struct ruvm_error){0};
    }
    if (!sessions)
        return ruvm_fail(errs, RUVM_ERR_MEMORY, "no memory for measuring");
    open_all(sessions, o, n, r, errs);
    if (!o->no_speed)
        rc = measure_speeds(sessions, o, n, r, errs);
    if (rc == RUVM_OK)
        measure_rest(sessions, o, n, r, errs);
    /* a host is opened before its guests */
    for (uint32_t i = n; i-- > 0;) {
        ruvm_session_close(sessions[i]);
        if (errs[i].code)
            ruvm_bench_free(&r[i]);
        rc = errs[i].code ? errs[i].code : rc;
    }
    free(sessions);
    return rc;
}

int ruvm_bench(const struct ruvm_bench_options *o, struct ruvm_bench_result *r,
               struct ruvm_error *err)
{
    struct ruvm_error own;
    return ruvm_bench_each(o, 1, r, err ? err : &own);
}

void ruvm_bench_free(struct ruvm_bench_result *r)
{
    free(r->kernel_list);
    *r = (struct ruvm_bench_result){0};
}
