/* Which roofs this program was compiled with: those of the kernel tables (select.c). */
#include "kernels/roof.h"

const struct ruvm_roof *const ruvm_roof_all[] = {
#ifdef RUVM_HAVE_AVX512VNNI
    &ruvm_roof_avx512vnni,
#endif
#ifdef RUVM_HAVE_AVX2
    &ruvm_roof_avx2,
#endif
#ifdef RUVM_HAVE_NEONDOT
    &ruvm_roof_neondot,
#endif
#ifdef RUVM_HAVE_NEON
    &ruvm_roof_neon,
#endif
    &ruvm_roof_scalar,     NULL,
};
