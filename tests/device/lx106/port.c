/* QEMU's Xtensa machine "sim" as a chip: the firmware of the ESP32 on the core that Debian's
 * emulator has. Flash is memory that the emulator fills, the console is its own. */
#include "lib/device/port.h"

#include "kernels/kernels.h"

enum { CALL_EXIT = 1, CALL_READ = 3, CALL_WRITE = 4 };
enum { FLASH = 0x60100000, FLASH_BYTES = 16 << 20 };

const struct ruvm_port ruvm_port = {.chip = "lx106-sim", .window_bytes = UINT32_MAX};

static uint32_t call(uint32_t number, uint32_t a, uint32_t b, uint32_t c)
{
    register uint32_t a2 __asm__("a2") = number;
    register uint32_t a3 __asm__("a3") = a;
    register uint32_t a4 __asm__("a4") = b;
    register uint32_t a5 __asm__("a5") = c;
    __asm__ volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5) : "memory");
    return a2;
}

void ruvm_port_init(void)
{
}

void ruvm_port_put(uint8_t byte)
{
    call(CALL_WRITE, 1, (uint32_t)(uintptr_t)&byte, 1);
}

int ruvm_port_get(void)
{
    uint8_t byte = 0;
    if (call(CALL_READ, 0, (uint32_t)(uintptr_t)&byte, 1) != 1)
        ruvm_port_exit(0); /* the input ends */
    return byte;
}

/* This core counts its clock, of which QEMU makes one tick of 25 instructions. */
uint32_t ruvm_port_cycles(void)
{
    uint32_t n;
    __asm__ volatile("rsr.ccount %0" : "=r"(n));
    return n;
}

const uint8_t *ruvm_port_map(uint32_t off, uint32_t bytes)
{
    bool is_there = off < FLASH_BYTES && bytes <= FLASH_BYTES - off;
    return is_there ? (const uint8_t *)FLASH + off : NULL;
}

_Noreturn void ruvm_port_restart(void)
{
    ruvm_port_exit(0);
}

_Noreturn void ruvm_port_exit(uint32_t status)
{
    for (;;)
        call(CALL_EXIT, status, 0, 0);
}

const struct ruvm_kernels *ruvm_port_kernels(void)
{
    return &ruvm_kernels_scalar;
}
