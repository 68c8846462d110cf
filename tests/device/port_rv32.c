/* A place without a C library: rv32 Linux system calls, as qemu-riscv32 serves them. */
#include "tests/device/port.h"

#include "kernels/variants.h"
#include "kernels/vectors.h"

enum { SYS_OPENAT = 56, SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93, AT_CWD = -100 };

void port_start(int *stack);
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

static int32_t call(int32_t number, int32_t a, int32_t b, int32_t c)
{
    register int32_t a0 __asm__("a0") = a;
    register int32_t a1 __asm__("a1") = b;
    register int32_t a2 __asm__("a2") = c;
    register int32_t a7 __asm__("a7") = number;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
    return a0;
}

void *memcpy(void *to, const void *from, size_t n)
{
    uint8_t *t = to;
    const uint8_t *f = from;
    while (n--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int c, size_t n)
{
    uint8_t *t = to;
    while (n--)
        *t++ = (uint8_t)c;
    return to;
}

size_t port_read(const char *path, uint8_t *buf, size_t cap)
{
    int32_t fd = call(SYS_OPENAT, AT_CWD, (int32_t)path, 0);
    size_t n = 0;
    int32_t got = fd;
    while (got >= 0 && n < cap) {
        got = call(SYS_READ, fd, (int32_t)(buf + n), (int32_t)(cap - n));
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return got < 0 ? 0 : n;
}

void port_write(const char *text, size_t n)
{
    call(SYS_WRITE, 1, (int32_t)text, (int32_t)n);
}

const struct ruvm_kernels *port_kernels(const char *name)
{
    return name[0] == 'r' ? &ruvm_kernels_rv32 : &ruvm_kernels_scalar;
}

const struct ruvm_vector_kernels *port_vector_kernels(const char *name)
{
    (void)name;
    return &ruvm_vector_kernels_scalar;
}

/* The kernel enters with argc and argv on the stack. */
__asm__(
    ".globl _start\n"
    "_start:\n"
    "  .option push\n"
    "  .option norelax\n"
    "  la gp, __global_pointer$\n"
    "  .option pop\n"
    "  mv a0, sp\n"
    "  andi sp, sp, -16\n"
    "  call port_start\n");

void port_start(int *stack)
{
    int status = port_main(stack[0], (char **)(stack + 1));
    call(SYS_EXIT, status, 0, 0);
    for (;;)
        continue;
}
