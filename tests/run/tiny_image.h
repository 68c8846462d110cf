/* Images of the tiny committed checkpoints, made in a temporary file. */
#ifndef TESTS_RUN_TINY_IMAGE_H
#define TESTS_RUN_TINY_IMAGE_H

#include <criterion/criterion.h>

#include "lib/ruvm_tool.h"
#include "tests/support/tiny_model.h"

/* A model of 288 tokens, most of them bytes of fallback, so that its text is no UTF-8. */
#define TINY_BYTES "tests/golden/tiny-legacy.bin", "tests/golden/tiny-tokenizer.bin"
/* A model of 40 tokens, letters. */
#define TINY_LETTERS "tests/golden/tiny-v1.bin", "tests/golden/tiny-tokenizer-40.bin"

/* Its path; tokenizer may be NULL. */
static inline const char *tiny_image(const char *checkpoint, const char *tokenizer)
{
    struct ruvm_error err = {0};
    struct ruvm_quantize_result r;
    struct ruvm_quantize_options o = {
        .input = checkpoint, .tokenizer = tokenizer, .output = tiny_path(), .no_quality = true};
    cr_assert_eq(ruvm_quantize(&o, &r, &err), RUVM_OK, "%s", err.text);
    ruvm_quantize_free(&r);
    return o.output;
}

#endif
