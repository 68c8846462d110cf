/* Parts of a flash written over a serial line.
 *
 * First the chip is asked for the MD5 of each block of 64 KiB, and of the quarters and the
 * sectors of a block that differs; a block with four quarters that differ is written whole.
 * Then what differs is written, a piece at a time, and its MD5 compared. A piece is what is
 * repeated after noise, in halves; what went before it stays. At the end each part is compared once
 * more as a whole, and if need be everything done once more: a request that noise changed may have
 * erased what was right before. A flash that is smaller than it was said to be wraps around,
 * which no repetition mends.
 */
#include "lib/serial/write.h"

#include <nettle/md5.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"

enum {
    SECTOR = RUVM_DEVICES_SECTOR_BYTES,
    QUARTER = 4 * SECTOR,
    BLOCK = 4 * QUARTER,
    ERASED = 0xFF,
    TRIES = 8,
    AS_IT_IS = 2, /* failures before the line is made slower */
    AGAIN = 3,
    PASSES = 2,
};

struct job {
    struct ruvm_rom *rom;
    const struct ruvm_write_part *part;
    struct ruvm_flash_written *w;
    uint8_t *bytes;    /* [BLOCK] */
    uint8_t *changed;  /* [sectors of all parts] */
    uint32_t first;    /* sector of the part among those of all */
    unsigned n_failed; /* pieces, one after the other */
};

/* ---- what there should be --------------------------------------------------------------- */

static uint32_t sectors(const struct ruvm_write_part *p)
{
    return (uint32_t)((p->bytes + SECTOR - 1) / SECTOR);
}

static uint32_t part_bytes(const struct ruvm_write_part *p)
{
    return sectors(p) * SECTOR;
}

/* n bytes of the part's sectors, at most a block. */
static const uint8_t *wanted(struct job *j, uint32_t at, uint32_t n)
{
    size_t left = at < j->part->bytes ? j->part->bytes - at : 0;
    size_t some = left < n ? left : n;
    memcpy(j->bytes, j->part->data + at, some);
    memset(j->bytes + some, ERASED, n - some);
    return j->bytes;
}

static void wanted_digest(struct job *j, uint32_t at, uint32_t n, uint8_t *digest)
{
    struct md5_ctx md5;
    md5_init(&md5);
    for (uint32_t done = 0; done < n; done += BLOCK) {
        uint32_t some = n - done < BLOCK ? n - done : BLOCK;
        md5_update(&md5, some, wanted(j, at + done, some));
    }
    md5_digest(&md5, RUVM_ROM_MD5_BYTES, digest);
}

/* ---- what there is ---------------------------------------------------------------------- */

static int give_up(struct job *j, uint32_t at, int rc)
{
    struct ruvm_rom *rom = j->rom;
    unsigned off = j->part->off + at;
    if (rc == RUVM_ERR_MISMATCH)
        return ruvm_fail(rom->err, rc,
                         "%s: flash at 0x%x does not hold what was written, after %d tries: is it "
                         "write-protected, worn out, or smaller than %u MiB (--flash-size)?",
                         rom->line->name, off, TRIES, (unsigned)(rom->flash_bytes >> 20));
    if (rc == RUVM_ERR_UNSUPPORTED)
        return ruvm_fail(
            rom->err, rc, "%s: flash at 0x%x: the loader refuses, after %d tries: %s (0x%02x)",
            rom->line->name, off, TRIES, ruvm_esp_rom_reason(rom->reason), rom->reason);
    return ruvm_fail(rom->err, rc,
                     "%s: flash at 0x%x: no answer that can be understood, after %d tries: a "
                     "shorter cable, another port, or a lower speed (--baud 115200) may help",
                     rom->line->name, off, TRIES);
}

/* 1: as it should be, 0: not. Without side effects, so that it is simply asked again. */
static int is_right(struct job *j, uint32_t at, uint32_t n)
{
    uint8_t here[RUVM_ROM_MD5_BYTES], there[RUVM_ROM_MD5_BYTES];
    int rc = RUVM_OK;
    wanted_digest(j, at, n, here);
    for (unsigned i = 0; i < TRIES; i++) {
        rc = ruvm_rom_md5(j->rom, j->part->off + at, n, there);
        if (rc == RUVM_OK)
            return memcmp(here, there, sizeof here) == 0;
        if (rc == RUVM_ERR_IO)
            return rc;
        int again = ruvm_rom_recover(j->rom, i >= AS_IT_IS);
        if (again != RUVM_OK)
            return again;
    }
    return give_up(j, at, rc);
}

static void mark(struct job *j, uint32_t at, uint32_t n)
{
    memset(j->changed + j->first + at / SECTOR, 1, n / SECTOR);
    j->w->n_changed += n / SECTOR;
}

/* The sectors of a range that differ, which is known to have some. */
static int find_sectors(struct job *j, uint32_t at, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += SECTOR) {
        int right = is_right(j, at + i, SECTOR);
        if (right < 0)
            return right;
        if (!right)
            mark(j, at + i, SECTOR);
    }
    return RUVM_OK;
}

static int compare_block(struct job *j, uint32_t at, uint32_t n)
{
    bool differs[BLOCK / QUARTER];
    bool all = true;
    int right = is_right(j, at, n);
    if (right)
        return right < 0 ? right : RUVM_OK;
    for (uint32_t q = 0; q * QUARTER < n; q++) {
        uint32_t some = n - q * QUARTER < QUARTER ? n - q * QUARTER : QUARTER;
        right = is_right(j, at + q * QUARTER, some);
        if (right < 0)
            return right;
        differs[q] = !right;
        all = all && !right;
    }
    if (all && n == BLOCK) {
        mark(j, at, n);
        return RUVM_OK;
    }
    int rc = RUVM_OK;
    for (uint32_t q = 0; q * QUARTER < n && rc == RUVM_OK; q++)
        if (differs[q])
            rc = find_sectors(j, at + q * QUARTER,
                              n - q * QUARTER < QUARTER ? n - q * QUARTER : QUARTER);
    return rc;
}

static int compare_part(struct job *j)
{
    uint32_t n = part_bytes(j->part);
    int rc = RUVM_OK;
    for (uint32_t at = 0; at < n && rc == RUVM_OK; at += BLOCK) {
        uint32_t some = n - at < BLOCK ? n - at : BLOCK;
        rc = compare_block(j, at, some);
        j->rom->done += some;
    }
    return rc;
}

/* ---- making it so ------------------------------------------------------------------------ */

static int write_once(struct job *j, uint32_t at, uint32_t n)
{
    int rc = ruvm_rom_write(j->rom, j->part->off + at, wanted(j, at, n), n, &j->w->sent_bytes);
    if (rc != RUVM_OK)
        return rc;
    int right = is_right(j, at, n);
    return right < 0 ? RUVM_ERR_IO : right ? RUVM_OK : RUVM_ERR_MISMATCH;
}

static int write_run(struct job *j, uint32_t at, uint32_t n);

/* The halves of what failed, of which one may be right by now. */
static int write_halves(struct job *j, uint32_t at, uint32_t n)
{
    uint32_t half = n / SECTOR / 2 * SECTOR;
    const uint32_t begin[] = {at, at + half}, bytes[] = {half, n - half};
    for (unsigned i = 0; i < 2; i++) {
        int rc = is_right(j, begin[i], bytes[i]);
        if (rc == 0)
            rc = write_run(j, begin[i], bytes[i]);
        else if (rc == 1)
            j->rom->done += bytes[i], rc = RUVM_OK;
        if (rc != RUVM_OK)
            return rc;
    }
    return RUVM_OK;
}

/* The smaller a piece, the likelier it arrives: halves are tried before tries are repeated. */
static int write_run(struct job *j, uint32_t at, uint32_t n)
{
    uint64_t before = j->rom->done;
    int rc = RUVM_OK;
    for (unsigned i = 0; i < TRIES; i++) {
        rc = write_once(j, at, n);
        if (rc == RUVM_OK)
            j->n_failed = 0;
        if (rc == RUVM_OK || rc == RUVM_ERR_IO)
            return rc;
        j->rom->done = before;
        int again = ruvm_rom_recover(j->rom, ++j->n_failed > AS_IT_IS);
        if (again != RUVM_OK)
            return again;
        if (n > SECTOR)
            return write_halves(j, at, n);
    }
    return give_up(j, at, rc);
}

/* Neighbours in a block together. */
static int write_part(struct job *j)
{
    uint32_t n = sectors(j->part);
    int rc = RUVM_OK;
    for (uint32_t i = 0; i < n && rc == RUVM_OK;) {
        uint32_t end = i;
        while (end < n && j->changed[j->first + end] &&
               end / (BLOCK / SECTOR) == i / (BLOCK / SECTOR))
            end++;
        if (end > i)
            rc = write_run(j, i * SECTOR, (end - i) * SECTOR);
        i = end > i ? end : i + 1;
    }
    return rc;
}

/* An answer that says otherwise may itself be wrong. */
static int check_part(struct job *j)
{
    uint32_t n = part_bytes(j->part);
    int right = n == 0;
    for (unsigned i = 0; i < AGAIN && right == 0; i++)
        right = is_right(j, 0, n);
    j->rom->done += n;
    return right < 0 ? right : right ? RUVM_OK : RUVM_ERR_MISMATCH;
}

static int wraps(const struct ruvm_rom *rom)
{
    return ruvm_fail(rom->err, RUVM_ERR_MISMATCH,
                     "%s: flash that was right is not any more after more was written: is it "
                     "smaller than %u MiB (--flash-size)?",
                     rom->line->name, (unsigned)(rom->flash_bytes >> 20));
}

/* ---- the whole ----------------------------------------------------------------------------- */

static int each_part(struct job *j, const struct ruvm_write_part *parts, unsigned n_parts,
                     const char *stage, uint64_t total, int (*step)(struct job *j))
{
    j->rom->stage = stage;
    j->rom->done = 0;
    j->rom->total = total;
    j->first = 0;
    int rc = RUVM_OK;
    for (unsigned i = 0; i < n_parts && rc == RUVM_OK; i++) {
        j->part = &parts[i];
        rc = step(j);
        j->first += sectors(&parts[i]);
    }
    return rc;
}

static int mark_part(struct job *j)
{
    mark(j, 0, part_bytes(j->part));
    return RUVM_OK;
}

static int one_pass(struct job *j, const struct ruvm_write_part *parts, unsigned n_parts, bool all)
{
    uint64_t total = (uint64_t)j->w->n_sectors * SECTOR;
    uint32_t before = j->w->n_changed;
    memset(j->changed, 0, j->w->n_sectors);
    int rc = each_part(j, parts, n_parts, "comparing", total, all ? mark_part : compare_part);
    uint32_t n = j->w->n_changed - before;
    if (rc == RUVM_OK && n)
        rc = each_part(j, parts, n_parts, "writing", (uint64_t)n * SECTOR, write_part);
    if (rc == RUVM_OK && n)
        rc = each_part(j, parts, n_parts, "checking", total, check_part);
    return rc;
}

/* A failure without a message is the last comparison's. */
static int passes(struct job *j, const struct ruvm_write_part *parts, unsigned n_parts, bool all)
{
    int rc = RUVM_ERR_MISMATCH;
    for (unsigned i = 0; i < PASSES && rc == RUVM_ERR_MISMATCH && !j->rom->err->code; i++)
        rc = one_pass(j, parts, n_parts, all && i == 0);
    return rc == RUVM_ERR_MISMATCH ? wraps(j->rom) : rc;
}

int ruvm_write_parts(struct ruvm_rom *rom, const struct ruvm_write_part *parts, unsigned n_parts,
                     bool all, struct ruvm_flash_written *w)
{
    struct job j = {.rom = rom, .w = w};
    *w = (struct ruvm_flash_written){0};
    for (unsigned i = 0; i < n_parts; i++)
        w->n_sectors += sectors(&parts[i]);
    j.bytes = malloc(BLOCK);
    j.changed = calloc(w->n_sectors + 1, 1);
    int rc = j.bytes && j.changed
                 ? passes(&j, parts, n_parts, all)
                 : ruvm_fail(rom->err, RUVM_ERR_MEMORY, "%s: memory is short", rom->line->name);
    w->baud = rom->baud;
    w->n_troubles = rom->n_troubles;
    free(j.bytes);
    free(j.changed);
    return rc;
}
