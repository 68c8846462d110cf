/* Select: which tables this program was compiled with, and which of them to use.
 *
 * The Makefile says with RUVM_HAVE_... what the compiler could build; each table
 * says for itself whether this machine can run it. To add a variant: its own
 * file with one const table, its flags in the Makefile, and its line here. */
#include "kernels/variants.h"

const struct ruvm_kernels *const ruvm_kernels_all[] = {
#ifdef RUVM_HAVE_AVX512VNNI
    &ruvm_kernels_avx512vnni,
#endif
#ifdef RUVM_HAVE_AVX2
    &ruvm_kernels_avx2,
#endif
#ifdef RUVM_HAVE_NEONDOT
    &ruvm_kernels_neondot,
#endif
#ifdef RUVM_HAVE_NEON
    &ruvm_kernels_neon,
#endif
#ifdef RUVM_HAVE_RV32
    &ruvm_kernels_rv32,
#endif
    &ruvm_kernels_scalar,     NULL,
};

static int same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const struct ruvm_kernels *ruvm_kernels_select(const char *name)
{
    for (const struct ruvm_kernels *const *k = ruvm_kernels_all; *k; k++)
        if ((!name || same(name, (*k)->name)) && (*k)->available())
            return *k;
    return NULL;
}
