/* What the files of the verb pack share with inspect. */
#ifndef RUVM_CLI_CMD_PACK_H
#define RUVM_CLI_CMD_PACK_H

#include "cli/cli.h"

/* The sections of a pack as a table, and its signature. */
void ruvm_cmd_pack_print(const char *path, const struct ruvm_pack_result *r);

#endif
