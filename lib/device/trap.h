/* Where start.S of a chip leads: into the program, and out of it. */
#ifndef RUVM_DEVICE_TRAP_H
#define RUVM_DEVICE_TRAP_H

#include <stdint.h>

_Noreturn void ruvm_device_main(void); /* main.c, or boot.c */
_Noreturn void ruvm_device_trap(uint32_t cause, uint32_t pc, uint32_t address);

#endif
