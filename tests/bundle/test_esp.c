/* Images and partition tables of chips: round trips, and what must be refused. */
#include <criterion/criterion.h>
#include <string.h>

#include "formats/esp_image.h"
#include "formats/esp_partition.h"
#include "lib/base/error.h"

static const struct ruvm_esp_windows c3 = {0x3C000000, 0x3C800000, 0x42000000, 0x42800000};
static uint8_t content[200000];

static void fill(void)
{
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (uint8_t)(i * 31 + (i >> 8));
}

/* The bytes that the segments of an image put at an address, or -1. */
static int byte_at(const struct ruvm_esp_image *image, uint32_t address)
{
    for (unsigned i = 0; i < image->header.n_segments; i++) {
        const struct ruvm_esp_segment *s = &image->segments[i];
        if (s->address && address >= s->address && address - s->address < s->bytes)
            return s->data[address - s->address];
    }
    return -1;
}

/* For any sizes: every byte arrives at its address, and what is mapped stands where a page
 * wants it. */
Test(esp_image, mapped_segments_stand_where_their_page_wants_them)
{
    const uint32_t ram_bytes[] = {4, 100, 65500, 65535, 65536, 70001, 140000};
    fill();
    for (size_t k = 0; k < sizeof ram_bytes / sizeof *ram_bytes; k++)
        for (uint32_t skew = 0; skew < 64; skew += 8) {
            const struct ruvm_esp_segment segments[] = {
                {.address = 0x3C000020 + skew, .bytes = 3001, .data = content},
                {.address = 0x40380000, .bytes = ram_bytes[k], .data = content + 5},
                {.address = 0x42010000 + skew * 3, .bytes = 70000, .data = content + 9},
            };
            const struct ruvm_esp_header header = {.chip_id = 5, .entry = 0x40380000};
            struct ruvm_esp_image image;
            struct ruvm_buffer out = {0};
            cr_assert_eq(ruvm_esp_image_write(&out, &header, segments, 3, &c3), RUVM_OK);
            cr_assert_eq(ruvm_esp_image_read(&image, "x", out.data, out.size, NULL), RUVM_OK);
            cr_assert_eq(image.bytes, out.size);
            for (unsigned i = 0; i < image.header.n_segments; i++) {
                const struct ruvm_esp_segment *s = &image.segments[i];
                if (ruvm_esp_is_mapped(&c3, s->address))
                    cr_assert_eq((s->address - (uint32_t)s->off) % RUVM_ESP_PAGE_BYTES, 0);
            }
            for (int i = 0; i < 3; i++)
                for (uint32_t at = 0; at < segments[i].bytes; at += at < 99 ? 1 : 997)
                    cr_assert_eq(byte_at(&image, segments[i].address + at), segments[i].data[at]);
            ruvm_buffer_free(&out);
        }
}

Test(esp_image, each_damaged_byte_is_seen)
{
    const struct ruvm_esp_segment s = {.address = 0x40380000, .bytes = 100, .data = content};
    const struct ruvm_esp_header header = {.chip_id = 5};
    struct ruvm_esp_image image;
    struct ruvm_buffer out = {0};
    fill();
    cr_assert_eq(ruvm_esp_image_write(&out, &header, &s, 1, &c3), RUVM_OK);
    for (size_t at = 0; at < out.size; at++) {
        out.data[at] ^= 4;
        struct ruvm_error err = {0};
        cr_assert_neq(ruvm_esp_image_read(&image, "x", out.data, out.size, &err), RUVM_OK,
                      "byte %zu", at);
        cr_assert_eq(strncmp(err.text, "x: ", 3), 0);
        out.data[at] ^= 4;
    }
    for (size_t n = 0; n < out.size; n++)
        cr_assert_neq(ruvm_esp_image_read(&image, "x", out.data, n, NULL), RUVM_OK);
    ruvm_buffer_free(&out);
}

Test(esp_image, flash_in_the_header_changes_with_its_hash)
{
    const struct ruvm_esp_segment s = {.address = 0x40380000, .bytes = 100, .data = content};
    const struct ruvm_esp_header header = {.chip_id = 5};
    struct ruvm_esp_image image;
    struct ruvm_buffer out = {0};
    cr_assert_eq(ruvm_esp_image_write(&out, &header, &s, 1, &c3), RUVM_OK);
    cr_assert_eq(ruvm_esp_image_read(&image, "x", out.data, out.size, NULL), RUVM_OK);
    ruvm_esp_image_set_flash(out.data, &image, RUVM_ESP_QIO, 15, 4);
    cr_assert_eq(ruvm_esp_image_read(&image, "x", out.data, out.size, NULL), RUVM_OK);
    cr_assert_eq(image.header.mode, RUVM_ESP_QIO);
    cr_assert_eq(image.header.speed, 15);
    cr_assert_eq(image.header.size, 4);
    ruvm_buffer_free(&out);
}

static const char csv[] =
    "# a comment\n"
    "nvs, data, nvs, , 0x5000\r\n"
    "\n"
    "otadata,data,ota,,8K,\n"
    "ota_0,app,ota_0,,1M,encrypted:readonly\n"
    "ota_1,app,ota_1,,1M\n"
    "ruvm,data,0x40,,64K,readonly\n"
    "mine,0x41,0x07,0x3ff000,4K";

Test(esp_partition, text_and_bytes_say_the_same)
{
    struct ruvm_esp_table a, b;
    struct ruvm_buffer text = {0}, bytes = {0}, again = {0};
    const struct ruvm_esp_limits limits = {.table_off = 0x8000, .flash_bytes = 4 << 20};
    cr_assert_eq(ruvm_esp_table_parse(&a, "t", csv, strlen(csv), 0x9000, NULL), RUVM_OK);
    cr_assert_eq(a.n, 6);
    cr_assert_eq(a.p[0].off, 0x9000);
    cr_assert_eq(a.p[2].off, 0x10000);
    cr_assert_eq(a.p[4].off, 0x210000);
    cr_assert_eq(a.p[2].flags, 3);
    cr_assert_eq(ruvm_esp_table_check(&a, "t", &limits, NULL), RUVM_OK);
    ruvm_esp_table_write(&bytes, &a);
    cr_assert_eq(bytes.size, RUVM_ESP_TABLE_SECTOR);
    cr_assert_eq(ruvm_esp_table_read(&b, "t", bytes.data, bytes.size, NULL), RUVM_OK);
    cr_assert_arr_eq(a.p, b.p, a.n * sizeof *a.p);
    ruvm_esp_table_print(&text, &b);
    cr_assert_eq(ruvm_esp_table_parse(&b, "t", text.data, text.size, 0, NULL), RUVM_OK);
    ruvm_esp_table_write(&again, &b);
    cr_assert_arr_eq(bytes.data, again.data, bytes.size);
    ruvm_buffer_free(&text);
    ruvm_buffer_free(&bytes);
    ruvm_buffer_free(&again);
}

Test(esp_partition, each_damaged_byte_of_an_entry_is_seen)
{
    struct ruvm_esp_table t;
    struct ruvm_buffer bytes = {0};
    cr_assert_eq(ruvm_esp_table_parse(&t, "t", csv, strlen(csv), 0x9000, NULL), RUVM_OK);
    ruvm_esp_table_write(&bytes, &t);
    for (size_t at = 0; at < 6 * 32 + 32; at++) {
        if (at >= 6 * 32 + 2 && at < 6 * 32 + 16)
            continue; /* what stands beside the MD5 has no meaning */
        bytes.data[at] ^= 8;
        cr_assert_neq(ruvm_esp_table_read(&t, "t", bytes.data, bytes.size, NULL), RUVM_OK,
                      "byte %zu", at);
        bytes.data[at] ^= 8;
    }
    ruvm_buffer_free(&bytes);
}

Test(esp_partition, holds_as_many_as_the_vendor_allows)
{
    struct ruvm_esp_table t, again;
    struct ruvm_buffer text = {0}, bytes = {0};
    struct ruvm_error err = {0};
    for (int i = 0; i < 94; i++)
        ruvm_buffer_printf(&text, "p%d,data,0x40,,4K\n", i);
    cr_assert_eq(ruvm_esp_table_parse(&t, "t", text.data, text.size, 0x9000, NULL), RUVM_OK);
    ruvm_esp_table_write(&bytes, &t);
    cr_assert_eq(ruvm_esp_table_read(&again, "t", bytes.data, bytes.size, NULL), RUVM_OK);
    cr_assert_eq(again.n, 94);
    ruvm_buffer_printf(&text, "one,data,0x40,,4K\n");
    cr_assert_neq(ruvm_esp_table_parse(&t, "t", text.data, text.size, 0x9000, &err), RUVM_OK);
    cr_assert(strstr(err.text, "t: line 95: a table has at most 94"), "%s", err.text);
    ruvm_buffer_free(&text);
    ruvm_buffer_free(&bytes);
}
