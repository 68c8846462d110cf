/* Builds a RUVM image in memory from the float model: its sections one by one, then the file.
 *
 *     ruvm_image_build_open(&b, arena, model, schemes, err);
 *     ruvm_image_build_matrix(&b, i, &matrix);       for each i < b.n_tensors
 *     ruvm_image_build_ranges(&b, &calibration);
 *     ... more parts ...
 *     ruvm_image_build_write(&b, err);                the file is b.file
 *     ruvm_image_build_close(&b);
 *
 * Parts may be filled between two writes: golden vectors need an image that runs. The weights
 * are packed into the file itself, so that there is one copy of them.
 */
#ifndef RUVM_CONVERT_IMAGE_BUILD_H
#define RUVM_CONVERT_IMAGE_BUILD_H

#include "formats/ruvm_write.h"
#include "lib/convert/calibrate.h"
#include "lib/quant/matrix.h"

/* The sections in the order of the file. A part left empty is not written. */
enum ruvm_build_part {
    RUVM_BUILD_ARCH,
    RUVM_BUILD_TENS,
    RUVM_BUILD_SCAL,
    RUVM_BUILD_NORM,
    RUVM_BUILD_BIAS,
    RUVM_BUILD_ROPE,
    RUVM_BUILD_WIND,
    RUVM_BUILD_KVSC,
    RUVM_BUILD_WGTS,
    RUVM_BUILD_TOKN, /* filled by ruvm_tokenizer_build() */
    RUVM_BUILD_META,
    RUVM_BUILD_GOLD, /* filled by ruvm_golden_build() */
    RUVM_BUILD_COUNT,
};

struct ruvm_image_build {
    const struct ruvm_model *model;
    struct ruvm_buffer part[RUVM_BUILD_COUNT]; /* WGTS: not here, but in the file */
    struct ruvm_buffer file; /* the image, once it was written; until then its weights only */
    size_t weights_off, weights_bytes; /* in the file */
    uint32_t n_tensors;
    struct ruvm_write_tensor *tensors; /* [n_tensors] offsets still within SCAL and WGTS */
    const struct ruvm_scheme *schemes; /* [n_tensors] */
    uint8_t k_bits, v_bits;            /* of the cache: 8 or 4 */
};

/* The tensors of an image of this model in the order of the file, at most
 * ruvm_image_build_most() of them; returns their number. */
uint32_t ruvm_image_build_most(const struct ruvm_model *m);
uint32_t ruvm_image_build_tensors(struct ruvm_scheme_tensor *tensors, const struct ruvm_model *m);

/* Lays the tensors out with schemes[n_tensors], which stay the caller's, and fills what needs
 * no calibration (NORM, BIAS, ROPE, WIND); WGTS and SCAL are zeros until each matrix is given. A
 * cache of 8 bits. RUVM_ERR_UNSUPPORTED: too large, or too wide for multipliers; _MEMORY. */
int ruvm_image_build_open(struct ruvm_image_build *b, struct ruvm_arena *arena,
                          const struct ruvm_model *m, const struct ruvm_scheme *schemes,
                          struct ruvm_error *err);
void ruvm_image_build_close(struct ruvm_image_build *b);

/* Packs tensor i, of the scheme it was laid out with. */
void ruvm_image_build_matrix(struct ruvm_image_build *b, uint32_t i,
                             const struct ruvm_quant_matrix *q);

/* The same in slices of rows of a tensor, the first of which is row `first`, all of one
 * scale_exp. Rows that are not given stay zeros. */
void ruvm_image_build_rows(struct ruvm_image_build *b, uint32_t i, uint32_t first,
                           const struct ruvm_quant_matrix *slice);

/* Where the packed rows and the scales of tensor i are; until the next write. */
const uint8_t *ruvm_image_build_data(const struct ruvm_image_build *b, uint32_t i);
const uint8_t *ruvm_image_build_scales(const struct ruvm_image_build *b, uint32_t i);

/* What calibration decides (ARCH, KVSC). */
void ruvm_image_build_ranges(struct ruvm_image_build *b, const struct ruvm_calibration *c);

/* Takes norms and biases of another model of the same shape: one that was trained further. */
int ruvm_image_build_norms(struct ruvm_image_build *b, struct ruvm_arena *arena,
                           const struct ruvm_model *m, struct ruvm_error *err);

/* Bytes of the file if its tensors had other schemes [n_tensors]; all parts are there. */
uint64_t ruvm_image_build_bytes(const struct ruvm_image_build *b,
                                const struct ruvm_scheme *schemes);

/* Makes b->file the whole image; the weights move to their place in it. */
int ruvm_image_build_write(struct ruvm_image_build *b, struct ruvm_error *err);

#endif
