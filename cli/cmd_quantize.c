/* quantize: a foreign model in, a RUVM image and its measured loss out. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct ruvm_args_option options[] = {
    {"output", 'o', RUVM_ARGS_FILE, "OUT", .help = "image to write; - is standard output"},
    {"type", 't', RUVM_ARGS_CHOICE, "TYPE", .help = "type of the weights", .fallback = "int8",
     .choices = "int8"},
    {"tokenizer", 0, RUVM_ARGS_FILE, "FILE",
     .help = "tokenizer to put into the image; llama2.c's tokenizer.bin"},
    {"eval", 0, RUVM_ARGS_FILE, "FILE",
     .help = "measure the quality on this text; without it on samples of the model itself"},
    {"eval-tokens", 0, RUVM_ARGS_COUNT, "N", .help = "positions to measure the quality at",
     .fallback = "16384", .min = 1, .max = 1 << 24},
    {"ctx", 0, RUVM_ARGS_COUNT, "N", .help = "context of the image in tokens; default: the model's",
     .min = 1, .max = 65535},
    {"name", 0, RUVM_ARGS_TEXT, "TEXT", .help = "name of the model, kept in the image"},
    {"v0-scale", 0, RUVM_ARGS_NUMBER, "X",
     .help = "real value of one step of the weights; needed by RUVM v0 files, which do not say it",
     .min = 1e-9, .max = 1e9},
    {"seed", 0, RUVM_ARGS_SEED, "N", .help = "seed of the samples for calibration and measurement",
     .fallback = "1"},
    {"report", 0, RUVM_ARGS_FLAG,
     .help = "add the table of tensors and two continuations side by side"},
    {"no-quality", 0, RUVM_ARGS_FLAG, .help = "skip the measurement of quality"},
    {"dry-run", 0, RUVM_ARGS_FLAG, .help = "sizes only; nothing is written or measured"},
    RUVM_ARGS_JSON,
    {"quiet", 'q', RUVM_ARGS_FLAG, .help = "print nothing but errors"},
    RUVM_ARGS_PROGRESS,
    RUVM_ARGS_HELP,
    {0},
};

/* ---- options to the library's -------------------------------------------- */

static bool same_file(const char *a, const char *b)
{
    struct stat sa, sb;
    return a && b && stat(a, &sa) == 0 && stat(b, &sb) == 0 && S_ISREG(sa.st_mode) &&
           sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* What surely cannot be written is said before minutes of work, not after. */
static int check_place(const char *output)
{
    struct stat st;
    if (stat(output, &st) == 0 && S_ISDIR(st.st_mode)) {
        ruvm_output_error("quantize", "%s: is a directory; name a file in it", output);
        return RUVM_EXIT_FAILED;
    }
    if (stat(output, &st) == 0)
        return RUVM_EXIT_DONE;
    const char *slash = strrchr(output, '/');
    size_t n = slash ? (size_t)(slash - output) + 1 : 0;
    char *folder = ruvm_output_alloc(n + 2, 1);
    memcpy(folder, n ? output : ".", n ? n : 1);
    int rc = RUVM_EXIT_DONE;
    if (access(folder, W_OK) != 0) {
        ruvm_output_error("quantize", "%s: cannot create: %s: %s", output, folder, strerror(errno));
        rc = RUVM_EXIT_FAILED;
    }
    free(folder);
    return rc;
}

/* An image must never replace what it is made from. */
static int check_output(const struct ruvm_args *args, const struct ruvm_quantize_options *o)
{
    if (!o->output && !o->dry_run)
        return ruvm_args_usage(args, "-o OUT is missing (or --dry-run to see sizes only)");
    if (!o->output)
        return 0;
    if (strcmp(o->output, "-") == 0)
        return isatty(STDOUT_FILENO)
                   ? ruvm_args_usage(args, "-o -: an image is not written to a terminal")
                   : 0;
    const char *inputs[] = {o->input, o->tokenizer, o->eval_text};
    for (unsigned i = 0; i < 3; i++)
        if (same_file(inputs[i], o->output))
            return ruvm_args_usage(args, "%s would be overwritten: choose another OUT", inputs[i]);
    return check_place(o->output);
}

static struct ruvm_quantize_options options_from(const struct ruvm_args *args)
{
    bool silent = ruvm_args_given(args, "quiet") && !ruvm_args_given(args, "progress");
    return (struct ruvm_quantize_options){
        .input = ruvm_args_operand(args, 0),
        .output = ruvm_args_text(args, "output"),
        .tokenizer = ruvm_args_input(args, "tokenizer"),
        .type = ruvm_args_text(args, "type"),
        .eval_text = ruvm_args_input(args, "eval"),
        .eval_tokens = ruvm_args_u32(args, "eval-tokens"),
        .context = ruvm_args_u32(args, "ctx"),
        .v0_scale = ruvm_args_number(args, "v0-scale"),
        .name = ruvm_args_text(args, "name"),
        .no_quality = ruvm_args_given(args, "no-quality"),
        .dry_run = ruvm_args_given(args, "dry-run"),
        .seed = ruvm_args_count(args, "seed"),
        .progress = ruvm_output_progress(silent ? "none" : ruvm_args_text(args, "progress")),
    };
}

/* What the written image asks of a chip; 0 when there is no file to ask. */
static size_t engine_bytes_of(const struct ruvm_quantize_options *o)
{
    struct ruvm_file file;
    size_t bytes = 0;
    if (o->dry_run || !o->output || strcmp(o->output, "-") == 0)
        return 0;
    if (ruvm_file_open(&file, o->output, NULL) != RUVM_OK)
        return 0;
    if (ruvm_engine_bytes(file.data, file.size, NULL, &bytes) != RUVM_OK)
        bytes = 0;
    ruvm_file_close(&file);
    return bytes;
}

/* ---- people -------------------------------------------------------------- */

static void print_tensors(const struct ruvm_quantize_result *r)
{
    static const char *const heads[] = {"tensor",      "shape",  "source",    "bytes",
                                        "bits/weight", "SNR dB", "worst row", "its SNR dB"};
    struct ruvm_table t = {.heads = heads, .align = "lrrrrrrr", .n_cols = 8};
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_quantize_tensor *x = &r->tensors[i];
        ruvm_table_cell(&t, "%s", x->name);
        ruvm_table_cell(&t, "%u x %u", x->rows, x->cols);
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(x->source_bytes));
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(x->bytes));
        ruvm_table_cell(&t, "%.3f", x->bits_per_weight);
        ruvm_table_cell(&t, "%.1f", x->snr_db);
        ruvm_table_cell(&t, "%u", x->worst_row);
        ruvm_table_cell(&t, "%.1f", x->worst_row_snr_db);
    }
    putchar('\n');
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    ruvm_table_free(&t);
}

static void print_quality(const struct ruvm_quality *q)
{
    char *source = ruvm_output_visible(q->text_source, strlen(q->text_source));
    printf("\nQuality against the float model, measured at %s positions of: %s\n",
           ruvm_output_grouped(q->n_positions), source);
    printf("  perplexity  %.5g, float %.5g (%+.3f %%)\n", q->perplexity, q->perplexity_float,
           100 * (q->perplexity / q->perplexity_float - 1));
    printf("  KL          mean %.5f nats, 99th percentile %.5f\n", q->kl_mean, q->kl_p99);
    printf("  agreement   top-1 %.2f %%, top-5 %.2f %%\n", 100 * q->top1, 100 * q->top5);
    free(source);
}

static void print_samples(const struct ruvm_quantize_result *r)
{
    if (!*r->sample_float && !*r->sample_image)
        return;
    char *from_float = ruvm_output_visible(r->sample_float, strlen(r->sample_float));
    char *from_image = ruvm_output_visible(r->sample_image, strlen(r->sample_image));
    printf("\nGreedy continuations (%s):\n  float  %s\n  image  %s\n",
           strcmp(from_float, from_image) == 0 ? "equal" : "they differ", from_float, from_image);
    free(from_float);
    free(from_image);
}

static void print_summary(const struct ruvm_quantize_options *o,
                          const struct ruvm_quantize_result *r, size_t engine_bytes)
{
    printf("%s (%s)%s%s\n", o->input, r->source_format, o->dry_run ? "" : " -> ",
           o->dry_run ? ", nothing written" : o->output);
    printf("  parameters  %s\n", ruvm_output_grouped(r->parameters));
    printf("  size        %s -> %s bytes, %.2f times smaller, %.3f bits per weight\n",
           ruvm_output_grouped(r->source_bytes), ruvm_output_grouped(r->image_bytes),
           (double)r->source_bytes / (double)r->image_bytes, r->bits_per_weight);
    if (engine_bytes)
        printf("  engine      %s bytes of memory besides the image\n",
               ruvm_output_grouped(engine_bytes));
    if (r->n_golden_tokens && !o->dry_run)
        printf("  golden      %u tokens stored; check with: ruvm run --verify %s\n",
               r->n_golden_tokens, o->output ? o->output : "OUT");
}

static void print_human(const struct ruvm_args *args, const struct ruvm_quantize_options *o,
                        const struct ruvm_quantize_result *r)
{
    bool report = ruvm_args_given(args, "report");
    print_summary(o, r, engine_bytes_of(o));
    if (report)
        print_tensors(r);
    if (r->has_quality)
        print_quality(&r->quality);
    if (report)
        print_samples(r);
}

/* ---- programs ------------------------------------------------------------ */

static void add_tensors(struct cJSON *object, const struct ruvm_quantize_result *r)
{
    struct cJSON *list = ruvm_json_array(object, "tensors");
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_quantize_tensor *x = &r->tensors[i];
        struct cJSON *t = ruvm_json_object(list, NULL);
        ruvm_json_text(t, "name", x->name);
        ruvm_json_count(t, "rows", x->rows);
        ruvm_json_count(t, "cols", x->cols);
        ruvm_json_count(t, "source_bytes", x->source_bytes);
        ruvm_json_count(t, "bytes", x->bytes);
        ruvm_json_number(t, "bits_per_weight", x->bits_per_weight);
        ruvm_json_number(t, "snr_db", x->snr_db);
        ruvm_json_count(t, "worst_row", x->worst_row);
        ruvm_json_number(t, "worst_row_snr_db", x->worst_row_snr_db);
    }
}

static void print_json(const struct ruvm_quantize_options *o, const struct ruvm_quantize_result *r)
{
    struct cJSON *object = ruvm_json_start("quantize");
    ruvm_json_text(object, "input", o->input);
    if (!o->dry_run)
        ruvm_json_text(object, "output", o->output);
    ruvm_json_text(object, "source_format", r->source_format);
    ruvm_json_text(object, "type", o->type);
    ruvm_json_count(object, "parameters", r->parameters);
    ruvm_json_count(object, "source_bytes", r->source_bytes);
    ruvm_json_count(object, "image_bytes", r->image_bytes);
    ruvm_json_number(object, "bits_per_weight", r->bits_per_weight);
    ruvm_json_count(object, "golden_tokens", r->n_golden_tokens);
    size_t engine_bytes = engine_bytes_of(o);
    if (engine_bytes)
        ruvm_json_count(object, "engine_bytes", engine_bytes);
    ruvm_json_count(object, "peak_rss_bytes", ruvm_output_peak_rss_bytes());
    if (r->has_quality) {
        ruvm_json_quality(object, &r->quality);
        ruvm_json_text(object, "sample_float", r->sample_float);
        ruvm_json_text(object, "sample_image", r->sample_image);
    }
    ruvm_json_text(object, "tier", "measured");
    add_tensors(object, r);
    ruvm_json_finish(object);
}

/* With -o - standard output is the image's, and what we say goes to standard error. */
static void leave_stdout_to_the_image(const struct ruvm_quantize_options *o)
{
    if (o->output && !o->dry_run && strcmp(o->output, "-") == 0) {
        fflush(stdout);
        dup2(STDERR_FILENO, STDOUT_FILENO);
    }
}

static int run(const struct ruvm_args *args)
{
    struct ruvm_error err = {0};
    struct ruvm_quantize_result result = {0};
    struct ruvm_quantize_options o = options_from(args);
    int rc = check_output(args, &o);
    if (rc)
        return rc;
    rc = ruvm_quantize(&o, &result, &err);
    ruvm_output_progress_end();
    leave_stdout_to_the_image(&o);
    if (rc != RUVM_OK)
        rc = ruvm_output_failure("quantize", &err);
    else if (ruvm_args_given(args, "json"))
        print_json(&o, &result);
    else if (!ruvm_args_given(args, "quiet"))
        print_human(args, &o, &result);
    ruvm_quantize_free(&result);
    return rc;
}

const struct ruvm_args_command ruvm_cmd_quantize = {
    .name = "quantize",
    .summary = "Turn a model into a RUVM image and measure what is lost.",
    .usage = "IN -o OUT [OPTION ...]",
    .examples =
        "  ruvm quantize stories.bin -o stories.ruvm --tokenizer tokenizer.bin\n"
        "  ruvm quantize stories.bin -o stories.ruvm --eval text.txt --report\n"
        "  ruvm quantize stories.bin --dry-run\n",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
