/* The wire format of protocol buffers: each type read in place, each fault with its place. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "formats/protobuf.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

Test(protobuf, fields_of_every_type_are_read_in_place)
{
    static const char message[] =
        "\x08\xac\x02"                                      /* 1: 300 */
        "\x11\x08\x07\x06\x05\x04\x03\x02\x01"              /* 2: a fixed64 */
        "\x1a\x03xyz"                                       /* 3: bytes */
        "\x25\0\0\x20\xc1"                                  /* 4: -10.0f */
        "\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"; /* 16: -1 */
    struct ruvm_protobuf p = ruvm_protobuf_over(BYTES(message));
    struct ruvm_protobuf_field f;
    cr_assert(ruvm_protobuf_next(&p, &f) && ruvm_protobuf_is(&f, 1, RUVM_PROTOBUF_VARINT));
    cr_assert_eq(f.value, 300);
    cr_assert_not(ruvm_protobuf_is(&f, 1, RUVM_PROTOBUF_BYTES));
    cr_assert_not(ruvm_protobuf_is(&f, 2, RUVM_PROTOBUF_VARINT));
    cr_assert(ruvm_protobuf_next(&p, &f) && ruvm_protobuf_is(&f, 2, RUVM_PROTOBUF_FIXED64));
    cr_assert_eq(f.value, 0x0102030405060708u);
    cr_assert(ruvm_protobuf_next(&p, &f) && ruvm_protobuf_is(&f, 3, RUVM_PROTOBUF_BYTES));
    cr_assert(f.size == 3 && f.bytes == (const uint8_t *)message + 14);
    cr_assert(ruvm_protobuf_next(&p, &f) && ruvm_protobuf_is(&f, 4, RUVM_PROTOBUF_FIXED32));
    cr_assert_float_eq(ruvm_protobuf_float(&f), -10, 0);
    cr_assert(ruvm_protobuf_next(&p, &f) && ruvm_protobuf_is(&f, 16, RUVM_PROTOBUF_VARINT));
    cr_assert_eq((int64_t)f.value, -1);
    cr_assert_not(ruvm_protobuf_next(&p, &f));
    cr_assert_null(p.fault);
}

Test(protobuf, a_message_in_a_field_and_packed_numbers)
{
    struct ruvm_protobuf p = ruvm_protobuf_over(BYTES("\x0a\x04\x12\x02\x05\x7f")), inner;
    struct ruvm_protobuf_field f;
    uint64_t value;
    cr_assert(ruvm_protobuf_next(&p, &f));
    inner = ruvm_protobuf_inside(&f);
    cr_assert(ruvm_protobuf_next(&inner, &f) && f.number == 2);
    inner = ruvm_protobuf_inside(&f);
    cr_assert(ruvm_protobuf_varint(&inner, &value) && value == 5);
    cr_assert(ruvm_protobuf_varint(&inner, &value) && value == 127);
    cr_assert_not(ruvm_protobuf_varint(&inner, &value));
    cr_assert_null(inner.fault);
}

Test(protobuf, nothing_is_a_message_of_no_fields)
{
    struct ruvm_protobuf_field f, number = {.number = 1};
    struct ruvm_protobuf p = ruvm_protobuf_over(NULL, 0), inner = ruvm_protobuf_inside(&number);
    cr_assert_not(ruvm_protobuf_next(&p, &f));
    cr_assert_not(ruvm_protobuf_next(&inner, &f));
    cr_assert(!p.fault && !inner.fault);
}

static const struct {
    const char *bytes;
    size_t size;
    size_t at;
    const char *what;
} faults[] = {
    {"\x08", 1, 1, "ends inside a number"},
    {"\x08\x80", 2, 1, "ends inside a number"},
    {"\x80", 1, 0, "ends inside a number"},
    {"\x08\x01\x0d\1\2\3", 6, 3, "ends inside a number"},
    {"\x09\1\2\3\4\5\6\7", 8, 1, "ends inside a number"},
    {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, 1, "more than 64 bits"},
    {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, 1, "more than 64 bits"},
    {"\x0a\x01", 2, 1, "longer than what holds it"},
    {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 1, "longer than what holds it"},
    {"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, 1, "longer than what holds it"},
    {"\x02\x01", 2, 0, "impossible number"},
    {"\xf8\xff\xff\xff\xff\x7f\1", 7, 0, "impossible number"},
    {"\x0b", 1, 0, "no type"},
    {"\x0c", 1, 0, "no type"},
    {"\x0e", 1, 0, "no type"},
    {"\x0f", 1, 0, "no type"},
};

Test(protobuf, faults_are_named_with_their_places)
{
    for (size_t i = 0; i < COUNT(faults); i++) {
        uint8_t *copy = malloc(faults[i].size);
        struct ruvm_protobuf_field f;
        memcpy(copy, faults[i].bytes, faults[i].size);
        struct ruvm_protobuf p = ruvm_protobuf_over(copy, faults[i].size);
        while (ruvm_protobuf_next(&p, &f))
            continue;
        cr_assert(p.fault, "case %zu", i);
        cr_assert(strstr(p.fault, faults[i].what), "case %zu: %s", i, p.fault);
        cr_assert_eq((size_t)(p.fault_at - copy), faults[i].at, "case %zu", i);
        cr_assert_not(ruvm_protobuf_next(&p, &f), "case %zu goes on", i);
        free(copy);
    }
}
