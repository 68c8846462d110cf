/* The machine that a measurement belongs to. */
#ifndef RUVM_MEASURE_MACHINE_H
#define RUVM_MEASURE_MACHINE_H

#include <stddef.h>
#include <stdint.h>

/* One line: processor, architecture, processors online, compiler, kernel tables. */
void ruvm_machine_describe(char *text, size_t size);

/* The most memory that this process has had resident so far; 0 when the system
 * does not say. */
uint64_t ruvm_machine_peak_rss_bytes(void);

#endif
