/* The pack's writer and reader: what one writes the other reads, and every rule of the format
 * has a breach that is found where it stands. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "formats/pack_read.h"
#include "formats/pack_write.h"
#include "formats/ruvm_diagnose.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

static const uint8_t seed[32] = {0x9d, 0x61, 0xb1, 0x9d};

/* Three sections: settings in the first sector, an own one, and one of two sectors. */
static struct ruvm_buffer make(void)
{
    static uint8_t large[6000];
    struct ruvm_buffer out = {0};
    struct ruvm_pack_part parts[] = {
        {.name = "know", .data = large, .size = sizeof large},
        {.name = "sett", .data = "{}", .size = 2},
        {.name = "own1", .data = "own", .size = 3},
    };
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)(i * 7);
    for (int i = 0; i < 3; i++)
        parts[i].align_log2 = ruvm_pack_align_of(parts[i].name, parts[i].size);
    ruvm_pack_sort(parts, 3);
    cr_assert_eq(ruvm_pack_write(&out, parts, 3), RUVM_OK);
    return out;
}

static void repair(struct ruvm_buffer *b)
{
    size_t table = 3 * RUVM_PACK_SEC_BYTES;
    uint32_t crc = ruvm_crc32(0, b->data, RUVM_PACK_CRC);
    ruvm_store_u32(b->data + RUVM_PACK_CRC, ruvm_crc32(crc, b->data + RUVM_PACK_TABLE, table));
}

Test(pack, is_read_as_it_was_written)
{
    struct ruvm_buffer b = make();
    struct ruvm_pack pack;
    struct ruvm_pack_section s;
    cr_assert_eq(ruvm_pack_open(&pack, b.data, b.size, NULL), RUVM_OK);
    cr_assert_eq(ruvm_pack_check(&pack, NULL), RUVM_OK);
    cr_assert_eq(pack.size, 4096 + 6000);
    cr_assert_eq(pack.n_sections, 3);
    cr_assert(ruvm_pack_find(&pack, "sett", &s) && s.off == 320 && s.size == 2);
    cr_assert(ruvm_pack_find(&pack, "own1", &s) && s.off == 336 && memcmp(s.data, "own", 3) == 0);
    cr_assert(ruvm_pack_find(&pack, "know", &s) && s.off == 4096 && s.align_log2 == 12);
    cr_assert_not(ruvm_pack_find(&pack, "MODL", &s));
    for (size_t i = 339; i < 4096; i++)
        cr_assert_eq(b.data[i], 0xFF);
    ruvm_buffer_free(&b);
}

Test(pack, may_be_followed_by_what_its_partition_holds)
{
    struct ruvm_buffer b = make();
    struct ruvm_pack pack;
    size_t size = b.size;
    ruvm_buffer_zeros(&b, 5000);
    cr_assert_eq(ruvm_pack_open(&pack, b.data, b.size, NULL), RUVM_OK);
    cr_assert_eq(pack.size, size);
    cr_assert_eq(ruvm_pack_check(&pack, NULL), RUVM_OK);
    ruvm_buffer_free(&b);
}

Test(pack, is_refused_when_any_byte_of_it_is_cut_off)
{
    struct ruvm_buffer b = make();
    struct ruvm_pack pack;
    for (size_t n = 0; n < b.size; n += n < 400 ? 1 : 97)
        cr_assert_neq(ruvm_pack_open(&pack, b.data, n, NULL), RUVM_OK, "%zu bytes", n);
    ruvm_buffer_free(&b);
}

/* Bytes that are put somewhere, with the checksum made right again, and what is then said. */
static const struct breach {
    size_t at;
    uint32_t value;
    int bytes, rc;
    const char *said;
} breaches[] = {
    {0, 'X', 1, RUVM_ERR_CORRUPT, "header at byte 0x0: not a pack"},
    {4, 2, 2, RUVM_ERR_UNSUPPORTED, "version is 2, expected at most 1"},
    {4, 0, 2, RUVM_ERR_CORRUPT, "version is 0, expected at least 1"},
    {8, 2, 4, RUVM_ERR_UNSUPPORTED, "flags is 2"},
    {12, 4096, 4, RUVM_ERR_CORRUPT, "section know at byte 0x"},
    {16, 1, 1, RUVM_ERR_CORRUPT, "header at byte 0x10: reserved byte is 1"},
    {40, 1, 1, RUVM_ERR_CORRUPT, "byte of a signature that is not there"},
    {128, '1', 1, RUVM_ERR_CORRUPT, "name is not four letters or digits"},
    {128, 'S', 1, RUVM_ERR_UNSUPPORTED, "does not know the section, but it is required"},
    {128 + 4, 324, 4, RUVM_ERR_CORRUPT, "offset is 324, expected a multiple of 16"},
    {128 + 4, 304, 4, RUVM_ERR_CORRUPT, "offset is 304, expected at least 320"},
    {128 + 8, 0, 4, RUVM_ERR_CORRUPT, "size is 0, expected at least 1"},
    {128 + 8, 0xFFFFFFFF, 4, RUVM_ERR_CORRUPT, "end is "},
    {128 + 16, 3, 1, RUVM_ERR_CORRUPT, "alignment (log2) is 3"},
    {128 + 16, 17, 1, RUVM_ERR_CORRUPT, "alignment (log2) is 17"},
    {128 + 17, 1, 1, RUVM_ERR_CORRUPT, "reserved byte is 1"},
    {192, 0x74746573, 4, RUVM_ERR_CORRUPT, "section is there twice"},
    {192, 0x4C444F4D, 4, RUVM_ERR_CORRUPT, "alignment (log2) of a model is 4"},
    {256 + 8, 5999, 4, RUVM_ERR_CORRUPT, "end of the last section"},
};

Test(pack, breaches_are_found_where_they_stand)
{
    for (size_t i = 0; i < sizeof breaches / sizeof *breaches; i++) {
        const struct breach *x = &breaches[i];
        struct ruvm_buffer b = make();
        struct ruvm_pack pack;
        struct ruvm_image_fault fault;
        struct ruvm_error err = {0};
        for (int k = 0; k < x->bytes; k++)
            b.data[x->at + (size_t)k] = (uint8_t)(x->value >> (8 * k));
        repair(&b);
        int rc = ruvm_pack_open(&pack, b.data, b.size, &fault);
        cr_assert_eq(rc, x->rc, "breach %zu: %d", i, rc);
        ruvm_diagnose_pack(&err, rc, "p", &fault);
        cr_assert(strstr(err.text, x->said), "breach %zu: %s", i, err.text);
        ruvm_buffer_free(&b);
    }
}

Test(pack, gaps_and_sections_are_checked_when_all_is_read)
{
    struct ruvm_buffer b = make();
    struct ruvm_pack pack;
    struct ruvm_image_fault fault;
    const size_t places[] = {320, 339, 4095, 4096, 10095};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        b.data[places[i]] ^= 1;
        cr_assert_eq(ruvm_pack_open(&pack, b.data, b.size, NULL), RUVM_OK);
        cr_assert_eq(ruvm_pack_check(&pack, &fault), RUVM_ERR_CORRUPT, "byte %zu", places[i]);
        b.data[places[i]] ^= 1;
    }
    ruvm_buffer_free(&b);
}

Test(pack, is_not_read_where_it_is_not_aligned)
{
    struct ruvm_buffer b = make();
    struct ruvm_pack pack;
    cr_assert_eq(ruvm_pack_open(&pack, b.data + 1, b.size - 1, NULL), RUVM_ERR_ARG);
    ruvm_buffer_free(&b);
}

Test(pack, signature_is_of_header_and_table)
{
    struct ruvm_buffer b = make();
    struct ruvm_pack pack;
    ruvm_pack_sign(b.data, seed);
    cr_assert_eq(ruvm_pack_open(&pack, b.data, b.size, NULL), RUVM_OK);
    cr_assert(pack.is_signed);
    cr_assert(ruvm_pack_signature_holds(b.data));
    for (size_t at = 0; at < 320; at++) {
        b.data[at] ^= 0x20;
        bool opens = ruvm_pack_open(&pack, b.data, b.size, NULL) == RUVM_OK;
        cr_assert(!opens || !ruvm_pack_signature_holds(b.data), "byte %zu", at);
        b.data[at] ^= 0x20;
    }
    ruvm_buffer_free(&b);
}

Test(pack, has_a_section_and_not_too_many)
{
    struct ruvm_buffer out = {0};
    struct ruvm_pack_part parts[RUVM_PACK_MAX_SECTIONS + 1];
    for (int i = 0; i <= RUVM_PACK_MAX_SECTIONS; i++)
        parts[i] =
            (struct ruvm_pack_part){.name = {'o', 'w', (char)('a' + i / 10), (char)('0' + i % 10)},
                                    .align_log2 = 4,
                                    .data = "x",
                                    .size = 1};
    cr_assert_eq(ruvm_pack_write(&out, parts, 0), RUVM_ERR_UNSUPPORTED);
    cr_assert_eq(ruvm_pack_write(&out, parts, RUVM_PACK_MAX_SECTIONS + 1), RUVM_ERR_UNSUPPORTED);
    cr_assert_eq(ruvm_pack_write(&out, parts, RUVM_PACK_MAX_SECTIONS), RUVM_OK);
    struct ruvm_pack pack;
    cr_assert_eq(ruvm_pack_open(&pack, out.data, out.size, NULL), RUVM_OK);
    ruvm_buffer_free(&out);
}
