/* The cache of keys and values, a byte or half a byte each.
 *
 * With 4 bits the vector of one head and position has a step of its own: a byte m, so
 * that the largest value is 15/16 of m and the others become the nearest odd sixteenth
 * of it. Sixteen levels without a zero are as good as fifteen with one, and one byte for
 * a whole head is cheap. Everything is exact, as all else: the int8 values that come
 * back are written down in ruvm-image(5).
 */
#include "lib/core/cache.h"

#include <stddef.h>

static size_t index_of(const struct ruvm_cache *c, uint32_t head, uint32_t position)
{
    return (size_t)head * c->context + position;
}

int8_t *ruvm_cache_begin(const struct ruvm_cache *c, uint32_t head, uint32_t position)
{
    if (c->bits == 4)
        return c->room;
    return (int8_t *)c->data + index_of(c, head, position) * c->head_dim;
}

/* 15/16 of m is the largest |v|, as nearly as m can; so m >= |v|, and m <= 135. */
static int32_t step_of(const int8_t *v, uint32_t n)
{
    int32_t largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t a = v[i] < 0 ? -v[i] : v[i];
        largest = a > largest ? a : largest;
    }
    return largest ? (16 * largest + 7) / 15 : 1;
}

/* u = 8 (v + m) / m, where v = m is the end of the last step. inverse is just above 2^22 / m,
 * which is near enough to multiply by: u * m is at most 16 * 135. */
enum { INVERSE_BITS = 22 };

static uint32_t code_of(int32_t v, int32_t m, uint32_t inverse)
{
    uint32_t u = ((uint32_t)(8 * (v + m)) * inverse) >> INVERSE_BITS;
    return u > 15 ? 15 : u;
}

void ruvm_cache_end(const struct ruvm_cache *c, uint32_t head, uint32_t position)
{
    if (c->bits != 4)
        return;
    size_t at = index_of(c, head, position);
    uint8_t *out = c->data + at * (c->head_dim / 2);
    int32_t m = step_of(c->room, c->head_dim);
    uint32_t inverse = (1u << INVERSE_BITS) / (uint32_t)m + 1;
    for (uint32_t i = 0; i < c->head_dim; i += 2)
        *out++ =
            (uint8_t)(code_of(c->room[i], m, inverse) | code_of(c->room[i + 1], m, inverse) << 4);
    c->m[at] = (uint8_t)m;
}

const int8_t *ruvm_cache_read(const struct ruvm_cache *c, uint32_t head, uint32_t position,
                              uint32_t *n)
{
    size_t at = index_of(c, head, position);
    if (c->bits != 4)
        return (const int8_t *)c->data + at * c->head_dim;
    *n = *n < RUVM_UNPACK_BLOCK ? *n : RUVM_UNPACK_BLOCK;
    c->k->unpack(c->room, c->data + at * (c->head_dim / 2), c->m + at, *n, c->head_dim);
    return c->room;
}

/* ---- as bytes ---------------------------------------------------------------- */

enum { LARGEST_STEP = 135 }; /* step_of() a vector with 127 in it */

uint32_t ruvm_cache_stored_bytes(const struct ruvm_cache *c)
{
    return c->bits == 4 ? c->head_dim / 2 + 1 : c->head_dim;
}

void ruvm_cache_store(const struct ruvm_cache *c, uint32_t head, uint32_t position, uint8_t *out)
{
    size_t at = index_of(c, head, position);
    uint32_t n = c->head_dim * c->bits / 8;
    for (uint32_t i = 0; i < n; i++)
        out[i] = c->data[at * n + i];
    if (c->bits == 4)
        out[n] = c->m[at];
}

/* The kernels' contract: values are -127..127, and a step is one that such values have. */
static bool is_vector(const struct ruvm_cache *c, const uint8_t *in)
{
    if (c->bits == 4)
        return in[c->head_dim / 2] >= 1 && in[c->head_dim / 2] <= LARGEST_STEP;
    for (uint32_t i = 0; i < c->head_dim; i++)
        if (in[i] == 0x80)
            return false;
    return true;
}

bool ruvm_cache_restore(const struct ruvm_cache *c, uint32_t head, uint32_t position,
                        const uint8_t *in)
{
    size_t at = index_of(c, head, position);
    uint32_t n = c->head_dim * c->bits / 8;
    if (!is_vector(c, in))
        return false;
    for (uint32_t i = 0; i < n; i++)
        c->data[at * n + i] = in[i];
    if (c->bits == 4)
        c->m[at] = in[n];
    return true;
}
