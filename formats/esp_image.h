/* Images that the ROM and the bootloaders of the ESP32 family load: segments of memory behind
 * a header, with a checksum and a SHA-256. Bytes only; which addresses a chip has is told.
 */
#ifndef RUVM_FORMATS_ESP_IMAGE_H
#define RUVM_FORMATS_ESP_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buffer.h"
#include "lib/base/status.h"

enum {
    RUVM_ESP_MAGIC = 0xE9,
    RUVM_ESP_HEADER_BYTES = 24,
    RUVM_ESP_SEGMENT_BYTES = 8,
    RUVM_ESP_MAX_SEGMENTS = 16,
    RUVM_ESP_HASH_BYTES = 32,
    RUVM_ESP_PAGE_BYTES = 64 << 10,
    RUVM_ESP_WP_NONE = 0xEE,
    RUVM_ESP_ANY_REVISION = 0xFFFF,
};
/* The code of the speed nibble is the same for all chips but the C6. */
enum ruvm_esp_mode { RUVM_ESP_QIO, RUVM_ESP_QOUT, RUVM_ESP_DIO, RUVM_ESP_DOUT };

struct ruvm_esp_header {
    uint8_t n_segments, mode;
    uint8_t speed, size; /* nibbles as they stand; size: 1 MiB << it */
    uint32_t entry;
    uint16_t chip_id, min_revision, max_revision;
    bool hash_appended;
};

struct ruvm_esp_segment {
    uint32_t address, bytes;
    const uint8_t *data;
    size_t off; /* of the data in the image */
};

struct ruvm_esp_image {
    struct ruvm_esp_header header;
    struct ruvm_esp_segment segments[RUVM_ESP_MAX_SEGMENTS];
    size_t bytes; /* of the image; what stands behind it is not its own */
};

/* Whether the bytes begin as an image does. */
bool ruvm_esp_image_probe(const void *data, size_t size);
/* Checksum and hash are checked. RUVM_ERR_CORRUPT; `name` begins the message. */
int ruvm_esp_image_read(struct ruvm_esp_image *image, const char *name, const void *data,
                        size_t size, struct ruvm_error *err);

/* Addresses through which a chip sees its flash; segments there are not loaded but mapped. */
struct ruvm_esp_windows {
    uint32_t drom_start, drom_end, irom_start, irom_end;
};
bool ruvm_esp_is_mapped(const struct ruvm_esp_windows *w, uint32_t address);

/* Appends an image; n_segments and hash_appended of the header are computed. A mapped segment
 * is placed where its address and its place in the image agree modulo a page, behind padding.
 * RUVM_ERR_UNSUPPORTED: too many segments, padding counted; RUVM_ERR_MEMORY. */
int ruvm_esp_image_write(struct ruvm_buffer *out, const struct ruvm_esp_header *header,
                         const struct ruvm_esp_segment *segments, unsigned n,
                         const struct ruvm_esp_windows *windows);

/* Puts another mode, speed and size of flash into the header of an image in memory, and the
 * hash that then belongs to it. */
void ruvm_esp_image_set_flash(uint8_t *data, const struct ruvm_esp_image *image, uint8_t mode,
                              uint8_t speed, uint8_t size);

#endif
