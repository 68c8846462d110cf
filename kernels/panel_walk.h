/* How kernels walk over panels: parts of the columns, each with sums of its own, and runs of
 * columns whose multipliers are together.
 *
 * All parts of a matrix that is read from memory are walked panel by panel: part by part, memory
 * would be read in pieces with gaps between them, at less than half of its rate. */
#ifndef RUVM_KERNELS_PANEL_WALK_H
#define RUVM_KERNELS_PANEL_WALK_H

#include "kernels/panels.h"

/* ---- parts ------------------------------------------------------------------------- */

static inline uint32_t panel_n_parts(const struct ruvm_matmul_panels *m)
{
    return m->part_cols ? (m->n_cols + m->part_cols - 1) / m->part_cols : 1;
}

/* The i-th part as a product that has no other. */
static inline struct ruvm_matmul_panels panel_part(const struct ruvm_matmul_panels *m, uint32_t i)
{
    struct ruvm_matmul_panels part = *m;
    const uint32_t first = i * m->part_cols, left = m->n_cols - first;
    part.first_col += first;
    part.x += first;
    part.n_cols = m->part_cols && m->part_cols < left ? m->part_cols : left;
    part.out += (size_t)i * m->n_vecs * m->out_stride;
    part.part_cols = 0;
    return part;
}

/* Whether all that is to be done with a panel is done before the next one is read: for few vectors,
 * as more of them find it in a cache. */
static inline int panel_walks_once(const struct ruvm_matmul_panels *m)
{
    return m->is_far && m->n_vecs <= RUVM_PANELS_FEW_VECS &&
           (m->n_vecs > 1 || panel_n_parts(m) > 1);
}

/* The rows from r on, at most one panel. */
static inline struct ruvm_matmul_panels panel_of_rows(const struct ruvm_matmul_panels *m,
                                                      uint32_t r)
{
    struct ruvm_matmul_panels one = *m;
    const uint32_t left = m->n_rows - r;
    one.w += (size_t)(r / RUVM_PANEL_ROWS) * m->panel_bytes;
    one.out += r;
    one.n_rows = left < RUVM_PANEL_ROWS ? left : RUVM_PANEL_ROWS;
    one.is_odd = (m->is_odd + r / RUVM_PANEL_ROWS) % 2;
    return one;
}

/* Leaves each part to `multiply`, which takes products of one. */
static inline void panel_each_part(const struct ruvm_matmul_panels *m,
                                   void (*multiply)(const struct ruvm_matmul_panels *part))
{
    for (uint32_t i = 0; i < panel_n_parts(m); i++) {
        const struct ruvm_matmul_panels part = panel_part(m, i);
        multiply(&part);
    }
}

/* The same, panel by panel where that is better. */
static inline void panel_each_part_once(const struct ruvm_matmul_panels *m,
                                        void (*multiply)(const struct ruvm_matmul_panels *part))
{
    if (!panel_walks_once(m)) {
        panel_each_part(m, multiply);
        return;
    }
    for (uint32_t r = 0; r < m->n_rows; r += RUVM_PANEL_ROWS) {
        const struct ruvm_matmul_panels rows = panel_of_rows(m, r);
        panel_each_part(&rows, multiply);
    }
}

/* ---- runs -------------------------------------------------------------------------- */

/* Columns whose multipliers are together. */
struct panel_run {
    struct ruvm_panel_run of; /* how they all are */
    size_t words, mults;      /* where in a panel: of the first column, of all together with it */
    uint32_t first, n, left;  /* columns before it there, in the run, and with later runs */
};

static inline uint32_t panel_run_columns(const struct panel_run *run)
{
    const uint32_t most = run->of.cols - run->first;
    return most < run->left ? most : run->left;
}

/* The first run of m's columns. group: m's, or 0 when that is a constant. */
static inline struct panel_run panel_first_run(const struct ruvm_matmul_panels *m, uint32_t bits,
                                               uint32_t group)
{
    struct panel_run run = {.of = ruvm_panel_run(group, m->is_far, m->panel_bytes - m->words_bytes),
                            .left = m->n_cols};
    run.first = m->first_col % run.of.cols;
    run.n = panel_run_columns(&run);
    run.words = ruvm_panel_words_at(bits, run.of, m->first_col);
    run.mults = ruvm_panel_words_at(bits, run.of, m->first_col - run.first) - run.of.mults;
    return run;
}

/* 0: there is no other. */
static inline int panel_next_run(struct panel_run *run, uint32_t bits)
{
    run->left -= run->n;
    if (run->left == 0)
        return 0;
    run->mults = run->words + (size_t)run->n * bits * RUVM_PANEL_ROWS / 8;
    run->words = run->mults + run->of.mults;
    run->first = 0;
    run->n = panel_run_columns(run);
    return 1;
}

#endif
