/* Vectors that people bring: what is read, and what is refused with which words. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/bundle/given.h"
#include "lib/ruvm_tool.h"
#include "tests/support/container_files.h"

static const char *path, *folder;

static void start(void)
{
    folder = container_folder();
    path = container_path(folder, "given");
}

static void write_numpy(const char *type, const char *shape, const void *data, size_t n)
{
    struct ruvm_buffer b = {0};
    char header[118];
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type,
             shape);
    ruvm_buffer_bytes(&b, "\x93NUMPY\x01\x00", 8);
    ruvm_buffer_u16(&b, sizeof header);
    ruvm_buffer_bytes(&b, header, sizeof header);
    ruvm_buffer_bytes(&b, data, n);
    cr_assert_eq(ruvm_file_write(path, b.data, b.size, NULL), RUVM_OK);
    ruvm_buffer_free(&b);
}

static int read_given(struct ruvm_given *g, struct ruvm_error *err)
{
    *err = (struct ruvm_error){0};
    return ruvm_given_read(g, path, err);
}

Test(given, is_read_of_every_type, .init = start)
{
    static const float floats[16] = {1, -2, 0.5f, 65504};
    static const uint16_t halves[16] = {0x3C00, 0xC000, 0x3800, 0x7BFF};
    static const int8_t bytes[16] = {1, -2, 127, -128};
    struct ruvm_given g;
    struct ruvm_error err;
    write_numpy("<f4", "(2, 8)", floats, sizeof floats);
    cr_assert_eq(read_given(&g, &err), RUVM_OK, "%s", err.text);
    cr_expect(g.n == 2 && g.dims == 8);
    cr_expect_arr_eq(g.v, floats, sizeof floats);
    ruvm_given_free(&g);
    write_numpy("<f2", "(2, 8)", halves, sizeof halves);
    cr_assert_eq(read_given(&g, &err), RUVM_OK, "%s", err.text);
    cr_expect_arr_eq(g.v, floats, sizeof floats);
    ruvm_given_free(&g);
    write_numpy("|i1", "(2, 8)", bytes, sizeof bytes);
    cr_assert_eq(read_given(&g, &err), RUVM_OK, "%s", err.text);
    for (int i = 0; i < 16; i++)
        cr_expect_eq((int)g.v[i], bytes[i]);
    ruvm_given_free(&g);
}

Test(given, is_read_of_lines, .init = start)
{
    static const char text[] =
        "{\"vector\":[1,2,3,4,5,6,7,8.5]}\r\n\n"
        "{\"text\":\"a\",\"embedding\":[0,0,0,0,0,0,0,-1]}";
    struct ruvm_given g;
    struct ruvm_error err;
    int32_t x[8];
    cr_assert_eq(ruvm_file_write(path, text, sizeof text - 1, NULL), RUVM_OK);
    cr_assert_eq(read_given(&g, &err), RUVM_OK, "%s", err.text);
    cr_expect(g.n == 2 && g.dims == 8);
    ruvm_given_scale(x, g.v, 8);
    cr_expect(x[7] == 1 << 24 && x[0] == (int32_t)((1 << 24) / 8.5 + 0.5));
    ruvm_given_scale(x, g.v + 8, 8);
    cr_expect(x[7] == -(1 << 24) && x[0] == 0);
    ruvm_given_free(&g);
}

Test(given, says_what_is_wrong, .init = start)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "has no vectors"},
        {"\n \n", "has no vectors"},
        {"{\"text\":\"a\"}\n", "line 1: has no \"vector\""},
        {"{\"vector\":[1,2]}\n", "vectors of 2 dimensions"},
        {"{\"vector\":[1,2,3,4,5,6,7,8]}\n{\"vector\":[1,2,3,4,5,6,7,8,9]}\n",
         "line 2: a vector of 9 dimensions behind others of 8"},
        {"{\"vector\":[1,2,3,4,5,6,7,\"8\"]}\n", "line 1: its vector has"},
        {"{\"vector\":[1,2,3,4,5,6,7,1e300]}\n", "line 1: its vector has"},
        {"{\"vector\":[1,2,3\n", "line 1: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ruvm_given g;
        struct ruvm_error err;
        cr_assert_eq(ruvm_file_write(path, bad[i].text, strlen(bad[i].text), NULL), RUVM_OK);
        cr_expect_neq(read_given(&g, &err), RUVM_OK, "%s", bad[i].text);
        cr_expect(strstr(err.text, bad[i].says) && strstr(err.text, path), "%s says %s",
                  bad[i].text, err.text);
    }
    static const float infinite[8] = {INFINITY};
    static const double wide[8] = {1e300};
    struct ruvm_given g;
    struct ruvm_error err;
    write_numpy("<f4", "(1, 8)", infinite, sizeof infinite);
    cr_expect_neq(read_given(&g, &err), RUVM_OK);
    write_numpy("<f8", "(1, 8)", wide, sizeof wide);
    cr_expect_neq(read_given(&g, &err), RUVM_OK);
    cr_expect(strstr(err.text, "beyond what a float holds"), "%s", err.text);
}

/* ---- blobs of them ------------------------------------------------------------------ */

static const char *blob, *source;

static int add(const char *embed, struct ruvm_rag_add_result *r, struct ruvm_error *err)
{
    const struct ruvm_rag_add_options o = {
        .blob = blob, .sources = &source, .n_sources = 1, .now_s = 1000, .embed = embed};
    *err = (struct ruvm_error){0};
    return ruvm_rag_add(&o, r, err);
}

static void write_texts(uint32_t n, uint32_t turn)
{
    struct ruvm_buffer b = {0};
    for (uint32_t i = 0; i < n; i++) {
        ruvm_buffer_printf(&b, "{\"text\":\"number %u\",\"vector\":[", i);
        for (uint32_t k = 0; k < 16; k++)
            ruvm_buffer_printf(&b, "%s%d", k ? "," : "", k == (i + turn) % 16 ? 9 : (int)(i % 3));
        ruvm_buffer_printf(&b, "]}\n");
    }
    cr_assert_eq(ruvm_file_write(source, b.data, b.size, NULL), RUVM_OK);
    ruvm_buffer_free(&b);
}

Test(given, blob_finds_by_vector_and_grows, .init = start)
{
    char embed[600];
    struct ruvm_rag_add_result r;
    struct ruvm_error err;
    struct ruvm_knowledge *k;
    struct ruvm_knowledge_hit hits[2];
    float v[16] = {0};
    const struct ruvm_knowledge_ask ask = {.k = 2, .now_s = 1000, .vector = v, .n_vector = 16};
    blob = container_path(folder, "g.rag");
    source = container_path(folder, "a.jsonl");
    snprintf(embed, sizeof embed, "vectors:%s", source);
    write_texts(12, 0);
    cr_assert_eq(add(embed, &r, &err), RUVM_OK, "%s", err.text);
    cr_expect(r.n_chunks == 12 && r.dims == 16);
    cr_expect_eq(add(NULL, &r, &err), RUVM_ERR_ARG, "texts without vectors");
    source = container_path(folder, "b.jsonl");
    snprintf(embed, sizeof embed, "vectors:%s", source);
    write_texts(4, 12);
    cr_assert_eq(add(embed, &r, &err), RUVM_OK, "%s", err.text);
    cr_expect_eq(r.n_chunks, 16);
    cr_assert_eq(ruvm_knowledge_open(&k, blob, &err), RUVM_OK, "%s", err.text);
    for (uint32_t i = 0; i < 16; i++) {
        memset(v, 0, sizeof v);
        v[i] = 1;
        cr_assert_eq(ruvm_knowledge_ask(k, &ask, hits, &err), 2, "%s", err.text);
        cr_expect_eq(hits[0].chunk, i, "the old ones' vectors are what they were");
        cr_expect_gt(hits[0].score, hits[1].score);
    }
    struct ruvm_knowledge_ask narrow = ask;
    narrow.n_vector = 8;
    cr_expect_eq(ruvm_knowledge_ask(k, &narrow, hits, &err), RUVM_ERR_ARG);
    ruvm_knowledge_close(k);
    write_texts(5, 0);
    struct ruvm_error why = {0};
    source = container_path(folder, "a.jsonl");
    cr_expect_eq(add(embed, &r, &why), RUVM_ERR_MISMATCH, "5 vectors for 12 texts");
    cr_expect(strstr(why.text, "has 5 vectors, but the sources have 12 texts"), "%s", why.text);
}
