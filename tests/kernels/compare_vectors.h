/* Kernels of vector search: every table against the scalar one, that one against the
 * sentences of vectors.h. Shared by test_vectors.c and neon_main.c. */
#ifndef TESTS_KERNELS_COMPARE_VECTORS_H
#define TESTS_KERNELS_COMPARE_VECTORS_H

#include "kernels/vectors.h"
#include "tests/kernels/arrays.h"

enum {
    COMPARE_DOT,
    COMPARE_MANHATTAN,
    COMPARE_HAMMING,
    COMPARE_SCALED,
    COMPARE_LEAST,
    COMPARE_N_VECTOR_KERNELS,
};
static const char *const compare_vector_names[] = {"dot", "manhattan", "hamming", "scaled",
                                                   "least"};

static void naive_vectors(int which, int32_t *out, const struct ruvm_vector_job *job)
{
    for (uint32_t i = 0; i < job->n; i++) {
        const int8_t *q = job->query, *row = job->rows;
        row += (job->ids ? job->ids[i] : i) * job->stride;
        out[i] = 0;
        for (uint32_t c = 0; c < job->row_bytes; c++) {
            if (which == COMPARE_DOT)
                out[i] += q[c] * row[c];
            else if (which == COMPARE_MANHATTAN)
                out[i] += abs(q[c] - row[c]);
            else
                for (int bit = 0; bit < 8; bit++)
                    out[i] += ((q[c] ^ row[c]) >> bit) & 1;
        }
    }
}

static void call_vectors(const struct ruvm_vector_kernels *k, int which, int32_t *out,
                         const struct ruvm_vector_job *job)
{
    if (!k)
        naive_vectors(which, out, job);
    else if (which == COMPARE_DOT)
        k->dot(out, job);
    else if (which == COMPARE_MANHATTAN)
        k->manhattan(out, job);
    else
        k->hamming(out, job);
}

/* Rows that touch, or lie apart; in order, or any. The query is aligned to 16 bytes. */
static int compare_vector_job(const struct ruvm_vector_kernels *k,
                              const struct ruvm_vector_kernels *oracle, int which, uint32_t bytes,
                              uint32_t n)
{
    uint64_t r = compare_random();
    struct ruvm_vector_job job = {.n = n, .row_bytes = bytes, .stride = bytes + r % 3 * 16};
    uint32_t n_rows = n + (uint32_t)(r >> 8 & 7);
    compare_slot = 0;
    int manner = (int)(r >> 16) % 5;
    job.query = compare_s8((bytes + 15) / 16 * 16, manner);
    job.rows = compare_s8((n_rows - 1) * job.stride + bytes, manner == 2 ? 1 : manner);
    uint32_t *ids = compare_array(n * sizeof *ids);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (uint32_t)(compare_random() % n_rows);
    job.ids = r >> 40 & 1 ? ids : NULL;
    job.streams = r >> 41 & 1;
    int32_t *a = compare_array(n * sizeof *a), *b = compare_array(n * sizeof *b);
    call_vectors(k, which, a, &job);
    call_vectors(oracle, which, b, &job);
    return compare_same(compare_vector_names[which], a, b, n * sizeof *a, n, bytes);
}

static void naive_scaled(uint32_t *keys, const int32_t *products, const uint8_t *scales, uint32_t n,
                         uint32_t shift)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t scale = scales[2 * i] + 256 * scales[2 * i + 1];
        keys[i] = (uint32_t)(((int64_t)1 << 31) - (products[i] * scale >> shift));
    }
}

static uint32_t naive_least(const uint32_t *keys, uint32_t n)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < n; i++)
        least = keys[i] < least ? keys[i] : least;
    return (uint32_t)least;
}

/* Products of 1,024 codes at most, scales of any value, keys of any. */
static int compare_vector_keys(const struct ruvm_vector_kernels *k,
                               const struct ruvm_vector_kernels *oracle, int which, uint32_t n)
{
    compare_slot = 0;
    int32_t *products = compare_array(n * sizeof *products);
    uint8_t *scales = compare_array((size_t)n * 2);
    uint32_t *a = compare_array(n * sizeof *a), *b = compare_array(n * sizeof *b);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t r = compare_random();
        products[i] = (int32_t)(r % 33032193) - 16516096;
        a[i] = b[i] = (uint32_t)(r >> (r % 3 * 16));
        scales[2 * i] = (uint8_t)(r >> 40);
        scales[2 * i + 1] = (uint8_t)(r >> 48);
    }
    if (which == COMPARE_LEAST) {
        a[0] = k ? k->least(a, n) : naive_least(a, n);
        b[0] = oracle ? oracle->least(b, n) : naive_least(b, n);
        return compare_same(compare_vector_names[which], a, b, sizeof *a, n, 0);
    }
    (k ? k->scaled : naive_scaled)(a, products, scales, n, n % 2 ? 4 : 9);
    (oracle ? oracle->scaled : naive_scaled)(b, products, scales, n, n % 2 ? 4 : 9);
    return compare_same(compare_vector_names[which], a, b, n * sizeof *a, n, 0);
}

static int compare_keys(const struct ruvm_vector_kernels *k,
                        const struct ruvm_vector_kernels *oracle, int which)
{
    int bad = 0;
    for (uint32_t i = 0; i < 400 && !bad; i++)
        bad = compare_vector_keys(k, oracle, which, i % 67 + 1);
    return bad;
}

/* oracle NULL: the naive ones. */
static int compare_vectors(const struct ruvm_vector_kernels *k,
                           const struct ruvm_vector_kernels *oracle, int which)
{
    uint32_t step = which == COMPARE_HAMMING ? 8 : 16, most = which == COMPARE_HAMMING ? 128 : 1024;
    int bad = 0;
    compare_state = 1;
    if (which >= COMPARE_SCALED)
        return compare_keys(k, oracle, which);
    for (uint32_t bytes = step; bytes <= most && !bad; bytes += step)
        for (uint32_t n = 1; n <= 20 && !bad; n += bytes > 256 ? 2 : 1)
            bad = compare_vector_job(k, oracle, which, bytes, n);
    return bad;
}

#endif
