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

/* ---- caches ----------------------------------------------------------------- */

/* The first word of a file of one cache in /sys; "" when there is none. */
static void read_word(char *word, size_t size, int cache, const char *name)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", cache, name);
    FILE *f = fopen(path, "re");
    word[0] = '\0';
    if (f && fgets(word, (int)size, f))
        word[strcspn(word, "\n")] = '\0';
    if (f)
        fclose(f);
}

/* "32K" and the like. */
static uint64_t bytes_of(const char *word)
{
    char *end;
    uint64_t n = strtoull(word, &end, 10);
    return *end == 'K' ? n << 10 : *end == 'M' ? n << 20 : n;
}

static void caches_of_sys(uint64_t bytes[RUVM_MACHINE_CACHES])
{
    char level[32], type[32], size[32];
    for (int i = 0; i < 16; i++) {
        read_word(level, sizeof level, i, "level");
        read_word(type, sizeof type, i, "type");
        read_word(size, sizeof size, i, "size");
        long at = strtol(level, NULL, 10);
        if (at >= 1 && at <= RUVM_MACHINE_CACHES && strcmp(type, "Instruction") != 0)
            bytes[at - 1] = bytes_of(size);
    }
}

static void caches_of_sysconf(uint64_t bytes[RUVM_MACHINE_CACHES])
{
    static const int names[RUVM_MACHINE_CACHES] = {_SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE,
                                                   _SC_LEVEL3_CACHE_SIZE};
    for (int i = 0; i < RUVM_MACHINE_CACHES; i++) {
        long n = sysconf(names[i]);
        bytes[i] = n > 0 ? (uint64_t)n : 0;
    }
}

bool ruvm_machine_caches(uint64_t bytes[RUVM_MACHINE_CACHES])
{
    static const uint64_t usual[RUVM_MACHINE_CACHES] = {32 << 10, 1 << 20, 16 << 20};
    memset(bytes, 0, RUVM_MACHINE_CACHES * sizeof *bytes);
    caches_of_sys(bytes);
    if (!bytes[0])
        caches_of_sysconf(bytes);
    if (bytes[0])
        return true;
    memcpy(bytes, usual, sizeof usual);
    return false;
}

uint64_t ruvm_machine_peak_rss_bytes(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (uint64_t)usage.ru_maxrss * 1024;
}
