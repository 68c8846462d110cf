/* The comparison of test_kernels.c for a machine without Criterion: every table of
 * this program against the scalar one, the scalar one against the naive one. Prints
 * a line for each case, and last a hash over the naive outputs: "hash 1234abcd",
 * the same on every machine. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include <stdio.h>

#include "tests/kernels/compare.h"
#include "tests/kernels/compare_vectors.h"
#include "tests/kernels/naive.h"

static int compare_all(const struct ruvm_kernels *k, const struct ruvm_kernels *oracle)
{
    int failed = 0;
    for (const struct compare_case *c = compare_cases; c->name; c++) {
        compare_state = 1;
        if (c->run(k, oracle) == 0) {
            printf("ok neon/%s equals %s: %s\n", k->name, oracle->name, c->name);
        } else {
            printf("not ok neon/%s equals %s: %s\n", k->name, oracle->name, compare_message);
            failed = 1;
        }
    }
    return failed;
}

static int compare_all_vectors(const struct ruvm_vector_kernels *k,
                               const struct ruvm_vector_kernels *oracle)
{
    int failed = 0;
    for (int i = 0; i < COMPARE_N_VECTOR_KERNELS; i++) {
        int bad = compare_vectors(k, oracle, i);
        printf("%s neon/vectors: %s equals %s: %s\n", bad ? "not ok" : "ok", k->name,
               oracle ? oracle->name : "naive", bad ? compare_message : compare_vector_names[i]);
        failed |= bad;
    }
    return failed;
}

int main(void)
{
    compare_init();
    int failed = compare_all(&ruvm_kernels_scalar, &naive);
    failed |= compare_all_vectors(&ruvm_vector_kernels_scalar, NULL);
    uint32_t hash = compare_hash;
    for (const struct ruvm_kernels *const *k = ruvm_kernels_all; *k; k++) {
        if (*k == &ruvm_kernels_scalar)
            continue;
        if ((*k)->available())
            failed |= compare_all(*k, &ruvm_kernels_scalar);
        else
            printf("skip neon/%s: this machine cannot run it\n", (*k)->name);
    }
    for (const struct ruvm_vector_kernels *const *k = ruvm_vector_kernels_all; *k; k++)
        if (*k != &ruvm_vector_kernels_scalar && (*k)->available())
            failed |= compare_all_vectors(*k, &ruvm_vector_kernels_scalar);
    printf("hash %08x\n", (unsigned)hash);
    return failed;
}
