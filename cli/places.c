/* Places for files, before minutes of work: whether something can be written there, and whether
 * it would replace what is read.
 */
#define _XOPEN_SOURCE 700 /* realpath */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder of a path, "." when it names none; to be freed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    char *folder = ruvm_output_alloc(n + 2, 1);
    memcpy(folder, n ? path : ".", n ? n : 1);
    return folder;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool same_inode(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Of two files that are not there yet: the same name in the same folder. */
static bool same_place(const char *a, const char *b)
{
    struct stat sa, sb;
    char *folder_a = folder_of(a), *folder_b = folder_of(b);
    bool same = strcmp(name_of(a), name_of(b)) == 0 && stat(folder_a, &sa) == 0 &&
                stat(folder_b, &sb) == 0 && same_inode(&sa, &sb);
    free(folder_a);
    free(folder_b);
    return same;
}

bool ruvm_places_same(const char *a, const char *b)
{
    struct stat sa, sb;
    if (!a || !b)
        return false;
    bool has_a = stat(a, &sa) == 0, has_b = stat(b, &sb) == 0;
    if (has_a && has_b)
        return S_ISREG(sa.st_mode) && same_inode(&sa, &sb);
    return !has_a && !has_b && same_place(a, b);
}

int ruvm_places_check(const char *verb, const char *output)
{
    struct stat st;
    if (stat(output, &st) == 0 && S_ISDIR(st.st_mode)) {
        ruvm_output_error(verb, "%s: is a directory; name a file in it", output);
        return RUVM_EXIT_FAILED;
    }
    if (stat(output, &st) == 0 && !S_ISREG(st.st_mode))
        return RUVM_EXIT_DONE;             /* a device or a pipe is written to where it is */
    char *target = realpath(output, NULL); /* behind a link; a file is replaced in its folder */
    char *folder = folder_of(target ? target : output);
    int rc = RUVM_EXIT_DONE;
    if (access(folder, W_OK) != 0) {
        ruvm_output_error(verb, "%s: cannot create: %s: %s", output, folder, strerror(errno));
        rc = RUVM_EXIT_FAILED;
    }
    free(target);
    free(folder);
    return rc;
}

int ruvm_places_check_plot(const struct ruvm_args *args, const char *verb,
                           const char *const *inputs, unsigned n)
{
    const char *plot = ruvm_args_text(args, "plot");
    if (!plot)
        return RUVM_EXIT_DONE;
    if (!*plot)
        return ruvm_args_usage(args, "--plot: the name of the file is empty");
    if (strcmp(plot, "-") == 0)
        return ruvm_args_usage(args, "--plot -: name a file; standard output has the results");
    for (unsigned i = 0; i < n; i++)
        if (ruvm_places_same(inputs[i], plot))
            return ruvm_args_usage(args, "%s would be overwritten: choose another --plot FILE",
                                   inputs[i]);
    return ruvm_places_check(verb, plot);
}
