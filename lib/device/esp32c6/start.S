/* ESP32-C6: the way from the loader to C, that of the C3. */
#include "lib/device/riscv_start.inc"
