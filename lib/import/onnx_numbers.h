/* The numbers of an ONNX decoder: what its graph shows, and what its config tells.
 * Private to lib/import/onnx_*.c. */
#ifndef RUVM_IMPORT_ONNX_NUMBERS_H
#define RUVM_IMPORT_ONNX_NUMBERS_H

#include "lib/import/names.h"
#include "lib/import/onnx_attention.h"
#include "lib/import/onnx_window.h"

/* A graph on its way to a directory. */
struct ruvm_onnx_naming {
    struct ruvm_tensors *out;
    struct ruvm_arena *arena;
    const struct ruvm_onnx *o;
    const struct ruvm_tensors *config;  /* NULL: none */
    const struct ruvm_dialect *dialect; /* NULL: our own */
    struct ruvm_onnx_decoder d;
    struct ruvm_onnx_attention a;
    struct ruvm_onnx_window *windows; /* [d.n_layers] */
    struct ruvm_problems report;
    bool is_short; /* of memory */
    bool tied;
};

/* Reads the masks of all layers. RUVM_ERR_MEMORY. */
int ruvm_onnx_numbers_windows(struct ruvm_onnx_naming *g, struct ruvm_onnx_walk *w,
                              struct ruvm_error *err);
/* Adds the metadata; what contradicts or is missing is noted. */
void ruvm_onnx_numbers_add(struct ruvm_onnx_naming *g);

#endif
