/* One network from every container: the same image; what comes with it and what is missing. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "formats/ruvm_read.h"
#include "lib/base/crc32.h"
#include "lib/base/file.h"
#include "lib/convert/engine_open.h"
#include "lib/import/source.h"
#include "lib/ruvm_tool.h"
#include "tests/support/container_files.h"
#include "tests/support/onnx_gpt.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_models.h"

static const char tokenizer[] = "tests/fuzz/corpus/tokenizer_json/llama2";
static const char other_tokenizer[] = "tests/fuzz/corpus/sentencepiece/bpe";

static uint32_t pieces_of(const char *path)
{
    struct ruvm_arena arena = {0};
    struct ruvm_vocab_file file = {0};
    struct ruvm_vocab vocab;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_vocab_open(&vocab, &file, &arena, path, &err), RUVM_OK, "%s", err.text);
    uint32_t n = vocab.n_pieces;
    ruvm_vocab_close(&file);
    ruvm_arena_free(&arena);
    return n;
}

static struct ruvm_source open_source(const char *path, const char *with)
{
    struct ruvm_source s;
    struct ruvm_error err = {0};
    struct ruvm_source_options o = {.path = path, .tokenizer = with};
    cr_assert_eq(ruvm_source_open(&s, &o, &err), RUVM_OK, "%s", err.text);
    return s;
}

static void refuse(const struct ruvm_source_options *o, int code, const char *part)
{
    struct ruvm_source s;
    struct ruvm_error err = {0};
    int rc = ruvm_source_open(&s, o, &err);
    cr_assert_eq(rc, code, "%d %s", rc, err.text);
    cr_assert(strstr(err.text, part), "\"%s\" does not say \"%s\"", err.text, part);
    cr_assert_null(s.container.path);
}

/* ---- images ------------------------------------------------------------------------ */

/* The golden vectors in the image, run again. */
static void verify(const struct ruvm_map *map)
{
    struct ruvm_arena arena = {0};
    struct ruvm_engine *engine;
    struct ruvm_verify_result result;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_engine_open(&engine, &arena, map->data, map->size, NULL, &err), RUVM_OK, "%s",
                 err.text);
    cr_expect_eq(ruvm_engine_verify(engine, &result), RUVM_OK);
    ruvm_arena_free(&arena);
}

/* Of all that is not about the source: each section's name and CRC, and the shape. */
static uint32_t image_crc(const char *path)
{
    struct ruvm_map map;
    struct ruvm_image img;
    cr_assert_eq(ruvm_file_map(&map, path, NULL), RUVM_OK);
    cr_assert_eq(ruvm_image_open(&img, map.data, map.size, NULL), RUVM_OK);
    verify(&map);
    uint32_t crc = ruvm_crc32(0, map.data, 14);
    for (unsigned i = 0; i < img.n_sections; i++) {
        struct ruvm_section s = ruvm_image_section(&img, i);
        if (strcmp(s.name, RUVM_SEC_META) == 0)
            continue;
        crc = ruvm_crc32(crc, s.name, 4);
        crc = ruvm_crc32(crc, s.data, s.size);
    }
    ruvm_file_unmap(&map);
    return crc;
}

static uint32_t quantize(const char *input, const char *with, const char *type, double *kl)
{
    const char *output = tiny_path();
    struct ruvm_quantize_options o = {.input = input,
                                      .output = output,
                                      .tokenizer = with,
                                      .type = type,
                                      .no_quality = !kl,
                                      .eval_tokens = 512};
    struct ruvm_quantize_result r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_quantize(&o, &r, &err), RUVM_OK, "%s", err.text);
    if (kl)
        *kl = r.quality.kl_mean;
    ruvm_quantize_free(&r);
    uint32_t crc = image_crc(output);
    unlink(output);
    return crc;
}

Test(source, each_container_gives_the_same_image)
{
    static const char *const types[] = {NULL, "int4:16"};
    unsigned vocab = pieces_of(tokenizer);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        uint32_t first = 0;
        for (int c = 0; c < N_CONTAINERS; c++) {
            const char *path = container_write((enum container)c, vocab, NULL);
            uint32_t crc = quantize(path, tokenizer, types[i], NULL);
            first = c == 0 ? crc : first;
            cr_expect_eq(crc, first, "container %d", c);
        }
    }
}

Test(source, with_no_tokenizer_as_well)
{
    uint32_t first = quantize(container_write(0, 37, NULL), NULL, NULL, NULL);
    for (int c = 1; c < N_CONTAINERS; c++)
        cr_expect_eq(quantize(container_write((enum container)c, 37, NULL), NULL, NULL, NULL),
                     first, "container %d", c);
}

/* ---- networks ------------------------------------------------------------------------ */

Test(source, six_networks_from_their_folders)
{
    for (int n = 0; n < TINY_NETWORKS; n++) {
        struct ruvm_arena arena = {0};
        struct ruvm_tensors t = tiny_models_make(&arena, n, TINY_HUGGING_FACE, 1);
        const char *folder = container_folder(), *shards = container_folder();
        double kl;
        container_text(folder, "config.json", tiny_network_config(n));
        container_text(shards, "config.json", tiny_network_config(n));
        container_safetensors(folder, "weights.safetensors", t.views, t.n_views);
        container_sharded(shards, &t);
        uint32_t crc = quantize(folder, NULL, "int8", &kl);
        cr_expect_lt(kl, 0.005, "%s: %g", tiny_network_name(n), kl);
        cr_expect_eq(quantize(shards, NULL, "int8", NULL), crc, "%s", tiny_network_name(n));
        ruvm_arena_free(&arena);
    }
}

/* The folder of one with weights in a graph instead. */
static const char *onnx_folder(int n, const struct ruvm_tensors *t, bool operators)
{
    const char *folder = container_folder(), *path = container_path(folder, "model.onnx");
    struct onnx_gpt g = {.network = n, .t = t, .operators = operators, .slices = operators};
    struct ruvm_buffer file = onnx_gpt_write(&g);
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(file.data, 1, file.size, f) == file.size);
    fclose(f);
    ruvm_buffer_free(&file);
    container_text(folder, "config.json", tiny_network_config(n));
    return path;
}

Test(source, three_networks_from_a_folder_and_from_onnx_are_one_image)
{
    for (int n = TINY_GPT2; n <= TINY_GPT_NEOX; n++) {
        struct ruvm_arena arena = {0};
        struct ruvm_tensors t = tiny_models_make(&arena, n, TINY_HUGGING_FACE, 1);
        const char *folder = container_folder();
        container_text(folder, "config.json", tiny_network_config(n));
        container_safetensors(folder, "weights.safetensors", t.views, t.n_views);
        uint32_t crc = quantize(folder, NULL, "int8", NULL);
        for (int i = 0; i < 2; i++)
            cr_expect_eq(quantize(onnx_folder(n, &t, i), NULL, "int8", NULL), crc, "%s",
                         tiny_network_name(n));
        ruvm_arena_free(&arena);
    }
}

/* ---- tokenizers ------------------------------------------------------------------------ */

Test(source, the_tokenizer_beside_the_weights_is_taken)
{
    unsigned vocab = pieces_of(tokenizer);
    for (int c = CONTAINER_HUB; c < N_CONTAINERS; c++) {
        if (c == CONTAINER_GGUF)
            continue;
        const char *path = container_write((enum container)c, vocab, tokenizer);
        struct ruvm_source s = open_source(path, NULL);
        cr_expect(s.has_vocab && s.vocab.n_pieces == vocab && s.vocab.bos == 1);
        cr_expect_eq(ruvm_source_start(&s), 1);
        ruvm_source_close(&s);
        s = open_source(path, "none");
        cr_expect(!s.has_vocab);
        ruvm_source_close(&s);
    }
}

Test(source, a_tokenizer_in_a_gguf_file_is_taken)
{
    static const char gguf[] = "tests/fuzz/corpus/gguf_vocab/llama";
    unsigned vocab = pieces_of(gguf);
    const char *path = container_write(CONTAINER_GGUF, vocab, NULL);
    struct ruvm_source s = open_source(path, NULL);
    cr_expect(!s.has_vocab);
    ruvm_source_close(&s);
    s = open_source(path, gguf);
    cr_expect(s.has_vocab && s.vocab.n_pieces == vocab);
    ruvm_source_close(&s);
}

/* GPT-2's own files, in the model's folder and in one that a person names. */
Test(source, the_pair_of_gpt2_is_a_tokenizer)
{
    static const char letters[] = "{\"a\":0,\"b\":1,\"ab\":2,\"<|endoftext|>\":3}";
    const char *folder = container_write(CONTAINER_HUB, 4, NULL);
    container_text(folder, "vocab.json", letters);
    struct ruvm_source s = open_source(folder, NULL);
    cr_expect(!s.has_vocab, "half of the pair is none");
    ruvm_source_close(&s);
    container_text(folder, "merges.txt", "#version: 0.2\na b\n");
    container_text(folder, "tokenizer_config.json",
                   "{\"tokenizer_class\":\"GPT2Tokenizer\",\"eos_token\":\"<|endoftext|>\"}");
    for (int named = 0; named < 2; named++) {
        s = open_source(folder, named ? folder : NULL);
        cr_expect(s.has_vocab && s.vocab.n_pieces == 4 &&
                      s.vocab.pieces[3].kind == RUVM_PIECE_CONTROL,
                  "%d %u %u", s.has_vocab, s.vocab.n_pieces, s.vocab.eos);
        cr_expect(s.vocab.options & RUVM_TOKN_BYTE_LEVEL);
        ruvm_source_close(&s);
    }
    container_text(folder, "merges.txt", "a b\nb\n");
    refuse(&(struct ruvm_source_options){.path = folder}, RUVM_ERR_CORRUPT, "merges.txt: line 2: ");
}

Test(source, a_given_tokenizer_counts_more)
{
    unsigned vocab = pieces_of(tokenizer), other = pieces_of(other_tokenizer);
    unsigned most = vocab > other ? vocab : other;
    const char *path = container_write(CONTAINER_HUB, most + 3, tokenizer);
    struct ruvm_source a = open_source(path, NULL), b = open_source(path, other_tokenizer);
    cr_assert_neq(a.vocab.kind == b.vocab.kind && vocab == other, true);
    cr_expect_eq(a.vocab.n_pieces, most + 3, "rows without a piece are filled");
    for (uint32_t i = vocab; i < most + 3; i++)
        cr_expect(a.vocab.pieces[i].kind == RUVM_PIECE_CONTROL && a.vocab.pieces[i].n_bytes == 0);
    ruvm_source_close(&a);
    ruvm_source_close(&b);
    const char *folder = container_folder();
    container_copy(folder, "tokenizer.model", other_tokenizer);
    a = open_source(path, folder);
    cr_expect(a.has_vocab, "a folder will do");
    ruvm_source_close(&a);
}

Test(source, more_pieces_than_rows_are_a_mismatch)
{
    const char *path = container_write(CONTAINER_HUB, pieces_of(tokenizer) - 1, tokenizer);
    refuse(&(struct ruvm_source_options){.path = path}, RUVM_ERR_MISMATCH, "the tokenizer has");
}

Test(source, the_template_of_a_conversation_stays)
{
    const char *folder = container_write(CONTAINER_HUB, pieces_of(tokenizer), tokenizer);
    container_text(folder, "tokenizer_config.json", "{\"chat_template\":\"{{ a }}\"}");
    struct ruvm_source s = open_source(folder, NULL);
    cr_assert_str_eq(s.vocab.chat, "{{ a }}");
    ruvm_source_close(&s);
    container_text(folder, "chat_template.jinja", "{{ b }}");
    s = open_source(folder, NULL);
    cr_assert_str_eq(s.vocab.chat, "{{ b }}");
    ruvm_source_close(&s);
}

Test(source, a_text_begins_as_the_configuration_says)
{
    const char *path = container_write(CONTAINER_HUB, 37, NULL);
    struct ruvm_source s = open_source(path, NULL);
    cr_expect(!s.has_vocab && ruvm_source_start(&s) == 1);
    for (size_t i = 0; i < s.tensors.n_meta; i++)
        if (strcmp(s.tensors.meta[i].key, "bos") == 0)
            s.tensors.meta[i].number = 36;
    cr_expect_eq(ruvm_source_start(&s), 36);
    ruvm_source_close(&s);
}

/* ---- files --------------------------------------------------------------------------- */

Test(source, a_file_of_a_folder_opens_it)
{
    const char *folder = container_write(CONTAINER_SHARDED_HUB, 37, NULL);
    struct ruvm_source a = open_source(folder, NULL);
    struct ruvm_source b = open_source(container_path(folder, "b.safetensors"), NULL);
    uint64_t bytes = 0;
    uint32_t crc = 0;
    for (int i = 0; i < 2; i++) {
        struct ruvm_map map;
        const char *name = i ? "b.safetensors" : "a.safetensors";
        cr_assert_eq(ruvm_file_map(&map, container_path(folder, name), NULL), RUVM_OK);
        bytes += map.size;
        crc = ruvm_crc32(crc, map.data, map.size);
        ruvm_file_unmap(&map);
    }
    cr_expect_eq(ruvm_container_bytes(&a.container), bytes);
    cr_expect_eq(ruvm_container_crc32(&a.container), crc);
    cr_expect_eq(ruvm_container_crc32(&b.container), crc);
    ruvm_source_close(&a);
    ruvm_source_close(&b);
}

Test(source, data_beside_a_graph_counts)
{
    const char *path = container_write(CONTAINER_ONNX_EXTERNAL, 37, NULL), *name;
    struct ruvm_source s = open_source(path, NULL);
    cr_expect(ruvm_container_file(&s.container, 0, &name) && strcmp(name, "model.onnx") == 0);
    cr_expect(ruvm_container_file(&s.container, 1, &name) && strcmp(name, "model.onnx_data") == 0);
    cr_expect_null(ruvm_container_file(&s.container, 2, &name));
    ruvm_source_close(&s);
}

Test(source, what_is_missing_is_named)
{
    const char *folder = container_write(CONTAINER_HUB, 37, NULL);
    const char *file = container_path(folder, "model.safetensors");
    unlink(container_path(folder, "config.json"));
    refuse(&(struct ruvm_source_options){.path = file}, RUVM_ERR_UNSUPPORTED,
           "config.json is missing beside it");
    refuse(&(struct ruvm_source_options){.path = folder}, RUVM_ERR_UNSUPPORTED,
           "holds no config.json");
    refuse(&(struct ruvm_source_options){.path = container_folder()}, RUVM_ERR_UNSUPPORTED,
           "holds no config.json");
    refuse(&(struct ruvm_source_options){.path = tokenizer}, RUVM_ERR_UNSUPPORTED,
           "accepted are a Hugging Face folder");
    refuse(&(struct ruvm_source_options){.path = "tests/golden/golden.ruvm"}, RUVM_ERR_UNSUPPORTED,
           "already quantized");
    refuse(&(struct ruvm_source_options){.path = "no/such/file"}, RUVM_ERR_IO, "cannot open");
}

Test(source, a_context_beyond_an_image_must_be_cut)
{
    const char *folder = container_write(CONTAINER_HUB, 37, NULL);
    static char config[600];
    struct ruvm_map map;
    const char *path = container_path(folder, "config.json");
    cr_assert_eq(ruvm_file_map(&map, path, NULL), RUVM_OK);
    const char *key = "\"max_position_embeddings\":";
    snprintf(config, sizeof config, "%.*s", (int)map.size, (const char *)map.data);
    ruvm_file_unmap(&map);
    char *at = strstr(config, key) + strlen(key), *rest = strchr(at, ','), tail[300];
    snprintf(tail, sizeof tail, "%s", rest);
    snprintf(at, sizeof config - (size_t)(at - config), "131072%s", tail);
    container_text(folder, "config.json", config);
    refuse(&(struct ruvm_source_options){.path = folder}, RUVM_ERR_UNSUPPORTED, "--ctx");
    struct ruvm_source s;
    struct ruvm_source_options o = {.path = folder, .context = 256};
    cr_assert_eq(ruvm_source_open(&s, &o, NULL), RUVM_OK);
    cr_assert_eq(s.model.context, 256);
    ruvm_source_close(&s);
}
