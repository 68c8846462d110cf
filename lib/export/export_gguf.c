/* One GGUF file: the keys that llama.cpp asks of an architecture, the tokenizer, the tensors.
 * Vectors and learned positions stay floats whatever the matrices are, as llama.cpp's own
 * converter leaves them.
 */
#include <stdio.h>
#include <string.h>

#include "formats/gguf_write.h"
#include "lib/export/export.h"

enum { KEY_BYTES = 96 };

/* ---- metadata --------------------------------------------------------------------- */

struct keys {
    struct ruvm_gguf_writer *w;
    const char *architecture;
};

static const char *key_of(const struct keys *k, const char *suffix, char *key)
{
    snprintf(key, KEY_BYTES, "%s.%s", k->architecture, suffix);
    return key;
}

static void put_u32(const struct keys *k, const char *suffix, uint32_t value)
{
    char key[KEY_BYTES];
    ruvm_gguf_put_u32(k->w, key_of(k, suffix, key), value);
}

static void put_f32(const struct keys *k, const char *suffix, float value)
{
    char key[KEY_BYTES];
    ruvm_gguf_put_f32(k->w, key_of(k, suffix, key), value);
}

static void put_text(struct ruvm_gguf_writer *w, const char *key, const char *text)
{
    ruvm_gguf_put_text(w, key, text, strlen(text));
}

/* llama.cpp's number for "mostly this type". */
static uint32_t file_type(enum ruvm_dtype dtype)
{
    switch (dtype) {
    case RUVM_DTYPE_F16: return 1;
    case RUVM_DTYPE_Q8_0: return 7;
    case RUVM_DTYPE_BF16: return 32;
    default: return 0;
    }
}

static void put_shape(const struct keys *k, const struct ruvm_model *m)
{
    put_u32(k, "vocab_size", m->vocab);
    put_u32(k, "context_length", m->context);
    put_u32(k, "embedding_length", m->dim);
    put_u32(k, "block_count", m->n_layers);
    put_u32(k, "feed_forward_length", m->hidden);
    put_u32(k, "attention.head_count", m->n_heads);
    put_u32(k, "attention.head_count_kv", m->n_kv_heads);
    if (m->n_heads * m->head_dim != m->dim) {
        put_u32(k, "attention.key_length", m->head_dim);
        put_u32(k, "attention.value_length", m->head_dim);
    }
}

static void put_rope(const struct keys *k, const struct ruvm_model *m)
{
    char key[KEY_BYTES];
    float factor;
    if (m->pos != RUVM_POS_ROPE)
        return;
    put_u32(k, "rope.dimension_count", m->rotary_dim);
    put_f32(k, "rope.freq_base", m->rope_theta);
    if (!m->rope_factors || !ruvm_export_family_linear(m, &factor))
        return;
    put_text(k->w, key_of(k, "rope.scaling.type", key), "linear");
    put_f32(k, "rope.scaling.factor", factor);
}

static void put_network(struct ruvm_export_job *j, const struct keys *k)
{
    const struct ruvm_model *m = &j->source.model;
    char key[KEY_BYTES];
    put_shape(k, m);
    put_f32(k,
            m->norm == RUVM_NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                     : "attention.layer_norm_epsilon",
            m->norm_eps);
    put_rope(k, m);
    if (strcmp(k->architecture, "gptneox") == 0)
        ruvm_gguf_put_bool(k->w, key_of(k, "use_parallel_residual", key), m->parallel);
    if (!m->window)
        return;
    put_u32(k, "attention.sliding_window", m->window);
    ruvm_export_note(j,
                     "llama.cpp does not look at the sliding window of a llama: texts of more "
                     "than %u tokens differ there",
                     m->window);
}

static int put_vocab(struct ruvm_export_job *j, struct ruvm_gguf_writer *w)
{
    const char *unlike = NULL;
    const struct ruvm_export_vocab *v = j->source.has_vocab ? &j->vocab : NULL;
    if (!v)
        ruvm_export_note(j,
                         "there is no tokenizer to write: llama.cpp runs it on token ids only "
                         "(--tokenizer FILE adds one)");
    else if (!ruvm_export_vocab_in_gguf(v, &unlike)) {
        ruvm_export_note(j,
                         "llama.cpp has no tokenizer of this kind, so none is written: it runs "
                         "on token ids only");
        v = NULL;
    } else if (v->n_renamed)
        ruvm_export_note(j, RUVM_EXPORT_RENAMED, v->n_renamed);
    if (unlike)
        ruvm_export_note(j, "%s", unlike);
    j->r->has_tokenizer = v != NULL;
    return ruvm_export_vocab_gguf(w, v, j->err);
}

static int put_meta(struct ruvm_export_job *j, struct ruvm_gguf_writer *w)
{
    const struct keys k = {w, j->family->gguf};
    const char *name = j->o->name ? j->o->name : j->source.name;
    put_text(w, "general.architecture", k.architecture);
    if (name)
        put_text(w, "general.name", name);
    put_text(w, "general.type", "model");
    ruvm_gguf_put_u32(w, "general.file_type", file_type(j->dtype));
    ruvm_gguf_put_u32(w, "general.quantization_version", 2);
    put_network(j, &k);
    return put_vocab(j, w);
}

/* ---- tensors ---------------------------------------------------------------------- */

static int tensor_row(void *user, uint64_t row, float *out)
{
    const struct ruvm_export_tensor *t = user;
    return ruvm_export_tensors_row(t, row, out);
}

static int factors_row(void *user, uint64_t row, float *out)
{
    const struct ruvm_model *m = user;
    (void)row;
    memcpy(out, m->rope_factors, m->rotary_dim / 2 * sizeof *out);
    return RUVM_OK;
}

static struct ruvm_gguf_tensor describe(const struct ruvm_export_job *j,
                                        struct ruvm_export_tensor *t)
{
    bool is_float = t->rows == 0 || t->role == RUVM_TENSOR_POSITION;
    struct ruvm_gguf_tensor g = {.name = t->name,
                                 .n_dims = t->rows ? 2 : 1,
                                 .dims = {t->rows ? t->rows : t->cols, t->rows ? t->cols : 0},
                                 .dtype = is_float ? RUVM_DTYPE_F32 : j->dtype,
                                 .row = tensor_row,
                                 .user = t};
    return g;
}

static int write(struct ruvm_export_job *j, const struct ruvm_gguf_writer *w)
{
    struct ruvm_model *m = &j->source.model;
    struct ruvm_gguf_tensor *list =
        ruvm_arena_alloc(&j->arena, (size_t)j->tensors.n + 1, sizeof *list);
    size_t n = 0;
    float factor;
    if (!list)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the tensors");
    if (m->rope_factors && !ruvm_export_family_linear(m, &factor))
        list[n++] = (struct ruvm_gguf_tensor){.name = "rope_freqs.weight",
                                              .n_dims = 1,
                                              .dims = {m->rotary_dim / 2},
                                              .dtype = RUVM_DTYPE_F32,
                                              .row = factors_row,
                                              .user = m};
    for (uint32_t i = 0; i < j->tensors.n; i++)
        list[n++] = describe(j, &j->tensors.items[i]);
    j->r->n_tensors = (uint32_t)n;
    j->r->n_files = 1;
    return ruvm_gguf_write(w, list, n, j->o->output, j->err);
}

int ruvm_export_gguf(struct ruvm_export_job *j)
{
    struct ruvm_gguf_writer w = {0};
    int rc = put_meta(j, &w);
    if (rc == RUVM_OK)
        rc = write(j, &w);
    ruvm_gguf_drop(&w);
    return rc;
}
