/* The CRC is zlib's, whole or in pieces. */
#include <criterion/criterion.h>
#include <zlib.h>

#include "lib/base/crc32.h"

Test(crc32, of_the_standard_check_string)
{
    cr_assert_eq(ruvm_crc32(0, "123456789", 9), 0xcbf43926u);
    cr_assert_eq(ruvm_crc32(0, "", 0), 0);
}

Test(crc32, equals_zlib_over_lengths_and_cuts)
{
    uint8_t data[600];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof data; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
    for (size_t n = 0; n <= sizeof data; n++) {
        uint32_t want = (uint32_t)crc32(0, data, (uInt)n);
        cr_assert_eq(ruvm_crc32(0, data, n), want, "%zu bytes", n);
        size_t cut = n / 3;
        cr_assert_eq(ruvm_crc32_tables(0, data, n), want, "%zu bytes by tables", n);
        uint32_t part = ruvm_crc32(0, data, cut);
        cr_assert_eq(ruvm_crc32(part, data + cut, n - cut), want, "%zu bytes in two parts", n);
    }
}
