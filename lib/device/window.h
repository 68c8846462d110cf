/* Arithmetic of windows, that every chip's port.c has to do: ranges of addresses, and pages of
 * flash. */
#ifndef RUVM_DEVICE_WINDOW_H
#define RUVM_DEVICE_WINDOW_H

#include "lib/device/port.h"

/* Whether bytes from address on lie in the size bytes from begin on. */
static inline bool ruvm_window_holds(uint32_t begin, uint32_t size, uint32_t address,
                                     uint32_t bytes)
{
    return address >= begin && address - begin <= size && bytes <= size - (address - begin);
}

/* How many pages show so many bytes of flash from off on. */
static inline uint32_t ruvm_window_pages(uint32_t off, uint32_t bytes)
{
    return (off % RUVM_PORT_PAGE + bytes + RUVM_PORT_PAGE - 1) / RUVM_PORT_PAGE;
}

/* Whether a window of `size` bytes has room for bytes of flash from off on; of flash its pages
 * reach `reach` bytes. */
static inline bool ruvm_window_fits(uint32_t off, uint32_t bytes, uint32_t size, uint32_t reach)
{
    return off < reach && bytes <= reach - off && off % RUVM_PORT_PAGE + bytes <= size;
}

#endif
