/* Random numbers for the tests of lib/quant. */
#ifndef TESTS_QUANT_NUMBERS_H
#define TESTS_QUANT_NUMBERS_H

#include <math.h>
#include <stddef.h>

#include "tests/support/tiny_model.h"

/* In [-1, 1). */
static inline double number_uniform(uint64_t *rng)
{
    return (double)(tiny_random(rng) >> 11) * 0x1p-52 - 1.0;
}

/* Mean 0, variance 1, with the tails of weights: a sum of four. */
static inline double number_normal(uint64_t *rng)
{
    double sum = 0.0;
    for (int i = 0; i < 4; i++)
        sum += number_uniform(rng);
    return sum * 0.8660254037844386;
}

static inline uint32_t number_below(uint64_t *rng, uint32_t n)
{
    return (uint32_t)(tiny_random(rng) % n);
}

static inline void number_weights(float *w, size_t n, double size, uint64_t *rng)
{
    for (size_t i = 0; i < n; i++)
        w[i] = (float)(number_normal(rng) * size);
}

#endif
