/* Any bytes as a document: the first one says which format, and how it is cut into chunks. What
 * is read becomes the text of a blob and is loaded again; all chunks must come back. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/bundle/library.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

/* Every chunk is within its limit, and its source is there. */
static void check_library(const struct ruvm_library *lib, const struct ruvm_chunk_options *o)
{
    uint32_t limit = o->split == RUVM_SPLIT_HEADING ? RUVM_RAG_MAX_CHUNK : o->bytes;
    for (uint32_t i = 0; i < lib->n_chunks; i++) {
        const struct ruvm_library_chunk *c = &lib->chunks[i];
        check(c->n_text > 0 && c->n_text <= limit && c->source < lib->n_sources);
        check(memchr(c->text, '\0', c->n_text) == NULL);
        check((c->n_meta == 0) == (c->meta == NULL));
    }
}

/* Where TEXT and CHNK say, the chunks stand. */
static void check_text(struct ruvm_library *lib)
{
    struct ruvm_library_text out;
    check(ruvm_library_write(lib, &out, NULL) == RUVM_OK);
    check(out.chunks.size == (size_t)lib->n_chunks * RUVM_CHNK_RECORD);
    for (uint32_t i = 0; i < lib->n_chunks; i++) {
        const uint8_t *record = out.chunks.data + (size_t)i * RUVM_CHNK_RECORD;
        uint32_t off = ruvm_load_u32(record + RUVM_CHNK_OFF);
        uint32_t n = ruvm_load_u16(record + RUVM_CHNK_BYTES);
        check(n == lib->chunks[i].n_text && off + n <= out.text.size);
        check(memcmp(out.text.data + off, lib->chunks[i].text, n) == 0);
    }
    ruvm_library_text_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_library lib = {0};
    struct ruvm_error err = {0};
    if (size == 0)
        return 0;
    uint8_t how = data[0];
    struct ruvm_library_add add = {
        .document = {.name = "document",
                     .data = (const char *)data + 1,
                     .size = size - 1,
                     .format = 1 + how % 4,
                     .now = 1000000},
        .chunks = {.bytes = 32 + how / 4 % 8 * 40u, .split = how / 32 % RUVM_N_SPLITS}};
    add.chunks.overlap = how & 128 ? add.chunks.bytes / 4 : 0;
    int rc = ruvm_library_add(&lib, &add, &err);
    check(rc == RUVM_OK || strncmp(err.text, "document: ", 10) == 0);
    check_library(&lib, &add.chunks);
    check_text(&lib);
    ruvm_library_free(&lib);
    return 0;
}
