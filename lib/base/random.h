/* Random: splitmix64 (Steele, Lea, Flood, OOPSLA 2014), the generator of the workstation
 * side: a state of 64 bits, any seed is a good one, the same numbers on every machine.
 *
 *     uint64_t state = seed;
 *     x = ruvm_random_next(&state);
 */
#ifndef RUVM_BASE_RANDOM_H
#define RUVM_BASE_RANDOM_H

#include <stdint.h>

static inline uint64_t ruvm_random_next(uint64_t *state)
{
    *state += 0x9E3779B97F4A7C15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* In [0, 1), of 53 bits. */
static inline double ruvm_random_unit(uint64_t *state)
{
    return (double)(ruvm_random_next(state) >> 11) * 0x1p-53;
}

#endif
