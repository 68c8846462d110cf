/* Packs on their way: compressed, as a difference, as source text.
 *
 * The compressed form is a gzip file, which any system opens; its header has no name and no
 * time. A difference holds whole sectors of flash, the unit in which a chip erases: applying
 * it in place needs no memory but one sector.
 */
#define ZLIB_CONST
#include <string.h>
#include <zlib.h>

#include "formats/delta_layout.h"
#include "lib/base/buffer.h"
#include "lib/base/error.h"
#include "lib/bundle/pack_open.h"

enum { GZIP = 16, WINDOW_BITS = 15, BEST = 9, MEMORY_LEVEL = 9, STEP_BYTES = 1 << 16 };

static int no_memory(struct ruvm_error *err, const char *path)
{
    return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", path);
}

/* ---- gzip --------------------------------------------------------------------- */

/* A pack, checked, or a delta, which is checked when it is applied. */
static int open_cargo(struct ruvm_map *map, const char *path, struct ruvm_error *err)
{
    struct ruvm_pack pack;
    int rc = ruvm_file_map(map, path, err);
    if (rc != RUVM_OK || (map->size >= 4 && memcmp(map->data, RUVM_DELTA_MAGIC, 4) == 0))
        return rc;
    rc = ruvm_pack_open_bytes(&pack, path, map->data, map->size, err);
    if (rc != RUVM_OK)
        ruvm_file_unmap(map);
    return rc;
}

static int deflate_all(struct ruvm_buffer *out, const struct ruvm_map *in)
{
    z_stream z = {0};
    if (in->size > UINT32_MAX || deflateInit2(&z, BEST, Z_DEFLATED, WINDOW_BITS + GZIP,
                                              MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return RUVM_ERR_MEMORY;
    size_t bound = deflateBound(&z, in->size);
    z.next_out = ruvm_buffer_zeros(out, bound);
    z.avail_out = (uInt)bound;
    z.next_in = in->data;
    z.avail_in = (uInt)in->size;
    int rc = z.next_out && bound <= UINT32_MAX && deflate(&z, Z_FINISH) == Z_STREAM_END
                 ? RUVM_OK
                 : RUVM_ERR_MEMORY;
    out->size = z.total_out;
    deflateEnd(&z);
    return rc;
}

int ruvm_pack_compress(const char *path, const char *output, uint64_t bytes[2],
                       struct ruvm_error *err)
{
    struct ruvm_map map;
    struct ruvm_buffer out = {0};
    int rc = open_cargo(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = deflate_all(&out, &map);
    if (rc != RUVM_OK)
        rc = no_memory(err, path);
    bytes[0] = map.size;
    bytes[1] = out.size;
    if (rc == RUVM_OK)
        rc = ruvm_file_write(output, out.data, out.size, err);
    ruvm_buffer_free(&out);
    ruvm_file_unmap(&map);
    return rc;
}

/* Room for another step behind what was written. */
static bool more_room(struct ruvm_buffer *out, z_stream *z)
{
    uint8_t *p = ruvm_buffer_zeros(out, STEP_BYTES);
    z->next_out = p;
    z->avail_out = STEP_BYTES;
    return p != NULL && out->size <= UINT32_MAX;
}

static int inflate_all(struct ruvm_buffer *out, const struct ruvm_map *in)
{
    z_stream z = {.next_in = in->data, .avail_in = (uInt)in->size};
    int state = Z_OK;
    if (in->size > UINT32_MAX || inflateInit2(&z, WINDOW_BITS + GZIP) != Z_OK)
        return RUVM_ERR_MEMORY;
    while (state == Z_OK && more_room(out, &z)) {
        state = inflate(&z, Z_NO_FLUSH);
        out->size -= z.avail_out;
    }
    bool whole = state == Z_STREAM_END && z.avail_in == 0;
    inflateEnd(&z);
    if (out->failed || state == Z_MEM_ERROR || state == Z_OK)
        return RUVM_ERR_MEMORY;
    return whole ? RUVM_OK : RUVM_ERR_CORRUPT;
}

int ruvm_pack_decompress(const char *path, const char *output, uint64_t bytes[2],
                         struct ruvm_error *err)
{
    struct ruvm_map map;
    struct ruvm_pack pack;
    struct ruvm_buffer out = {0};
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = inflate_all(&out, &map);
    if (rc == RUVM_ERR_CORRUPT)
        rc = ruvm_fail(err, rc,
                       "%s: is no whole gzip file of ruvm pack --compress: copy or download it "
                       "again",
                       path);
    else if (rc != RUVM_OK)
        rc = no_memory(err, path);
    if (rc == RUVM_OK && !(out.size >= 4 && memcmp(out.data, RUVM_DELTA_MAGIC, 4) == 0))
        rc = ruvm_pack_open_bytes(&pack, path, out.data, out.size, err);
    bytes[0] = map.size;
    bytes[1] = out.size;
    if (rc == RUVM_OK)
        rc = ruvm_file_write(output, out.data, out.size, err);
    ruvm_buffer_free(&out);
    ruvm_file_unmap(&map);
    return rc;
}

/* ---- C ------------------------------------------------------------------------ */

static bool is_identifier(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return *name && strspn(name, letters) == strlen(name) && !(*name >= '0' && *name <= '9');
}

static void emit_c(struct ruvm_buffer *out, const char *name, const struct ruvm_pack *pack)
{
    enum { A_LINE = 24 };
    ruvm_buffer_printf(out,
                       "/* A pack of ruvm pack --emit-c, %u bytes: see ruvm-pack(5). */\n"
                       "#include <stdint.h>\n\n"
                       "enum { %s_bytes = %u };\n"
                       "static const uint8_t %s[%s_bytes] __attribute__((aligned(%d))) = {\n",
                       (unsigned)pack->size, name, (unsigned)pack->size, name, name,
                       1 << RUVM_PACK_MODEL_ALIGN_LOG2);
    for (uint32_t i = 0; i < pack->size; i++)
        ruvm_buffer_printf(out, "%d,%s", pack->data[i],
                           i % A_LINE == A_LINE - 1 || i + 1 == pack->size ? "\n" : "");
    ruvm_buffer_printf(out, "};\n");
}

int ruvm_pack_emit_c(const char *path, const char *name, const char *output, uint64_t *bytes,
                     struct ruvm_error *err)
{
    struct ruvm_pack_input in;
    struct ruvm_buffer out = {0};
    if (!is_identifier(name))
        return ruvm_fail(err, RUVM_ERR_ARG, "\"%s\" cannot be the name of an array in C", name);
    int rc = ruvm_pack_open_file(&in, path, err);
    if (rc != RUVM_OK)
        return rc;
    emit_c(&out, name, &in.pack);
    rc = ruvm_buffer_ok(&out) ? ruvm_file_write(output, out.data, out.size, err)
                              : no_memory(err, path);
    *bytes = out.size;
    ruvm_buffer_free(&out);
    ruvm_pack_close_file(&in);
    return rc;
}
