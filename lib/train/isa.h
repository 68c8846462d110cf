/* Isa: one body of arithmetic, compiled for several instruction sets.
 *
 *     static inline RUVM_ISA_BODY void scale_body(float *x, size_t n) { ... }
 *     RUVM_ISA_EACH(scale, (float *x, size_t n), x, n)
 *     void ruvm_math_scale(float *x, size_t n) { scale(x, n); }
 *
 * The compiler may use wider vectors, but no fused multiply-add and no other order of a
 * sum: every instruction set gives the same bits, and a test holds them to it.
 */
#ifndef RUVM_TRAIN_ISA_H
#define RUVM_TRAIN_ISA_H

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc contracts nothing under -std=c11 */
#endif

enum ruvm_isa { RUVM_ISA_GENERIC, RUVM_ISA_AVX2, RUVM_ISA_AVX512, RUVM_N_ISAS };

/* The widest that this machine has, or what ruvm_isa_limit() left. */
enum ruvm_isa ruvm_isa_best(void);
/* For tests: use at most this one. Not while another thread computes. */
void ruvm_isa_limit(enum ruvm_isa most);

#define RUVM_ISA_BODY __attribute__((always_inline))

/* Defines a static function <name>, which runs <name>_body compiled for the best set. */
#ifdef __x86_64__
#define RUVM_ISA_EACH(name, params, ...)                                                           \
    static void name##_generic params                                                              \
    {                                                                                              \
        name##_body(__VA_ARGS__);                                                                  \
    }                                                                                              \
    __attribute__((target("avx2"))) static void name##_avx2 params                                 \
    {                                                                                              \
        name##_body(__VA_ARGS__);                                                                  \
    }                                                                                              \
    __attribute__((target("avx512f"))) static void name##_avx512 params                            \
    {                                                                                              \
        name##_body(__VA_ARGS__);                                                                  \
    }                                                                                              \
    static void name params                                                                        \
    {                                                                                              \
        switch (ruvm_isa_best()) {                                                                 \
        case RUVM_ISA_AVX512: name##_avx512(__VA_ARGS__); break;                                   \
        case RUVM_ISA_AVX2: name##_avx2(__VA_ARGS__); break;                                       \
        default: name##_generic(__VA_ARGS__); break;                                               \
        }                                                                                          \
    }
#else
#define RUVM_ISA_EACH(name, params, ...)                                                           \
    static void name params                                                                        \
    {                                                                                              \
        name##_body(__VA_ARGS__);                                                                  \
    }
#endif

#endif
