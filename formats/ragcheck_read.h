/* Rules of the knowledge blob's reader: each notes its first breach, and they chain with &&.
 * Private to rag_read.c and ragcheck_read.c; freestanding. */
#ifndef RUVM_FORMATS_RAGCHECK_READ_H
#define RUVM_FORMATS_RAGCHECK_READ_H

#include "formats/rag_read.h"

struct ruvm_ragcheck {
    const struct ruvm_rag *rag;
    struct ruvm_rag_fault *fault; /* never NULL */
    int rc;
    const char *section; /* being looked at, or "" */
};

/* Notes a breach at that byte; always false. */
bool ruvm_ragcheck_fail(struct ruvm_ragcheck *c, const uint8_t *at, const char *what);
/* `what` is `found` and should be `expected`. */
bool ruvm_ragcheck_equal(struct ruvm_ragcheck *c, const uint8_t *at, const char *what,
                         uint64_t expected, uint64_t found);
bool ruvm_ragcheck_range(struct ruvm_ragcheck *c, const uint8_t *at, const char *what,
                         uint64_t least, uint64_t most, uint64_t found);
/* As range, but what is outside may be a later version's: RUVM_ERR_UNSUPPORTED. */
bool ruvm_ragcheck_known(struct ruvm_ragcheck *c, const uint8_t *at, const char *what,
                         uint64_t most, uint64_t found);
/* `what` says what is wrong unless ok. */
bool ruvm_ragcheck_holds(struct ruvm_ragcheck *c, const uint8_t *at, const char *what, bool ok);
bool ruvm_ragcheck_zeros(struct ruvm_ragcheck *c, const uint8_t *from, const uint8_t *to,
                         const char *what);

/* As in check_read.h: on a chip a rule is a comparison in place, without its words. */
#if defined(RUVM_WITHOUT_WORDS) && !defined(RUVM_RAGCHECK_DEFINED_HERE)
static inline bool ruvm_ragcheck_that(struct ruvm_ragcheck *c, int rc, bool ok)
{
    if (!ok)
        c->rc = rc;
    return ok;
}
static inline bool ruvm_ragcheck_within(uint64_t least, uint64_t most, uint64_t found)
{
    return found >= least && found <= most;
}
#define RUVM_RAGCHECK(c, at, what, rc, ok) ((void)(at), (void)(what), ruvm_ragcheck_that(c, rc, ok))
#define ruvm_ragcheck_fail(c, at, what) RUVM_RAGCHECK(c, at, what, RUVM_ERR_CORRUPT, false)
#define ruvm_ragcheck_equal(c, at, what, expected, found)                                          \
    RUVM_RAGCHECK(c, at, what, RUVM_ERR_CORRUPT, (uint64_t)(expected) == (uint64_t)(found))
#define ruvm_ragcheck_range(c, at, what, least, most, found)                                       \
    RUVM_RAGCHECK(c, at, what, RUVM_ERR_CORRUPT, ruvm_ragcheck_within(least, most, found))
#define ruvm_ragcheck_known(c, at, what, most, found)                                              \
    RUVM_RAGCHECK(c, at, what, RUVM_ERR_UNSUPPORTED, ruvm_ragcheck_within(0, most, found))
#define ruvm_ragcheck_holds(c, at, what, ok) RUVM_RAGCHECK(c, at, what, RUVM_ERR_CORRUPT, ok)
#define ruvm_ragcheck_zeros(c, from, to, what) ruvm_ragcheck_zeros(c, from, to, "")
#endif

#endif
