/* Output: what all verbs say the same way.
 *
 * Results go to standard output, everything else to standard error. Names that
 * come from files are shown with their control characters made visible, so that
 * no model can drive a terminal. Progress is drawn only where a person watches.
 */
#define _DEFAULT_SOURCE
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void *ruvm_output_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p) {
        ruvm_output_error("", "out of memory");
        exit(RUVM_EXIT_FAILED);
    }
    return p;
}

void *ruvm_output_grow(void *array, size_t *cap, size_t wanted, size_t size)
{
    enum { FIRST_BYTES = 256 };
    if (wanted <= *cap)
        return array;
    size_t more = 2 * wanted + FIRST_BYTES / size;
    void *bigger = ruvm_output_alloc(more, size);
    if (*cap)
        memcpy(bigger, array, *cap * size);
    free(array);
    *cap = more;
    return bigger;
}

/* ---- messages ------------------------------------------------------------ */

/* Whether the character of `length` bytes would act on a terminal rather than show. */
static bool is_control(const uint8_t *c, size_t length)
{
    return (length == 1 && (*c < ' ' || *c == 0x7F)) ||
           (length == 2 && c[0] == 0xC2 && c[1] < 0xA0);
}

/* n bytes into out, which has room for VISIBLE times as many and a NUL. */
enum { VISIBLE = 4 };
static void make_visible(char *out, const uint8_t *in, size_t n, bool keeps_lines)
{
    for (size_t i = 0; i < n;) {
        size_t length = ruvm_output_utf8(in + i, n - i);
        bool stays = keeps_lines && in[i] == '\n';
        if (length == 0 || (is_control(in + i, length) && !stays)) {
            out += snprintf(out, VISIBLE + 1, "\\x%02X", in[i]);
            i++;
            continue;
        }
        memcpy(out, in + i, length);
        out += length;
        i += length;
    }
    *out = '\0';
}

/* Messages repeat names out of files. */
void ruvm_output_error(const char *verb, const char *fmt, ...)
{
    char text[sizeof((struct ruvm_error *)0)->text + 256], visible[VISIBLE * sizeof text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    make_visible(visible, (const uint8_t *)text, strlen(text), true);
    ruvm_output_progress_end();
    fflush(stdout);
    fprintf(stderr, "ruvm%s%s: %s\n", *verb ? " " : "", verb, visible);
}

int ruvm_output_failure(const char *verb, const struct ruvm_error *err)
{
    if (ruvm_output_signal()) {
        ruvm_output_error(verb, "interrupted");
        return 128 + ruvm_output_signal();
    }
    ruvm_output_error(verb, "%s", *err->text ? err->text : ruvm_status_text(err->code));
    return err->code == RUVM_ERR_ARG ? RUVM_EXIT_USAGE : RUVM_EXIT_FAILED;
}

static int flush_errno; /* of the first flush that failed */

void ruvm_output_flush(void)
{
    errno = 0;
    if (fflush(stdout) != 0 && flush_errno == 0)
        flush_errno = errno;
}

int ruvm_output_finish(const char *verb, int rc)
{
    ruvm_output_flush();
    if (flush_errno == 0 && !ferror(stdout))
        return rc;
    ruvm_output_error(verb, "standard output: %s",
                      flush_errno ? strerror(flush_errno) : "write failed");
    return rc ? rc : RUVM_EXIT_FAILED;
}

/* ---- texts --------------------------------------------------------------- */

size_t ruvm_output_utf8(const uint8_t *bytes, size_t n)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (n == 0)
        return 0;
    uint8_t b = bytes[0];
    size_t length = b < 0x80 ? 1 : b < 0xC0 ? 0 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : b < 0xF8 ? 4 : 0;
    if (length == 0 || length > n)
        return 0;
    uint32_t code = length == 1 ? b : b & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (bytes[i] & 0x3F);
    }
    bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    return code < least[length] || surrogate || code > 0x10FFFF ? 0 : length;
}

char *ruvm_output_visible(const void *bytes, size_t n)
{
    char *text = ruvm_output_alloc(n * VISIBLE + 1, 1);
    make_visible(text, bytes, n, false);
    return text;
}

const char *ruvm_output_grouped(uint64_t value)
{
    enum { ROTATION = 8, LONGEST = 32 };
    static char texts[ROTATION][LONGEST];
    static unsigned next;
    char *end = texts[next++ % ROTATION] + LONGEST - 1;
    unsigned digits = 0;
    *end = '\0';
    do {
        if (digits && digits % 3 == 0)
            *--end = ',';
        *--end = (char)('0' + value % 10);
        digits++;
    } while (value /= 10);
    return end;
}

const char *ruvm_output_many(uint64_t value, const char *noun)
{
    enum { ROTATION = 8, LONGEST = 64 };
    static char texts[ROTATION][LONGEST];
    static unsigned next;
    char *text = texts[next++ % ROTATION];
    snprintf(text, LONGEST, "%s %s%s", ruvm_output_grouped(value), noun, value == 1 ? "" : "s");
    return text;
}

void ruvm_output_word(const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+=:,@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        fputs(word, stdout);
        return;
    }
    putchar('\'');
    for (; *word; word++)
        fputs(*word == '\'' ? "'\\''" : (char[]){*word, '\0'}, stdout);
    putchar('\'');
}

uint64_t ruvm_output_peak_rss_bytes(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (uint64_t)usage.ru_maxrss * 1024; /* Linux counts in KiB */
}

/* ---- signals ------------------------------------------------------------- */

static volatile sig_atomic_t caught, caught_ms;

/* Only what POSIX allows in a handler. */
static sig_atomic_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (sig_atomic_t)((t.tv_sec * 1000 + t.tv_nsec / 1000000) & 0x3FFFFFFF);
}

/* timeout(1) sends to the process and to its group: twice, and means it once. */
static void catch (int number)
{
    enum { AT_ONCE_MS = 200 };
    int saved = errno;
    if (!caught) {
        caught_ms = clock_ms();
        caught = number;
    } else if (clock_ms() - caught_ms > AT_ONCE_MS) {
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = saved;
}

/* A shell makes background jobs ignore the keyboard; so it stays. */
static void catch_unless_ignored(int number, const struct sigaction *action)
{
    struct sigaction old;
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(number, action, NULL);
}

void ruvm_output_catch_signals(void)
{
    struct sigaction action = {.sa_handler = catch};
    action.sa_flags = 0; /* no SA_RESTART: a read of the keyboard ends */
    sigemptyset(&action.sa_mask);
    catch_unless_ignored(SIGINT, &action);
    catch_unless_ignored(SIGTERM, &action);
}

int ruvm_output_signal(void)
{
    return caught;
}

/* ---- progress ------------------------------------------------------------ */

static struct {
    enum { NONE, LINE, PLAIN } style;
    char stage[64];
    double stage_start, last_drawn; /* seconds */
    double first_share, last_share; /* a resumed stage does not begin at 0 */
    unsigned last_tenth;            /* PLAIN says every tenth once */
    bool drawn;                     /* a LINE stands on the terminal */
} progress;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void ruvm_output_time_left(char *text, size_t size, double first, double done, double elapsed)
{
    double left = (1 - done) * elapsed / (done - first);
    *text = '\0';
    if (done - first <= 0.02 || elapsed <= 0.5 || left < 1)
        return; /* earlier the estimate only jumps about */
    if (left < 120)
        snprintf(text, size, ", %.0f s left", left);
    else
        snprintf(text, size, ", %.0f min left", left / 60);
}

static void draw_line(double done, const char *left)
{
    fprintf(stderr, "\r\033[K%s %3.0f %%%s", progress.stage, done * 100, left);
    fflush(stderr);
    progress.drawn = true;
}

static void start_stage(const char *stage, double share)
{
    snprintf(progress.stage, sizeof progress.stage, "%s", stage);
    progress.stage_start = now();
    progress.last_drawn = 0;
    progress.first_share = share;
    progress.last_tenth = 0;
}

static int report(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    if (progress.style == NONE)
        return caught;
    double share = total ? (double)done / (double)total : 0;
    if (strncmp(stage, progress.stage, sizeof progress.stage - 1) != 0 ||
        share < progress.last_share) /* the same work for the next model */
        start_stage(stage, share);
    progress.last_share = share;
    char left[32];
    double t = now();
    ruvm_output_time_left(left, sizeof left, progress.first_share, share, t - progress.stage_start);
    if (progress.style == LINE && t - progress.last_drawn > 0.1) {
        draw_line(share, left);
        progress.last_drawn = t;
    }
    unsigned tenth = (unsigned)(share * 10);
    if (progress.style == PLAIN && tenth > progress.last_tenth) {
        fprintf(stderr, "%s %u %%%s\n", progress.stage, tenth * 10, left);
        progress.last_tenth = tenth;
    }
    return caught;
}

struct ruvm_progress ruvm_output_progress(const char *when)
{
    if (strcmp(when, "plain") == 0)
        progress.style = PLAIN;
    else if (strcmp(when, "auto") == 0 && isatty(STDERR_FILENO))
        progress.style = LINE;
    return (struct ruvm_progress){.report = report};
}

void ruvm_output_progress_end(void)
{
    if (progress.drawn)
        fputs("\r\033[K", stderr);
    progress.drawn = false;
}
