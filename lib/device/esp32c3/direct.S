/* ESP32-C3: from the ROM straight to code in flash. The ROM knows a program for this by the
 * two words at the beginning, maps flash from its beginning on at SOC_CODE and SOC_DATA, opens
 * the bus of code and jumps behind the words. Nothing is in RAM yet: it is copied here. */
#include "lib/device/esp32c3/soc.h"

    .section .direct, "ax"
    .globl ruvm_direct
    .word 0xAEDB041D, 0xAEDB041D
ruvm_direct:
    .option push
    .option norelax
    li t0, SOC_CACHE_CTRL1
    lw t1, 0(t0)
    andi t1, t1, -4
    sw t1, 0(t0)
    la t0, ruvm_link_loaded
    la t1, ruvm_link_ram
    la t2, ruvm_link_ram_end
1:  bgeu t1, t2, 2f
    lw t3, 0(t0)
    sw t3, 0(t1)
    addi t0, t0, 4
    addi t1, t1, 4
    j 1b
2:  fence.i
    la t0, ruvm_start
    jr t0
    .option pop
