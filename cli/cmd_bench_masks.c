/* bench --sweep mask=...: what each mask costs in quality and saves in memory, beside dense
 * attention.
 *
 * Positions and bytes are counted, perplexity and speed measured. A mask other than a window
 * saves neither memory nor time; then the table says so.
 */
#include "cli/cmd_bench.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_COLS = 16 };

struct masks {
    const struct ruvm_bench_list *list;
    bool has_speed, has_perplexity;
    struct ruvm_table table;
    const char *heads[MOST_COLS];
    char align[MOST_COLS];
};

static void add_column(struct masks *m, const char *head, char align)
{
    m->heads[m->table.n_cols] = head;
    m->align[m->table.n_cols++] = align;
}

static void add_columns(struct masks *m, bool is_csv)
{
    static const char *const counted[] = {"sees", "of", "keeps", "KV, bytes"};
    static const char *const speed[] = {"generate, tokens/s", "q1", "q3", "times none"};
    add_column(m, "model", 'l');
    add_column(m, "kernels", 'l');
    add_column(m, "mask", 'l');
    for (size_t i = 0; i < sizeof counted / sizeof *counted; i++)
        add_column(m, counted[i], 'r');
    if (m->has_perplexity) {
        add_column(m, "perplexity", 'r');
        add_column(m, "change %", 'r');
    }
    for (size_t i = 0; m->has_speed && i < sizeof speed / sizeof *speed; i++)
        add_column(m, speed[i], 'r');
    add_column(m, "tier", 'l');
    if (is_csv)
        add_column(m, "machine", 'l');
}

/* The same model with the same kernels and no mask, or NULL. */
static const struct ruvm_bench_result *dense_of(const struct masks *m,
                                                const struct ruvm_bench_result *r)
{
    for (unsigned i = 0; i < m->list->n; i++) {
        const struct ruvm_bench_result *other = &m->list->results[i];
        if (strcmp(other->mask, "none") == 0 && strcmp(other->model, r->model) == 0 &&
            strcmp(other->kernels, r->kernels) == 0)
            return other;
    }
    return NULL;
}

static void cell_or_hyphen(struct ruvm_table *t, const char *format, bool is_there, double value)
{
    char text[32];
    snprintf(text, sizeof text, format, value);
    ruvm_table_cell(t, "%s", is_there ? text : "-");
}

/* Perplexity is that of one table of kernels: all have the same. */
static void perplexity_cells(struct masks *m, const struct ruvm_bench_result *r,
                             const struct ruvm_bench_result *dense)
{
    bool can_compare = r->has_perplexity && dense && dense->has_perplexity;
    cell_or_hyphen(&m->table, "%.5g", r->has_perplexity, r->perplexity);
    cell_or_hyphen(&m->table, "%+.3f", can_compare,
                   can_compare ? 100 * (r->perplexity / dense->perplexity - 1) : 0);
}

static void speed_cells(struct masks *m, const struct ruvm_bench_result *r,
                        const struct ruvm_bench_result *dense)
{
    const struct ruvm_spread *s = &r->decode_tokens_per_s;
    ruvm_table_cell(&m->table, "%.5g", s->median);
    ruvm_table_cell(&m->table, "%.5g", s->q1);
    ruvm_table_cell(&m->table, "%.5g", s->q3);
    cell_or_hyphen(&m->table, "%.3f", dense != NULL,
                   dense ? s->median / dense->decode_tokens_per_s.median : 0);
}

static void add_row(struct masks *m, const struct ruvm_bench_result *r)
{
    const struct ruvm_bench_result *dense = dense_of(m, r);
    struct ruvm_table *t = &m->table;
    char *model = ruvm_output_visible(r->model, strlen(r->model));
    ruvm_table_cell(t, "%s", model);
    free(model);
    ruvm_table_cell(t, "%s", r->kernels);
    ruvm_table_cell(t, "%s", r->mask);
    ruvm_table_cell(t, "%u", r->seen_positions);
    ruvm_table_cell(t, "%u", r->context);
    ruvm_table_cell(t, "%u", r->cached_positions);
    ruvm_table_cell(t, "%llu", (unsigned long long)r->kv_bytes);
    if (m->has_perplexity)
        perplexity_cells(m, r, dense);
    if (m->has_speed)
        speed_cells(m, r, dense);
    ruvm_table_cell(t, "measured");
}

void ruvm_cmd_bench_masks_print(const struct ruvm_bench_list *list, enum ruvm_table_style style)
{
    struct masks m = {.list = list, .has_speed = !list->no_speed};
    for (unsigned i = 0; i < list->n; i++)
        m.has_perplexity |= list->results[i].has_perplexity;
    m.table.heads = m.heads;
    m.table.align = m.align;
    add_columns(&m, style == RUVM_TABLE_CSV);
    for (unsigned i = 0; i < list->n; i++) {
        add_row(&m, &list->results[i]);
        if (style == RUVM_TABLE_CSV)
            ruvm_table_cell(&m.table, "%s", list->results[i].machine);
    }
    ruvm_table_print(&m.table, style);
    ruvm_table_free(&m.table);
}
