/* Roofs of plain C: what this compiler makes of the plainest loops for any machine. */
#include "kernels/roof.h"

enum { N_WORDS = RUVM_ROOF_CHUNK / sizeof(uint64_t) };

static uint32_t read(const uint8_t *p, size_t n)
{
    const uint64_t *words = (const uint64_t *)(const void *)p;
    uint64_t sums[8] = {0}, sum = 0;
    for (size_t i = 0; i < n / RUVM_ROOF_CHUNK; i++, words += N_WORDS)
        for (uint32_t j = 0; j < N_WORDS; j++)
            sums[j % 8] += words[j];
    for (uint32_t j = 0; j < 8; j++)
        sum += sums[j];
    return (uint32_t)(sum ^ sum >> 32);
}

/* In C nothing says "in registers": 64 bytes in the nearest cache are as good. Their
 * address changes with the round, or one product would be multiplied by the rounds. */
static uint32_t multiply(const int8_t *operand, uint32_t rounds)
{
    int32_t sum = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        const int8_t *x = operand + (i & 31);
        for (uint32_t j = 0; j < 32; j++)
            sum = (int32_t)((uint32_t)sum + (uint32_t)(operand[j] * x[j]));
    }
    return (uint32_t)sum;
}

const struct ruvm_roof ruvm_roof_scalar = {
    .kernels = "scalar",
    .instruction = "plain C",
    .macs = 32,
    .read = read,
    .multiply = multiply,
};
