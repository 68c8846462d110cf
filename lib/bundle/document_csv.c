/* CSV (RFC 4180): a passage a row, under the names of the first row.
 *
 * With a column "text" (or "content") that is the passage, and the others are its metadata,
 * but for "title" or "heading", its context. Without one the passage is the whole row, "name:
 * value" for each value that is there. The separator is the first of , ; and tab that the
 * first row has, outside of quotes.
 */
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "lib/base/buffer.h"
#include "lib/bundle/document.h"

enum { MAX_COLUMNS = 1024 };

struct field {
    size_t off, n; /* in the row's text */
};

struct row {
    struct ruvm_buffer text; /* the fields without their quotes, a NUL behind each */
    struct field field[MAX_COLUMNS];
    unsigned n;
};

struct csv {
    const struct ruvm_document *d;
    const struct ruvm_passage_sink *sink;
    struct ruvm_error *err;
    const char *p, *end;
    size_t line; /* of p */
    char separator;
    struct row names, row;
    int text, title; /* columns, or -1 */
};

static const char *at(const struct row *r, unsigned i)
{
    return (const char *)r->text.data + r->field[i].off;
}

static char separator_of(const char *p, const char *end)
{
    bool quoted = false;
    for (; p < end && (quoted || *p != '\n'); p++) {
        if (*p == '"')
            quoted = !quoted;
        else if (!quoted && (*p == ',' || *p == ';' || *p == '\t'))
            return *p;
    }
    return ',';
}

/* ---- rows ------------------------------------------------------------------------- */

static void put(struct row *r, char c)
{
    ruvm_buffer_u8(&r->text, (uint8_t)c);
}

/* The field behind an opening quote; false when nothing closes it. */
static bool read_quoted(struct csv *c, struct row *r)
{
    for (c->p++; c->p < c->end; c->p++) {
        if (*c->p == '"' && (c->p + 1 == c->end || c->p[1] != '"')) {
            c->p++;
            return true;
        }
        c->p += *c->p == '"';
        c->line += *c->p == '\n';
        put(r, *c->p);
    }
    return false;
}

static bool is_row_end(const struct csv *c)
{
    return c->p == c->end || *c->p == '\n' ||
           (*c->p == '\r' && c->p + 1 < c->end && c->p[1] == '\n');
}

static bool read_field(struct csv *c, struct row *r)
{
    bool closed = true;
    struct field *f = &r->field[r->n++];
    f->off = r->text.size;
    if (c->p < c->end && *c->p == '"')
        closed = read_quoted(c, r);
    for (; closed && !is_row_end(c) && *c->p != c->separator; c->p++)
        put(r, *c->p);
    f->n = r->text.size - f->off;
    put(r, '\0');
    return closed;
}

static int read_row(struct csv *c, struct row *r)
{
    size_t line = c->line;
    r->text.size = r->n = 0;
    for (bool more = true; more;) {
        if (r->n == MAX_COLUMNS)
            return ruvm_fail(c->err, RUVM_ERR_UNSUPPORTED, "%s: line %zu: has more than %d fields",
                             c->d->name, line, MAX_COLUMNS);
        if (!read_field(c, r))
            return ruvm_fail(c->err, RUVM_ERR_CORRUPT,
                             "%s: line %zu: a quote is not closed: quotes within quoted fields "
                             "are doubled",
                             c->d->name, line);
        more = c->p < c->end && *c->p == c->separator;
        c->p += more;
    }
    if (c->p < c->end)
        c->p += *c->p == '\r' ? 2 : 1;
    c->line++;
    return ruvm_buffer_ok(&r->text) ? RUVM_OK
                                    : ruvm_fail(c->err, RUVM_ERR_MEMORY, "no memory for a row");
}

/* ---- meaning ---------------------------------------------------------------------- */

static int column_of(const struct row *names, const char *name, const char *other)
{
    for (unsigned i = 0; i < names->n; i++)
        if (strcasecmp(at(names, i), name) == 0 || strcasecmp(at(names, i), other) == 0)
            return (int)i;
    return -1;
}

/* The columns that are neither text nor title, as a JSON object; NULL: none, or no memory. */
static char *metadata_of(const struct csv *c)
{
    cJSON *object = cJSON_CreateObject();
    for (unsigned i = 0; object && i < c->row.n; i++)
        if ((int)i != c->text && (int)i != c->title && c->row.field[i].n)
            cJSON_AddStringToObject(object, at(&c->names, i), at(&c->row, i));
    char *text = object && object->child ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    return text;
}

static int pass_columns(struct csv *c)
{
    char *meta = metadata_of(c);
    struct ruvm_passage p = {
        .text = at(&c->row, (unsigned)c->text), .n_text = c->row.field[c->text].n, .meta = meta};
    if (c->title >= 0) {
        p.context = at(&c->row, (unsigned)c->title);
        p.n_context = c->row.field[c->title].n;
    }
    int rc = c->sink->take(c->sink->context, &p, c->err);
    cJSON_free(meta);
    return rc;
}

static int pass_whole(struct csv *c)
{
    struct ruvm_buffer text = {0};
    for (unsigned i = 0; i < c->row.n; i++)
        if (c->row.field[i].n)
            ruvm_buffer_printf(&text, "%s%s: %s", text.size ? "; " : "", at(&c->names, i),
                               at(&c->row, i));
    const struct ruvm_passage p = {.text = (const char *)text.data, .n_text = text.size};
    int rc = ruvm_buffer_ok(&text) ? c->sink->take(c->sink->context, &p, c->err)
                                   : ruvm_fail(c->err, RUVM_ERR_MEMORY, "no memory for a row");
    ruvm_buffer_free(&text);
    return rc;
}

static int read_next(struct csv *c)
{
    size_t line = c->line;
    int rc = read_row(c, &c->row);
    if (rc != RUVM_OK || (c->row.n == 1 && c->row.field[0].n == 0))
        return rc; /* an empty line is no row */
    if (c->row.n != c->names.n)
        return ruvm_fail(c->err, RUVM_ERR_CORRUPT,
                         "%s: line %zu: has %u fields, the first line has %u: quote fields that "
                         "hold the separator '%c'",
                         c->d->name, line, c->row.n, c->names.n, c->separator);
    return c->text >= 0 ? pass_columns(c) : pass_whole(c);
}

static int read_rows(struct csv *c)
{
    int rc = read_row(c, &c->names);
    if (rc != RUVM_OK)
        return rc;
    c->text = column_of(&c->names, "text", "content");
    c->title = c->text >= 0 ? column_of(&c->names, "title", "heading") : -1;
    while (rc == RUVM_OK && c->p < c->end)
        rc = read_next(c);
    return rc;
}

int ruvm_csv_read(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                  struct ruvm_error *err)
{
    struct csv c = {
        .d = d, .sink = sink, .err = err, .p = d->data, .end = d->data + d->size, .line = 1};
    if (d->size == 0)
        return RUVM_OK;
    c.separator = separator_of(c.p, c.end);
    int rc = read_rows(&c);
    ruvm_buffer_free(&c.names.text);
    ruvm_buffer_free(&c.row.text);
    return rc;
}
