/* Images of packed weights: each type and its multipliers come back, golden vectors of all
 * of them replay, and every rule that they bring is checked.
 *
 * After a change of the format, or of what the engine computes, make the file again:
 *
 *     RUVM_REGENERATE_GOLDEN=1 build/release/tests/formats/test --filter 'packed_image/golden*'
 */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_codes.h"
#include "formats/ruvm_read.h"
#include "lib/base/bytes.h"
#include "lib/base/file.h"
#include "lib/ruvm.h"
#include "tests/formats/breach.h"
#include "tests/formats/golden_image.h"
#include "tests/support/repair_image.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char packed_path[] = "tests/golden/packed.ruvm";

static uint8_t *image_of(const struct golden_types *types, size_t *size)
{
    struct golden g;
    golden_make_of(&g, types);
    uint8_t *image = golden_write(&g, g.part, GOLDEN_PARTS, size);
    golden_free(&g);
    return image;
}

static uint8_t *packed(size_t *size)
{
    return image_of(&golden_packed, size);
}

/* ---- whole ----------------------------------------------------------------- */

Test(packed_image, golden_file_is_what_the_writer_makes)
{
    size_t size;
    struct ruvm_map map;
    struct ruvm_error err = {0};
    uint8_t *image = packed(&size);
    if (getenv("RUVM_REGENERATE_GOLDEN"))
        cr_assert_eq(ruvm_file_write(packed_path, image, size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_file_map(&map, packed_path, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(map.size, size);
    cr_assert_eq(memcmp(map.data, image, size), 0);
    cr_assert_leq(size, 5000);
    ruvm_file_unmap(&map);
    free(image);
}

/* From the file, so that a change of what the engine computes is seen. */
Test(packed_image, golden_vectors_replay)
{
    size_t bytes;
    struct ruvm_map map;
    struct ruvm_engine *engine;
    struct ruvm_verify_result r;
    cr_assert_eq(ruvm_file_map(&map, packed_path, NULL), RUVM_OK);
    cr_assert_eq(ruvm_engine_bytes(map.data, map.size, NULL, &bytes), RUVM_OK);
    void *memory;
    cr_assert_eq(posix_memalign(&memory, 64, bytes), 0);
    cr_assert_eq(ruvm_engine_init(&engine, memory, bytes, map.data, map.size, NULL), RUVM_OK);
    cr_assert_eq(ruvm_engine_verify(engine, &r), RUVM_OK);
    cr_assert(r.n_prompt == 3 && r.n_tokens == 8);
    free(memory);
    ruvm_file_unmap(&map);
}

/* Seeds of the fuzzer: one type everywhere; the optional sections are empty ones that no
 * reader knows, so that nothing moves. */
Test(packed_image, golden_seeds_are_what_the_writer_makes)
{
    static const struct {
        const char *path;
        uint8_t byte, quant;
    } seeds[] = {
        {"tests/fuzz/corpus/ruvm_image/int4-g16.ruvm", 0x41, RUVM_QUANT_INT4},
        {"tests/fuzz/corpus/ruvm_image/int3-g32.ruvm", 0x52, RUVM_QUANT_MIXED},
        {"tests/fuzz/corpus/ruvm_image/int2-g64.ruvm", 0x63, RUVM_QUANT_MIXED},
        {"tests/fuzz/corpus/ruvm_image/binary.ruvm", 0x04, RUVM_QUANT_BINARY},
        {"tests/fuzz/corpus/ruvm_image/ternary.ruvm", 0x05, RUVM_QUANT_TERNARY},
        {"tests/fuzz/corpus/ruvm_image/xnor.ruvm", 0x06, RUVM_QUANT_MIXED},
    };
    for (size_t i = 0; i < COUNT(seeds); i++) {
        size_t size;
        struct golden g;
        struct ruvm_map map;
        struct ruvm_image img;
        struct golden_types types = {.quant = seeds[i].quant, .v_bits = 4, .hidden = 21};
        memset(types.tensor, seeds[i].byte, sizeof types.tensor);
        golden_make_of(&g, &types);
        g.part[GOLDEN_TOKN] = (struct ruvm_write_section){"seed", NULL, 0};
        g.part[GOLDEN_META] = (struct ruvm_write_section){"seeE", NULL, 0};
        g.part[GOLDEN_GOLD] = (struct ruvm_write_section){"seeF", NULL, 0};
        uint8_t *image = golden_write(&g, g.part, GOLDEN_PARTS, &size);
        if (getenv("RUVM_REGENERATE_GOLDEN"))
            cr_assert_eq(ruvm_file_write(seeds[i].path, image, size, NULL), RUVM_OK);
        cr_assert_eq(ruvm_file_map(&map, seeds[i].path, NULL), RUVM_OK);
        cr_assert(map.size == size && memcmp(map.data, image, size) == 0, "%s", seeds[i].path);
        cr_assert_eq(ruvm_image_open(&img, map.data, map.size, NULL), RUVM_OK);
        ruvm_file_unmap(&map);
        golden_free(&g);
        free(image);
    }
}

Test(packed_image, tensors_come_back)
{
    static const struct {
        uint8_t type, group;
        uint32_t rows, cols, row_bytes, data_bytes, mult_bytes, scale_bytes;
    } expected[] = {
        {RUVM_TYPE_INT4, 16, 24, 16, 8, 192, 1, 72},  {RUVM_TYPE_INT3, 32, 16, 16, 12, 192, 1, 48},
        {RUVM_TYPE_INT8, 0, 8, 16, 16, 128, 0, 16},   {RUVM_TYPE_INT4, 0, 8, 16, 8, 64, 0, 16},
        {RUVM_TYPE_TERNARY, 0, 16, 16, 4, 64, 0, 32}, {RUVM_TYPE_XNOR, 0, 21, 16, 4, 96, 0, 42},
        {RUVM_TYPE_INT2, 64, 21, 16, 4, 96, 1, 64},   {RUVM_TYPE_INT3, 16, 16, 21, 12, 192, 1, 48},
        {RUVM_TYPE_BINARY, 16, 24, 16, 4, 96, 1, 72},
    };
    size_t size;
    struct ruvm_image img;
    uint8_t *image = packed(&size);
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    cr_assert_eq(img.n_tensors, COUNT(expected));
    cr_assert(img.quant == RUVM_QUANT_MIXED && img.k_bits == 4 && img.v_bits == 4);
    const uint8_t *data = (const uint8_t *)ruvm_image_tensor(&img, 0).data;
    const uint8_t *scales = (const uint8_t *)ruvm_image_tensor(&img, 0).scales;
    for (unsigned i = 0; i < COUNT(expected); i++) {
        struct ruvm_tensor t = ruvm_image_tensor(&img, i);
        cr_assert(t.type == expected[i].type && t.group == expected[i].group, "tensor %u", i);
        cr_assert(t.rows == expected[i].rows && t.cols == expected[i].cols);
        cr_assert(t.row_bytes == expected[i].row_bytes && t.data_bytes == expected[i].data_bytes);
        cr_assert_eq(t.mult_bytes, expected[i].mult_bytes);
        cr_assert_eq(t.scale_bytes, expected[i].scale_bytes);
        cr_assert_eq((const uint8_t *)t.data, data);
        cr_assert_eq((const uint8_t *)t.scales, scales);
        cr_assert_eq(t.mult, t.group ? scales + 2 * t.rows : NULL);
        data += t.data_bytes;
        scales += t.scale_bytes;
    }
    free(image);
}

/* As golden_image.c makes them, by the row: r * 3 in even groups and r * 5 in odd ones. */
Test(packed_image, multipliers_come_back)
{
    size_t size;
    struct ruvm_image img;
    uint8_t *image = packed(&size);
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    for (unsigned i = 0; i < img.n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(&img, i);
        for (uint32_t r = 0; r < t.rows; r++) {
            for (uint32_t c = 0; c < t.cols; c++) {
                uint32_t of_group = t.group && c / t.group == 1 ? r * 5 % 16 : r * 3 % 16;
                cr_assert_eq(ruvm_image_multiplier(&t, r, c), t.group ? of_group : 1);
            }
        }
    }
    free(image);
}

/* ---- broken rules ------------------------------------------------------------ */

#define BAD_ROW "packed row has a byte or padding that packing cannot make"
#define BAD_HALF "unused half of a row's last multiplier is not 0"

/* Where the tensors begin in WGTS and SCAL. */
enum { WO = 576, UP = 640, GATE = 736, DOWN = 832, HEAD = 1024 };
enum { WQ_SCALES = 72, GATE_SCALES = 226, HEAD_SCALES = 338 };

static const struct breach breaches[] = {
    {HEADER, RUVM_HDR_QUANT, 1, RUVM_QUANT_INT8, CORRUPT, "quantization"},
    {HEADER, RUVM_HDR_QUANT, 1, RUVM_QUANT_INT4, CORRUPT, "quantization"},
    {GOLDEN_TENS, TENSOR(1, RUVM_TENS_ROW_BYTES), 4, 16, CORRUPT, "bytes of a row"},
    {GOLDEN_TENS, TENSOR(4, RUVM_TENS_ROW_BYTES), 4, 16, CORRUPT, "bytes of a row"},
    {GOLDEN_TENS, TENSOR(5, RUVM_TENS_DATA_BYTES), 4, 84, CORRUPT, "bytes of a tensor"},
    {GOLDEN_TENS, TENSOR(0, RUVM_TENS_SCALE_BYTES), 4, 48, CORRUPT, "bytes of a tensor's scales"},
    {GOLDEN_TENS, TENSOR(6, RUVM_TENS_SCALE_BYTES), 4, 63, CORRUPT, "bytes of a tensor's scales"},
    {GOLDEN_WGTS, WO, 1, 0xFF, CORRUPT, BAD_ROW}, /* 242 * 256 / 243 is 254.9 */
    {GOLDEN_WGTS, UP, 1, 0x10, CORRUPT, BAD_ROW}, /* column 16 of 16 */
    {GOLDEN_WGTS, UP + 4 * 20 + 3, 1, 0x80, CORRUPT, BAD_ROW},
    {GOLDEN_WGTS, UP + 84, 1, 1, CORRUPT, "padding of a tensor"},
    {GOLDEN_WGTS, GATE + 95, 1, 0x80, CORRUPT, "padding of a tensor"},
    {GOLDEN_WGTS, DOWN + 5, 1, 0x04, CORRUPT, BAD_ROW}, /* column 21 of 21, a low bit */
    {GOLDEN_WGTS, DOWN + 9, 1, 0x20, CORRUPT, BAD_ROW}, /* and its high bit */
    {GOLDEN_WGTS, HEAD + 4 * 23, 1, 0x10, CORRUPT, BAD_ROW},
    {GOLDEN_SCAL, 48, 1, 0x10, CORRUPT, BAD_HALF},
    {GOLDEN_SCAL, WQ_SCALES + 32 + 15, 1, 0x80, CORRUPT, BAD_HALF},
    {GOLDEN_SCAL, HEAD_SCALES + 71, 1, 0xF0, CORRUPT, BAD_HALF},
    {GOLDEN_SCAL, GATE_SCALES + 63, 1, 1, CORRUPT, "padding of a tensor's scales"},
};

Test(packed_image, every_rule_is_checked)
{
    size_t size;
    uint8_t *image = packed(&size);
    breach_all(image, size, breaches, COUNT(breaches));
    free(image);
}

Test(packed_image, faults_name_the_section_they_are_in)
{
    static const struct {
        int part;
        uint32_t off;
        const char *section;
    } cases[] = {
        {GOLDEN_WGTS, UP + 84, "WGTS"},
        {GOLDEN_WGTS, UP + 3, "WGTS"},
        {GOLDEN_SCAL, GATE_SCALES + 63, "SCAL"},
        {HEADER, RUVM_HDR_QUANT, ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t size;
        struct ruvm_image img;
        struct ruvm_image_fault fault;
        uint8_t *image = packed(&size);
        cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
        uint32_t at = cases[i].off;
        if (cases[i].part != HEADER)
            at += ruvm_image_section(&img, (unsigned)cases[i].part).off;
        image[at] ^= 0x80;
        repair_image(image, size);
        cr_assert_eq(breach_refused(image, size, &fault), RUVM_ERR_CORRUPT);
        cr_assert_str_eq(fault.section, cases[i].section);
        cr_assert(fault.off == at || cases[i].off == UP + 3, "case %zu: 0x%x", i, fault.off);
        free(image);
    }
}

/* A row of w_o has 16 columns in 4 bytes, whose last digits are of no column: 1. */
Test(packed_image, ternary_bytes_are_fractions_of_243)
{
    bool is_value[256] = {false};
    for (unsigned v = 0; v < 243; v++)
        if (v % 3 == 1)
            is_value[(v * 256 + 242) / 243] = true;
    for (unsigned byte = 0; byte < 256; byte++) {
        size_t size;
        struct ruvm_image img;
        struct ruvm_image_fault fault;
        uint8_t *image = packed(&size);
        cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
        image[ruvm_image_section(&img, GOLDEN_WGTS).off + WO + 3] = (uint8_t)byte;
        repair_image(image, size);
        int rc = breach_refused(image, size, &fault);
        cr_assert_eq(rc, is_value[byte] ? RUVM_OK : RUVM_ERR_CORRUPT, "byte %u", byte);
        free(image);
    }
}

/* ---- type bytes ----------------------------------------------------------------- */

static bool has_groups(unsigned type)
{
    return type == RUVM_TYPE_INT4 || type == RUVM_TYPE_INT3 || type == RUVM_TYPE_INT2 ||
           type == RUVM_TYPE_BINARY;
}

/* In an image of INT8 any other type that exists has the wrong sizes. */
Test(packed_image, each_type_byte_is_known_or_not)
{
    size_t size;
    struct golden g;
    struct ruvm_image img;
    golden_make(&g, false);
    uint8_t *image = golden_write(&g, g.part, GOLDEN_PARTS, &size);
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    uint8_t *at = image + ruvm_image_section(&img, GOLDEN_TENS).off + TENSOR(4, RUVM_TENS_TYPE);
    for (unsigned byte = 0; byte < 256; byte++) {
        struct ruvm_image_fault fault;
        unsigned type = byte & 15, log2 = byte >> 4;
        bool is_known = type < RUVM_N_TYPES;
        bool is_grouped = log2 >= 4 && log2 <= 6 && has_groups(type);
        int expected = !is_known || (log2 != 0 && !is_grouped) ? RUVM_ERR_UNSUPPORTED
                       : byte != RUVM_TYPE_INT8                ? RUVM_ERR_CORRUPT
                                                               : RUVM_OK;
        *at = (uint8_t)byte;
        repair_image(image, size);
        int rc = breach_refused(image, size, &fault);
        cr_assert_eq(rc, expected, "byte 0x%02x: %s", byte, rc ? fault.what : "");
        if (rc == RUVM_ERR_UNSUPPORTED)
            cr_assert_str_eq(fault.what, is_known
                                             ? "groups of a tensor are of no size that its type has"
                                             : "type of a tensor");
    }
    golden_free(&g);
    free(image);
}

/* Each type with each of its groups everywhere, and what the header must call that. */
Test(packed_image, the_header_tells_the_type_of_all)
{
    static const uint8_t published[RUVM_N_TYPES] = {0, 1, 255, 255, 2, 3, 255};
    for (unsigned type = 0; type < RUVM_N_TYPES; type++) {
        for (unsigned log2 = 3; log2 <= (has_groups(type) ? 6 : 3); log2++) {
            size_t size;
            struct golden_types types = {.quant = published[type], .hidden = 37};
            memset(types.tensor, (int)(type | (log2 > 3 ? log2 : 0) << 4), sizeof types.tensor);
            uint8_t *image = image_of(&types, &size);
            for (unsigned quant = 0; quant < 256; quant++) {
                struct ruvm_image_fault fault;
                image[RUVM_HDR_QUANT] = (uint8_t)quant;
                repair_image(image, size);
                int rc = breach_refused(image, size, &fault);
                cr_assert_eq(rc, quant == published[type] ? RUVM_OK : RUVM_ERR_CORRUPT);
                if (rc != RUVM_OK)
                    cr_assert_str_eq(fault.what, "quantization");
            }
            free(image);
        }
    }
}

Test(packed_image, cache_bits_come_back)
{
    for (unsigned i = 0; i < 4; i++) {
        size_t size;
        struct ruvm_image img;
        struct golden_types types = golden_packed;
        types.k_bits = i & 1 ? 4 : 0;
        types.v_bits = i & 2 ? 4 : 0;
        uint8_t *image = image_of(&types, &size);
        cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
        cr_assert(img.k_bits == (i & 1 ? 4 : 8) && img.v_bits == (i & 2 ? 4 : 8));
        free(image);
    }
}
