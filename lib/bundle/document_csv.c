/* CSV (RFC 4180): a passage a row, under the names of the first row.
 *
 * With a column "text" (or "content") that is the passage, and the others are its metadata,
 * but for "title" or "heading", its context. Without one the passage is the whole row, "name:
 * value" for each value that is there.
 */
#include <cjson/cJSON.h>
#include <strings.h>

#include "lib/bundle/csv.h"
#include "lib/bundle/document.h"

struct reading {
    const struct ruvm_document *d;
    const struct ruvm_passage_sink *sink;
    struct ruvm_error *err;
    struct ruvm_csv csv;
    struct ruvm_csv_row names, row;
    int text, title; /* columns, or -1 */
};

/* ---- meaning ---------------------------------------------------------------------- */

static int column_of(const struct ruvm_csv_row *names, const char *name, const char *other)
{
    for (unsigned i = 0; i < names->n; i++)
        if (strcasecmp(ruvm_csv_field(names, i), name) == 0 ||
            strcasecmp(ruvm_csv_field(names, i), other) == 0)
            return (int)i;
    return -1;
}

/* The columns that are neither text nor title, as a JSON object; NULL: none, or no memory. */
static char *metadata_of(const struct reading *c)
{
    cJSON *object = cJSON_CreateObject();
    for (unsigned i = 0; object && i < c->row.n; i++)
        if ((int)i != c->text && (int)i != c->title && c->row.field[i].n)
            cJSON_AddStringToObject(object, ruvm_csv_field(&c->names, i),
                                    ruvm_csv_field(&c->row, i));
    char *text = object && object->child ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    return text;
}

static int pass_columns(struct reading *c)
{
    char *meta = metadata_of(c);
    struct ruvm_passage p = {.text = ruvm_csv_field(&c->row, (unsigned)c->text),
                             .n_text = c->row.field[c->text].n,
                             .meta = meta};
    if (c->title >= 0) {
        p.context = ruvm_csv_field(&c->row, (unsigned)c->title);
        p.n_context = c->row.field[c->title].n;
    }
    int rc = c->sink->take(c->sink->context, &p, c->err);
    cJSON_free(meta);
    return rc;
}

static int pass_whole(struct reading *c)
{
    struct ruvm_buffer text = {0};
    for (unsigned i = 0; i < c->row.n; i++)
        if (c->row.field[i].n)
            ruvm_buffer_printf(&text, "%s%s: %s", text.size ? "; " : "",
                               ruvm_csv_field(&c->names, i), ruvm_csv_field(&c->row, i));
    const struct ruvm_passage p = {.text = (const char *)text.data, .n_text = text.size};
    int rc = ruvm_buffer_ok(&text) ? c->sink->take(c->sink->context, &p, c->err)
                                   : ruvm_fail(c->err, RUVM_ERR_MEMORY, "no memory for a row");
    ruvm_buffer_free(&text);
    return rc;
}

static int read_next(struct reading *c)
{
    size_t line = c->csv.line;
    int rc = ruvm_csv_row(&c->csv, &c->row, c->err);
    if (rc != RUVM_OK || ruvm_csv_is_empty(&c->row))
        return rc;
    if (c->row.n != c->names.n)
        return ruvm_fail(c->err, RUVM_ERR_CORRUPT,
                         "%s: line %zu: has %u fields, the first line has %u: quote fields that "
                         "hold the separator '%c'",
                         c->d->name, line, c->row.n, c->names.n, c->csv.separator);
    return c->text >= 0 ? pass_columns(c) : pass_whole(c);
}

static int read_rows(struct reading *c)
{
    int rc = ruvm_csv_row(&c->csv, &c->names, c->err);
    if (rc != RUVM_OK)
        return rc;
    c->text = column_of(&c->names, "text", "content");
    c->title = c->text >= 0 ? column_of(&c->names, "title", "heading") : -1;
    while (rc == RUVM_OK && ruvm_csv_more(&c->csv))
        rc = read_next(c);
    return rc;
}

int ruvm_csv_read(const struct ruvm_document *d, const struct ruvm_passage_sink *sink,
                  struct ruvm_error *err)
{
    struct reading c = {
        .d = d, .sink = sink, .err = err, .csv = ruvm_csv_of(d->name, d->data, d->size)};
    if (d->size == 0)
        return RUVM_OK;
    int rc = read_rows(&c);
    ruvm_csv_row_free(&c.names);
    ruvm_csv_row_free(&c.row);
    return rc;
}
