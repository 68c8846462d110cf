/* Profile: where the time of one generated token goes, part by part. */
#ifndef RUVM_MEASURE_PROFILE_H
#define RUVM_MEASURE_PROFILE_H

#include "lib/ruvm_tool.h"

/* Generates as ruvm_speed_measure() does, with two engines of the session's image and
 * kernels in turn: one as it is, one watched (profile_table.h). Every moment of a watched
 * token belongs to one part; what watching costs is measured in the same call and taken
 * off. RUVM_ERR_FULL as there, _MEMORY, _IO "interrupted". */
int ruvm_profile_measure(struct ruvm_bench_profile *p, struct ruvm_session *s,
                         const struct ruvm_bench_options *o, struct ruvm_error *err);

#endif
