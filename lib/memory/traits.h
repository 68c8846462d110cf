/* Traits: what an entry of a memory is like besides its words, and what that makes it worth
 * to a question.
 *
 *     rc = ruvm_traits_read(&traits, meta.text, meta.bytes);      of a chunk's metadata
 *     ruvm_traits_tag(traits.tags, &traits.n_tags, RUVM_TRAITS_MAX_TAGS, "room", 4, "hall", 4);
 *     weight = ruvm_traits_weight_q16(&traits, &context);
 *     score = (uint64_t)similarity_q16 * weight >> 16;
 *
 * The weight is a product, 65536 is 1:
 *
 *     importance    (50 + importance) / 100           from a half to one and a half
 *     age           2 ^ -(age / half-life)            1 for what lasts
 *     context       2 for each tag of the question that the entry has, 1/4 for each that it has
 *                   with another value
 *
 * It is 0 for what has expired and for types that were not asked for. Integers only, the same
 * on every machine. Chip-safe.
 */
#ifndef RUVM_MEMORY_TRAITS_H
#define RUVM_MEMORY_TRAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ruvm_memory_type {
    RUVM_MEMORY_FACTUAL,    /* what is so: lasts */
    RUVM_MEMORY_EPISODIC,   /* what happened: fades by half in a week */
    RUVM_MEMORY_PROCEDURAL, /* how something is done: lasts */
    RUVM_MEMORY_PREFERENCE, /* what somebody likes: fades by half in 90 days */
    RUVM_MEMORY_N_TYPES,
};
extern const char *const ruvm_memory_type_names[RUVM_MEMORY_N_TYPES];

/* A key and its value, both hashed (FNV-1a, ASCII letters small): 32 bits each, so that two
 * of a device's few words are as good as never mistaken for each other. */
struct ruvm_tag {
    uint32_t key, value;
};

enum { RUVM_TRAITS_MAX_TAGS = 4, RUVM_CONTEXT_MAX_TAGS = 8, RUVM_TRAITS_IMPORTANCE = 50 };
#define RUVM_TRAITS_LASTS 0xFFFFFFFFu

struct ruvm_traits {
    uint8_t type, importance; /* importance: 0..100 */
    uint8_t n_tags;
    uint32_t time;    /* in seconds, when it was told or last used; 0: not known, it does not age */
    uint32_t expires; /* in seconds; 0: never */
    uint32_t half_life; /* in seconds; 0: that of its type; RUVM_TRAITS_LASTS: it does not age */
    struct ruvm_tag tags[RUVM_TRAITS_MAX_TAGS];
};

struct ruvm_context {
    uint32_t now;  /* in seconds, of the same clock */
    uint8_t types; /* bit i: type i is asked for; 0: all */
    uint8_t n_tags;
    struct ruvm_tag tags[RUVM_CONTEXT_MAX_TAGS];
};

/* Factual, of middle importance, no tags, lasting. */
struct ruvm_traits ruvm_traits_plain(void);
/* Changes traits as a JSON object says, e.g. the metadata of a chunk: "memory" (a type),
 * "importance", "time", "half_life" (whole numbers, bare or as text). Other members whose value
 * is text become tags, the first four, and so do these when their value is none of theirs.
 * RUVM_ERR_CORRUPT: it is no JSON object; traits are then as they were. */
int ruvm_traits_read(struct ruvm_traits *t, const char *json, size_t n);
/* Appends a tag, or changes the value of one with that key; false: there is no room. */
bool ruvm_traits_tag(struct ruvm_tag *tags, uint8_t *n_tags, uint8_t max, const char *key,
                     size_t n_key, const char *value, size_t n_value);

uint32_t ruvm_traits_weight_q16(const struct ruvm_traits *t, const struct ruvm_context *c);
/* The same without a question: what is worth keeping. */
uint32_t ruvm_traits_worth_q16(const struct ruvm_traits *t, uint32_t now);
static inline bool ruvm_traits_expired(const struct ruvm_traits *t, uint32_t now)
{
    return t->expires && t->expires <= now;
}

#endif
