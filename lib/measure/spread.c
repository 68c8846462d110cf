/* Median, smallest and largest: a machine that is busy with other things makes
 * measurements slower but never faster, so a mean would say less than these.
 */
#include "lib/measure/spread.h"

#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
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
    };
}

struct ruvm_spread ruvm_spread_scaled(struct ruvm_spread s, double factor)
{
    s.median *= factor;
    s.min *= factor;
    s.max *= factor;
    return s;
}
