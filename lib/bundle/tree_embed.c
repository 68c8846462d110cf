/* Embedding of a tree: each node is put beside its parent, then all are moved until every
 * node's neighbours are nearer than other nodes.
 *
 * The start is that of Sarkar (2011): children around their parent, away from its own parent,
 * which hyperbolic space, growing with e^r, has room for at any depth. Directions are drawn
 * instead of divided: in eight dimensions and more drawn ones are far apart. The descent
 * is that of Nickel and Kiela (2018) on the hyperboloid: for each edge the softmax of
 * -SHARPNESS d over the edge's far end and nodes that are no neighbours. Those two edges away,
 * which are mistaken most, are among them; others are drawn. e^-d needs no exponential, being
 * 1 / (cosh d + sinh d), so hyperbolic points come out the same on every machine.
 *
 * The same descent in flat space is what the report compares with.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/base/random.h"
#include "lib/bundle/tree.h"

enum { STEPS = 100, MAX_NEAR = 128, MAX_FAR = 128, MAX_OTHERS = MAX_NEAR + MAX_FAR };
enum { NEAR_OF_EACH = 24 }; /* nodes two edges away, by way of one neighbour */
#define FIRST_STEP 0.1
#define LAST_STEP 0.002
#define LONGEST_STEP 0.3
#define FORGETTING 0.9 /* of the mean square of a node's gradient */
/* Farther out a code's rounding moves a point by more than an edge. */
#define MAX_SINH 202.0 /* radius 6 */
#define FLAT_SHARPNESS 2.0
#define SMALLEST 1e-9

struct field {
    const struct ruvm_tree *tree;
    uint32_t n, dims;
    bool flat;
    double *x;           /* [n, dims] */
    double *time;        /* [n]: of the hyperboloid */
    double *pull;        /* [n, dims + 1] gradient, its time-like part last */
    double *mean_square; /* [n] of the gradient's length */
    uint64_t state;
};

static double dot(const double *a, const double *b, uint32_t dims)
{
    double sum = 0;
    for (uint32_t k = 0; k < dims; k++)
        sum += a[k] * b[k];
    return sum;
}

static double time_of(const double *x, uint32_t dims)
{
    return sqrt(1 + dot(x, x, dims));
}

/* ---- the start ------------------------------------------------------------------------ */

static void normalise(double *v, uint32_t dims)
{
    double length = sqrt(dot(v, v, dims));
    for (uint32_t k = 0; k < dims; k++)
        v[k] /= length > SMALLEST ? length : 1;
}

static void draw_direction(struct field *f, double *v)
{
    for (uint32_t k = 0; k < f->dims; k++) {
        v[k] = -6; /* sum of twelve: nearly normal, and by addition alone */
        for (int i = 0; i < 12; i++)
            v[k] += ruvm_random_unit(&f->state);
    }
    normalise(v, f->dims);
}

/* to = the point p as seen from u; back: a point seen from u as seen from the origin. */
static void move(const struct field *f, double *to, const double *p, const double *u, bool back)
{
    double sign = back ? 1 : -1, along = 1;
    if (!f->flat)
        along = time_of(p, f->dims) + sign * dot(u, p, f->dims) / (1 + time_of(u, f->dims));
    for (uint32_t k = 0; k < f->dims; k++)
        to[k] = p[k] + sign * u[k] * along;
}

/* v turned half away from the grandparent, which lies in direction w. */
static void turn_away(double *v, double *w, uint32_t dims)
{
    normalise(w, dims);
    double along = dot(v, w, dims) + 0.5;
    for (uint32_t k = 0; k < dims; k++)
        v[k] -= along * w[k];
    normalise(v, dims);
}

/* sinh x by e^x = (1 + x/1024 + ..)^1024: the same on every machine. */
static double sinh_of(double x)
{
    double part = x / 1024, e = 1 + part + part * part / 2;
    for (int i = 0; i < 10; i++)
        e *= e;
    return (e - 1 / e) / 2;
}

static void place(struct field *f, double edge)
{
    double v[RUVM_RAG_MAX_DIMS], w[RUVM_RAG_MAX_DIMS];
    const double length = f->flat ? edge : sinh_of(edge);
    for (uint32_t i = 1; i < f->n; i++) {
        const struct ruvm_tree_node *parent = &f->tree->nodes[f->tree->nodes[i].parent];
        const double *u = f->x + (size_t)f->tree->nodes[i].parent * f->dims;
        draw_direction(f, v);
        if (parent->parent != RUVM_TREE_NONE) {
            move(f, w, f->x + (size_t)parent->parent * f->dims, u, false);
            turn_away(v, w, f->dims);
        }
        for (uint32_t k = 0; k < f->dims; k++)
            v[k] *= length;
        move(f, f->x + (size_t)i * f->dims, v, u, true);
    }
}

/* ---- the descent ------------------------------------------------------------------------ */

/* How near two nodes are: e^(-sharpness d), and what the gradient needs of it. */
struct pair {
    uint32_t other;
    double nearness, weight; /* weight: of how many nodes like it this one is a sample */
    double slope;            /* of d by the inner product, or by half the square distance */
};

static void look(const struct field *f, uint32_t a, struct pair *p)
{
    const double *x = f->x + (size_t)a * f->dims, *y = f->x + (size_t)p->other * f->dims;
    if (f->flat) {
        double square = 0;
        for (uint32_t k = 0; k < f->dims; k++)
            square += (x[k] - y[k]) * (x[k] - y[k]);
        double d = sqrt(square) + SMALLEST;
        p->nearness = exp(-FLAT_SHARPNESS * d);
        p->slope = 1 / d;
        return;
    }
    double cosh = f->time[a] * f->time[p->other] - dot(x, y, f->dims);
    cosh = cosh > 1 + SMALLEST ? cosh : 1 + SMALLEST;
    double sinh = sqrt(cosh * cosh - 1), e = 1 / (cosh + sinh);
    p->nearness = e * e * e * e;
    p->slope = 1 / sinh;
}

/* Adds to the gradient of both: `much` more distance costs so much. */
static void push(struct field *f, uint32_t a, uint32_t b, double much)
{
    double *g = f->pull + (size_t)a * (f->dims + 1), *h = f->pull + (size_t)b * (f->dims + 1);
    const double *x = f->x + (size_t)a * f->dims, *y = f->x + (size_t)b * f->dims;
    for (uint32_t k = 0; k < f->dims; k++) {
        g[k] += much * (f->flat ? x[k] - y[k] : -y[k]);
        h[k] += much * (f->flat ? y[k] - x[k] : -x[k]);
    }
    g[f->dims] -= much * f->time[b];
    h[f->dims] -= much * f->time[a];
}

static uint32_t n_neighbours(const struct ruvm_tree_node *node)
{
    return node->n_children + (node->parent != RUVM_TREE_NONE);
}

static uint32_t neighbour(const struct ruvm_tree_node *node, uint32_t i)
{
    return i < node->n_children ? node->first_child + i : node->parent;
}

/* Those two edges away, of a crowd some. Returns how many. */
static uint32_t take_near(struct field *f, uint32_t a, struct pair *others)
{
    const struct ruvm_tree_node *node = &f->tree->nodes[a];
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_neighbours(node) && n < MAX_NEAR; i++) {
        const struct ruvm_tree_node *between = &f->tree->nodes[neighbour(node, i)];
        uint32_t count = n_neighbours(between);
        for (uint32_t j = 0; j < count && j < NEAR_OF_EACH && n < MAX_NEAR; j++) {
            uint64_t at = count > NEAR_OF_EACH ? ruvm_random_next(&f->state) % count : j;
            others[n].other = neighbour(between, (uint32_t)at);
            others[n].weight = 1;
            n += others[n].other != a;
        }
    }
    return n;
}

/* Nodes that are no neighbours of a: all of a small tree, else a sample. */
static uint32_t take_others(struct field *f, uint32_t a, struct pair *others)
{
    uint32_t n = 0;
    if (f->n <= MAX_OTHERS) {
        for (uint32_t b = 0; b < f->n; b++) {
            others[n] = (struct pair){.other = b, .weight = 1};
            n += b != a && !ruvm_tree_is_edge(f->tree, a, b);
        }
        return n;
    }
    n = take_near(f, a, others);
    double weight = (double)f->n / MAX_FAR;
    for (uint32_t i = 0; i < MAX_FAR; i++) {
        uint32_t b = (uint32_t)(ruvm_random_next(&f->state) % f->n);
        others[n] = (struct pair){.other = b, .weight = weight > 1 ? weight : 1};
        n += b != a && !ruvm_tree_is_edge(f->tree, a, b);
    }
    return n;
}

/* The gradient of -log(near / (near + all others)) over the edges of a. */
static void add_node(struct field *f, uint32_t a)
{
    struct pair others[MAX_OTHERS];
    const struct ruvm_tree_node *node = &f->tree->nodes[a];
    uint32_t n = take_others(f, a, others);
    double crowd = 0, share = 0;
    for (uint32_t i = 0; i < n; i++) {
        look(f, a, &others[i]);
        crowd += others[i].nearness * others[i].weight;
    }
    for (uint32_t i = 0; i < n_neighbours(node); i++) {
        struct pair p = {.other = neighbour(node, i)};
        look(f, a, &p);
        if (p.nearness + crowd <= 0)
            continue; /* flat and far beyond what a double holds */
        share += 1 / (p.nearness + crowd);
        push(f, a, p.other, crowd / (p.nearness + crowd) * p.slope);
    }
    for (uint32_t i = 0; i < n; i++)
        push(f, a, others[i].other,
             -others[i].weight * others[i].nearness * share * others[i].slope);
}

/* The gradient's part along the hyperboloid; returns its squared length. */
static double project(const struct field *f, uint32_t a, double *g)
{
    const double *x = f->x + (size_t)a * f->dims;
    if (f->flat)
        return dot(g, g, f->dims);
    double along = dot(x, g, f->dims) - f->time[a] * g[f->dims];
    for (uint32_t k = 0; k < f->dims; k++)
        g[k] += along * x[k];
    g[f->dims] += along * f->time[a];
    double square = dot(g, g, f->dims) - g[f->dims] * g[f->dims];
    return square > 0 ? square : 0;
}

/* Moves a against its gradient, by about `step` whatever the gradient's size. */
static void descend(struct field *f, uint32_t a, double step, bool first)
{
    double *x = f->x + (size_t)a * f->dims, *g = f->pull + (size_t)a * (f->dims + 1);
    double square = project(f, a, g), *mean = &f->mean_square[a];
    *mean = first ? square : FORGETTING * *mean + (1 - FORGETTING) * square;
    double factor = step / (sqrt(*mean) + SMALLEST), length = factor * sqrt(square);
    if (length > LONGEST_STEP) {
        factor *= LONGEST_STEP / length;
        length = LONGEST_STEP;
    }
    double back = f->flat ? 1 : 1 / sqrt(1 - length * length); /* onto the hyperboloid */
    for (uint32_t k = 0; k < f->dims; k++)
        x[k] = (x[k] - factor * g[k]) * back;
    double r = sqrt(dot(x, x, f->dims));
    for (uint32_t k = 0; !f->flat && r > MAX_SINH && k < f->dims; k++)
        x[k] *= MAX_SINH / r;
}

static int move_all(struct field *f, const struct ruvm_tree_embedding *e, struct ruvm_error *err)
{
    const struct ruvm_progress *p = e->progress;
    for (int i = 0; i < STEPS; i++) {
        double left = 1 - (double)i / STEPS, step = FIRST_STEP * left + LAST_STEP;
        if (p && p->report &&
            p->report(p->user, f->flat ? "flat, to compare" : "embedding", (uint64_t)i, STEPS))
            return ruvm_fail(err, RUVM_ERR_IO, "interrupted");
        memset(f->pull, 0, (size_t)f->n * (f->dims + 1) * sizeof *f->pull);
        for (uint32_t a = 0; a < f->n; a++)
            f->time[a] = time_of(f->x + (size_t)a * f->dims, f->dims);
        for (uint32_t a = 0; a < f->n; a++)
            add_node(f, a);
        for (uint32_t a = 0; a < f->n; a++)
            descend(f, a, step, i == 0);
    }
    return RUVM_OK;
}

int ruvm_tree_embed(const struct ruvm_tree *t, const struct ruvm_tree_embedding *e, float *x,
                    struct ruvm_error *err)
{
    struct ruvm_arena arena = {0};
    struct field f = {.tree = t,
                      .n = t->n,
                      .dims = e->dims,
                      .flat = e->space == RUVM_TREE_FLAT,
                      .x = ruvm_arena_alloc(&arena, (size_t)t->n * e->dims, sizeof *f.x),
                      .time = ruvm_arena_alloc(&arena, t->n, sizeof *f.time),
                      .pull =
                          ruvm_arena_alloc(&arena, (size_t)t->n * (e->dims + 1), sizeof *f.pull),
                      .mean_square = ruvm_arena_alloc(&arena, t->n, sizeof *f.mean_square),
                      .state = 1};
    int rc = RUVM_OK;
    if (!f.x || !f.time || !f.pull || !f.mean_square)
        rc = ruvm_fail(err, RUVM_ERR_MEMORY, "no memory to embed %u nodes", t->n);
    if (rc == RUVM_OK) {
        place(&f, e->edge);
        rc = move_all(&f, e, err);
    }
    for (size_t i = 0; rc == RUVM_OK && i < (size_t)t->n * e->dims; i++)
        x[i] = (float)f.x[i];
    ruvm_arena_free(&arena);
    return rc;
}
