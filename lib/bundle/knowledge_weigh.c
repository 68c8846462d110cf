/* Weighing of hits, as a chip with the same blob does it: integers of lib/memory. */
#include "lib/bundle/knowledge_weigh.h"

#include <string.h>

#include "lib/base/error.h"
#include "lib/memory/memory.h"

int ruvm_knowledge_context(struct ruvm_context *c, const struct ruvm_knowledge_ask *ask,
                           uint32_t now, struct ruvm_error *err)
{
    *c = (struct ruvm_context){.now = now};
    for (uint32_t i = 0; i < ask->n_contexts; i++) {
        const char *word = ask->contexts[i], *equals = strchr(word, '=');
        if (!equals || equals == word)
            return ruvm_fail(err, RUVM_ERR_ARG, "context %s: write KEY=VALUE", word);
        if (!ruvm_traits_tag(c->tags, &c->n_tags, RUVM_CONTEXT_MAX_TAGS, word,
                             (size_t)(equals - word), equals + 1, strlen(equals + 1)))
            return ruvm_fail(err, RUVM_ERR_ARG, "context %s: at most %d are looked at", word,
                             RUVM_CONTEXT_MAX_TAGS);
    }
    return RUVM_OK;
}

uint32_t ruvm_knowledge_weight_q16(const struct ruvm_rag *rag, uint32_t id,
                                   const struct ruvm_context *c)
{
    struct ruvm_traits t = ruvm_traits_plain();
    struct ruvm_chunk chunk = ruvm_rag_chunk(rag, id);
    struct ruvm_source source = ruvm_rag_source(rag, chunk.source);
    /* Metadata that says nothing a memory knows leaves the traits as they are. */
    if (source.meta.text)
        (void)ruvm_traits_read(&t, source.meta.text, source.meta.bytes);
    if (chunk.meta.text)
        (void)ruvm_traits_read(&t, chunk.meta.text, chunk.meta.bytes);
    t.expires = chunk.expires;
    return ruvm_traits_weight_q16(&t, c);
}

uint32_t ruvm_knowledge_weigh(const struct ruvm_rag *rag, const struct ruvm_context *c,
                              struct ruvm_found *found, uint32_t n)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct ruvm_found f = found[i];
        uint32_t weight = ruvm_knowledge_weight_q16(rag, f.id, c), at = left;
        uint64_t score = (uint64_t)f.score_q16 * weight >> 16;
        if (weight == 0)
            continue;
        f.score_q16 = score < UINT32_MAX ? (uint32_t)score : UINT32_MAX;
        for (; at > 0 && found[at - 1].score_q16 < f.score_q16; at--)
            found[at] = found[at - 1];
        found[at] = f;
        left++;
    }
    return left;
}

bool ruvm_knowledge_is_ambiguous(const struct ruvm_knowledge_hit *hits, uint32_t n_hits)
{
    const double one = 65536;
    return n_hits > 1 &&
           ruvm_memory_is_close((uint32_t)(hits[0].score * one), (uint32_t)(hits[1].score * one));
}
