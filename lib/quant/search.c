/* Hulls first, then all their edges in the order of what a byte saves. */
#include "lib/quant/search.h"

#include <math.h>
#include <stdlib.h>

struct option {
    struct ruvm_scheme scheme;
    uint64_t bytes;
    double loss;
};

/* A tensor's choices; after solving the first n are its lower hull, the smallest first. */
struct options {
    struct option list[RUVM_SEARCH_MAX_CHOICES];
    uint32_t n;
};

/* From one corner of a hull to the next. */
struct edge {
    double saved; /* loss a byte */
    uint32_t tensor, to;
};

struct ruvm_search {
    struct ruvm_arena *arena;
    struct options *tensors;
    uint32_t n_tensors;
    struct edge *edges; /* in the order they are taken */
    uint32_t n_edges;
};

int ruvm_search_open(struct ruvm_search **search, struct ruvm_arena *arena, uint32_t n_tensors,
                     struct ruvm_error *err)
{
    struct ruvm_search *s = ruvm_arena_alloc(arena, 1, sizeof *s);
    struct options *tensors = ruvm_arena_alloc(arena, n_tensors, sizeof *tensors);
    if (!s || !tensors)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for a search of %u tensors",
                         n_tensors);
    *s = (struct ruvm_search){.arena = arena, .tensors = tensors, .n_tensors = n_tensors};
    *search = s;
    return RUVM_OK;
}

void ruvm_search_add(struct ruvm_search *s, uint32_t tensor, struct ruvm_scheme scheme,
                     uint64_t bytes, double loss)
{
    struct options *o = &s->tensors[tensor];
    if (o->n < RUVM_SEARCH_MAX_CHOICES)
        o->list[o->n++] = (struct option){scheme, bytes, loss};
}

static int by_size(const void *a, const void *b)
{
    const struct option *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return x->loss < y->loss ? -1 : x->loss > y->loss;
}

static double saved(const struct option *from, const struct option *to)
{
    return (from->loss - to->loss) / (double)(to->bytes - from->bytes);
}

/* Keeps the choices that are better than every smaller one, and of these the corners of the
 * lower hull: each byte saves less than the ones before. */
static void reduce_to_hull(struct options *o)
{
    uint32_t n = 0;
    qsort(o->list, o->n, sizeof *o->list, by_size);
    for (uint32_t i = 0; i < o->n; i++) {
        struct option x = o->list[i];
        if (n > 0 && (x.bytes == o->list[n - 1].bytes || x.loss >= o->list[n - 1].loss))
            continue;
        while (n > 1 && saved(&o->list[n - 2], &o->list[n - 1]) <= saved(&o->list[n - 1], &x))
            n--;
        o->list[n++] = x;
    }
    o->n = n;
}

static int by_saving(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    if (x->saved > y->saved)
        return -1;
    if (x->saved < y->saved)
        return 1;
    if (x->tensor != y->tensor)
        return x->tensor < y->tensor ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

int ruvm_search_solve(struct ruvm_search *s, struct ruvm_error *err)
{
    s->edges = ruvm_arena_alloc(s->arena, (size_t)s->n_tensors * RUVM_SEARCH_MAX_CHOICES,
                                sizeof *s->edges);
    if (!s->edges)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for a search");
    for (uint32_t t = 0; t < s->n_tensors; t++) {
        struct options *o = &s->tensors[t];
        reduce_to_hull(o);
        for (uint32_t i = 1; i < o->n; i++)
            s->edges[s->n_edges++] = (struct edge){saved(&o->list[i - 1], &o->list[i]), t, i};
    }
    qsort(s->edges, s->n_edges, sizeof *s->edges, by_saving);
    return RUVM_OK;
}

uint32_t ruvm_search_count(const struct ruvm_search *s)
{
    return s->n_edges + 1;
}

void ruvm_search_choice(const struct ruvm_search *s, uint32_t k, struct ruvm_scheme *schemes,
                        uint64_t *bytes, double *loss)
{
    *bytes = 0;
    *loss = 0.0;
    for (uint32_t t = 0; t < s->n_tensors; t++) {
        schemes[t] = s->tensors[t].list[0].scheme;
        *bytes += s->tensors[t].list[0].bytes;
        *loss += s->tensors[t].list[0].loss;
    }
    for (uint32_t i = 0; i < k; i++) {
        const struct edge *e = &s->edges[i];
        const struct option *to = &s->tensors[e->tensor].list[e->to], *from = to - 1;
        schemes[e->tensor] = to->scheme;
        *bytes += to->bytes - from->bytes;
        *loss -= from->loss - to->loss;
    }
}
