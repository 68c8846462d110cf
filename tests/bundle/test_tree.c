/* Trees: what is read, what is refused, and how much of one its points keep. */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/bundle/codes.h"
#include "lib/bundle/tree.h"

static int read_tree(struct ruvm_tree *t, const char *text, struct ruvm_error *err)
{
    *err = (struct ruvm_error){0};
    return ruvm_tree_read(t, "t.csv", text, strlen(text), err);
}

Test(tree, is_read_level_by_level)
{
    struct ruvm_tree t;
    struct ruvm_error err;
    int rc =
        read_tree(&t, "Parent,Child\nb,d\na,b\r\na, c \n\n,a\n\"b\",\"e, f\"\nb,d\nd,g\n", &err);
    static const char *const names[] = {"a", "b", "c", "d", "e, f", "g"};
    static const uint32_t parents[] = {RUVM_TREE_NONE, 0, 0, 1, 1, 3};
    cr_assert_eq(rc, RUVM_OK, "%s", err.text);
    cr_assert(t.n == 6 && t.n_levels == 4, "%u nodes in %u levels", t.n, t.n_levels);
    for (uint32_t i = 0; i < t.n; i++) {
        cr_expect_str_eq(t.nodes[i].name, names[i]);
        cr_expect_eq(t.nodes[i].parent, parents[i], "of %s", names[i]);
    }
    cr_expect(t.nodes[1].first_child == 3 && t.nodes[1].n_children == 2);
    cr_expect_eq(ruvm_tree_distance(&t, 5, 2), 4);
    cr_expect_eq(ruvm_tree_distance(&t, 4, 4), 0);
    cr_expect_eq(ruvm_tree_distance(&t, 0, 5), 3);
    ruvm_tree_free(&t);
}

Test(tree, tells_what_is_no_tree)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "holds no row"},
        {"parent,child\n", "holds no row"},
        {"a,b\nb,c\nc,a\n", "a cycle of 3 nodes"},
        {"r,a\nb,c\nc,b\n", "a cycle of 2 nodes"},
        {"a,a\n", "line 1: a is its own parent"},
        {"a,b\nc,d\n", "2 nodes have no parent, among them a and c"},
        {"a,b\na,c\nc,b\n", "line 3: b has two parents, c and a (line 1)"},
        {"a,b\nc\n", "line 2: has 1 fields"},
        {"a,b\nc,\n", "line 2: the child has no name"},
        {"a,\"b\n", "line 1: a quote is not closed"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ruvm_tree t;
        struct ruvm_error err;
        cr_expect_eq(read_tree(&t, bad[i].text, &err), RUVM_ERR_CORRUPT, "%s", bad[i].text);
        cr_expect(strstr(err.text, bad[i].says) && strncmp(err.text, "t.csv: ", 7) == 0,
                  "%s says %s", bad[i].text, err.text);
    }
}

/* All problems of a file at once. */
Test(tree, tells_everything)
{
    struct ruvm_tree t;
    struct ruvm_error err;
    cr_expect_eq(read_tree(&t, "a,b\nx,b\nq,q\nm,n\nn,m\n", &err), RUVM_ERR_CORRUPT);
    cr_expect(strstr(err.text, "two parents") && strstr(err.text, "own parent") &&
                  strstr(err.text, "no parent") && strstr(err.text, "cycle"),
              "%s", err.text);
}

/* Every node has `degree` children; n nodes in all. */
static void make_regular(struct ruvm_tree *t, unsigned degree, unsigned n)
{
    struct ruvm_error err = {0};
    char *text = malloc((size_t)n * 16), *p = text;
    for (unsigned i = 1; i < n; i++)
        p += sprintf(p, "%u,%u\n", (i - 1) / degree, i);
    cr_assert_eq(ruvm_tree_read(t, "t.csv", text, (size_t)(p - text), &err), RUVM_OK, "%s",
                 err.text);
    free(text);
}

static struct ruvm_taxonomy_quality embed(const struct ruvm_tree *t, enum ruvm_tree_space space,
                                          uint32_t dims, double edge)
{
    struct ruvm_error err = {0};
    struct ruvm_vectors set;
    struct ruvm_taxonomy_quality q;
    const struct ruvm_tree_embedding e = {space, dims, edge, NULL};
    unsigned metric = space == RUVM_TREE_FLAT ? RUVM_METRIC_EUCLIDEAN : RUVM_METRIC_LORENTZ;
    float *x = calloc((size_t)t->n * dims, sizeof *x);
    cr_assert_eq(ruvm_tree_embed(t, &e, x, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_codes_shape(&set, RUVM_VECTOR_INT8, metric, dims, x, t->n, &err), RUVM_OK);
    uint8_t *rows = aligned_alloc(64, ((size_t)t->n * set.row_bytes + 63) / 64 * 64);
    uint8_t *side = aligned_alloc(64, ((size_t)t->n * set.side_bytes + 63) / 64 * 64);
    for (uint32_t i = 0; i < t->n; i++)
        cr_assert_eq(ruvm_codes_row(&set, x + (size_t)i * dims, rows + (size_t)i * set.row_bytes,
                                    side + (size_t)i * set.side_bytes, &err),
                     RUVM_OK, "%s", err.text);
    set.rows = rows;
    set.side = side;
    set.n = t->n;
    cr_assert_eq(ruvm_tree_measure(t, &set, &q, &err), RUVM_OK);
    free(x);
    free(rows);
    free(side);
    return q;
}

Test(tree, its_points_keep_its_edges)
{
    struct ruvm_tree t;
    make_regular(&t, 3, 364);
    struct ruvm_taxonomy_quality q = embed(&t, RUVM_TREE_HYPERBOLIC, 16, 0.8);
    cr_log_info("MAP %.4f, distortion %.4f, %.3g", q.map, q.average_distortion, q.worst_distortion);
    cr_expect_geq(q.map, 0.99);
    cr_expect_leq(q.average_distortion, 0.4);
    cr_expect_geq(q.worst_distortion, 1);
    ruvm_tree_free(&t);
}

/* A path in 8 dimensions: with its nodes all in one place nothing is told. */
Test(tree, measure_sees_a_bad_embedding)
{
    struct ruvm_tree t;
    struct ruvm_taxonomy_quality q;
    struct ruvm_vectors set;
    static const uint8_t rows[20 * 16] __attribute__((aligned(64))), side[20 * 4];
    make_regular(&t, 1, 20);
    cr_assert_eq(ruvm_vectors_shape(&set, RUVM_VECTOR_INT8, RUVM_METRIC_EUCLIDEAN, 8), RUVM_OK);
    set.rows = rows;
    set.side = side;
    set.n = 20;
    cr_assert_eq(ruvm_tree_measure(&t, &set, &q, NULL), RUVM_OK);
    cr_expect_lt(q.map, 0.2);
    cr_expect_eq(q.worst_distortion, 0, "places are shared");
    ruvm_tree_free(&t);
}

Test(tree, points_are_the_same_again)
{
    struct ruvm_tree t;
    struct ruvm_error err = {0};
    static float x[50 * 8], y[50 * 8];
    const struct ruvm_tree_embedding e = {RUVM_TREE_HYPERBOLIC, 8, 0.5, NULL};
    make_regular(&t, 4, 50);
    cr_assert_eq(ruvm_tree_embed(&t, &e, x, &err), RUVM_OK);
    cr_assert_eq(ruvm_tree_embed(&t, &e, y, &err), RUVM_OK);
    cr_expect_arr_eq(x, y, sizeof x);
    ruvm_tree_free(&t);
}

/* Three nodes of 150 children each: more than 12 flat dimensions keep apart, though as many bytes
 * hold no more. */
Test(tree, curved_space_has_room_where_flat_space_has_none)
{
    struct ruvm_tree t;
    struct ruvm_error err = {0};
    char *text = malloc(3 * 151 * 24), *p = text;
    for (int i = 0; i < 3; i++) {
        p += sprintf(p, "r,a%d\n", i);
        for (int j = 0; j < 150; j++)
            p += sprintf(p, "a%d,b%d_%d\n", i, i, j);
    }
    cr_assert_eq(ruvm_tree_read(&t, "t.csv", text, (size_t)(p - text), &err), RUVM_OK, "%s",
                 err.text);
    free(text);
    struct ruvm_taxonomy_quality curved = embed(&t, RUVM_TREE_HYPERBOLIC, 8, 1);
    double flat = 0; /* the best of three starts: 8 + 8 bytes hold 12 + 4 */
    for (double edge = 2; edge <= 8; edge *= 2)
        flat = fmax(flat, embed(&t, RUVM_TREE_FLAT, 12, edge).map);
    cr_log_info("MAP %.4f, flat %.4f", curved.map, flat);
    cr_expect_gt(curved.map, flat + 0.1);
    cr_expect_geq(curved.map, 0.99);
    ruvm_tree_free(&t);
}
