/* Lays the matrices of an image out for the vector unit, once, when it is opened.
 *
 * TERNARY and XNOR have no panels: their bytes are read as they are. Nor has what is looked up
 * row by row, positions and an embedding that is not the head as well.
 * One block of memory holds all of them in the order of the image, so that matrices
 * which follow each other there still do.
 */
#include "lib/run/panels.h"

#include <stdlib.h>

#include "formats/ruvm_codes.h"
#include "formats/ruvm_read.h"
#include "kernels/panels.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/pages.h"

enum { PACKED_BYTES = 1 << 20 };

static bool has_panels(const struct ruvm_image *img, const struct ruvm_tensor *t)
{
    bool is_multiplied =
        t->kind != RUVM_TENSOR_POSITION && (t->kind != RUVM_TENSOR_EMBED || img->tied);
    if (!is_multiplied || t->cols > RUVM_PANELS_MAX_COLS)
        return false;
    return t->type != RUVM_TYPE_TERNARY && t->type != RUVM_TYPE_XNOR;
}

/* The rows of t from `row` on, n of them. */
static struct ruvm_panels_source source_of(const struct ruvm_panels *p, const struct ruvm_tensor *t,
                                           uint32_t row, uint32_t n)
{
    return (struct ruvm_panels_source){
        .w = (const uint8_t *)t->data + (size_t)row * t->row_bytes,
        .mult = t->mult ? t->mult + (size_t)row * t->mult_bytes : NULL,
        .bits = ruvm_codes_bits(t->type),
        .group = t->group,
        .is_far = (uint32_t)ruvm_panels_are_far(p->img.size),
        .kernels = p->kernels,
        .n_rows = n,
        .row_bytes = t->row_bytes,
        .mult_bytes = t->mult_bytes,
    };
}

static size_t bytes_of(const struct ruvm_panels *p, const struct ruvm_tensor *t)
{
    const struct ruvm_panels_source s = source_of(p, t, 0, t->rows);
    return ruvm_panels_room(&s);
}

/* As many rows as are packed before the file's own are let go: both are in memory until then.
 * Panels may be pairs. */
static uint32_t rows_at_once(const struct ruvm_tensor *t)
{
    uint32_t n = PACKED_BYTES / (t->row_bytes + t->mult_bytes) / (2 * RUVM_PANEL_ROWS);
    return (n ? n : 1) * 2 * RUVM_PANEL_ROWS;
}

static void pack(const struct ruvm_panels *p, uint8_t *to, const struct ruvm_tensor *t,
                 const struct ruvm_map *map)
{
    size_t off = (size_t)((const uint8_t *)t->data - (const uint8_t *)p->img.data);
    for (uint32_t row = 0, n; row < t->rows; row += n, off += (size_t)n * t->row_bytes) {
        n = t->rows - row < rows_at_once(t) ? t->rows - row : rows_at_once(t);
        const struct ruvm_panels_source s = source_of(p, t, row, n);
        ruvm_panels_pack(to, &s);
        to += ruvm_panels_room(&s);
        if (map)
            ruvm_file_release(map, off, off + (size_t)n * t->row_bytes);
    }
}

int ruvm_panels_plan(struct ruvm_panels *p, const void *image, size_t image_bytes,
                     const struct ruvm_kernels *kernels, struct ruvm_error *err)
{
    *p = (struct ruvm_panels){0};
    if (!kernels->matmul_panels)
        return RUVM_OK;
    p->kernels = kernels;
    int rc = ruvm_image_open(&p->img, image, image_bytes, NULL);
    for (unsigned i = 0; rc == RUVM_OK && i < p->img.n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(&p->img, i);
        p->bytes += has_panels(&p->img, &t) ? bytes_of(p, &t) : 0;
    }
    if (rc != RUVM_OK || p->bytes == 0)
        return rc;
    p->of_tensor = calloc(p->img.n_tensors, sizeof *p->of_tensor);
    return p->of_tensor ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for weights");
}

int ruvm_panels_fill(struct ruvm_panels *p, const struct ruvm_map *map, struct ruvm_error *err)
{
    if (!p->of_tensor)
        return RUVM_OK;
    p->data = ruvm_pages_alloc(p->bytes);
    if (!p->data)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for weights of %zu bytes", p->bytes);
    uint8_t *to = p->data;
    for (unsigned i = 0; i < p->img.n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(&p->img, i);
        if (!has_panels(&p->img, &t))
            continue;
        pack(p, to, &t, map);
        p->of_tensor[i] = to;
        to += bytes_of(p, &t);
    }
    return RUVM_OK;
}

void ruvm_panels_free(struct ruvm_panels *p)
{
    free(p->of_tensor);
    free(p->data);
    *p = (struct ruvm_panels){0};
}
