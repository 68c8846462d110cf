/* Variants: the tables besides the scalar one; which of them a program holds, the
 * Makefile says (RUVM_HAVE_... for select.c). */
#ifndef RUVM_KERNELS_VARIANTS_H
#define RUVM_KERNELS_VARIANTS_H

#include "kernels/kernels.h"

extern const struct ruvm_kernels ruvm_kernels_avx512vnni;
extern const struct ruvm_kernels ruvm_kernels_avx2;
extern const struct ruvm_kernels ruvm_kernels_neondot;
extern const struct ruvm_kernels ruvm_kernels_neon;
extern const struct ruvm_kernels ruvm_kernels_rv32;

#endif
