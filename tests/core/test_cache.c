/* The cache of four bits against the sentences of ruvm-image(5): what comes back is within
 * half a step of what went in, the largest value decides the step, and nothing else of
 * the cache changes. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/core/cache.h"
#include "tests/core/random_image.h"

enum { HEADS = 3, CONTEXT = 70, MAX_DIM = 64 };

static uint8_t codes[HEADS * CONTEXT * MAX_DIM], steps[HEADS * CONTEXT];
static int8_t room[RUVM_UNPACK_BLOCK * MAX_DIM];

static struct ruvm_cache cache_of(uint32_t bits, uint32_t head_dim)
{
    memset(codes, 0xEE, sizeof codes);
    memset(steps, 0xEE, sizeof steps);
    return (struct ruvm_cache){.k = &ruvm_kernels_scalar,
                               .bits = bits,
                               .context = CONTEXT,
                               .head_dim = head_dim,
                               .data = codes,
                               .m = bits == 4 ? steps : NULL,
                               .room = bits == 4 ? room : NULL};
}

static void put(const struct ruvm_cache *c, uint32_t head, uint32_t position, const int8_t *v)
{
    memcpy(ruvm_cache_begin(c, head, position), v, c->head_dim);
    ruvm_cache_end(c, head, position);
}

static void get(const struct ruvm_cache *c, uint32_t head, uint32_t position, int8_t *v)
{
    uint32_t n = 1;
    memcpy(v, ruvm_cache_read(c, head, position, &n), c->head_dim);
    cr_assert_eq(n, 1);
}

/* The page's sentence, in real numbers. */
static int read_back(int v, int m)
{
    double u = fmin(floor(8.0 * (v + m) / m), 15);
    return (int)floor((2 * u - 15) * m / 16 + 0.5);
}

Test(cache, every_pair_of_values_comes_back_as_the_page_says)
{
    struct ruvm_cache c = cache_of(4, 2);
    for (int largest = -127; largest <= 127; largest++) {
        int m = largest ? (int)floor(abs(largest) * 16 / 15.0 + 0.5) : 1;
        for (int v = -abs(largest); v <= abs(largest); v++) {
            const int8_t in[2] = {(int8_t)largest, (int8_t)v};
            int8_t out[2];
            put(&c, 1, 5, in);
            get(&c, 1, 5, out);
            cr_assert_eq(c.m[CONTEXT + 5], m, "largest %d: %d", largest, c.m[CONTEXT + 5]);
            cr_assert_eq(out[0], read_back(largest, m), "%d became %d", largest, out[0]);
            cr_assert_eq(out[1], read_back(v, m), "%d beside %d became %d", v, largest, out[1]);
            cr_assert(abs(out[1] - v) <= m / 16.0 + 0.5 && out[1] != -128);
            cr_assert_leq(abs(out[0] - largest), 1);
        }
    }
}

/* Vectors of each kind of head in any order, whole blocks of them read at once. */
Test(cache, keeps_vectors_apart)
{
    static const uint32_t dims[] = {2, 6, 8, 14, 30, 64};
    uint64_t rng = 1;
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        for (uint32_t bits = 4; bits <= 8; bits += 4) {
            static int8_t one[HEADS * CONTEXT][MAX_DIM];
            struct ruvm_cache c = cache_of(bits, dims[d]);
            for (uint32_t i = 0; i < HEADS * CONTEXT; i++) {
                uint32_t at = i * 11 % (HEADS * CONTEXT);
                int8_t v[MAX_DIM];
                for (uint32_t k = 0; k < dims[d]; k++)
                    v[k] = (int8_t)(random_next(&rng) % 255 - 127);
                put(&c, at / CONTEXT, at % CONTEXT, v);
                get(&c, at / CONTEXT, at % CONTEXT, one[at]);
            }
            for (uint32_t head = 0; head < HEADS; head++) {
                for (uint32_t p = 0, n; p < CONTEXT; p += n) {
                    n = CONTEXT - p;
                    const int8_t *v = ruvm_cache_read(&c, head, p, &n);
                    cr_assert(n >= 1 && n <= (bits == 4 ? RUVM_UNPACK_BLOCK : CONTEXT));
                    for (uint32_t k = 0; k < n; k++)
                        cr_assert_eq(
                            memcmp(v + (size_t)k * dims[d], one[head * CONTEXT + p + k], dims[d]),
                            0, "%u bits, %u channels, position %u", bits, dims[d], p + k);
                }
            }
        }
    }
}

Test(cache, takes_half_a_byte_a_value_and_one_a_vector)
{
    struct ruvm_cache c = cache_of(4, 6);
    const int8_t v[6] = {1, -2, 3, -4, 5, 127};
    uint8_t before[sizeof codes];
    memcpy(before, codes, sizeof codes);
    put(&c, 2, CONTEXT - 1, v);
    size_t at = (size_t)3 * (3 * CONTEXT - 1);
    cr_assert_eq(memcmp(codes, before, at), 0);
    cr_assert_eq(memcmp(codes + at + 3, before + at + 3, sizeof codes - at - 3), 0);
    cr_assert_eq(codes[at] & 15, 8, "1 is in the lower half: the level +1");
    cr_assert_eq(codes[at + 2] >> 4, 15);
    cr_assert_eq(steps[3 * CONTEXT - 1], 135);
    cr_assert_eq(steps[3 * CONTEXT - 2], 0xEE);
}

Test(cache, eight_bits_are_what_was_put)
{
    struct ruvm_cache c = cache_of(8, 4);
    const int8_t v[4] = {-127, 0, 1, 127};
    put(&c, 1, 2, v);
    cr_assert_eq(memcmp(codes + (CONTEXT + 2) * 4, v, 4), 0);
    int8_t out[4];
    get(&c, 1, 2, out);
    cr_assert_eq(memcmp(out, v, 4), 0);
}
