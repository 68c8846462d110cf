/* ESP32: from whoever loaded this program to C.
 *
 * The loaders are of the windowed kind: their frames are forgotten, and with PS.WOE off no
 * window can overflow. Interrupts stay masked. Two instructions that the smaller LX106
 * lacks are given as bytes. */
#include "lib/device/paint.h"

    .section .start, "ax"
    .literal_position
    .align 4
    .globl ruvm_start
ruvm_start:
    movi a2, 0x2f /* interrupt level 15, user vectors, no windows */
    wsr.ps a2
    rsync
    .byte 0x20, 0x48, 0x03 /* rsr.windowbase a2 */
    ssl a2
    movi a3, 1
    sll a3, a3
    .byte 0x30, 0x49, 0x13 /* wsr.windowstart a3 */
    rsync
    movi a1, ruvm_link_stack_end
    movi a2, ruvm_vectors
    wsr.vecbase a2
    rsync
    movi a2, ruvm_link_stack
    movi a3, RUVM_PAINT
1:  s32i a3, a2, 0
    addi a2, a2, 4
    bltu a2, a1, 1b
    movi a2, ruvm_link_bss
    movi a3, ruvm_link_bss_end
    movi a4, 0
2:  bgeu a2, a3, 3f
    s32i a4, a2, 0
    addi a2, a2, 4
    j 2b
3:  movi a0, ruvm_device_main
    jx a0

    .section .trap, "ax"
    .literal_position
    .align 4
ruvm_trap:
    movi a1, ruvm_link_stack_end
    movi a2, 0x2f
    wsr.ps a2
    rsync
    rsr.exccause a2
    rsr.epc1 a3
    rsr.excvaddr a4
    movi a0, ruvm_device_trap
    jx a0

    /* Vectors of exceptions: those of the kernel, of the user, and of two at once. */
    .section .vectors, "ax"
    .align 4
    .globl ruvm_vectors
ruvm_vectors:
    .org 0x300
    j ruvm_trap
    .org 0x340
    j ruvm_trap
    .org 0x3c0
    j ruvm_trap
    .org 0x400
