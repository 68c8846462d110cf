/* Writer of the RUVM image: sections in, one deterministic file out. The reader's twin. */
#ifndef RUVM_FORMATS_RUVM_WRITE_H
#define RUVM_FORMATS_RUVM_WRITE_H

#include "formats/ruvm_layout.h"
#include "lib/base/buffer.h"

/* The header's own fields; the rest of the header is computed. */
struct ruvm_write_header {
    uint16_t vocab, dim, hidden, context;
    uint8_t n_layers, n_heads, n_kv_heads, quant;
};

/* One section. WGTS is placed on RUVM_WGTS_ALIGN, the others on RUVM_SEC_ALIGN. */
struct ruvm_write_section {
    const char *name; /* four letters */
    const void *data;
    size_t size;
};

/* Where the sections will stand: offsets[i] for section i in the order given, so
 * that TENS can hold file offsets before the file is written. Returns the file size. */
size_t ruvm_write_layout(const struct ruvm_write_section *sections, unsigned n, size_t *offsets);

/* Appends the whole image to out. Sections are written in the order given.
 * RUVM_ERR_MEMORY, RUVM_ERR_UNSUPPORTED when it would exceed 4 GiB. */
int ruvm_write_image(struct ruvm_buffer *out, const struct ruvm_write_header *header,
                     const struct ruvm_write_section *sections, unsigned n);

/* The same into the file_bytes of ruvm_write_layout() at `file`, of which sections may stand at
 * their places already. RUVM_ERR_UNSUPPORTED as above. */
int ruvm_write_around(uint8_t *file, const struct ruvm_write_header *header,
                      const struct ruvm_write_section *sections, unsigned n);

/* One TENS entry, RUVM_TENS_BYTES long. Offsets are from the start of the file. */
struct ruvm_write_tensor {
    uint8_t kind, layer, type; /* type: the byte of the entry, groups included */
    int8_t scale_exp;
    uint32_t rows, cols, row_bytes, data_off, data_bytes, scale_off, scale_bytes;
};
void ruvm_write_tensor(uint8_t entry[RUVM_TENS_BYTES], const struct ruvm_write_tensor *t);

#endif
