/* run, inspect and bench of a classifier: rows of numbers in, classes out. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cmd_classifier.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN_OUTPUTS = 16 /* more are in --json */ };

/* ---- options ------------------------------------------------------------------------ */

int ruvm_cmd_classifier_refuse(const struct ruvm_args *args, const char *const *names)
{
    for (; *names; names++)
        if (ruvm_args_given(args, *names))
            return ruvm_args_usage(args, "--%s means nothing to a classifier, which this is",
                                   *names);
    return RUVM_EXIT_DONE;
}

/* A file that cannot be opened is neither: who opens it next says so. */
int ruvm_cmd_classifier_only(const struct ruvm_args *args, const char *const *names)
{
    const char *model = ruvm_args_operand(args, 0);
    bool is_unknown = model && access(model, R_OK) != 0;
    for (; *names && !is_unknown; names++)
        if (ruvm_args_given(args, *names))
            return ruvm_args_usage(args, "--%s is for classifiers, but this is none", *names);
    return RUVM_EXIT_DONE;
}

/* ---- layers ---------------------------------------------------------------------------- */

void ruvm_cmd_classifier_layers(const struct ruvm_classifier_info *info, bool snr)
{
    static const char *const heads[] = {
        "layer", "type", "outputs x inputs", "activation", "bytes", "bits/weight", "SNR dB"};
    struct ruvm_table t = {.heads = heads, .align = "llrlrrr", .n_cols = snr ? 7 : 6};
    for (unsigned i = 0; i < info->n_layers; i++) {
        const struct ruvm_classifier_layer *y = &info->layers[i];
        ruvm_table_cell(&t, "%s", y->name);
        ruvm_table_cell(&t, "%s", y->type);
        ruvm_table_cell(&t, "%u x %u", y->rows, y->cols);
        ruvm_table_cell(&t, "%s", y->activation);
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(y->bytes));
        ruvm_table_cell(&t, "%.3f", y->bits_per_weight);
        if (snr)
            ruvm_table_cell(&t, "%.1f", y->snr_db);
    }
    putchar('\n');
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    ruvm_table_free(&t);
}

void ruvm_cmd_classifier_json(struct cJSON *object, const struct ruvm_classifier_info *info,
                              bool snr)
{
    ruvm_json_text(object, "name", info->name);
    ruvm_json_text(object, "kind", "classifier");
    ruvm_json_count(object, "n_inputs", info->n_inputs);
    ruvm_json_count(object, "n_outputs", info->n_outputs);
    ruvm_json_count(object, "n_classes", info->n_classes);
    ruvm_json_text(object, "outputs", info->output);
    ruvm_json_bool(object, "has_labels", info->has_labels);
    ruvm_json_count(object, "n_weights", info->n_weights);
    ruvm_json_count(object, "image_bytes", info->image_bytes);
    ruvm_json_count(object, "memory_bytes", info->memory_bytes);
    ruvm_json_count(object, "image_crc32", info->image_crc32);
    struct cJSON *list = ruvm_json_array(object, "layers");
    for (unsigned i = 0; i < info->n_layers; i++) {
        const struct ruvm_classifier_layer *y = &info->layers[i];
        struct cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_text(x, "name", y->name);
        ruvm_json_text(x, "type", y->type);
        ruvm_json_count(x, "n_outputs", y->rows);
        ruvm_json_count(x, "n_inputs", y->cols);
        ruvm_json_text(x, "activation", y->activation);
        ruvm_json_count(x, "bytes", y->bytes);
        ruvm_json_number(x, "bits_per_weight", y->bits_per_weight);
        if (snr)
            ruvm_json_number(x, "snr_db", y->snr_db);
    }
}

static void print_network(const struct ruvm_classifier_info *info)
{
    if (info->name[0]) {
        char *visible = ruvm_output_visible(info->name, strlen(info->name));
        printf("  name        %s\n", visible);
        free(visible);
    }
    printf("  network     %u inputs, %u layers, %u outputs (%s), %s\n", info->n_inputs,
           info->n_layers, info->n_outputs, info->output,
           info->has_labels ? "names of classes" : "no names of classes");
    printf("  weights     %s, a product each for every run\n",
           ruvm_output_grouped(info->n_weights));
    printf("  memory      %s bytes besides the image\n", ruvm_output_grouped(info->memory_bytes));
}

/* ---- run -------------------------------------------------------------------------------- */

struct run {
    struct cJSON *rows; /* --json, or NULL */
    bool has_head;
};

static bool is_probability(const struct ruvm_classifier_info *info)
{
    return strcmp(info->output, "logits") != 0;
}

/* The name of a class, or "class N". */
static void print_class(const struct ruvm_mlp *mlp, uint32_t i)
{
    size_t n;
    const char *label = ruvm_mlp_label(mlp, i, &n);
    char *visible = label ? ruvm_output_visible(label, n) : NULL;
    if (visible)
        printf("%s", visible);
    else
        printf("class %u", i);
    free(visible);
}

/* Columns with tabs between: rows, classes, then an output each. One output is that of "yes". */
static void print_head(const struct ruvm_classifier_info *info, const struct ruvm_mlp *mlp)
{
    bool one = info->n_outputs == 1;
    printf("row\tclass");
    for (uint32_t i = 0; i < info->n_outputs && info->n_outputs <= SHOWN_OUTPUTS; i++) {
        putchar('\t');
        print_class(mlp, one ? 1 : i);
    }
    puts(info->n_outputs > SHOWN_OUTPUTS ? (is_probability(info) ? "\tprobability" : "\tlogit")
                                         : "");
}

static void print_output(const struct ruvm_classifier_info *info,
                         const struct ruvm_classifier_row *row, uint32_t i)
{
    if (is_probability(info))
        printf("\t%.4f", row->p[i] / 32768.0);
    else
        printf("\t%.4f", row->logits[i] / 65536.0);
}

static void print_row(const struct ruvm_classifier_info *info,
                      const struct ruvm_classifier_row *row)
{
    printf("%u\t", row->row + 1);
    print_class(row->mlp, row->best);
    if (info->n_outputs > SHOWN_OUTPUTS)
        print_output(info, row, row->best);
    for (uint32_t i = 0; i < info->n_outputs && info->n_outputs <= SHOWN_OUTPUTS; i++)
        print_output(info, row, i);
    putchar('\n');
}

static void add_row(struct cJSON *list, const struct ruvm_classifier_info *info,
                    const struct ruvm_classifier_row *row)
{
    struct cJSON *x = ruvm_json_object(list, NULL);
    ruvm_json_count(x, "row", row->row + 1);
    ruvm_json_count(x, "class", row->best);
    if (row->label)
        ruvm_json_text(x, "label", row->label);
    if (row->truth >= 0)
        ruvm_json_count(x, "truth", (uint64_t)row->truth);
    if (row->n_clipped)
        ruvm_json_count(x, "n_clipped", row->n_clipped);
    struct cJSON *p = ruvm_json_array(x, "probabilities");
    struct cJSON *logits = ruvm_json_array(x, "logits");
    for (uint32_t i = 0; i < info->n_outputs; i++) {
        ruvm_json_number(p, NULL, row->p[i] / 32768.0);
        ruvm_json_number(logits, NULL, row->logits[i] / 65536.0);
    }
}

static int on_row(void *user, const struct ruvm_classifier_info *info,
                  const struct ruvm_classifier_row *row)
{
    struct run *r = user;
    if (r->rows) {
        add_row(r->rows, info, row);
    } else {
        if (!r->has_head)
            print_head(info, row->mlp);
        r->has_head = true;
        print_row(info, row);
    }
    return ruvm_output_signal() || ferror(stdout);
}

static void print_summary(const struct ruvm_classifier_run_result *r)
{
    fputs(ruvm_output_many(r->n_rows, "row"), stderr);
    if (r->has_classes)
        fprintf(stderr, ", %s of them right (%.2f %%)", ruvm_output_grouped(r->n_right),
                100.0 * r->n_right / r->n_rows);
    fprintf(stderr, "; logits CRC-32 %08x; %s, %.3g ms measured\n", r->logits_crc32, r->kernels,
            r->seconds * 1e3);
    if (r->n_clipped)
        fprintf(stderr, "%s values were beyond four times their range, and clipped\n",
                ruvm_output_grouped(r->n_clipped));
}

static void finish_json(struct cJSON *object, const struct ruvm_classifier_run_result *r)
{
    ruvm_cmd_classifier_json(object, &r->info, false);
    ruvm_json_text(object, "kernels", r->kernels);
    ruvm_json_count(object, "n_rows", r->n_rows);
    if (r->has_classes) {
        ruvm_json_count(object, "n_right", r->n_right);
        ruvm_json_number(object, "accuracy", (double)r->n_right / r->n_rows);
    }
    ruvm_json_count(object, "n_clipped", r->n_clipped);
    ruvm_json_count(object, "logits_crc32", r->logits_crc32);
    ruvm_json_number(object, "seconds", r->seconds);
    ruvm_json_text(object, "seconds_is", "measured");
    ruvm_json_finish(object);
}

static const char *const not_for_run[] = {
    "prompt",       "file",           "prompts",     "batch",
    "tokens",       "temp",           "top-k",       "top-p",
    "min-p",        "repeat-penalty", "repeat-last", "seed",
    "stop",         "ignore-end",     "ctx",         "block",
    "threads",      "mask",           "draft",       "draft-tokens",
    "prompt-cache", "interactive",    "chat",        "system",
    "in-prefix",    "in-suffix",      "tokenize",    "ids",
    "no-prompt",    "verify",         "rag",         "rag-only",
    "rag-results",  "rag-floor",      "rag-form",    NULL};

int ruvm_cmd_classifier_run(const struct ruvm_args *args)
{
    static struct ruvm_classifier_run_result result;
    struct ruvm_error err = {0};
    struct run r = {0};
    const struct ruvm_classifier_run_options o = {.model = ruvm_args_operand(args, 0),
                                                  .input = ruvm_args_input(args, "input"),
                                                  .kernels = ruvm_args_text(args, "kernels"),
                                                  .row = on_row,
                                                  .user = &r};
    int rc = ruvm_cmd_classifier_refuse(args, not_for_run);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    if (!o.input)
        return ruvm_args_usage(args,
                               "a classifier needs --input FILE: rows of numbers, as CSV or "
                               ".npy; - is standard input");
    struct cJSON *object = ruvm_args_given(args, "json") ? ruvm_json_start("run-classifier") : NULL;
    r.rows = object ? ruvm_json_array(object, "rows") : NULL;
    rc = ruvm_classifier_run(&o, &result, &err);
    if (rc != RUVM_OK) {
        ruvm_json_free(object);
        return ruvm_output_failure("run", &err);
    }
    ruvm_output_flush();
    if (object)
        finish_json(object, &result);
    else if (!ruvm_args_given(args, "quiet"))
        print_summary(&result);
    return ruvm_output_signal() ? 128 + ruvm_output_signal() : RUVM_EXIT_DONE;
}

/* ---- inspect ------------------------------------------------------------------------------ */

int ruvm_cmd_classifier_inspect(const struct ruvm_args *args)
{
    static const char *const not_here[] = {"ctx", "tensor", "hist", NULL};
    static struct ruvm_classifier_info info;
    struct ruvm_error err = {0};
    const char *path = ruvm_args_operand(args, 0);
    int rc = ruvm_cmd_classifier_refuse(args, not_here);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    if (ruvm_classifier_describe(&info, path, &err) != RUVM_OK)
        return ruvm_output_failure("inspect", &err);
    if (ruvm_args_given(args, "json")) {
        struct cJSON *object = ruvm_json_start("inspect-classifier");
        ruvm_json_text(object, "file", path);
        ruvm_cmd_classifier_json(object, &info, false);
        ruvm_json_finish(object);
        return RUVM_EXIT_DONE;
    }
    printf("%s: RUVM v1 image of a classifier, %s bytes, CRC-32 %08x\n", path,
           ruvm_output_grouped(info.image_bytes), info.image_crc32);
    print_network(&info);
    if (!ruvm_args_given(args, "no-tensors"))
        ruvm_cmd_classifier_layers(&info, false);
    return RUVM_EXIT_DONE;
}

/* ---- bench -------------------------------------------------------------------------------- */

struct bench {
    struct ruvm_table table;
    struct cJSON *list; /* --json, or NULL */
};

static void add_spread(struct cJSON *parent, const char *key, const struct ruvm_spread *s)
{
    struct cJSON *x = ruvm_json_object(parent, key);
    ruvm_json_number(x, "median", s->median);
    ruvm_json_number(x, "min", s->min);
    ruvm_json_number(x, "max", s->max);
    ruvm_json_count(x, "n", s->n);
}

static void show_bench(struct bench *b, const char *path,
                       const struct ruvm_classifier_bench_result *r)
{
    if (b->list) {
        struct cJSON *x = ruvm_json_object(b->list, NULL);
        ruvm_json_text(x, "model", path);
        ruvm_json_count(x, "n_weights", r->info.n_weights);
        ruvm_json_count(x, "image_bytes", r->info.image_bytes);
        ruvm_json_count(x, "memory_bytes", r->info.memory_bytes);
        ruvm_json_text(x, "kernels", r->kernels);
        ruvm_json_text(x, "machine", r->machine);
        ruvm_json_text(x, "speed_is", "measured");
        add_spread(x, "runs_per_s", &r->runs_per_s);
        add_spread(x, "gmac_per_s", &r->gmac_per_s);
        return;
    }
    ruvm_table_cell(&b->table, "%s", path);
    ruvm_table_cell(&b->table, "%s", r->kernels);
    ruvm_table_cell(&b->table, "%llu", (unsigned long long)r->info.image_bytes);
    ruvm_table_cell(&b->table, "%llu", (unsigned long long)r->info.memory_bytes);
    ruvm_table_cell(&b->table, "%llu", (unsigned long long)r->info.n_weights);
    ruvm_table_cell(&b->table, "%.0f", r->runs_per_s.median);
    ruvm_table_cell(&b->table, "%.0f .. %.0f", r->runs_per_s.min, r->runs_per_s.max);
    ruvm_table_cell(&b->table, "%.3g", r->gmac_per_s.median);
    ruvm_table_cell(&b->table, "measured");
}

static enum ruvm_table_style style_of(const char *form)
{
    return strcmp(form, "csv") == 0  ? RUVM_TABLE_CSV
           : strcmp(form, "md") == 0 ? RUVM_TABLE_MARKDOWN
                                     : RUVM_TABLE_TEXT;
}

static int bench_all(struct bench *b, const struct ruvm_args *args)
{
    static struct ruvm_classifier_bench_result r;
    for (unsigned i = 0; i < ruvm_args_n_operands(args); i++) {
        struct ruvm_error err = {0};
        const struct ruvm_classifier_bench_options o = {.model = ruvm_args_operand(args, i),
                                                        .kernels = ruvm_args_text(args, "kernels"),
                                                        .repetitions =
                                                            ruvm_args_u32(args, "repetitions")};
        if (ruvm_classifier_bench(&o, &r, &err) != RUVM_OK)
            return ruvm_output_failure("bench", &err);
        show_bench(b, o.model, &r);
    }
    return RUVM_EXIT_DONE;
}

static const char *const not_for_bench[] = {
    "prompt-tokens", "tokens",  "ctx",      "block",   "batch",   "threads",   "mask",
    "kernel-rates",  "profile", "no-speed", "quality", "eval",    "documents", "questions",
    "eval-tokens",   "seed",    "sweep",    "plot",    "compare", "fail-if",   NULL};

int ruvm_cmd_classifier_bench(const struct ruvm_args *args)
{
    static const char *const heads[] = {"model",  "kernels",    "bytes",  "memory", "products",
                                        "runs/s", "min .. max", "GMAC/s", "is"};
    struct bench b = {.table = {.heads = heads, .align = "llrrrrrrl", .n_cols = 9}};
    const char *form = ruvm_args_text(args, "output");
    int rc = ruvm_cmd_classifier_refuse(args, not_for_bench);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    bool json = ruvm_args_given(args, "json") || strcmp(form, "json") == 0;
    struct cJSON *object = json ? ruvm_json_start("bench-classifier") : NULL;
    b.list = json ? ruvm_json_array(object, "models") : NULL;
    rc = bench_all(&b, args);
    if (json && rc == RUVM_EXIT_DONE)
        ruvm_json_finish(object);
    else if (json)
        ruvm_json_free(object);
    else if (b.table.n_cells)
        ruvm_table_print(&b.table, style_of(form));
    ruvm_table_free(&b.table);
    return rc;
}
