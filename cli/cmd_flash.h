/* The parts of `ruvm flash`: cmd_flash.c lays out and writes, cmd_flash_port.c says what a chip
 * was given over its port and stands between its console and a person or a script. */
#ifndef RUVM_CMD_FLASH_H
#define RUVM_CMD_FLASH_H

#include <termios.h>

#include "cli/cli.h"

/* One call of the verb, and its monitor. */
struct ruvm_cmd_flash_call {
    const struct ruvm_args *args;
    const struct ruvm_flash_options *options;
    struct termios keyboard; /* as it was */
    bool changed_keyboard;
    uint8_t typed[4096]; /* but not yet sent */
    size_t n_typed;
    bool ended; /* what is typed */
};

struct cJSON;

enum { RUVM_CMD_FLASH_PATH = 4096 };
/* The folder of ruvm's firmware, in path or elsewhere; NULL: there is none. RUVM_FIRMWARE of the
 * environment goes before what lies beside the executable. */
const char *ruvm_cmd_flash_firmware_dir(char path[RUVM_CMD_FLASH_PATH]);

void ruvm_cmd_flash_print(const struct ruvm_flash_options *o, const struct ruvm_flash_result *r);
void ruvm_cmd_flash_json(struct cJSON *object, const struct ruvm_flash_options *o,
                         const struct ruvm_flash_result *r);

struct ruvm_monitor ruvm_cmd_flash_monitor(struct ruvm_cmd_flash_call *call,
                                           void (*begin)(void *user,
                                                         const struct ruvm_flash_result *r));
/* Says how to leave, where a person is there to read it. */
void ruvm_cmd_flash_greet(const struct ruvm_cmd_flash_call *call);
/* Leaves the keyboard as it was. */
void ruvm_cmd_flash_end(struct ruvm_cmd_flash_call *call);

#endif
