/* Breaches of an image, tried one by one. */
#define _POSIX_C_SOURCE 200809L
#include "tests/formats/breach.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_diagnose.h"
#include "lib/ruvm.h"
#include "tests/support/repair_image.h"

void *breach_copy(const void *data, size_t size)
{
    void *copy;
    cr_assert_eq(posix_memalign(&copy, 64, size ? size : 1), 0);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

int breach_refused(const uint8_t *data, size_t size, struct ruvm_image_fault *fault)
{
    struct ruvm_image img;
    struct ruvm_error err = {0};
    int rc = ruvm_image_open(&img, data, size, fault);
    if (rc == RUVM_OK)
        return rc;
    cr_assert_geq(strlen(fault->what), 3);
    cr_assert(fault->off <= size || fault->off == RUVM_HDR_FILE_BYTES);
    cr_assert_eq(ruvm_diagnose_fail(&err, rc, "file", fault), rc);
    cr_assert_gt(strlen(err.text), 20);
    return rc;
}

static uint8_t *place_of(uint8_t *image, size_t size, const struct breach *b)
{
    struct ruvm_image img;
    if (b->part == HEADER)
        return image + b->off;
    if (b->part == TABLE)
        return image + RUVM_HDR_BYTES + b->off;
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    return image + ruvm_image_section(&img, (unsigned)b->part).off + b->off;
}

void breach_all(const uint8_t *image, size_t size, const struct breach *breaches, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct breach *b = &breaches[i];
        struct ruvm_image_fault fault;
        uint8_t *copy = breach_copy(image, size);
        uint8_t *at = place_of(copy, size, b);
        for (unsigned k = 0; k < b->n_bytes; k++)
            at[k] = (uint8_t)(b->value >> 8 * k);
        repair_image(copy, size);
        int rc = breach_refused(copy, size, &fault);
        cr_assert_eq(rc, b->rc, "breach %zu (%s): %s: %s", i, b->what, ruvm_status_text(rc),
                     rc ? fault.what : "");
        cr_assert_str_eq(fault.what, b->what, "breach %zu", i);
        free(copy);
    }
}
