/* INT8 by row: each output's weights as bytes times one 16-bit scale.
 *
 * real weight = byte * scale * 2^exp, the exponent being common to the matrix.
 */
#ifndef RUVM_CONVERT_INT8_H
#define RUVM_CONVERT_INT8_H

#include "formats/tensors.h"

/* How well a matrix was caught; decibels of signal over quantization noise, at most
 * RUVM_INT8_MAX_SNR_DB (nothing was lost). */
struct ruvm_int8_loss {
    double snr_db, worst_row_snr_db;
    uint32_t worst_row;
};
#define RUVM_INT8_MAX_SNR_DB 200.0

struct ruvm_int8_matrix {
    uint32_t rows, cols, row_bytes; /* row_bytes >= cols; the rest of a row is set to 0 */
    int8_t *data;                   /* [rows, row_bytes] */
    uint8_t *scales;                /* [rows] u16, little-endian */
    int8_t scale_exp;               /* result */
    struct ruvm_int8_loss loss;     /* result */
};

/* Quantizes a view of [rows, cols] into the caller's arrays. row: [cols] work. name: for
 * messages. RUVM_ERR_CORRUPT names the row that holds a NaN or an infinity;
 * RUVM_ERR_UNSUPPORTED: weights beyond any scale of the image. */
int ruvm_int8_quantize(struct ruvm_int8_matrix *q, const struct ruvm_view *view, float *row,
                       const char *name, struct ruvm_error *err);

/* Whether the image has a scale of this size. */
bool ruvm_int8_fits(double largest);
/* value = mantissa * 2^*exp with a 16-bit mantissa in (32767, 65535] for the largest of a
 * group; the others of the group use ruvm_int8_mantissa(). exp stays within the image's limits. */
int ruvm_int8_exponent(double largest);
/* value / 2^exp rounded, 0 only for 0, at most 65535. */
uint16_t ruvm_int8_mantissa(double value, int exp);

#endif
