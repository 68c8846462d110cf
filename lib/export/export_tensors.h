/* The tensors of a container: which there are, what they are called, and each of their rows.
 *
 *     rc = ruvm_export_tensors_open(&t, &source, family, RUVM_EXPORT_GGUF, err);
 *     for (uint32_t i = 0; i < t.n; i++)
 *         ... t.items[i].name, and ruvm_export_tensors_row(&t.items[i], row, out) ...
 *     ruvm_export_tensors_close(&t);
 */
#ifndef RUVM_EXPORT_EXPORT_TENSORS_H
#define RUVM_EXPORT_EXPORT_TENSORS_H

#include "lib/export/export_family.h"
#include "lib/export/export_source.h"
#include "lib/import/names.h"

enum ruvm_export_container { RUVM_EXPORT_GGUF, RUVM_EXPORT_SAFETENSORS };

struct ruvm_export_tensors;

struct ruvm_export_tensor {
    char name[RUVM_NAME_BYTES];
    struct ruvm_export_tensors *all;
    int role; /* enum ruvm_role */
    unsigned layer;
    bool is_bias;
    uint32_t rows, cols; /* as the container has them; rows 0: a vector of cols */
};

struct ruvm_export_tensors {
    struct ruvm_arena arena;
    const struct ruvm_export_source *source;
    const struct ruvm_export_family *family;
    const struct ruvm_dialect *dialect;
    enum ruvm_export_container container;
    bool halves; /* rows of q and k are stored as two halves of a head */
    struct ruvm_export_tensor *items;
    uint32_t n;
    float *turned; /* a matrix whose columns are being written as rows */
    const struct ruvm_export_tensor *turned_of;
    struct ruvm_progress progress; /* stage "export", in values; set by the caller */
    uint64_t done, total;
    struct ruvm_error *err;
};

/* source and family stay the caller's. err: also of the rows. RUVM_ERR_MEMORY. */
int ruvm_export_tensors_open(struct ruvm_export_tensors *t, const struct ruvm_export_source *source,
                             const struct ruvm_export_family *family,
                             enum ruvm_export_container container, struct ruvm_error *err);
void ruvm_export_tensors_close(struct ruvm_export_tensors *t);

/* Row of a matrix, or a vector as row 0: cols values. RUVM_ERR_IO "interrupted". */
int ruvm_export_tensors_row(const struct ruvm_export_tensor *tensor, uint64_t row, float *out);

#endif
