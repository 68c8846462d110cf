/* Plots: series of points on two axes as one SVG file, for a person's browser.
 *
 * The writer is ours because a tool for chips should not need a plotting program.
 * The same plot gives the same bytes. The background is drawn, so that the text is
 * readable in dark viewers as well.
 */
#ifndef RUVM_PLOT_H
#define RUVM_PLOT_H

#include <stdbool.h>
#include <stdio.h>

struct ruvm_plot_axis {
    const char *label; /* with the unit: "image, bytes" */
    bool log;          /* logarithmic: only values above 0 have a place */
    bool whole;        /* its values are whole numbers, and so are the ticks between them */
    double limit;      /* a dashed line at this value if it is near the points; 0: none */
};

enum ruvm_plot_style {
    RUVM_PLOT_STAIRS, /* a value holds until the next x; points ascend by x */
    RUVM_PLOT_LINE,   /* points joined in their order */
    RUVM_PLOT_POINTS, /* small discs */
    RUVM_PLOT_RINGS,  /* larger, around others */
};

struct ruvm_plot_series {
    const char *name; /* in the legend below the plot, when there are points */
    enum ruvm_plot_style style;
    unsigned n;
    const double *x, *y; /* [n] */
};

struct ruvm_plot {
    const char *title;
    struct ruvm_plot_axis x, y;
    const char *limit_name; /* of the dashed lines in the legend; NULL: not there */
    const struct ruvm_plot_series *series;
    unsigned n_series;
    unsigned n_colors; /* series that differ by it have the same one; 0: each its own */
};

/* Writes the SVG. A point that an axis cannot hold (not finite, or not above 0 on a
 * logarithmic one) is left out, and a line below the legend says how many. */
void ruvm_plot_print(const struct ruvm_plot *p, FILE *out);

/* The same into a file that appears whole or not at all. Returns enum ruvm_cli_exit; a
 * failure is reported as the verb's. */
int ruvm_plot_save(const struct ruvm_plot *p, const char *verb, const char *path);

#endif
