/* Golden vectors: the image's own proof that an engine computes what its maker computed.
 *
 * The image carries a prompt, the greedy tokens that followed and a CRC of every
 * logit on the way. Replaying them on any machine must give the same bits.
 */
#include "formats/ruvm_read.h"
#include "lib/base/bytes.h"
#include "lib/core/engine.h"

static uint16_t id_at(const struct ruvm_image *img, uint32_t i)
{
    return ruvm_load_u16(img->gold + RUVM_GOLD_IDS + 2 * (size_t)i);
}

static uint16_t greedy(struct ruvm_engine *e)
{
    struct ruvm_sampler s = {.kernels = e->k};
    return ruvm_sample(&s, e->logits, e->img.vocab, NULL, 0);
}

/* Feeds ids[first .. first + n) one by one: the CRC does not depend on blocks. */
static int feed(struct ruvm_engine *e, uint32_t first, uint32_t n)
{
    int rc = RUVM_OK;
    for (uint32_t i = 0; i < n && rc == RUVM_OK; i++) {
        uint16_t id = id_at(&e->img, first + i);
        rc = ruvm_engine_eval(e, &id, 1, NULL);
    }
    return rc;
}

int ruvm_engine_verify(struct ruvm_engine *e, struct ruvm_verify_result *result)
{
    const struct ruvm_image *img = &e->img;
    struct ruvm_verify_result r = {0};
    if (!img->gold)
        return RUVM_ERR_UNSUPPORTED;
    r.n_prompt = ruvm_load_u16(img->gold + RUVM_GOLD_N_PROMPT);
    r.n_tokens = ruvm_load_u16(img->gold + RUVM_GOLD_N_TOKENS);
    r.crc_expected = ruvm_load_u32(img->gold + RUVM_GOLD_LOGITS_CRC);
    r.first_wrong = r.n_tokens;
    if (r.n_prompt + r.n_tokens > e->context + 1)
        return RUVM_ERR_FULL;
    e->position = 0;
    int rc = feed(e, 0, r.n_prompt);
    for (uint32_t i = 0; i < r.n_tokens && rc == RUVM_OK; i++) {
        uint16_t expected = id_at(img, r.n_prompt + i);
        r.crc_found = ruvm_logits_crc(r.crc_found, e->logits, img->vocab);
        if (greedy(e) != expected && r.first_wrong == r.n_tokens)
            r.first_wrong = i;
        if (i + 1 < r.n_tokens)
            rc = ruvm_engine_eval(e, &expected, 1, NULL);
    }
    *result = r;
    if (rc != RUVM_OK)
        return rc;
    bool same = r.first_wrong == r.n_tokens && r.crc_found == r.crc_expected;
    return same ? RUVM_OK : RUVM_ERR_MISMATCH;
}
