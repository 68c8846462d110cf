/* The clock that every measured time comes from: monotonic, in seconds. */
#ifndef RUVM_BASE_CLOCK_H
#define RUVM_BASE_CLOCK_H

double ruvm_clock_s(void);

#endif
