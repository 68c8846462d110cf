/* Writes and reads the state of a run; what is read is checked whole before it is used. */
#define _POSIX_C_SOURCE 200809L /* access */
#include "lib/train/checkpoint.h"

#include <string.h>
#include <unistd.h>

#include "lib/base/buffer.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/base/file.h"

enum { VERSION = 2, HEADER_BYTES = 32, CURVE_BYTES = 16, CRC_BYTES = 4 };
static const char magic[4] = {'R', 'V', 'T', 'R'};

static void put_u64(struct ruvm_buffer *b, uint64_t x)
{
    ruvm_buffer_u32(b, (uint32_t)x);
    ruvm_buffer_u32(b, (uint32_t)(x >> 32));
}

static void put_f32(struct ruvm_buffer *b, const float *x, size_t n)
{
    uint8_t *to = ruvm_buffer_zeros(b, n * sizeof *x);
    for (size_t i = 0; to && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        ruvm_store_u32(to + 4 * i, bits);
    }
}

int ruvm_checkpoint_write(const struct ruvm_checkpoint *c, const char *path, struct ruvm_error *err)
{
    const struct ruvm_optimizer *o = c->optimizer;
    struct ruvm_buffer b = {0};
    ruvm_buffer_bytes(&b, magic, sizeof magic);
    ruvm_buffer_u32(&b, VERSION);
    ruvm_buffer_u32(&b, c->identity);
    ruvm_buffer_u32(&b, c->step);
    put_u64(&b, o->n);
    ruvm_buffer_u32(&b, c->n_curve);
    float seconds = (float)c->seconds;
    put_f32(&b, &seconds, 1);
    put_f32(&b, o->values, o->n);
    put_f32(&b, o->mean, o->n);
    put_f32(&b, o->square, o->n);
    for (uint32_t i = 0; i < c->n_curve; i++) {
        uint64_t bits;
        memcpy(&bits, &c->curve[i].sum, sizeof bits);
        put_u64(&b, bits);
        put_u64(&b, c->curve[i].positions);
    }
    ruvm_buffer_u32(&b, ruvm_crc32(0, b.data, b.size));
    int rc = ruvm_buffer_ok(&b)
                 ? ruvm_file_write(path, b.data, b.size, err)
                 : ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short for the checkpoint", path);
    ruvm_buffer_free(&b);
    return rc;
}

/* ---- reading --------------------------------------------------------------------- */

static int check_bytes(const struct ruvm_map *map, const char *path, struct ruvm_error *err)
{
    const uint8_t *p = map->data;
    if (map->size < HEADER_BYTES + CRC_BYTES || memcmp(p, magic, sizeof magic) != 0)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: is no checkpoint of a training run", path);
    if (ruvm_load_u32(p + 4) != VERSION)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: is a checkpoint of version %u, this program writes %d; "
                         "start again without resuming",
                         path, ruvm_load_u32(p + 4), VERSION);
    size_t end = map->size - CRC_BYTES;
    if (ruvm_crc32(0, p, end) != ruvm_load_u32(p + end))
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "%s: the checkpoint is damaged (its checksum is wrong); start again "
                         "without resuming",
                         path);
    return RUVM_OK;
}

static int check_run(const struct ruvm_checkpoint *c, const struct ruvm_map *map, const char *path,
                     struct ruvm_error *err)
{
    const uint8_t *p = map->data;
    size_t end = map->size - CRC_BYTES;
    size_t expected =
        HEADER_BYTES + 3 * sizeof(float) * c->optimizer->n + (size_t)c->n_curve * CURVE_BYTES;
    if (ruvm_load_u32(p + 8) != c->identity || ruvm_load_u64(p + 16) != c->optimizer->n ||
        ruvm_load_u32(p + 24) != c->n_curve || end != expected)
        return ruvm_fail(err, RUVM_ERR_MISMATCH,
                         "%s: the checkpoint is of another run: model, types, text, seed, steps or "
                         "rates differ; give the same ones, or start again without resuming",
                         path);
    return RUVM_OK;
}

static const uint8_t *get_f32(float *x, size_t n, const uint8_t *from)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = ruvm_load_u32(from + 4 * i);
        memcpy(&x[i], &bits, sizeof bits);
    }
    return from + 4 * n;
}

int ruvm_checkpoint_probe(const char *path, struct ruvm_error *err)
{
    struct ruvm_map map;
    if (access(path, F_OK) != 0)
        return RUVM_OK;
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = check_bytes(&map, path, err);
    ruvm_file_unmap(&map);
    return rc;
}

int ruvm_checkpoint_read(struct ruvm_checkpoint *c, const char *path, struct ruvm_error *err)
{
    struct ruvm_map map;
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = check_bytes(&map, path, err);
    if (rc == RUVM_OK)
        rc = check_run(c, &map, path, err);
    if (rc == RUVM_OK) {
        const uint8_t *p = map.data + HEADER_BYTES;
        c->step = ruvm_load_u32(map.data + 12);
        float seconds;
        get_f32(&seconds, 1, map.data + 28);
        c->seconds = (double)seconds;
        p = get_f32(c->optimizer->values, c->optimizer->n, p);
        p = get_f32(c->optimizer->mean, c->optimizer->n, p);
        p = get_f32(c->optimizer->square, c->optimizer->n, p);
        for (uint32_t i = 0; i < c->n_curve; i++, p += CURVE_BYTES) {
            uint64_t bits = ruvm_load_u64(p);
            memcpy(&c->curve[i].sum, &bits, sizeof bits);
            c->curve[i].positions = ruvm_load_u64(p + 8);
        }
    }
    ruvm_file_unmap(&map);
    return rc;
}
