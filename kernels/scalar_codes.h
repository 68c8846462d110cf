/* Scalar codes: the matrices of packed weights in plain C; for the table in scalar.c. */
#ifndef RUVM_KERNELS_SCALAR_CODES_H
#define RUVM_KERNELS_SCALAR_CODES_H

#include "kernels/kernels.h"

void ruvm_scalar_codes_int4(const struct ruvm_matmul_codes *m);
void ruvm_scalar_codes_int3(const struct ruvm_matmul_codes *m);
void ruvm_scalar_codes_int2(const struct ruvm_matmul_codes *m);
void ruvm_scalar_codes_binary(const struct ruvm_matmul_codes *m);
void ruvm_scalar_codes_ternary(const struct ruvm_matmul_codes *m);
void ruvm_scalar_codes_xnor(const struct ruvm_matmul_codes *m);

#endif
