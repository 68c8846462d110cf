/* ONNX files: the graph, tensors in every storage, data in other files, and malicious ones. */
#define _XOPEN_SOURCE 700
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/formats.h"
#include "formats/onnx.h"
#include "tests/support/onnx_bytes.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ruvm_arena arena;
static struct ruvm_error err;
static struct ruvm_onnx onnx;
static const float six[6] = {1, -2, 0.5f, 3, -0.25f, 64};
static char folder[] = "/tmp/ruvm-onnx-XXXXXX";

static void init(void)
{
    cr_assert(mkdtemp(folder));
}

static const char *in_folder(const char *name)
{
    static char path[2][128];
    static int next;
    next = !next;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static void fini(void)
{
    static const char *const names[] = {"m.onnx",   "data", "link", "out",
                                        "sub/data", "sub",  "pipe", "up"};
    for (size_t i = 0; i < COUNT(names); i++)
        remove(in_folder(names[i]));
    rmdir(folder);
    ruvm_arena_free(&arena);
}

TestSuite(onnx, .init = init, .fini = fini);

static int parse(const struct ruvm_buffer *file)
{
    err = (struct ruvm_error){0};
    return ruvm_onnx_parse(&onnx, &arena, file->data, file->size, &err);
}

/* A graph made into a file, parsed; the bytes are left in *file. */
static int parse_graph(struct ruvm_buffer *graph, struct ruvm_buffer *file)
{
    *file = onnx_model(graph, NULL);
    return parse(file);
}

/* One tensor in a graph: what is said to it. */
static int parse_tensor(struct ruvm_buffer *tensor)
{
    struct ruvm_buffer g = {0}, file;
    pb_message(&g, 5, tensor);
    int rc = parse_graph(&g, &file);
    ruvm_buffer_free(&file);
    return rc;
}

/* ---- tensors ------------------------------------------------------------------------- */

Test(onnx, floats_in_every_storage)
{
    for (int storage = ONNX_RAW; storage <= ONNX_HALF; storage++) {
        struct ruvm_buffer g = {0}, file;
        struct ruvm_view v = {0};
        double x;
        onnx_floats(&g, "w", SHAPE(2, 3), six, (enum onnx_storage)storage, NULL, NULL);
        cr_assert_eq(parse_graph(&g, &file), RUVM_OK, "%s", err.text);
        cr_assert(onnx.n_tensors == 1 && onnx.tensors[0].n_values == 6);
        cr_assert(ruvm_onnx_is(onnx.tensors[0].name, "w"));
        cr_assert(ruvm_onnx_view(&onnx.tensors[0], &v));
        cr_assert_eq(v.dtype, storage == ONNX_HALF ? RUVM_DTYPE_F16 : RUVM_DTYPE_F32);
        bool in_place = v.data > file.data && v.data < file.data + file.size;
        cr_assert_eq(in_place, storage == ONNX_RAW || storage == ONNX_TYPED);
        for (uint64_t i = 0; i < 6; i++)
            cr_assert(ruvm_onnx_real(&onnx.tensors[0], i, &x) && x == (double)six[i]);
        cr_assert_not(ruvm_onnx_real(&onnx.tensors[0], 6, &x));
        ruvm_buffer_free(&file);
    }
}

static const struct {
    unsigned type, list;
    int64_t expected;
} integers[] = {
    {RUVM_ONNX_UINT8, 5, 200},
    {RUVM_ONNX_INT8, 5, -7},
    {RUVM_ONNX_UINT16, 5, 60000},
    {RUVM_ONNX_INT16, 5, -300},
    {RUVM_ONNX_INT32, 5, -70000},
    {RUVM_ONNX_INT64, 7, -5000000000},
    {RUVM_ONNX_UINT32, 11, 4000000000},
    {RUVM_ONNX_UINT64, 11, 5000000000},
    {RUVM_ONNX_BOOL, 5, 1},
};

Test(onnx, integers_of_every_type)
{
    for (size_t i = 0; i < COUNT(integers); i++) {
        struct ruvm_buffer t = onnx_tensor("i", integers[i].type, SHAPE(2)), packed = {0};
        struct ruvm_buffer g = {0}, file;
        struct ruvm_view v = {0};
        int64_t value;
        double x;
        pb_varint(&packed, 0);
        pb_varint(&packed, (uint64_t)integers[i].expected);
        pb_message(&t, integers[i].list, &packed);
        pb_message(&g, 5, &t);
        cr_assert_eq(parse_graph(&g, &file), RUVM_OK, "%s", err.text);
        cr_assert(ruvm_onnx_integer(&onnx.tensors[0], 1, &value));
        cr_assert_eq(value, integers[i].expected, "type %u", integers[i].type);
        cr_assert_not(ruvm_onnx_integer(&onnx.tensors[0], 2, &value));
        cr_assert_not(ruvm_onnx_real(&onnx.tensors[0], 1, &x));
        cr_assert_not(ruvm_onnx_view(&onnx.tensors[0], &v));
        ruvm_buffer_free(&file);
    }
}

static void check_refused(struct ruvm_buffer *tensor, int code, const char *text)
{
    cr_expect_eq(parse_tensor(tensor), code, "%s", text);
    cr_expect(strstr(err.text, text), "%s is not in: %s", text, err.text);
}

Test(onnx, shapes_that_cannot_be_are_refused_before_memory_is_taken)
{
    struct ruvm_buffer t = onnx_tensor("w", 1, SHAPE((uint64_t)1 << 63));
    check_refused(&t, RUVM_ERR_CORRUPT, "tensor w: a dimension is negative or absurd");
    t = onnx_tensor("w", 1, SHAPE((uint64_t)-1));
    check_refused(&t, RUVM_ERR_CORRUPT, "a dimension is negative or absurd");
    t = onnx_tensor("w", 1, SHAPE(1u << 31, 1u << 31, 1u << 31));
    check_refused(&t, RUVM_ERR_CORRUPT, "an absurd number of values");
    t = onnx_tensor("w", 1, SHAPE(1u << 24, 1u << 24));
    check_refused(&t, RUVM_ERR_CORRUPT, "its shape makes 281474976710656 values, the file has 0");
    t = onnx_tensor("w", 1, SHAPE(2));
    pb_bytes(&t, 9, six, 7);
    check_refused(&t, RUVM_ERR_CORRUPT, "its shape makes 8 bytes, the file has 7");
    t = onnx_tensor("w", 1, SHAPE(1));
    pb_bytes(&t, 4, six, 3);
    check_refused(&t, RUVM_ERR_CORRUPT, "ends inside a number");
    t = onnx_tensor("w", 7, SHAPE(1));
    pb_bytes(&t, 7, "\x80", 1);
    check_refused(&t, RUVM_ERR_CORRUPT, "ends inside a number");
    t = onnx_tensor("w", 1, SHAPE(1));
    pb_number(&t, 3, 1);
    check_refused(&t, RUVM_ERR_CORRUPT, "it is a part of a tensor");
    t = onnx_tensor(NULL, 1, SHAPE(0));
    check_refused(&t, RUVM_ERR_CORRUPT, "an initializer has no name");
    t = onnx_tensor("w", 1, SHAPE(1, 1, 1, 1));
    for (int i = 0; i < 5; i++)
        pb_number(&t, 1, 1);
    check_refused(&t, RUVM_ERR_UNSUPPORTED, "has more than 8 dimensions");
}

Test(onnx, a_shape_with_no_values_is_no_fault)
{
    struct ruvm_buffer t = onnx_tensor("w", 1, SHAPE(1u << 31, 0, 1u << 31, 1u << 31));
    cr_assert_eq(parse_tensor(&t), RUVM_OK, "%s", err.text);
    t = onnx_tensor("w", 8, SHAPE(3)); /* strings: of no use, and no harm */
    cr_assert_eq(parse_tensor(&t), RUVM_OK, "%s", err.text);
    cr_assert_null(onnx.tensors[0].data);
}

/* ---- graphs ---------------------------------------------------------------------------- */

Test(onnx, nodes_know_their_values)
{
    struct ruvm_buffer g = {0}, a = {0}, file;
    struct ruvm_onnx_attribute attribute;
    struct ruvm_onnx_operator *operators;
    int64_t ints[3];
    onnx_end(&g, 11, "x");
    onnx_floats(&g, "w", SHAPE(2, 3), six, ONNX_RAW, NULL, NULL);
    onnx_attribute_int(&a, "axis", -1);
    onnx_attribute_ints(&a, "perm", 3, (int64_t[]){2, 0, 1});
    onnx_node(&g, "Gather", "w x", "a", &a);
    onnx_node(&g, "Mul", "a a", "b", NULL);
    onnx_constant_ints(&g, "c", 2, (int64_t[]){5, -6});
    onnx_node(&g, "Mul", "b c", "y", NULL);
    onnx_end(&g, 12, "y");
    cr_assert_eq(parse_graph(&g, &file), RUVM_OK, "%s", err.text);
    cr_assert(onnx.n_nodes == 4 && onnx.n_values == 6 && onnx.opset == 14 && onnx.ir_version == 7);
    cr_assert(ruvm_onnx_is(onnx.producer, "pytorch"));
    const struct ruvm_onnx_node *gather = &onnx.nodes[0], *mul = &onnx.nodes[3];
    cr_assert(gather->n_in == 2 && gather->n_out == 1);
    cr_assert_eq(onnx.values[gather->in[0]].tensor, 0);
    cr_assert(onnx.values[gather->in[1]].is_input);
    cr_assert_eq(onnx.values[mul->in[0]].maker, 1);
    cr_assert_eq(onnx.values[mul->in[1]].tensor, 1);
    cr_assert(onnx.values[mul->out[0]].is_output && onnx.n_initializers == 1);
    cr_assert(ruvm_onnx_attribute(gather, "axis", &attribute) && attribute.i == -1);
    cr_assert(ruvm_onnx_attribute(gather, "perm", &attribute));
    cr_assert_eq(ruvm_onnx_attribute_ints(&attribute, ints, 2), 3);
    cr_assert(ints[0] == 2 && ints[1] == 0);
    cr_assert_not(ruvm_onnx_attribute(gather, "ax", &attribute));
    cr_assert_eq(ruvm_onnx_operators(&operators, &arena, &onnx), 3);
    cr_assert(ruvm_onnx_is(operators[1].op, "Mul") && operators[1].n_nodes == 2);
    ruvm_buffer_free(&file);
}

Test(onnx, graphs_that_cannot_be_computed_are_refused)
{
    static const struct {
        const char *in, *out, *in2, *out2, *text;
    } cases[] = {
        {"x", "a", "b", "y", "nothing before its use makes the value b"},
        {"a", "a", "x", "y", "nothing before its use makes the value a"}, /* of itself */
        {"b", "a", "a", "b", "nothing before its use makes the value b"}, /* a circle */
        {"x", "a", "x", "a", "two makers of the value a"},
        {"x", "x", "x", "y", "two makers of the value x"},
        {"x", "w", "x", "y", "two makers of the value w"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ruvm_buffer g = {0}, file;
        onnx_end(&g, 11, "x");
        onnx_floats(&g, "w", SHAPE(6), six, ONNX_RAW, NULL, NULL);
        onnx_node(&g, "Relu", cases[i].in, cases[i].out, NULL);
        onnx_node(&g, "Relu", cases[i].in2, cases[i].out2, NULL);
        cr_expect_eq(parse_graph(&g, &file), RUVM_ERR_CORRUPT, "case %zu", i);
        cr_expect(strstr(err.text, cases[i].text), "case %zu: %s", i, err.text);
        ruvm_buffer_free(&file);
    }
}

Test(onnx, models_without_a_sound_graph_are_refused)
{
    struct ruvm_buffer none = {0}, twice = {0}, g = {0};
    pb_number(&none, 1, 7);
    pb_text(&none, 2, "pytorch");
    cr_assert_eq(parse(&none), RUVM_ERR_CORRUPT);
    cr_assert(strstr(err.text, "there is no graph"), "%s", err.text);
    pb_message(&twice, 7, &g);
    pb_message(&twice, 7, &g);
    cr_assert_eq(parse(&twice), RUVM_ERR_CORRUPT);
    cr_assert(strstr(err.text, "a second graph"), "%s", err.text);
    ruvm_buffer_free(&none);
    ruvm_buffer_free(&twice);
}

/* Cut anywhere, a file is refused, or a smaller one that is whole. */
Test(onnx, a_truncated_file_is_recognised_and_refused)
{
    struct onnx_llama l = onnx_llama_usual();
    struct ruvm_buffer file = onnx_llama_write(&l);
    for (size_t n = 4; n + 4 < file.size; n += 7) {
        uint8_t *cut = malloc(n);
        memcpy(cut, file.data, n);
        err = (struct ruvm_error){0};
        cr_expect(ruvm_onnx_probe(cut, n), "%zu bytes", n);
        cr_expect_eq(ruvm_onnx_parse(&onnx, &arena, cut, n, &err), RUVM_ERR_CORRUPT);
        free(cut);
    }
    ruvm_buffer_free(&file);
}

Test(onnx, other_files_are_not_taken_for_it)
{
    static const char *const others[] = {"\x0a\x0e\x0a\x05<unk>\x15",
                                         "\x08\x01\x08\x01\x08\x01",
                                         "\x08\x07\x12",
                                         "\x08",
                                         "{\"a\": 1}",
                                         "GGUF\3\1\1\1\1"};
    for (size_t i = 0; i < COUNT(others); i++)
        cr_expect_not(ruvm_onnx_probe((const uint8_t *)others[i], strlen(others[i])), "case %zu",
                      i);
    cr_expect_not(ruvm_onnx_probe((const uint8_t *)"\x08\0\0\0\x40\0\0\0", 8));
}

/* ---- the directory ------------------------------------------------------------------------ */

Test(onnx, the_directory_has_names_and_shapes_of_the_file)
{
    struct ruvm_buffer g = {0}, file, t = onnx_tensor("i", RUVM_ONNX_INT64, SHAPE(0));
    struct ruvm_tensors dir;
    double x;
    onnx_floats(&g, "w", SHAPE(2, 3), six, ONNX_RAW, NULL, NULL);
    onnx_floats(&g, "s", (struct onnx_shape){0}, six, ONNX_RAW, NULL, NULL);
    pb_message(&g, 5, &t);
    file = onnx_model(&g, NULL);
    const struct ruvm_format *f = ruvm_formats_probe(file.data, file.size);
    cr_assert(f && strcmp(f->name, "ONNX model") == 0);
    cr_assert_eq(f->read(&dir, &arena, file.data, file.size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(dir.n_views, 2);
    const struct ruvm_view *w = ruvm_tensors_find(&dir, "w"), *s = ruvm_tensors_find(&dir, "s");
    cr_assert(w && w->n_dims == 2 && w->dims[0] == 2 && w->dims[1] == 3 && w->bytes == 24);
    cr_assert(s && s->n_dims == 1 && s->dims[0] == 1);
    cr_assert(ruvm_tensors_number(&dir, "tensors_not_float", &x) && x == 1);
    ruvm_buffer_free(&file);
}

/* ---- other files ---------------------------------------------------------------------------- */

static void write_file(const char *name, const void *data, size_t n)
{
    cr_assert_eq(ruvm_file_write(in_folder(name), data, n, &err), RUVM_OK, "%s", err.text);
}

/* A model of one tensor of six floats that lies in another file. */
static void write_model(const char *location, const char *offset, const char *length)
{
    const char *entries[][2] = {{"location", location}, {"offset", offset}, {"length", length}};
    struct ruvm_buffer g = {0}, t = onnx_tensor("w", 1, SHAPE(2, 3)), file;
    for (size_t i = 0; i < COUNT(entries); i++) {
        struct ruvm_buffer entry = {0};
        if (!entries[i][1])
            continue;
        pb_text(&entry, 1, entries[i][0]);
        pb_text(&entry, 2, entries[i][1]);
        pb_message(&t, 13, &entry);
    }
    pb_number(&t, 14, 1);
    pb_message(&g, 5, &t);
    file = onnx_model(&g, NULL);
    write_file("m.onnx", file.data, file.size);
    ruvm_buffer_free(&file);
}

static int open_model(void)
{
    err = (struct ruvm_error){0};
    return ruvm_onnx_open(&onnx, &arena, in_folder("m.onnx"), &err);
}

static void check_six(void)
{
    double x;
    cr_assert_eq(open_model(), RUVM_OK, "%s", err.text);
    for (uint64_t i = 0; i < 6; i++)
        cr_assert(ruvm_onnx_real(&onnx.tensors[0], i, &x) && x == (double)six[i]);
    ruvm_onnx_close(&onnx);
}

Test(onnx, data_in_files_beside_and_below)
{
    uint8_t padded[40] = {0};
    memcpy(padded + 16, six, sizeof six);
    write_file("data", padded, sizeof padded);
    cr_assert_eq(mkdir(in_folder("sub"), 0777), 0);
    write_file("sub/data", six, sizeof six);
    write_model("data", "16", "24");
    check_six();
    write_model("data", "16", NULL);
    check_six();
    write_model("sub/data", NULL, NULL);
    check_six();
    write_model("./sub//data", "0", "24");
    check_six();
    cr_assert_eq(symlink("sub/data", in_folder("link")), 0);
    write_model("link", NULL, NULL); /* a link that stays inside */
    check_six();
}

static void check_location(const char *location, const char *offset, const char *length, int code,
                           const char *text)
{
    write_model(location, offset, length);
    cr_expect_eq(open_model(), code, "%s: %s", text, err.text);
    cr_expect(strstr(err.text, text) && strstr(err.text, "tensor w"), "%s is not in: %s", text,
              err.text);
}

Test(onnx, locations_outside_the_folder_are_refused)
{
    char outside[64];
    snprintf(outside, sizeof outside, "../%s/data", strrchr(folder, '/') + 1);
    write_file("data", six, sizeof six);
    cr_assert_eq(symlink("/dev/null", in_folder("out")), 0);
    cr_assert_eq(symlink("..", in_folder("up")), 0);
    const int code = RUVM_ERR_UNSUPPORTED;
    check_location("/etc/passwd", NULL, NULL, code, "\"/etc/passwd\", an absolute path");
    check_location("../../Makefile", NULL, NULL, code, "a path with \"..\" in it");
    check_location(outside, NULL, NULL, code, "a path with \"..\" in it");
    check_location("sub/..", NULL, NULL, code, "a path with \"..\" in it");
    check_location("out", NULL, NULL, code, "a link out of the model's folder");
    check_location("up/m.onnx", NULL, NULL, RUVM_ERR_IO, "which is not there");
    check_location(".", NULL, NULL, code, "a link out of the model's folder");
}

Test(onnx, files_that_do_not_hold_the_data_are_refused)
{
    cr_assert_eq(mkfifo(in_folder("pipe"), 0666), 0);
    cr_assert_eq(mkdir(in_folder("sub"), 0777), 0);
    write_file("data", six, sizeof six);
    const int corrupt = RUVM_ERR_CORRUPT;
    check_location("nowhere", NULL, NULL, RUVM_ERR_IO, "\"nowhere\", which is not there");
    check_location("pipe", NULL, NULL, RUVM_ERR_UNSUPPORTED, "no regular file");
    check_location("sub", NULL, NULL, RUVM_ERR_UNSUPPORTED, "no regular file");
    check_location(NULL, NULL, NULL, corrupt, "no location is given");
    check_location("data", "1", NULL, corrupt, "24 bytes from byte 1 of \"data\", which has only");
    check_location("data", "18446744073709551600", NULL, corrupt, "from byte 18446744073709551600");
    check_location("data", "18446744073709551616", NULL, corrupt, "offset of its external data");
    check_location("data", "9223372036854775807", NULL, corrupt, "from byte 9223372036854775807");
    check_location("data", "-1", NULL, corrupt, "offset of its external data is no number");
    check_location("data", "0", "23", corrupt, "its shape makes 24 bytes, its external data has");
    check_location("data", "0", "2x", corrupt, "length of its external data is no number");
    check_location("data", "", "24", corrupt, "offset of its external data is no number");
}

/* A model may hold its own data as if it were another file; its end is its end. */
Test(onnx, a_model_may_point_at_itself_but_not_beyond)
{
    write_model("m.onnx", "8", "24");
    cr_assert_eq(open_model(), RUVM_OK, "%s", err.text);
    ruvm_onnx_close(&onnx);
    check_location("m.onnx", "1000", "24", RUVM_ERR_CORRUPT, "of \"m.onnx\", which has only");
}

Test(onnx, bytes_alone_cannot_have_data_elsewhere)
{
    struct ruvm_map map;
    struct ruvm_tensors dir;
    write_model("data", NULL, NULL);
    cr_assert_eq(ruvm_file_map(&map, in_folder("m.onnx"), &err), RUVM_OK);
    cr_assert_eq(ruvm_onnx_read(&dir, &arena, map.data, map.size, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, "tensor w: its data is in another file"), "%s", err.text);
    ruvm_file_unmap(&map);
}

Test(onnx, a_file_that_is_not_there_needs_no_closing)
{
    err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_onnx_open(&onnx, &arena, in_folder("none"), &err), RUVM_ERR_IO);
    write_file("m.onnx", "junk", 4);
    cr_assert_eq(open_model(), RUVM_ERR_CORRUPT);
    cr_assert_null(onnx.file.data);
}
