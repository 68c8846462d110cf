/* bench --kernel-rates, for people: what the machine can do, and how near each kernel is. */
#include "cli/cmd_bench.h"

static void shape_text(char *text, size_t size, const struct ruvm_bench_kernel *k)
{
    if (!k->rows)
        snprintf(text, size, "%u", k->cols);
    else if (k->vectors == 1)
        snprintf(text, size, "%u x %u", k->rows, k->cols);
    else
        snprintf(text, size, "%u x %u x %u", k->rows, k->cols, k->vectors);
}

void ruvm_cmd_bench_kernel_name(char *text, size_t size, const struct ruvm_bench_kernel *k,
                                const struct ruvm_bench_roofs *roofs)
{
    char shape[40];
    shape_text(shape, sizeof shape, k);
    snprintf(text, size, "%s %s, %s", k->name, shape, roofs->levels[k->level].name);
}

static void spread_cells(struct ruvm_table *t, const struct ruvm_spread *s)
{
    ruvm_table_cell(t, "%.4g", s->median);
    ruvm_table_cell(t, "%.4g", s->min);
    ruvm_table_cell(t, "%.4g", s->max);
}

/* One row for one thread, and one for all together. */
static void roof_row(struct ruvm_table *t, const char *what, const char *of, uint64_t bytes,
                     uint32_t threads, const struct ruvm_spread *rate)
{
    ruvm_table_cell(t, "%s", what);
    if (threads > 1)
        ruvm_table_cell(t, "%s, %u threads", of, threads);
    else
        ruvm_table_cell(t, "%s", of);
    ruvm_table_cell(t, "%s", bytes ? ruvm_output_grouped(bytes) : "");
    spread_cells(t, rate);
    ruvm_table_cell(t, "%u", rate->n);
    ruvm_table_cell(t, bytes ? "GB/s" : "GMAC/s");
    ruvm_table_cell(t, "measured");
}

/* A quarter of the measurements far below another quarter: somebody else was at work. */
static bool is_uneven(const struct ruvm_spread *s)
{
    return s->q1 < 0.8 * s->q3;
}

bool ruvm_cmd_bench_is_disturbed(const struct ruvm_bench_roofs *r)
{
    for (uint32_t i = 0; i < r->n_levels; i++)
        if (is_uneven(&r->levels[i].gb_per_s))
            return true;
    return is_uneven(&r->gmac_per_s);
}

static void print_roofs(const struct ruvm_bench_roofs *r, enum ruvm_table_style style)
{
    static const char *const heads[] = {"roof", "of", "bytes", "median", "min",
                                        "max",  "n",  "unit",  "tier"};
    struct ruvm_table t = {.heads = heads, .align = "llrrrrrll", .n_cols = 9};
    bool has_threads = r->n_threads > 1;
    for (uint32_t i = 0; i < r->n_levels; i++) {
        const struct ruvm_bench_level *l = &r->levels[i];
        roof_row(&t, "read", l->name, l->placed_bytes, 1, &l->gb_per_s);
        if (has_threads)
            roof_row(&t, "read", l->name, l->placed_bytes, r->n_threads, &l->threads_gb_per_s);
    }
    roof_row(&t, "multiply", r->instruction, 0, 1, &r->gmac_per_s);
    if (has_threads)
        roof_row(&t, "multiply", r->instruction, 0, r->n_threads, &r->threads_gmac_per_s);
    ruvm_table_print(&t, style);
    ruvm_table_free(&t);
    if (r->sizes_assumed)
        printf("\nThe system does not tell the sizes of its caches: these are assumed.\n");
    if (ruvm_cmd_bench_is_disturbed(r))
        printf(
            "\nThe machine was busy otherwise: the quartiles of a roof differ by a fifth or more, "
            "so the shares are wrong. Measure again when it is quiet.\n");
}

static void kernel_row(struct ruvm_table *t, const struct ruvm_bench_kernel *k,
                       const struct ruvm_bench_roofs *roofs)
{
    char shape[40];
    shape_text(shape, sizeof shape, k);
    ruvm_table_cell(t, "%s", k->kernels);
    ruvm_table_cell(t, "%s", k->name);
    ruvm_table_cell(t, "%s", shape);
    ruvm_table_cell(t, "%s", roofs->levels[k->level].name);
    spread_cells(t, &k->gmac_per_s);
    ruvm_table_cell(t, k->multiplies ? "GMAC/s" : "Gvalues/s");
    ruvm_table_cell(t, "%.4g", k->gb_per_s.median);
    ruvm_table_cell(t, "%.1f", 100 * k->roof_share);
    ruvm_table_cell(t, k->arithmetic_binds ? "multiply" : "read");
    ruvm_table_cell(t, "measured");
}

/* The machine is the same for all models: only the first one's call measured it. */
void ruvm_cmd_bench_kernels(const struct ruvm_bench_list *list, enum ruvm_table_style style,
                            bool below)
{
    static const char *const heads[] = {"kernels", "kernel", "shape", "in",   "median",    "min",
                                        "max",     "unit",   "GB/s",  "% of", "this roof", "tier"};
    for (unsigned i = 0; i < list->n; i++) {
        const struct ruvm_bench_result *r = &list->results[i];
        struct ruvm_table t = {.heads = heads, .align = "llllrrrlrrll", .n_cols = 12};
        if (!r->n_kernels)
            continue;
        if (below)
            putchar('\n');
        print_roofs(&r->roofs, style);
        putchar('\n');
        for (uint32_t j = 0; j < r->n_kernels; j++)
            kernel_row(&t, &r->kernel_list[j], &r->roofs);
        ruvm_table_print(&t, style);
        ruvm_table_free(&t);
    }
}
