/* Blob lock: a file named BLOB.lock, locked as long as its owner lives and removed behind it. */
#define _GNU_SOURCE /* flock */
#include "lib/bundle/blob_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/error.h"

/* Whether the file of that name is still the one that was locked. */
static bool is_same_file(const struct ruvm_blob_lock *l)
{
    struct stat here, there;
    return fstat(l->fd, &here) == 0 && stat(l->path, &there) == 0 && here.st_ino == there.st_ino &&
           here.st_dev == there.st_dev;
}

int ruvm_blob_lock_take(struct ruvm_blob_lock *l, const char *blob, struct ruvm_error *err)
{
    *l = (struct ruvm_blob_lock){.path = malloc(strlen(blob) + sizeof ".lock"), .fd = -1};
    if (!l->path)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", blob);
    strcpy(l->path, blob);
    strcat(l->path, ".lock");
    do {
        if (l->fd >= 0)
            close(l->fd); /* its last owner has just removed it */
        l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (l->fd < 0)
            return ruvm_fail(err, RUVM_ERR_IO,
                             "%s: cannot create: %s (the folder must exist and "
                             "be writable)",
                             l->path, strerror(errno));
        if (flock(l->fd, LOCK_EX | LOCK_NB) != 0)
            return ruvm_fail(err, RUVM_ERR_IO,
                             "%s: another process is adding to it: try again when it is done",
                             blob);
    } while (!is_same_file(l));
    l->is_ours = true;
    return RUVM_OK;
}

void ruvm_blob_lock_release(struct ruvm_blob_lock *l)
{
    if (l->is_ours)
        unlink(l->path);
    if (l->path && l->fd >= 0)
        close(l->fd);
    free(l->path);
    *l = (struct ruvm_blob_lock){0};
}
