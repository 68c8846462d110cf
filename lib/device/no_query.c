/* Instead of query.c where an application goes without knowledge, to be smaller. */
#include "lib/device/query.h"

#include "lib/device/console.h"

size_t ruvm_device_query_bytes(const struct ruvm_device_model *m)
{
    (void)m;
    return 0;
}

void ruvm_device_query(const struct ruvm_device_model *m, char *rest)
{
    (void)m;
    (void)rest;
    ruvm_console_text("error this application has no search: flash knowledge.elf\n");
}
