/* What is exported: a RUVM image or a foreign model, as one float model whose rows are asked for.
 *
 *     rc = ruvm_export_source_open(&s, &options, err);
 *     ruvm_export_source_row(&s, RUVM_TENSOR_WQ, layer, row, out);
 *     ruvm_export_source_close(&s);
 *
 * The weights of an image are exact as floats: a level times its multiplier has 8 bits, a scale
 * 16, and a float 24.
 */
#ifndef RUVM_EXPORT_EXPORT_SOURCE_H
#define RUVM_EXPORT_EXPORT_SOURCE_H

#include "formats/ruvm_read.h"
#include "lib/import/source.h"
#include "lib/ruvm_tool.h"

struct ruvm_export_source {
    struct ruvm_arena arena;
    struct ruvm_model model; /* an image's matrices have a shape and no data */
    struct ruvm_vocab vocab;
    bool has_vocab;
    const char *name;   /* of the model, or NULL */
    const char *format; /* for people */
    uint64_t bytes;
    /* Of a foreign model; NULL: an image. */
    const struct ruvm_tensors *tensors;
    /* private */
    struct ruvm_source foreign;
    struct ruvm_file file;
    struct ruvm_vocab_file tokenizer;
    struct ruvm_image image;
    int8_t *levels; /* [longest row of the image] */
};

/* Path "demo" is the demo model that is part of the library. Messages begin with the file's
 * name. After a failure nothing needs closing. */
int ruvm_export_source_open(struct ruvm_export_source *s, const struct ruvm_source_options *o,
                            struct ruvm_error *err);
void ruvm_export_source_close(struct ruvm_export_source *s);

/* Row of the matrix of that kind (enum ruvm_tensor_kind) that the model has. */
void ruvm_export_source_row(const struct ruvm_export_source *s, int kind, unsigned layer,
                            uint32_t row, float *out);

#endif
