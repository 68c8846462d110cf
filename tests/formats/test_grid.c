/* Numbers out of text and NumPy's files: what people write is read, what is a mistake is named
 * with its line.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "formats/grid.h"
#include "lib/base/status.h"

static struct ruvm_arena arena;
static struct ruvm_error err;
static struct ruvm_grid g;

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(grid, .fini = fini);

static int read_text(const char *text)
{
    err = (struct ruvm_error){0};
    return ruvm_grid_read(&g, &arena, (const uint8_t *)text, strlen(text), &err);
}

Test(grid, forms_of_the_same_numbers)
{
    static const char *const texts[] = {
        "1,2.5,-3\n4,5,6e1\n",         "1;2.5;-3\r\n4;5;60\r\n",
        "1\t2.5\t-3\n4\t5\t60",        "1  2.5 -3\n 4 5    60  \n\n",
        "a,b,c\n1,2.5,-3\n4,5,60\n",   "# from here\n1,2.5,-3\n\n4,5,60",
        "\"1\",\"2.5\",-3\n4, 5 ,60\n"};
    static const double expected[] = {1, 2.5, -3, 4, 5, 60};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_assert(read_text(texts[i]) == RUVM_OK, "%s: %s", texts[i], err.text);
        cr_assert(g.n_rows == 2 && g.n_cols == 3 && !g.words, "%s", texts[i]);
        for (int k = 0; k < 6; k++)
            cr_assert(g.v[k] == expected[k], "%s: %g", texts[i], g.v[k]);
    }
}

Test(grid, a_last_column_of_words)
{
    cr_assert(read_text("x,y,kind\n1,2,cat\n3,4,5\n") == RUVM_OK, "%s", err.text);
    cr_assert(g.n_rows == 2 && g.n_cols == 2);
    cr_assert_str_eq(g.words[0], "cat");
    cr_assert_str_eq(g.words[1], "5");
}

Test(grid, mistakes_have_a_line)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "holds no row of numbers"},
        {"# nothing\n\n", "holds no row of numbers"},
        {"a,b\n", "line 1: names, but no row of numbers"},
        {"1,2\n3\n", "line 2: 1 columns, but the first row has 2"},
        {"1,2\n\n3,4,5\n", "line 3: 3 columns, but the first row has 2"},
        {"1,2\n3,x\n", "line 2: column 2 is 'x', not a finite number"},
        {"1,2\n3,inf\n", "line 2: column 2 is 'inf', not a finite number"},
        {"1,2\n3,1e999\n", "line 2: column 2 is '1e999', not a finite number"},
        {"1,2\n3,0x10\n", "line 2: column 2 is '0x10', not a finite number"},
        {"1,2\n3,\n", "line 2: column 2 is '', not a finite number"},
        {"1,2\n3,1111111111111111111111111111111111111111111111111111111111111111111111\n",
         "line 2: column 2 is longer than 63 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_neq(read_text(cases[i].text), RUVM_OK, "%s", cases[i].text);
        cr_assert_str_eq(err.text, cases[i].message);
    }
    cr_assert_eq(ruvm_grid_read(&g, &arena, (const uint8_t *)"1,2\n\0", 5, NULL),
                 RUVM_ERR_UNSUPPORTED);
}

/* ---- NumPy ------------------------------------------------------------------------------------
 */

static int read_numpy(const char *header, const void *data, size_t bytes)
{
    uint8_t file[512] = "\x93NUMPY\1";
    size_t n = strlen(header);
    file[8] = (uint8_t)n;
    memcpy(file + 10, header, n);
    if (bytes)
        memcpy(file + 10 + n, data, bytes);
    err = (struct ruvm_error){0};
    return ruvm_grid_read(&g, &arena, file, 10 + n + bytes, &err);
}

#define HEADER(type, shape) "{'descr': '" type "', 'fortran_order': False, 'shape': " shape ", }\n"

Test(grid, numpy_types)
{
    const float f4[] = {1, -2.5f, 3, 4};
    const double f8[] = {1, -2.5, 3, 4};
    const int16_t i2[] = {1, -2, 300, 4};
    const uint8_t u1[] = {1, 200, 3, 4};
    cr_assert_eq(read_numpy(HEADER("<f4", "(2, 2)"), f4, sizeof f4), RUVM_OK, "%s", err.text);
    cr_assert(g.n_rows == 2 && g.n_cols == 2 && g.v[1] == -2.5 && g.v[3] == 4);
    cr_assert_eq(read_numpy(HEADER("<f8", "(4,)"), f8, sizeof f8), RUVM_OK, "%s", err.text);
    cr_assert(g.n_rows == 1 && g.n_cols == 4 && g.v[1] == -2.5);
    cr_assert_eq(read_numpy(HEADER("<i2", "(1, 2, 2)"), i2, sizeof i2), RUVM_OK, "%s", err.text);
    cr_assert(g.n_rows == 1 && g.n_cols == 4 && g.v[1] == -2 && g.v[2] == 300);
    cr_assert_eq(read_numpy(HEADER("|u1", "(4, 1)"), u1, sizeof u1), RUVM_OK, "%s", err.text);
    cr_assert(g.n_rows == 4 && g.n_cols == 1 && g.v[1] == 200);
}

Test(grid, numpy_mistakes)
{
    static const struct {
        const char *header, *message;
    } cases[] = {
        {HEADER("<f4", "(2, 3)"), "shape is larger than the file"},
        {HEADER("<f4", "(1, 1)"), "16 bytes of data, but its shape makes 4"},
        {HEADER("<f4", "(0, 4)"), "empty"},
        {HEADER("<f4", "()"), "shape is not one to 8 numbers"},
        {HEADER("<f4", "(4294967295, 4294967295, 4294967295)"), "larger than the file"},
        {HEADER("<f4", "(99999999999999999999,)"), "shape is not one to 8 numbers"},
        {HEADER("<c8", "(2,)"), "its type is '<c8',"},
        {HEADER(">f4", "(4,)"), "its type is '>f4',"},
        {HEADER("|O", "(4,)"), "its type is '|O',"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n", "not in C order"},
        {"{'fortran_order': False, 'shape': (2, 2), }\n", "its type is"},
        {"{'descr': '<f4', 'fortran_order': False}\n", "shape is not"},
        {"{}", "not in C order"},
    };
    const float data[] = {1, 2, 3, 4};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_neq(read_numpy(cases[i].header, data, sizeof data), RUVM_OK, "%zu", i);
        cr_assert(strstr(err.text, cases[i].message), "%s: %s", cases[i].header, err.text);
    }
    const uint32_t nan = 0x7FC00000;
    cr_assert_eq(read_numpy(HEADER("<f4", "(1,)"), &nan, 4), RUVM_ERR_CORRUPT);
    cr_assert_eq(ruvm_grid_read(&g, &arena, (const uint8_t *)"\x93NUMPY\1\0\xff\xff", 10, &err),
                 RUVM_ERR_CORRUPT);
}
