/* A tokenizer of a vocabulary or of a tokenizer file, without an image around it. */
#ifndef TESTS_SUPPORT_TOKN_H
#define TESTS_SUPPORT_TOKN_H

#include "formats/tokn_read.h"
#include "formats/vocab.h"
#include "lib/base/buffer.h"
#include "lib/base/file.h"
#include "lib/ruvm.h"

struct tokn {
    struct ruvm_arena arena;
    struct ruvm_map map;
    struct ruvm_vocab vocab;
    struct ruvm_buffer section;
    struct ruvm_tokenizer t;
};

/* Builds the section, checks it as the reader of an image does, opens it. */
int tokn_build(struct tokn *t, const struct ruvm_vocab *vocab, struct ruvm_error *err);
/* The same from a file of any kind that ruvm_vocab_read_any() knows. */
int tokn_open(struct tokn *t, const char *path, struct ruvm_error *err);
void tokn_close(struct tokn *t);

/* Only the check; vocab: the number of rows that the model has. */
int tokn_check(const struct ruvm_buffer *section, uint16_t vocab, struct ruvm_image_fault *fault);

#endif
