/* bench, for people: one comparison of what the models lost, and a row for each other value. */
#include "cli/cmd_bench.h"

#include <stdlib.h>
#include <string.h>

/* Names come from files. */
static void visible_cell(struct ruvm_table *t, const char *text)
{
    char *visible = ruvm_output_visible(text, strlen(text));
    ruvm_table_cell(t, "%s", visible);
    free(visible);
}

/* ---- rows: one value each --------------------------------------------------- */

/* Rows begin with what was measured and on what. */
static void begin_row(struct ruvm_table *t, const struct ruvm_bench_result *r, const char *kernels,
                      const char *what)
{
    visible_cell(t, r->model);
    ruvm_table_cell(t, "%s", kernels);
    ruvm_table_cell(t, "%s", what);
}

static void end_row(struct ruvm_table *t, const struct ruvm_bench_result *r, const char *unit)
{
    ruvm_table_cell(t, "%s", unit);
    ruvm_table_cell(t, "measured");
    if (t->n_cols == 10) /* CSV: each row stands for itself */
        ruvm_table_cell(t, "%s", r->machine);
}

static void spread_row(struct ruvm_table *t, const struct ruvm_bench_result *r, const char *kernels,
                       const char *what, const struct ruvm_spread *s, const char *unit)
{
    begin_row(t, r, kernels, what);
    ruvm_table_cell(t, "%.5g", s->median);
    ruvm_table_cell(t, "%.5g", s->min);
    ruvm_table_cell(t, "%.5g", s->max);
    ruvm_table_cell(t, "%u", s->n);
    end_row(t, r, unit);
}

static void value_row(struct ruvm_table *t, const struct ruvm_bench_result *r, const char *what,
                      double value, uint64_t n, const char *unit)
{
    begin_row(t, r, r->kernels, what);
    ruvm_table_cell(t, "%.5g", value);
    ruvm_table_cell(t, "%s", "");
    ruvm_table_cell(t, "%s", "");
    ruvm_table_cell(t, "%llu", (unsigned long long)n);
    end_row(t, r, unit);
}

static void bytes_row(struct ruvm_table *t, const struct ruvm_bench_result *r, const char *what,
                      uint64_t bytes)
{
    begin_row(t, r, r->kernels, what);
    ruvm_table_cell(t, "%llu", (unsigned long long)bytes);
    ruvm_table_cell(t, "%s", "");
    ruvm_table_cell(t, "%s", "");
    ruvm_table_cell(t, "1");
    end_row(t, r, "bytes");
}

static void quality_rows(struct ruvm_table *t, const struct ruvm_bench_result *r)
{
    const struct ruvm_quality *q = &r->quality;
    value_row(t, r, "perplexity", q->perplexity, q->n_positions, "");
    value_row(t, r, "perplexity of the float model", q->perplexity_float, q->n_positions, "");
    value_row(t, r, "KL mean", q->kl_mean, q->n_positions, "nats");
    value_row(t, r, "KL mean, standard error", q->kl_mean_error, q->n_positions, "nats");
    value_row(t, r, "KL 99th percentile", q->kl_p99, q->n_positions, "nats");
    value_row(t, r, "top-1 agreement", 100 * q->top1, q->n_positions, "%");
    value_row(t, r, "top-5 agreement", 100 * q->top5, q->n_positions, "%");
}

/* The roofs of one thread, or of all together. */
static void roof_rows(struct ruvm_table *t, const struct ruvm_bench_result *r, uint32_t threads)
{
    char what[80], by[24] = "";
    const struct ruvm_bench_roofs *roofs = &r->roofs;
    if (threads > 1)
        snprintf(by, sizeof by, ", %u threads", threads);
    for (uint32_t i = 0; i < roofs->n_levels; i++) {
        const struct ruvm_bench_level *l = &roofs->levels[i];
        snprintf(what, sizeof what, "roof: read %s%s", l->name, by);
        spread_row(t, r, "", what, threads > 1 ? &l->threads_gb_per_s : &l->gb_per_s, "GB/s");
    }
    snprintf(what, sizeof what, "roof: multiply%s", by);
    if (r->n_kernels)
        spread_row(t, r, "", what, threads > 1 ? &roofs->threads_gmac_per_s : &roofs->gmac_per_s,
                   "GMAC/s");
}

/* For CSV, which is one table; the others have them beside the roofs. */
static void kernel_rows(struct ruvm_table *t, const struct ruvm_bench_result *r)
{
    char what[80];
    roof_rows(t, r, 1);
    if (r->roofs.n_threads > 1)
        roof_rows(t, r, r->roofs.n_threads);
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        const struct ruvm_bench_kernel *k = &r->kernel_list[i];
        ruvm_cmd_bench_kernel_name(what, sizeof what, k, &r->roofs);
        spread_row(t, r, k->kernels, what, &k->gmac_per_s, k->multiplies ? "GMAC/s" : "Gvalues/s");
        spread_row(t, r, k->kernels, what, &k->gb_per_s, "GB/s");
        begin_row(t, r, k->kernels, what);
        ruvm_table_cell(t, "%.4g", 100 * k->roof_share);
        ruvm_table_cell(t, "%s", "");
        ruvm_table_cell(t, "%s", "");
        ruvm_table_cell(t, "%u", k->gmac_per_s.n);
        end_row(t, r, k->arithmetic_binds ? "% of roof: multiply" : "% of roof: read");
    }
}

/* What the speeds are of besides a model and its kernels. */
static void speed_name(char *text, size_t size, const char *what, uint32_t n, uint32_t batch,
                       uint32_t threads)
{
    size_t used = (size_t)snprintf(text, size, "%s %u", what, n);
    if (batch > 1 && used < size)
        used += (size_t)snprintf(text + used, size - used, ", %u texts", batch);
    if (threads > 1 && used < size)
        snprintf(text + used, size - used, ", %u threads", threads);
}

static void speed_rows(struct ruvm_table *t, const struct ruvm_bench_result *r)
{
    char what[64];
    speed_name(what, sizeof what, "prompt of", r->prompt_tokens, 1, r->threads);
    spread_row(t, r, r->kernels, what, &r->prompt_tokens_per_s, "tokens/s");
    speed_name(what, sizeof what, "generate", r->generate_tokens, r->batch, r->threads);
    spread_row(t, r, r->kernels, what, &r->decode_tokens_per_s, "tokens/s");
    bytes_row(t, r, "image", r->image_bytes);
    bytes_row(t, r, "engine memory", r->engine_bytes);
    bytes_row(t, r, "peak memory of the process", r->peak_rss_bytes);
}

/* What a mask saves, without the clock, too. */
static void mask_rows(struct ruvm_table *t, const struct ruvm_bench_list *list,
                      const struct ruvm_bench_result *r)
{
    char what[64];
    snprintf(what, sizeof what, "cached of %u, %s", r->context, r->mask);
    value_row(t, r, what, r->cached_positions, 1, "positions");
    if (list->no_speed)
        bytes_row(t, r, "engine memory", r->engine_bytes);
}

/* The parts, and the three wholes that they are to be seen beside. */
static void profile_rows(struct ruvm_table *t, const struct ruvm_bench_result *r)
{
    const struct ruvm_bench_profile *p = &r->profile;
    char what[64];
    if (!p->repetitions)
        return;
    for (int i = 0; i < RUVM_N_PARTS; i++) {
        snprintf(what, sizeof what, "token: %s, %.1f %%",
                 ruvm_bench_part_name((enum ruvm_bench_part)i), 100 * p->us[i].median / p->sum_us);
        spread_row(t, r, r->kernels, what, &p->us[i], "us");
    }
    value_row(t, r, "token: sum of the parts", p->sum_us, p->repetitions, "us");
    value_row(t, r, "token, not watched", p->token_us, p->repetitions, "us");
    value_row(t, r, "token, watched", p->watched_us, p->repetitions, "us");
    value_row(t, r, "cost of watching, taken off", p->clock_us, p->repetitions, "us");
}

static void knn_rows(struct ruvm_table *t, const struct ruvm_bench_result *r)
{
    value_row(t, r, "perplexity with neighbours", r->perplexity_knn, r->perplexity_positions, "");
    value_row(t, r, "change by neighbours", 100 * (r->perplexity_knn / r->perplexity - 1),
              r->perplexity_positions, "%");
    value_row(t, r, "looking neighbours up", r->knn_us, r->perplexity_positions, "us/token");
}

/* with_quality: where there is no comparison beside these rows. */
static void result_rows(struct ruvm_table *t, const struct ruvm_bench_list *list,
                        const struct ruvm_bench_result *r, bool with_quality)
{
    if (!list->no_speed)
        speed_rows(t, r);
    if (r->has_mask)
        mask_rows(t, list, r);
    profile_rows(t, r);
    if (r->has_quality && with_quality)
        quality_rows(t, r);
    else if (!r->has_quality && r->has_perplexity)
        value_row(t, r, "perplexity", r->perplexity, r->perplexity_positions, "");
    if (r->has_knn)
        knn_rows(t, r);
    if (r->has_exact_match)
        value_row(t, r, "exact answers", 100 * r->exact_match, r->n_questions, "%");
}

/* Whether anything was printed. */
static bool print_rows(const struct ruvm_bench_list *list, enum ruvm_table_style style,
                       bool after_comparison)
{
    static const char *const heads[] = {"model", "kernels", "what", "median", "min",
                                        "max",   "n",       "unit", "tier",   "machine"};
    struct ruvm_table t = {.heads = heads, .align = "lllrrrrlll", .n_cols = 9};
    t.n_cols += style == RUVM_TABLE_CSV;
    for (unsigned i = 0; i < list->n; i++)
        result_rows(&t, list, &list->results[i], style == RUVM_TABLE_CSV);
    for (unsigned i = 0; i < list->n && style == RUVM_TABLE_CSV; i++)
        kernel_rows(&t, &list->results[i]);
    bool any = t.n_cells > 0;
    if (any && after_comparison)
        putchar('\n');
    if (any)
        ruvm_table_print(&t, style);
    ruvm_table_free(&t);
    return any;
}

/* ---- the comparison: a row a model --------------------------------------------- */

static void comparison_row(struct ruvm_table *t, const struct ruvm_bench_list *list,
                           const struct ruvm_bench_result *r)
{
    const struct ruvm_quality *q = &r->quality;
    visible_cell(t, r->model);
    ruvm_table_cell(t, "%llu", (unsigned long long)r->image_bytes);
    if (r->bits_per_weight > 0)
        ruvm_table_cell(t, "%.3f", r->bits_per_weight);
    else
        ruvm_table_cell(t, "-");
    ruvm_table_cell(t, "%.5f", q->kl_mean);
    ruvm_table_cell(t, "%.5f", q->kl_p99);
    ruvm_table_cell(t, "%.5g", q->perplexity);
    ruvm_table_cell(t, "%+.3f", 100 * (q->perplexity / q->perplexity_float - 1));
    ruvm_table_cell(t, "%.2f", 100 * q->top1);
    ruvm_table_cell(t, "%.2f", 100 * q->top5);
    ruvm_table_cell(t, "measured");
    if (t->n_cols == 10)
        return;
    /* CSV: each row stands for itself */
    ruvm_table_cell(t, "%.5g", q->perplexity_float);
    ruvm_table_cell(t, "%llu", (unsigned long long)q->n_positions);
    visible_cell(t, q->text_source);
    visible_cell(t, list->source);
}

static const struct ruvm_bench_result *first_compared(const struct ruvm_bench_list *list)
{
    for (unsigned i = 0; i < list->n; i++)
        if (list->results[i].has_quality)
            return &list->results[i];
    return NULL;
}

static void print_heading(const struct ruvm_bench_list *list, const struct ruvm_quality *q)
{
    char *source = ruvm_output_visible(list->source, strlen(list->source));
    char *text = ruvm_output_visible(q->text_source, strlen(q->text_source));
    printf("Quality against %s (perplexity %.5g) at %s positions of: %s\n\n", source,
           q->perplexity_float, ruvm_output_grouped(q->n_positions), text);
    free(source);
    free(text);
}

/* Models of different contexts read other windows of the text. */
static void print_differences(const struct ruvm_bench_list *list, const struct ruvm_quality *q)
{
    for (unsigned i = 0; i < list->n; i++) {
        const struct ruvm_bench_result *r = &list->results[i];
        bool same = r->quality.n_positions == q->n_positions &&
                    r->quality.perplexity_float >= q->perplexity_float &&
                    r->quality.perplexity_float <= q->perplexity_float;
        if (!r->has_quality || same)
            continue;
        char *model = ruvm_output_visible(r->model, strlen(r->model));
        printf("%s has another context: %s positions, where the float model has %.5g\n", model,
               ruvm_output_grouped(r->quality.n_positions), r->quality.perplexity_float);
        free(model);
    }
}

/* Whether anything was printed. */
static bool print_comparison(const struct ruvm_bench_list *list, enum ruvm_table_style style)
{
    static const char *const heads[] = {"model",   "bytes",      "bits/weight",      "KL mean",
                                        "KL p99",  "perplexity", "change %",         "top-1 %",
                                        "top-5 %", "tier",       "float perplexity", "positions",
                                        "text",    "source"};
    struct ruvm_table t = {.heads = heads, .align = "lrrrrrrrrlrrll", .n_cols = 10};
    const struct ruvm_bench_result *first = first_compared(list);
    if (!first)
        return false;
    t.n_cols += style == RUVM_TABLE_CSV ? 4 : 0;
    for (unsigned i = 0; i < list->n; i++)
        if (list->results[i].has_quality)
            comparison_row(&t, list, &list->results[i]);
    if (style != RUVM_TABLE_CSV)
        print_heading(list, &first->quality);
    ruvm_table_print(&t, style);
    ruvm_table_free(&t);
    if (style != RUVM_TABLE_CSV)
        print_differences(list, &first->quality);
    return true;
}

/* What a second table may say; any: something stands above. */
static void print_below(const struct ruvm_bench_list *list, enum ruvm_table_style style, bool any)
{
    if (style == RUVM_TABLE_CSV)
        return;
    ruvm_cmd_bench_kernels(list, style, any);
    if (list->comparison)
        ruvm_cmd_bench_compare_print(list->comparison, style);
    printf("\nmachine: %s\n", list->results[0].machine);
}

static uint32_t prompt_of(const struct ruvm_bench_result *r)
{
    return r->prompt_tokens;
}

static uint32_t generated_of(const struct ruvm_bench_result *r)
{
    return r->generate_tokens;
}

/* "128", or "64 to 128" where rows differ. */
static void print_range(const struct ruvm_bench_list *list,
                        uint32_t (*of)(const struct ruvm_bench_result *r))
{
    uint32_t least = UINT32_MAX, most = 0;
    for (unsigned i = 0; i < list->n; i++) {
        uint32_t n = of(&list->results[i]);
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    if (least < most)
        printf("%u to ", least);
    printf("%u", most);
}

/* A speed means little without them, and a small context makes the defaults shorter. */
static void print_lengths(const struct ruvm_bench_list *list)
{
    printf("\nlengths: prompts of ");
    print_range(list, prompt_of);
    printf(" tokens, ");
    print_range(list, generated_of);
    printf(" generated\n");
}

void ruvm_cmd_bench_table(const struct ruvm_bench_list *list, enum ruvm_table_style style)
{
    if (list->sweep) {
        if (list->sweep->is_mask)
            ruvm_cmd_bench_masks_print(list, style);
        else
            ruvm_cmd_bench_sweep_print(list, style);
        if (style != RUVM_TABLE_CSV && !list->no_speed)
            print_lengths(list);
        print_below(list, style, true);
        return;
    }
    /* two tables are no CSV: there the rows of the second hold everything */
    bool any = (style != RUVM_TABLE_CSV || list->no_speed) && print_comparison(list, style);
    if (!any || style != RUVM_TABLE_CSV)
        any = print_rows(list, style, any) || any;
    print_below(list, style, any);
}
