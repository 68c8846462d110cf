/* What the engine knows of the text, as bytes: for a file on a workstation, for a page of flash
 * on a chip that always begins with the same prompt.
 *
 * Logits, then the keys, then the values; of each cache head by head, and of a head position
 * by position, or slot by slot where a window forgets. But for such a window nothing depends on
 * the context, the block or the kernels of the engine: any engine over the same image takes them.
 */
#include "lib/base/bytes.h"
#include "lib/core/engine.h"

static uint32_t n_heads(const struct ruvm_engine *e)
{
    return (uint32_t)e->img.n_layers * e->img.n_kv_heads;
}

static uint64_t cache_bytes(const struct ruvm_cache *c, uint32_t heads, uint32_t n)
{
    return (uint64_t)heads * n * ruvm_cache_stored_bytes(c);
}

static uint32_t kept(const struct ruvm_engine *e, uint32_t n)
{
    return n < e->slots ? n : e->slots;
}

size_t ruvm_engine_state_bytes(const struct ruvm_engine *e, uint32_t n)
{
    n = kept(e, n);
    uint64_t bytes = (uint64_t)e->img.vocab * 4 + cache_bytes(&e->keys, n_heads(e), n) +
                     cache_bytes(&e->values, n_heads(e), n);
    return bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

static uint8_t *save_cache(const struct ruvm_cache *c, uint32_t heads, uint32_t n, uint8_t *out)
{
    for (uint32_t head = 0; head < heads; head++) {
        for (uint32_t p = 0; p < n; p++) {
            ruvm_cache_store(c, head, p, out);
            out += ruvm_cache_stored_bytes(c);
        }
    }
    return out;
}

/* Where the next cache's bytes are, or NULL. */
static const uint8_t *load_cache(const struct ruvm_cache *c, uint32_t heads, uint32_t n,
                                 const uint8_t *in)
{
    for (uint32_t head = 0; head < heads; head++) {
        for (uint32_t p = 0; p < n; p++) {
            if (!ruvm_cache_restore(c, head, p, in))
                return NULL;
            in += ruvm_cache_stored_bytes(c);
        }
    }
    return in;
}

int ruvm_engine_state_save(const struct ruvm_engine *e, void *state, size_t bytes)
{
    uint8_t *out = state;
    if (bytes != ruvm_engine_state_bytes(e, e->position))
        return RUVM_ERR_ARG;
    for (uint32_t i = 0; i < e->img.vocab; i++, out += 4)
        ruvm_store_u32(out, (uint32_t)e->logits[i]);
    uint32_t n = kept(e, e->position);
    out = save_cache(&e->keys, n_heads(e), n, out);
    save_cache(&e->values, n_heads(e), n, out);
    return RUVM_OK;
}

int ruvm_engine_state_load(struct ruvm_engine *e, uint32_t n, const void *state, size_t bytes)
{
    const uint8_t *in = state;
    if (n > e->context)
        return RUVM_ERR_FULL;
    if (bytes != ruvm_engine_state_bytes(e, n))
        return RUVM_ERR_ARG;
    e->position = e->written = 0; /* what was there is overwritten from here on */
    for (uint32_t i = 0; i < e->img.vocab; i++, in += 4)
        e->logits[i] = (int32_t)ruvm_load_u32(in);
    in = load_cache(&e->keys, n_heads(e), kept(e, n), in);
    if (!in || !load_cache(&e->values, n_heads(e), kept(e, n), in))
        return RUVM_ERR_CORRUPT;
    e->position = n;
    e->written = n + e->block; /* who wrote it may have taken as many back */
    return RUVM_OK;
}
