/* Any bytes as the settings of a pack, read as a chip reads them: nothing is touched beyond the
 * bytes, the room, or the number. What `ruvm pack` would have made of the same bytes is read
 * again key by key. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/settings.h"
/* Not in the library, as only firmware has it. */
#include "lib/device/settings.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const keys[] = {"context", "max_tokens", "temperature", "top_k", "prompt",
                                   "seed",    "",           "a",           "name"};
enum { N_KEYS = sizeof keys / sizeof *keys };

static void check(int holds)
{
    if (!holds)
        abort();
}

static void read_all(const char *json, size_t n)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        char number[RUVM_DEVICE_NUMBER_CHARS];
        const char *found = ruvm_device_setting(json, n, keys[i], number);
        check(!found || (found == number && strlen(number) < sizeof number));
        for (size_t cap = 0; cap < 40; cap += 13) {
            char *text = malloc(cap + !cap);
            int32_t m = ruvm_device_setting_text(json, n, keys[i], text, cap);
            check(m >= -1 && m <= (int32_t)cap);
            free(text);
        }
    }
}

/* As large as they are, so that a read behind them is seen. */
static void read_copy(const void *data, size_t n)
{
    char *json = malloc(n + !n);
    if (n)
        memcpy(json, data, n);
    read_all(json, n);
    free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_buffer out = {0};
    struct ruvm_error err = {0};
    read_copy(data, size);
    if (ruvm_settings_write(&out, "settings", data, size, &err) == RUVM_OK)
        read_copy(out.data, out.size);
    ruvm_buffer_free(&out);
    return 0;
}
