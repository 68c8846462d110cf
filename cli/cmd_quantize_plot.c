/* quantize --plot: the curve that the search chose from. */
#include "cli/cmd_quantize.h"
#include "cli/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Points of one kind, filled one by one. */
struct points {
    double *x, *y; /* owned */
    unsigned n;
};

static struct points new_points(uint32_t most)
{
    return (struct points){ruvm_output_alloc(most, sizeof(double)),
                           ruvm_output_alloc(most, sizeof(double)), 0};
}

static void add_point(struct points *p, double x, double y)
{
    p->x[p->n] = x;
    p->y[p->n++] = y;
}

static void free_points(struct points *p)
{
    free(p->x);
    free(p->y);
}

static struct ruvm_plot_series series_of(const char *name, enum ruvm_plot_style style,
                                         const struct points *p)
{
    return (struct ruvm_plot_series){name, style, p->n, p->x, p->y};
}

/* The name in words, without the folder: the plot may travel. */
static void write_title(char *title, size_t size, const char *input)
{
    const char *slash = strrchr(input, '/');
    snprintf(title, size, "%s: loss against size", slash ? slash + 1 : input);
}

static void write_limit(char *text, size_t size, const struct ruvm_quantize_options *o,
                        const struct ruvm_quantize_result *r)
{
    if (r->limit_bytes)
        snprintf(text, size, "limit: %s bytes%s%s", ruvm_output_grouped(r->limit_bytes),
                 r->limit_bytes == o->max_bytes ? "" : ", what fits ",
                 r->limit_bytes == o->max_bytes ? "" : o->target);
    else
        snprintf(text, size, "limit: %g nats, measured", o->max_kl);
}

int ruvm_cmd_quantize_plot(const struct ruvm_quantize_options *o,
                           const struct ruvm_quantize_result *r, const char *path)
{
    struct points modelled = new_points(r->n_choices), measured = new_points(r->n_choices),
                  chosen = new_points(r->n_choices);
    char title[256], limit[64], chosen_name[128] = "chosen";
    for (uint32_t i = 0; i < r->n_choices; i++) {
        const struct ruvm_quantize_choice *c = &r->choices[i];
        double bytes = (double)c->image_bytes;
        add_point(&modelled, bytes, c->kl_estimate);
        if (!isnan(c->kl_measured))
            add_point(&measured, bytes, c->kl_measured);
        if (!c->chosen)
            continue;
        add_point(&chosen, bytes, isnan(c->kl_measured) ? c->kl_estimate : c->kl_measured);
        snprintf(chosen_name, sizeof chosen_name, "chosen: %s, %s bytes", c->types,
                 ruvm_output_grouped(c->image_bytes));
    }
    write_title(title, sizeof title, o->input);
    write_limit(limit, sizeof limit, o, r);
    const struct ruvm_plot_series series[] = {
        series_of("KL modelled, second order", RUVM_PLOT_STAIRS, &modelled),
        series_of("KL measured", RUVM_PLOT_POINTS, &measured),
        series_of(chosen_name, RUVM_PLOT_RINGS, &chosen),
    };
    const struct ruvm_plot plot = {
        .title = title,
        .x = {.label = "image, bytes", .limit = (double)r->limit_bytes},
        .y = {.label = "KL, nats a position", .log = true, .limit = o->max_kl},
        .limit_name = limit,
        .series = series,
        .n_series = sizeof series / sizeof *series,
    };
    int rc = ruvm_plot_save(&plot, "quantize", path);
    free_points(&modelled);
    free_points(&measured);
    free_points(&chosen);
    return rc;
}
