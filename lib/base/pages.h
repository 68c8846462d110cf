/* Pages: memory that is walked from end to end, such as the weights of a model. */
#ifndef RUVM_BASE_PAGES_H
#define RUVM_BASE_PAGES_H

#include <stddef.h>

enum { RUVM_PAGES_ALIGN = 64 };

/* bytes of memory, aligned to RUVM_PAGES_ALIGN; of 2 MB and more in large pages where the system
 * gives some, as each small page costs a look-up. NULL: none is left. For free(). */
void *ruvm_pages_alloc(size_t bytes);

#endif
