/* safetensors as we write them: what our reader reads back, to the byte, and what other readers
 * ask of the header. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "formats/safetensors.h"
#include "formats/safetensors_write.h"
#include "lib/base/bytes.h"
#include "tests/support/tiny_model.h"

static const struct ruvm_view views[] = {
    {.name = "w\"\\\x01\xc3\xa9", .n_dims = 3, .dims = {1, 2, 2}},
    {.name = "great", .n_dims = 1, .dims = {5000}},
};

static float great[5000];

static const float small[4] = {1, -2, 0.5f, 10};

static void begin(struct ruvm_file_output *out)
{
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_safetensors_begin(out, views, 2, RUVM_DTYPE_F32, &err), RUVM_OK, "%s",
                 err.text);
}

static void put(struct ruvm_file_output *out, const float *values, size_t n)
{
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_safetensors_values(out, RUVM_DTYPE_F32, values, n, &err), RUVM_OK, "%s",
                 err.text);
}

static void write_views(const char *path)
{
    struct ruvm_file_output out;
    struct ruvm_error err = {0};
    for (size_t i = 0; i < 5000; i++)
        great[i] = (float)i / 3;
    cr_assert_eq(ruvm_file_create(&out, path, &err), RUVM_OK, "%s", err.text);
    begin(&out);
    for (size_t row = 0; row < 4; row += 2)
        put(&out, &small[row], 2);
    put(&out, great, 5000);
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
    cr_assert_eq(t.n_views, 2);
    const struct ruvm_view *w = ruvm_tensors_find(&t, views[0].name);
    cr_assert(w && w->n_dims == 3 && w->dims[0] == 1 && w->dims[2] == 2);
    ruvm_view_row(w, 1, row);
    cr_assert(row[0] == 0.5f && row[1] == 10);
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
    begin(&out);
    char temporary[128];
    snprintf(temporary, sizeof temporary, "%s", out.temporary);
    cr_assert_eq(access(temporary, F_OK), 0);
    ruvm_file_abandon(&out);
    cr_assert_eq(access(temporary, F_OK), -1);
    cr_assert_eq(access(path, F_OK), -1);
    ruvm_file_abandon(&out);
}
