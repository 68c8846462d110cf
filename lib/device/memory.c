/* The memory that the linker's script of the chip has laid out: it defines these on every one. */
#include "lib/device/port.h"

extern uint8_t ruvm_link_stack[], ruvm_link_stack_end[], ruvm_link_free[], ruvm_link_free_end[];

struct ruvm_port_memory ruvm_port_memory(void)
{
    return (struct ruvm_port_memory){
        .free = ruvm_link_free,
        .free_bytes = (size_t)(ruvm_link_free_end - ruvm_link_free),
        .static_bytes = (size_t)(ruvm_link_free - ruvm_link_stack_end),
        .stack = (const uint32_t *)(const void *)ruvm_link_stack,
        .stack_bytes = (size_t)(ruvm_link_stack_end - ruvm_link_stack),
    };
}
