/* The arithmetic that suits the chip of an ESP-IDF project.
 *
 *     struct ruvm_kernels kernels;
 *     struct ruvm_engine_options options = {.kernels = ruvm_idf_kernels(&kernels)};
 *
 * On an ESP32-S3 int8 matrices are multiplied by its vector unit (rows_esp32s3.S), which a task
 * may use, an interrupt may not; on RISC-V by kernels/rv32.c; else by the scalar kernels. All of
 * them give the same integers. */
#ifndef RUVM_DEVICE_IDF_IDF_KERNELS_H
#define RUVM_DEVICE_IDF_IDF_KERNELS_H

#include "kernels/kernels.h"

/* A table, in memory or elsewhere; memory lives as long as it is used. */
const struct ruvm_kernels *ruvm_idf_kernels(struct ruvm_kernels *memory);

#endif
