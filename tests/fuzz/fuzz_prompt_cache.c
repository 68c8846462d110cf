/* Any bytes as a prompt cache for the demo model: parse, load, compute a token. The first byte
 * may ask for the CRC to be put right, so that what is behind it is reached. */
#include <stdlib.h>
#include <string.h>

#include "formats/prompt_cache.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/ruvm_tool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

static struct ruvm_engine *demo_engine(void)
{
    static struct ruvm_engine *engine;
    static struct ruvm_file file;
    size_t bytes;
    if (engine)
        return engine;
    check(ruvm_file_open(&file, NULL, NULL) == RUVM_OK);
    check(ruvm_engine_bytes(file.data, file.size, NULL, &bytes) == RUVM_OK);
    void *memory = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    check(memory != NULL);
    check(ruvm_engine_init(&engine, memory, bytes, file.data, file.size, NULL) == RUVM_OK);
    return engine;
}

static void load(const struct ruvm_prompt_cache *c)
{
    const uint16_t token = 1;
    struct ruvm_engine *e = demo_engine();
    int rc = ruvm_engine_state_load(e, c->n_tokens, c->state, c->state_bytes);
    check(ruvm_engine_position(e) == (rc == RUVM_OK ? c->n_tokens : 0));
    if (rc == RUVM_OK)
        check(ruvm_engine_eval(e, &token, 1, NULL) != RUVM_ERR_ARG);
    ruvm_engine_rewind(e, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_prompt_cache c;
    struct ruvm_error err = {0};
    if (size == 0)
        return 0;
    uint8_t *copy = malloc(size);
    check(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    if (data[0] == 'C' && size - 1 >= RUVM_PROMPT_CACHE_HEADER)
        ruvm_store_u32(copy + 40, ruvm_crc32(ruvm_crc32(0, copy, 40), copy + 44, size - 1 - 44));
    if (ruvm_prompt_cache_read(&c, copy, size - 1, &err) == RUVM_OK)
        load(&c);
    else
        check(err.text[0] != '\0');
    free(copy);
    return 0;
}
