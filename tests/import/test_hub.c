/* Hugging Face directories: the configuration of each family as metadata, everything that is
 * unsupported in one message, and weights found, checked and refused. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buffer.h"
#include "lib/import/hub.h"
#include "lib/import/hub_config.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- config.json ------------------------------------------------------------------ */

#define HF_SIZES                                                                                   \
    "\"hidden_size\":8,\"intermediate_size\":12,\"num_hidden_layers\":4,"                          \
    "\"num_attention_heads\":2,\"vocab_size\":32,\"max_position_embeddings\":16"
#define LLAMA "\"model_type\":\"llama\"," HF_SIZES
#define MISTRAL "\"model_type\":\"mistral\",\"num_key_value_heads\":1," HF_SIZES
#define QWEN2 "\"model_type\":\"qwen2\",\"num_key_value_heads\":1," HF_SIZES
#define NEOX "\"model_type\":\"gpt_neox\",\"hidden_act\":\"gelu\"," HF_SIZES
#define GPT2                                                                                       \
    "\"model_type\":\"gpt2\",\"n_embd\":8,\"n_layer\":4,\"n_head\":2,\"n_positions\":16,"          \
    "\"n_ctx\":16,\"vocab_size\":32"
#define NEO                                                                                        \
    "\"model_type\":\"gpt_neo\",\"hidden_size\":8,\"num_layers\":4,\"num_heads\":2,"               \
    "\"max_position_embeddings\":16,\"vocab_size\":32"

struct config {
    struct ruvm_arena arena;
    struct ruvm_tensors t;
    struct ruvm_error err;
    int rc;
};

static struct config read_config(const char *text)
{
    struct config c = {0};
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1); /* exactly as long: JSON without a NUL */
    memcpy(copy, text, n);
    c.rc = ruvm_hub_config_read(&c.t, &c.arena, copy, n, &c.err);
    free(copy);
    return c;
}

/* One key, and what it must be: a number, a text, or (NONE) not there. */
#define NONE ((double)NAN)
struct expected {
    const char *key;
    double number;
    const char *text;
};

static void expect(const struct config *c, const struct expected *e, const char *config)
{
    double number;
    const char *text = ruvm_tensors_text(&c->t, e->key);
    if (e->text)
        cr_expect(text && strcmp(text, e->text) == 0, "%s of %s is %s", e->key, config,
                  text ? text : "missing");
    else if (isnan(e->number))
        cr_expect(!text && !ruvm_tensors_number(&c->t, e->key, &number), "%s of %s", e->key,
                  config);
    else
        cr_expect(ruvm_tensors_number(&c->t, e->key, &number) &&
                      fabs(number - e->number) <= 1e-12 * fabs(e->number),
                  "%s of %s is not %g", e->key, config, e->number);
}

static const struct {
    const char *config;
    struct expected keys[24]; /* until one without a key */
} configs[] = {
    {"{" LLAMA "}", {{"architecture", 0, "llama"}, {"dim", 8, NULL},
                     {"hidden_dim", 12, NULL},     {"n_layers", 4, NULL},
                     {"n_heads", 2, NULL},         {"n_kv_heads", 2, NULL},
                     {"head_dim", NONE, NULL},     {"vocab_size", 32, NULL},
                     {"max_seq_len", 16, NULL},    {"tied", 0, NULL},
                     {"norm_kind", 0, NULL},       {"norm_eps", 1e-6, NULL},
                     {"activation", 0, NULL},      {"positions", 0, NULL},
                     {"rope_theta", 10000, NULL},  {"rope_halves", 1, NULL},
                     {"rotary_dim", NONE, NULL},   {"rope_scaling", NONE, NULL},
                     {"window", NONE, NULL},       {"score_scale", NONE, NULL},
                     {"parallel", NONE, NULL},     {"bos", NONE, NULL}}},
    {"{" LLAMA ",\"num_key_value_heads\":null,\"head_dim\":6,\"rms_norm_eps\":0.001,"
     "\"rope_theta\":500000.0,\"tie_word_embeddings\":true,\"attention_bias\":true,"
     "\"hidden_act\":\"silu\",\"bos_token_id\":1,\"eos_token_id\":[7,9,32],\"pad_token_id\":-1,"
     "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
     "\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}}",
     {{"n_kv_heads", 2, NULL},
      {"head_dim", 6, NULL},
      {"norm_eps", 0.001, NULL},
      {"rope_theta", 500000, NULL},
      {"tied", 1, NULL},
      {"bos", 1, NULL},
      {"eos", 7, NULL},
      {"pad", NONE, NULL},
      {"rope_scaling", 0, "llama3"},
      {"rope_factor", 8, NULL},
      {"rope_low_freq", 1, NULL},
      {"rope_high_freq", 4, NULL},
      {"rope_original_context", 8192, NULL}}},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5},\"quantization_config\":"
     "null,\"num_experts\":0}",
     {{"rope_scaling", 0, "linear"}, {"rope_factor", 2.5, NULL}, {"rope_low_freq", NONE, NULL}}},
    {"{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"beta_fast\":24,"
     "\"original_max_position_embeddings\":4096,\"truncate\":false,\"attention_factor\":1.5}}",
     {{"rope_scaling", 0, "yarn"},
      {"rope_factor", 4, NULL},
      {"rope_original_context", 4096, NULL},
      {"rope_beta_fast", 24, NULL},
      {"rope_beta_slow", NONE, NULL},
      {"rope_attention", 1.5, NULL},
      {"rope_whole", 0, NULL}}},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"mscale\":1,"
     "\"mscale_all_dim\":1}}",
     {{"rope_original_context", 16, NULL},
      {"rope_attention", 1, NULL},
      {"rope_whole", NONE, NULL}}},
    {"{" LLAMA ",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":77}}",
     {{"rope_theta", 77, NULL}, {"rope_scaling", NONE, NULL}}},
    {"{" MISTRAL ",\"sliding_window\":5,\"rms_norm_eps\":1e-5}",
     {{"architecture", 0, "mistral"},
      {"n_kv_heads", 1, NULL},
      {"window", 5, NULL},
      {"local_layers", NONE, NULL},
      {"norm_eps", 1e-5, NULL},
      {"tied", 0, NULL}}},
    {"{" MISTRAL ",\"sliding_window\":null}", {{"window", NONE, NULL}}},
    {"{" MISTRAL "}", {{"window", NONE, NULL}}}, /* 4096 reaches over 16 positions */
    {"{" QWEN2 ",\"sliding_window\":5,\"use_sliding_window\":false,\"max_window_layers\":2,"
     "\"tie_word_embeddings\":true}",
     {{"architecture", 0, "qwen2"}, {"window", NONE, NULL}, {"tied", 1, NULL}}},
    {"{" QWEN2 ",\"sliding_window\":5,\"use_sliding_window\":true,\"max_window_layers\":3}",
     {{"window", 5, NULL}, {"local_layers", 0, "0001"}}},
    {"{" QWEN2 ",\"sliding_window\":5,\"use_sliding_window\":true,\"max_window_layers\":0}",
     {{"window", 5, NULL}, {"local_layers", NONE, NULL}}},
    {"{" QWEN2 ",\"sliding_window\":5,\"use_sliding_window\":true}", {{"window", NONE, NULL}}},
    {"{" QWEN2 ",\"sliding_window\":5,\"use_sliding_window\":true,\"layer_types\":"
     "[\"full_attention\",\"sliding_attention\",\"full_attention\",\"sliding_attention\"]}",
     {{"window", 5, NULL}, {"local_layers", 0, "0101"}}},
    {"{" QWEN2 ",\"sliding_window\":null,\"use_sliding_window\":true}", {{"window", NONE, NULL}}},
    {"{" GPT2 "}",
     {{"architecture", 0, "gpt2"},
      {"dim", 8, NULL},
      {"hidden_dim", 32, NULL},
      {"n_layers", 4, NULL},
      {"n_heads", 2, NULL},
      {"n_kv_heads", 2, NULL},
      {"max_seq_len", 16, NULL},
      {"tied", 1, NULL},
      {"norm_kind", 1, NULL},
      {"norm_eps", 1e-5, NULL},
      {"activation", 1, NULL},
      {"positions", 1, NULL},
      {"rope_theta", NONE, NULL},
      {"rope_halves", NONE, NULL},
      {"score_scale", NONE, NULL}}},
    {"{" GPT2 ",\"n_inner\":20,\"activation_function\":\"relu\",\"scale_attn_weights\":false,"
     "\"bos_token_id\":31,\"eos_token_id\":50256,\"tie_word_embeddings\":false,"
     "\"layer_norm_epsilon\":0.01}",
     {{"hidden_dim", 20, NULL},
      {"activation", 3, NULL},
      {"score_scale", 1, NULL},
      {"bos", 31, NULL},
      {"eos", NONE, NULL},
      {"tied", 0, NULL},
      {"norm_eps", 0.01, NULL}}},
    {"{" GPT2 ",\"n_inner\":null,\"activation_function\":\"gelu_pytorch_tanh\"}",
     {{"hidden_dim", 32, NULL}, {"activation", 1, NULL}}},
    {"{" NEO ",\"window_size\":4,\"attention_types\":[[[\"global\",\"local\"],2]],"
     "\"intermediate_size\":null}",
     {{"architecture", 0, "gpt_neo"},
      {"hidden_dim", 32, NULL},
      {"n_kv_heads", 2, NULL},
      {"tied", 1, NULL},
      {"norm_kind", 1, NULL},
      {"positions", 1, NULL},
      {"activation", 1, NULL},
      {"window", 4, NULL},
      {"local_layers", 0, "0101"},
      {"score_scale", 1, NULL}}},
    {"{" NEO ",\"window_size\":4,\"attention_types\":[[[\"global\"],1],[[\"local\"],3]]}",
     {{"local_layers", 0, "0111"}}},
    {"{" NEO ",\"window_size\":4,\"attention_layers\":[\"local\",\"global\",\"global\",\"local\"]}",
     {{"local_layers", 0, "1001"}}},
    {"{" NEO "}", {{"window", NONE, NULL}, {"local_layers", NONE, NULL}}},
    {"{" NEO ",\"attention_types\":[[[\"global\"],4]],\"window_size\":4}",
     {{"window", NONE, NULL}}},
    {"{" NEOX ",\"hidden_size\":8}",
     {{"architecture", 0, "gpt_neox"},
      {"tied", 0, NULL},
      {"norm_kind", 1, NULL},
      {"activation", 2, NULL},
      {"positions", 0, NULL},
      {"rope_theta", 10000, NULL},
      {"rope_halves", 1, NULL},
      {"rotary_dim", 2, NULL},
      {"parallel", 1, NULL}}},
    {"{" NEOX ",\"rotary_pct\":1.0,\"rotary_emb_base\":25000,\"use_parallel_residual\":false}",
     {{"rotary_dim", NONE, NULL}, {"rope_theta", 25000, NULL}, {"parallel", 0, NULL}}},
    {"{" NEOX ",\"rope_parameters\":{\"partial_rotary_factor\":0.5,\"rope_theta\":9,"
     "\"rope_type\":\"default\"}}",
     {{"rotary_dim", 2, NULL}, {"rope_theta", 9, NULL}}},
};

Test(hub_config, each_family_becomes_the_keys_of_a_model)
{
    for (size_t i = 0; i < COUNT(configs); i++) {
        const char *text = configs[i].config;
        char patched[2048]; /* NeoX: 0.25 of a head of 8 values; the first key counts */
        if (strstr(text, "gpt_neox") && !strstr(text, "0.5")) {
            snprintf(patched, sizeof patched, "{\"hidden_size\":16,%s", text + 1);
            text = patched;
        }
        struct config c = read_config(text);
        cr_expect_eq(c.rc, RUVM_OK, "%s: %s", text, c.err.text);
        for (const struct expected *e = configs[i].keys; e->key; e++)
            expect(&c, e, text);
        ruvm_arena_free(&c.arena);
    }
}

Test(hub_config, every_end_token_of_a_list_is_kept)
{
    struct config c = read_config("{" LLAMA ",\"eos_token_id\":[7,9,3]}");
    double ends[3] = {0};
    size_t n = 0;
    for (size_t i = 0; i < c.t.n_meta; i++)
        if (strcmp(c.t.meta[i].key, "eos") == 0 && n < 3)
            ends[n++] = c.t.meta[i].number;
    cr_assert(n == 3 && ends[0] == 7 && ends[1] == 9 && ends[2] == 3);
    ruvm_arena_free(&c.arena);
}

static const struct {
    const char *config;
    int rc;
    const char *texts[5]; /* all of them are in the message */
} refused[] = {
    {"{", RUVM_ERR_CORRUPT, {"is not JSON"}},
    {"[]", RUVM_ERR_CORRUPT, {"not an object"}},
    {"{} x", RUVM_ERR_CORRUPT, {"goes on after its JSON text"}},
    {"{}",
     RUVM_ERR_UNSUPPORTED,
     {"model_type is not given, accepted: llama, mistral, qwen2, gpt2"}},
    {"{\"model_type\":\"mixtral\",\"num_local_experts\":8,\"quantization_config\":{\"bits\":4}}",
     RUVM_ERR_UNSUPPORTED,
     {"model_type is \"mixtral\", accepted: llama, ", "quantization_config is {\"bits\":4}, ",
      "num_local_experts is 8, accepted: none"}},
    {"{\"model_type\":\"llama\"}",
     RUVM_ERR_UNSUPPORTED,
     {"hidden_size is not given", "num_hidden_layers is not given", "vocab_size is not given",
      "intermediate_size is not given", "max_position_embeddings is not given"}},
    {"{" LLAMA ",\"hidden_act\":\"gelu\",\"rope_scaling\":{\"type\":\"longrope\",\"factor\":4},"
     "\"is_encoder_decoder\":true,\"rope_theta\":\"x\"}",
     RUVM_ERR_UNSUPPORTED,
     {"hidden_act is \"gelu\", accepted: silu",
      "rope_scaling is {\"type\":\"longrope\",\"factor\":4}, accepted: null, or types default, "
      "linear",
      "is_encoder_decoder is true, accepted: false", "rope_theta is \"x\", accepted: a number"}},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":4}}",
     RUVM_ERR_UNSUPPORTED,
     {"low_freq_factor is not given", "original_max_position_embeddings is not given"}},
    {"{" LLAMA ",\"rope_scaling\":7}", RUVM_ERR_UNSUPPORTED, {"rope_scaling is 7"}},
    {"{" LLAMA ",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5}}}",
     RUVM_ERR_UNSUPPORTED,
     {"rope_scaling is {\"full_attention\""}},
    {"{" LLAMA ",\"partial_rotary_factor\":0.5,\"head_dim\":1.5,\"tie_word_embeddings\":\"no\"}",
     RUVM_ERR_UNSUPPORTED,
     {"partial_rotary_factor is 0.5, accepted: 1", "head_dim is 1.5, accepted: a whole number",
      "tie_word_embeddings is \"no\", accepted: true or false"}},
    {"{\"vocab_size\":9223372036854775808," MISTRAL "}",
     RUVM_ERR_UNSUPPORTED,
     {"vocab_size is 9.2233720368547758e+18, accepted: a whole number"}},
    {"{\"num_key_value_heads\":-1," MISTRAL "}",
     RUVM_ERR_UNSUPPORTED,
     {"num_key_value_heads is -1"}},
    {"{\"model_type\":\"mistral\"," HF_SIZES "}",
     RUVM_ERR_UNSUPPORTED,
     {"num_key_value_heads is not given"}},
    {"{" MISTRAL ",\"sliding_window\":0.5}", RUVM_ERR_UNSUPPORTED, {"sliding_window is 0.5"}},
    {"{" QWEN2 ",\"use_sliding_window\":true,\"layer_types\":[\"chunked\"]}",
     RUVM_ERR_UNSUPPORTED,
     {"a layer's attention is \"chunked\", accepted: "}},
    {"{" QWEN2 ",\"use_sliding_window\":true,\"layer_types\":[\"full_attention\"]}",
     RUVM_ERR_MISMATCH,
     {"layer_types names 1 layers, num_hidden_layers is 4"}},
    {"{" GPT2 ",\"activation_function\":\"silu\",\"scale_attn_by_inverse_layer_idx\":true,"
     "\"add_cross_attention\":true}",
     RUVM_ERR_UNSUPPORTED,
     {"activation_function is \"silu\", accepted: gelu, gelu_new",
      "scale_attn_by_inverse_layer_idx is true", "add_cross_attention is true"}},
    {"{" NEO ",\"attention_types\":[[[\"global\",\"local\"],1073741824]]}",
     RUVM_ERR_MISMATCH,
     {"attention_types names 6 layers, num_layers is 4"}},
    {"{" NEO ",\"attention_types\":[[\"global\",12]]}",
     RUVM_ERR_MISMATCH,
     {"attention_types names"}},
    {"{" NEO ",\"attention_types\":[[[\"global\"]]]}",
     RUVM_ERR_UNSUPPORTED,
     {"attention_types is [[\"global\"]], accepted: lists such as"}},
    {"{" NEOX ",\"rotary_pct\":1.5}",
     RUVM_ERR_UNSUPPORTED,
     {"rotary_pct is 1.5, accepted: 0 to 1"}},
    {"{" NEOX "}",
     RUVM_ERR_UNSUPPORTED,
     {"rotary_pct 0.25 turns 1 of a head's 4 values, accepted: an even number"}},
};

Test(hub_config, everything_unsupported_is_named_at_once)
{
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct config c = read_config(refused[i].config);
        cr_expect_eq(c.rc, refused[i].rc, "%s: %d", refused[i].config, c.rc);
        for (size_t k = 0; k < COUNT(refused[i].texts) && refused[i].texts[k]; k++)
            cr_expect(strstr(c.err.text, refused[i].texts[k]), "%s: %s", refused[i].config,
                      c.err.text);
        ruvm_arena_free(&c.arena);
    }
}

/* ---- directories ------------------------------------------------------------------- */

static char folder[64];

/* Each test works in an empty folder that goes away with it. */
static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/ruvm-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    cr_assert_eq(mkdir("m", 0777), 0);
}

static void leave(void)
{
    char command[96];
    cr_assert_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(hub, .init = enter, .fini = leave);

static void put(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, n, f), n);
    cr_assert_eq(fclose(f), 0);
}

static void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text));
}

/* F32 vectors of one value each: the first letter of their name. */
static void put_tensors(const char *path, const char *const *names)
{
    struct ruvm_buffer header = {0}, file = {0};
    size_t n = 0;
    for (; names[n]; n++)
        ruvm_buffer_printf(&header,
                           "%c\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                           n ? ',' : '{', names[n], 4 * n, 4 * n + 4);
    ruvm_buffer_printf(&header, "}");
    ruvm_buffer_u32(&file, (uint32_t)header.size);
    ruvm_buffer_u32(&file, 0);
    ruvm_buffer_bytes(&file, header.data, header.size);
    for (size_t i = 0; i < n; i++) {
        float value = (float)names[i][0];
        ruvm_buffer_bytes(&file, &value, sizeof value);
    }
    put(path, file.data, file.size);
    ruvm_buffer_free(&header);
    ruvm_buffer_free(&file);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Opens, and wants exactly these tensors with the values that put_tensors gave them. */
static void expect_tensors(const char *path, const char *const *names)
{
    struct ruvm_hub hub;
    struct ruvm_error err = {0};
    size_t n = 0;
    cr_assert(ruvm_hub_probe(path));
    cr_assert_eq(ruvm_hub_open(&hub, path, &err), RUVM_OK, "%s: %s", path, err.text);
    for (; names[n]; n++) {
        const struct ruvm_view *v = ruvm_tensors_find(&hub.tensors, names[n]);
        float value = 0;
        cr_assert(v, "%s: %s", path, names[n]);
        ruvm_view_row(v, 0, &value);
        cr_assert(value == (float)names[n][0], "%s: %s", path, names[n]);
    }
    cr_assert_eq(hub.tensors.n_views, n, "%s", path);
    cr_assert_str_eq(ruvm_tensors_text(&hub.tensors, "architecture"), "llama");
    ruvm_hub_close(&hub);
    cr_assert(!hub.files && !hub.tensors.views);
}

static void expect_refusal(const char *path, int rc, const char *text)
{
    struct ruvm_hub hub;
    struct ruvm_error err = {0};
    int got = ruvm_hub_open(&hub, path, &err);
    cr_expect_eq(got, rc, "%s: %d %s", path, got, err.text);
    cr_expect(strstr(err.text, text), "%s: %s", path, err.text);
}

Test(hub, one_file_is_found_under_any_name_that_leads_there)
{
    put_text("m/config.json", "{" LLAMA "}");
    put_tensors("m/model.safetensors", NAMES("a", "b"));
    expect_tensors("m", NAMES("a", "b"));
    expect_tensors("m/", NAMES("a", "b"));
    expect_tensors("m/model.safetensors", NAMES("a", "b"));
    cr_assert_eq(chdir("m"), 0);
    expect_tensors(".", NAMES("a", "b"));
    expect_tensors("model.safetensors", NAMES("a", "b"));
    cr_assert_eq(rename("model.safetensors", "other.safetensors"), 0);
    expect_tensors(".", NAMES("a", "b"));
    put_tensors("more.safetensors", NAMES("c"));
    expect_refusal(".", RUVM_ERR_UNSUPPORTED, "./: holds 2 safetensors files, but neither");
    expect_tensors("more.safetensors", NAMES("c"));
}

static void put_index(const char *map)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"metadata\":{\"total_size\":8},\"weight_map\":%s}", map);
    put_text("m/model.safetensors.index.json", text);
}

Test(hub, an_index_joins_its_files)
{
    put_text("m/config.json", "{" LLAMA "}");
    put_tensors("m/one.safetensors", NAMES("a", "b"));
    put_tensors("m/two.safetensors", NAMES("c"));
    put_tensors("m/consolidated.safetensors", NAMES("other"));
    put_index("{\"a\":\"one.safetensors\",\"c\":\"two.safetensors\",\"b\":\"one.safetensors\"}");
    expect_tensors("m", NAMES("a", "b", "c"));
    expect_tensors("m/two.safetensors", NAMES("a", "b", "c"));
    expect_tensors("m/consolidated.safetensors", NAMES("other"));
}

static const struct {
    const char *map;
    int rc;
    const char *text;
} bad_indexes[] = {
    {"7", RUVM_ERR_CORRUPT, "m/model.safetensors.index.json: has no weight_map"},
    {"{\"a\":7}", RUVM_ERR_CORRUPT, "a is in no file"},
    {"{\"a\":\"../one.safetensors\",\"b\":\"/etc/passwd\",\"c\":\"..\",\"d\":\"\"}",
     RUVM_ERR_UNSUPPORTED,
     "json: names the file \"../one.safetensors\", accepted: files of the same directory; names "
     "the file \"/etc/passwd\""},
    {"{\"a\":\"one.safetensors\",\"x\":\"three.safetensors\",\"y\":\"four.safetensors\"}",
     RUVM_ERR_IO, "json: three.safetensors is missing; four.safetensors is missing"},
    {"{\"a\":\"one.safetensors\",\"x\":\"one.safetensors\",\"c\":\"one.safetensors\","
     "\"b\":\"two.safetensors\",\"h.0.attn.bias\":\"one.safetensors\"}",
     RUVM_ERR_MISMATCH,
     "json: x is not in one.safetensors; c is not in one.safetensors; b is not in two"},
    {"{\"a\":\"config.json\"}", RUVM_ERR_CORRUPT, "m/config.json: is no safetensors file"},
    {"{\"a\":\"one.safetensors\",\"b\":\"again.safetensors\"}", RUVM_ERR_CORRUPT,
     "m/again.safetensors: b is there twice"},
};

Test(hub, each_fault_of_an_index_is_named)
{
    put_text("m/config.json", "{" LLAMA "}");
    put_tensors("one.safetensors", NAMES("a"));
    put_tensors("m/one.safetensors", NAMES("a", "b"));
    put_tensors("m/two.safetensors", NAMES("c"));
    put_tensors("m/again.safetensors", NAMES("b"));
    for (size_t i = 0; i < COUNT(bad_indexes); i++) {
        put_index(bad_indexes[i].map);
        expect_refusal("m", bad_indexes[i].rc, bad_indexes[i].text);
    }
    put_text("m/model.safetensors.index.json", "{\"weight_map\":");
    expect_refusal("m", RUVM_ERR_CORRUPT, "m/model.safetensors.index.json: is not JSON");
}

Test(hub, what_is_missing_is_said)
{
    expect_refusal("nowhere", RUVM_ERR_IO, "nowhere: is neither a folder nor a file");
    cr_assert_not(ruvm_hub_probe("nowhere"));
    expect_refusal("m", RUVM_ERR_UNSUPPORTED, "m/: holds no config.json");
    put_tensors("m/lonely.safetensors", NAMES("a"));
    cr_assert_not(ruvm_hub_probe("m/lonely.safetensors"));
    cr_assert_eq(remove("m/lonely.safetensors"), 0);
    put_text("m/config.json", "{\"model_type\":\"bert\"}");
    expect_refusal("m", RUVM_ERR_UNSUPPORTED, "m/config.json: model_type is \"bert\"");
    put_text("m/config.json", "{" LLAMA "}");
    cr_assert_not(ruvm_hub_probe("m/config.json"));
    expect_refusal("m", RUVM_ERR_UNSUPPORTED, "m/: holds no weights; expected model.safetensors");
    put_text("m/pytorch_model.bin", "PK");
    expect_refusal("m", RUVM_ERR_UNSUPPORTED, "m/: its weights are a Python pickle");
    put_text("m/model.safetensors", "<html>");
    expect_refusal("m", RUVM_ERR_CORRUPT, "m/model.safetensors: is no safetensors file");
    put("m/model.safetensors", "\xff\0\0\0\0\0\0\0{", 9);
    expect_refusal("m", RUVM_ERR_CORRUPT, "m/model.safetensors: its header has 255 bytes, but");
}

Test(hub, a_tied_head_is_not_looked_at)
{
    put_text("m/config.json", "{" LLAMA ",\"tie_word_embeddings\":true}");
    put_tensors("m/model.safetensors", NAMES("a", "lm_head.weight", "c"));
    expect_tensors("m", NAMES("a", "c"));
    put_text("m/config.json", "{" LLAMA "}");
    expect_tensors("m", NAMES("a", "lm_head.weight", "c"));
}

Test(hub, the_tokenizer_is_found_with_its_template)
{
    struct ruvm_hub hub;
    struct ruvm_error err = {0};
    put_text("m/config.json", "{" LLAMA "}");
    put_tensors("m/model.safetensors", NAMES("a"));
    cr_assert_eq(ruvm_hub_open(&hub, "m", &err), RUVM_OK, "%s", err.text);
    cr_assert(!hub.tokenizer_json && !hub.tokenizer_model && !hub.tokenizer_config);
    cr_assert(!hub.chat_template && hub.add_bos == -1);
    ruvm_hub_close(&hub);
    put_text("m/tokenizer.json", "{}");
    put_text("m/tokenizer_config.json",
             "{\"add_bos_token\":true,\"add_eos_token\":false,\"chat_template\":[{\"name\":"
             "\"tool\",\"template\":\"T\"},{\"name\":\"default\",\"template\":\"D\\n\"}]}");
    cr_assert_eq(ruvm_hub_open(&hub, "m", &err), RUVM_OK, "%s", err.text);
    cr_assert_str_eq(hub.tokenizer_json, "m/tokenizer.json");
    cr_assert_str_eq(hub.tokenizer_config, "m/tokenizer_config.json");
    cr_assert(!hub.tokenizer_model && hub.add_bos == 1);
    cr_assert_str_eq(hub.chat_template, "D\n");
    ruvm_hub_close(&hub);
    put_text("m/tokenizer.model", "x");
    put_text("m/chat_template.jinja", "{{ x }}");
    put_text("m/tokenizer_config.json", "{\"chat_template\":\"old\"}");
    cr_assert_eq(ruvm_hub_open(&hub, "m", &err), RUVM_OK, "%s", err.text);
    cr_assert_str_eq(hub.tokenizer_model, "m/tokenizer.model");
    cr_assert_str_eq(hub.chat_template, "{{ x }}");
    ruvm_hub_close(&hub);
    put_text("m/tokenizer_config.json", "{\"chat_template\":");
    expect_refusal("m", RUVM_ERR_CORRUPT, "m/tokenizer_config.json: is not JSON");
}

/* The caches of Hugging Face's library are folders of links. */
Test(hub, links_are_followed)
{
    put_text("config-blob", "{" LLAMA "}");
    put_tensors("blob", NAMES("a"));
    cr_assert_eq(symlink("../config-blob", "m/config.json"), 0);
    cr_assert_eq(symlink("../blob", "m/model.safetensors"), 0);
    expect_tensors("m", NAMES("a"));
}
