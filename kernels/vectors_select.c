/* Select, for vector search: which tables this program was compiled with, as select.c. */
#include "kernels/vectors.h"

const struct ruvm_vector_kernels *const ruvm_vector_kernels_all[] = {
#ifdef RUVM_HAVE_AVX512VNNI
    &ruvm_vector_kernels_avx512,
#endif
#ifdef RUVM_HAVE_AVX2
    &ruvm_vector_kernels_avx2,
#endif
#ifdef RUVM_HAVE_NEON
    &ruvm_vector_kernels_neon,
#endif
    &ruvm_vector_kernels_scalar, NULL,
};

static int same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const struct ruvm_vector_kernels *ruvm_vector_kernels_select(const char *name)
{
    for (const struct ruvm_vector_kernels *const *k = ruvm_vector_kernels_all; *k; k++)
        if ((!name || same(name, (*k)->name)) && (*k)->available())
            return *k;
    return NULL;
}
