/* The machine's own roofs: read bandwidth of each level of memory, and the peak of
 * multiplying bytes. One thread, as all that is measured against them.
 *
 *     rc = ruvm_roofs_open(&m, repetitions, err);
 *     for (n = 0; n < repetitions; n++)
 *         ruvm_roofs_measure(&m, n);         and whatever is to be compared with them
 *     ruvm_roofs_report(&m, &roofs, repetitions);
 *     ruvm_roofs_close(&m);
 */
#ifndef RUVM_MEASURE_ROOFS_H
#define RUVM_MEASURE_ROOFS_H

#include "kernels/roof.h"
#include "lib/ruvm_tool.h"

enum { RUVM_ROOFS_LEVELS = 4 };

/* The time of one measurement: a single kernel is too fast for a clock. */
#define RUVM_ROOFS_MEASUREMENT_S 0.5e-3

struct ruvm_roofs {
    const struct ruvm_roof *loops;
    struct ruvm_bench_roofs shape;      /* the levels, without their rates */
    uint8_t *memory;                    /* each level's bytes are the first of these */
    size_t cursor[RUVM_ROOFS_LEVELS];   /* where reading of a level goes on */
    double *read[RUVM_ROOFS_LEVELS];    /* [repetitions] bytes a second */
    double *multiply;                   /* [repetitions] multiplications a second */
    uint32_t pieces[RUVM_ROOFS_LEVELS]; /* that one measurement reads */
    uint32_t rounds;                    /* that one measurement multiplies */
    uint32_t sink;                      /* what the loops return */
};

/* Finds the levels, takes their memory, finds how much one measurement is, and warms up.
 * RUVM_ERR_MEMORY. */
int ruvm_roofs_open(struct ruvm_roofs *m, uint32_t repetitions, struct ruvm_error *err);
/* Brings a level's bytes there, if they can stay; those of DRAM are never there twice. */
void ruvm_roofs_warm(struct ruvm_roofs *m, uint32_t level);
/* The next n bytes of a level, at a 64-byte aligned address. */
const uint8_t *ruvm_roofs_next(struct ruvm_roofs *m, uint32_t level, size_t n);
void ruvm_roofs_measure(struct ruvm_roofs *m, uint32_t repetition);
void ruvm_roofs_report(struct ruvm_roofs *m, struct ruvm_bench_roofs *roofs, uint32_t repetitions);
void ruvm_roofs_close(struct ruvm_roofs *m);

#endif
