/* What the files of the verb inspect share. */
#ifndef RUVM_CLI_CMD_INSPECT_H
#define RUVM_CLI_CMD_INSPECT_H

#include "cli/cli.h"

#define RUVM_CMD_NO_TOKEN UINT32_MAX

/* Whether --tensor and --no-tensors let that tensor be shown. */
bool ruvm_cmd_inspect_shows(const struct ruvm_args *args, const char *tensor);
/* A text from a file as a table's cell. */
void ruvm_cmd_inspect_cell(struct ruvm_table *t, const char *text);
/* "16 x 20" */
void ruvm_cmd_inspect_shape(char *text, size_t size, uint32_t n_dims, const uint64_t *dims);

void ruvm_cmd_inspect_json(const struct ruvm_args *args, const struct ruvm_inspect_options *o,
                           const struct ruvm_inspect_result *r);
/* --diff; returns enum ruvm_cli_exit. */
int ruvm_cmd_inspect_diff(const struct ruvm_args *args);
/* --fit; the same. */
int ruvm_cmd_inspect_fit(const struct ruvm_args *args);

#endif
