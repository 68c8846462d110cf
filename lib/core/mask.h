/* Masks: which positions a token sees besides those that the model itself leaves out, and where
 * the cache keeps them.
 *
 * Only a window with sinks lets keys and values be forgotten. Then the cache is the first
 * positions, which stay, and a ring behind them. The ring has room for the window and block - 1
 * positions more, so that the tokens of a block may all be stored before the first of them looks,
 * and as many may be taken back.
 */
#ifndef RUVM_CORE_MASK_H
#define RUVM_CORE_MASK_H

#include "lib/ruvm.h"

struct ruvm_engine;
struct ruvm_ratio;

/* Of context positions the cache keeps so many. */
uint32_t ruvm_mask_slots(const struct ruvm_mask *m, uint32_t context, uint32_t block);
/* Where the engine's cache keeps a position. */
uint32_t ruvm_mask_slot(const struct ruvm_engine *e, uint32_t position);
/* Whether the cache keeps fewer positions than there are: then a slot serves several. */
bool ruvm_mask_is_ring(const struct ruvm_engine *e);
/* Whether the engine can go back to its first n tokens: nothing they see is overwritten. */
bool ruvm_mask_can_rewind(const struct ruvm_engine *e, uint32_t n);

/* The softmax weights of the scores of n slots from `first` on for the token at `position`, which
 * sees no position below `oldest`: what the mask hides counts as if it were not there. Returns
 * their sum. */
uint32_t ruvm_mask_weights(struct ruvm_engine *e, uint32_t first, uint32_t n, uint32_t position,
                           uint32_t oldest, struct ruvm_ratio r);

#endif
