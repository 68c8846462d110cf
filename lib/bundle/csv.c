/* CSV rows: quotes taken off, lines counted. */
#include "lib/bundle/csv.h"

#include "lib/base/error.h"

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

struct ruvm_csv ruvm_csv_of(const char *name, const char *data, size_t size)
{
    struct ruvm_csv c = {.name = name, .line = 1, .separator = ','};
    if (size == 0)
        return c;
    c.p = data;
    c.end = data + size;
    c.separator = separator_of(c.p, c.end);
    return c;
}

static void put(struct ruvm_csv_row *r, char c)
{
    ruvm_buffer_u8(&r->text, (uint8_t)c);
}

/* The field behind an opening quote; false when nothing closes it. */
static bool read_quoted(struct ruvm_csv *c, struct ruvm_csv_row *r)
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

static bool is_row_end(const struct ruvm_csv *c)
{
    return c->p == c->end || *c->p == '\n' ||
           (*c->p == '\r' && c->p + 1 < c->end && c->p[1] == '\n');
}

static bool read_field(struct ruvm_csv *c, struct ruvm_csv_row *r)
{
    bool closed = true;
    unsigned i = r->n++;
    r->field[i].off = r->text.size;
    if (c->p < c->end && *c->p == '"')
        closed = read_quoted(c, r);
    for (; closed && !is_row_end(c) && *c->p != c->separator; c->p++)
        put(r, *c->p);
    r->field[i].n = r->text.size - r->field[i].off;
    put(r, '\0');
    return closed;
}

int ruvm_csv_row(struct ruvm_csv *c, struct ruvm_csv_row *r, struct ruvm_error *err)
{
    size_t line = c->line;
    r->text.size = r->n = 0;
    for (bool more = true; more;) {
        if (r->n == RUVM_CSV_MAX_COLUMNS)
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%s: line %zu: has more than %d fields",
                             c->name, line, RUVM_CSV_MAX_COLUMNS);
        if (!read_field(c, r))
            return ruvm_fail(err, RUVM_ERR_CORRUPT,
                             "%s: line %zu: a quote is not closed: quotes within quoted fields "
                             "are doubled",
                             c->name, line);
        more = c->p < c->end && *c->p == c->separator;
        c->p += more;
    }
    if (c->p < c->end)
        c->p += *c->p == '\r' ? 2 : 1;
    c->line++;
    return ruvm_buffer_ok(&r->text) ? RUVM_OK
                                    : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a row");
}

void ruvm_csv_row_free(struct ruvm_csv_row *r)
{
    ruvm_buffer_free(&r->text);
}
