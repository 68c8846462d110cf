/* Checks: rules that note their first breach, and chain with &&.
 *
 *     return ruvm_check_at_least(c, p, "context", 1, context) &&
 *            ruvm_check_zeros(c, p + 4, p + 8, "reserved byte");
 *
 * Private to the reader of the image. Each returns whether its rule holds; when it
 * does not, c->rc and the fault tell, and checking ends. Freestanding.
 */
#ifndef RUVM_FORMATS_CHECK_READ_H
#define RUVM_FORMATS_CHECK_READ_H

#include "formats/ruvm_read.h"

/* The sections this version knows: those of every image, those of some networks, which
 * ARCH asks for, and optional ones. */
enum ruvm_section_index {
    RUVM_SECTION_ARCH,
    RUVM_SECTION_TENS,
    RUVM_SECTION_SCAL,
    RUVM_SECTION_NORM,
    RUVM_SECTION_KVSC,
    RUVM_SECTION_WGTS,
    RUVM_N_REQUIRED,
    RUVM_SECTION_ROPE = RUVM_N_REQUIRED,
    RUVM_SECTION_BIAS,
    RUVM_SECTION_WIND,
    RUVM_SECTION_MLP,
    RUVM_SECTION_TOKN,
    RUVM_SECTION_META,
    RUVM_SECTION_GOLD,
    RUVM_SECTION_LABELS,
    RUVM_N_SECTIONS,
};

extern const char ruvm_check_names[RUVM_N_SECTIONS][5];

struct ruvm_check {
    struct ruvm_image *img;
    struct ruvm_image_fault *fault; /* never NULL */
    int rc;
    const char *section;                       /* being checked: its name, or "" for the header */
    struct ruvm_section part[RUVM_N_SECTIONS]; /* data is NULL when absent */
};

/* Notes a breach at that byte; always false. */
bool ruvm_check_fail(struct ruvm_check *c, const uint8_t *at, const struct ruvm_image_fault *fault);
/* `what` stands at that byte and is `found`: it should be so. */
bool ruvm_check_equal(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t expected,
                      uint64_t found);
bool ruvm_check_at_least(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t least,
                         uint64_t found);
bool ruvm_check_at_most(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t most,
                        uint64_t found);
bool ruvm_check_multiple(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t of,
                         uint64_t found);
/* As at_most, but a value above is not damage: a later version may give it a meaning. */
bool ruvm_check_known(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t most,
                      uint64_t found);
/* `what` says what is wrong unless ok. */
bool ruvm_check_holds(struct ruvm_check *c, const uint8_t *at, const char *what, bool ok);
/* As holds, but what breaks it is not damage: a later version may give it a meaning. */
bool ruvm_check_supported(struct ruvm_check *c, const uint8_t *at, const char *what, bool ok);
bool ruvm_check_crc(struct ruvm_check *c, const uint8_t *at, uint32_t expected, uint32_t found);
bool ruvm_check_zeros(struct ruvm_check *c, const uint8_t *from, const uint8_t *to,
                      const char *what);
/* Bytes of the UTF-8 character there; 0: it is none. */
uint32_t ruvm_check_utf8(struct ruvm_check *c, const uint8_t *at, const uint8_t *end);
/* n of them. */
bool ruvm_check_exponents(struct ruvm_check *c, const uint8_t *at, uint32_t n);
/* Begins the checks of what is in a section; its size must be exactly this. */
bool ruvm_check_enter(struct ruvm_check *c, enum ruvm_section_index part, uint64_t size);
/* A section that every image must have, or one with this ARCH. */
bool ruvm_check_present(struct ruvm_check *c, enum ruvm_section_index part);

/* On a chip nobody reads the words of a breach: so a rule there is a comparison in place, and
 * takes no flash for its words, place and numbers. */
#if defined(RUVM_WITHOUT_WORDS) && !defined(RUVM_CHECK_DEFINED_HERE)
static inline bool ruvm_check_that(struct ruvm_check *c, int rc, bool ok)
{
    if (!ok)
        c->rc = rc;
    return ok;
}
#define RUVM_CHECK(c, at, what, rc, ok) ((void)(at), (void)(what), ruvm_check_that(c, rc, ok))
#define ruvm_check_equal(c, at, what, expected, found)                                             \
    RUVM_CHECK(c, at, what, RUVM_ERR_CORRUPT, (expected) == (found))
#define ruvm_check_at_least(c, at, what, least, found)                                             \
    RUVM_CHECK(c, at, what, RUVM_ERR_CORRUPT, (uint64_t)(least) <= (found))
#define ruvm_check_at_most(c, at, what, most, found)                                               \
    RUVM_CHECK(c, at, what, RUVM_ERR_CORRUPT, (uint64_t)(most) >= (found))
#define ruvm_check_multiple(c, at, what, of, found)                                                \
    RUVM_CHECK(c, at, what, RUVM_ERR_CORRUPT, (found) % (of) == 0)
#define ruvm_check_known(c, at, what, most, found)                                                 \
    RUVM_CHECK(c, at, what, RUVM_ERR_UNSUPPORTED, (uint64_t)(most) >= (found))
#define ruvm_check_holds(c, at, what, ok) RUVM_CHECK(c, at, what, RUVM_ERR_CORRUPT, ok)
#define ruvm_check_supported(c, at, what, ok) RUVM_CHECK(c, at, what, RUVM_ERR_UNSUPPORTED, ok)
#define ruvm_check_crc(c, at, expected, found)                                                     \
    RUVM_CHECK(c, at, "", RUVM_ERR_CORRUPT, (expected) == (found))
#define ruvm_check_zeros(c, from, to, what) ruvm_check_zeros(c, from, to, "")
#endif

#endif
