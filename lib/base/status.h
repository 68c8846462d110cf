/* Status codes: every fallible function of ruvm returns one of these.
 *
 * 0 is success, failures are negative, so a function may also return a useful
 * non-negative value. The names say who can help: ARG the caller, IO the
 * machine, CORRUPT and UNSUPPORTED the file, MEMORY and FULL the budget.
 */
#ifndef RUVM_BASE_STATUS_H
#define RUVM_BASE_STATUS_H

enum ruvm_status {
    RUVM_OK = 0,
    RUVM_ERR_ARG = -1,         /* an argument is out of its documented range */
    RUVM_ERR_IO = -2,          /* the operating system refused a read or a write */
    RUVM_ERR_CORRUPT = -3,     /* the bytes contradict their own format */
    RUVM_ERR_UNSUPPORTED = -4, /* well-formed, but beyond what ruvm can do */
    RUVM_ERR_MEMORY = -5,      /* the memory given or available is too small */
    RUVM_ERR_FULL = -6,        /* the context holds no further token */
    RUVM_ERR_MISMATCH = -7,    /* two parts that must agree do not */
};

/* The workstation side's account of the first failure; zero it before use, a recorded
 * failure is kept: see lib/base/error.h. */
struct ruvm_error {
    int code;        /* RUVM_OK while nothing failed */
    char text[1024]; /* "file: place: what, and what to do"; NUL-terminated */
};

#endif
