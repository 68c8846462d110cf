/* Isa: asks the processor once, and remembers. */
#include "lib/train/isa.h"

#include <stdatomic.h>

static atomic_int limit = RUVM_N_ISAS;

static int widest(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return RUVM_ISA_AVX512;
    if (__builtin_cpu_supports("avx2"))
        return RUVM_ISA_AVX2;
#endif
    return RUVM_ISA_GENERIC;
}

void ruvm_isa_limit(enum ruvm_isa isa)
{
    atomic_store_explicit(&limit, (int)isa, memory_order_relaxed);
}

enum ruvm_isa ruvm_isa_best(void)
{
    int most = atomic_load_explicit(&limit, memory_order_relaxed), has = widest();
    return (enum ruvm_isa)(has < most ? has : most);
}
