/* A flash from a pack and a program: opens, lays out, checks, and only then writes.
 *
 * The plan is the result whether anything is written or not; people, JSON and the drawing
 * show the same regions.
 */
#include <stdio.h>
#include <string.h>

#include "formats/mlp_read.h"
#include "formats/ruvm_diagnose.h"
#include "lib/base/error.h"
#include "lib/bundle/flash_parts.h"
#include "lib/bundle/pack_open.h"

enum { LEAST_FLASH = 1 << 20, MOST_FLASH = 128 << 20 };

/* ---- input ------------------------------------------------------------------------ */

/* A pack, or a bare image, which the firmware takes as well. */
static int open_pack(struct ruvm_flash_job *j)
{
    struct ruvm_pack pack;
    struct ruvm_image img;
    struct ruvm_mlp_image mlp;
    struct ruvm_image_fault fault;
    const char *path = j->o->pack;
    int rc = ruvm_file_map(&j->pack, path, j->err);
    if (rc != RUVM_OK)
        return rc;
    if (j->pack.size < 4 || memcmp(j->pack.data, RUVM_MAGIC, 4) != 0) {
        rc = ruvm_pack_open_bytes(&pack, path, j->pack.data, j->pack.size, j->err);
        if (rc == RUVM_OK)
            ruvm_flash_firmware_look(j, &pack);
        return rc;
    }
    ruvm_flash_firmware_look(j, NULL);
    if (j->has_classifier)
        rc = ruvm_mlp_image_open(&mlp, j->pack.data, j->pack.size, &fault);
    else
        rc = ruvm_image_open(&img, j->pack.data, j->pack.size, &fault);
    if (rc != RUVM_OK)
        return ruvm_diagnose_fail(j->err, rc, path, &fault);
    return !j->has_classifier && img.version == RUVM_VERSION_V0
               ? ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                           "%s: is the bare RUVM layout v0, which no chip can run: make an image "
                           "of it with ruvm quantize",
                           path)
               : RUVM_OK;
}

static int check_numbers(struct ruvm_flash_job *j)
{
    uint32_t n = j->flash_bytes = j->o->flash_bytes ? j->o->flash_bytes : RUVM_DEVICES_FLASH_BYTES;
    uint32_t t = j->table_off = j->o->table_off ? j->o->table_off : RUVM_DEVICES_TABLE_OFF;
    if (n < LEAST_FLASH || n > MOST_FLASH || (n & (n - 1)) != 0)
        return ruvm_fail(j->err, RUVM_ERR_ARG,
                         "a flash of %u bytes does not exist: 1, 2, 4, 8, 16, 32, 64 or 128 MiB",
                         (unsigned)n);
    if (t % RUVM_ESP_TABLE_SECTOR || t <= j->device->boot_off || t >= n)
        return ruvm_fail(j->err, RUVM_ERR_ARG,
                         "a partition table cannot stand at 0x%x: a multiple of 0x1000 behind "
                         "0x%x",
                         (unsigned)t, (unsigned)j->device->boot_off);
    return RUVM_OK;
}

bool ruvm_flash_keeps_table(const struct ruvm_flash_job *j)
{
    const struct ruvm_flash_options *o = j->o;
    return o->dump || (o->port && !o->firmware && !o->whole && !o->direct_boot);
}

static int open_all(struct ruvm_flash_job *j)
{
    const struct ruvm_flash_options *o = j->o;
    int rc = o->chip ? ruvm_devices_find(&j->device, o->chip, j->err) : ruvm_flash_port_connect(j);
    if (rc == RUVM_OK)
        rc = check_numbers(j);
    if (rc == RUVM_OK)
        rc = open_pack(j);
    if (rc == RUVM_OK && o->dump)
        return ruvm_file_map(&j->dump, o->dump, j->err);
    if (rc == RUVM_OK && !ruvm_flash_keeps_table(j))
        rc = ruvm_flash_firmware_open(j);
    return rc;
}

static void close_all(struct ruvm_flash_job *j)
{
    ruvm_buffer_free(&j->firmware.bytes);
    ruvm_buffer_free(&j->bootloader.bytes);
    ruvm_buffer_free(&j->table_bytes);
    ruvm_buffer_free(&j->otadata);
    ruvm_file_unmap(&j->pack);
    ruvm_file_unmap(&j->dump);
    ruvm_line_close(&j->line);
}

/* ---- the plan ---------------------------------------------------------------------- */

static struct ruvm_flash_region *add_region(struct ruvm_flash_result *r, const char *name,
                                            uint32_t off, uint32_t bytes)
{
    unsigned i = r->n_regions++;
    for (; i > 0 && r->regions[i - 1].off_bytes > off; i--)
        r->regions[i] = r->regions[i - 1];
    struct ruvm_flash_region *g = &r->regions[i];
    *g = (struct ruvm_flash_region){.off_bytes = off, .size_bytes = bytes};
    snprintf(g->name, sizeof g->name, "%s", name);
    return g;
}

static const struct ruvm_flash_part *part_at(const struct ruvm_flash_job *j, uint32_t off)
{
    for (unsigned i = 0; i < j->n_parts; i++)
        if (j->parts[i].off == off)
            return &j->parts[i];
    return NULL;
}

static void add_partition(struct ruvm_flash_job *j, const struct ruvm_esp_partition *p)
{
    char type[16], subtype[16];
    const struct ruvm_flash_part *part = part_at(j, p->off);
    struct ruvm_flash_region *g = add_region(j->r, p->label, p->off, p->bytes);
    ruvm_esp_type_name(type, p->type);
    ruvm_esp_subtype_name(subtype, p->type, p->subtype);
    snprintf(g->kind, sizeof g->kind, "%s %s", type, subtype);
    g->used_bytes = part ? (uint32_t)part->bytes : 0;
    snprintf(g->file, sizeof g->file, "%s", part ? part->file : "");
}

/* What stands outside of partitions: what the ROM loads, and the table. */
static void add_fixed(struct ruvm_flash_job *j)
{
    uint32_t boot = j->device->boot_off;
    const struct ruvm_flash_part *first = ruvm_flash_keeps_table(j) ? NULL : &j->parts[0];
    struct ruvm_flash_region *g =
        add_region(j->r, first ? first->name : "boot", first ? first->off : boot,
                   j->table_off - (first ? first->off : boot));
    snprintf(g->kind, sizeof g->kind, "%s by the ROM",
             first && j->firmware.is_direct ? "started" : "loaded");
    g->used_bytes = first ? (uint32_t)first->bytes : 0;
    snprintf(g->file, sizeof g->file, "%s", first ? first->file : "");
    const struct ruvm_flash_part *table = part_at(j, j->table_off);
    g = add_region(j->r, "partition table", j->table_off, RUVM_ESP_TABLE_SECTOR);
    g->used_bytes = table ? (uint32_t)((j->table.n + 1) * RUVM_ESP_PARTITION_BYTES) : 0;
    snprintf(g->file, sizeof g->file, "%s", table ? table->file : "");
}

static void add_free(struct ruvm_flash_result *r)
{
    uint32_t n = r->n_regions, end = 0;
    struct ruvm_flash_region known[RUVM_FLASH_REGIONS];
    memcpy(known, r->regions, sizeof known);
    for (uint32_t i = 0; i <= n; i++) {
        uint32_t next = i < n ? known[i].off_bytes : r->flash_bytes;
        if (next > end && r->n_regions < RUVM_FLASH_REGIONS)
            add_region(r, "free", end, next - end);
        if (i < n)
            end = known[i].off_bytes + known[i].size_bytes;
    }
}

static const char *mode_name(uint8_t mode)
{
    static const char *const names[] = {"qio", "qout", "dio", "dout"};
    return mode < 4 ? names[mode] : "keep";
}

/* The C6 has 0 for both of the usual speeds. */
static const char *speed_name(uint8_t speed)
{
    return speed == 0    ? "40m"
           : speed == 1  ? "26m"
           : speed == 2  ? "20m"
           : speed == 15 ? "80m"
                         : "keep";
}

static void describe(struct ruvm_flash_job *j)
{
    struct ruvm_flash_result *r = j->r;
    const struct ruvm_flash_program *first = j->bootloader_path ? &j->bootloader : &j->firmware;
    r->flash_bytes = j->flash_bytes;
    r->table_off = j->table_off;
    snprintf(r->chip, sizeof r->chip, "%s", j->device->name);
    snprintf(r->family, sizeof r->family, "%s", j->device->family);
    snprintf(r->label, sizeof r->label, "%s", j->o->label ? j->o->label : "ruvm");
    snprintf(r->firmware, sizeof r->firmware, "%s", j->firmware_path ? j->firmware_path : "");
    snprintf(r->bootloader, sizeof r->bootloader, "%s",
             j->bootloader_path ? j->bootloader_path : "");
    r->has_knowledge = j->has_knowledge;
    if (first->image.bytes) {
        snprintf(r->mode, sizeof r->mode, "%s", mode_name(first->image.header.mode));
        snprintf(r->speed, sizeof r->speed, "%s", speed_name(first->image.header.speed));
    }
    add_fixed(j);
    for (unsigned i = 0; i < j->table.n && r->n_regions < RUVM_FLASH_REGIONS; i++)
        add_partition(j, &j->table.p[i]);
    add_free(r);
}

/* ---- the verb ---------------------------------------------------------------------- */

static int work(struct ruvm_flash_job *j)
{
    int rc = open_all(j);
    if (rc == RUVM_OK)
        rc = j->o->dump                  ? ruvm_flash_layout_dump(j)
             : ruvm_flash_keeps_table(j) ? ruvm_flash_port_layout(j)
                                         : ruvm_flash_layout(j);
    if (rc != RUVM_OK)
        return rc;
    describe(j);
    if (j->o->output)
        rc = ruvm_flash_write(j);
    if (rc == RUVM_OK && j->o->svg)
        rc = ruvm_flash_draw(j, j->o->svg);
    if (rc == RUVM_OK && j->o->port)
        rc = ruvm_flash_port_write(j);
    return rc;
}

int ruvm_flash(const struct ruvm_flash_options *o, struct ruvm_flash_result *r,
               struct ruvm_error *err)
{
    struct ruvm_flash_job j = {.o = o, .r = r, .err = err};
    *r = (struct ruvm_flash_result){0};
    int rc = work(&j);
    close_all(&j);
    return rc;
}
