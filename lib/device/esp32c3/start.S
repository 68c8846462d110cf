/* ESP32-C3: the way from the loader to C. */
#include "lib/device/riscv_start.inc"
