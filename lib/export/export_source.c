/* An image turned back into a model: what it says of the network in integers is said in the
 * floats that the integers came from, as far as they tell. Norms and biases are made at once,
 * matrices row by row when they are asked for.
 */
#include "lib/export/export_source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/ruvm_codes.h"
#include "formats/ruvm_diagnose.h"
#include "lib/base/bytes.h"
#include "lib/export/export_rope.h"
#include "lib/export/export_tokn.h"
#include "lib/import/names.h"

static int no_memory(struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for the model");
}

/* ---- the network of an image ------------------------------------------------- */

static float real_of(uint32_t mantissa, int exp)
{
    return (float)ldexp(mantissa, exp);
}

static void read_numbers(struct ruvm_model *m, const struct ruvm_image *img)
{
    *m = (struct ruvm_model){.vocab = img->vocab,
                             .dim = img->dim,
                             .hidden = img->hidden,
                             .n_layers = img->n_layers,
                             .n_heads = img->n_heads,
                             .n_kv_heads = img->n_kv_heads,
                             .head_dim = img->head_dim,
                             .context = img->context,
                             .norm_eps = real_of(img->eps_mantissa, img->eps_exp),
                             .tied = img->tied,
                             .norm = img->norm,
                             .act = img->act,
                             .pos = img->pos,
                             .parallel = img->parallel,
                             .window = img->window,
                             .score_scale = real_of(img->score_mantissa, img->score_exp),
                             .rotary_dim = img->rope_dims};
}

static int read_rope(struct ruvm_export_source *s, struct ruvm_error *err)
{
    struct ruvm_model *m = &s->model;
    float *factors = ruvm_arena_alloc(&s->arena, m->rotary_dim / 2u + 1, sizeof *factors);
    if (!factors)
        return no_memory(err);
    m->rope_theta = 10000;
    if (s->image.rope_inc &&
        ruvm_export_rope(&m->rope_theta, factors, s->image.rope_inc, m->rotary_dim))
        m->rope_factors = factors;
    return RUVM_OK;
}

/* n numbers of 16 bits as a vector of floats; NULL: memory is short. */
static struct ruvm_view *vector_of(struct ruvm_arena *arena, const int16_t *m, int exp, uint32_t n,
                                   const char *name)
{
    struct ruvm_view *v = ruvm_arena_alloc(arena, 1, sizeof *v);
    uint8_t *data = ruvm_arena_alloc(arena, n, sizeof(float));
    const char *text = ruvm_arena_text(arena, name, strlen(name));
    if (!v || !data || !text)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        float x = (float)ldexp(m[i], exp);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        ruvm_store_u32(data + 4 * (size_t)i, bits);
    }
    *v = (struct ruvm_view){.name = text, .n_dims = 1, .dims = {n}, .data = data, .bytes = 4u * n};
    return v;
}

static const struct ruvm_view *norm_of(struct ruvm_export_source *s, uint32_t i, int role)
{
    char name[RUVM_NAME_BYTES];
    uint32_t dim = s->image.dim;
    ruvm_names_write(name, sizeof name, NULL, role, i / 2);
    return vector_of(&s->arena, s->image.norm_gain + (size_t)i * dim, s->image.norm_exp[i], dim,
                     name);
}

/* *out stays NULL when there is none. */
static bool bias_of(struct ruvm_export_source *s, const struct ruvm_view **out, int kind,
                    unsigned layer)
{
    char name[RUVM_NAME_BYTES];
    static const int roles[] = {RUVM_TENSOR_WQ,      RUVM_TENSOR_WK,      RUVM_TENSOR_WV,
                                RUVM_TENSOR_WO,      RUVM_TENSOR_W_UP,    RUVM_TENSOR_W_GATE,
                                RUVM_TENSOR_W_DOWN,  RUVM_ROLE_ATTN_NORM, RUVM_ROLE_FFN_NORM,
                                RUVM_ROLE_FINAL_NORM};
    struct ruvm_bias b = ruvm_image_bias(&s->image, (enum ruvm_bias_kind)kind, layer);
    if (!b.m)
        return true;
    ruvm_names_write_bias(name, sizeof name, NULL, roles[kind], layer);
    *out = vector_of(&s->arena, b.m, b.exp, b.n, name);
    return *out != NULL;
}

/* Shapes and names of the matrices. */
static int read_matrices(struct ruvm_export_source *s, struct ruvm_error *err)
{
    uint32_t longest = 0;
    for (unsigned i = 0; i < s->image.n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(&s->image, i);
        struct ruvm_view *v = ruvm_arena_alloc(&s->arena, 1, sizeof *v);
        char *name = ruvm_arena_alloc(&s->arena, RUVM_NAME_BYTES, 1);
        if (!v || !name)
            return no_memory(err);
        *v = (struct ruvm_view){.name =
                                    ruvm_names_write(name, RUVM_NAME_BYTES, NULL, t.kind, t.layer),
                                .n_dims = 2,
                                .dims = {t.rows, t.cols},
                                .signs = t.type == RUVM_TYPE_XNOR};
        if (t.kind == RUVM_TENSOR_POSITION)
            s->model.positions = *v;
        else
            *ruvm_model_place(&s->model, t.kind, t.layer) = v;
        longest = t.cols > longest ? t.cols : longest;
    }
    if (s->model.tied)
        s->model.head = s->model.embed;
    s->levels = ruvm_arena_alloc(&s->arena, longest, sizeof *s->levels);
    return s->levels ? RUVM_OK : no_memory(err);
}

static int read_vectors(struct ruvm_export_source *s, struct ruvm_error *err)
{
    struct ruvm_model *m = &s->model;
    bool good = bias_of(s, &m->final_bias, RUVM_BIAS_FINAL_NORM, 0);
    for (uint32_t i = 0; i < m->n_layers && good; i++) {
        struct ruvm_layer *l = &m->layers[i];
        l->attn_norm = norm_of(s, 2 * i, RUVM_ROLE_ATTN_NORM);
        l->ffn_norm = norm_of(s, 2 * i + 1, RUVM_ROLE_FFN_NORM);
        l->windowed = ruvm_image_window(&s->image, i) != 0;
        good = l->attn_norm && l->ffn_norm;
        for (int k = 0; k < RUVM_BIAS_FINAL_NORM && good; k++)
            good = bias_of(s, &l->bias[k], k, i);
    }
    m->final_norm = norm_of(s, 2 * m->n_layers, RUVM_ROLE_FINAL_NORM);
    return good && m->final_norm ? RUVM_OK : no_memory(err);
}

/* ---- its tokenizer and its name ------------------------------------------------ */

/* Instead of the image's own. */
static int read_given_pieces(struct ruvm_export_source *s, const char *path, struct ruvm_error *err)
{
    s->has_vocab = false;
    if (strcmp(path, "none") == 0)
        return RUVM_OK;
    int rc = ruvm_vocab_open(&s->vocab, &s->tokenizer, &s->arena, path, err);
    if (rc == RUVM_OK && s->vocab.specials) /* rows that no text uses */
        rc = ruvm_vocab_pad(&s->vocab, &s->arena, s->model.vocab, err);
    if (rc == RUVM_OK && ruvm_model_check_vocab(&s->model, &s->vocab, err) != RUVM_OK) {
        ruvm_error_prefix(err, path);
        rc = RUVM_ERR_MISMATCH;
    }
    s->has_vocab = rc == RUVM_OK;
    return rc;
}

/* The value of the line "name=...", of lines sorted by key. */
static int read_name(struct ruvm_export_source *s, struct ruvm_error *err)
{
    static const char key[] = "name=";
    enum { KEY_BYTES = sizeof key - 1 };
    const uint8_t *line = s->image.meta, *end = line ? line + s->image.meta_bytes : NULL;
    while (line && line < end) {
        const uint8_t *stop = memchr(line, '\n', (size_t)(end - line));
        size_t n = (size_t)((stop ? stop : end) - line);
        if (n > KEY_BYTES && memcmp(line, key, KEY_BYTES) == 0) {
            s->name = ruvm_arena_text(&s->arena, (const char *)line + KEY_BYTES, n - KEY_BYTES);
            return s->name ? RUVM_OK : no_memory(err);
        }
        line = stop ? stop + 1 : end;
    }
    return RUVM_OK;
}

/* ---- opening ------------------------------------------------------------------- */

static int check_options(const struct ruvm_export_source *s, const struct ruvm_source_options *o,
                         struct ruvm_error *err)
{
    if (o->v0_scale != 0)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "is a RUVM image and says itself what its weights are worth; "
                         "--v0-scale is for the bare RUVM layout");
    if (o->context > s->image.context)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "was made for %u positions: a context of %u is beyond what it learned; "
                         "ask for %u at most",
                         s->image.context, o->context, s->image.context);
    return RUVM_OK;
}

static int read_image(struct ruvm_export_source *s, const struct ruvm_source_options *o,
                      struct ruvm_error *err)
{
    int rc = check_options(s, o, err);
    if (rc != RUVM_OK)
        return rc;
    s->format = "RUVM v1 image";
    s->bytes = s->file.size;
    read_numbers(&s->model, &s->image);
    s->model.layers = ruvm_arena_alloc(&s->arena, s->model.n_layers, sizeof *s->model.layers);
    rc = s->model.layers ? read_rope(s, err) : no_memory(err);
    if (rc == RUVM_OK)
        rc = read_matrices(s, err);
    if (rc == RUVM_OK)
        rc = read_vectors(s, err);
    if (rc == RUVM_OK)
        rc = read_name(s, err);
    if (rc == RUVM_OK && s->image.tokn)
        rc = ruvm_export_tokn(&s->vocab, &s->arena, s->image.tokn, err);
    s->has_vocab = rc == RUVM_OK && s->image.tokn;
    if (rc == RUVM_OK && o->context != 0)
        ruvm_model_cut_context(&s->model, o->context);
    return rc;
}

/* Whether an image stands there; a pipe cannot be looked at twice and is taken for none. */
static bool is_image(const char *path)
{
    uint8_t head[RUVM_HDR_BYTES] = {0};
    struct stat st;
    if (strcmp(path, "demo") == 0)
        return true;
    FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL;
    size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f)
        fclose(f);
    return n > RUVM_HDR_VERSION && memcmp(head, RUVM_MAGIC, 4) == 0 &&
           head[RUVM_HDR_VERSION] != RUVM_VERSION_V0;
}

static int open_image(struct ruvm_export_source *s, const struct ruvm_source_options *o,
                      struct ruvm_error *err)
{
    struct ruvm_image_fault fault;
    int rc = ruvm_file_open(&s->file, o->path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_image_open(&s->image, s->file.data, s->file.size, &fault);
    if (rc != RUVM_OK)
        return ruvm_diagnose_fail(err, rc, s->file.name, &fault);
    rc = read_image(s, o, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, o->path);
    return rc == RUVM_OK && o->tokenizer ? read_given_pieces(s, o->tokenizer, err) : rc;
}

static int open_foreign(struct ruvm_export_source *s, const struct ruvm_source_options *o,
                        struct ruvm_error *err)
{
    int rc = ruvm_source_open(&s->foreign, o, err);
    if (rc != RUVM_OK)
        return rc;
    s->model = s->foreign.model;
    s->vocab = s->foreign.vocab;
    s->has_vocab = s->foreign.has_vocab;
    s->tensors = &s->foreign.tensors;
    s->format = s->foreign.tensors.format;
    s->bytes = ruvm_container_bytes(&s->foreign.container);
    return RUVM_OK;
}

int ruvm_export_source_open(struct ruvm_export_source *s, const struct ruvm_source_options *o,
                            struct ruvm_error *err)
{
    *s = (struct ruvm_export_source){0};
    int rc = is_image(o->path) ? open_image(s, o, err) : open_foreign(s, o, err);
    if (rc != RUVM_OK)
        ruvm_export_source_close(s);
    return rc;
}

void ruvm_export_source_close(struct ruvm_export_source *s)
{
    if (s->tensors)
        ruvm_source_close(&s->foreign);
    ruvm_vocab_close(&s->tokenizer);
    ruvm_file_close(&s->file);
    ruvm_arena_free(&s->arena);
    *s = (struct ruvm_export_source){0};
}

/* ---- rows ---------------------------------------------------------------------- */

static void image_row(const struct ruvm_export_source *s, const struct ruvm_tensor *t, uint32_t row,
                      float *out)
{
    double scale = ldexp(t->scales[row], t->scale_exp);
    ruvm_codes_unpack(t->type, s->levels, (const uint8_t *)t->data + (size_t)row * t->row_bytes,
                      t->cols);
    for (uint32_t i = 0; i < t->cols; i++) {
        int mult = (int)ruvm_image_multiplier(t, row, i);
        out[i] = (float)(s->levels[i] * mult * scale);
    }
}

void ruvm_export_source_row(const struct ruvm_export_source *s, int kind, unsigned layer,
                            uint32_t row, float *out)
{
    char name[RUVM_NAME_BYTES];
    if (s->tensors) {
        ruvm_view_row(ruvm_model_tensor(&s->model, kind, layer, name), row, out);
        return;
    }
    struct ruvm_tensor t = ruvm_image_find(&s->image, kind, layer);
    image_row(s, &t, row, out);
}
