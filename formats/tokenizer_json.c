/* Reader of Hugging Face's tokenizer.json: its model and its added tokens; the pipeline
 * around the model is read by tokenizer_steps.c.
 *
 * The JSON is parsed into a tree and walked three times: to find the highest id, to fill
 * the pieces, and for the merges. All texts are copied into one stretch of memory that
 * holds as many bytes as the file, which are more than its strings can need.
 */
#define _GNU_SOURCE /* memmem */
#include "formats/tokenizer_json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/tokenizer_steps.h"

struct reader {
    struct ruvm_vocab *v;
    struct ruvm_arena *arena;
    const cJSON *root, *model;
    struct ruvm_tokenizer_steps steps;
    bool unigram, byte_fallback;
    uint8_t *room; /* for texts; the next free byte */
    uint8_t *room_end;
    size_t size; /* of the file */
    struct ruvm_error *err;
};

/* ---- parts of the file -------------------------------------------------------------- */

static int check_model(struct reader *r)
{
    const char *type = ruvm_tokenizer_text(r->model, "type");
    bool has_merges = cJSON_GetObjectItemCaseSensitive(r->model, "merges") != NULL;
    r->unigram = type ? strcmp(type, "Unigram") == 0 : false;
    if (type ? !r->unigram && strcmp(type, "BPE") != 0 : !has_merges)
        ruvm_tokenizer_line(&r->steps.problems, "a model of type %.60s", type ? type : "unknown");
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof affixes / sizeof *affixes; i++) {
        const char *text = ruvm_tokenizer_text(r->model, affixes[i]);
        if (text && *text)
            ruvm_tokenizer_line(&r->steps.problems, "%s \"%.40s\"", affixes[i], text);
    }
    bool whole = ruvm_tokenizer_flag(r->model, "ignore_merges", false);
    if (whole && !r->steps.byte_level)
        ruvm_tokenizer_line(&r->steps.problems, "ignore_merges without ByteLevel");
    if (r->unigram && r->steps.byte_level)
        ruvm_tokenizer_line(&r->steps.problems, "Unigram with ByteLevel");
    r->byte_fallback = ruvm_tokenizer_flag(r->model, "byte_fallback", false);
    if (whole)
        r->steps.options |= RUVM_TOKN_WHOLE_WORDS;
    if (r->unigram || ruvm_tokenizer_flag(r->model, "fuse_unk", false))
        r->steps.options |= RUVM_TOKN_FUSE_UNKNOWN;
    if (r->steps.problems.n == 0)
        return RUVM_OK;
    return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED, "tokenizer.json has what is not supported:\n%s",
                     r->steps.problems.text);
}

/* A whole number of the JSON below the limit, or -1. */
static int64_t id_of(const cJSON *item)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble >= RUVM_VOCAB_MAX ||
        floor(item->valuedouble) != item->valuedouble)
        return -1;
    return (int64_t)item->valuedouble;
}

static int note_id(struct reader *r, const cJSON *item, const char *text)
{
    int64_t id = id_of(item);
    if (id < 0)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "token \"%.80s\" has no id from 0 to %d", text,
                         RUVM_VOCAB_MAX - 1);
    if ((uint64_t)id >= r->v->n_pieces)
        r->v->n_pieces = (uint32_t)id + 1;
    return RUVM_OK;
}

/* How many pieces there are; a file cannot name more tokens than it has bytes. */
static int count_pieces(struct reader *r)
{
    const cJSON *vocab = cJSON_GetObjectItemCaseSensitive(r->model, "vocab"), *item;
    int rc = RUVM_OK;
    if (r->unigram ? !cJSON_IsArray(vocab) : !cJSON_IsObject(vocab))
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "model.vocab is not what this model needs");
    if (r->unigram)
        r->v->n_pieces = (uint32_t)cJSON_GetArraySize(vocab);
    else
        cJSON_ArrayForEach(item, vocab)
        {
            if (rc == RUVM_OK)
                rc = note_id(r, item, item->string);
        }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(r->root, "added_tokens"))
    {
        const char *text = ruvm_tokenizer_text(item, "content");
        if (rc == RUVM_OK)
            rc = note_id(r, cJSON_GetObjectItemCaseSensitive(item, "id"), text ? text : "");
    }
    if (rc == RUVM_OK && (r->v->n_pieces == 0 || r->v->n_pieces > r->size))
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "%u tokens in a file of %zu bytes",
                         r->v->n_pieces, r->size);
    return rc;
}

static int make_room(struct reader *r)
{
    r->v->pieces = ruvm_arena_alloc(r->arena, r->v->n_pieces, sizeof *r->v->pieces);
    r->room = ruvm_arena_alloc(r->arena, r->size, 1);
    if (!r->v->pieces || !r->room)
        return ruvm_fail(r->err, RUVM_ERR_MEMORY, "no memory for %u pieces", r->v->n_pieces);
    r->room_end = r->room + r->size;
    for (uint32_t i = 0; i < r->v->n_pieces; i++) /* ids that the file leaves out */
        r->v->pieces[i] = (struct ruvm_piece){.text = r->room, .kind = RUVM_PIECE_CONTROL};
    return RUVM_OK;
}

/* ---- texts ------------------------------------------------------------------------------ */

/* Copies n bytes, as they are or as the bytes that they stand for. */
static int take_text(struct reader *r, struct ruvm_vocab_text *to, const char *text, size_t n,
                     bool raw)
{
    const uint8_t *from = (const uint8_t *)text;
    if (n > (size_t)(r->room_end - r->room))
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "texts are longer than the file");
    int bytes = !raw && r->steps.byte_level ? ruvm_vocab_letters(r->room, from, (uint32_t)n) : -1;
    to->text = r->room;
    if (!raw && r->steps.metaspace) {
        to->n = ruvm_vocab_spaces(r->room, from, (uint32_t)n);
    } else if (bytes >= 0) {
        to->n = (uint32_t)bytes;
    } else { /* a token that is not made of letters stands for itself */
        memcpy(r->room, text, n);
        to->n = (uint32_t)n;
    }
    r->room += to->n;
    return RUVM_OK;
}

static int take_piece(struct reader *r, struct ruvm_piece *p, const char *text, double score)
{
    struct ruvm_vocab_text t = {0};
    int rc = take_text(r, &t, text, strlen(text), false);
    int byte = r->byte_fallback ? ruvm_vocab_byte((const uint8_t *)text, strlen(text)) : -1;
    if (rc != RUVM_OK)
        return rc;
    *p = (struct ruvm_piece){.text = t.text, .n_bytes = t.n, .score = (float)score};
    if (t.n == 0)
        p->kind = RUVM_PIECE_CONTROL;
    if (byte >= 0)
        ruvm_vocab_set_byte(p, byte);
    return RUVM_OK;
}

/* ---- pieces ------------------------------------------------------------------------------- */

static int read_bpe(struct reader *r)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(r->model, "vocab"))
    {
        struct ruvm_piece *p = &r->v->pieces[id_of(item)];
        if (p->kind != RUVM_PIECE_CONTROL || p->n_bytes > 0)
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "two tokens have the id %d", item->valueint);
        int rc = take_piece(r, p, item->string, 0);
        if (rc != RUVM_OK)
            return rc;
    }
    return RUVM_OK;
}

static int read_unigram(struct reader *r)
{
    const cJSON *item;
    struct ruvm_piece *p = r->v->pieces;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(r->model, "vocab"))
    {
        const cJSON *text = cJSON_GetArrayItem(item, 0), *score = cJSON_GetArrayItem(item, 1);
        if (!cJSON_IsString(text) || !cJSON_IsNumber(score))
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                             "token %zu of model.vocab is not a text and a score",
                             (size_t)(p - r->v->pieces));
        int rc = take_piece(r, p++, text->valuestring, score->valuedouble);
        if (rc != RUVM_OK)
            return rc;
    }
    return RUVM_OK;
}

static void note_added(struct reader *r, const cJSON *item, const char *text)
{
    if (ruvm_tokenizer_flag(item, "lstrip", false) || ruvm_tokenizer_flag(item, "rstrip", false))
        ruvm_vocab_note(r->v, r->arena, "\"%.60s\" does not take the spaces beside it along", text);
    if (ruvm_tokenizer_flag(item, "single_word", false))
        ruvm_vocab_note(r->v, r->arena, "\"%.60s\" is found within words, too", text);
}

static int read_added(struct reader *r)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(r->root, "added_tokens"))
    {
        const char *text = ruvm_tokenizer_text(item, "content");
        struct ruvm_piece *p = &r->v->pieces[id_of(cJSON_GetObjectItemCaseSensitive(item, "id"))];
        struct ruvm_vocab_text t = {0};
        if (!text)
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "an added token has no content");
        int rc = take_text(r, &t, text, strlen(text), true);
        if (rc != RUVM_OK)
            return rc;
        bool special = ruvm_tokenizer_flag(item, "special", false);
        *p = (struct ruvm_piece){.text = t.text,
                                 .n_bytes = t.n,
                                 .score = p->score,
                                 .kind = special ? RUVM_PIECE_CONTROL : RUVM_PIECE_ADDED};
        note_added(r, item, text);
    }
    return RUVM_OK;
}

/* ---- merges --------------------------------------------------------------------------------- */

/* The two texts of a merge: "a b", or ["a", "b"]. */
static int take_merge(struct reader *r, const cJSON *item, struct ruvm_vocab_text parts[2])
{
    const cJSON *a = cJSON_GetArrayItem(item, 0), *b = cJSON_GetArrayItem(item, 1);
    const char *left = cJSON_IsString(a) ? a->valuestring : item->valuestring;
    const char *right = cJSON_IsString(b) ? b->valuestring : NULL;
    size_t n = left ? strlen(left) : 0;
    if (cJSON_IsString(item)) {
        const char *space = strchr(left, ' ');
        n = space ? (size_t)(space - left) : 0;
        right = space ? space + 1 : NULL;
    }
    if (!left || !right || n == 0 || !*right)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "a merge is not two texts");
    int rc = take_text(r, &parts[0], left, n, false);
    return rc == RUVM_OK ? take_text(r, &parts[1], right, strlen(right), false) : rc;
}

static int read_merges(struct reader *r)
{
    const cJSON *merges = cJSON_GetObjectItemCaseSensitive(r->model, "merges"), *item;
    uint32_t n = (uint32_t)cJSON_GetArraySize(merges), i = 0;
    struct ruvm_vocab_text *parts = calloc(2 * (size_t)n + 1, sizeof *parts);
    int rc = parts ? RUVM_OK : ruvm_fail(r->err, RUVM_ERR_MEMORY, "no memory for %u merges", n);
    cJSON_ArrayForEach(item, merges)
    {
        if (rc == RUVM_OK)
            rc = take_merge(r, item, parts + 2 * (size_t)i++);
    }
    if (rc == RUVM_OK)
        rc = ruvm_vocab_set_merges(r->v, r->arena, parts, n, r->err);
    free(parts);
    return rc == RUVM_OK ? ruvm_vocab_simplify(r->v, r->err) : rc;
}

/* ---- the whole ----------------------------------------------------------------------------------
 */

static uint32_t find(const struct ruvm_vocab *v, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    for (uint32_t i = 0; text && i < v->n_pieces; i++)
        if (v->pieces[i].n_bytes == n && memcmp(v->pieces[i].text, text, n) == 0)
            return i;
    return RUVM_VOCAB_NONE;
}

static void set_ids(struct reader *r)
{
    struct ruvm_vocab *v = r->v;
    int64_t unk = id_of(cJSON_GetObjectItemCaseSensitive(r->model, "unk_id"));
    v->unk = r->unigram ? (unk >= 0 && unk < v->n_pieces ? (uint32_t)unk : RUVM_VOCAB_NONE)
                        : find(v, ruvm_tokenizer_text(r->model, "unk_token"));
    if (v->unk < v->n_pieces)
        v->pieces[v->unk].kind = RUVM_PIECE_CONTROL;
    v->bos = find(v, r->steps.bos);
    v->eos = RUVM_VOCAB_NONE;
    ruvm_vocab_guess_ends(v);
}

static int read_model(struct reader *r)
{
    struct ruvm_vocab *v = r->v;
    *v =
        (struct ruvm_vocab){.bos = RUVM_VOCAB_NONE, .eos = RUVM_VOCAB_NONE, .unk = RUVM_VOCAB_NONE};
    ruvm_tokenizer_steps_read(&r->steps, r->root);
    int rc = check_model(r);
    if (rc == RUVM_OK)
        rc = count_pieces(r);
    if (rc == RUVM_OK)
        rc = make_room(r);
    if (rc != RUVM_OK)
        return rc;
    v->kind = r->unigram ? RUVM_TOKN_UNIGRAM : RUVM_TOKN_MERGES;
    v->specials = true;
    v->pattern = r->steps.pattern;
    v->options = r->steps.options;
    v->space_prefix = r->steps.space_prefix;
    v->add_bos = r->steps.add_bos;
    if (r->steps.notes.n)
        ruvm_vocab_note(v, r->arena, "%s", r->steps.notes.text);
    rc = r->unigram ? read_unigram(r) : read_bpe(r);
    if (rc == RUVM_OK)
        rc = read_added(r);
    if (rc == RUVM_OK)
        set_ids(r);
    return rc == RUVM_OK && !r->unigram ? read_merges(r) : rc;
}

bool ruvm_tokenizer_json_probe(const uint8_t *data, size_t size)
{
    size_t at = 0;
    while (at < size && (data[at] == ' ' || (data[at] >= '\t' && data[at] <= '\r')))
        at++;
    return data && at < size && data[at] == '{' && memmem(data, size, "\"model\"", 7) &&
           memmem(data, size, "\"vocab\"", 7);
}

int ruvm_tokenizer_json_tree(struct ruvm_vocab *v, struct ruvm_arena *arena, const cJSON *root,
                             size_t bytes, struct ruvm_error *err)
{
    struct reader r = {.v = v, .arena = arena, .root = root, .size = bytes, .err = err};
    r.model = cJSON_GetObjectItemCaseSensitive(root, "model");
    if (!cJSON_IsObject(r.model))
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "has no model");
    return read_model(&r);
}

int ruvm_tokenizer_json_read(struct ruvm_vocab *v, struct ruvm_arena *arena, const uint8_t *data,
                             size_t size, struct ruvm_error *err)
{
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts((const char *)data, size, &end, 0);
    int rc = root ? ruvm_tokenizer_json_tree(v, arena, root, size, err)
                  : ruvm_fail(err, RUVM_ERR_CORRUPT, "byte %zu: is not JSON",
                              end ? (size_t)(end - (const char *)data) : 0);
    cJSON_Delete(root);
    return rc;
}
