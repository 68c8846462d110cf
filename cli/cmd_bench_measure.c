/* bench: one measurement after the other, or in turns what is to be compared.
 *
 * The values of a sweep and the tables of --kernels all are measurements of one model, which
 * the library measures in turns; models follow each other, because memory is measured too.
 */
#include "cli/cmd_bench.h"

#include <stdlib.h>
#include <string.h>

/* Measurements of one model. */
struct points {
    struct ruvm_bench_options *o; /* [n], owned */
    unsigned *value;              /* [n] of the sweep, owned */
    unsigned n;
};

static unsigned count_kernels(void)
{
    bool available;
    unsigned n = 0;
    while (ruvm_kernels_list(n, &available))
        n++;
    return n;
}

/* All values of the sweep with one table, which stand together in every output. */
static void add_values(struct points *p, const struct ruvm_bench_sweep *sweep,
                       const struct ruvm_bench_options *o)
{
    for (unsigned i = 0; i < (sweep ? sweep->n : 1); i++) {
        p->o[p->n] = *o;
        p->value[p->n] = i;
        if (sweep)
            ruvm_cmd_bench_sweep_set(&p->o[p->n], sweep, i);
        p->n++;
    }
}

/* With --kernels all those of each table; what does not depend on the kernels is measured with
 * the first only. */
static void list_points(struct points *p, const struct ruvm_bench_sweep *sweep,
                        struct ruvm_bench_options o)
{
    bool available;
    size_t most = (size_t)(sweep ? sweep->n : 1) * count_kernels();
    p->o = ruvm_output_alloc(most, sizeof *p->o);
    p->value = ruvm_output_alloc(most, sizeof *p->value);
    if (!o.kernels || strcmp(o.kernels, "all") != 0) {
        add_values(p, sweep, &o);
        return;
    }
    for (unsigned i = 0; (o.kernels = ruvm_kernels_list(i, &available)); i++) {
        if (!available)
            continue;
        add_values(p, sweep, &o);
        o.quality = o.eval_text = o.questions = NULL;
    }
}

/* Whether a measurement before failed for the same value of the sweep, which is one failure. */
static bool is_told(const struct points *p, const struct ruvm_error *errs, unsigned i)
{
    for (unsigned j = 0; j < i; j++)
        if (errs[j].code && p->value[j] == p->value[i])
            return true;
    return false;
}

static int add_failure(struct ruvm_bench_list *list, const char *model,
                       const struct ruvm_error *err)
{
    struct ruvm_bench_failure *failure = &list->failures[list->n_failures++];
    failure->model = model ? model : "demo";
    failure->err = *err;
    return ruvm_output_failure("bench", err);
}

/* The code of the first failure. */
static int measure_points(struct ruvm_bench_list *list, const struct points *p)
{
    struct ruvm_error *errs = ruvm_output_alloc(p->n, sizeof *errs);
    struct ruvm_bench_result *r = &list->results[list->n];
    int rc = RUVM_EXIT_DONE;
    bool ended = false;
    ruvm_bench_each(p->o, p->n, r, errs);
    for (unsigned i = 0; i < p->n; i++) {
        if (errs[i].code == RUVM_OK) {
            list->points[list->n] = p->value[i];
            list->results[list->n++] = r[i];
        } else if (!ended && !is_told(p, errs, i)) {
            int failed = add_failure(list, p->o->model, &errs[i]);
            rc = rc ? rc : failed;
            ended = ruvm_output_signal() != 0;
        }
    }
    free(errs);
    return rc;
}

static bool has_kernel_rates(const struct ruvm_bench_list *list)
{
    for (unsigned i = 0; i < list->n; i++)
        if (list->results[i].n_kernels)
            return true;
    return false;
}

int ruvm_cmd_bench_measure(struct ruvm_bench_list *list, const struct ruvm_args *args,
                           const struct ruvm_bench_options *options)
{
    struct ruvm_bench_options o = *options;
    unsigned n = ruvm_args_n_operands(args), n_points = list->sweep ? list->sweep->n : 1;
    int rc = RUVM_EXIT_DONE;
    n = n ? n : 1; /* without MODEL: the demo */
    list->n_asked = n * n_points;
    list->source = o.quality;
    list->no_speed = o.no_speed;
    list->cap = n * n_points * count_kernels();
    list->results = ruvm_output_alloc(list->cap, sizeof *list->results);
    list->points = ruvm_output_alloc(list->cap, sizeof *list->points);
    list->failures = ruvm_output_alloc((size_t)n * n_points, sizeof *list->failures);
    for (unsigned i = 0; i < n && !ruvm_output_signal(); i++) {
        struct points p = {.n = 0};
        o.model = ruvm_args_operand(args, i);
        o.kernel_rates = options->kernel_rates && !has_kernel_rates(list); /* the machine's */
        list_points(&p, list->sweep, o);
        int failed = measure_points(list, &p);
        rc = rc ? rc : failed;
        free(p.o);
        free(p.value);
    }
    ruvm_output_progress_end();
    return rc;
}
