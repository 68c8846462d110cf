/* Any bytes as GGUF: probe, read, walk every array of the metadata, give meaning, read every
 * first and last row. */
#include <stdlib.h>

#include "formats/gguf.h"
#include "lib/base/bytes.h"
#include "lib/import/model.h"
#include "tests/fuzz/read_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches every element; none may lie outside of the file. */
static void walk(const struct ruvm_gguf *g, const struct ruvm_gguf_pair *p)
{
    struct ruvm_gguf_array a = {.type = ruvm_load_u32(p->data),
                                .n = ruvm_load_u64(p->data + 4),
                                .data = p->data + 12,
                                .end = p->end};
    struct ruvm_gguf_string s;
    double x, sum = 0;
    while (ruvm_gguf_next_string(&a, &s))
        sum += s.n ? s.text[0] + s.text[s.n - 1] : 0;
    while (ruvm_gguf_next_number(&a, &x))
        sum += x;
    if (a.data > p->end || p->end > g->data + g->size || (sum < 0 && a.type == RUVM_GGUF_U8))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_gguf g;
    struct ruvm_tensors t;
    struct ruvm_model m;
    struct ruvm_error err = {0};
    ruvm_gguf_probe(data, size);
    if (ruvm_gguf_open(&g, &arena, data, size, NULL) == RUVM_OK)
        for (size_t i = 0; i < g.n_pairs; i++)
            if (g.pairs[i].type == RUVM_GGUF_ARRAY)
                walk(&g, &g.pairs[i]);
    if (ruvm_gguf_read(&t, &arena, data, size, &err) == RUVM_OK) {
        read_rows(&t);
        ruvm_model_from_tensors(&m, &arena, &t, &err);
    } else if (err.text[0] == '\0') {
        abort();
    }
    ruvm_arena_free(&arena);
    return 0;
}
