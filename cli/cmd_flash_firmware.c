/* Where the firmware of ruvm is: beside the program, as it was built or installed. */
#define _XOPEN_SOURCE 700 /* realpath, readlink */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd_flash.h"

static bool resolve(char *path, const char *base, const char *below)
{
    char joined[2 * RUVM_CMD_FLASH_PATH];
    snprintf(joined, sizeof joined, "%s/%s", base, below);
    return realpath(joined, path) != NULL;
}

const char *ruvm_cmd_flash_firmware_dir(char path[RUVM_CMD_FLASH_PATH])
{
    static const char *const places[] = {"../share/ruvm/firmware", "../firmware"};
    char own[RUVM_CMD_FLASH_PATH];
    const char *said = getenv("RUVM_FIRMWARE");
    if (said)
        return *said ? said : NULL;
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    if (n <= 0)
        return NULL;
    own[n] = '\0';
    char *slash = strrchr(own, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (resolve(path, own, places[i]))
            return path;
    return NULL;
}
