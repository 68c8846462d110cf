/* Files: map an input, write an output that appears whole or not at all.
 *
 * Workstation side only. Messages name the file and what to do: a directory,
 * an unreadable or empty file, a full disk are normal cases.
 */
#ifndef RUVM_BASE_FILE_H
#define RUVM_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

struct ruvm_error;

struct ruvm_map {
    const uint8_t *data; /* read-only; never NULL after success */
    size_t size;         /* bytes; may be 0 */
    void *base;          /* private */
};

/* Maps a regular file (a pipe or other stream is read whole). RUVM_ERR_IO. */
int ruvm_file_map(struct ruvm_map *map, const char *path, struct ruvm_error *err);
void ruvm_file_unmap(struct ruvm_map *map);

/* Writes to "<path>.tmp-<pid>" in the same folder, syncs, renames over path.
 * On any failure (full disk included) the temporary is removed and an older
 * file at path is untouched. RUVM_ERR_IO. path "-" is standard output. */
int ruvm_file_write(const char *path, const void *data, size_t n, struct ruvm_error *err);

/* The same piece by piece:
 *
 *     rc = ruvm_file_create(&out, path, err);
 *     rc = rc == RUVM_OK ? ruvm_file_append(&out, data, n, err) : rc; ...
 *     rc = rc == RUVM_OK ? ruvm_file_finish(&out, err) : rc;
 *     ruvm_file_drop(&out); */
struct ruvm_file_out {
    const char *path; /* borrowed */
    int fd;
    unsigned mode;            /* of the file that is replaced; 0: none is */
    char *target, *temporary; /* NULL: written in place */
};

int ruvm_file_create(struct ruvm_file_out *out, const char *path, struct ruvm_error *err);
int ruvm_file_append(struct ruvm_file_out *out, const void *data, size_t n, struct ruvm_error *err);
/* Now the file is there. */
int ruvm_file_finish(struct ruvm_file_out *out, struct ruvm_error *err);
/* Gives up what was not finished, and frees; also after a failure, create's included. */
void ruvm_file_drop(struct ruvm_file_out *out);

#endif
