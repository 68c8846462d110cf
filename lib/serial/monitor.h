/* The console of a chip: what it says is shown, what is typed is sent. */
#ifndef RUVM_SERIAL_MONITOR_H
#define RUVM_SERIAL_MONITOR_H

#include "lib/ruvm_tool.h"
#include "lib/serial/line.h"

/* Gives the line the console's speed. */
int ruvm_monitor_prepare(const struct ruvm_line *line, const struct ruvm_monitor *m,
                         struct ruvm_error *err);
int ruvm_monitor_run(const struct ruvm_line *line, const struct ruvm_monitor *m,
                     struct ruvm_error *err);

#endif
