/* Any bytes as what `flash` reads: an image for a chip, an ELF file, a partition table in
 * binary and as CSV. What is read must be consistent, and what is written of it readable. */
#include <stdlib.h>
#include <string.h>

#include "formats/elf32.h"
#include "formats/esp_image.h"
#include "formats/esp_partition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

/* Touches every byte. */
static void touch(const uint8_t *data, size_t n)
{
    static volatile uint8_t sum;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + data[i]);
}

static void read_image(const uint8_t *data, size_t size)
{
    struct ruvm_esp_image image;
    if (ruvm_esp_image_read(&image, "image", data, size, NULL) != RUVM_OK)
        return;
    check(image.bytes <= size);
    for (unsigned i = 0; i < image.header.n_segments; i++)
        touch(image.segments[i].data, image.segments[i].bytes);
}

static void read_elf(const uint8_t *data, size_t size)
{
    struct ruvm_elf32 elf;
    if (ruvm_elf32_read(&elf, "elf", data, size, NULL) != RUVM_OK)
        return;
    check(elf.n_segments > 0);
    for (unsigned i = 0; i < elf.n_segments; i++) {
        check(i == 0 || elf.segments[i].address >= elf.segments[i - 1].address);
        touch(elf.segments[i].data, elf.segments[i].bytes);
    }
}

/* What was understood is written and read again, in both forms, unless a label could not be
 * a field of text. */
static void write_again(const struct ruvm_esp_table *t)
{
    struct ruvm_esp_table again;
    struct ruvm_buffer out = {0};
    const struct ruvm_esp_limits limits = {.table_off = 0x8000, .flash_bytes = 4 << 20};
    if (ruvm_esp_table_check(t, "table", &limits, NULL) != RUVM_OK)
        return;
    ruvm_esp_table_write(&out, t);
    check(ruvm_esp_table_read(&again, "again", out.data, out.size, NULL) == RUVM_OK);
    check(again.n == t->n);
    ruvm_buffer_free(&out);
    ruvm_esp_table_print(&out, t);
    check(ruvm_buffer_ok(&out));
    ruvm_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ruvm_esp_table *t = malloc(sizeof *t);
    check(t != NULL);
    read_image(data, size);
    read_elf(data, size);
    if (ruvm_esp_table_read(t, "table", data, size, NULL) == RUVM_OK)
        write_again(t);
    if (ruvm_esp_table_parse(t, "csv", data, size, 0x9000, NULL) == RUVM_OK)
        write_again(t);
    free(t);
    return 0;
}
