/* A flash as files: raw, in parts, as UF2 or as Intel HEX; and a manifest for a browser.
 *
 * All come from the same list of parts. A folder of parts is written file by file, but only
 * after everything was checked; a single file appears whole or not at all.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/bundle/flash_parts.h"

enum { SECTOR = RUVM_DEVICES_SECTOR_BYTES, ERASED = 0xFF };

/* ---- raw ------------------------------------------------------------------------- */

static size_t end_of(const struct ruvm_flash_job *j)
{
    size_t end = 0;
    for (unsigned i = 0; i < j->n_parts; i++)
        if (j->parts[i].off + j->parts[i].bytes > end)
            end = j->parts[i].off + j->parts[i].bytes;
    return ruvm_align_up(end, SECTOR);
}

/* The rest of a partition that is replaced in a dump becomes erased: nothing of the old pack
 * is left to be taken for the new one's. */
static void erase_partition(const struct ruvm_flash_job *j, uint8_t *flash)
{
    for (unsigned i = 0; i < j->n_parts; i++) {
        const struct ruvm_esp_partition *p = ruvm_esp_table_find(&j->table, j->parts[i].name);
        if (p)
            memset(flash + p->off, ERASED, p->bytes);
    }
}

static void put_raw(const struct ruvm_flash_job *j, struct ruvm_buffer *out)
{
    size_t n = j->o->trim && !j->o->dump ? end_of(j) : j->flash_bytes;
    uint8_t *flash = ruvm_buffer_zeros(out, n);
    if (!flash)
        return;
    if (j->o->dump) {
        memcpy(flash, j->dump.data, n);
        erase_partition(j, flash);
    } else {
        memset(flash, ERASED, n);
    }
    for (unsigned i = 0; i < j->n_parts; i++)
        memcpy(flash + j->parts[i].off, j->parts[i].data, j->parts[i].bytes);
}

/* ---- UF2 -------------------------------------------------------------------------- */

enum {
    UF2_BYTES = 512,
    UF2_PAYLOAD = 256,
    UF2_START_0 = 0x0A324655,
    UF2_START_1 = 0x9E5D5157,
    UF2_END = 0x0AB16F30,
    UF2_HAS_FAMILY = 0x2000,
    UF2_DATA = 32,
};

static uint32_t n_blocks(const struct ruvm_flash_job *j)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < j->n_parts; i++)
        n += (uint32_t)((j->parts[i].bytes + UF2_PAYLOAD - 1) / UF2_PAYLOAD);
    return n;
}

static void put_block(struct ruvm_buffer *out, const struct ruvm_flash_job *j, uint32_t number,
                      uint32_t address, const uint8_t *data, size_t bytes)
{
    const uint32_t head[8] = {UF2_START_0, UF2_START_1, UF2_HAS_FAMILY, address,
                              UF2_PAYLOAD, number,      n_blocks(j),    j->device->uf2_family};
    uint8_t *b = ruvm_buffer_zeros(out, UF2_BYTES);
    if (!b)
        return;
    for (size_t i = 0; i < 8; i++)
        ruvm_store_u32(b + 4 * i, head[i]);
    memset(b + UF2_DATA, ERASED, UF2_PAYLOAD);
    memcpy(b + UF2_DATA, data, bytes);
    ruvm_store_u32(b + UF2_BYTES - 4, UF2_END);
}

static void put_uf2(const struct ruvm_flash_job *j, struct ruvm_buffer *out)
{
    uint32_t number = 0;
    for (unsigned i = 0; i < j->n_parts; i++) {
        const struct ruvm_flash_part *p = &j->parts[i];
        for (size_t at = 0; at < p->bytes; at += UF2_PAYLOAD) {
            size_t n = p->bytes - at < UF2_PAYLOAD ? p->bytes - at : UF2_PAYLOAD;
            put_block(out, j, number++, p->off + (uint32_t)at, p->data + at, n);
        }
    }
}

/* ---- Intel HEX -------------------------------------------------------------------- */

enum { HEX_DATA = 0, HEX_END = 1, HEX_UPPER = 4, HEX_LINE = 32 };

static void put_record(struct ruvm_buffer *out, unsigned type, uint32_t address,
                       const uint8_t *data, size_t n)
{
    unsigned sum = (unsigned)n + (address >> 8 & 0xFF) + (address & 0xFF) + type;
    ruvm_buffer_printf(out, ":%02X%04X%02X", (unsigned)n, (unsigned)(address & 0xFFFF), type);
    for (size_t i = 0; i < n; i++) {
        ruvm_buffer_printf(out, "%02X", data[i]);
        sum += data[i];
    }
    ruvm_buffer_printf(out, "%02X\n", -sum & 0xFF);
}

static void put_hex(const struct ruvm_flash_job *j, struct ruvm_buffer *out)
{
    uint32_t upper = UINT32_MAX;
    for (unsigned i = 0; i < j->n_parts; i++) {
        const struct ruvm_flash_part *p = &j->parts[i];
        for (size_t at = 0; at < p->bytes; at += HEX_LINE) {
            uint32_t address = p->off + (uint32_t)at;
            const uint8_t high[2] = {(uint8_t)(address >> 24), (uint8_t)(address >> 16)};
            if (address >> 16 != upper)
                put_record(out, HEX_UPPER, 0, high, sizeof high);
            upper = address >> 16;
            put_record(out, HEX_DATA, address, p->data + at,
                       p->bytes - at < HEX_LINE ? p->bytes - at : HEX_LINE);
        }
    }
    put_record(out, HEX_END, 0, NULL, 0);
}

/* ---- parts ------------------------------------------------------------------------ */

static int write_in(const struct ruvm_flash_job *j, const char *folder, const char *name,
                    const void *data, size_t n)
{
    struct ruvm_buffer path = {0};
    ruvm_buffer_printf(&path, "%s/%s", folder, name);
    ruvm_buffer_u8(&path, 0);
    int rc = ruvm_buffer_ok(&path)
                 ? ruvm_file_write((const char *)path.data, data, n, j->err)
                 : ruvm_fail(j->err, RUVM_ERR_MEMORY, "%s: memory is short", folder);
    ruvm_buffer_free(&path);
    return rc;
}

/* The same program in two slots is one file. */
static bool is_first(const struct ruvm_flash_job *j, unsigned part)
{
    for (unsigned i = 0; i < part; i++)
        if (strcmp(j->parts[i].file, j->parts[part].file) == 0)
            return false;
    return true;
}

/* What esptool takes as @flash_args. */
static void put_arguments(const struct ruvm_flash_job *j, struct ruvm_buffer *out)
{
    for (unsigned i = 0; i < j->n_parts; i++)
        ruvm_buffer_printf(out, "0x%x %s\n", (unsigned)j->parts[i].off, j->parts[i].file);
}

static int write_parts(struct ruvm_flash_job *j)
{
    const char *folder = j->o->output;
    struct ruvm_buffer text = {0}, csv = {0};
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return ruvm_fail(j->err, RUVM_ERR_IO, "%s: cannot make the folder: %s", folder,
                         strerror(errno));
    int rc = RUVM_OK;
    for (unsigned i = 0; i < j->n_parts && rc == RUVM_OK; i++) {
        if (!is_first(j, i))
            continue;
        rc = write_in(j, folder, j->parts[i].file, j->parts[i].data, j->parts[i].bytes);
        j->r->bytes += j->parts[i].bytes;
    }
    put_arguments(j, &text);
    ruvm_esp_table_print(&csv, &j->table);
    if (rc == RUVM_OK)
        rc = write_in(j, folder, "flash_args", text.data, text.size);
    if (rc == RUVM_OK)
        rc = write_in(j, folder, "partitions.csv", csv.data, csv.size);
    ruvm_buffer_free(&text);
    ruvm_buffer_free(&csv);
    return rc;
}

/* ---- manifest --------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void put_json_text(struct ruvm_buffer *out, const char *text)
{
    ruvm_buffer_u8(out, '"');
    for (; *text; text++)
        if (*text == '"' || *text == '\\' || (unsigned char)*text < ' ')
            ruvm_buffer_printf(out, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            ruvm_buffer_u8(out, (uint8_t)*text);
    ruvm_buffer_u8(out, '"');
}

/* For ESP Web Tools, which flashes from a browser; the files are named beside the manifest. */
static void put_manifest(const struct ruvm_flash_job *j, struct ruvm_buffer *out, bool in_parts)
{
    const char *folder = in_parts ? base_name(j->o->output) : "";
    ruvm_buffer_printf(out, "{\n  \"name\": ");
    put_json_text(out, j->o->name ? j->o->name : "ruvm");
    ruvm_buffer_printf(out,
                       ",\n  \"version\": \"%s\",\n  \"new_install_prompt_erase\": true,\n"
                       "  \"builds\": [\n    {\n      \"chipFamily\": \"%s\",\n      \"parts\": [",
                       RUVM_VERSION_TEXT, j->device->family);
    for (unsigned i = 0; i < (in_parts ? j->n_parts : 1); i++) {
        ruvm_buffer_printf(out, "%s\n        { \"path\": ", i ? "," : "");
        struct ruvm_buffer path = {0};
        ruvm_buffer_printf(&path, "%s%s%s", folder, in_parts ? "/" : "",
                           in_parts ? j->parts[i].file : base_name(j->o->output));
        ruvm_buffer_u8(&path, 0);
        put_json_text(out, path.data ? (const char *)path.data : "");
        ruvm_buffer_free(&path);
        ruvm_buffer_printf(out, ", \"offset\": %u }", in_parts ? (unsigned)j->parts[i].off : 0);
    }
    ruvm_buffer_printf(out, "\n      ]\n    }\n  ]\n}\n");
}

static int write_buffer(const struct ruvm_flash_job *j, const char *path, struct ruvm_buffer *out)
{
    int rc = ruvm_buffer_ok(out) ? ruvm_file_write(path, out->data, out->size, j->err)
                                 : ruvm_fail(j->err, RUVM_ERR_MEMORY, "%s: memory is short", path);
    ruvm_buffer_free(out);
    return rc;
}

int ruvm_flash_write(struct ruvm_flash_job *j)
{
    const char *to = j->o->to ? j->o->to : "raw";
    struct ruvm_buffer out = {0}, manifest = {0};
    bool parts = strcmp(to, "parts") == 0;
    int rc = RUVM_OK;
    if (parts) {
        rc = write_parts(j);
    } else {
        (strcmp(to, "uf2") == 0 ? put_uf2 : strcmp(to, "hex") == 0 ? put_hex : put_raw)(j, &out);
        j->r->bytes = out.size;
        rc = write_buffer(j, j->o->output, &out);
    }
    if (rc != RUVM_OK || !j->o->manifest)
        return rc;
    put_manifest(j, &manifest, parts);
    return write_buffer(j, j->o->manifest, &manifest);
}
