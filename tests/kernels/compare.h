/* Two tables of kernels given the same inputs must leave the same bytes.
 *
 * Shared by the Criterion test and by neon_main.c, which runs where Criterion
 * does not exist.
 *
 *     compare_init();
 *     for each c in compare_cases: c->run(table, oracle) == 0, else compare_message
 */
#ifndef TESTS_KERNELS_COMPARE_H
#define TESTS_KERNELS_COMPARE_H

#include "kernels/exact.h"
#include "kernels/kernels.h"
#include "tests/kernels/arrays.h"
#include "tests/kernels/compare_attend.h"
#include "tests/kernels/compare_codes.h"
#include "tests/kernels/compare_panels.h"
#include "tests/kernels/naive.h"

static int compare_one_matmul(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle,
                              struct ruvm_matmul m, int manner)
{
    compare_slot = 0;
    m.w = compare_s8((size_t)(m.n_rows - 1) * m.row_bytes + m.n_cols, manner);
    m.x = compare_s8((size_t)(m.n_vecs - 1) * m.x_stride + m.n_cols, manner == 2 ? 1 : manner);
    size_t bytes = ((size_t)(m.n_vecs - 1) * m.out_stride + m.n_rows) * sizeof(int32_t);
    int32_t *a = m.out = compare_array(bytes);
    k->matmul_s8(&m);
    int32_t *b = m.out = compare_array(bytes);
    oracle->matmul_s8(&m);
    return compare_same("matmul_s8", a, b, bytes, m.n_rows, m.n_cols) ||
           compare_panels_s8(k, &m, b);
}

static int compare_matmul(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t cols = 16; cols <= 320 && !bad; cols += 16)
        for (uint32_t rows = 1; rows <= 19 && !bad; rows++)
            for (uint32_t vecs = 1; vecs <= 9 && !bad; vecs++) {
                uint32_t r = (uint32_t)compare_random();
                struct ruvm_matmul m = {.n_rows = rows, .n_cols = cols, .n_vecs = vecs};
                m.row_bytes = cols + (r & 1) * 16 + (r & 2) * 32;
                m.x_stride = cols + (r & 4) * 4;
                m.out_stride = rows + (r >> 8) % 5;
                bad = compare_one_matmul(k, oracle, m, (int)(r >> 16) % 5);
            }
    return bad;
}

static int compare_matmul_large(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    static const uint32_t shapes[][3] = {
        {172, 64, 1},  {64, 176, 1},  {512, 64, 1},   {288, 768, 2},
        {96, 2048, 4}, {5, 65536, 1}, {16, 65520, 3}, {37, 112, 150},
    };
    int bad = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int manner = 0; manner < 5 && !bad; manner++) {
            const uint32_t *s = shapes[i];
            struct ruvm_matmul m = {.n_rows = s[0], .n_cols = s[1], .n_vecs = s[2]};
            m.row_bytes = m.x_stride = s[1];
            m.out_stride = s[0];
            bad = compare_one_matmul(k, oracle, m, manner);
        }
    return bad;
}

/* Head sizes: all small even ones, those of real models, and the largest. */
static const uint32_t compare_heads[] = {
    2,  4,  6,  8,  10, 12, 14,  16,  18,  22,  24,  26,  30,  32,  34,  40,  48,   56,  62,
    64, 66, 72, 80, 94, 96, 100, 112, 120, 126, 128, 130, 160, 192, 254, 256, 1000, 2048};
static const uint32_t compare_positions[] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,  12,  13,  14,  15,  16, 17,
    18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,  30,  31,  32,  33,  34, 35,
    36, 37, 38, 39, 40, 47, 48, 49, 63, 64, 65, 127, 128, 129, 511, 1024};

/* A stride for a head: mostly the head itself, so that rows touch. */
static uint32_t compare_stride(uint32_t head_dim, uint64_t r)
{
    static const uint32_t more[] = {0, 0, 0, 2, 8, 16};
    return head_dim + more[r % 6];
}

static int compare_scores(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (size_t h = 0; h < sizeof compare_heads / 4; h++)
        for (size_t i = 0; i < sizeof compare_positions / 4 && !bad; i++) {
            uint32_t dim = compare_heads[h], n = compare_positions[i];
            uint32_t stride = compare_stride(dim, compare_random());
            size_t values = n ? (size_t)(n - 1) * stride + dim : 0, bytes = n * sizeof(int32_t);
            int manner = (int)(compare_random() % 5);
            if (values > COMPARE_SLOT_BYTES)
                continue;
            compare_slot = 0;
            const int16_t *q = compare_s16(dim, manner, RUVM_Q_MAX);
            const int8_t *key = compare_s8(values, manner);
            int32_t *a = compare_array(bytes), *b = compare_array(bytes);
            k->scores(a, q, key, n, dim, stride);
            oracle->scores(b, q, key, n, dim, stride);
            bad = compare_same("scores", a, b, bytes, n, dim);
        }
    return bad;
}

static int compare_mix(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (size_t h = 0; h < sizeof compare_heads / 4; h++)
        for (size_t i = 0; i < sizeof compare_positions / 4 && !bad; i++) {
            uint32_t dim = compare_heads[h], n = compare_positions[i];
            uint32_t stride = compare_stride(dim, compare_random());
            size_t values = n ? (size_t)(n - 1) * stride + dim : 0, bytes = dim * sizeof(int32_t);
            int manner = (int)(compare_random() % 5);
            if (values > COMPARE_SLOT_BYTES)
                continue;
            compare_slot = 0;
            const uint16_t *e = compare_u16(n, manner, RUVM_E_MAX);
            const int8_t *v = compare_s8(values, manner == 2 ? 1 : manner);
            int32_t *a = compare_s32(dim, 0, n < RUVM_MIX_BLOCK ? 10000 : 0);
            int32_t *b = compare_twin(a, bytes);
            k->mix(a, e, v, n, dim, stride);
            oracle->mix(b, e, v, n, dim, stride);
            bad = compare_same("mix", a, b, bytes, n, dim);
        }
    return bad;
}

/* 0 .. 2^31 - 1, small ones as likely as large ones. */
static uint32_t compare_mult(void)
{
    uint32_t any = (uint32_t)(compare_random() & INT32_MAX);
    return any >> compare_random() % 31;
}

/* Lengths of the element-wise cases: every tail, then some real ones. */
static uint32_t compare_length(uint32_t i)
{
    static const uint32_t real[] = {172, 288, 512, 768, 1001, 2048};
    return i < 70 ? i : real[(i - 70) % 6];
}

static int compare_weights(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 1500 && !bad; i++) {
        uint32_t n = compare_length(i % 80), bits = (uint32_t)(compare_random() % 32);
        uint32_t mult = compare_mult(), shift = (uint32_t)(compare_random() % 63);
        if (i & 1) { /* weights between nothing and all: 14 steps over the range of s */
            mult = 0x40000000u + (uint32_t)(compare_random() & 0x3fffffff);
            shift = bits + 12;
        }
        compare_slot = 0;
        const int32_t *s = compare_s32(n, (int)(i % 5), ((int64_t)1 << bits) - 1);
        uint16_t *a = compare_array(n * sizeof *a), *b = compare_array(n * sizeof *b);
        uint32_t sum = k->weights(a, s, n, mult, shift);
        bad = compare_number("weights", sum, oracle->weights(b, s, n, mult, shift), n);
        bad |= compare_same("weights", a, b, n * sizeof *a, n, shift);
    }
    return bad;
}

/* A call of rotate: of 1 to 9 heads, and with scales or without. */
static struct ruvm_turn compare_turn(uint32_t i)
{
    struct ruvm_turn t = {.n_heads = 1 + i % 9,
                          .head_dim = compare_heads[i % (sizeof compare_heads / 4)],
                          .first = i / 3 % 5,
                          .share = 1 + i / 7 % 3};
    t.n_pairs = i % 3 ? t.head_dim / 2 : (uint32_t)compare_random() % (t.head_dim / 2 + 1);
    t.turn = compare_s16((size_t)2 * t.n_pairs, (int)(i / 5 % 5), 16384);
    uint32_t n_scales = (t.first + t.n_heads - 1) / t.share + 1;
    t.scale = i % 4 ? compare_u16((size_t)n_scales * t.head_dim, (int)(i / 2 % 5), 65535) : NULL;
    return t;
}

static int compare_rotate(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 3000 && !bad; i++) {
        compare_slot = 0;
        const struct ruvm_turn t = compare_turn(i);
        uint32_t n = t.n_heads * t.head_dim, bytes = n * 4;
        struct ruvm_turned *x = compare_array(t.n_heads * sizeof *x);
        struct ruvm_turned *y = compare_array(t.n_heads * sizeof *y);
        int32_t *a = compare_s32(n, (int)(i % 5), ((int64_t)2 << i % 31) - 1);
        int32_t *b = compare_twin(a, bytes);
        k->rotate(x, a, &t);
        oracle->rotate(y, b, &t);
        bad = compare_same("rotate", a, b, bytes, t.head_dim, t.n_pairs);
        bad |= compare_same("rotate", x, y, t.n_heads * sizeof *x, t.head_dim, t.n_heads);
    }
    return bad;
}

static int compare_to_cache(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 2000 && !bad; i++) {
        uint32_t n = compare_length(i % 80);
        struct ruvm_to_cache p = {.mult = i % 7 ? compare_mult() : INT32_MAX, .shift = 1 + i % 62};
        compare_slot = 0;
        p.inverse = compare_u16(n, (int)(i % 5), 65535);
        p.zero = i % 3 ? compare_s16(n, (int)(i / 5 % 5), 16383) : NULL;
        const int32_t *v = compare_s32(n, (int)(i / 25 % 5), ((int64_t)2 << i / 3 % 15) - 1);
        int8_t *a = compare_array(n), *b = compare_array(n);
        k->to_cache(a, v, n, &p);
        oracle->to_cache(b, v, n, &p);
        bad = compare_same("to_cache", a, b, n, n, p.shift);
    }
    return bad;
}

static int compare_narrow(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 1000 && !bad; i++) {
        uint32_t n = compare_length(i % 80), bits = i % 32;
        uint32_t down = bits > 16 ? bits - 16 : 0, up = bits < 16 ? 16 - bits : 0;
        int64_t limit = ((int64_t)1 << bits) - 1;
        uint32_t shifted = (uint32_t)((limit << up) >> down);
        uint32_t mult = ((uint32_t)RUVM_Q_MAX << 18) / (shifted ? shifted : 1);
        compare_slot = 0;
        const int32_t *x = compare_s32(n, (int)(i % 5), limit);
        int16_t *a = compare_array(n * sizeof *a), *b = compare_array(n * sizeof *b);
        k->narrow(a, x, n, up, down, mult);
        oracle->narrow(b, x, n, up, down, mult);
        bad = compare_same("narrow", a, b, n * sizeof *a, n, bits);
    }
    return bad;
}

static int compare_divide(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 1000 && !bad; i++) {
        uint32_t n = compare_length(i % 80), bytes = n * 4, down = i % 17;
        uint32_t inverse = (uint32_t)compare_random() & 0x3ffff;
        compare_slot = 0;
        const int32_t *x = compare_s32(n, (int)(i % 5), ((int64_t)2 << i % 31) - 1);
        const uint16_t *scale = compare_u16(n, (int)(i / 5 % 5), 65535);
        int32_t *a = compare_array(bytes), *b = compare_array(bytes);
        k->divide(a, x, scale, n, down, inverse);
        oracle->divide(b, x, scale, n, down, inverse);
        bad = compare_same("divide", a, b, bytes, n, down);
    }
    return bad;
}

static int compare_unpack(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 1500 && !bad; i++) {
        uint32_t n = compare_heads[i % 30], n_pos = (uint32_t)compare_random() % 70;
        size_t bytes = (size_t)n_pos * n;
        compare_slot = 0;
        uint8_t *m = compare_array(n_pos);
        for (uint32_t p = 0; p < n_pos; p++)
            m[p] = (uint8_t)(i & 1 ? 1 + compare_random() % 135 : 135);
        const uint8_t *codes = (const uint8_t *)compare_s8(bytes / 2, i & 2 ? 0 : 4);
        int8_t *a = compare_array(bytes), *b = compare_array(bytes);
        k->unpack(a, codes, m, n_pos, n);
        oracle->unpack(b, codes, m, n_pos, n);
        bad = compare_same("unpack", a, b, bytes, n, n_pos);
    }
    return bad;
}

static int compare_rescale(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 400 && !bad; i++) {
        uint32_t n = compare_length(i % 80), bytes = n * 4;
        compare_slot = 0;
        const uint16_t *scale = compare_u16(n, (int)(i / 80), 65535);
        int32_t *a = compare_s32(n, (int)(i % 5), ((int64_t)2 << i % 30) - 1);
        int32_t *b = compare_twin(a, bytes);
        k->rescale(a, scale, n);
        oracle->rescale(b, scale, n);
        bad = compare_same("rescale", a, b, bytes, n, i);
    }
    return bad;
}

static int compare_amax(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 400 && !bad; i++) {
        uint32_t n = compare_length(i % 80);
        compare_slot = 0;
        const int32_t *x = compare_s32(n, (int)(i % 5), ((int64_t)2 << i % 31) - 1);
        bad = compare_number("amax", k->amax(x, n), oracle->amax(x, n), n);
    }
    return bad;
}

/* Few values differ, so that the largest is often there several times. A chip has none. */
static int compare_largest(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    const struct ruvm_kernels *of = k->largest ? k : oracle;
    for (uint32_t i = 0; i < 400 && !bad; i++) {
        uint32_t n = 1 + compare_length(i % 80) * (1 + i % 7);
        compare_slot = 0;
        const int32_t *x = compare_s32(n, (int)(i % 5), ((int64_t)2 << i % 31) - 1);
        bad = compare_number("largest", of->largest(x, n), oracle->largest(x, n), n);
    }
    return bad;
}

static int compare_quantize(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 1000 && !bad; i++) {
        uint32_t n = compare_length(i % 80), padded = (n + 15) / 16 * 16, bits = i % 32;
        uint32_t down = bits > 16 ? bits - 16 : 0;
        uint32_t up = bits < 16 ? (uint32_t)compare_random() % (17 - bits) : 0;
        int64_t limit = ((int64_t)1 << bits) - 1; /* its negative may shift to -2^16 */
        uint32_t shifted = (uint32_t)((limit << up) >> down);
        uint32_t mult = (127u << 24) / (shifted ? shifted : 1);
        compare_slot = 0;
        const int32_t *x = compare_s32(n, (int)(i % 5), limit);
        int8_t *a = compare_array(padded), *b = compare_array(padded);
        k->quantize(a, x, n, padded, up, down, mult);
        oracle->quantize(b, x, n, padded, up, down, mult);
        bad = compare_same("quantize", a, b, padded, n, bits);
    }
    return bad;
}

static int compare_add_scaled(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 3000 && !bad; i++) {
        uint32_t n = compare_length(i % 80), bytes = n * 4;
        struct ruvm_addition p = {.mult = compare_mult(), .shift = 1 + i % 62};
        p.mult = i % 7 ? p.mult : INT32_MAX;
        p.is_first = i / 62 % 3 == 0;
        compare_slot = 0;
        p.scale = compare_u16(n, (int)(i / 2 % 5), 65535);
        int32_t *x = compare_s32(n, (int)(i % 5), ((int64_t)1 << i % 31) - 1);
        int32_t *y = compare_twin(x, bytes);
        int32_t *a = compare_s32(n, (int)(i / 5 % 5), ((int64_t)2 << i / 3 % 31) - 1);
        int32_t *b = compare_twin(a, bytes);
        k->add_scaled(a, x, n, &p);
        oracle->add_scaled(b, y, n, &p);
        bad = compare_same("add_scaled", a, b, bytes, n, p.shift);
    }
    return bad;
}

/* The largest |h| that a right shift by down brings to 2^15 and no further. */
static int64_t compare_limit15(uint32_t down)
{
    int64_t limit = (int64_t)32768 << down;
    return limit > INT32_MAX ? INT32_MAX : limit;
}

static int compare_norm(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 800 && !bad; i++) {
        uint32_t n = compare_length(i % 80), down = i % 17;
        compare_slot = 0;
        const int32_t *h = compare_s32(n, (int)(i % 5), compare_limit15(down));
        const int16_t *gain = compare_s16(n, (int)(i / 5 % 5), 32767);
        int32_t *a = compare_array(n * 4), *b = compare_array(n * 4);
        uint64_t sum = k->norm(a, h, gain, n, down);
        bad = compare_number("norm", sum, oracle->norm(b, h, gain, n, down), n);
        bad |= compare_same("norm", a, b, n * 4, n, down);
    }
    return bad;
}

static int compare_swiglu(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 1500 && !bad; i++) {
        uint32_t n = compare_length(i % 80), bytes = n * 4;
        struct ruvm_swiglu p = {.up_down = i % 17, .gate_down = i / 3 % 17, .shift = i % 31};
        p.mult = (uint32_t)compare_random() & 32767;
        if (i % 10 == 9) { /* the largest gate just reaches a 4th, half or all of the table */
            p.mult = 32767 - i / 10 % 3;
            p.shift = 14 + i / 30 % 3;
        }
        compare_slot = 0;
        const int32_t *up = compare_s32(n, (int)(i % 5), compare_limit15(p.up_down));
        const int32_t *gate = compare_s32(n, (int)(i / 5 % 5), compare_limit15(p.gate_down));
        int32_t *a = compare_array(bytes), *b = compare_twin(up, bytes);
        k->swiglu(a, up, gate, n, &p);
        oracle->swiglu(b, b, gate, n, &p); /* in place */
        bad = compare_same("swiglu", a, b, bytes, n, p.shift);
        int32_t *c = compare_twin(up, bytes);
        k->swiglu(c, c, gate, n, &p);
        bad |= compare_same("swiglu in place", c, b, bytes, n, p.shift);
    }
    return bad;
}

static int compare_spread(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 800 && !bad; i++) {
        uint32_t n = 1 + compare_length(i % 80);
        int32_t a = 0, b = 0;
        compare_slot = 0;
        const int32_t *h = compare_s32(n, (int)(i % 5), ((int64_t)2 << i % 31) - 1);
        uint32_t most = k->spread(h, n, &a);
        bad = compare_number("spread", most, oracle->spread(h, n, &b), n);
        bad |= compare_number("mean of spread", (uint32_t)a, (uint32_t)b, n);
    }
    return bad;
}

/* Numbers of up to 31 bits around a mean, brought to 23 bits. */
static int compare_layernorm(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 1200 && !bad; i++) {
        uint32_t n = 1 + compare_length(i % 80), bits;
        struct ruvm_centre c = {0};
        compare_slot = 0;
        const int32_t *h = compare_s32(n, (int)(i % 5), ((int64_t)2 << i % 31) - 1);
        const int16_t *gain = compare_s16(n, (int)(i / 5 % 5), 32767);
        uint32_t most = naive_spread(h, n, &c.mean);
        for (bits = 0; most; most >>= 1)
            bits++;
        c.down = bits > 23 ? bits - 23 : 0;
        c.up = bits < 23 ? (uint32_t)compare_random() % (24 - bits) : 0;
        int32_t *a = compare_array(n * 4), *b = compare_array(n * 4);
        uint64_t sum = k->layernorm(a, h, gain, n, &c);
        bad = compare_number("layernorm", sum, oracle->layernorm(b, h, gain, n, &c), n);
        bad |= compare_same("layernorm", a, b, n * 4, n, bits);
    }
    return bad;
}

/* x of some bits, and factors that keep it below 2^30. */
static int compare_scale(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 2000 && !bad; i++) {
        uint32_t n = compare_length(i % 80), bits = i % 31 + 1;
        uint32_t mult = i % 7 ? compare_mult() : INT32_MAX, more = (uint32_t)compare_random() % 32;
        uint32_t shift = bits + 1 + more;
        compare_slot = 0;
        int32_t *a = compare_s32(n, (int)(i % 5), ((int64_t)1 << bits) - 1);
        int32_t *b = compare_twin(a, n * 4);
        k->scale(a, n, mult, shift < 62 ? shift : 62);
        oracle->scale(b, n, mult, shift < 62 ? shift : 62);
        bad = compare_same("scale", a, b, n * 4, n, shift);
    }
    return bad;
}

static int compare_add_bias(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 2000 && !bad; i++) {
        uint32_t n = compare_length(i % 80), shift = 1 + i % 62;
        uint32_t mult = i % 7 ? compare_mult() : INT32_MAX;
        compare_slot = 0;
        const int16_t *bias = compare_s16(n, (int)(i % 5), 32767);
        int32_t *a = compare_s32(n, (int)(i / 5 % 5), ((int64_t)2 << i / 3 % 31) - 1);
        int32_t *b = compare_twin(a, n * 4);
        k->add_bias(a, bias, n, mult, shift);
        oracle->add_bias(b, bias, n, mult, shift);
        bad = compare_same("add_bias", a, b, n * 4, n, shift);
    }
    return bad;
}

static int compare_gelu(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 1500 && !bad; i++) {
        uint32_t n = compare_length(i % 80), bytes = n * 4;
        struct ruvm_gelu p = {.row = i & 1, .down = i / 3 % 17, .shift = i % 31};
        p.mult = (uint32_t)compare_random() & 32767;
        compare_slot = 0;
        const int32_t *in = compare_s32(n, (int)(i % 5), compare_limit15(p.down));
        int32_t *a = compare_array(bytes), *b = compare_twin(in, bytes);
        k->gelu(a, in, n, &p);
        oracle->gelu(b, b, n, &p); /* in place */
        bad = compare_same("gelu", a, b, bytes, n, p.shift);
        int32_t *c = compare_twin(in, bytes);
        k->gelu(c, c, n, &p);
        bad |= compare_same("gelu in place", c, b, bytes, n, p.shift);
    }
    return bad;
}

static int compare_relu(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int bad = 0;
    for (uint32_t i = 0; i < 400 && !bad; i++) {
        uint32_t n = compare_length(i % 80);
        compare_slot = 0;
        const int32_t *in = compare_s32(n, (int)(i % 5), ((int64_t)2 << i % 31) - 1);
        int32_t *a = compare_array(n * 4), *b = compare_twin(in, n * 4);
        k->relu(a, in, n);
        oracle->relu(b, b, n); /* in place */
        bad = compare_same("relu", a, b, n * 4, n, i);
    }
    return bad;
}

struct compare_case {
    const char *name;
    int (*run)(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle);
};

static const struct compare_case compare_cases[] = {
    {"matmul_s8", compare_matmul},
    {"matmul_s8 large", compare_matmul_large},
    {"matmul_int4", compare_int4},
    {"matmul_int3", compare_int3},
    {"matmul_int2", compare_int2},
    {"matmul_binary", compare_binary},
    {"matmul_ternary", compare_ternary},
    {"matmul_xnor", compare_xnor},
    {"scores", compare_scores},
    {"mix", compare_mix},
    {"weights", compare_weights},
    {"attend", compare_attend},
    {"rotate", compare_rotate},
    {"to_cache", compare_to_cache},
    {"narrow", compare_narrow},
    {"divide", compare_divide},
    {"unpack", compare_unpack},
    {"rescale", compare_rescale},
    {"amax", compare_amax},
    {"largest", compare_largest},
    {"quantize", compare_quantize},
    {"add_scaled", compare_add_scaled},
    {"norm", compare_norm},
    {"swiglu", compare_swiglu},
    {"spread", compare_spread},
    {"layernorm", compare_layernorm},
    {"scale", compare_scale},
    {"add_bias", compare_add_bias},
    {"gelu", compare_gelu},
    {"relu", compare_relu},
    {NULL, NULL},
};

#endif
