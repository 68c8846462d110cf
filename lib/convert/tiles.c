/* Turns rows into tiles four by four, in registers, and multiplies a tile with inputs.
 *
 * Values of two bytes are turned in pairs and become floats afterwards, so that they move
 * half as often. No rounding happens here: every value of such a type is a float.
 */
#include "lib/convert/tiles.h"

#include <string.h>

#include "lib/train/isa.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc contracts nothing under -std=c11 */
#endif

enum {
    LANES = RUVM_FLOATS_LANES,
    FOUR = 4,
    LINE_BYTES = 64,
    COLUMNS_AHEAD = 32,
};

/* ---- rows ------------------------------------------------------------------ */

/* Files are little-endian; where the machine is not, values are read one by one. */
static bool is_plain(const struct ruvm_view *v)
{
    return (v->dtype == RUVM_DTYPE_F32 || v->dtype == RUVM_DTYPE_F16 ||
            v->dtype == RUVM_DTYPE_BF16) &&
           __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
}

/* Columns whose values of LANES rows stand side by side. */
static bool has_columns(const struct ruvm_view *v, uint32_t first)
{
    return v->stride && !v->order && first + LANES <= v->dims[0];
}

void ruvm_tiles_rows(struct ruvm_tiles_rows *rows, const struct ruvm_view *v, uint32_t first,
                     float *room)
{
    uint32_t size, n = (uint32_t)v->dims[0], cols = (uint32_t)v->dims[1];
    bool in_place = is_plain(v) && (!v->stride || has_columns(v, first));
    ruvm_dtype_block(v->dtype, &size);
    rows->dtype = in_place ? v->dtype : RUVM_DTYPE_F32;
    rows->stride = in_place ? v->stride : 0;
    rows->ahead = in_place && !v->stride ? (size_t)LANES * cols * size : 0;
    for (uint32_t r = 0; r < LANES; r++) {
        uint64_t row = first + r < n ? first + r : n - 1;
        uint64_t stored = v->order ? v->order[row] : row;
        rows->row[r] = (const uint8_t *)(room + (size_t)r * cols);
        if (in_place)
            rows->row[r] = v->data + stored * (v->stride ? 1 : cols) * size;
        else
            ruvm_view_row(v, row, room + (size_t)r * cols);
    }
}

/* ---- rows that become columns -------------------------------------------------- */

/* Four words side by side: gcc and clang have them on every machine. */
struct words {
    uint32_t __attribute__((vector_size(16))) v;
};

static inline struct words load(const uint8_t *p)
{
    struct words w;
    memcpy(&w, p, sizeof w);
    return w;
}

static inline void store(float *p, struct words w)
{
    memcpy(p, &w, sizeof w);
}

/* Word i of row k becomes word k of row i. */
static inline void turn(struct words r[FOUR])
{
    struct words a = {__builtin_shufflevector(r[0].v, r[1].v, 0, 4, 1, 5)};
    struct words b = {__builtin_shufflevector(r[2].v, r[3].v, 0, 4, 1, 5)};
    struct words c = {__builtin_shufflevector(r[0].v, r[1].v, 2, 6, 3, 7)};
    struct words d = {__builtin_shufflevector(r[2].v, r[3].v, 2, 6, 3, 7)};
    r[0].v = __builtin_shufflevector(a.v, b.v, 0, 1, 4, 5);
    r[1].v = __builtin_shufflevector(a.v, b.v, 2, 3, 6, 7);
    r[2].v = __builtin_shufflevector(c.v, d.v, 0, 1, 4, 5);
    r[3].v = __builtin_shufflevector(c.v, d.v, 2, 3, 6, 7);
}

/* Four columns of f32; first is the byte where they begin in each row. */
static inline void turn_f32(float *tile, const struct ruvm_tiles_rows *rows, size_t first)
{
    for (uint32_t r = 0; r < LANES; r += FOUR) {
        struct words w[FOUR];
        for (uint32_t k = 0; k < FOUR; k++)
            w[k] = load(rows->row[r + k] + first);
        turn(w);
        for (uint32_t k = 0; k < FOUR; k++)
            store(tile + k * LANES + r, w[k]);
    }
}

/* Eight columns of bf16, which are the upper halves of floats: two of them move as a word. */
static inline void turn_bf16(float *tile, const struct ruvm_tiles_rows *rows, size_t first)
{
    for (uint32_t r = 0; r < LANES; r += FOUR) {
        struct words w[FOUR];
        for (uint32_t k = 0; k < FOUR; k++)
            w[k] = load(rows->row[r + k] + first);
        turn(w);
        for (uint32_t k = 0; k < FOUR; k++) {
            store(tile + 2 * k * LANES + r, (struct words){w[k].v << 16});
            store(tile + (2 * k + 1) * LANES + r, (struct words){w[k].v >> 16 << 16});
        }
    }
}

/* Sixteen short rows are too many streams for a processor to see by itself what comes next: it
 * is told once for the bytes of a cache line, early, and for its second cache. Beyond the end
 * of a file nothing happens. Measured on 0.4 GB of bf16, one thread: 5.6 GB/s without, 12.4
 * with, 26 of memory itself. */
static inline void fetch(const uint8_t *p, size_t ahead)
{
    __builtin_prefetch((const void *)((uintptr_t)p + ahead), 0, 1);
}

static inline void fetch_rows(const struct ruvm_tiles_rows *rows, size_t first)
{
    for (uint32_t r = 0; first % LINE_BYTES == 0 && r < LANES; r++)
        fetch(rows->row[r] + first, rows->ahead);
}

static void make_f32(float *tile, const struct ruvm_tiles_rows *rows, uint32_t first, uint32_t n)
{
    uint32_t c = 0;
    for (; c + FOUR <= n; c += FOUR) {
        size_t at = sizeof(float) * (first + (size_t)c);
        fetch_rows(rows, at);
        turn_f32(tile + (size_t)c * LANES, rows, at);
    }
    for (; c < n; c++)
        for (uint32_t r = 0; r < LANES; r++)
            tile[c * LANES + r] = ruvm_tensors_f32(rows->row[r] + sizeof(float) * (first + c));
}

static void make_bf16(float *tile, const struct ruvm_tiles_rows *rows, uint32_t first, uint32_t n)
{
    uint32_t c = 0;
    for (; c + 2 * FOUR <= n; c += 2 * FOUR) {
        size_t at = 2 * (first + (size_t)c);
        fetch_rows(rows, at);
        turn_bf16(tile + (size_t)c * LANES, rows, at);
    }
    for (; c < n; c++)
        for (uint32_t r = 0; r < LANES; r++)
            ruvm_dtype_floats(RUVM_DTYPE_BF16, rows->row[r] + 2 * (first + (size_t)c), 1,
                              tile + c * LANES + r);
}

/* Halves become floats in their rows. */
static void make_f16(float *tile, const struct ruvm_tiles_rows *rows, uint32_t first, uint32_t n)
{
    enum { WIDTH = LINE_BYTES / 2 };
    float room[LANES * WIDTH];
    struct ruvm_tiles_rows part = {.dtype = RUVM_DTYPE_F32};
    for (uint32_t c = 0; c < n; c += WIDTH) {
        uint32_t left = n - c, now = left < WIDTH ? left : WIDTH;
        fetch_rows(rows, 2 * (first + (size_t)c));
        for (uint32_t r = 0; r < LANES; r++) {
            part.row[r] = (const uint8_t *)(room + r * WIDTH);
            ruvm_dtype_floats(RUVM_DTYPE_F16, rows->row[r] + 2 * (first + (size_t)c), now,
                              room + r * WIDTH);
        }
        make_f32(tile + (size_t)c * LANES, &part, 0, now);
    }
}

static void make_columns(float *tile, const struct ruvm_tiles_rows *rows, uint32_t first,
                         uint32_t n)
{
    uint32_t bytes;
    ruvm_dtype_block(rows->dtype, &bytes);
    for (uint32_t c = 0; c < n; c++) {
        const uint8_t *column = rows->row[0] + (first + c) * rows->stride * bytes;
        fetch(column, COLUMNS_AHEAD * rows->stride * bytes);
        ruvm_dtype_floats(rows->dtype, column, LANES, tile + (size_t)c * LANES);
    }
}

void ruvm_tiles_make(float *tile, const struct ruvm_tiles_rows *rows, uint32_t first, uint32_t n)
{
    if (rows->stride)
        make_columns(tile, rows, first, n);
    else if (rows->dtype == RUVM_DTYPE_BF16)
        make_bf16(tile, rows, first, n);
    else if (rows->dtype == RUVM_DTYPE_F16)
        make_f16(tile, rows, first, n);
    else
        make_f32(tile, rows, first, n);
}

/* ---- products ---------------------------------------------------------------------- */

/* A column of a tile, for instruction sets that have so wide registers. */
struct column {
    float __attribute__((vector_size(LANES * sizeof(float)))) f;
};

static inline struct column start(const float *out, bool add)
{
    struct column sum = {{0}};
    if (add)
        memcpy(&sum, out, sizeof sum);
    return sum;
}

static inline RUVM_ISA_BODY void one_input_body(float *out, const float *tile, const float *x,
                                                uint32_t cols, bool add)
{
    struct column a = start(out, add), w;
    for (uint32_t i = 0; i < cols; i++, tile += LANES) {
        memcpy(&w, tile, sizeof w);
        a.f += w.f * x[i];
    }
    memcpy(out, &a, sizeof a);
}

/* Four inputs share what is loaded of the tile. */
static inline RUVM_ISA_BODY void four_inputs_body(float *out, size_t out_step, const float *tile,
                                                  const float *x, size_t x_step, uint32_t cols,
                                                  bool add)
{
    struct column a = start(out, add), b = start(out + out_step, add), w;
    struct column c = start(out + 2 * out_step, add), d = start(out + 3 * out_step, add);
    for (uint32_t i = 0; i < cols; i++, tile += LANES) {
        memcpy(&w, tile, sizeof w);
        a.f += w.f * x[i];
        b.f += w.f * x[i + x_step];
        c.f += w.f * x[i + 2 * x_step];
        d.f += w.f * x[i + 3 * x_step];
    }
    memcpy(out, &a, sizeof a);
    memcpy(out + out_step, &b, sizeof b);
    memcpy(out + 2 * out_step, &c, sizeof c);
    memcpy(out + 3 * out_step, &d, sizeof d);
}

RUVM_ISA_EACH(one_input, (float *out, const float *tile, const float *x, uint32_t cols, bool add),
              out, tile, x, cols, add)
RUVM_ISA_EACH(four_inputs,
              (float *out, size_t out_step, const float *tile, const float *x, size_t x_step,
               uint32_t cols, bool add),
              out, out_step, tile, x, x_step, cols, add)

void ruvm_tiles_multiply(struct ruvm_floats_vectors out, const float *tile,
                         struct ruvm_floats_vectors x, uint32_t cols, bool add)
{
    uint32_t i = 0;
    for (; i + FOUR <= x.n; i += FOUR)
        four_inputs(out.x + i * out.step, out.step, tile, x.x + i * x.step, x.step, cols, add);
    for (; i < x.n; i++)
        one_input(out.x + i * out.step, tile, x.x + i * x.step, cols, add);
}
