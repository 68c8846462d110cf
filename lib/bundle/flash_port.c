/* A flash written to the chip that has it, at the other end of a serial port. */
#include <nettle/md5.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/bundle/flash_parts.h"
#include "lib/serial/monitor.h"
#include "lib/serial/write.h"

enum { BAUD = 460800, TRIES = 4, SENT_MS = 50 };

/* ---- the chip ----------------------------------------------------------------------- */

int ruvm_flash_port_connect(struct ruvm_flash_job *j)
{
    if (j->line.state)
        return RUVM_OK;
    int rc = ruvm_line_open(&j->line, j->o->port, RUVM_ROM_START_BAUD, j->err);
    if (rc != RUVM_OK)
        return rc;
    ruvm_rom_init(&j->rom, &j->line, &j->o->progress, j->err);
    rc = ruvm_rom_connect(&j->rom);
    if (rc == RUVM_OK && j->device && j->device != j->rom.device)
        return ruvm_fail(j->err, RUVM_ERR_MISMATCH,
                         "%s: the chip is an %s, not an %s: nothing was written; choose its "
                         "programs (--chip %s), or another port",
                         j->o->port, j->rom.device->family, j->device->family, j->rom.device->name);
    if (rc == RUVM_OK)
        j->device = j->rom.device;
    return rc;
}

static int set_up(struct ruvm_flash_job *j)
{
    int rc = ruvm_flash_port_connect(j);
    return rc == RUVM_OK ? ruvm_rom_set_up(&j->rom, j->flash_bytes, j->o->baud ? j->o->baud : BAUD)
                         : rc;
}

/* ---- the table that it has -------------------------------------------------------------- */

/* Bytes of flash whose MD5 is that of the flash. */
static int read_checked(struct ruvm_flash_job *j, uint32_t off, uint8_t *bytes, uint32_t n)
{
    uint8_t here[RUVM_ROM_MD5_BYTES], there[RUVM_ROM_MD5_BYTES];
    for (unsigned i = 0; i < TRIES; i++) {
        struct md5_ctx md5;
        int rc = ruvm_rom_read_flash(&j->rom, off, bytes, n);
        if (rc == RUVM_OK)
            rc = ruvm_rom_md5(&j->rom, off, n, there);
        md5_init(&md5);
        md5_update(&md5, n, bytes);
        md5_digest(&md5, sizeof here, here);
        if (rc == RUVM_ERR_IO || (rc == RUVM_OK && memcmp(here, there, sizeof here) == 0))
            return rc;
        rc = ruvm_rom_recover(&j->rom, i > 0);
        if (rc != RUVM_OK)
            return rc;
    }
    return ruvm_fail(j->err, RUVM_ERR_CORRUPT,
                     "%s: flash at 0x%x cannot be read: try a lower speed (--baud 115200)",
                     j->o->port, (unsigned)off);
}

/* How large the flash is says the image that the ROM loads, if there is one. */
static int find_size(struct ruvm_flash_job *j)
{
    enum { HEAD = 24, MAGIC = 0xE9, SIZE_AT = 3, LARGEST = 7 };
    uint8_t head[HEAD];
    int rc = read_checked(j, j->device->boot_off, head, HEAD);
    unsigned size = head[SIZE_AT] >> 4;
    if (rc != RUVM_OK || j->o->flash_bytes || head[0] != MAGIC || size > LARGEST)
        return rc;
    j->flash_bytes = 1u << (20 + size);
    return ruvm_rom_attach(&j->rom, j->flash_bytes) == RUVM_OK ? RUVM_OK
                                                               : ruvm_rom_recover(&j->rom, false);
}

int ruvm_flash_port_layout(struct ruvm_flash_job *j)
{
    uint8_t table[RUVM_ESP_TABLE_BYTES];
    int rc = set_up(j);
    j->rom.stage = "reading the table";
    if (rc == RUVM_OK)
        rc = find_size(j);
    if (rc == RUVM_OK)
        rc = read_checked(j, j->table_off, table, sizeof table);
    if (rc != RUVM_OK)
        return rc;
    if (table[0] == 0xFF)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: the chip has no partition table at 0x%x into which the pack could be "
                         "put: write all of it (--whole), or give a program (--firmware FILE)",
                         j->o->port, (unsigned)j->table_off);
    return ruvm_flash_layout_table(j, j->o->port, table, sizeof table);
}

/* ---- writing ---------------------------------------------------------------------------- */

static int write_all(struct ruvm_flash_job *j)
{
    struct ruvm_write_part parts[RUVM_FLASH_MAX_PARTS];
    for (unsigned i = 0; i < j->n_parts; i++)
        parts[i] = (struct ruvm_write_part){j->parts[i].off, j->parts[i].data, j->parts[i].bytes};
    return ruvm_write_parts(&j->rom, parts, j->n_parts, j->o->rewrite, &j->r->written);
}

/* A reset loses nothing that the program says when the line has its speed before; a request
 * to restart must still go at the loader's. */
static int restart(struct ruvm_flash_job *j)
{
    const struct ruvm_monitor *m = j->o->monitor;
    int rc = RUVM_OK;
    if (m && j->rom.has_signals)
        rc = ruvm_monitor_prepare(&j->line, m, j->err);
    ruvm_rom_restart(&j->rom);
    if (m && !j->rom.has_signals) {
        j->line.sleep_ms(j->line.state, SENT_MS);
        rc = ruvm_monitor_prepare(&j->line, m, j->err);
    }
    return rc;
}

int ruvm_flash_port_write(struct ruvm_flash_job *j)
{
    const struct ruvm_monitor *m = j->o->monitor;
    double start = ruvm_clock_s();
    int rc = j->rom.wanted_baud ? RUVM_OK : set_up(j);
    if (rc == RUVM_OK)
        rc = write_all(j);
    j->r->written.seconds = ruvm_clock_s() - start;
    if (rc != RUVM_OK)
        return rc;
    rc = restart(j);
    if (m && m->begin)
        m->begin(m->user, j->r);
    return m && rc == RUVM_OK ? ruvm_monitor_run(&j->line, m, j->err) : rc;
}

int ruvm_flash_monitor(const char *port, const struct ruvm_monitor *m, struct ruvm_error *err)
{
    struct ruvm_line line = {0};
    int rc = ruvm_line_open(&line, port, m->baud ? m->baud : RUVM_ROM_START_BAUD, err);
    if (rc == RUVM_OK && m->begin)
        m->begin(m->user, NULL);
    if (rc == RUVM_OK)
        rc = ruvm_monitor_run(&line, m, err);
    ruvm_line_close(&line);
    return rc;
}
