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
#include "cli/cmd_classifier.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_MODELS = 64 };

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
    {"batch", 0, RUVM_ARGS_COUNT, "N",
     .help = "texts to generate together; the speed is that of all", .fallback = "1", .min = 1,
     .max = 64},
    {"threads", 0, RUVM_ARGS_COUNT, "N",
     .help = "threads that share the work; 0: as many as help here, by measurement",
     .fallback = "0", .min = 0, .max = 64},
    {"mask", 0, RUVM_ARGS_TEXT, "KIND:N,..",
     .help = "positions that a token sees; window:N,SINKS, strided, dilated, bigbird or none"},
    {"kernels", 0, RUVM_ARGS_KERNELS, "NAME",
     .help = "arithmetic to use; all: each in turn; default: the fastest that this machine has"},
    {"kernel-rates", 0, RUVM_ARGS_FLAG,
     .help = "measure each kernel alone, against this machine's own roofs"},
    {"profile", 0, RUVM_ARGS_FLAG, .help = "measure where the time of a generated token goes"},
    {"no-speed", 0, RUVM_ARGS_FLAG,
     .help = "skip the measurement of speed; for what else is asked for"},
    {"quality", 0, RUVM_ARGS_FILE, "FILE",
     .help = "float model to compare all models with, the one that was quantized"},
    {"eval", 0, RUVM_ARGS_FILE, "FILE",
     .help = "text for perplexity and quality; default: samples of the model itself"},
    {"documents", 0, RUVM_ARGS_FLAG, .help = "the text holds documents ended by lines <|end|>"},
    {"questions", 0, RUVM_ARGS_FILE, "FILE",
     .help = "JSON lines of prompt and answer; reports the share answered exactly"},
    {"eval-tokens", 0, RUVM_ARGS_COUNT, "N", .help = "positions to measure quality at",
     .fallback = "16384", .min = 1, .max = 1 << 24},
    {"knn", 0, RUVM_ARGS_FILE, "BLOB",
     .help = "also measure --eval with a blob of rag-add --knn-model voting for each token"},
    RUVM_ARGS_KNN,
    {"seed", 0, RUVM_ARGS_SEED, "N", .help = "seed of the samples", .fallback = "1"},
    {"sweep", 0, RUVM_ARGS_TEXT, "KEY=LIST",
     .help = "measure speed for each value, such as block=1,8,64; KEY: ctx, block, prompt, "
             "tokens, batch, threads, kernels or mask"},
    {"plot", 0, RUVM_ARGS_FILE, "FILE",
     .help = "also draw the sweep, or the kernels below their roofs, as SVG"},
    {"compare", 0, RUVM_ARGS_FILE, "FILE",
     .help = "also compare the rates with those of an older --json"},
    {"fail-if", 0, RUVM_ARGS_TEXT, "-N%",
     .help = "with --compare: exit 5 if a rate is lower by more than that"},
    {"output", 'o', RUVM_ARGS_CHOICE, "FORM", .help = "form of the output", .fallback = "table",
     .choices = "table md csv json"},
    {"json", 0, RUVM_ARGS_FLAG, .help = "the same as -o json"},
    RUVM_ARGS_PROGRESS,
    RUVM_ARGS_HELP,
    {0},
};

/* ---- options ---------------------------------------------------------------- */

static bool is_json(const struct ruvm_args *args)
{
    return ruvm_args_given(args, "json") || strcmp(ruvm_args_text(args, "output"), "json") == 0;
}

/* Each model reads these anew. */
static int check_files(const struct ruvm_args *args)
{
    static const char *const files[] = {"quality", "eval", "questions", "compare"};
    unsigned n_stdin = 0;
    for (unsigned i = 0; i < ruvm_args_n_operands(args); i++)
        n_stdin += strcmp(ruvm_args_operand(args, i), "/dev/stdin") == 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *file = ruvm_args_input(args, files[i]);
        if (!file || strcmp(file, "/dev/stdin") != 0)
            continue;
        bool once = strcmp(files[i], "compare") == 0;
        if (n_stdin++ || (ruvm_args_n_operands(args) > 1 && !once))
            return ruvm_args_usage(args, "standard input can be read only once: --%s needs a file",
                                   files[i]);
    }
    return RUVM_EXIT_DONE;
}

/* Before the measurement. */
static int check_plot(const struct ruvm_args *args)
{
    static const char *const options_of_files[] = {"quality", "eval", "questions", "knn",
                                                   "compare"};
    enum { N_OPTIONS = sizeof options_of_files / sizeof *options_of_files };
    const char *inputs[MOST_MODELS + N_OPTIONS];
    unsigned n = 0;
    for (unsigned i = 0; i < ruvm_args_n_operands(args); i++)
        inputs[n++] = ruvm_args_operand(args, i);
    for (unsigned i = 0; i < N_OPTIONS; i++)
        inputs[n++] = ruvm_args_text(args, options_of_files[i]);
    return ruvm_places_check_plot(args, "bench", inputs, n);
}

static int check_options(const struct ruvm_args *args)
{
    static const char *const speeds[] = {"prompt-tokens", "tokens", "repetitions", "batch"};
    bool uses_tokens = ruvm_args_given(args, "profile");
    bool repeats = uses_tokens || ruvm_args_given(args, "kernel-rates");
    const char *kernels = ruvm_args_text(args, "kernels");
    if (ruvm_args_given(args, "documents") && !ruvm_args_given(args, "eval"))
        return ruvm_args_usage(args, "--documents needs --eval FILE");
    if (ruvm_args_given(args, "knn") && !ruvm_args_given(args, "eval"))
        return ruvm_args_usage(args, "--knn needs a text to measure on: --eval FILE");
    if (ruvm_args_given(args, "knn") && ruvm_args_given(args, "quality"))
        return ruvm_args_usage(args, "--knn and --quality do not go together");
    int rc = ruvm_args_check_knn(args);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    if (!ruvm_args_given(args, "no-speed"))
        return check_files(args);
    for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++)
        if (ruvm_args_given(args, speeds[i]) && !(i == 1 && uses_tokens) && !(i == 2 && repeats))
            return ruvm_args_usage(args, "--no-speed and --%s do not go together", speeds[i]);
    if (kernels && strcmp(kernels, "all") == 0)
        return ruvm_args_usage(args,
                               "--no-speed and --kernels all do not go together: all "
                               "kernels predict the same");
    if (!ruvm_args_given(args, "quality") && !ruvm_args_given(args, "eval") &&
        !ruvm_args_given(args, "questions") && !ruvm_args_given(args, "kernel-rates") &&
        !ruvm_args_given(args, "profile") && !ruvm_args_given(args, "sweep"))
        return ruvm_args_usage(args,
                               "--no-speed leaves nothing to measure: add --quality, "
                               "--eval, --questions, --profile or --kernel-rates");
    return RUVM_EXIT_DONE;
}

/* What no value of a sweep changes; of masks the perplexity is as interesting as the speed. */
static int check_beside_sweep(const struct ruvm_args *args, const struct ruvm_bench_sweep *sweep)
{
    static const char *const others[] = {"quality", "questions", "knn", "eval", "no-speed"};
    size_t n = sizeof others / sizeof *others;
    for (size_t i = 0; i < (sweep->is_mask ? n - 2 : n); i++)
        if (ruvm_args_given(args, others[i]))
            return ruvm_args_usage(
                args, "--sweep %s measures speed%s: it does not go together with --%s", sweep->key,
                sweep->is_mask ? ", memory and --eval" : "", others[i]);
    if (ruvm_args_given(args, "profile") && !is_json(args))
        return ruvm_args_usage(args, "--sweep with --profile needs --json");
    return RUVM_EXIT_DONE;
}

/* What --sweep and --plot need and exclude. */
static int check_sweep(const struct ruvm_args *args, const struct ruvm_bench_sweep *sweep)
{
    bool rates = ruvm_args_given(args, "kernel-rates"), plot = ruvm_args_given(args, "plot");
    int rc = sweep->n ? check_beside_sweep(args, sweep) : RUVM_EXIT_DONE;
    if (rc != RUVM_EXIT_DONE)
        return rc;
    if (plot && !sweep->n && !rates)
        return ruvm_args_usage(args, "--plot needs --sweep or --kernel-rates");
    if (plot && sweep->n && rates)
        return ruvm_args_usage(args, "--plot draws --sweep or --kernel-rates, not both");
    if (plot && sweep->n && !sweep->is_number)
        return ruvm_args_usage(args, "--plot needs numbers: --sweep %s has none", sweep->key);
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
        .threads = ruvm_args_u32(args, "threads"),
        .batch = ruvm_args_u32(args, "batch"),
        .kernels = ruvm_args_text(args, "kernels"),
        .mask = ruvm_args_text(args, "mask"),
        .quality = ruvm_args_input(args, "quality"),
        .eval_text = ruvm_args_input(args, "eval"),
        .eval_tokens = ruvm_args_u32(args, "eval-tokens"),
        .documents = ruvm_args_given(args, "documents"),
        .questions = ruvm_args_input(args, "questions"),
        .knn = ruvm_args_text(args, "knn"),
        .knn_k = ruvm_args_u32(args, "knn-k"),
        .knn_share_q16 = ruvm_args_q16(args, "knn-share"),
        .knn_spread_q16 = ruvm_args_q16(args, "knn-spread"),
        .kernel_rates = ruvm_args_given(args, "kernel-rates"),
        .profile = ruvm_args_given(args, "profile"),
        .no_speed = ruvm_args_given(args, "no-speed"),
        .seed = ruvm_args_count(args, "seed"),
        .progress = ruvm_output_progress(ruvm_args_text(args, "progress")),
    };
}

/* ---- the verb ---------------------------------------------------------------- */

static void print_list(const struct ruvm_args *args, const struct ruvm_bench_list *list)
{
    const char *form = ruvm_args_text(args, "output");
    if (is_json(args))
        ruvm_cmd_bench_json(list);
    else if (strcmp(form, "csv") == 0)
        ruvm_cmd_bench_table(list, RUVM_TABLE_CSV);
    else
        ruvm_cmd_bench_table(list, strcmp(form, "md") == 0 ? RUVM_TABLE_MARKDOWN : RUVM_TABLE_TEXT);
}

static void free_list(struct ruvm_bench_list *list)
{
    for (unsigned i = 0; i < list->n; i++)
        ruvm_bench_free(&list->results[i]);
    free(list->results);
    free(list->points);
    free(list->failures);
}

/* What was measured is printed even where it cannot be compared; that is the worse failure. */
static int compare_and_print(const struct ruvm_args *args, struct ruvm_bench_list *list,
                             struct ruvm_bench_comparison *c)
{
    int rc = c->path ? ruvm_cmd_bench_compare(c, list) : RUVM_EXIT_DONE;
    if (c->path && rc != RUVM_EXIT_FAILED)
        list->comparison = c;
    if (list->n)
        print_list(args, list);
    if (rc == RUVM_EXIT_SLOWER) {
        ruvm_output_flush();
        ruvm_output_error("bench", "%s: %u of %u rates are lower than --fail-if %s allows", c->path,
                          c->n_slower, c->n, ruvm_args_text(args, "fail-if"));
    }
    return rc;
}

static int run(const struct ruvm_args *args)
{
    struct ruvm_bench_list list = {0};
    struct ruvm_bench_comparison comparison = {0};
    struct ruvm_bench_sweep sweep = {0};
    if (ruvm_classifier_probe(ruvm_args_operand(args, 0)) == RUVM_CLASSIFIER_IMAGE)
        return ruvm_cmd_classifier_bench(args);
    int rc = check_options(args);
    rc = rc ? rc : ruvm_cmd_bench_sweep_open(&sweep, args, options);
    rc = rc ? rc : check_sweep(args, &sweep);
    rc = rc ? rc : check_plot(args);
    list.sweep = sweep.n ? &sweep : NULL;
    rc = rc ? rc : ruvm_cmd_bench_compare_open(&comparison, args);
    if (rc == 0) {
        const struct ruvm_bench_options o = options_from(args);
        rc = ruvm_cmd_bench_measure(&list, args, &o);
        int compared = compare_and_print(args, &list, &comparison);
        rc = rc ? rc : compared;
        const char *plot = ruvm_args_text(args, "plot");
        int plotted = plot && list.n ? ruvm_cmd_bench_plot(&list, plot) : RUVM_EXIT_DONE;
        rc = rc ? rc : plotted;
    }
    ruvm_cmd_bench_sweep_free(&sweep);
    free_list(&list);
    ruvm_cmd_bench_compare_free(&comparison);
    return rc;
}

const struct ruvm_args_command ruvm_cmd_bench = {
    .name = "bench",
    .summary = "Measure speed, memory and quality; without MODEL, the demo model.",
    .usage = "[MODEL ...] [OPTION ...]",
    .examples =
        "  ruvm bench\n"
        "  ruvm bench stories.ruvm --kernels all -o md\n"
        "  ruvm bench stories.ruvm --sweep ctx=64,128,256 --plot context.svg\n"
        "  ruvm bench stories.ruvm --sweep mask=window:64,4 --eval text.txt\n"
        "  ruvm bench stories.ruvm --compare before.json --fail-if -3%\n"
        "  ruvm bench --quality stories.bin int8.ruvm int4.ruvm ternary.ruvm --no-speed\n",
    .options = options,
    .max_operands = MOST_MODELS,
    .run = run,
};
