/* Plots as SVG: what is drawn where, read back from the file's own ticks. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/plot.h"

/* The SVG as a text, to be freed. */
static char *printed(const struct ruvm_plot *p)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    ruvm_plot_print(p, out);
    fclose(out);
    return text;
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

/* The place of the tick with this label: of its text's x (axis 'x') or y (axis 'y'). */
static double tick(const char *svg, char axis, const char *label)
{
    char group[32], wanted[64];
    double x, y;
    snprintf(group, sizeof group, "<g class=\"%c\"", axis);
    snprintf(wanted, sizeof wanted, ">%s</text>", label);
    const char *begin = strstr(svg, group);
    cr_assert_not_null(begin);
    const char *at = strstr(begin, wanted);
    cr_assert(at && at < strstr(begin, "</g>"), "no tick %s on %c", label, axis);
    while (strncmp(at, "<text", 5) != 0)
        at--;
    cr_assert_eq(sscanf(at, "<text x=\"%lf\" y=\"%lf\"", &x, &y), 2);
    return axis == 'x' ? x : y - 4; /* a label's baseline is below its middle */
}

/* The centre of the first disc. */
static void first_disc(const char *svg, double *x, double *y)
{
    const char *at = strstr(svg, "<circle");
    cr_assert(at && sscanf(at, "<circle cx=\"%lf\" cy=\"%lf\"", x, y) == 2);
}

static struct ruvm_plot plot_of(const struct ruvm_plot_series *s)
{
    return (struct ruvm_plot){
        .title = "t", .x.label = "a", .y.label = "b", .series = s, .n_series = 1};
}

#define NEAR(a, b) cr_assert(fabs((a) - (b)) < 0.02, "%g is not %g", (a), (b))

Test(plot, linear_places)
{
    const double x[] = {2500, 0, 10000}, y[] = {0.3, 0.1, 0.5};
    const struct ruvm_plot_series s = {"s", RUVM_PLOT_POINTS, 3, x, y};
    struct ruvm_plot p = plot_of(&s);
    char *svg = printed(&p);
    double cx, cy;
    first_disc(svg, &cx, &cy);
    NEAR(cx, 0.75 * tick(svg, 'x', "0") + 0.25 * tick(svg, 'x', "10,000"));
    NEAR(cy, 0.5 * tick(svg, 'y', "0.1") + 0.5 * tick(svg, 'y', "0.5"));
    cr_assert(tick(svg, 'y', "0.5") < tick(svg, 'y', "0.1"), "up is more");
    free(svg);
}

Test(plot, logarithmic_places)
{
    const double x[] = {1, 2}, y[] = {0.01, 3};
    const struct ruvm_plot_series s = {"s", RUVM_PLOT_POINTS, 2, x, y};
    struct ruvm_plot p = plot_of(&s);
    p.y.log = true;
    char *svg = printed(&p);
    double cx, cy;
    first_disc(svg, &cx, &cy);
    NEAR(cy, tick(svg, 'y', "0.01"));
    /* three decades are equally far apart */
    NEAR(tick(svg, 'y', "0.1") - tick(svg, 'y', "1"),
         tick(svg, 'y', "0.01") - tick(svg, 'y', "0.1"));
    free(svg);
}

Test(plot, stairs_go_right_before_they_go_down)
{
    const double x[] = {0, 10}, y[] = {1, 0};
    const struct ruvm_plot_series s = {"s", RUVM_PLOT_STAIRS, 2, x, y};
    struct ruvm_plot p = plot_of(&s);
    char *svg = printed(&p);
    char wanted[128];
    snprintf(wanted, sizeof wanted, "d=\"M%.2f %.2fH%.2fV%.2f\"", tick(svg, 'x', "0"),
             tick(svg, 'y', "1"), tick(svg, 'x', "10"), tick(svg, 'y', "0"));
    cr_assert_not_null(strstr(svg, wanted), "%s", wanted);
    free(svg);
}

Test(plot, what_has_no_place_is_counted)
{
    const double x[] = {1, 2, 3, 4}, y[] = {0, 0.5, (double)NAN, 0.25};
    const struct ruvm_plot_series s = {"s", RUVM_PLOT_STAIRS, 4, x, y};
    struct ruvm_plot p = plot_of(&s);
    p.y.log = true;
    char *svg = printed(&p);
    cr_assert_not_null(strstr(svg, "have no place for them: 2<"));
    cr_assert_eq(count(svg, "<circle"), 2 + 1); /* one is the legend's */
    cr_assert_null(strstr(svg, "nan"));
    cr_assert_null(strstr(svg, "inf"));
    free(svg);
}

/* Plots of nothing, of one point, of extremes: finite numbers everywhere. */
Test(plot, odd_ranges)
{
    static const double values[] = {0, 1, -1, 1e-9, 1e9, 1e-299, 1e299, 123456};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (unsigned n = 0; n < 3; n++)
            for (int log = 0; log < 2; log++) {
                const double x[] = {values[i], values[7 - i]};
                const struct ruvm_plot_series s = {"s", RUVM_PLOT_STAIRS, n, x, x};
                struct ruvm_plot p = plot_of(&s);
                p.x.log = p.y.log = log;
                p.x.limit = values[i];
                char *svg = printed(&p);
                cr_assert(!strstr(svg, "nan") && !strstr(svg, "inf"), "%g, %u points, log %d",
                          values[i], n, log);
                cr_assert(count(svg, "</text>") > 5, "%g, %u points, log %d", values[i], n, log);
                free(svg);
            }
}

Test(plot, ticks_are_round_and_few)
{
    const double x[] = {123456, 987654}, y[] = {0.0123, 0.0345};
    const struct ruvm_plot_series s = {"s", RUVM_PLOT_POINTS, 2, x, y};
    struct ruvm_plot p = plot_of(&s);
    p.y.log = true;
    char *svg = printed(&p);
    cr_assert(tick(svg, 'x', "200,000") < tick(svg, 'x', "400,000"));
    cr_assert(tick(svg, 'y', "0.05") < tick(svg, 'y', "0.02"));
    free(svg);
}

Test(plot, texts_are_fit_for_xml)
{
    const struct ruvm_plot_series s = {.name = "a<b>&\"c\"\x1b"};
    struct ruvm_plot p = plot_of(&s);
    p.title = "\xFF</title>";
    char *svg = printed(&p);
    cr_assert_not_null(strstr(svg, "a&lt;b&gt;&amp;&quot;c&quot;\\x1B"));
    cr_assert_not_null(strstr(svg, "<title>\\xFF&lt;/title&gt;</title>"));
    free(svg);
}

Test(plot, limits_are_dashed_lines)
{
    const double x[] = {0, 10}, y[] = {0, 1};
    const struct ruvm_plot_series s = {"s", RUVM_PLOT_POINTS, 2, x, y};
    struct ruvm_plot p = plot_of(&s);
    char *without = printed(&p);
    p.x.limit = 5;
    char *with = printed(&p);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "<path d=\"M%.2f ",
             (tick(with, 'x', "0") + tick(with, 'x', "10")) / 2);
    cr_assert_not_null(strstr(strstr(with, "stroke-dasharray"), wanted));
    cr_assert_null(strstr(strstr(without, "stroke-dasharray"), wanted));
    free(with);
    free(without);
}

Test(plot, saved_whole_or_not_at_all)
{
    char folder[] = "/tmp/ruvm-plot-XXXXXX", path[64], missing[64];
    const double x[] = {0, 10}, y[] = {0, 1};
    const struct ruvm_plot_series s = {"s", RUVM_PLOT_LINE, 2, x, y};
    struct ruvm_plot p = plot_of(&s);
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.svg", folder);
    snprintf(missing, sizeof missing, "%s/none/a.svg", folder);
    cr_assert_eq(ruvm_plot_save(&p, "test", path), RUVM_EXIT_DONE);
    char *svg = printed(&p), *read = calloc(1, strlen(svg) + 2);
    FILE *f = fopen(path, "r");
    cr_assert_eq(fread(read, 1, strlen(svg) + 1, f), strlen(svg));
    cr_assert_str_eq(read, svg);
    fclose(f);
    cr_redirect_stderr();
    cr_assert_eq(ruvm_plot_save(&p, "test", missing), RUVM_EXIT_FAILED);
    unlink(path);
    cr_assert_eq(rmdir(folder), 0, "a temporary file is left");
    free(svg);
    free(read);
}
