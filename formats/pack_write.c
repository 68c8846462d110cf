/* Writer of the pack: places the sections, then fills table and header around them.
 *
 * Nothing but the arguments enters the file, and ed25519 signatures have no randomness, so
 * the same parts and the same key give the same bytes on every machine.
 */
#include "formats/pack_write.h"

#include <nettle/eddsa.h>
#include <nettle/sha2.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/base/status.h"

enum {
    MAX_SMALL_BYTES = 1024, /* what may share the first sector with the header and table */
};

/* Kinds in the order in which they stand; what is not here comes last, by name. */
static const char *const order[] = {RUVM_PACK_SETTINGS, RUVM_PACK_GATE, RUVM_PACK_PLUGIN,
                                    RUVM_PACK_MODEL, RUVM_PACK_KNOWLEDGE};
enum { N_ORDER = sizeof order / sizeof *order };

uint8_t ruvm_pack_align_of(const char *name, size_t size)
{
    bool small = size <= MAX_SMALL_BYTES && memcmp(name, RUVM_PACK_MODEL, 4) != 0;
    return small ? RUVM_PACK_MIN_ALIGN_LOG2 : RUVM_PACK_SECTOR_LOG2;
}

static unsigned rank(const struct ruvm_pack_part *p)
{
    unsigned i = 0;
    while (i < N_ORDER && memcmp(order[i], p->name, 4) != 0)
        i++;
    return i;
}

static bool comes_before(const struct ruvm_pack_part *a, const struct ruvm_pack_part *b)
{
    if (a->align_log2 != b->align_log2)
        return a->align_log2 < b->align_log2;
    if (rank(a) != rank(b))
        return rank(a) < rank(b);
    return memcmp(a->name, b->name, 4) < 0;
}

void ruvm_pack_sort(struct ruvm_pack_part *parts, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        for (unsigned j = i; j > 0 && comes_before(&parts[j], &parts[j - 1]); j--) {
            struct ruvm_pack_part t = parts[j];
            parts[j] = parts[j - 1];
            parts[j - 1] = t;
        }
    }
}

static void store_entry(uint8_t *entry, const struct ruvm_pack_part *p, size_t off)
{
    struct sha256_ctx sha;
    memcpy(entry + RUVM_PACK_SEC_NAME, p->name, 4);
    ruvm_store_u32(entry + RUVM_PACK_SEC_OFF, (uint32_t)off);
    ruvm_store_u32(entry + RUVM_PACK_SEC_SIZE, (uint32_t)p->size);
    ruvm_store_u32(entry + RUVM_PACK_SEC_CRC, ruvm_crc32(0, p->data, p->size));
    entry[RUVM_PACK_SEC_ALIGN] = p->align_log2;
    sha256_init(&sha);
    sha256_update(&sha, p->size, p->data);
    sha256_digest(&sha, RUVM_PACK_SHA256_BYTES, entry + RUVM_PACK_SEC_SHA256);
}

/* The table must be there already: the header's CRC covers it. */
static void store_crc(uint8_t *pack)
{
    size_t n = ruvm_load_u16(pack + RUVM_PACK_N_SECTIONS);
    uint32_t crc = ruvm_crc32(0, pack, RUVM_PACK_CRC);
    crc = ruvm_crc32(crc, pack + RUVM_PACK_TABLE, n * RUVM_PACK_SEC_BYTES);
    ruvm_store_u32(pack + RUVM_PACK_CRC, crc);
}

/* Where each part begins; returns the end of the last. */
static size_t place(size_t *offsets, const struct ruvm_pack_part *parts, unsigned n)
{
    size_t end = RUVM_PACK_TABLE + (size_t)n * RUVM_PACK_SEC_BYTES;
    for (unsigned i = 0; i < n; i++) {
        offsets[i] = ruvm_align_up(end, (size_t)1 << parts[i].align_log2);
        end = offsets[i] + parts[i].size;
    }
    return end;
}

int ruvm_pack_write(struct ruvm_buffer *out, const struct ruvm_pack_part *parts, unsigned n)
{
    size_t offsets[RUVM_PACK_MAX_SECTIONS];
    if (n == 0 || n > RUVM_PACK_MAX_SECTIONS)
        return RUVM_ERR_UNSUPPORTED;
    size_t bytes = place(offsets, parts, n);
    if (bytes > UINT32_MAX)
        return RUVM_ERR_UNSUPPORTED;
    uint8_t *pack = ruvm_buffer_zeros(out, bytes);
    if (!pack)
        return RUVM_ERR_MEMORY;
    size_t table_end = RUVM_PACK_TABLE + (size_t)n * RUVM_PACK_SEC_BYTES;
    memset(pack + table_end, RUVM_PACK_GAP, bytes - table_end);
    for (unsigned i = 0; i < n; i++) {
        memcpy(pack + offsets[i], parts[i].data, parts[i].size);
        store_entry(pack + RUVM_PACK_TABLE + (size_t)i * RUVM_PACK_SEC_BYTES, &parts[i],
                    offsets[i]);
    }
    memcpy(pack, RUVM_PACK_MAGIC, 4);
    ruvm_store_u16(pack + RUVM_PACK_VERSION_AT, RUVM_PACK_VERSION);
    ruvm_store_u16(pack + RUVM_PACK_N_SECTIONS, (uint16_t)n);
    ruvm_store_u32(pack + RUVM_PACK_FILE_BYTES, (uint32_t)bytes);
    store_crc(pack);
    return RUVM_OK;
}

/* What is signed: the header's own bytes and the table, whose SHA-256 stand for the rest. */
static size_t signed_bytes(uint8_t *message, const uint8_t *pack)
{
    size_t table = (size_t)ruvm_load_u16(pack + RUVM_PACK_N_SECTIONS) * RUVM_PACK_SEC_BYTES;
    memcpy(message, pack, RUVM_PACK_HDR_BYTES);
    memcpy(message + RUVM_PACK_HDR_BYTES, pack + RUVM_PACK_TABLE, table);
    return RUVM_PACK_HDR_BYTES + table;
}

enum { MAX_SIGNED_BYTES = RUVM_PACK_HDR_BYTES + RUVM_PACK_MAX_SECTIONS * RUVM_PACK_SEC_BYTES };

void ruvm_pack_sign(uint8_t *pack, const uint8_t *seed)
{
    uint8_t message[MAX_SIGNED_BYTES], *key = pack + RUVM_PACK_KEY;
    ruvm_store_u32(pack + RUVM_PACK_FLAGS, RUVM_PACK_FLAG_SIGNED);
    store_crc(pack);
    size_t n = signed_bytes(message, pack);
    ed25519_sha512_public_key(key, seed);
    ed25519_sha512_sign(key, seed, n, message, pack + RUVM_PACK_SIGNATURE);
}

bool ruvm_pack_signature_holds(const uint8_t *pack)
{
    uint8_t message[MAX_SIGNED_BYTES];
    size_t n = signed_bytes(message, pack);
    return ed25519_sha512_verify(pack + RUVM_PACK_KEY, n, message, pack + RUVM_PACK_SIGNATURE) == 1;
}
