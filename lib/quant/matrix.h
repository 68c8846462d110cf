/* Matrix: the quantized weights of one tensor, before they are packed.
 *
 * weight(r, c) = level[r, c] * mult[r, c / group] * scale[r] * 2^scale_exp.
 * What is computed here in double is exactly what the engine computes in integers.
 */
#ifndef RUVM_QUANT_MATRIX_H
#define RUVM_QUANT_MATRIX_H

#include "formats/tensors.h"
#include "lib/quant/scheme.h"

struct ruvm_quant_matrix {
    struct ruvm_scheme scheme;
    uint32_t rows, cols, n_groups; /* n_groups: multipliers a row; 1 for a row without */
    int8_t *level;                 /* [rows, cols] */
    uint8_t *mult;                 /* [rows, n_groups]; 1 where the scheme has none */
    uint16_t *scale;               /* [rows] */
    int8_t scale_exp;
};

/* Room for rows x cols, in the arena; all zero, multipliers 1. false: memory is short. */
bool ruvm_quant_matrix_open(struct ruvm_quant_matrix *q, struct ruvm_arena *arena,
                            struct ruvm_scheme scheme, uint32_t rows, uint32_t cols);
/* The same without room for levels, which slices bring. */
bool ruvm_quant_matrix_open_sliced(struct ruvm_quant_matrix *q, struct ruvm_arena *arena,
                                   struct ruvm_scheme scheme, uint32_t rows, uint32_t cols);
/* Columns of a group: those of the scheme, or all. */
uint32_t ruvm_quant_matrix_group(const struct ruvm_quant_matrix *q);
/* Worth of one level of group g of row r. */
double ruvm_quant_matrix_step(const struct ruvm_quant_matrix *q, uint32_t r, uint32_t g);
/* The weights of a row: out[cols]. */
void ruvm_quant_matrix_row(const struct ruvm_quant_matrix *q, uint32_t r, double *out);

/* Rows first .. first + n of q, whose levels are elsewhere: level [n, cols], or NULL where q
 * has them. Scales and multipliers are those of q. */
struct ruvm_quant_matrix ruvm_quant_matrix_slice(const struct ruvm_quant_matrix *q, uint32_t first,
                                                 uint32_t n, int8_t *level);

/* Packs as the image holds it: data of ruvm_scheme_data_bytes(), scales of
 * ruvm_scheme_scale_bytes(), both zeroed by the caller. */
void ruvm_quant_matrix_pack(const struct ruvm_quant_matrix *q, uint8_t *data, uint8_t *scales);
/* The same of a slice that begins at row `first` of a matrix of `rows`. */
void ruvm_quant_matrix_pack_slice(const struct ruvm_quant_matrix *slice, uint32_t first,
                                  uint32_t rows, uint8_t *data, uint8_t *scales);

/* How well a matrix was caught; decibels of signal over quantization noise, at most
 * RUVM_MAX_SNR_DB (nothing was lost). */
struct ruvm_quant_loss {
    double snr_db, worst_row_snr_db;
    uint32_t worst_row;
    uint32_t zero_rows, first_zero_row; /* all zero in the source */
};
#define RUVM_MAX_SNR_DB 200.0

/* The same in slices: sums of squares of each row of a slice, [slice->rows]; then the loss of
 * all rows. work: [cols]. */
struct ruvm_quant_energy {
    double signal, noise;
};
void ruvm_quant_matrix_energy(struct ruvm_quant_energy *e, const struct ruvm_quant_matrix *slice,
                              const float *w, double *work);
struct ruvm_quant_loss ruvm_quant_energy_loss(const struct ruvm_quant_energy *e, uint32_t rows);

/* w: the float weights [rows, cols]; work: [cols]. */
struct ruvm_quant_loss ruvm_quant_matrix_loss(const struct ruvm_quant_matrix *q, const float *w,
                                              double *work);

/* The largest size among n weights; not finite where one of them is not. */
float ruvm_quant_largest(const float *w, size_t n);

/* Expands a view of [rows, cols] into w. name: for messages. RUVM_ERR_CORRUPT names the row
 * that holds a NaN or an infinity; RUVM_ERR_UNSUPPORTED: weights beyond any scale. */
int ruvm_quant_weights(float *w, const struct ruvm_view *view, const char *name,
                       struct ruvm_error *err);
/* The same of rows first .. first + n. */
int ruvm_quant_weights_rows(float *w, const struct ruvm_view *view, uint32_t first, uint32_t n,
                            const char *name, struct ruvm_error *err);

#endif
