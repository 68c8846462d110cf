/* bench rag: how fast vectors are searched, and how much of the truth is found.
 *
 * A curve a metric and type; those that do not exist together are left out of lists.
 */
#include "cli/cmd_bench_rag.h"

#include <stdlib.h>
#include <string.h>

static const struct ruvm_args_option options[] = {
    {"synthetic", 0, RUVM_ARGS_TEXT, "N,DIMS",
     .help = "measure that many synthetic vectors; default without BLOB: 10000,64"},
    {"seed", 0, RUVM_ARGS_SEED, "N", .help = "seed of synthetic vectors and of queries",
     .fallback = "1"},
    {"metric", 0, RUVM_ARGS_TEXT, "LIST",
     .help = "distances, or all; default: the blob's own, or cosine",
     .choices = "cosine euclidean dot manhattan hamming poincare lorentz all"},
    {"type", 0, RUVM_ARGS_TEXT, "LIST",
     .help = "types of vectors, or all; default: the blob's own, or the first that the metric has",
     .choices = "int8 binary pq all"},
    {"ef", 0, RUVM_ARGS_TEXT, "LIST", .help = "rows that a search keeps in view",
     .fallback = "10,14,20,28,40,56,80,112,160,240"},
    {"hits", 'k', RUVM_ARGS_COUNT, "N", .help = "hits of a query", .fallback = "10", .min = 1,
     .max = 255},
    {"queries", 'q', RUVM_ARGS_COUNT, "N", .help = "queries, at most as many as vectors of a blob",
     .fallback = "500", .min = 1, .max = 100000},
    {"repetitions", 'r', RUVM_ARGS_COUNT, "N", .help = "measurements of each speed",
     .fallback = "5", .min = 1, .max = 1000},
    {"degree", 0, RUVM_ARGS_COUNT, "N",
     .help = "links of a vector in the graph built; default: the blob's, or 16", .min = 2,
     .max = 64},
    {"ef-build", 0, RUVM_ARGS_COUNT, "N",
     .help = "candidates looked at for each vector of the graph built; default: the blob's, or "
             "100",
     .min = 1, .max = 4096},
    {"recall", 0, RUVM_ARGS_NUMBER, "SHARE",
     .help = "of the graph, where it is compared with the scan", .fallback = "0.95", .min = 0.01,
     .max = 1},
    {"no-crossover", 0, RUVM_ARGS_FLAG,
     .help = "do not look for the number of vectors from which on the graph is faster"},
    {"kernels", 0, RUVM_ARGS_KERNELS, "NAME",
     .help = "arithmetic to use; default: the fastest that this machine has"},
    {"plot", 0, RUVM_ARGS_FILE, "FILE", .help = "also draw recall and speed, as SVG"},
    {"output", 'o', RUVM_ARGS_CHOICE, "FORM", .help = "form of the output", .fallback = "table",
     .choices = "table md csv json"},
    {"json", 0, RUVM_ARGS_FLAG, .help = "the same as -o json"},
    RUVM_ARGS_PROGRESS,
    RUVM_ARGS_HELP,
    {0},
};

/* ---- options ------------------------------------------------------------------- */

/* The next number of a list, which it ends or a comma; 0: that is none. */
static uint32_t next_number(const char **text)
{
    char *end;
    if (**text < '0' || **text > '9')
        return 0;
    unsigned long long value = strtoull(*text, &end, 10);
    if ((*end && *end != ',') || value > UINT32_MAX)
        return 0;
    *text = *end ? end + 1 : end;
    return (uint32_t)value;
}

static int read_synthetic(const struct ruvm_args *args, struct ruvm_bench_rag_options *o)
{
    const char *text = ruvm_args_text(args, "synthetic"), *at = text;
    if (!text)
        return RUVM_EXIT_DONE;
    if (o->blob)
        return ruvm_args_usage(args, "--synthetic and a BLOB do not go together");
    o->n = next_number(&at);
    o->dims = next_number(&at);
    if (!o->n || !o->dims || *at)
        return ruvm_args_usage(args, "--synthetic '%s': give vectors and dimensions, as 10000,64",
                               text);
    return RUVM_EXIT_DONE;
}

static int read_ef(const struct ruvm_args *args, struct ruvm_bench_rag_options *o)
{
    const char *text = ruvm_args_text(args, "ef"), *at = text;
    for (o->n_points = 0; *at && o->n_points < RUVM_BENCH_RAG_POINTS; o->n_points++) {
        uint32_t ef = next_number(&at);
        uint32_t before = o->n_points ? o->ef[o->n_points - 1] : 0;
        if (ef <= before || ef > 4096)
            return ruvm_args_usage(
                args, "--ef '%s': give ascending numbers up to 4096, as 10,40,160", text);
        o->ef[o->n_points] = ef;
    }
    if (*at || !o->n_points)
        return ruvm_args_usage(args, "--ef: give 1 to %d numbers", RUVM_BENCH_RAG_POINTS);
    return RUVM_EXIT_DONE;
}

static bool is_listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        size_t length = strcspn(at, ",");
        if ((length == n && strncmp(at, word, n) == 0) ||
            (length == 3 && strncmp(at, "all", 3) == 0))
            return true;
    }
    return false;
}

/* Every word of the list is a name or "all". */
static int check_words(const struct ruvm_args *args, const char *option,
                       const char *(*name)(unsigned))
{
    const char *list = ruvm_args_text(args, option);
    for (const char *at = list; at; at = strchr(at, ',')) {
        char word[16];
        at += *at == ',';
        unsigned i = 0;
        int length = (int)strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", length, at);
        while (name(i) && strcmp(name(i), word) != 0)
            i++;
        if (!name(i) && strcmp(word, "all") != 0)
            return ruvm_args_usage(args, "--%s: there is no '%.*s'; see --help", option, length,
                                   at);
    }
    return RUVM_EXIT_DONE;
}

static int options_from(const struct ruvm_args *args, struct ruvm_bench_rag_options *o)
{
    *o = (struct ruvm_bench_rag_options){
        .blob = ruvm_args_operand(args, 0),
        .seed = ruvm_args_count(args, "seed"),
        .k = ruvm_args_u32(args, "hits"),
        .n_queries = ruvm_args_u32(args, "queries"),
        .repetitions = ruvm_args_u32(args, "repetitions"),
        .degree = ruvm_args_u32(args, "degree"),
        .ef_build = ruvm_args_u32(args, "ef-build"),
        .recall = ruvm_args_number(args, "recall"),
        .no_crossover = ruvm_args_given(args, "no-crossover"),
        .kernels = ruvm_args_text(args, "kernels"),
        .progress = ruvm_output_progress(ruvm_args_text(args, "progress")),
    };
    int rc = read_synthetic(args, o);
    rc = rc ? rc : read_ef(args, o);
    rc = rc ? rc : ruvm_places_check_plot(args, "bench-rag", &o->blob, 1);
    rc = rc ? rc : check_words(args, "metric", ruvm_bench_rag_metric);
    return rc ? rc : check_words(args, "type", ruvm_bench_rag_type);
}

/* ---- measuring ------------------------------------------------------------------ */

enum { MOST_CURVES = 32 };

static int measure(struct ruvm_bench_rag_list *list, const struct ruvm_bench_rag_options *o)
{
    struct ruvm_error err = {0};
    int rc = ruvm_bench_rag(o, &list->results[list->n], &err);
    if (rc == RUVM_OK) {
        list->n++;
        return RUVM_EXIT_DONE;
    }
    ruvm_output_progress_end();
    return ruvm_output_failure("bench-rag", &err);
}

/* Each metric of one list with each type of the other. Without a list of types, the first one
 * that has the metric; without one of metrics, cosine. */
static int measure_lists(struct ruvm_bench_rag_list *list, struct ruvm_bench_rag_options o,
                         const char *metrics, const char *types)
{
    int rc = RUVM_EXIT_DONE;
    for (unsigned m = 0; rc == RUVM_EXIT_DONE && (o.metric = ruvm_bench_rag_metric(m)); m++) {
        bool found = false;
        if (!is_listed(metrics ? metrics : "cosine", o.metric))
            continue;
        for (unsigned t = 0; rc == RUVM_EXIT_DONE && (o.type = ruvm_bench_rag_type(t)); t++) {
            bool wanted = types ? is_listed(types, o.type) : !found;
            if (!wanted || !ruvm_bench_rag_exists(o.metric, o.type))
                continue;
            found = true;
            rc = measure(list, &o);
        }
    }
    return rc;
}

static void print_list(const struct ruvm_args *args, const struct ruvm_bench_rag_list *list)
{
    const char *form = ruvm_args_text(args, "output");
    if (ruvm_args_given(args, "json") || strcmp(form, "json") == 0)
        ruvm_cmd_bench_rag_json(list);
    else if (strcmp(form, "csv") == 0)
        ruvm_cmd_bench_rag_csv(list);
    else
        ruvm_cmd_bench_rag_tables(list,
                                  strcmp(form, "md") == 0 ? RUVM_TABLE_MARKDOWN : RUVM_TABLE_TEXT);
}

static int run(const struct ruvm_args *args)
{
    const char *metrics = ruvm_args_text(args, "metric"), *types = ruvm_args_text(args, "type");
    const char *plot = ruvm_args_text(args, "plot");
    struct ruvm_bench_rag_options o;
    int rc = options_from(args, &o);
    if (rc)
        return rc;
    struct ruvm_bench_rag_list list = {.recall = o.recall};
    list.results = ruvm_output_alloc(MOST_CURVES, sizeof *list.results);
    rc =
        o.blob && !metrics && !types ? measure(&list, &o) : measure_lists(&list, o, metrics, types);
    ruvm_output_progress_end();
    if (list.n)
        print_list(args, &list);
    else if (rc == RUVM_EXIT_DONE)
        rc = ruvm_args_usage(args, "no type of --type has a metric of --metric");
    if (list.n && plot) {
        int plotted = ruvm_cmd_bench_rag_plot(&list, plot);
        rc = rc ? rc : plotted;
    }
    free(list.results);
    return rc;
}

const struct ruvm_args_command ruvm_cmd_bench_rag = {
    .name = "bench-rag",
    .summary = "Measure searches in vectors: speed, recall, and the memory of a chip.",
    .usage = "[BLOB] [OPTION ...]",
    .examples =
        "  ruvm bench rag manual.rag\n"
        "  ruvm bench rag --synthetic 100000,64 --plot recall.svg\n"
        "  ruvm bench rag --metric all --type all --json\n",
    .options = options,
    .max_operands = 1,
    .run = run,
};
