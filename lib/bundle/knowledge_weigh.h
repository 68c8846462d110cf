/* What memory makes of an answer: hits weighed by importance, age and context. */
#ifndef RUVM_BUNDLE_KNOWLEDGE_WEIGH_H
#define RUVM_BUNDLE_KNOWLEDGE_WEIGH_H

#include "formats/rag_read.h"
#include "lib/memory/traits.h"
#include "lib/ruvm_tool.h"
#include "lib/vector/blend.h"

/* The context of a question. RUVM_ERR_ARG: a word is no KEY=VALUE, or there are too many. */
int ruvm_knowledge_context(struct ruvm_context *c, const struct ruvm_knowledge_ask *ask,
                           uint32_t now, struct ruvm_error *err);
/* The weight of chunk id, 65536 is 1: its metadata over that of its source. */
uint32_t ruvm_knowledge_weight_q16(const struct ruvm_rag *rag, uint32_t id,
                                   const struct ruvm_context *c);
/* Multiplies scores with weights and puts the hits in order again; what weighs nothing goes.
 * Returns how many are left. */
uint32_t ruvm_knowledge_weigh(const struct ruvm_rag *rag, const struct ruvm_context *c,
                              struct ruvm_found *found, uint32_t n);

#endif
