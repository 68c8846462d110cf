/* Greedy: the most likely continuation of a prompt, by the image and by the float model.
 *
 * Both fill the same array of ids: n_prompt tokens of prompt come in, and the
 * tokens up to n_ids are written behind them.
 */
#ifndef RUVM_CONVERT_GREEDY_H
#define RUVM_CONVERT_GREEDY_H

#include "lib/convert/reference.h"
#include "lib/ruvm.h"

struct ruvm_greedy {
    uint16_t *ids;            /* [n_ids] */
    uint32_t n_prompt, n_ids; /* 1 <= n_prompt; n_ids <= context + 1 */
    uint32_t logits_crc;      /* result: as RUVM_GOLD_LOGITS_CRC */
};

/* Writes the prompt: start and "Once upon a time" when there is a tokenizer (or NULL) and
 * room for it, else the start token alone. ids: [max_ids], max_ids >= 1. Returns its length. */
uint32_t ruvm_greedy_prompt(uint16_t *ids, uint32_t max_ids, const struct ruvm_tokenizer *t,
                            uint32_t vocab);

/* RUVM_ERR_MEMORY, or what the engine refuses. */
int ruvm_greedy_image(struct ruvm_greedy *g, const void *image, size_t image_bytes,
                      struct ruvm_error *err);
void ruvm_greedy_reference(struct ruvm_greedy *g, struct ruvm_reference *r, uint32_t vocab);

/* The text of all ids up to one that ends it; cut to size bytes with its NUL, never within
 * a UTF-8 character. */
void ruvm_greedy_text(char *text, size_t size, const struct ruvm_tokenizer *t,
                      const struct ruvm_greedy *g);

#endif
