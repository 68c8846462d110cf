#!/bin/bash
# Quality beside llama.cpp, by one measure:
#
#     tests/bench_peer_quality.sh SOURCE [BUILD [MODEL TOKENIZER]...]
#
# This tree holds nothing of theirs. Give the folder of llama.cpp's source (for its
# headers) and of your build of it (libllama and llama-quantize; default SOURCE/build),
# then llama2.c checkpoints (legacy format) with their tokenizers, default the demo's.
#
# All models read the same tokens, the samples of the float model that `ruvm bench
# --quality` draws, and one program compares every logit with those of our float
# reference: mean and 99th percentile of KL(float || quantized) in nats a position,
# change of perplexity, agreement of the most likely token. Bits are those of all
# matrices with scales and padding, over the matrices' weights in the checkpoint;
# llama.cpp's also without the padding described below ("bare").
#
# Three checks end the run when they fail: their float model must be ours (KL below
# 1e-8 with a float cache), `ruvm bench` must say of our files what this script says,
# and both must have read the same text. A hidden size that is no multiple of 32, which
# llama-quantize refuses, is padded with zeros, which changes no result of the float
# model. The last column compares with the file of ruvm whose bits are closest to the
# bare ones, if any is within half a bit. Ours have 8-bit activations and an 8-bit
# cache; llama.cpp's have 8-bit activations and its usual cache of F16.
#
# POSITIONS (16384), SEED (1, of the text) and BUILDDIR (build/release, with ruvm and
# libruvm.a) may be set. Positions of one text depend on each other, so that the standard
# errors (+-) are too small: try other seeds before believing a small difference.
set -u
cd "$(dirname "$0")/.." || exit 1
builddir=${BUILDDIR:-build/release}
ruvm=$builddir/ruvm
positions=${POSITIONS:-16384}
seed=${SEED:-1}
source=${1:-}
build=${2:-$source/build}
quantize=$build/bin/llama-quantize
if [ ! -f "$source/include/llama.h" ] || [ ! -x "$quantize" ] ||
    [ ! -f "$builddir/libruvm.a" ]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
    echo "bench-peer-quality: needs llama.cpp's include/llama.h in SOURCE, bin/llama-quantize" \
        "in BUILD, and our libruvm.a in $builddir" >&2
    exit 2
fi
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- tests/demo/demo.bin tests/demo/demo-tokenizer.bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 LC_ALL=C

fail()
{
    echo "bench-peer-quality: $*" >&2
    [ ! -s "$work/log" ] || tail -n 15 "$work/log" >&2
    exit 1
}

# ---- our side: the text, our logits, and the one comparison ------------------------------

cat > "$work/ours.c" << 'EOF'
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/convert/engine_open.h"
#include "lib/convert/samples.h"
#include "lib/import/source.h"
#include "lib/measure/quality.h"

/* As in lib/measure/bench.c and lib/convert/quantize_source.c; that the text is the same
 * one is checked by its perplexity. */
#define EVAL_SEED 0xD1B54A32D192ED03u
#define MOMENTS_SEED 0x8CB92BA72F3D8DD7u

static int fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return 1;
}

/* Windows as lines of numbers; logits of the float model for every prediction. */
static int write_text(const struct ruvm_text *t, struct ruvm_reference *r, uint32_t vocab,
                      const char *windows, const char *logits)
{
    FILE *w = fopen(windows, "w"), *l = fopen(logits, "wb");
    if (!w || !l)
        return fail("cannot write the text");
    for (uint32_t i = 0; i < t->n_windows; i++) {
        ruvm_reference_reset(r);
        for (uint32_t k = t->first[i]; k < t->first[i + 1]; k++) {
            fprintf(w, "%u%c", t->tokens[k], k + 1 < t->first[i + 1] ? ' ' : '\n');
            if (k + 1 < t->first[i + 1])
                fwrite(ruvm_reference_step(r, t->tokens[k]), sizeof(float), vocab, l);
        }
    }
    return fclose(w) | fclose(l);
}

/* text MODEL TOKENIZER N SEED eval|calibration WINDOWS LOGITS; prints vocabulary, context and
 * the weights of all matrices */
static int text(char **v)
{
    struct ruvm_error err = {0};
    struct ruvm_source s;
    struct ruvm_reference *r;
    struct ruvm_text t = {0};
    if (ruvm_source_open(&s, &(struct ruvm_source_options){.path = v[0], .tokenizer = v[1]}, &err))
        return fail("the model cannot be opened");
    const struct ruvm_model *m = &s.model;
    struct ruvm_samples_options o = {
        .n_positions = strtoull(v[2], NULL, 10),
        .seed = strtoull(v[3], NULL, 10) ^ (strcmp(v[4], "eval") ? MOMENTS_SEED : EVAL_SEED),
        .start = ruvm_source_start(&s),
        .end = s.has_vocab ? s.vocab.eos : RUVM_NO_TOKEN,
        .context = m->context,
        .stage = "sample",
    };
    if (ruvm_reference_open(&r, &s.arena, m, m->context, &err) ||
        ruvm_samples_draw(&t, &s.arena, r, m->vocab, &o, &err))
        return fail("the model cannot be sampled");
    uint64_t heads = (uint64_t)m->n_heads * m->head_dim, kv = (uint64_t)m->n_kv_heads * m->head_dim;
    uint64_t layer = m->dim * (2 * heads + 2 * kv + 3 * (uint64_t)m->hidden);
    printf("%u %u %llu\n", m->vocab, m->context,
           (unsigned long long)((uint64_t)m->vocab * m->dim + m->n_layers * layer));
    return write_text(&t, r, m->vocab, v[5], v[6]);
}

/* The tokens of the next line, at most max; 0 at the end. */
static uint32_t next_window(FILE *f, uint16_t *tokens, uint32_t max)
{
    uint32_t n = 0;
    unsigned token;
    char end = ' ';
    while (end == ' ' && n < max && fscanf(f, "%u%c", &token, &end) == 2)
        tokens[n++] = (uint16_t)token;
    return n;
}

enum { LONGEST = 65536, AT_ONCE = 32 };
static uint16_t tokens[LONGEST];

/* image IMAGE WINDOWS LOGITS */
static int image(char **v)
{
    struct ruvm_error err = {0};
    struct ruvm_arena arena = {0};
    struct ruvm_map map;
    struct ruvm_engine *e;
    struct ruvm_model_info info;
    struct ruvm_engine_options o = {.block = AT_ONCE};
    if (ruvm_file_map(&map, v[0], &err) || ruvm_model_info(&info, map.data, map.size) ||
        ruvm_engine_open(&e, &arena, map.data, map.size, &o, &err))
        return fail("the image cannot be opened");
    FILE *w = fopen(v[1], "r"), *l = fopen(v[2], "wb");
    int32_t *steps = malloc(AT_ONCE * info.vocab * sizeof *steps);
    float *out = malloc(info.vocab * sizeof *out);
    if (!w || !l || !steps || !out)
        return fail("no file or no memory");
    for (uint32_t n; (n = next_window(w, tokens, LONGEST)) > 0;) {
        ruvm_engine_rewind(e, 0);
        for (uint32_t i = 0; i + 1 < n; i += AT_ONCE) {
            uint32_t some = n - 1 - i < AT_ONCE ? n - 1 - i : AT_ONCE;
            if (ruvm_engine_eval(e, tokens + i, some, steps))
                return fail("a window does not fit the image");
            for (uint32_t k = 0; k < some; k++) {
                for (uint32_t j = 0; j < info.vocab; j++)
                    out[j] = (float)(steps[k * info.vocab + j] / 65536.0);
                fwrite(out, sizeof *out, info.vocab, l);
            }
        }
    }
    return fclose(l);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool read_step(FILE *f, float *x, double *log_p, uint32_t n)
{
    if (fread(x, sizeof *x, n, f) != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        log_p[i] = (double)x[i];
    ruvm_quality_log_softmax(log_p, n);
    return true;
}

static uint32_t likeliest(const double *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

/* compare VOCAB WINDOWS REFERENCE LOGITS; prints positions, KL, its standard error, p99,
 * perplexity of the reference, change in %, top-1 in % */
static int compare(char **v)
{
    uint32_t vocab = (uint32_t)atoi(v[0]);
    FILE *w = fopen(v[1], "r"), *a = fopen(v[2], "rb"), *b = fopen(v[3], "rb");
    float *x = malloc(vocab * sizeof *x);
    double *p = malloc(vocab * sizeof *p), *q = malloc(vocab * sizeof *q), *kl = NULL;
    double loss_p = 0, loss_q = 0, sum = 0, squares = 0;
    size_t n = 0, same = 0, room = 0;
    if (!w || !a || !b || !x || !p || !q)
        return fail("no file or no memory");
    for (uint32_t length; (length = next_window(w, tokens, LONGEST)) > 0;)
        for (uint32_t i = 1; i < length; i++, n++) {
            if (n == room && !(kl = realloc(kl, (room += LONGEST) * sizeof *kl)))
                return fail("no memory");
            if (!read_step(a, x, p, vocab) || !read_step(b, x, q, vocab))
                return fail("fewer logits than positions");
            kl[n] = ruvm_quality_divergence(p, q, vocab);
            sum += kl[n];
            squares += kl[n] * kl[n];
            loss_p -= p[tokens[i]];
            loss_q -= q[tokens[i]];
            same += likeliest(p, vocab) == likeliest(q, vocab);
        }
    if (n == 0 || fgetc(a) != EOF || fgetc(b) != EOF)
        return fail("more logits than positions");
    double count = (double)n, mean = sum / count;
    qsort(kl, n, sizeof *kl, ascending);
    printf("%zu %.6g %.2g %.6g %.6f %.4f %.3f\n", n, mean,
           sqrt(fmax(squares / count - mean * mean, 0) / count), kl[(n * 99 - 1) / 100],
           exp(loss_p / count), 100 * (exp((loss_q - loss_p) / count) - 1),
           100 * (double)same / count);
    return 0;
}

int main(int n, char **v)
{
    if (n == 9 && !strcmp(v[1], "text"))
        return text(v + 2);
    if (n == 5 && !strcmp(v[1], "image"))
        return image(v + 2);
    if (n == 6 && !strcmp(v[1], "compare"))
        return compare(v + 2);
    return fail("ours: unknown call");
}
EOF

# ---- their side: import, importance, logits, sizes ----------------------------------------

cat > "$work/theirs.cpp" << 'EOF'
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "ggml.h"
#include "gguf.h"
#include "llama.h"

static int fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return 1;
}

struct checkpoint {
    std::ifstream file;
    ggml_context *ctx;
    gguf_context *out;
};

/* The next rows x cols numbers as a tensor of at least that size, zeros around them. */
static std::vector<float> take(checkpoint &c, size_t rows, size_t cols, size_t all_rows,
                               size_t all_cols)
{
    std::vector<float> to(all_rows * all_cols, 0.0f);
    for (size_t r = 0; r < rows; r++)
        c.file.read((char *)&to[r * all_cols], (std::streamsize)(cols * sizeof(float)));
    return to;
}

static void add(checkpoint &c, const std::string &name, const std::vector<float> &x, size_t rows)
{
    int64_t cols = (int64_t)(x.size() / rows);
    ggml_tensor *t = rows > 1 ? ggml_new_tensor_2d(c.ctx, GGML_TYPE_F32, cols, (int64_t)rows)
                              : ggml_new_tensor_1d(c.ctx, GGML_TYPE_F32, cols);
    ggml_set_name(t, name.c_str());
    std::copy(x.begin(), x.end(), (float *)t->data);
    gguf_add_tensor(c.out, t);
}

/* import CHECKPOINT GGUF MULTIPLE: float, the hidden size filled up to a multiple. Neighbours
 * are rotated together in both, so that no row changes its place. */
static int import(char **v)
{
    checkpoint c = {std::ifstream(v[0], std::ios::binary), nullptr, gguf_init_empty()};
    int32_t h[7];
    if (!c.file.read((char *)h, sizeof h) || h[0] <= 0 || h[0] > 65536)
        return fail("not a checkpoint of the legacy format");
    size_t dim = (size_t)h[0], hidden = (size_t)h[1], layers = (size_t)h[2], heads = (size_t)h[3];
    size_t vocab = (size_t)std::abs(h[5]), context = (size_t)h[6], head = dim / heads;
    size_t kv = (size_t)h[4] * head, multiple = (size_t)atoi(v[2]);
    size_t wide = (hidden + multiple - 1) / multiple * multiple;
    size_t layer = 2 * dim + 2 * dim * (dim + kv) + 3 * dim * wide;
    size_t floats = 2 * vocab * dim + dim + layers * layer;
    c.ctx = ggml_init({floats * sizeof(float) + (layers + 1) * 16 * 1024, nullptr, false});
    const struct part {
        const char *name;
        size_t rows, cols, all_rows, all_cols;
    } parts[] = {
        {"attn_norm", 1, dim, 1, dim},        {"attn_q", dim, dim, dim, dim},
        {"attn_k", kv, dim, kv, dim},         {"attn_v", kv, dim, kv, dim},
        {"attn_output", dim, dim, dim, dim},  {"ffn_norm", 1, dim, 1, dim},
        {"ffn_gate", hidden, dim, wide, dim}, {"ffn_down", dim, hidden, dim, wide},
        {"ffn_up", hidden, dim, wide, dim},
    };
    add(c, "token_embd.weight", take(c, vocab, dim, vocab, dim), vocab);
    for (const part &p : parts)
        for (size_t l = 0; l < layers; l++)
            add(c, "blk." + std::to_string(l) + "." + p.name + ".weight",
                take(c, p.rows, p.cols, p.all_rows, p.all_cols), p.all_rows);
    add(c, "output_norm.weight", take(c, 1, dim, 1, dim), 1);
    take(c, context, head, context, head); /* the rotations, which both compute */
    if (h[5] < 0)
        add(c, "output.weight", take(c, vocab, dim, vocab, dim), vocab);
    if (!c.file || c.file.peek() != EOF)
        return fail("the checkpoint has another size than its header says");
    gguf_set_val_str(c.out, "general.architecture", "llama");
    gguf_set_val_str(c.out, "tokenizer.ggml.model", "no_vocab");
    const std::map<std::string, size_t> numbers = {
        {"context_length", context},     {"embedding_length", dim},
        {"block_count", layers},         {"feed_forward_length", wide},
        {"attention.head_count", heads}, {"attention.head_count_kv", (size_t)h[4]},
        {"rope.dimension_count", head},  {"vocab_size", vocab},
    };
    for (const auto &n : numbers)
        gguf_set_val_u32(c.out, ("llama." + n.first).c_str(), (uint32_t)n.second);
    gguf_set_val_f32(c.out, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_set_val_f32(c.out, "llama.rope.freq_base", 10000.0f);
    return gguf_write_to_file(c.out, v[1], false) ? 0 : fail("cannot write");
}

static llama_model *open_model(const char *path)
{
    llama_log_set(
        [](ggml_log_level level, const char *text, void *) {
            if (level == GGML_LOG_LEVEL_ERROR)
                fputs(text, stderr);
        },
        nullptr);
    llama_backend_init();
    llama_model_params o = llama_model_default_params();
    o.n_gpu_layers = 0;
    return llama_model_load_from_file(path, o);
}

/* Every window from an empty cache, all its predictions in one batch; rows: of logits. */
template <class Rows>
static int each_window(llama_model *m, const char *windows, llama_context_params o, Rows rows)
{
    std::ifstream in(windows);
    int vocab = llama_vocab_n_tokens(llama_model_get_vocab(m));
    for (std::string line; std::getline(in, line);) {
        std::istringstream numbers(line);
        std::vector<llama_token> ids;
        for (llama_token id; numbers >> id;)
            ids.push_back(id);
        int32_t n = (int32_t)ids.size() - 1;
        o.n_ctx = o.n_batch = o.n_ubatch = (uint32_t)llama_model_n_ctx_train(m);
        o.n_threads = o.n_threads_batch = 1;
        llama_context *ctx = llama_init_from_model(m, o);
        if (!ctx || n < 1)
            return fail("no context");
        llama_batch b = llama_batch_init(n, 0, 1);
        for (int32_t i = 0; i < n; i++) {
            b.token[i] = ids[(size_t)i];
            b.pos[i] = i;
            b.n_seq_id[i] = 1;
            b.seq_id[i][0] = 0;
            b.logits[i] = 1;
        }
        b.n_tokens = n;
        if (llama_decode(ctx, b))
            return fail("a window cannot be computed");
        for (int32_t i = 0; i < n; i++)
            rows(llama_get_logits_ith(ctx, i), (size_t)vocab);
        llama_batch_free(b);
        llama_free(ctx);
    }
    return 0;
}

/* logits GGUF WINDOWS LOGITS f16|f32: the last is the type of the cache */
static int logits(char **v)
{
    llama_model *m = open_model(v[0]);
    std::ofstream out(v[2], std::ios::binary);
    llama_context_params o = llama_context_default_params();
    o.type_k = o.type_v = std::string(v[3]) == "f32" ? GGML_TYPE_F32 : GGML_TYPE_F16;
    if (!m || !out)
        return fail("the model cannot be opened");
    return each_window(m, v[1], o, [&](const float *x, size_t n) {
        out.write((const char *)x, (std::streamsize)(n * sizeof *x));
    });
}

/* Sums of squares of what each matrix multiplies, and how many vectors. */
struct importance {
    std::vector<float> sum;
    int32_t n = 0;
};
using importances = std::map<std::string, importance>;

static bool watch(ggml_tensor *t, bool ask, void *user)
{
    if (t->op != GGML_OP_MUL_MAT || t->src[1]->type != GGML_TYPE_F32)
        return !ask;
    std::string name = t->src[0]->name;
    if (name.size() < 7 || name.compare(name.size() - 7, 7, ".weight") != 0)
        return !ask;
    if (ask)
        return true;
    const ggml_tensor *x = t->src[1];
    importance &sums = (*(importances *)user)[name];
    sums.sum.resize((size_t)x->ne[0]);
    for (int64_t r = 0; r < x->ne[1]; r++, sums.n++) {
        const float *row = (const float *)((const char *)x->data + (size_t)r * x->nb[1]);
        for (int64_t i = 0; i < x->ne[0]; i++)
            sums.sum[(size_t)i] += row[i] * row[i];
    }
    return true;
}

/* importance GGUF WINDOWS FILE */
static int write_importance(char **v)
{
    importances all;
    llama_model *m = open_model(v[0]);
    llama_context_params o = llama_context_default_params();
    o.cb_eval = watch;
    o.cb_eval_user_data = &all;
    if (!m || each_window(m, v[1], o, [](const float *, size_t) {}))
        return fail("the model cannot be watched");
    std::ofstream out(v[2], std::ios::binary);
    auto number = [&](size_t n) {
        int32_t x = (int32_t)n;
        out.write((const char *)&x, sizeof x);
    };
    number(all.size());
    for (const auto &one : all) {
        number(one.first.size());
        out << one.first;
        number((size_t)one.second.n);
        number(one.second.sum.size());
        out.write((const char *)one.second.sum.data(),
                  (std::streamsize)(one.second.sum.size() * sizeof(float)));
    }
    return out ? 0 : fail("cannot write");
}

/* sizes GGUF WEIGHTS: bits a weight of the checkpoint, bits a weight of the file, and how many
 * matrices of which type */
static int sizes(char **v)
{
    ggml_context *ctx = nullptr;
    gguf_context *g = gguf_init_from_file(v[0], {true, &ctx});
    std::map<std::string, int> types;
    size_t bytes = 0, stored = 0;
    if (!g)
        return fail("the model cannot be opened");
    std::string embedding;
    for (ggml_tensor *t = ggml_get_first_tensor(ctx); t; t = ggml_get_next_tensor(ctx, t)) {
        if (ggml_n_dims(t) < 2)
            continue;
        bytes += ggml_nbytes(t);
        stored += (size_t)ggml_nelements(t);
        std::string type = ggml_type_name(t->type);
        if (std::string(t->name) == "token_embd.weight")
            embedding = type;
        else
            types[type]++;
    }
    printf("%.4f %.4f ", 8.0 * (double)bytes / atof(v[1]), 8.0 * (double)bytes / (double)stored);
    for (const auto &t : types)
        printf("%s*%d,", t.first.c_str(), t.second);
    printf("embed:%s\n", embedding.c_str());
    return 0;
}

int main(int n, char **v)
{
    std::string verb = n > 1 ? v[1] : "";
    if (verb == "import" && n == 5)
        return import(v + 2);
    if (verb == "logits" && n == 6)
        return logits(v + 2);
    if (verb == "importance" && n == 5)
        return write_importance(v + 2);
    if (verb == "sizes" && n == 4)
        return sizes(v + 2);
    return fail("theirs: unknown call");
}
EOF

library()
{
    local found
    found=$(find "$(realpath "$build")" \( -name "lib$1.so" -o -name "lib$1.a" \) -print -quit)
    [ -n "$found" ] || fail "no lib$1 under $build"
    dirname "$found"
}
link=()
for name in llama ggml ggml-cpu ggml-base; do
    folder=$(library "$name") || exit 1
    link+=("-L$folder" "-Wl,-rpath,$folder" "-l$name")
done
"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -I. -o "$work/ours" "$work/ours.c" "$builddir/libruvm.a" \
    -lcjson -lpthread -lm > "$work/log" 2>&1 || fail "our helper does not compile"
"${CXX:-c++}" -std=c++17 -O2 -Wall -Wextra -I"$source/include" -I"$source/ggml/include" \
    -o "$work/theirs" "$work/theirs.cpp" "${link[@]}" -fopenmp -lpthread -lm \
    > "$work/log" 2>&1 || fail "their helper does not compile"

# ---- one model ------------------------------------------------------------------------------

# row SIDE NAME BITS BARE TYPES LOGITS: measures and keeps a line of the table.
row()
{
    local numbers
    numbers=$("$work/ours" compare "$vocab" "$work/text" "$work/reference" "$6" 2> "$work/log") ||
        fail "$2 cannot be compared"
    echo "$1 $2 $3 $4 $5 $numbers" >> "$work/rows"
    rm -f "$6"
}

# theirs NAME TYPE [OPTION...]: makes it with llama-quantize, then measures it.
theirs()
{
    local name=$1 type=$2 file=$work/theirs.gguf numbers bits bare types
    shift 2
    "$quantize" "$@" "$work/float.gguf" "$file" "$type" 1 > "$work/log" 2>&1 ||
        fail "llama-quantize $* $type fails"
    numbers=$("$work/theirs" sizes "$file" "$weights") || fail "$name has no sizes"
    read -r bits bare types <<< "$numbers"
    "$work/theirs" logits "$file" "$work/text" "$work/logits" f16 2> "$work/log" ||
        fail "$name cannot be computed"
    row llama.cpp "$name" "$bits" "$bare" "$types" "$work/logits"
}

# json KEY FILE: its first value
json()
{
    sed -n "s/^[[:space:]]*\"$1\":[[:space:]]*//p" "$2" | sed 's/,$//; s/"//g' | head -n 1
}

# ours NAME [OPTION...]: the same with `ruvm quantize`, and what `ruvm bench` says of it.
ours()
{
    local name=$1 bits types
    shift
    "$ruvm" quantize "$model" --tokenizer "$tokenizer" -o "$work/ours.ruvm" --no-quality \
        --threads 1 --progress none "$@" > "$work/log" 2>&1 || fail "ruvm quantize $* fails"
    "$ruvm" bench "$work/ours.ruvm" --quality "$model" --no-speed --eval-tokens "$positions" \
        --seed "$seed" --progress none --json > "$work/json" 2> "$work/log" ||
        fail "ruvm bench fails"
    bits=$(json bits_per_weight "$work/json")
    types=$(json types "$work/json" | sed 's/, /,/g; s/ /*/g')
    "$work/ours" image "$work/ours.ruvm" "$work/text" "$work/logits" 2> "$work/log" ||
        fail "$name cannot be computed"
    row ruvm "$name" "$bits" "$bits" "$types" "$work/logits"
    tail -n 1 "$work/rows" | awk -v kl="$(json kl_mean "$work/json")" \
        -v float="$(json perplexity_float "$work/json")" '
        function near(a, b, by) { return a - b <= by * b && b - a <= by * b }
        {
            if (!near($7, kl, 1e-3) || !near($10, float, 2e-5)) {
                print "KL " $7 ", perplexity of float " $10 " here; ruvm bench says " kl ", " float
                exit 1
            }
        }' > "$work/log" || fail "$name: not the measure of ruvm bench"
}

# exact NAME CACHE LIMIT: the model not quantized, which must be our float model.
exact()
{
    local limit=$3 numbers bits bare
    "$work/theirs" logits "$work/$1.gguf" "$work/text" "$work/logits" "$2" 2> "$work/log" ||
        fail "$1 cannot be computed"
    numbers=$("$work/theirs" sizes "$work/$1.gguf" "$weights") || fail "$1 has no sizes"
    read -r bits bare _ <<< "$numbers"
    row llama.cpp "$1,$2-cache" "$bits" "$bare" - "$work/logits"
    tail -n 1 "$work/rows" | awk -v limit="$limit" '{ exit !($7 < limit && $7 > -limit) }' ||
        fail "$1: KL $(tail -n 1 "$work/rows" | cut -d ' ' -f 7): the import is not exact"
}

table()
{
    awk '
        function closest(i,    j, best, d) {
            for (j = 1; j <= n; j++) {
                d = bits[j] - bare[i]; if (d < 0) d = -d
                if (side[j] != "ruvm" || d > 0.5) continue
                if (!best || d < least || (d == least && kl[j] < kl[best])) {
                    best = j; least = d
                }
            }
            return best
        }
        {
            n++
            side[n] = $1; name[n] = $2; bits[n] = $3; bare[n] = $4; types[n] = $5; kl[n] = $7
            se[n] = $8; p99[n] = $9; change[n] = $11; top[n] = $12
            if (length($2) > wide) wide = length($2)
            if (length($5) > widest) widest = length($5)
        }
        END {
            form = "%-10s%-" wide "s  %-" widest "s %7s %7s %9s %7s %9s %8s %7s"
            printf form "  %s\n", "measured", "as", "matrices", "bits", "bare", "KL mean", "+-",
                "KL p99", "ppl %", "top-1 %", "KL over that of ruvm at the closest bits"
            for (i = 1; i <= n; i++) {
                printf form, side[i], name[i], types[i], sprintf("%.3f", bits[i]),
                    side[i] == "ruvm" ? "" : sprintf("%.3f", bare[i]),
                    sprintf(kl[i] < 1e-4 ? "%.1e" : "%.5f", kl[i]), sprintf("%.0e", se[i]),
                    sprintf(p99[i] < 1e-4 ? "%.1e" : "%.4f", p99[i]), sprintf("%+.3f", change[i]),
                    sprintf("%.2f", top[i])
                j = closest(i)
                if (side[i] != "ruvm" && types[i] != "-" && j)
                    printf "  %.2f  (%s, %.3f)", kl[i] / kl[j], name[j], bits[j]
                print ""
            }
        }' "$work/rows"
}

"$ruvm" --version | head -n 1
while [ $# -ge 2 ]; do
    model=$1 tokenizer=$2
    shift 2
    : > "$work/rows"
    numbers=$("$work/ours" text "$model" "$tokenizer" "$positions" "$seed" eval \
        "$work/text" "$work/reference" 2> "$work/log") || fail "$model: no text"
    read -r vocab context weights <<< "$numbers"
    "$work/ours" text "$model" "$tokenizer" 32768 1 calibration "$work/calibration" \
        "$work/logits" > "$work/log" 2>&1 || fail "$model: no text to calibrate on"
    echo
    echo "$(basename "$model"): vocabulary $vocab, context $context, $weights weights in" \
        "matrices, $(wc -l < "$work/text") windows, $positions positions, seed $seed"
    if "$work/theirs" import "$model" "$work/plain.gguf" 1 2> "$work/log" &&
        ! "$quantize" "$work/plain.gguf" "$work/theirs.gguf" Q4_0 1 > "$work/log" 2>&1; then
        echo "llama-quantize refuses it as it is, so its hidden size is padded to a multiple of 32:"
        grep -o "tensor cols .* required for q4_0" "$work/log"
    fi
    "$work/theirs" import "$model" "$work/float.gguf" 32 2> "$work/log" || fail "$model: no import"
    "$work/theirs" importance "$work/float.gguf" "$work/calibration" "$work/importance" \
        2> "$work/log" || fail "$model: no importance matrix"
    "$quantize" "$work/float.gguf" "$work/F16.gguf" F16 1 > "$work/log" 2>&1 || fail "no F16"
    sed -n 's/^main: build = /llama.cpp build /p' "$work/log"
    ln -sf float.gguf "$work/F32.gguf"
    exact F32 f32 1e-8
    exact F32 f16 1e-4
    exact F16 f16 1e-4
    theirs Q8_0 Q8_0
    ours int8
    theirs Q5_0 Q5_0
    theirs Q4_K_M Q4_K_M
    theirs Q4_0 Q4_0
    theirs Q4_0,imatrix Q4_0 --imatrix "$work/importance"
    theirs IQ4_NL,imatrix IQ4_NL --imatrix "$work/importance"
    theirs IQ4_NL,pure,imatrix IQ4_NL --pure --imatrix "$work/importance"
    theirs Q4_0,pure Q4_0 --pure
    theirs Q4_0,pure,imatrix Q4_0 --pure --imatrix "$work/importance"
    for group in 16 32 64; do
        ours "int4:$group" -t "int4:$group"
        ours "int4:$group,rtn" -t "int4:$group" --method rtn
        ours "int4:$group,embed" -t "int4:$group" --embed-type "int4:$group"
        ours "int4:$group,embed,rtn" -t "int4:$group" --embed-type "int4:$group" --method rtn
    done
    table
done
