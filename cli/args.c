/* Options: from a verb's table to checked values.
 *
 * argtable2 does the parsing. Around it stands what it lacks: before it, a scan
 * of the words by our own table, which refuses abbreviations (an option added
 * later must not change what a script means) and gives exact messages; after
 * it, the conversion of texts to numbers with ranges. Every option is therefore
 * given to argtable as text or flag that may occur any number of times, and the
 * last occurrence wins.
 */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <argtable2.h>
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct ruvm_args_slot {
    char letter[2]; /* argtable wants a string and keeps the pointer */
    bool given;
    uint64_t count;
    double number;
    const char *text;
    const char *const *texts; /* all occurrences; in argtable's memory */
    unsigned n_texts;
};

struct ruvm_args {
    const struct ruvm_args_command *command;
    unsigned n_options;
    struct ruvm_args_slot *slots; /* [n_options], like command->options */
    void **table;                 /* argtable's: options, operands, end */
    const char *const *operands;
    unsigned n_operands;
};

/* ---- messages ------------------------------------------------------------ */

static void usage_error(const struct ruvm_args_command *command, const char *fmt, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof text, fmt, ap);
    ruvm_output_error(command->name, "%s", text);
    fprintf(stderr, "try 'ruvm%s%s --help'\n", *command->name ? " " : "", command->name);
}

int ruvm_args_fail(const struct ruvm_args_command *command, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    usage_error(command, fmt, ap);
    va_end(ap);
    return RUVM_EXIT_USAGE;
}

int ruvm_args_usage(const struct ruvm_args *args, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    usage_error(args->command, fmt, ap);
    va_end(ap);
    return RUVM_EXIT_USAGE;
}

int ruvm_args_check_knn(const struct ruvm_args *args)
{
    static const struct ruvm_args_option of_knn[] = {RUVM_ARGS_KNN};
    for (size_t i = 0; i < sizeof of_knn / sizeof *of_knn; i++)
        if (ruvm_args_given(args, of_knn[i].name) && !ruvm_args_given(args, "knn"))
            return ruvm_args_usage(args, "--%s needs --knn BLOB", of_knn[i].name);
    return RUVM_EXIT_DONE;
}

enum { MAX_WORD = 31 }; /* longest word that is compared; ours are shorter */

/* Levenshtein's distance, one row of it at a time. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[MAX_WORD + 1];
    size_t n = strlen(b);
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 0; a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (unsigned j = 0; j < n; j++) {
            unsigned change = diagonal + (a[i] != b[j]);
            unsigned gap = 1 + (row[j] < row[j + 1] ? row[j] : row[j + 1]);
            diagonal = row[j + 1];
            row[j + 1] = change < gap ? change : gap;
        }
    }
    return row[n];
}

const char *ruvm_args_nearest(const char *word, const char *const *words, unsigned n)
{
    const char *best = NULL;
    unsigned best_distance = 3; /* more than two slips is another word, as is half of it */
    size_t length = strlen(word);
    if (length < 2 || length > MAX_WORD)
        return NULL;
    for (unsigned i = 0; i < n; i++) {
        if (strlen(words[i]) > MAX_WORD)
            continue;
        unsigned d = strncmp(words[i], word, length) == 0 ? 0 : distance(word, words[i]);
        if (d < best_distance && 2 * d <= strlen(words[i])) {
            best_distance = d;
            best = words[i];
        }
    }
    return best;
}

/* ---- the scan before argtable -------------------------------------------- */

static unsigned count_options(const struct ruvm_args_command *command)
{
    unsigned n = 0;
    while (command->options[n].name)
        n++;
    return n;
}

static const struct ruvm_args_option *find_long(const struct ruvm_args_command *command,
                                                const char *name, size_t length)
{
    for (const struct ruvm_args_option *o = command->options; o->name; o++)
        if (strlen(o->name) == length && memcmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

static const struct ruvm_args_option *find_letter(const struct ruvm_args_command *command,
                                                  char letter)
{
    for (const struct ruvm_args_option *o = command->options; o->name; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

static int unknown_long(const struct ruvm_args_command *command, const char *name, size_t length)
{
    char word[MAX_WORD + 2];
    const char *names[64];
    unsigned n = count_options(command);
    assert(n <= 64);
    for (unsigned i = 0; i < n; i++)
        names[i] = command->options[i].name;
    snprintf(word, sizeof word, "%.*s", (int)length, name);
    const char *near = ruvm_args_nearest(word, names, n);
    if (near)
        return ruvm_args_fail(command, "unknown option '--%.*s': did you mean '--%s'?", (int)length,
                              name, near);
    return ruvm_args_fail(command, "unknown option '--%.*s'", (int)length, name);
}

/* What the scan of one word found. */
struct scan {
    const struct ruvm_args_command *command;
    bool help;
    bool next_is_value; /* the following word belongs to this option */
    int rc;             /* of the first error */
    bool report;        /* errors are printed (second pass) */
};

static void scan_long(struct scan *s, const char *word, bool last)
{
    size_t length = strcspn(word, "=");
    const struct ruvm_args_option *o = find_long(s->command, word, length);
    if (o && strcmp(o->name, "help") == 0 && word[length] == '\0')
        s->help = true;
    s->next_is_value = o && o->kind != RUVM_ARGS_FLAG && word[length] == '\0';
    if (!s->report)
        return;
    if (!o)
        s->rc = unknown_long(s->command, word, length);
    else if (o->kind == RUVM_ARGS_FLAG && word[length] == '=')
        s->rc = ruvm_args_fail(s->command, "option '--%s' takes no value", o->name);
    else if (s->next_is_value && last)
        s->rc = ruvm_args_fail(s->command, "option '--%s' needs a value: %s", o->name, o->value);
}

static void scan_letters(struct scan *s, const char *word, bool last)
{
    for (; *word; word++) {
        const struct ruvm_args_option *o = find_letter(s->command, *word);
        if (!o) {
            if (s->report)
                s->rc = ruvm_args_fail(s->command, "unknown option '-%c'", *word);
            return;
        }
        if (strcmp(o->name, "help") == 0)
            s->help = true;
        if (o->kind == RUVM_ARGS_FLAG)
            continue;
        s->next_is_value = word[1] == '\0';
        if (s->next_is_value && last && s->report)
            s->rc = ruvm_args_fail(s->command, "option '-%c' needs a value: %s", *word, o->value);
        return;
    }
}

/* Walks the words as getopt will. Two passes, because --help anywhere outranks errors. */
static void scan_words(struct scan *s, int argc, char **argv)
{
    for (int i = 0; i < argc && s->rc == 0; i++) {
        const char *word = argv[i];
        bool last = i + 1 == argc;
        s->next_is_value = false;
        if (strcmp(word, "--") == 0)
            return;
        if (word[0] == '-' && word[1] == '-')
            scan_long(s, word + 2, last);
        else if (word[0] == '-')
            scan_letters(s, word + 1, last);
        i += s->next_is_value;
    }
}

/* ---- argtable ------------------------------------------------------------ */

static void *new_entry(const struct ruvm_args_option *o, struct ruvm_args_slot *slot, int max)
{
    slot->letter[0] = o->letter;
    const char *letter = o->letter ? slot->letter : NULL;
    if (o->kind == RUVM_ARGS_FLAG)
        return arg_litn(letter, o->name, 0, max, o->help);
    return arg_strn(letter, o->name, o->value, 0, max, o->help);
}

/* An error that remains after the scan is argtable's own shortage of memory, or its
 * refusal of an empty value (--prompt ''), which is a value to us. */
static bool parse_failed(struct arg_end *end)
{
    for (int i = 0; i < end->count; i++) {
        if (end->error[i] == ARG_EMISSARG)
            continue;
        struct arg_hdr *hdr = end->parent[i];
        hdr->errorfn(hdr->parent, stderr, end->error[i], end->argval[i], "ruvm");
        return true;
    }
    return false;
}

static int parse_words(struct ruvm_args *args, int argc, char **argv)
{
    enum { MAX_ERRORS = 20 };
    unsigned n = args->n_options;
    for (unsigned i = 0; i < n; i++)
        args->table[i] = new_entry(&args->command->options[i], &args->slots[i], argc);
    args->table[n] = arg_strn(NULL, NULL, "FILE", 0, argc, NULL);
    args->table[n + 1] = arg_end(MAX_ERRORS);
    if (arg_nullcheck(args->table)) {
        ruvm_output_error(args->command->name, "out of memory");
        return RUVM_EXIT_FAILED;
    }
    arg_parse(argc, argv, args->table);
    if (parse_failed(args->table[n + 1]))
        return RUVM_EXIT_USAGE;
    const struct arg_str *operands = args->table[n];
    args->operands = operands->sval;
    args->n_operands = (unsigned)operands->count;
    return 0;
}

/* ---- texts to values ----------------------------------------------------- */

/* Digits with an optional 0x and suffix; false when it is anything else. */
static bool parse_whole(const char *text, bool suffix, uint64_t *value)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    errno = 0;
    uint64_t v = strtoull(text, &end, hex ? 16 : 10);
    if (errno || (hex && end == text + 1))
        return false;
    unsigned shift = 0;
    if (suffix && (*end == 'k' || *end == 'K'))
        shift = 10;
    else if (suffix && *end == 'M')
        shift = 20;
    end += shift != 0;
    if (*end || v > UINT64_MAX >> shift)
        return false;
    *value = v << shift;
    return true;
}

static bool parse_number(const char *text, double *value)
{
    if (!text[strspn(text, "+-")] || text[strspn(text, "+-.0123456789eE")])
        return false;
    char *end;
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

static bool is_choice(const char *choices, const char *word)
{
    size_t length = strlen(word);
    for (const char *c = choices; *c; c += strspn(c, " ")) {
        size_t n = strcspn(c, " ");
        if (n == length && memcmp(c, word, n) == 0)
            return true;
        c += n;
    }
    return false;
}

static int bad_value(const struct ruvm_args_command *command, const struct ruvm_args_option *o,
                     const char *text)
{
    if (o->kind == RUVM_ARGS_CHOICE)
        return ruvm_args_fail(command, "option '--%s': '%s' is none of: %s", o->name, text,
                              o->choices);
    if (o->kind == RUVM_ARGS_SEED)
        return ruvm_args_fail(command, "option '--%s': '%s' is not a whole number below 2^64",
                              o->name, text);
    return ruvm_args_fail(command, "option '--%s': '%s' is not a %snumber from %.10g to %.10g",
                          o->name, text, o->kind == RUVM_ARGS_COUNT ? "whole " : "", o->min,
                          o->max);
}

static bool convert(const struct ruvm_args_option *o, struct ruvm_args_slot *slot)
{
    switch (o->kind) {
    case RUVM_ARGS_COUNT:
        return parse_whole(slot->text, true, &slot->count) && (double)slot->count >= o->min &&
               (double)slot->count <= o->max;
    case RUVM_ARGS_SEED: return parse_whole(slot->text, false, &slot->count);
    case RUVM_ARGS_NUMBER:
        return parse_number(slot->text, &slot->number) && slot->number >= o->min &&
               slot->number <= o->max;
    case RUVM_ARGS_CHOICE: return is_choice(o->choices, slot->text);
    default: return true;
    }
}

static int take_value(struct ruvm_args *args, unsigned i)
{
    const struct ruvm_args_option *o = &args->command->options[i];
    struct ruvm_args_slot *slot = &args->slots[i];
    if (o->kind == RUVM_ARGS_FLAG) {
        slot->given = ((struct arg_lit *)args->table[i])->count > 0;
        return 0;
    }
    const struct arg_str *entry = args->table[i];
    slot->texts = entry->sval;
    slot->n_texts = (unsigned)entry->count;
    slot->given = slot->n_texts > 0;
    slot->text = slot->given ? slot->texts[slot->n_texts - 1] : o->fallback;
    if (slot->text && !convert(o, slot))
        return bad_value(args->command, o, slot->text);
    return 0;
}

static int check_operands(const struct ruvm_args *args)
{
    const struct ruvm_args_command *command = args->command;
    if (args->n_operands < command->min_operands)
        return ruvm_args_fail(command, "a file is missing: ruvm %s %s", command->name,
                              command->usage);
    if (args->n_operands > command->max_operands)
        return ruvm_args_fail(command, "unexpected argument '%s'",
                              args->operands[command->max_operands]);
    return 0;
}

static int fill(struct ruvm_args *args, int argc, char **argv)
{
    int rc = parse_words(args, argc, argv);
    for (unsigned i = 0; rc == 0 && i < args->n_options; i++)
        rc = take_value(args, i);
    return rc ? rc : check_operands(args);
}

int ruvm_args_parse(struct ruvm_args **args, const struct ruvm_args_command *command, int argc,
                    char **argv)
{
    *args = NULL;
    struct scan look = {.command = command};
    scan_words(&look, argc, argv);
    if (look.help) {
        ruvm_help_command(command);
        return RUVM_EXIT_DONE;
    }
    struct scan check = {.command = command, .report = true};
    scan_words(&check, argc, argv);
    if (check.rc)
        return check.rc;

    unsetenv("POSIXLY_CORRECT"); /* it would make options after a file into files */
    struct ruvm_args *a = ruvm_output_alloc(1, sizeof *a);
    a->command = command;
    a->n_options = count_options(command);
    a->slots = ruvm_output_alloc(a->n_options, sizeof *a->slots);
    a->table = ruvm_output_alloc(a->n_options + 2, sizeof *a->table);
    /* argtable reads from argv[1]: the word before ours is the verb */
    int rc = fill(a, argc + 1, argv - 1);
    if (rc) {
        ruvm_args_free(a);
        return rc;
    }
    *args = a;
    return 0;
}

void ruvm_args_free(struct ruvm_args *args)
{
    if (!args)
        return;
    arg_freetable(args->table, args->n_options + 2);
    free(args->table);
    free(args->slots);
    free(args);
}

/* ---- values by name ------------------------------------------------------ */

static const struct ruvm_args_slot *slot_of(const struct ruvm_args *args, const char *name)
{
    const struct ruvm_args_option *o = find_long(args->command, name, strlen(name));
    assert(o); /* a verb asks only for what its table has */
    return &args->slots[o - args->command->options];
}

bool ruvm_args_given(const struct ruvm_args *args, const char *name)
{
    return slot_of(args, name)->given;
}

uint64_t ruvm_args_count(const struct ruvm_args *args, const char *name)
{
    return slot_of(args, name)->count;
}

uint32_t ruvm_args_u32(const struct ruvm_args *args, const char *name)
{
    uint64_t value = slot_of(args, name)->count;
    assert(value <= UINT32_MAX); /* the table's range says so */
    return (uint32_t)value;
}

double ruvm_args_number(const struct ruvm_args *args, const char *name)
{
    return slot_of(args, name)->number;
}

uint32_t ruvm_args_q16(const struct ruvm_args *args, const char *name)
{
    return (uint32_t)lround(ruvm_args_number(args, name) * 65536);
}

const char *ruvm_args_text(const struct ruvm_args *args, const char *name)
{
    return slot_of(args, name)->text;
}

const char *const *ruvm_args_texts(const struct ruvm_args *args, const char *name, unsigned *n)
{
    const struct ruvm_args_slot *slot = slot_of(args, name);
    *n = slot->n_texts;
    return slot->texts;
}

static const char *dash_is_stdin(const char *path)
{
    return path && strcmp(path, "-") == 0 ? "/dev/stdin" : path;
}

const char *ruvm_args_input(const struct ruvm_args *args, const char *name)
{
    return dash_is_stdin(slot_of(args, name)->text);
}

unsigned ruvm_args_n_operands(const struct ruvm_args *args)
{
    return args->n_operands;
}

const char *ruvm_args_operand(const struct ruvm_args *args, unsigned i)
{
    return i < args->n_operands ? dash_is_stdin(args->operands[i]) : NULL;
}
