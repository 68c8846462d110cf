/* The buffer grows, writes little-endian, aligns, and fails once and for all. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/base/buffer.h"

Test(buffer, writes_little_endian)
{
    struct ruvm_buffer b = {0};
    ruvm_buffer_u8(&b, 0x01);
    ruvm_buffer_u16(&b, 0x0302);
    ruvm_buffer_u32(&b, 0x07060504);
    ruvm_buffer_bytes(&b, "\x08\x09", 2);
    cr_assert(ruvm_buffer_ok(&b));
    cr_assert_eq(b.size, 9);
    for (uint8_t i = 0; i < 9; i++)
        cr_assert_eq(b.data[i], i + 1);
    ruvm_buffer_free(&b);
    cr_assert_null(b.data);
    cr_assert_eq(b.size, 0);
}

Test(buffer, keeps_its_content_while_growing)
{
    struct ruvm_buffer b = {0};
    for (uint32_t i = 0; i < 100000; i++)
        ruvm_buffer_u32(&b, i * 2654435761u);
    cr_assert(ruvm_buffer_ok(&b));
    cr_assert_eq(b.size, 400000);
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t v = i * 2654435761u;
        uint8_t want[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
        cr_assert_arr_eq(b.data + 4 * (size_t)i, want, 4);
    }
    ruvm_buffer_free(&b);
}

Test(buffer, aligns_with_zeros)
{
    for (size_t start = 0; start < 130; start++)
        for (size_t align = 1; align <= 64; align *= 2) {
            struct ruvm_buffer b = {0};
            for (size_t i = 0; i < start; i++)
                ruvm_buffer_u8(&b, 0xff);
            ruvm_buffer_align(&b, align);
            cr_assert_eq(b.size % align, 0);
            cr_assert_lt(b.size - start, align);
            for (size_t i = start; i < b.size; i++)
                cr_assert_eq(b.data[i], 0);
            ruvm_buffer_free(&b);
        }
}

Test(buffer, gives_zeros_to_fill)
{
    struct ruvm_buffer b = {0};
    uint8_t *none = ruvm_buffer_zeros(&b, 0);
    cr_assert_not_null(none);
    ruvm_buffer_bytes(&b, "abc", 3);
    uint8_t *p = ruvm_buffer_zeros(&b, 1000);
    cr_assert_eq(p, b.data + 3);
    for (size_t i = 0; i < 1000; i++)
        cr_assert_eq(p[i], 0);
    p[999] = 7;
    ruvm_buffer_u8(&b, 8);
    cr_assert_eq(b.data[1002], 7);
    cr_assert_eq(b.data[1003], 8);
    ruvm_buffer_free(&b);
}

Test(buffer, takes_nothing_from_nowhere)
{
    struct ruvm_buffer b = {0};
    ruvm_buffer_bytes(&b, NULL, 0);
    cr_assert(ruvm_buffer_ok(&b));
    cr_assert_eq(b.size, 0);
    ruvm_buffer_free(&b);
}

Test(buffer, prints_without_the_final_nul)
{
    char long_text[3000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    struct ruvm_buffer b = {0};
    ruvm_buffer_printf(&b, "%s=%d\n", "dim", 64);
    ruvm_buffer_printf(&b, "%s", "");
    ruvm_buffer_printf(&b, "%s", long_text);
    cr_assert_eq(b.size, 7 + 2999);
    cr_assert_arr_eq(b.data, "dim=64\nxxx", 10);
    cr_assert_eq(b.data[b.size - 1], 'x');
    ruvm_buffer_free(&b);
}

Test(buffer, an_absurd_length_is_a_failure_that_stays)
{
    struct ruvm_buffer b = {0};
    ruvm_buffer_u32(&b, 1);
    cr_assert_null(ruvm_buffer_zeros(&b, SIZE_MAX));
    cr_assert_not(ruvm_buffer_ok(&b));
    ruvm_buffer_u8(&b, 2);
    ruvm_buffer_u16(&b, 2);
    ruvm_buffer_u32(&b, 2);
    ruvm_buffer_bytes(&b, "x", 1);
    ruvm_buffer_printf(&b, "x");
    ruvm_buffer_align(&b, 64);
    cr_assert_null(ruvm_buffer_zeros(&b, 1));
    cr_assert_eq(b.size, 4);
    cr_assert_not(ruvm_buffer_ok(&b));
    ruvm_buffer_free(&b);
    cr_assert(ruvm_buffer_ok(&b), "freed: ready again");
}

Test(buffer, memory_that_runs_short_is_a_failure_that_stays)
{
#if defined __SANITIZE_ADDRESS__
    cr_log_info("AddressSanitizer reports a short allocation itself");
#else
    struct rlimit limit = {(rlim_t)1 << 28, (rlim_t)1 << 28};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    struct ruvm_buffer b = {0};
    for (int i = 0; i < 40; i++)
        ruvm_buffer_zeros(&b, (size_t)1 << 24);
    cr_assert_not(ruvm_buffer_ok(&b));
    cr_assert_lt(b.size, (size_t)1 << 28);
    ruvm_buffer_free(&b);
#endif
}
