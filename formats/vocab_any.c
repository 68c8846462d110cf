/* A tokenizer file of any kind, known by its content; and what stands beside it in a
 * tokenizer_config.json.
 */
#include <cjson/cJSON.h>
#include <string.h>

#include "formats/formats.h"
#include "formats/gguf_vocab.h"
#include "formats/sentencepiece.h"
#include "formats/tokenizer_json.h"
#include "formats/tokenizer_steps.h"
#include "lib/base/bytes.h"

static int read_gguf(struct ruvm_vocab *v, struct ruvm_arena *arena, const uint8_t *data,
                     size_t size, struct ruvm_error *err)
{
    struct ruvm_gguf g;
    int rc = ruvm_gguf_open(&g, arena, data, size, err);
    return rc == RUVM_OK ? ruvm_gguf_vocab_read(v, arena, &g, err) : rc;
}

/* The length of the longest piece, then the score and the text of the unknown token. */
static bool is_llama2c(const uint8_t *data, size_t size)
{
    return size > 17 && ruvm_load_u32(data + 8) == 5 && memcmp(data + 12, "<unk>", 5) == 0;
}

/* The strongest magic first. */
static const struct {
    const char *name;
    bool (*probe)(const uint8_t *data, size_t size);
    int (*read)(struct ruvm_vocab *vocab, struct ruvm_arena *arena, const uint8_t *data,
                size_t size, struct ruvm_error *err);
} readers[] = {
    {"GGUF model", ruvm_gguf_probe, read_gguf},
    {"llama2.c tokenizer.bin", is_llama2c, ruvm_vocab_read},
    {"SentencePiece tokenizer.model", ruvm_sentencepiece_probe, ruvm_sentencepiece_read},
    {"Hugging Face tokenizer.json", ruvm_tokenizer_json_probe, ruvm_tokenizer_json_read},
};
enum { N_READERS = sizeof readers / sizeof *readers };

static size_t reader_of(const uint8_t *data, size_t size)
{
    size_t i = 0;
    while (i < N_READERS && !readers[i].probe(data, size))
        i++;
    return i;
}

const char *ruvm_vocab_probe(const uint8_t *data, size_t size)
{
    size_t i = reader_of(data, size);
    return i < N_READERS ? readers[i].name : NULL;
}

/* Without a magic a llama2.c tokenizer is known by reading it whole. */
int ruvm_vocab_read_any(struct ruvm_vocab *v, struct ruvm_arena *arena, const uint8_t *data,
                        size_t size, struct ruvm_error *err)
{
    size_t i = reader_of(data, size);
    if (i == N_READERS)
        return ruvm_vocab_read(v, arena, data, size, err);
    int rc = readers[i].read(v, arena, data, size, err);
    if (rc != RUVM_OK && readers[i].read != ruvm_vocab_read) /* which says its name when it helps */
        ruvm_error_prefix(err, readers[i].name);
    return rc;
}

/* ---- tokenizer_config.json -------------------------------------------------------------- */

/* A token is a text, or an object with its text. */
static uint32_t token_of(const struct ruvm_vocab *v, const cJSON *root, const char *name)
{
    const char *text = ruvm_tokenizer_text(root, name);
    if (!text)
        text = ruvm_tokenizer_text(cJSON_GetObjectItemCaseSensitive(root, name), "content");
    size_t n = text ? strlen(text) : 0;
    for (uint32_t i = 0; n > 0 && i < v->n_pieces; i++)
        if (v->pieces[i].n_bytes == n && memcmp(v->pieces[i].text, text, n) == 0)
            return i;
    return RUVM_VOCAB_NONE;
}

/* A text, or a list of texts with names, of which "default" is the one to talk with. */
static const char *chat_of(const cJSON *root)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "chat_template"), *item;
    const char *only = ruvm_tokenizer_text(root, "chat_template");
    if (only)
        return only;
    cJSON_ArrayForEach(item, list)
    {
        const char *name = ruvm_tokenizer_text(item, "name");
        if (name && strcmp(name, "default") == 0)
            return ruvm_tokenizer_text(item, "template");
    }
    return NULL;
}

int ruvm_vocab_read_config(struct ruvm_vocab *v, struct ruvm_arena *arena, const uint8_t *data,
                           size_t size, struct ruvm_error *err)
{
    cJSON *root = cJSON_ParseWithLength((const char *)data, size);
    int rc = RUVM_OK;
    if (!cJSON_IsObject(root)) {
        cJSON_Delete(root);
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "is not a JSON object");
    }
    ruvm_vocab_configure(v, token_of(v, root, "bos_token"), token_of(v, root, "eos_token"));
    v->add_bos =
        ruvm_tokenizer_flag(root, "add_bos_token", v->add_bos) && v->bos != RUVM_VOCAB_NONE;
    const char *chat = chat_of(root);
    if (chat) {
        v->chat = ruvm_arena_text(arena, chat, strlen(chat));
        if (!v->chat)
            rc = ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a chat template");
    }
    cJSON_Delete(root);
    return rc;
}
