/* Golden vectors: 32 tokens take every layer through rotation, cache and softmax at 32
 * different lengths, in well under a second even on a chip. */
#include "lib/convert/golden.h"

#include "formats/ruvm_layout.h"
#include "lib/convert/greedy.h"

enum { MAX_PROMPT = 64 };

/* verify needs a position for every token but the last. */
static uint32_t count_tokens(uint32_t context, uint32_t n_prompt)
{
    uint32_t room = context + 1 - n_prompt;
    return room < RUVM_GOLDEN_TOKENS ? room : RUVM_GOLDEN_TOKENS;
}

int ruvm_golden_build(struct ruvm_buffer *out, const void *image, size_t image_bytes, bool run,
                      uint32_t *n_tokens, struct ruvm_error *err)
{
    uint16_t ids[MAX_PROMPT + RUVM_GOLDEN_TOKENS] = {0};
    struct ruvm_model_info info;
    struct ruvm_tokenizer tok;
    int rc = ruvm_model_info(&info, image, image_bytes);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "the image made cannot be read: %s", ruvm_status_text(rc));
    bool has_tok = ruvm_tokenizer_init(&tok, image, image_bytes) == RUVM_OK;
    uint32_t room = info.context < MAX_PROMPT ? info.context : MAX_PROMPT;
    struct ruvm_greedy g = {.ids = ids};
    g.n_prompt = ruvm_greedy_prompt(ids, room, has_tok ? &tok : NULL, info.vocab);
    *n_tokens = count_tokens(info.context, g.n_prompt);
    g.n_ids = g.n_prompt + *n_tokens;
    if (run)
        rc = ruvm_greedy_image(&g, image, image_bytes, err);
    ruvm_buffer_u16(out, (uint16_t)g.n_prompt);
    ruvm_buffer_u16(out, (uint16_t)*n_tokens);
    ruvm_buffer_u32(out, g.logits_crc);
    for (uint32_t i = 0; i < g.n_ids; i++)
        ruvm_buffer_u16(out, ids[i]);
    return rc;
}
