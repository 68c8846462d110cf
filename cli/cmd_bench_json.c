/* bench, for programs: one object, with an entry a model and kernels. */
#include "cli/cmd_bench.h"

static void add_spread(struct cJSON *object, const char *key, const struct ruvm_spread *s)
{
    char name[64];
    ruvm_json_spread(object, key, s);
    snprintf(name, sizeof name, "%s_q1", key);
    ruvm_json_number(object, name, s->q1);
    snprintf(name, sizeof name, "%s_q3", key);
    ruvm_json_number(object, name, s->q3);
}

static void add_quality(struct cJSON *object, const struct ruvm_bench_result *r)
{
    if (r->has_quality) {
        ruvm_json_quality(object, &r->quality);
    } else if (r->has_perplexity) {
        ruvm_json_number(object, "perplexity", r->perplexity);
        ruvm_json_count(object, "perplexity_positions", r->perplexity_positions);
    }
    if (r->has_knn) {
        ruvm_json_number(object, "perplexity_knn", r->perplexity_knn);
        ruvm_json_count(object, "knn_chunks", r->knn_chunks);
        ruvm_json_count(object, "knn_k", r->knn_k);
        ruvm_json_number(object, "knn_share", r->knn_share);
        ruvm_json_number(object, "knn_spread", r->knn_spread);
        ruvm_json_number(object, "knn_us_per_token", r->knn_us);
    }
    if (r->has_exact_match) {
        ruvm_json_number(object, "exact_match", r->exact_match);
        ruvm_json_count(object, "questions", r->n_questions);
    }
}

static void add_tiers(struct cJSON *object, const struct ruvm_bench_result *r, bool no_speed)
{
    static const char *const always[] = {"image_bytes",    "token_bytes",      "engine_bytes",
                                         "seen_positions", "cached_positions", "kv_bytes",
                                         "peak_rss_bytes"};
    static const char *const speeds[] = {"prompt_tokens_per_s", "decode_tokens_per_s"};
    static const char *const quality[] = {
        "kl_mean", "kl_mean_error", "kl_p99", "perplexity", "perplexity_float", "top1", "top5"};
    struct cJSON *tiers = ruvm_json_object(object, "tiers");
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        ruvm_json_text(tiers, always[i], "measured");
    for (size_t i = 0; !no_speed && i < sizeof speeds / sizeof *speeds; i++)
        ruvm_json_text(tiers, speeds[i], "measured");
    for (size_t i = 0; r->has_quality && i < sizeof quality / sizeof *quality; i++)
        ruvm_json_text(tiers, quality[i], "measured");
    if (!r->has_quality && r->has_perplexity)
        ruvm_json_text(tiers, "perplexity", "measured");
    if (r->has_knn) {
        ruvm_json_text(tiers, "perplexity_knn", "measured");
        ruvm_json_text(tiers, "knn_us_per_token", "measured");
    }
    if (r->has_exact_match)
        ruvm_json_text(tiers, "exact_match", "measured");
    if (r->profile.repetitions)
        ruvm_json_text(tiers, "profile", "measured");
    if (r->n_kernels) {
        ruvm_json_text(tiers, "kernel_rates", "measured");
        ruvm_json_text(tiers, "roofs", "measured");
    }
}

static void add_profile(struct cJSON *object, const struct ruvm_bench_profile *p)
{
    if (!p->repetitions)
        return;
    struct cJSON *profile = ruvm_json_object(object, "profile");
    ruvm_json_count(profile, "tokens", p->tokens);
    ruvm_json_count(profile, "repetitions", p->repetitions);
    ruvm_json_number(profile, "token_us", p->token_us);
    ruvm_json_number(profile, "watched_token_us", p->watched_us);
    ruvm_json_number(profile, "clock_us", p->clock_us);
    ruvm_json_number(profile, "sum_us", p->sum_us);
    struct cJSON *parts = ruvm_json_array(profile, "parts");
    for (int i = 0; i < RUVM_N_PARTS; i++) {
        struct cJSON *x = ruvm_json_object(parts, NULL);
        ruvm_json_text(x, "part", ruvm_bench_part_name((enum ruvm_bench_part)i));
        add_spread(x, "us", &p->us[i]);
        ruvm_json_number(x, "percent", 100 * p->us[i].median / p->sum_us);
    }
}

static void add_roofs(struct cJSON *object, const struct ruvm_bench_roofs *r)
{
    struct cJSON *roofs = ruvm_json_object(object, "roofs");
    ruvm_json_bool(roofs, "cache_sizes_assumed", r->sizes_assumed);
    ruvm_json_bool(roofs, "disturbed", ruvm_cmd_bench_is_disturbed(r));
    ruvm_json_text(roofs, "multiply", r->instruction);
    add_spread(roofs, "gmac_per_s", &r->gmac_per_s);
    bool has_threads = r->n_threads > 1;
    ruvm_json_count(roofs, "threads", r->n_threads);
    if (has_threads)
        add_spread(roofs, "threads_gmac_per_s", &r->threads_gmac_per_s);
    struct cJSON *levels = ruvm_json_array(roofs, "levels");
    for (uint32_t i = 0; i < r->n_levels; i++) {
        struct cJSON *x = ruvm_json_object(levels, NULL);
        ruvm_json_text(x, "level", r->levels[i].name);
        if (r->levels[i].bytes)
            ruvm_json_count(x, "cache_bytes", r->levels[i].bytes);
        ruvm_json_count(x, "read_bytes", r->levels[i].placed_bytes);
        add_spread(x, "gb_per_s", &r->levels[i].gb_per_s);
        if (has_threads)
            add_spread(x, "threads_gb_per_s", &r->levels[i].threads_gb_per_s);
    }
}

static void add_kernels(struct cJSON *object, const struct ruvm_bench_result *r)
{
    if (!r->n_kernels)
        return;
    add_roofs(object, &r->roofs);
    struct cJSON *rates = ruvm_json_array(object, "kernel_rates");
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        const struct ruvm_bench_kernel *k = &r->kernel_list[i];
        struct cJSON *x = ruvm_json_object(rates, NULL);
        ruvm_json_text(x, "kernels", k->kernels);
        ruvm_json_text(x, "kernel", k->name);
        if (k->rows)
            ruvm_json_count(x, "rows", k->rows);
        ruvm_json_count(x, "cols", k->cols);
        ruvm_json_count(x, "vectors", k->vectors);
        ruvm_json_text(x, "level", r->roofs.levels[k->level].name);
        add_spread(x, k->multiplies ? "gmac_per_s" : "gvalues_per_s", &k->gmac_per_s);
        add_spread(x, "gb_per_s", &k->gb_per_s);
        ruvm_json_number(x, "roof_percent", 100 * k->roof_share);
        ruvm_json_text(x, "roof", k->arithmetic_binds ? "multiply" : "read");
    }
}

static void add_result(struct cJSON *object, const struct ruvm_bench_result *r, bool no_speed)
{
    ruvm_json_text(object, "model", r->model);
    ruvm_json_text(object, "kernels", r->kernels);
    ruvm_json_count(object, "image_bytes", r->image_bytes);
    ruvm_json_count(object, "image_crc", r->image_crc);
    if (r->bits_per_weight > 0) {
        ruvm_json_number(object, "bits_per_weight", r->bits_per_weight);
        ruvm_json_text(object, "types", r->types);
    }
    ruvm_json_count(object, "token_bytes", r->token_bytes);
    ruvm_json_count(object, "engine_bytes", r->engine_bytes);
    ruvm_json_text(object, "mask", r->mask);
    ruvm_json_count(object, "context", r->context);
    ruvm_json_count(object, "seen_positions", r->seen_positions);
    ruvm_json_count(object, "cached_positions", r->cached_positions);
    ruvm_json_count(object, "kv_bytes", r->kv_bytes);
    ruvm_json_count(object, "peak_rss_bytes", r->peak_rss_bytes);
    if (!no_speed) {
        ruvm_json_count(object, "block", r->block);
        ruvm_json_count(object, "threads", r->threads);
        ruvm_json_count(object, "batch", r->batch);
        ruvm_json_count(object, "prompt_tokens", r->prompt_tokens);
        ruvm_json_count(object, "generate_tokens", r->generate_tokens);
        add_spread(object, "prompt_tokens_per_s", &r->prompt_tokens_per_s);
        add_spread(object, "decode_tokens_per_s", &r->decode_tokens_per_s);
    }
    add_quality(object, r);
    add_profile(object, &r->profile);
    add_kernels(object, r);
    add_tiers(object, r, no_speed);
}

static void add_failures(struct cJSON *object, const struct ruvm_bench_list *list)
{
    if (!list->n_failures)
        return;
    struct cJSON *failures = ruvm_json_array(object, "failures");
    for (unsigned i = 0; i < list->n_failures; i++) {
        const struct ruvm_bench_failure *f = &list->failures[i];
        struct cJSON *x = ruvm_json_object(failures, NULL);
        ruvm_json_text(x, "model", f->model);
        ruvm_json_text(x, "error", *f->err.text ? f->err.text : ruvm_status_text(f->err.code));
    }
}

/* A single result stands at the top level too, so that `jq .kl_mean` just works; but not
 * one that is left of several. */
void ruvm_cmd_bench_json(const struct ruvm_bench_list *list)
{
    struct cJSON *object = ruvm_json_start("bench");
    ruvm_json_text(object, "machine", list->results[0].machine);
    if (list->source)
        ruvm_json_text(object, "quality_source", list->source);
    if (list->n == 1 && list->n_asked == 1)
        add_result(object, &list->results[0], list->no_speed);
    if (list->sweep)
        ruvm_json_text(object, "sweep", list->sweep->key);
    struct cJSON *models = ruvm_json_array(object, "models");
    for (unsigned i = 0; i < list->n; i++) {
        struct cJSON *model = ruvm_json_object(models, NULL);
        if (list->sweep)
            ruvm_json_text(model, "sweep_value", list->sweep->values[list->points[i]]);
        add_result(model, &list->results[i], list->no_speed);
    }
    add_failures(object, list);
    if (list->comparison)
        ruvm_cmd_bench_compare_json(object, list->comparison);
    ruvm_json_finish(object);
}
