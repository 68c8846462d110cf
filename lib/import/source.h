/* Source: a foreign model, a file or a folder, opened down to the float model, in one step.
 *
 *     struct ruvm_source s;
 *     rc = ruvm_source_open(&s, &(struct ruvm_source_options){.path = "stories.bin"}, err);
 *     ... s.model, s.vocab ...
 *     ruvm_source_close(&s);
 *
 * Used by every verb that needs the float side: quantize, bench --quality.
 */
#ifndef RUVM_IMPORT_SOURCE_H
#define RUVM_IMPORT_SOURCE_H

#include "lib/import/container.h"
#include "lib/import/model.h"
#include "lib/import/vocab_open.h"

struct ruvm_source_options {
    const char *path;      /* see lib/import/container.h for what is accepted */
    const char *tokenizer; /* a file or folder; NULL: the model's own, if any; "none": none */
    uint32_t context;      /* positions to use; 0: the source's own; at most that */
    uint32_t max_context;  /* cuts a longer source; 0: what an image cannot hold is refused */
    double v0_scale;       /* see struct ruvm_quantize_options */
};

struct ruvm_source {
    struct ruvm_arena arena; /* for everything made from the source */
    struct ruvm_container container;
    struct ruvm_vocab_file vocab_file;
    struct ruvm_tensors tensors;
    struct ruvm_model model;
    struct ruvm_vocab vocab;
    bool has_vocab;
};

/* Maps, recognises and reads; messages begin with the file's name. After a failure
 * nothing needs closing. */
int ruvm_source_open(struct ruvm_source *s, const struct ruvm_source_options *o,
                     struct ruvm_error *err);
void ruvm_source_close(struct ruvm_source *s);

/* The token every text starts with: BOS of the vocabulary, without one that of the network's
 * metadata, else 1 (else 0): where SentencePiece and llama2.c put it. */
uint32_t ruvm_source_start(const struct ruvm_source *s);

#endif
