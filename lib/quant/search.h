/* Search: which type each tensor gets, so that a file fits and the least is lost.
 *
 *     ruvm_search_open(&s, arena, n_tensors, err);
 *     ruvm_search_add(s, tensor, scheme, bytes, loss);      every choice of every tensor
 *     ruvm_search_solve(s, err);
 *     n = ruvm_search_count(s);  ruvm_search_choice(s, k, schemes, &bytes, &loss);
 *
 * Losses of tensors are taken to add up, so the best choices are found greedily: the
 * next tensor to become larger is the one that saves the most loss a byte (the lower
 * convex hulls of the tensors, merged; Shoham and Gersho 1988). Each step is a choice that no
 * other one beats in both bytes and loss.
 */
#ifndef RUVM_QUANT_SEARCH_H
#define RUVM_QUANT_SEARCH_H

#include "lib/base/arena.h"
#include "lib/quant/scheme.h"

struct ruvm_search;

/* Lives in the arena. RUVM_ERR_MEMORY. */
int ruvm_search_open(struct ruvm_search **s, struct ruvm_arena *arena, uint32_t n_tensors,
                     struct ruvm_error *err);
/* One choice of a tensor: RUVM_SEARCH_MAX_CHOICES a tensor at most. */
enum { RUVM_SEARCH_MAX_CHOICES = 8 };
void ruvm_search_add(struct ruvm_search *s, uint32_t tensor, struct ruvm_scheme scheme,
                     uint64_t bytes, double loss);
/* Once every tensor has a choice. RUVM_ERR_MEMORY. */
int ruvm_search_solve(struct ruvm_search *s, struct ruvm_error *err);

/* The choices found, the smallest first: bytes rise and the loss falls. */
uint32_t ruvm_search_count(const struct ruvm_search *s);
/* Choice k: schemes[n_tensors], all bytes and the summed loss. */
void ruvm_search_choice(const struct ruvm_search *s, uint32_t k, struct ruvm_scheme *schemes,
                        uint64_t *bytes, double *loss);

#endif
