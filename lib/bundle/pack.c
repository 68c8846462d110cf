/* Makes packs: from a model and other parts, or one pack from another.
 *
 * All parts are first collected as views of mapped files, each checked for what its name
 * promises; then they are put in order, written, and signed. A signature is of all parts,
 * so one that came with the input stays only when the bytes do.
 */
#include <string.h>

#include "formats/formats.h"
#include "formats/mlp_read.h"
#include "formats/pack_write.h"
#include "formats/rag_read.h"
#include "formats/ruvm_diagnose.h"
#include "lib/base/error.h"
#include "lib/bundle/keys.h"
#include "lib/bundle/pack_open.h"
#include "lib/bundle/settings.h"
#include "lib/run/session.h"

struct job {
    const struct ruvm_pack_options *o;
    struct ruvm_error *err;
    struct ruvm_map input;
    struct ruvm_map files[RUVM_PACK_MAX_SECTIONS];
    struct ruvm_pack old; /* data NULL: the input is none */
    struct ruvm_buffer settings;
    struct ruvm_pack_part parts[RUVM_PACK_MAX_SECTIONS];
    unsigned n_parts;
};

/* ---- parts ------------------------------------------------------------------- */

static struct ruvm_pack_part *find(struct job *j, const char *name)
{
    for (unsigned i = 0; i < j->n_parts; i++)
        if (strcmp(j->parts[i].name, name) == 0)
            return &j->parts[i];
    return NULL;
}

static bool name_is_sound(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    return strlen(name) == 4 && strspn(name, letters) == 4 && !(name[0] >= '0' && name[0] <= '9');
}

/* Of the upper-case names a reader knows only the model's, and refuses a pack with others. */
static int check_name(struct job *j, const char *name)
{
    if (!name_is_sound(name))
        return ruvm_fail(j->err, RUVM_ERR_ARG,
                         "\"%s\" is no name of a section: four letters or digits, a letter first",
                         name);
    if (name[0] <= 'Z' && strcmp(name, RUVM_PACK_MODEL) != 0)
        return ruvm_fail(j->err, RUVM_ERR_ARG,
                         "\"%s\": a name with a capital is for sections that every reader must "
                         "know; begin your own with a small letter",
                         name);
    return RUVM_OK;
}

static int put(struct job *j, const char *name, const char *path, const void *data, size_t size)
{
    struct ruvm_pack_part *part = find(j, name);
    if (size == 0)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED, "%s: is empty; a section is not", path);
    if (!part && j->n_parts == RUVM_PACK_MAX_SECTIONS)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED, "%s: a pack has at most %d sections", path,
                         RUVM_PACK_MAX_SECTIONS);
    if (!part)
        part = &j->parts[j->n_parts++];
    *part = (struct ruvm_pack_part){
        .align_log2 = ruvm_pack_align_of(name, size), .data = data, .size = size};
    memcpy(part->name, name, 4);
    return RUVM_OK;
}

/* A foreign model is not for a chip: say what it is, and how to make an image of it. */
static int check_model(struct job *j, const char *path, const struct ruvm_map *m)
{
    struct ruvm_image img;
    struct ruvm_image_fault fault;
    const struct ruvm_format *format = ruvm_formats_probe(m->data, m->size);
    if (m->size < 4 || memcmp(m->data, RUVM_MAGIC, 4) != 0)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED, "%s: is %s%s, not a RUVM image%s", path,
                         format ? "a " : "",
                         format ? format->name : ruvm_formats_guess(m->data, m->size),
                         format ? ": make one with ruvm quantize" : "");
    if (ruvm_mlp_image_probe(m->data, m->size))
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is a classifier, which packs do not hold: use the image as it is",
                         path);
    int rc = ruvm_image_open(&img, m->data, m->size, &fault);
    if (rc != RUVM_OK)
        return ruvm_diagnose_fail(j->err, rc, path, &fault);
    if (img.version == RUVM_VERSION_V0)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is the bare RUVM layout v0, which no chip can run: make an image "
                         "of it with ruvm quantize",
                         path);
    return RUVM_OK;
}

/* What a chip would find out at a question is told here. */
static int check_knowledge(struct job *j, const char *path, const struct ruvm_map *m)
{
    struct ruvm_rag rag;
    struct ruvm_rag_fault fault = {0};
    int rc = ruvm_rag_open(&rag, m->data, m->size, &fault);
    if (rc == RUVM_OK)
        rc = ruvm_rag_check(&rag, &fault);
    if (rc == RUVM_OK)
        return RUVM_OK;
    return ruvm_fail(j->err, rc,
                     "%s: is no sound knowledge blob: byte %u%s%s: %s: make one with ruvm rag-add",
                     path, fault.off, fault.section[0] ? ", section " : "", fault.section,
                     fault.what ? fault.what : ruvm_status_text(rc));
}

/* A file becomes a section of that name. What gates and plugins hold is not known yet: they
 * are carried as they are. */
static int add(struct job *j, const char *name, const char *path, const struct ruvm_map *m)
{
    int rc = check_name(j, name);
    if (rc == RUVM_OK && strcmp(name, RUVM_PACK_MODEL) == 0)
        rc = check_model(j, path, m);
    if (rc == RUVM_OK && m->size && strcmp(name, RUVM_PACK_KNOWLEDGE) == 0)
        rc = check_knowledge(j, path, m);
    if (rc != RUVM_OK)
        return rc;
    if (strcmp(name, RUVM_PACK_SETTINGS) != 0)
        return put(j, name, path, m->data, m->size);
    j->settings.size = 0;
    rc = ruvm_settings_write(&j->settings, path, m->data, m->size, j->err);
    return rc == RUVM_OK ? put(j, name, path, j->settings.data, j->settings.size) : rc;
}

/* ---- input ------------------------------------------------------------------- */

static int take_pack(struct job *j, const char *path)
{
    int rc = ruvm_pack_open_bytes(&j->old, path, j->input.data, j->input.size, j->err);
    if (rc != RUVM_OK)
        return rc;
    for (unsigned i = 0; i < j->old.n_sections; i++) {
        struct ruvm_pack_section s = ruvm_pack_section_at(&j->old, i);
        struct ruvm_pack_part *part = &j->parts[j->n_parts++];
        *part = (struct ruvm_pack_part){.align_log2 = s.align_log2, .data = s.data, .size = s.size};
        memcpy(part->name, s.name, sizeof part->name);
    }
    return RUVM_OK;
}

static int take_input(struct job *j)
{
    const char *path = j->o->input;
    if (!path)
        return RUVM_OK;
    if (strcmp(path, "demo") == 0) {
        const struct ruvm_map demo = {.data = ruvm_demo_start,
                                      .size = (size_t)(ruvm_demo_end - ruvm_demo_start)};
        return add(j, RUVM_PACK_MODEL, path, &demo);
    }
    int rc = ruvm_file_map(&j->input, path, j->err);
    if (rc != RUVM_OK)
        return rc;
    return ruvm_pack_probe(j->input.data, j->input.size) ? take_pack(j, path)
                                                         : add(j, RUVM_PACK_MODEL, path, &j->input);
}

static int take_files(struct job *j)
{
    int rc = RUVM_OK;
    if (j->o->n_files > RUVM_PACK_MAX_SECTIONS)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED, "a pack has at most %d sections",
                         RUVM_PACK_MAX_SECTIONS);
    for (uint32_t i = 0; i < j->o->n_files && rc == RUVM_OK; i++) {
        const struct ruvm_pack_file *f = &j->o->files[i];
        rc = ruvm_file_map(&j->files[i], f->path, j->err);
        if (rc == RUVM_OK)
            rc = add(j, f->name, f->path, &j->files[i]);
    }
    return rc;
}

static int take_away(struct job *j)
{
    for (uint32_t i = 0; i < j->o->n_removed; i++) {
        struct ruvm_pack_part *part = find(j, j->o->removed[i]);
        if (!part)
            return ruvm_fail(j->err, RUVM_ERR_ARG, "%s: has no section \"%s\" to leave out",
                             j->o->input ? j->o->input : "the pack", j->o->removed[i]);
        *part = j->parts[--j->n_parts];
    }
    return j->n_parts
               ? RUVM_OK
               : ruvm_fail(j->err, RUVM_ERR_ARG, "a pack needs at least one section: give a model");
}

/* ---- output ------------------------------------------------------------------- */

/* What the signature is of did not change: then the pack is the old one. */
static bool is_old(const struct job *j, const struct ruvm_buffer *out)
{
    size_t table = RUVM_PACK_TABLE;
    return out->size == j->old.size &&
           memcmp(out->data + table, j->old.data + table, out->size - table) == 0;
}

static int sign(struct job *j, struct ruvm_buffer *out, bool *dropped)
{
    uint8_t seed[RUVM_KEYS_BYTES];
    bool had_one = j->old.data && j->old.is_signed;
    *dropped = had_one && !j->o->sign_key && !is_old(j, out);
    if (had_one && !j->o->sign_key && !*dropped)
        memcpy(out->data, j->old.data, RUVM_PACK_TABLE);
    if (!j->o->sign_key)
        return RUVM_OK;
    int rc = ruvm_keys_private(seed, j->o->sign_key, j->err);
    if (rc == RUVM_OK)
        ruvm_pack_sign(out->data, seed);
    memset(seed, 0, sizeof seed);
    return rc;
}

static int write_pack(struct job *j, struct ruvm_buffer *out, struct ruvm_pack_result *r)
{
    struct ruvm_pack pack;
    ruvm_pack_sort(j->parts, j->n_parts);
    int rc = ruvm_pack_write(out, j->parts, j->n_parts);
    if (rc != RUVM_OK)
        return ruvm_fail(j->err, rc,
                         rc == RUVM_ERR_MEMORY ? "memory is short for a pack"
                                               : "a pack is at most 4 GiB large");
    bool dropped;
    rc = sign(j, out, &dropped);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_pack_open(&pack, out->data, out->size, NULL);
    if (rc != RUVM_OK)
        return ruvm_fail(j->err, rc, "the pack does not stand at a multiple of 16 in memory");
    ruvm_pack_describe(r, &pack);
    r->signature_dropped = dropped;
    return j->o->output ? ruvm_file_write(j->o->output, out->data, out->size, j->err) : RUVM_OK;
}

int ruvm_pack(const struct ruvm_pack_options *o, struct ruvm_pack_result *r, struct ruvm_error *err)
{
    struct job j = {.o = o, .err = err};
    struct ruvm_buffer out = {0};
    *r = (struct ruvm_pack_result){0};
    int rc = take_input(&j);
    if (rc == RUVM_OK)
        rc = take_files(&j);
    if (rc == RUVM_OK)
        rc = take_away(&j);
    if (rc == RUVM_OK)
        rc = write_pack(&j, &out, r);
    ruvm_buffer_free(&out);
    ruvm_buffer_free(&j.settings);
    for (unsigned i = 0; i < RUVM_PACK_MAX_SECTIONS; i++)
        ruvm_file_unmap(&j.files[i]);
    ruvm_file_unmap(&j.input);
    return rc;
}

/* ---- verify -------------------------------------------------------------------- */

static int check_signature(const struct ruvm_pack *pack, const char *path, const char *key,
                           struct ruvm_error *err)
{
    uint8_t wanted[RUVM_KEYS_BYTES];
    int rc = key ? ruvm_keys_public(wanted, key, err) : RUVM_OK;
    if (rc != RUVM_OK)
        return rc;
    if (!pack->is_signed)
        return ruvm_fail(err, RUVM_ERR_MISMATCH, "%s: is not signed", path);
    if (key && memcmp(wanted, pack->key, sizeof wanted) != 0)
        return ruvm_fail(err, RUVM_ERR_MISMATCH, "%s: is signed by another key than %s", path, key);
    if (!ruvm_pack_signature_holds(pack->data))
        return ruvm_fail(err, RUVM_ERR_MISMATCH,
                         "%s: its signature does not belong to its contents; do not trust it",
                         path);
    return RUVM_OK;
}

int ruvm_pack_verify(const char *path, const char *key, struct ruvm_pack_result *r,
                     struct ruvm_error *err)
{
    struct ruvm_pack_input in;
    int rc = ruvm_pack_open_file(&in, path, err);
    if (rc != RUVM_OK)
        return rc;
    ruvm_pack_describe(r, &in.pack);
    rc = check_signature(&in.pack, path, key, err);
    ruvm_pack_close_file(&in);
    return rc;
}
