/* Any bytes as a Hugging Face config.json; what was read is read again as numbers and texts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/import/hub_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct ruvm_tensors *t)
{
    const char *digits = ruvm_tensors_text(t, "local_layers");
    double layers = 0;
    for (size_t i = 0; i < t->n_meta; i++)
        if (!t->meta[i].text && !isfinite(t->meta[i].number))
            abort();
    if (!ruvm_tensors_text(t, "architecture") || !ruvm_tensors_number(t, "n_layers", &layers))
        abort();
    if (digits && (double)strlen(digits) < layers)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t = {0};
    struct ruvm_error err = {0};
    if (ruvm_hub_config_read(&t, &arena, data, size, &err) == RUVM_OK)
        check(&t);
    else if (err.text[0] == '\0')
        abort();
    ruvm_arena_free(&arena);
    return 0;
}
