/* Reader of vocab.json and merges.txt: what they leave unsaid is GPT-2's way, so a tokenizer.json
 * is made of them, as Hugging Face's own converter does, and read as any other.
 *
 * Tokens that are special stand in three files, by name or by id; the vocabulary knows the ids.
 */
#include "formats/tokenizer_gpt2.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "formats/tokenizer_json.h"
#include "formats/tokenizer_steps.h"
#include "lib/base/json.h"

enum {
    VOCAB = RUVM_TOKENIZER_GPT2_VOCAB,
    MERGES = RUVM_TOKENIZER_GPT2_MERGES,
    CONFIG = RUVM_TOKENIZER_GPT2_CONFIG,
    SPECIALS = RUVM_TOKENIZER_GPT2_SPECIALS,
    ADDED = RUVM_TOKENIZER_GPT2_ADDED,
    N_FILES = RUVM_TOKENIZER_GPT2_FILES,
};

#define BYTES_MAX ((size_t)64 << 20) /* a tree takes up to 40 times as many */

const char *const ruvm_tokenizer_gpt2_names[N_FILES] = {
    [VOCAB] = "vocab.json",
    [MERGES] = "merges.txt",
    [CONFIG] = "tokenizer_config.json",
    [SPECIALS] = "special_tokens_map.json",
    [ADDED] = "added_tokens.json",
};

struct reader {
    const struct ruvm_tokenizer_gpt2 *files;
    cJSON *tree[N_FILES]; /* NULL: no such file; MERGES: a list of lines */
    cJSON *root;          /* the tokenizer.json that is made */
    struct ruvm_error *err;
};

static int no_memory(struct reader *r)
{
    return ruvm_fail(r->err, RUVM_ERR_MEMORY, "memory is short for a tokenizer");
}

/* ---- the files ---------------------------------------------------------------------- */

static int read_json(struct reader *r, int file)
{
    const uint8_t *data = r->files->file[file].data;
    if (!data && file != VOCAB)
        return RUVM_OK;
    struct ruvm_error err = {0};
    r->tree[file] = ruvm_json_parse(data, r->files->file[file].size, &err);
    if (r->tree[file])
        return RUVM_OK;
    return ruvm_fail(r->err, err.code, "%s: %s", ruvm_tokenizer_gpt2_names[file], err.text);
}

static bool is_merge(const char *line, size_t n)
{
    const char *space = memchr(line, ' ', n);
    return space && space > line && space + 1 < line + n && !memchr(line, '\0', n) &&
           !memchr(space + 1, ' ', (size_t)(line + n - space - 1));
}

/* n is less than the bytes of the file. */
static bool add_merge(cJSON *list, struct ruvm_arena *arena, const char *line, size_t n)
{
    const char *text = ruvm_arena_text(arena, line, n);
    cJSON *item = text ? cJSON_CreateString(text) : NULL;
    return item && cJSON_AddItemToArray(list, item);
}

/* Lines of two texts; "#version" is one line of none, and empty ones say nothing. */
static int read_merges(struct reader *r, struct ruvm_arena *arena)
{
    const char *at = (const char *)r->files->file[MERGES].data;
    const char *end = at + r->files->file[MERGES].size;
    r->tree[MERGES] = cJSON_CreateArray();
    bool ok = r->tree[MERGES] != NULL;
    for (uint32_t number = 1; ok && at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        size_t n = (size_t)(stop - at);
        n -= n > 0 && at[n - 1] == '\r';
        bool says = n > 0 && !(n >= 8 && memcmp(at, "#version", 8) == 0);
        if (says && !is_merge(at, n))
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                             "merges.txt: line %u: is not two texts with a space between them",
                             number);
        ok = !says || add_merge(r->tree[MERGES], arena, at, n);
        at = stop + (stop < end);
    }
    return ok ? RUVM_OK : no_memory(r);
}

/* ---- special tokens ------------------------------------------------------------------- */

static const cJSON *id_of(const struct reader *r, const char *text)
{
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(r->tree[VOCAB], text);
    return id ? id : cJSON_GetObjectItemCaseSensitive(r->tree[ADDED], text);
}

static bool is_listed(const cJSON *list, const char *text)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *content = ruvm_tokenizer_text(item, "content");
        if (content && strcmp(content, text) == 0)
            return true;
    }
    return false;
}

/* What has no id anywhere is no token of the model. */
static bool add_token(struct reader *r, const char *text, bool special)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(r->root, "added_tokens");
    const cJSON *id = text ? id_of(r, text) : NULL;
    if (!id || is_listed(list, text))
        return true;
    cJSON *token = cJSON_CreateObject();
    if (!token || !cJSON_AddItemToArray(list, token)) {
        cJSON_Delete(token);
        return false;
    }
    return cJSON_AddItemToObject(token, "id", cJSON_Duplicate(id, false)) &&
           cJSON_AddStringToObject(token, "content", text) &&
           cJSON_AddBoolToObject(token, "special", special);
}

/* A text, or an object that holds it. */
static const char *content_of(const cJSON *item)
{
    return cJSON_IsString(item) ? item->valuestring : ruvm_tokenizer_text(item, "content");
}

/* The tokens that an object names by their office. */
static bool add_named(struct reader *r, const cJSON *object)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                        "sep_token", "cls_token", "mask_token"};
    const cJSON *item;
    bool ok = true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ok = ok &&
             add_token(r, content_of(cJSON_GetObjectItemCaseSensitive(object, names[i])), true);
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(object, "additional_special_tokens"))
    {
        ok = ok && add_token(r, content_of(item), true);
    }
    return ok;
}

static bool add_tokens(struct reader *r)
{
    const cJSON *item;
    bool ok = cJSON_AddArrayToObject(r->root, "added_tokens") && add_named(r, r->tree[SPECIALS]) &&
              add_named(r, r->tree[CONFIG]);
    cJSON_ArrayForEach(item,
                       cJSON_GetObjectItemCaseSensitive(r->tree[CONFIG], "added_tokens_decoder"))
    {
        ok = ok && add_token(r, content_of(item), ruvm_tokenizer_flag(item, "special", false));
    }
    cJSON_ArrayForEach(item, r->tree[ADDED])
    {
        ok = ok && add_token(r, item->string, false);
    }
    return ok;
}

/* ---- what the files do not say ----------------------------------------------------------- */

/* Others have such files, too, and use them in another way: RoBERTa, Qwen2, BART. */
static int check_class(struct reader *r)
{
    static const char *const known[] = {"GPT2Tokenizer", "GPT2TokenizerFast", "CodeGenTokenizer",
                                        "CodeGenTokenizerFast"};
    const char *class = ruvm_tokenizer_text(r->tree[CONFIG], "tokenizer_class");
    bool is_known = class == NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        is_known = is_known || strcmp(class, known[i]) == 0;
    if (!is_known)
        return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED,
                         "tokenizer_config.json: tokenizer_class is %.60s: vocab.json and "
                         "merges.txt are read as GPT-2's and CodeGen's; save the tokenizer as "
                         "tokenizer.json",
                         class);
    if (ruvm_tokenizer_flag(r->tree[CONFIG], "add_prefix_space", false))
        return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED,
                         "tokenizer_config.json: add_prefix_space is not supported");
    return RUVM_OK;
}

static bool add_model(struct reader *r)
{
    cJSON *model = cJSON_AddObjectToObject(r->root, "model");
    if (!model || !cJSON_AddStringToObject(model, "type", "BPE") ||
        !cJSON_AddItemToObject(model, "vocab", r->tree[VOCAB]))
        return false;
    r->tree[VOCAB] = NULL; /* it is the model's now */
    bool ok = cJSON_AddItemToObject(model, "merges", r->tree[MERGES]);
    r->tree[MERGES] = ok ? NULL : r->tree[MERGES];
    return ok;
}

static bool compose(struct reader *r)
{
    r->root = cJSON_CreateObject();
    cJSON *words = r->root ? cJSON_AddObjectToObject(r->root, "pre_tokenizer") : NULL;
    return words && cJSON_AddStringToObject(words, "type", "ByteLevel") &&
           cJSON_AddFalseToObject(words, "add_prefix_space") && add_tokens(r) && add_model(r);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int read_all(struct reader *r, struct ruvm_arena *arena, size_t *bytes)
{
    int rc = RUVM_OK;
    for (int i = 0; i < N_FILES && rc == RUVM_OK; i++) {
        *bytes += r->files->file[i].size;
        if (r->files->file[i].size > BYTES_MAX)
            return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED, "%s: has %zu bytes, expected up to %zu",
                             ruvm_tokenizer_gpt2_names[i], r->files->file[i].size, BYTES_MAX);
        rc = i == MERGES ? read_merges(r, arena) : read_json(r, i);
    }
    return rc;
}

int ruvm_tokenizer_gpt2_read(struct ruvm_vocab *v, struct ruvm_arena *arena,
                             const struct ruvm_tokenizer_gpt2 *files, struct ruvm_error *err)
{
    struct reader r = {.files = files, .err = err};
    size_t bytes = 0;
    int rc = read_all(&r, arena, &bytes);
    if (rc == RUVM_OK)
        rc = check_class(&r);
    if (rc == RUVM_OK && !compose(&r))
        rc = no_memory(&r);
    if (rc == RUVM_OK) {
        rc = ruvm_tokenizer_json_tree(v, arena, r.root, bytes, err);
        if (rc != RUVM_OK)
            ruvm_error_prefix(err, "vocab.json and merges.txt");
    }
    for (int i = 0; i < N_FILES; i++)
        cJSON_Delete(r.tree[i]);
    cJSON_Delete(r.root);
    return rc;
}
