/* A session: one image mapped, and around it all that talking to it takes.
 *
 * The core works in memory that its caller owns; on a workstation the session is
 * that caller. It asks the engine for its exact size, allocates once, and keeps
 * the text so far, which the core does not need but a conversation and the
 * repeat penalty do.
 */
#include "lib/run/session.h"

#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "formats/ruvm_diagnose.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/core/engine.h"
#include "lib/run/draft.h"
#include "lib/run/knn.h"

enum { ENGINE_ALIGN = 64 };

/* Prompt tokens that share each weight that is loaded: a workstation has the memory. */
enum { SESSION_TOGETHER = 32 };

/* A file that is no image at all: say what it is, and how to make one of it. */
static int refuse(const struct ruvm_file *file, struct ruvm_error *err)
{
    const struct ruvm_format *format = ruvm_formats_probe(file->data, file->size);
    if (format)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: is a %s, not a RUVM image: make one with ruvm quantize", file->name,
                         format->name);
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: is not a RUVM image; it looks like %s",
                     file->name, ruvm_formats_guess(file->data, file->size));
}

/* Why the reader said no, for people; asked only then, since it reads the whole file. */
static int explain(const struct ruvm_file *file, int rc, struct ruvm_error *err)
{
    struct ruvm_image image;
    struct ruvm_image_fault fault = {0};
    if (file->size < 4 || memcmp(file->data, RUVM_MAGIC, 4) != 0)
        return refuse(file, err);
    if (ruvm_image_open(&image, file->data, file->size, &fault) != RUVM_OK)
        return ruvm_diagnose_fail(err, rc, file->name, &fault);
    if (image.version == RUVM_VERSION_V0)
        return ruvm_fail(err, rc,
                         "%s: is the bare RUVM layout v0, whose weights have no scales: make an "
                         "image of it with ruvm quantize",
                         file->name);
    return ruvm_fail(err, rc, "%s: %s", file->name, ruvm_status_text(rc));
}

static int open_image(struct ruvm_session *s, const char *path, struct ruvm_error *err)
{
    if (s->host) {
        s->file = s->host->file;
        s->info = s->host->info;
        return RUVM_OK;
    }
    int rc = ruvm_file_open(&s->file, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_model_info(&s->info, s->file.data, s->file.size);
    return rc == RUVM_OK ? rc : explain(&s->file, rc, err);
}

static int check_options(const struct ruvm_session *s, const struct ruvm_session_options *o,
                         struct ruvm_error *err)
{
    if (o->context > s->info.context)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "%s: a context of %u is more than the %u positions that the model was "
                         "made for",
                         s->file.name, o->context, s->info.context);
    if (o->block > 64)
        return ruvm_fail(err, RUVM_ERR_ARG, "a block of %u tokens is too large: 64 at most",
                         o->block);
    return RUVM_OK;
}

/* A guess is verified in one block. */
static uint32_t block_of(const struct ruvm_session_options *o)
{
    uint32_t block = o->block ? o->block : SESSION_TOGETHER;
    uint32_t guess = o->draft_tokens ? o->draft_tokens : RUVM_DRAFT_DEFAULT;
    return o->draft && guess <= RUVM_DRAFT_MAX && guess >= block ? guess + 1 : block;
}

static int make_engine(struct ruvm_session *s, const struct ruvm_session_options *o,
                       struct ruvm_error *err)
{
    uint32_t block = block_of(o);
    struct ruvm_engine_options engine = {
        .context = s->context,
        .block = block,
        .kernels = s->kernels,
        .mask = s->mask,
        .panels = s->panels.of_tensor,
    };
    int rc = ruvm_engine_bytes(s->file.data, s->file.size, &engine, &s->engine_bytes);
    s->memory_bytes = s->engine_bytes;
    s->block = block < s->context ? block : s->context;
    engine.parallel = s->threads.parallel.n_parts > 1 ? &s->threads.parallel : NULL;
    if (rc == RUVM_OK && engine.parallel)
        rc = ruvm_engine_bytes(s->file.data, s->file.size, &engine, &s->memory_bytes);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "%s: %s", s->file.name, ruvm_status_text(rc));
    s->memory = aligned_alloc(ENGINE_ALIGN, ruvm_align_up(s->memory_bytes, ENGINE_ALIGN));
    s->tokens = calloc((size_t)s->context + 1, sizeof *s->tokens);
    s->logits = calloc(s->info.vocab, sizeof *s->logits);
    if (!s->memory || !s->tokens || !s->logits)
        return ruvm_fail(err, RUVM_ERR_MEMORY,
                         "%s: no memory for an engine of %zu bytes: lower the context (--ctx)%s",
                         s->file.name, s->memory_bytes,
                         engine.parallel ? " or the threads (--threads)" : "");
    rc = ruvm_engine_init(&s->engine, s->memory, s->memory_bytes, s->file.data, s->file.size,
                          &engine);
    return rc == RUVM_OK ? rc : ruvm_fail(err, rc, "%s: %s", s->file.name, ruvm_status_text(rc));
}

static int make_tokenizer(struct ruvm_session *s, struct ruvm_error *err)
{
    int rc = ruvm_tokenizer_init(&s->tokenizer, s->file.data, s->file.size);
    if (rc == RUVM_ERR_UNSUPPORTED)
        return RUVM_OK; /* an image may come without: ids in, ids out */
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "%s: tokenizer: %s", s->file.name, ruvm_status_text(rc));
    ruvm_tokenizer_joins(&s->tokenizer, s->joins);
    s->has_tokenizer = true;
    return RUVM_OK;
}

/* Panels differ by what their kernels take for zero, and some have none. */
static bool has_host_panels(const struct ruvm_session *s)
{
    return s->host && s->host->kernels == s->kernels;
}

static int plan_panels(struct ruvm_session *s, struct ruvm_error *err)
{
    if (has_host_panels(s)) {
        s->panels = s->host->panels;
        return RUVM_OK;
    }
    return ruvm_panels_plan(&s->panels, s->file.data, s->file.size, s->kernels, err);
}

/* To open an engine reads the whole file, which nobody needs in memory beside its panels. */
static int fill_panels(struct ruvm_session *s, struct ruvm_error *err)
{
    if (!has_host_panels(s))
        return ruvm_panels_fill(&s->panels, s->file.owned, err);
    if (s->panels.data && s->file.owned)
        ruvm_file_release(s->file.owned, 0, s->file.size);
    return RUVM_OK;
}

static int set_up(struct ruvm_session *s, const struct ruvm_session_options *o, uint32_t most,
                  struct ruvm_error *err)
{
    int rc = ruvm_kernels_find(&s->kernels, o->kernels, err);
    if (rc == RUVM_OK && o->mask)
        rc = ruvm_mask_parse(&s->mask, o->mask, err);
    if (rc == RUVM_OK)
        rc = open_image(s, o->model, err);
    if (rc == RUVM_OK)
        rc = check_options(s, o, err);
    if (rc != RUVM_OK)
        return rc;
    s->context = o->context ? o->context : s->info.context;
    s->context = s->context < most ? s->context : most;
    s->sampler = o->sampler;
    s->sampler.kernels = s->kernels;
    rc = plan_panels(s, err);
    if (rc == RUVM_OK)
        rc = ruvm_threads_open(&s->threads, o->threads, s->file.size, err);
    if (rc == RUVM_OK)
        rc = make_engine(s, o, err);
    if (rc == RUVM_OK)
        rc = make_tokenizer(s, err);
    if (rc == RUVM_OK)
        rc = fill_panels(s, err);
    if (rc == RUVM_OK)
        ruvm_threads_choose(&s->threads, s->engine);
    if (rc == RUVM_OK)
        rc = ruvm_run_knn_open(&s->knn, s, o, err);
    return rc == RUVM_OK && o->draft ? ruvm_draft_open(&s->draft, s, o, err) : rc;
}

int ruvm_session_open(struct ruvm_session **session, const struct ruvm_session_options *o,
                      struct ruvm_error *err)
{
    return ruvm_session_open_within(session, o, UINT32_MAX, err);
}

static int open_session(struct ruvm_session **session, const struct ruvm_session *host,
                        const struct ruvm_session_options *o, uint32_t most, struct ruvm_error *err)
{
    struct ruvm_session *s = calloc(1, sizeof *s);
    *session = NULL;
    if (!s)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a session");
    s->host = host;
    int rc = set_up(s, o, most, err);
    if (rc == RUVM_OK)
        *session = s;
    else
        ruvm_session_close(s);
    return rc;
}

int ruvm_session_open_within(struct ruvm_session **session, const struct ruvm_session_options *o,
                             uint32_t most, struct ruvm_error *err)
{
    return open_session(session, NULL, o, most, err);
}

int ruvm_session_open_beside(struct ruvm_session **session, const struct ruvm_session *host,
                             const struct ruvm_session_options *o, struct ruvm_error *err)
{
    return open_session(session, host, o, UINT32_MAX, err);
}

void ruvm_session_close(struct ruvm_session *s)
{
    if (!s)
        return;
    ruvm_draft_close(s->draft);
    ruvm_run_knn_close(s->knn);
    if (!has_host_panels(s))
        ruvm_panels_free(&s->panels);
    if (!s->host)
        ruvm_file_close(&s->file);
    ruvm_threads_close(&s->threads);
    free(s->memory);
    free(s->tokens);
    free(s->logits);
    free(s);
}

const struct ruvm_model_info *ruvm_session_info(const struct ruvm_session *s)
{
    return &s->info;
}

const struct ruvm_tokenizer *ruvm_session_tokenizer(const struct ruvm_session *s)
{
    return s->has_tokenizer ? &s->tokenizer : NULL;
}

struct ruvm_engine *ruvm_session_engine(struct ruvm_session *s)
{
    return s->engine;
}

size_t ruvm_session_engine_bytes(const struct ruvm_session *s)
{
    return s->engine_bytes + (s->draft && s->draft->model ? s->draft->model->engine_bytes : 0);
}

const char *ruvm_session_kernels(const struct ruvm_session *s)
{
    return ruvm_kernels_name(s->kernels);
}

void ruvm_session_seed(struct ruvm_session *s, uint64_t seed)
{
    ruvm_sampler_seed(&s->sampler, seed);
}

uint16_t ruvm_session_sample(struct ruvm_session *s, const int32_t *logits)
{
    struct ruvm_sampler *p = &s->sampler;
    if (p->temperature_q16 == 0 && (p->repeat_q16 == 0 || p->repeat_q16 == 1 << 16))
        return (uint16_t)s->kernels->largest(logits, s->info.vocab);
    if (logits != s->logits)
        memcpy(s->logits, logits, s->info.vocab * sizeof *logits);
    return ruvm_sample(p, s->logits, s->info.vocab, s->tokens, s->n_tokens);
}

uint32_t ruvm_session_context(const struct ruvm_session *s)
{
    return s->context;
}

uint32_t ruvm_session_threads(const struct ruvm_session *s)
{
    return s->threads.parallel.n_parts;
}

uint32_t ruvm_session_block(const struct ruvm_session *s)
{
    return s->block;
}

uint32_t ruvm_session_cached(const struct ruvm_session *s)
{
    return s->engine->slots;
}
