/* What core_main.c, search_main.c and mlp_main.c need of the place they run in. */
#ifndef TESTS_DEVICE_PORT_H
#define TESTS_DEVICE_PORT_H

#include <stddef.h>
#include <stdint.h>

struct ruvm_kernels;
struct ruvm_vector_kernels;

/* Reads a file whole into buf; returns its size, or 0 when it cannot or exceeds cap. */
size_t port_read(const char *path, uint8_t *buf, size_t cap);
void port_write(const char *text, size_t n); /* to standard output */
const struct ruvm_kernels *port_kernels(const char *name);
const struct ruvm_vector_kernels *port_vector_kernels(const char *name);

int port_main(int argc, char **argv); /* of the program */

#endif
