/* Opens what is looked at, and says what network it is.
 *
 * Foreign weights are listed even when nobody can run them, so a network that is not
 * understood is no failure here: why it is not is kept, and shown.
 */
#include "lib/measure/inspect_subject.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/ruvm_diagnose.h"
#include "lib/base/bytes.h"

/* ---- opening -------------------------------------------------------------------- */

static void understand(struct ruvm_subject *s)
{
    int rc = ruvm_container_network(&s->network, &s->container, &s->why);
    if (rc == RUVM_OK)
        rc = ruvm_model_from_tensors(&s->model, &s->arena, &s->network, &s->why);
    s->has_model = rc == RUVM_OK;
}

static int open_ruvm(struct ruvm_subject *s, struct ruvm_error *err)
{
    struct ruvm_image_fault fault;
    int rc = ruvm_image_open(&s->img, s->file.data, s->file.size, &fault);
    if (rc != RUVM_OK)
        return ruvm_diagnose_fail(err, rc, s->name, &fault);
    s->is_v0 = s->img.version == RUVM_VERSION_V0;
    s->is_image = !s->is_v0;
    return s->is_v0
               ? ruvm_container_open_bytes(&s->container, s->name, s->file.data, s->file.size, err)
               : RUVM_OK;
}

static int open_file(struct ruvm_subject *s, const char *path, struct ruvm_error *err)
{
    int rc = ruvm_file_open(&s->file, path, err);
    if (rc != RUVM_OK)
        return rc;
    s->name = s->file.name;
    if (s->file.size >= 4 && memcmp(s->file.data, RUVM_MAGIC, 4) == 0)
        return open_ruvm(s, err);
    rc = ruvm_container_open_bytes(&s->container, s->name, s->file.data, s->file.size, err);
    if (rc == RUVM_OK)
        understand(s);
    return rc;
}

/* A file whose folder is not understood is listed alone, and that is why. */
static int open_hub(struct ruvm_subject *s, const char *path, struct ruvm_error *err)
{
    struct ruvm_error of_folder = {0};
    int rc = ruvm_container_open(&s->container, path, &of_folder);
    if (rc == RUVM_OK) {
        understand(s);
        return rc;
    }
    s->container = (struct ruvm_container){0};
    if (open_file(s, path, NULL) != RUVM_OK)
        return ruvm_fail(err, rc, "%s", of_folder.text);
    s->why = of_folder;
    return RUVM_OK;
}

int ruvm_subject_open(struct ruvm_subject *s, const char *path, struct ruvm_error *err)
{
    *s = (struct ruvm_subject){.name = path ? path : "demo"};
    bool is_hub = path && strcmp(path, "demo") != 0 && ruvm_hub_probe(path);
    int rc = is_hub ? open_hub(s, path, err) : open_file(s, path, err);
    if (rc != RUVM_OK)
        ruvm_subject_close(s);
    return rc;
}

void ruvm_subject_close(struct ruvm_subject *s)
{
    if (s->container.path)
        ruvm_container_close(&s->container);
    if (s->file.data)
        ruvm_file_close(&s->file);
    ruvm_arena_free(&s->arena);
    *s = (struct ruvm_subject){0};
}

bool ruvm_subject_is_model(const struct ruvm_subject *s)
{
    return s->is_image || s->has_model;
}

/* ---- numbers ---------------------------------------------------------------------- */

static const char *const norms[] = {"rms", "layer"};
static const char *const activations[] = {"silu_gated", "gelu_tanh", "gelu", "relu"};
static const char *const positions[] = {"rope", "learned"};

/* In the order of enum ruvm_bias_kind; those that a network has stand together in a subset. */
static const char *const bias_names[RUVM_N_BIASES] = {
    "wq", "wk", "wv", "wo", "w_up", "w_gate", "w_down", "attn_norm", "ffn_norm", "final_norm"};

static void set_kinds(struct ruvm_inspect_result *r, unsigned norm, unsigned act, unsigned pos)
{
    r->norm = norms[norm];
    r->activation = activations[act];
    r->positions = positions[pos];
}

static void set_biases(struct ruvm_inspect_result *r, unsigned kinds)
{
    r->n_biases = 0;
    for (unsigned k = 0; k < RUVM_N_BIASES; k++)
        if (kinds >> k & 1)
            r->biases[r->n_biases++] = bias_names[k];
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

static void shape_of_image(struct ruvm_inspect_result *r, const struct ruvm_image *img)
{
    r->has_shape = true;
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

static void network_of_image(struct ruvm_inspect_result *r, const struct ruvm_image *img)
{
    r->has_model = true;
    r->header_crc32 = ruvm_load_u32(img->data + RUVM_HDR_CRC);
    r->tied = img->tied;
    r->parallel = img->parallel;
    r->k_bits = img->k_bits;
    r->v_bits = img->v_bits;
    r->norm_eps = ldexp(img->eps_mantissa, img->eps_exp);
    r->rope_theta = theta_of(img);
    r->rope_dims = img->rope_dims;
    r->window = img->window;
    for (unsigned l = 0; l < img->n_layers && img->window; l++)
        r->windowed[l] = ruvm_image_window(img, l) ? '1' : '0';
    r->score_scale =
        img->score_mantissa ? ldexp(img->score_mantissa, img->score_exp) : 1 / sqrt(img->head_dim);
    set_kinds(r, img->norm, img->act, img->pos);
    set_biases(r, img->bias_kinds);
}

static void numbers_of_model(struct ruvm_inspect_result *r, const struct ruvm_model *m)
{
    r->has_shape = r->has_model = true;
    r->vocab = m->vocab;
    r->dim = m->dim;
    r->hidden = m->hidden;
    r->n_layers = m->n_layers;
    r->n_heads = m->n_heads;
    r->n_kv_heads = m->n_kv_heads;
    r->head_dim = m->head_dim;
    r->context = m->context;
    r->tied = m->tied;
    r->parallel = m->parallel;
    r->norm_eps = (double)m->norm_eps;
    r->rope_theta = m->pos == RUVM_POS_ROPE ? (double)m->rope_theta : 0;
    r->rope_dims = m->rotary_dim;
    for (uint32_t l = 0; l < m->n_layers; l++) {
        bool closes = ruvm_model_window(m, l) < m->context;
        r->windowed[l] = closes ? '1' : '0';
        r->window = closes ? m->window : r->window;
    }
    if (!r->window)
        r->windowed[0] = '\0';
    r->score_scale = (double)ruvm_model_score_scale(m);
    set_kinds(r, m->norm, m->act, m->pos);
    set_biases(r, ruvm_model_bias_kinds(m));
}

void ruvm_subject_numbers(struct ruvm_inspect_result *r, const struct ruvm_subject *s)
{
    if (s->is_image || s->is_v0)
        shape_of_image(r, &s->img);
    if (s->is_image)
        network_of_image(r, &s->img);
    if (s->has_model)
        numbers_of_model(r, &s->model);
}
