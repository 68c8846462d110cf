/* Loads and saves prompt caches, and decides whether one fits.
 *
 * A cache that does not fit is no reason to stop: the prompt is computed as it would be
 * without, and the file replaced. A file that is no cache at all is: the path is wrong.
 */
#include "lib/run/prompt_cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/prompt_cache.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/core/engine.h"

/* The header's CRC is over the section table, too, which holds the CRCs of everything else. */
static struct ruvm_prompt_cache_for made_for(const struct ruvm_session *s)
{
    const struct ruvm_image *img = &s->engine->img;
    return (struct ruvm_prompt_cache_for){
        .model_bytes = (uint32_t)s->file.size,
        .model_crc = ruvm_load_u32(s->file.data + RUVM_HDR_CRC),
        .context = s->context,
        .k_bits = img->k_bits,
        .v_bits = img->v_bits,
        .mask = {s->mask.kind, s->mask.n[0], s->mask.n[1], s->mask.n[2]},
        .slots = s->engine->slots,
    };
}

/* Why a state for a is none for b, or NULL. */
static const char *difference(const struct ruvm_prompt_cache_for *a,
                              const struct ruvm_prompt_cache_for *b)
{
    if (a->model_bytes != b->model_bytes || a->model_crc != b->model_crc)
        return "is of another model";
    if (a->k_bits != b->k_bits || a->v_bits != b->v_bits)
        return "is of a cache of other bits";
    if (memcmp(a->mask, b->mask, sizeof a->mask) != 0)
        return "was made with another attention mask (--mask)";
    if (a->context != b->context || a->slots != b->slots)
        return "was made with another context or block (--ctx, --block)";
    return NULL;
}

static bool take_tokens(struct ruvm_session *s, const struct ruvm_prompt_cache *c)
{
    if (c->n_tokens == 0 || c->n_tokens > s->context)
        return false;
    for (uint32_t i = 0; i < c->n_tokens; i++) {
        s->tokens[i] = ruvm_load_u16(c->tokens + 2 * (size_t)i);
        if (s->tokens[i] >= s->info.vocab)
            return false;
    }
    return true;
}

/* Why the bytes cannot be used, in text; or NULL, and they are. */
static const char *take(struct ruvm_session *s, const struct ruvm_map *map,
                        struct ruvm_error *reason)
{
    struct ruvm_prompt_cache c;
    const struct ruvm_prompt_cache_for wanted = made_for(s);
    if (ruvm_prompt_cache_read(&c, map->data, map->size, reason) != RUVM_OK)
        return reason->text;
    const char *why = difference(&c.made_for, &wanted);
    if (why)
        return why;
    if (!take_tokens(s, &c) ||
        ruvm_engine_state_load(s->engine, c.n_tokens, c.state, c.state_bytes) != RUVM_OK)
        return "holds what no engine wrote";
    return NULL;
}

static int use(struct ruvm_session *s, const struct ruvm_map *map, const char *path, char *note,
               size_t note_size, struct ruvm_error *err)
{
    struct ruvm_error reason = {0};
    if (map->size == 0)
        return RUVM_OK;
    if (!ruvm_prompt_cache_probe(map->data, map->size))
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "%s: is not a prompt cache and would be overwritten: give another path",
                         path);
    const char *why = take(s, map, &reason);
    if (why) {
        snprintf(note, note_size, "%s: %s: the prompt is computed anew and the file replaced", path,
                 why);
        ruvm_engine_rewind(s->engine, 0);
    }
    return RUVM_OK;
}

int ruvm_prompt_cache_load(struct ruvm_session *s, const char *path, char *note, size_t note_size,
                           struct ruvm_error *err)
{
    struct stat st;
    struct ruvm_map map;
    note[0] = '\0';
    ruvm_engine_rewind(s->engine, 0);
    if (strcmp(path, "-") == 0)
        return ruvm_fail(err, RUVM_ERR_ARG, "a prompt cache is a file, not standard output");
    if (stat(path, &st) != 0 && errno == ENOENT)
        return RUVM_OK;
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = use(s, &map, path, note, note_size, err);
    ruvm_file_unmap(&map);
    return rc;
}

int ruvm_prompt_cache_save(const struct ruvm_session *s, const char *path, struct ruvm_error *err)
{
    struct ruvm_buffer out = {0};
    size_t bytes = ruvm_engine_state_bytes(s->engine, s->n_tokens);
    uint8_t *state = bytes <= UINT32_MAX ? malloc(bytes) : NULL;
    struct ruvm_prompt_cache c = {.made_for = made_for(s),
                                  .n_tokens = s->n_tokens,
                                  .state_bytes = (uint32_t)bytes,
                                  .state = state};
    int rc = RUVM_ERR_MEMORY;
    if (state && ruvm_engine_state_save(s->engine, state, bytes) == RUVM_OK) {
        ruvm_prompt_cache_write(&out, &c, s->tokens);
        rc = ruvm_buffer_ok(&out) ? ruvm_file_write(path, out.data, out.size, err) : rc;
    }
    free(state);
    ruvm_buffer_free(&out);
    return rc == RUVM_ERR_MEMORY
               ? ruvm_fail(err, rc, "%s: no memory for a state of %zu bytes", path, bytes)
               : rc;
}
