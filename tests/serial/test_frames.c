/* SLIP frames, and the requests and replies in them. */
#include <criterion/criterion.h>
#include <string.h>

#include "formats/esp_rom.h"
#include "formats/slip.h"
#include "lib/base/random.h"

static size_t take(struct ruvm_slip *s, const uint8_t *bytes, size_t n, unsigned *frames)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        if (ruvm_slip_take(s, bytes[i])) {
            ++*frames;
            size = s->size;
        }
    return size;
}

Test(slip, carries_any_bytes)
{
    uint64_t seed = 1;
    for (unsigned round = 0; round < 200; round++) {
        uint8_t in[100], out[100];
        struct ruvm_slip s = {.frame = out, .cap = sizeof out};
        struct ruvm_buffer b = {0};
        unsigned frames = 0;
        size_t n = 1 + ruvm_random_next(&seed) % sizeof in;
        for (size_t i = 0; i < n; i++)
            in[i] = (uint8_t)(0xC0 + ruvm_random_next(&seed) % 32); /* many that are escaped */
        ruvm_slip_put(&b, in, n);
        cr_assert_eq(take(&s, b.data, b.size, &frames), n);
        cr_assert_eq(frames, 1);
        cr_assert_arr_eq(in, out, n);
        cr_assert_eq(memchr(b.data + 1, RUVM_SLIP_END, b.size - 2), NULL);
        ruvm_buffer_free(&b);
    }
}

Test(slip, finds_the_next_frame_after_anything)
{
    static const uint8_t good[] = {RUVM_SLIP_END, 1, 2, 3, RUVM_SLIP_END};
    static const uint8_t cases[][6] = {
        {1, 2, 3},                                /* text of nobody */
        {RUVM_SLIP_END, 9, 9},                    /* a frame without its end */
        {RUVM_SLIP_END, RUVM_SLIP_ESC, 7, 1},     /* a wrong escape */
        {RUVM_SLIP_END, RUVM_SLIP_ESC},           /* an escape of an end */
        {RUVM_SLIP_END, RUVM_SLIP_END, 0, 0},     /* an empty one */
        {RUVM_SLIP_ESC, RUVM_SLIP_ESC_END, 1, 1}, /* an escape of nobody */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t frame[8];
        unsigned frames = 0;
        struct ruvm_slip s = {.frame = frame, .cap = sizeof frame};
        take(&s, cases[i], sizeof *cases, &frames);
        cr_assert_eq(take(&s, good, sizeof good, &frames), 3, "case %zu", i);
        cr_assert_eq(memcmp(frame, good + 1, 3), 0);
    }
}

Test(slip, drops_what_is_too_long)
{
    uint8_t frame[4], bytes[20];
    unsigned frames = 0;
    struct ruvm_slip s = {.frame = frame, .cap = sizeof frame};
    memset(bytes, 7, sizeof bytes);
    bytes[0] = bytes[6] = bytes[12] = bytes[18] = RUVM_SLIP_END;
    take(&s, bytes, sizeof bytes, &frames);
    cr_assert_eq(frames, 0);
    bytes[5] = RUVM_SLIP_END;
    s = (struct ruvm_slip){.frame = frame, .cap = sizeof frame};
    take(&s, bytes, 6, &frames);
    cr_assert_eq(frames, 1);
}

Test(esp_rom, a_request_is_as_the_loader_wants_it)
{
    static const uint8_t wanted[] = {0xC0, 0,    0x0A, 4, 0,    0x78, 0x56, 0x34,
                                     0x12, 0xDB, 0xDC, 1, 0xDB, 0xDD, 2,    0xC0};
    static const uint8_t data[] = {0xC0, 1, 0xDB, 2};
    struct ruvm_buffer b = {0};
    ruvm_esp_rom_request(&b, RUVM_ESP_ROM_READ_REG, 0x12345678, data, sizeof data);
    cr_assert_eq(b.size, sizeof wanted);
    cr_assert_arr_eq(b.data, wanted, sizeof wanted);
    ruvm_buffer_free(&b);
    cr_assert_eq(ruvm_esp_rom_checksum(data, sizeof data), 0xEF ^ 0xC0 ^ 1 ^ 0xDB ^ 2);
    cr_assert_eq(ruvm_esp_rom_checksum(NULL, 0), 0xEF);
}

Test(esp_rom, a_reply_is_read_or_refused)
{
    const uint8_t ok[] = {1, 0x13, 6, 0, 4, 3, 2, 1, 'a', 'b', 0, 5, 9, 9};
    struct ruvm_esp_rom_reply r;
    cr_assert(ruvm_esp_rom_read(&r, ok, sizeof ok));
    cr_assert_eq(r.command, RUVM_ESP_ROM_MD5);
    cr_assert_eq(r.value, 0x01020304);
    cr_assert_eq(r.bytes, 2);
    cr_assert_eq(r.data, ok + 8);
    cr_assert_not(r.failed); /* a reason without a failure means nothing */
    uint8_t bad[sizeof ok];
    memcpy(bad, ok, sizeof ok);
    bad[10] = 1;
    cr_assert(ruvm_esp_rom_read(&r, bad, sizeof bad));
    cr_assert(r.failed);
    cr_assert_str_eq(ruvm_esp_rom_reason(r.reason), "invalid message");
    cr_assert_str_eq(ruvm_esp_rom_reason(4), "an unknown reason");
    cr_assert_str_eq(ruvm_esp_rom_reason(12), "an unknown reason");
    for (size_t n = 0; n < sizeof ok; n++)
        cr_assert_not(ruvm_esp_rom_read(&r, ok, n), "%zu bytes", n);
    bad[0] = 0;
    cr_assert_not(ruvm_esp_rom_read(&r, bad, sizeof bad));
}
