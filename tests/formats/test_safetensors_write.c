/* safetensors as we write them: what our reader reads back, to the byte, and what other readers
 * ask of the header. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/safetensors.h"
#include "formats/safetensors_write.h"
#include "lib/base/bytes.h"
#include "tests/support/tiny_model.h"

static const uint8_t halves[] = {0, 0x3c, 0, 0xc0, 0, 0x38, 0, 0x49}; /* 1 -2 0.5 10 */

static const struct ruvm_view views[] = {
    {.name = "w\"\\\x01\xc3\xa9",
     .dtype = RUVM_DTYPE_F16,
     .n_dims = 3,
     .dims = {1, 2, 2},
     .data = halves,
     .bytes = sizeof halves},
    {.name = "columns",
     .dtype = RUVM_DTYPE_F16,
     .n_dims = 2,
     .dims = {2, 2},
     .data = halves,
     .bytes = sizeof halves,
     .stride = 2},
    {.name = "great", .n_dims = 1, .dims = {5000}},
};

static float great[5000];

static void write_views(const char *path)
{
    struct ruvm_file_output out;
    struct ruvm_error err = {0};
    for (size_t i = 0; i < 5000; i++)
        great[i] = (float)i / 3;
    cr_assert_eq(ruvm_file_create(&out, path, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_safetensors_begin(&out, views, 3, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_safetensors_view(&out, &views[0], &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_safetensors_view(&out, &views[1], &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_safetensors_floats(&out, great, 5000, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(access(path, F_OK), -1); /* not before it is whole */
    cr_assert_eq(ruvm_file_commit(&out, &err), RUVM_OK, "%s", err.text);
}

Test(safetensors_write, what_is_written_is_read_back)
{
    const char *path = tiny_path();
    struct ruvm_map map;
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t;
    struct ruvm_error err = {0};
    float row[2];
    write_views(path);
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
    cr_assert(ruvm_load_u64(map.data) % 8 == 0);
    cr_assert(strstr((const char *)map.data + 8, "{\"__metadata__\":{\"format\":\"pt\"},"));
    cr_assert_eq(ruvm_safetensors_read(&t, &arena, map.data, map.size, &err), RUVM_OK, "%s",
                 err.text);
    cr_assert_eq(t.n_views, 3);
    const struct ruvm_view *w = ruvm_tensors_find(&t, views[0].name);
    cr_assert(w && w->n_dims == 3 && w->dims[0] == 1 && w->dims[2] == 2);
    ruvm_view_row(w, 1, row);
    cr_assert(row[0] == 0.5f && row[1] == 10);
    const struct ruvm_view *columns = ruvm_tensors_find(&t, "columns");
    ruvm_view_row(columns, 1, row);
    cr_assert(row[0] == -2 && row[1] == 10);
    const struct ruvm_view *v = ruvm_tensors_find(&t, "great");
    cr_assert(v && v->bytes == sizeof great && memcmp(v->data, great, sizeof great) == 0);
    ruvm_arena_free(&arena);
    ruvm_file_unmap(&map);
}

Test(safetensors_write, the_same_tensors_give_the_same_bytes)
{
    const char *one = tiny_path(), *two = tiny_path();
    struct ruvm_map a, b;
    struct ruvm_error err = {0};
    write_views(one);
    write_views(two);
    cr_assert_eq(ruvm_file_map(&a, one, &err), RUVM_OK);
    cr_assert_eq(ruvm_file_map(&b, two, &err), RUVM_OK);
    cr_assert(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
    ruvm_file_unmap(&a);
    ruvm_file_unmap(&b);
}

Test(safetensors_write, what_is_abandoned_leaves_nothing)
{
    const char *path = tiny_path();
    struct ruvm_file_output out;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_file_create(&out, path, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(ruvm_safetensors_begin(&out, views, 3, &err), RUVM_OK, "%s", err.text);
    char temporary[128];
    snprintf(temporary, sizeof temporary, "%s", out.temporary);
    cr_assert_eq(access(temporary, F_OK), 0);
    ruvm_file_abandon(&out);
    cr_assert_eq(access(temporary, F_OK), -1);
    cr_assert_eq(access(path, F_OK), -1);
    ruvm_file_abandon(&out);
}
