/* One call of each kernel, as the engine would make it.
 *
 * Weights lie where the level of memory says; everything else is small and near, as it
 * is in a model. The values are arbitrary but keep the kernels' contracts: no kernel
 * takes another time for other ones.
 */
#include "lib/measure/kernel_calls.h"

#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_codes.h"
#include "formats/ruvm_layout.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"

enum {
    ALIGN = 64,
    WIDE = 768, /* columns of a model of 110 million weights */
    HEADS = 12, /* of HEAD_DIM */
    NARROW = 288,
    MOST_ROWS = 2048,
    HEAD_DIM = 64,
    MOST_VECTORS = 64,
    CACHED = -1, /* keys or values */
    VECTORS = -2,
};

/* 15 bits become 127, or a query */
enum { TO_127 = (127 << 24) / 32768, TO_QUERY = (RUVM_Q_MAX << 18) / 32768 };

/* ---- matrices ----------------------------------------------------------------- */

static void run_s8(const struct ruvm_kernel_call *c, const struct ruvm_kernels *k,
                   const struct ruvm_kernel_room *r, const uint8_t *weights)
{
    k->matmul_s8(&(struct ruvm_matmul){
        .w = (const int8_t *)weights,
        .x = r->x,
        .out = r->out,
        .n_rows = c->rows,
        .n_cols = c->cols,
        .row_bytes = c->cols,
        .n_vecs = c->vectors,
        .x_stride = c->cols,
        .out_stride = c->rows,
    });
}

static uint32_t mult_bytes_of(const struct ruvm_kernel_kind *kind, uint32_t cols)
{
    return kind->group ? ruvm_codes_mult_bytes(cols, kind->group) : 0;
}

static void run_codes(const struct ruvm_kernel_call *c, const struct ruvm_kernels *k,
                      const struct ruvm_kernel_room *r, const uint8_t *weights)
{
    int type = c->kind->type;
    uint32_t row_bytes = ruvm_codes_row_bytes(type, c->cols);
    const struct ruvm_matmul_codes m = {
        .w = weights,
        .mult = c->kind->group ? weights + (size_t)c->rows * row_bytes : NULL,
        .x = r->x,
        .out = r->out,
        .n_rows = c->rows,
        .n_cols = c->cols,
        .row_bytes = row_bytes,
        .group = c->kind->group,
        .mult_bytes = mult_bytes_of(c->kind, c->cols),
        .n_vecs = c->vectors,
        .x_stride = c->cols,
        .out_stride = c->rows,
    };
    switch (type) {
    case RUVM_TYPE_INT4: k->matmul_int4(&m); return;
    case RUVM_TYPE_INT3: k->matmul_int3(&m); return;
    case RUVM_TYPE_INT2: k->matmul_int2(&m); return;
    case RUVM_TYPE_BINARY: k->matmul_binary(&m); return;
    case RUVM_TYPE_TERNARY: k->matmul_ternary(&m); return;
    default: k->matmul_xnor(&m);
    }
}

static uint32_t panel_bytes_of(const struct ruvm_kernel_kind *kind, uint32_t cols)
{
    return ruvm_panels_bytes(ruvm_codes_row_bytes(kind->type, cols), mult_bytes_of(kind, cols));
}

static void run_panels(const struct ruvm_kernel_call *c, const struct ruvm_kernels *k,
                       const struct ruvm_kernel_room *r, const uint8_t *weights)
{
    k->matmul_panels(&(struct ruvm_matmul_panels){
        .w = weights,
        .x = r->x,
        .out = r->out,
        .bits = ruvm_codes_bits(c->kind->type),
        .n_rows = c->rows,
        .n_cols = c->cols,
        .panel_bytes = panel_bytes_of(c->kind, c->cols),
        .group = c->kind->group,
        .words_bytes = ruvm_codes_row_bytes(c->kind->type, c->cols) * RUVM_PANEL_ROWS,
        .n_vecs = c->vectors,
        .x_stride = c->cols,
        .out_stride = c->rows,
        .is_far = c->is_far,
    });
}

/* ---- keys and values ------------------------------------------------------------ */

static void run_scores(const struct ruvm_kernel_call *c, const struct ruvm_kernels *k,
                       const struct ruvm_kernel_room *r, const uint8_t *keys)
{
    k->scores(r->out, r->q, (const int8_t *)keys, c->rows, c->cols, c->cols);
}

static void run_mix(const struct ruvm_kernel_call *c, const struct ruvm_kernels *k,
                    const struct ruvm_kernel_room *r, const uint8_t *values)
{
    memset(r->out, 0, c->cols * sizeof *r->out); /* more than one block would not fit */
    k->mix(r->out, r->weight, (const int8_t *)values, c->rows, c->cols, c->cols);
}

/* Half of the rows are keys, half are values, and all queries see all of them. */
static void run_attend(const struct ruvm_kernel_call *c, const struct ruvm_kernels *k,
                       const struct ruvm_kernel_room *r, const uint8_t *cached)
{
    const int8_t *keys = (const int8_t *)cached;
    struct ruvm_attend a = {.n = RUVM_ATTEND_QUERIES,
                            .head_dim = c->cols,
                            .keys = keys,
                            .values = keys + (size_t)c->rows / 2 * c->cols,
                            .scale = r->scale};
    memcpy(r->out, r->a, (size_t)a.n * a.head_dim * sizeof *r->out);
    for (uint32_t i = 0; i < a.n; i++) {
        a.v[i] = r->out + (size_t)i * a.head_dim;
        a.narrow_mult[i] = TO_QUERY;
        a.n_pos[i] = c->rows / 2;
        a.mult[i] = 1 << 30;
        a.shift[i] = 33;
    }
    k->attend(&a);
}

/* ---- vectors -------------------------------------------------------------------- */

#define VECTOR_RUN(name, call)                                                                     \
    static void run_##name(const struct ruvm_kernel_call *c, const struct ruvm_kernels *k,         \
                           const struct ruvm_kernel_room *r, const uint8_t *weights)               \
    {                                                                                              \
        uint32_t n = c->cols;                                                                      \
        (void)weights;                                                                             \
        call;                                                                                      \
    }

/* 15 bits become 12 */
static const struct ruvm_swiglu swiglu = {.mult = 1 << 12, .shift = 15};
static const struct ruvm_gelu gelu = {.mult = 1 << 12, .shift = 15};
static const struct ruvm_centre centre = {.up = 8};
static void to_cache(const struct ruvm_kernels *k, const struct ruvm_kernel_room *r, uint32_t n)
{
    const struct ruvm_to_cache p = {.inverse = r->scale, .zero = r->gain, .mult = 1, .shift = 24};
    k->to_cache(r->x, r->a, n, &p);
}

/* Queries, whose scales of 1 leave them what they are. */
static void rotate(const struct ruvm_kernels *k, const struct ruvm_kernel_room *r, uint32_t n)
{
    struct ruvm_turned turned[HEADS];
    const struct ruvm_turn t = {.n_heads = HEADS,
                                .head_dim = n / HEADS,
                                .n_pairs = n / HEADS / 2,
                                .turn = r->gain,
                                .scale = r->one,
                                .share = HEADS};
    k->rotate(turned, r->folded, &t);
}

static void add_scaled(const struct ruvm_kernels *k, const struct ruvm_kernel_room *r, uint32_t n)
{
    const struct ruvm_addition p = {.scale = r->scale, .mult = 1 << 20, .shift = 34};
    k->add_scaled(r->sum, r->zero, n, &p);
}

VECTOR_RUN(weights, k->weights(r->scale, r->a, n, 1 << 30, 28))
VECTOR_RUN(rotate, rotate(k, r, n))
VECTOR_RUN(to_cache, to_cache(k, r, n))
VECTOR_RUN(narrow, k->narrow(r->q, r->a, n, 0, 0, TO_QUERY))
VECTOR_RUN(divide, k->divide(r->y, r->a, r->scale, n, 0, 1 << 17))
VECTOR_RUN(unpack, k->unpack(r->x, r->codes, r->step, HEADS, n / HEADS))
VECTOR_RUN(rescale, k->rescale(r->y, r->scale, n))
VECTOR_RUN(amax, r->out[0] = (int32_t)k->amax(r->a, n))
VECTOR_RUN(largest, r->out[0] = (int32_t)k->largest(r->a, n))
VECTOR_RUN(quantize, k->quantize(r->x, r->a, n, n, 0, 0, TO_127))
VECTOR_RUN(add_scaled, add_scaled(k, r, n))
VECTOR_RUN(norm, k->norm(r->y, r->a, r->gain, n, 0))
VECTOR_RUN(swiglu, k->swiglu(r->y, r->a, r->b, n, &swiglu))
VECTOR_RUN(spread, k->spread(r->a, n, r->out))
VECTOR_RUN(layernorm, k->layernorm(r->y, r->a, r->gain, n, &centre))
VECTOR_RUN(scale, k->scale(r->y, n, 1 << 30, 30))
VECTOR_RUN(add_bias, k->add_bias(r->sum, r->gain, n, 1 << 20, 30))
VECTOR_RUN(gelu, k->gelu(r->y, r->a, n, &gelu))
VECTOR_RUN(relu, k->relu(r->y, r->a, n))

static const struct ruvm_kernel_kind kinds[] = {
    {"matmul_s8", RUVM_TYPE_INT8, 0, 0, run_s8},
    {"matmul_int4", RUVM_TYPE_INT4, 0, 0, run_codes},
    {"matmul_int4/32", RUVM_TYPE_INT4, 32, 0, run_codes},
    {"matmul_int3", RUVM_TYPE_INT3, 0, 0, run_codes},
    {"matmul_int2", RUVM_TYPE_INT2, 0, 0, run_codes},
    {"matmul_binary", RUVM_TYPE_BINARY, 0, 0, run_codes},
    {"matmul_ternary", RUVM_TYPE_TERNARY, 0, 0, run_codes},
    {"matmul_xnor", RUVM_TYPE_XNOR, 0, 0, run_codes},
    {"matmul_panels", RUVM_TYPE_INT8, 0, 0, run_panels},
    {"matmul_panels/int4", RUVM_TYPE_INT4, 0, 0, run_panels},
    {"matmul_panels/int4/32", RUVM_TYPE_INT4, 32, 0, run_panels},
    {"matmul_panels/int3", RUVM_TYPE_INT3, 0, 0, run_panels},
    {"matmul_panels/int2", RUVM_TYPE_INT2, 0, 0, run_panels},
    {"matmul_panels/binary", RUVM_TYPE_BINARY, 0, 0, run_panels},
    {"matmul_panels/binary/32", RUVM_TYPE_BINARY, 32, 0, run_panels},
    {"scores", CACHED, 0, 0, run_scores},
    {"mix", CACHED, 0, 0, run_mix},
    {"attend", CACHED, 0, 0, run_attend},
    {"weights", VECTORS, 0, 6, run_weights},
    {"rotate", VECTORS, 0, 12, run_rotate},
    {"to_cache", VECTORS, 0, 9, run_to_cache},
    {"narrow", VECTORS, 0, 6, run_narrow},
    {"divide", VECTORS, 0, 10, run_divide},
    {"unpack", VECTORS, 0, 1.5, run_unpack},
    {"rescale", VECTORS, 0, 10, run_rescale},
    {"amax", VECTORS, 0, 4, run_amax},
    {"largest", VECTORS, 0, 4, run_largest},
    {"quantize", VECTORS, 0, 5, run_quantize},
    {"add_scaled", VECTORS, 0, 14, run_add_scaled},
    {"norm", VECTORS, 0, 10, run_norm},
    {"swiglu", VECTORS, 0, 12, run_swiglu},
    {"spread", VECTORS, 0, 4, run_spread},
    {"layernorm", VECTORS, 0, 10, run_layernorm},
    {"scale", VECTORS, 0, 8, run_scale},
    {"add_bias", VECTORS, 0, 10, run_add_bias},
    {"gelu", VECTORS, 0, 8, run_gelu},
    {"relu", VECTORS, 0, 8, run_relu},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };
_Static_assert(RUVM_ATTEND_QUERIES *HEAD_DIM <= RUVM_MIX_BLOCK, "vectors are as many queries");

/* ---- the list ------------------------------------------------------------------- */

bool ruvm_kernel_calls_has(const struct ruvm_kernels *k, const struct ruvm_kernel_call *c)
{
    return (c->kind->run != run_panels || k->matmul_panels) &&
           (c->kind->run != run_attend || k->attend);
}

/* Pairs of panels are looked up. */
bool ruvm_kernel_calls_multiplies(const struct ruvm_kernels *k, const struct ruvm_kernel_call *c)
{
    const struct ruvm_kernel_kind *kind = c->kind;
    bool are_pairs = kind->type == RUVM_TYPE_BINARY && k->panel_pairs;
    return kind->type != VECTORS && kind->type != RUVM_TYPE_XNOR &&
           !(kind->run == run_panels && are_pairs);
}

/* Of n rows of a matrix, or n keys or values. */
static uint32_t bytes_of(const struct ruvm_kernel_kind *kind, uint32_t n, uint32_t cols)
{
    if (kind->run == run_panels)
        return n / RUVM_PANEL_ROWS * panel_bytes_of(kind, cols);
    if (kind->type == CACHED)
        return n * cols;
    return n * (ruvm_codes_row_bytes(kind->type, cols) + mult_bytes_of(kind, cols));
}

/* All models have a multiple of 4 rows; panels may be pairs. */
static uint32_t rows_together(const struct ruvm_kernel_kind *kind)
{
    if (kind->run != run_panels)
        return 4;
    return kind->type == RUVM_TYPE_BINARY ? 2 * RUVM_PANEL_ROWS : RUVM_PANEL_ROWS;
}

/* As many rows as a model has, or as the level holds. */
static struct ruvm_kernel_call call_of(const struct ruvm_kernel_kind *kind, uint32_t cols,
                                       uint32_t vectors, uint32_t level,
                                       const struct ruvm_bench_roofs *roofs)
{
    uint64_t room =
        roofs->levels[level].placed_bytes * RUVM_PANEL_ROWS / bytes_of(kind, RUVM_PANEL_ROWS, cols);
    uint32_t most = kind->type == CACHED ? (uint32_t)RUVM_MIX_BLOCK : (uint32_t)MOST_ROWS;
    uint32_t rows = room < most ? (uint32_t)room : most;
    rows -= rows % rows_together(kind);
    uint32_t bytes = bytes_of(kind, rows, cols);
    return (struct ruvm_kernel_call){
        .kind = kind,
        .rows = rows,
        .cols = cols,
        .vectors = vectors,
        .level = level,
        .is_far = level + 1 == roofs->n_levels,
        .bytes = bytes,
        .advance = (uint32_t)ruvm_align_up(bytes, ALIGN),
    };
}

static struct ruvm_kernel_call vector_of(const struct ruvm_kernel_kind *kind)
{
    return (struct ruvm_kernel_call){
        .kind = kind, .cols = WIDE, .vectors = 1, .bytes = (uint32_t)(WIDE * kind->value_bytes)};
}

uint32_t ruvm_kernel_calls_list(struct ruvm_kernel_call calls[RUVM_KERNEL_CALLS],
                                const struct ruvm_bench_roofs *roofs)
{
    uint32_t n = 0, second = roofs->n_levels > 1;
    for (uint32_t i = 0; i < N_KINDS; i++) {
        const struct ruvm_kernel_kind *kind = &kinds[i];
        if (kind->type == VECTORS) {
            calls[n++] = vector_of(kind);
            continue;
        }
        uint32_t vectors = kind->run == run_attend ? RUVM_ATTEND_QUERIES : 1;
        for (uint32_t level = 0; level < roofs->n_levels; level++)
            calls[n++] =
                call_of(kind, kind->type == CACHED ? HEAD_DIM : WIDE, vectors, level, roofs);
        if (kind->type == CACHED)
            continue;
        calls[n++] = call_of(kind, NARROW, 1, second, roofs);
        calls[n++] = call_of(kind, WIDE, 8, second, roofs);
        calls[n++] = call_of(kind, WIDE, MOST_VECTORS, second, roofs);
    }
    return n;
}
_Static_assert(N_KINDS * 7 < RUVM_KERNEL_CALLS * 2, "the list has room for every call");

/* ---- room ----------------------------------------------------------------------- */

/* Values of bits and a sign from one generator; the sizes are the room's. */
struct filler {
    uint8_t *next;
    uint32_t state;
};

static int32_t draw(struct filler *f, uint32_t bits)
{
    f->state = f->state * 1664525u + 1013904223u;
    return (int32_t)(f->state >> 12 & ((1u << bits) - 1));
}

static void *take(struct filler *f, size_t bytes)
{
    void *p = f->next;
    f->next += ruvm_align_up(bytes, ALIGN);
    return p;
}

static uint8_t *take_u8(struct filler *f, uint32_t n, uint32_t bits)
{
    uint8_t *v = take(f, n);
    for (uint32_t i = 0; i < n; i++)
        v[i] = (uint8_t)draw(f, bits);
    return v;
}

/* -2^15 is not among them. */
static int32_t *take_s32(struct filler *f, uint32_t n)
{
    int32_t *v = take(f, n * sizeof *v);
    for (uint32_t i = 0; i < n; i++) {
        v[i] = draw(f, 16) - (1 << 15);
        v[i] += v[i] < 0;
    }
    return v;
}

static uint16_t *take_u16(struct filler *f, uint32_t n, uint32_t bits)
{
    uint16_t *v = take(f, n * sizeof *v);
    for (uint32_t i = 0; i < n; i++)
        v[i] = (uint16_t)draw(f, bits);
    return v;
}

static int16_t *take_s16(struct filler *f, uint32_t n)
{
    int16_t *v = take(f, n * sizeof *v);
    for (uint32_t i = 0; i < n; i++)
        v[i] = (int16_t)(draw(f, 14) - RUVM_Q_MAX);
    return v;
}

enum { ROOM_BYTES = MOST_ROWS * MOST_VECTORS * 4 + MOST_VECTORS * WIDE + (1 << 16) };

int ruvm_kernel_room_open(struct ruvm_kernel_room *r, struct ruvm_error *err)
{
    *r = (struct ruvm_kernel_room){.owned = aligned_alloc(ALIGN, ROOM_BYTES)};
    if (!r->owned)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for measuring kernels");
    memset(r->owned, 0, ROOM_BYTES);
    struct filler f = {.next = r->owned, .state = 1};
    r->x = take(&f, MOST_VECTORS * WIDE);
    for (uint32_t i = 0; i < MOST_VECTORS * WIDE; i++)
        r->x[i] = (int8_t)(draw(&f, 7) - 63);
    r->a = take_s32(&f, RUVM_MIX_BLOCK);
    r->b = take_s32(&f, RUVM_MIX_BLOCK);
    r->y = take_s32(&f, RUVM_MIX_BLOCK);
    r->sum = take_s32(&f, RUVM_MIX_BLOCK);
    r->folded = take_s32(&f, RUVM_MIX_BLOCK);
    r->zero = take(&f, RUVM_MIX_BLOCK * sizeof *r->zero);
    r->q = take_s16(&f, RUVM_MIX_BLOCK);
    r->gain = take_s16(&f, RUVM_MIX_BLOCK);
    r->scale = take_u16(&f, RUVM_MIX_BLOCK, 16);
    r->weight = take_u16(&f, RUVM_MIX_BLOCK, 14);
    r->one = take_u16(&f, RUVM_MIX_BLOCK, 0);
    for (uint32_t i = 0; i < RUVM_MIX_BLOCK; i++)
        r->one[i] = 1;
    r->codes = take_u8(&f, RUVM_MIX_BLOCK, 8);
    r->step = take_u8(&f, RUVM_MIX_BLOCK, 7);
    r->out = take(&f, (size_t)MOST_ROWS * MOST_VECTORS * sizeof *r->out);
    return RUVM_OK;
}

void ruvm_kernel_room_close(struct ruvm_kernel_room *r)
{
    free(r->owned);
    *r = (struct ruvm_kernel_room){0};
}
