/* Opens packs on a workstation, where time is there to look at everything.
 *
 * A chip opens a pack by its table alone. Here a file is read whole, the SHA-256 of every
 * section included, so that what is flashed, signed or compared is known to be sound.
 */
#include "lib/bundle/pack_open.h"

#include <nettle/sha2.h>
#include <string.h>

#include "formats/ruvm_diagnose.h"
#include "lib/base/error.h"

/* ---- checks ------------------------------------------------------------------ */

static int check_hashes(const struct ruvm_pack *pack, const char *name, struct ruvm_error *err)
{
    uint8_t digest[RUVM_PACK_SHA256_BYTES];
    struct sha256_ctx sha;
    sha256_init(&sha);
    for (unsigned i = 0; i < pack->n_sections; i++) {
        struct ruvm_pack_section s = ruvm_pack_section_at(pack, i);
        sha256_update(&sha, s.size, s.data);
        sha256_digest(&sha, sizeof digest, digest);
        if (memcmp(digest, s.sha256, sizeof digest) != 0)
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "%s: section %s at byte 0x%x: its SHA-256 is not the one of the "
                             "table, though its CRC-32 is; do not trust this file, get it again",
                             name, s.name, (unsigned)s.off);
    }
    return RUVM_OK;
}

int ruvm_pack_open_bytes(struct ruvm_pack *pack, const char *name, const void *data, size_t size,
                         struct ruvm_error *err)
{
    struct ruvm_image_fault fault;
    if (!ruvm_pack_probe(data, size))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: is not a pack (it does not begin with RPAK); make one with ruvm pack",
                         name);
    int rc = ruvm_pack_open(pack, data, size, &fault);
    if (rc == RUVM_OK)
        rc = ruvm_pack_check(pack, &fault);
    if (rc != RUVM_OK)
        return ruvm_diagnose_pack(err, rc, name, &fault);
    if (pack->size != size)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: the pack ends at byte %u, but the file has %zu: cut off what does "
                         "not belong to it",
                         name, (unsigned)pack->size, size);
    return check_hashes(pack, name, err);
}

int ruvm_pack_open_file(struct ruvm_pack_input *in, const char *path, struct ruvm_error *err)
{
    int rc = ruvm_file_map(&in->map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_pack_open_bytes(&in->pack, path, in->map.data, in->map.size, err);
    if (rc != RUVM_OK)
        ruvm_file_unmap(&in->map);
    return rc;
}

void ruvm_pack_close_file(struct ruvm_pack_input *in)
{
    ruvm_file_unmap(&in->map);
}

/* ---- the model in a pack ------------------------------------------------------ */

/* The image in it checks itself, so the rest of the pack is not read here. */
int ruvm_pack_open_model(struct ruvm_file *file, struct ruvm_error *err)
{
    struct ruvm_pack pack;
    struct ruvm_pack_section model;
    struct ruvm_image_fault fault;
    if (!ruvm_pack_probe(file->data, file->size))
        return RUVM_OK;
    int rc = ruvm_pack_open(&pack, file->data, file->size, &fault);
    if (rc != RUVM_OK)
        return ruvm_diagnose_pack(err, rc, file->name, &fault);
    if (!ruvm_pack_find(&pack, RUVM_PACK_MODEL, &model))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: is a pack without a model: ruvm pack --list shows what it holds",
                         file->name);
    file->pack = file->data;
    file->pack_size = file->size;
    file->data = model.data;
    file->size = model.size;
    return RUVM_OK;
}

int ruvm_pack_open_knowledge(const uint8_t **data, size_t *size, const char *path,
                             struct ruvm_error *err)
{
    struct ruvm_pack pack;
    struct ruvm_pack_section s;
    if (!ruvm_pack_probe(*data, *size))
        return RUVM_OK;
    int rc = ruvm_pack_open_bytes(&pack, path, *data, *size, err);
    if (rc != RUVM_OK)
        return rc;
    if (!ruvm_pack_find(&pack, RUVM_PACK_KNOWLEDGE, &s))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: the pack holds no knowledge: add a blob with ruvm pack --knowledge",
                         path);
    *data = s.data;
    *size = s.size;
    return RUVM_OK;
}

/* ---- for people ----------------------------------------------------------------- */

/* 2 * n digits and NUL. */
static void put_hex(char *text, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * n] = '\0';
}

static const char *kind_of(const char *name)
{
    static const char *const kinds[][2] = {
        {RUVM_PACK_SETTINGS, "settings"},   {RUVM_PACK_MODEL, "model"},
        {RUVM_PACK_KNOWLEDGE, "knowledge"}, {RUVM_PACK_GATE, "gate"},
        {RUVM_PACK_PLUGIN, "plugin"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i][0], name) == 0)
            return kinds[i][1];
    return memcmp(name, "plg", 3) == 0 ? "plugin" : "other";
}

void ruvm_pack_describe(struct ruvm_pack_result *r, const struct ruvm_pack *pack)
{
    *r = (struct ruvm_pack_result){
        .bytes = pack->size, .n_sections = pack->n_sections, .is_signed = pack->is_signed};
    if (pack->is_signed)
        put_hex(r->key, pack->key, RUVM_PACK_KEY_BYTES);
    for (unsigned i = 0; i < pack->n_sections; i++) {
        struct ruvm_pack_section s = ruvm_pack_section_at(pack, i);
        struct ruvm_pack_entry *e = &r->sections[i];
        memcpy(e->name, s.name, sizeof e->name);
        e->kind = kind_of(s.name);
        e->off_bytes = s.off;
        e->size_bytes = s.size;
        e->align_bytes = 1u << s.align_log2;
        e->crc32 = s.crc;
        put_hex(e->sha256, s.sha256, RUVM_PACK_SHA256_BYTES);
    }
}

int ruvm_pack_list(const char *path, struct ruvm_pack_result *r, struct ruvm_error *err)
{
    struct ruvm_pack_input in;
    int rc = ruvm_pack_open_file(&in, path, err);
    if (rc != RUVM_OK)
        return rc;
    ruvm_pack_describe(r, &in.pack);
    ruvm_pack_close_file(&in);
    return RUVM_OK;
}

int ruvm_pack_extract(const char *path, const char *section, const char *output, uint64_t *bytes,
                      struct ruvm_error *err)
{
    struct ruvm_pack_input in;
    struct ruvm_pack_section s = {0};
    int rc = ruvm_pack_open_file(&in, path, err);
    if (rc != RUVM_OK)
        return rc;
    if (strlen(section) == 4 && ruvm_pack_find(&in.pack, section, &s))
        rc = ruvm_file_write(output, s.data, s.size, err);
    else
        rc = ruvm_fail(err, RUVM_ERR_ARG,
                       "%s: has no section \"%s\": ruvm pack --list shows those it has", path,
                       section);
    *bytes = s.size;
    ruvm_pack_close_file(&in);
    return rc;
}
