/* Any bytes as GPT-2's tokenizer files: one behind the other, with a zero byte between them. */
#include <string.h>

#include "formats/tokenizer_gpt2.h"
#include "tests/fuzz/vocab_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_tokenizer_gpt2 files = {0};
    const uint8_t *at = data, *end = data + size;
    for (int i = 0; i < RUVM_TOKENIZER_GPT2_FILES && at < end; i++) {
        const uint8_t *stop = memchr(at, '\0', (size_t)(end - at));
        stop = stop ? stop : end;
        files.file[i].data = stop > at ? at : NULL;
        files.file[i].size = (size_t)(stop - at);
        at = stop + (stop < end);
    }
    struct ruvm_arena arena = {0};
    struct ruvm_vocab vocab;
    struct ruvm_error err = {0};
    int rc = ruvm_tokenizer_gpt2_read(&vocab, &arena, &files, &err);
    vocab_fuzz_run(&vocab, rc, &err);
    ruvm_arena_free(&arena);
    return 0;
}
