/* Weights: every matrix of the model through its quantizer.
 *
 *     ruvm_weights_quantize(&build, &student, losses, &options, err);
 */
#ifndef RUVM_CONVERT_WEIGHTS_H
#define RUVM_CONVERT_WEIGHTS_H

#include "lib/base/pool.h"
#include "lib/convert/image_build.h"
#include "lib/convert/student.h"
#include "lib/quant/moments.h"
#include "lib/ruvm_tool.h"

enum ruvm_method {
    RUVM_METHOD_AUTO, /* RTN for INT8, which loses nothing that another could save; else GPTQ */
    RUVM_METHOD_AUTO_LARGE, /* RTN for INT8, else MSE: GPTQ of a large model takes hours */
    RUVM_METHOD_RTN,        /* steps by the largest weight, rounding to nearest */
    RUVM_METHOD_MSE,        /* steps by the least square error, rounding to nearest */
    RUVM_METHOD_GPTQ,       /* those steps, rounding that makes up for its errors */
};

/* "rtn", "mse", "gptq" or NULL (auto). RUVM_ERR_ARG with the list. */
int ruvm_weights_method(enum ruvm_method *method, const char *name, struct ruvm_error *err);
/* Whether a tensor of that type is rounded with the moments of its input. */
bool ruvm_weights_uses_moments(enum ruvm_method method, int type);

/* Of one tensor. */
struct ruvm_weights_loss {
    struct ruvm_quant_loss snr;
    double kl; /* modelled; 0 when there are no moments */
};

/* Quantizes the float weights w [q->rows, q->cols] into q, which is open. t: the tensor's
 * moments, or NULL when the method does not use them. RUVM_ERR_MEMORY. */
int ruvm_weights_matrix(struct ruvm_quant_matrix *q, const float *w, enum ruvm_method method,
                        const struct ruvm_moments_tensor *t, struct ruvm_error *err);

struct ruvm_weights_options {
    enum ruvm_method method;
    struct ruvm_moments *moments;  /* NULL: no tensor uses them and no loss is estimated */
    struct ruvm_pool *pool;        /* of threads for what needs no moments, or NULL */
    struct ruvm_progress progress; /* stage "quantize", in weights */
};

/* Every matrix into the image. student: receives the weights as well, or NULL. losses:
 * [b->n_tensors]. RUVM_ERR_CORRUPT names a tensor and row that is not finite;
 * _UNSUPPORTED, _MEMORY, _IO "interrupted". */
int ruvm_weights_quantize(struct ruvm_image_build *b, struct ruvm_student *student,
                          struct ruvm_weights_loss *losses, const struct ruvm_weights_options *o,
                          struct ruvm_error *err);

#endif
