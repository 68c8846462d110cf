/* One clock for all measurements, so that no two of them disagree about time. */
#define _POSIX_C_SOURCE 200809L
#include "lib/base/clock.h"

#include <time.h>

double ruvm_clock_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
