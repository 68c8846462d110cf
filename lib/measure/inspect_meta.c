/* What a file says of itself besides its tensors, as lines for people and programs. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "formats/gguf_read.h"
#include "lib/base/buffer.h"
#include "lib/base/bytes.h"
#include "lib/base/json.h"
#include "lib/measure/inspect_subject.h"

enum {
    VALUE_BYTES = 160,          /* of a text; more is cut */
    MAX_HEADER = 16 << 20,      /* of a safetensors file whose own words are read */
    SAFETENSORS_HEADER_OFF = 8, /* behind its length */
};

/* A text in one line: what would end it is a blank. */
static void put_text(struct ruvm_buffer *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n && i < VALUE_BYTES; i++)
        ruvm_buffer_u8(b, (uint8_t)text[i] < ' ' ? ' ' : (uint8_t)text[i]);
    if (n > VALUE_BYTES)
        ruvm_buffer_printf(b, "... (%zu bytes)", n);
}

static void put_pair(struct ruvm_buffer *b, const char *key, size_t n_key, const char *text,
                     size_t n)
{
    put_text(b, key, n_key);
    ruvm_buffer_u8(b, '=');
    put_text(b, text, n);
    ruvm_buffer_u8(b, '\n');
}

/* ---- GGUF -------------------------------------------------------------------------- */

static void put_gguf_value(struct ruvm_buffer *b, const struct ruvm_gguf *g, const char *key)
{
    struct ruvm_gguf_string text;
    struct ruvm_gguf_array array;
    double number;
    if (ruvm_gguf_text(g, key, &text))
        put_text(b, (const char *)text.text, text.n);
    else if (ruvm_gguf_number(g, key, &number))
        ruvm_buffer_printf(b, "%.9g", number);
    else if (ruvm_gguf_array(g, key, &array))
        ruvm_buffer_printf(b, "[%llu %s]", (unsigned long long)array.n,
                           array.type == RUVM_GGUF_STRING ? "texts" : "values");
    ruvm_buffer_u8(b, '\n');
}

static void put_gguf(struct ruvm_buffer *b, struct ruvm_subject *s)
{
    struct ruvm_gguf g;
    const struct ruvm_map *map = ruvm_container_file(&s->container, 0, NULL);
    if (ruvm_gguf_open(&g, &s->arena, map->data, map->size, NULL) != RUVM_OK)
        return;
    for (size_t i = 0; i < g.n_pairs; i++) {
        const struct ruvm_gguf_string *key = &g.pairs[i].key;
        const char *name = ruvm_arena_text(&s->arena, (const char *)key->text, key->n);
        put_text(b, (const char *)key->text, key->n);
        ruvm_buffer_u8(b, '=');
        if (name)
            put_gguf_value(b, &g, name);
    }
}

/* ---- the others ---------------------------------------------------------------------- */

static void put_safetensors(struct ruvm_buffer *b, const struct ruvm_subject *s)
{
    const struct ruvm_map *map = ruvm_container_file(&s->container, 0, NULL);
    uint64_t n = ruvm_load_u64(map->data); /* it was read before */
    cJSON *json = n <= MAX_HEADER
                      ? ruvm_json_parse(map->data + SAFETENSORS_HEADER_OFF, (size_t)n, NULL)
                      : NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "__metadata__"))
    {
        const char *text = cJSON_GetStringValue(item);
        if (text)
            put_pair(b, item->string, strlen(item->string), text, strlen(text));
    }
    cJSON_Delete(json);
}

static void put_onnx(struct ruvm_buffer *b, const struct ruvm_subject *s)
{
    const struct ruvm_onnx *o = &s->container.onnx;
    ruvm_buffer_printf(b, "ir_version=%llu\nopset=%llu\n", (unsigned long long)o->ir_version,
                       (unsigned long long)o->opset);
    if (o->producer.size)
        put_pair(b, "producer", strlen("producer"), o->producer.at, o->producer.size);
    for (uint32_t i = 0; i < o->n_properties; i++) {
        const struct ruvm_onnx_property *p = &o->properties[i];
        put_pair(b, p->key.at, p->key.size, p->value.at, p->value.size);
    }
}

/* The result has these under names of its own. */
static bool is_told(const char *key)
{
    static const char *const keys[] = {"dim",         "hidden_dim", "n_layers",    "n_heads",
                                       "n_kv_heads",  "head_dim",   "vocab_size",  "max_seq_len",
                                       "norm_kind",   "norm_eps",   "tied",        "activation",
                                       "positions",   "rope_theta", "rope_halves", "rotary_dim",
                                       "score_scale", "parallel",   "window",      "local_layers"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

/* What else we understood of a config.json. */
static void put_config(struct ruvm_buffer *b, const struct ruvm_subject *s)
{
    const struct ruvm_tensors *t = &s->container.tensors;
    for (size_t i = 0; i < t->n_meta; i++) {
        const struct ruvm_meta *m = &t->meta[i];
        if (is_told(m->key))
            continue;
        if (m->text)
            put_pair(b, m->key, strlen(m->key), m->text, strlen(m->text));
        else
            ruvm_buffer_printf(b, "%s=%.9g\n", m->key, m->number);
    }
}

static void put_image(struct ruvm_buffer *b, const struct ruvm_subject *s)
{
    if (s->img.meta_bytes)
        ruvm_buffer_bytes(b, s->img.meta, s->img.meta_bytes);
}

char *ruvm_subject_meta(struct ruvm_subject *s, struct ruvm_arena *arena)
{
    struct ruvm_buffer b = {0};
    if (s->is_image)
        put_image(&b, s);
    else if (s->container.kind == RUVM_CONTAINER_GGUF)
        put_gguf(&b, s);
    else if (s->container.kind == RUVM_CONTAINER_SAFETENSORS)
        put_safetensors(&b, s);
    else if (s->container.kind == RUVM_CONTAINER_ONNX)
        put_onnx(&b, s);
    else if (s->container.kind == RUVM_CONTAINER_HUB)
        put_config(&b, s);
    char *text = ruvm_buffer_ok(&b)
                     ? ruvm_arena_text(arena, b.data ? (const char *)b.data : "", b.size)
                     : NULL;
    ruvm_buffer_free(&b);
    return text;
}
