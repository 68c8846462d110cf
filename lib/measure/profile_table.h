/* A kernel table that notes where the time of a token goes.
 *
 *     ruvm_profile_table_begin(&watch, kernels, n_layers);
 *     engine options: .kernels = &watch.table
 *     ruvm_profile_token_begin();  ruvm_engine_eval(...);
 *     ruvm_profile_token_choose(); ...                    ruvm_profile_token_end();
 *     ruvm_profile_table_end();
 *
 * Kernels are functions without a state of their own, so one thread watches one engine at
 * a time. The engine knows nothing of it.
 */
#ifndef RUVM_MEASURE_PROFILE_TABLE_H
#define RUVM_MEASURE_PROFILE_TABLE_H

#include "kernels/kernels.h"
#include "lib/ruvm_tool.h"

/* Where in a token the engine is, as its calls of kernels tell. */
enum ruvm_profile_stage {
    RUVM_STAGE_EMBED,
    RUVM_STAGE_NORMED,    /* a norm has begun; its vector's matrix comes next */
    RUVM_STAGE_PROJECTED, /* queries, keys and values are there */
    RUVM_STAGE_HIDDEN,    /* up and gate are there */
    RUVM_STAGE_ACTIVATED, /* and the product of both */
    RUVM_STAGE_CLOSED,    /* the half-layer's last matrix is multiplied */
    RUVM_STAGE_FINAL_NORM,
    RUVM_STAGE_HEAD,
};

struct ruvm_profile_watch {
    struct ruvm_kernels table; /* of the same name, with watched functions */
    const struct ruvm_kernels *real;
    uint32_t n_layers;
    enum ruvm_profile_stage stage;
    enum ruvm_bench_part part;  /* that the time since `since` belongs to */
    uint32_t n_norms, matrices; /* of the token, of its half-layer's present stage */
    uint64_t since;
    uint64_t ticks[RUVM_N_PARTS], readings[RUVM_N_PARTS], calls[RUVM_N_PARTS];
};

/* Readings of the clock that is cheapest here; how long a tick is, the caller measures. */
uint64_t ruvm_profile_ticks(void);

void ruvm_profile_table_begin(struct ruvm_profile_watch *w, const struct ruvm_kernels *real,
                              uint32_t n_layers);
void ruvm_profile_token_begin(void);
/* The engine has done its part; the next token is chosen now. */
void ruvm_profile_token_choose(void);
void ruvm_profile_token_end(void);
void ruvm_profile_table_end(void);

#endif
