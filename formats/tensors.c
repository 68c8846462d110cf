/* The directory of a foreign model: adding to it, finding in it, and turning a row of
 * any stored type into floats.
 *
 * There is no capacity beside the counts: an array is full exactly when its count
 * is a power of two from FIRST_CAPACITY on, so the arena serves as a growing array.
 */
#include "formats/tensors.h"

#include <string.h>

#include "lib/base/bytes.h"

enum { FIRST_CAPACITY = 8 };

static bool is_full(size_t n)
{
    return n == 0 || (n >= FIRST_CAPACITY && (n & (n - 1)) == 0);
}

/* items, or a copy with twice the room when it is full; NULL when memory is short. */
static void *grown(struct ruvm_arena *arena, void *items, size_t n, size_t size)
{
    if (!is_full(n))
        return items;
    void *copy = ruvm_arena_alloc(arena, n ? 2 * n : FIRST_CAPACITY, size);
    if (copy && n)
        memcpy(copy, items, n * size);
    return copy;
}

bool ruvm_tensors_add(struct ruvm_tensors *t, struct ruvm_arena *arena,
                      const struct ruvm_view *view)
{
    struct ruvm_view *views = grown(arena, t->views, t->n_views, sizeof *views);
    if (!views)
        return false;
    t->views = views;
    views[t->n_views++] = *view;
    return true;
}

static bool add_meta(struct ruvm_tensors *t, struct ruvm_arena *arena, struct ruvm_meta entry)
{
    struct ruvm_meta *meta = grown(arena, t->meta, t->n_meta, sizeof *meta);
    if (!meta)
        return false;
    t->meta = meta;
    meta[t->n_meta++] = entry;
    return true;
}

bool ruvm_tensors_meta(struct ruvm_tensors *t, struct ruvm_arena *arena, const char *key,
                       double number)
{
    return add_meta(t, arena, (struct ruvm_meta){.key = key, .number = number});
}

bool ruvm_tensors_meta_text(struct ruvm_tensors *t, struct ruvm_arena *arena, const char *key,
                            const char *text)
{
    return add_meta(t, arena, (struct ruvm_meta){.key = key, .text = text});
}

const struct ruvm_view *ruvm_tensors_find(const struct ruvm_tensors *t, const char *name)
{
    for (size_t i = 0; i < t->n_views; i++)
        if (strcmp(t->views[i].name, name) == 0)
            return &t->views[i];
    return NULL;
}

bool ruvm_tensors_number(const struct ruvm_tensors *t, const char *key, double *number)
{
    for (size_t i = 0; i < t->n_meta; i++) {
        if (strcmp(t->meta[i].key, key) != 0)
            continue;
        *number = t->meta[i].number;
        return t->meta[i].text == NULL;
    }
    return false;
}

const char *ruvm_tensors_text(const struct ruvm_tensors *t, const char *key)
{
    for (size_t i = 0; i < t->n_meta; i++)
        if (strcmp(t->meta[i].key, key) == 0)
            return t->meta[i].text;
    return NULL;
}

float ruvm_tensors_f32(const uint8_t *p)
{
    uint32_t bits = ruvm_load_u32(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
