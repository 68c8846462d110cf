/* bench --plot: the speeds of a sweep, or the kernels below their roofs. */
#include "cli/cmd_bench.h"
#include "cli/plot.h"

#include <stdlib.h>
#include <string.h>

/* ---- a sweep ------------------------------------------------------------------------- */

/* The results of one model with one table, which follow each other. */
static unsigned same_subject(const struct ruvm_bench_list *list, unsigned first)
{
    const struct ruvm_bench_result *r = &list->results[first];
    unsigned n = 1;
    while (first + n < list->n && strcmp(list->results[first + n].model, r->model) == 0 &&
           strcmp(list->results[first + n].kernels, r->kernels) == 0)
        n++;
    return n;
}

/* Two lines a subject. x, y: room for all values, and twice as many. */
static unsigned sweep_series(struct ruvm_plot_series *series, char (*names)[320], double *x,
                             double *y, const struct ruvm_bench_list *list)
{
    unsigned n_series = 0;
    for (unsigned first = 0, n; first < list->n; first += n) {
        n = same_subject(list, first);
        for (unsigned i = first; i < first + n; i++) {
            x[i] = strtod(list->sweep->values[list->points[i]], NULL);
            y[i] = list->results[i].prompt_tokens_per_s.median;
            y[list->n + i] = list->results[i].decode_tokens_per_s.median;
        }
        for (unsigned k = 0; k < 2; k++) {
            snprintf(names[n_series], sizeof names[n_series], "%s, %s, %s",
                     k ? "generate" : "prompt", list->results[first].model,
                     list->results[first].kernels);
            series[n_series] = (struct ruvm_plot_series){names[n_series], RUVM_PLOT_LINE, n,
                                                         x + first, y + k * list->n + first};
            n_series++;
        }
    }
    return n_series;
}

static int plot_sweep(const struct ruvm_bench_list *list, const char *path)
{
    struct ruvm_plot_series *series = ruvm_output_alloc(2 * list->n, sizeof *series);
    char(*names)[320] = ruvm_output_alloc(2 * list->n, sizeof *names);
    double *x = ruvm_output_alloc(3 * list->n, sizeof *x);
    char label[32];
    snprintf(label, sizeof label, "--sweep %s", list->sweep->key);
    const struct ruvm_plot plot = {
        .title = "speed, measured: medians",
        .x = {.label = label, .whole = true},
        .y = {.label = "tokens/s", .log = true},
        .series = series,
        .n_series = sweep_series(series, names, x, x + list->n, list),
    };
    int rc = ruvm_plot_save(&plot, "bench", path);
    free(series);
    free(names);
    free(x);
    return rc;
}

/* ---- kernels ------------------------------------------------------------------------- */

enum { MOST_LEVELS = 4, ROOF_POINTS = 3 };

struct roofline {
    const struct ruvm_bench_result *r;
    double least, most; /* multiplications a byte */
    double roof_x[MOST_LEVELS][ROOF_POINTS], roof_y[MOST_LEVELS][ROOF_POINTS];
    double *x, *y; /* of the kernels, by levels */
    unsigned n;
    char names[2 * MOST_LEVELS][64];
    struct ruvm_plot_series series[2 * MOST_LEVELS];
};

/* Only those of the fastest table, the first: others would hide it. XNOR does not multiply. */
static bool is_shown(const struct ruvm_bench_result *r, const struct ruvm_bench_kernel *k)
{
    return k->multiplies && strcmp(k->kernels, r->kernel_list[0].kernels) == 0 &&
           strcmp(k->name, "matmul_xnor") != 0;
}

static double intensity(const struct ruvm_bench_kernel *k)
{
    return k->gmac_per_s.median / k->gb_per_s.median;
}

/* As much as reading allows, up to what multiplying does. */
static void add_roof(struct roofline *p, uint32_t level)
{
    const struct ruvm_bench_level *l = &p->r->roofs.levels[level];
    double peak = p->r->roofs.gmac_per_s.median, gb = l->gb_per_s.median;
    double x[ROOF_POINTS] = {p->least, peak / gb, p->most};
    for (int i = 0; i < ROOF_POINTS; i++) {
        p->roof_x[level][i] = x[i];
        p->roof_y[level][i] = x[i] * gb < peak ? x[i] * gb : peak;
    }
    snprintf(p->names[level], sizeof p->names[level], "roof of %s: %.4g GB/s, %.4g GMAC/s", l->name,
             gb, peak);
    p->series[level] = (struct ruvm_plot_series){p->names[level], RUVM_PLOT_LINE, ROOF_POINTS,
                                                 p->roof_x[level], p->roof_y[level]};
}

static void add_points(struct roofline *p, uint32_t level)
{
    unsigned first = p->n, at = p->r->roofs.n_levels + level;
    for (uint32_t i = 0; i < p->r->n_kernels; i++) {
        const struct ruvm_bench_kernel *k = &p->r->kernel_list[i];
        if (k->level != level || !is_shown(p->r, k))
            continue;
        p->x[p->n] = intensity(k);
        p->y[p->n++] = k->gmac_per_s.median;
    }
    snprintf(p->names[at], sizeof p->names[at], "kernels of %s in %s", p->r->kernel_list[0].kernels,
             p->r->roofs.levels[level].name);
    p->series[at] = (struct ruvm_plot_series){p->names[at], RUVM_PLOT_POINTS, p->n - first,
                                              p->x + first, p->y + first};
}

/* From the least byte-heavy kernel to the most, with room for every roof's corner. */
static void find_range(struct roofline *p)
{
    const struct ruvm_bench_roofs *roofs = &p->r->roofs;
    p->least = 1;
    p->most = 2 * roofs->gmac_per_s.median / roofs->levels[roofs->n_levels - 1].gb_per_s.median;
    for (uint32_t i = 0; i < p->r->n_kernels; i++) {
        if (!is_shown(p->r, &p->r->kernel_list[i]))
            continue;
        double x = intensity(&p->r->kernel_list[i]);
        p->least = x < p->least ? x : p->least;
        p->most = x > p->most ? x : p->most;
    }
}

static int plot_kernels(const struct ruvm_bench_result *r, const char *path)
{
    struct roofline p = {.r = r};
    p.x = ruvm_output_alloc(r->n_kernels, sizeof *p.x);
    p.y = ruvm_output_alloc(r->n_kernels, sizeof *p.y);
    find_range(&p);
    for (uint32_t i = 0; i < r->roofs.n_levels; i++) {
        add_roof(&p, i);
        add_points(&p, i);
    }
    const struct ruvm_plot plot = {
        .title = "kernels and this machine's roofs, measured: medians",
        .x = {.label = "multiply-accumulates a byte read", .log = true},
        .y = {.label = "GMAC/s", .log = true},
        .series = p.series,
        .n_series = 2 * r->roofs.n_levels,
        .n_colors = r->roofs.n_levels, /* the kernels that of their roof */
    };
    int rc = ruvm_plot_save(&plot, "bench", path);
    free(p.x);
    free(p.y);
    return rc;
}

int ruvm_cmd_bench_plot(const struct ruvm_bench_list *list, const char *path)
{
    if (list->sweep)
        return plot_sweep(list, path);
    for (unsigned i = 0; i < list->n; i++)
        if (list->results[i].n_kernels)
            return plot_kernels(&list->results[i], path);
    return RUVM_EXIT_DONE;
}
