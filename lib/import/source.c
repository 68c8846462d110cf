/* From a path to the float model: open whatever it is, give it meaning, fit the tokenizer.
 *
 * Each step adds the file's name to its own message, so a person who gave two
 * files knows which one to look at.
 */
#include "lib/import/source.h"

#include <math.h>
#include <string.h>

#include "formats/ruvm_v0.h"

enum { DEFAULT_START = 1, MAX_CONTEXT = UINT16_MAX /* a u16 of the image */ };

/* A bare layout holds whole steps; what one is worth is not in the file. */
static int scale_v0(struct ruvm_tensors *t, double step, struct ruvm_error *err)
{
    if (!(step > 0.0) || !isfinite(step) || (float)step <= 0.0f)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "is a bare RUVM v0 layout, which does not say "
                         "what a step of its weights is worth; give the scale that it was "
                         "quantized with");
    for (size_t i = 0; i < t->n_views; i++)
        t->views[i].scale = (float)step;
    return RUVM_OK;
}

static int choose_context(struct ruvm_model *m, const struct ruvm_source_options *o,
                          struct ruvm_error *err)
{
    if (o->context > m->context)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "was made for %u positions: a context of %u is beyond "
                         "what it learned; ask for %u at most",
                         m->context, o->context, m->context);
    if (o->context != 0)
        ruvm_model_cut_context(m, o->context);
    if (o->max_context != 0 && m->context > o->max_context)
        ruvm_model_cut_context(m, o->max_context);
    if (m->context > MAX_CONTEXT)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "was made for %u positions, an image holds at most %d: choose a context "
                         "with --ctx",
                         m->context, MAX_CONTEXT);
    return RUVM_OK;
}

static int read_model(struct ruvm_source *s, const struct ruvm_source_options *o,
                      struct ruvm_error *err)
{
    const struct ruvm_map *file = &s->container.file;
    int rc = RUVM_OK;
    if (file->data && ruvm_v0_probe(file->data, file->size))
        rc = scale_v0(&s->tensors, o->v0_scale, err);
    else if (o->v0_scale != 0)
        rc = ruvm_fail(err, RUVM_ERR_ARG,
                       "is a %s and says itself what its weights are worth; "
                       "--v0-scale is for the bare RUVM layout",
                       s->tensors.format);
    if (rc == RUVM_OK)
        rc = ruvm_model_from_tensors(&s->model, &s->arena, &s->tensors, err);
    return rc == RUVM_OK ? choose_context(&s->model, o, err) : rc;
}

static int open_model(struct ruvm_source *s, const struct ruvm_source_options *o,
                      struct ruvm_error *err)
{
    int rc = ruvm_container_open(&s->container, o->path, err);
    if (rc == RUVM_OK)
        rc = ruvm_container_network(&s->tensors, &s->container, err);
    if (rc != RUVM_OK)
        return rc;
    rc = read_model(s, o, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, o->path);
    return rc;
}

/* Rows that no text uses are common: matrices are rounded up. A llama2.c tokenizer knows nothing
 * of them. */
static int fit_vocab(struct ruvm_source *s, const char *path, struct ruvm_error *err)
{
    int rc = RUVM_OK;
    ruvm_vocab_follow(&s->vocab, &s->tensors);
    if (s->vocab.specials)
        rc = ruvm_vocab_pad(&s->vocab, &s->arena, s->model.vocab, err);
    if (rc == RUVM_OK)
        rc = ruvm_model_check_vocab(&s->model, &s->vocab, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, path);
    return rc;
}

static int open_vocab(struct ruvm_source *s, const struct ruvm_source_options *o,
                      struct ruvm_error *err)
{
    bool found = true;
    if (o->tokenizer && strcmp(o->tokenizer, "none") == 0)
        return RUVM_OK;
    int rc = o->tokenizer ? ruvm_vocab_open(&s->vocab, &s->vocab_file, &s->arena, o->tokenizer, err)
                          : ruvm_vocab_find(&s->vocab, &found, &s->vocab_file, &s->arena,
                                            &s->container, err);
    if (rc == RUVM_OK && found)
        rc = fit_vocab(s, o->tokenizer ? o->tokenizer : o->path, err);
    s->has_vocab = rc == RUVM_OK && found;
    return rc;
}

int ruvm_source_open(struct ruvm_source *s, const struct ruvm_source_options *o,
                     struct ruvm_error *err)
{
    *s = (struct ruvm_source){0};
    if (!o->path)
        return ruvm_fail(err, RUVM_ERR_ARG, "no model file is given");
    int rc = open_model(s, o, err);
    if (rc == RUVM_OK)
        rc = open_vocab(s, o, err);
    if (rc != RUVM_OK)
        ruvm_source_close(s);
    return rc;
}

void ruvm_source_close(struct ruvm_source *s)
{
    if (s->container.path)
        ruvm_container_close(&s->container);
    ruvm_vocab_close(&s->vocab_file);
    ruvm_arena_free(&s->arena);
    *s = (struct ruvm_source){0};
}

uint32_t ruvm_source_start(const struct ruvm_source *s)
{
    double bos;
    if (s->has_vocab && s->vocab.bos != RUVM_VOCAB_NONE)
        return s->vocab.bos;
    if (!s->has_vocab && ruvm_tensors_number(&s->tensors, "bos", &bos) && bos >= 0 &&
        bos < s->model.vocab)
        return (uint32_t)bos;
    return s->model.vocab > DEFAULT_START ? DEFAULT_START : 0;
}
