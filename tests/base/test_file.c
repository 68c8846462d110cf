/* Files: mapping of what is there and what is not; writing that leaves all or nothing. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/error.h"
#include "lib/base/file.h"

enum { NOBODY = 65534 };

static char folder[PATH_MAX];

/* Each test works in an empty folder that goes away with it. */
static void enter(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/ruvm-test-XXXXXX", tmp ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
    cr_assert_eq(chmod(folder, 0777), 0);
}

static void leave(void)
{
    cr_assert_eq(seteuid(getuid()), 0);
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            remove(d->d_name);
    closedir(dir);
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(file, .init = enter, .fini = leave);

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    fputs(text, f);
    cr_assert_eq(fclose(f), 0);
}

static void expect_content(const char *path, const char *text, size_t n)
{
    struct ruvm_error err = {0};
    struct ruvm_map map;
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(map.size, n);
    cr_assert_arr_eq(map.data, text, n);
    ruvm_file_unmap(&map);
}

static size_t files_here(void)
{
    size_t n = 0;
    DIR *dir = opendir(".");
    cr_assert_not_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

static void expect_map_fails(const char *path, const char *part)
{
    struct ruvm_error err = {0};
    struct ruvm_map map;
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_ERR_IO);
    cr_assert_eq(strncmp(err.text, path, strlen(path)), 0, "%s", err.text);
    cr_assert_not_null(strstr(err.text, part), "%s", err.text);
    ruvm_file_unmap(&map); /* nothing there: harmless */
}

static void expect_write_fails(const char *path, size_t n, const char *part)
{
    static const char data[100000];
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_file_write(path, data, n, &err), RUVM_ERR_IO);
    cr_assert_not_null(strstr(err.text, part), "%s", err.text);
}

/* ---- reading ------------------------------------------------------------------- */

Test(file, maps_a_file)
{
    put("a", "once upon a time");
    expect_content("a", "once upon a time", 16);
}

Test(file, an_empty_file_is_no_bytes_at_an_address)
{
    put("a", "");
    struct ruvm_map map;
    cr_assert_eq(ruvm_file_map(&map, "a", NULL), RUVM_OK);
    cr_assert_eq(map.size, 0);
    cr_assert_not_null(map.data);
    ruvm_file_unmap(&map);
    ruvm_file_unmap(&map);
}

Test(file, a_mapping_outlives_the_name)
{
    put("a", "still here");
    struct ruvm_map map;
    cr_assert_eq(ruvm_file_map(&map, "a", NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_write("a", "new", 3, NULL), RUVM_OK);
    cr_assert_arr_eq(map.data, "still here", 10);
    ruvm_file_unmap(&map);
}

Test(file, says_what_it_cannot_read)
{
    put("secret", "x");
    cr_assert_eq(chmod("secret", 0), 0);
    cr_assert_eq(mkdir("folder", 0777), 0);
    cr_assert_eq(symlink("loop", "loop"), 0);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(NOBODY), 0); /* root may read everything */
    expect_map_fails("missing", "No such file");
    expect_map_fails("missing/a", "No such file");
    expect_map_fails("folder", "is a directory");
    expect_map_fails("secret", "Permission denied");
    expect_map_fails("loop", "symbolic link");
    expect_map_fails("", "No such file");
}

Test(file, reads_a_pipe_to_its_end)
{
    enum { N = 3000000 }; /* more than the first reservation, twice */
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    if (fork() == 0) {
        FILE *f = fopen("pipe", "wb");
        for (uint32_t i = 0; f && i < N; i++)
            putc((int)(i * 7 >> 3 & 255), f);
        _exit(f && fclose(f) == 0 ? 0 : 1);
    }
    struct ruvm_map map;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_file_map(&map, "pipe", &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(map.size, N);
    for (uint32_t i = 0; i < N; i++)
        cr_assert_eq(map.data[i], i * 7 >> 3 & 255);
    ruvm_file_unmap(&map);
}

Test(file, reads_files_that_hide_their_size)
{
    expect_content("/dev/null", "", 0);
    struct ruvm_map map;
    cr_assert_eq(ruvm_file_map(&map, "/proc/self/status", NULL), RUVM_OK);
    cr_assert_eq(strncmp((const char *)map.data, "Name:", 5), 0);
    ruvm_file_unmap(&map);
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    cr_assert_not_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static long address_space_pages(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%ld", &pages), 1);
    fclose(f);
    return pages;
}

Test(file, leaves_no_descriptor_and_no_mapping)
{
    put("a", "x");
    size_t descriptors = open_descriptors();
    long pages = address_space_pages();
    for (int i = 0; i < 100; i++) {
        static const char *const paths[] = {"/proc/self/status", "a", "/dev/null", ".", "missing"};
        struct ruvm_map map;
        ruvm_file_map(&map, paths[i % 5], NULL);
        ruvm_file_unmap(&map);
        ruvm_file_write(i % 2 ? "b" : "missing/b", "y", 1, NULL);
    }
    cr_assert_eq(open_descriptors(), descriptors);
    cr_assert_lt(address_space_pages() - pages, 1024, "less than four streams' reservations");
}

#ifndef __SANITIZE_ADDRESS__ /* which needs an address space without limit */
Test(file, a_stream_without_end_is_refused)
{
    struct rlimit limit = {(rlim_t)1 << 28, (rlim_t)1 << 28};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    expect_map_fails("/dev/zero", "Cannot allocate memory");
}
#endif

/* ---- writing ------------------------------------------------------------------- */

Test(file, writes_a_new_file_and_nothing_else)
{
    mode_t mask = umask(027);
    cr_assert_eq(ruvm_file_write("a", "b\0c", 3, NULL), RUVM_OK);
    umask(mask);
    expect_content("a", "b\0c", 3);
    cr_assert_eq(files_here(), 1);
    struct stat st;
    cr_assert_eq(stat("a", &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0640, "the umask holds");
    cr_assert_eq(ruvm_file_write("empty", NULL, 0, NULL), RUVM_OK);
    expect_content("empty", "", 0);
}

Test(file, replaces_an_older_file_and_keeps_its_mode)
{
    put("a", "much longer than the new content");
    cr_assert_eq(chmod("a", 0600), 0);
    cr_assert_eq(ruvm_file_write("a", "new", 3, NULL), RUVM_OK);
    expect_content("a", "new", 3);
    struct stat st;
    cr_assert_eq(stat("a", &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(files_here(), 1);
}

Test(file, follows_a_symbolic_link)
{
    cr_assert_eq(mkdir("folder", 0777), 0);
    put("folder/real", "old");
    cr_assert_eq(symlink("folder/real", "link"), 0);
    cr_assert_eq(ruvm_file_write("link", "new", 3, NULL), RUVM_OK);
    expect_content("folder/real", "new", 3);
    struct stat st;
    cr_assert_eq(lstat("link", &st), 0);
    cr_assert(S_ISLNK(st.st_mode));
    cr_assert_eq(remove("folder/real"), 0);
}

Test(file, survives_what_a_killed_process_left)
{
    char left[64];
    snprintf(left, sizeof left, "a.tmp-%ld", (long)getpid());
    put(left, "half");
    cr_assert_eq(ruvm_file_write("a", "whole", 5, NULL), RUVM_OK);
    expect_content("a", "whole", 5);
    cr_assert_eq(files_here(), 1);
}

Test(file, pieces_appear_together_or_not_at_all)
{
    struct ruvm_file_output out;
    put("a", "old");
    cr_assert_eq(ruvm_file_create(&out, "a", NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_append(&out, "on", 2, NULL), RUVM_OK);
    expect_content("a", "old", 3);
    ruvm_file_abandon(&out);
    cr_assert_eq(files_here(), 1);
    cr_assert_eq(ruvm_file_create(&out, "a", NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_append(&out, "on", 2, NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_append(&out, "ce", 2, NULL), RUVM_OK);
    cr_assert_eq(ruvm_file_commit(&out, NULL), RUVM_OK);
    ruvm_file_abandon(&out);
    ruvm_file_abandon(&out);
    expect_content("a", "once", 4);
    cr_assert_eq(files_here(), 1);
}

Test(file, a_failed_write_leaves_the_older_file_and_no_other)
{
    put("a", "precious");
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {4096, limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    expect_write_fails("a", 100000, "File too large");
    expect_write_fails("b", 100000, "ulimit");
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect_content("a", "precious", 8);
    cr_assert_eq(files_here(), 1);
}

Test(file, says_what_it_cannot_write)
{
    cr_assert_eq(mkdir("folder", 0777), 0);
    cr_assert_eq(mkdir("closed", 0555), 0);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(NOBODY), 0);
    expect_write_fails("folder", 3, "is a directory");
    expect_write_fails("missing/a", 3, "folder must exist");
    expect_write_fails("closed/a", 3, "Permission denied");
    cr_assert_eq(files_here(), 2);
}

/* As nobody, who cannot replace a device, whatever the code under test tries. */
Test(file, a_device_is_written_not_replaced)
{
    if (geteuid() == 0)
        cr_assert_eq(seteuid(NOBODY), 0);
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_file_write("/dev/null", "x", 1, &err), RUVM_OK, "%s", err.text);
    expect_write_fails("/dev/full", 10, "No space left");
}

Test(file, a_pipe_is_written_not_replaced)
{
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    int fd = open("pipe", O_RDWR | O_NONBLOCK); /* both ends, so that nobody waits */
    cr_assert(fd >= 0);
    cr_assert_eq(ruvm_file_write("pipe", "text", 4, NULL), RUVM_OK);
    struct stat st;
    cr_assert_eq(lstat("pipe", &st), 0);
    cr_assert(S_ISFIFO(st.st_mode));
    char text[4];
    cr_assert_eq(read(fd, text, 4), 4);
    cr_assert_arr_eq(text, "text", 4);
    close(fd);
}

Test(file, a_dash_is_standard_output)
{
    int old = dup(STDOUT_FILENO);
    int fd = open("out", O_WRONLY | O_CREAT, 0600);
    cr_assert(old >= 0 && fd >= 0);
    cr_assert_eq(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    int rc = ruvm_file_write("-", "text", 4, NULL);
    cr_assert_eq(dup2(old, STDOUT_FILENO), STDOUT_FILENO);
    cr_assert_eq(rc, RUVM_OK);
    expect_content("out", "text", 4);
    cr_assert_eq(files_here(), 1, "no file of that name");
}

Test(file, a_full_standard_output_is_an_error)
{
    int old = dup(STDOUT_FILENO);
    int fd = open("/dev/full", O_WRONLY);
    cr_assert(old >= 0 && fd >= 0);
    cr_assert_eq(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    struct ruvm_error err = {0};
    int rc = ruvm_file_write("-", "text", 4, &err);
    cr_assert_eq(dup2(old, STDOUT_FILENO), STDOUT_FILENO);
    cr_assert_eq(rc, RUVM_ERR_IO);
    cr_assert_not_null(strstr(err.text, "standard output: cannot write"), "%s", err.text);
}
