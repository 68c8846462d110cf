/* bench: how fast, how large, how good, on this machine.
 *
 * Every value is a row with its tier: measured here and now, modelled by a
 * formula, or projected to another machine. This version only measures; the
 * column is there so that nobody has to guess when that changes.
 *
 * A model that cannot be measured does not take the others' results with it: they are
 * printed, and the exit code tells.
 */
#include "cli/cmd_bench.h"

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
    {"block", 0, RUVM_ARGS_COUNT, "N", .help = "prompt tokens multiplied together",
     .fallback = "32", .min = 1, .max = 64},
    {"kernels", 0, RUVM_ARGS_KERNELS, "NAME",
     .help = "arithmetic to use; all: each in turn; default: the fastest that this machine has"},
    {"kernel-rates", 0, RUVM_ARGS_FLAG, .help = "measure each kernel's multiplications alone"},
    {"no-speed", 0, RUVM_ARGS_FLAG,
     .help = "skip the measurement of speed; for --quality, --eval and --questions"},
    {"quality", 0, RUVM_ARGS_FILE, "FILE",
     .help = "float model to compare all models with, the one that was quantized"},
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

/* ---- options ---------------------------------------------------------------- */

/* Each model reads these anew. */
static int check_files(const struct ruvm_args *args)
{
    static const char *const files[] = {"quality", "eval", "questions"};
    unsigned n_stdin = 0;
    for (unsigned i = 0; i < ruvm_args_n_operands(args); i++)
        n_stdin += strcmp(ruvm_args_operand(args, i), "/dev/stdin") == 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *file = ruvm_args_input(args, files[i]);
        if (!file || strcmp(file, "/dev/stdin") != 0)
            continue;
        if (n_stdin++ || ruvm_args_n_operands(args) > 1)
            return ruvm_args_usage(args, "standard input can be read only once: --%s needs a file",
                                   files[i]);
    }
    return RUVM_EXIT_DONE;
}

static int check_options(const struct ruvm_args *args)
{
    static const char *const speeds[] = {"prompt-tokens", "tokens", "repetitions"};
    const char *kernels = ruvm_args_text(args, "kernels");
    if (ruvm_args_given(args, "documents") && !ruvm_args_given(args, "eval"))
        return ruvm_args_usage(args, "--documents needs --eval FILE");
    if (!ruvm_args_given(args, "no-speed"))
        return check_files(args);
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++)
        if (ruvm_args_given(args, speeds[i]))
            return ruvm_args_usage(args, "--no-speed and --%s do not go together", speeds[i]);
    if (kernels && strcmp(kernels, "all") == 0)
        return ruvm_args_usage(args,
                               "--no-speed and --kernels all do not go together: all "
                               "kernels predict the same");
    if (!ruvm_args_given(args, "quality") && !ruvm_args_given(args, "eval") &&
        !ruvm_args_given(args, "questions") && !ruvm_args_given(args, "kernel-rates"))
        return ruvm_args_usage(args,
                               "--no-speed leaves nothing to measure: add --quality, "
                               "--eval, --questions or --kernel-rates");
    return RUVM_EXIT_DONE;
}

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
        .no_speed = ruvm_args_given(args, "no-speed"),
        .seed = ruvm_args_count(args, "seed"),
        .progress = ruvm_output_progress(ruvm_args_text(args, "progress")),
    };
}

/* ---- measuring ----------------------------------------------------------- */

static int measure(struct ruvm_bench_list *list, const struct ruvm_bench_options *o)
{
    struct ruvm_error err = {0};
    struct ruvm_bench_result *r = &list->results[list->n];
    if (ruvm_bench(o, r, &err) == RUVM_OK) {
        list->n++;
        return RUVM_EXIT_DONE;
    }
    ruvm_bench_free(r);
    struct ruvm_bench_failure *failure = &list->failures[list->n_failures++];
    failure->model = o->model ? o->model : "demo";
    failure->err = err;
    return ruvm_output_failure("bench", &err);
}

/* With --kernels all one measurement a table; what does not depend on the kernels is
 * measured with the first only. */
static int measure_kernels(struct ruvm_bench_list *list, struct ruvm_bench_options o,
                           const char *kernels)
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

/* The code of the first failure; only a signal ends the list. */
static int measure_models(struct ruvm_bench_list *list, const struct ruvm_args *args)
{
    struct ruvm_bench_options o = options_from(args);
    const char *kernels = ruvm_args_text(args, "kernels");
    unsigned n = ruvm_args_n_operands(args);
    int rc = RUVM_EXIT_DONE;
    n = n ? n : 1; /* without MODEL: the demo */
    list->n_asked = n;
    list->source = o.quality;
    list->no_speed = o.no_speed;
    list->cap = n * count_kernels();
    list->results = ruvm_output_alloc(list->cap, sizeof *list->results);
    list->failures = ruvm_output_alloc(n, sizeof *list->failures);
    for (unsigned i = 0; i < n && !ruvm_output_signal(); i++) {
        o.model = ruvm_args_operand(args, i);
        int failed = measure_kernels(list, o, kernels);
        rc = rc ? rc : failed;
    }
    ruvm_output_progress_end();
    return rc;
}

/* ---- the verb ---------------------------------------------------------------- */

static void print_list(const struct ruvm_args *args, const struct ruvm_bench_list *list)
{
    const char *form = ruvm_args_text(args, "output");
    if (ruvm_args_given(args, "json") || strcmp(form, "json") == 0)
        ruvm_cmd_bench_json(list);
    else if (strcmp(form, "csv") == 0)
        ruvm_cmd_bench_table(list, RUVM_TABLE_CSV);
    else
        ruvm_cmd_bench_table(list, strcmp(form, "md") == 0 ? RUVM_TABLE_MARKDOWN : RUVM_TABLE_TEXT);
}

static int run(const struct ruvm_args *args)
{
    struct ruvm_bench_list list = {0};
    int rc = check_options(args);
    if (rc)
        return rc;
    rc = measure_models(&list, args);
    if (list.n)
        print_list(args, &list);
    for (unsigned i = 0; i < list.n; i++)
        ruvm_bench_free(&list.results[i]);
    free(list.results);
    free(list.failures);
    return rc;
}

const struct ruvm_args_command ruvm_cmd_bench = {
    .name = "bench",
    .summary = "Measure speed, memory and quality; without MODEL, the demo model.",
    .usage = "[MODEL ...] [OPTION ...]",
    .examples =
        "  ruvm bench\n"
        "  ruvm bench stories.ruvm --kernels all -o md\n"
        "  ruvm bench --quality stories.bin int8.ruvm int4.ruvm ternary.ruvm --no-speed\n",
    .options = options,
    .max_operands = 64,
    .run = run,
};
