/* bench rag, shown: tables for people, one long table and one object for programs, a plot. */
#include <stdlib.h>

#include "cli/cmd_bench_rag.h"
#include "cli/plot.h"

static double bytes_each(const struct ruvm_bench_rag_result *r, uint64_t bytes)
{
    return (double)bytes / r->n;
}

static uint64_t all_bytes(const struct ruvm_bench_rag_result *r)
{
    return r->vector_bytes + r->side_bytes + r->graph_bytes + r->book_bytes;
}

/* ---- tables ---------------------------------------------------------------------- */

static void cell_if(struct ruvm_table *t, bool known, const char *fmt, double value)
{
    if (known)
        ruvm_table_cell(t, fmt, value);
    else
        ruvm_table_cell(t, "-");
}

static void print_summary(const struct ruvm_bench_rag_list *list, enum ruvm_table_style style)
{
    static const char *const heads[] = {"metric",    "type",     "degree",   "ef-build",
                                        "vectors/s", "bytes",    "graph",    "in all",
                                        "codes",     "row cost", "crossover"};
    struct ruvm_table t = {.heads = heads, .align = "llrrrrrrrrr", .n_cols = 11};
    for (unsigned i = 0; i < list->n; i++) {
        const struct ruvm_bench_rag_result *r = &list->results[i];
        ruvm_table_cell(&t, "%s", r->metric);
        ruvm_table_cell(&t, "%s", r->type);
        ruvm_table_cell(&t, "%u", r->degree);
        ruvm_table_cell(&t, "%u", r->ef_build);
        ruvm_table_cell(&t, "%.0f", r->build_vectors_per_s);
        ruvm_table_cell(&t, "%.1f", bytes_each(r, r->vector_bytes + r->side_bytes + r->book_bytes));
        ruvm_table_cell(&t, "%.1f", bytes_each(r, r->graph_bytes));
        ruvm_table_cell(&t, "%.1f", bytes_each(r, all_bytes(r)));
        cell_if(&t, r->has_code_recall, "%.4f", r->code_recall);
        ruvm_table_cell(&t, "%.2f", r->row_cost);
        if (r->crossover)
            ruvm_table_cell(&t, "%u", r->crossover);
        else
            ruvm_table_cell(&t, r->n_sizes ? "none" : "-");
    }
    ruvm_table_print(&t, style);
    ruvm_table_free(&t);
}

static void point_cells(struct ruvm_table *t, double recall, const struct ruvm_spread *rate,
                        double rows, uint32_t chip_bytes)
{
    ruvm_table_cell(t, "%.4f", recall);
    ruvm_table_cell(t, "%.0f", rate->median);
    ruvm_table_cell(t, "%.0f", rate->min);
    ruvm_table_cell(t, "%.0f", rate->max);
    ruvm_table_cell(t, "%.0f", rows);
    ruvm_table_cell(t, "%s", ruvm_output_grouped(chip_bytes));
}

static void print_curve(const struct ruvm_bench_rag_result *r, enum ruvm_table_style style)
{
    char recall[24];
    const char *heads[] = {"metric", "type", "search", recall,    "queries/s",
                           "min",    "max",  "rows",   "chip RAM"};
    struct ruvm_table t = {.heads = heads, .align = "lllrrrrrr", .n_cols = 9};
    snprintf(recall, sizeof recall, "recall@%u", r->k);
    for (uint32_t i = 0; i <= r->n_points; i++) {
        const struct ruvm_bench_rag_point *p = &r->points[i];
        ruvm_table_cell(&t, "%s", r->metric);
        ruvm_table_cell(&t, "%s", r->type);
        if (i < r->n_points) {
            ruvm_table_cell(&t, "ef %u", p->ef);
            point_cells(&t, p->recall, &p->queries_per_s, p->distances, p->chip_bytes);
        } else {
            ruvm_table_cell(&t, "scan");
            point_cells(&t, 1, &r->scan_queries_per_s, r->n, r->scan_chip_bytes);
        }
    }
    ruvm_table_print(&t, style);
    ruvm_table_free(&t);
}

static void print_sizes(const struct ruvm_bench_rag_list *list, enum ruvm_table_style style)
{
    static const char *const heads[] = {"metric", "type", "vectors", "scan us", "ef", "graph us"};
    struct ruvm_table t = {.heads = heads, .align = "llrrrr", .n_cols = 6};
    for (unsigned i = 0; i < list->n; i++) {
        const struct ruvm_bench_rag_result *r = &list->results[i];
        for (uint32_t j = 0; j < r->n_sizes; j++) {
            const struct ruvm_bench_rag_size *s = &r->sizes[j];
            ruvm_table_cell(&t, "%s", r->metric);
            ruvm_table_cell(&t, "%s", r->type);
            ruvm_table_cell(&t, "%u", s->n);
            ruvm_table_cell(&t, "%.2f", s->scan_us.median);
            ruvm_table_cell(&t, "%u", s->ef);
            ruvm_table_cell(&t, "%.2f", s->graph_us.median);
        }
    }
    if (t.n_cells) {
        printf("\nScan and graph, a query, at recall %.3g of the graph:\n\n", list->recall);
        ruvm_table_print(&t, style);
    }
    ruvm_table_free(&t);
}

void ruvm_cmd_bench_rag_tables(const struct ruvm_bench_rag_list *list, enum ruvm_table_style style)
{
    const struct ruvm_bench_rag_result *first = &list->results[0];
    printf("%s: %u vectors of %u dimensions, %u queries; all values are measured\n\n",
           first->subject, first->n, first->dims, first->n_queries);
    print_summary(list, style);
    for (unsigned i = 0; i < list->n; i++) {
        const struct ruvm_bench_rag_result *r = &list->results[i];
        putchar('\n');
        print_curve(r, style);
        printf("\nThe scan reads %.3g GB/s, %.0f %% of what %s gives here (%.3g GB/s).\n",
               r->scan_gb_per_s.median, 100 * r->scan_gb_per_s.median / r->roof_gb_per_s.median,
               r->roof, r->roof_gb_per_s.median);
    }
    print_sizes(list, style);
    printf("\nmachine: %s\n", first->machine);
}

/* ---- one long table ---------------------------------------------------------------- */

struct long_table {
    struct ruvm_table t;
    const struct ruvm_bench_rag_result *r;
};

static void add_row(struct long_table *l, const char *what, uint32_t at,
                    const struct ruvm_spread *s, const char *unit)
{
    const struct ruvm_bench_rag_result *r = l->r;
    ruvm_table_cell(&l->t, "%s", r->subject);
    ruvm_table_cell(&l->t, "%s", r->metric);
    ruvm_table_cell(&l->t, "%s", r->type);
    ruvm_table_cell(&l->t, "%s", r->kernels);
    ruvm_table_cell(&l->t, "%s", what);
    ruvm_table_cell(&l->t, "%u", at);
    ruvm_table_cell(&l->t, "%.6g", s->median);
    ruvm_table_cell(&l->t, "%.6g", s->min);
    ruvm_table_cell(&l->t, "%.6g", s->max);
    ruvm_table_cell(&l->t, "%u", s->n);
    ruvm_table_cell(&l->t, "%s", unit);
    ruvm_table_cell(&l->t, "measured");
    ruvm_table_cell(&l->t, "%s", r->machine);
}

static void add_value(struct long_table *l, const char *what, uint32_t at, double value,
                      const char *unit)
{
    const struct ruvm_spread s = {value, value, value, 1, value, value};
    add_row(l, what, at, &s, unit);
}

static void add_points(struct long_table *l)
{
    for (uint32_t i = 0; i < l->r->n_points; i++) {
        const struct ruvm_bench_rag_point *p = &l->r->points[i];
        add_value(l, "recall with ef", p->ef, p->recall, "share");
        add_row(l, "searches with ef", p->ef, &p->queries_per_s, "queries/s");
        add_value(l, "rows compared with ef", p->ef, p->distances, "rows/query");
        add_value(l, "chip RAM with ef", p->ef, p->chip_bytes, "bytes");
    }
    for (uint32_t i = 0; i < l->r->n_sizes; i++) {
        const struct ruvm_bench_rag_size *s = &l->r->sizes[i];
        add_row(l, "scan of vectors", s->n, &s->scan_us, "us/query");
        add_row(l, "graph of vectors", s->n, &s->graph_us, "us/query");
    }
}

void ruvm_cmd_bench_rag_csv(const struct ruvm_bench_rag_list *list)
{
    static const char *const heads[] = {"subject", "metric", "type",   "kernels", "what",
                                        "at",      "median", "min",    "max",     "n",
                                        "unit",    "tier",   "machine"};
    struct long_table l = {.t = {.heads = heads, .align = "lllllrrrrrlll", .n_cols = 13}};
    for (unsigned i = 0; i < list->n; i++) {
        const struct ruvm_bench_rag_result *r = l.r = &list->results[i];
        add_value(&l, "build", r->n, r->build_vectors_per_s, "vectors/s");
        add_value(&l, "vectors", r->n, bytes_each(r, r->vector_bytes), "bytes/vector");
        add_value(&l, "side", r->n, bytes_each(r, r->side_bytes), "bytes/vector");
        add_value(&l, "graph", r->n, bytes_each(r, r->graph_bytes), "bytes/vector");
        if (r->book_bytes)
            add_value(&l, "book", r->n, bytes_each(r, r->book_bytes), "bytes/vector");
        if (r->has_code_recall)
            add_value(&l, "recall of the codes", r->n, r->code_recall, "share");
        add_row(&l, "scan", r->n, &r->scan_queries_per_s, "queries/s");
        add_row(&l, "scan", r->n, &r->scan_gb_per_s, "GB/s");
        add_row(&l, "roof of the scan", r->n, &r->roof_gb_per_s, "GB/s");
        add_value(&l, "row cost", r->n, r->row_cost, "ratio");
        add_points(&l);
    }
    ruvm_table_print(&l.t, RUVM_TABLE_CSV);
    ruvm_table_free(&l.t);
}

/* ---- one object ---------------------------------------------------------------------- */

static void json_points(struct cJSON *curve, const struct ruvm_bench_rag_result *r)
{
    struct cJSON *points = ruvm_json_array(curve, "points"), *x;
    for (uint32_t i = 0; i < r->n_points; i++) {
        const struct ruvm_bench_rag_point *p = &r->points[i];
        x = ruvm_json_object(points, NULL);
        ruvm_json_count(x, "ef", p->ef);
        ruvm_json_number(x, "recall", p->recall);
        ruvm_json_spread(x, "queries_per_s", &p->queries_per_s);
        ruvm_json_number(x, "rows_per_query", p->distances);
        ruvm_json_count(x, "rows_per_query_max", p->distances_max);
        ruvm_json_count(x, "chip_ram_bytes", p->chip_bytes);
    }
    if (!r->n_sizes)
        return;
    struct cJSON *sizes = ruvm_json_array(curve, "sizes");
    for (uint32_t i = 0; i < r->n_sizes; i++) {
        x = ruvm_json_object(sizes, NULL);
        ruvm_json_count(x, "vectors", r->sizes[i].n);
        ruvm_json_count(x, "ef", r->sizes[i].ef);
        ruvm_json_spread(x, "scan_us", &r->sizes[i].scan_us);
        ruvm_json_spread(x, "graph_us", &r->sizes[i].graph_us);
    }
    if (r->crossover)
        ruvm_json_count(curve, "crossover_vectors", r->crossover);
}

static void json_curve(struct cJSON *curve, const struct ruvm_bench_rag_result *r)
{
    ruvm_json_text(curve, "metric", r->metric);
    ruvm_json_text(curve, "type", r->type);
    ruvm_json_text(curve, "kernels", r->kernels);
    ruvm_json_count(curve, "degree", r->degree);
    ruvm_json_count(curve, "degree_above", r->degree_above);
    ruvm_json_count(curve, "ef_build", r->ef_build);
    ruvm_json_count(curve, "levels", r->levels);
    ruvm_json_count(curve, "vectors_reached", r->n_reached);
    ruvm_json_bool(curve, "graph_of_blob", r->is_own_graph);
    ruvm_json_number(curve, "build_s", r->build_s);
    ruvm_json_number(curve, "build_vectors_per_s", r->build_vectors_per_s);
    ruvm_json_number(curve, "vector_bytes_per_vector", bytes_each(r, r->vector_bytes));
    ruvm_json_number(curve, "side_bytes_per_vector", bytes_each(r, r->side_bytes));
    ruvm_json_number(curve, "graph_bytes_per_vector", bytes_each(r, r->graph_bytes));
    if (r->book_bytes)
        ruvm_json_count(curve, "book_bytes", r->book_bytes);
    ruvm_json_number(curve, "bytes_per_vector", bytes_each(r, all_bytes(r)));
    if (r->has_code_recall)
        ruvm_json_number(curve, "code_recall", r->code_recall);
    ruvm_json_spread(curve, "scan_queries_per_s", &r->scan_queries_per_s);
    ruvm_json_spread(curve, "scan_gb_per_s", &r->scan_gb_per_s);
    ruvm_json_count(curve, "scan_chip_ram_bytes", r->scan_chip_bytes);
    ruvm_json_text(curve, "roof", r->roof);
    ruvm_json_spread(curve, "roof_gb_per_s", &r->roof_gb_per_s);
    ruvm_json_number(curve, "row_cost", r->row_cost);
    json_points(curve, r);
}

void ruvm_cmd_bench_rag_json(const struct ruvm_bench_rag_list *list)
{
    const struct ruvm_bench_rag_result *first = &list->results[0];
    struct cJSON *object = ruvm_json_start("bench-rag");
    ruvm_json_text(object, "subject", first->subject);
    ruvm_json_count(object, "vectors", first->n);
    ruvm_json_count(object, "dims", first->dims);
    ruvm_json_count(object, "k", first->k);
    ruvm_json_count(object, "queries", first->n_queries);
    ruvm_json_number(object, "crossover_recall", list->recall);
    struct cJSON *curves = ruvm_json_array(object, "curves");
    for (unsigned i = 0; i < list->n; i++)
        json_curve(ruvm_json_object(curves, NULL), &list->results[i]);
    ruvm_json_text(ruvm_json_object(object, "tiers"), "curves", "measured");
    ruvm_json_text(object, "machine", first->machine);
    ruvm_json_finish(object);
}

/* ---- a plot -------------------------------------------------------------------------- */

int ruvm_cmd_bench_rag_plot(const struct ruvm_bench_rag_list *list, const char *path)
{
    struct curve {
        char names[2][80];
        double x[RUVM_BENCH_RAG_POINTS + 1], y[RUVM_BENCH_RAG_POINTS + 1];
    } *curves = ruvm_output_alloc(list->n, sizeof *curves);
    struct ruvm_plot_series *series = ruvm_output_alloc(2 * list->n, sizeof *series);
    char title[320];
    for (unsigned i = 0; i < list->n; i++) {
        const struct ruvm_bench_rag_result *r = &list->results[i];
        struct curve *c = &curves[i];
        for (uint32_t j = 0; j < r->n_points; j++) {
            c->x[j] = r->points[j].recall;
            c->y[j] = r->points[j].queries_per_s.median;
        }
        c->x[r->n_points] = 1;
        c->y[r->n_points] = r->scan_queries_per_s.median;
        for (int scan = 0; scan < 2; scan++) {
            snprintf(c->names[scan], sizeof c->names[scan], "%s, %s, %s", scan ? "scan" : "graph",
                     r->metric, r->type);
            series[2 * i + (unsigned)scan] = (struct ruvm_plot_series){
                c->names[scan], scan ? RUVM_PLOT_RINGS : RUVM_PLOT_LINE, scan ? 1 : r->n_points,
                c->x + (scan ? r->n_points : 0), c->y + (scan ? r->n_points : 0)};
        }
    }
    snprintf(title, sizeof title, "%s: searches, measured: medians", list->results[0].subject);
    char label[32];
    snprintf(label, sizeof label, "recall@%u", list->results[0].k);
    const struct ruvm_plot plot = {
        .title = title,
        .x = {.label = label},
        .y = {.label = "queries/s", .log = true},
        .series = series,
        .n_series = 2 * list->n,
    };
    int rc = ruvm_plot_save(&plot, "bench-rag", path);
    free(series);
    free(curves);
    return rc;
}
