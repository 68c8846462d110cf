/* Images of the ESP32 family: read with every check that the ROM and the bootloaders make,
 * and written so that all of them accept.
 *
 * The order is fixed by the loaders: header, segments, zeros up to one byte before a multiple
 * of 16, the checksum (0xEF and all bytes of the segments, exclusive-or), the SHA-256 of all.
 */
#include "formats/esp_image.h"

#include <nettle/sha2.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"

enum {
    AT_SEGMENTS = 1,
    AT_MODE = 2,
    AT_FLASH = 3, /* speed in the low, size in the high nibble */
    AT_ENTRY = 4,
    AT_WP = 8,
    AT_CHIP = 12,
    AT_MIN_REVISION = 15,
    AT_MAX_REVISION = 17,
    AT_HASH = 23,
    CHECKSUM_SEED = 0xEF,
    CHECKSUM_ALIGN = 16,
};

bool ruvm_esp_image_probe(const void *data, size_t size)
{
    const uint8_t *p = data;
    return size >= RUVM_ESP_HEADER_BYTES && p[0] == RUVM_ESP_MAGIC;
}

static void sha256(uint8_t *digest, const uint8_t *data, size_t n)
{
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, n, data);
    sha256_digest(&sha, RUVM_ESP_HASH_BYTES, digest);
}

/* ---- reading ------------------------------------------------------------------ */

static void read_header(struct ruvm_esp_header *h, const uint8_t *p)
{
    *h = (struct ruvm_esp_header){
        .n_segments = p[AT_SEGMENTS],
        .mode = p[AT_MODE],
        .speed = p[AT_FLASH] & 15,
        .size = p[AT_FLASH] >> 4,
        .entry = ruvm_load_u32(p + AT_ENTRY),
        .chip_id = ruvm_load_u16(p + AT_CHIP),
        .min_revision = ruvm_load_u16(p + AT_MIN_REVISION),
        .max_revision = ruvm_load_u16(p + AT_MAX_REVISION),
        .hash_appended = p[AT_HASH] != 0,
    };
}

static int read_segments(struct ruvm_esp_image *image, struct ruvm_reader *r, const char *name,
                         uint8_t *sum, struct ruvm_error *err)
{
    for (unsigned i = 0; i < image->header.n_segments; i++) {
        struct ruvm_esp_segment *s = &image->segments[i];
        size_t at = r->off;
        s->address = ruvm_reader_u32(r);
        s->bytes = ruvm_reader_u32(r);
        s->off = r->off;
        s->data = ruvm_reader_take(r, s->bytes);
        if (r->failed)
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "%s: segment %u at byte 0x%zx goes past the end of the file; build "
                             "or copy it again",
                             name, i, at);
        if (s->bytes % 4)
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "%s: segment %u at byte 0x%zx has %u bytes, which is no multiple of "
                             "4: the chip would refuse it",
                             name, i, at, (unsigned)s->bytes);
        for (uint32_t k = 0; k < s->bytes; k++)
            *sum ^= s->data[k];
    }
    return RUVM_OK;
}

static int check_end(struct ruvm_esp_image *image, const char *name, const uint8_t *data,
                     size_t size, size_t end, uint8_t sum, struct ruvm_error *err)
{
    uint8_t digest[RUVM_ESP_HASH_BYTES];
    size_t checksum = ruvm_align_up(end + 1, CHECKSUM_ALIGN) - 1;
    image->bytes = checksum + 1 + (image->header.hash_appended ? RUVM_ESP_HASH_BYTES : 0);
    if (image->bytes > size)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: has %zu bytes, but its header and segments make %zu; build or copy "
                         "it again",
                         name, size, image->bytes);
    if (data[checksum] != sum)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: checksum at byte 0x%zx is 0x%02x, its segments make 0x%02x; build or "
                         "copy it again",
                         name, checksum, data[checksum], sum);
    sha256(digest, data, checksum + 1);
    if (image->header.hash_appended && memcmp(digest, data + checksum + 1, sizeof digest) != 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: its SHA-256 at byte 0x%zx is not that of its bytes; build or copy "
                         "it again",
                         name, checksum + 1);
    return RUVM_OK;
}

int ruvm_esp_image_read(struct ruvm_esp_image *image, const char *name, const void *data,
                        size_t size, struct ruvm_error *err)
{
    struct ruvm_reader r = ruvm_reader_over(data, size);
    uint8_t sum = CHECKSUM_SEED;
    *image = (struct ruvm_esp_image){0};
    if (!ruvm_esp_image_probe(data, size))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: is no image for a chip (it does not begin with 0xE9)", name);
    read_header(&image->header, ruvm_reader_take(&r, RUVM_ESP_HEADER_BYTES));
    if (image->header.n_segments == 0 || image->header.n_segments > RUVM_ESP_MAX_SEGMENTS)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: byte 1 says %u segments; a chip takes 1 to %d",
                         name, image->header.n_segments, RUVM_ESP_MAX_SEGMENTS);
    int rc = read_segments(image, &r, name, &sum, err);
    return rc == RUVM_OK ? check_end(image, name, data, size, r.off, sum, err) : rc;
}

/* ---- writing ------------------------------------------------------------------ */

bool ruvm_esp_is_mapped(const struct ruvm_esp_windows *w, uint32_t address)
{
    return (address >= w->drom_start && address < w->drom_end) ||
           (address >= w->irom_start && address < w->irom_end);
}

/* An image on its way. Segments of memory may be written in pieces: what stands before a
 * mapped segment is filled with them as far as they go. */
struct writing {
    struct ruvm_buffer *out;
    size_t start; /* of the image in out */
    unsigned n_segments;
    uint8_t sum;
};

static void put_segment(struct writing *w, uint32_t address, const uint8_t *data, uint32_t bytes)
{
    static const uint8_t zeros[4];
    ruvm_buffer_u32(w->out, address);
    ruvm_buffer_u32(w->out, (bytes + 3) & ~3u);
    if (data)
        ruvm_buffer_bytes(w->out, data, bytes);
    else
        ruvm_buffer_zeros(w->out, bytes);
    ruvm_buffer_bytes(w->out, zeros, (4 - bytes % 4) % 4);
    for (uint32_t i = 0; data && i < bytes; i++)
        w->sum ^= data[i];
    w->n_segments++;
}

/* Bytes, header of a filling segment included, until a segment's data would stand where it
 * agrees with its address. */
static uint32_t gap_before(const struct writing *w, uint32_t address)
{
    size_t data = w->out->size - w->start + RUVM_ESP_SEGMENT_BYTES;
    return (address - (uint32_t)data) % RUVM_ESP_PAGE_BYTES;
}

/* Of the next segment of memory as much as there is room for, all when room is 0. */
static void put_piece(struct writing *w, struct ruvm_esp_segment *s, uint32_t room)
{
    uint32_t bytes = room && room < s->bytes ? room : s->bytes;
    put_segment(w, s->address, s->data, bytes);
    s->address += bytes;
    s->data += bytes;
    s->bytes -= bytes;
}

/* Segments with the address 0 are skipped by loaders. */
static void fill_gap(struct writing *w, uint32_t address, struct ruvm_esp_segment *memory,
                     unsigned n)
{
    uint32_t gap;
    for (unsigned i = 0; i < n; i++)
        while (memory[i].bytes && (gap = gap_before(w, address)) > RUVM_ESP_SEGMENT_BYTES)
            put_piece(w, &memory[i], gap - RUVM_ESP_SEGMENT_BYTES);
    gap = gap_before(w, address);
    if (gap && gap < RUVM_ESP_SEGMENT_BYTES)
        gap += RUVM_ESP_PAGE_BYTES;
    if (gap)
        put_segment(w, 0, NULL, gap - RUVM_ESP_SEGMENT_BYTES);
}

static void put_segments(struct writing *w, const struct ruvm_esp_segment *segments, unsigned n,
                         const struct ruvm_esp_windows *windows)
{
    struct ruvm_esp_segment memory[RUVM_ESP_MAX_SEGMENTS];
    unsigned n_memory = 0;
    for (unsigned i = 0; i < n; i++)
        if (!ruvm_esp_is_mapped(windows, segments[i].address))
            memory[n_memory++] = segments[i];
    for (unsigned i = 0; i < n; i++)
        if (ruvm_esp_is_mapped(windows, segments[i].address)) {
            fill_gap(w, segments[i].address, memory, n_memory);
            put_segment(w, segments[i].address, segments[i].data, segments[i].bytes);
        }
    for (unsigned i = 0; i < n_memory; i++)
        if (memory[i].bytes)
            put_piece(w, &memory[i], 0);
}

static void put_header(uint8_t *p, const struct ruvm_esp_header *h, unsigned n_segments)
{
    p[0] = RUVM_ESP_MAGIC;
    p[AT_SEGMENTS] = (uint8_t)n_segments;
    p[AT_MODE] = h->mode;
    p[AT_FLASH] = (uint8_t)(h->speed | h->size << 4);
    ruvm_store_u32(p + AT_ENTRY, h->entry);
    p[AT_WP] = RUVM_ESP_WP_NONE;
    ruvm_store_u16(p + AT_CHIP, h->chip_id);
    ruvm_store_u16(p + AT_MIN_REVISION, h->min_revision);
    ruvm_store_u16(p + AT_MAX_REVISION, h->max_revision);
    p[AT_HASH] = 1;
}

int ruvm_esp_image_write(struct ruvm_buffer *out, const struct ruvm_esp_header *header,
                         const struct ruvm_esp_segment *segments, unsigned n,
                         const struct ruvm_esp_windows *windows)
{
    uint8_t digest[RUVM_ESP_HASH_BYTES];
    struct writing w = {.out = out, .start = out->size, .sum = CHECKSUM_SEED};
    if (n > RUVM_ESP_MAX_SEGMENTS)
        return RUVM_ERR_UNSUPPORTED;
    ruvm_buffer_zeros(out, RUVM_ESP_HEADER_BYTES);
    put_segments(&w, segments, n, windows);
    if (w.n_segments > RUVM_ESP_MAX_SEGMENTS)
        return RUVM_ERR_UNSUPPORTED;
    ruvm_buffer_zeros(out, CHECKSUM_ALIGN - 1 - (out->size - w.start) % CHECKSUM_ALIGN);
    ruvm_buffer_u8(out, w.sum);
    if (!ruvm_buffer_ok(out))
        return RUVM_ERR_MEMORY;
    put_header(out->data + w.start, header, w.n_segments);
    sha256(digest, out->data + w.start, out->size - w.start);
    ruvm_buffer_bytes(out, digest, sizeof digest);
    return ruvm_buffer_ok(out) ? RUVM_OK : RUVM_ERR_MEMORY;
}

void ruvm_esp_image_set_flash(uint8_t *data, const struct ruvm_esp_image *image, uint8_t mode,
                              uint8_t speed, uint8_t size)
{
    data[AT_MODE] = mode;
    data[AT_FLASH] = (uint8_t)(speed | size << 4);
    if (image->header.hash_appended) {
        size_t n = image->bytes - RUVM_ESP_HASH_BYTES;
        sha256(data + n, data, n);
    }
}
