/* The values are those of the ONNX writer's Llama: from them a directory in Hugging Face's names
 * is made, from that the float model, whose rows stand as llama2.c and GGUF have them. */
#define _GNU_SOURCE
#include "tests/support/container_files.h"

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/gguf_write.h"
#include "formats/safetensors_write.h"
#include "lib/import/model.h"
#include "tests/support/onnx_bytes.h"

enum { MAX_COLS = 64, N_FOLDERS = 32, N_PATHS = 64, PATH_BYTES = 128, MAX_TENSORS = 32 };

/* ---- folders -------------------------------------------------------------------- */

static char folders[N_FOLDERS][PATH_BYTES];
static unsigned n_folders;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static void remove_folders(void)
{
    for (unsigned i = 0; i < n_folders; i++)
        nftw(folders[i], remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

const char *container_folder(void)
{
    assert(n_folders < N_FOLDERS);
    if (n_folders == 0)
        atexit(remove_folders);
    char *folder = folders[n_folders++];
    snprintf(folder, PATH_BYTES, "/tmp/ruvm-test-XXXXXX");
    char *made = mkdtemp(folder);
    assert(made);
    (void)made;
    return folder;
}

const char *container_path(const char *folder, const char *name)
{
    static char paths[N_PATHS][2 * PATH_BYTES];
    static unsigned next;
    char *path = paths[next++ % N_PATHS];
    snprintf(path, 2 * PATH_BYTES, "%s/%s", folder, name);
    return path;
}

static void write_bytes(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    size_t done = f ? fwrite(data, 1, n, f) : 0;
    assert(f && done == n);
    (void)done;
    fclose(f);
}

void container_text(const char *folder, const char *name, const char *text)
{
    write_bytes(container_path(folder, name), text, strlen(text));
}

void container_copy(const char *folder, const char *name, const char *from)
{
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, from, NULL);
    assert(rc == RUVM_OK);
    (void)rc;
    write_bytes(container_path(folder, name), map.data, map.size);
    ruvm_file_unmap(&map);
}

/* ---- safetensors ------------------------------------------------------------------ */

/* A tensor of any type as floats, row by row. */
static int put_floats(struct ruvm_file_output *out, const struct ruvm_view *view)
{
    size_t cols = view->dims[view->n_dims - 1], rows = 1;
    for (uint32_t i = 0; i + 1 < view->n_dims; i++)
        rows *= view->dims[i];
    float *row = malloc(cols * sizeof *row);
    assert(row);
    int rc = RUVM_OK;
    for (size_t i = 0; i < rows && rc == RUVM_OK; i++) {
        ruvm_view_row(view, i, row);
        rc = ruvm_safetensors_values(out, RUVM_DTYPE_F32, row, cols, NULL);
    }
    free(row);
    return rc;
}

void container_safetensors(const char *folder, const char *name, const struct ruvm_view *views,
                           size_t n)
{
    struct ruvm_file_output out;
    int rc = ruvm_file_create(&out, container_path(folder, name), NULL);
    if (rc == RUVM_OK)
        rc = ruvm_safetensors_begin(&out, views, n, RUVM_DTYPE_F32, NULL);
    for (size_t i = 0; i < n && rc == RUVM_OK; i++)
        rc = put_floats(&out, &views[i]);
    if (rc == RUVM_OK)
        rc = ruvm_file_commit(&out, NULL);
    assert(rc == RUVM_OK);
}

void container_sharded(const char *folder, const struct ruvm_tensors *t)
{
    size_t first = t->n_views / 3;
    struct ruvm_buffer index = {0};
    for (size_t i = 0; i < t->n_views; i++)
        ruvm_buffer_printf(&index, "%s\"%s\":\"%s.safetensors\"", i ? "," : "{\"weight_map\":{",
                           t->views[i].name, i < first ? "a" : "b");
    ruvm_buffer_printf(&index, "}}");
    write_bytes(container_path(folder, "model.safetensors.index.json"), index.data, index.size);
    ruvm_buffer_free(&index);
    container_safetensors(folder, "a.safetensors", t->views, first);
    container_safetensors(folder, "b.safetensors", t->views + first, t->n_views - first);
}

/* ---- the network ------------------------------------------------------------------ */

static struct onnx_llama shape_of(unsigned vocab)
{
    struct onnx_llama l = onnx_llama_usual();
    l.vocab = vocab;
    l.dim = 16;
    l.hidden = 24;
    l.n_heads = 4;
    l.n_kv_heads = 2;
    l.head_dim = 4;
    l.context = 32;
    return l;
}

static const char *config_of(const struct onnx_llama *l)
{
    static char text[512];
    snprintf(text, sizeof text,
             "{\"model_type\":\"llama\",\"hidden_size\":%u,\"intermediate_size\":%u,"
             "\"num_hidden_layers\":%u,\"num_attention_heads\":%u,\"num_key_value_heads\":%u,"
             "\"vocab_size\":%u,\"max_position_embeddings\":%u,\"rms_norm_eps\":1e-5,"
             "\"rope_theta\":10000.0,\"hidden_act\":\"silu\",\"tie_word_embeddings\":false,"
             "\"bos_token_id\":1,\"eos_token_id\":2}",
             l->dim, l->hidden, l->n_layers, l->n_heads, l->n_kv_heads, l->vocab, l->context);
    return text;
}

struct making {
    struct ruvm_arena arena;
    struct onnx_llama l;
    struct ruvm_tensors t; /* in Hugging Face's names */
    struct ruvm_model m;
};

static void add(struct making *k, int layer, const char *name, unsigned rows, unsigned cols)
{
    char text[64];
    int n = layer < 0 ? snprintf(text, sizeof text, "%s.weight", name)
                      : snprintf(text, sizeof text, "model.layers.%d.%s.weight", layer, name);
    float *x = ruvm_arena_alloc(&k->arena, rows, cols * sizeof *x);
    struct ruvm_view v = {.name = ruvm_arena_text(&k->arena, text, (size_t)n),
                          .n_dims = rows > 1 ? 2 : 1,
                          .dims = {rows > 1 ? rows : cols, cols},
                          .data = (const uint8_t *)x,
                          .bytes = sizeof *x * rows * cols};
    for (unsigned r = 0; r < rows; r++)
        for (unsigned c = 0; c < cols; c++)
            x[r * cols + c] = onnx_llama_weight(&k->l, v.name, r, c);
    bool added = ruvm_tensors_add(&k->t, &k->arena, &v);
    assert(added);
    (void)added;
}

static void add_tensors(struct making *k)
{
    const struct onnx_llama *l = &k->l;
    unsigned q = l->n_heads * l->head_dim, kv = l->n_kv_heads * l->head_dim;
    add(k, -1, "model.embed_tokens", l->vocab, l->dim);
    for (int i = 0; i < (int)l->n_layers; i++) {
        add(k, i, "input_layernorm", 1, l->dim);
        add(k, i, "self_attn.q_proj", q, l->dim);
        add(k, i, "self_attn.k_proj", kv, l->dim);
        add(k, i, "self_attn.v_proj", kv, l->dim);
        add(k, i, "self_attn.o_proj", l->dim, q);
        add(k, i, "post_attention_layernorm", 1, l->dim);
        add(k, i, "mlp.gate_proj", l->hidden, l->dim);
        add(k, i, "mlp.up_proj", l->hidden, l->dim);
        add(k, i, "mlp.down_proj", l->dim, l->hidden);
    }
    add(k, -1, "model.norm", 1, l->dim);
    add(k, -1, "lm_head", l->vocab, l->dim);
}

static void add_numbers(struct making *k)
{
    const struct onnx_llama *l = &k->l;
    const struct {
        const char *key;
        double number;
    } numbers[] = {
        {"dim", l->dim},
        {"hidden_dim", l->hidden},
        {"n_layers", l->n_layers},
        {"n_heads", l->n_heads},
        {"n_kv_heads", l->n_kv_heads},
        {"vocab_size", l->vocab},
        {"max_seq_len", l->context},
        {"norm_eps", 1e-5},
        {"rope_halves", 1},
        {"tied", 0},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        bool added = ruvm_tensors_meta(&k->t, &k->arena, numbers[i].key, numbers[i].number);
        assert(added);
        (void)added;
    }
}

static struct making make(unsigned vocab)
{
    struct making k = {.l = shape_of(vocab)};
    struct ruvm_error err = {0};
    add_tensors(&k);
    add_numbers(&k);
    int rc = ruvm_model_from_tensors(&k.m, &k.arena, &k.t, &err);
    assert(rc == RUVM_OK);
    (void)rc;
    return k;
}

/* ---- llama2.c --------------------------------------------------------------------- */

static void put_view(struct ruvm_buffer *b, const struct ruvm_view *v)
{
    float row[MAX_COLS];
    uint64_t rows = v->n_dims == 2 ? v->dims[0] : 1, cols = v->dims[v->n_dims - 1];
    assert(cols <= MAX_COLS);
    for (uint64_t r = 0; r < rows; r++) {
        ruvm_view_row(v, r, row);
        ruvm_buffer_bytes(b, row, cols * sizeof *row);
    }
}

static void put_kind(struct ruvm_buffer *b, const struct ruvm_model *m, int kind)
{
    char name[48];
    for (unsigned l = 0; l < m->n_layers; l++)
        put_view(b, ruvm_model_tensor(m, kind, l, name));
}

static const char *write_llama2c(const struct making *k, const char *folder)
{
    const struct ruvm_model *m = &k->m;
    struct ruvm_buffer b = {0};
    const uint32_t header[] = {m->dim,     m->hidden,     m->n_layers,
                               m->n_heads, m->n_kv_heads, (uint32_t) - (int32_t)m->vocab,
                               m->context};
    for (size_t i = 0; i < sizeof header / sizeof *header; i++)
        ruvm_buffer_u32(&b, header[i]);
    put_view(&b, m->embed);
    for (unsigned l = 0; l < m->n_layers; l++)
        put_view(&b, m->layers[l].attn_norm);
    for (int kind = RUVM_TENSOR_WQ; kind <= RUVM_TENSOR_WO; kind++)
        put_kind(&b, m, kind);
    for (unsigned l = 0; l < m->n_layers; l++)
        put_view(&b, m->layers[l].ffn_norm);
    put_kind(&b, m, RUVM_TENSOR_W_GATE);
    put_kind(&b, m, RUVM_TENSOR_W_DOWN);
    put_kind(&b, m, RUVM_TENSOR_W_UP);
    put_view(&b, m->final_norm);
    ruvm_buffer_zeros(&b, (size_t)m->context * m->head_dim * sizeof(float));
    put_view(&b, m->head);
    const char *path = container_path(folder, "model.bin");
    write_bytes(path, b.data, b.size);
    ruvm_buffer_free(&b);
    return path;
}

/* ---- GGUF ------------------------------------------------------------------------- */

static int give_row(void *user, uint64_t row, float *out)
{
    ruvm_view_row(user, row, out);
    return RUVM_OK;
}

struct listing {
    struct ruvm_gguf_tensor t[MAX_TENSORS];
    char names[MAX_TENSORS][32];
    struct ruvm_view views[MAX_TENSORS];
    size_t n;
};

static void list(struct listing *g, const struct ruvm_view *v, int layer, const char *name)
{
    assert(g->n < MAX_TENSORS);
    char *text = g->names[g->n];
    if (layer < 0)
        snprintf(text, sizeof g->names[0], "%s.weight", name);
    else
        snprintf(text, sizeof g->names[0], "blk.%d.%s.weight", layer, name);
    g->views[g->n] = *v;
    g->t[g->n] = (struct ruvm_gguf_tensor){.name = text,
                                           .n_dims = v->n_dims,
                                           .dims = {v->dims[0], v->dims[1]},
                                           .dtype = RUVM_DTYPE_F32,
                                           .row = give_row,
                                           .user = &g->views[g->n]};
    g->n++;
}

static void list_layer(struct listing *g, const struct ruvm_layer *l, int i)
{
    list(g, l->attn_norm, i, "attn_norm");
    list(g, l->wq, i, "attn_q");
    list(g, l->wk, i, "attn_k");
    list(g, l->wv, i, "attn_v");
    list(g, l->wo, i, "attn_output");
    list(g, l->ffn_norm, i, "ffn_norm");
    list(g, l->w_gate, i, "ffn_gate");
    list(g, l->w_up, i, "ffn_up");
    list(g, l->w_down, i, "ffn_down");
}

static const char *write_gguf(const struct making *k, const char *folder)
{
    const struct ruvm_model *m = &k->m;
    const char *path = container_path(folder, "model.gguf");
    struct ruvm_gguf_writer w = {0};
    struct listing g = {0};
    ruvm_gguf_put_text(&w, "general.architecture", "llama", 5);
    ruvm_gguf_put_text(&w, "general.name", "tiny", 4);
    ruvm_gguf_put_u32(&w, "llama.embedding_length", m->dim);
    ruvm_gguf_put_u32(&w, "llama.feed_forward_length", m->hidden);
    ruvm_gguf_put_u32(&w, "llama.block_count", m->n_layers);
    ruvm_gguf_put_u32(&w, "llama.attention.head_count", m->n_heads);
    ruvm_gguf_put_u32(&w, "llama.attention.head_count_kv", m->n_kv_heads);
    ruvm_gguf_put_u32(&w, "llama.context_length", m->context);
    ruvm_gguf_put_f32(&w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    ruvm_gguf_put_f32(&w, "llama.rope.freq_base", 10000);
    list(&g, m->embed, -1, "token_embd");
    for (unsigned i = 0; i < m->n_layers; i++)
        list_layer(&g, &m->layers[i], (int)i);
    list(&g, m->final_norm, -1, "output_norm");
    list(&g, m->head, -1, "output");
    int rc = ruvm_gguf_write(&w, g.t, g.n, path, NULL);
    assert(rc == RUVM_OK);
    (void)rc;
    ruvm_gguf_drop(&w);
    return path;
}

/* ---- ONNX ------------------------------------------------------------------------- */

static const char *write_onnx(const struct making *k, const char *folder, bool external)
{
    struct onnx_llama l = k->l;
    struct ruvm_buffer beside = {0};
    if (external) {
        l.storage = ONNX_EXTERNAL;
        l.external = &beside;
        l.location = "model.onnx_data";
    }
    struct ruvm_buffer b = onnx_llama_write(&l);
    const char *path = container_path(folder, "model.onnx");
    write_bytes(path, b.data, b.size);
    if (external)
        write_bytes(container_path(folder, l.location), beside.data, beside.size);
    ruvm_buffer_free(&b);
    ruvm_buffer_free(&beside);
    return path;
}

/* ---- all of them -------------------------------------------------------------------- */

static const char *write_one(enum container c, const struct making *k, const char *folder)
{
    switch (c) {
    case CONTAINER_LLAMA2C: return write_llama2c(k, folder);
    case CONTAINER_GGUF: return write_gguf(k, folder);
    case CONTAINER_ONNX: return write_onnx(k, folder, false);
    case CONTAINER_ONNX_EXTERNAL: return write_onnx(k, folder, true);
    case CONTAINER_HUB:
        container_safetensors(folder, "model.safetensors", k->t.views, k->t.n_views);
        return folder;
    default: container_sharded(folder, &k->t); return folder;
    }
}

const char *container_write(enum container c, unsigned vocab, const char *tokenizer)
{
    const char *folder = container_folder();
    struct making k = make(vocab);
    const char *path = write_one(c, &k, folder);
    if (c != CONTAINER_LLAMA2C && c != CONTAINER_GGUF) {
        container_text(folder, "config.json", config_of(&k.l));
        if (tokenizer)
            container_copy(folder, "tokenizer.json", tokenizer);
    }
    ruvm_arena_free(&k.arena);
    return path;
}
