/* The golden image, tests/golden/golden.ruvm: a model of the smallest interesting shape,
 * made by the writer from numbers that are easy to follow in a hex dump. man page
 * ruvm-image(5) shows it. */
#ifndef TESTS_FORMATS_GOLDEN_IMAGE_H
#define TESTS_FORMATS_GOLDEN_IMAGE_H

#include "formats/ruvm_write.h"

enum {
    GOLDEN_ARCH,
    GOLDEN_TENS,
    GOLDEN_SCAL,
    GOLDEN_NORM,
    GOLDEN_ROPE,
    GOLDEN_KVSC,
    GOLDEN_WGTS,
    GOLDEN_TOKN,
    GOLDEN_META,
    GOLDEN_GOLD,
    GOLDEN_PARTS,
};

/* Its parts, so that tests can leave out, reorder or replace some. */
struct golden {
    struct ruvm_write_header header;
    struct ruvm_buffer data[GOLDEN_PARTS];
    struct ruvm_write_section part[GOLDEN_PARTS];
};

/* What an image may be made of; tensors are numbered by their kind. */
struct golden_types {
    uint8_t tensor[RUVM_TENSORS_PER_LAYER + 2]; /* type bytes as in TENS */
    uint8_t quant;                              /* of the header */
    uint8_t k_bits, v_bits;                     /* as in ARCH */
    uint16_t hidden;
};

/* tests/golden/packed.ruvm: packed weights of each type, and caches of 4 bits. */
extern const struct golden_types golden_packed;

/* tied: without an output projection of its own. The golden file is not tied. */
void golden_make(struct golden *g, bool tied);
/* The same of other types. */
void golden_make_of(struct golden *g, const struct golden_types *types);
/* The image of n of its sections; 64-byte aligned, free() it. */
uint8_t *golden_write(const struct golden *g, const struct ruvm_write_section *part, unsigned n,
                      size_t *size);
void golden_free(struct golden *g);

#endif
