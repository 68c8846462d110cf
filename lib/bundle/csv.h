/* CSV (RFC 4180): a file of rows, read one after the other.
 *
 *     struct ruvm_csv c = ruvm_csv_of(name, data, size);
 *     while (ruvm_csv_more(&c) && rc == RUVM_OK)
 *         rc = ruvm_csv_row(&c, &row, &err);
 *     ruvm_csv_row_free(&row);
 *
 * The separator is the first of , ; and tab that the first row has, outside of quotes.
 */
#ifndef RUVM_BUNDLE_CSV_H
#define RUVM_BUNDLE_CSV_H

#include "lib/base/buffer.h"

struct ruvm_error;

enum { RUVM_CSV_MAX_COLUMNS = 1024 };

/* Zero it before use. */
struct ruvm_csv_row {
    struct ruvm_buffer text; /* the fields without their quotes, a NUL behind each */
    struct {
        size_t off, n; /* in text */
    } field[RUVM_CSV_MAX_COLUMNS];
    unsigned n;
};

struct ruvm_csv {
    const char *name; /* for messages */
    const char *p, *end;
    size_t line; /* of p, from 1 */
    char separator;
};

struct ruvm_csv ruvm_csv_of(const char *name, const char *data, size_t size);
static inline bool ruvm_csv_more(const struct ruvm_csv *c)
{
    return c->p < c->end;
}

/* The next row. RUVM_ERR_CORRUPT, RUVM_ERR_UNSUPPORTED (too many fields) with the line. */
int ruvm_csv_row(struct ruvm_csv *c, struct ruvm_csv_row *row, struct ruvm_error *err);
void ruvm_csv_row_free(struct ruvm_csv_row *row);
static inline const char *ruvm_csv_field(const struct ruvm_csv_row *row, unsigned i)
{
    return (const char *)row->text.data + row->field[i].off;
}
/* An empty line is no row. */
static inline bool ruvm_csv_is_empty(const struct ruvm_csv_row *row)
{
    return row->n == 1 && row->field[0].n == 0;
}

#endif
