/* Data is read whole: what a classifier for a chip learns from, and is tried with, is small. */
#include "lib/mlp/data.h"

#include <stdio.h>
#include <string.h>

/* The class of that name, or -1. */
static int32_t find_name(const struct ruvm_data_classes *c, const char *name)
{
    const char *p = c->labels, *end = p ? p + c->labels_bytes : p;
    size_t n = strlen(name);
    for (int32_t i = 0; p < end; i++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop)
            return -1;
        if ((size_t)(stop - p) == n && memcmp(p, name, n) == 0)
            return i;
        p = stop + 1;
    }
    return -1;
}

static int32_t class_of(double x, uint32_t n)
{
    return x >= 0 && x < n && x <= (double)(int32_t)x ? (int32_t)x : -1;
}

static int read_classes(struct ruvm_data *d, uint32_t n_inputs, const struct ruvm_data_classes *c,
                        struct ruvm_error *err)
{
    const struct ruvm_grid *g = &d->grid;
    d->truth = ruvm_arena_alloc(&d->arena, g->n_rows, sizeof *d->truth);
    if (!d->truth)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u classes", g->n_rows);
    for (uint32_t r = 0; r < g->n_rows; r++) {
        char number[32] = "";
        const char *name = g->words ? g->words[r] : number;
        if (g->words) {
            d->truth[r] = find_name(c, name);
        } else {
            double x = g->v[(size_t)r * g->n_cols + n_inputs];
            snprintf(number, sizeof number, "%g", x);
            d->truth[r] = class_of(x, c->n);
        }
        if (d->truth[r] < 0)
            return ruvm_fail(
                err, RUVM_ERR_CORRUPT, "row %u: class '%s' is none of %u%s", r + 1, name, c->n,
                g->words && !c->labels ? ", which have no names: give them with --labels" : "");
    }
    return RUVM_OK;
}

static int check_columns(const struct ruvm_grid *g, uint32_t n_inputs, struct ruvm_error *err)
{
    uint32_t n = g->n_cols + (g->words != NULL);
    bool is_plain = !g->words && g->n_cols == n_inputs;
    if (is_plain || n == n_inputs + 1)
        return RUVM_OK;
    return ruvm_fail(err, RUVM_ERR_MISMATCH,
                     "has %u columns, but the classifier has %u inputs (a column more may hold "
                     "the class)",
                     n, n_inputs);
}

int ruvm_data_open(struct ruvm_data *d, const char *path, uint32_t n_inputs,
                   const struct ruvm_data_classes *classes, struct ruvm_error *err)
{
    struct ruvm_map map;
    *d = (struct ruvm_data){0};
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_grid_read(&d->grid, &d->arena, map.data, map.size, err);
    if (rc == RUVM_OK)
        rc = check_columns(&d->grid, n_inputs, err);
    if (rc == RUVM_OK && (d->grid.words || d->grid.n_cols > n_inputs))
        rc = read_classes(d, n_inputs, classes, err);
    ruvm_file_unmap(&map);
    if (rc != RUVM_OK) {
        ruvm_error_prefix(err, path);
        ruvm_data_close(d);
    }
    return rc;
}

void ruvm_data_close(struct ruvm_data *d)
{
    ruvm_arena_free(&d->arena);
    *d = (struct ruvm_data){0};
}
