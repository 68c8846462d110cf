/* Dialects of tensor names: what a name means, and what to call a meaning.
 *
 * A role is a kind of tensor of the image (enum ruvm_tensor_kind, same numbers) or one
 * of the norms. A dialect gives each role a name in which '*' stands for the layer.
 */
#ifndef RUVM_CONVERT_NAMES_H
#define RUVM_CONVERT_NAMES_H

#include "formats/ruvm_layout.h"
#include "formats/tensors.h"

enum ruvm_role {
    RUVM_ROLE_ATTN_NORM = RUVM_TENSOR_HEAD + 1,
    RUVM_ROLE_FFN_NORM,
    RUVM_ROLE_FINAL_NORM,
    RUVM_N_ROLES,
};

enum { RUVM_NAME_BYTES = 64 }; /* holds any name of any dialect */

struct ruvm_dialect {
    const char *name;                /* for people */
    const char *roles[RUVM_N_ROLES]; /* "layers.*.attention.wq.weight" */
};

/* The dialect that the directory's embedding is named in, or NULL. */
const struct ruvm_dialect *ruvm_names_dialect(const struct ruvm_tensors *t);

/* Writes the dialect's name of a role; dialect NULL: our own, "layers.0.wq". The name
 * is cut to fit; returns name. */
const char *ruvm_names_write(char *name, size_t name_bytes, const struct ruvm_dialect *dialect,
                             int role, unsigned layer);

#endif
