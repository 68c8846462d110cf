/* llama2.c checkpoints: where each tensor stands in each version, and what is said
 * about every way in which a file can be wrong. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/llama2c.h"
#include "lib/base/buffer.h"
#include "lib/base/file.h"

enum { MAGIC = 0x616b3432, FLOATS_IN_LARGEST = 234 };

/* dim 4, hidden 3, 2 layers, 2 heads, 1 kv head, vocab 5, 3 positions: the offsets in
 * the tables below were added up by hand from this. */
static void put_fields(struct ruvm_buffer *b, int32_t vocab)
{
    const int32_t fields[] = {4, 3, 2, 2, 1, vocab, 3};
    for (size_t i = 0; i < 7; i++)
        ruvm_buffer_u32(b, (uint32_t)fields[i]);
}

static void put_ak42(struct ruvm_buffer *b, uint32_t version, bool shared)
{
    ruvm_buffer_u32(b, MAGIC);
    ruvm_buffer_u32(b, version);
    put_fields(b, 5);
    ruvm_buffer_u8(b, shared);
    if (version == 2)
        ruvm_buffer_u32(b, 2);
    ruvm_buffer_zeros(b, 256 - b->size);
}

static void put_float(struct ruvm_buffer *b, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    ruvm_buffer_u32(b, bits);
}

/* n floats that count from 0: a value is its own place. */
static void put_counters(struct ruvm_buffer *b, int n)
{
    for (int i = 0; i < n; i++)
        put_float(b, (float)i);
}

struct place {
    const char *name;
    unsigned n_dims, rows, cols, at; /* at: floats, or bytes in version 2 */
};

static const struct place legacy_places[] = {
    {"tok_embeddings.weight", 2, 5, 4, 0},
    {"layers.0.attention_norm.weight", 1, 4, 0, 20},
    {"layers.1.attention_norm.weight", 1, 4, 0, 24},
    {"layers.0.attention.wq.weight", 2, 4, 4, 28},
    {"layers.1.attention.wq.weight", 2, 4, 4, 44},
    {"layers.0.attention.wk.weight", 2, 2, 4, 60},
    {"layers.1.attention.wk.weight", 2, 2, 4, 68},
    {"layers.0.attention.wv.weight", 2, 2, 4, 76},
    {"layers.1.attention.wv.weight", 2, 2, 4, 84},
    {"layers.0.attention.wo.weight", 2, 4, 4, 92},
    {"layers.1.attention.wo.weight", 2, 4, 4, 108},
    {"layers.0.ffn_norm.weight", 1, 4, 0, 124},
    {"layers.1.ffn_norm.weight", 1, 4, 0, 128},
    {"layers.0.feed_forward.w1.weight", 2, 3, 4, 132},
    {"layers.1.feed_forward.w1.weight", 2, 3, 4, 144},
    {"layers.0.feed_forward.w2.weight", 2, 4, 3, 156},
    {"layers.1.feed_forward.w2.weight", 2, 4, 3, 168},
    {"layers.0.feed_forward.w3.weight", 2, 3, 4, 180},
    {"layers.1.feed_forward.w3.weight", 2, 3, 4, 192},
    {"norm.weight", 1, 4, 0, 204},
    {"output.weight", 2, 5, 4, 214}, /* after 3 cosines and sines of 1 pair each */
};

static const struct place v1_places[] = {
    {"layers.0.attention_norm.weight", 1, 4, 0, 0},
    {"layers.1.attention_norm.weight", 1, 4, 0, 4},
    {"layers.0.ffn_norm.weight", 1, 4, 0, 8},
    {"layers.1.ffn_norm.weight", 1, 4, 0, 12},
    {"norm.weight", 1, 4, 0, 16},
    {"tok_embeddings.weight", 2, 5, 4, 20},
    {"layers.0.attention.wq.weight", 2, 4, 4, 40},
    {"layers.1.attention.wq.weight", 2, 4, 4, 56},
    {"layers.0.attention.wk.weight", 2, 2, 4, 72},
    {"layers.1.attention.wk.weight", 2, 2, 4, 80},
    {"layers.0.attention.wv.weight", 2, 2, 4, 88},
    {"layers.1.attention.wv.weight", 2, 2, 4, 96},
    {"layers.0.attention.wo.weight", 2, 4, 4, 104},
    {"layers.1.attention.wo.weight", 2, 4, 4, 120},
    {"layers.0.feed_forward.w1.weight", 2, 3, 4, 136},
    {"layers.1.feed_forward.w1.weight", 2, 3, 4, 148},
    {"layers.0.feed_forward.w2.weight", 2, 4, 3, 160},
    {"layers.1.feed_forward.w2.weight", 2, 4, 3, 172},
    {"layers.0.feed_forward.w3.weight", 2, 3, 4, 184},
    {"layers.1.feed_forward.w3.weight", 2, 3, 4, 196},
    {"output.weight", 2, 5, 4, 208},
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void check_places(const struct ruvm_buffer *b, const struct place *places, size_t n)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    struct ruvm_error err = {0};
    cr_assert(ruvm_llama2c_probe(b->data, b->size));
    cr_assert_eq(ruvm_llama2c_read(&t, &arena, b->data, b->size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(t.n_views, n);
    for (size_t i = 0; i < n; i++) {
        const struct ruvm_view *v = ruvm_tensors_find(&t, places[i].name);
        cr_assert(v, "%s", places[i].name);
        cr_assert_eq(v->n_dims, places[i].n_dims, "%s", v->name);
        cr_assert_eq(v->dims[0], places[i].rows, "%s", v->name);
        cr_assert_eq(v->dims[1], places[i].cols, "%s", v->name);
        float row[5];
        ruvm_view_row(v, 0, row);
        cr_assert_float_eq(row[0], (float)places[i].at, 0, "%s begins with %g", v->name,
                           (double)row[0]);
        if (v->n_dims == 2) {
            ruvm_view_row(v, places[i].rows - 1, row);
            cr_assert_float_eq(row[0],
                               (float)(places[i].at + (places[i].rows - 1) * places[i].cols), 0,
                               "last row of %s", v->name);
        }
    }
    ruvm_arena_free(&arena);
}

Test(llama2c, legacy_tensors_stand_in_the_order_of_the_format)
{
    struct ruvm_buffer b = {0}, tied = {0};
    put_fields(&b, -5);
    put_counters(&b, FLOATS_IN_LARGEST);
    check_places(&b, legacy_places, COUNT(legacy_places));
    put_fields(&tied, 5);
    put_counters(&tied, 214);
    check_places(&tied, legacy_places, COUNT(legacy_places) - 1);
    ruvm_buffer_free(&b);
    ruvm_buffer_free(&tied);
}

Test(llama2c, v1_tensors_stand_in_the_order_of_the_format)
{
    struct ruvm_buffer b = {0}, tied = {0};
    put_ak42(&b, 1, false);
    put_counters(&b, 228);
    check_places(&b, v1_places, COUNT(v1_places));
    put_ak42(&tied, 1, true);
    put_counters(&tied, 208);
    check_places(&tied, v1_places, COUNT(v1_places) - 1);
    ruvm_buffer_free(&b);
    ruvm_buffer_free(&tied);
}

/* int8 of the value's index in its matrix, scale of the group's index in its matrix. */
static void put_groups(struct ruvm_buffer *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ruvm_buffer_u8(b, (uint8_t)i);
    for (unsigned i = 0; i < n / 2; i++)
        put_float(b, (float)i);
}

Test(llama2c, v2_has_scales_after_each_layers_matrix_and_groups_across_rows)
{
    static const unsigned sizes[] = {20, 16, 16, 8, 8, 8, 8, 16, 16, 12, 12, 12, 12, 12, 12, 20};
    struct ruvm_buffer b = {0};
    put_ak42(&b, 2, false);
    put_counters(&b, 20);
    for (size_t i = 0; i < COUNT(sizes); i++)
        put_groups(&b, sizes[i]);
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_llama2c_read(&t, &arena, b.data, b.size, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(t.n_views, 21);
    cr_assert_str_eq(t.format, "llama2.c checkpoint v2 (int8)");
    for (size_t i = 0; i < t.n_views; i++) {
        const struct ruvm_view *v = &t.views[i];
        if (v->n_dims == 1) {
            cr_assert_eq(v->dtype, RUVM_DTYPE_F32);
            continue;
        }
        cr_assert_eq(v->dtype, RUVM_DTYPE_I8_GROUPS);
        for (uint64_t r = 0, at = 0; r < v->dims[0]; r++) {
            float row[5];
            ruvm_view_row(v, r, row);
            for (uint64_t c = 0; c < v->dims[1]; c++, at++)
                cr_assert_float_eq(row[c], (float)(at * (at / 2)), 0, "%s [%d, %d]", v->name,
                                   (int)r, (int)c);
        }
    }
    ruvm_arena_free(&arena);
    ruvm_buffer_free(&b);
}

Test(llama2c, metadata_says_what_the_header_says_and_the_formats_constants)
{
    static const struct {
        const char *key;
        double number;
    } expected[] = {
        {"dim", 4},         {"hidden_dim", 3},     {"n_layers", 2},    {"n_heads", 2},
        {"n_kv_heads", 1},  {"vocab_size", 5},     {"max_seq_len", 3}, {"tied", 0},
        {"norm_eps", 1e-5}, {"rope_theta", 10000},
    };
    struct ruvm_buffer b = {0};
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    put_fields(&b, -5);
    put_counters(&b, FLOATS_IN_LARGEST);
    cr_assert_eq(ruvm_llama2c_read(&t, &arena, b.data, b.size, NULL), RUVM_OK);
    cr_assert_eq(t.n_meta, COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        double number;
        cr_assert(ruvm_tensors_number(&t, expected[i].key, &number), "%s", expected[i].key);
        cr_assert_float_eq(number, expected[i].number, 0, "%s", expected[i].key);
    }
    ruvm_arena_free(&arena);
    ruvm_buffer_free(&b);
}

/* ---- bad files ----------------------------------------------------------- */

static const struct {
    const char *file;
    int code;
    const char *text; /* in the message */
    bool probed;
} verdicts[] = {
    {"legacy", RUVM_OK, "", true},
    {"legacy-untied", RUVM_OK, "", true},
    {"v1", RUVM_OK, "", true},
    {"v1-untied", RUVM_OK, "", true},
    {"v2", RUVM_OK, "", true},
    {"v2-untied", RUVM_OK, "", true},
    {"empty", RUVM_ERR_CORRUPT, "byte 0: the file ends inside its header", false},
    {"magic-only", RUVM_ERR_CORRUPT, "byte 4: the file ends inside its header", true},
    {"header-short", RUVM_ERR_CORRUPT, "byte 24: the file ends inside its header", false},
    {"header-only", RUVM_ERR_CORRUPT, "make 516 bytes, but the file has 28: 488 missing", true},
    {"legacy-truncated", RUVM_ERR_CORRUPT, "258 missing (truncated", true},
    {"legacy-trailing", RUVM_ERR_CORRUPT, "make 516 bytes, but the file has 517: 1 too many", true},
    {"v1-header-short", RUVM_ERR_CORRUPT, "byte 200: the file ends inside its header", true},
    {"v1-truncated", RUVM_ERR_CORRUPT, "separate classifier make 800 bytes", true},
    {"v2-trailing", RUVM_ERR_CORRUPT, "64 too many", true},
    {"dim-zero", RUVM_ERR_CORRUPT, "byte 8: dim is 0, expected 1 to 1048576", true},
    {"dim-negative", RUVM_ERR_CORRUPT, "byte 8: dim is -4", true},
    {"hidden-huge", RUVM_ERR_CORRUPT, "byte 12: hidden_dim is 2147483647", true},
    {"layers-huge", RUVM_ERR_CORRUPT, "n_layers 1024", true},
    {"heads-odd", RUVM_ERR_CORRUPT, "dim 4 does not divide into n_heads 3", true},
    {"kv-heads-many", RUVM_ERR_CORRUPT, "byte 24: n_kv_heads is 1048576, expected 1 to 1024", true},
    {"vocab-min", RUVM_ERR_CORRUPT, "byte 20: vocab_size is -2147483648", false},
    {"vocab-huge", RUVM_ERR_CORRUPT, "vocab_size 1048576", true},
    {"context-zero", RUVM_ERR_CORRUPT, "byte 24: max_seq_len is 0", false},
    {"context-huge", RUVM_ERR_CORRUPT, "byte 24: max_seq_len is 1073741824", false},
    {"version-3", RUVM_ERR_UNSUPPORTED, "byte 4: version is 3, ruvm reads 1", true},
    {"shared-2", RUVM_ERR_CORRUPT, "byte 36: shared_classifier is 2", true},
    {"group-zero", RUVM_ERR_CORRUPT, "byte 37: group_size is 0", true},
    {"group-odd", RUVM_ERR_CORRUPT,
     "group_size 7 does not divide tok_embeddings.weight of 20 values", true},
    {"group-huge", RUVM_ERR_CORRUPT, "byte 37: group_size is 4294967295", true},
    {"scale-nan", RUVM_ERR_CORRUPT, "layers.0.feed_forward.w3.weight: a scale is nan", true},
    {"scale-negative", RUVM_ERR_CORRUPT, "a scale is -1, expected", true},
    {"text", RUVM_ERR_CORRUPT, "byte 0: dim is", false},
};

Test(llama2c, each_file_of_the_corpus_gets_its_verdict)
{
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        char path[128];
        struct ruvm_map map;
        struct ruvm_arena arena = {0};
        struct ruvm_tensors t;
        struct ruvm_error err = {0};
        snprintf(path, sizeof path, "tests/fuzz/corpus/llama2c/%s", verdicts[i].file);
        cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
        cr_expect_eq(ruvm_llama2c_probe(map.data, map.size), verdicts[i].probed, "%s", path);
        int rc = ruvm_llama2c_read(&t, &arena, map.data, map.size, &err);
        cr_expect_eq(rc, verdicts[i].code, "%s: %d %s", path, rc, err.text);
        cr_expect(strstr(err.text, verdicts[i].text), "%s: %s", path, err.text);
        ruvm_arena_free(&arena);
        ruvm_file_unmap(&map);
    }
}

/* On the heap and exactly as long, so that a sanitizer sees a byte too far. */
static int read_copy(const uint8_t *data, size_t size, struct ruvm_error *err, size_t *used)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    ruvm_llama2c_probe(copy, size);
    int rc = ruvm_llama2c_read(&t, &arena, copy, size, err);
    *used = arena.used_bytes;
    ruvm_arena_free(&arena);
    free(copy);
    return rc;
}

Test(llama2c, every_truncation_is_refused_before_anything_is_allocated)
{
    static const char *const files[] = {"legacy-untied", "v1-untied", "v2-untied"};
    for (size_t f = 0; f < COUNT(files); f++) {
        char path[128];
        struct ruvm_map map;
        snprintf(path, sizeof path, "tests/fuzz/corpus/llama2c/%s", files[f]);
        cr_assert_eq(ruvm_file_map(&map, path, NULL), RUVM_OK);
        for (size_t size = 0; size < map.size; size++) {
            struct ruvm_error err = {0};
            size_t used;
            cr_assert_eq(read_copy(map.data, size, &err, &used), RUVM_ERR_CORRUPT, "%s to %zu",
                         files[f], size);
            cr_assert(err.text[0] != '\0' && used == 0);
        }
        ruvm_file_unmap(&map);
    }
}

Test(llama2c, no_bit_flip_of_a_header_is_trusted_beyond_the_file)
{
    struct ruvm_map map;
    cr_assert_eq(ruvm_file_map(&map, "tests/fuzz/corpus/llama2c/v2", NULL), RUVM_OK);
    uint8_t *copy = malloc(map.size);
    memcpy(copy, map.data, map.size);
    for (size_t bit = 0; bit < 41 * 8; bit++) {
        size_t used;
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        read_copy(copy, map.size, NULL, &used);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(copy);
    ruvm_file_unmap(&map);
}

/* ---- probing ------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Small integers come closest to a header without a magic. */
Test(llama2c, other_data_is_not_taken_for_a_legacy_checkpoint)
{
    uint32_t state = 1;
    unsigned n_wrong = 0;
    for (int trial = 0; trial < 20000; trial++) {
        uint8_t data[128];
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = i % 4 < (unsigned)trial % 4 + 1 ? (uint8_t)(next_random(&state) >> 9) : 0;
        n_wrong += ruvm_llama2c_probe(data, sizeof data);
    }
    cr_assert_leq(n_wrong, 2);
    uint8_t zeros[256] = {0}, text[256];
    cr_assert_not(ruvm_llama2c_probe(zeros, sizeof zeros));
    memset(text, 'a', sizeof text);
    cr_assert_not(ruvm_llama2c_probe(text, sizeof text));
}

/* Past the plausible header the data must look like weights. */
Test(llama2c, a_plausible_header_alone_does_not_make_a_checkpoint)
{
    struct ruvm_buffer b = {0};
    put_fields(&b, 5);
    for (uint32_t i = 0; i < 50; i++)
        ruvm_buffer_u32(&b, i);
    cr_assert_not(ruvm_llama2c_probe(b.data, b.size));
    b.size = 28;
    ruvm_buffer_zeros(&b, 200);
    cr_assert_not(ruvm_llama2c_probe(b.data, b.size));
    b.size = 28;
    put_counters(&b, 50);
    cr_assert(ruvm_llama2c_probe(b.data, b.size));
    ruvm_buffer_free(&b);
}

Test(llama2c, the_golden_models_read)
{
    static const char *const names[] = {"legacy", "legacy-untied", "v1", "v1-untied",
                                        "v2",     "v2-untied"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[64];
        struct ruvm_map map;
        struct ruvm_arena arena = {0};
        struct ruvm_tensors t;
        struct ruvm_error err = {0};
        snprintf(path, sizeof path, "tests/golden/tiny-%s.bin", names[i]);
        cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
        cr_assert_eq(ruvm_llama2c_read(&t, &arena, map.data, map.size, &err), RUVM_OK, "%s",
                     err.text);
        cr_assert_eq(ruvm_tensors_find(&t, "output.weight") != NULL, i % 2 == 1);
        ruvm_arena_free(&arena);
        ruvm_file_unmap(&map);
    }
}
