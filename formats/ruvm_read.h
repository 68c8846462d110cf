/* Reader of the RUVM image: validates once, then answers in place.
 *
 *     struct ruvm_image img;
 *     int rc = ruvm_image_open(&img, data, n_bytes, NULL);
 *
 * Freestanding. The bytes are borrowed and must stay mapped, 16-byte aligned.
 * After a successful open every offset below lies inside the bytes and every
 * shape agrees with the header, so that the engine need not check again.
 */
#ifndef RUVM_FORMATS_RUVM_READ_H
#define RUVM_FORMATS_RUVM_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/ruvm_layout.h"
#include "lib/base/status.h"

/* A build for a chip leaves out what only workstations ask for, threads, masks and panels, with
 * which an engine is then RUVM_ERR_UNSUPPORTED, and what is only there to be faster. */
#ifndef RUVM_CORE_SMALL
#define RUVM_CORE_SMALL 0
#endif

struct ruvm_section {
    char name[5]; /* NUL-terminated */
    uint32_t off, size, crc;
    const uint8_t *data;
};

struct ruvm_tensor {
    uint8_t kind, layer, type; /* type: enum ruvm_tensor_type */
    uint8_t group;             /* columns that share a multiplier: 0 (none), 16, 32 or 64 */
    int8_t scale_exp;
    uint32_t rows, cols, row_bytes;
    uint32_t data_bytes, scale_bytes;
    const int8_t *data;     /* [rows, row_bytes]; INT8: levels, else packed codes */
    const uint16_t *scales; /* [rows]: little-endian in the file and on every target */
    const uint8_t *mult;    /* [rows, mult_bytes] behind the scales; NULL when group is 0 */
    uint32_t mult_bytes;
    uint32_t index; /* in the published order */
};

/* A vector that is added: number * 2^exp. */
struct ruvm_bias {
    const int16_t *m; /* [n]; NULL: there is none */
    uint32_t n;
    int8_t exp;
};

struct ruvm_image {
    const uint8_t *data;
    size_t size;
    uint8_t version; /* RUVM_VERSION_V0: only the shape fields below are set */
    uint16_t vocab, dim, hidden, context;
    uint8_t n_layers, n_heads, n_kv_heads, quant;
    uint16_t n_sections;
    /* ARCH */
    uint8_t norm, act, pos; /* enum ruvm_norm, ruvm_act, ruvm_pos */
    bool tied, parallel;
    uint16_t head_dim, rope_dims;
    uint32_t eps_mantissa;
    int8_t eps_exp, resid_exp;
    uint8_t k_bits, v_bits;  /* of a cached key and value: 8 or 4 */
    uint16_t window;         /* 0: none; ruvm_image_window() tells for a layer */
    uint32_t score_mantissa; /* 0: scores are scaled by 1 / sqrt(head_dim) */
    int8_t score_exp;
    /* sections in place */
    uint32_t n_tensors;
    const uint8_t *tens;
    const int8_t *norm_exp;   /* [2 * layers + 1] */
    const int16_t *norm_gain; /* [2 * layers + 1, dim] */
    uint16_t bias_kinds;      /* a bit for each enum ruvm_bias_kind that there is */
    const int8_t *bias_exp;   /* ruvm_image_bias() finds them */
    const int16_t *bias;
    const uint32_t *rope_inc; /* [rope_dims / 2]; NULL when positions are learned */
    const uint8_t *wind;      /* [layers] whether the window holds; NULL: it does in all */
    const uint8_t *kvsc;      /* [layers] records of kvsc_bytes */
    uint32_t kvsc_bytes;
    const uint8_t *tokn, *gold, *meta; /* NULL when absent */
    uint32_t tokn_bytes, gold_bytes, meta_bytes;
};

/* How expected and found of a fault are to be read. */
enum ruvm_fault_kind {
    RUVM_FAULT_EQUAL,    /* found should be expected */
    RUVM_FAULT_AT_LEAST, /* found should be at least expected */
    RUVM_FAULT_AT_MOST,  /* found should be at most expected */
    RUVM_FAULT_MULTIPLE, /* found should be a multiple of expected */
    RUVM_FAULT_EXPONENT, /* found, a signed number, should be RUVM_MIN_EXP..RUVM_MAX_EXP */
    RUVM_FAULT_CRC,      /* two CRC-32 */
    RUVM_FAULT_SIZE,     /* of the file in bytes: what it says of itself, what it is */
    RUVM_FAULT_TEXT,     /* what says it all; there are no numbers */
};

/* Where a file is damaged: the twin of the status, for people. ruvm_diagnose.h makes a
 * sentence of it. */
struct ruvm_image_fault {
    uint32_t off;     /* byte where the contradiction stands */
    const char *what; /* e.g. "CRC-32"; static text */
    char section[5];  /* "" when it is the header */
    uint64_t expected, found;
    enum ruvm_fault_kind kind;
};

/* RUVM_ERR_CORRUPT, RUVM_ERR_UNSUPPORTED (a newer version, a required section or a
 * type that this reader does not know), RUVM_ERR_ARG (data is not aligned); fault may
 * be NULL. All CRCs are checked. A v0 file opens when its size is exactly that of its
 * shape. After a failure the contents of img mean nothing. */
int ruvm_image_open(struct ruvm_image *img, const void *data, size_t size,
                    struct ruvm_image_fault *fault);

/* Section i < n_sections, ascending by offset. */
struct ruvm_section ruvm_image_section(const struct ruvm_image *img, unsigned i);
/* Tensor i < n_tensors, in the published order. */
struct ruvm_tensor ruvm_image_tensor(const struct ruvm_image *img, unsigned i);
/* The tensor of that kind, which the network has (layer 0 for EMBED, POSITION and HEAD; a
 * tied HEAD is EMBED). */
struct ruvm_tensor ruvm_image_find(const struct ruvm_image *img, int kind, unsigned layer);
/* What the level in that row and column is multiplied by, besides the row's scale: 0..15,
 * 1 in a tensor without groups. */
uint32_t ruvm_image_multiplier(const struct ruvm_tensor *t, uint32_t row, uint32_t col);
/* The bias of that kind (any layer for FINAL_NORM). */
struct ruvm_bias ruvm_image_bias(const struct ruvm_image *img, enum ruvm_bias_kind kind,
                                 unsigned layer);
/* How many positions a token sees in that layer, itself included; 0: all. */
uint32_t ruvm_image_window(const struct ruvm_image *img, unsigned layer);
/* Size of the bare v0 layout of a shape: 32 + weights at one byte each. */
uint64_t ruvm_image_v0_bytes(const struct ruvm_image *img);

#endif
