/* The scalar table of vector search: the oracle, and what a chip without vectors runs. */
#include "kernels/vectors_keys.h"

static int available(void)
{
    return 1;
}

static inline const void *row_of(const struct ruvm_vector_job *job, uint32_t i)
{
    const unsigned char *rows = job->rows;
    return rows + (job->ids ? job->ids[i] : i) * job->stride;
}

static void dot(int32_t *out, const struct ruvm_vector_job *job)
{
    const int8_t *q = job->query;
    for (uint32_t i = 0; i < job->n; i++) {
        const int8_t *row = row_of(job, i);
        int32_t sum = 0;
        for (uint32_t c = 0; c < job->row_bytes; c++)
            sum += q[c] * row[c];
        out[i] = sum;
    }
}

static void manhattan(int32_t *out, const struct ruvm_vector_job *job)
{
    const int8_t *q = job->query;
    for (uint32_t i = 0; i < job->n; i++) {
        const int8_t *row = row_of(job, i);
        int32_t sum = 0;
        for (uint32_t c = 0; c < job->row_bytes; c++) {
            int32_t d = q[c] - row[c];
            sum += d < 0 ? -d : d;
        }
        out[i] = sum;
    }
}

/* Bits set, in parallel in pairs, fours and bytes: chips have no instruction for it. */
static uint32_t count_bits(uint32_t x)
{
    x -= x >> 1 & 0x55555555u;
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0fu;
    return x * 0x01010101u >> 24;
}

static inline uint32_t load(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t differing(const uint8_t *q, const uint8_t *row, uint32_t n)
{
    uint32_t sum = 0;
    for (uint32_t c = 0; c < n; c += 4)
        sum += count_bits(load(q + c) ^ load(row + c));
    return sum;
}

static void hamming(int32_t *out, const struct ruvm_vector_job *job)
{
    for (uint32_t i = 0; i < job->n; i++)
        out[i] = (int32_t)differing(job->query, row_of(job, i), job->row_bytes);
}

static uint32_t hamming_below(uint32_t *places, uint32_t *out, uint32_t room,
                              const struct ruvm_vector_job *job, uint32_t bound)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < job->n && found < room; i++) {
        uint32_t bits = differing(job->query, row_of(job, i), job->row_bytes);
        if (bits >= bound)
            continue;
        places[found] = i;
        out[found++] = bits;
    }
    return found;
}

static void scaled(uint32_t *keys, const int32_t *products, const uint8_t *scales, uint32_t n,
                   uint32_t shift)
{
    keys_scaled(keys, products, scales, n, shift);
}

static uint32_t below(uint32_t *places, const uint32_t *keys, uint32_t n, uint32_t bound)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        if (keys[i] < bound)
            places[found++] = i;
    return found;
}

const struct ruvm_vector_kernels ruvm_vector_kernels_scalar = {
    .name = "scalar",
    .available = available,
    .dot = dot,
    .manhattan = manhattan,
    .hamming = hamming,
    .hamming_below = hamming_below,
    .scaled = scaled,
    .below = below,
};
