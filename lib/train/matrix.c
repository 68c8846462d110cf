/* Products of float matrices by panels and register tiles.
 *
 * A panel is a piece of b, WIDE columns by at most DEEP rows, copied so that its rows
 * follow each other; it stays in the first-level cache. A tile is a few rows of c, one
 * panel wide, in registers: for each l one row of the panel is loaded, and each
 * element a[i][l], broadcast, is multiplied with it. Cutting k into pieces of DEEP does
 * not change the sums: each goes on where c was left.
 */
#include "lib/train/matrix.h"

#include <string.h>

#include "lib/train/isa.h"

enum {
    WIDE = 32,   /* columns of a panel; */
    NARROW = 16, /* of one for matrices that have no more (heads) */
    DEEP = 256,  /* rows of a panel: 32 KiB */
    MAX_ROWS = 8 /* of a tile */
};

/* Vectors as they stand in memory: anywhere. (Through memcpy gcc moves them in halves.) */
#define AT_ANY_FLOAT __attribute__((packed, aligned(4), may_alias))
struct v16 {
    float __attribute__((vector_size(16))) f;
} AT_ANY_FLOAT;
struct v32 {
    float __attribute__((vector_size(32))) f;
} AT_ANY_FLOAT;
struct v64 {
    float __attribute__((vector_size(64))) f;
} AT_ANY_FLOAT;

/* Some rows of c, as wide as the panel. */
struct tile {
    float *c;
    const float *a, *panel;
    size_t c_row, a_row, a_col;
    uint32_t k, stride; /* rows of the panel and their distance */
    bool add;           /* to c, else the sums start at 0 */
};

#define UNROLL(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)

/* tile_<name>: ROWS rows of c, COUNT vectors wide. */
#define DEFINE_TILE(name, vector, ROWS, COUNT)                                                     \
    static inline RUVM_ISA_BODY void tile_##name(const struct tile *t)                             \
    {                                                                                              \
        float __attribute__((vector_size(sizeof(struct vector)))) sum[ROWS][COUNT], b[COUNT];      \
        const float *panel = t->panel, *a = t->a;                                                  \
        memset(sum, 0, sizeof sum);                                                                \
        if (t->add)                                                                                \
            UNROLL(i, ROWS)                                                                        \
            {                                                                                      \
                const struct vector *c = (const struct vector *)(t->c + (size_t)i * t->c_row);     \
                UNROLL(j, COUNT)                                                                   \
                sum[i][j] = c[j].f;                                                                \
            }                                                                                      \
        for (uint32_t l = 0; l < t->k; l++, panel += t->stride, a += t->a_col) {                   \
            UNROLL(j, COUNT)                                                                       \
            b[j] = ((const struct vector *)panel)[j].f;                                            \
            UNROLL(i, ROWS)                                                                        \
            UNROLL(j, COUNT)                                                                       \
            sum[i][j] += b[j] * a[(size_t)i * t->a_row];                                           \
        }                                                                                          \
        UNROLL(i, ROWS)                                                                            \
        {                                                                                          \
            struct vector *c = (struct vector *)(t->c + (size_t)i * t->c_row);                     \
            UNROLL(j, COUNT)                                                                       \
            c[j].f = sum[i][j];                                                                    \
        }                                                                                          \
    }

DEFINE_TILE(8x32_of_64, v64, 8, 2)
DEFINE_TILE(1x32_of_64, v64, 1, 2)
DEFINE_TILE(8x16_of_64, v64, 8, 1)
DEFINE_TILE(1x16_of_64, v64, 1, 1)
DEFINE_TILE(6x16_of_32, v32, 6, 2)
DEFINE_TILE(1x16_of_32, v32, 1, 2)
DEFINE_TILE(3x16_of_16, v16, 3, 4)
DEFINE_TILE(1x16_of_16, v16, 1, 4)

/* Rows of a tile of each instruction set: what its registers hold. */
static inline RUVM_ISA_BODY uint32_t tile_rows(enum ruvm_isa isa)
{
    return isa == RUVM_ISA_AVX512 ? 8 : isa == RUVM_ISA_AVX2 ? 6 : 3;
}

static inline RUVM_ISA_BODY void rows_avx512(const struct tile *t, bool one)
{
    if (t->stride == WIDE)
        one ? tile_1x32_of_64(t) : tile_8x32_of_64(t);
    else
        one ? tile_1x16_of_64(t) : tile_8x16_of_64(t);
}

/* tile_rows() rows of c, or one, as wide as the panel. */
static inline RUVM_ISA_BODY void compute(enum ruvm_isa isa, const struct tile *t, bool one)
{
    struct tile half = *t;
    if (isa == RUVM_ISA_AVX512) {
        rows_avx512(t, one);
        return;
    }
    for (uint32_t j = 0; j < t->stride; j += NARROW) {
        half.c = t->c + j;
        half.panel = t->panel + j;
        if (isa == RUVM_ISA_AVX2)
            one ? tile_1x16_of_32(&half) : tile_6x16_of_32(&half);
        else
            one ? tile_1x16_of_16(&half) : tile_3x16_of_16(&half);
    }
}

/* The same for a c that ends within the panel: computed beside it, then copied. */
static inline RUVM_ISA_BODY void compute_cut(enum ruvm_isa isa, const struct tile *t, bool one,
                                             uint32_t n)
{
    float beside[MAX_ROWS * WIDE];
    struct tile whole = *t;
    uint32_t rows = one ? 1 : tile_rows(isa);
    whole.c = beside;
    whole.c_row = t->stride;
    if (t->add)
        memset(beside, 0, rows * t->stride * sizeof *beside);
    for (uint32_t i = 0; i < rows && t->add; i++)
        for (uint32_t j = 0; j < n; j++)
            beside[i * t->stride + j] = t->c[i * t->c_row + j];
    compute(isa, &whole, one);
    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t j = 0; j < n; j++)
            t->c[i * t->c_row + j] = beside[i * t->stride + j];
}

/* One panel's part of the product: m rows and n columns of c. */
static inline RUVM_ISA_BODY void block(enum ruvm_isa isa, struct tile t, uint32_t m, uint32_t n)
{
    while (m > 0) {
        bool one = m < tile_rows(isa);
        uint32_t rows = one ? 1 : tile_rows(isa);
        if (n < t.stride)
            compute_cut(isa, &t, one, n);
        else
            compute(isa, &t, one);
        t.c += rows * t.c_row;
        t.a += rows * t.a_row;
        m -= rows;
    }
}

/* Rows and columns of b in a row-major panel, with zeros behind its n columns. b is one
 * of which a row or a column is contiguous; the other is walked along the panel. */
static inline RUVM_ISA_BODY void pack(float *panel, const struct ruvm_matrix_product *p,
                                      const struct tile *t, const float *b, uint32_t n)
{
    if (n < t->stride)
        memset(panel, 0, t->k * t->stride * sizeof *panel);
    if (p->b_col == 1)
        for (uint32_t l = 0; l < t->k; l++)
            for (uint32_t j = 0; j < n; j++)
                panel[l * t->stride + j] = b[l * p->b_row + j];
    else
        for (uint32_t j = 0; j < n; j++)
            for (uint32_t l = 0; l < t->k; l++)
                panel[l * t->stride + j] = b[l * p->b_row + j * p->b_col];
}

static inline RUVM_ISA_BODY void multiply_for(enum ruvm_isa isa,
                                              const struct ruvm_matrix_product *p)
{
    float room[DEEP * WIDE] __attribute__((aligned(64)));
    struct tile t = {.c_row = p->c_row, .a_row = p->a_row, .a_col = p->a_col};
    t.stride = p->n <= NARROW ? NARROW : WIDE;
    for (uint32_t j = 0; j < p->n; j += t.stride) {
        uint32_t n = p->n - j < t.stride ? p->n - j : t.stride, l = 0;
        do {
            t.k = p->k - l < DEEP ? p->k - l : DEEP;
            const float *b = p->b + l * p->b_row + j * p->b_col;
            bool in_place = p->b_col == 1 && p->b_row == t.stride && n == t.stride;
            if (!in_place)
                pack(room, p, &t, b, n);
            t.panel = in_place ? b : room;
            t.c = p->c + j;
            t.a = p->a + l * p->a_col;
            t.add = p->add || l > 0;
            block(isa, t, p->m, n);
            l += t.k;
        } while (l < p->k);
    }
}

#ifdef __x86_64__
__attribute__((target("avx512f"))) static void multiply_avx512(const struct ruvm_matrix_product *p)
{
    multiply_for(RUVM_ISA_AVX512, p);
}

__attribute__((target("avx2"))) static void multiply_avx2(const struct ruvm_matrix_product *p)
{
    multiply_for(RUVM_ISA_AVX2, p);
}

void ruvm_matrix_multiply(const struct ruvm_matrix_product *p)
{
    switch (ruvm_isa_best()) {
    case RUVM_ISA_AVX512: multiply_avx512(p); break;
    case RUVM_ISA_AVX2: multiply_avx2(p); break;
    default: multiply_for(RUVM_ISA_GENERIC, p); break;
    }
}
#else
void ruvm_matrix_multiply(const struct ruvm_matrix_product *p)
{
    multiply_for(RUVM_ISA_GENERIC, p);
}
#endif

void ruvm_matrix_forward(float *y, const float *x, const float *w, uint32_t n, uint32_t rows,
                         uint32_t cols)
{
    ruvm_matrix_multiply(&(struct ruvm_matrix_product){.c = y,
                                                       .a = x,
                                                       .b = w,
                                                       .c_row = rows,
                                                       .a_row = cols,
                                                       .a_col = 1,
                                                       .b_row = 1,
                                                       .b_col = cols,
                                                       .m = n,
                                                       .n = rows,
                                                       .k = cols});
}

void ruvm_matrix_backward(float *dx, const float *dy, const float *w, uint32_t n, uint32_t rows,
                          uint32_t cols, bool add)
{
    ruvm_matrix_multiply(&(struct ruvm_matrix_product){.c = dx,
                                                       .a = dy,
                                                       .b = w,
                                                       .c_row = cols,
                                                       .a_row = rows,
                                                       .a_col = 1,
                                                       .b_row = cols,
                                                       .b_col = 1,
                                                       .m = n,
                                                       .n = cols,
                                                       .k = rows,
                                                       .add = add});
}

void ruvm_matrix_gradient(float *dw, const float *dy, const float *x, uint32_t n, uint32_t rows,
                          uint32_t cols)
{
    ruvm_matrix_multiply(&(struct ruvm_matrix_product){.c = dw,
                                                       .a = dy,
                                                       .b = x,
                                                       .c_row = cols,
                                                       .a_row = 1,
                                                       .a_col = rows,
                                                       .b_row = cols,
                                                       .b_col = 1,
                                                       .m = rows,
                                                       .n = cols,
                                                       .k = n,
                                                       .add = true});
}
