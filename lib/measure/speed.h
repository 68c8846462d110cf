/* Speed of a model: prompt and decode, in tokens a second. */
#ifndef RUVM_MEASURE_SPEED_H
#define RUVM_MEASURE_SPEED_H

#include "lib/ruvm_tool.h"

struct ruvm_speed {
    uint32_t prompt_tokens, generate_tokens; /* what was measured */
    struct ruvm_spread prompt, decode;       /* tokens a second */
};

/* Prompt: all tokens in one call at position 0. Decode: calls of one token each from
 * position 0, with the choice of the likeliest token after each; of o->batch texts, all in
 * every call. One unmeasured round, then both in turn, so that a disturbance meets both.
 *
 * n sessions take turns, each with its own options, all with the repetitions of the first:
 * a b c, c b a and so on. One whose errs[i] has a code is left out; errs[i] then says of the
 * others what went wrong: RUVM_ERR_FULL when the context is too small for the lengths asked
 * for, _MEMORY, of all _IO "interrupted". Empties the sessions' contexts. */
void ruvm_speed_measure(struct ruvm_speed *speeds, struct ruvm_session *const *sessions,
                        const struct ruvm_bench_options *o, uint32_t n, struct ruvm_error *errs);

/* The parts that other measurements of tokens share: how many to measure, `asked` or the
 * default as far as the context allows (RUVM_ERR_FULL); the first one. */
int ruvm_speed_choose_length(uint32_t *n, uint32_t asked, const struct ruvm_session *s,
                             struct ruvm_error *err);
uint16_t ruvm_speed_start(const struct ruvm_session *s);

#endif
