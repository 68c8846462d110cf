/* The console of a chip.
 *
 * A person types when they like. A script's lines go one at a time, because the chip has
 * room for little more than a line while it computes: the next goes when an answer ended, which
 * the firmware of ruvm says by a line that begins with "ok" or "error", or when nothing came
 * for a while, as with other firmware.
 */
#include "lib/serial/monitor.h"

#include <string.h>

#include "lib/base/error.h"

enum { START_BAUD = 115200, POLL_MS = 20, LINE_BYTES = 4096 };
#define IDLE_S 2.0

struct console {
    const struct ruvm_line *line;
    const struct ruvm_monitor *m;
    double heard_s; /* when something last came or went */
    char head[6];   /* how the line that comes began */
    size_t head_bytes;
    bool answered;      /* such a line has come since the last one was sent */
    bool sent, no_more; /* anything; of what is typed */
};

int ruvm_monitor_prepare(const struct ruvm_line *line, const struct ruvm_monitor *m,
                         struct ruvm_error *err)
{
    uint32_t baud = m->baud ? m->baud : START_BAUD;
    if (line->set_baud(line->state, baud) != RUVM_OK)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: has no speed of %u baud", line->name,
                         (unsigned)baud);
    return RUVM_OK;
}

static bool begins(const struct console *c, const char *word)
{
    size_t n = strlen(word);
    return c->head_bytes >= n && memcmp(c->head, word, n) == 0 &&
           (c->head_bytes == n || c->head[n] == ' ');
}

static void follow(struct console *c, uint8_t byte)
{
    if (byte == '\r')
        return;
    if (byte != '\n') {
        if (c->head_bytes < sizeof c->head)
            c->head[c->head_bytes++] = (char)byte;
        return;
    }
    c->answered = c->answered || begins(c, "ok") || begins(c, "error");
    c->head_bytes = 0;
}

static int gone(const struct console *c, struct ruvm_error *err)
{
    return ruvm_fail(err, RUVM_ERR_IO, "%s: the line is gone: was the board unplugged?",
                     c->line->name);
}

/* 1: enough. */
static int hear(struct console *c, struct ruvm_error *err)
{
    uint8_t bytes[512];
    int n = c->line->read(c->line->state, bytes, sizeof bytes, POLL_MS);
    if (n < 0)
        return gone(c, err);
    for (int i = 0; i < n; i++)
        follow(c, bytes[i]);
    if (n)
        c->heard_s = c->line->clock_s(c->line->state);
    return c->m->show(c->m->user, bytes, (size_t)n) != 0;
}

static bool is_due(const struct console *c)
{
    double idle_s = c->m->idle_s > 0 ? c->m->idle_s : IDLE_S;
    return !c->m->is_script || (c->answered && c->sent) ||
           c->line->clock_s(c->line->state) - c->heard_s >= idle_s;
}

static int say(struct console *c, struct ruvm_error *err)
{
    uint8_t bytes[LINE_BYTES];
    if (c->no_more || !is_due(c))
        return 0;
    int n = c->m->type(c->m->user, bytes, sizeof bytes);
    c->no_more = n < 0;
    if (n <= 0)
        return 0;
    if (c->line->write(c->line->state, bytes, (size_t)n) != RUVM_OK)
        return gone(c, err);
    c->answered = false;
    c->sent = true;
    c->heard_s = c->line->clock_s(c->line->state);
    return 0;
}

int ruvm_monitor_run(const struct ruvm_line *line, const struct ruvm_monitor *m,
                     struct ruvm_error *err)
{
    struct console c = {.line = line, .m = m, .heard_s = line->clock_s(line->state)};
    int rc = 0;
    while (rc == 0) {
        rc = hear(&c, err);
        if (rc == 0)
            rc = say(&c, err);
        if (rc == 0 && c.no_more && is_due(&c))
            rc = 1;
    }
    return rc < 0 ? rc : RUVM_OK;
}
