/* From a path to the float model: map, recognise, read, give meaning, fit the tokenizer.
 *
 * Each step adds the file's name to its own message, so a person who gave two
 * files knows which one to look at.
 */
#include "lib/convert/source.h"

#include <math.h>
#include <string.h>

#include "formats/formats.h"
#include "formats/ruvm_v0.h"

enum { DEFAULT_START = 1, MAX_CONTEXT = UINT16_MAX /* a u16 of the image */ };

static int refuse(const uint8_t *data, size_t size, struct ruvm_error *err)
{
    const char *what = ruvm_formats_guess(data, size);
    if (size >= 4 && memcmp(data, RUVM_MAGIC, 4) == 0)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "is a RUVM image: already quantized; give the "
                         "float source that it was made from");
    return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "looks like %s; give a llama2.c checkpoint", what);
}

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
    const uint8_t *data = s->file.data;
    size_t size = s->file.size;
    const struct ruvm_format *format = ruvm_formats_probe(data, size);
    if (!format)
        return refuse(data, size, err);
    int rc = format->read(&s->tensors, &s->arena, data, size, err);
    if (rc == RUVM_OK && ruvm_v0_probe(data, size))
        rc = scale_v0(&s->tensors, o->v0_scale, err);
    else if (rc == RUVM_OK && o->v0_scale != 0)
        rc = ruvm_fail(err, RUVM_ERR_ARG,
                       "is a %s and says itself what its weights are worth; "
                       "--v0-scale is for the bare RUVM layout",
                       s->tensors.format);
    if (rc == RUVM_OK)
        rc = ruvm_model_from_tensors(&s->model, &s->arena, &s->tensors, err);
    if (rc != RUVM_OK)
        return rc;
    return choose_context(&s->model, o, err);
}

static int open_model(struct ruvm_source *s, const struct ruvm_source_options *o,
                      struct ruvm_error *err)
{
    int rc = ruvm_file_map(&s->file, o->path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = read_model(s, o, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, o->path);
    return rc;
}

static int open_tokenizer(struct ruvm_source *s, const char *path, struct ruvm_error *err)
{
    int rc = ruvm_file_map(&s->tokenizer_file, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_vocab_read_any(&s->vocab, &s->arena, s->tokenizer_file.data, s->tokenizer_file.size,
                             err);
    if (rc == RUVM_OK && s->vocab.specials) /* rows that no text uses */
        rc = ruvm_vocab_pad(&s->vocab, &s->arena, s->model.vocab, err);
    if (rc == RUVM_OK)
        rc = ruvm_model_check_vocab(&s->model, &s->vocab, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, path);
    s->has_vocab = rc == RUVM_OK;
    return rc;
}

int ruvm_source_open(struct ruvm_source *s, const struct ruvm_source_options *o,
                     struct ruvm_error *err)
{
    *s = (struct ruvm_source){0};
    if (!o->path)
        return ruvm_fail(err, RUVM_ERR_ARG, "no model file is given");
    int rc = open_model(s, o, err);
    if (rc == RUVM_OK && o->tokenizer)
        rc = open_tokenizer(s, o->tokenizer, err);
    if (rc != RUVM_OK)
        ruvm_source_close(s);
    return rc;
}

void ruvm_source_close(struct ruvm_source *s)
{
    if (s->file.data)
        ruvm_file_unmap(&s->file);
    if (s->tokenizer_file.data)
        ruvm_file_unmap(&s->tokenizer_file);
    ruvm_arena_free(&s->arena);
    *s = (struct ruvm_source){0};
}

uint16_t ruvm_source_start(const struct ruvm_source *s)
{
    if (s->has_vocab && s->vocab.bos != RUVM_NO_TOKEN)
        return (uint16_t)s->vocab.bos;
    return s->model.vocab > DEFAULT_START ? DEFAULT_START : 0;
}
