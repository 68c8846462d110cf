/* The table of importers: a file is recognised by its content, never its name. */
#ifndef RUVM_FORMATS_FORMATS_H
#define RUVM_FORMATS_FORMATS_H

#include "formats/tensors.h"

struct ruvm_format {
    const char *name; /* for people, e.g. "llama2.c checkpoint" */
    /* Whether the bytes are of this format; looks at content only. */
    bool (*probe)(const uint8_t *data, size_t size);
    int (*read)(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                size_t size, struct ruvm_error *err);
};

/* The importer that recognises the bytes, or NULL. */
const struct ruvm_format *ruvm_formats_probe(const uint8_t *data, size_t size);

/* What unrecognised bytes look like, for the message: "an HTML page", "a zip
 * archive (a PyTorch file?)", "a GGUF model", "an empty file", "a RUVM image"
 * ...; never NULL. Static text. */
const char *ruvm_formats_guess(const uint8_t *data, size_t size);

#endif
