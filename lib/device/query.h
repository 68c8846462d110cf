/* Questions to the knowledge in the pack. An application has either query.c or, to be smaller,
 * no_query.c, which says so. */
#ifndef RUVM_DEVICE_QUERY_H
#define RUVM_DEVICE_QUERY_H

#include "lib/device/model.h"

enum { RUVM_DEVICE_MAX_ANSWERS = 8 };

/* Memory that questions take; 0: there is no knowledge, or it cannot be asked. */
size_t ruvm_device_query_bytes(const struct ruvm_device_model *m);

/* The command `query [k=N] "QUESTION"`: answers on the console. */
void ruvm_device_query(const struct ruvm_device_model *m, char *rest);

#endif
