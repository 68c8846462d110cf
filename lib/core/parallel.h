/* Work that a token, or a block of them, splits among the threads of its caller.
 *
 *     static void part(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end) ...
 *     ruvm_parallel_for(e, n_items, work, part, &job);
 *
 * Each item is one part's alone, and writes what no other item touches; so results do not
 * depend on the number of parts. Items share the engine but for its work areas for one
 * token (vector, query, scores and what follows): every part has an engine of its own for
 * these, a view, whose other members are those of the engine.
 */
#ifndef RUVM_CORE_PARALLEL_H
#define RUVM_CORE_PARALLEL_H

#include "lib/core/engine.h"

/* The views see the engine as it is now. */
void ruvm_parallel_refresh(struct ruvm_engine *e);
/* Items 0 .. n in so many pieces as there are threads. */
void ruvm_parallel_split(struct ruvm_engine *e, uint32_t n,
                         void (*part)(struct ruvm_engine *view, void *job, uint32_t first,
                                      uint32_t end),
                         void *job);
/* Makes a part's copy of its view an engine of its own for n of the block's tokens, from `first`
 * on: their vectors, and a share of the work area. */
void ruvm_parallel_narrow(struct ruvm_engine *copy, uint32_t first, uint32_t n);

enum { RUVM_PARALLEL_TOKENS = 4 }; /* that share what kernels load of a matrix */

/* A multiplication in a kernel of matrices is the unit of work; what is done to a value of a
 * vector takes about as long as so many of them, and so does one in attention. */
enum { RUVM_WORK_OF_VALUE = 32, RUVM_WORK_OF_ATTENTION = 2 };

/* Items 0 .. n, of `work` multiplications in all: a little is done at once. */
static inline void ruvm_parallel_for(struct ruvm_engine *e, uint32_t n, uint64_t work,
                                     void (*part)(struct ruvm_engine *view, void *job,
                                                  uint32_t first, uint32_t end),
                                     void *job)
{
    if (ruvm_engine_parallel(e) && n > 1 && work >= e->parallel->min_work)
        ruvm_parallel_split(e, n, part, job);
    else
        part(e, job, 0, n);
}

/* Tokens 0 .. n, of whose vectors `values` values are worked at. */
static inline void ruvm_parallel_tokens(struct ruvm_engine *e, uint32_t n, uint32_t values,
                                        void (*part)(struct ruvm_engine *view, void *job,
                                                     uint32_t first, uint32_t end),
                                        void *job)
{
    ruvm_parallel_for(e, n, (uint64_t)n * values * RUVM_WORK_OF_VALUE, part, job);
}

#endif
