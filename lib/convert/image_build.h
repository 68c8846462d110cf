/* Builds a RUVM image in memory from the float model: its sections one by one, then the file.
 *
 *     ruvm_image_build_open(&b, arena, model, err);
 *     ruvm_image_build_weights(&b, arena, model, &progress, err);
 *     ruvm_image_build_ranges(&b, &calibration, err);
 *     ... more parts ...
 *     ruvm_image_build_write(&image, &b, err);
 *     ruvm_image_build_close(&b);
 *
 * Parts may be filled between two writes: golden vectors need an image that runs.
 */
#ifndef RUVM_CONVERT_IMAGE_BUILD_H
#define RUVM_CONVERT_IMAGE_BUILD_H

#include "formats/ruvm_write.h"
#include "lib/convert/calibrate.h"
#include "lib/convert/int8.h"

/* The sections in the order of the file. A part left empty is not written. */
enum ruvm_build_part {
    RUVM_BUILD_ARCH,
    RUVM_BUILD_TENS,
    RUVM_BUILD_SCAL,
    RUVM_BUILD_NORM,
    RUVM_BUILD_ROPE,
    RUVM_BUILD_KVSC,
    RUVM_BUILD_WGTS,
    RUVM_BUILD_TOKN, /* filled by ruvm_tokenizer_build() */
    RUVM_BUILD_META,
    RUVM_BUILD_GOLD, /* filled by ruvm_golden_build() */
    RUVM_BUILD_COUNT,
};

struct ruvm_image_build {
    const struct ruvm_model *model;
    struct ruvm_buffer part[RUVM_BUILD_COUNT];
    uint32_t n_tensors;
    struct ruvm_write_tensor *tensors; /* [n_tensors] offsets still within SCAL and WGTS */
    struct ruvm_int8_loss *losses;     /* [n_tensors] */
};

/* Lays the tensors out and fills what needs no calibration (NORM, ROPE). */
int ruvm_image_build_open(struct ruvm_image_build *b, struct ruvm_arena *arena,
                          const struct ruvm_model *m, struct ruvm_error *err);
void ruvm_image_build_close(struct ruvm_image_build *b);

/* Quantizes every matrix (WGTS, SCAL). Progress stage "quantize", in weights. */
int ruvm_image_build_weights(struct ruvm_image_build *b, struct ruvm_arena *arena,
                             const struct ruvm_progress *progress, struct ruvm_error *err);

/* What calibration decides (ARCH, KVSC). */
void ruvm_image_build_ranges(struct ruvm_image_build *b, const struct ruvm_calibration *c);

/* The whole file, appended to the empty buffer `out`. */
int ruvm_image_build_write(struct ruvm_buffer *out, struct ruvm_image_build *b,
                           struct ruvm_error *err);

#endif
