/* The demo model, byte for byte, as part of the library: `ruvm run` needs no file.
 * Aligned as a mapped image would be, so that it is used in place. */
    .section .rodata
    .balign 64
    .globl ruvm_demo_start
    .type ruvm_demo_start, %object
ruvm_demo_start:
    .incbin "lib/demo.ruvm"
    .globl ruvm_demo_end
    .type ruvm_demo_end, %object
ruvm_demo_end:
    .size ruvm_demo_start, ruvm_demo_end - ruvm_demo_start
    .size ruvm_demo_end, 0
    .section .note.GNU-stack, "", %progbits
