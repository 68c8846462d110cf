/* Programs for a flash: an ELF file becomes an image, an image is checked and told its flash.
 *
 * A program for another chip is refused here, by its header or its machine: a chip would
 * only say nothing.
 */
#include <string.h>

#include "formats/elf32.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/bundle/flash_parts.h"

enum { DIRECT_MAGIC = 0xAEDB041D };

static const char *const modes[] = {"qio", "qout", "dio", "dout"};
static const struct {
    const char *name;
    uint8_t code;
} speeds[] = {{"40m", 0}, {"26m", 1}, {"20m", 2}, {"80m", 15}};

static struct ruvm_esp_windows windows_of(const struct ruvm_device *d)
{
    return (struct ruvm_esp_windows){d->drom_start, d->drom_end, d->irom_start, d->irom_end};
}

/* The nibbles of a header from the words of a user; `own` is what stands there. */
static uint8_t mode_of(const char *word, uint8_t own)
{
    for (uint8_t i = 0; word && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i], word) == 0)
            return i;
    return own;
}

/* The C6 divides another clock: esptool writes 0 for 80 and for 40 MHz. */
static uint8_t speed_of(const struct ruvm_device *d, const char *word, uint8_t own)
{
    bool c6 = strcmp(d->name, "esp32c6") == 0;
    for (size_t i = 0; word && i < sizeof speeds / sizeof *speeds; i++)
        if (strcmp(speeds[i].name, word) == 0)
            return c6 && speeds[i].code == 15 ? 0 : speeds[i].code;
    return own;
}

static uint8_t size_code(uint32_t flash_bytes)
{
    uint8_t code = 0;
    while ((1u << 20) << code < flash_bytes)
        code++;
    return code;
}

/* ---- direct boot ---------------------------------------------------------------- */

static bool is_direct(const uint8_t *data, size_t n)
{
    return n >= 8 && ruvm_load_u32(data) == DIRECT_MAGIC && ruvm_load_u32(data + 4) == DIRECT_MAGIC;
}

/* Of a segment whose address to load from is where flash is shown, its place in flash. */
static bool place_of(const struct ruvm_device *d, const struct ruvm_elf32_segment *s, uint32_t *off)
{
    bool code = s->address >= d->irom_start && s->address < d->irom_end;
    bool data = s->address >= d->drom_start && s->address < d->drom_end;
    *off = s->address - (code ? d->irom_start : d->drom_start);
    return code || data;
}

static bool elf_is_direct(const struct ruvm_device *d, const struct ruvm_elf32 *elf)
{
    uint32_t off;
    for (unsigned i = 0; i < elf->n_segments; i++)
        if (place_of(d, &elf->segments[i], &off) && off == 0 &&
            is_direct(elf->segments[i].data, elf->segments[i].bytes))
            return true;
    return false;
}

/* The flash as the program wants it, from its beginning on. */
static int from_direct_elf(struct ruvm_flash_program *p, const struct ruvm_flash_job *j,
                           const char *path, const struct ruvm_elf32 *elf)
{
    uint32_t off, end = 0;
    for (unsigned i = 0; i < elf->n_segments; i++) {
        const struct ruvm_elf32_segment *s = &elf->segments[i];
        if (!place_of(j->device, s, &off))
            return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                             "%s: has a segment to be loaded from 0x%x, which is not flash: for "
                             "direct boot give it an address there to be copied from",
                             path, (unsigned)s->address);
        end = off + s->bytes > end ? off + s->bytes : end;
    }
    uint8_t *flash = ruvm_buffer_zeros(&p->bytes, ruvm_align_up(end, 16));
    if (!flash)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "%s: memory is short", path);
    memset(flash, 0xFF, p->bytes.size);
    for (unsigned i = 0; i < elf->n_segments; i++) {
        place_of(j->device, &elf->segments[i], &off);
        memcpy(flash + off, elf->segments[i].data, elf->segments[i].bytes);
    }
    return RUVM_OK;
}

/* Where it goes on behind the partition table, for which it must leave room. */
static int find_body(struct ruvm_flash_program *p, const struct ruvm_flash_job *j, const char *path)
{
    const uint8_t *d = p->bytes.data;
    size_t at = j->table_off, n = p->bytes.size;
    if (!j->device->direct_boot)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is for direct boot, which the ROM of the %s does not have", path,
                         j->device->family);
    if (n <= j->table_off)
        return RUVM_OK;
    while (at < n && d[at] == 0xFF)
        at++;
    if (at < j->table_off + RUVM_ESP_TABLE_SECTOR)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: reaches over the partition table at 0x%x: link it so that the sector "
                         "there is free, or put the table elsewhere (--table-offset)",
                         path, (unsigned)j->table_off);
    p->body_off = (uint32_t)(at / RUVM_DEVICES_SECTOR_BYTES * RUVM_DEVICES_SECTOR_BYTES);
    p->mapped_bytes = (uint32_t)ruvm_align_up(n, RUVM_DEVICES_PAGE_BYTES);
    return RUVM_OK;
}

/* ---- ELF ------------------------------------------------------------------------ */

static int check_machine(const struct ruvm_flash_job *j, const char *path,
                         const struct ruvm_elf32 *elf)
{
    bool riscv = j->device->core[0] == 'R';
    uint16_t wanted = riscv ? RUVM_ELF32_RISCV : RUVM_ELF32_XTENSA;
    if (elf->machine == wanted)
        return RUVM_OK;
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "%s: is a program for %s, but the %s is %s: build it for that chip", path,
                     elf->machine == RUVM_ELF32_RISCV    ? "RISC-V"
                     : elf->machine == RUVM_ELF32_XTENSA ? "Xtensa"
                                                         : "another machine",
                     j->device->family, j->device->core);
}

/* Neighbours that follow each other without a gap are one segment: there are few. */
static unsigned join(struct ruvm_esp_segment *out, const struct ruvm_elf32 *elf)
{
    unsigned n = 0;
    for (unsigned i = 0; i < elf->n_segments; i++) {
        const struct ruvm_elf32_segment *s = &elf->segments[i];
        struct ruvm_esp_segment *last = n ? &out[n - 1] : NULL;
        if (last && last->address + last->bytes == s->address &&
            last->data + last->bytes == s->data)
            last->bytes += s->bytes;
        else
            out[n++] = (struct ruvm_esp_segment){
                .address = s->address, .bytes = s->bytes, .data = s->data};
    }
    return n;
}

static int from_elf(struct ruvm_flash_program *p, const struct ruvm_flash_job *j, const char *path,
                    const struct ruvm_map *map)
{
    struct ruvm_elf32 elf;
    struct ruvm_esp_segment segments[RUVM_ELF32_MAX_SEGMENTS];
    struct ruvm_esp_windows windows = windows_of(j->device);
    int rc = ruvm_elf32_read(&elf, path, map->data, map->size, j->err);
    if (rc == RUVM_OK)
        rc = check_machine(j, path, &elf);
    if (rc != RUVM_OK)
        return rc;
    p->is_direct = elf_is_direct(j->device, &elf);
    if (p->is_direct)
        return from_direct_elf(p, j, path, &elf);
    const struct ruvm_esp_header header = {
        .mode = RUVM_ESP_DIO,
        .size = size_code(j->flash_bytes),
        .entry = elf.entry,
        .chip_id = j->device->chip_id,
        .max_revision = RUVM_ESP_ANY_REVISION,
    };
    rc = ruvm_esp_image_write(&p->bytes, &header, segments, join(segments, &elf), &windows);
    if (rc == RUVM_ERR_UNSUPPORTED)
        return ruvm_fail(j->err, rc,
                         "%s: has more than %d segments: let the linker put them together", path,
                         RUVM_ESP_MAX_SEGMENTS);
    return rc == RUVM_OK ? rc : ruvm_fail(j->err, rc, "%s: memory is short", path);
}

/* ---- images --------------------------------------------------------------------- */

static int check_chip(const struct ruvm_flash_job *j, const char *path,
                      const struct ruvm_esp_image *image)
{
    const struct ruvm_device *other = ruvm_devices_by_id(image->header.chip_id);
    if (other == j->device)
        return RUVM_OK;
    if (other)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is an image for the %s, not for the %s: give one for this chip, or "
                         "--chip %s",
                         path, other->family, j->device->family, other->name);
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "%s: is an image for a chip with the number %u, not for the %s (%u)", path,
                     image->header.chip_id, j->device->family, j->device->chip_id);
}

/* Chips of one kind of processor differ in where their memory is. */
static int check_places(const struct ruvm_flash_job *j, const char *path,
                        const struct ruvm_esp_image *image)
{
    for (unsigned i = 0; i < image->header.n_segments; i++) {
        const struct ruvm_esp_segment *s = &image->segments[i];
        if (s->address && s->bytes && !ruvm_devices_has_place(j->device, s->address, s->bytes))
            return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                             "%s: has %u bytes for 0x%x, where the %s has no memory: build it for "
                             "that chip",
                             path, (unsigned)s->bytes, (unsigned)s->address, j->device->family);
    }
    return RUVM_OK;
}

static uint32_t mapped_bytes(const struct ruvm_flash_job *j, const struct ruvm_esp_image *image)
{
    struct ruvm_esp_windows windows = windows_of(j->device);
    uint64_t pages = 0;
    for (unsigned i = 0; i < image->header.n_segments; i++) {
        const struct ruvm_esp_segment *s = &image->segments[i];
        if (s->bytes && ruvm_esp_is_mapped(&windows, s->address))
            pages +=
                (s->address % RUVM_ESP_PAGE_BYTES + (uint64_t)s->bytes - 1) / RUVM_ESP_PAGE_BYTES +
                1;
    }
    return (uint32_t)(pages * RUVM_ESP_PAGE_BYTES);
}

static int finish_image(struct ruvm_flash_program *p, const struct ruvm_flash_job *j,
                        const char *path)
{
    const struct ruvm_esp_header *h = &p->image.header;
    int rc = ruvm_esp_image_read(&p->image, path, p->bytes.data, p->bytes.size, j->err);
    if (rc == RUVM_OK)
        rc = check_chip(j, path, &p->image);
    if (rc == RUVM_OK)
        rc = check_places(j, path, &p->image);
    if (rc != RUVM_OK)
        return rc;
    p->bytes.size = p->image.bytes; /* what stands behind is the file's, not the image's */
    p->mapped_bytes = mapped_bytes(j, &p->image);
    ruvm_esp_image_set_flash(p->bytes.data, &p->image, mode_of(j->o->mode, h->mode),
                             speed_of(j->device, j->o->speed, h->speed), size_code(j->flash_bytes));
    return ruvm_esp_image_read(&p->image, path, p->bytes.data, p->bytes.size, j->err);
}

static int from_file(struct ruvm_flash_program *p, const struct ruvm_flash_job *j, const char *path,
                     const struct ruvm_map *map)
{
    if (ruvm_elf32_probe(map->data, map->size)) {
        int rc = from_elf(p, j, path, map);
        if (rc != RUVM_OK)
            return rc;
        return p->is_direct ? find_body(p, j, path) : finish_image(p, j, path);
    }
    p->is_direct = is_direct(map->data, map->size);
    if (!p->is_direct && !ruvm_esp_image_probe(map->data, map->size))
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is neither an ELF file nor an image for a chip (which begins with "
                         "0xE9)",
                         path);
    ruvm_buffer_bytes(&p->bytes, map->data, map->size);
    if (!ruvm_buffer_ok(&p->bytes))
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "%s: memory is short", path);
    return p->is_direct ? find_body(p, j, path) : finish_image(p, j, path);
}

int ruvm_flash_program_open(struct ruvm_flash_program *p, const struct ruvm_flash_job *j,
                            const char *path)
{
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, path, j->err);
    if (rc != RUVM_OK)
        return rc;
    rc = from_file(p, j, path, &map);
    ruvm_file_unmap(&map);
    return rc;
}
