/* Scales as 16 bits and a power of two. */
#include <criterion/criterion.h>
#include <math.h>

#include "formats/ruvm_layout.h"
#include "lib/quant/mantissa.h"
#include "tests/quant/numbers.h"

Test(mantissa, values_worked_out_by_hand)
{
    static const struct {
        double value;
        int exp;
        uint16_t mantissa;
    } table[] = {
        {1.0, -15, 32768},   {65535.0, 0, 65535}, {65535.4, 0, 65535}, {65535.6, 1, 32768},
        {32768.0, 0, 32768}, {32767.9, 0, 32768}, {0.75, -16, 49152},  {3e-22, RUVM_MIN_EXP, 363},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int e = ruvm_mantissa_exponent(table[i].value);
        cr_assert_eq(e, table[i].exp, "%g: exponent %d", table[i].value, e);
        cr_assert_eq(ruvm_mantissa_round(table[i].value, e), table[i].mantissa, "%g",
                     table[i].value);
    }
    cr_assert_eq(ruvm_mantissa_round(0.0, 0), 0);
    cr_assert_eq(ruvm_mantissa_round(1e-30, 0), 1, "0 would silence a row");
    cr_assert_eq(ruvm_mantissa_round(1e30, 0), 65535);
}

Test(mantissa, the_largest_has_sixteen_bits)
{
    uint64_t rng = 1;
    for (int i = 0; i < 20000; i++) {
        double x = ldexp(1.0 + number_uniform(&rng) / 2, (int)number_below(&rng, 80) - 40);
        int e = ruvm_mantissa_exponent(x);
        double m = ruvm_mantissa_round(x, e);
        cr_assert(m > 32767 && m <= 65535, "%g: %g", x, m);
        cr_assert_leq(fabs(ldexp(m, e) - x), ldexp(0.5, e), "%g", x);
    }
}

Test(mantissa, limits_of_the_image)
{
    cr_assert(ruvm_mantissa_fits(7.0e13) && !ruvm_mantissa_fits(7.1e13));
    cr_assert_eq(ruvm_mantissa_exponent(7.0e13), RUVM_MAX_EXP);
    cr_assert_eq(ruvm_mantissa_exponent(1e300), RUVM_MAX_EXP);
    cr_assert_eq(ruvm_mantissa_exponent(1e-300), RUVM_MIN_EXP);
    cr_assert(ruvm_mantissa_fits(ldexp(65535, RUVM_MAX_EXP)));
}
