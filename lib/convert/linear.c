/* A strip of the matrix is a job: rows become a tile, which all inputs share.
 *
 * A few columns at a time, so that the tile is still in the nearest cache when it is
 * multiplied: with one input a matrix is then read as fast as memory gives it.
 */
#include "lib/convert/linear.h"

#include "lib/convert/tiles.h"

enum {
    LANES = RUVM_FLOATS_LANES,
    STRIP_TILES = 4, /* of a job: it takes longer than asking */
    WIDTH = 128,     /* columns of a tile made at once: 8 KB */
};

bool ruvm_linear_work_open(struct ruvm_linear_work *work, struct ruvm_arena *arena, uint32_t widest,
                           uint32_t inputs)
{
    uint32_t threads = work->pool ? ruvm_pool_threads(work->pool) : 1;
    work->widest = widest;
    work->rows = ruvm_arena_alloc(arena, (size_t)threads * LANES, widest * sizeof(float));
    work->tile = ruvm_arena_alloc(arena, (size_t)threads * LANES, WIDTH * sizeof(float));
    work->signs = ruvm_arena_alloc(arena, inputs, ruvm_floats_padded(widest) * sizeof(float));
    return work->rows && work->tile && work->signs;
}

/* ---- open ---------------------------------------------------------------- */

bool ruvm_linear_vector(float **x, struct ruvm_arena *arena, const struct ruvm_view *v)
{
    *x = v ? ruvm_arena_alloc(arena, ruvm_floats_padded(v->dims[0]), sizeof **x) : NULL;
    if (*x)
        ruvm_view_row(v, 0, *x);
    return !v || *x;
}

static void copy_tile(float *tile, float *room, const struct ruvm_view *v, uint32_t first)
{
    struct ruvm_tiles_rows rows;
    ruvm_tiles_rows(&rows, v, first, room);
    ruvm_tiles_make(tile, &rows, 0, (uint32_t)v->dims[1]);
}

bool ruvm_linear_open(struct ruvm_linear *l, struct ruvm_arena *arena, const struct ruvm_view *view,
                      const struct ruvm_view *bias, bool in_place, struct ruvm_linear_work *work)
{
    *l = (struct ruvm_linear){.view = view};
    if (!view)
        return true;
    l->w.rows = (uint32_t)view->dims[0];
    l->w.cols = (uint32_t)view->dims[1];
    l->w.signs = view->signs;
    if (!in_place) {
        size_t rows = ruvm_floats_padded(l->w.rows);
        l->w.tiles = ruvm_arena_alloc(arena, rows, l->w.cols * sizeof(float));
        for (uint32_t r = 0; l->w.tiles && r < l->w.rows; r += LANES)
            copy_tile(l->w.tiles + (size_t)r * l->w.cols, work->rows, view, r);
    }
    return (in_place || l->w.tiles) && ruvm_linear_vector(&l->bias, arena, bias);
}

/* ---- products ------------------------------------------------------------ */

struct product {
    const struct ruvm_linear *l;
    struct ruvm_linear_work *work;
    struct ruvm_floats_vectors out, x;
};

static void multiply_in_place(struct product *p, struct ruvm_floats_vectors out, uint32_t first,
                              uint32_t thread)
{
    struct ruvm_linear_work *work = p->work;
    uint32_t cols = p->l->w.cols;
    float *tile = work->tile + (size_t)thread * LANES * WIDTH;
    struct ruvm_tiles_rows rows;
    ruvm_tiles_rows(&rows, p->l->view, first, work->rows + (size_t)thread * LANES * work->widest);
    for (uint32_t c = 0; c < cols; c += WIDTH) {
        struct ruvm_floats_vectors x = {p->x.x + c, p->x.step, p->x.n};
        uint32_t left = cols - c, n = left < WIDTH ? left : WIDTH;
        ruvm_tiles_make(tile, &rows, c, n);
        ruvm_tiles_multiply(out, tile, x, n, c > 0);
    }
}

static void multiply_strip(void *user, uint32_t strip, uint32_t thread)
{
    struct product *p = user;
    const struct ruvm_floats_matrix *w = &p->l->w;
    uint32_t first = strip * STRIP_TILES * LANES, end = first + STRIP_TILES * LANES;
    for (uint32_t r = first; r < end && r < w->rows; r += LANES) {
        struct ruvm_floats_vectors out = p->out;
        out.x += r;
        if (w->tiles)
            ruvm_tiles_multiply(out, w->tiles + (size_t)r * w->cols, p->x, w->cols, false);
        else
            multiply_in_place(p, out, r, thread);
    }
}

static struct ruvm_floats_vectors signs_of(struct ruvm_linear_work *work,
                                           struct ruvm_floats_vectors x, uint32_t cols)
{
    struct ruvm_floats_vectors signs = {work->signs, ruvm_floats_padded(work->widest), x.n};
    for (uint32_t i = 0; i < x.n; i++)
        ruvm_floats_signs(signs.x + i * signs.step, x.x + i * x.step, cols);
    return signs;
}

void ruvm_linear_apply(const struct ruvm_linear *l, struct ruvm_linear_work *work,
                       struct ruvm_floats_vectors out, struct ruvm_floats_vectors x)
{
    struct product p = {l, work, out, l->w.signs ? signs_of(work, x, l->w.cols) : x};
    uint32_t n_strips = (l->w.rows + STRIP_TILES * LANES - 1) / (STRIP_TILES * LANES);
    if (work->pool && !l->w.tiles)
        ruvm_pool_run(work->pool, multiply_strip, &p, n_strips);
    for (uint32_t i = 0; i < n_strips && (!work->pool || l->w.tiles); i++)
        multiply_strip(&p, i, 0);
    for (uint32_t i = 0; l->bias && i < x.n; i++)
        ruvm_floats_add(out.x + i * out.step, l->bias, l->w.rows);
}

void ruvm_linear_row(const struct ruvm_linear *l, uint32_t row, float *out)
{
    ruvm_view_row(l->view, row, out);
}
