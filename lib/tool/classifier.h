/* Classifiers: networks of plain layers, from a row of numbers to classes.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_CLASSIFIER_H
#define RUVM_TOOL_CLASSIFIER_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Networks of plain layers, from a row of numbers to classes (lib/ruvm.h: ruvm_mlp_run). */
enum ruvm_classifier_kind {
    RUVM_CLASSIFIER_NONE,   /* not a classifier, or no file that can be read */
    RUVM_CLASSIFIER_SOURCE, /* an ONNX graph without an embedding */
    RUVM_CLASSIFIER_IMAGE,  /* a RUVM image, or a pack with one */
};
/* What a file is; what is wrong with it, the verbs say. */
enum ruvm_classifier_kind ruvm_classifier_probe(const char *path);

/* An image beside the float model on the same rows: measured. */
struct ruvm_classifier_agreement {
    char data[64]; /* "random inputs", or the file's name */
    bool is_random;
    uint32_t n_rows;
    double top1;                     /* share of rows with the same class, 0..1 */
    double max_logit_error;          /* of any output of any row, before softmax or sigmoid */
    double mean_logit_error;         /* absolute, of all outputs */
    double logit_range;              /* largest minus smallest logit of the float model */
    bool has_classes;                /* the data says the class of each row: */
    double accuracy, accuracy_float; /* of the image, and of the float model, 0..1 */
};

struct ruvm_classifier_layer {
    char name[16];       /* "layers.0" */
    char activation[24]; /* "relu", "leaky_relu 0.01", "none" */
    char type[24];       /* "int8", "int4 g16" */
    uint32_t rows, cols;
    uint64_t bytes;         /* weights and scales in the image */
    double bits_per_weight; /* scales and padding included */
    double snr_db;          /* of the weights; 0 when only an image is at hand */
};

/* Where inputs usually lie, and who says so. */
enum ruvm_classifier_ranges {
    RUVM_RANGES_MEASURED, /* calibration data */
    RUVM_RANGES_GRAPH,    /* what normalises the inputs in the file */
    RUVM_RANGES_ASSUMED,  /* nobody: input_range */
};

struct ruvm_classifier_info {
    char name[64];
    uint16_t n_inputs, n_outputs, n_classes;
    uint8_t n_layers;
    const char *output; /* "logits", "softmax", "sigmoid" */
    bool has_labels;
    uint64_t n_weights; /* multiplications of a run */
    uint64_t image_bytes;
    uint64_t memory_bytes; /* exact: all that a run needs besides the image */
    uint32_t image_crc32;  /* of the header */
    struct ruvm_classifier_layer layers[255];
};

struct ruvm_classifier_quantize_options {
    const char *input, *output;      /* output NULL: measure only */
    const char *type;                /* of all layers; NULL: int8 */
    const char *const *tensor_types; /* "REGEX=TYPE" on names like "layers.0"; a later one wins */
    uint32_t n_tensor_types;
    const char *calib;  /* rows of inputs, CSV or .npy; a column more holds classes. NULL: none */
    const char *labels; /* a file with a name a line; NULL: none */
    const char *name;   /* meta, or NULL */
    double input_range; /* without calibration: inputs lie within +- this; 0: what the file
                         * tells, else 8 */
    uint64_t seed;      /* of random inputs; 0: 1 */
    bool dry_run;       /* nothing written */
};

struct ruvm_classifier_quantize_result {
    struct ruvm_classifier_info info;
    uint64_t source_bytes;
    enum ruvm_classifier_ranges ranges;
    double range_low, range_high; /* of all inputs together */
    uint32_t n_constant_inputs;   /* the same in every row of the data */
    struct ruvm_classifier_agreement agreement;
    double seconds;
};

/* RUVM_ERR_UNSUPPORTED names everything in the graph that is not a plain layer. */
int ruvm_classifier_quantize(const struct ruvm_classifier_quantize_options *o,
                             struct ruvm_classifier_quantize_result *r, struct ruvm_error *err);

/* One row's answer; arrays are in use until the callback returns. */
struct ruvm_classifier_row {
    uint32_t row;
    uint32_t best;              /* class */
    const char *label;          /* of the class, or NULL */
    const struct ruvm_mlp *mlp; /* for ruvm_mlp_label() */
    int32_t truth;              /* the class that the data says, or -1 */
    const int32_t *logits;      /* [n_outputs] Q16 */
    const uint16_t *p;  /* [n_outputs] Q15: softmax or sigmoid of them; of "logits" softmax */
    uint32_t n_clipped; /* inputs beyond four times their range, which saturate */
};

struct ruvm_classifier_run_options {
    const char *model;   /* image */
    const char *input;   /* rows, CSV or .npy */
    const char *kernels; /* NULL: best */
    /* Receives each row; nonzero stops. info: of the model. */
    int (*row)(void *user, const struct ruvm_classifier_info *info,
               const struct ruvm_classifier_row *row);
    void *user;
};

struct ruvm_classifier_run_result {
    struct ruvm_classifier_info info;
    char kernels[16];
    uint32_t n_rows, n_right, n_clipped; /* n_clipped: inputs of all rows */
    bool has_classes;
    uint32_t logits_crc32; /* over all logits: equal on every machine */
    double seconds;        /* measured: of the runs */
};

int ruvm_classifier_run(const struct ruvm_classifier_run_options *o,
                        struct ruvm_classifier_run_result *r, struct ruvm_error *err);

/* Layers, types and memory of an image. */
int ruvm_classifier_describe(struct ruvm_classifier_info *info, const char *path,
                             struct ruvm_error *err);

struct ruvm_classifier_bench_options {
    const char *model, *kernels; /* kernels NULL: best */
    uint32_t repetitions;        /* 0: 9 */
};

struct ruvm_classifier_bench_result {
    struct ruvm_classifier_info info;
    char kernels[16];
    uint32_t runs;                             /* of a repetition */
    struct ruvm_spread runs_per_s, gmac_per_s; /* measured, one thread */
    char machine[256];
};

int ruvm_classifier_bench(const struct ruvm_classifier_bench_options *o,
                          struct ruvm_classifier_bench_result *r, struct ruvm_error *err);

#ifdef __cplusplus
}
#endif

#endif
