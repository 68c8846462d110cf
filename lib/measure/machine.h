/* The machine that a measurement belongs to. */
#ifndef RUVM_MEASURE_MACHINE_H
#define RUVM_MEASURE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One line: processor, architecture, processors online, compiler, kernel tables. */
void ruvm_machine_describe(char *text, size_t size);

enum { RUVM_MACHINE_CACHES = 3 };

/* Bytes of the data caches of this processor, [0] the nearest; 0 where there is none. False
 * when the system does not tell: then they are assumed to be those of an ordinary laptop. */
bool ruvm_machine_caches(uint64_t bytes[RUVM_MACHINE_CACHES]);

/* The most memory that this process has had resident so far; 0 when the system
 * does not say. */
uint64_t ruvm_machine_peak_rss_bytes(void);

#endif
