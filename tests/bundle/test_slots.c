/* Slots beside a plain array: keys whose hashes collide, and more of them than the table holds at
 * first. */
#include <criterion/criterion.h>

#include "lib/bundle/slots.h"

enum { N_KEYS = 6000, ROUNDS = 3 };

/* Many share their lower bits, some all of the lower 32. */
static uint64_t key_of(uint32_t i)
{
    return (uint64_t)(i % 2) << 32 | i / 2 * 0x10400u;
}

Test(slots, count_each_key_by_itself)
{
    struct ruvm_slots s = {0};
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (uint32_t i = 0; i < N_KEYS; i++)
            for (uint32_t times = 0; times <= i % 3; times++) {
                struct ruvm_slot *slot = ruvm_slots_take(&s, key_of(i));
                cr_assert(slot && slot->key == key_of(i));
                slot->n++;
                slot->last = i;
            }
    cr_expect_eq(s.used, N_KEYS);
    for (uint32_t i = 0; i < N_KEYS; i++) {
        const struct ruvm_slot *slot = ruvm_slots_find(&s, key_of(i));
        cr_assert(slot && slot->n == ROUNDS * (i % 3 + 1) && slot->last == i, "key %u", i);
    }
    cr_expect_null(ruvm_slots_find(&s, key_of(N_KEYS)));
    ruvm_slots_free(&s);
    cr_expect(s.slot == NULL && s.cap == 0);
}

Test(slots, have_nothing_at_first)
{
    struct ruvm_slots s = {0};
    cr_expect_null(ruvm_slots_find(&s, 0));
    cr_assert_not_null(ruvm_slots_take(&s, 0));
    cr_expect_null(ruvm_slots_find(&s, 0), "taken, but nothing was put there");
    ruvm_slots_free(&s);
}
