/* Increments are rounded to 32 bits, so that a band of bases gives the same ones. People chose
 * the base, and people choose round numbers: of the band the one with the fewest digits is
 * taken, which almost surely is theirs.
 */
#include "lib/export/export_rope.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_DIGITS = 9 /* of a float */, NUMBER_BYTES = 32 };
#define FULL_TURN 6.283185307179586
#define ANY_THETA 10000.0f

/* As image_parts.c rounds it. */
static uint32_t increment_of(double theta, double factor, uint32_t i, uint32_t n)
{
    return (uint32_t)llround(pow(theta, -2.0 * i / n) / factor / FULL_TURN * 0x1p32);
}

/* Radians of a step. */
static double turn_of(uint32_t increment)
{
    return ldexp(increment, -32) * FULL_TURN;
}

static bool gives(const uint32_t *increments, uint32_t n, float theta, float factor)
{
    for (uint32_t i = 0; i < n / 2; i++)
        if (increment_of((double)theta, (double)factor, i, n) != increments[i])
            return false;
    return true;
}

static float round_to(double x, int digits)
{
    char text[NUMBER_BYTES];
    snprintf(text, sizeof text, "%.*e", digits - 1, x);
    return strtof(text, NULL);
}

/* The pair is taken whose rounded increment says most about the base. */
static double estimate(const uint32_t *increments, uint32_t n, double factor)
{
    uint32_t best = 1;
    for (uint32_t i = 2; i < n / 2; i++)
        if ((double)increments[i] * i > (double)increments[best] * best)
            best = i;
    double turn = turn_of(increments[best]) * factor;
    return turn > 0 ? pow(turn, -(double)n / (2.0 * best)) : 0;
}

/* With a factor that all pairs share. */
static bool find_theta(float *theta, const uint32_t *increments, uint32_t n, float factor)
{
    double about = n > 2 ? estimate(increments, n, (double)factor) : (double)ANY_THETA;
    for (int digits = 1; digits <= MAX_DIGITS && about >= 1 && about < 1e12; digits++) {
        *theta = round_to(about, digits);
        if (gives(increments, n, *theta, factor))
            return true;
    }
    return false;
}

bool ruvm_export_rope(float *theta, float *factors, const uint32_t *increments, uint32_t n)
{
    double shared = increments[0] ? 1 / turn_of(increments[0]) : 1;
    if (find_theta(theta, increments, n, 1))
        return false;
    for (int digits = 1; digits <= MAX_DIGITS; digits++) {
        float factor = round_to(shared, digits);
        if (factor <= 0 || !find_theta(theta, increments, n, factor))
            continue;
        for (uint32_t i = 0; i < n / 2; i++)
            factors[i] = factor;
        return true;
    }
    *theta = ANY_THETA;
    for (uint32_t i = 0; i < n / 2; i++) {
        double turn = turn_of(increments[i] ? increments[i] : 1);
        factors[i] = (float)(pow((double)ANY_THETA, -2.0 * i / n) / turn);
    }
    return true;
}
