/* The kernel tables by name, for people: which exist, which this machine can run. */
#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/ruvm_tool.h"

/* "avx2, scalar": the tables that this machine runs. */
static void list_available(char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (unsigned i = 0; ruvm_kernels_all[i] && n < size; i++) {
        if (!ruvm_kernels_all[i]->available())
            continue;
        const char *name = ruvm_kernels_all[i]->name;
        n += (size_t)snprintf(text + n, size - n, "%s%s", n ? ", " : "", name);
    }
}

static bool exists(const char *name)
{
    for (unsigned i = 0; ruvm_kernels_all[i]; i++)
        if (strcmp(ruvm_kernels_all[i]->name, name) == 0)
            return true;
    return false;
}

int ruvm_kernels_find(const struct ruvm_kernels **kernels, const char *name, struct ruvm_error *err)
{
    char names[128];
    *kernels = ruvm_kernels_select(name);
    if (*kernels)
        return RUVM_OK;
    list_available(names, sizeof names);
    return ruvm_fail(err, RUVM_ERR_ARG, "kernels %s: %s; use one of: %s", name,
                     exists(name) ? "this machine cannot run them" : "there are none of that name",
                     names);
}

const char *ruvm_kernels_name(const struct ruvm_kernels *kernels)
{
    return kernels->name;
}

const char *ruvm_kernels_list(unsigned i, bool *available)
{
    unsigned n = 0;
    while (ruvm_kernels_all[n])
        n++;
    if (i >= n)
        return NULL;
    *available = ruvm_kernels_all[i]->available() != 0;
    return ruvm_kernels_all[i]->name;
}
