/* A lock file beside a blob keeps a second writer from building on what is about to be replaced.
 *
 *     struct ruvm_blob_lock lock = {0};
 *     rc = ruvm_blob_lock_take(&lock, path, err);
 *     ruvm_blob_lock_release(&lock);                    whatever came of it
 */
#ifndef RUVM_BUNDLE_BLOB_LOCK_H
#define RUVM_BUNDLE_BLOB_LOCK_H

#include <stdbool.h>

struct ruvm_error;

struct ruvm_blob_lock {
    char *path; /* of the lock file; NULL: there is none */
    int fd;
    bool is_ours;
};

/* RUVM_ERR_IO: another process has it, or the folder cannot be written to. */
int ruvm_blob_lock_take(struct ruvm_blob_lock *l, const char *blob, struct ruvm_error *err);
void ruvm_blob_lock_release(struct ruvm_blob_lock *l);

#endif
