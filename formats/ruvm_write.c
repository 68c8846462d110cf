/* Writer of the RUVM image: places the sections, then fills header and table around them.
 *
 * Nothing but the arguments enters the file, so the same model gives the same
 * bytes on every machine. What the sections hold is the caller's business; the
 * reader checks it.
 */
#include "formats/ruvm_write.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/base/status.h"

enum { READERS_OF_V0_SEE_AT_MOST = 255 };

static size_t align_of(const struct ruvm_write_section *s)
{
    return memcmp(s->name, RUVM_SEC_WGTS, 4) == 0 ? RUVM_WGTS_ALIGN : RUVM_SEC_ALIGN;
}

size_t ruvm_write_layout(const struct ruvm_write_section *sections, unsigned n, size_t *offsets)
{
    size_t end = RUVM_HDR_BYTES + (size_t)n * RUVM_SEC_BYTES;
    for (unsigned i = 0; i < n; i++) {
        offsets[i] = ruvm_align_up(end, align_of(&sections[i]));
        end = offsets[i] + sections[i].size;
    }
    return end;
}

static void store_entry(uint8_t *entry, const struct ruvm_write_section *s, size_t off)
{
    memcpy(entry + RUVM_SEC_NAME, s->name, 4);
    ruvm_store_u32(entry + RUVM_SEC_OFF, (uint32_t)off);
    ruvm_store_u32(entry + RUVM_SEC_SIZE, (uint32_t)s->size);
    ruvm_store_u32(entry + RUVM_SEC_CRC, ruvm_crc32(0, s->data, s->size));
}

/* The section table must be there already: the header's CRC covers it. */
static void store_header(uint8_t *h, const struct ruvm_write_header *header, unsigned n,
                         size_t file_bytes)
{
    uint16_t seen =
        header->context < READERS_OF_V0_SEE_AT_MOST ? header->context : READERS_OF_V0_SEE_AT_MOST;
    memcpy(h + RUVM_HDR_MAGIC, RUVM_MAGIC, 4);
    ruvm_store_u16(h + RUVM_HDR_VOCAB, header->vocab);
    ruvm_store_u16(h + RUVM_HDR_DIM, header->dim);
    ruvm_store_u16(h + RUVM_HDR_HIDDEN, header->hidden);
    h[RUVM_HDR_LAYERS] = header->n_layers;
    h[RUVM_HDR_HEADS] = header->n_heads;
    h[RUVM_HDR_MAX_SEQ] = (uint8_t)seen;
    h[RUVM_HDR_QUANT] = header->quant;
    h[RUVM_HDR_VERSION] = RUVM_VERSION_V1;
    h[RUVM_HDR_KV_HEADS] = header->n_kv_heads;
    ruvm_store_u16(h + RUVM_HDR_CONTEXT, header->context);
    ruvm_store_u16(h + RUVM_HDR_N_SECTIONS, (uint16_t)n);
    ruvm_store_u32(h + RUVM_HDR_FLAGS, 0);
    ruvm_store_u32(h + RUVM_HDR_FILE_BYTES, (uint32_t)file_bytes);
    uint32_t crc = ruvm_crc32(0, h, RUVM_HDR_CRC);
    crc = ruvm_crc32(crc, h + RUVM_HDR_BYTES, (size_t)n * RUVM_SEC_BYTES);
    ruvm_store_u32(h + RUVM_HDR_CRC, crc);
}

static int check_limits(const struct ruvm_write_section *sections, unsigned n, size_t *offsets,
                        size_t *file_bytes)
{
    if (n > RUVM_MAX_SECTIONS)
        return RUVM_ERR_UNSUPPORTED;
    *file_bytes = ruvm_write_layout(sections, n, offsets);
    return *file_bytes > UINT32_MAX ? RUVM_ERR_UNSUPPORTED : RUVM_OK;
}

int ruvm_write_around(uint8_t *file, const struct ruvm_write_header *header,
                      const struct ruvm_write_section *sections, unsigned n)
{
    size_t offsets[RUVM_MAX_SECTIONS], file_bytes,
        end = RUVM_HDR_BYTES + (size_t)n * RUVM_SEC_BYTES;
    int rc = check_limits(sections, n, offsets, &file_bytes);
    if (rc != RUVM_OK)
        return rc;
    memset(file, 0, end);
    for (unsigned i = 0; i < n; i++) {
        uint8_t *place = file + offsets[i];
        memset(file + end, 0, offsets[i] - end);
        if (sections[i].size && sections[i].data != place)
            memcpy(place, sections[i].data, sections[i].size);
        end = offsets[i] + sections[i].size;
        store_entry(file + RUVM_HDR_BYTES + (size_t)i * RUVM_SEC_BYTES, &sections[i], offsets[i]);
    }
    store_header(file, header, n, file_bytes);
    return RUVM_OK;
}

int ruvm_write_image(struct ruvm_buffer *out, const struct ruvm_write_header *header,
                     const struct ruvm_write_section *sections, unsigned n)
{
    size_t offsets[RUVM_MAX_SECTIONS], file_bytes;
    int rc = check_limits(sections, n, offsets, &file_bytes);
    if (rc != RUVM_OK)
        return rc;
    uint8_t *image = ruvm_buffer_zeros(out, file_bytes);
    return image ? ruvm_write_around(image, header, sections, n) : RUVM_ERR_MEMORY;
}

void ruvm_write_tensor(uint8_t entry[RUVM_TENS_BYTES], const struct ruvm_write_tensor *t)
{
    entry[RUVM_TENS_KIND] = t->kind;
    entry[RUVM_TENS_LAYER] = t->layer;
    entry[RUVM_TENS_TYPE] = t->type;
    entry[RUVM_TENS_SCALE_EXP] = (uint8_t)t->scale_exp;
    ruvm_store_u32(entry + RUVM_TENS_ROWS, t->rows);
    ruvm_store_u32(entry + RUVM_TENS_COLS, t->cols);
    ruvm_store_u32(entry + RUVM_TENS_ROW_BYTES, t->row_bytes);
    ruvm_store_u32(entry + RUVM_TENS_DATA_OFF, t->data_off);
    ruvm_store_u32(entry + RUVM_TENS_DATA_BYTES, t->data_bytes);
    ruvm_store_u32(entry + RUVM_TENS_SCALE_OFF, t->scale_off);
    ruvm_store_u32(entry + RUVM_TENS_SCALE_BYTES, t->scale_bytes);
}
