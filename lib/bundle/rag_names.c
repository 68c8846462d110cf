/* Names of what options choose. */
#include "lib/bundle/rag_names.h"

#include <stdio.h>
#include <string.h>

#include "formats/rag_layout.h"
#include "formats/ragtext_layout.h"
#include "lib/base/error.h"

const char *const ruvm_rag_rank_names[] = {[RUVM_RANK_SUM] = "sum",
                                           [RUVM_RANK_RECIPROCAL] = "reciprocal",
                                           [RUVM_RANK_WORDS] = "words",
                                           [RUVM_RANK_VECTORS] = "vectors",
                                           NULL};
const char *const ruvm_rag_split_names[] = {[RUVM_SPLIT_SENTENCE] = "sentence",
                                            [RUVM_SPLIT_HEADING] = "heading",
                                            [RUVM_SPLIT_SIZE] = "size",
                                            NULL};
const char *const ruvm_rag_type_names[] = {
    [RUVM_VECTOR_INT8] = "int8", [RUVM_VECTOR_BINARY] = "binary", [RUVM_VECTOR_PQ] = "pq", NULL};

int ruvm_rag_name_find(uint8_t *value, const char *const *names, const char *name, const char *what,
                       struct ruvm_error *err)
{
    char list[128] = "";
    size_t n = 0;
    if (!name)
        return RUVM_OK;
    for (uint8_t i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            *value = i;
            return RUVM_OK;
        }
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", names[i]);
    }
    return ruvm_fail(err, RUVM_ERR_ARG, "%s is no %s: use one of %s", name, what, list);
}
