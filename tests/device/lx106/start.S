/* The machine starts at its vector of reset; all else as lib/device/esp32/start.S, without
 * windows, which this core does not have. */
#include "lib/device/paint.h"

    .section .reset, "ax"
    .literal_position
    .align 4
    .globl ruvm_start
ruvm_start:
    j 1f
    .align 4
    .literal_position
1:  movi a1, ruvm_link_stack_end
    movi a2, ruvm_link_stack
    movi a3, RUVM_PAINT
2:  s32i a3, a2, 0
    addi a2, a2, 4
    bltu a2, a1, 2b
    movi a0, ruvm_device_main
    jx a0
