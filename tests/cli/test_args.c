/* The options' wrapper, on a table of its own: what it accepts, what it makes of it. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdlib.h>

#include "cli/cli.h"

static const struct ruvm_args_option options[] = {
    {"flag", 'f', RUVM_ARGS_FLAG, .help = "a flag"},
    {"count", 'c', RUVM_ARGS_COUNT, "N", .help = "a count", .fallback = "2k", .min = 1,
     .max = 1 << 20},
    {"number", 0, RUVM_ARGS_NUMBER, "X", .help = "a number", .min = -1, .max = 1},
    {"seed", 0, RUVM_ARGS_SEED, "N", .help = "a seed"},
    {"text", 't', RUVM_ARGS_TEXT, "TEXT", .help = "a text"},
    {"many", 'm', RUVM_ARGS_TEXT, "TEXT", .help = "texts", .repeats = true},
    {"choice", 0, RUVM_ARGS_CHOICE, "WORD", .help = "a word", .fallback = "red",
     .choices = "red green"},
    RUVM_ARGS_HELP,
    {0},
};

static const struct ruvm_args_command command = {
    .name = "test",
    .summary = "Tests.",
    .usage = "[FILE ...]",
    .examples = "",
    .options = options,
    .max_operands = 3,
};

enum { MAX_WORDS = 16 };

/* Parses the words of a line, which holds no quotes; the line is cut up. */
static int parse(struct ruvm_args **args, char *line)
{
    static char *words[MAX_WORDS + 2];
    int n = 1;
    words[0] = "ruvm"; /* as in main: the word before ours exists */
    for (char *word = line; *word && n <= MAX_WORDS;) {
        words[n++] = word;
        while (*word && *word != ' ')
            word++;
        if (*word)
            *word++ = '\0';
    }
    words[n] = NULL;
    return ruvm_args_parse(args, &command, n - 1, words + 1);
}

static struct ruvm_args *parsed(const char *line)
{
    static char copy[256];
    struct ruvm_args *args;
    snprintf(copy, sizeof copy, "%s", line);
    cr_assert_eq(parse(&args, copy), 0, "%s", line);
    cr_assert_not_null(args, "%s", line);
    return args;
}

Test(args, counts)
{
    static const struct {
        const char *line;
        uint64_t count;
    } cases[] = {
        {"", 2048},       {"-c 1", 1},          {"-c1", 1},      {"--count 7", 7},
        {"--count=7", 7}, {"--count=0x10", 16}, {"-c 0X1f", 31}, {"-c 1k", 1024},
        {"-c 3K", 3072},  {"-c 1M", 1048576},   {"-c 007", 7},   {"-c 5 -c 6", 6},
        {"-f -c 9 x", 9}, {"x -c 9", 9},        {"-fc 9", 9},    {"-c 0x1k", 1024},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ruvm_args *args = parsed(cases[i].line);
        cr_assert_eq(ruvm_args_count(args, "count"), cases[i].count, "%s", cases[i].line);
        cr_assert_eq(ruvm_args_u32(args, "count"), cases[i].count, "%s", cases[i].line);
        ruvm_args_free(args);
    }
}

Test(args, numbers_and_seeds)
{
    struct ruvm_args *args = parsed("--number -0.25 --seed 18446744073709551615");
    cr_assert_eq(ruvm_args_number(args, "number"), -0.25);
    cr_assert_eq(ruvm_args_count(args, "seed"), UINT64_MAX);
    ruvm_args_free(args);
    args = parsed("--number=+1e-3 --seed 0x10");
    cr_assert_eq(ruvm_args_number(args, "number"), 1e-3);
    cr_assert_eq(ruvm_args_count(args, "seed"), 16);
    ruvm_args_free(args);
}

Test(args, texts_and_operands)
{
    unsigned n;
    struct ruvm_args *args = parsed("a -t --flag -m 1 - --many=2 -- -m");
    cr_assert_str_eq(ruvm_args_text(args, "text"), "--flag");
    cr_assert_not(ruvm_args_given(args, "flag"));
    cr_assert_str_eq(ruvm_args_text(args, "choice"), "red");
    cr_assert_not(ruvm_args_given(args, "choice"));
    const char *const *many = ruvm_args_texts(args, "many", &n);
    cr_assert_eq(n, 2);
    cr_assert_str_eq(many[0], "1");
    cr_assert_str_eq(many[1], "2");
    cr_assert_eq(ruvm_args_n_operands(args), 3);
    cr_assert_str_eq(ruvm_args_operand(args, 0), "a");
    cr_assert_str_eq(ruvm_args_operand(args, 1), "/dev/stdin");
    cr_assert_str_eq(ruvm_args_operand(args, 2), "-m");
    cr_assert_null(ruvm_args_operand(args, 3));
    ruvm_args_free(args);
}

Test(args, empty_values)
{
    struct ruvm_args *args = parsed("--text= -f");
    cr_assert_str_eq(ruvm_args_text(args, "text"), "");
    cr_assert(ruvm_args_given(args, "text"));
    cr_assert(ruvm_args_given(args, "flag"));
    ruvm_args_free(args);
}

Test(args, order_does_not_depend_on_posixly_correct)
{
    setenv("POSIXLY_CORRECT", "1", 1);
    struct ruvm_args *args = parsed("file -f");
    cr_assert(ruvm_args_given(args, "flag"));
    cr_assert_eq(ruvm_args_n_operands(args), 1);
    ruvm_args_free(args);
}

Test(args, refusals)
{
    static const char *const lines[] = {
        "--fla",
        "--flags",
        "--flag=1",
        "--flag=",
        "--count",
        "-c",
        "-c 0",
        "-c 1048577",
        "-c -1",
        "-c +1",
        "-c 1.5",
        "-c 1kk",
        "-c 0x",
        "-c x",
        "-c 2M",
        "--number nan",
        "--number 2",
        "--number -1.01",
        "--number 1e",
        "--number 0x1",
        "--number -",
        "--number inf",
        "--seed -1",
        "--seed 1k",
        "--choice re",
        "--choice blue",
        "--choice=",
        "--count=",
        "a b c d",
        "-x",
        "-fx",
        "--=1",
        "--seed 18446744073709551616",
        "--number 1e999",
        "-c 99999999999999999999",
    };
    cr_redirect_stderr();
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[64];
        struct ruvm_args *args;
        snprintf(line, sizeof line, "%s", lines[i]);
        cr_assert_eq(parse(&args, line), RUVM_EXIT_USAGE, "%s", lines[i]);
        cr_assert_null(args, "%s", lines[i]);
    }
}

Test(args, nearest)
{
    static const char *const words[] = {"quantize", "inspect", "run", "bench"};
    static const struct {
        const char *word, *nearest;
    } cases[] = {
        {"qunatize", "quantize"},
        {"quant", "quantize"},
        {"rum", "run"},
        {"inspekt", "inspect"},
        {"bnch", "bench"},
        {"pack", NULL},
        {"x", NULL},
        {"", NULL},
        {"a-word-that-is-longer-than-any-of-ours-is", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *found = ruvm_args_nearest(cases[i].word, words, 4);
        if (cases[i].nearest)
            cr_assert_str_eq(found, cases[i].nearest, "%s", cases[i].word);
        else
            cr_assert_null(found, "%s", cases[i].word);
    }
}
