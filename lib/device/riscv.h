/* What the RISC-V chips of the family have in common, for their port.c. */
#ifndef RUVM_DEVICE_RISCV_H
#define RUVM_DEVICE_RISCV_H

#include <stdint.h>

static inline volatile uint32_t *ruvm_riscv_reg(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

/* A register that is written only between a key and its removal. */
static inline void ruvm_riscv_write_locked(uint32_t lock, uint32_t key, uint32_t address,
                                           uint32_t value)
{
    *ruvm_riscv_reg(lock) = key;
    *ruvm_riscv_reg(address) = value;
    *ruvm_riscv_reg(lock) = 0;
}

/* The counter that these chips have instead of mcycle: of cycles, and on. */
static inline void ruvm_riscv_count(void)
{
    __asm__ volatile("csrw 0x7e0, %0\n csrw 0x7e1, %0" : : "r"(1));
}

static inline uint32_t ruvm_riscv_cycles(void)
{
    uint32_t n;
    __asm__ volatile("csrr %0, 0x7e2" : "=r"(n));
    return n;
}

static inline _Noreturn void ruvm_riscv_jump(uint32_t entry)
{
    __asm__ volatile("fence.i\n jr %0" : : "r"(entry));
    __builtin_unreachable();
}

/* Semihosting, SYS_EXIT_EXTENDED; the three instructions are its mark. */
static inline _Noreturn void ruvm_riscv_exit(uint32_t status)
{
    const uint32_t block[2] = {0x20026, status};
    register uint32_t call __asm__("a0") = 0x20;
    register const uint32_t *arguments __asm__("a1") = block;
    for (;;)
        __asm__ volatile(
            ".option push\n.option norvc\n.balign 16\n"
            "slli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n.option pop"
            :
            : "r"(call), "r"(arguments)
            : "memory");
}

#endif
