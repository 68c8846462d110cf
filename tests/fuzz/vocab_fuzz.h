/* What the targets of tokenizer files share: a vocabulary that was read becomes a section
 * that its reader accepts, or is refused with a reason; then it encodes texts. */
#ifndef TESTS_FUZZ_VOCAB_FUZZ_H
#define TESTS_FUZZ_VOCAB_FUZZ_H

#include <stdlib.h>

#include "formats/tokn_read.h"
#include "formats/vocab.h"
#include "lib/convert/tokenizer_build.h"
#include "lib/core/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void vocab_fuzz_check(bool ok)
{
    if (!ok)
        abort();
}

/* Text to tokens and back, with and without what is special. */
static inline void vocab_fuzz_speak(const struct ruvm_tokenizer *t)
{
    static const char text[] =
        " It's  123 h\xc3\xa9llo\xe2\x96\x81w\xc3\xb6rld\n\n <s>the<|im_end|>"
        "\x80\xff\xe4\xb8\xad\xf0\x9f\x98\x80 aaaaa ";
    uint16_t ids[RUVM_MAX_TOKENS(sizeof text)], previous = RUVM_NO_PREVIOUS;
    for (unsigned flags = 0; flags < 4; flags++) {
        int n = ruvm_encode(t, ids, RUVM_MAX_TOKENS(sizeof text), text, sizeof text, flags);
        vocab_fuzz_check(n <= (int)RUVM_MAX_TOKENS(sizeof text));
        for (int i = 0; i < n; i++) {
            size_t n_bytes;
            vocab_fuzz_check(ids[i] < t->n_pieces);
            const uint8_t *bytes = ruvm_decode(t, previous, ids[i], &n_bytes);
            volatile unsigned sum = 0;
            for (size_t b = 0; b < n_bytes; b++)
                sum = sum + bytes[b];
            ruvm_is_end(t, ids[i]);
            previous = ids[i];
        }
    }
}

static inline int vocab_fuzz_tokn(const uint8_t *section, size_t size, uint32_t n_pieces)
{
    struct ruvm_image img = {.data = section, .size = size, .vocab = (uint16_t)n_pieces};
    struct ruvm_image_fault fault;
    struct ruvm_check c = {.img = &img, .fault = &fault};
    c.part[RUVM_SECTION_TOKN] = (struct ruvm_section){.data = section, .size = (uint32_t)size};
    if (!ruvm_tokn_check(&c))
        return c.rc;
    struct ruvm_tokenizer t;
    uint8_t joins[8192];
    ruvm_tokenizer_over(&t, section);
    vocab_fuzz_speak(&t);
    ruvm_tokenizer_joins(&t, joins);
    vocab_fuzz_speak(&t);
    return RUVM_OK;
}

/* rc: what a reader said. */
static inline void vocab_fuzz_run(const struct ruvm_vocab *vocab, int rc, struct ruvm_error *err)
{
    struct ruvm_buffer b = {0};
    vocab_fuzz_check(rc == RUVM_OK || err->text[0] != '\0');
    if (rc == RUVM_OK && ruvm_tokenizer_build(&b, vocab, err) == RUVM_OK)
        vocab_fuzz_check(vocab_fuzz_tokn(b.data, b.size, vocab->n_pieces) == RUVM_OK);
    ruvm_buffer_free(&b);
}

#endif
