/* quantize, for programs: one object with everything that --report says. */
#include "cli/cmd_quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* "int4 g16" as type and group. */
static void add_type(struct cJSON *object, const char *type)
{
    const char *group = strstr(type, " g");
    ruvm_json_bytes(object, "type", type, strcspn(type, " "));
    ruvm_json_count(object, "group", group ? strtoul(group + 2, NULL, 10) : 0);
}

static void add_tensors(struct cJSON *object, const struct ruvm_quantize_result *r, bool dry_run)
{
    bool estimated = ruvm_cmd_quantize_estimated(r);
    struct cJSON *list = ruvm_json_array(object, "tensors");
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_quantize_tensor *x = &r->tensors[i];
        struct cJSON *t = ruvm_json_object(list, NULL);
        ruvm_json_text(t, "name", x->name);
        add_type(t, x->type);
        ruvm_json_count(t, "rows", x->rows);
        ruvm_json_count(t, "cols", x->cols);
        ruvm_json_count(t, "source_bytes", x->source_bytes);
        ruvm_json_count(t, "bytes", x->bytes);
        ruvm_json_number(t, "bits_per_weight", x->bits_per_weight);
        if (!dry_run) {
            ruvm_json_number(t, "snr_db", x->snr_db);
            ruvm_json_count(t, "worst_row", x->worst_row);
            ruvm_json_number(t, "worst_row_snr_db", x->worst_row_snr_db);
        }
        ruvm_json_count(t, "zero_rows", x->zero_rows);
        if (x->zero_rows)
            ruvm_json_count(t, "first_zero_row", x->first_zero_row);
        if (estimated) {
            ruvm_json_number(t, "loss_share", x->loss_share);
            ruvm_json_number(t, "kl_modelled", x->kl_estimate);
        }
    }
}

static void add_sizes(struct cJSON *object, const struct ruvm_quantize_call *call)
{
    if (!call->n_sizes)
        return;
    struct cJSON *list = ruvm_json_array(object, "sizes");
    for (unsigned i = 0; i < call->n_sizes; i++) {
        struct cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_text(x, "type", call->sizes[i].type);
        ruvm_json_count(x, "image_bytes", call->sizes[i].image_bytes);
        ruvm_json_number(x, "bits_per_weight", call->sizes[i].bits_per_weight);
    }
}

static void add_choices(struct cJSON *object, const struct ruvm_quantize_result *r)
{
    if (!r->n_choices)
        return;
    struct cJSON *list = ruvm_json_array(object, "choices");
    for (uint32_t i = 0; i < r->n_choices; i++) {
        const struct ruvm_quantize_choice *c = &r->choices[i];
        struct cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_text(x, "types", c->types);
        ruvm_json_count(x, "image_bytes", c->image_bytes);
        ruvm_json_number(x, "bits_per_weight", c->bits_per_weight);
        ruvm_json_number(x, "kl_modelled", c->kl_estimate);
        if (!isnan(c->kl_measured))
            ruvm_json_number(x, "kl_measured", c->kl_measured);
        ruvm_json_bool(x, "chosen", c->chosen);
    }
}

static void add_prunes(struct cJSON *object, const struct ruvm_quantize_result *r)
{
    if (!r->n_prunes)
        return;
    struct cJSON *list = ruvm_json_array(object, "prunes");
    for (uint32_t i = 0; i < r->n_prunes; i++) {
        const struct ruvm_quantize_prune *p = &r->prunes[i];
        struct cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_text(x, "what", p->what);
        ruvm_json_count(x, "parameters_before", p->parameters_before);
        ruvm_json_count(x, "parameters_after", p->parameters_after);
        if (!(p->perplexity_before > 0))
            continue; /* not measured */
        ruvm_json_number(x, "kl_mean", p->kl_mean);
        ruvm_json_number(x, "perplexity_before", p->perplexity_before);
        ruvm_json_number(x, "perplexity_after", p->perplexity_after);
    }
}

static void add_distill(struct cJSON *object, const struct ruvm_quantize_result *r)
{
    const struct ruvm_quantize_distill *d = &r->distill;
    if (!r->has_distill)
        return;
    struct cJSON *x = ruvm_json_object(object, "distill");
    ruvm_json_count(x, "steps", d->steps);
    ruvm_json_count(x, "first_step", d->first_step);
    ruvm_json_count(x, "tokens", d->tokens);
    ruvm_json_number(x, "seconds", d->seconds);
    ruvm_json_count(x, "threads", d->threads);
    ruvm_json_number(x, "kl_train_first", d->kl_before);
    ruvm_json_number(x, "kl_train_last", d->kl_after);
}

/* Of all keys whose value is not simply counted. */
static void add_tiers(struct cJSON *object, const struct ruvm_quantize_result *r, bool dry_run)
{
    static const char *const measured[] = {
        "kl_mean", "kl_mean_error", "kl_p99", "perplexity", "perplexity_float", "top1", "top5"};
    struct cJSON *tiers = ruvm_json_object(object, "tiers");
    for (size_t i = 0; r->has_quality && i < sizeof measured / sizeof *measured; i++)
        ruvm_json_text(tiers, measured[i], "measured");
    if (r->n_choices)
        ruvm_json_text(tiers, "kl_measured", "measured");
    if (r->n_choices || ruvm_cmd_quantize_estimated(r))
        ruvm_json_text(tiers, "kl_modelled", "modelled");
    if (ruvm_cmd_quantize_estimated(r))
        ruvm_json_text(tiers, "loss_share", "modelled");
    if (r->has_distill) {
        ruvm_json_text(tiers, "kl_train_first", "measured");
        ruvm_json_text(tiers, "kl_train_last", "measured");
    }
    if (!dry_run)
        ruvm_json_text(tiers, "snr_db", "measured");
    ruvm_json_text(tiers, "seconds", "measured");
}

static void add_image(struct cJSON *object, const struct ruvm_quantize_call *call)
{
    const struct ruvm_quantize_result *r = &call->r;
    ruvm_json_text(object, "types", r->types);
    if (*r->method)
        ruvm_json_text(object, "method", r->method);
    if (r->tokenizer_notes[0])
        ruvm_json_text(object, "tokenizer_notes", r->tokenizer_notes);
    ruvm_json_count(object, "k_bits", r->k_bits);
    ruvm_json_count(object, "v_bits", r->v_bits);
    ruvm_json_count(object, "parameters", r->parameters);
    ruvm_json_count(object, "source_bytes", r->source_bytes);
    ruvm_json_count(object, "image_bytes", r->image_bytes);
    ruvm_json_number(object, "bits_per_weight", r->bits_per_weight);
    ruvm_json_count(object, "golden_tokens", r->n_golden_tokens);
    if (call->engine_bytes)
        ruvm_json_count(object, "engine_bytes", call->engine_bytes);
    ruvm_json_count(object, "peak_rss_bytes", ruvm_output_peak_rss_bytes());
    ruvm_json_number(object, "seconds", r->seconds);
}

static void add_quality(struct cJSON *object, const struct ruvm_quantize_result *r)
{
    if (!r->has_quality)
        return;
    ruvm_json_quality(object, &r->quality);
    if (r->has_quality_before)
        ruvm_json_quality(ruvm_json_object(object, "quality_before"), &r->quality_before);
    ruvm_json_text(object, "sample_float", r->sample_float);
    ruvm_json_text(object, "sample_image", r->sample_image);
}

void ruvm_cmd_quantize_json(const struct ruvm_quantize_call *call)
{
    struct cJSON *object = ruvm_json_start("quantize");
    ruvm_json_text(object, "input", call->o.input);
    if (!call->o.dry_run)
        ruvm_json_text(object, "output", call->o.output);
    ruvm_json_text(object, "source_format", call->r.source_format);
    if (!ruvm_cmd_quantize_searches(&call->o))
        ruvm_json_text(object, "type", ruvm_args_text(call->args, "type"));
    if (call->r.limit_bytes)
        ruvm_json_count(object, "limit_bytes", call->r.limit_bytes);
    if (call->r.losses_left_out)
        ruvm_json_text(object, "losses_left_out", "too long or too much memory to estimate");
    add_image(object, call);
    add_sizes(object, call);
    add_prunes(object, &call->r);
    add_choices(object, &call->r);
    add_distill(object, &call->r);
    add_quality(object, &call->r);
    ruvm_json_text(object, "tier", "measured");
    add_tiers(object, &call->r, call->o.dry_run);
    add_tensors(object, &call->r, call->o.dry_run);
    ruvm_json_finish(object);
}
