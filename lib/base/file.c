/* Files: inputs are mapped, outputs appear whole or not at all.
 *
 * What cannot be mapped (a pipe, a file of /proc) is read into anonymous memory
 * of the same kind, so that unmapping is one call in every case. An output is
 * written beside its final name and renamed over it; only a device, a pipe or
 * standard output, which cannot be replaced, is written in place.
 */
#define _GNU_SOURCE /* mremap */
#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"

enum {
    FIRST_STREAM_BYTES = 1 << 20,
    MAX_STREAM_BYTES = 1 << 30, /* /dev/zero ends here, not where memory does */
};

static const uint8_t nothing[1];

/* What a person can do about it. */
static const char *advice(int error)
{
    switch (error) {
    case ENOENT: return " (check the name; the folder must exist)";
    case EACCES:
    case EPERM: return " (check the permissions)";
    case ENOSPC:
    case EDQUOT: return " (free some space)";
    case EFBIG: return " (see ulimit -f; a stream may have 1 GiB)";
    default: return "";
    }
}

static int fail(struct ruvm_error *err, const char *path, const char *what)
{
    int error = errno;
    return ruvm_fail(err, RUVM_ERR_IO, "%s: %s: %s%s", path, what, strerror(error), advice(error));
}

/* ---- reading ------------------------------------------------------------------- */

/* A stream on its way into anonymous memory. */
struct stream {
    uint8_t *p;
    size_t size, cap;
};

static bool stream_start(struct stream *s)
{
    *s = (struct stream){.cap = FIRST_STREAM_BYTES};
    s->p = mmap(NULL, s->cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return s->p != MAP_FAILED;
}

static bool stream_resize(struct stream *s, size_t cap)
{
    void *p = mremap(s->p, s->cap, cap, MREMAP_MAYMOVE);
    if (p == MAP_FAILED)
        return false;
    s->p = p;
    s->cap = cap;
    return true;
}

/* Reads up to the end; false with errno. */
static bool stream_read(struct stream *s, int fd)
{
    for (;;) {
        ssize_t n = read(fd, s->p + s->size, s->cap - s->size);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
        s->size += n > 0 ? (size_t)n : 0;
        if (s->size < s->cap)
            continue;
        if (s->cap == MAX_STREAM_BYTES) {
            errno = EFBIG;
            return false;
        }
        if (!stream_resize(s, 2 * s->cap))
            return false;
    }
}

static int map_stream(struct ruvm_map *map, int fd, const char *path, struct ruvm_error *err)
{
    struct stream s;
    if (!stream_start(&s))
        return fail(err, path, "cannot read");
    if (!stream_read(&s, fd) || (s.size && !stream_resize(&s, s.size))) {
        int rc = fail(err, path, "cannot read");
        munmap(s.p, s.cap);
        return rc;
    }
    *map = (struct ruvm_map){.data = s.p, .size = s.size, .base = s.p};
    if (s.size == 0) {
        munmap(s.p, s.cap);
        *map = (struct ruvm_map){.data = nothing};
    }
    return RUVM_OK;
}

static int map_open_file(struct ruvm_map *map, int fd, const char *path, struct ruvm_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail(err, path, "cannot read");
    if (S_ISDIR(st.st_mode))
        return ruvm_fail(err, RUVM_ERR_IO, "%s: is a directory; name a file in it", path);
    if (S_ISREG(st.st_mode) && st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p != MAP_FAILED) {
            *map =
                (struct ruvm_map){.data = p, .size = (size_t)st.st_size, .base = p, .is_file = 1};
            return RUVM_OK;
        }
    }
    return map_stream(map, fd, path, err);
}

int ruvm_file_map(struct ruvm_map *map, const char *path, struct ruvm_error *err)
{
    *map = (struct ruvm_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, path, "cannot open");
    int rc = map_open_file(map, fd, path, err);
    close(fd);
    return rc;
}

void ruvm_file_unmap(struct ruvm_map *map)
{
    if (map->base)
        munmap(map->base, map->size);
    *map = (struct ruvm_map){0};
}

void ruvm_file_release(const struct ruvm_map *map, size_t first, size_t last)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    first = ruvm_align_up(first, page);
    last -= last % page;
    if (map->is_file && first < last)
        madvise((uint8_t *)map->base + first, last - first, MADV_DONTNEED);
}

/* ---- writing ------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n) {
        ssize_t written = write(fd, p, n);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            p += written;
            n -= (size_t)written;
        }
    }
    return true;
}

/* A stream is written in place: there is nothing that a rename could replace. */
static int create_stream(struct ruvm_file_output *out, struct ruvm_error *err)
{
    out->fd = open(out->path, O_WRONLY | O_CLOEXEC);
    return out->fd >= 0 ? RUVM_OK : fail(err, out->path, "cannot open");
}

/* Behind a symbolic link the file is replaced, not the link. */
static int create_temporary(struct ruvm_file_output *out, bool exists, struct ruvm_error *err)
{
    char *real = exists ? realpath(out->path, NULL) : NULL;
    out->target = real ? real : strdup(out->path);
    size_t size = out->target ? strlen(out->target) + sizeof ".tmp-" + 3 * sizeof(long) : 0;
    out->temporary = size ? malloc(size) : NULL;
    if (!out->temporary)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: out of memory", out->path);
    snprintf(out->temporary, size, "%s.tmp-%ld", out->target, (long)getpid());
    unlink(out->temporary); /* of a process that had our number and was killed */
    out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return out->fd >= 0 ? RUVM_OK : fail(err, out->path, "cannot create");
}

int ruvm_file_create(struct ruvm_file_output *out, const char *path, struct ruvm_error *err)
{
    *out = (struct ruvm_file_output){.path = path, .fd = -1};
    if (strcmp(path, "-") == 0) {
        out->path = "standard output";
        out->fd = STDOUT_FILENO;
        return RUVM_OK;
    }
    struct stat st = {0};
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode))
        return ruvm_fail(err, RUVM_ERR_IO, "%s: is a directory; name a file in it", path);
    out->mode = st.st_mode & 07777;
    int rc = exists && !S_ISREG(st.st_mode) ? create_stream(out, err)
                                            : create_temporary(out, exists, err);
    if (rc != RUVM_OK)
        ruvm_file_abandon(out);
    return rc;
}

int ruvm_file_append(struct ruvm_file_output *out, const void *data, size_t n,
                     struct ruvm_error *err)
{
    return write_all(out->fd, data, n) ? RUVM_OK : fail(err, out->path, "cannot write");
}

/* Permissions, then the disk; false with errno. */
static bool finish(struct ruvm_file_output *out)
{
    bool ok = (!out->mode || fchmod(out->fd, out->mode) == 0) &&
              (fsync(out->fd) == 0 || errno == EINVAL); /* some file systems cannot */
    int error = errno, fd = out->fd;
    out->fd = -1;
    if (close(fd) != 0 && ok)
        return false;
    errno = error;
    return ok && rename(out->temporary, out->target) == 0;
}

int ruvm_file_commit(struct ruvm_file_output *out, struct ruvm_error *err)
{
    int rc = RUVM_OK;
    if (out->temporary && !finish(out))
        rc = fail(err, out->path, "cannot write");
    else if (out->temporary)
        out->temporary[0] = '\0'; /* nothing of that name is left */
    ruvm_file_abandon(out);
    return rc;
}

void ruvm_file_abandon(struct ruvm_file_output *out)
{
    if (out->fd >= 0 && out->fd != STDOUT_FILENO)
        close(out->fd);
    if (out->temporary && out->temporary[0])
        unlink(out->temporary);
    free(out->target);
    free(out->temporary);
    *out = (struct ruvm_file_output){.fd = -1};
}

int ruvm_file_write(const char *path, const void *data, size_t n, struct ruvm_error *err)
{
    struct ruvm_file_output out;
    int rc = ruvm_file_create(&out, path, err);
    if (rc == RUVM_OK)
        rc = ruvm_file_append(&out, data, n, err);
    if (rc == RUVM_OK)
        rc = ruvm_file_commit(&out, err);
    ruvm_file_abandon(&out);
    return rc;
}
