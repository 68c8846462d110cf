/* The table of importers, the guesses about foreign bytes, the directory of tensors, and
 * the bare RUVM layout as a directory. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "formats/ruvm_v0.h"
#include "lib/base/buffer.h"
#include "lib/base/file.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- guesses --------------------------------------------------------------- */

#define BYTES(text) text, sizeof text - 1

static const struct {
    const char *bytes;
    size_t n;
    const char *guess; /* its beginning */
} guesses[] = {
    {BYTES(""), "an empty file"},
    {BYTES("RUVM\0\2"), "a RUVM image"},
    {BYTES("RRAG\1\0"), "a knowledge blob"},
    {BYTES("GGUF\3\0\0\0"), "a GGUF model"},
    {BYTES("PK\3\4\0\0"),
     "a zip archive (a PyTorch file? ruvm-quantize(1) shows how to save it otherwise)"},
    {BYTES("\x80\2}q"), "a Python pickle"},
    {BYTES("\x93NUMPY\1\0"), "a NumPy array"},
    {BYTES("\x10\0\0\0\0\0\0\0{\"a\":{}}       "), "a safetensors model"},
    {BYTES("\x08\x07\x12\x07pytorch"), "an ONNX model"},
    {BYTES("\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\2"), "a SentencePiece tokenizer.model"},
    {BYTES("\x07\0\0\0\0\0\0\0\5\0\0\0<unk>\0"), "a llama2.c tokenizer.bin"},
    {BYTES("24ka\1\0\0\0"), "a llama2.c checkpoint"},
    {BYTES("\x1f\x8b\x08\0"), "gzip-compressed data"},
    {BYTES("\3757zXZ\0"), "xz-compressed data"},
    {BYTES("BZh91AY&SY"), "bzip2-compressed data"},
    {BYTES("\x28\xb5\x2f\xfd\0"), "zstd-compressed data"},
    {BYTES("\x89PNG\r\n\x1a\n"), "a PNG picture"},
    {BYTES("\xff\xd8\xff\xe0"), "a JPEG picture"},
    {BYTES("%PDF-1.7"), "a PDF document"},
    {BYTES("\177ELF\2\1"), "an ELF program"},
    {BYTES("#!/bin/sh\n"), "a script"},
    {BYTES("version https://git-lfs.github.com/spec/v1\n"), "a git-lfs pointer"},
    {BYTES("<!DOCTYPE html>\n<html>"), "an HTML page"},
    {BYTES(" \r\n\t<HTML><head>"), "an HTML page"},
    {BYTES("\xef\xbb\xbf<html>"), "an HTML page"},
    {BYTES("<?xml version=\"1.0\"?>"), "an XML document"},
    {BYTES("{\"model\": 1}"), "JSON text"},
    {BYTES("\n [1, 2]"), "JSON text"},
    {BYTES("Once upon a time\n"), "a text file"},
    {BYTES("gr\xc3\xbc\xc3\x9f Gott"), "a text file"},
    {BYTES("\0\0\0\0\0\0\0\0"), "nothing but zero bytes"},
    {BYTES("\1\2\3\4\5\6\7\x08"), "data of an unknown kind"},
    {BYTES("G"), "a text file"},
    {BYTES("\x80"), "a text file"},
};

/* On the heap and exactly as long, so that a sanitizer sees a byte too far. */
static const char *guess_copy(const char *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    const char *guess = ruvm_formats_guess(copy, n);
    free(copy);
    return guess;
}

Test(formats, foreign_bytes_are_named)
{
    for (size_t i = 0; i < COUNT(guesses); i++) {
        const char *guess = guess_copy(guesses[i].bytes, guesses[i].n);
        cr_expect(strncmp(guess, guesses[i].guess, strlen(guesses[i].guess)) == 0,
                  "case %zu: %s is not %s", i, guess, guesses[i].guess);
        for (size_t n = 0; n < guesses[i].n; n++)
            cr_expect(guess_copy(guesses[i].bytes, n) != NULL);
    }
}

static void check_probe(const char *path, const char *name)
{
    struct ruvm_map map;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
    const struct ruvm_format *f = ruvm_formats_probe(map.data, map.size);
    cr_expect_eq(f == NULL, name == NULL, "%s", path);
    cr_expect(!f || !name || strcmp(f->name, name) == 0, "%s: %s", path, f->name);
    ruvm_file_unmap(&map);
}

Test(formats, importers_are_chosen_by_content)
{
    check_probe("tests/golden/tiny-legacy.bin", "llama2.c checkpoint");
    check_probe("tests/golden/tiny-v1.bin", "llama2.c checkpoint");
    check_probe("tests/golden/tiny-v2-untied.bin", "llama2.c checkpoint");
    check_probe("tests/golden/tiny-tokenizer.bin", NULL);
    check_probe("tests/golden/make_tiny.py", NULL);
}

/* ---- the directory --------------------------------------------------------- */

Test(tensors, the_directory_grows_and_finds)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t = {0};
    char names[100][8];
    double number;
    for (unsigned i = 0; i < COUNT(names); i++) {
        snprintf(names[i], sizeof names[i], "t%u", i);
        cr_assert(ruvm_tensors_add(&t, &arena, &(struct ruvm_view){.name = names[i], .bytes = i}));
        cr_assert(ruvm_tensors_meta(&t, &arena, names[i], i * 0.5));
    }
    cr_assert(t.n_views == COUNT(names) && t.n_meta == COUNT(names));
    for (unsigned i = 0; i < COUNT(names); i++) {
        const struct ruvm_view *v = ruvm_tensors_find(&t, names[i]);
        cr_assert(v && v->bytes == i);
        cr_assert(ruvm_tensors_number(&t, names[i], &number));
        cr_assert_float_eq(number, i * 0.5, 0);
    }
    cr_assert_null(ruvm_tensors_find(&t, "t100"));
    cr_assert_not(ruvm_tensors_number(&t, "t100", &number));
    t.meta[3].text = "a text";
    cr_assert_not(ruvm_tensors_number(&t, "t3", &number));
    ruvm_arena_free(&arena);
}

static void check_row(const struct ruvm_view *v, uint64_t row, const float *expected, size_t n)
{
    float out[8];
    ruvm_view_row(v, row, out);
    for (size_t i = 0; i < n; i++)
        cr_expect_float_eq(out[i], expected[i], 0, "dtype %d, row %d, %zu: %g", (int)v->dtype,
                           (int)row, i, (double)out[i]);
}

Test(tensors, rows_of_every_type_become_floats)
{
    static const uint8_t floats[] = {0, 0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc1,
                                     0, 0, 0, 0x40, 0,    0, 0, 0x3f};
    static const uint8_t bytes[] = {1, 0x81, 3, 4, 0x80, 6};
    static const uint8_t scales[] = {9, 0, 0, 0, 0x40, 0, 0, 0, 0x3f}; /* 2, 0.5 at an odd place */
    const struct ruvm_view f32 = {
        .dtype = RUVM_DTYPE_F32, .n_dims = 2, .dims = {2, 2}, .data = floats + 1};
    const struct ruvm_view groups = {.dtype = RUVM_DTYPE_I8_GROUPS,
                                     .n_dims = 2,
                                     .dims = {3, 2},
                                     .data = bytes,
                                     .scales = scales + 1,
                                     .group = 3};
    const struct ruvm_view scaled = {
        .dtype = RUVM_DTYPE_I8_SCALED, .n_dims = 2, .dims = {2, 3}, .data = bytes, .scale = 0.25f};
    check_row(&f32, 0, (float[]){1, -10}, 2);
    check_row(&f32, 1, (float[]){2, 0.5f}, 2);
    check_row(&groups, 0, (float[]){2, -254}, 2);
    check_row(&groups, 1, (float[]){6, 2}, 2);
    check_row(&groups, 2, (float[]){-64, 3}, 2);
    check_row(&scaled, 1, (float[]){1, -32, 1.5f}, 3);
}

/* ---- the bare RUVM layout -------------------------------------------------- */

enum {
    V0_VOCAB = 5,
    V0_DIM = 4,
    V0_HIDDEN = 3,
    V0_LAYERS = 2,
    V0_LAYER = 4 * V0_DIM * V0_DIM + 3 * V0_HIDDEN * V0_DIM,
    V0_WEIGHTS = 2 * V0_VOCAB * V0_DIM + V0_LAYERS * V0_LAYER
};

static void put_v0(struct ruvm_buffer *b, uint8_t quant)
{
    ruvm_buffer_bytes(b, "RUVM", 4);
    ruvm_buffer_u16(b, V0_VOCAB);
    ruvm_buffer_u16(b, V0_DIM);
    ruvm_buffer_u16(b, V0_HIDDEN);
    ruvm_buffer_u8(b, V0_LAYERS);
    ruvm_buffer_u8(b, 2);
    ruvm_buffer_u8(b, 64);
    ruvm_buffer_u8(b, quant);
    ruvm_buffer_zeros(b, 18);
    for (unsigned i = 0; i < V0_WEIGHTS; i++)
        ruvm_buffer_u8(b, (uint8_t)i);
}

static const struct {
    const char *name;
    unsigned rows, cols, at;
} v0_places[] = {
    {"embed", 5, 4, 0},
    {"layers.0.wq", 4, 4, 20},
    {"layers.0.wk", 4, 4, 36},
    {"layers.0.wv", 4, 4, 52},
    {"layers.0.wo", 4, 4, 68},
    {"layers.0.w_up", 3, 4, 84},
    {"layers.0.w_gate", 3, 4, 96},
    {"layers.0.w_down", 4, 3, 108},
    {"layers.1.wq", 4, 4, 120},
    {"layers.1.w_down", 4, 3, 208},
    {"head", 5, 4, 220},
};

Test(ruvm_v0, the_bare_layout_reads_as_a_directory)
{
    struct ruvm_buffer b = {0};
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    struct ruvm_error err = {0};
    double number;
    put_v0(&b, 0);
    const struct ruvm_format *f = ruvm_formats_probe(b.data, b.size);
    cr_assert(f && strcmp(f->name, "RUVM v0 (bare layout)") == 0);
    cr_assert_eq(f->read(&t, &arena, b.data, b.size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(t.n_views, 2 + 7 * V0_LAYERS);
    for (size_t i = 0; i < COUNT(v0_places); i++) {
        const struct ruvm_view *v = ruvm_tensors_find(&t, v0_places[i].name);
        cr_assert(v, "%s", v0_places[i].name);
        cr_assert(v->dims[0] == v0_places[i].rows && v->dims[1] == v0_places[i].cols);
        cr_assert_eq(v->data - b.data, 32 + v0_places[i].at, "%s", v->name);
        cr_assert(v->dtype == RUVM_DTYPE_I8_SCALED && v->bytes == v->dims[0] * v->dims[1]);
    }
    cr_assert(ruvm_tensors_number(&t, "n_kv_heads", &number) && number == 2);
    cr_assert(ruvm_tensors_number(&t, "max_seq_len", &number) && number == 64);
    cr_assert(ruvm_tensors_number(&t, "norms", &number) && number == 0);
    ruvm_arena_free(&arena);
    ruvm_buffer_free(&b);
}

Test(ruvm_v0, wrong_sizes_and_types_are_refused)
{
    struct ruvm_buffer b = {0}, int4 = {0};
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    struct ruvm_error err = {0};
    put_v0(&b, 0);
    for (size_t size = 0; size < b.size; size++)
        cr_assert_eq(ruvm_v0_read(&t, &arena, b.data, size, NULL), RUVM_ERR_CORRUPT);
    cr_assert_eq(ruvm_v0_read(&t, &arena, b.data, b.size - 1, &err), RUVM_ERR_CORRUPT);
    cr_assert(strstr(err.text, "make 272 bytes, but the file has 271"), "%s", err.text);
    b.data[31] = 1;
    cr_assert_not(ruvm_v0_probe(b.data, b.size));
    put_v0(&int4, 1);
    err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_v0_read(&t, &arena, int4.data, int4.size, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "quant_type is 1"), "%s", err.text);
    ruvm_buffer_free(&b);
    ruvm_buffer_free(&int4);
}
