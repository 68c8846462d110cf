/* The tokenizer over a section alone: for those who have no image yet. */
#ifndef RUVM_CORE_TOKENIZER_H
#define RUVM_CORE_TOKENIZER_H

#include "lib/ruvm.h"

/* section: a tokn section that was checked, or just written. */
void ruvm_tokenizer_over(struct ruvm_tokenizer *t, const uint8_t *section);

#endif
