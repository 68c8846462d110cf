/* Problems: everything that is wrong with a file, told at once.
 *
 * Who looks at a whole file notes each problem and reports them together:
 *
 *     struct ruvm_problems p = {0};
 *     if (dim == 0)
 *         ruvm_problems_note(&p, RUVM_ERR_UNSUPPORTED, "dim is not given");
 *     ...
 *     return ruvm_problems_report(&p, err);
 */
#ifndef RUVM_BASE_PROBLEMS_H
#define RUVM_BASE_PROBLEMS_H

#include <stddef.h>

#include "lib/base/status.h"

enum {
    RUVM_PROBLEMS_BYTES = 900, /* leaves room in struct ruvm_error for the file's name */
    RUVM_PROBLEM_BYTES = 256,  /* of one; longer ones are cut */
};

/* Zero it before use. */
struct ruvm_problems {
    char text[RUVM_PROBLEMS_BYTES]; /* joined by "; " */
    size_t used;
    unsigned n, n_left_out; /* that found no room in text */
    int code;               /* of the first */
};

void ruvm_problems_note(struct ruvm_problems *p, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* RUVM_OK when nothing was noted; else the first one's code, and the text in err. */
int ruvm_problems_report(const struct ruvm_problems *p, struct ruvm_error *err);

#endif
