/* Numbers out of text. The first line says what stands between them and how many there are;
 * every other line must agree, for a row that is too short is a mistake somewhere, and
 * guessing which would be another one.
 */
#include "formats/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CELL = 63 /* bytes of a number or word */, SHOWN = 24, MAX_COLS = 1 << 20 };

struct text {
    const char *at, *end;
    uint64_t line;
    char between; /* ' ' stands for any blanks */
};

struct cell {
    char text[MAX_CELL + 1];
    size_t n;
};

/* The next line that says anything: [*line, *stop). */
static bool next_line(struct text *t, const char **line, const char **stop)
{
    while (t->at < t->end) {
        const char *end = memchr(t->at, '\n', (size_t)(t->end - t->at));
        *line = t->at;
        *stop = end ? end : t->end;
        t->at = end ? end + 1 : t->end;
        t->line++;
        while (*stop > *line && (stop[0][-1] == '\r' || stop[0][-1] == ' '))
            --*stop;
        while (*line < *stop && **line == ' ')
            ++*line;
        if (*line < *stop && **line != '#')
            return true;
    }
    return false;
}

static char find_between(const char *line, const char *stop)
{
    static const char marks[] = "\t;,";
    for (const char *m = marks; *m; m++)
        if (memchr(line, *m, (size_t)(stop - line)))
            return *m;
    return ' ';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Takes the cell at *p, and the mark behind it; false when it is too long. */
static bool take_cell(const struct text *t, const char **p, const char *stop, struct cell *cell)
{
    const char *from = *p, *to = from;
    while (to < stop && *to != t->between)
        to++;
    *p = to < stop ? to + 1 : stop + 1; /* a mark at the end has an empty cell behind it */
    if (t->between == ' ')
        while (*p < stop && **p == ' ')
            ++*p;
    while (from < to && is_blank(*from))
        from++;
    while (to > from && is_blank(to[-1]))
        to--;
    if (to - from >= 2 && *from == '"' && to[-1] == '"') {
        from++;
        to--;
    }
    cell->n = (size_t)(to - from);
    if (cell->n > MAX_CELL)
        return false;
    memcpy(cell->text, from, cell->n);
    cell->text[cell->n] = '\0';
    return true;
}

static bool to_number(const struct cell *c, double *x)
{
    char *end;
    *x = strtod(c->text, &end);
    return c->n > 0 && end == c->text + c->n && memchr(c->text, 'x', c->n) == NULL;
}

static uint32_t count_cells(const struct text *t, const char *line, const char *stop)
{
    struct cell c;
    uint32_t n = 0;
    for (const char *p = line; p <= stop && n < MAX_COLS; n++)
        take_cell(t, &p, stop, &c);
    return n;
}

/* A line of names: one that has no number but perhaps in the last column. */
static bool is_heading(const struct text *t, const char *line, const char *stop, uint32_t n)
{
    struct cell c;
    double x;
    for (uint32_t i = 0; i < n; i++)
        if (take_cell(t, &line, stop, &c) && to_number(&c, &x))
            return false;
    return true;
}

static uint64_t count_lines(struct text t)
{
    const char *line, *stop;
    uint64_t n = 0;
    while (next_line(&t, &line, &stop))
        n++;
    return n;
}

/* One row; words: where the word of the last column goes, or NULL. */
static int read_row(const struct text *t, struct ruvm_arena *arena, const char *line,
                    const char *stop, double *v, uint32_t n, const char **words,
                    struct ruvm_error *err)
{
    struct cell c;
    uint32_t n_cells = n + (words != NULL), found = count_cells(t, line, stop);
    if (found != n_cells)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "line %llu: %u columns, but the first row has %u",
                         (unsigned long long)t->line, found, n_cells);
    for (uint32_t i = 0; i < n_cells; i++) {
        bool fits = take_cell(t, &line, stop, &c);
        if (i == n) {
            *words = fits ? ruvm_arena_text(arena, c.text, c.n) : NULL;
            if (fits && !*words)
                return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the rows");
            if (fits)
                continue;
        }
        if (!fits || !to_number(&c, &v[i]) || !isfinite(v[i]))
            return ruvm_fail(err, RUVM_ERR_CORRUPT, "line %llu: column %u is %s%.*s%s",
                             (unsigned long long)t->line, i + 1, fits ? "'" : "", fits ? SHOWN : 80,
                             fits ? c.text : "longer than 63 bytes",
                             fits ? "', not a finite number" : "");
    }
    return RUVM_OK;
}

/* Whether the last column of the first row is a word. */
static bool has_words(const struct text *t, const char *line, const char *stop, uint32_t n)
{
    struct cell c;
    double x;
    for (uint32_t i = 0; i < n; i++)
        take_cell(t, &line, stop, &c);
    return n > 1 && !to_number(&c, &x);
}

/* Moves to the first row of numbers, and finds its form. */
static int find_form(struct ruvm_grid *g, struct text *t, bool *words, struct ruvm_error *err)
{
    const char *line, *stop;
    struct text rows = *t;
    if (!next_line(&rows, &line, &stop))
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "holds no row of numbers");
    t->between = rows.between = find_between(line, stop);
    if (is_heading(t, line, stop, count_cells(t, line, stop))) {
        *t = rows;
        if (!next_line(&rows, &line, &stop))
            return ruvm_fail(err, RUVM_ERR_CORRUPT, "line %llu: names, but no row of numbers",
                             (unsigned long long)t->line);
    }
    uint32_t n = count_cells(t, line, stop);
    *words = has_words(t, line, stop, n);
    g->n_cols = n - *words;
    return n < MAX_COLS ? RUVM_OK
                        : ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "line %llu: more than %d columns",
                                    (unsigned long long)rows.line, MAX_COLS - 1);
}

static int read_text(struct ruvm_grid *g, struct ruvm_arena *arena, const char *data, size_t size,
                     struct ruvm_error *err)
{
    struct text t = {.at = data, .end = data + size};
    bool has = false;
    int rc = find_form(g, &t, &has, err);
    if (rc != RUVM_OK)
        return rc;
    uint64_t n = count_lines(t); /* a line of n_cols numbers takes 2 * n_cols - 1 bytes at least */
    if (n > UINT32_MAX || n * g->n_cols > size)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "the first row has %u columns, most others fewer",
                         g->n_cols);
    const char **words = has ? ruvm_arena_alloc(arena, (size_t)n, sizeof *words) : NULL;
    g->v = ruvm_arena_alloc(arena, (size_t)n * g->n_cols, sizeof *g->v);
    if (!g->v || (has && !words))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %llu rows", (unsigned long long)n);
    g->words = words;
    for (const char *line, *stop; rc == RUVM_OK && next_line(&t, &line, &stop); g->n_rows++)
        rc = read_row(&t, arena, line, stop, g->v + (size_t)g->n_rows * g->n_cols, g->n_cols,
                      has ? &words[g->n_rows] : NULL, err);
    return rc;
}

int ruvm_grid_read(struct ruvm_grid *g, struct ruvm_arena *arena, const uint8_t *data, size_t size,
                   struct ruvm_error *err)
{
    *g = (struct ruvm_grid){0};
    if (size >= 6 && memcmp(data, "\x93NUMPY", 6) == 0)
        return ruvm_grid_numpy(g, arena, data, size, err);
    if (memchr(data, '\0', size))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "is neither text with a row of numbers a line nor a NumPy array (.npy)");
    return read_text(g, arena, (const char *)data, size, err);
}
