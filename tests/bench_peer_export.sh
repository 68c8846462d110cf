#!/bin/bash
# What llama.cpp makes of our GGUF files:
#
#     tests/bench_peer_export.sh SOURCE [BUILD [MODEL TOKENIZER]...]
#
# This tree holds nothing of theirs. Give the folder of llama.cpp's source (for its headers)
# and of your build of it (libllama; default SOURCE/build), then models that `ruvm quantize`
# reads with their tokenizer.bin, default the demo's; or RUVM images, with - for their own.
#
# Each model is exported from its source and from an int8 image of it, as f32. For every prompt
# both sides print the tokens and what follows greedily, 200 tokens of it, computed from the
# exported file by llama.cpp with a float cache, and by our float reference from the source (or,
# of the image, from the exported weights). Both must be the same, and so must the text be up to
# a token that ends it.
#
# BUILDDIR (build/release, with ruvm and libruvm.a) and PROMPTS, a file with one a line, may be
# set.
set -u
cd "$(dirname "$0")/.." || exit 1
builddir=${BUILDDIR:-build/release}
ruvm=$builddir/ruvm
source=${1:-}
build=${2:-$source/build}
if [ ! -f "$source/include/llama.h" ] || [ ! -f "$builddir/libruvm.a" ]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
    echo "bench-peer-export: needs llama.cpp's include/llama.h in SOURCE and our libruvm.a in" \
        "$builddir" >&2
    exit 2
fi
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- tests/demo/demo.bin tests/demo/demo-tokenizer.bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

fail()
{
    echo "bench-peer-export: $*" >&2
    [ ! -s "$work/log" ] || tail -n 15 "$work/log" >&2
    exit 1
}

cat > "$work/ours.c" << 'EOF'
#include <stdio.h>
#include <string.h>

#include "lib/convert/greedy.h"
#include "lib/import/source.h"
#include "lib/ruvm_tool.h"

enum { N = 200, LINE = 1024 };

/* MODEL IMAGE PROMPTS; the image has the tokenizer */
int main(int n, char **v)
{
    struct ruvm_error err = {0};
    struct ruvm_source s;
    struct ruvm_reference *r;
    struct ruvm_file image;
    struct ruvm_tokenizer tok;
    char line[LINE], text[8 * LINE];
    uint16_t ids[RUVM_MAX_TOKENS(LINE) + N];
    FILE *f = n == 4 ? fopen(v[3], "r") : NULL;
    if (!f || ruvm_source_open(&s, &(struct ruvm_source_options){.path = v[1]}, &err) ||
        ruvm_file_open(&image, v[2], &err) || ruvm_tokenizer_init(&tok, image.data, image.size) ||
        ruvm_reference_open(&r, &s.arena, &s.model, s.model.context, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        int count = ruvm_encode(&tok, ids, RUVM_MAX_TOKENS(LINE), line, strlen(line), 0);
        if (count < 1)
            return 1;
        uint32_t end = (uint32_t)count + N < s.model.context ? (uint32_t)count + N
                                                               : s.model.context;
        struct ruvm_greedy g = {.ids = ids, .n_prompt = (uint32_t)count, .n_ids = end};
        ruvm_greedy_reference(&g, r, s.model.vocab);
        for (uint32_t i = 0; i < end; i++)
            printf("%u%s", ids[i], i + 1 == g.n_prompt ? " | " : " ");
        printf("\n");
        size_t used = 0, bytes;
        for (uint32_t i = 0; i < end && (i == 0 || !ruvm_is_end(&tok, ids[i])); i++) {
            const uint8_t *p =
                ruvm_decode(&tok, i ? ids[i - 1] : RUVM_NO_PREVIOUS, ids[i], &bytes);
            if (used + bytes < sizeof text)
                memcpy(text + used, p, bytes), used += bytes;
        }
        fwrite(text, 1, used, stdout);
        printf("\n");
    }
    return 0;
}
EOF

cat > "$work/theirs.cpp" << 'EOF'
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "llama.h"

static int fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return 1;
}

static void quiet(ggml_log_level level, const char *text, void *)
{
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

/* GGUF PROMPTS */
int main(int n, char **v)
{
    llama_log_set(quiet, nullptr);
    llama_backend_init();
    llama_model_params o = llama_model_default_params();
    o.n_gpu_layers = 0;
    llama_model *m = n == 3 ? llama_model_load_from_file(v[1], o) : nullptr;
    if (!m)
        return fail("the model cannot be opened");
    const llama_vocab *vocab = llama_model_get_vocab(m);
    const int n_vocab = llama_vocab_n_tokens(vocab), context = llama_model_n_ctx_train(m);
    std::ifstream in(v[2]);
    for (std::string line; std::getline(in, line);) {
        std::vector<llama_token> ids(line.size() + 2);
        int count = llama_tokenize(vocab, line.c_str(), (int32_t)line.size(), ids.data(),
                                   (int32_t)ids.size(), true, false);
        if (count < 1)
            return fail("a prompt has no tokens");
        ids.resize((size_t)count);
        llama_context_params c = llama_context_default_params();
        c.n_ctx = c.n_batch = (uint32_t)context;
        c.n_threads = c.n_threads_batch = 1;
        c.type_k = c.type_v = GGML_TYPE_F32;
        llama_context *ctx = llama_init_from_model(m, c);
        size_t fed = 0, end = (size_t)(count + 200 < context ? count + 200 : context);
        while (ctx && ids.size() < end) {
            llama_batch b = llama_batch_get_one(&ids[fed], (int32_t)(ids.size() - fed));
            if (llama_decode(ctx, b))
                return fail("a prompt cannot be computed");
            fed = ids.size();
            const float *x = llama_get_logits_ith(ctx, -1);
            int best = 0;
            for (int i = 1; i < n_vocab; i++)
                best = x[i] > x[best] ? i : best;
            ids.push_back(best);
        }
        for (size_t i = 0; i < ids.size(); i++)
            printf("%d%s", ids[i], (int)i + 1 == count ? " | " : " ");
        size_t from = ids[0] == llama_vocab_bos(vocab), to = from;
        while (to < ids.size() && ids[to] != llama_vocab_bos(vocab) &&
               ids[to] != llama_vocab_eos(vocab))
            to++;
        std::vector<char> text(ids.size() * 64 + 16);
        int bytes = llama_detokenize(vocab, &ids[from], (int32_t)(to - from), text.data(),
                                     (int32_t)text.size(), false, false);
        printf("\n%.*s\n", bytes, text.data());
        llama_free(ctx);
    }
    return 0;
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

printf '%s\n' 'Once upon a time' 'Lily and Tom went to the park. They' '  two  spaces ' \
    'Zoë said: "1234, 5!" 😀 – naïve' 'x' 'The dog	barked' > "$work/prompts"
[ -z "${PROMPTS:-}" ] || cp "$PROMPTS" "$work/prompts" || exit 1

# same NAME MODEL GGUF: of both sides, lines of tokens and of text
same()
{
    "$work/ours" "$2" "$work/image.ruvm" "$work/prompts" > "$work/ours.txt" 2> "$work/log" ||
        fail "$1: our reference fails"
    "$work/theirs" "$3" "$work/prompts" > "$work/theirs.txt" 2> "$work/log" ||
        fail "$1: llama.cpp fails"
    if cmp -s "$work/ours.txt" "$work/theirs.txt"; then
        echo "same $1: $(wc -l < "$work/prompts") prompts, tokens and text"
    else
        echo "DIFFERENT $1:"
        diff "$work/ours.txt" "$work/theirs.txt" | cut -c 1-400
        failed=1
    fi
}

failed=0
while [ $# -ge 2 ]; do
    if [ "$2" = - ]; then
        cp "$1" "$work/image.ruvm" || exit 1
    else
        "$ruvm" quantize "$1" -o "$work/image.ruvm" --tokenizer "$2" --no-quality -q || exit 1
        "$ruvm" quantize "$1" --to gguf -o "$work/source.gguf" --tokenizer "$2" -q || exit 1
        same "$1, from the source" "$1" "$work/source.gguf"
    fi
    "$ruvm" quantize "$work/image.ruvm" --to gguf -o "$work/image.gguf" -q || exit 1
    same "$1, from the image" "$work/image.gguf" "$work/image.gguf"
    shift 2
done
exit $failed
