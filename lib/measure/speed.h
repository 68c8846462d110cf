/* Speed of a model: prompt and decode, in tokens a second. */
#ifndef RUVM_MEASURE_SPEED_H
#define RUVM_MEASURE_SPEED_H

#include "lib/ruvm_tool.h"

struct ruvm_speed {
    uint32_t prompt_tokens, generate_tokens; /* what was measured */
    struct ruvm_spread prompt, decode;       /* tokens a second */
};

/* Prompt: n tokens in one call at position 0. Decode: n calls of one token each from
 * position 0, with the choice of the likeliest token after each; of o->batch texts, all in
 * every call. One unmeasured round, then
 * both in turn, so that a disturbance meets both. RUVM_ERR_FULL when the context is too small
 * for the lengths asked for, _MEMORY, _IO "interrupted". Empties the session's context. */
int ruvm_speed_measure(struct ruvm_speed *speed, struct ruvm_session *s,
                       const struct ruvm_bench_options *o, struct ruvm_error *err);

/* The parts that other measurements of tokens share: how many to measure, `asked` or the
 * default as far as the context allows (RUVM_ERR_FULL); the first one. */
int ruvm_speed_choose_length(uint32_t *n, uint32_t asked, uint32_t context, struct ruvm_error *err);
uint16_t ruvm_speed_start(const struct ruvm_session *s);

#endif
