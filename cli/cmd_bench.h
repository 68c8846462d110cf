/* The parts of `ruvm bench`: cmd_bench.c has the options, cmd_bench_measure.c measures,
 * cmd_bench_table.c prints tables, cmd_bench_json.c one object, cmd_bench_kernels.c the kernels
 * against the roofs, cmd_bench_masks.c what masks cost. */
#ifndef RUVM_CMD_BENCH_H
#define RUVM_CMD_BENCH_H

#include "cli/cli.h"

struct cJSON;
struct ruvm_bench_comparison;

struct ruvm_bench_failure {
    const char *model;
    struct ruvm_error err;
};

/* All measurements of one call: models times kernels. */
struct ruvm_bench_list {
    struct ruvm_bench_result *results; /* owned */
    unsigned n, cap;
    struct ruvm_bench_failure *failures; /* owned; models that could not be measured */
    unsigned n_failures;
    unsigned n_asked;   /* models of the call */
    const char *source; /* of --quality, or NULL */
    bool no_speed;
    const struct ruvm_bench_comparison *comparison; /* of --compare, or NULL */
    const struct ruvm_bench_sweep *sweep;           /* of --sweep, or NULL */
    unsigned *points;                               /* [n] of the sweep's values; owned */
};

/* All models with all values and tables, into the list. Returns enum ruvm_cli_exit, failures
 * reported. */
int ruvm_cmd_bench_measure(struct ruvm_bench_list *list, const struct ruvm_args *args,
                           const struct ruvm_bench_options *options);

/* ---- cmd_bench_sweep.c: one option with several values ---------------------------- */

enum { RUVM_BENCH_SWEEP_MOST = 64 };

struct ruvm_bench_sweep {
    char *text; /* owned: the values are in it */
    const char *key;
    bool is_number, is_mask;
    const char *values[RUVM_BENCH_SWEEP_MOST];
    unsigned n; /* 0: no sweep */
};

/* Reads --sweep by the verb's table of options. Returns enum ruvm_cli_exit, wrong usage
 * reported. */
int ruvm_cmd_bench_sweep_open(struct ruvm_bench_sweep *s, const struct ruvm_args *args,
                              const struct ruvm_args_option *options);
/* Sets value i. */
void ruvm_cmd_bench_sweep_set(struct ruvm_bench_options *o, const struct ruvm_bench_sweep *s,
                              unsigned i);
void ruvm_cmd_bench_sweep_print(const struct ruvm_bench_list *list, enum ruvm_table_style style);
/* The same of --sweep mask, whose rows stand beside that of dense attention. */
void ruvm_cmd_bench_masks_print(const struct ruvm_bench_list *list, enum ruvm_table_style style);
void ruvm_cmd_bench_sweep_free(struct ruvm_bench_sweep *s);

/* ---- output ------------------------------------------------------------------------- */

/* The sweep, or else the kernels, as one SVG file. Returns enum ruvm_cli_exit. */
int ruvm_cmd_bench_plot(const struct ruvm_bench_list *list, const char *path);

/* Needs at least one result. */
void ruvm_cmd_bench_table(const struct ruvm_bench_list *list, enum ruvm_table_style style);
/* "matmul_s8 2048 x 768, L2" */
void ruvm_cmd_bench_kernel_name(char *text, size_t size, const struct ruvm_bench_kernel *k,
                                const struct ruvm_bench_roofs *roofs);
/* Whether the roofs differ so much from round to round that shares of them mean little. */
bool ruvm_cmd_bench_is_disturbed(const struct ruvm_bench_roofs *r);
/* Kernels and roofs, when they were measured; below: something stands above them. */
void ruvm_cmd_bench_kernels(const struct ruvm_bench_list *list, enum ruvm_table_style style,
                            bool below);
void ruvm_cmd_bench_json(const struct ruvm_bench_list *list);

/* ---- cmd_bench_compare.c: this call beside an older one ------------------------- */

struct ruvm_bench_rate { /* of both calls; the ratio is now over then */
    const char *model, *kernels;
    char what[96];
    struct ruvm_spread then, now;
    double ratio, ratio_min, ratio_max;
    bool slower; /* than the bound */
};

struct ruvm_bench_comparison {
    const char *path;
    struct cJSON *old;             /* owned */
    const char *machine;           /* of the older call */
    double bound;                  /* of --fail-if, 0.97 for -3%; 0: none */
    struct ruvm_bench_rate *rates; /* owned */
    unsigned n, n_slower;
};

/* Reads the older call and the bound, a text of the user's ("-3%") or NULL. Returns enum
 * ruvm_cli_exit, failures reported. */
int ruvm_cmd_bench_compare_open(struct ruvm_bench_comparison *c, const struct ruvm_args *args);
/* Finds for each result the same measurement there; refuses what cannot be compared. With
 * RUVM_EXIT_SLOWER a rate is below the bound, which is reported after printing. */
int ruvm_cmd_bench_compare(struct ruvm_bench_comparison *c, const struct ruvm_bench_list *list);
void ruvm_cmd_bench_compare_print(const struct ruvm_bench_comparison *c,
                                  enum ruvm_table_style style);
void ruvm_cmd_bench_compare_json(struct cJSON *object, const struct ruvm_bench_comparison *c);
void ruvm_cmd_bench_compare_free(struct ruvm_bench_comparison *c);

#endif
