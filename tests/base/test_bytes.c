/* Loads and stores are little-endian at any alignment; the reader never leaves its bytes. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "lib/base/bytes.h"

static const uint8_t bytes[] = {0xf1, 0xe2, 0xd3, 0xc4, 0xb5, 0xa6, 0x97, 0x88, 0x79};

Test(bytes, loads_are_little_endian_at_any_address)
{
    cr_assert_eq(ruvm_load_u16(bytes), 0xe2f1);
    cr_assert_eq(ruvm_load_u16(bytes + 1), 0xd3e2);
    cr_assert_eq(ruvm_load_u32(bytes), 0xc4d3e2f1u);
    cr_assert_eq(ruvm_load_u32(bytes + 3), 0x97a6b5c4u);
    cr_assert_eq(ruvm_load_u64(bytes), 0x8897a6b5c4d3e2f1u);
    cr_assert_eq(ruvm_load_u64(bytes + 1), 0x798897a6b5c4d3e2u);
}

Test(bytes, what_is_stored_is_loaded)
{
    static const uint32_t values[] = {0, 1, 0x7f, 0x80, 0xff, 0x8000, 0xffff, 0x80000000u, ~0u};
    uint8_t room[8];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (size_t at = 0; at < 4; at++) {
            ruvm_store_u32(room + at, values[i]);
            cr_assert_eq(ruvm_load_u32(room + at), values[i]);
            ruvm_store_u16(room + at, (uint16_t)values[i]);
            cr_assert_eq(ruvm_load_u16(room + at), (uint16_t)values[i]);
        }
}

Test(bytes, align_up_goes_to_the_next_multiple)
{
    for (size_t align = 1; align <= 4096; align *= 2)
        for (size_t x = 0; x < 300; x++) {
            size_t up = ruvm_align_up(x, align);
            cr_assert(up % align == 0 && up >= x && up - x < align, "%zu to %zu", x, align);
        }
}

Test(reader, reads_in_order)
{
    struct ruvm_reader r = ruvm_reader_over(bytes, sizeof bytes);
    cr_assert_eq(ruvm_reader_u8(&r), 0xf1);
    cr_assert_eq(ruvm_reader_u16(&r), 0xd3e2);
    cr_assert_eq(ruvm_reader_u32(&r), 0x97a6b5c4u);
    cr_assert_eq(ruvm_reader_take(&r, 2), bytes + 7);
    cr_assert_eq(r.off, 9);
    cr_assert_not(r.failed);
    cr_assert_not_null(ruvm_reader_take(&r, 0), "nothing is left, and nothing is asked for");
}

/* Every read of every width over every length: in a copy of its own, for the sanitizer. */
Test(reader, stops_at_the_end_whatever_the_width)
{
    for (size_t size = 0; size <= sizeof bytes; size++)
        for (size_t width = 1; width <= 8; width *= 2)
            for (size_t off = 0; off <= size; off++) {
                uint8_t *copy = malloc(size + !size);
                cr_assert_not_null(copy);
                for (size_t i = 0; i < size; i++)
                    copy[i] = 0xff;
                struct ruvm_reader r = ruvm_reader_over(copy, size);
                r.off = off;
                uint64_t v = width == 1   ? ruvm_reader_u8(&r)
                             : width == 2 ? ruvm_reader_u16(&r)
                             : width == 4 ? ruvm_reader_u32(&r)
                                          : ruvm_reader_u64(&r);
                bool fits = off + width <= size;
                cr_assert_eq(r.failed, !fits);
                cr_assert_eq(v, fits ? UINT64_MAX >> (64 - 8 * width) : 0);
                cr_assert_eq(r.off, fits ? off + width : off);
                cr_assert_eq(r.fail_off, fits ? 0 : off);
                free(copy);
            }
}

Test(reader, the_first_failure_stays_with_its_place)
{
    struct ruvm_reader r = ruvm_reader_over(bytes, sizeof bytes);
    ruvm_reader_take(&r, 7);
    cr_assert_eq(ruvm_reader_u32(&r), 0);
    cr_assert(r.failed);
    cr_assert_eq(r.fail_off, 7);
    cr_assert_eq(ruvm_reader_u8(&r), 0, "later reads give zero even where bytes are left");
    cr_assert_null(ruvm_reader_take(&r, 0));
    cr_assert_eq(r.fail_off, 7);
    cr_assert_eq(r.off, 7);
}

Test(reader, an_absurd_length_fails)
{
    struct ruvm_reader r = ruvm_reader_over(bytes, sizeof bytes);
    ruvm_reader_u8(&r);
    cr_assert_null(ruvm_reader_take(&r, SIZE_MAX));
    cr_assert_eq(r.fail_off, 1);
}
