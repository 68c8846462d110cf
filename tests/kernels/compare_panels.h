/* Panels give what the rows that they were made of give; for compare.h. */
#ifndef TESTS_KERNELS_COMPARE_PANELS_H
#define TESTS_KERNELS_COMPARE_PANELS_H

#include "kernels/panels.h"
#include "tests/kernels/arrays.h"

/* The rows from the second panel on, as a thread may have them: out is as after all rows. */
static void panels_from_second(const struct ruvm_kernels *k, struct ruvm_matmul_panels m)
{
    int32_t *out = m.out;
    for (uint32_t v = 0; v < m.n_vecs; v++)
        for (uint32_t r = RUVM_PANEL_ROWS; r < m.n_rows; r++)
            memset(out + (size_t)v * m.out_stride + r, 0xa5, sizeof *out);
    m.w += m.panel_bytes;
    m.out += RUVM_PANEL_ROWS;
    m.n_rows -= RUVM_PANEL_ROWS;
    m.is_odd = 1;
    k->matmul_panels(&m);
}

/* The columns in as many parts as there may be. Each must give what it gives alone, and out is
 * their sum. */
static int panels_in_parts(const struct ruvm_kernels *k, struct ruvm_matmul_panels m, size_t bytes,
                           const char *name)
{
    int32_t *const sums = m.out;
    const uint32_t step = 32, most = RUVM_PANELS_MAX_PARTS * step;
    m.part_cols = (m.n_cols + most - 1) / most * step;
    const uint32_t n = (m.n_cols + m.part_cols - 1) / m.part_cols;
    const size_t one = (size_t)m.n_vecs * m.out_stride;
    int bad = 0;
    m.out = compare_array(n * one * sizeof *m.out);
    k->matmul_panels(&m);
    for (uint32_t i = 0, first = 0; i < n && !bad; i++, first += m.part_cols) {
        struct ruvm_matmul_panels part = m;
        part.first_col += first;
        part.x += first;
        part.n_cols = m.n_cols - first < m.part_cols ? m.n_cols - first : m.part_cols;
        part.part_cols = 0;
        part.out = memset(sums, 0xa5, bytes);
        k->matmul_panels(&part);
        bad = compare_same(name, sums, m.out + i * one, bytes, m.n_rows, m.n_cols);
    }
    for (uint32_t v = 0; v < m.n_vecs; v++)
        for (uint32_t r = 0; r < m.n_rows; r++) {
            const size_t at = (size_t)v * m.out_stride + r;
            sums[at] = 0;
            for (uint32_t i = 0; i < n; i++)
                sums[at] += m.out[i * one + at];
        }
    return bad;
}

/* The product of the panels of s, laid out for memory or for a cache, must be `expected`. */
static int panels_of_place(const struct ruvm_kernels *k, const struct ruvm_panels_source *s,
                           struct ruvm_matmul_panels m, const int32_t *expected)
{
    static const char *const names[9] = {[8] = "panels of int8",
                                         [4] = "panels of int4",
                                         [3] = "panels of int3",
                                         [2] = "panels of int2",
                                         [1] = "panels of binary"};
    const char *name = names[s->bits];
    size_t bytes = ((size_t)(m.n_vecs - 1) * m.out_stride + m.n_rows) * sizeof *m.out;
    uint8_t *panels = compare_array(ruvm_panels_room(s));
    ruvm_panels_pack(panels, s);
    int bad = compare_same(name, panels, panels, 0, m.n_rows, m.n_cols); /* nothing before them */
    m.w = panels;
    m.is_far = s->is_far;
    m.out = compare_array(bytes);
    k->matmul_panels(&m);
    bad |= compare_same(name, m.out, expected, bytes, m.n_rows, m.n_cols);
    if (m.n_rows > RUVM_PANEL_ROWS) {
        panels_from_second(k, m);
        bad |= compare_same(name, m.out, expected, bytes, m.n_rows, m.n_cols);
    }
    bad |= panels_in_parts(k, m, bytes, name);
    return bad | compare_same(name, m.out, expected, bytes, m.n_rows, m.n_cols);
}

/* The same in both places; m has row 0 and the shape of s. */
static int compare_panels(const struct ruvm_kernels *k, struct ruvm_panels_source *s,
                          struct ruvm_matmul_panels m, const int32_t *expected)
{
    const uint32_t hash = compare_hash; /* of what all machines compute: not all have panels */
    const int slot = compare_slot;
    int bad = 0;
    m.bits = s->bits;
    m.panel_bytes = ruvm_panels_bytes(s->row_bytes, s->mult_bytes);
    m.words_bytes = s->row_bytes * RUVM_PANEL_ROWS;
    for (s->is_far = 0; s->is_far < 2 && !bad; s->is_far++, compare_slot = slot)
        bad = panels_of_place(k, s, m, expected);
    compare_hash = hash;
    return bad;
}

static int compare_panels_s8(const struct ruvm_kernels *k, const struct ruvm_matmul *m,
                             const int32_t *expected)
{
    if (!k->matmul_panels)
        return 0;
    /* The last row need not be readable up to row_bytes, so the copy is of what is. */
    uint8_t *rows = compare_array((size_t)m->n_rows * m->row_bytes);
    for (uint32_t r = 0; r < m->n_rows; r++)
        memcpy(rows + (size_t)r * m->row_bytes, m->w + (size_t)r * m->row_bytes, m->n_cols);
    struct ruvm_panels_source s = {
        .w = rows, .bits = 8, .kernels = k, .n_rows = m->n_rows, .row_bytes = m->row_bytes};
    return compare_panels(k, &s,
                          (struct ruvm_matmul_panels){.x = m->x,
                                                      .n_rows = m->n_rows,
                                                      .n_cols = m->n_cols,
                                                      .n_vecs = m->n_vecs,
                                                      .x_stride = m->x_stride,
                                                      .out_stride = m->out_stride},
                          expected);
}

static int compare_panels_codes(const struct ruvm_kernels *k, uint32_t bits,
                                const struct ruvm_matmul_codes *m, const int32_t *expected)
{
    if (!k->matmul_panels)
        return 0;
    struct ruvm_panels_source s = {.w = m->w,
                                   .mult = m->mult,
                                   .bits = bits,
                                   .group = m->group,
                                   .kernels = k,
                                   .n_rows = m->n_rows,
                                   .row_bytes = m->row_bytes,
                                   .mult_bytes = m->group ? m->mult_bytes : 0};
    return compare_panels(k, &s,
                          (struct ruvm_matmul_panels){.x = m->x,
                                                      .n_rows = m->n_rows,
                                                      .first_col = m->first_col,
                                                      .n_cols = m->n_cols,
                                                      .group = m->group,
                                                      .n_vecs = m->n_vecs,
                                                      .x_stride = m->x_stride,
                                                      .out_stride = m->out_stride},
                          expected);
}

#endif
