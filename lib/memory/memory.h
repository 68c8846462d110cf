/* Memory: what a device was told and has seen, in the caller's memory, found again by likeness
 * and by what it is worth.
 *
 *     const struct ruvm_memory_shape shape = {.capacity = 128, .dims = 64, .text_bytes = 64};
 *     rc = ruvm_memory_init(&m, &shape, memory, ruvm_memory_bytes(&shape));
 *     rc = ruvm_memory_remember(&m, &item, now, &id);
 *     n = ruvm_memory_recall(&m, row, &context, k, hits);
 *     which = ruvm_memory_choose(hits, n);
 *
 * The score of an entry is the cosine of its vector and the question's, times the weight of
 * its traits (lib/memory/traits.h). Where there is no room left, what is worth least makes
 * place: importance faded by age; what has expired goes first. The vectors are the caller's,
 * e.g. those of a recipe (lib/vector/recipe.h), as int8 codes. Everything is integers and
 * depends on nothing but the calls: the same on every machine. Chip-safe.
 */
#ifndef RUVM_MEMORY_MEMORY_H
#define RUVM_MEMORY_MEMORY_H

#include "lib/memory/traits.h"
#include "lib/vector/vectors.h"

struct ruvm_memory_shape {
    uint32_t capacity;   /* entries, 1..RUVM_MEMORY_MAX_ENTRIES */
    uint16_t dims;       /* of their vectors, 8..1024 */
    uint16_t text_bytes; /* room for the text of each */
};
enum { RUVM_MEMORY_MAX_ENTRIES = 65536 };

struct ruvm_memory_entry {
    uint32_t id; /* 0: the place is free */
    uint16_t n_text;
    struct ruvm_traits traits;
};

struct ruvm_memory {
    struct ruvm_memory_shape shape;
    uint32_t n, next_id;
    struct ruvm_memory_entry *entries; /* [capacity] */
    char *texts;                       /* [capacity, text_bytes] */
    uint8_t *rows;                     /* [capacity, vectors.row_bytes], 16-byte aligned */
    uint8_t *sides;                    /* [capacity, 2] */
    struct ruvm_vectors vectors;
};

/* What a memory of that shape needs, 16-byte aligned; 0: the shape is out of range. Of 128
 * entries of 32 dimensions and 64 bytes of text: 19,712 bytes. */
size_t ruvm_memory_bytes(const struct ruvm_memory_shape *shape);
/* An empty memory. RUVM_ERR_ARG: the shape is out of range or memory not aligned;
 * RUVM_ERR_MEMORY: too little. */
int ruvm_memory_init(struct ruvm_memory *m, const struct ruvm_memory_shape *shape, void *memory,
                     size_t bytes);

struct ruvm_memory_item {
    struct ruvm_traits traits; /* time 0: now */
    const char *text;          /* any bytes, copied */
    size_t n_text;
    const int8_t *row; /* [dims] codes, copied */
};
/* Keeps an item; *id is its number, from 1. The same text with the same tags is one entry:
 * it is renewed. RUVM_ERR_ARG: the text is too long or the item has expired; RUVM_ERR_FULL:
 * everything there is worth more, nothing changed. */
int ruvm_memory_remember(struct ruvm_memory *m, const struct ruvm_memory_item *item, uint32_t now,
                         uint32_t *id);
/* RUVM_ERR_ARG: no entry has that number. */
int ruvm_memory_forget(struct ruvm_memory *m, uint32_t id);
/* It was of use now: it begins to age anew. */
int ruvm_memory_renew(struct ruvm_memory *m, uint32_t id, uint32_t now);
/* Takes out what has expired; returns how many. */
uint32_t ruvm_memory_sweep(struct ruvm_memory *m, uint32_t now);

struct ruvm_memory_hit {
    uint32_t id, score_q16, similarity_q16;
    const struct ruvm_memory_entry *entry;
    const char *text; /* [entry->n_text] */
};
/* The k best, the highest score first, equal ones by id; those of score 0 are none. Returns
 * their number. row[dims] codes, 16-byte aligned and zero-padded to a multiple of 16. */
uint32_t ruvm_memory_recall(const struct ruvm_memory *m, const int8_t *row,
                            const struct ruvm_context *context, uint32_t k,
                            struct ruvm_memory_hit *hits);

/* Which of the hits is meant. */
enum ruvm_memory_choice {
    RUVM_MEMORY_NOTHING,   /* none, or its score is below the floor */
    RUVM_MEMORY_CLEAR,     /* the first */
    RUVM_MEMORY_AMBIGUOUS, /* the second's score is nearly the first's: ask back */
};
enum { RUVM_MEMORY_FLOOR_Q16 = 6554 }; /* a tenth */
enum ruvm_memory_choice ruvm_memory_choose(const struct ruvm_memory_hit *hits, uint32_t n);
/* Whether a score leaves open which of both is meant: it is more than 4/5 of the best,
 * which is about the noise of hashed vectors. */
static inline bool ruvm_memory_is_close(uint32_t best, uint32_t second)
{
    return (uint64_t)second * 5 > (uint64_t)best * 4;
}

#endif
