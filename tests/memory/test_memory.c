/* Memories: sizes, limits, weights, and metadata as traits. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/memory/memory.h"

static struct ruvm_traits read_traits(const char *json, int want)
{
    struct ruvm_traits t = ruvm_traits_plain();
    cr_expect_eq(ruvm_traits_read(&t, json, strlen(json)), want, "%s", json);
    return t;
}

Test(traits, of_metadata)
{
    struct ruvm_traits t = read_traits(
        " {\"memory\":\"preference\", \"importance\":\"80\",\"time\": "
        "1700000000,\n\"half_life\":60,"
        "\"room\":\"kitchen\",\"list\":[1,{\"a\":\"]\"}],\"floor\":2,\"who\":\"a\\\"nn\"} ",
        RUVM_OK);
    cr_expect_eq(t.type, RUVM_MEMORY_PREFERENCE);
    cr_expect_eq(t.importance, 80);
    cr_expect_eq(t.time, 1700000000);
    cr_expect_eq(t.half_life, 60);
    cr_expect_eq(t.n_tags, 2, "numbers and lists are no tags");
    t = read_traits("{}", RUVM_OK);
    cr_expect(t.n_tags == 0 && t.importance == 50 && t.time == 0);
    t = read_traits("{\"memory\":\"8 GB\",\"importance\":101,\"time\":\"noon\"}", RUVM_OK);
    cr_expect(t.type == RUVM_MEMORY_FACTUAL && t.importance == 50 && t.time == 0);
    cr_expect_eq(t.n_tags, 2, "what is no type and no time is a tag");
}

Test(traits, of_what_is_no_object)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{\"a\":1}x",
                                      "{\"a",
                                      "{a:1}",
                                      "{\"a\":[1}",
                                      "{\"a\":\"b}",
                                      "{\"a\":1 \"b\":2}",
                                      "{\"a\":\"\\",
                                      "{\"x\":\"y\"",
                                      "null"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ruvm_traits t = read_traits(bad[i], RUVM_ERR_CORRUPT);
        cr_expect_eq(t.n_tags, 0, "%s changes something", bad[i]);
    }
}

static struct ruvm_context context_at(uint32_t now, const char *room)
{
    struct ruvm_context c = {.now = now};
    if (room)
        ruvm_traits_tag(c.tags, &c.n_tags, RUVM_CONTEXT_MAX_TAGS, "room", 4, room, strlen(room));
    return c;
}

Test(traits, weights_are_products)
{
    struct ruvm_traits t = read_traits("{\"room\":\"Kitchen\"}", RUVM_OK);
    struct ruvm_context here = context_at(0, "kitchen"), there = context_at(0, "hall"),
                        nowhere = context_at(0, NULL);
    cr_expect_eq(ruvm_traits_weight_q16(&t, &here), 2 * 65536);
    cr_expect_eq(ruvm_traits_weight_q16(&t, &there), 65536 / 4);
    cr_expect_eq(ruvm_traits_weight_q16(&t, &nowhere), 65536);
    t.importance = 100;
    cr_expect_eq(ruvm_traits_weight_q16(&t, &here), 3 * 65536);
    t.expires = 10;
    here.now = 9;
    cr_expect_eq(ruvm_traits_weight_q16(&t, &here), 3 * 65536);
    here.now = 10;
    cr_expect_eq(ruvm_traits_weight_q16(&t, &here), 0);
    t.expires = 0;
    here.types = 1 << RUVM_MEMORY_EPISODIC;
    cr_expect_eq(ruvm_traits_weight_q16(&t, &here), 0);
}

Test(traits, age_halves)
{
    struct ruvm_traits t = read_traits("{\"memory\":\"episodic\",\"time\":1000}", RUVM_OK);
    const double week = 7 * 86400;
    uint32_t before = 65536;
    for (uint32_t age = 0; age < 20 * 7 * 86400; age += 86400 / 3) {
        double want = 65536 * exp2(-age / week);
        uint32_t weight = ruvm_traits_worth_q16(&t, 1000 + age);
        cr_assert_leq(fabs(weight - want), want * 3e-3 + 1.5, "%u: %u, %g", age, weight, want);
        cr_assert_leq(weight, before, "it never grows");
        before = weight;
    }
    cr_expect_eq(ruvm_traits_worth_q16(&t, 10), 65536, "a clock that was set back ages nothing");
}

/* ---- the store -------------------------------------------------------------------------- */

static void fill(int8_t *row, uint32_t i)
{
    memset(row, 0, 32);
    row[i % 32] = 127;
}

static int tell(struct ruvm_memory *m, uint32_t i, uint8_t importance, uint32_t now, uint32_t *id)
{
    _Alignas(16) int8_t row[32];
    char text[2] = {(char)('a' + i), '\0'};
    struct ruvm_memory_item item = {ruvm_traits_plain(), text, 1, row};
    fill(row, i);
    item.traits.importance = importance;
    return ruvm_memory_remember(m, &item, now, id);
}

static void *make(struct ruvm_memory *m, uint32_t capacity)
{
    const struct ruvm_memory_shape shape = {capacity, 32, 8};
    size_t bytes = ruvm_memory_bytes(&shape);
    void *memory = aligned_alloc(16, bytes);
    cr_assert_eq(ruvm_memory_init(m, &shape, memory, bytes - 1), RUVM_ERR_MEMORY);
    cr_assert_eq(ruvm_memory_init(m, &shape, (char *)memory + 1, bytes), RUVM_ERR_ARG);
    cr_assert_eq(ruvm_memory_init(m, &shape, memory, bytes), RUVM_OK);
    return memory;
}

Test(memory, bytes_are_as_stated)
{
    const struct ruvm_memory_shape stated = {128, 32, 64}, none = {0, 32, 64}, flat = {1, 7, 64};
    cr_expect_eq(ruvm_memory_bytes(&stated), 19712);
    cr_expect_eq(ruvm_memory_bytes(&none), 0);
    cr_expect_eq(ruvm_memory_bytes(&flat), 0);
}

Test(memory, finds_what_it_was_told)
{
    struct ruvm_memory m;
    struct ruvm_memory_hit hits[4];
    struct ruvm_context c = {.now = 5};
    _Alignas(16) int8_t row[32];
    uint32_t id[8];
    void *memory = make(&m, 8);
    for (uint32_t i = 0; i < 8; i++)
        cr_assert_eq(tell(&m, i, 50, 5, &id[i]), RUVM_OK);
    fill(row, 3);
    row[6] = 60;
    cr_assert_eq(ruvm_memory_recall(&m, row, &c, 4, hits), 2, "the others are at right angles");
    cr_expect(hits[0].id == id[3] && hits[0].text[0] == 'd' && hits[1].id == id[6]);
    cr_expect_leq(abs((int)hits[0].similarity_q16 - (int)(65536 * 127 / sqrt(127 * 127 + 60 * 60))),
                  2);
    cr_expect_eq(ruvm_memory_recall(&m, row, &c, 1, hits), 1);
    cr_expect_eq(ruvm_memory_recall(&m, row, &c, 0, hits), 0);
    cr_assert_eq(ruvm_memory_forget(&m, id[3]), RUVM_OK);
    cr_expect_eq(ruvm_memory_forget(&m, id[3]), RUVM_ERR_ARG);
    cr_expect_eq(ruvm_memory_renew(&m, 0, 9), RUVM_ERR_ARG);
    cr_expect_eq(ruvm_memory_recall(&m, row, &c, 4, hits), 1);
    free(memory);
}

Test(memory, gives_up_the_least)
{
    struct ruvm_memory m;
    uint32_t id;
    void *memory = make(&m, 3);
    cr_assert_eq(tell(&m, 0, 80, 5, &id), RUVM_OK);
    cr_assert_eq(tell(&m, 1, 40, 5, &id), RUVM_OK);
    cr_assert_eq(tell(&m, 2, 60, 5, &id), RUVM_OK);
    cr_expect_eq(tell(&m, 3, 39, 5, &id), RUVM_ERR_FULL);
    cr_expect_eq(tell(&m, 3, 40, 5, &id), RUVM_OK, "the older of equals goes");
    cr_expect(m.n == 3 && m.entries[1].id == 4, "%u", m.entries[1].id);
    free(memory);
}

Test(memory, refuses_what_it_cannot_hold)
{
    struct ruvm_memory m;
    _Alignas(16) int8_t row[32] = {1};
    struct ruvm_memory_item item = {ruvm_traits_plain(), "ninebytes", 9, row};
    uint32_t id;
    void *memory = make(&m, 3);
    cr_expect_eq(ruvm_memory_remember(&m, &item, 5, &id), RUVM_ERR_ARG);
    item.n_text = 8;
    item.traits.expires = 5;
    cr_expect_eq(ruvm_memory_remember(&m, &item, 5, &id), RUVM_ERR_ARG);
    item.traits.expires = 6;
    cr_expect_eq(ruvm_memory_remember(&m, &item, 5, &id), RUVM_OK);
    cr_expect_eq(ruvm_memory_sweep(&m, 6), 1);
    cr_expect_eq(m.n, 0);
    free(memory);
}
