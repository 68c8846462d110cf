/* Calls of every kernel alone: which there are to measure, with which shapes, and one call.
 *
 *     struct ruvm_kernel_call calls[RUVM_KERNEL_CALLS];
 *     n = ruvm_kernel_calls_list(calls, roofs);
 *     rc = ruvm_kernel_room_open(&room, err);
 *     calls[0].kind->run(&calls[0], kernels, &room, weights);
 *     ruvm_kernel_room_close(&room);
 */
#ifndef RUVM_MEASURE_KERNEL_CALLS_H
#define RUVM_MEASURE_KERNEL_CALLS_H

#include "kernels/kernels.h"
#include "lib/ruvm_tool.h"

struct ruvm_kernel_call;

/* Inputs and outputs of all kernels but the weights; no call changes what another one
 * may take. */
struct ruvm_kernel_room {
    int8_t *x;                /* quantized vectors, or their signs */
    int32_t *out;             /* sums */
    int32_t *a, *b;           /* vectors of 15 bits and a sign */
    int32_t *y, *sum;         /* what is written, what is added to */
    int32_t *folded;          /* what is multiplied by one */
    int32_t *zero;            /* what a kernel may leave as it likes */
    int16_t *q, *gain;        /* queries, gains and biases */
    uint16_t *scale, *weight; /* any, and of 14 bits */
    uint16_t *one;            /* all are 1 */
    uint8_t *codes, *step;    /* values of 4 bits */
    void *owned;
};

struct ruvm_kernel_kind {
    const char *name; /* as in struct ruvm_kernels; "/32": with a multiplier for 32 columns */
    int type;         /* of a matrix's weights; -1: keys or values; -2: vectors only */
    uint32_t group;
    double value_bytes; /* of a vector, read and written a value */
    void (*run)(const struct ruvm_kernel_call *c, const struct ruvm_kernels *k,
                const struct ruvm_kernel_room *r, const uint8_t *weights);
};

struct ruvm_kernel_call {
    const struct ruvm_kernel_kind *kind;
    uint32_t rows, cols, vectors, level;
    bool is_far;      /* the level is DRAM: kernels are told */
    uint32_t bytes;   /* that a call reads of its level, and for vectors writes */
    uint32_t advance; /* from these weights to the next ones; 0: vectors */
};

enum { RUVM_KERNEL_CALLS = 144 };

/* Every kernel: matrices at each level, in blocks of vectors, keys and values at each
 * level, and vectors. */
uint32_t ruvm_kernel_calls_list(struct ruvm_kernel_call calls[RUVM_KERNEL_CALLS],
                                const struct ruvm_bench_roofs *roofs);

/* Whether a table has its kernel: some have no panels, or none for several queries. */
bool ruvm_kernel_calls_has(const struct ruvm_kernels *k, const struct ruvm_kernel_call *c);
/* Whether the table's kernel multiplies bytes, which the machine's peak of that bounds. */
bool ruvm_kernel_calls_multiplies(const struct ruvm_kernels *k, const struct ruvm_kernel_call *c);

int ruvm_kernel_room_open(struct ruvm_kernel_room *r, struct ruvm_error *err);
void ruvm_kernel_room_close(struct ruvm_kernel_room *r);

#endif
