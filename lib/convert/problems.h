/* Problems: everything that is wrong with a file, gathered in one message.
 *
 *     ruvm_problems_note(&p, RUVM_ERR_MISMATCH, "%s is [%u]", name, n);
 *     return ruvm_problems_report(&p, err);
 */
#ifndef RUVM_CONVERT_PROBLEMS_H
#define RUVM_CONVERT_PROBLEMS_H

#include <stddef.h>

#include "lib/base/error.h"

/* Leaves room in struct ruvm_error for the file's name. */
enum { RUVM_PROBLEMS_BYTES = 800 };

struct ruvm_problems {
    char text[RUVM_PROBLEMS_BYTES]; /* joined by "; " */
    size_t used;
    unsigned n, n_left_out;
    int code; /* of the first */
};

void ruvm_problems_note(struct ruvm_problems *p, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* RUVM_OK when there was none; else fails with the first one's code and all of them. */
int ruvm_problems_report(const struct ruvm_problems *p, struct ruvm_error *err);

#endif
