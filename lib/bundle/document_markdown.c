/* Markdown: a passage for what stands under each heading, with the headings above it.
 *
 * Headings are those of CommonMark: one to six # and a blank, or a line underlined with = or
 * -. Lines between fences (``` or ~~~) are never headings. All else stays as it is written.
 */
#include <stdbool.h>
#include <string.h>

#include "lib/base/buffer.h"
#include "lib/bundle/document.h"

enum { MAX_LEVEL = 6 };

struct line {
    const char *p, *end; /* without its newline */
    const char *next;    /* the line after it */
};

struct markdown {
    const struct ruvm_passage_sink *sink;
    struct ruvm_error *err;
    struct line heading[MAX_LEVEL]; /* the current path; p NULL: none of that level */
    struct ruvm_buffer context;
};

static struct line line_at(const char *p, const char *end)
{
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    const char *stop = newline ? newline : end;
    return (struct line){p, stop > p && stop[-1] == '\r' ? stop - 1 : stop,
                         newline ? newline + 1 : end};
}

/* Up to three blanks may stand before what has a meaning; four make it code. */
static const char *skip_indent(const struct line *l)
{
    const char *p = l->p;
    while (p < l->end && *p == ' ' && p - l->p < 3)
        p++;
    return p;
}

static size_t run_of(const char *p, const char *end, char c)
{
    size_t n = 0;
    while (p + n < end && p[n] == c)
        n++;
    return n;
}

static struct line trimmed(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct line){p, end, end};
}

/* Level of "## text ##", 0 when it is none, and its text. */
static unsigned hash_heading(const struct line *l, struct line *text)
{
    const char *p = skip_indent(l), *end = l->end;
    size_t level = run_of(p, end, '#');
    if (level == 0 || level > MAX_LEVEL || (p + level < end && p[level] != ' ' && p[level] != '\t'))
        return 0;
    *text = trimmed(p + level, end);
    const char *close = text->end;
    while (close > text->p && close[-1] == '#')
        close--;
    if (close == text->p || close[-1] == ' ')
        *text = trimmed(text->p, close);
    return (unsigned)level;
}

/* 1 or 2 when the line underlines the one before it. */
static unsigned underline(const struct line *l)
{
    const char *p = skip_indent(l);
    struct line rest = trimmed(p, l->end);
    size_t n = (size_t)(rest.end - rest.p);
    if (n == 0)
        return 0;
    if (run_of(rest.p, rest.end, '=') == n)
        return 1;
    return n > 1 && run_of(rest.p, rest.end, '-') == n ? 2 : 0;
}

/* The fence's length and character when the line begins or ends fenced code. */
static size_t fence_of(const struct line *l, char *c)
{
    const char *p = skip_indent(l);
    *c = p < l->end ? *p : '\0';
    size_t n = *c == '`' || *c == '~' ? run_of(p, l->end, *c) : 0;
    return n >= 3 ? n : 0;
}

static bool is_blank(const struct line *l)
{
    struct line t = trimmed(l->p, l->end);
    return t.p == t.end;
}

static void put_path(struct markdown *m)
{
    m->context.size = 0;
    for (unsigned i = 0; i < MAX_LEVEL; i++) {
        const struct line *h = &m->heading[i];
        if (!h->p || h->p == h->end)
            continue;
        if (m->context.size)
            ruvm_buffer_bytes(&m->context, " > ", 3);
        ruvm_buffer_bytes(&m->context, h->p, (size_t)(h->end - h->p));
    }
}

/* What stands between two headings; nothing but blanks is no passage. */
static int pass_on(struct markdown *m, const char *begin, const char *end)
{
    const char *p = begin;
    while (p < end && strchr(" \t\r\n", *p))
        p++;
    if (p == end)
        return RUVM_OK;
    put_path(m);
    if (!ruvm_buffer_ok(&m->context))
        return ruvm_fail(m->err, RUVM_ERR_MEMORY, "no memory for a heading");
    const struct ruvm_passage passage = {.context = (const char *)m->context.data,
                                         .n_context = m->context.size,
                                         .text = begin,
                                         .n_text = (size_t)(end - begin)};
    return m->sink->take(m->sink->context, &passage, m->err);
}

static void set_heading(struct markdown *m, unsigned level, struct line text)
{
    m->heading[level - 1] = text;
    for (unsigned i = level; i < MAX_LEVEL; i++)
        m->heading[i].p = NULL;
}

/* The line above when it alone is a paragraph, which an underline makes a heading. */
struct above {
    struct line line;
    bool is_text;
};

static int read_lines(struct markdown *m, const char *p, const char *end)
{
    const char *begin = p;
    struct above above = {0};
    char open = '\0', c;
    size_t fence = 0;
    int rc = RUVM_OK;
    for (struct line l; rc == RUVM_OK && p < end; p = l.next) {
        struct line text;
        l = line_at(p, end);
        size_t n = fence_of(&l, &c);
        bool in_code = fence > 0;
        if (n && !fence) {
            fence = n;
            open = c;
        } else if (n && c == open && n >= fence) {
            fence = 0;
        }
        unsigned level = in_code || n ? 0 : hash_heading(&l, &text);
        const char *stop = l.p;
        if (level == 0 && above.is_text && !in_code && (level = underline(&l)) > 0) {
            text = trimmed(above.line.p, above.line.end);
            stop = above.line.p;
        }
        bool was_blank = !above.line.p || is_blank(&above.line) || level;
        above.is_text = level == 0 && !in_code && n == 0 && was_blank && !is_blank(&l);
        above.line = l;
        if (level == 0)
            continue;
        rc = pass_on(m, begin, stop);
        set_heading(m, level, text);
        begin = l.next;
        above = (struct above){0};
    }
    return rc == RUVM_OK ? pass_on(m, begin, end) : rc;
}

int ruvm_markdown_read(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                       struct ruvm_error *err)
{
    struct markdown m = {.sink = sink, .err = err};
    int rc = read_lines(&m, d->data, d->data + d->size);
    ruvm_buffer_free(&m.context);
    return rc;
}
