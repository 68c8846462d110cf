/* Weights of about 1/sqrt(cols) let attention and gates work in their usual range. */
#define _POSIX_C_SOURCE 200809L
#include "tests/support/tiny_model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t tiny_random(uint64_t *state)
{
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void add_float(struct ruvm_buffer *b, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    ruvm_buffer_u32(b, bits);
}

/* n values of standard deviation `size` around `mean`. */
static void add_random(struct ruvm_buffer *b, uint64_t *rng, size_t n, double mean, double size)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++)
            sum += (double)(tiny_random(rng) >> 40) * 0x1p-24 - 0.5;
        add_float(b, (float)(mean + sum * size * 1.732));
    }
}

static void add_matrix(struct ruvm_buffer *b, uint64_t *rng, uint32_t count, uint32_t rows,
                       uint32_t cols)
{
    add_random(b, rng, (size_t)count * rows * cols, 0.0, 1.0 / sqrt(cols));
}

struct ruvm_buffer tiny_checkpoint(const struct tiny_shape *s)
{
    struct ruvm_buffer b = {0};
    uint64_t rng = s->seed;
    uint32_t kv = s->dim / s->heads * s->kv_heads;
    ruvm_buffer_u32(&b, s->dim);
    ruvm_buffer_u32(&b, s->hidden);
    ruvm_buffer_u32(&b, s->layers);
    ruvm_buffer_u32(&b, s->heads);
    ruvm_buffer_u32(&b, s->kv_heads);
    ruvm_buffer_u32(&b, s->untied ? (uint32_t) - (int32_t)s->vocab : s->vocab);
    ruvm_buffer_u32(&b, s->context);
    add_random(&b, &rng, (size_t)s->vocab * s->dim, 0.0, 0.3);
    add_random(&b, &rng, (size_t)s->layers * s->dim, 1.0, 0.2);
    add_matrix(&b, &rng, s->layers, s->dim, s->dim);
    add_matrix(&b, &rng, s->layers, kv, s->dim);
    add_matrix(&b, &rng, s->layers, kv, s->dim);
    add_matrix(&b, &rng, s->layers, s->dim, s->dim);
    add_random(&b, &rng, (size_t)s->layers * s->dim, 1.0, 0.2);
    add_matrix(&b, &rng, s->layers, s->hidden, s->dim);
    add_matrix(&b, &rng, s->layers, s->dim, s->hidden);
    add_matrix(&b, &rng, s->layers, s->hidden, s->dim);
    add_random(&b, &rng, s->dim, 1.0, 0.2);
    ruvm_buffer_zeros(&b, (size_t)s->context * (s->dim / s->heads) * sizeof(float));
    if (s->untied)
        add_matrix(&b, &rng, 1, s->vocab, s->dim);
    return b;
}

static void add_piece(struct ruvm_buffer *b, float score, const char *text, size_t n)
{
    add_float(b, score);
    ruvm_buffer_u32(b, (uint32_t)n);
    ruvm_buffer_bytes(b, text, n);
}

struct ruvm_buffer tiny_tokenizer(uint32_t n)
{
    static const char *const first[] = {"<unk>", "\n<s>\n", "\n</s>\n", " "};
    struct ruvm_buffer b = {0};
    ruvm_buffer_u32(&b, 6);
    for (uint32_t i = 0; i < n; i++) {
        char letter = (char)('a' + (i - 4) % 26);
        char pair[2] = {(char)('a' + (i * 7 + 3) % 26), (char)('a' + (i / 26 * 5 + i) % 26)};
        if (i < 4)
            add_piece(&b, 0.0f, first[i], strlen(first[i]));
        else if (i < 30)
            add_piece(&b, 0.0f, &letter, 1);
        else
            add_piece(&b, -(float)(i - 29), pair, 2);
    }
    return b;
}

/* Each test is a process: what it leaves is removed when it ends. */
static char paths[64][32];

static void remove_all(void)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (paths[i][0])
            unlink(paths[i]);
}

const char *tiny_path(void)
{
    static unsigned next;
    if (next == 0)
        atexit(remove_all);
    char *path = paths[next++ % (sizeof paths / sizeof *paths)];
    if (path[0])
        unlink(path);
    snprintf(path, sizeof paths[0], "/tmp/ruvm-test-XXXXXX");
    int fd = mkstemp(path);
    assert(fd >= 0);
    close(fd);
    unlink(path);
    return path;
}

const char *tiny_file(const void *data, size_t n)
{
    const char *path = tiny_path();
    FILE *f = fopen(path, "wb");
    assert(f && fwrite(data, 1, n, f) == n);
    fclose(f);
    return path;
}
