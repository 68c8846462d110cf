/* Describes the machine, because a speed without one means nothing.
 *
 * A number from this machine may be compared with one from another hour here, and
 * with no other: the line names what changes it.
 */
#define _GNU_SOURCE
#include "lib/measure/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/ruvm_tool.h"

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* What follows "key : " in a line of /proc/cpuinfo, without its newline, or NULL. */
static char *value_of(char *line, const char *key)
{
    char *colon = strchr(line, ':');
    if (strncmp(line, key, strlen(key)) != 0 || !colon)
        return NULL;
    colon += 1 + strspn(colon + 1, " \t");
    colon[strcspn(colon, "\n")] = '\0';
    return colon;
}

/* x86 and POWER say "model name" or "cpu"; Arm boards often "Model" or "Hardware" only. */
static void processor(char *text, size_t size)
{
    static const char *const keys[] = {"model name", "cpu\t", "Model", "Hardware"};
    char *line = NULL, *value = NULL;
    size_t cap = 0;
    snprintf(text, size, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && !value && getline(&line, &cap, f) > 0)
        for (size_t i = 0; i < sizeof keys / sizeof *keys && !value; i++)
            value = value_of(line, keys[i]);
    if (value && *value)
        snprintf(text, size, "%s", value);
    free(line);
    if (f)
        fclose(f);
}

static void kernels(char *text, size_t size)
{
    bool available;
    const char *name;
    size_t n = 0;
    text[0] = '\0';
    for (unsigned i = 0; (name = ruvm_kernels_list(i, &available)) && n < size; i++)
        if (available)
            n += (size_t)snprintf(text + n, size - n, " %s", name);
}

void ruvm_machine_describe(char *text, size_t size)
{
    char cpu[80], tables[80];
    struct utsname u = {0};
    processor(cpu, sizeof cpu);
    kernels(tables, sizeof tables);
    uname(&u);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(text, size, "%s, %s, %ld processor%s online; %s; kernels%s", cpu, u.machine, n,
             n == 1 ? "" : "s", COMPILER, tables);
}

uint64_t ruvm_machine_peak_rss_bytes(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (uint64_t)usage.ru_maxrss * 1024;
}
