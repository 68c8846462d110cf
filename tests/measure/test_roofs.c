/* Roofs and the kernels against them: that the loops do the work that their rates count,
 * that nothing is left out of the list, and the shares computed again. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/roof.h"
#include "lib/base/clock.h"
#include "lib/measure/kernel_calls.h"
#include "lib/measure/machine.h"
#include "lib/measure/roofs.h"
#include "lib/measure/roofs_threads.h"

Test(roof, reading_depends_on_every_byte)
{
    enum { N = 4 * RUVM_ROOF_CHUNK };
    uint8_t *p = aligned_alloc(64, N);
    for (unsigned i = 0; ruvm_roof_all[i]; i++) {
        const struct ruvm_roof *r = ruvm_roof_all[i];
        if (!ruvm_kernels_select(r->kernels))
            continue;
        memset(p, 0x5A, N);
        uint32_t whole = r->read(p, N);
        for (uint32_t at = 0; at < N; at++) {
            p[at] ^= 0x21;
            cr_assert_neq(r->read(p, N), whole, "%s, byte %u", r->kernels, at);
            p[at] ^= 0x21;
        }
        cr_assert_eq(r->read(p, N), whole);
    }
    free(p);
}

Test(roof, multiplying_takes_its_rounds_and_its_operand)
{
    int8_t operand[RUVM_ROOF_OPERAND_BYTES];
    for (unsigned i = 0; i < sizeof operand; i++)
        operand[i] = (int8_t)(3 * i + 1);
    for (unsigned i = 0; ruvm_roof_all[i]; i++) {
        const struct ruvm_roof *r = ruvm_roof_all[i];
        if (!ruvm_kernels_select(r->kernels))
            continue;
        uint32_t one = r->multiply(operand, 1), two = r->multiply(operand, 2);
        cr_assert_neq(one, two, "%s", r->kernels);
        operand[5]++;
        cr_assert_neq(r->multiply(operand, 2), two, "%s", r->kernels);
        operand[5]--;
        cr_assert_eq(r->multiply(operand, 2), two, "%s", r->kernels);
        double start = ruvm_clock_s();
        r->multiply(operand, 1000);
        double few = ruvm_clock_s() - start;
        r->multiply(operand, 1000000);
        cr_assert_gt(ruvm_clock_s() - start - few, 10 * few, "%s: rounds cost nothing", r->kernels);
    }
}

Test(roof, every_table_of_this_machine_has_one)
{
    for (unsigned i = 0; ruvm_kernels_all[i]; i++) {
        unsigned j = 0;
        while (ruvm_roof_all[j] &&
               strcmp(ruvm_roof_all[j]->kernels, ruvm_kernels_all[i]->name) != 0)
            j++;
        cr_assert_not_null(ruvm_roof_all[j], "%s", ruvm_kernels_all[i]->name);
    }
}

Test(machine, caches_grow_from_level_to_level)
{
    uint64_t bytes[RUVM_MACHINE_CACHES];
    ruvm_machine_caches(bytes);
    cr_assert_geq(bytes[0], 4096);
    cr_assert(bytes[1] == 0 || bytes[1] >= bytes[0]);
    cr_assert(bytes[2] == 0 || bytes[2] >= bytes[1]);
}

static struct ruvm_bench_roofs measured(uint32_t repetitions)
{
    struct ruvm_roofs m;
    struct ruvm_bench_roofs r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_roofs_open(&m, repetitions, &err), RUVM_OK, "%s", err.text);
    for (uint32_t i = 0; i < repetitions; i++)
        ruvm_roofs_measure(&m, i);
    ruvm_roofs_report(&m, &r, repetitions);
    ruvm_roofs_close(&m);
    return r;
}

Test(roofs, levels_are_apart_and_have_rates)
{
    struct ruvm_bench_roofs r = measured(3);
    cr_assert(r.n_levels >= 2 && r.n_levels <= RUVM_ROOFS_LEVELS);
    cr_assert_str_eq(r.levels[r.n_levels - 1].name, "DRAM");
    for (uint32_t i = 0; i < r.n_levels; i++) {
        const struct ruvm_bench_level *l = &r.levels[i];
        cr_assert(l->gb_per_s.min > 0 && l->gb_per_s.n == 3 && isfinite(l->gb_per_s.max));
        cr_assert_eq(l->placed_bytes % RUVM_ROOF_CHUNK, 0);
        if (l->bytes)
            cr_assert_lt(l->placed_bytes, l->bytes, "%s overflows", l->name);
        if (i)
            cr_assert_geq(l->placed_bytes, 2 * r.levels[i - 1].placed_bytes);
        if (i && r.levels[i - 1].bytes)
            cr_assert_gt(2 * l->placed_bytes, r.levels[i - 1].bytes, "%s fits the one before",
                         l->name);
    }
    cr_assert_gt(r.gmac_per_s.min, 0);
}

/* Several threads have rates of their own, which are finite and no larger than as many machines
 * would have; one has none. */
Test(roofs, of_all_threads_are_those_of_so_many_at_most)
{
    struct ruvm_roofs m;
    struct ruvm_roofs_threads t;
    struct ruvm_bench_roofs r;
    cr_assert_eq(ruvm_roofs_open(&m, 5, NULL), RUVM_OK);
    for (uint32_t n = 1; n <= 3; n++) {
        cr_assert_eq(ruvm_roofs_threads_open(&t, &m, n, 5, NULL), RUVM_OK);
        for (uint32_t i = 0; i < 5; i++) {
            ruvm_roofs_measure(&m, i);
            ruvm_roofs_threads_measure(&t, i);
        }
        ruvm_roofs_report(&m, &r, 5);
        ruvm_roofs_threads_report(&t, &r, 5);
        cr_assert_eq(r.n_threads, n);
        cr_assert_eq(r.threads_gmac_per_s.n, n > 1 ? 5 : 0);
        cr_assert_leq(r.threads_gmac_per_s.min, 3 * n * r.gmac_per_s.max);
        for (uint32_t i = 0; n > 1 && i < r.n_levels; i++) {
            const struct ruvm_bench_level *l = &r.levels[i];
            cr_assert(l->threads_gb_per_s.n == 5 && l->threads_gb_per_s.min > 0, "%s", l->name);
            cr_assert_leq(l->threads_gb_per_s.min, 3 * n * l->gb_per_s.max, "%s", l->name);
        }
        ruvm_roofs_threads_close(&t);
    }
    ruvm_roofs_close(&m);
}

Test(roofs, pieces_of_a_level_are_all_of_it_and_no_more)
{
    struct ruvm_roofs m;
    cr_assert_eq(ruvm_roofs_open(&m, 1, NULL), RUVM_OK);
    size_t placed = (size_t)m.shape.levels[0].placed_bytes, piece = 960, most = 0;
    for (int i = 0; i < 1000; i++) {
        const uint8_t *p = ruvm_roofs_next(&m, 0, piece);
        size_t at = (size_t)(p - m.memory);
        cr_assert(at + piece <= placed && at % 64 == 0);
        most = at + piece > most ? at + piece : most;
    }
    cr_assert_gt(most + piece, placed);
    ruvm_roofs_close(&m);
}

/* ---- kernels --------------------------------------------------------------------- */

Test(kernel_calls, leave_no_kernel_out)
{
    /* the table is a name, a question, and kernels */
    size_t n_kernels = (sizeof(struct ruvm_kernels) - offsetof(struct ruvm_kernels, matmul_s8)) /
                       sizeof(void (*)(void));
    struct ruvm_bench_roofs roofs = {
        .n_levels = 2, .levels = {{.placed_bytes = 16384}, {.placed_bytes = 1 << 20}}};
    struct ruvm_kernel_call calls[RUVM_KERNEL_CALLS];
    uint32_t n = ruvm_kernel_calls_list(calls, &roofs), n_names = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool is_new = !strchr(calls[i].kind->name, '/');
        for (uint32_t j = 0; j < i; j++)
            is_new = is_new && strcmp(calls[i].kind->name, calls[j].kind->name) != 0;
        n_names += is_new;
        if (calls[i].rows)
            cr_assert(calls[i].bytes <= calls[i].advance &&
                      calls[i].advance <= roofs.levels[calls[i].level].placed_bytes);
    }
    cr_assert_eq(n_names, n_kernels);
}

/* With inputs like these, and within their room (the sanitizers watch), every table
 * gives what the scalar one gives. */
Test(kernel_calls, compute_the_same_with_every_table)
{
    struct ruvm_bench_roofs roofs = {.n_levels = 1, .levels = {{.placed_bytes = 16384}}};
    struct ruvm_kernel_call calls[RUVM_KERNEL_CALLS];
    struct ruvm_kernel_room a, b;
    uint8_t *weights = aligned_alloc(64, 16384);
    for (int i = 0; i < 16384; i++)
        weights[i] = (uint8_t)(i * 7 % 255 + 129);
    uint32_t n = ruvm_kernel_calls_list(calls, &roofs);
    for (unsigned t = 0; ruvm_kernels_all[t]; t++) {
        if (!ruvm_kernels_all[t]->available())
            continue;
        cr_assert_eq(ruvm_kernel_room_open(&a, NULL), RUVM_OK);
        cr_assert_eq(ruvm_kernel_room_open(&b, NULL), RUVM_OK);
        for (uint32_t i = 0; i < n; i++) {
            if (!ruvm_kernel_calls_has(ruvm_kernels_all[t], &calls[i]))
                continue;
            calls[i].kind->run(&calls[i], ruvm_kernels_all[t], &a, weights);
            if (!ruvm_kernel_calls_has(&ruvm_kernels_scalar, &calls[i])) {
                memcpy(b.out, a.out, 4u * calls[i].vectors * (calls[i].rows + 64)); /* no oracle */
                continue;
            }
            calls[i].kind->run(&calls[i], &ruvm_kernels_scalar, &b, weights);
            cr_assert_eq(memcmp(a.owned, b.owned, (size_t)((uint8_t *)a.out - (uint8_t *)a.owned)),
                         0, "%s: %s", ruvm_kernels_all[t]->name, calls[i].kind->name);
            cr_assert_eq(memcmp(a.out, b.out, 4u * calls[i].vectors * (calls[i].rows + 64)), 0,
                         "%s: %s", ruvm_kernels_all[t]->name, calls[i].kind->name);
        }
        ruvm_kernel_room_close(&a);
        ruvm_kernel_room_close(&b);
    }
    free(weights);
}

Test(kernel_rates, are_of_every_table_and_their_shares_follow)
{
    struct ruvm_bench_options o = {.repetitions = 3, .kernel_rates = true, .no_speed = true};
    struct ruvm_bench_result r;
    struct ruvm_error err = {0};
    uint32_t n_tables = 0, n_panels = 0, n_with_panels = 0, n_attend = 0, n_with_attend = 0;
    bool available;
    cr_assert_eq(ruvm_bench(&o, &r, &err), RUVM_OK, "%s", err.text);
    for (unsigned i = 0; ruvm_kernels_list(i, &available); i++)
        n_tables += available;
    for (unsigned i = 0; ruvm_kernels_all[i]; i++) {
        bool is_here = ruvm_kernels_all[i]->available();
        n_with_panels += is_here && ruvm_kernels_all[i]->matmul_panels;
        n_with_attend += is_here && ruvm_kernels_all[i]->attend;
    }
    for (uint32_t i = 0; i < r.n_kernels; i++) {
        n_panels += strncmp(r.kernel_list[i].name, "matmul_panels", 13) == 0;
        n_attend += strcmp(r.kernel_list[i].name, "attend") == 0;
    }
    cr_assert(r.n_kernels >= 20 * n_tables && (r.n_kernels - n_panels - n_attend) % n_tables == 0);
    cr_assert_eq(n_attend, n_with_attend * r.roofs.n_levels);
    /* of five types, two of them in groups as well, at each level and in three more shapes */
    cr_assert_eq(n_panels, n_with_panels * 7 * (r.roofs.n_levels + 3));
    for (uint32_t i = 0; i < r.n_kernels; i++) {
        const struct ruvm_bench_kernel *k = &r.kernel_list[i];
        double gb = k->gb_per_s.median / r.roofs.levels[k->level].gb_per_s.median;
        double gmac = k->gmac_per_s.median / r.roofs.gmac_per_s.median;
        cr_assert(k->gmac_per_s.n == 3 && k->gmac_per_s.min > 0 && k->gb_per_s.min > 0);
        cr_assert_lt(k->gmac_per_s.max, 1e5, "%g GMAC/s cannot be", k->gmac_per_s.max);
        cr_assert_eq(k->multiplies, k->rows > 0);
        cr_assert_lt(fabs(k->roof_share - (k->arithmetic_binds ? gmac : gb)), 1e-9 + gb * 1e-6);
        cr_assert(!k->arithmetic_binds || gmac > gb, "%s: the higher share binds", k->name);
    }
    ruvm_bench_free(&r);
}
