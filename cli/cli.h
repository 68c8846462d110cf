/* The command line's own tools: options, help, completions, output.
 *
 * A verb is one constant `struct ruvm_args_command`: its table of options gives
 * the parser, `--help`, the shell completions and the documentation test, so an
 * option is written once. Its function turns options into one call of
 * lib/ruvm_tool.h and the result into text or one JSON object.
 *
 * Standard output carries results, standard error everything else.
 */
#ifndef RUVM_CLI_H
#define RUVM_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/ruvm_tool.h"

/* The same in every manual page; after a signal 128 and its number, as shells have it. */
enum ruvm_cli_exit {
    RUVM_EXIT_DONE = 0,
    RUVM_EXIT_FAILED = 1,
    RUVM_EXIT_USAGE = 2,
    RUVM_EXIT_FIT = 3,    /* a model does not fit the chip that was asked about */
    RUVM_EXIT_VERIFY = 4, /* golden vectors differ, or files that were compared; a signature
                             does not hold */
    RUVM_EXIT_SLOWER = 5, /* than --fail-if of bench allows */
};

/* ---- args.c: options ----------------------------------------------------- */

enum ruvm_args_kind {
    RUVM_ARGS_FLAG,
    RUVM_ARGS_COUNT,  /* whole number, decimal or 0x, with k or M for 2^10 and 2^20 */
    RUVM_ARGS_NUMBER, /* finite decimal number */
    RUVM_ARGS_SEED,   /* any 64-bit whole number */
    RUVM_ARGS_TEXT,
    RUVM_ARGS_FILE,    /* text that shells complete as a file name */
    RUVM_ARGS_CHOICE,  /* one word of `choices` */
    RUVM_ARGS_KERNELS, /* text that shells complete from `ruvm --version` */
};

/* A row of a verb's table; the table ends with an empty row. */
struct ruvm_args_option {
    const char *name; /* long name, without dashes */
    char letter;      /* short name or 0 */
    enum ruvm_args_kind kind;
    const char *value;    /* the argument's name in help; NULL for a flag */
    const char *help;     /* up to the first ';' it is also the completions' text */
    const char *fallback; /* default, spelled as a user would; NULL: none */
    double min, max;      /* COUNT and NUMBER, both inclusive */
    const char *choices;  /* CHOICE: words separated by one space; TEXT: words to offer */
    bool repeats;         /* every occurrence counts; else the last one wins */
};

struct ruvm_args;

struct ruvm_args_command {
    const char *name;    /* the verb, "" for ruvm itself */
    const char *summary; /* one line */
    const char *usage;   /* what follows the verb */
    const char *examples;
    const struct ruvm_args_option *options;
    unsigned min_operands, max_operands;
    int (*run)(const struct ruvm_args *args); /* returns enum ruvm_cli_exit */
};

/* Rows that several verbs share. */
#define RUVM_ARGS_HELP                                                                             \
    {                                                                                              \
        "help", 'h', RUVM_ARGS_FLAG, .help = "print this help and exit"                            \
    }
#define RUVM_ARGS_JSON                                                                             \
    {                                                                                              \
        "json", 0, RUVM_ARGS_FLAG, .help = "print one JSON object"                                 \
    }
#define RUVM_ARGS_PROGRESS                                                                         \
    {                                                                                              \
        "progress", 0, RUVM_ARGS_CHOICE, "WHEN",                                                   \
            .help = "progress on standard error; auto: only where that is a terminal",             \
            .fallback = "auto", .choices = "auto plain none"                                       \
    }
/* How the neighbours of --knn vote. */
#define RUVM_ARGS_KNN_SHARE                                                                        \
    {                                                                                              \
        "knn-share", 0, RUVM_ARGS_NUMBER, "X",                                                     \
            .help = "share of the neighbours' votes in each probability", .fallback = "0.25",      \
            .min = 0, .max = 0.999                                                                 \
    }
#define RUVM_ARGS_KNN_K                                                                            \
    {                                                                                              \
        "knn-k", 0, RUVM_ARGS_COUNT, "N", .help = "neighbours that vote", .fallback = "32",        \
                                          .min = 1, .max = 256                                     \
    }
#define RUVM_ARGS_KNN_SPREAD                                                                       \
    {                                                                                              \
        "knn-spread", 0, RUVM_ARGS_NUMBER, "X",                                                    \
            .help = "squared distance, of states of length 1, at which a vote is worth 1/e",       \
            .fallback = "0.05", .min = 0.0001, .max = 100                                          \
    }
#define RUVM_ARGS_KNN RUVM_ARGS_KNN_SHARE, RUVM_ARGS_KNN_K, RUVM_ARGS_KNN_SPREAD

/* Parses argv[0 .. argc), the words after the verb. *args is NULL when the process is
 * to end with the returned code at once: after --help, or a usage error. */
int ruvm_args_parse(struct ruvm_args **args, const struct ruvm_args_command *command, int argc,
                    char **argv);
void ruvm_args_free(struct ruvm_args *args);

/* Values by long name; a default of the table counts as a value. COUNT and SEED
 * without value and default are 0, texts NULL. */
bool ruvm_args_given(const struct ruvm_args *args, const char *name);
uint64_t ruvm_args_count(const struct ruvm_args *args, const char *name);
uint32_t ruvm_args_u32(const struct ruvm_args *args, const char *name);
double ruvm_args_number(const struct ruvm_args *args, const char *name);
/* A number, as the library takes it: 65536 is 1. */
uint32_t ruvm_args_q16(const struct ruvm_args *args, const char *name);
const char *ruvm_args_text(const struct ruvm_args *args, const char *name);
const char *const *ruvm_args_texts(const struct ruvm_args *args, const char *name, unsigned *n);
/* Like _text, "-" read as standard input. */
const char *ruvm_args_input(const struct ruvm_args *args, const char *name);
unsigned ruvm_args_n_operands(const struct ruvm_args *args);
/* Operand i, "-" read as standard input; NULL when there are fewer. */
const char *ruvm_args_operand(const struct ruvm_args *args, unsigned i);

/* Prints "ruvm VERB: message" and where help is; returns RUVM_EXIT_USAGE. */
int ruvm_args_fail(const struct ruvm_args_command *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same from within a verb. */
int ruvm_args_usage(const struct ruvm_args *args, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* RUVM_EXIT_DONE, or the message and RUVM_EXIT_USAGE when one of RUVM_ARGS_KNN is given without
 * --knn. */
int ruvm_args_check_knn(const struct ruvm_args *args);

/* The word nearest to a misspelt one among n, or NULL when none is near. */
const char *ruvm_args_nearest(const char *word, const char *const *words, unsigned n);

/* ---- places.c: files that are to be written, before the work ------------- */

/* Whether two paths are one file, of which neither has to be there; NULL is none. */
bool ruvm_places_same(const char *a, const char *b);
/* RUVM_EXIT_DONE, or the message why nothing can be written there. */
int ruvm_places_check(const char *verb, const char *output);
/* The same of --plot, which is not to replace one of n inputs either; each may be NULL. */
int ruvm_places_check_plot(const struct ruvm_args *args, const char *verb,
                           const char *const *inputs, unsigned n);

/* ---- help.c and completion.c: what else the tables give ------------------ */

void ruvm_help_command(const struct ruvm_args_command *command);
void ruvm_help_verbs(const struct ruvm_args_command *ruvm,
                     const struct ruvm_args_command *const *verbs);

/* Prints the completion of a shell: "bash", "zsh" or "fish". verbs ends with NULL. */
void ruvm_completion_print(const char *shell, const struct ruvm_args_command *ruvm,
                           const struct ruvm_args_command *const *verbs);

/* ---- output.c: messages, numbers, progress ------------------------------- */

/* Zeroed memory; ends the process with a message when there is none. */
void *ruvm_output_alloc(size_t count, size_t size);
/* The array with room for `wanted` elements of that size, of which *cap had room before. */
void *ruvm_output_grow(void *array, size_t *cap, size_t wanted, size_t size);

/* "ruvm VERB: message" on standard error; verb "": ruvm itself. Of the message only line ends
 * act, as with ruvm_output_visible(). */
void ruvm_output_error(const char *verb, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Reports a failure of the library and gives the exit code that belongs to it. */
int ruvm_output_failure(const char *verb, const struct ruvm_error *err);
/* Flushes standard output, and remembers why when that fails. */
void ruvm_output_flush(void);
/* The last flush; a full disk or a closed pipe turns rc into failure. */
int ruvm_output_finish(const char *verb, int rc);

/* A copy of n bytes, to be freed, safe to show in one line: control characters and
 * invalid UTF-8 become \xHH. */
char *ruvm_output_visible(const void *bytes, size_t n);
/* 1234567 as "1,234,567"; the text lives until the eighth next call. */
const char *ruvm_output_grouped(uint64_t value);
/* "1 chunk", "1,234 chunks": a number and its noun, with an s where there is not one of it;
 * the text lives as long. */
const char *ruvm_output_many(uint64_t value, const char *noun);
/* A word for a POSIX shell, quoted where it must be; on standard output. */
void ruvm_output_word(const char *word);
/* Length of the valid UTF-8 character at bytes, 0 when there is none. */
size_t ruvm_output_utf8(const uint8_t *bytes, size_t n);
/* This process's memory high-water mark, measured by the system. */
uint64_t ruvm_output_peak_rss_bytes(void);

/* SIGINT and SIGTERM only set a mark from now on; a second one, later, kills. */
void ruvm_output_catch_signals(void);
/* 0, or the signal that came. */
int ruvm_output_signal(void);

/* Progress of the library on standard error; when: "auto", "plain" or "none". Its report
 * also stops the work when a signal came. */
struct ruvm_progress ruvm_output_progress(const char *when);
/* ", 9 s left" or ", 3 min left" of a stage that began at the share `first` and came to
 * `done` in `elapsed` seconds; "" when that says too little yet. */
void ruvm_output_time_left(char *text, size_t size, double first, double done, double elapsed);
/* Takes the progress line away again. */
void ruvm_output_progress_end(void);

/* ---- table.c: aligned columns -------------------------------------------- */

enum ruvm_table_style { RUVM_TABLE_TEXT, RUVM_TABLE_MARKDOWN, RUVM_TABLE_CSV };

struct ruvm_table {
    const char *const *heads; /* [n_cols] */
    const char *align;        /* a letter each: 'l' or 'r' */
    unsigned n_cols;
    char **cells; /* row by row, owned */
    size_t n_cells, cap;
};

/* Adds the next cell; a row is complete after n_cols of them. */
void ruvm_table_cell(struct ruvm_table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void ruvm_table_print(const struct ruvm_table *t, enum ruvm_table_style style);
void ruvm_table_free(struct ruvm_table *t);

/* ---- json.c: one object a command ---------------------------------------- */

struct cJSON;

/* An object with "schema": "ruvm-VERB/1" and the version. */
struct cJSON *ruvm_json_start(const char *verb);
struct cJSON *ruvm_json_object(struct cJSON *parent, const char *key);
struct cJSON *ruvm_json_array(struct cJSON *parent, const char *key);
/* Adders; key NULL: parent is an array. Measured numbers keep six significant digits. */
void ruvm_json_number(struct cJSON *parent, const char *key, double value);
void ruvm_json_count(struct cJSON *parent, const char *key, uint64_t value);
void ruvm_json_signed(struct cJSON *parent, const char *key, int64_t value);
void ruvm_json_bool(struct cJSON *parent, const char *key, bool value);
void ruvm_json_text(struct cJSON *parent, const char *key, const char *text);
/* Any bytes: what is not UTF-8, and NUL, becomes U+FFFD. */
void ruvm_json_bytes(struct cJSON *parent, const char *key, const void *bytes, size_t n);
/* The keys of a pack: bytes, sections, signature. */
void ruvm_json_pack(struct cJSON *parent, const struct ruvm_pack_result *r);
/* The median of repeated measurements under the key itself, then KEY_min, KEY_max and KEY_n. */
void ruvm_json_spread(struct cJSON *parent, const char *key, const struct ruvm_spread *s);
/* The flat keys of a measured quality. */
void ruvm_json_quality(struct cJSON *parent, const struct ruvm_quality *q);
/* Prints the object and frees it. */
void ruvm_json_finish(struct cJSON *object);
/* Frees an object that is not printed after all; NULL is none. */
void ruvm_json_free(struct cJSON *object);
/* The same in one line, for one object of many. */
void ruvm_json_finish_line(struct cJSON *object);

/* ---- the verbs ----------------------------------------------------------- */

extern const struct ruvm_args_command ruvm_cmd_quantize;
extern const struct ruvm_args_command ruvm_cmd_inspect;
extern const struct ruvm_args_command ruvm_cmd_pack;
extern const struct ruvm_args_command ruvm_cmd_flash;
extern const struct ruvm_args_command ruvm_cmd_run;
extern const struct ruvm_args_command ruvm_cmd_bench;
extern const struct ruvm_args_command ruvm_cmd_rag_add;
extern const struct ruvm_args_command ruvm_cmd_bench_rag;

#endif
