/* Any bytes as a SentencePiece tokenizer.model. */
#include "formats/sentencepiece.h"
#include "tests/fuzz/vocab_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_vocab vocab;
    struct ruvm_error err = {0};
    int rc = ruvm_sentencepiece_read(&vocab, &arena, data, size, &err);
    vocab_fuzz_run(&vocab, rc, &err);
    ruvm_arena_free(&arena);
    return 0;
}
