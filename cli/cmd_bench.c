/* bench: how fast, how large, how good, on this machine.
 *
 * Every value is a row with its tier: measured here and now, modelled by a
 * formula, or projected to another machine. This version only measures; the
 * column is there so that nobody has to guess when that changes.
 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

static const struct ruvm_args_option options[] = {
    {"prompt-tokens", 'p', RUVM_ARGS_COUNT, "N",
     .help = "length of the prompt; default: 128, or what the context allows", .min = 1,
     .max = 65535},
    {"tokens", 'n', RUVM_ARGS_COUNT, "N",
     .help = "tokens to generate; default: 128, or what the context allows", .min = 1,
     .max = 65535},
    {"repetitions", 'r', RUVM_ARGS_COUNT, "N", .help = "measurements of each speed",
     .fallback = "9", .min = 1, .max = 10000},
    {"ctx", 0, RUVM_ARGS_COUNT, "N", .help = "context in tokens; default: the image's", .min = 1,
     .max = 65535},
    {"block", 0, RUVM_ARGS_COUNT, "N", .help = "prompt tokens multiplied together", .fallback = "8",
     .min = 1, .max = 64},
    {"kernels", 0, RUVM_ARGS_KERNELS, "NAME",
     .help = "arithmetic to use; all: each in turn; default: the fastest that this machine has"},
    {"kernel-rates", 0, RUVM_ARGS_FLAG, .help = "measure each kernel's multiplications alone"},
    {"quality", 0, RUVM_ARGS_FILE, "FILE",
     .help = "float model to compare with, the one that was quantized"},
    {"eval", 0, RUVM_ARGS_FILE, "FILE",
     .help = "text for perplexity and quality; default: samples of the model itself"},
    {"documents", 0, RUVM_ARGS_FLAG, .help = "the text holds documents ended by lines <|end|>"},
    {"questions", 0, RUVM_ARGS_FILE, "FILE",
     .help = "JSON lines of prompt and answer; reports the share answered exactly"},
    {"eval-tokens", 0, RUVM_ARGS_COUNT, "N", .help = "positions to measure quality at",
     .fallback = "16384", .min = 1, .max = 1 << 24},
    {"seed", 0, RUVM_ARGS_SEED, "N", .help = "seed of the samples", .fallback = "1"},
    {"output", 'o', RUVM_ARGS_CHOICE, "FORM", .help = "form of the output", .fallback = "table",
     .choices = "table md csv json"},
    {"json", 0, RUVM_ARGS_FLAG, .help = "the same as -o json"},
    RUVM_ARGS_PROGRESS,
    RUVM_ARGS_HELP,
    {0},
};

/* All measurements of one call: models times kernels. */
struct list {
    struct ruvm_bench_result *results; /* owned */
    unsigned n, cap;
};

/* ---- measuring ----------------------------------------------------------- */

static struct ruvm_bench_options options_from(const struct ruvm_args *args)
{
    return (struct ruvm_bench_options){
        .prompt_tokens = ruvm_args_u32(args, "prompt-tokens"),
        .generate_tokens = ruvm_args_u32(args, "tokens"),
        .repetitions = ruvm_args_u32(args, "repetitions"),
        .context = ruvm_args_u32(args, "ctx"),
        .block = ruvm_args_u32(args, "block"),
        .quality = ruvm_args_input(args, "quality"),
        .eval_text = ruvm_args_input(args, "eval"),
        .eval_tokens = ruvm_args_u32(args, "eval-tokens"),
        .documents = ruvm_args_given(args, "documents"),
        .questions = ruvm_args_input(args, "questions"),
        .kernel_rates = ruvm_args_given(args, "kernel-rates"),
        .seed = ruvm_args_count(args, "seed"),
        .progress = ruvm_output_progress(ruvm_args_text(args, "progress")),
    };
}

static int measure(struct list *list, const struct ruvm_bench_options *o)
{
    struct ruvm_error err = {0};
    struct ruvm_bench_result *r = &list->results[list->n];
    if (ruvm_bench(o, r, &err) != RUVM_OK) {
        ruvm_bench_free(r);
        return ruvm_output_failure("bench", &err);
    }
    list->n++;
    return RUVM_EXIT_DONE;
}

/* With --kernels all one measurement a table; what does not depend on the kernels is
 * measured with the first only. */
static int measure_kernels(struct list *list, struct ruvm_bench_options o, const char *kernels)
{
    bool available;
    int rc = RUVM_EXIT_DONE;
    if (!kernels || strcmp(kernels, "all") != 0) {
        o.kernels = kernels;
        return measure(list, &o);
    }
    for (unsigned i = 0; rc == 0 && (o.kernels = ruvm_kernels_list(i, &available)); i++) {
        if (!available)
            continue;
        rc = measure(list, &o);
        o.kernel_rates = false;
        o.quality = o.eval_text = o.questions = NULL;
    }
    return rc;
}

static unsigned count_kernels(void)
{
    bool available;
    unsigned n = 0;
    while (ruvm_kernels_list(n, &available))
        n++;
    return n;
}

static int measure_models(struct list *list, const struct ruvm_args *args)
{
    struct ruvm_bench_options o = options_from(args);
    const char *kernels = ruvm_args_text(args, "kernels");
    unsigned n = ruvm_args_n_operands(args);
    int rc = RUVM_EXIT_DONE;
    n = n ? n : 1; /* without MODEL: the demo */
    list->cap = n * count_kernels();
    list->results = ruvm_output_alloc(list->cap, sizeof *list->results);
    for (unsigned i = 0; rc == RUVM_EXIT_DONE && i < n; i++) {
        o.model = ruvm_args_operand(args, i);
        rc = measure_kernels(list, o, kernels);
    }
    ruvm_output_progress_end();
    return rc;
}

/* ---- tables -------------------------------------------------------------- */

/* Rows begin with what was measured and on what. */
static void begin_row(struct ruvm_table *t, const struct ruvm_bench_result *r, const char *kernels,
                      const char *what)
{
    char *model = ruvm_output_visible(r->model, strlen(r->model));
    ruvm_table_cell(t, "%s", model);
    ruvm_table_cell(t, "%s", kernels);
    ruvm_table_cell(t, "%s", what);
    free(model);
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
    if (r->has_quality) {
        value_row(t, r, "perplexity", q->perplexity, q->n_positions, "");
        value_row(t, r, "perplexity of the float model", q->perplexity_float, q->n_positions, "");
        value_row(t, r, "KL mean", q->kl_mean, q->n_positions, "nats");
        value_row(t, r, "KL 99th percentile", q->kl_p99, q->n_positions, "nats");
        value_row(t, r, "top-1 agreement", 100 * q->top1, q->n_positions, "%");
        value_row(t, r, "top-5 agreement", 100 * q->top5, q->n_positions, "%");
    } else if (r->has_perplexity) {
        value_row(t, r, "perplexity", r->perplexity, r->perplexity_positions, "");
    }
    if (r->has_exact_match)
        value_row(t, r, "exact answers", 100 * r->exact_match, r->n_questions, "%");
}

static void kernel_rows(struct ruvm_table *t, const struct ruvm_bench_result *r)
{
    char what[48];
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        const struct ruvm_bench_kernel *k = &r->kernel_list[i];
        snprintf(what, sizeof what, "multiply %u x %u", k->rows, k->cols);
        spread_row(t, r, k->kernels, what, &k->gmac_per_s, "GMAC/s");
        spread_row(t, r, k->kernels, what, &k->gb_per_s, "GB/s");
    }
}

static void result_rows(struct ruvm_table *t, const struct ruvm_bench_result *r)
{
    char what[48];
    snprintf(what, sizeof what, "prompt of %u", r->prompt_tokens);
    spread_row(t, r, r->kernels, what, &r->prompt_tokens_per_s, "tokens/s");
    snprintf(what, sizeof what, "generate %u", r->generate_tokens);
    spread_row(t, r, r->kernels, what, &r->decode_tokens_per_s, "tokens/s");
    bytes_row(t, r, "image", r->image_bytes);
    bytes_row(t, r, "engine memory", r->engine_bytes);
    bytes_row(t, r, "peak memory of the process", r->peak_rss_bytes);
    quality_rows(t, r);
    kernel_rows(t, r);
}

static void print_table(const struct list *list, enum ruvm_table_style style)
{
    static const char *const heads[] = {"model", "kernels", "what", "median", "min",
                                        "max",   "n",       "unit", "tier",   "machine"};
    struct ruvm_table t = {.heads = heads, .align = "lllrrrrlll", .n_cols = 9};
    t.n_cols += style == RUVM_TABLE_CSV;
    for (unsigned i = 0; i < list->n; i++)
        result_rows(&t, &list->results[i]);
    ruvm_table_print(&t, style);
    ruvm_table_free(&t);
    if (style != RUVM_TABLE_CSV)
        printf("\nmachine: %s\n", list->results[0].machine);
}

/* ---- JSON ---------------------------------------------------------------- */

static void add_spread(struct cJSON *object, const char *key, const struct ruvm_spread *s)
{
    char name[64];
    ruvm_json_number(object, key, s->median);
    snprintf(name, sizeof name, "%s_min", key);
    ruvm_json_number(object, name, s->min);
    snprintf(name, sizeof name, "%s_max", key);
    ruvm_json_number(object, name, s->max);
    snprintf(name, sizeof name, "%s_n", key);
    ruvm_json_count(object, name, s->n);
}

static void add_quality(struct cJSON *object, const struct ruvm_bench_result *r)
{
    if (r->has_quality) {
        ruvm_json_quality(object, &r->quality);
    } else if (r->has_perplexity) {
        ruvm_json_number(object, "perplexity", r->perplexity);
        ruvm_json_count(object, "perplexity_positions", r->perplexity_positions);
    }
    if (r->has_exact_match) {
        ruvm_json_number(object, "exact_match", r->exact_match);
        ruvm_json_count(object, "questions", r->n_questions);
    }
}

static void add_tiers(struct cJSON *object, const struct ruvm_bench_result *r)
{
    static const char *const always[] = {"prompt_tokens_per_s", "decode_tokens_per_s",
                                         "image_bytes", "engine_bytes", "peak_rss_bytes"};
    static const char *const quality[] = {"kl_mean",          "kl_p99", "perplexity",
                                          "perplexity_float", "top1",   "top5"};
    struct cJSON *tiers = ruvm_json_object(object, "tiers");
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        ruvm_json_text(tiers, always[i], "measured");
    for (size_t i = 0; r->has_quality && i < sizeof quality / sizeof *quality; i++)
        ruvm_json_text(tiers, quality[i], "measured");
    if (!r->has_quality && r->has_perplexity)
        ruvm_json_text(tiers, "perplexity", "measured");
    if (r->has_exact_match)
        ruvm_json_text(tiers, "exact_match", "measured");
    if (r->n_kernels)
        ruvm_json_text(tiers, "kernel_rates", "measured");
}

static void add_kernels(struct cJSON *object, const struct ruvm_bench_result *r)
{
    if (!r->n_kernels)
        return;
    struct cJSON *rates = ruvm_json_array(object, "kernel_rates");
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        const struct ruvm_bench_kernel *k = &r->kernel_list[i];
        struct cJSON *x = ruvm_json_object(rates, NULL);
        ruvm_json_text(x, "kernels", k->kernels);
        ruvm_json_count(x, "rows", k->rows);
        ruvm_json_count(x, "cols", k->cols);
        add_spread(x, "gmac_per_s", &k->gmac_per_s);
        add_spread(x, "gb_per_s", &k->gb_per_s);
    }
}

static void add_result(struct cJSON *object, const struct ruvm_bench_result *r)
{
    ruvm_json_text(object, "model", r->model);
    ruvm_json_text(object, "kernels", r->kernels);
    ruvm_json_count(object, "image_bytes", r->image_bytes);
    ruvm_json_count(object, "engine_bytes", r->engine_bytes);
    ruvm_json_count(object, "peak_rss_bytes", r->peak_rss_bytes);
    ruvm_json_count(object, "prompt_tokens", r->prompt_tokens);
    ruvm_json_count(object, "generate_tokens", r->generate_tokens);
    add_spread(object, "prompt_tokens_per_s", &r->prompt_tokens_per_s);
    add_spread(object, "decode_tokens_per_s", &r->decode_tokens_per_s);
    add_quality(object, r);
    add_kernels(object, r);
    add_tiers(object, r);
}

/* A single result stands at the top level too, so that `jq .kl_mean` just works. */
static void print_json(const struct list *list)
{
    struct cJSON *object = ruvm_json_start("bench");
    ruvm_json_text(object, "machine", list->results[0].machine);
    if (list->n == 1)
        add_result(object, &list->results[0]);
    struct cJSON *models = ruvm_json_array(object, "models");
    for (unsigned i = 0; i < list->n; i++)
        add_result(ruvm_json_object(models, NULL), &list->results[i]);
    ruvm_json_finish(object);
}

static void print_list(const struct ruvm_args *args, const struct list *list)
{
    const char *form = ruvm_args_text(args, "output");
    if (ruvm_args_given(args, "json") || strcmp(form, "json") == 0)
        print_json(list);
    else if (strcmp(form, "csv") == 0)
        print_table(list, RUVM_TABLE_CSV);
    else
        print_table(list, strcmp(form, "md") == 0 ? RUVM_TABLE_MARKDOWN : RUVM_TABLE_TEXT);
}

static int run(const struct ruvm_args *args)
{
    struct list list = {0};
    if (ruvm_args_given(args, "documents") && !ruvm_args_given(args, "eval"))
        return ruvm_args_usage(args, "--documents needs --eval FILE");
    int rc = measure_models(&list, args);
    if (rc == RUVM_EXIT_DONE)
        print_list(args, &list);
    for (unsigned i = 0; i < list.n; i++)
        ruvm_bench_free(&list.results[i]);
    free(list.results);
    return rc;
}

const struct ruvm_args_command ruvm_cmd_bench = {
    .name = "bench",
    .summary = "Measure speed, memory and quality; without MODEL, the demo model.",
    .usage = "[MODEL ...] [OPTION ...]",
    .examples =
        "  ruvm bench\n"
        "  ruvm bench stories.ruvm --kernels all -o md\n"
        "  ruvm bench stories.ruvm --quality stories.bin --json\n",
    .options = options,
    .max_operands = 64,
    .run = run,
};
