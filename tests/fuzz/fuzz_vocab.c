/* Any bytes as a tokenizer.bin, and as a file whose kind is guessed. */
#include <stdlib.h>

#include "formats/formats.h"
#include "formats/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches each byte of each piece. */
static void touch(const struct ruvm_vocab *v)
{
    volatile unsigned total = 0;
    for (uint32_t i = 0; i < v->n_pieces; i++)
        for (uint32_t b = 0; b < v->pieces[i].n_bytes; b++)
            total = total + v->pieces[i].text[b];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_vocab vocab;
    struct ruvm_error err = {0};
    ruvm_formats_probe(data, size);
    if (!ruvm_formats_guess(data, size))
        abort();
    if (ruvm_vocab_read(&vocab, &arena, data, size, &err) == RUVM_OK)
        touch(&vocab);
    else if (err.text[0] == '\0')
        abort();
    ruvm_arena_free(&arena);
    return 0;
}
