/* Traits: arithmetic of weights, in Q16. */
#include "lib/memory/traits.h"

enum { ONE = 65536, DAY = 86400 };
enum { SAME_FACTOR = 2, OTHER_DIVISOR = 4 };

const char *const ruvm_memory_type_names[RUVM_MEMORY_N_TYPES] = {"factual", "episodic",
                                                                 "procedural", "preference"};

static const uint32_t half_lives[RUVM_MEMORY_N_TYPES] = {
    [RUVM_MEMORY_FACTUAL] = RUVM_TRAITS_LASTS,
    [RUVM_MEMORY_EPISODIC] = 7 * DAY,
    [RUVM_MEMORY_PROCEDURAL] = RUVM_TRAITS_LASTS,
    [RUVM_MEMORY_PREFERENCE] = 90 * DAY,
};

struct ruvm_traits ruvm_traits_plain(void)
{
    return (struct ruvm_traits){.type = RUVM_MEMORY_FACTUAL, .importance = RUVM_TRAITS_IMPORTANCE};
}

/* ---- tags ------------------------------------------------------------------------- */

static uint32_t hash(const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)s[i];
        h = (h ^ (c >= 'A' && c <= 'Z' ? c + 32u : c)) * 16777619u;
    }
    return h;
}

bool ruvm_traits_tag(struct ruvm_tag *tags, uint8_t *n_tags, uint8_t max, const char *key,
                     size_t n_key, const char *value, size_t n_value)
{
    const struct ruvm_tag tag = {hash(key, n_key), hash(value, n_value)};
    uint8_t i = 0;
    while (i < *n_tags && tags[i].key != tag.key)
        i++;
    if (i == max)
        return false;
    tags[i] = tag;
    *n_tags = (uint8_t)(*n_tags + (i == *n_tags));
    return true;
}

/* ---- weights ---------------------------------------------------------------------- */

/* 2^-(age / half_life): halves by shifts, and within one the root of 2 as often as its
 * first 8 binary digits say: at most 0.3 % too much. */
static uint32_t fade_q16(uint32_t age, uint32_t half_life)
{
    static const uint16_t roots[] = {46341, 55109, 60097, 62757, 64132, 64830, 65182, 65359};
    uint32_t whole = age / half_life;
    uint64_t rest = (uint64_t)(age % half_life) * 256 / half_life;
    uint32_t x = ONE;
    if (whole > 16)
        return 0;
    for (unsigned i = 0; i < 8; i++)
        if (rest >> (7 - i) & 1)
            x = (uint32_t)(((uint64_t)x * roots[i] + ONE / 2) >> 16);
    return x >> whole;
}

static uint32_t age_q16(const struct ruvm_traits *t, uint32_t now)
{
    uint32_t half_life = t->half_life ? t->half_life : half_lives[t->type];
    if (half_life == RUVM_TRAITS_LASTS || t->time == 0 || now <= t->time)
        return ONE;
    return fade_q16(now - t->time, half_life);
}

static uint32_t context_q16(const struct ruvm_traits *t, const struct ruvm_context *c)
{
    uint32_t x = ONE;
    for (uint8_t i = 0; i < c->n_tags; i++)
        for (uint8_t j = 0; j < t->n_tags; j++)
            if (c->tags[i].key == t->tags[j].key)
                x = c->tags[i].value == t->tags[j].value ? x * SAME_FACTOR : x / OTHER_DIVISOR;
    return x;
}

uint32_t ruvm_traits_worth_q16(const struct ruvm_traits *t, uint32_t now)
{
    if (ruvm_traits_expired(t, now))
        return 0;
    return (uint32_t)((uint64_t)age_q16(t, now) * (50u + t->importance) / 100);
}

uint32_t ruvm_traits_weight_q16(const struct ruvm_traits *t, const struct ruvm_context *c)
{
    if (c->types && !(c->types >> t->type & 1))
        return 0;
    return (uint32_t)((uint64_t)ruvm_traits_worth_q16(t, c->now) * context_q16(t, c) >> 16);
}
