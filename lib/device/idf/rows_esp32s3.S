/* ESP32-S3: rows of int8 times a vector, 16 products an instruction.
 *
 * Not compiled here: Debian has no assembler for these instructions. tests/device/pie.py reads
 * this file and runs it in a model of the instructions, written from what is known of them.
 *
 * The products are added in ACCX, which has 40 bits and saturates; a sum here is below 2^30, so
 * it is exact and its low word is all of it. Loads of 16 bytes ignore the low bits of an address:
 * rows and x are 16-byte aligned as kernels/kernels.h says. The last block of a row is multiplied
 * behind the loop, because a load with the product would read behind the row.
 *
 * void ruvm_idf_rows(w, x, out, n_rows, n_blocks, row_bytes): a2 to a7, windowed ABI. */
    .text
    .align 4
    .global ruvm_idf_rows
    .type ruvm_idf_rows, @function
ruvm_idf_rows:
    entry a1, 32
    beqz a5, .Lend
    addi a10, a6, -1
.Lrow:
    mov a8, a2
    mov a9, a3
    ee.zero.accx
    ee.vld.128.ip q0, a8, 16
    ee.vld.128.ip q1, a9, 16
    loopgtz a10, .Lblocks
    ee.vmulas.s8.accx.ld.ip q0, a8, 16, q0, q1
    ee.vld.128.ip q1, a9, 16
.Lblocks:
    ee.vmulas.s8.accx q0, q1
    add a2, a2, a7
    addi a5, a5, -1
    nop
    rur.accx_0 a11
    s32i a11, a4, 0
    addi a4, a4, 4
    bnez a5, .Lrow
.Lend:
    retw
    .size ruvm_idf_rows, . - ruvm_idf_rows
