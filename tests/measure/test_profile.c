/* The profile of a token: that watching changes nothing, that every kernel is counted for
 * the part that it works for in every network, and that the parts are all of the time. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/measure/profile.h"
#include "lib/measure/profile_table.h"
#include "lib/run/session.h"

static const char *const images[] = {
    "tests/golden/golden.ruvm",
    "tests/golden/packed.ruvm",
    "tests/golden/networks/gpt2.ruvm",
    "tests/golden/networks/gpt_neo.ruvm",
    "tests/golden/networks/gpt_neox.ruvm",
    "tests/golden/networks/mistral.ruvm",
    "tests/golden/networks/qwen2.ruvm",
    "tests/golden/networks/relu.ruvm",
};
enum { N_IMAGES = sizeof images / sizeof *images, N_TOKENS = 5 };

static struct ruvm_profile_watch watch;

static struct ruvm_session *open_session(const char *path)
{
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    const struct ruvm_session_options o = {.model = path};
    cr_assert_eq(ruvm_session_open(&s, &o, &err), RUVM_OK, "%s", err.text);
    return s;
}

static struct ruvm_engine *watched_engine(const struct ruvm_session *s, void **memory)
{
    struct ruvm_engine *e;
    const struct ruvm_engine_options o = {
        .context = s->context, .kernels = &watch.table, .panels = s->panels.of_tensor};
    *memory = aligned_alloc(64, (s->engine_bytes + 63) / 64 * 64);
    cr_assert_eq(ruvm_engine_init(&e, *memory, s->engine_bytes, s->file.data, s->file.size, &o),
                 RUVM_OK);
    return e;
}

static uint64_t sum_of(const uint64_t *n)
{
    uint64_t sum = 0;
    for (int i = 0; i < RUVM_N_PARTS; i++)
        sum += n[i];
    return sum;
}

/* Tokens through both engines; the watch then holds those of the watched one. Returns the
 * ticks that all of it took. */
static uint64_t run_both(struct ruvm_session *s, struct ruvm_engine *e)
{
    uint64_t all = 0;
    for (uint16_t i = 0; i < N_TOKENS; i++) {
        uint16_t id = (uint16_t)(i % s->info.vocab);
        cr_assert_eq(ruvm_engine_eval(s->engine, &id, 1, NULL), RUVM_OK);
        uint64_t start = ruvm_profile_ticks();
        ruvm_profile_token_begin();
        cr_assert_eq(ruvm_engine_eval(e, &id, 1, NULL), RUVM_OK);
        ruvm_profile_token_choose();
        ruvm_profile_token_end();
        all += ruvm_profile_ticks() - start;
        cr_assert_eq(memcmp(ruvm_engine_logits(e), ruvm_engine_logits(s->engine),
                            s->info.vocab * sizeof(int32_t)),
                     0, "%s: watched, it says something else", s->file.name);
    }
    return all;
}

Test(profile_table, every_part_of_every_network_is_found)
{
    for (int i = 0; i < N_IMAGES; i++) {
        struct ruvm_session *s = open_session(images[i]);
        void *memory;
        uint32_t layers = s->info.n_layers, heads = layers * s->info.n_heads;
        ruvm_profile_table_begin(&watch, s->kernels, layers);
        struct ruvm_engine *e = watched_engine(s, &memory);
        uint64_t all = run_both(s, e);
        cr_assert_eq(watch.calls[RUVM_PART_SCORES], N_TOKENS * heads, "%s", images[i]);
        cr_assert_eq(watch.calls[RUVM_PART_SOFTMAX], N_TOKENS * heads, "%s", images[i]);
        /* the sum of a head's values, and its division */
        cr_assert_eq(watch.calls[RUVM_PART_MIX], N_TOKENS * 2 * heads, "%s", images[i]);
        /* q, k, v, o, up, down at least, and one product of the head */
        cr_assert_geq(watch.calls[RUVM_PART_MATRIX], N_TOKENS * layers * 4, "%s", images[i]);
        cr_assert_geq(watch.calls[RUVM_PART_HEAD], N_TOKENS * 2, "%s", images[i]);
        /* a query is turned, scaled and narrowed */
        cr_assert_geq(watch.calls[RUVM_PART_CACHE], 3 * N_TOKENS * heads, "%s", images[i]);
        cr_assert_geq(watch.calls[RUVM_PART_ACTIVATION], N_TOKENS * layers, "%s", images[i]);
        cr_assert_leq(watch.calls[RUVM_PART_ACTIVATION], N_TOKENS * layers * 5, "%s", images[i]);
        /* norm and quantizing twice a layer, and the last ones */
        cr_assert_geq(watch.calls[RUVM_PART_NORM], N_TOKENS * (layers * 8 + 2), "%s", images[i]);
        cr_assert_geq(watch.calls[RUVM_PART_SCALE], N_TOKENS * layers * 6, "%s", images[i]);
        for (int part = 0; part < RUVM_N_PARTS; part++)
            cr_assert_geq(watch.readings[part], N_TOKENS, "%s: never %s", images[i],
                          ruvm_bench_part_name((enum ruvm_bench_part)part));
        cr_assert_leq(sum_of(watch.ticks), all);
        cr_assert_gt(2 * sum_of(watch.ticks), all, "%s: the parts are not all", images[i]);
        ruvm_profile_table_end();
        free(memory);
        ruvm_session_close(s);
    }
}

static void expect_watched(const struct ruvm_kernels *table)
{
    const unsigned char *real = (const unsigned char *)table;
    const unsigned char *watched = (const unsigned char *)&watch.table;
    ruvm_profile_table_begin(&watch, table, 1);
    for (size_t at = offsetof(struct ruvm_kernels, matmul_s8); at < sizeof watch.table;
         at += sizeof(void (*)(void)))
        if ((at != offsetof(struct ruvm_kernels, matmul_panels) || table->matmul_panels) &&
            (at != offsetof(struct ruvm_kernels, attend) || table->attend))
            cr_assert_neq(memcmp(real + at, watched + at, sizeof(void (*)(void))), 0,
                          "%s: kernel %zu of the table", table->name, at / sizeof(void (*)(void)));
    cr_assert_eq(!watch.table.matmul_panels, !table->matmul_panels, "%s", table->name);
    cr_assert_eq(!watch.table.attend, !table->attend, "%s", table->name);
    cr_assert_str_eq(watch.table.name, table->name);
    ruvm_profile_table_end();
}

Test(profile_table, no_kernel_is_unwatched)
{
    for (unsigned i = 0; ruvm_kernels_all[i]; i++)
        expect_watched(ruvm_kernels_all[i]);
}

Test(profile, parts_add_up)
{
    struct ruvm_session *s = open_session(NULL);
    struct ruvm_bench_profile p;
    struct ruvm_error err = {0};
    const struct ruvm_bench_options o = {.repetitions = 3, .generate_tokens = 32};
    double start = ruvm_clock_s(), sum = 0;
    cr_assert_eq(ruvm_profile_measure(&p, s, &o, &err), RUVM_OK, "%s", err.text);
    double seconds = ruvm_clock_s() - start;
    cr_assert(p.tokens == 32 && p.repetitions == 3);
    for (int i = 0; i < RUVM_N_PARTS; i++) {
        cr_assert(p.us[i].n == 3 && p.us[i].min >= 0 && p.us[i].min <= p.us[i].median);
        sum += p.us[i].median;
    }
    cr_assert_gt(p.us[RUVM_PART_MATRIX].median, 0);
    cr_assert_lt(fabs(sum - p.sum_us), 1e-9 * sum + 1e-9);
    cr_assert_leq(p.sum_us, p.watched_us * 1.5);
    cr_assert_lt(p.watched_us * 1e-6 * 32, seconds);
    cr_assert_lt(p.token_us * 1e-6 * 32, seconds);
    ruvm_session_close(s);
}

Test(profile, refuses_more_tokens_than_the_context)
{
    struct ruvm_session *s = open_session(NULL);
    struct ruvm_bench_profile p;
    struct ruvm_error err = {0};
    const struct ruvm_bench_options o = {.generate_tokens = 65535};
    cr_assert_eq(ruvm_profile_measure(&p, s, &o, &err), RUVM_ERR_FULL);
    cr_assert(strstr(err.text, "65535") && strstr(err.text, "--ctx"), "%s", err.text);
    ruvm_session_close(s);
}
