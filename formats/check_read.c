/* Checks of the reader: one function a rule, so that a breach is always told the same way
 * and the rules are small code, which a chip's flash is glad of.
 */
#define RUVM_CHECK_DEFINED_HERE 1
#include "formats/check_read.h"

#include "lib/base/bytes.h"

const char ruvm_check_names[RUVM_N_SECTIONS][5] = {
    RUVM_SEC_ARCH, RUVM_SEC_TENS, RUVM_SEC_SCAL, RUVM_SEC_NORM,   RUVM_SEC_KVSC,
    RUVM_SEC_WGTS, RUVM_SEC_ROPE, RUVM_SEC_BIAS, RUVM_SEC_WIND,   RUVM_SEC_MLP,
    RUVM_SEC_TOKN, RUVM_SEC_META, RUVM_SEC_GOLD, RUVM_SEC_LABELS,
};

bool ruvm_check_fail(struct ruvm_check *c, const uint8_t *at, const struct ruvm_image_fault *fault)
{
    c->rc = RUVM_ERR_CORRUPT;
    *c->fault = *fault;
    c->fault->off = (uint32_t)(at - c->img->data);
    for (int i = 0; i < 4 && c->section[i]; i++)
        c->fault->section[i] = c->section[i];
    return false;
}

bool ruvm_check_equal(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t expected,
                      uint64_t found)
{
    const struct ruvm_image_fault f = {
        .what = what, .kind = RUVM_FAULT_EQUAL, .expected = expected, .found = found};
    return found == expected || ruvm_check_fail(c, at, &f);
}

bool ruvm_check_at_least(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t least,
                         uint64_t found)
{
    const struct ruvm_image_fault f = {
        .what = what, .kind = RUVM_FAULT_AT_LEAST, .expected = least, .found = found};
    return found >= least || ruvm_check_fail(c, at, &f);
}

bool ruvm_check_at_most(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t most,
                        uint64_t found)
{
    const struct ruvm_image_fault f = {
        .what = what, .kind = RUVM_FAULT_AT_MOST, .expected = most, .found = found};
    return found <= most || ruvm_check_fail(c, at, &f);
}

bool ruvm_check_multiple(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t of,
                         uint64_t found)
{
    const struct ruvm_image_fault f = {
        .what = what, .kind = RUVM_FAULT_MULTIPLE, .expected = of, .found = found};
    return found % of == 0 || ruvm_check_fail(c, at, &f);
}

bool ruvm_check_holds(struct ruvm_check *c, const uint8_t *at, const char *what, bool ok)
{
    const struct ruvm_image_fault f = {.what = what, .kind = RUVM_FAULT_TEXT};
    return ok || ruvm_check_fail(c, at, &f);
}

bool ruvm_check_crc(struct ruvm_check *c, const uint8_t *at, uint32_t expected, uint32_t found)
{
    const struct ruvm_image_fault f = {
        .what = "CRC-32", .kind = RUVM_FAULT_CRC, .expected = expected, .found = found};
    return found == expected || ruvm_check_fail(c, at, &f);
}

bool ruvm_check_zeros(struct ruvm_check *c, const uint8_t *from, const uint8_t *to,
                      const char *what)
{
    while (from < to && *from == 0)
        from++;
    return from == to || ruvm_check_equal(c, from, what, 0, *from);
}

uint32_t ruvm_check_utf8(struct ruvm_check *c, const uint8_t *at, const uint8_t *end)
{
    uint32_t n = ruvm_utf8_bytes(at, end);
    ruvm_check_holds(c, at, "text is not UTF-8", n > 0);
    return n;
}

bool ruvm_check_exponents(struct ruvm_check *c, const uint8_t *at, uint32_t n)
{
    struct ruvm_image_fault f = {.what = "exponent", .kind = RUVM_FAULT_EXPONENT};
    for (uint32_t i = 0; i < n; i++) {
        int64_t e = (int8_t)at[i];
        f.found = (uint64_t)e;
        if (e < RUVM_MIN_EXP || e > RUVM_MAX_EXP)
            return ruvm_check_fail(c, at + i, &f);
    }
    return true;
}

bool ruvm_check_known(struct ruvm_check *c, const uint8_t *at, const char *what, uint64_t most,
                      uint64_t found)
{
    if (ruvm_check_at_most(c, at, what, most, found))
        return true;
    c->rc = RUVM_ERR_UNSUPPORTED;
    return false;
}

bool ruvm_check_supported(struct ruvm_check *c, const uint8_t *at, const char *what, bool ok)
{
    if (ruvm_check_holds(c, at, what, ok))
        return true;
    c->rc = RUVM_ERR_UNSUPPORTED;
    return false;
}

bool ruvm_check_enter(struct ruvm_check *c, enum ruvm_section_index part, uint64_t size)
{
    c->section = ruvm_check_names[part];
    return ruvm_check_equal(c, c->part[part].data, "size of the section", size, c->part[part].size);
}

bool ruvm_check_present(struct ruvm_check *c, enum ruvm_section_index part)
{
    c->section = ruvm_check_names[part];
    return ruvm_check_holds(c, c->img->data + RUVM_HDR_N_SECTIONS, "required section is missing",
                            c->part[part].data != NULL);
}
