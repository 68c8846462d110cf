/* Turns the reader's fault, which has no words on a chip, into a sentence.
 *
 * "section KVSC at byte 0x1d3: exponent is 99, expected -80 to 30: ...": the place
 * first, then what was found and expected, then what a person can do.
 */
#include "formats/ruvm_diagnose.h"

#include <inttypes.h>
#include <stdio.h>

static const char *advice(int rc, const char *broken, const struct ruvm_image_fault *f)
{
    if (rc == RUVM_ERR_UNSUPPORTED)
        return "the file needs another version of ruvm";
    if (f->kind == RUVM_FAULT_CRC)
        return "the file is damaged; copy or download it again";
    return broken;
}

/* What was found against what was expected. */
static void say_numbers(char *text, size_t n, const struct ruvm_image_fault *f)
{
    switch (f->kind) {
    case RUVM_FAULT_EQUAL:
        snprintf(text, n, " is %" PRIu64 ", expected %" PRIu64, f->found, f->expected);
        break;
    case RUVM_FAULT_AT_LEAST:
        snprintf(text, n, " is %" PRIu64 ", expected at least %" PRIu64, f->found, f->expected);
        break;
    case RUVM_FAULT_AT_MOST:
        snprintf(text, n, " is %" PRIu64 ", expected at most %" PRIu64, f->found, f->expected);
        break;
    case RUVM_FAULT_MULTIPLE:
        snprintf(text, n, " is %" PRIu64 ", expected a multiple of %" PRIu64, f->found,
                 f->expected);
        break;
    case RUVM_FAULT_EXPONENT:
        snprintf(text, n, " is %d, expected %d to %d", (int)(int64_t)f->found, RUVM_MIN_EXP,
                 RUVM_MAX_EXP);
        break;
    case RUVM_FAULT_CRC:
        snprintf(text, n, " is 0x%08" PRIx64 ", expected 0x%08" PRIx64, f->found, f->expected);
        break;
    case RUVM_FAULT_SIZE:
    case RUVM_FAULT_TEXT: text[0] = '\0'; break;
    }
}

static int fail_size(struct ruvm_error *err, int rc, const char *name,
                     const struct ruvm_image_fault *f)
{
    bool short_of = f->found < f->expected;
    uint64_t n = short_of ? f->expected - f->found : f->found - f->expected;
    if (short_of)
        return ruvm_fail(err, rc,
                         "%s: ends at byte %" PRIu64 ", but %s %" PRIu64 " bytes: %" PRIu64
                         " %s missing; copy or download it again",
                         name, f->found, f->what, f->expected, n, n == 1 ? "byte is" : "bytes are");
    return ruvm_fail(err, rc,
                     "%s: has %" PRIu64 " bytes, but %s %" PRIu64 ": the last %" PRIu64
                     " %s not belong to it; copy or download it again",
                     name, f->found, f->what, f->expected, n, n == 1 ? "does" : "do");
}

static int fail(struct ruvm_error *err, int rc, const char *name, const char *broken,
                const struct ruvm_image_fault *f)
{
    char numbers[96];
    if (rc == RUVM_ERR_ARG)
        return ruvm_fail(err, rc, "%s: does not stand at a multiple of 16 in memory", name);
    if (f->kind == RUVM_FAULT_SIZE)
        return fail_size(err, rc, name, f);
    say_numbers(numbers, sizeof numbers, f);
    return ruvm_fail(err, rc, "%s: %s%.4s at byte 0x%" PRIx32 ": %s%s: %s", name,
                     f->section[0] ? "section " : "header", f->section, f->off, f->what, numbers,
                     advice(rc, broken, f));
}

int ruvm_diagnose_fail(struct ruvm_error *err, int rc, const char *name,
                       const struct ruvm_image_fault *f)
{
    return fail(err, rc, name, "the file breaks the rules of ruvm-image(5); make it again", f);
}

int ruvm_diagnose_pack(struct ruvm_error *err, int rc, const char *name,
                       const struct ruvm_image_fault *f)
{
    return fail(err, rc, name, "the file breaks the rules of ruvm-pack(5); make it again", f);
}
