/* The console of a chip, between a line and a person or a script. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/serial/monitor.h"

enum { MOST = 400 };

/* A chip that answers each line after a while, and a script. */
struct world {
    const char *script;   /* what is typed */
    const char *last;     /* of each answer */
    const char *greeting; /* said at the start */
    double slow_s;        /* until an answer comes */
    unsigned end_after;   /* bytes shown; 0: never */
    bool vanishes;        /* when something is sent */
    double now_s, ready_s;
    char waiting[MOST]; /* from the chip */
    char shown[MOST], sent[MOST];
    double sent_s[8];
    unsigned n_sent;
    bool gone;
};

static int line_read(void *state, uint8_t *bytes, size_t cap, unsigned ms)
{
    struct world *w = state;
    size_t n = strlen(w->waiting);
    w->now_s += ms / 1e3;
    if (w->gone)
        return RUVM_ERR_IO;
    if (n == 0 || w->now_s < w->ready_s)
        return 0;
    n = n < cap ? n : cap;
    n = n < 3 ? n : 3; /* in pieces */
    memcpy(bytes, w->waiting, n);
    memmove(w->waiting, w->waiting + n, strlen(w->waiting + n) + 1);
    return (int)n;
}

static int line_write(void *state, const uint8_t *bytes, size_t n)
{
    struct world *w = state;
    strncat(w->sent, (const char *)bytes, n);
    strncat(w->waiting, "echo ", MOST - strlen(w->waiting) - 1);
    strncat(w->waiting, (const char *)bytes, n);
    strncat(w->waiting, w->last, MOST - strlen(w->waiting) - 1);
    w->sent_s[w->n_sent++ % 8] = w->now_s;
    w->ready_s = w->now_s + w->slow_s;
    w->gone = w->vanishes;
    return RUVM_OK;
}

static int line_baud(void *state, uint32_t baud)
{
    (void)state;
    return baud == 7 ? RUVM_ERR_UNSUPPORTED : RUVM_OK;
}

static double line_clock(void *state)
{
    return ((struct world *)state)->now_s;
}

static int type(void *user, uint8_t *bytes, size_t cap)
{
    struct world *w = user;
    const char *end = strchr(w->script, '\n');
    if (!end)
        return -1;
    size_t n = (size_t)(end - w->script) + 1;
    cr_assert(n <= cap);
    memcpy(bytes, w->script, n);
    w->script = end + 1;
    return (int)n;
}

static int show(void *user, const uint8_t *bytes, size_t n)
{
    struct world *w = user;
    strncat(w->shown, (const char *)bytes, n);
    return w->end_after && strlen(w->shown) >= w->end_after;
}

static int run(struct world *w, bool is_script, struct ruvm_error *err)
{
    const struct ruvm_line line = {.name = "double",
                                   .state = w,
                                   .read = line_read,
                                   .write = line_write,
                                   .set_baud = line_baud,
                                   .clock_s = line_clock};
    const struct ruvm_monitor m = {
        .idle_s = 2, .is_script = is_script, .type = type, .show = show, .user = w};
    if (w->greeting)
        strcpy(w->waiting, w->greeting);
    return ruvm_monitor_run(&line, &m, err);
}

/* The second line waits for the end of the first answer and not for the silence in it. */
Test(monitor, a_script_waits_for_answers)
{
    struct world w = {
        .script = "a\nb\n", .last = "ok n=1\r\n", .greeting = "boot\n", .slow_s = 1.5};
    cr_assert_eq(run(&w, true, NULL), RUVM_OK);
    cr_assert_str_eq(w.sent, "a\nb\n");
    cr_assert_str_eq(w.shown, "boot\necho a\nok n=1\r\necho b\nok n=1\r\n");
    cr_assert(w.sent_s[0] > 2 && w.sent_s[1] - w.sent_s[0] > 1.5 && w.sent_s[1] - w.sent_s[0] < 2);
    cr_assert(w.now_s - w.sent_s[1] < 2);
}

Test(monitor, a_failure_is_an_answer_and_a_word_like_ok_is_none)
{
    struct world w = {.script = "a\nb\n", .last = "error no\n"};
    cr_assert_eq(run(&w, true, NULL), RUVM_OK);
    cr_assert(w.sent_s[1] - w.sent_s[0] < 1);
    struct world v = {.script = "a\nb\n", .last = "okay\nis ok\n"};
    cr_assert_eq(run(&v, true, NULL), RUVM_OK);
    cr_assert(v.sent_s[1] - v.sent_s[0] > 2);
    cr_assert_str_eq(v.shown, "echo a\nokay\nis ok\necho b\nokay\nis ok\n");
}

Test(monitor, a_script_without_lines_ends_with_silence)
{
    struct world w = {.script = "", .last = "", .greeting = "hello\nok\n"};
    cr_assert_eq(run(&w, true, NULL), RUVM_OK);
    cr_assert_str_eq(w.shown, "hello\nok\n");
    cr_assert(w.now_s > 2 && w.now_s < 3);
}

Test(monitor, a_person_does_not_wait)
{
    struct world w = {.script = "a\nb\n", .last = "ok\n", .slow_s = 1.5};
    cr_assert_eq(run(&w, false, NULL), RUVM_OK);
    cr_assert_str_eq(w.sent, "a\nb\n");
    cr_assert(w.sent_s[1] - w.sent_s[0] < 0.1);
}

Test(monitor, ends_when_it_is_enough_or_the_line_is_gone)
{
    struct world w = {.script = "a\n", .last = "ok\n", .greeting = "one two three", .end_after = 5};
    struct ruvm_error err = {0};
    cr_assert_eq(run(&w, true, &err), RUVM_OK);
    cr_assert_str_eq(w.shown, "one tw");
    struct world v = {.script = "a\nb\n", .last = "ok\n", .vanishes = true};
    cr_assert_eq(run(&v, true, &err), RUVM_ERR_IO);
    cr_assert_not_null(strstr(err.text, "double: the line is gone"));
}

Test(monitor, a_speed_that_the_line_does_not_have)
{
    struct world w = {0};
    struct ruvm_error err = {0};
    const struct ruvm_line line = {.name = "double", .state = &w, .set_baud = line_baud};
    const struct ruvm_monitor good = {0}, bad = {.baud = 7};
    cr_assert_eq(ruvm_monitor_prepare(&line, &good, &err), RUVM_OK);
    cr_assert_eq(ruvm_monitor_prepare(&line, &bad, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert_str_eq(err.text, "double: has no speed of 7 baud");
}
