/* Any bytes as a table of word vectors: text or binary. What is read is finite, all there, and no
 * word is there twice. */
#include <math.h>
#include <stdlib.h>

#include "lib/base/error.h"
#include "lib/bundle/word_vectors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool wants_odd(const void *context, uint32_t hash)
{
    (void)context;
    return hash & 1;
}

static int compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ruvm_word_vectors_wanted wanted = {.first = (uint32_t)(size % 7),
                                                    .wants = wants_odd};
    struct ruvm_error err = {0};
    struct ruvm_word_vectors t;
    int rc = ruvm_word_vectors_parse(&t, "fuzzed", data, size, &wanted, &err);
    check((rc == RUVM_OK) == (err.text[0] == '\0'));
    if (rc != RUVM_OK)
        return 0;
    check(t.n > 0 && t.n <= t.n_entries && t.dims >= 8 && t.dims <= 1024);
    for (size_t i = 0; i < (size_t)t.n * t.dims; i++)
        check(isfinite((double)t.v[i]));
    qsort(t.hashes, t.n, sizeof *t.hashes, compare);
    for (uint32_t i = 1; i < t.n; i++)
        check(t.hashes[i - 1] < t.hashes[i]);
    ruvm_word_vectors_free(&t);
    return 0;
}
