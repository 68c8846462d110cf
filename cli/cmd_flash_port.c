/* The chip at a serial port: what it was given, and its console. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd_flash.h"

enum { LEAVE = 0x1D }; /* Ctrl-] */

/* ---- what was written ------------------------------------------------------------- */

void ruvm_cmd_flash_print(const struct ruvm_flash_options *o, const struct ruvm_flash_result *r)
{
    const struct ruvm_flash_written *w = &r->written;
    printf("%s: the %s: ", o->port, r->family);
    if (w->n_changed == 0)
        printf("all %s sectors are right already (MD5)", ruvm_output_grouped(w->n_sectors));
    else
        printf(
            "%s of %s sectors written, %s bytes sent in %.1f s at %u baud (measured), all "
            "checked (MD5)",
            ruvm_output_grouped(w->n_changed), ruvm_output_grouped(w->n_sectors),
            ruvm_output_grouped(w->sent_bytes), w->seconds, (unsigned)w->baud);
    if (w->n_troubles)
        printf("; %u trouble%s of the line overcome", (unsigned)w->n_troubles,
               w->n_troubles == 1 ? "" : "s");
    putchar('\n');
}

void ruvm_cmd_flash_json(struct cJSON *object, const struct ruvm_flash_options *o,
                         const struct ruvm_flash_result *r)
{
    const struct ruvm_flash_written *w = &r->written;
    ruvm_json_text(object, "port", o->port);
    struct cJSON *x = ruvm_json_object(object, "written");
    ruvm_json_count(x, "sectors", w->n_sectors);
    ruvm_json_count(x, "changed_sectors", w->n_changed);
    ruvm_json_count(x, "sent_bytes", w->sent_bytes);
    ruvm_json_count(x, "baud", w->baud);
    ruvm_json_count(x, "troubles", w->n_troubles);
    ruvm_json_number(x, "seconds", w->seconds);
}

/* ---- the console -------------------------------------------------------------------- */

/* On a terminal nothing that a chip says may act but the ends of lines. */
static int show(void *user, const uint8_t *bytes, size_t n)
{
    (void)user;
    bool terminal = isatty(STDOUT_FILENO);
    for (size_t i = 0; i < n; i++)
        if (terminal && (bytes[i] < ' ' || bytes[i] == 0x7F) && !strchr("\n\r\t\b", bytes[i]))
            printf("\\x%02X", bytes[i]);
        else
            putchar(bytes[i]);
    if (n)
        ruvm_output_flush();
    return ruvm_output_signal() != 0 || ferror(stdout);
}

/* Reads what is there, without waiting. */
static void fill(struct ruvm_cmd_flash_call *call)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    if (call->ended || call->n_typed == sizeof call->typed || poll(&p, 1, 0) <= 0)
        return;
    ssize_t n = read(STDIN_FILENO, call->typed + call->n_typed, sizeof call->typed - call->n_typed);
    if (n > 0)
        call->n_typed += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        call->ended = true;
}

/* Up to the end of a line, or all of a line that is too long. */
static int type(void *user, uint8_t *bytes, size_t cap)
{
    struct ruvm_cmd_flash_call *call = user;
    fill(call);
    size_t n = call->n_typed < cap ? call->n_typed : cap;
    const uint8_t *end = n ? memchr(call->typed, '\n', n) : NULL;
    const uint8_t *leave = n && isatty(STDIN_FILENO) ? memchr(call->typed, LEAVE, n) : NULL;
    if (leave && (!end || leave < end)) {
        call->ended = true;
        call->n_typed = n = 0;
    }
    if (end)
        n = (size_t)(end - call->typed) + 1;
    else if (n < cap && !call->ended)
        return 0;
    if (n == 0)
        return call->ended ? -1 : 0;
    if (call->ended && !end && n < cap) { /* of a last line without an end */
        call->typed[n++] = '\n';
        call->n_typed = n;
    }
    memcpy(bytes, call->typed, n);
    memmove(call->typed, call->typed + n, call->n_typed - n);
    call->n_typed -= n;
    return (int)n;
}

struct ruvm_monitor ruvm_cmd_flash_monitor(struct ruvm_cmd_flash_call *call,
                                           void (*begin)(void *user,
                                                         const struct ruvm_flash_result *r))
{
    struct termios t;
    bool person = ruvm_args_given(call->args, "monitor") && isatty(STDIN_FILENO) &&
                  tcgetattr(STDIN_FILENO, &call->keyboard) == 0;
    if (person) { /* the key ends a line, so that it is read at once */
        t = call->keyboard;
        t.c_cc[VEOL] = LEAVE;
        call->changed_keyboard = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
    }
    return (struct ruvm_monitor){.baud = ruvm_args_u32(call->args, "monitor-baud"),
                                 .idle_s = ruvm_args_number(call->args, "idle"),
                                 .is_script = !isatty(STDIN_FILENO),
                                 .begin = begin,
                                 .type = type,
                                 .show = show,
                                 .user = call};
}

void ruvm_cmd_flash_greet(const struct ruvm_cmd_flash_call *call)
{
    ruvm_output_flush();
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
        fprintf(stderr, "the console of %s; Ctrl-] ends it\n", call->options->port);
}

void ruvm_cmd_flash_end(struct ruvm_cmd_flash_call *call)
{
    ruvm_output_progress_end();
    if (call->changed_keyboard)
        tcsetattr(STDIN_FILENO, TCSANOW, &call->keyboard);
}
