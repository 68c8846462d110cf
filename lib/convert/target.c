/* The chips of the ESP32 family, and what their memory maps leave. */
#include "lib/convert/target.h"

#include <stddef.h>
#include <string.h>

#include "lib/ruvm_tool.h"

static const struct ruvm_target targets[] = {
    {"esp32", 0x400000, 180736},    /* 0x3F400000-0x3F800000; 0x2C200 at 0x3FFB0000 */
    {"esp32s2", 0x3F0000, 155648},  /* 0x3F000000-0x3F3F0000; with the largest caches */
    {"esp32s3", 0x2000000, 341760}, /* 0x3C000000-0x3E000000; 0x3FC88000-0x3FCDB700 */
    {"esp32c3", 0x800000, 321296},  /* 0x3C000000-0x3C800000; 0x3FC80000-0x3FCCE710 */
    {"esp32c6", 0x1000000, 452112}, /* 0x42000000-0x43000000; from 0x40800000 */
};
enum { N_TARGETS = sizeof targets / sizeof *targets };

const char *ruvm_target_name(unsigned i)
{
    return i < N_TARGETS ? targets[i].name : NULL;
}

int ruvm_target_find(const struct ruvm_target **target, const char *name, struct ruvm_error *err)
{
    for (size_t i = 0; i < N_TARGETS; i++)
        if (strcmp(targets[i].name, name) == 0) {
            *target = &targets[i];
            return RUVM_OK;
        }
    return ruvm_fail(err, RUVM_ERR_ARG,
                     "chip \"%s\" is not known; use esp32, esp32s2, esp32s3, esp32c3 or esp32c6",
                     name);
}

uint64_t ruvm_target_image_bytes(const struct ruvm_target *t)
{
    uint32_t flash =
        t->window_bytes < RUVM_TARGET_FLASH_BYTES ? t->window_bytes : RUVM_TARGET_FLASH_BYTES;
    return flash - RUVM_TARGET_FIRMWARE_BYTES;
}

uint64_t ruvm_target_engine_bytes(const struct ruvm_target *t)
{
    return t->memory_bytes - RUVM_TARGET_STACK_BYTES;
}
