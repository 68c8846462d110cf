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
    COMPARE_HAMMING_BELOW,
    COMPARE_SCALED,
    COMPARE_BELOW,
    COMPARE_N_VECTOR_KERNELS,
};
static const char *const compare_vector_names[] = {"dot",           "manhattan", "hamming",
                                                   "hamming below", "scaled",    "below"};

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

static uint32_t naive_hamming_below(uint32_t *places, uint32_t *out, uint32_t room,
                                    const struct ruvm_vector_job *job, uint32_t bound)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < job->n && found < room; i++) {
        struct ruvm_vector_job one = *job;
        int32_t bits;
        one.rows = (const uint8_t *)job->rows + i * job->stride;
        one.n = 1;
        naive_vectors(COMPARE_HAMMING, &bits, &one);
        if ((uint32_t)bits >= bound)
            continue;
        places[found] = i;
        out[found++] = (uint32_t)bits;
    }
    return found;
}

/* Rooms from 1 to more than are found, bounds from 0 bits to more than all. */
static int compare_below_job(const struct ruvm_vector_kernels *k,
                             const struct ruvm_vector_kernels *oracle, uint32_t bytes, uint32_t n)
{
    uint64_t r = compare_random();
    const uint32_t room = r >> 8 & 1 ? n : 1 + (uint32_t)(r >> 16) % n;
    const uint32_t bound = r >> 9 & 1 ? bytes * 4 + (uint32_t)(r >> 32) % bytes
                                      : (uint32_t)(r >> 32) % (bytes * 8 + 2);
    struct ruvm_vector_job job = {.n = n, .row_bytes = bytes, .stride = bytes + r % 2 * 8};
    compare_slot = 0;
    job.query = compare_s8((bytes + 15) / 16 * 16, 0);
    job.rows = compare_s8((n - 1) * job.stride + bytes, (int)(r >> 10) % 3);
    uint32_t *places[2], *out[2], found[2];
    for (int i = 0; i < 2; i++) {
        const struct ruvm_vector_kernels *which = i ? oracle : k;
        places[i] = compare_array(room * sizeof(uint32_t));
        out[i] = compare_array(room * sizeof(uint32_t));
        found[i] = (which ? which->hamming_below : naive_hamming_below)(places[i], out[i], room,
                                                                        &job, bound);
    }
    const char *name = compare_vector_names[COMPARE_HAMMING_BELOW];
    return compare_number(name, found[0], found[1], n) ||
           compare_same(name, places[0], places[1], room * sizeof(uint32_t), n, bytes) ||
           compare_same(name, out[0], out[1], room * sizeof(uint32_t), n, bytes);
}

static void naive_scaled(uint32_t *keys, const int32_t *products, const uint8_t *scales, uint32_t n,
                         uint32_t shift)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t scale = scales[2 * i] + 256 * scales[2 * i + 1];
        keys[i] = (uint32_t)(((int64_t)1 << 31) - (products[i] * scale >> shift));
    }
}

static uint32_t naive_below(uint32_t *places, const uint32_t *keys, uint32_t n, uint32_t bound)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        if (keys[i] < bound)
            places[found++] = i;
    return found;
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
    if (which == COMPARE_BELOW) {
        uint32_t *c = compare_array((n + 1) * sizeof *c), *d = compare_array((n + 1) * sizeof *d);
        uint32_t bound = n % 5 ? a[n / 2] : UINT32_MAX;
        c[0] = (k ? k->below : naive_below)(c + 1, a, n, bound);
        d[0] = (oracle ? oracle->below : naive_below)(d + 1, b, n, bound);
        return compare_same(compare_vector_names[which], c, d, (n + 1) * sizeof *c, n, 0);
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

/* More rows than a table takes at once, and a few. */
static int compare_bits(const struct ruvm_vector_kernels *k,
                        const struct ruvm_vector_kernels *oracle, int which)
{
    int bad = 0;
    for (uint32_t bytes = 8; bytes <= 128 && !bad; bytes += 8)
        for (uint32_t n = 1; n <= 300 && !bad; n += n < 40 ? 1 : 29)
            bad = which == COMPARE_HAMMING ? compare_vector_job(k, oracle, which, bytes, n)
                                           : compare_below_job(k, oracle, bytes, n);
    return bad;
}

/* oracle NULL: the naive ones. */
static int compare_vectors(const struct ruvm_vector_kernels *k,
                           const struct ruvm_vector_kernels *oracle, int which)
{
    int bad = 0;
    compare_state = 1;
    if (which >= COMPARE_SCALED)
        return compare_keys(k, oracle, which);
    if (which >= COMPARE_HAMMING)
        return compare_bits(k, oracle, which);
    for (uint32_t bytes = 16; bytes <= 1024 && !bad; bytes += 16)
        for (uint32_t n = 1; n <= 20 && !bad; n += bytes > 256 ? 2 : 1)
            bad = compare_vector_job(k, oracle, which, bytes, n);
    return bad;
}

#endif
