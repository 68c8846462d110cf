/* The verb: a RUVM image or a foreign model in, a file that other programs read out. */
#define _POSIX_C_SOURCE 200809L
#include "lib/export/export.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"

static const struct type {
    const char *name;
    enum ruvm_dtype dtype;
    bool in_safetensors;
} types[] = {
    {"f32", RUVM_DTYPE_F32, true},
    {"f16", RUVM_DTYPE_F16, true},
    {"bf16", RUVM_DTYPE_BF16, true},
    {"q8_0", RUVM_DTYPE_Q8_0, false},
};

/* ---- what its parts share ----------------------------------------------------------- */

void ruvm_export_note(struct ruvm_export_job *j, const char *fmt, ...)
{
    size_t used = strlen(j->r->note), room = sizeof j->r->note - used;
    va_list ap;
    va_start(ap, fmt);
    if (used && room > 2) {
        snprintf(j->r->note + used, room, "; ");
        used += 2;
        room -= 2;
    }
    vsnprintf(j->r->note + used, room, fmt, ap);
    va_end(ap);
}

uint32_t ruvm_export_token(const struct ruvm_export_job *j, const char *key)
{
    double id;
    if (j->source.has_vocab) {
        const struct ruvm_vocab *v = &j->source.vocab;
        uint32_t token = strcmp(key, "bos") == 0 ? v->bos : v->eos;
        return token;
    }
    bool known = j->source.tensors && ruvm_tensors_number(j->source.tensors, key, &id);
    return known && id >= 0 && id < j->source.model.vocab ? (uint32_t)id : RUVM_VOCAB_NONE;
}

/* ---- options -------------------------------------------------------------------------- */

static int find_type(struct ruvm_export_job *j, bool is_gguf)
{
    const char *name = j->o->type ? j->o->type : "f32";
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0 && (is_gguf || types[i].in_safetensors)) {
            j->dtype = types[i].dtype;
            snprintf(j->r->type, sizeof j->r->type, "%s", name);
            return RUVM_OK;
        }
    return ruvm_fail(j->err, RUVM_ERR_ARG, "type \"%s\" cannot be exported as %s; use %s", name,
                     j->o->to, is_gguf ? "f32, f16, bf16 or q8_0" : "f32, f16 or bf16");
}

static int check_options(struct ruvm_export_job *j)
{
    const struct ruvm_export_options *o = j->o;
    if (!o->input || !o->output)
        return ruvm_fail(j->err, RUVM_ERR_ARG, "no %s is given", o->input ? "output" : "model");
    if (!o->to || (strcmp(o->to, "gguf") != 0 && strcmp(o->to, "safetensors") != 0))
        return ruvm_fail(j->err, RUVM_ERR_ARG,
                         "format \"%s\" is not written; use gguf or "
                         "safetensors",
                         o->to ? o->to : "");
    snprintf(j->r->format, sizeof j->r->format, "%s", o->to);
    return find_type(j, strcmp(o->to, "gguf") == 0);
}

/* ---- steps ---------------------------------------------------------------------------- */

/* A row of blocks is refused before anything is written, all tensors in one message. */
static int check_blocks(const struct ruvm_export_job *j)
{
    uint32_t bytes, block = ruvm_dtype_block(j->dtype, &bytes), n = 0;
    const struct ruvm_export_tensor *first = NULL;
    for (uint32_t i = 0; i < j->tensors.n; i++) {
        const struct ruvm_export_tensor *t = &j->tensors.items[i];
        if (t->rows == 0 || t->role == RUVM_TENSOR_POSITION || t->cols % block == 0)
            continue;
        first = first ? first : t;
        n++;
    }
    if (n == 0)
        return RUVM_OK;
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "%u tensors have rows that are not whole blocks of %u values, as %s has them "
                     "(%s: %u values); f16 holds any shape",
                     n, block, ruvm_dtype_name(j->dtype), first->name, first->cols);
}

static int open_source(struct ruvm_export_job *j)
{
    struct ruvm_source_options o = {.path = j->o->input,
                                    .tokenizer = j->o->tokenizer,
                                    .context = j->o->context,
                                    .v0_scale = j->o->v0_scale};
    int rc = ruvm_export_source_open(&j->source, &o, j->err);
    if (rc == RUVM_OK && j->source.has_vocab)
        rc = ruvm_export_vocab_spell(&j->vocab, &j->arena, &j->source.vocab, j->err);
    return rc;
}

static int open_tensors(struct ruvm_export_job *j, bool is_gguf)
{
    const struct ruvm_tensors *t = j->source.tensors;
    const char *hint = t ? ruvm_tensors_text(t, "architecture") : NULL;
    int rc = ruvm_export_family_find(&j->family, &j->source.model, hint, j->err);
    if (rc == RUVM_OK && is_gguf)
        rc = ruvm_export_family_check_gguf(j->family, &j->source.model, j->err);
    if (rc == RUVM_OK)
        rc = ruvm_export_tensors_open(&j->tensors, &j->source, j->family,
                                      is_gguf ? RUVM_EXPORT_GGUF : RUVM_EXPORT_SAFETENSORS, j->err);
    if (rc == RUVM_OK)
        rc = check_blocks(j);
    j->tensors.progress = j->o->progress;
    if (rc != RUVM_OK)
        ruvm_error_prefix(j->err, j->o->input);
    return rc;
}

/* The exported tokenizer differs from the source's as an image's would. */
static void note_vocab(struct ruvm_export_job *j)
{
    const char *line = j->source.has_vocab ? j->source.vocab.notes : NULL;
    for (size_t n; line && *line; line += n + (line[n] == '\n')) {
        n = strcspn(line, "\n");
        ruvm_export_note(j, "%.*s", (int)n, line);
    }
}

static void describe(struct ruvm_export_job *j, bool is_gguf)
{
    struct ruvm_export_result *r = j->r;
    struct stat st;
    snprintf(r->source_format, sizeof r->source_format, "%s", j->source.format);
    snprintf(r->architecture, sizeof r->architecture, "%s",
             is_gguf ? j->family->gguf : j->family->name);
    r->parameters = ruvm_model_parameters(&j->source.model);
    r->source_bytes = j->source.bytes;
    if (is_gguf && stat(j->o->output, &st) == 0 && S_ISREG(st.st_mode))
        r->bytes = (uint64_t)st.st_size;
}

static int run(struct ruvm_export_job *j)
{
    int rc = check_options(j);
    bool is_gguf = strcmp(j->r->format, "gguf") == 0;
    if (rc == RUVM_OK)
        rc = open_source(j);
    if (rc == RUVM_OK)
        rc = open_tensors(j, is_gguf);
    if (rc == RUVM_OK)
        rc = is_gguf ? ruvm_export_gguf(j) : ruvm_export_hub(j);
    if (rc == RUVM_OK) {
        note_vocab(j);
        describe(j, is_gguf);
    }
    return rc;
}

int ruvm_export(const struct ruvm_export_options *o, struct ruvm_export_result *r,
                struct ruvm_error *err)
{
    struct ruvm_export_job j = {.o = o, .r = r, .err = err};
    double start = ruvm_clock_s();
    *r = (struct ruvm_export_result){0};
    int rc = run(&j);
    r->seconds = ruvm_clock_s() - start;
    ruvm_export_tensors_close(&j.tensors);
    ruvm_export_source_close(&j.source);
    ruvm_arena_free(&j.arena);
    return rc;
}
