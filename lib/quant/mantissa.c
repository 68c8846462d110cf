/* Rounds scales to 16 bits. A positive scale never becomes 0: its weights would vanish. */
#include "lib/quant/mantissa.h"

#include <math.h>

#include "formats/ruvm_layout.h"

enum { MANTISSA_BITS = 16 };

bool ruvm_mantissa_fits(double largest)
{
    return largest <= ldexp(UINT16_MAX, RUVM_MAX_EXP);
}

int ruvm_mantissa_exponent(double largest)
{
    int e;
    frexp(largest, &e);
    e -= MANTISSA_BITS;
    if (lround(ldexp(largest, -e)) > UINT16_MAX)
        e++;
    return e < RUVM_MIN_EXP ? RUVM_MIN_EXP : e > RUVM_MAX_EXP ? RUVM_MAX_EXP : e;
}

uint16_t ruvm_mantissa_round(double value, int exp)
{
    if (value <= 0.0)
        return 0;
    double m = floor(ldexp(value, -exp) + 0.5);
    return m > UINT16_MAX ? UINT16_MAX : m < 1.0 ? 1 : (uint16_t)m;
}
