/* Inspect: what it says of each kind of file, and how it says that one is damaged. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/ruvm_layout.h"
#include "lib/base/bytes.h"
#include "lib/base/file.h"
#include "lib/ruvm_tool.h"
#include "tests/support/container_files.h"
#include "tests/support/repair_image.h"
#include "tests/support/tiny_model.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char golden[] = "tests/golden/golden.ruvm";

static struct ruvm_inspect_result inspect(const char *path)
{
    struct ruvm_inspect_result r;
    struct ruvm_error err = {0};
    int rc = ruvm_inspect(&(struct ruvm_inspect_options){.input = path}, &r, &err);
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
    return r;
}

/* The message about a file that is refused; static for one call. */
static const char *message(const struct ruvm_inspect_options *o, int code)
{
    static struct ruvm_error err;
    struct ruvm_inspect_result r;
    err = (struct ruvm_error){0};
    int rc = ruvm_inspect(o, &r, &err);
    cr_assert_eq(rc, code, "%d: %s", rc, err.text);
    cr_assert_eq(err.code, code);
    cr_assert_null(r.owned);
    return err.text;
}

static void assert_says(const char *text, const char *part)
{
    cr_assert_not_null(strstr(text, part), "\"%s\" does not say \"%s\"", text, part);
}

static uint8_t *read_golden(size_t *size)
{
    struct ruvm_map map;
    cr_assert_eq(ruvm_file_map(&map, golden, NULL), RUVM_OK);
    uint8_t *data = malloc(map.size);
    memcpy(data, map.data, map.size);
    *size = map.size;
    ruvm_file_unmap(&map);
    return data;
}

static void assert_near(double found, double expected)
{
    cr_assert_lt(fabs(found - expected), 1e-6 * fabs(expected), "%g, not %g", found, expected);
}

/* ---- images ------------------------------------------------------------------ */

Test(inspect, image)
{
    struct ruvm_inspect_result r = inspect(golden);
    cr_assert_str_eq(r.format, "RUVM v1 image");
    cr_assert(r.is_image && !r.is_v0 && r.version == 1 && r.quant_type == 0);
    cr_assert(r.vocab == 24 && r.dim == 16 && r.hidden == 20 && r.n_layers == 1);
    cr_assert(r.n_heads == 2 && r.n_kv_heads == 1 && r.head_dim == 8 && r.context == 32);
    cr_assert(!r.tied && r.k_bits == 8 && r.v_bits == 8);
    assert_near(r.norm_eps, 1e-5);
    assert_near(r.rope_theta, 10000);
    cr_assert_eq(r.parameters, 24 * 16 * 2 + 16 * 16 * 2 + 8 * 16 * 2 + 20 * 16 * 3 + 3 * 16);
    cr_assert(r.has_tokenizer && r.n_pieces == 24 && r.bos == 1 && r.eos == 2 && r.unk == 0);
    cr_assert(r.n_golden_prompt == 3 && r.n_golden_tokens == 8);
    cr_assert_str_eq(r.meta, "license=MIT\nname=golden\n");
    cr_assert_str_eq(r.note, "");
    cr_assert(!r.has_histogram);
    ruvm_inspect_free(&r);
    cr_assert(!r.owned && !r.tensors);
}

Test(inspect, sections_of_an_image)
{
    static const char *const names[] = {"ARCH", "TENS", "SCAL", "NORM", "ROPE",
                                        "KVSC", "WGTS", "tokn", "meta", "gold"};
    size_t size;
    uint8_t *data = read_golden(&size);
    struct ruvm_inspect_result r = inspect(golden);
    cr_assert_eq(r.file_bytes, size);
    cr_assert_eq(r.n_sections, COUNT(names));
    for (unsigned i = 0; i < r.n_sections; i++) {
        const struct ruvm_inspect_section *s = &r.sections[i];
        cr_assert_str_eq(s->name, names[i]);
        cr_assert_eq(s->crc32, ruvm_crc32(0, data + s->off_bytes, s->size_bytes));
        cr_assert(s->known && s->required == (i < 7));
    }
    cr_assert_eq(r.header_crc32, ruvm_load_u32(data + RUVM_HDR_CRC));
    ruvm_inspect_free(&r);
    free(data);
}

Test(inspect, unknown_optional_section)
{
    size_t size;
    uint8_t *data = read_golden(&size);
    memcpy(data + RUVM_HDR_BYTES + 9 * RUVM_SEC_BYTES, "yard", 4);
    repair_image(data, size);
    const char *path = tiny_file(data, size);
    struct ruvm_inspect_result r = inspect(path);
    cr_assert_str_eq(r.sections[9].name, "yard");
    cr_assert(!r.sections[9].known && !r.sections[9].required);
    cr_assert_eq(r.n_golden_tokens, 0);
    ruvm_inspect_free(&r);
    unlink(path);
    free(data);
}

Test(inspect, tensors_of_an_image)
{
    static const char *const names[] = {"embed",           "layers.0.wq",     "layers.0.wk",
                                        "layers.0.wv",     "layers.0.wo",     "layers.0.w_up",
                                        "layers.0.w_gate", "layers.0.w_down", "head"};
    size_t size;
    uint8_t *data = read_golden(&size);
    struct ruvm_inspect_result r = inspect(golden);
    cr_assert_eq(r.n_tensors, COUNT(names));
    for (unsigned i = 0; i < r.n_tensors; i++) {
        const struct ruvm_inspect_tensor *t = &r.tensors[i];
        cr_assert_str_eq(t->name, names[i]);
        cr_assert_str_eq(t->type, "int8");
        cr_assert_eq(t->n_dims, 2);
        double min = 0, max = 0;
        for (uint64_t row = 0; row < t->dims[0]; row++) {
            for (uint64_t c = 0; c < t->dims[1]; c++) {
                uint64_t row_bytes = t->size_bytes / t->dims[0];
                int8_t w = (int8_t)data[t->off_bytes + row * row_bytes + c];
                double x = w * ldexp(32768 + 1000.0 * (double)row, -23);
                min = fmin(min, x);
                max = fmax(max, x);
            }
        }
        cr_assert(t->min == min && t->max == max, "%s: %g %g", t->name, t->min, t->max);
    }
    cr_assert(r.tensors[7].dims[0] == 16 && r.tensors[7].dims[1] == 20);
    cr_assert_eq(r.tensors[7].size_bytes, 16 * 32);
    ruvm_inspect_free(&r);
    free(data);
}

/* Ranges as the independent decoder has them: python3 tests/decode_ruvm.py. */
Test(inspect, tensors_of_packed_weights)
{
    static const struct {
        const char *name, *type;
        double min, max;
        uint64_t size_bytes;
    } expected[] = {
        {"embed", "int4 g16", -0x1.7132100000000p+0, 0x1.7132100000000p+0, 192},
        {"layers.0.wq", "int3 g32", -0x1.0950200000000p-1, 0x1.0950200000000p-1, 192},
        {"layers.0.wk", "int8", -0x1.2345000000000p-1, 0x1.1ac3000000000p-1, 128},
        {"layers.0.wv", "int4", -0x1.2345000000000p-4, 0x1.2345000000000p-4, 64},
        {"layers.0.wo", "ternary", -0x1.7530000000000p-8, 0x1.7530000000000p-8, 64},
        {"layers.0.w_up", "xnor", -0x1.9470000000000p-8, 0x1.9c40000000000p-8, 96},
        {"layers.0.w_gate", "int2 g64", -0x1.c6d2800000000p-3, 0x1.cfc8000000000p-3, 96},
        {"layers.0.w_down", "int3 g16", -0x1.0950200000000p-1, 0x1.0950200000000p-1, 192},
        {"head", "binary g16", -0x1.89cf000000000p-4, 0x1.89cf000000000p-4, 96},
    };
    struct ruvm_inspect_result r = inspect("tests/golden/packed.ruvm");
    cr_assert(r.quant_type == 255 && r.k_bits == 4 && r.v_bits == 4);
    cr_assert_eq(r.n_tensors, COUNT(expected));
    for (unsigned i = 0; i < r.n_tensors; i++) {
        const struct ruvm_inspect_tensor *t = &r.tensors[i];
        cr_assert_str_eq(t->name, expected[i].name);
        cr_assert_str_eq(t->type, expected[i].type);
        cr_assert_eq(t->size_bytes, expected[i].size_bytes);
        cr_assert(t->min == expected[i].min && t->max == expected[i].max, "%s: %g to %g", t->name,
                  t->min, t->max);
    }
    /* one head of 8 channels: four bytes and a step for a key, and as much for a value */
    cr_assert_eq(r.kv_cache_bytes, 32 * 2 * 5);
    ruvm_inspect_free(&r);
}

/* Of XNOR: -1 and 1 times scales from 32768 on, so two heaps with nothing between. */
Test(inspect, histogram_of_packed_weights)
{
    struct ruvm_inspect_result r;
    const struct ruvm_inspect_options o = {.input = "tests/golden/packed.ruvm",
                                           .tensor = "layers.0.w_up"};
    const double least = ldexp(32768, -23);
    uint64_t total = 0, n_between = 0;
    cr_assert_eq(ruvm_inspect(&o, &r, NULL), RUVM_OK);
    cr_assert(r.has_histogram);
    cr_assert_eq(r.histogram_max, ldexp(32768 + 20 * 1000, -23));
    cr_assert_eq(r.histogram_min, -ldexp(32768 + 19 * 1000, -23));
    double width = (r.histogram_max - r.histogram_min) / RUVM_INSPECT_BINS;
    for (unsigned i = 0; i < RUVM_INSPECT_BINS; i++) {
        double from = r.histogram_min + i * width;
        bool is_between = from > -least && from + width < least;
        cr_assert(!is_between || r.histogram[i] == 0, "bin %u", i);
        n_between += is_between;
        total += r.histogram[i];
    }
    cr_assert(total == 21 * 16 && n_between > 10);
    cr_assert(r.histogram[0] > 0 && r.histogram[RUVM_INSPECT_BINS - 1] > 0);
    ruvm_inspect_free(&r);
}

Test(inspect, memory_is_what_the_engine_says)
{
    size_t size, bytes;
    uint8_t *data = read_golden(&size);
    void *image;
    cr_assert_eq(posix_memalign(&image, 64, size), 0);
    memcpy(image, data, size);
    for (uint32_t context = 0; context <= 32; context++) {
        struct ruvm_inspect_result r;
        const struct ruvm_inspect_options o = {.input = golden, .context = context};
        const struct ruvm_engine_options engine = {.context = context};
        cr_assert_eq(ruvm_inspect(&o, &r, NULL), RUVM_OK);
        cr_assert_eq(ruvm_engine_bytes(image, size, &engine, &bytes), RUVM_OK);
        cr_assert_eq(r.engine_bytes, bytes);
        cr_assert_eq(r.engine_context, context ? context : 32);
        cr_assert_eq(r.kv_cache_bytes, 2 * r.engine_context * 8);
        ruvm_inspect_free(&r);
    }
    const struct ruvm_inspect_options o = {.input = golden, .context = 33};
    assert_says(message(&o, RUVM_ERR_ARG), "a context of 33 is more than the 32 positions");
    free(image);
    free(data);
}

Test(inspect, demo_model)
{
    struct ruvm_inspect_result r = inspect("demo");
    cr_assert(r.is_image && r.has_tokenizer && r.parameters > 0 && r.engine_bytes > 0);
    ruvm_inspect_free(&r);
}

/* ---- histograms ------------------------------------------------------------------ */

Test(inspect, histogram_counts_every_value_once)
{
    struct ruvm_inspect_result r;
    const struct ruvm_inspect_options o = {.input = golden, .tensor = "layers.0.w_down"};
    uint64_t total = 0;
    cr_assert_eq(ruvm_inspect(&o, &r, NULL), RUVM_OK);
    cr_assert(r.has_histogram);
    cr_assert(r.histogram_min == r.tensors[7].min && r.histogram_max == r.tensors[7].max);
    for (unsigned i = 0; i < RUVM_INSPECT_BINS; i++)
        total += r.histogram[i];
    cr_assert_eq(total, 16 * 20);
    cr_assert_geq(r.histogram[0], 1);
    cr_assert_geq(r.histogram[RUVM_INSPECT_BINS - 1], 1);
    ruvm_inspect_free(&r);
}

Test(inspect, unknown_tensor_lists_the_names)
{
    const struct ruvm_inspect_options o = {.input = golden, .tensor = "layers.7.wq"};
    const char *text = message(&o, RUVM_ERR_ARG);
    assert_says(text, "has no tensor \"layers.7.wq\"; it has embed, layers.0.wq, layers.0.wk");
}

/* ---- damage ------------------------------------------------------------------------ */

static const char *message_of_bytes(const void *data, size_t size, int code)
{
    const char *path = tiny_file(data, size);
    const char *text = message(&(struct ruvm_inspect_options){.input = path}, code);
    cr_assert_eq(strncmp(text, path, strlen(path)), 0, "%s", text);
    unlink(path);
    return text + strlen(path);
}

Test(inspect, damaged_section_is_named_with_place_and_both_crcs)
{
    size_t size;
    uint8_t *data = read_golden(&size);
    struct ruvm_inspect_result r = inspect(golden);
    for (unsigned i = 0; i < r.n_sections; i++) {
        const struct ruvm_inspect_section *s = &r.sections[i];
        char expected[256];
        data[s->off_bytes + s->size_bytes / 2] ^= 4;
        snprintf(expected, sizeof expected,
                 ": section %s at byte 0x%x: CRC-32 is 0x%08x, expected 0x%08x: the file is "
                 "damaged; copy or download it again",
                 s->name, s->off_bytes, ruvm_crc32(0, data + s->off_bytes, s->size_bytes),
                 s->crc32);
        cr_assert_str_eq(message_of_bytes(data, size, RUVM_ERR_CORRUPT), expected);
        data[s->off_bytes + s->size_bytes / 2] ^= 4;
    }
    ruvm_inspect_free(&r);
    free(data);
}

Test(inspect, truncated_image_says_how_much_is_missing)
{
    size_t size;
    uint8_t *data = read_golden(&size);
    for (size_t n = 4; n < size; n += n < 300 ? 1 : 61) {
        char expected[160];
        uint32_t should = n < RUVM_HDR_BYTES ? RUVM_HDR_BYTES : (uint32_t)size;
        snprintf(expected, sizeof expected,
                 ": ends at byte %zu, but %s %u bytes: %zu %s missing; copy or download it again",
                 n, n < RUVM_HDR_BYTES ? "a header takes" : "its header says", should, should - n,
                 should - n == 1 ? "byte is" : "bytes are");
        cr_assert_str_eq(message_of_bytes(data, n, RUVM_ERR_CORRUPT), expected);
    }
    free(data);
}

Test(inspect, longer_image_says_by_how_much)
{
    size_t size;
    uint8_t *data = read_golden(&size);
    data = realloc(data, size + 100);
    memset(data + size, 0, 100);
    assert_says(message_of_bytes(data, size + 100, RUVM_ERR_CORRUPT),
                "the last 100 do not belong to it");
    free(data);
}

Test(inspect, every_damaged_byte_gives_a_clear_error)
{
    size_t size;
    uint8_t *data = read_golden(&size);
    for (size_t i = 0; i < size; i++) {
        uint8_t good = data[i];
        struct ruvm_inspect_result r;
        struct ruvm_error err = {0};
        data[i] = (uint8_t)(good ^ (1 << i % 8));
        const char *path = tiny_file(data, size);
        const struct ruvm_inspect_options o = {.input = path};
        cr_assert_neq(ruvm_inspect(&o, &r, &err), RUVM_OK, "byte %zu", i);
        cr_assert_gt(strlen(err.text), strlen(path) + 20);
        unlink(path);
        data[i] = good;
    }
    free(data);
}

Test(inspect, foreign_bytes_are_named)
{
    static const struct {
        const char *bytes, *says;
    } cases[] = {
        {"<!DOCTYPE html><html>404 Not Found", "it looks like an HTML page"},
        {"PK\3\4xxxxxxxxxxxxxxxxxxxxxx", "it looks like a zip archive"},
        {"\x93NUMPY", "it looks like a NumPy array"},
        {"Once upon a time", "it looks like a text file"},
        {"", "it looks like an empty file"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = strlen(cases[i].bytes);
        assert_says(message_of_bytes(cases[i].bytes, n, RUVM_ERR_UNSUPPORTED), cases[i].says);
    }
}

Test(inspect, paths_that_cannot_be_read)
{
    const struct ruvm_inspect_options nowhere = {.input = "tests/no such file"};
    const struct ruvm_inspect_options folder = {.input = "tests"};
    assert_says(message(&nowhere, RUVM_ERR_IO), "No such file");
    assert_says(message(&folder, RUVM_ERR_UNSUPPORTED), "holds no config.json");
}

/* ---- other formats ------------------------------------------------------------------- */

Test(inspect, checkpoint)
{
    const struct tiny_shape shape = {.dim = 24,
                                     .hidden = 36,
                                     .layers = 2,
                                     .heads = 4,
                                     .kv_heads = 2,
                                     .vocab = 40,
                                     .context = 50,
                                     .untied = true,
                                     .seed = 1};
    struct ruvm_buffer file = tiny_checkpoint(&shape);
    const char *path = tiny_file(file.data, file.size);
    struct ruvm_inspect_result r = inspect(path);
    cr_assert(strstr(r.format, "llama2.c"), "%s", r.format);
    cr_assert(!r.is_image && !r.is_v0 && r.n_sections == 0 && !r.has_tokenizer);
    cr_assert(r.vocab == 40 && r.dim == 24 && r.hidden == 36 && r.n_layers == 2);
    cr_assert(r.n_heads == 4 && r.n_kv_heads == 2 && r.head_dim == 6 && r.context == 50);
    cr_assert(!r.tied && r.file_bytes == file.size && r.meta[0] == '\0');
    assert_near(r.rope_theta, 10000);
    uint64_t layer = 2 * 24 * 24 + 2 * 12 * 24 + 3 * 24 * 36 + 2 * 24;
    cr_assert_eq(r.parameters, 2 * 40 * 24 + 2 * layer + 24);
    float first;
    memcpy(&first, file.data + TINY_FIRST_WEIGHT, sizeof first);
    cr_assert_str_eq(r.tensors[0].type, "f32");
    cr_assert_eq(r.tensors[0].off_bytes, TINY_FIRST_WEIGHT);
    cr_assert(r.tensors[0].min <= (double)first && (double)first <= r.tensors[0].max);
    cr_assert(r.tensors[0].min < -0.1 && r.tensors[0].max > 0.1);
    ruvm_inspect_free(&r);
    ruvm_buffer_free(&file);
    unlink(path);
}

Test(inspect, values_that_are_no_numbers_have_no_range)
{
    const struct tiny_shape shape = {.dim = 8,
                                     .hidden = 8,
                                     .layers = 1,
                                     .heads = 2,
                                     .kv_heads = 2,
                                     .vocab = 40,
                                     .context = 8,
                                     .seed = 2};
    struct ruvm_buffer file = tiny_checkpoint(&shape);
    ruvm_store_u32(file.data + TINY_FIRST_WEIGHT, 0x7fc00000);
    const char *path = tiny_file(file.data, file.size);
    struct ruvm_inspect_result r = inspect(path);
    cr_assert(isnan(r.tensors[0].min) && isnan(r.tensors[0].max));
    char name[128];
    snprintf(name, sizeof name, "%s", r.tensors[0].name);
    ruvm_inspect_free(&r);
    const struct ruvm_inspect_options o = {.input = path, .tensor = name};
    uint64_t total = 0;
    cr_assert_eq(ruvm_inspect(&o, &r, NULL), RUVM_OK);
    for (unsigned i = 0; i < RUVM_INSPECT_BINS; i++)
        total += r.histogram[i];
    cr_assert_eq(total, 40 * 8 - 1);
    cr_assert(isfinite(r.histogram_min) && isfinite(r.histogram_max));
    ruvm_inspect_free(&r);
    ruvm_buffer_free(&file);
    unlink(path);
}

Test(inspect, bare_layout)
{
    uint8_t file[RUVM_HDR_BYTES + 2 * 10 * 4 + 4 * 4 * 4 + 3 * 4 * 6] = "RUVM";
    for (size_t i = RUVM_HDR_BYTES; i < sizeof file; i++)
        file[i] = (uint8_t)i;
    ruvm_store_u16(file + RUVM_HDR_VOCAB, 10);
    ruvm_store_u16(file + RUVM_HDR_DIM, 4);
    ruvm_store_u16(file + RUVM_HDR_HIDDEN, 6);
    file[RUVM_HDR_LAYERS] = 1;
    file[RUVM_HDR_HEADS] = 2;
    file[RUVM_HDR_MAX_SEQ] = 128;
    const char *path = tiny_file(file, sizeof file);
    struct ruvm_inspect_result r = inspect(path);
    cr_assert(r.is_v0 && !r.is_image && r.version == 0);
    cr_assert(r.vocab == 10 && r.dim == 4 && r.hidden == 6 && r.context == 128);
    cr_assert(r.n_layers == 1 && r.n_heads == 2 && r.n_kv_heads == 2 && r.head_dim == 2);
    cr_assert_eq(r.n_tensors, 9);
    cr_assert_str_eq(r.tensors[1].name, "layers.0.wq");
    assert_says(r.note, "no scales");
    assert_says(r.note, "--v0-scale");
    ruvm_inspect_free(&r);
    unlink(path);
    assert_says(message_of_bytes(file, sizeof file - 1, RUVM_ERR_CORRUPT),
                "its shape in the bare layout (v0) makes 248 bytes: 1 byte is missing");
}

Test(inspect, real_checkpoint)
{
    const char *models = getenv("RUVM_SHARED_MODELS");
    char path[4096];
    snprintf(path, sizeof path, "%s/stories260K.bin", models ? models : "");
    if (!models || access(path, R_OK) != 0) {
        fprintf(stderr, "skipped: inspect of stories260K.bin, which is not here\n");
        return;
    }
    struct ruvm_inspect_result r = inspect(path);
    cr_assert(r.vocab == 512 && r.dim == 64 && r.hidden == 172 && r.n_layers == 5);
    cr_assert(r.n_heads == 8 && r.n_kv_heads == 4 && r.context == 512 && r.tied);
    cr_assert_eq(r.n_tensors, 1 + 5 * 9 + 1);
    ruvm_inspect_free(&r);
}

/* ---- every container ------------------------------------------------------------------ */

static const struct ruvm_inspect_tensor *tensor(const struct ruvm_inspect_result *r,
                                                const char *name)
{
    for (uint32_t i = 0; i < r->n_tensors; i++)
        if (strcmp(r->tensors[i].name, name) == 0)
            return &r->tensors[i];
    cr_assert_fail("%s is not listed", name);
    return NULL;
}

Test(inspect, each_container_is_described)
{
    static const char *const formats[] = {"llama2.c", "Hugging Face model", "Hugging Face model",
                                          "GGUF",     "ONNX model",         "ONNX model"};
    for (int c = 0; c < N_CONTAINERS; c++) {
        struct ruvm_inspect_result r = inspect(container_write((enum container)c, 37, NULL));
        cr_expect(strstr(r.format, formats[c]), "%s", r.format);
        cr_expect(r.has_shape && r.has_model && !r.is_image && !r.has_tokenizer);
        cr_expect(r.vocab == 37 && r.dim == 16 && r.hidden == 24 && r.n_layers == 2);
        cr_expect(r.n_heads == 4 && r.n_kv_heads == 2 && r.context == 32 && !r.tied);
        cr_expect_str_eq(r.norm, "rms");
        cr_expect_str_eq(r.activation, "silu_gated");
        cr_expect_str_eq(r.positions, "rope");
        cr_expect(r.rope_dims == 4 && !r.parallel && r.window == 0 && r.n_biases == 0);
        cr_expect_float_eq(r.score_scale, 0.5, 1e-7);
        cr_expect_str_eq(r.note, "");
        cr_expect(c < CONTAINER_ONNX ? r.n_operators == 0 : r.n_operators > 5);
        cr_expect_eq(r.tensors[0].file != NULL,
                     c == CONTAINER_SHARDED_HUB || c == CONTAINER_ONNX_EXTERNAL);
        ruvm_inspect_free(&r);
    }
}

Test(inspect, operators_are_counted)
{
    struct ruvm_inspect_result r = inspect(container_write(CONTAINER_ONNX, 37, NULL));
    uint32_t n = 0;
    for (uint32_t i = 0; i < r.n_operators; i++)
        if (strcmp(r.operators[i].name, "MatMul") == 0)
            n = r.operators[i].n_nodes;
    cr_expect_geq(n, 7 * 2 + 1 + 2 * 2);
    assert_says(r.meta, "opset=");
    ruvm_inspect_free(&r);
}

Test(inspect, metadata_of_gguf_is_listed)
{
    struct ruvm_inspect_result r = inspect(container_write(CONTAINER_GGUF, 37, NULL));
    assert_says(r.meta, "general.name=tiny\n");
    assert_says(r.meta, "llama.block_count=2\n");
    ruvm_inspect_free(&r);
}

Test(inspect, a_tokenizer_that_comes_along_is_told)
{
    static const char json[] = "tests/fuzz/corpus/tokenizer_json/llama2";
    struct ruvm_inspect_result r = inspect(container_write(CONTAINER_HUB, 700, json));
    cr_expect(r.has_tokenizer && r.n_pieces > 3 && r.bos == 1 && r.eos == 2);
    ruvm_inspect_free(&r);
}

/* A network that cannot run is listed, and why it cannot is told. */
Test(inspect, weights_alone_are_listed)
{
    const char *folder = container_write(CONTAINER_HUB, 37, NULL);
    const char *file = container_path(folder, "model.safetensors");
    container_text(folder, "config.json", "{\"model_type\":\"mamba\"}");
    struct ruvm_inspect_result r = inspect(file);
    cr_expect(!r.has_shape && !r.has_model && r.parameters > 0);
    assert_says(r.note, "model_type is \"mamba\"");
    cr_expect_eq(tensor(&r, "lm_head.weight")->dims[0], 37);
    ruvm_inspect_free(&r);
    assert_says(message(&(struct ruvm_inspect_options){.input = folder}, RUVM_ERR_UNSUPPORTED),
                "mamba");
    unlink(container_path(folder, "config.json"));
    r = inspect(file);
    assert_says(r.note, "config.json is missing beside it");
    ruvm_inspect_free(&r);
}

Test(inspect, other_networks_say_what_they_are)
{
    static const struct {
        const char *path, *norm, *activation, *positions;
        bool parallel;
    } cases[] = {
        {"tests/golden/networks/gpt2.ruvm", "layer", "gelu_tanh", "learned", false},
        {"tests/golden/networks/gpt_neox.ruvm", "layer", "gelu", "rope", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ruvm_inspect_result r = inspect(cases[i].path);
        cr_expect_str_eq(r.norm, cases[i].norm);
        cr_expect_str_eq(r.activation, cases[i].activation);
        cr_expect_str_eq(r.positions, cases[i].positions);
        cr_expect_eq(r.parallel, cases[i].parallel);
        cr_expect_gt(r.n_biases, 0);
        ruvm_inspect_free(&r);
    }
}

/* ---- differences ------------------------------------------------------------------------ */

static struct ruvm_diff_result diff(const char *a, const char *b)
{
    struct ruvm_diff_result r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_diff(a, b, &r, &err), RUVM_OK, "%s", err.text);
    return r;
}

Test(diff, containers_of_one_network_are_equal)
{
    const char *first = container_write(CONTAINER_LLAMA2C, 37, NULL);
    for (int c = 1; c < N_CONTAINERS; c++) {
        struct ruvm_diff_result r = diff(first, container_write((enum container)c, 37, NULL));
        cr_expect(!r.differs && r.by_meaning && r.n_settings == 0, "container %d", c);
        cr_expect_eq(r.n[RUVM_DIFF_EQUAL], 1 + 2 * 9 + 2);
        ruvm_diff_free(&r);
    }
}

Test(diff, other_rows_have_another_shape)
{
    struct ruvm_diff_result r =
        diff(container_write(CONTAINER_HUB, 37, NULL), container_write(CONTAINER_GGUF, 38, NULL));
    cr_expect(r.differs && r.n[RUVM_DIFF_SHAPE] == 2 && r.n[RUVM_DIFF_VALUES] == 0);
    cr_expect(r.n_settings == 1 && strcmp(r.settings[0].name, "vocab") == 0);
    cr_expect_str_eq(r.settings[0].value[1], "38");
    ruvm_diff_free(&r);
}

static struct ruvm_buffer checkpoint(uint64_t seed, bool untied)
{
    return tiny_checkpoint(&(struct tiny_shape){.dim = 8,
                                                .hidden = 12,
                                                .layers = 1,
                                                .heads = 2,
                                                .kv_heads = 2,
                                                .vocab = 20,
                                                .context = 8,
                                                .untied = untied,
                                                .seed = seed});
}

Test(diff, values_that_differ_are_measured)
{
    struct ruvm_buffer file = checkpoint(1, false);
    const char *a = tiny_file(file.data, file.size);
    float first, sum = 0, other;
    memcpy(&first, file.data + TINY_FIRST_WEIGHT, sizeof first);
    for (int i = 0; i < 20 * 8; i++) {
        memcpy(&other, file.data + TINY_FIRST_WEIGHT + 4 * i, sizeof other);
        sum += other * other;
    }
    other = first + 0.5f;
    memcpy(file.data + TINY_FIRST_WEIGHT, &other, sizeof other);
    struct ruvm_diff_result r = diff(a, tiny_file(file.data, file.size));
    cr_expect(r.differs && r.n[RUVM_DIFF_VALUES] == 1 && r.tensors[0].state == RUVM_DIFF_VALUES);
    cr_expect_str_eq(r.tensors[0].name, "embed");
    cr_expect_float_eq(r.tensors[0].max_abs, 0.5, 1e-6);
    cr_expect_float_eq(r.tensors[0].rel_rms, 0.5 / sqrt((double)sum), 1e-5);
    ruvm_diff_free(&r);
    ruvm_buffer_free(&file);
}

Test(diff, no_number_is_equal_to_no_number_only)
{
    struct ruvm_buffer file = checkpoint(1, false);
    const char *a = tiny_file(file.data, file.size);
    ruvm_store_u32(file.data + TINY_FIRST_WEIGHT, 0x7fc00000);
    const char *b = tiny_file(file.data, file.size);
    struct ruvm_diff_result r = diff(a, b);
    cr_expect(r.differs && isinf(r.tensors[0].max_abs));
    ruvm_diff_free(&r);
    r = diff(b, b);
    cr_expect(!r.differs);
    ruvm_diff_free(&r);
    ruvm_buffer_free(&file);
}

Test(diff, a_head_of_its_own_is_only_there)
{
    struct ruvm_buffer tied = checkpoint(1, false), untied = checkpoint(1, true);
    struct ruvm_diff_result r =
        diff(tiny_file(tied.data, tied.size), tiny_file(untied.data, untied.size));
    cr_expect(r.n[RUVM_ONLY_B] == 1 && r.n_settings == 1);
    cr_expect_str_eq(r.tensors[r.n_tensors - 1].name, "head");
    cr_expect_str_eq(r.settings[0].name, "tied");
    ruvm_diff_free(&r);
    ruvm_buffer_free(&tied);
    ruvm_buffer_free(&untied);
}

Test(diff, an_image_is_near_its_source)
{
    struct ruvm_buffer file = checkpoint(1, true);
    const char *path = tiny_file(file.data, file.size), *image = tiny_path();
    struct ruvm_quantize_options o = {.input = path, .output = image, .no_quality = true};
    struct ruvm_quantize_result q;
    cr_assert_eq(ruvm_quantize(&o, &q, NULL), RUVM_OK);
    ruvm_quantize_free(&q);
    struct ruvm_diff_result r = diff(path, image);
    cr_expect(r.by_meaning && r.n_settings == 0 && r.n[RUVM_ONLY_A] + r.n[RUVM_ONLY_B] == 0);
    for (uint32_t i = 0; i < r.n_tensors; i++)
        cr_expect_lt(r.tensors[i].rel_rms, 0.01, "%s", r.tensors[i].name);
    cr_expect_eq(r.n_tensors, 1 + 9 + 2);
    ruvm_diff_free(&r);
    r = diff(image, image);
    cr_expect(!r.differs);
    ruvm_diff_free(&r);
    unlink(image);
    ruvm_buffer_free(&file);
}

Test(diff, what_is_no_model_is_compared_by_names)
{
    const char *a = container_write(CONTAINER_HUB, 37, NULL);
    const char *b = container_write(CONTAINER_HUB, 37, NULL);
    unlink(container_path(b, "config.json"));
    struct ruvm_diff_result r = diff(a, container_path(b, "model.safetensors"));
    cr_expect(!r.by_meaning && !r.differs && r.n[RUVM_DIFF_EQUAL] == 1 + 2 * 9 + 2);
    cr_expect_str_eq(r.tensors[0].name, "model.embed_tokens.weight");
    ruvm_diff_free(&r);
}

Test(diff, files_that_cannot_be_read)
{
    struct ruvm_diff_result r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_diff(golden, "tests/no such file", &r, &err), RUVM_ERR_IO);
    assert_says(err.text, "No such file");
    cr_assert_eq(ruvm_diff("tests/no such file", golden, &r, NULL), RUVM_ERR_IO);
}
