/* A place with a C library: the host, or AArch64 under qemu-aarch64. */
#include "tests/device/port.h"

#include <stdio.h>

#include "kernels/kernels.h"
#include "kernels/vectors.h"

size_t port_read(const char *path, uint8_t *buf, size_t cap)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    size_t n = fread(buf, 1, cap, f);
    fclose(f);
    return n;
}

void port_write(const char *text, size_t n)
{
    fwrite(text, 1, n, stdout);
}

const struct ruvm_kernels *port_kernels(const char *name)
{
    return ruvm_kernels_select(name);
}

const struct ruvm_vector_kernels *port_vector_kernels(const char *name)
{
    return ruvm_vector_kernels_select(name);
}

int main(int argc, char **argv)
{
    return port_main(argc, argv);
}
