/* Vectors: one integer product, and a few operations a row that make it a key.
 *
 * All metrics of codes but Manhattan are the product of query and row with numbers beside
 * it that only the row knows: its norm, its scale, its place in hyperbolic space. Those are
 * in SIDE, so that a query costs no root and no division. Which bits a key keeps is chosen so
 * that the largest possible product of 1,024 dimensions fits.
 */
#include "lib/vector/vectors.h"

#include "lib/base/bytes.h"
#include "lib/vector/pq.h"

/* A row whose largest code is 127 has at least this norm: then its inverse is 65535. */
enum { CODE_MAX = 127, INVERSE_MAX = 65535 };
enum { COSINE_SHIFT = 4, DOT_SHIFT = 9 }; /* |product| * SIDE stays below 2^31 */
#define MIDDLE 0x80000000u                /* the key of a product of 0 */

struct ruvm_vectors ruvm_vectors_of(const struct ruvm_rag *rag,
                                    const struct ruvm_vector_kernels *kernels)
{
    return (struct ruvm_vectors){
        .rows = rag->part[RUVM_RAG_VECT].data,
        .side = rag->side_bytes ? rag->part[RUVM_RAG_SIDE].data : NULL,
        .n = rag->n,
        .row_bytes = rag->row_bytes,
        .side_bytes = rag->side_bytes,
        .dims = rag->dims,
        .metric = rag->metric,
        .type = rag->type,
        .unit = rag->unit,
        .unit_exp = rag->unit_exp,
        .book = (const int8_t *)rag->part[RUVM_RAG_BOOK].data,
        .kernels = kernels ? kernels : &ruvm_vector_kernels_scalar,
    };
}

struct ruvm_vectors ruvm_vectors_signs_of(const struct ruvm_rag *rag,
                                          const struct ruvm_vector_kernels *kernels)
{
    struct ruvm_vectors set = ruvm_vectors_of(rag, kernels);
    set.rows = rag->part[RUVM_RAG_BITS].data;
    set.side = NULL;
    set.side_bytes = 0;
    set.type = RUVM_VECTOR_BINARY;
    set.metric = RUVM_METRIC_HAMMING;
    set.row_bytes = ruvm_rag_row_bytes(RUVM_VECTOR_BINARY, rag->dims);
    return set;
}

int ruvm_vectors_shape(struct ruvm_vectors *set, unsigned type, unsigned metric, uint32_t dims)
{
    if (type >= RUVM_N_VECTOR_TYPES || metric >= RUVM_N_METRICS || dims < RUVM_RAG_MIN_DIMS ||
        dims > RUVM_RAG_MAX_DIMS)
        return RUVM_ERR_ARG;
    if (!ruvm_rag_has_metric(type, metric) ||
        (type == RUVM_VECTOR_PQ && dims % RUVM_RAG_BOOK_DIMS != 0))
        return RUVM_ERR_UNSUPPORTED;
    *set = (struct ruvm_vectors){
        .row_bytes = ruvm_rag_row_bytes(type, dims),
        .side_bytes = ruvm_rag_side_bytes(type, metric),
        .dims = (uint16_t)dims,
        .metric = (uint8_t)metric,
        .type = (uint8_t)type,
        .unit = 1,
        .kernels = &ruvm_vector_kernels_scalar,
    };
    return RUVM_OK;
}

/* ---- queries --------------------------------------------------------------- */

uint32_t ruvm_vectors_norm2(const void *row, uint32_t row_bytes)
{
    const int8_t *codes = row;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < row_bytes; i++)
        sum += (uint32_t)(codes[i] * codes[i]);
    return sum;
}

static uint64_t root(uint64_t x)
{
    uint64_t r = 0;
    for (uint64_t bit = (uint64_t)1 << 31; bit; bit >>= 1)
        if ((r + bit) * (r + bit) <= x)
            r += bit;
    return r;
}

/* (2 c / sqrt(norm2) + 1) / 2 with c = 65535 * 127, all rounded down. */
uint16_t ruvm_vectors_inverse(uint32_t norm2)
{
    const uint64_t c = (uint64_t)INVERSE_MAX * CODE_MAX;
    if (norm2 == 0)
        return 0;
    uint64_t inverse = (root(4 * c * c / norm2) + 1) / 2;
    return (uint16_t)(inverse < INVERSE_MAX ? inverse : INVERSE_MAX);
}

uint32_t ruvm_vectors_query_bytes(const struct ruvm_vectors *set)
{
    return set->type == RUVM_VECTOR_PQ ? ruvm_rag_row_bytes(RUVM_VECTOR_INT8, set->dims)
                                       : set->row_bytes;
}

void ruvm_vectors_query(struct ruvm_vector_query *q, const struct ruvm_vectors *set,
                        const void *row, const uint32_t *side)
{
    uint32_t bytes = ruvm_vectors_query_bytes(set);
    *q = (struct ruvm_vector_query){.row = row};
    switch (set->side_bytes ? set->metric : RUVM_N_METRICS) {
    case RUVM_METRIC_COSINE:
        q->side[0] = ruvm_vectors_inverse(ruvm_vectors_norm2(row, bytes));
        break;
    case RUVM_METRIC_EUCLIDEAN: q->side[0] = ruvm_vectors_norm2(row, bytes); break;
    case RUVM_METRIC_DOT: q->side[0] = side ? side[0] : 1; break;
    case RUVM_METRIC_POINCARE:
    case RUVM_METRIC_LORENTZ:
        q->side[0] = side ? side[0] : RUVM_VECTORS_COSH_ONE;
        q->side[1] = side ? side[1] : 0;
        break;
    default: break;
    }
}

void ruvm_vectors_side(const struct ruvm_vectors *set, uint32_t id, uint32_t side[2])
{
    const uint8_t *p = set->side + (size_t)id * set->side_bytes;
    side[0] = side[1] = 0;
    if (set->side_bytes == 2)
        side[0] = ruvm_load_u16(p);
    if (set->side_bytes >= 4)
        side[0] = ruvm_load_u32(p);
    if (set->side_bytes == 8)
        side[1] = ruvm_load_u32(p + 4);
}

void ruvm_vectors_query_row(struct ruvm_vector_query *q, const struct ruvm_vectors *set,
                            uint32_t id)
{
    *q = (struct ruvm_vector_query){.row = set->rows + (size_t)id * set->row_bytes};
    ruvm_vectors_side(set, id, q->side);
}

/* ---- keys ------------------------------------------------------------------ */

/* u64 to u32, monotone: 26 bits behind the first one, and how many follow them. */
static uint32_t compress(uint64_t x)
{
    if (x >> 26 == 0)
        return (uint32_t)x;
    uint32_t shift = 37 - (uint32_t)__builtin_clzll(x);
    return (shift + 1) << 26 | ((uint32_t)(x >> shift) & 0x3ffffff);
}

/* cosh of the distance less 1 in Q36, from the law of cosines: cosh u cosh v - u.v, where
 * u.v is the product of the codes times what a code of each is worth (Q24 both). */
static uint64_t hyperbolic(const uint32_t *u, const uint32_t *v, int32_t product)
{
    uint64_t worth = (uint64_t)u[1] * v[1];
    uint64_t size = product < 0 ? 0 - (uint64_t)product : (uint64_t)product;
    uint64_t inner = ((worth >> 32) * size << 20) + ((worth & UINT32_MAX) * size >> 12);
    uint64_t cosh = (uint64_t)u[0] * v[0];
    const uint64_t one = (uint64_t)1 << 36;
    if (product < 0)
        return cosh + inner < one ? 0 : cosh + inner - one;
    return cosh < inner + one ? 0 : cosh - inner - one;
}

static void finish_keys(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                        const uint32_t *ids, uint32_t first, uint32_t n, const int32_t *products,
                        uint32_t *keys)
{
    const uint8_t *side = set->side;
    bool is_dot = set->metric == RUVM_METRIC_DOT;
    uint32_t v[2];
    if (!ids && (is_dot || set->metric == RUVM_METRIC_COSINE)) {
        set->kernels->scaled(keys, products, side + (size_t)first * 2, n,
                             is_dot ? DOT_SHIFT : COSINE_SHIFT);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        size_t id = ids ? ids[i] : first + i;
        int64_t product = products[i];
        switch (set->metric) {
        case RUVM_METRIC_COSINE:
            keys[i] = MIDDLE - (uint32_t)(product * ruvm_load_u16(side + id * 2) >> COSINE_SHIFT);
            break;
        case RUVM_METRIC_DOT:
            keys[i] = MIDDLE - (uint32_t)(product * ruvm_load_u16(side + id * 2) >> DOT_SHIFT);
            break;
        case RUVM_METRIC_EUCLIDEAN:
            keys[i] = MIDDLE + ruvm_load_u32(side + id * 4) - 2 * (uint32_t)product;
            break;
        default:
            ruvm_vectors_side(set, (uint32_t)id, v);
            keys[i] = compress(hyperbolic(q->side, v, products[i]));
            break;
        }
    }
}

/* Rows beyond this many bytes are read from memory when all of them are; short rows are read in
 * order whether in turns or not. */
enum { LARGEST_CACHE = 32 << 20, SHORT_ROW = 128 };

void ruvm_vectors_keys(const struct ruvm_vectors *set, const struct ruvm_vector_query *q,
                       const uint32_t *ids, uint32_t first, uint32_t n, uint32_t *keys)
{
    int32_t products[RUVM_VECTORS_BATCH];
    const struct ruvm_vector_job job = {
        .query = q->row,
        .rows = set->rows + (ids ? 0 : (size_t)first * set->row_bytes),
        .ids = ids,
        .n = n,
        .row_bytes = set->row_bytes,
        .stride = set->row_bytes,
        .streams =
            !ids && set->row_bytes > SHORT_ROW && (uint64_t)set->n * set->row_bytes > LARGEST_CACHE,
    };
    if (n == 0)
        return;
    if (set->type == RUVM_VECTOR_BINARY)
        set->kernels->hamming((int32_t *)keys, &job);
    else if (set->type == RUVM_VECTOR_PQ)
        ruvm_pq_products(set, q, &job, products);
    else if (set->metric == RUVM_METRIC_MANHATTAN)
        set->kernels->manhattan((int32_t *)keys, &job);
    else
        set->kernels->dot(products, &job);
    if (set->side_bytes)
        finish_keys(set, q, ids, first, n, products, keys);
}

/* ---- codes ----------------------------------------------------------------- */

static uint32_t size_of(int32_t x)
{
    return x < 0 ? 0 - (uint32_t)x : (uint32_t)x;
}

void ruvm_vectors_quantize(int8_t *row, const int32_t *x, uint32_t dims, uint32_t row_bytes)
{
    uint32_t largest = 1;
    for (uint32_t i = 0; i < dims; i++)
        largest = size_of(x[i]) > largest ? size_of(x[i]) : largest;
    for (uint32_t i = 0; i < row_bytes; i++) {
        uint32_t size = i < dims ? size_of(x[i]) : 0;
        int32_t code =
            (int32_t)(((uint64_t)size * (2 * CODE_MAX) + largest) / (2 * (uint64_t)largest));
        row[i] = (int8_t)(i < dims && x[i] < 0 ? -code : code);
    }
}

void ruvm_vectors_signs(uint8_t *row, const int32_t *x, uint32_t dims, uint32_t row_bytes)
{
    for (uint32_t i = 0; i < row_bytes; i++)
        row[i] = 0;
    for (uint32_t i = 0; i < dims; i++)
        if (x[i] >= 0)
            row[i / 8] = (uint8_t)(row[i / 8] | 1u << i % 8);
}

void ruvm_vectors_code_signs(uint8_t *row, const int8_t *codes, uint32_t dims, uint32_t row_bytes)
{
    for (uint32_t i = 0; i < row_bytes; i++)
        row[i] = 0;
    for (uint32_t i = 0; i < dims; i++)
        if (codes[i] >= 0)
            row[i / 8] = (uint8_t)(row[i / 8] | 1u << i % 8);
}
