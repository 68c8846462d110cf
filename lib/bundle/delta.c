/* The difference of two packs, in sectors of flash, and back.
 *
 * Both ends are named by their SHA-256, so that a delta is never applied to anything but
 * what it was made against, and what comes out is known to be what was meant.
 */
#include <nettle/sha2.h>
#include <string.h>

#include "formats/delta_layout.h"
#include "lib/base/buffer.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/base/error.h"
#include "lib/bundle/pack_open.h"

enum { SECTOR = RUVM_DELTA_SECTOR_BYTES, HASH = SHA256_DIGEST_SIZE };

static void hash(uint8_t digest[HASH], const void *data, size_t n)
{
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, n, data);
    sha256_digest(&sha, HASH, digest);
}

static uint32_t crc_of(const uint8_t *delta, size_t n)
{
    uint32_t crc = ruvm_crc32(0, delta, RUVM_DELTA_CRC);
    return ruvm_crc32(crc, delta + RUVM_DELTA_OLD_SHA256, n - RUVM_DELTA_OLD_SHA256);
}

static uint32_t n_sectors(uint32_t bytes)
{
    return bytes / SECTOR + (bytes % SECTOR != 0);
}

/* Sector i as flash holds it. */
static void sector_of(uint8_t *out, const struct ruvm_pack *pack, uint32_t i)
{
    uint64_t from = (uint64_t)i * SECTOR;
    size_t n = from >= pack->size ? 0 : pack->size - from < SECTOR ? pack->size - from : SECTOR;
    memset(out, RUVM_PACK_GAP, SECTOR);
    if (n)
        memcpy(out, pack->data + from, n);
}

/* ---- making -------------------------------------------------------------------- */

/* What the old pack does not reach always counts, so that a delta says how large it makes. */
static bool differs(const struct ruvm_pack *a, const struct ruvm_pack *b, uint32_t i)
{
    uint8_t x[SECTOR], y[SECTOR];
    if (i >= n_sectors(b->size))
        return true;
    sector_of(x, a, i);
    sector_of(y, b, i);
    return memcmp(x, y, SECTOR) != 0;
}

/* The runs; returns how many sectors they have. */
static uint32_t put_runs(struct ruvm_buffer *out, const struct ruvm_pack *pack,
                         const struct ruvm_pack *old, uint32_t *n_runs)
{
    uint32_t n = n_sectors(pack->size), changed = 0, first = 0;
    *n_runs = 0;
    for (uint32_t i = 0; i < n; i = first) {
        while (i < n && !differs(pack, old, i))
            i++;
        for (first = i; first < n && differs(pack, old, first);)
            first++;
        if (first == i)
            break;
        ruvm_buffer_u32(out, i);
        ruvm_buffer_u32(out, first - i);
        changed += first - i;
        (*n_runs)++;
    }
    return changed;
}

static void put_sectors(struct ruvm_buffer *out, const struct ruvm_pack *pack, uint32_t n_runs)
{
    uint8_t sector[SECTOR];
    for (uint32_t r = 0; r < n_runs && ruvm_buffer_ok(out); r++) {
        const uint8_t *run = out->data + RUVM_DELTA_RUNS + (size_t)r * RUVM_DELTA_RUN_BYTES;
        uint32_t first = ruvm_load_u32(run + RUVM_DELTA_RUN_FIRST);
        uint32_t n = ruvm_load_u32(run + RUVM_DELTA_RUN_SECTORS);
        for (uint32_t i = 0; i < n; i++) {
            sector_of(sector, pack, first + i);
            ruvm_buffer_bytes(out, sector, SECTOR);
        }
    }
}

static void put_delta(struct ruvm_buffer *out, const struct ruvm_pack *pack,
                      const struct ruvm_pack *old, struct ruvm_pack_delta *d)
{
    uint32_t n_runs;
    ruvm_buffer_zeros(out, RUVM_DELTA_RUNS);
    d->n_changed = put_runs(out, pack, old, &n_runs);
    put_sectors(out, pack, n_runs);
    if (!ruvm_buffer_ok(out))
        return;
    uint8_t *h = out->data;
    memcpy(h, RUVM_DELTA_MAGIC, 4);
    ruvm_store_u32(h + RUVM_DELTA_VERSION_AT, RUVM_DELTA_VERSION);
    ruvm_store_u32(h + RUVM_DELTA_OLD_BYTES, old->size);
    ruvm_store_u32(h + RUVM_DELTA_NEW_BYTES, pack->size);
    ruvm_store_u32(h + RUVM_DELTA_N_RUNS, n_runs);
    hash(h + RUVM_DELTA_OLD_SHA256, old->data, old->size);
    hash(h + RUVM_DELTA_NEW_SHA256, pack->data, pack->size);
    ruvm_store_u32(h + RUVM_DELTA_CRC, crc_of(h, out->size));
}

int ruvm_pack_delta_make(const char *path, const char *old, const char *output,
                         struct ruvm_pack_delta *d, struct ruvm_error *err)
{
    struct ruvm_pack_input a, b;
    struct ruvm_buffer out = {0};
    int rc = ruvm_pack_open_file(&a, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_pack_open_file(&b, old, err);
    if (rc == RUVM_OK) {
        *d = (struct ruvm_pack_delta){.old_bytes = b.pack.size,
                                      .new_bytes = a.pack.size,
                                      .n_sectors = n_sectors(a.pack.size)};
        put_delta(&out, &a.pack, &b.pack, d);
        d->delta_bytes = out.size;
        rc = ruvm_buffer_ok(&out) ? ruvm_file_write(output, out.data, out.size, err)
                                  : ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", path);
        ruvm_buffer_free(&out);
        ruvm_pack_close_file(&b);
    }
    ruvm_pack_close_file(&a);
    return rc;
}

/* ---- applying ------------------------------------------------------------------- */

struct delta {
    const char *path;
    const uint8_t *data;
    size_t size;
    uint32_t old_bytes, new_bytes, n_runs;
};

static int damaged(const struct delta *d, struct ruvm_error *err, const char *what)
{
    return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: %s; copy or download it again", d->path, what);
}

static int read_header(struct delta *d, struct ruvm_error *err)
{
    const uint8_t *h = d->data;
    if (d->size < 4 || memcmp(h, RUVM_DELTA_MAGIC, 4) != 0)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: is not a delta of ruvm pack --against (it does not begin with RPKD)",
                         d->path);
    if (d->size < RUVM_DELTA_RUNS)
        return damaged(d, err, "ends within its header");
    if (ruvm_load_u32(h + RUVM_DELTA_VERSION_AT) != RUVM_DELTA_VERSION)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: is a delta of version %u; this version of ruvm knows 1", d->path,
                         (unsigned)ruvm_load_u32(h + RUVM_DELTA_VERSION_AT));
    if (ruvm_load_u32(h + RUVM_DELTA_CRC) != crc_of(h, d->size))
        return damaged(d, err, "its CRC-32 at byte 28 is not that of its bytes");
    if (ruvm_load_u32(h + RUVM_DELTA_RESERVED) || ruvm_load_u32(h + RUVM_DELTA_RESERVED + 4))
        return damaged(d, err, "reserved bytes 20 to 27 are not zero");
    d->old_bytes = ruvm_load_u32(h + RUVM_DELTA_OLD_BYTES);
    d->new_bytes = ruvm_load_u32(h + RUVM_DELTA_NEW_BYTES);
    d->n_runs = ruvm_load_u32(h + RUVM_DELTA_N_RUNS);
    return RUVM_OK;
}

/* The runs ascend, lie in the new pack, and have as many sectors as follow them. */
static int check_runs(const struct delta *d, struct ruvm_error *err)
{
    uint64_t end = 0, total = 0, most = n_sectors(d->new_bytes);
    uint64_t data = RUVM_DELTA_RUNS + (uint64_t)d->n_runs * RUVM_DELTA_RUN_BYTES;
    if (data > d->size)
        return damaged(d, err, "ends within its list of sectors");
    for (uint32_t r = 0; r < d->n_runs; r++) {
        const uint8_t *run = d->data + RUVM_DELTA_RUNS + (size_t)r * RUVM_DELTA_RUN_BYTES;
        uint64_t first = ruvm_load_u32(run + RUVM_DELTA_RUN_FIRST);
        uint64_t n = ruvm_load_u32(run + RUVM_DELTA_RUN_SECTORS);
        if (n == 0 || first < end || first + n > most)
            return damaged(d, err, "its list of sectors contradicts itself");
        end = first + n;
        total += n;
    }
    if (most > n_sectors(d->old_bytes) + total)
        return damaged(d, err, "does not say what is behind the old pack");
    return data + total * SECTOR == d->size ? RUVM_OK
                                            : damaged(d, err, "has not the sectors it lists");
}

/* Room for whole sectors of the larger one; what is beyond the new pack is cut off later. */
static int patch(struct ruvm_buffer *out, const struct delta *d, const struct ruvm_map *old)
{
    size_t whole = (size_t)n_sectors(d->new_bytes) * SECTOR;
    uint8_t *pack = ruvm_buffer_zeros(out, whole);
    if (!pack)
        return RUVM_ERR_MEMORY;
    memset(pack, RUVM_PACK_GAP, whole);
    memcpy(pack, old->data, old->size < whole ? old->size : whole);
    const uint8_t *run = d->data + RUVM_DELTA_RUNS;
    const uint8_t *sectors = run + (size_t)d->n_runs * RUVM_DELTA_RUN_BYTES;
    for (uint32_t r = 0; r < d->n_runs; r++, run += RUVM_DELTA_RUN_BYTES) {
        size_t n = (size_t)ruvm_load_u32(run + RUVM_DELTA_RUN_SECTORS) * SECTOR;
        memcpy(pack + (size_t)ruvm_load_u32(run + RUVM_DELTA_RUN_FIRST) * SECTOR, sectors, n);
        sectors += n;
    }
    out->size = d->new_bytes;
    return RUVM_OK;
}

static int apply(struct ruvm_buffer *out, const struct delta *d, const struct ruvm_map *old,
                 const char *old_path, struct ruvm_error *err)
{
    uint8_t digest[HASH];
    hash(digest, old->data, old->size);
    if (old->size != d->old_bytes || memcmp(digest, d->data + RUVM_DELTA_OLD_SHA256, HASH) != 0)
        return ruvm_fail(err, RUVM_ERR_MISMATCH,
                         "%s: was not made against %s; find the pack it "
                         "was made against, or send the whole pack",
                         d->path, old_path);
    if (patch(out, d, old) != RUVM_OK)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", d->path);
    hash(digest, out->data, out->size);
    return memcmp(digest, d->data + RUVM_DELTA_NEW_SHA256, HASH) == 0
               ? RUVM_OK
               : damaged(d, err, "what it makes has not the SHA-256 that it promises");
}

static int apply_files(const struct ruvm_map *map, const char *path, const char *old_path,
                       const char *output, struct ruvm_pack_delta *r, struct ruvm_error *err)
{
    struct delta d = {.path = path, .data = map->data, .size = map->size};
    struct ruvm_map old = {0};
    struct ruvm_buffer out = {0};
    int rc = read_header(&d, err);
    if (rc == RUVM_OK)
        rc = check_runs(&d, err);
    if (rc == RUVM_OK)
        rc = ruvm_file_map(&old, old_path, err);
    if (rc == RUVM_OK)
        rc = apply(&out, &d, &old, old_path, err);
    if (rc == RUVM_OK)
        rc = ruvm_file_write(output, out.data, out.size, err);
    size_t lists = RUVM_DELTA_RUNS + (size_t)d.n_runs * RUVM_DELTA_RUN_BYTES;
    *r = (struct ruvm_pack_delta){.old_bytes = d.old_bytes,
                                  .new_bytes = d.new_bytes,
                                  .delta_bytes = d.size,
                                  .n_sectors = n_sectors(d.new_bytes),
                                  .n_changed = (uint32_t)((d.size - lists) / SECTOR)};
    ruvm_buffer_free(&out);
    ruvm_file_unmap(&old);
    return rc;
}

int ruvm_pack_delta_apply(const char *delta, const char *old, const char *output,
                          struct ruvm_pack_delta *d, struct ruvm_error *err)
{
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, delta, err);
    if (rc != RUVM_OK)
        return rc;
    rc = apply_files(&map, delta, old, output, d, err);
    ruvm_file_unmap(&map);
    return rc;
}
