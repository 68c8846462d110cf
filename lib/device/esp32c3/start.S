/* ESP32-C3: from whoever loaded this program to C. Nothing is known of the registers.
 *
 * The stack is painted, so that its deepest use can be told, and what C calls zero is
 * made so. An exception has nowhere to go back to: it says where it happened, and waits. */
#include "lib/device/paint.h"

    .section .start, "ax"
    .globl ruvm_start
ruvm_start:
    csrci mstatus, 8
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, ruvm_link_stack_end
    la t0, ruvm_trap
    ori t0, t0, 1
    csrw mtvec, t0
    la t0, ruvm_link_stack
    li t1, RUVM_PAINT
1:  sw t1, 0(t0)
    addi t0, t0, 4
    bltu t0, sp, 1b
    la t0, ruvm_link_bss
    la t1, ruvm_link_bss_end
2:  bgeu t0, t1, 3f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 2b
3:  tail ruvm_device_main

    /* The table of vectors: exceptions go to its first entry, interrupts never come. */
    .section .trap, "ax"
    .balign 256
    .globl ruvm_trap
ruvm_trap:
    la sp, ruvm_link_stack_end
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    tail ruvm_device_trap
