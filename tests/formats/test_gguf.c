/* GGUF: what the reader makes of whole files of each architecture, what it says about each
 * way to be wrong, its walker over arrays, and the writer by the reader. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/formats.h"
#include "formats/gguf.h"
#include "formats/gguf_write.h"
#include "lib/base/bytes.h"
#include "lib/base/file.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define ABSENT 1e300
#define CORPUS "tests/fuzz/corpus/gguf/"

static struct ruvm_map map_corpus(const char *name)
{
    char path[128];
    struct ruvm_map map;
    struct ruvm_error err = {0};
    snprintf(path, sizeof path, CORPUS "%s", name);
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
    return map;
}

/* A file that is read, and all that goes with it. */
struct opened {
    struct ruvm_map map;
    struct ruvm_arena arena;
    struct ruvm_tensors t;
};

static void open_map(struct opened *o, struct ruvm_map map)
{
    struct ruvm_error err = {0};
    *o = (struct opened){.map = map};
    cr_assert(ruvm_gguf_probe(o->map.data, o->map.size));
    int rc = ruvm_gguf_read(&o->t, &o->arena, o->map.data, o->map.size, &err);
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
}

static void close_file(struct opened *o)
{
    ruvm_arena_free(&o->arena);
    ruvm_file_unmap(&o->map);
}

/* ---- metadata -------------------------------------------------------------------- */

struct number {
    const char *key;
    double value; /* ABSENT: not there */
};

static void expect_numbers(const struct ruvm_tensors *t, const struct number *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double x = 0;
        bool there = ruvm_tensors_number(t, numbers[i].key, &x);
        cr_expect_eq(there, numbers[i].value != ABSENT, "%s", numbers[i].key);
        cr_expect(!there || x == numbers[i].value, "%s is %g", numbers[i].key, x);
    }
}

static void expect_text(const struct ruvm_tensors *t, const char *key, const char *value)
{
    const char *text = ruvm_tensors_text(t, key);
    cr_expect(text && strcmp(text, value) == 0, "%s is %s", key, text ? text : "absent");
}

static void check_meta(const char *file, const char *architecture, const char *scaling,
                       const struct number *numbers, size_t n)
{
    struct opened o;
    open_map(&o, map_corpus(file));
    expect_text(&o.t, "architecture", architecture);
    if (scaling)
        expect_text(&o.t, "rope_scaling", scaling);
    expect_numbers(&o.t, numbers, n);
    close_file(&o);
}

Test(gguf, a_llama_has_our_keys)
{
    static const struct number numbers[] = {
        {"dim", 4},
        {"hidden_dim", 6},
        {"n_layers", 1},
        {"n_heads", 2},
        {"n_kv_heads", 1},
        {"vocab_size", 5},
        {"max_seq_len", 16},
        {"tied", 0},
        {"norm_eps", (double)1e-5f},
        {"norm_kind", 0},
        {"activation", 0},
        {"positions", 0},
        {"rope_halves", 0},
        {"rope_theta", 500000},
        {"bos", 1},
        {"eos", 2},
        {"pad", ABSENT},
        {"add_bos_token", 1},
        {"window", ABSENT},
        {"add_space_prefix", 0},
        {"head_dim", ABSENT},
        {"parallel", ABSENT},
        {"rotary_dim", ABSENT},
        {"score_scale", ABSENT},
    };
    check_meta("llama", "llama", "none", numbers, COUNT(numbers));
    check_meta("llama-v2", "llama", "none", numbers, COUNT(numbers));
}

Test(gguf, what_is_absent_is_not_made_up)
{
    static const struct number numbers[] = {
        {"tied", 1}, {"bos", ABSENT}, {"add_bos_token", ABSENT}, {"vocab_size", 5}};
    check_meta("llama-tied", "llama", "none", numbers, COUNT(numbers));
}

Test(gguf, scaling_of_the_positions)
{
    static const struct number factors[] = {{"rope_original_context", 8}, {"rope_factor", ABSENT}};
    static const struct number linear[] = {{"rope_factor", 4}, {"window", 8}};
    check_meta("llama-factors", "llama", "factors", factors, COUNT(factors));
    check_meta("llama-linear", "llama", "linear", linear, COUNT(linear));
}

Test(gguf, yarn_has_the_keys_of_a_configuration)
{
    static const struct number yarn[] = {{"rope_factor", 4},
                                         {"rope_original_context", 8},
                                         {"rope_beta_fast", 24},
                                         {"rope_beta_slow", 2},
                                         {"rope_attention", ABSENT}};
    static const struct number whole[] = {
        {"rope_factor", 4}, {"rope_original_context", 16}, {"rope_beta_fast", ABSENT}};
    const struct number half[] = {{"rope_attention", 0.5 * (0.1 * log(4.0) + 1)}};
    check_meta("llama-yarn-attn", "llama", "yarn", half, COUNT(half));
    check_meta("llama-yarn", "llama", "yarn", yarn, COUNT(yarn));
    check_meta("llama-yarn-context", "llama", "yarn", whole, COUNT(whole));
}

Test(gguf, values_a_layer_that_agree_are_one_value)
{
    static const struct number numbers[] = {{"n_kv_heads", 1}, {"hidden_dim", 6}};
    check_meta("llama-arrays", "llama", "none", numbers, COUNT(numbers));
}

Test(gguf, other_architectures)
{
    static const struct number qwen2[] = {{"rope_halves", 1}, {"norm_kind", 0}, {"tied", 1}};
    static const struct number gpt2[] = {{"rope_halves", ABSENT}, {"norm_kind", 1},
                                         {"positions", 1},        {"activation", 1},
                                         {"n_kv_heads", 2},       {"tied", 1}};
    static const struct number neox[] = {{"rope_halves", 1}, {"norm_kind", 1},  {"positions", 0},
                                         {"activation", 2},  {"rotary_dim", 2}, {"parallel", 0},
                                         {"tied", 0}};
    check_meta("qwen2", "qwen2", "none", qwen2, COUNT(qwen2));
    check_meta("gpt2", "gpt2", NULL, gpt2, COUNT(gpt2));
    check_meta("gptneox", "gpt_neox", "none", neox, COUNT(neox));
}

/* ---- tensors --------------------------------------------------------------------- */

Test(gguf, tensors_stand_where_the_file_says_outermost_first)
{
    struct opened o;
    open_map(&o, map_corpus("llama-64"));
    cr_expect_eq(o.t.n_views, 11);
    const struct ruvm_view *down = ruvm_tensors_find(&o.t, "blk.0.ffn_down.weight");
    cr_assert(down);
    cr_expect(down->n_dims == 2 && down->dims[0] == 4 && down->dims[1] == 6 && down->bytes == 96);
    const struct ruvm_view *last = &o.t.views[o.t.n_views - 1];
    cr_expect_eq(last, down);
    cr_expect_eq(last->data + 128, o.map.data + o.map.size, "at a multiple of 64, padded to it");
    cr_expect_eq(o.t.views[1].data - o.t.views[0].data, 128);
    close_file(&o);
}

Test(gguf, every_type_that_is_read)
{
    static const enum ruvm_dtype types[] = {
        RUVM_DTYPE_F32,  RUVM_DTYPE_F16,  RUVM_DTYPE_Q4_0, RUVM_DTYPE_Q4_1,
        RUVM_DTYPE_Q5_0, RUVM_DTYPE_Q5_1, RUVM_DTYPE_Q8_0, RUVM_DTYPE_Q4_K,
        RUVM_DTYPE_Q5_K, RUVM_DTYPE_Q6_K, RUVM_DTYPE_F64,  RUVM_DTYPE_BF16,
    };
    struct opened o;
    open_map(&o, map_corpus("types"));
    cr_assert_eq(o.t.n_views, COUNT(types));
    for (size_t i = 0; i < COUNT(types); i++) {
        uint32_t bytes, n = ruvm_dtype_block(types[i], &bytes);
        float row[256];
        cr_expect_eq(o.t.views[i].dtype, types[i], "%s", o.t.views[i].name);
        cr_expect_eq(o.t.views[i].bytes, 256 / n * bytes);
        ruvm_view_row(&o.t.views[i], 0, row);
        for (size_t k = 0; k < 256; k++)
            cr_assert(isfinite(row[k]));
    }
    close_file(&o);
}

/* ---- bad files --------------------------------------------------------------------- */

static const struct {
    const char *file;
    int code;
    const char *text; /* in the message */
} verdicts[] = {
    {"llama", RUVM_OK, ""},
    {"numbers", RUVM_OK, ""},
    {"magic-only", RUVM_ERR_CORRUPT, "byte 4: the file ends inside its GGUF header"},
    {"header-short", RUVM_ERR_CORRUPT, "byte 20: the file ends inside its GGUF header"},
    {"version-0", RUVM_ERR_UNSUPPORTED, "byte 4: GGUF version 0, ruvm reads 2 and 3"},
    {"version-1", RUVM_ERR_UNSUPPORTED, "GGUF version 1, ruvm reads 2 and 3"},
    {"version-4", RUVM_ERR_UNSUPPORTED, "GGUF version 4, ruvm reads 2 and 3"},
    {"big-endian", RUVM_ERR_UNSUPPORTED, "a big-endian GGUF"},
    {"tensors-huge", RUVM_ERR_CORRUPT, "byte 8: 9223372036854775808 tensors do not fit"},
    {"pairs-huge", RUVM_ERR_CORRUPT, "byte 16: 9223372036854775808 metadata keys do not fit"},
    {"pairs-many", RUVM_ERR_CORRUPT, "the file ends inside it"},
    {"key-huge", RUVM_ERR_CORRUPT, "byte 24: key '': the file ends inside it at byte 32"},
    {"key-max", RUVM_ERR_CORRUPT, "byte 24: key '': the file ends inside it at byte 32"},
    {"string-huge", RUVM_ERR_CORRUPT, "key 'x': the file ends inside it at byte 415"},
    {"array-huge", RUVM_ERR_CORRUPT, "key 'x': the file ends inside it at byte 419"},
    {"array-wraps", RUVM_ERR_CORRUPT, "key 'x': the file ends inside it at byte 419"},
    {"array-of-strings-huge", RUVM_ERR_CORRUPT, "key 'x': the file ends inside it"},
    {"array-of-arrays-huge", RUVM_ERR_CORRUPT, "key 'x': the type of its elements is unknown"},
    {"array-deep", RUVM_ERR_CORRUPT, "key 'x': its arrays are nested too deep"},
    {"array-very-deep", RUVM_ERR_CORRUPT, "key 'x': its arrays are nested too deep"},
    {"type-unknown", RUVM_ERR_CORRUPT, "key 'x': its type is unknown"},
    {"element-unknown", RUVM_ERR_CORRUPT, "key 'x': the type of its elements is unknown"},
    {"key-twice", RUVM_ERR_CORRUPT, "key 'llama.block_count' stands twice"},
    {"no-architecture", RUVM_ERR_CORRUPT, "general.architecture is missing"},
    {"architecture-number", RUVM_ERR_CORRUPT, "general.architecture is missing"},
    {"architecture-unknown", RUVM_ERR_UNSUPPORTED, "'gemma2'; ruvm reads llama"},
    {"keys-missing", RUVM_ERR_UNSUPPORTED,
     "llama.embedding_length is missing; llama.feed_forward_length is missing; "
     "llama.block_count is missing; llama.attention.head_count is missing; "
     "llama.context_length is missing; llama.attention.layer_norm_rms_epsilon is missing"},
    {"layers-differ", RUVM_ERR_UNSUPPORTED, "head_count_kv differs from layer to layer (1 and 2)"},
    {"experts", RUVM_ERR_UNSUPPORTED, "llama.expert_count is 8"},
    {"scaling-unknown", RUVM_ERR_UNSUPPORTED, "llama.rope.scaling.type is what (accepted: none, "},
    {"yarn-unread", RUVM_ERR_UNSUPPORTED,
     "llama.rope.scaling.yarn_ext_factor is 0.5 (accepted: 1); "
     "llama.rope.scaling.yarn_log_multiplier is 0.25 (accepted: 0)"},
    {"linear-and-factors", RUVM_ERR_UNSUPPORTED, "is linear beside rope_freqs.weight"},
    {"values-differ", RUVM_ERR_UNSUPPORTED, "value_length is 4, key_length 2"},
    {"split", RUVM_ERR_UNSUPPORTED, "file 2 of 3 of a split model"},
    {"adapter", RUVM_ERR_UNSUPPORTED, "general.type is 'adapter'"},
    {"no-tensors", RUVM_ERR_UNSUPPORTED, "holds no tensors"},
    {"name-empty", RUVM_ERR_CORRUPT, "a name of 0 bytes"},
    {"name-long", RUVM_ERR_CORRUPT, "a name of 65 bytes, expected 1 to 64"},
    {"name-huge", RUVM_ERR_CORRUPT, "a name of 9223372036854775808 bytes"},
    {"name-zero-byte", RUVM_ERR_CORRUPT, "a name holds a zero byte"},
    {"dims-none", RUVM_ERR_CORRUPT, "t has 0 dimensions, expected 1 to 4"},
    {"dims-five", RUVM_ERR_CORRUPT, "t has 5 dimensions"},
    {"dims-zero", RUVM_ERR_CORRUPT, "t: dimension 0 is 0: expected at least 1"},
    {"dims-overflow", RUVM_ERR_CORRUPT, "t: dimension 1 is 4294967296: no file could hold it"},
    {"dims-wrap", RUVM_ERR_CORRUPT, "t: dimension 0 is 4611686018427387904: no file"},
    {"dims-past-end", RUVM_ERR_CORRUPT, "t: 4398046511104 bytes at offset 0 of the data reach"},
    {"blocks-broken", RUVM_ERR_CORRUPT, "t: rows of 48 values are not whole blocks of q4_0"},
    {"blocks-broken-k", RUVM_ERR_CORRUPT, "t: rows of 128 values are not whole blocks of q4_K"},
    {"offset-odd", RUVM_ERR_CORRUPT, "t: its offset 100 is no multiple of the alignment 32"},
    {"offset-past-end", RUVM_ERR_CORRUPT, "t: 80 bytes at offset 1048576 of the data reach past"},
    {"offset-wraps", RUVM_ERR_CORRUPT, "t: 80 bytes at offset 18446744073709551584"},
    {"overlap", RUVM_ERR_CORRUPT, "token_embd.weight and t overlap"},
    {"same-place", RUVM_ERR_CORRUPT, "overlap"},
    {"tensor-twice", RUVM_ERR_CORRUPT, "token_embd.weight stands twice"},
    {"alignment-zero", RUVM_ERR_CORRUPT, "general.alignment is 0, expected a power of two"},
    {"alignment-24", RUVM_ERR_CORRUPT, "general.alignment is 24, expected a power of two"},
    {"alignment-huge", RUVM_ERR_CORRUPT, "general.alignment is 2.14748e+09"},
    {"types-unread", RUVM_ERR_UNSUPPORTED,
     "4 tensors of q2_K (blk.0.attn_q.weight, blk.0.attn_k.weight, blk.0.attn_v.weight and 1 "
     "more), 1 tensor of iq2_s (output.weight), 1 tensor of the unknown type 77 (x), 1 tensor of "
     "mxfp4 (y); ruvm reads f32 f16"},
    {"types-unread", RUVM_ERR_UNSUPPORTED, "llama-quantize --allow-requantize ... Q4_K_M"},
    {"types-many", RUVM_ERR_UNSUPPORTED, "1 tensor of the unknown type 55 (t55); ruvm reads"},
    {"truncated-list", RUVM_ERR_CORRUPT, "byte 700: the file ends inside their list"},
    {"truncated-data", RUVM_ERR_CORRUPT, "blk.0.ffn_down.weight: 96 bytes at offset 576"},
};

Test(gguf, each_file_of_the_corpus_gets_its_verdict)
{
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        struct ruvm_map map = map_corpus(verdicts[i].file);
        struct ruvm_arena arena = {0};
        struct ruvm_tensors t;
        struct ruvm_error err = {0};
        const struct ruvm_format *format = ruvm_formats_probe(map.data, map.size);
        cr_expect(format && strcmp(format->name, "GGUF model") == 0, "%s", verdicts[i].file);
        int rc = ruvm_gguf_read(&t, &arena, map.data, map.size, &err);
        cr_expect_eq(rc, verdicts[i].code, "%s: %d %s", verdicts[i].file, rc, err.text);
        cr_expect(strstr(err.text, verdicts[i].text), "%s: %s", verdicts[i].file, err.text);
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
    ruvm_gguf_probe(copy, size);
    int rc = ruvm_gguf_read(&t, &arena, copy, size, err);
    *used = arena.used_bytes;
    ruvm_arena_free(&arena);
    free(copy);
    return rc;
}

Test(gguf, every_truncation_is_refused_and_says_so)
{
    static const char *const files[] = {"llama", "types"};
    for (size_t f = 0; f < COUNT(files); f++) {
        struct ruvm_map map = map_corpus(files[f]);
        for (size_t size = 0; size + 32 < map.size; size++) {
            struct ruvm_error err = {0};
            size_t used;
            cr_assert_eq(read_copy(map.data, size, &err, &used), RUVM_ERR_CORRUPT, "%s to %zu",
                         files[f], size);
            cr_assert(err.text[0] != '\0');
        }
        ruvm_file_unmap(&map);
    }
}

Test(gguf, no_bit_flip_is_trusted_with_more_memory_than_the_file)
{
    struct ruvm_map map = map_corpus("llama");
    uint8_t *copy = malloc(map.size);
    memcpy(copy, map.data, map.size);
    for (size_t bit = 0; bit < map.size * 8; bit++) {
        size_t used;
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        read_copy(copy, map.size, NULL, &used);
        cr_assert_lt(used, 20 * map.size);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(copy);
    ruvm_file_unmap(&map);
}

/* ---- the walker ------------------------------------------------------------------- */

static bool is(struct ruvm_gguf_string s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.text, text, s.n) == 0;
}

Test(gguf, arrays_are_walked_in_place)
{
    static const char *const texts[] = {"<unk>", "<s>", "</s>", "a", "\xe2\x96\x81z"};
    static const double numbers[] = {0, 0, 0, -1, -2}, kinds[] = {2, 3, 3, 1, 1};
    struct ruvm_map map = map_corpus("llama");
    struct ruvm_arena arena = {0};
    struct ruvm_gguf g;
    struct ruvm_gguf_array tokens, scores, types;
    struct ruvm_gguf_string s;
    double x;
    cr_assert_eq(ruvm_gguf_open(&g, &arena, map.data, map.size, NULL), RUVM_OK);
    cr_assert(ruvm_gguf_array(&g, "tokenizer.ggml.tokens", &tokens));
    cr_assert(ruvm_gguf_array(&g, "tokenizer.ggml.scores", &scores));
    cr_assert(ruvm_gguf_array(&g, "tokenizer.ggml.token_type", &types));
    cr_expect(tokens.n == 5 && tokens.type == RUVM_GGUF_STRING && types.type == RUVM_GGUF_I32);
    cr_expect_not(ruvm_gguf_next_number(&tokens, &x));
    cr_expect_not(ruvm_gguf_next_string(&scores, &s));
    for (size_t i = 0; i < 5; i++) {
        cr_assert(ruvm_gguf_next_string(&tokens, &s) && is(s, texts[i]));
        cr_assert(ruvm_gguf_next_number(&scores, &x) && x == numbers[i]);
        cr_assert(ruvm_gguf_next_number(&types, &x) && x == kinds[i]);
    }
    cr_expect_not(ruvm_gguf_next_string(&tokens, &s));
    cr_expect_not(ruvm_gguf_next_number(&scores, &x));
    cr_expect(ruvm_gguf_text(&g, "tokenizer.chat_template", &s) && is(s, "{{ messages }}"));
    cr_expect_not(ruvm_gguf_text(&g, "tokenizer.ggml.tokens", &s), "of another kind");
    cr_expect_not(ruvm_gguf_number(&g, "tokenizer.chat_template", &x));
    cr_expect_not(ruvm_gguf_array(&g, "tokenizer.chat_template", &tokens));
    cr_expect_null(ruvm_gguf_find(&g, "tokenizer.ggml.token"));
    ruvm_arena_free(&arena);
    ruvm_file_unmap(&map);
}

Test(gguf, a_walk_ends_where_its_bytes_do)
{
    static const uint8_t data[] = {9, 0, 0, 0, 0, 0, 0, 0, 'a', 'b'};
    struct ruvm_gguf_array strings = {RUVM_GGUF_STRING, 3, data, data + sizeof data};
    struct ruvm_gguf_array numbers = {RUVM_GGUF_U64, 3, data, data + sizeof data};
    struct ruvm_gguf_array unknown = {99, 3, data, data + sizeof data};
    struct ruvm_gguf_string s;
    double x;
    cr_expect_not(ruvm_gguf_next_string(&strings, &s));
    cr_expect(ruvm_gguf_next_number(&numbers, &x) && x == 9);
    cr_expect_not(ruvm_gguf_next_number(&numbers, &x));
    cr_expect_not(ruvm_gguf_next_number(&unknown, &x));
}

Test(gguf, numbers_of_every_type)
{
    static const struct number numbers[] = {
        {"llama.u8", 200},     {"llama.i8", -3},       {"llama.u16", 60000}, {"llama.i16", -300},
        {"llama.u32", 4e9},    {"llama.i32", -5},      {"llama.f32", 0.5},   {"llama.bool", 1},
        {"llama.u64", 0x1p40}, {"llama.i64", -0x1p40}, {"llama.f64", 0.25},
    };
    struct ruvm_map map = map_corpus("numbers");
    struct ruvm_arena arena = {0};
    struct ruvm_gguf g;
    cr_assert_eq(ruvm_gguf_open(&g, &arena, map.data, map.size, NULL), RUVM_OK);
    for (size_t i = 0; i < COUNT(numbers); i++) {
        double x;
        cr_assert(ruvm_gguf_number(&g, numbers[i].key, &x), "%s", numbers[i].key);
        cr_expect(x == numbers[i].value, "%s is %g", numbers[i].key, x);
    }
    ruvm_arena_free(&arena);
    ruvm_file_unmap(&map);
}

/* ---- the writer ------------------------------------------------------------------- */

enum { COLS = 64, STOP = 3 };

/* Multiples of 1/127 with 1 in each block: exact in q8_0 but for the scale's rounding. */
static int some_row(void *user, uint64_t row, float *out)
{
    const uint64_t *first = user;
    if (*first == STOP)
        return RUVM_ERR_FULL;
    for (uint64_t i = 0; i < COLS; i++)
        out[i] = i % 32 == 0 ? 1 : (float)((int)((*first + row * COLS + i) * 37 % 255) - 127) / 128;
    return RUVM_OK;
}

static int narrow_row(void *user, uint64_t row, float *out)
{
    (void)user;
    for (uint64_t i = 0; i < 5; i++)
        out[i] = (float)row + (float)i / 4;
    return RUVM_OK;
}

static void put_meta(struct ruvm_gguf_writer *w)
{
    static const struct ruvm_gguf_string texts[] = {{(const uint8_t *)"<s>", 3},
                                                    {(const uint8_t *)"", 0}};
    static const int32_t kinds[] = {3, -1};
    static const float scores[] = {0, -1.5f};
    ruvm_gguf_put_text(w, "general.architecture", "llama", 5);
    ruvm_gguf_put_u32(w, "llama.embedding_length", COLS);
    ruvm_gguf_put_u32(w, "llama.feed_forward_length", 96);
    ruvm_gguf_put_u32(w, "llama.block_count", 1);
    ruvm_gguf_put_u32(w, "llama.attention.head_count", 2);
    ruvm_gguf_put_u32(w, "llama.context_length", 128);
    ruvm_gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    ruvm_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
    ruvm_gguf_put_texts(w, "tokenizer.ggml.tokens", texts, 2);
    ruvm_gguf_put_i32s(w, "tokenizer.ggml.token_type", kinds, 2);
    ruvm_gguf_put_f32s(w, "tokenizer.ggml.scores", scores, 2);
}

/* A name in the folder for temporary files; the caller removes the file. */
static char *temporary(void)
{
    static char path[256];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/ruvm-gguf-%ld", tmp ? tmp : "/tmp", (long)getpid());
    return path;
}

static void expect_meta(const struct opened *o)
{
    static const struct number numbers[] = {
        {"dim", COLS}, {"max_seq_len", 128}, {"norm_eps", (double)1e-5f}, {"add_bos_token", 1}};
    struct ruvm_arena arena = {0};
    struct ruvm_gguf g;
    struct ruvm_gguf_array a;
    struct ruvm_gguf_string s;
    double x;
    expect_numbers(&o->t, numbers, COUNT(numbers));
    cr_assert_eq(ruvm_gguf_open(&g, &arena, o->map.data, o->map.size, NULL), RUVM_OK);
    cr_expect_eq(g.version, 3);
    cr_expect(ruvm_gguf_array(&g, "tokenizer.ggml.tokens", &a) && a.n == 2);
    cr_expect(ruvm_gguf_next_string(&a, &s) && is(s, "<s>"));
    cr_expect(ruvm_gguf_next_string(&a, &s) && s.n == 0);
    cr_expect(ruvm_gguf_array(&g, "tokenizer.ggml.token_type", &a));
    cr_expect(ruvm_gguf_next_number(&a, &x) && x == 3 && ruvm_gguf_next_number(&a, &x) && x == -1);
    cr_expect(ruvm_gguf_array(&g, "tokenizer.ggml.scores", &a));
    cr_expect(ruvm_gguf_next_number(&a, &x) && x == 0);
    cr_expect(ruvm_gguf_next_number(&a, &x) && x == -1.5);
    ruvm_arena_free(&arena);
}

static void expect_rows(const struct ruvm_view *v, const struct ruvm_gguf_tensor *t, float most)
{
    cr_assert_str_eq(v->name, t->name);
    cr_expect_eq(v->dtype, t->dtype);
    cr_assert_eq(v->n_dims, t->n_dims);
    cr_expect_arr_eq(v->dims, t->dims, sizeof *v->dims * v->n_dims);
    for (uint64_t row = 0; row < (t->n_dims == 1 ? 1 : t->dims[0]); row++) {
        float want[COLS], got[COLS];
        t->row(t->user, row, want);
        ruvm_view_row(v, row, got);
        for (uint64_t i = 0; i < t->dims[t->n_dims - 1]; i++)
            cr_assert(fabsf(want[i] - got[i]) <= most, "%s [%u, %u]: %g for %g", t->name,
                      (unsigned)row, (unsigned)i, (double)got[i], (double)want[i]);
    }
}

Test(gguf, what_is_written_is_read_again)
{
    static uint64_t seeds[] = {11, 5, 7, 9, 13};
    const struct ruvm_gguf_tensor tensors[] = {
        {"token_embd.weight", 2, {9, COLS}, RUVM_DTYPE_F32, some_row, &seeds[0]},
        {"narrow", 2, {3, 5}, RUVM_DTYPE_F16, narrow_row, NULL},
        {"blk.0.attn_q.weight", 2, {7, COLS}, RUVM_DTYPE_Q8_0, some_row, &seeds[1]},
        {"blk.0.attn_k.weight", 2, {7, COLS}, RUVM_DTYPE_Q4_0, some_row, &seeds[2]},
        {"blk.0.attn_v.weight", 2, {700, COLS}, RUVM_DTYPE_BF16, some_row, &seeds[3]},
        {"output_norm.weight", 1, {COLS}, RUVM_DTYPE_F32, some_row, &seeds[4]},
    };
    static const float most[] = {0, 0, 0.006f, 0.13f, 0.002f, 0};
    struct ruvm_gguf_writer w = {0};
    struct ruvm_error err = {0};
    struct ruvm_map map;
    struct opened o;
    char *path = temporary();
    put_meta(&w);
    int rc = ruvm_gguf_write(&w, tensors, COUNT(tensors), path, &err);
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
    ruvm_gguf_drop(&w);
    rc = ruvm_file_map(&map, path, &err);
    remove(path);
    cr_assert_eq(rc, RUVM_OK);
    open_map(&o, map);
    expect_meta(&o);
    cr_assert_eq(o.t.n_views, COUNT(tensors));
    for (size_t i = 0; i < COUNT(tensors); i++) {
        expect_rows(&o.t.views[i], &tensors[i], most[i]);
        cr_expect_eq((o.t.views[i].data - o.map.data) % 32, 0);
    }
    cr_expect_eq(o.map.size % 32, 0);
    close_file(&o);
}

static void expect_unwritten(const struct ruvm_gguf_tensor *t, int code, const char *text)
{
    struct ruvm_gguf_writer w = {0};
    struct ruvm_error err = {0};
    char *path = temporary();
    put_meta(&w);
    cr_expect_eq(ruvm_gguf_write(&w, t, 1, path, &err), code, "%s", err.text);
    cr_expect(strstr(err.text, text), "%s", err.text);
    cr_expect_neq(access(path, F_OK), 0, "nothing is left");
    ruvm_gguf_drop(&w);
}

static int wide_row(void *user, uint64_t row, float *out)
{
    (void)user;
    for (uint64_t i = 0; i < COLS; i++)
        out[i] = row == 2 ? 1e6f : 1;
    return RUVM_OK;
}

Test(gguf, what_cannot_be_written_leaves_no_file)
{
    static uint64_t stop = STOP;
    const struct ruvm_gguf_tensor broken = {"t", 2, {1, 40}, RUVM_DTYPE_Q8_0, narrow_row, NULL};
    const struct ruvm_gguf_tensor type = {"t", 2, {1, 256}, RUVM_DTYPE_Q6_K, narrow_row, NULL};
    const struct ruvm_gguf_tensor dims = {"t", 0, {0}, RUVM_DTYPE_F32, narrow_row, NULL};
    const struct ruvm_gguf_tensor name = {
        "a name of more than sixty-three bytes is refused by llama.cpp, so by us",
        1,
        {5},
        RUVM_DTYPE_F32,
        narrow_row,
        NULL};
    const struct ruvm_gguf_tensor range = {"t", 2, {4, COLS}, RUVM_DTYPE_F16, wide_row, NULL};
    const struct ruvm_gguf_tensor ended = {"t", 2, {4, COLS}, RUVM_DTYPE_F32, some_row, &stop};
    expect_unwritten(&broken, RUVM_ERR_ARG, "t: rows of 40 values are not whole blocks of q8_0");
    expect_unwritten(&type, RUVM_ERR_ARG, "t: q6_K is not written");
    expect_unwritten(&dims, RUVM_ERR_ARG, "t: GGUF has 1 to 4 dimensions");
    expect_unwritten(&name, RUVM_ERR_ARG, "a name in GGUF has 1 to 63 bytes");
    expect_unwritten(&range, RUVM_ERR_UNSUPPORTED,
                     "t: row 2 holds a value beyond the range of f16");
    expect_unwritten(&ended, RUVM_ERR_FULL, "t: row 0 cannot be had");
}
