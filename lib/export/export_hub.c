/* A Hugging Face directory: model.safetensors, config.json and, where there is a tokenizer,
 * tokenizer.json and tokenizer_config.json.
 *
 * All files are written under other names first and renamed when the last one is complete. The
 * folder is new, empty, or holds an earlier export: never anything that these files would be
 * mixed with.
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/safetensors_write.h"
#include "lib/export/export.h"

enum { WEIGHTS, CONFIG, TOKENIZER, TOKENIZER_CONFIG, N_FILES };

static const char *const names[N_FILES] = {"model.safetensors", "config.json", "tokenizer.json",
                                           "tokenizer_config.json"};

struct folder {
    const char *path;
    bool is_new; /* made by us, so that we take it away again */
    unsigned n_files;
    struct ruvm_file_output files[N_FILES];
    char *paths[N_FILES];
    uint64_t bytes;
};

/* ---- the folder ------------------------------------------------------------------- */

static bool is_ours(const struct folder *f, const char *name)
{
    for (unsigned i = 0; i < f->n_files; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int check_entries(const struct folder *f, struct ruvm_error *err)
{
    DIR *dir = opendir(f->path);
    int rc = RUVM_OK;
    if (!dir)
        return ruvm_fail(err, RUVM_ERR_IO, "%s: cannot read: %s", f->path, strerror(errno));
    for (struct dirent *e; rc == RUVM_OK && (e = readdir(dir)) != NULL;)
        if (!is_ours(f, e->d_name))
            rc = ruvm_fail(err, RUVM_ERR_IO,
                           "%s: holds %s, which does not belong to this export: name a new folder",
                           f->path, e->d_name);
    closedir(dir);
    return rc;
}

/* Whether the input stands in the folder, or is it. */
static bool holds_input(struct ruvm_arena *arena, const char *folder, const char *input)
{
    struct stat a, b;
    const char *slash = strrchr(input, '/');
    const char *of = slash ? ruvm_arena_text(arena, input, (size_t)(slash - input) + 1) : ".";
    if (stat(folder, &a) != 0)
        return false;
    if (stat(input, &b) == 0 && S_ISDIR(b.st_mode) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return true;
    return of && stat(of, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int open_folder(struct folder *f, struct ruvm_export_job *j)
{
    struct stat st;
    if (stat(f->path, &st) != 0) {
        f->is_new = mkdir(f->path, 0777) == 0;
        return f->is_new ? RUVM_OK
                         : ruvm_fail(j->err, RUVM_ERR_IO, "%s: cannot make this folder: %s",
                                     f->path, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode))
        return ruvm_fail(j->err, RUVM_ERR_IO,
                         "%s: is a file, but safetensors are written as a folder of several "
                         "(model.safetensors, config.json): name a folder",
                         f->path);
    if (holds_input(&j->arena, f->path, j->o->input))
        return ruvm_fail(j->err, RUVM_ERR_IO, "%s: is the folder of the input: name another one",
                         f->path);
    return check_entries(f, j->err);
}

static int create_files(struct folder *f, struct ruvm_export_job *j)
{
    int rc = RUVM_OK;
    for (unsigned i = 0; i < f->n_files && rc == RUVM_OK; i++) {
        size_t size = strlen(f->path) + strlen(names[i]) + 2;
        f->paths[i] = ruvm_arena_alloc(&j->arena, size, 1);
        if (!f->paths[i])
            return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a path");
        snprintf(f->paths[i], size, "%s/%s", f->path, names[i]);
        rc = ruvm_file_create(&f->files[i], f->paths[i], j->err);
    }
    return rc;
}

static int commit_files(struct folder *f, struct ruvm_error *err)
{
    int rc = RUVM_OK;
    for (unsigned i = 0; i < f->n_files && rc == RUVM_OK; i++)
        rc = ruvm_file_commit(&f->files[i], err);
    return rc;
}

static void close_folder(struct folder *f, bool done)
{
    for (unsigned i = 0; i < N_FILES; i++)
        ruvm_file_abandon(&f->files[i]);
    if (f->is_new && !done)
        rmdir(f->path);
}

/* ---- weights ----------------------------------------------------------------------- */

static int announce(struct folder *f, struct ruvm_export_job *j)
{
    struct ruvm_view *views = ruvm_arena_alloc(&j->arena, j->tensors.n, sizeof *views);
    if (!views)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the tensors");
    for (uint32_t i = 0; i < j->tensors.n; i++) {
        const struct ruvm_export_tensor *t = &j->tensors.items[i];
        views[i] = (struct ruvm_view){.name = t->name, .n_dims = t->rows ? 2 : 1};
        views[i].dims[0] = t->rows ? t->rows : t->cols;
        views[i].dims[1] = t->rows ? t->cols : 0;
    }
    j->r->n_tensors = j->tensors.n;
    return ruvm_safetensors_begin(&f->files[WEIGHTS], views, j->tensors.n, j->dtype, j->err);
}

static int write_tensor(struct folder *f, struct ruvm_export_job *j,
                        const struct ruvm_export_tensor *t)
{
    struct ruvm_arena arena = {0};
    float *row = ruvm_arena_alloc(&arena, t->cols, sizeof *row);
    int rc = row ? RUVM_OK : ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %s", t->name);
    for (uint32_t i = 0; rc == RUVM_OK && i < (t->rows ? t->rows : 1); i++) {
        struct ruvm_error why = {0};
        rc = ruvm_export_tensors_row(t, i, row);
        if (rc != RUVM_OK)
            break;
        rc = ruvm_safetensors_values(&f->files[WEIGHTS], j->dtype, row, t->cols, &why);
        if (rc == RUVM_ERR_UNSUPPORTED)
            rc = ruvm_fail(j->err, rc, "%s: row %u holds a value beyond the range of %s", t->name,
                           i, ruvm_dtype_name(j->dtype));
        else if (rc != RUVM_OK)
            rc = ruvm_fail(j->err, rc, "%s", why.text);
    }
    ruvm_arena_free(&arena);
    return rc;
}

static int write_weights(struct folder *f, struct ruvm_export_job *j)
{
    int rc = announce(f, j);
    for (uint32_t i = 0; i < j->tensors.n && rc == RUVM_OK; i++)
        rc = write_tensor(f, j, &j->tensors.items[i]);
    return rc;
}

/* ---- texts -------------------------------------------------------------------------- */

static int make_text(struct ruvm_buffer *text, const struct ruvm_export_job *j, unsigned file)
{
    switch (file) {
    case CONFIG: return ruvm_export_config(text, j);
    case TOKENIZER: return ruvm_export_vocab_json(text, &j->vocab, j->err);
    default: return ruvm_export_vocab_config(text, &j->vocab, j->source.model.context, j->err);
    }
}

static int write_texts(struct folder *f, const struct ruvm_export_job *j)
{
    int rc = RUVM_OK;
    for (unsigned i = CONFIG; i < f->n_files && rc == RUVM_OK; i++) {
        struct ruvm_buffer text = {0};
        rc = make_text(&text, j, i);
        if (rc == RUVM_OK)
            rc = ruvm_file_append(&f->files[i], text.data, text.size, j->err);
        ruvm_buffer_free(&text);
    }
    return rc;
}

/* ---- all of it ----------------------------------------------------------------------- */

static bool writes_tokenizer(struct ruvm_export_job *j)
{
    if (!j->source.has_vocab)
        ruvm_export_note(j, "there is no tokenizer to write (--tokenizer FILE adds one)");
    else if (j->vocab.not_utf8 < j->vocab.n)
        ruvm_export_note(j, "piece %u of the tokenizer is not UTF-8, so there is no tokenizer.json",
                         j->vocab.not_utf8);
    else if (j->vocab.n_renamed)
        ruvm_export_note(j, RUVM_EXPORT_RENAMED, j->vocab.n_renamed);
    if (j->source.has_vocab && (j->source.vocab.options & RUVM_TOKN_LINE_SPACES))
        ruvm_export_note(j,
                         "SentencePiece's table of characters is not known any more, so "
                         "tokenizer.json does not make line ends spaces");
    j->r->has_tokenizer = j->source.has_vocab && j->vocab.not_utf8 == j->vocab.n;
    return j->r->has_tokenizer;
}

static uint64_t bytes_of(const struct folder *f)
{
    uint64_t bytes = 0;
    struct stat st;
    for (unsigned i = 0; i < f->n_files; i++)
        bytes += stat(f->paths[i], &st) == 0 ? (uint64_t)st.st_size : 0;
    return bytes;
}

int ruvm_export_hub(struct ruvm_export_job *j)
{
    struct folder f = {.path = j->o->output};
    for (unsigned i = 0; i < N_FILES; i++)
        f.files[i] = (struct ruvm_file_output){.fd = -1};
    f.n_files = writes_tokenizer(j) ? N_FILES : TOKENIZER;
    int rc = open_folder(&f, j);
    if (rc == RUVM_OK)
        rc = create_files(&f, j);
    if (rc == RUVM_OK)
        rc = write_texts(&f, j);
    if (rc == RUVM_OK)
        rc = write_weights(&f, j);
    if (rc == RUVM_OK)
        rc = commit_files(&f, j->err);
    close_folder(&f, rc == RUVM_OK);
    j->r->n_files = f.n_files;
    j->r->bytes = rc == RUVM_OK ? bytes_of(&f) : 0;
    return rc;
}
