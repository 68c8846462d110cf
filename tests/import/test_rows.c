/* Rows of fused, turned and halved tensors, with numbers that say where they stood. */
#include <criterion/criterion.h>

#include "lib/import/rows.h"

static struct ruvm_arena arena;

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(rows, .fini = fini);

/* A stored tensor whose value is 100 * row + column; of a vector, 100 * row. */
static struct ruvm_view tensor(float *x, uint64_t rows, uint64_t cols)
{
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < (cols ? cols : 1); c++)
            x[r * (cols ? cols : 1) + c] = (float)(100 * r + c);
    return (struct ruvm_view){.name = "t",
                              .n_dims = cols ? 2 : 1,
                              .dims = {rows, cols},
                              .data = (const uint8_t *)x,
                              .bytes = rows * (cols ? cols : 1) * 4};
}

static void expect_rows(const struct ruvm_view *v, const int *stored, uint32_t n)
{
    float row[8];
    cr_assert_eq(v->dims[0], n);
    for (uint32_t r = 0; r < n; r++) {
        ruvm_view_row(v, r, row);
        for (uint32_t c = 0; c < v->dims[1]; c++)
            cr_expect_float_eq(row[c], (float)(100 * stored[r]) + (float)c, 0, "row %u", r);
    }
}

Test(rows, a_whole_tensor_is_itself)
{
    float x[8 * 3];
    struct ruvm_view v = tensor(x, 8, 3), b = tensor(x, 8, 0);
    struct ruvm_rows all = {.n = 8, .head_dim = 4, .head_stride = 4};
    cr_assert_eq(ruvm_rows_matrix(&arena, &v, &all, false), &v);
    cr_assert_eq(ruvm_rows_vector(&arena, &b, &all), &b);
    all.halves = 2; /* one pair is a pair in either way */
    cr_assert_eq(ruvm_rows_matrix(&arena, &v, &all, false), &v);
}

Test(rows, halves_become_neighbours)
{
    static const int whole[] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
    static const int part[] = {0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11};
    float x[12 * 2];
    struct ruvm_view v = tensor(x, 12, 2);
    struct ruvm_rows rows = {.n = 12, .head_dim = 6, .head_stride = 6, .halves = 6};
    expect_rows(ruvm_rows_matrix(&arena, &v, &rows, false), whole, 12);
    rows.halves = 4;
    expect_rows(ruvm_rows_matrix(&arena, &v, &rows, false), part, 12);
}

/* Two heads of two values: keys are the rows 2, 3, 8, 9 of [head, 3, 2], or 4 .. 7 of [3, head, 2].
 */
Test(rows, a_part_of_a_fused_tensor)
{
    static const int per_head[] = {2, 3, 8, 9}, concatenated[] = {4, 5, 6, 7};
    float x[12 * 2];
    struct ruvm_view v = tensor(x, 12, 2), bias = tensor(x, 12, 0);
    struct ruvm_rows rows = {.n = 4, .first = 2, .head_dim = 2, .head_stride = 6};
    const struct ruvm_view *b = ruvm_rows_vector(&arena, &bias, &rows);
    cr_assert(b->n_dims == 1 && b->dims[0] == 4);
    for (int i = 0; i < 4; i++)
        cr_assert_float_eq(ruvm_tensors_f32(b->data + 4 * i), (float)(100 * per_head[i]), 0);
    tensor(x, 12, 2);
    const struct ruvm_view *k = ruvm_rows_matrix(&arena, &v, &rows, false);
    expect_rows(k, per_head, 4);
    cr_assert_eq(k->bytes, v.bytes / 3);
    rows = (struct ruvm_rows){.n = 4, .first = 4, .head_dim = 2, .head_stride = 2};
    expect_rows(ruvm_rows_matrix(&arena, &v, &rows, false), concatenated, 4);
}

/* [inputs 2, outputs 6]: output o of input i is 100 i + o. */
Test(rows, columns_are_turned)
{
    float x[2 * 6], row[2];
    struct ruvm_view v = tensor(x, 2, 6);
    struct ruvm_rows all = {.n = 6, .head_dim = 6, .head_stride = 6};
    struct ruvm_rows some = {.n = 4, .first = 2, .head_dim = 4, .head_stride = 4, .halves = 4};
    const struct ruvm_view *turned = ruvm_rows_matrix(&arena, &v, &all, true);
    cr_assert(turned->dims[0] == 6 && turned->dims[1] == 2);
    ruvm_view_row(turned, 5, row);
    cr_assert(row[0] >= 5 && row[0] <= 5 && row[1] >= 105 && row[1] <= 105);
    const struct ruvm_view *part = ruvm_rows_matrix(&arena, &v, &some, true);
    cr_assert(part->dims[0] == 4 && part->dims[1] == 2);
    ruvm_view_row(part, 1, row); /* the second half's first: stored column 2 + 2 */
    cr_assert(row[0] >= 4 && row[0] <= 4 && row[1] >= 104 && row[1] <= 104);
}

/* A view that was reordered before stays so. */
Test(rows, orders_compose)
{
    static const uint32_t backwards[] = {3, 2, 1, 0};
    static const int expected[] = {3, 1, 2, 0};
    float x[4 * 2];
    struct ruvm_view v = tensor(x, 4, 2);
    v.order = backwards;
    struct ruvm_rows rows = {.n = 4, .head_dim = 4, .head_stride = 4, .halves = 4};
    expect_rows(ruvm_rows_matrix(&arena, &v, &rows, false), expected, 4);
}
