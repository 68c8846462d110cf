/* SHA-256 of bytes in memory. Its constants are the fractions of roots of primes: of 64
 * cube roots and 8 square roots, which a table of 64 words holds. */
#include "lib/device/sha256.h"

enum { BLOCK = 64, WORDS = 16, ROUNDS = 64, LENGTH_AT = 56 };

static const uint32_t k[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turn(uint32_t x, uint32_t n)
{
    return x >> n | x << (32 - n);
}

static uint32_t load_big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void store_big(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> (24 - 8 * i));
}

/* The message goes on for 64 words, of which the last 16 are kept. */
static uint32_t next_word(uint32_t w[WORDS], uint32_t i)
{
    if (i < WORDS)
        return w[i];
    uint32_t a = w[(i + 1) % WORDS], b = w[(i + 14) % WORDS];
    uint32_t s0 = turn(a, 7) ^ turn(a, 18) ^ a >> 3, s1 = turn(b, 17) ^ turn(b, 19) ^ b >> 10;
    return w[i % WORDS] += s0 + w[(i + 9) % WORDS] + s1;
}

static void add_block(uint32_t state[8], const uint8_t *data)
{
    uint32_t w[WORDS], s[8];
    for (uint32_t i = 0; i < WORDS; i++)
        w[i] = load_big(data + 4 * (size_t)i);
    for (uint32_t i = 0; i < 8; i++)
        s[i] = state[i];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t s1 = turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25);
        uint32_t s0 = turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22);
        uint32_t t1 = s[7] + s1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + next_word(w, i);
        uint32_t t2 = s0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        for (uint32_t j = 7; j > 0; j--)
            s[j] = s[j - 1];
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (uint32_t i = 0; i < 8; i++)
        state[i] += s[i];
}

/* What is left over, a one bit, zeros and the length in bits: one block or two. */
static void add_end(uint32_t state[8], const uint8_t *rest, size_t n_rest, size_t n)
{
    uint8_t last[2 * BLOCK] = {0};
    for (size_t i = 0; i < n_rest; i++)
        last[i] = rest[i];
    last[n_rest] = 0x80;
    uint8_t *end = n_rest < LENGTH_AT ? last : last + BLOCK;
    store_big(end + LENGTH_AT, (uint32_t)(n >> 29));
    store_big(end + LENGTH_AT + 4, (uint32_t)(n << 3));
    for (const uint8_t *block = last; block <= end; block += BLOCK)
        add_block(state, block);
}

void ruvm_sha256(uint8_t digest[RUVM_SHA256_BYTES], const uint8_t *data, size_t n)
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t done = 0;
    for (; n - done >= BLOCK; done += BLOCK)
        add_block(state, data + done);
    add_end(state, data + done, n - done, n);
    for (size_t i = 0; i < 8; i++)
        store_big(digest + 4 * i, state[i]);
}
