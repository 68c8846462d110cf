/* Scheme: which type of weights each tensor of an image gets.
 *
 *     ruvm_scheme_parse(&s, "int4:32", err);
 *     ruvm_scheme_choose(schemes, n, names, &rules, err);
 */
#ifndef RUVM_QUANT_SCHEME_H
#define RUVM_QUANT_SCHEME_H

#include "formats/ruvm_codes.h"
#include "lib/base/error.h"

enum { RUVM_DEFAULT_GROUP = 16 };

struct ruvm_scheme {
    uint8_t type;  /* enum ruvm_tensor_type */
    uint8_t group; /* columns that share a multiplier: 0 (none), 16, 32, 64 */
};

/* "int4", "int4:32", "ternary", "binary:row"; a type that may have groups gets groups of
 * RUVM_DEFAULT_GROUP unless told. RUVM_ERR_ARG with the list. */
int ruvm_scheme_parse(struct ruvm_scheme *s, const char *text, struct ruvm_error *err);
/* "int4 g16", "int8": for people. text has 24 bytes. */
void ruvm_scheme_write(char *text, struct ruvm_scheme s);

/* A tensor as the rules see it. */
struct ruvm_scheme_tensor {
    char name[48]; /* "layers.0.wq" */
    uint8_t kind;  /* enum ruvm_tensor_kind */
    uint8_t layer;
    uint32_t rows, cols;
};

struct ruvm_scheme_rules {
    const char *type, *embed_type, *head_type; /* NULL: int8 */
    bool tied;                                 /* the head is the embedding */
    const char *const *tensor_types;           /* "REGEX=TYPE", a later one wins */
    uint32_t n_tensor_types;
};

/* schemes[i] for tensors[i], i < n. RUVM_ERR_ARG: a type or an expression is wrong, an
 * expression matches nothing, or the head of a tied model should differ from its embedding. */
int ruvm_scheme_choose(struct ruvm_scheme *schemes, const struct ruvm_scheme_tensor *tensors,
                       uint32_t n, const struct ruvm_scheme_rules *rules, struct ruvm_error *err);

/* The type byte of a TENS entry. */
uint8_t ruvm_scheme_code(struct ruvm_scheme s);
/* Bytes that a tensor of rows x cols takes: packed weights as WGTS holds them, and scales
 * with multipliers as SCAL does. */
uint64_t ruvm_scheme_data_bytes(struct ruvm_scheme s, uint64_t rows, uint32_t cols);
uint64_t ruvm_scheme_scale_bytes(struct ruvm_scheme s, uint64_t rows, uint32_t cols);
/* The header's quantization byte of a file with these tensors. */
int ruvm_scheme_quant(const struct ruvm_scheme *schemes, uint32_t n);
/* "int4 35, int8 1": how many tensors of which type, for people. text has 64 bytes. */
void ruvm_scheme_summary(char *text, const struct ruvm_scheme *schemes, uint32_t n);

#endif
