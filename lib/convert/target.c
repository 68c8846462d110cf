/* What a chip's memory map leaves for a model: the search's view of lib/measure/devices. */
#include "lib/convert/target.h"

#include <stddef.h>

#include "lib/ruvm_tool.h"

const char *ruvm_target_name(unsigned i)
{
    const struct ruvm_device *device = ruvm_devices_at(i);
    return device ? device->name : NULL;
}

uint64_t ruvm_target_image_bytes(const struct ruvm_device *t)
{
    uint32_t window = ruvm_devices_window(t);
    uint32_t flash = window < RUVM_DEVICES_FLASH_BYTES ? window : RUVM_DEVICES_FLASH_BYTES;
    return flash - RUVM_DEVICES_FIRMWARE_BYTES;
}

uint64_t ruvm_target_engine_bytes(const struct ruvm_device *t, uint32_t context)
{
    return t->memory_bytes - ruvm_devices_reserved_bytes(t, context);
}
