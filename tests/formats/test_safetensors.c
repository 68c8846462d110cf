/* safetensors: what is read from well-formed files, several of them as one directory, and what
 * is said about every way in which a header can lie. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "formats/safetensors.h"
#include "lib/base/buffer.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* A file of that header and n bytes of data that count from 0. */
static struct ruvm_buffer make(const char *header, size_t n)
{
    struct ruvm_buffer b = {0};
    ruvm_buffer_u32(&b, (uint32_t)strlen(header));
    ruvm_buffer_u32(&b, 0);
    ruvm_buffer_bytes(&b, header, strlen(header));
    for (size_t i = 0; i < n; i++)
        ruvm_buffer_u8(&b, (uint8_t)i);
    return b;
}

struct reading {
    struct ruvm_buffer file;
    struct ruvm_arena arena;
    struct ruvm_tensors t;
    struct ruvm_error err;
    int rc;
};

static struct reading read_file(const char *header, size_t n)
{
    struct reading r = {.file = make(header, n)};
    r.rc = ruvm_safetensors_read(&r.t, &r.arena, r.file.data, r.file.size, &r.err);
    return r;
}

static void done(struct reading *r)
{
    ruvm_arena_free(&r->arena);
    ruvm_buffer_free(&r->file);
}

/* ---- well-formed ----------------------------------------------------------------- */

static const char four_types[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
    "\"half\":{\"dtype\":\"F16\",\"shape\":[2,1,1,2],\"data_offsets\":[0,8]},"
    "\"brain\":{\"data_offsets\":[32,34],\"shape\":[1],\"dtype\":\"BF16\",\"extra\":{}},"
    "\"one\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[34,42]}}  ";

static void check_view(const struct reading *r, const char *name, enum ruvm_dtype dtype,
                       const uint64_t *dims, uint32_t n_dims, size_t at)
{
    const struct ruvm_view *v = ruvm_tensors_find(&r->t, name);
    cr_assert(v, "%s", name);
    cr_expect(v->dtype == dtype && v->n_dims == n_dims, "%s", name);
    cr_expect(memcmp(v->dims, dims, n_dims * sizeof *dims) == 0, "%s", name);
    cr_expect_eq(v->data - r->file.data, 8 + (ptrdiff_t)strlen(four_types) + (ptrdiff_t)at, "%s",
                 name);
}

Test(safetensors, views_stand_in_the_file)
{
    struct reading r = read_file(four_types, 42);
    cr_assert_eq(r.rc, RUVM_OK, "%s", r.err.text);
    cr_assert_eq(r.t.n_views, 4);
    check_view(&r, "w", RUVM_DTYPE_F32, (uint64_t[]){2, 3}, 2, 8);
    check_view(&r, "half", RUVM_DTYPE_F16, (uint64_t[]){2, 1, 1, 2}, 4, 0);
    check_view(&r, "brain", RUVM_DTYPE_BF16, (uint64_t[]){1}, 1, 32);
    check_view(&r, "one", RUVM_DTYPE_F64, (uint64_t[]){1}, 1, 34);
    cr_assert_eq(ruvm_tensors_find(&r.t, "w")->bytes, 24);
    cr_assert_eq(r.t.n_meta, 0);
    const struct ruvm_format *f = ruvm_formats_probe(r.file.data, r.file.size);
    cr_assert(f && strcmp(f->name, "safetensors model") == 0);
    done(&r);
}

Test(safetensors, rows_are_floats_wherever_they_stand)
{
    struct reading r = read_file(
        "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,2],"
        "\"data_offsets\":[0,8]}} ",
        8);
    cr_assert_eq(r.rc, RUVM_OK, "%s", r.err.text);
    static const uint8_t values[] = {0x80, 0x3f, 0, 0xc0, 0, 0x3f, 0x20, 0x41};
    memcpy(r.file.data + r.file.size - 8, values, 8);
    float row[2];
    ruvm_view_row(&r.t.views[0], 0, row);
    cr_expect(row[0] == 1 && row[1] == -2);
    ruvm_view_row(&r.t.views[0], 1, row);
    cr_expect(row[0] == 0.5f && row[1] == 10);
    done(&r);
}

Test(safetensors, several_files_make_one_directory)
{
    struct reading r = read_file(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
        "\"data_offsets\":[0,4]}}",
        4);
    struct ruvm_buffer more = make(
        "{\"b\":{\"dtype\":\"F16\",\"shape\":[1],"
        "\"data_offsets\":[0,2]},"
        "\"c\":{\"dtype\":\"F16\",\"shape\":[1],"
        "\"data_offsets\":[2,4]}}",
        4);
    cr_assert_eq(r.rc, RUVM_OK, "%s", r.err.text);
    cr_assert_eq(ruvm_safetensors_add(&r.t, &r.arena, more.data, more.size, &r.err), RUVM_OK);
    cr_assert(r.t.n_views == 3 && ruvm_tensors_find(&r.t, "a") && ruvm_tensors_find(&r.t, "c"));
    cr_assert_eq(ruvm_safetensors_add(&r.t, &r.arena, more.data, more.size, &r.err),
                 RUVM_ERR_CORRUPT);
    cr_assert(strstr(r.err.text, "b is there twice"), "%s", r.err.text);
    cr_assert_eq(r.t.n_views, 3);
    ruvm_buffer_free(&more);
    done(&r);
}

Test(safetensors, masks_are_left_out_whatever_their_type)
{
    struct reading r = read_file(
        "{\"transformer.h.0.attn.attention.bias\":{\"dtype\":\"BOOL\",\"shape\":[1,1,2,2],"
        "\"data_offsets\":[0,4]},"
        "\"gpt_neox.layers.0.attention.bias\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,2],"
        "\"data_offsets\":[4,6]},"
        "\"model.embeddings.position_ids\":{\"dtype\":\"I64\",\"shape\":[1],"
        "\"data_offsets\":[6,14]},"
        "\"h.0.attn.c_attn.bias\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[14,16]}}",
        16);
    cr_assert_eq(r.rc, RUVM_OK, "%s", r.err.text);
    cr_assert_eq(r.t.n_views, 1);
    cr_assert_str_eq(r.t.views[0].name, "h.0.attn.c_attn.bias");
    cr_assert(ruvm_safetensors_is_buffer("model.layers.3.self_attn.rotary_emb.inv_freq"));
    cr_assert_not(ruvm_safetensors_is_buffer("model.layers.3.self_attn.q_proj.bias"));
    cr_assert_not(ruvm_safetensors_is_buffer("position_ids_of_mine"));
    done(&r);
}

Test(safetensors, an_empty_header_is_a_file_without_tensors)
{
    struct reading r = read_file("{}", 0);
    cr_assert_eq(r.rc, RUVM_OK, "%s", r.err.text);
    cr_assert_eq(r.t.n_views, 0);
    done(&r);
}

/* ---- malformed ------------------------------------------------------------------- */

#define A(dtype, shape, offsets)                                                                   \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct {
    const char *header;
    size_t n; /* bytes of data */
    int rc;
    const char *text;
} bad[] = {
    /* the header itself */
    {"{\"a\":", 0, RUVM_ERR_CORRUPT, "is not JSON from byte"},
    {"{} {}", 0, RUVM_ERR_CORRUPT, "goes on after its JSON text, at byte 3"},
    {"[]", 0, RUVM_ERR_CORRUPT, "not an object"},
    {"", 0, RUVM_ERR_CORRUPT, "is not JSON"},
    {"{\"a\":7}", 0, RUVM_ERR_CORRUPT, "a: has no dtype"},
    {"{\"a\":[2]}", 0, RUVM_ERR_CORRUPT, "a: has no dtype"},
    {"{\"a\":{\"dtype\":3}}", 0, RUVM_ERR_CORRUPT, "a: has no dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, RUVM_ERR_CORRUPT, "no dtype, or two"},
    {"{\"a\":{\"dtype\":\"F32\"}}", 0, RUVM_ERR_CORRUPT, "a: has no shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, RUVM_ERR_CORRUPT, "a: its data_offsets are"},
    /* shapes */
    {A("F32", "[-1]", "[0,4]"), 4, RUVM_ERR_CORRUPT, "a: its shape holds something"},
    {A("F32", "[1.5]", "[0,4]"), 4, RUVM_ERR_CORRUPT, "a: its shape holds something"},
    {A("F32", "[\"1\"]", "[0,4]"), 4, RUVM_ERR_CORRUPT, "a: its shape holds something"},
    {A("F32", "[9223372036854775808]", "[0,4]"), 4, RUVM_ERR_CORRUPT, "a: its shape holds"},
    {A("F32", "[1e300]", "[0,4]"), 4, RUVM_ERR_CORRUPT, "a: its shape holds something"},
    {A("F32", "[4294967296,4294967296]", "[0,0]"), 0, RUVM_ERR_CORRUPT, "a: its shape multiplies"},
    {A("F32", "[4611686018427387904,4]", "[0,0]"), 0, RUVM_ERR_CORRUPT, "a: its shape"},
    /* offsets */
    {A("F32", "[1]", "[0]"), 4, RUVM_ERR_CORRUPT, "data_offsets are not two"},
    {A("F32", "[1]", "[0,2,4]"), 4, RUVM_ERR_CORRUPT, "data_offsets are not two"},
    {A("F32", "[1]", "[4,0]"), 4, RUVM_ERR_CORRUPT, "no range of bytes"},
    {A("F32", "[1]", "[-4,0]"), 4, RUVM_ERR_CORRUPT, "no range of bytes"},
    {A("F32", "[1]", "[0,18446744073709551616]"), 4, RUVM_ERR_CORRUPT, "no range of bytes"},
    {A("F32", "[1]", "[18446744073709551612,0]"), 4, RUVM_ERR_CORRUPT, "no range of bytes"},
    {A("F32", "[2]", "[0,8]"), 7, RUVM_ERR_CORRUPT, "ends at byte 8 of the data, but the file"},
    {A("F32", "[1]", "[4503599627370496,4503599627370500]"), 4, RUVM_ERR_CORRUPT, "cut short?"},
    {A("F32", "[2]", "[0,4]"), 4, RUVM_ERR_CORRUPT, "has 2 values of F32, its data_offsets 4"},
    {A("F16", "[2]", "[0,5]"), 5, RUVM_ERR_CORRUPT, "has 2 values of F16, its data_offsets 5"},
    {A("BOOL", "[2]", "[0,4]"), 4, RUVM_ERR_CORRUPT, "has 2 values of BOOL"},
    /* all tensors together */
    {A("F32", "[1]", "[0,4]"), 9, RUVM_ERR_CORRUPT, "the last 5 bytes belong to no tensor"},
    {A("F32", "[1]", "[2,6]"), 6, RUVM_ERR_CORRUPT, "a: 2 bytes before it belong to no tensor"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
     12, RUVM_ERR_CORRUPT, "b and a overlap at byte 4"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     4, RUVM_ERR_CORRUPT, "overlap at byte 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
     8, RUVM_ERR_CORRUPT, "a is there twice"},
    /* well-formed, but not for us */
    {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[8,9]},"
     "\"c\":{\"dtype\":\"F3\",\"shape\":[1],\"data_offsets\":[9,10]}}",
     10, RUVM_ERR_UNSUPPORTED,
     "a is of type I64, expected F32, F16, BF16 or F64; b is of type F8_E4M3, expected F32, F16, "
     "BF16 or F64; c is of type F3, "},
    {A("F32", "[1,1,1,1,1]", "[0,4]"), 4, RUVM_ERR_UNSUPPORTED, "a has 5 dimensions, expected up"},
    {A("F32", "[3,0]", "[0,0]"), 0, RUVM_ERR_UNSUPPORTED, "a is empty"},
};

Test(safetensors, each_lie_of_a_header_is_named)
{
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct reading r = read_file(bad[i].header, bad[i].n);
        cr_expect_eq(r.rc, bad[i].rc, "case %zu: %d", i, r.rc);
        cr_expect(strstr(r.err.text, bad[i].text), "case %zu: %s", i, r.err.text);
        cr_expect_eq(r.t.n_views, 0, "case %zu", i);
        done(&r);
    }
}

Test(safetensors, nesting_without_end_is_refused)
{
    char header[2100];
    memset(header, '[', sizeof header);
    memcpy(header, "{\"a\":", 5);
    header[sizeof header - 1] = '\0';
    struct reading r = read_file(header, 0);
    cr_assert_eq(r.rc, RUVM_ERR_CORRUPT);
    cr_assert(strstr(r.err.text, "is not JSON"), "%s", r.err.text);
    done(&r);
}

/* On the heap and exactly as long, so that a sanitizer sees a byte too far. */
static int read_part(const uint8_t *data, size_t n, struct ruvm_error *err)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    int rc = ruvm_safetensors_read(&t, &arena, copy, n, err);
    ruvm_arena_free(&arena);
    free(copy);
    return rc;
}

Test(safetensors, a_file_cut_anywhere_is_refused)
{
    struct ruvm_buffer b = make(four_types, 42);
    for (size_t n = 0; n < b.size; n++) {
        struct ruvm_error err = {0};
        cr_assert_eq(read_part(b.data, n, &err), RUVM_ERR_CORRUPT, "%zu bytes", n);
        cr_assert(strstr(err.text, n < 8                        ? "within the length"
                                   : n < 8 + strlen(four_types) ? "cut short?"
                                                                : "the file holds"),
                  "%zu bytes: %s", n, err.text);
    }
    ruvm_buffer_free(&b);
}

Test(safetensors, lengths_of_headers_are_bounded)
{
    enum { GREAT = 17 << 20 };
    struct ruvm_error err = {0};
    uint8_t *file = calloc(1, GREAT + 8);
    memset(file + 8, ' ', GREAT);
    memcpy(file + 5, "\1\0\0{}", 5); /* 2^40 */
    cr_assert_not(ruvm_safetensors_probe(file, GREAT + 8));
    cr_assert_eq(read_part(file, GREAT + 8, &err), RUVM_ERR_CORRUPT);
    cr_assert(strstr(err.text, "1099511627776 bytes, but only 17825792 follow"), "%s", err.text);
    memcpy(file, "\0\0\x10\1\0\0\0\0", 8); /* GREAT */
    err = (struct ruvm_error){0};
    cr_assert(ruvm_safetensors_probe(file, GREAT + 8));
    cr_assert_eq(read_part(file, GREAT + 8, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "its header has 17825792 bytes, expected up to 16777216"), "%s",
              err.text);
    free(file);
}

Test(safetensors, long_and_foul_names_stay_messages)
{
    char header[5000];
    int n = snprintf(header, sizeof header, "{\"\\u001b[31m");
    memset(header + n, 'x', 4000);
    snprintf(header + n + 4000, 200, "\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
    struct reading r = read_file(header, 1);
    cr_assert_eq(r.rc, RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(r.err.text, "xxx is of type I8") && !strchr(r.err.text, 27), "%s", r.err.text);
    done(&r);
}
