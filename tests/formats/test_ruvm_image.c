/* The image: what the writer makes the reader reads, the golden file is what it was, and
 * no damage goes unnoticed.
 *
 * After a change of the format, or of what the engine computes, make the golden file
 * and its dump in ruvm-image(5) again:
 *
 *     RUVM_REGENERATE_GOLDEN=1 build/release/tests/formats/test --filter 'ruvm_image/golden*'
 *     bash tests/check_image.sh --update
 */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_diagnose.h"
#include "formats/ruvm_read.h"
#include "lib/base/bytes.h"
#include "lib/base/file.h"
#include "lib/ruvm.h"
#include "tests/formats/breach.h"
#include "tests/formats/golden_image.h"
#include "tests/support/repair_image.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char golden_path[] = "tests/golden/golden.ruvm";

static uint8_t *golden(size_t *size)
{
    struct golden g;
    golden_make(&g, false);
    uint8_t *image = golden_write(&g, g.part, GOLDEN_PARTS, size);
    golden_free(&g);
    return image;
}

/* ---- whole ----------------------------------------------------------------- */

Test(ruvm_image, golden_file_is_what_the_writer_makes)
{
    size_t size;
    struct ruvm_map map;
    struct ruvm_error err = {0};
    uint8_t *image = golden(&size);
    if (getenv("RUVM_REGENERATE_GOLDEN"))
        cr_assert_eq(ruvm_file_write(golden_path, image, size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_file_map(&map, golden_path, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(map.size, size);
    cr_assert_eq(memcmp(map.data, image, size), 0);
    cr_assert_leq(size, 6000);
    ruvm_file_unmap(&map);
    free(image);
}

Test(ruvm_image, golden_vectors_replay)
{
    size_t size, bytes;
    struct ruvm_engine *engine;
    struct ruvm_verify_result r;
    uint8_t *image = golden(&size);
    cr_assert_eq(ruvm_engine_bytes(image, size, NULL, &bytes), RUVM_OK);
    void *memory;
    cr_assert_eq(posix_memalign(&memory, 64, bytes), 0);
    cr_assert_eq(ruvm_engine_init(&engine, memory, bytes, image, size, NULL), RUVM_OK);
    cr_assert_eq(ruvm_engine_verify(engine, &r), RUVM_OK);
    cr_assert_eq(r.n_prompt, 3);
    cr_assert_eq(r.n_tokens, 8);
    free(memory);
    free(image);
}

Test(ruvm_image, fields_come_back)
{
    size_t size;
    struct ruvm_image img;
    uint8_t *image = golden(&size);
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    cr_assert(img.version == 1 && img.quant == RUVM_QUANT_INT8 && img.n_sections == 10);
    cr_assert(img.vocab == 24 && img.dim == 16 && img.hidden == 20 && img.context == 32);
    cr_assert(img.n_layers == 1 && img.n_heads == 2 && img.n_kv_heads == 1);
    cr_assert(img.head_dim == 8 && img.rope_dims == 8 && !img.tied);
    cr_assert(img.norm == 0 && img.act == 0 && img.pos == 0);
    cr_assert(img.eps_mantissa == 1407374884u && img.eps_exp == -47 && img.resid_exp == -20);
    cr_assert(img.norm_exp[2] == -14 && img.norm_gain[16] == 16384 && img.norm_gain[47] == 17344);
    cr_assert(img.rope_inc[0] == 683565276u && img.rope_inc[3] == 683565u);
    cr_assert(img.kvsc_bytes == 84 && (int8_t)img.kvsc[0] == -21);
    cr_assert(img.tokn && img.gold && img.meta);
    cr_assert_eq(img.gold_bytes, 8 + 2 * 11);
    cr_assert_eq(memcmp(img.meta, "license=MIT\nname=golden\n", img.meta_bytes), 0);
    free(image);
}

Test(ruvm_image, sections_come_back)
{
    size_t size;
    struct ruvm_image img;
    struct golden g;
    golden_make(&g, false);
    uint8_t *image = golden_write(&g, g.part, GOLDEN_PARTS, &size);
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    for (unsigned i = 0; i < GOLDEN_PARTS; i++) {
        struct ruvm_section s = ruvm_image_section(&img, i);
        cr_assert_str_eq(s.name, g.part[i].name);
        cr_assert_eq(s.size, g.part[i].size);
        cr_assert_eq(s.data, image + s.off);
        cr_assert_eq(memcmp(s.data, g.part[i].data, s.size), 0);
        cr_assert_eq(s.crc, ruvm_crc32(0, s.data, s.size));
        cr_assert_eq(s.off % (i == GOLDEN_WGTS ? 64 : 16), 0);
    }
    golden_free(&g);
    free(image);
}

Test(ruvm_image, tensors_come_back)
{
    static const struct {
        int kind;
        uint32_t rows, cols, row_bytes;
    } expected[] = {
        {RUVM_TENSOR_EMBED, 24, 16, 16},  {RUVM_TENSOR_WQ, 16, 16, 16},
        {RUVM_TENSOR_WK, 8, 16, 16},      {RUVM_TENSOR_WV, 8, 16, 16},
        {RUVM_TENSOR_WO, 16, 16, 16},     {RUVM_TENSOR_W_UP, 20, 16, 16},
        {RUVM_TENSOR_W_GATE, 20, 16, 16}, {RUVM_TENSOR_W_DOWN, 16, 20, 32},
        {RUVM_TENSOR_HEAD, 24, 16, 16},
    };
    size_t size;
    struct ruvm_image img;
    uint8_t *image = golden(&size);
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    cr_assert_eq(img.n_tensors, COUNT(expected));
    for (unsigned i = 0; i < COUNT(expected); i++) {
        struct ruvm_tensor t = ruvm_image_tensor(&img, i);
        struct ruvm_tensor f = ruvm_image_find(&img, expected[i].kind, 0);
        cr_assert_eq(t.kind, expected[i].kind);
        cr_assert(t.rows == expected[i].rows && t.cols == expected[i].cols);
        cr_assert_eq(t.row_bytes, expected[i].row_bytes);
        cr_assert(f.kind == t.kind && f.data == t.data && f.scales == t.scales);
        cr_assert_eq(t.scale_exp, -23);
        cr_assert_eq(t.scales[t.rows - 1], 32768 + 1000 * (t.rows - 1));
    }
    struct ruvm_tensor up = ruvm_image_find(&img, RUVM_TENSOR_W_UP, 0);
    struct ruvm_tensor gate = ruvm_image_find(&img, RUVM_TENSOR_W_GATE, 0);
    cr_assert_eq(gate.data, up.data + up.data_bytes);
    free(image);
}

Test(ruvm_image, tied_head_is_the_embedding)
{
    size_t size;
    struct ruvm_image img;
    struct golden g;
    golden_make(&g, true);
    uint8_t *image = golden_write(&g, g.part, GOLDEN_PARTS, &size);
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    cr_assert(img.tied);
    cr_assert_eq(img.n_tensors, 8);
    struct ruvm_tensor head = ruvm_image_find(&img, RUVM_TENSOR_HEAD, 0);
    cr_assert_eq(head.data, ruvm_image_tensor(&img, 0).data);
    golden_free(&g);
    free(image);
}

Test(ruvm_image, memory_must_be_aligned)
{
    size_t size;
    struct ruvm_image img;
    struct ruvm_image_fault fault;
    uint8_t *image = golden(&size), *shifted = aligned_alloc(16, 2 * ruvm_align_up(size, 16));
    for (size_t by = 1; by < 16; by++) {
        memcpy(shifted + by, image, size);
        cr_assert_eq(ruvm_image_open(&img, shifted + by, size, &fault), RUVM_ERR_ARG);
        struct ruvm_error err = {0};
        ruvm_diagnose_fail(&err, RUVM_ERR_ARG, "flash", &fault);
        cr_assert_str_eq(err.text, "flash: does not stand at a multiple of 16 in memory");
    }
    free(shifted);
    free(image);
}

/* ---- damage ----------------------------------------------------------------- */

Test(ruvm_image, every_flipped_bit_is_seen)
{
    size_t size;
    struct ruvm_image_fault fault;
    uint8_t *image = golden(&size);
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            image[i] ^= (uint8_t)(1 << bit);
            cr_assert_neq(breach_refused(image, size, &fault), RUVM_OK, "byte %zu, bit %d", i, bit);
            image[i] ^= (uint8_t)(1 << bit);
        }
    }
    cr_assert_eq(breach_refused(image, size, &fault), RUVM_OK);
    free(image);
}

Test(ruvm_image, every_truncation_is_seen)
{
    size_t size;
    struct ruvm_image_fault fault;
    uint8_t *image = golden(&size);
    for (size_t n = 0; n < size; n++) {
        uint8_t *start = breach_copy(image, n);
        cr_assert_eq(breach_refused(start, n, &fault), RUVM_ERR_CORRUPT, "%zu bytes", n);
        if (n >= 4)
            cr_assert_eq(fault.kind, RUVM_FAULT_SIZE, "%zu bytes: %s", n, fault.what);
        free(start);
    }
    free(image);
}

Test(ruvm_image, bytes_behind_the_end_are_seen)
{
    size_t size;
    struct ruvm_image_fault fault;
    uint8_t *image = golden(&size);
    for (size_t more = 1; more < 70; more++) {
        void *memory;
        cr_assert_eq(posix_memalign(&memory, 64, size + more), 0);
        uint8_t *longer = memory;
        memcpy(longer, image, size);
        memset(longer + size, 0, more);
        cr_assert_eq(breach_refused(longer, size + more, &fault), RUVM_ERR_CORRUPT);
        cr_assert(fault.kind == RUVM_FAULT_SIZE && fault.expected == size &&
                  fault.found == size + more);
        free(longer);
    }
    free(image);
}

/* ---- broken rules -------------------------------------------------------------- */

/* Where things stand in the golden tokn section of 24 pieces. */
enum {
    OFF = RUVM_TOKN_ARRAYS,
    RANK = OFF + 4 * 25,
    SORTED = RANK + 2 * 24,
    BYTE_ID = SORTED + 2 * 24,
    KIND = BYTE_ID + 512,
    N_SORTED = KIND + 24,
    TEXT = N_SORTED + 2,
};

static const struct breach breaches[] = {
    {HEADER, 0, 1, 'r', CORRUPT, "not a RUVM file"},
    {HEADER, RUVM_HDR_VERSION, 1, 2, UNSUPPORTED, "version"},
    {HEADER, RUVM_HDR_VERSION, 1, 0, CORRUPT, "reserved byte of version 0"},
    {HEADER, RUVM_HDR_VOCAB, 2, 0, CORRUPT, "vocabulary"},
    {HEADER, RUVM_HDR_VOCAB, 2, 23, CORRUPT, "rows of a tensor"},
    {HEADER, RUVM_HDR_DIM, 2, 0, CORRUPT, "embedding dimension"},
    {HEADER, RUVM_HDR_DIM, 2, 15, CORRUPT, "size of the section"},
    {HEADER, RUVM_HDR_HIDDEN, 2, 0, CORRUPT, "feed-forward dimension"},
    {HEADER, RUVM_HDR_HIDDEN, 2, 21, CORRUPT, "rows of a tensor"},
    {HEADER, RUVM_HDR_LAYERS, 1, 0, CORRUPT, "number of layers"},
    {HEADER, RUVM_HDR_LAYERS, 1, 2, CORRUPT, "size of the section"},
    {HEADER, RUVM_HDR_HEADS, 1, 0, UNSUPPORTED, "a classifier, not a language model"},
    {HEADER, RUVM_HDR_HEADS, 1, 3, CORRUPT, "rows of a tensor"},
    {HEADER, RUVM_HDR_KV_HEADS, 1, 0, CORRUPT, "number of key heads"},
    {HEADER, RUVM_HDR_KV_HEADS, 1, 3, CORRUPT, "number of heads"},
    {HEADER, RUVM_HDR_KV_HEADS, 1, 2, CORRUPT, "size of the section"},
    {HEADER, RUVM_HDR_MAX_SEQ, 1, 31, CORRUPT, "max_seq_len"},
    {HEADER, RUVM_HDR_CONTEXT, 2, 0, CORRUPT, "context"},
    {HEADER, RUVM_HDR_CONTEXT, 2, 300, CORRUPT, "max_seq_len"},
    {HEADER, RUVM_HDR_QUANT, 1, RUVM_QUANT_INT4, CORRUPT, "quantization"},
    {HEADER, RUVM_HDR_FLAGS, 4, 0x100, UNSUPPORTED, "flags"},
    {HEADER, RUVM_HDR_N_SECTIONS, 2, 9, CORRUPT, "gap before the section"},
    {HEADER, RUVM_HDR_N_SECTIONS, 2, 0, CORRUPT, "end of the last section"},
    {HEADER, RUVM_HDR_N_SECTIONS, 2, 65, CORRUPT, "number of sections"},
    {HEADER, RUVM_HDR_N_SECTIONS, 2, 0xFFFF, CORRUPT, "end of the section table"},

    {TABLE, ENTRY(0, RUVM_SEC_NAME), 4, 0x48435261, CORRUPT, "required section is missing"},
    {TABLE, ENTRY(0, RUVM_SEC_NAME), 4, 0x58435241, UNSUPPORTED,
     "this version does not know the section, but it is required"},
    {TABLE, ENTRY(0, RUVM_SEC_NAME), 1, '1', CORRUPT, "name is not four letters"},
    {TABLE, ENTRY(1, RUVM_SEC_NAME + 3), 1, '\0', CORRUPT, "name is not four letters"},
    {TABLE, ENTRY(9, RUVM_SEC_NAME), 4, 0x6174656D, CORRUPT, "section is there twice"},
    {TABLE, ENTRY(0, RUVM_SEC_OFF), 4, 16, CORRUPT, "offset"},
    {TABLE, ENTRY(1, RUVM_SEC_OFF), 4, 0xFFFFFFF0, CORRUPT, "end"},
    {TABLE, ENTRY(1, RUVM_SEC_OFF), 4, 225, CORRUPT, "offset"},
    {TABLE, ENTRY(6, RUVM_SEC_OFF), 4, 0x340, CORRUPT, "offset"},
    {TABLE, ENTRY(9, RUVM_SEC_SIZE), 4, 0xFFFFFFFF, CORRUPT, "end"},
    {TABLE, ENTRY(9, RUVM_SEC_SIZE), 4, 28, CORRUPT, "end of the last section"},
    {TABLE, ENTRY(8, RUVM_SEC_SIZE), 4, 20, CORRUPT, "gap before the section"},
    {TABLE, ENTRY(0, RUVM_SEC_SIZE), 4, 31, CORRUPT, "size of the section"},

    {GOLDEN_ARCH, RUVM_ARCH_NORM, 1, 2, UNSUPPORTED, "kind of norm"},
    {GOLDEN_ARCH, RUVM_ARCH_ACT, 1, 4, UNSUPPORTED, "kind of activation"},
    {GOLDEN_ARCH, RUVM_ARCH_ACT, 1, 1, CORRUPT, "size of the section"},
    {GOLDEN_ARCH, RUVM_ARCH_POS, 1, 2, UNSUPPORTED, "kind of positions"},
    {GOLDEN_ARCH, RUVM_ARCH_POS, 1, 1, CORRUPT, "rotating dimensions of learned positions"},
    {GOLDEN_ARCH, RUVM_ARCH_FLAGS, 1, 4, UNSUPPORTED, "flags"},
    {GOLDEN_ARCH, RUVM_ARCH_FLAGS, 1, 1, CORRUPT, "size of the section"},
    {GOLDEN_ARCH, RUVM_ARCH_HEAD_DIM, 2, 0, CORRUPT, "size of a head"},
    {GOLDEN_ARCH, RUVM_ARCH_HEAD_DIM, 2, 9, CORRUPT, "size of a head"},
    {GOLDEN_ARCH, RUVM_ARCH_HEAD_DIM, 2, 32768, CORRUPT, "size of all heads"},
    {GOLDEN_ARCH, RUVM_ARCH_HEAD_DIM, 2, 10, CORRUPT, "size of the section"},
    {GOLDEN_ARCH, RUVM_ARCH_ROPE_DIMS, 2, 0, CORRUPT, "rotating dimensions"},
    {GOLDEN_ARCH, RUVM_ARCH_ROPE_DIMS, 2, 7, CORRUPT, "rotating dimensions"},
    {GOLDEN_ARCH, RUVM_ARCH_ROPE_DIMS, 2, 10, CORRUPT, "rotating dimensions"},
    {GOLDEN_ARCH, RUVM_ARCH_ROPE_DIMS, 2, 6, CORRUPT, "size of the section"},
    {GOLDEN_ARCH, RUVM_ARCH_EPS_EXP, 1, (uint8_t)-81, CORRUPT, "exponent"},
    {GOLDEN_ARCH, RUVM_ARCH_RESID_EXP, 1, 31, CORRUPT, "exponent"},
    {GOLDEN_ARCH, RUVM_ARCH_K_BITS, 1, 8, UNSUPPORTED, "bits of a cached key are neither 8 nor 4"},
    {GOLDEN_ARCH, RUVM_ARCH_V_BITS, 1, 5, UNSUPPORTED,
     "bits of a cached value are neither 8 nor 4"},
    {GOLDEN_ARCH, RUVM_ARCH_SCORE_EXP, 1, 1, CORRUPT, "exponent of the usual scale of scores"},
    {GOLDEN_ARCH, 19, 1, 1, CORRUPT, "reserved byte"},
    {GOLDEN_ARCH, 24, 1, 1, CORRUPT, "reserved byte"},
    {GOLDEN_ARCH, 31, 1, 1, CORRUPT, "reserved byte"},

    {GOLDEN_TENS, TENSOR(0, RUVM_TENS_KIND), 1, 1, CORRUPT, "kind of tensor"},
    {GOLDEN_TENS, TENSOR(8, RUVM_TENS_KIND), 1, 0, CORRUPT, "kind of tensor"},
    {GOLDEN_TENS, TENSOR(4, RUVM_TENS_LAYER), 1, 1, CORRUPT, "layer of a tensor"},
    {GOLDEN_TENS, TENSOR(4, RUVM_TENS_TYPE), 1, 7, UNSUPPORTED, "type of a tensor"},
    {GOLDEN_TENS, TENSOR(4, RUVM_TENS_SCALE_EXP), 1, 100, CORRUPT, "exponent"},
    {GOLDEN_TENS, TENSOR(7, RUVM_TENS_ROWS), 4, 0x10000010, CORRUPT, "rows of a tensor"},
    {GOLDEN_TENS, TENSOR(7, RUVM_TENS_COLS), 4, 32, CORRUPT, "columns of a tensor"},
    {GOLDEN_TENS, TENSOR(7, RUVM_TENS_ROW_BYTES), 4, 48, CORRUPT, "bytes of a row"},
    {GOLDEN_TENS, TENSOR(0, RUVM_TENS_ROW_BYTES), 4, 0, CORRUPT, "bytes of a row"},
    {GOLDEN_TENS, TENSOR(7, RUVM_TENS_DATA_OFF), 4, 0, CORRUPT, "offset of a tensor"},
    {GOLDEN_TENS, TENSOR(7, RUVM_TENS_DATA_BYTES), 4, 16, CORRUPT, "bytes of a tensor"},
    {GOLDEN_TENS, TENSOR(7, RUVM_TENS_SCALE_OFF), 4, 7, CORRUPT, "offset of a tensor's scales"},
    {GOLDEN_TENS, TENSOR(7, RUVM_TENS_SCALE_BYTES), 4, 16, CORRUPT, "bytes of a tensor's scales"},
    {GOLDEN_WGTS, 5, 1, 0x80, CORRUPT, "weight is -128, but weights are -127 to 127"},
    {GOLDEN_WGTS, 1792 + 20, 1, 1, CORRUPT, "padding of a row"},
    {GOLDEN_WGTS, 1792 + 32 * 15 + 31, 1, 1, CORRUPT, "padding of a row"},

    {GOLDEN_NORM, 2, 1, 0x7F, CORRUPT, "exponent"},
    {GOLDEN_NORM, 3, 1, 1, CORRUPT, "padding of the exponents"},
    {GOLDEN_KVSC, 3, 1, 0x80, CORRUPT, "exponent"},
    {GOLDEN_KVSC, 4 + 8 * 8, 2, 0x4000, CORRUPT, "zero of a key channel is beyond +-16383"},
    {GOLDEN_KVSC, 4 + 9 * 8 + 6, 2, 0xC000, CORRUPT, "zero of a key channel is beyond +-16383"},

    {GOLDEN_TOKN, RUVM_TOKN_KIND, 1, 4, UNSUPPORTED, "kind of tokenizer"},
    {GOLDEN_TOKN, RUVM_TOKN_KIND, 1, 0, CORRUPT, "kind of tokenizer"},
    {GOLDEN_TOKN, RUVM_TOKN_FLAGS, 1, 8, UNSUPPORTED, "flags"},
    {GOLDEN_TOKN, RUVM_TOKN_N_PIECES, 2, 23, CORRUPT, "number of pieces"},
    {GOLDEN_TOKN, RUVM_TOKN_BOS, 2, 24, CORRUPT, "BOS"},
    {GOLDEN_TOKN, RUVM_TOKN_EOS, 2, 0xFFFE, CORRUPT, "EOS"},
    {GOLDEN_TOKN, RUVM_TOKN_UNK, 2, 24, CORRUPT, "unknown token"},
    {GOLDEN_TOKN, RUVM_TOKN_MAX_PIECE, 2, 7, CORRUPT, "bytes of the longest piece"},
    {GOLDEN_TOKN, RUVM_TOKN_TEXT_BYTES, 4, 0xFFFFFFFF, CORRUPT, "size of the section"},
    {GOLDEN_TOKN, OFF, 4, 1, CORRUPT, "offset of the first piece"},
    {GOLDEN_TOKN, OFF + 4, 4, 9, CORRUPT, "offset of a piece"},
    {GOLDEN_TOKN, OFF + 4 * 24, 4, 0xFFFFFFFF, CORRUPT, "end of the last piece"},
    {GOLDEN_TOKN, OFF + 4 * 4, 4, 14, CORRUPT, "bytes of a byte's piece"},
    {GOLDEN_TOKN, RANK + 2, 2, 24, CORRUPT, "rank of a piece"},
    {GOLDEN_TOKN, SORTED, 2, 24, CORRUPT, "sorted piece"},
    {GOLDEN_TOKN, SORTED, 2, 0, CORRUPT, "sorted piece is in the wrong part"},
    {GOLDEN_TOKN, SORTED, 2, 6, CORRUPT, "sorted pieces are not in order"},
    {GOLDEN_TOKN, SORTED + 2 * 18, 2, 6, CORRUPT, "sorted pieces are not in order"},
    {GOLDEN_TOKN, SORTED + 2 * 20, 2, 0, CORRUPT, "sorted pieces are not in order"},
    {GOLDEN_TOKN, SORTED + 2 * 23, 2, 3, CORRUPT, "sorted pieces are not in order"},
    {GOLDEN_TOKN, BYTE_ID + 2 * 'h', 2, 24, CORRUPT, "token of a byte"},
    {GOLDEN_TOKN, BYTE_ID + 2 * 'h', 2, 9, CORRUPT, "token of a byte does not stand for that byte"},
    {GOLDEN_TOKN, BYTE_ID + 2 * 'h', 2, 13, CORRUPT,
     "token of a byte does not stand for that byte"},
    {GOLDEN_TOKN, KIND + 3, 1, RUVM_PIECE_CONTROL, CORRUPT,
     "token of a byte does not stand for that byte"},
    {GOLDEN_TOKN, KIND + 5, 1, 3, UNSUPPORTED, "kind of a piece"},
    {GOLDEN_TOKN, N_SORTED, 2, 25, CORRUPT, "number of sorted pieces"},
    {GOLDEN_TOKN, N_SORTED, 2, 18, CORRUPT, "sorted piece is in the wrong part"},
    {GOLDEN_TOKN, N_SORTED, 2, 20, CORRUPT, "sorted piece is in the wrong part"},
    {GOLDEN_TOKN, TEXT + 12, 1, '?', CORRUPT, "token of a byte does not stand for that byte"},

    {GOLDEN_GOLD, RUVM_GOLD_N_PROMPT, 2, 0, CORRUPT, "tokens of the prompt"},
    {GOLDEN_GOLD, RUVM_GOLD_N_TOKENS, 2, 0, CORRUPT, "golden tokens"},
    {GOLDEN_GOLD, RUVM_GOLD_N_TOKENS, 2, 31, CORRUPT, "prompt and golden tokens"},
    {GOLDEN_GOLD, RUVM_GOLD_N_TOKENS, 2, 9, CORRUPT, "size of the section"},
    {GOLDEN_GOLD, RUVM_GOLD_IDS + 20, 2, 24, CORRUPT, "golden token"},

    {GOLDEN_META, 0, 1, '\0', CORRUPT, "text has a control character"},
    {GOLDEN_META, 0, 1, '\t', CORRUPT, "text has a control character"},
    {GOLDEN_META, 0, 1, 0x7F, CORRUPT, "text has a control character"},
    {GOLDEN_META, 0, 1, 0x80, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 0, 2, 0xC0C0, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 0, 2, 0x80C1, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 0, 3, 0x809FE0, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 0, 3, 0x80A0ED, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 0, 4, 0x80808FF0, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 0, 4, 0x808090F4, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 0, 4, 0x80808080, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 0, 1, '=', CORRUPT, "line is not key=value"},
    {GOLDEN_META, 7, 1, '-', CORRUPT, "line is not key=value"},
    {GOLDEN_META, 0, 1, '\n', CORRUPT, "line is not key=value"},
    {GOLDEN_META, 0, 1, 'z', CORRUPT, "keys are not in order"},
    {GOLDEN_META, 12, 4, 0x6563696C, CORRUPT, "keys are not in order"},
    {GOLDEN_META, 0, 4, 0x8080C3F0, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 0, 3, 0x4180E2, CORRUPT, "text is not UTF-8"},
    {GOLDEN_META, 23, 1, '!', CORRUPT, "last line has no end"},
    {GOLDEN_META, 22, 2, 0xC36E, CORRUPT, "text is not UTF-8"},
};

Test(ruvm_image, every_rule_is_checked)
{
    size_t size;
    uint8_t *image = golden(&size);
    breach_all(image, size, breaches, COUNT(breaches));
    free(image);
}

Test(ruvm_image, a_fault_names_section_place_and_numbers)
{
    size_t size;
    struct ruvm_image_fault fault;
    struct ruvm_image img;
    struct ruvm_error err = {0};
    uint8_t *image = golden(&size);
    cr_assert_eq(ruvm_image_open(&img, image, size, NULL), RUVM_OK);
    uint32_t off = ruvm_image_section(&img, GOLDEN_KVSC).off;
    image[off] = 99;
    int rc = breach_refused(image, size, &fault);
    cr_assert_str_eq(fault.section, "KVSC");
    cr_assert(fault.kind == RUVM_FAULT_CRC && fault.off == off);
    repair_image(image, size);
    rc = breach_refused(image, size, &fault);
    cr_assert(fault.kind == RUVM_FAULT_EXPONENT && fault.off == off && fault.found == 99);
    ruvm_diagnose_fail(&err, rc, "x.ruvm", &fault);
    char expected[200];
    snprintf(expected, sizeof expected,
             "x.ruvm: section KVSC at byte 0x%x: exponent is 99, expected -80 to 30: ", off);
    cr_assert_eq(strncmp(err.text, expected, strlen(expected)), 0, "%s", err.text);
    free(image);
}

/* ---- sections ------------------------------------------------------------------- */

/* Writes these sections and opens the image; TENS does not move, for TENS is before
 * what changes or the change is seen first. */
static int open_parts(const struct golden *g, const struct ruvm_write_section *part, unsigned n,
                      struct ruvm_image_fault *fault)
{
    size_t size;
    uint8_t *image = golden_write(g, part, n, &size);
    int rc = breach_refused(image, size, fault);
    free(image);
    return rc;
}

Test(ruvm_image, each_required_section_must_be_there)
{
    struct golden g;
    struct ruvm_image_fault fault;
    golden_make(&g, false);
    for (unsigned missing = 0; missing <= GOLDEN_WGTS; missing++) {
        struct ruvm_write_section part[GOLDEN_PARTS];
        unsigned n = 0;
        for (unsigned i = 0; i < GOLDEN_PARTS; i++)
            if (i != missing)
                part[n++] = g.part[i];
        cr_assert_eq(open_parts(&g, part, n, &fault), RUVM_ERR_CORRUPT);
        cr_assert_str_eq(fault.what, "required section is missing");
        cr_assert_str_eq(fault.section, g.part[missing].name);
    }
    golden_free(&g);
}

/* In place of an optional section, so that nothing else moves. */
Test(ruvm_image, unknown_sections)
{
    static const struct {
        const char *name;
        int rc;
    } cases[] = {
        {"xtra", RUVM_OK}, {"zZZZ", RUVM_OK}, {"Xtra", UNSUPPORTED}, {"ZZZZ", UNSUPPORTED}};
    struct golden g;
    struct ruvm_image_fault fault;
    golden_make(&g, false);
    for (unsigned optional = GOLDEN_TOKN; optional < GOLDEN_PARTS; optional++) {
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct ruvm_write_section part[GOLDEN_PARTS];
            memcpy(part, g.part, sizeof part);
            part[optional].name = cases[i].name;
            cr_assert_eq(open_parts(&g, part, GOLDEN_PARTS, &fault), cases[i].rc);
            if (cases[i].rc != RUVM_OK)
                cr_assert_str_eq(fault.section, cases[i].name);
        }
    }
    golden_free(&g);
}

Test(ruvm_image, optional_sections_may_be_absent_or_empty)
{
    struct golden g;
    struct ruvm_image_fault fault;
    golden_make(&g, false);
    struct ruvm_write_section part[GOLDEN_PARTS];
    for (unsigned optional = GOLDEN_TOKN; optional < GOLDEN_PARTS; optional++) {
        memcpy(part, g.part, sizeof part);
        part[optional] = (struct ruvm_write_section){"none", NULL, 0};
        cr_assert_eq(open_parts(&g, part, GOLDEN_PARTS, &fault), RUVM_OK);
        part[optional].name = g.part[optional].name;
        int expected = optional == GOLDEN_META ? RUVM_OK : RUVM_ERR_CORRUPT;
        cr_assert_eq(open_parts(&g, part, GOLDEN_PARTS, &fault), expected);
    }
    golden_free(&g);
}

Test(ruvm_image, any_order_of_sections_will_do)
{
    struct golden g;
    struct ruvm_image_fault fault;
    golden_make(&g, false);
    struct ruvm_write_section part[GOLDEN_PARTS];
    for (unsigned i = 0; i < GOLDEN_PARTS; i++)
        part[i] = g.part[GOLDEN_PARTS - 1 - i];
    size_t off[GOLDEN_PARTS], before[GOLDEN_PARTS];
    ruvm_write_layout(g.part, GOLDEN_PARTS, before);
    ruvm_write_layout(part, GOLDEN_PARTS, off);
    uint8_t *tens = g.data[GOLDEN_TENS].data;
    for (unsigned i = 0; i < 9; i++) {
        uint8_t *e = tens + i * RUVM_TENS_BYTES;
        uint32_t data = ruvm_load_u32(e + RUVM_TENS_DATA_OFF);
        uint32_t scales = ruvm_load_u32(e + RUVM_TENS_SCALE_OFF);
        size_t wgts = off[GOLDEN_PARTS - 1 - GOLDEN_WGTS] - before[GOLDEN_WGTS];
        size_t scal = off[GOLDEN_PARTS - 1 - GOLDEN_SCAL] - before[GOLDEN_SCAL];
        ruvm_store_u32(e + RUVM_TENS_DATA_OFF, (uint32_t)(data + wgts));
        ruvm_store_u32(e + RUVM_TENS_SCALE_OFF, (uint32_t)(scales + scal));
    }
    cr_assert_eq(open_parts(&g, part, GOLDEN_PARTS, &fault), RUVM_OK);
    golden_free(&g);
}

Test(ruvm_image, an_image_has_64_sections_at_most)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    struct golden g;
    struct ruvm_image_fault fault;
    struct ruvm_buffer out = {0};
    struct ruvm_write_section part[RUVM_MAX_SECTIONS + 1];
    char name[RUVM_MAX_SECTIONS + 1][5];
    golden_make(&g, false);
    for (unsigned i = 0; i <= RUVM_MAX_SECTIONS; i++) {
        snprintf(name[i], sizeof name[i], "x%cx%c", letters[i / 26], letters[i % 26]);
        part[i] = (struct ruvm_write_section){name[i], NULL, 0};
    }
    cr_assert_eq(open_parts(&g, part, RUVM_MAX_SECTIONS, &fault), RUVM_ERR_CORRUPT);
    cr_assert_str_eq(fault.what, "required section is missing");
    cr_assert_eq(ruvm_write_image(&out, &g.header, part, RUVM_MAX_SECTIONS + 1),
                 RUVM_ERR_UNSUPPORTED);
    cr_assert_eq(out.size, 0);
    golden_free(&g);
}

/* ---- the writer ------------------------------------------------------------------- */

Test(ruvm_write, appends_behind_what_is_there)
{
    size_t size;
    struct golden g;
    struct ruvm_buffer out = {0};
    golden_make(&g, false);
    uint8_t *image = golden_write(&g, g.part, GOLDEN_PARTS, &size);
    ruvm_buffer_u8(&out, 7);
    cr_assert_eq(ruvm_write_image(&out, &g.header, g.part, GOLDEN_PARTS), RUVM_OK);
    cr_assert_eq(out.size, 1 + size);
    cr_assert_eq(memcmp(out.data + 1, image, size), 0);
    ruvm_buffer_free(&out);
    golden_free(&g);
    free(image);
}

Test(ruvm_write, an_image_has_4_gib_at_most)
{
    struct ruvm_buffer out = {0};
    struct ruvm_write_header header = {.vocab = 1};
    struct ruvm_write_section part = {"WGTS", NULL, (size_t)4 << 30};
    cr_assert_eq(ruvm_write_image(&out, &header, &part, 1), RUVM_ERR_UNSUPPORTED);
    cr_assert_eq(out.size, 0);
}

Test(ruvm_write, short_memory_is_reported)
{
    struct golden g;
    golden_make(&g, false);
    struct ruvm_buffer out = {.failed = true};
    cr_assert_eq(ruvm_write_image(&out, &g.header, g.part, GOLDEN_PARTS), RUVM_ERR_MEMORY);
    golden_free(&g);
}

/* ---- version 0 -------------------------------------------------------------------- */

static uint8_t *bare(size_t *size)
{
    uint8_t header[RUVM_HDR_BYTES] = "RUVM";
    ruvm_store_u16(header + RUVM_HDR_VOCAB, 10);
    ruvm_store_u16(header + RUVM_HDR_DIM, 4);
    ruvm_store_u16(header + RUVM_HDR_HIDDEN, 6);
    header[RUVM_HDR_LAYERS] = 2;
    header[RUVM_HDR_HEADS] = 2;
    header[RUVM_HDR_MAX_SEQ] = 128;
    *size = RUVM_HDR_BYTES + 2 * 10 * 4 + 2 * (4 * 4 * 4 + 3 * 4 * 6);
    void *file;
    cr_assert_eq(posix_memalign(&file, 64, *size), 0);
    memset(file, 3, *size);
    memcpy(file, header, RUVM_HDR_BYTES);
    return file;
}

Test(ruvm_v0, opens_when_its_size_is_that_of_its_shape)
{
    size_t size;
    struct ruvm_image img;
    uint8_t *file = bare(&size);
    cr_assert_eq(ruvm_image_open(&img, file, size, NULL), RUVM_OK);
    cr_assert(img.version == RUVM_VERSION_V0 && img.vocab == 10 && img.dim == 4);
    cr_assert(img.hidden == 6 && img.n_layers == 2 && img.n_heads == 2 && img.context == 128);
    cr_assert(img.n_kv_heads == 2 && img.n_sections == 0 && img.n_tensors == 0);
    cr_assert_eq(ruvm_image_v0_bytes(&img), size);
    free(file);
}

Test(ruvm_v0, any_other_size_is_refused)
{
    size_t size;
    struct ruvm_image_fault fault;
    uint8_t *file = bare(&size);
    for (size_t n = RUVM_HDR_BYTES; n < size; n++) {
        cr_assert_eq(breach_refused(file, n, &fault), RUVM_ERR_CORRUPT);
        cr_assert(fault.kind == RUVM_FAULT_SIZE && fault.expected == size && fault.found == n);
    }
    free(file);
}

Test(ruvm_v0, only_int8_is_read)
{
    size_t size;
    struct ruvm_image_fault fault;
    uint8_t *file = bare(&size);
    file[RUVM_HDR_QUANT] = RUVM_QUANT_BINARY;
    cr_assert_eq(breach_refused(file, size, &fault), RUVM_ERR_UNSUPPORTED);
    cr_assert_str_eq(fault.what, "quantization of version 0");
    free(file);
}
