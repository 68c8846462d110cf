/* Dialects of tensor names: what a name means, and what to call a meaning.
 *
 * A role is a kind of tensor of the image (enum ruvm_tensor_kind, same numbers), one of the
 * norms, or query, key and value stored as one. A dialect gives each role a name in which
 * '*' stands for the layer, or none. A bias is named as its weight.
 */
#ifndef RUVM_IMPORT_NAMES_H
#define RUVM_IMPORT_NAMES_H

#include "formats/ruvm_layout.h"
#include "formats/tensors.h"

enum ruvm_role {
    RUVM_ROLE_ATTN_NORM = RUVM_TENSOR_POSITION + 1,
    RUVM_ROLE_FFN_NORM,
    RUVM_ROLE_FINAL_NORM,
    RUVM_ROLE_QKV, /* wq, wk and wv above each other */
    RUVM_N_ROLES,
};

enum { RUVM_NAME_BYTES = 64 }; /* holds any name of any dialect */

struct ruvm_dialect {
    const char *name;                /* for people */
    const char *roles[RUVM_N_ROLES]; /* "layers.*.attention.wq.weight"; NULL: has no such name */
    bool columns;                    /* matrices are [inputs, outputs] (GPT-2's Conv1D) */
    bool per_head;                   /* QKV: [head, 3, head_dim] instead of [3, head, head_dim] */
};

/* The dialect that the directory's embedding and first layer are named in, else the one that
 * the embedding alone is named in, or NULL. */
const struct ruvm_dialect *ruvm_names_dialect(const struct ruvm_tensors *t);

/* The first dialect of that name, "GGUF" or "Hugging Face Llama": with prefix. It must exist. */
const struct ruvm_dialect *ruvm_names_find(const char *name);

/* Writes the dialect's name of a role it has; dialect NULL: our own, "layers.0.wq". The name
 * is cut to fit; returns name. */
const char *ruvm_names_write(char *name, size_t name_bytes, const struct ruvm_dialect *dialect,
                             int role, unsigned layer);
/* The same for the bias of that role: "....bias". */
const char *ruvm_names_write_bias(char *name, size_t name_bytes, const struct ruvm_dialect *dialect,
                                  int role, unsigned layer);

/* A mask or a table that PyTorch stores with the weights and that follows from the numbers. */
bool ruvm_names_is_buffer(const char *name);

#endif
