/* Takes query, key and value apart, and puts RoPE's pairs next to each other. */
#include "lib/import/rows.h"

#include <string.h>

#include "lib/base/bytes.h"

/* The stored row of row r. */
static uint32_t stored_at(const struct ruvm_rows *rows, uint32_t r)
{
    uint32_t head = r / rows->head_dim, i = r % rows->head_dim;
    if (i < rows->halves)
        i = i / 2 + i % 2 * (rows->halves / 2);
    return rows->first + head * rows->head_stride + i;
}

static bool is_plain(const struct ruvm_rows *rows, uint64_t n_stored)
{
    return rows->n == n_stored && rows->first == 0 && rows->halves <= 2 &&
           rows->head_stride == rows->head_dim;
}

static bool choose_rows(struct ruvm_view *v, struct ruvm_arena *arena, const struct ruvm_rows *rows)
{
    const uint32_t *before = v->order;
    uint32_t *order = ruvm_arena_alloc(arena, rows->n, sizeof *order);
    for (uint32_t r = 0; order && r < rows->n; r++) {
        uint32_t at = stored_at(rows, r);
        order[r] = before ? before[at] : at;
    }
    v->bytes = (size_t)((double)v->bytes * rows->n / (double)v->dims[0]); /* its share */
    v->dims[0] = rows->n;
    v->order = order;
    return order != NULL;
}

const struct ruvm_view *ruvm_rows_matrix(struct ruvm_arena *arena, const struct ruvm_view *stored,
                                         const struct ruvm_rows *rows, bool columns)
{
    if (!columns && is_plain(rows, stored->dims[0]))
        return stored;
    struct ruvm_view *v = ruvm_arena_alloc(arena, 1, sizeof *v);
    if (!v)
        return NULL;
    *v = *stored;
    if (columns) {
        v->stride = stored->dims[1];
        v->dims[0] = stored->dims[1];
        v->dims[1] = stored->dims[0];
    }
    if (is_plain(rows, v->dims[0]) || choose_rows(v, arena, rows))
        return v;
    return NULL;
}

const struct ruvm_view *ruvm_rows_vector(struct ruvm_arena *arena, const struct ruvm_view *stored,
                                         const struct ruvm_rows *rows)
{
    if (is_plain(rows, stored->dims[0]))
        return stored;
    struct ruvm_view *v = ruvm_arena_alloc(arena, 1, sizeof *v);
    float *all = ruvm_arena_alloc(arena, stored->dims[0], sizeof *all);
    uint8_t *data = ruvm_arena_alloc(arena, rows->n, sizeof *all);
    if (!v || !all || !data)
        return NULL;
    ruvm_view_row(stored, 0, all);
    for (uint32_t r = 0; r < rows->n; r++) {
        uint32_t bits;
        memcpy(&bits, &all[stored_at(rows, r)], sizeof bits);
        ruvm_store_u32(data + 4 * (size_t)r, bits);
    }
    *v = (struct ruvm_view){.name = stored->name,
                            .dtype = RUVM_DTYPE_F32,
                            .n_dims = 1,
                            .dims = {rows->n},
                            .data = data,
                            .bytes = 4 * (size_t)rows->n};
    return v;
}
