/* Threads of a session: that the choice is one that was allowed, disturbs nothing, and that
 * logits do not depend on it, whether the threads work, pause or never came. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/base/pool.h"
#include "lib/core/engine.h"
#include "lib/run/session.h"

enum { N_TOKENS = 40 };

static struct ruvm_session *open_demo(uint32_t threads)
{
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    const struct ruvm_session_options o = {.threads = threads, .context = 64};
    cr_assert_eq(ruvm_session_open(&s, &o, &err), RUVM_OK, "%s", err.text);
    return s;
}

static uint32_t crc_of(struct ruvm_session *s)
{
    struct ruvm_engine *e = ruvm_session_engine(s);
    uint16_t tokens[N_TOKENS];
    uint32_t crc = 0;
    for (uint16_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (uint16_t)(i * 7 % s->info.vocab);
    cr_assert_eq(ruvm_engine_rewind(e, 0), RUVM_OK);
    cr_assert_eq(ruvm_engine_eval(e, tokens, N_TOKENS - 5, NULL), RUVM_OK);
    for (uint32_t i = N_TOKENS - 5; i < N_TOKENS; i++) {
        crc = ruvm_logits_crc(crc, ruvm_engine_logits(e), s->info.vocab);
        cr_assert_eq(ruvm_engine_eval(e, &tokens[i], 1, NULL), RUVM_OK);
    }
    return ruvm_logits_crc(crc, ruvm_engine_logits(e), s->info.vocab);
}

static void share_everything(struct ruvm_session *s)
{
    s->threads.parallel.min_work = s->threads.parallel.min_block = 0;
}

Test(threads, give_the_same_logits_working_or_pausing)
{
    struct ruvm_session *one = open_demo(1);
    uint32_t expected = crc_of(one);
    for (uint32_t n = 2; n <= 5; n++) {
        struct ruvm_session *s = open_demo(n);
        cr_assert_eq(ruvm_session_threads(s), n);
        cr_assert_eq(ruvm_session_engine_bytes(s), ruvm_session_engine_bytes(one));
        cr_assert_eq(crc_of(s), expected);
        share_everything(s);
        for (int round = 0; round < 20; round++)
            cr_assert_eq(crc_of(s), expected, "%u threads", n);
        s->threads.pace.until_s = 1e300;
        cr_assert_eq(crc_of(s), expected, "%u threads that pause", n);
        ruvm_session_close(s);
    }
    ruvm_session_close(one);
}

/* Its layers are read in less time than a thread takes to come. */
Test(threads, a_small_model_keeps_one_without_measuring)
{
    struct ruvm_session *s = open_demo(0);
    cr_assert_eq(ruvm_session_threads(s), 1);
    cr_assert_null(s->threads.pool);
    ruvm_session_close(s);
}

Test(threads, choosing_leaves_the_text_alone)
{
    struct ruvm_session *s = open_demo(2);
    uint32_t expected = crc_of(s);
    uint16_t next = 3;
    cr_assert_eq(ruvm_engine_eval(s->engine, &next, 1, NULL), RUVM_OK);
    uint32_t crc = ruvm_logits_crc(0, ruvm_engine_logits(s->engine), s->info.vocab);
    cr_assert_eq(ruvm_engine_rewind(s->engine, N_TOKENS), RUVM_OK);
    for (uint32_t asked = 0; asked <= 2; asked += 2) {
        s->threads.asked = asked;
        s->threads.parallel.n_parts = 2;
        ruvm_threads_choose(&s->threads, s->engine);
        uint32_t n = ruvm_session_threads(s);
        cr_assert(asked ? n == asked : n == 1 || n == 2);
        cr_assert(n > 1 ? s->threads.parallel.min_work > 0
                        : s->threads.parallel.min_work == UINT64_MAX);
        cr_assert_eq(ruvm_engine_position(s->engine), N_TOKENS);
        cr_assert_eq(ruvm_engine_eval(s->engine, &next, 1, NULL), RUVM_OK);
        cr_assert_eq(ruvm_logits_crc(0, ruvm_engine_logits(s->engine), s->info.vocab), crc);
        cr_assert_eq(ruvm_engine_rewind(s->engine, N_TOKENS), RUVM_OK);
    }
    cr_assert_eq(crc_of(s), expected);
    ruvm_session_close(s);
}

/* Of a machine whose processors are all taken a trial learns nothing. */
Test(threads, are_used_when_none_of_them_comes_to_the_trial)
{
    struct ruvm_session *s = open_demo(2);
    uint32_t expected = crc_of(s);
    ruvm_pool_close(s->threads.pool);
    cr_assert_eq(ruvm_pool_open(&s->threads.pool, 1, NULL), RUVM_OK);
    s->threads.asked = 0;
    ruvm_threads_choose(&s->threads, s->engine);
    cr_assert_eq(ruvm_session_threads(s), 2);
    cr_assert_gt(s->threads.parallel.min_work, 0);
    cr_assert_lt(s->threads.parallel.min_work, 10u << 20);
    share_everything(s);
    cr_assert_eq(crc_of(s), expected);
    ruvm_session_close(s);
}

Test(threads, too_many_are_refused)
{
    struct ruvm_session *s;
    struct ruvm_error err = {0};
    const struct ruvm_session_options o = {.threads = RUVM_MAX_PARTS + 1};
    cr_assert_eq(ruvm_session_open(&s, &o, &err), RUVM_ERR_ARG);
    cr_assert(strstr(err.text, "65"), "%s", err.text);
}
