/* Library: sources and chunks on their way from one blob to the next. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bundle/library.h"

static int add(struct ruvm_library *lib, const char *name, const char *text, uint32_t chunk_bytes)
{
    struct ruvm_library_add a = {
        .document = {.name = name, .data = text, .size = strlen(text), .now = 1000},
        .chunks = {.bytes = chunk_bytes, .overlap = chunk_bytes < 64 ? 0 : chunk_bytes / 2}};
    struct ruvm_error err = {0};
    int rc = ruvm_library_add(lib, &a, &err);
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
    return rc;
}

/* The chunks, a bar between them. */
static const char *chunks_of(const struct ruvm_library *lib)
{
    static char text[1024];
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < lib->n_chunks; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u:%.*s", i ? "|" : "",
                                 lib->chunks[i].source, (int)lib->chunks[i].n_text,
                                 lib->chunks[i].text);
    return text;
}

Test(library, keeps_the_order_and_replaces_by_name)
{
    struct ruvm_library lib = {0};
    add(&lib, "a", "one", 100);
    add(&lib, "b", "two", 100);
    add(&lib, "a", "three", 100);
    cr_expect_str_eq(chunks_of(&lib), "1:two|2:three");
    cr_expect_eq(lib.n_added, 3);
    cr_expect_eq(lib.n_removed, 1);
    cr_expect_not_null(ruvm_library_find(&lib, "a"));
    cr_expect(ruvm_library_forget(&lib, "a"));
    cr_expect_not(ruvm_library_forget(&lib, "a"));
    cr_expect_null(ruvm_library_find(&lib, "a"));
    cr_expect_str_eq(chunks_of(&lib), "1:two");
    ruvm_library_free(&lib);
}

Test(library, leaves_out_what_is_there_already)
{
    struct ruvm_library lib = {0};
    add(&lib, "a", "same", 100);
    add(&lib, "b", "same", 100);
    add(&lib, "c", " \n\t", 100);
    cr_expect_eq(lib.n_duplicates, 1);
    cr_expect_eq(lib.n_empty, 2);
    ruvm_library_forget(&lib, "a");
    add(&lib, "b", "same", 100); /* not a duplicate of what is gone */
    cr_expect_str_eq(chunks_of(&lib), "3:same");
    lib.keep_duplicates = true;
    add(&lib, "d", "same", 100);
    cr_expect_str_eq(chunks_of(&lib), "3:same|4:same");
    ruvm_library_free(&lib);
}

/* A heading is said in each of its chunks, unless it would leave no room for them. */
Test(library, says_headings_again)
{
    struct ruvm_library lib = {0};
    add(&lib, "a.md", "# Pump\nIt starts at five bar. It stops at six bar.\n", 32);
    cr_expect_str_eq(chunks_of(&lib),
                     "0:Pump\nIt starts at five bar.|0:Pump\nIt stops at six bar.");
    add(&lib, "a.md", "# A heading that is longer than half\nx", 32);
    cr_expect_str_eq(chunks_of(&lib), "1:x");
    ruvm_library_free(&lib);
}

/* What overlaps stands in TEXT once; what goes through a blob comes out as it was. */
Test(library, survives_the_way_through_its_sections)
{
    struct ruvm_library lib = {0}, again = {0};
    struct ruvm_library_text out;
    char text[800];
    for (unsigned i = 0; i < 100; i++)
        snprintf(text + (size_t)7 * i, 8, "word%02u ", i % 100);
    add(&lib, "gone", "gone", 64);
    add(&lib, "a", text, 64);
    ruvm_library_forget(&lib, "gone");
    cr_assert_eq(ruvm_library_write(&lib, &out, NULL), RUVM_OK);
    cr_expect_eq(out.n_sources, 1);
    cr_expect_lt(out.text.size, 720);
    cr_expect_gt(lib.n_chunks, 15);
    const struct ruvm_rag rag = {
        .n = lib.n_chunks,
        .n_sources = 1,
        .part = {[RUVM_RAG_TEXT] = {out.text.data, (uint32_t)out.text.size},
                 [RUVM_RAG_CHNK] = {out.chunks.data, (uint32_t)out.chunks.size},
                 [RUVM_RAG_SRCE] = {out.sources.data, (uint32_t)out.sources.size},
                 [RUVM_RAG_STRS] = {out.strings.data, (uint32_t)out.strings.size}}};
    cr_assert_eq(ruvm_library_load(&again, &rag, 1, NULL), RUVM_OK);
    cr_assert_eq(again.n_chunks, lib.n_chunks);
    for (uint32_t i = 0; i < lib.n_chunks; i++) {
        cr_assert_eq(again.chunks[i].n_text, lib.chunks[i].n_text);
        cr_assert_arr_eq(again.chunks[i].text, lib.chunks[i].text, lib.chunks[i].n_text);
    }
    ruvm_library_text_free(&out);
    ruvm_library_free(&again);
    ruvm_library_free(&lib);
}

Test(library, forgets_what_has_expired)
{
    struct ruvm_library lib = {0}, again = {0};
    struct ruvm_library_text out;
    add(&lib, "a.jsonl", "{\"text\":\"x\",\"ttl\":10}\n{\"text\":\"y\"}\n", 64);
    cr_assert_eq(ruvm_library_write(&lib, &out, NULL), RUVM_OK);
    const struct ruvm_rag rag = {
        .n = 2,
        .n_sources = 1,
        .part = {[RUVM_RAG_TEXT] = {out.text.data, (uint32_t)out.text.size},
                 [RUVM_RAG_CHNK] = {out.chunks.data, (uint32_t)out.chunks.size},
                 [RUVM_RAG_SRCE] = {out.sources.data, (uint32_t)out.sources.size},
                 [RUVM_RAG_STRS] = {out.strings.data, (uint32_t)out.strings.size}}};
    cr_assert_eq(ruvm_library_load(&again, &rag, 1009, NULL), RUVM_OK);
    cr_expect_eq(again.n_chunks, 2);
    ruvm_library_free(&again);
    cr_assert_eq(ruvm_library_load(&again, &rag, 1010, NULL), RUVM_OK);
    cr_expect_eq(again.n_expired, 1);
    cr_expect_str_eq(chunks_of(&again), "0:y");
    ruvm_library_free(&again);
    ruvm_library_text_free(&out);
    ruvm_library_free(&lib);
}

/* Millions of tiny chunks end with a message, not after hours. */
Test(library, has_a_limit_that_it_names)
{
    enum { N = 1000001 };
    struct ruvm_library lib = {0};
    struct ruvm_error err = {0};
    char *text = malloc(8 * N + 1);
    for (uint32_t i = 0; i < N; i++)
        snprintf(text + 8 * i, 9, "%07u ", i);
    struct ruvm_library_add a = {.document = {.name = "many", .data = text, .size = 8 * N},
                                 .chunks = {.bytes = 8, .split = RUVM_SPLIT_SIZE}};
    cr_assert_eq(ruvm_library_add(&lib, &a, &err), RUVM_ERR_UNSUPPORTED);
    cr_expect(strstr(err.text, "more than 1000000 chunks"), "%s", err.text);
    cr_expect_eq(lib.n_chunks, 1000000);
    free(text);
    ruvm_library_free(&lib);
}

Test(library, has_a_limit_of_sources)
{
    struct ruvm_library lib = {0};
    struct ruvm_error err = {0};
    char name[16];
    lib.n_sources = lib.sources_cap = RUVM_RAG_MAX_SOURCES;
    lib.sources = calloc(RUVM_RAG_MAX_SOURCES, sizeof *lib.sources);
    snprintf(name, sizeof name, "one more");
    struct ruvm_library_add a = {.document = {.name = name, .data = "x", .size = 1},
                                 .chunks = {.bytes = 64}};
    cr_assert_eq(ruvm_library_add(&lib, &a, &err), RUVM_ERR_UNSUPPORTED);
    cr_expect(strstr(err.text, "more than 65535 sources"), "%s", err.text);
    ruvm_library_free(&lib);
}
