/* The parts of `ruvm quantize`: cmd_quantize.c takes the options, cmd_quantize_check.c
 * refuses what contradicts itself, cmd_quantize_print.c and cmd_quantize_report.c tell
 * people, cmd_quantize_json.c programs, cmd_quantize_plot.c draws the search. */
#ifndef RUVM_CMD_QUANTIZE_H
#define RUVM_CMD_QUANTIZE_H

#include "cli/cli.h"

#define RUVM_QUANTIZE_TYPES "int8 int4 int3 int2 ternary binary xnor"

/* What an image would weigh with another --type. */
struct ruvm_quantize_size {
    char type[16];
    uint64_t image_bytes;
    double bits_per_weight;
};

/* One call of the verb: what it was asked, and what came out. */
struct ruvm_quantize_call {
    const struct ruvm_args *args;
    struct ruvm_quantize_options o;
    struct ruvm_quantize_result r;
    char **tensor_types;   /* [o.n_tensor_types], owned */
    uint32_t *drop_layers; /* [o.n_drop_layers], owned */
    unsigned n_sizes;      /* of a dry run without --type; else 0 */
    struct ruvm_quantize_size *sizes;
    size_t engine_bytes; /* what the written image asks of a chip; 0: not known */
    int plot;            /* enum ruvm_cli_exit of the plot */
};

/* Whether a search was asked for. */
bool ruvm_cmd_quantize_searches(const struct ruvm_quantize_options *o);
/* Whether the tensors' shares of the loss were estimated. */
bool ruvm_cmd_quantize_estimated(const struct ruvm_quantize_result *r);

/* Before the work: usage errors, and files that surely cannot be written. Both return
 * enum ruvm_cli_exit. _check_type: `type` as the value of the option. */
int ruvm_cmd_quantize_check_type(const struct ruvm_args *args, const char *option,
                                 const char *type);
int ruvm_cmd_quantize_check(const struct ruvm_quantize_call *call);

void ruvm_cmd_quantize_print(const struct ruvm_quantize_call *call);
/* Tables of the tensors, and the worst of them with what to do. */
void ruvm_cmd_quantize_report(const struct ruvm_quantize_call *call);
void ruvm_cmd_quantize_json(const struct ruvm_quantize_call *call);
/* A warning on standard error when the image says no more than chance. */
void ruvm_cmd_quantize_warn(const struct ruvm_quantize_result *r);
/* Before the image is written: what cannot be drawn leaves no image. Reports a failure. */
int ruvm_cmd_quantize_plot(const struct ruvm_quantize_options *o,
                           const struct ruvm_quantize_result *r, const char *path);

/* With -o - standard output is the image's, and what we say goes to standard error. */
void ruvm_cmd_quantize_leave_stdout(const struct ruvm_quantize_options *o);

/* All of the verb when --to asks for another format than ours. */
int ruvm_cmd_quantize_export(const struct ruvm_args *args);

#endif
