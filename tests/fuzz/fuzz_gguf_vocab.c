/* Any bytes as a tokenizer file of any kind, the one in a GGUF file above all. */
#include "formats/gguf_vocab.h"
#include "tests/fuzz/vocab_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_vocab vocab;
    struct ruvm_error err = {0};
    int rc = ruvm_vocab_read_any(&vocab, &arena, data, size, &err);
    vocab_fuzz_run(&vocab, rc, &err);
    ruvm_arena_free(&arena);
    return 0;
}
