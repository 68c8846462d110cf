/* inspect --json: the same as for people, as one object. */
#include <string.h>

#include "cli/cmd_inspect.h"

static void add_shape(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    ruvm_json_count(object, "vocab", r->vocab);
    ruvm_json_count(object, "dim", r->dim);
    ruvm_json_count(object, "hidden", r->hidden);
    ruvm_json_count(object, "n_layers", r->n_layers);
    ruvm_json_count(object, "n_heads", r->n_heads);
    ruvm_json_count(object, "n_kv_heads", r->n_kv_heads);
    ruvm_json_count(object, "head_dim", r->head_dim);
    ruvm_json_count(object, "context", r->context);
}

static void add_windows(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    struct cJSON *list = ruvm_json_array(object, "windowed_layers");
    for (uint32_t i = 0; r->window && i < r->n_layers; i++)
        if (r->windowed[i] == '1')
            ruvm_json_count(list, NULL, i);
}

static void add_network(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    ruvm_json_bool(object, "tied", r->tied);
    ruvm_json_text(object, "norm", r->norm);
    ruvm_json_number(object, "norm_eps", r->norm_eps);
    ruvm_json_text(object, "activation", r->activation);
    ruvm_json_text(object, "positions", r->positions);
    ruvm_json_number(object, "rope_theta", r->rope_theta);
    ruvm_json_count(object, "rope_dims", r->rope_dims);
    ruvm_json_bool(object, "parallel", r->parallel);
    ruvm_json_count(object, "window", r->window);
    add_windows(object, r);
    ruvm_json_number(object, "score_scale", r->score_scale);
    struct cJSON *biases = ruvm_json_array(object, "biases");
    for (uint32_t i = 0; i < r->n_biases; i++)
        ruvm_json_text(biases, NULL, r->biases[i]);
}

static void add_sections(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    struct cJSON *list = ruvm_json_array(object, "sections");
    for (uint32_t i = 0; i < r->n_sections; i++) {
        const struct ruvm_inspect_section *s = &r->sections[i];
        struct cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_text(x, "name", s->name);
        ruvm_json_count(x, "off_bytes", s->off_bytes);
        ruvm_json_count(x, "size_bytes", s->size_bytes);
        ruvm_json_count(x, "crc32", s->crc32);
        ruvm_json_bool(x, "required", s->required);
        ruvm_json_bool(x, "known", s->known);
    }
}

static void add_image(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    ruvm_json_count(object, "header_crc32", r->header_crc32);
    ruvm_json_count(object, "engine_context", r->engine_context);
    ruvm_json_count(object, "engine_bytes", r->engine_bytes);
    ruvm_json_count(object, "kv_cache_bytes", r->kv_cache_bytes);
    ruvm_json_count(object, "k_bits", r->k_bits);
    ruvm_json_count(object, "v_bits", r->v_bits);
    ruvm_json_count(object, "golden_prompt_tokens", r->n_golden_prompt);
    ruvm_json_count(object, "golden_tokens", r->n_golden_tokens);
    add_sections(object, r);
}

static void add_token(struct cJSON *object, const char *key, uint32_t id)
{
    if (id != RUVM_CMD_NO_TOKEN)
        ruvm_json_count(object, key, id);
}

static void add_tokenizer(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    ruvm_json_bool(object, "has_tokenizer", r->has_tokenizer);
    if (!r->has_tokenizer)
        return;
    ruvm_json_count(object, "n_pieces", r->n_pieces);
    add_token(object, "bos", r->bos);
    add_token(object, "eos", r->eos);
    add_token(object, "unk", r->unk);
}

static void add_tensors(struct cJSON *object, const struct ruvm_args *args,
                        const struct ruvm_inspect_result *r)
{
    struct cJSON *list = ruvm_json_array(object, "tensors");
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_inspect_tensor *x = &r->tensors[i];
        if (!ruvm_cmd_inspect_shows(args, x->name))
            continue;
        struct cJSON *t = ruvm_json_object(list, NULL);
        ruvm_json_bytes(t, "name", x->name, strlen(x->name));
        ruvm_json_text(t, "type", x->type);
        struct cJSON *shape = ruvm_json_array(t, "shape");
        for (uint32_t d = 0; d < x->n_dims && d < 4; d++)
            ruvm_json_count(shape, NULL, x->dims[d]);
        if (x->file)
            ruvm_json_bytes(t, "file", x->file, strlen(x->file));
        ruvm_json_count(t, "off_bytes", x->off_bytes);
        ruvm_json_count(t, "size_bytes", x->size_bytes);
        ruvm_json_number(t, "min", x->min);
        ruvm_json_number(t, "max", x->max);
    }
}

static void add_operators(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    struct cJSON *list = r->n_operators ? ruvm_json_array(object, "operators") : NULL;
    for (uint32_t i = 0; i < r->n_operators; i++) {
        struct cJSON *o = ruvm_json_object(list, NULL);
        ruvm_json_bytes(o, "name", r->operators[i].name, strlen(r->operators[i].name));
        ruvm_json_count(o, "nodes", r->operators[i].n_nodes);
    }
}

static void add_histogram(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    struct cJSON *h = ruvm_json_object(object, "histogram");
    ruvm_json_number(h, "min", r->histogram_min);
    ruvm_json_number(h, "max", r->histogram_max);
    struct cJSON *counts = ruvm_json_array(h, "counts");
    for (unsigned i = 0; i < RUVM_INSPECT_BINS; i++)
        ruvm_json_count(counts, NULL, r->histogram[i]);
}

void ruvm_cmd_inspect_json(const struct ruvm_args *args, const struct ruvm_inspect_options *o,
                           const struct ruvm_inspect_result *r)
{
    struct cJSON *object = ruvm_json_start("inspect");
    ruvm_json_text(object, "file", o->input);
    ruvm_json_text(object, "format", r->format);
    ruvm_json_count(object, "file_bytes", r->file_bytes);
    if (r->pack)
        ruvm_json_pack(ruvm_json_object(object, "pack"), r->pack);
    if (r->is_image || r->is_v0) {
        ruvm_json_count(object, "version", r->version);
        ruvm_json_count(object, "quant_type", r->quant_type);
    }
    if (r->has_shape)
        add_shape(object, r);
    ruvm_json_count(object, "parameters", r->parameters);
    if (r->has_model)
        add_network(object, r);
    if (r->note[0])
        ruvm_json_text(object, "note", r->note);
    add_tokenizer(object, r);
    ruvm_json_bytes(object, "meta", r->meta, strlen(r->meta));
    add_operators(object, r);
    if (r->is_image)
        add_image(object, r);
    add_tensors(object, args, r);
    if (r->has_histogram && ruvm_args_given(args, "hist"))
        add_histogram(object, r);
    ruvm_json_finish(object);
}
