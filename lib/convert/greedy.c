/* Greedy continuations: what golden vectors hold and what a report shows side by side. */
#include "lib/convert/greedy.h"

#include <string.h>

#include "formats/ruvm_layout.h"
#include "lib/convert/engine_open.h"

#define PROMPT "Once upon a time"

enum { DEFAULT_START = 1 };

uint32_t ruvm_greedy_prompt(uint16_t *ids, uint32_t max_ids, const struct ruvm_tokenizer *t,
                            uint32_t vocab)
{
    uint16_t text[RUVM_MAX_TOKENS(sizeof PROMPT)];
    int n = t ? ruvm_encode(t, text, sizeof text / sizeof *text, PROMPT, strlen(PROMPT), 0) : 0;
    if (n > 0 && (uint32_t)n <= max_ids) {
        memcpy(ids, text, (size_t)n * sizeof *text);
        return (uint32_t)n;
    }
    uint16_t start = vocab > DEFAULT_START ? DEFAULT_START : 0;
    ids[0] = t && t->bos != RUVM_NO_TOKEN ? t->bos : start;
    return 1;
}

static uint16_t best_q16(const int32_t *logits, uint32_t vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++)
        best = logits[i] > logits[best] ? i : best;
    return (uint16_t)best;
}

static int run(struct ruvm_greedy *g, struct ruvm_engine *e, uint32_t vocab)
{
    int rc = ruvm_engine_eval(e, g->ids, g->n_prompt, NULL);
    g->logits_crc = 0;
    for (uint32_t i = g->n_prompt; i < g->n_ids && rc == RUVM_OK; i++) {
        const int32_t *logits = ruvm_engine_logits(e);
        g->logits_crc = ruvm_logits_crc(g->logits_crc, logits, vocab);
        g->ids[i] = best_q16(logits, vocab);
        if (i + 1 < g->n_ids)
            rc = ruvm_engine_eval(e, &g->ids[i], 1, NULL);
    }
    return rc;
}

int ruvm_greedy_image(struct ruvm_greedy *g, const void *image, size_t image_bytes,
                      struct ruvm_error *err)
{
    struct ruvm_arena arena = {0};
    struct ruvm_engine_options o = {.context = g->n_ids - 1};
    struct ruvm_model_info info;
    struct ruvm_engine *e;
    int rc = ruvm_engine_open(&e, &arena, image, image_bytes, &o, err);
    if (rc == RUVM_OK)
        rc = ruvm_model_info(&info, image, image_bytes);
    if (rc == RUVM_OK)
        rc = run(g, e, info.vocab);
    ruvm_arena_free(&arena);
    return rc;
}

static uint16_t best_float(const float *logits, uint32_t vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++)
        best = logits[i] > logits[best] ? i : best;
    return (uint16_t)best;
}

void ruvm_greedy_reference(struct ruvm_greedy *g, struct ruvm_reference *r, uint32_t vocab)
{
    const float *logits = NULL;
    ruvm_reference_reset(r);
    for (uint32_t i = 0; i < g->n_ids; i++) {
        if (i >= g->n_prompt)
            g->ids[i] = best_float(logits, vocab);
        if (i + 1 < g->n_ids)
            logits = ruvm_reference_step(r, g->ids[i]);
    }
}

/* Drops the bytes of a character that was cut. */
static size_t whole_characters(const char *text, size_t n)
{
    size_t start = n;
    while (start > 0 && n - start < 4 && ((unsigned char)text[start - 1] & 0xC0u) == 0x80u)
        start--;
    if (start == 0)
        return n;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return n - (start - 1) < want ? start - 1 : n;
}

void ruvm_greedy_text(char *text, size_t size, const struct ruvm_tokenizer *t,
                      const struct ruvm_greedy *g)
{
    size_t used = 0;
    uint16_t previous = RUVM_NO_PREVIOUS;
    for (uint32_t i = 0; i < g->n_ids && used + 1 < size; i++) {
        if (i > 0 && ruvm_is_end(t, g->ids[i]))
            break;
        size_t n;
        const uint8_t *bytes = ruvm_decode(t, previous, g->ids[i], &n);
        n = n < size - 1 - used ? n : size - 1 - used;
        memcpy(text + used, bytes, n);
        used += n;
        previous = g->ids[i];
    }
    text[whole_characters(text, used)] = '\0';
}
