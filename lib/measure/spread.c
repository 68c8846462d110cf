/* Median, quartiles, smallest and largest: a machine that is busy with other things makes
 * measurements slower but never faster, so a mean would say less than these.
 */
#include "lib/measure/spread.h"

#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of sorted values; between two of them in proportion. */
static double quarter(const double *values, uint32_t n, uint32_t quarters)
{
    uint64_t at = (uint64_t)(n - 1) * quarters;
    double low = values[at / 4], high = values[(at + 3) / 4];
    return low + (high - low) * (double)(at % 4) / 4;
}

struct ruvm_spread ruvm_spread_of(double *values, uint32_t n)
{
    if (n == 0)
        return (struct ruvm_spread){0};
    qsort(values, n, sizeof *values, ascending);
    return (struct ruvm_spread){
        .median = (values[(n - 1) / 2] + values[n / 2]) / 2,
        .min = values[0],
        .max = values[n - 1],
        .n = n,
        .q1 = quarter(values, n, 1),
        .q3 = quarter(values, n, 3),
    };
}

struct ruvm_spread ruvm_spread_scaled(struct ruvm_spread s, double factor)
{
    s.median *= factor;
    s.min *= factor;
    s.max *= factor;
    s.q1 *= factor;
    s.q3 *= factor;
    return s;
}
