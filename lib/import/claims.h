/* Claims: the tensors of a directory find their places in the float model. */
#ifndef RUVM_IMPORT_CLAIMS_H
#define RUVM_IMPORT_CLAIMS_H

#include "lib/base/problems.h"
#include "lib/import/model.h"

/* m has its numbers and room for its layers. Sets all its views; what is missing, of another
 * shape or left over is noted. false: memory is short. */
bool ruvm_claims_make(struct ruvm_model *m, struct ruvm_arena *arena, const struct ruvm_tensors *t,
                      struct ruvm_problems *problems);

#endif
