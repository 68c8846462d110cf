/* Plots: from numbers to SVG.
 *
 * An axis maps its values to a place between 0 and 1 (after a logarithm, where it has
 * one), and its ends are ticks: round numbers that enclose all points. Everything is
 * printed with two digits behind the point, which hides how a machine rounds.
 */
#define _DEFAULT_SOURCE
#include "cli/plot.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In SVG units; the legend adds its lines below. */
enum {
    WIDTH = 760,
    LEFT = 90,
    RIGHT = 30,
    TOP = 48,
    PLOT_HEIGHT = 360,
    UNDER = 64,
    LEGEND_LINE = 20
};
enum { MAX_TICKS = 40, WANTED_STEPS = 6 };

struct ticks {
    double at[MAX_TICKS];
    unsigned n; /* the first and the last are the ends of the axis */
};

/* A plot on its way to the file. */
struct drawing {
    const struct ruvm_plot *p;
    FILE *out;
    struct ticks x, y;
    unsigned n_left_out;
};

/* Blue, vermilion, green, purple, orange of Okabe and Ito: told apart by all eyes. */
static const char *const colors[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                     "#e69f00", "#56b4e9", "#555555", "#8c510a"};

static const char *color_of(const struct drawing *d, unsigned series)
{
    if (d->p->n_colors)
        series %= d->p->n_colors;
    return colors[series % (sizeof colors / sizeof *colors)];
}

/* ---- axes ---------------------------------------------------------------- */

static bool has_place(const struct ruvm_plot_axis *axis, double value)
{
    const double least = 1e-300, most = 1e300; /* so that ticks beyond the ends are finite, too */
    return fabs(value) < most && (!axis->log || value > least);
}

static bool has_limit(const struct ruvm_plot_axis *axis)
{
    return axis->limit != 0 && has_place(axis, axis->limit);
}

struct range {
    double min, max;
};

static void widen(struct range *r, const struct ruvm_plot_axis *axis, double value)
{
    if (!has_place(axis, value))
        return;
    r->min = fmin(r->min, value);
    r->max = fmax(r->max, value);
}

/* Of all points that will be drawn, and never empty. */
static struct range range_of(const struct ruvm_plot *p, const struct ruvm_plot_axis *axis)
{
    struct range r = {HUGE_VAL, -HUGE_VAL};
    for (unsigned s = 0; s < p->n_series; s++)
        for (unsigned i = 0; i < p->series[s].n; i++)
            widen(&r, axis, axis == &p->x ? p->series[s].x[i] : p->series[s].y[i]);
    if (has_limit(axis) && axis->limit > r.min / 2 && axis->limit < r.max * 2)
        widen(&r, axis, axis->limit); /* from far away it would squeeze the points */
    if (r.min > r.max)
        r = axis->log ? (struct range){1, 10} : (struct range){0, 1};
    if (r.min == r.max && axis->log)
        r = (struct range){r.min / 2, r.max * 2};
    else if (r.min == r.max)
        r = (struct range){r.min - fabs(r.min) / 2 - 1, r.max + fabs(r.max) / 2 + 1};
    return r;
}

/* m * 10^exponent, rounded once: products of powers differ in their last bit. */
static double decimal(unsigned m, int exponent)
{
    char text[24];
    snprintf(text, sizeof text, "%ue%d", m, exponent);
    return strtod(text, NULL);
}

/* 1, 2 or 5 times a power of ten, not below `least`. */
static double round_step(double least)
{
    static const unsigned steps[] = {1, 2, 5};
    int exponent = (int)floor(log10(least));
    for (;; exponent++)
        for (unsigned i = 0; i < 3; i++)
            if (decimal(steps[i], exponent) >= least * (1 - 1e-9))
                return decimal(steps[i], exponent);
}

static void linear_ticks(struct ticks *t, struct range r, bool whole)
{
    double least = (r.max - r.min) / WANTED_STEPS;
    double step = round_step(whole && least < 1 ? 1 : least);
    double first = floor(r.min / step + 1e-9), last = ceil(r.max / step - 1e-9);
    t->n = 0;
    for (double i = first; i <= last && t->n < MAX_TICKS; i++)
        t->at[t->n++] = i * step;
}

/* Powers of ten, with 2 and 5 between them when there are few. What lies below the least
 * value is dropped again but for the last one, where the axis begins. */
static void log_ticks(struct ticks *t, struct range r)
{
    static const unsigned steps[] = {1, 2, 5};
    double decades = log10(r.max / r.min);
    unsigned n_steps = decades <= 2.5 ? 3 : 1;
    int stride = 1 + (int)(decades / 12);
    t->n = 0;
    for (int e = (int)floor(log10(r.min)) - stride; t->n < MAX_TICKS; e += stride)
        for (unsigned i = 0; i < n_steps && t->n < MAX_TICKS; i++) {
            double value = decimal(steps[i], e);
            if (value <= r.min)
                t->n = 0;
            t->at[t->n++] = value;
            if (value >= r.max)
                return;
        }
}

static void find_ticks(struct ticks *t, const struct ruvm_plot *p,
                       const struct ruvm_plot_axis *axis)
{
    struct range r = range_of(p, axis);
    if (axis->log)
        log_ticks(t, r);
    else
        linear_ticks(t, r, axis->whole);
}

/* Where a value is between the ends of its axis, 0 to 1. */
static double place(const struct ruvm_plot_axis *axis, const struct ticks *t, double value)
{
    double first = t->at[0], last = t->at[t->n - 1];
    if (axis->log)
        return log(value / first) / log(last / first);
    return (value - first) / (last - first);
}

static bool is_inside(double at)
{
    return at >= 0 && at <= 1;
}

static double x_of(const struct drawing *d, double value)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * place(&d->p->x, &d->x, value);
}

static double y_of(const struct drawing *d, double value)
{
    return TOP + PLOT_HEIGHT * (1 - place(&d->p->y, &d->y, value));
}

/* ---- texts --------------------------------------------------------------- */

/* Text of any origin, fit for XML. */
static void put_text(FILE *out, const char *text)
{
    char *visible = ruvm_output_visible(text, strlen(text));
    for (const char *c = visible; *c; c++)
        if (*c == '&')
            fputs("&amp;", out);
        else if (*c == '<')
            fputs("&lt;", out);
        else if (*c == '>')
            fputs("&gt;", out);
        else if (*c == '"')
            fputs("&quot;", out);
        else
            fputc(*c, out);
    free(visible);
}

/* Large whole numbers as "150,000", others as %g has them. */
static void put_number(FILE *out, double value)
{
    if (value >= 1000 && value < 1e15 && value == floor(value))
        fputs(ruvm_output_grouped((uint64_t)value), out);
    else
        fprintf(out, "%.6g", fabs(value) < 1e-300 ? 0 : value);
}

static void put_label(const struct drawing *d, double x, double y, const char *anchor,
                      const char *text)
{
    fprintf(d->out, "<text x=\"%.2f\" y=\"%.2f\" text-anchor=\"%s\">", x, y, anchor);
    put_text(d->out, text);
    fputs("</text>\n", d->out);
}

/* ---- drawing ------------------------------------------------------------- */

static void put_line(const struct drawing *d, double x1, double y1, double x2, double y2)
{
    fprintf(d->out, "<path d=\"M%.2f %.2fL%.2f %.2f\"/>\n", x1, y1, x2, y2);
}

static void draw_grid(const struct drawing *d)
{
    fputs("<g stroke=\"#dddddd\">\n", d->out);
    for (unsigned i = 0; i < d->x.n; i++)
        put_line(d, x_of(d, d->x.at[i]), TOP, x_of(d, d->x.at[i]), TOP + PLOT_HEIGHT);
    for (unsigned i = 0; i < d->y.n; i++)
        put_line(d, LEFT, y_of(d, d->y.at[i]), WIDTH - RIGHT, y_of(d, d->y.at[i]));
    fputs("</g>\n<g stroke=\"#666666\" stroke-dasharray=\"6 4\">\n", d->out);
    if (has_limit(&d->p->x) && is_inside(place(&d->p->x, &d->x, d->p->x.limit)))
        put_line(d, x_of(d, d->p->x.limit), TOP, x_of(d, d->p->x.limit), TOP + PLOT_HEIGHT);
    if (has_limit(&d->p->y) && is_inside(place(&d->p->y, &d->y, d->p->y.limit)))
        put_line(d, LEFT, y_of(d, d->p->y.limit), WIDTH - RIGHT, y_of(d, d->p->y.limit));
    fputs("</g>\n", d->out);
}

static void draw_axes(const struct drawing *d)
{
    const double bottom = TOP + PLOT_HEIGHT, middle = TOP + PLOT_HEIGHT / 2;
    fprintf(d->out, "<g class=\"x\" text-anchor=\"middle\">\n");
    for (unsigned i = 0; i < d->x.n; i++) {
        fprintf(d->out, "<text x=\"%.2f\" y=\"%.2f\">", x_of(d, d->x.at[i]), bottom + 18);
        put_number(d->out, d->x.at[i]);
        fputs("</text>\n", d->out);
    }
    fprintf(d->out, "</g>\n<g class=\"y\" text-anchor=\"end\">\n");
    for (unsigned i = 0; i < d->y.n; i++) {
        fprintf(d->out, "<text x=\"%d\" y=\"%.2f\">", LEFT - 8, y_of(d, d->y.at[i]) + 4);
        put_number(d->out, d->y.at[i]);
        fputs("</text>\n", d->out);
    }
    fputs("</g>\n", d->out);
    put_label(d, (LEFT + WIDTH - RIGHT) / 2.0, bottom + 42, "middle", d->p->x.label);
    fprintf(d->out, "<g transform=\"rotate(-90 18 %.2f)\">\n", middle);
    put_label(d, 18, middle, "middle", d->p->y.label);
    fputs("</g>\n", d->out);
}

static bool has_point(const struct drawing *d, const struct ruvm_plot_series *s, unsigned i)
{
    return has_place(&d->p->x, s->x[i]) && has_place(&d->p->y, s->y[i]);
}

static void draw_path(const struct drawing *d, const struct ruvm_plot_series *s)
{
    bool first = true;
    fputs("<path fill=\"none\" stroke-width=\"1.5\" d=\"M", d->out);
    for (unsigned i = 0; i < s->n; i++) {
        if (!has_point(d, s, i))
            continue;
        double x = x_of(d, s->x[i]), y = y_of(d, s->y[i]);
        if (!first && s->style == RUVM_PLOT_STAIRS)
            fprintf(d->out, "H%.2fV%.2f", x, y);
        else
            fprintf(d->out, "%s%.2f %.2f", first ? "" : "L", x, y);
        first = false;
    }
    fputs(first ? "0 0\"/>\n" : "\"/>\n", d->out); /* an empty path is no valid one */
}

static const char *mark_of(const struct ruvm_plot_series *s)
{
    return s->style == RUVM_PLOT_RINGS ? "r=\"8\" fill=\"none\" stroke-width=\"2\""
                                       : "r=\"3\" stroke=\"none\"";
}

static void draw_marks(struct drawing *d, const struct ruvm_plot_series *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (has_point(d, s, i))
            fprintf(d->out, "<circle cx=\"%.2f\" cy=\"%.2f\" %s/>\n", x_of(d, s->x[i]),
                    y_of(d, s->y[i]), mark_of(s));
        else
            d->n_left_out++;
}

static void draw_series(struct drawing *d, unsigned i)
{
    const struct ruvm_plot_series *s = &d->p->series[i];
    const char *color = color_of(d, i);
    fprintf(d->out, "<g stroke=\"%s\" fill=\"%s\">\n<title>", color, color);
    put_text(d->out, s->name);
    fputs("</title>\n", d->out);
    if (s->style == RUVM_PLOT_STAIRS || s->style == RUVM_PLOT_LINE)
        draw_path(d, s);
    draw_marks(d, s);
    fputs("</g>\n", d->out);
}

/* A row of the legend: its sign is drawn by the caller. */
static double legend_y(unsigned row)
{
    return TOP + PLOT_HEIGHT + UNDER + (double)LEGEND_LINE * row;
}

static void legend_series(const struct drawing *d, unsigned i, unsigned row)
{
    const struct ruvm_plot_series *s = &d->p->series[i];
    double y = legend_y(row);
    fprintf(d->out, "<g stroke=\"%s\" fill=\"%s\">\n", color_of(d, i), color_of(d, i));
    if (s->style == RUVM_PLOT_STAIRS || s->style == RUVM_PLOT_LINE)
        put_line(d, LEFT, y, LEFT + 24, y);
    fprintf(d->out, "<circle cx=\"%d\" cy=\"%.2f\" %s/>\n</g>\n", LEFT + 12, y, mark_of(s));
    put_label(d, LEFT + 34, y + 4, "start", s->name);
}

static void draw_legend(const struct drawing *d)
{
    unsigned row = 0;
    for (unsigned i = 0; i < d->p->n_series; i++)
        if (d->p->series[i].n)
            legend_series(d, i, row++);
    if (d->p->limit_name && (has_limit(&d->p->x) || has_limit(&d->p->y))) {
        fputs("<g stroke=\"#666666\" stroke-dasharray=\"6 4\">\n", d->out);
        put_line(d, LEFT, legend_y(row), LEFT + 24, legend_y(row));
        fputs("</g>\n", d->out);
        put_label(d, LEFT + 34, legend_y(row++) + 4, "start", d->p->limit_name);
    }
    if (d->n_left_out) {
        char text[64];
        snprintf(text, sizeof text, "left out, because the axes have no place for them: %u",
                 d->n_left_out);
        put_label(d, LEFT, legend_y(row) + 4, "start", text);
    }
}

void ruvm_plot_print(const struct ruvm_plot *p, FILE *out)
{
    struct drawing d = {.p = p, .out = out};
    int height = TOP + PLOT_HEIGHT + UNDER + LEGEND_LINE * ((int)p->n_series + 2);
    find_ticks(&d.x, p, &p->x);
    find_ticks(&d.y, p, &p->y);
    fprintf(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
        "viewBox=\"0 0 %d %d\"\n"
        "     font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\" role=\"img\">\n<title>",
        WIDTH, height, WIDTH, height);
    put_text(out, p->title);
    fprintf(out, "</title>\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", WIDTH, height);
    fputs("<g font-size=\"16\">\n", out);
    put_label(&d, WIDTH / 2.0, 28, "middle", p->title);
    fputs("</g>\n", out);
    draw_grid(&d);
    draw_axes(&d);
    for (unsigned i = 0; i < p->n_series; i++)
        draw_series(&d, i);
    draw_legend(&d);
    fputs("</svg>\n", out);
}

/* ---- the file ------------------------------------------------------------- */

/* Everything on the disk before the name is there. */
static bool finish(FILE *out)
{
    bool ok = !ferror(out) && fflush(out) == 0 && (fsync(fileno(out)) == 0 || errno == EINVAL);
    int error = errno;
    if (fclose(out) != 0 && ok)
        return false;
    errno = error;
    return ok;
}

static bool write_and_rename(const struct ruvm_plot *p, const char *path)
{
    size_t size = strlen(path) + sizeof ".tmp-" + 3 * sizeof(long);
    char *temporary = ruvm_output_alloc(size, 1);
    snprintf(temporary, size, "%s.tmp-%ld", path, (long)getpid());
    unlink(temporary); /* of a process that had our number and was killed */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (out)
        ruvm_plot_print(p, out);
    bool ok = out && finish(out) && rename(temporary, path) == 0;
    if (out && !ok) {
        int error = errno;
        unlink(temporary);
        errno = error;
    }
    free(temporary);
    return ok;
}

/* A device or a pipe: nothing that a rename could replace. */
static bool write_in_place(const struct ruvm_plot *p, const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return false;
    ruvm_plot_print(p, out);
    return finish(out);
}

int ruvm_plot_save(const struct ruvm_plot *p, const char *verb, const char *path)
{
    struct stat st;
    bool exists = stat(path, &st) == 0;
    /* Behind a symbolic link the file is replaced, not the link. */
    char *target = exists ? realpath(path, NULL) : NULL;
    bool ok = exists && !S_ISREG(st.st_mode) ? write_in_place(p, path)
                                             : write_and_rename(p, target ? target : path);
    if (!ok)
        ruvm_output_error(verb, "%s: cannot write: %s", path, strerror(errno));
    free(target);
    return ok ? RUVM_EXIT_DONE : RUVM_EXIT_FAILED;
}
