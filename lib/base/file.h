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
    int is_file;         /* private: pages can be read again */
};

/* Maps a regular file (a pipe or other stream is read whole). RUVM_ERR_IO. */
int ruvm_file_map(struct ruvm_map *map, const char *path, struct ruvm_error *err);
void ruvm_file_unmap(struct ruvm_map *map);
/* The bytes first .. last may leave memory: they are read again from the file if needed. */
void ruvm_file_release(const struct ruvm_map *map, size_t first, size_t last);

/* Writes to "<path>.tmp-<pid>" in the same folder, syncs, renames over path.
 * On any failure (full disk included) the temporary is removed and an older
 * file at path is untouched. RUVM_ERR_IO. path "-" is standard output. */
int ruvm_file_write(const char *path, const void *data, size_t n, struct ruvm_error *err);

/* The same in pieces, for what is too large to be held:
 *
 *     rc = ruvm_file_create(&out, path, err);
 *     while (rc == RUVM_OK && ...)
 *         rc = ruvm_file_append(&out, data, n, err);
 *     if (rc == RUVM_OK)
 *         rc = ruvm_file_commit(&out, err);
 *     ruvm_file_abandon(&out);
 */
struct ruvm_file_output {
    const char *path;         /* for messages; borrowed */
    char *target, *temporary; /* owned; NULL: a stream, written in place */
    unsigned mode;            /* of the file that is replaced, or 0 */
    int fd;                   /* -1: closed */
};

/* After a failure nothing needs abandoning, but it does no harm. */
int ruvm_file_create(struct ruvm_file_output *out, const char *path, struct ruvm_error *err);
int ruvm_file_append(struct ruvm_file_output *out, const void *data, size_t n,
                     struct ruvm_error *err);
int ruvm_file_commit(struct ruvm_file_output *out, struct ruvm_error *err);
/* Removes what was not committed; nothing to do after a commit. */
void ruvm_file_abandon(struct ruvm_file_output *out);

#endif
