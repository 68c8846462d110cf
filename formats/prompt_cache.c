/* Reader and writer of prompt caches: one header, one CRC over everything but itself. */
#include "formats/prompt_cache.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

enum { VERSION_OFF = 4, CRC_OFF = 40, STATE_ALIGN = 4 };

bool ruvm_prompt_cache_probe(const void *data, size_t size)
{
    return size >= 4 && memcmp(data, RUVM_PROMPT_CACHE_MAGIC, 4) == 0;
}

static uint32_t crc_of(const uint8_t *data, size_t size)
{
    return ruvm_crc32(ruvm_crc32(0, data, CRC_OFF), data + RUVM_PROMPT_CACHE_HEADER,
                      size - RUVM_PROMPT_CACHE_HEADER);
}

/* The header behind magic and version; returns the CRC that it states. */
static uint32_t read_header(struct ruvm_prompt_cache *c, struct ruvm_reader *r)
{
    c->made_for.k_bits = ruvm_reader_u8(r);
    c->made_for.v_bits = ruvm_reader_u8(r);
    c->made_for.model_bytes = ruvm_reader_u32(r);
    c->made_for.model_crc = ruvm_reader_u32(r);
    c->made_for.context = ruvm_reader_u32(r);
    for (int i = 0; i < 4; i++)
        c->made_for.mask[i] = ruvm_reader_u16(r);
    c->made_for.slots = ruvm_reader_u32(r);
    c->n_tokens = ruvm_reader_u32(r);
    c->state_bytes = ruvm_reader_u32(r);
    return ruvm_reader_u32(r);
}

int ruvm_prompt_cache_read(struct ruvm_prompt_cache *c, const void *data, size_t size,
                           struct ruvm_error *err)
{
    struct ruvm_reader r = ruvm_reader_over(data, size);
    *c = (struct ruvm_prompt_cache){0};
    if (!ruvm_prompt_cache_probe(data, size))
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "byte 0: is not a prompt cache");
    ruvm_reader_take(&r, VERSION_OFF);
    uint16_t version = ruvm_reader_u16(&r);
    if (!r.failed && version != RUVM_PROMPT_CACHE_VERSION)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "byte %d: is of version %u, not %d",
                         VERSION_OFF, version, RUVM_PROMPT_CACHE_VERSION);
    uint32_t crc = read_header(c, &r);
    if (r.failed)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "byte %zu: ends within the header", r.fail_off);
    uint64_t tokens = ruvm_align_up((size_t)c->n_tokens * 2, STATE_ALIGN);
    uint64_t whole = RUVM_PROMPT_CACHE_HEADER + tokens + c->state_bytes;
    if (whole != size)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "has %zu bytes, its header speaks of %llu", size,
                         (unsigned long long)whole);
    c->tokens = ruvm_reader_take(&r, (size_t)tokens);
    c->state = ruvm_reader_take(&r, c->state_bytes);
    uint32_t found = crc_of(data, size);
    if (found != crc)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "byte %d: the CRC-32 is %08x, that of the contents %08x", CRC_OFF, crc,
                         found);
    return RUVM_OK;
}

void ruvm_prompt_cache_write(struct ruvm_buffer *out, const struct ruvm_prompt_cache *c,
                             const uint16_t *tokens)
{
    size_t start = out->size;
    ruvm_buffer_bytes(out, RUVM_PROMPT_CACHE_MAGIC, 4);
    ruvm_buffer_u16(out, RUVM_PROMPT_CACHE_VERSION);
    ruvm_buffer_u8(out, c->made_for.k_bits);
    ruvm_buffer_u8(out, c->made_for.v_bits);
    ruvm_buffer_u32(out, c->made_for.model_bytes);
    ruvm_buffer_u32(out, c->made_for.model_crc);
    ruvm_buffer_u32(out, c->made_for.context);
    for (int i = 0; i < 4; i++)
        ruvm_buffer_u16(out, c->made_for.mask[i]);
    ruvm_buffer_u32(out, c->made_for.slots);
    ruvm_buffer_u32(out, c->n_tokens);
    ruvm_buffer_u32(out, c->state_bytes);
    ruvm_buffer_u32(out, 0);
    for (uint32_t i = 0; i < c->n_tokens; i++)
        ruvm_buffer_u16(out, tokens[i]);
    ruvm_buffer_zeros(out, ruvm_align_up((size_t)c->n_tokens * 2, STATE_ALIGN) -
                               2 * (size_t)c->n_tokens);
    ruvm_buffer_bytes(out, c->state, c->state_bytes);
    if (ruvm_buffer_ok(out))
        ruvm_store_u32(out->data + start + CRC_OFF, crc_of(out->data + start, out->size - start));
}
