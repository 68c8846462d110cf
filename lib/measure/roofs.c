/* Measures the roofs of this machine.
 *
 * A level of memory is read over a part of it that surely stays there: half of a cache
 * that belongs to one core, a quarter of a shared one. DRAM is read round and round over
 * four times the largest cache, so that nothing is still there when its turn comes again.
 * All levels are the start of one array, as kernels find their weights at them.
 */
#include "lib/measure/roofs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/pages.h"
#include "lib/measure/machine.h"
#include "lib/measure/spread.h"

enum { ALIGN = 4096, PIECE = 1 << 16, FILLED = 1 << 20 };

#define LEAST_DRAM_BYTES ((uint64_t)64 << 20)
#define MOST_DRAM_BYTES ((uint64_t)256 << 20)

/* The first roof whose kernels this machine runs. */
static const struct ruvm_roof *find_loops(void)
{
    const struct ruvm_roof *const *r = ruvm_roof_all;
    while (r[1] && !ruvm_kernels_select((*r)->kernels))
        r++;
    return *r;
}

static void add_level(struct ruvm_bench_roofs *s, const char *name, uint64_t bytes, uint64_t placed)
{
    struct ruvm_bench_level *l = &s->levels[s->n_levels++];
    snprintf(l->name, sizeof l->name, "%s", name);
    l->bytes = bytes;
    l->placed_bytes = ruvm_align_up(placed, RUVM_ROOF_CHUNK);
}

static void find_levels(struct ruvm_bench_roofs *s)
{
    static const char *const names[RUVM_MACHINE_CACHES] = {"L1", "L2", "L3"};
    uint64_t bytes[RUVM_MACHINE_CACHES], largest = 0, dram;
    s->sizes_assumed = !ruvm_machine_caches(bytes);
    for (int i = 0; i < RUVM_MACHINE_CACHES; i++) {
        bool is_shared = i == RUVM_MACHINE_CACHES - 1;
        if (bytes[i] <= 2 * largest) /* none, or no room beside the one before */
            continue;
        largest = bytes[i];
        add_level(s, names[i], largest, largest / (is_shared && largest > 16 << 20 ? 4 : 2));
    }
    dram = 4 * largest > LEAST_DRAM_BYTES ? 4 * largest : LEAST_DRAM_BYTES;
    add_level(s, "DRAM", 0, dram < MOST_DRAM_BYTES ? dram : MOST_DRAM_BYTES);
}

/* Bytes without -128, which no weight is. */
static void fill(uint8_t *p, size_t n)
{
    uint32_t state = 1;
    for (size_t i = 0; i < FILLED; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (uint8_t)((state >> 16) % 255 + 129);
    }
    for (size_t i = FILLED; i < n; i += FILLED)
        memcpy(p + i, p, n - i < FILLED ? n - i : FILLED);
}

static int take_memory(struct ruvm_roofs *m, uint32_t repetitions, struct ruvm_error *err)
{
    uint32_t n = m->shape.n_levels;
    size_t bytes = ruvm_align_up((size_t)m->shape.levels[n - 1].placed_bytes, ALIGN);
    m->memory = ruvm_pages_alloc(bytes); /* as a model's weights lie */
    m->multiply = calloc((size_t)repetitions * (n + 1), sizeof(double));
    if (!m->memory || !m->multiply)
        return ruvm_fail(err, RUVM_ERR_MEMORY,
                         "no memory for measuring the memory: that takes %zu MiB", bytes >> 20);
    for (uint32_t i = 0; i < n; i++)
        m->read[i] = m->multiply + (size_t)repetitions * (i + 1);
    fill(m->memory, bytes);
    return RUVM_OK;
}

const uint8_t *ruvm_roofs_next(struct ruvm_roofs *m, uint32_t level, size_t n)
{
    size_t at = m->cursor[level];
    at = at + n > m->shape.levels[level].placed_bytes ? 0 : at;
    m->cursor[level] = at + n;
    return m->memory + at;
}

void ruvm_roofs_warm(struct ruvm_roofs *m, uint32_t level)
{
    if (level + 1 < m->shape.n_levels)
        m->sink ^= m->loops->read(m->memory, (size_t)m->shape.levels[level].placed_bytes);
}

/* Bytes a second. */
static double read_level(struct ruvm_roofs *m, uint32_t level)
{
    uint64_t placed = m->shape.levels[level].placed_bytes;
    size_t piece = placed < PIECE ? (size_t)placed : PIECE;
    double start = ruvm_clock_s();
    for (uint32_t i = 0; i < m->pieces[level]; i++)
        m->sink ^= m->loops->read(ruvm_roofs_next(m, level, piece), piece);
    return (double)piece * m->pieces[level] / (ruvm_clock_s() - start);
}

static double multiply(struct ruvm_roofs *m)
{
    const int8_t *operand = (const int8_t *)m->memory;
    double start = ruvm_clock_s();
    m->sink ^= m->loops->multiply(operand, m->rounds);
    return (double)m->loops->macs * m->rounds / (ruvm_clock_s() - start);
}

/* Doubles what one measurement is until it takes long enough. */
static void calibrate(struct ruvm_roofs *m)
{
    for (uint32_t i = 0; i < m->shape.n_levels; i++) {
        uint64_t placed = m->shape.levels[i].placed_bytes;
        double piece = placed < PIECE ? (double)placed : PIECE;
        m->pieces[i] = 1;
        while (piece * m->pieces[i] / read_level(m, i) < RUVM_ROOFS_MEASUREMENT_S &&
               m->pieces[i] < 1u << 24)
            m->pieces[i] *= 2;
    }
    m->rounds = 1;
    while ((double)m->loops->macs * m->rounds / multiply(m) < RUVM_ROOFS_MEASUREMENT_S &&
           m->rounds < 1u << 30)
        m->rounds *= 2;
}

int ruvm_roofs_open(struct ruvm_roofs *m, uint32_t repetitions, struct ruvm_error *err)
{
    *m = (struct ruvm_roofs){.loops = find_loops()};
    find_levels(&m->shape);
    snprintf(m->shape.instruction, sizeof m->shape.instruction, "%s", m->loops->instruction);
    int rc = take_memory(m, repetitions, err);
    if (rc == RUVM_OK)
        calibrate(m);
    return rc;
}

void ruvm_roofs_measure(struct ruvm_roofs *m, uint32_t repetition)
{
    for (uint32_t i = 0; i < m->shape.n_levels; i++) {
        ruvm_roofs_warm(m, i);
        m->read[i][repetition] = read_level(m, i);
    }
    m->multiply[repetition] = multiply(m);
}

void ruvm_roofs_report(struct ruvm_roofs *m, struct ruvm_bench_roofs *roofs, uint32_t repetitions)
{
    *roofs = m->shape;
    for (uint32_t i = 0; i < roofs->n_levels; i++)
        roofs->levels[i].gb_per_s =
            ruvm_spread_scaled(ruvm_spread_of(m->read[i], repetitions), 1e-9);
    roofs->gmac_per_s = ruvm_spread_scaled(ruvm_spread_of(m->multiply, repetitions), 1e-9);
}

void ruvm_roofs_close(struct ruvm_roofs *m)
{
    free(m->memory);
    free(m->multiply);
}
