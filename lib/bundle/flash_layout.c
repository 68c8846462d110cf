/* Where everything stands in a flash: the partition table, given or made, and the parts in it.
 *
 * Before anything is placed, the table is checked as a whole; then each part must fit where
 * it goes. A pack must also fit the window through which the chip sees its flash, beside
 * what the program maps for itself.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/base/error.h"
#include "lib/bundle/flash_parts.h"

enum {
    PAGE = RUVM_DEVICES_PAGE_BYTES,
    SECTOR = RUVM_DEVICES_SECTOR_BYTES,
    NVS_BYTES = 0x5000,
    OTADATA_BYTES = 0x2000,
    SELECT_STATE = 24, /* in a record of which slot is started: sequence, label, state, CRC */
    SELECT_CRC = 28,
    OTHER_BOOT_OFF = 0x1000, /* where some chips look for an image that others have at 0 */
};

static const char *label_of(const struct ruvm_flash_job *j)
{
    return j->o->label ? j->o->label : "ruvm";
}

/* ---- parts ---------------------------------------------------------------------- */

static void put(struct ruvm_flash_job *j, const char *name, const char *file, uint32_t off,
                const uint8_t *data, size_t bytes)
{
    unsigned i = j->n_parts++;
    for (; i > 0 && j->parts[i - 1].off > off; i--)
        j->parts[i] = j->parts[i - 1];
    struct ruvm_flash_part *p = &j->parts[i];
    *p = (struct ruvm_flash_part){.file = file, .off = off, .data = data, .bytes = bytes};
    size_t n = strlen(name) < sizeof p->name - 1 ? strlen(name) : sizeof p->name - 1;
    memcpy(p->name, name, n);
}

static int fits(const struct ruvm_flash_job *j, const char *path, size_t bytes,
                const struct ruvm_esp_partition *p, const char *advice)
{
    if (bytes <= p->bytes)
        return RUVM_OK;
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "%s: has %zu bytes, the partition \"%s\" %u: %zu too many; %s", path, bytes,
                     p->label, (unsigned)p->bytes, bytes - p->bytes, advice);
}

/* ---- the table ------------------------------------------------------------------- */

static void add(struct ruvm_esp_table *t, const char *label, uint8_t type, uint8_t subtype,
                uint32_t off, uint32_t bytes)
{
    struct ruvm_esp_partition *p = &t->p[t->n++];
    *p = (struct ruvm_esp_partition){.type = type, .subtype = subtype, .off = off, .bytes = bytes};
    size_t n = strlen(label) < RUVM_ESP_LABEL_BYTES - 1 ? strlen(label) : RUVM_ESP_LABEL_BYTES - 1;
    memcpy(p->label, label, n);
}

static uint32_t pages(size_t bytes)
{
    return (uint32_t)ruvm_align_up(bytes, PAGE);
}

/* Behind the table: with a second stage its own small partitions and the slots, then the pack;
 * without one there is nothing but the pack. */
static void make_table(struct ruvm_flash_job *j)
{
    struct ruvm_esp_table *t = &j->table;
    uint32_t at = j->table_off + RUVM_ESP_TABLE_SECTOR, app = pages(j->firmware.bytes.size);
    if (j->firmware.body_off) {
        uint32_t body = j->firmware.body_off;
        add(t, "program", RUVM_ESP_DATA, RUVM_ESP_PROGRAM, body,
            pages(j->firmware.bytes.size) - body);
        at = pages(j->firmware.bytes.size);
    }
    if (j->bootloader_path) {
        add(t, "nvs", RUVM_ESP_DATA, RUVM_ESP_NVS, at, NVS_BYTES);
        if (j->o->ota)
            add(t, "otadata", RUVM_ESP_DATA, RUVM_ESP_DATA_OTA, at + NVS_BYTES, OTADATA_BYTES);
        at = pages(at + NVS_BYTES + OTADATA_BYTES);
        if (j->o->ota) {
            add(t, "ota_0", RUVM_ESP_APP, RUVM_ESP_OTA_0, at, app);
            add(t, "ota_1", RUVM_ESP_APP, RUVM_ESP_OTA_0 + 1, at + app, app);
            at += app;
        } else {
            add(t, "factory", RUVM_ESP_APP, RUVM_ESP_FACTORY, at, app);
        }
        at += app;
    }
    at = pages(at);
    uint32_t room =
        j->o->pack_bytes ? (uint32_t)ruvm_align_up(j->o->pack_bytes, SECTOR) : pages(j->pack.size);
    add(t, label_of(j), RUVM_ESP_DATA, RUVM_ESP_PACK, at, room);
}

static int read_table(struct ruvm_flash_job *j)
{
    struct ruvm_map map;
    const char *path = j->o->partitions;
    int rc = ruvm_file_map(&map, path, j->err);
    if (rc != RUVM_OK)
        return rc;
    if (map.size >= 2 && map.data[0] == 0xAA && map.data[1] == 0x50)
        rc = ruvm_esp_table_read(&j->table, path, map.data, map.size, j->err);
    else
        rc = ruvm_esp_table_parse(&j->table, path, map.data, map.size,
                                  j->table_off + RUVM_ESP_TABLE_SECTOR, j->err);
    ruvm_file_unmap(&map);
    return rc;
}

static int check_table(const struct ruvm_flash_job *j, const char *name)
{
    const struct ruvm_esp_limits limits = {.table_off = j->table_off,
                                           .flash_bytes = j->flash_bytes};
    return ruvm_esp_table_check(&j->table, name, &limits, j->err);
}

/* ---- the pack -------------------------------------------------------------------- */

/* Firmware that mounts a file system formats what it does not know as one. */
static int check_kind(const struct ruvm_flash_job *j, const struct ruvm_esp_partition *p)
{
    char type[16], subtype[16];
    bool reserved = p->type == RUVM_ESP_DATA &&
                    (p->subtype < 0x40 || (p->subtype >= 0x80 && p->subtype <= 0x83));
    if (p->type != RUVM_ESP_APP && !reserved && p->type >= RUVM_ESP_DATA)
        return RUVM_OK;
    ruvm_esp_type_name(type, p->type);
    ruvm_esp_subtype_name(subtype, p->type, p->subtype);
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "the partition \"%s\" is %s, %s: firmware that uses it so would overwrite or "
                     "format the pack; make it data, 0x40",
                     p->label, type, subtype);
}

/* Pages that must be seen at once: the pack's, and the program's where both share a window; the
 * firmware of ruvm has a window of its own for the pack. */
static int check_window(struct ruvm_flash_job *j, const struct ruvm_esp_partition *p)
{
    bool own = j->is_ours && j->device->pack_window_bytes;
    uint64_t window = own ? j->device->pack_window_bytes : ruvm_devices_window(j->device);
    uint64_t pack = p->off % PAGE + (uint64_t)j->pack.size;
    uint64_t mapped = (pack + PAGE - 1) / PAGE * PAGE + (own ? 0 : j->firmware.mapped_bytes);
    j->r->window_bytes = window;
    j->r->mapped_bytes = mapped;
    if (mapped <= window)
        return RUVM_OK;
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "%s: %s%llu bytes would have to be mapped, the window of the %s has %llu: a "
                     "smaller model, or fewer bits (ruvm quantize --target %s)",
                     j->o->pack, own ? "" : "with the program ", (unsigned long long)mapped,
                     j->device->family, (unsigned long long)window, j->device->name);
}

static int put_pack(struct ruvm_flash_job *j)
{
    const struct ruvm_esp_partition *p = ruvm_esp_table_find(&j->table, label_of(j));
    if (!p)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "the partition table has no \"%s\": add the line \"%s,data,0x40,,0x%x\", "
                         "or name another one (--partition)",
                         label_of(j), label_of(j), (unsigned)pages(j->pack.size));
    int rc = check_kind(j, p);
    if (rc == RUVM_OK)
        rc = fits(j, j->o->pack, j->pack.size, p,
                  j->o->partitions || ruvm_flash_keeps_table(j)
                      ? "make the partition larger, or the model smaller"
                      : "give more room (--pack-size)");
    if (rc == RUVM_OK)
        rc = check_window(j, p);
    if (rc != RUVM_OK)
        return rc;
    put(j, p->label, "ruvm.rpak", p->off, j->pack.data, j->pack.size);
    return RUVM_OK;
}

/* ---- programs -------------------------------------------------------------------- */

/* Which slot is started: the first. Two records in a sector each, the second one empty. */
static void put_otadata(struct ruvm_flash_job *j, const struct ruvm_esp_partition *p)
{
    uint8_t *d = ruvm_buffer_zeros(&j->otadata, OTADATA_BYTES);
    if (!d)
        return;
    memset(d, 0xFF, OTADATA_BYTES);
    ruvm_store_u32(d, 1);
    ruvm_store_u32(d + SELECT_CRC, ruvm_crc32(UINT32_MAX, d, 4));
    put(j, p->label, "otadata.bin", p->off, j->otadata.data, j->otadata.size);
}

/* The application in every slot there is, so that an update that fails has where to go back. */
static int put_applications(struct ruvm_flash_job *j)
{
    unsigned n = 0;
    for (unsigned i = 0; i < j->table.n; i++) {
        const struct ruvm_esp_partition *p = &j->table.p[i];
        bool is_slot = p->type == RUVM_ESP_APP && p->subtype <= RUVM_ESP_OTA_0 + 1;
        if (p->type == RUVM_ESP_DATA && p->subtype == RUVM_ESP_DATA_OTA)
            put_otadata(j, p);
        if (!is_slot)
            continue;
        int rc = fits(j, j->firmware_path, j->firmware.bytes.size, p, "make the partition larger");
        if (rc != RUVM_OK)
            return rc;
        put(j, p->label, "firmware.bin", p->off, j->firmware.bytes.data, j->firmware.bytes.size);
        n++;
    }
    return n ? RUVM_OK
             : ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "the partition table has no place for the application: add the line "
                         "\"factory,app,factory,,0x%x\"",
                         (unsigned)pages(j->firmware.bytes.size));
}

/* What the ROM loads must not need a second stage, and end before the table. */
static int put_first(struct ruvm_flash_job *j, const char *path, const char *name, const char *file,
                     const struct ruvm_flash_program *p)
{
    uint32_t off = p->is_direct ? 0 : j->device->boot_off;
    if (p->mapped_bytes)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: has segments in the window of mapped flash, which the ROM cannot "
                         "load: give a second stage (--bootloader)",
                         path);
    if (off + p->bytes.size > j->table_off)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: has %zu bytes from 0x%x on and would reach over the partition table "
                         "at 0x%x: make it smaller, or give a second stage (--bootloader)",
                         path, p->bytes.size, (unsigned)off, (unsigned)j->table_off);
    put(j, name, file, off, p->bytes.data, p->bytes.size);
    return RUVM_OK;
}

/* A program for direct boot on both sides of the table; what is behind it lies in one partition,
 * or where there is none. */
static int put_direct(struct ruvm_flash_job *j)
{
    const struct ruvm_flash_program *p = &j->firmware;
    uint32_t end = (uint32_t)p->bytes.size;
    for (unsigned i = 0; i < j->table.n; i++) {
        const struct ruvm_esp_partition *q = &j->table.p[i];
        bool apart = q->off >= end || q->off + q->bytes <= p->body_off;
        bool around =
            q->off <= p->body_off && q->off + q->bytes >= end && strcmp(q->label, label_of(j)) != 0;
        if (!apart && !around)
            return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                             "the partition \"%s\" at 0x%x lies over the program, which has 0x%x "
                             "to 0x%x: give the program a partition of its own, "
                             "\"program,data,0x41,0x%x,0x%x\"",
                             q->label, (unsigned)q->off, (unsigned)p->body_off, (unsigned)end,
                             (unsigned)p->body_off, (unsigned)(pages(end) - p->body_off));
    }
    size_t head = j->table_off;
    while (head > 0 && p->bytes.data[head - 1] == 0xFF)
        head--;
    put(j, "direct boot", "direct-boot.bin", 0, p->bytes.data, ruvm_align_up(head, 16));
    put(j, "program", "program.bin", p->body_off, p->bytes.data + p->body_off, end - p->body_off);
    return RUVM_OK;
}

static int put_programs(struct ruvm_flash_job *j)
{
    if (j->firmware.body_off)
        return put_direct(j);
    if (!j->bootloader_path)
        return put_first(j, j->firmware_path, "firmware", "firmware.bin", &j->firmware);
    if (j->firmware.is_direct)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is for direct boot and needs no --bootloader", j->firmware_path);
    int rc = put_first(j, j->bootloader_path, "bootloader", "bootloader.bin", &j->bootloader);
    return rc == RUVM_OK ? put_applications(j) : rc;
}

/* ---- the whole -------------------------------------------------------------------- */

static int check_partitions_free(const struct ruvm_flash_job *j)
{
    const struct ruvm_flash_part *first = &j->parts[0];
    for (unsigned i = 0; i < j->table.n; i++) {
        const struct ruvm_esp_partition *p = &j->table.p[i];
        if (p->off < first->off + first->bytes && p->off + p->bytes > first->off)
            return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                             "the partition \"%s\" at 0x%x lies over the %s, which ends at 0x%zx",
                             p->label, (unsigned)p->off, first->name, first->off + first->bytes);
    }
    return RUVM_OK;
}

int ruvm_flash_layout(struct ruvm_flash_job *j)
{
    int rc = RUVM_OK;
    if (j->o->partitions)
        rc = read_table(j);
    else
        make_table(j);
    if (rc == RUVM_OK)
        rc = check_table(j, j->o->partitions ? j->o->partitions : "the partition table");
    if (rc == RUVM_OK)
        rc = put_programs(j);
    if (rc == RUVM_OK)
        rc = check_partitions_free(j);
    if (rc != RUVM_OK)
        return rc;
    ruvm_esp_table_write(&j->table_bytes, &j->table);
    put(j, "partition table", "partition-table.bin", j->table_off, j->table_bytes.data,
        j->table_bytes.size);
    rc = put_pack(j);
    if (rc == RUVM_OK && !(ruvm_buffer_ok(&j->table_bytes) && ruvm_buffer_ok(&j->otadata)))
        rc = ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the partition table");
    return rc;
}

int ruvm_flash_layout_table(struct ruvm_flash_job *j, const char *name, const uint8_t *table,
                            size_t n)
{
    int rc = ruvm_esp_table_read(&j->table, name, table, n, j->err);
    if (rc == RUVM_OK)
        rc = check_table(j, name);
    return rc == RUVM_OK ? put_pack(j) : rc;
}

/* An image in a dump says which chip it is of. */
static int check_dump_at(const struct ruvm_flash_job *j, size_t off)
{
    struct ruvm_esp_image image;
    const char *path = j->o->dump;
    size_t n = j->dump.size - off;
    if (!ruvm_esp_image_probe(j->dump.data + off, n) ||
        ruvm_esp_image_read(&image, path, j->dump.data + off, n, NULL) != RUVM_OK ||
        image.header.chip_id == j->device->chip_id)
        return RUVM_OK;
    const struct ruvm_device *other = ruvm_devices_by_id(image.header.chip_id);
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED, "%s: is the flash of %s%s, not of the %s", path,
                     other ? "the " : "another chip", other ? other->family : "",
                     j->device->family);
}

/* A dump keeps all but one partition; it must be of this chip: ROMs look for the first image in
 * one of two places. */
int ruvm_flash_layout_dump(struct ruvm_flash_job *j)
{
    const char *path = j->o->dump;
    size_t n = j->dump.size;
    if (n < j->table_off + RUVM_ESP_TABLE_SECTOR || (n & (n - 1)) != 0)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: has %zu bytes; the dump of a whole flash has a power of two of them, "
                         "1 MiB or more: read it again from offset 0 to its end",
                         path, n);
    j->flash_bytes = (uint32_t)n;
    int rc = check_dump_at(j, 0);
    if (rc == RUVM_OK)
        rc = check_dump_at(j, OTHER_BOOT_OFF);
    if (rc == RUVM_OK)
        rc = ruvm_flash_layout_table(j, path, j->dump.data + j->table_off, RUVM_ESP_TABLE_BYTES);
    for (unsigned i = 0; i < j->table.n && rc == RUVM_OK; i++)
        if (j->table.p[i].type == RUVM_ESP_APP)
            rc = check_dump_at(j, j->table.p[i].off);
    return rc;
}
