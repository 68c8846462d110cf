/* Tables: rows of texts, printed aligned, as Markdown or as CSV.
 *
 * All cells are collected first, because a column is as wide as its widest cell.
 */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void ruvm_table_cell(struct ruvm_table *t, const char *fmt, ...)
{
    t->cells = ruvm_output_grow(t->cells, &t->cap, t->n_cells + 1, sizeof *t->cells);
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    size_t n = (size_t)vsnprintf(NULL, 0, fmt, again) + 1;
    va_end(again);
    t->cells[t->n_cells] = ruvm_output_alloc(n, 1);
    vsnprintf(t->cells[t->n_cells++], n, fmt, ap);
    va_end(ap);
}

void ruvm_table_free(struct ruvm_table *t)
{
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->n_cells = t->cap = 0;
}

/* Characters, not bytes: all but the continuation bytes of UTF-8. */
static unsigned text_width(const char *text)
{
    unsigned n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static unsigned column_width(const struct ruvm_table *t, unsigned column)
{
    unsigned width = text_width(t->heads[column]);
    for (size_t i = column; i < t->n_cells; i += t->n_cols) {
        unsigned w = text_width(t->cells[i]);
        width = w > width ? w : width;
    }
    return width;
}

static void print_aligned(const char *text, unsigned width, char align, bool last)
{
    int gap = (int)(width - text_width(text));
    if (align == 'r')
        printf("%*s%s", gap, "", text);
    else
        printf("%s%*s", text, last ? 0 : gap, "");
}

static void print_text_row(const struct ruvm_table *t, const char *const *cells,
                           const unsigned *widths)
{
    for (unsigned c = 0; c < t->n_cols; c++) {
        fputs(c ? "  " : "", stdout);
        print_aligned(cells[c], widths[c], t->align[c], c + 1 == t->n_cols);
    }
    putchar('\n');
}

static void print_markdown_row(const struct ruvm_table *t, const char *const *cells,
                               const unsigned *widths)
{
    for (unsigned c = 0; c < t->n_cols; c++) {
        fputs("| ", stdout);
        print_aligned(cells[c], widths[c], t->align[c], false);
        putchar(' ');
    }
    puts("|");
}

static void print_markdown_rule(const struct ruvm_table *t, const unsigned *widths)
{
    for (unsigned c = 0; c < t->n_cols; c++) {
        putchar('|');
        putchar(' ');
        for (unsigned i = t->align[c] == 'r'; i < widths[c]; i++)
            putchar('-');
        fputs(t->align[c] == 'r' ? ": " : " ", stdout);
    }
    puts("|");
}

/* RFC 4180: quoted when needed, quotes doubled. */
static void print_csv_row(const struct ruvm_table *t, const char *const *cells,
                          const unsigned *widths)
{
    (void)widths;
    for (unsigned c = 0; c < t->n_cols; c++) {
        const char *quote = strpbrk(cells[c], ",\"\n") ? "\"" : "";
        printf("%s%s", c ? "," : "", quote);
        for (const char *p = cells[c]; *p; p++)
            printf("%s%c", *p == '"' ? "\"" : "", *p);
        fputs(quote, stdout);
    }
    putchar('\n');
}

void ruvm_table_print(const struct ruvm_table *t, enum ruvm_table_style style)
{
    void (*print_row)(const struct ruvm_table *, const char *const *, const unsigned *) =
        style == RUVM_TABLE_CSV        ? print_csv_row
        : style == RUVM_TABLE_MARKDOWN ? print_markdown_row
                                       : print_text_row;
    unsigned *widths = ruvm_output_alloc(t->n_cols, sizeof *widths);
    for (unsigned c = 0; c < t->n_cols; c++)
        widths[c] = column_width(t, c);
    if (style == RUVM_TABLE_MARKDOWN)
        for (unsigned c = 0; c < t->n_cols; c++)
            widths[c] = widths[c] < 3 ? 3 : widths[c]; /* room for "--:" */
    print_row(t, t->heads, widths);
    if (style == RUVM_TABLE_MARKDOWN)
        print_markdown_rule(t, widths);
    for (size_t i = 0; i + t->n_cols <= t->n_cells; i += t->n_cols)
        print_row(t, (const char *const *)t->cells + i, widths);
    free(widths);
}
