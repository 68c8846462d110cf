/* Problems: a person with an odd file wants to know everything that is wrong with it, not
 * the first thing. What no longer fits into one message is counted. */
#include "lib/base/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/error.h"

void ruvm_problems_note(struct ruvm_problems *p, int code, const char *fmt, ...)
{
    char text[RUVM_PROBLEM_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (p->n++ == 0)
        p->code = code;
    size_t n = strlen(text), joint = p->used ? 2 : 0;
    if (p->used + joint + n >= sizeof p->text) {
        p->n_left_out++;
        return;
    }
    memcpy(p->text + p->used, "; ", joint);
    memcpy(p->text + p->used + joint, text, n + 1);
    p->used += joint + n;
}

int ruvm_problems_report(const struct ruvm_problems *p, struct ruvm_error *err)
{
    if (p->n == 0)
        return RUVM_OK;
    if (p->n_left_out)
        return ruvm_fail(err, p->code, "%s; and %u more problems", p->text, p->n_left_out);
    return ruvm_fail(err, p->code, "%s", p->text);
}
