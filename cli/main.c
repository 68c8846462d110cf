/* ruvm: run small language models with integers only.
 *
 * This is the whole way in: find the verb, parse its options, call it, and see
 * that what was printed really arrived.
 */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <signal.h>
#include <string.h>

/* The verbs, in the order of the help. To add a command:
 *
 *   1. cli/cmd_VERB.c: its option table, its function, and the constant
 *      `ruvm_cmd_VERB` that holds both; declare it in cli.h.
 *   2. One function in lib/ruvm_tool.h does the work; the verb only translates.
 *   3. List it here.
 *   4. man/ruvm-VERB.1, and completions/ again: `tests/docs.sh --set-exact`.
 *   5. Cases in tests/cli/. tests/docs.sh refuses what was forgotten.
 */
static const struct ruvm_args_command *const verbs[] = {
    &ruvm_cmd_quantize, &ruvm_cmd_inspect,   &ruvm_cmd_run,
    &ruvm_cmd_bench,    &ruvm_cmd_bench_rag, &ruvm_cmd_pack,
    &ruvm_cmd_flash,    &ruvm_cmd_rag_add,   NULL,
};
enum { N_VERBS = sizeof verbs / sizeof *verbs - 1 };

static const struct ruvm_args_option ruvm_options[] = {
    RUVM_ARGS_HELP,
    {"version", 'V', RUVM_ARGS_FLAG, .help = "print the version and the kernels of this machine"},
    {"completion", 0, RUVM_ARGS_CHOICE, "SHELL", .help = "print the completion of a shell",
     .choices = "bash zsh fish"},
    {0},
};

static const struct ruvm_args_command ruvm = {
    .name = "",
    .summary = "Run small language models with integers only, the same on every machine.",
    .usage = "VERB [OPTION ...] | help [VERB] | --version | --completion SHELL",
    .examples =
        "  ruvm run -p 'Once upon a time'\n"
        "  ruvm quantize stories.bin -o stories.ruvm --tokenizer tokenizer.bin\n",
    .options = ruvm_options,
};

static const struct ruvm_args_command *find_verb(const char *name)
{
    for (unsigned i = 0; i < N_VERBS; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static int unknown_verb(const char *name)
{
    const char *names[N_VERBS];
    for (unsigned i = 0; i < N_VERBS; i++)
        names[i] = verbs[i]->name;
    const char *near = ruvm_args_nearest(name, names, N_VERBS);
    ruvm_output_error("", "unknown verb '%s'%s%s%s", name, near ? ": did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
    fputs("the verbs are:", stderr);
    for (unsigned i = 0; i < N_VERBS; i++)
        fprintf(stderr, " %s", names[i]);
    fputs("\ntry 'ruvm --help'\n", stderr);
    return RUVM_EXIT_USAGE;
}

/* Scripts and the completions read the second line. */
static void print_version(void)
{
    const char *name;
    bool available;
    printf("ruvm %s\nkernels:", RUVM_VERSION_TEXT);
    for (unsigned i = 0; (name = ruvm_kernels_list(i, &available)); i++)
        if (available)
            printf(" %s", name);
    putchar('\n');
}

/* The words "bench rag" are the verb bench-rag: argv begins one word later, at its name. A
 * model whose file is called rag is ./rag. */
static void join_words(int *argc, char ***argv)
{
    static char joined[] = "bench-rag";
    if (*argc < 2 || strcmp((*argv)[0], "bench") != 0 || strcmp((*argv)[1], "rag") != 0)
        return;
    --*argc;
    ++*argv;
    (*argv)[0] = joined;
}

static int help_of(int argc, char **argv)
{
    join_words(&argc, &argv);
    if (argc > 0 && strncmp(argv[0], "-", 1) != 0) {
        const struct ruvm_args_command *verb = find_verb(argv[0]);
        if (!verb)
            return unknown_verb(argv[0]);
        ruvm_help_command(verb);
        return RUVM_EXIT_DONE;
    }
    ruvm_help_verbs(&ruvm, verbs);
    return RUVM_EXIT_DONE;
}

static bool asks_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

/* `ruvm` without a verb; its help is ours because it lists the verbs. */
static int run_options(int argc, char **argv)
{
    struct ruvm_args *args;
    if (asks_help(argc, argv))
        return help_of(0, NULL);
    int rc = ruvm_args_parse(&args, &ruvm, argc, argv);
    if (!args)
        return rc;
    if (ruvm_args_given(args, "completion"))
        ruvm_completion_print(ruvm_args_text(args, "completion"), &ruvm, verbs);
    else if (ruvm_args_given(args, "version"))
        print_version();
    else
        rc = ruvm_args_fail(&ruvm, "a verb is missing");
    ruvm_args_free(args);
    return rc;
}

static int run_verb(int argc, char **argv)
{
    struct ruvm_args *args;
    const struct ruvm_args_command *verb = find_verb(argv[0]);
    if (!verb)
        return unknown_verb(argv[0]);
    int rc = ruvm_args_parse(&args, verb, argc - 1, argv + 1);
    if (!args)
        return rc;
    rc = verb->run(args);
    ruvm_args_free(args);
    return rc;
}

static int dispatch(int argc, char **argv)
{
    if (argc == 0)
        return ruvm_args_fail(&ruvm, "a verb is missing");
    join_words(&argc, &argv);
    if (strcmp(argv[0], "help") == 0)
        return help_of(argc - 1, argv + 1);
    if (argv[0][0] == '-')
        return run_options(argc, argv);
    return run_verb(argc, argv);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is then an error of the write, reported below */
    ruvm_output_catch_signals();
    int rc = dispatch(argc > 0 ? argc - 1 : 0, argv + (argc > 0));
    bool verb = argc > 1 && find_verb(argv[1]);
    return ruvm_output_finish(verb ? argv[1] : "", rc);
}
