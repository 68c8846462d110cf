/* Names of what options choose, for people: a word and its number. */
#ifndef RUVM_BUNDLE_RAG_NAMES_H
#define RUVM_BUNDLE_RAG_NAMES_H

#include <stdint.h>

struct ruvm_error;

extern const char *const ruvm_rag_rank_names[];  /* by enum ruvm_rag_rank; ends with NULL */
extern const char *const ruvm_rag_split_names[]; /* by enum ruvm_rag_split */
extern const char *const ruvm_rag_type_names[];  /* by enum ruvm_vector_type */

/* Puts the number of a name into value; name NULL: value stays. RUVM_ERR_ARG, saying what it
 * is (`what`, "a rank") and which names there are. */
int ruvm_rag_name_find(uint8_t *value, const char *const *names, const char *name, const char *what,
                       struct ruvm_error *err);

#endif
