/* Masks as people write them: "window:64,4". */
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/ruvm_tool.h"

struct kind {
    const char *name;
    uint16_t kind, least, most; /* numbers behind the name */
};

static const struct kind kinds[] = {
    {"none", RUVM_MASK_NONE, 0, 0},       {"window", RUVM_MASK_WINDOW, 1, 2},
    {"strided", RUVM_MASK_STRIDED, 2, 2}, {"dilated", RUVM_MASK_DILATED, 2, 2},
    {"bigbird", RUVM_MASK_BIGBIRD, 1, 3},
};

static const struct kind *kind_of(const char *text, size_t n)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].name) == n && memcmp(kinds[i].name, text, n) == 0)
            return &kinds[i];
    return NULL;
}

/* Numbers separated by commas; how many, or -1 for what is none. */
static int read_numbers(uint16_t n[3], const char *text)
{
    int count = 0;
    while (*text) {
        char *end;
        if (count == 3 || *text < '0' || *text > '9')
            return -1;
        unsigned long value = strtoul(text, &end, 10);
        if (value > UINT16_MAX || (*end && (*end != ',' || !end[1])))
            return -1;
        n[count++] = (uint16_t)value;
        text = *end ? end + 1 : end;
    }
    return count;
}

int ruvm_mask_parse(struct ruvm_mask *mask, const char *text, struct ruvm_error *err)
{
    size_t n = strcspn(text, ":");
    const struct kind *kind = kind_of(text, n);
    *mask = (struct ruvm_mask){0};
    int count = read_numbers(mask->n, text[n] ? text + n + 1 : "");
    mask->kind = kind ? kind->kind : 0;
    if (kind && count >= kind->least && count <= kind->most && ruvm_mask_check(mask) == RUVM_OK)
        return RUVM_OK;
    return ruvm_fail(err, RUVM_ERR_ARG,
                     "mask %s: is none of none, window:N,SINKS, strided:N,STEP, dilated:N,STEP and "
                     "bigbird:N,SINKS,DRAWN with N and STEP from 1 to %d, DRAWN at most %d",
                     text, UINT16_MAX, RUVM_MASK_MAX_DRAWN);
}
