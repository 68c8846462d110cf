/* The parts of `ruvm bench`: cmd_bench.c measures, cmd_bench_table.c prints tables,
 * cmd_bench_json.c one object, cmd_bench_kernels.c the kernels against the roofs. */
#ifndef RUVM_CMD_BENCH_H
#define RUVM_CMD_BENCH_H

#include "cli/cli.h"

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
};

/* Needs at least one result. */
void ruvm_cmd_bench_table(const struct ruvm_bench_list *list, enum ruvm_table_style style);
/* "matmul_s8 2048 x 768, L2" */
void ruvm_cmd_bench_kernel_name(char *text, size_t size, const struct ruvm_bench_kernel *k,
                                const struct ruvm_bench_roofs *roofs);
/* Kernels and roofs, when they were measured; below: something stands above them. */
void ruvm_cmd_bench_kernels(const struct ruvm_bench_list *list, enum ruvm_table_style style,
                            bool below);
void ruvm_cmd_bench_json(const struct ruvm_bench_list *list);

#endif
