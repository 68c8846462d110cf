/* Kernels of vector search: every table gives the integers of the scalar one, and the scalar
 * one those of the sentences in vectors.h. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include <criterion/criterion.h>

#include "tests/kernels/compare_vectors.h"

static void compare_all(const struct ruvm_vector_kernels *k,
                        const struct ruvm_vector_kernels *oracle)
{
    compare_init();
    for (int i = 0; i < COMPARE_N_VECTOR_KERNELS; i++)
        cr_expect(compare_vectors(k, oracle, i) == 0, "%s: %s", k->name, compare_message);
}

Test(vector_kernels, scalar_equals_naive)
{
    compare_all(&ruvm_vector_kernels_scalar, NULL);
}

Test(vector_kernels, every_table_equals_scalar)
{
    for (const struct ruvm_vector_kernels *const *k = ruvm_vector_kernels_all; *k; k++) {
        if (*k == &ruvm_vector_kernels_scalar)
            continue;
        if ((*k)->available())
            compare_all(*k, &ruvm_vector_kernels_scalar);
        else
            fprintf(stderr, "skipped: kernels %s: this machine cannot run them\n", (*k)->name);
    }
}

static void off_by_one(int32_t *out, const struct ruvm_vector_job *job)
{
    ruvm_vector_kernels_scalar.dot(out, job);
    out[job->n - 1]++;
}

Test(vector_kernels, comparison_can_fail)
{
    struct ruvm_vector_kernels broken = ruvm_vector_kernels_scalar;
    broken.dot = off_by_one;
    compare_init();
    cr_assert(compare_vectors(&broken, &ruvm_vector_kernels_scalar, COMPARE_DOT) != 0);
    cr_assert(strstr(compare_message, "output differs") != NULL, "%s", compare_message);
}

Test(vector_kernels, select_by_name)
{
    const struct ruvm_vector_kernels *const *k = ruvm_vector_kernels_all;
    cr_assert_not_null(ruvm_vector_kernels_select(NULL));
    cr_expect(ruvm_vector_kernels_select("scalar") == &ruvm_vector_kernels_scalar);
    cr_expect(ruvm_vector_kernels_select("scala") == NULL);
    for (; *k; k++)
        cr_expect(ruvm_vector_kernels_select((*k)->name) == ((*k)->available() ? *k : NULL));
    cr_expect(k[-1] == &ruvm_vector_kernels_scalar, "scalar is the last");
}
