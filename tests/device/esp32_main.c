/* An emulated ESP32: a flash image in, its console out.
 *
 *     esp32 FLASH.bin [--limit N] < commands
 *
 * The mask ROM is modelled: it takes the image at flash offset 0x1000, checks it and copies its
 * segments to RAM. From there on every instruction is the firmware's own, on the memories and
 * registers that it touches; a touch of any other address ends the run with a message. So do
 * accesses that the chip's memories forbid: less than a word of the memory of code, what is not
 * aligned, flash while the cache is off or where no page of it is shown.
 * Standard input is what the UART receives. The run ends when the firmware asks for it (with its
 * status), or waits for input after the last byte (status 0). --limit is of millions of
 * instructions. On standard error, last: how many there were.
 *
 * Not modelled: time (a cycle is an instruction), the cache's contents, windows of registers,
 * interrupts, the second processor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/device/xtensa.h"

enum {
    PAGE = 1 << XTENSA_PAGE_BITS,
    IMAGE_AT = 0x1000,
    TABLE_AT = 0x8000,
    MMU = 0x3FF10000,
    N_ENTRIES = 128,
    DATA_ENTRIES = 64,
    FIRST_CODE_ENTRY = 77,
    CACHE_ON = 1 << 3,
    CACHE_FLUSH = 1 << 4,
    CACHE_FLUSHED = 1 << 5,
    MASKS_CODE = 1 << 0, /* of CACHE_CTRL1: what is not cached cannot be seen */
    MASKS_DATA = 1 << 4,
    MASKS_AT_RESET = 0x1f,
    CACHE_CTRL = 0x3FF00040,
    CACHE_CTRL1 = 0x3FF00044,
    UART_FIFO = 0x3FF40000,
    UART_STATUS = 0x3FF4001C,
    RTC_OPTIONS = 0x3FF48000,
    FLASH_DATA = 0x3F400000,
    FLASH_CODE = 0x400D0000,
    INVALID = 0x100,
    MAX_SEGMENTS = 16,
    EXIT_FAULT = 120, /* our own, apart from the firmware's */
    PS_OF_ROM = 0x40020,
};

static struct {
    struct xtensa x;
    uint8_t *flash;
    uint32_t flash_bytes;
    uint8_t ram[8 * PAGE];
    uint32_t entry[N_ENTRIES], cache_ctrl, cache_ctrl1;
    bool ended, restarted;
    int status;
    int next; /* byte of input, or -1 */
    uint32_t idle;
} chip;

static void stop(int status)
{
    chip.ended = true;
    chip.status = status;
    chip.x.stopped = true;
}

static void fault(struct xtensa *x, const char *what, uint32_t address)
{
    fflush(stdout);
    fprintf(stderr, "esp32: %s %08x at pc %08x\n", what, address, x->pc);
    stop(EXIT_FAULT);
}

/* The firmware's way out: a2 is 1, a3 the status. */
static void simcall(struct xtensa *x)
{
    if (x->a[2] == 1)
        stop((int)(x->a[3] & 0xff));
    else
        fault(x, "an unknown simcall:", x->a[2]);
}

/* ---- flash ------------------------------------------------------------------------- */

static void show(uint32_t i)
{
    bool is_data = i < DATA_ENTRIES;
    uint32_t address = is_data ? FLASH_DATA + i * PAGE : FLASH_CODE + (i - FIRST_CODE_ENTRY) * PAGE;
    uint32_t number = address >> XTENSA_PAGE_BITS, page = chip.entry[i];
    bool visible = chip.cache_ctrl & CACHE_ON && !(page & INVALID) &&
                   !(chip.cache_ctrl1 & (is_data ? MASKS_DATA : MASKS_CODE)) &&
                   (page + 1) * PAGE <= chip.flash_bytes;
    chip.x.page[number] = visible ? chip.flash + (size_t)page * PAGE : NULL;
    chip.x.kind[number] = !visible  ? XTENSA_UNMAPPED
                          : is_data ? XTENSA_DATA_FLASH
                                    : XTENSA_CODE_FLASH;
}

static void show_all(void)
{
    for (uint32_t i = 0; i < N_ENTRIES; i++)
        if (i < DATA_ENTRIES || i >= FIRST_CODE_ENTRY)
            show(i);
}

static void set_entry(uint32_t i, uint32_t value)
{
    if (chip.cache_ctrl & CACHE_ON)
        fault(&chip.x, "the mapping changes while the cache is on:", MMU + 4 * i);
    else if (i >= DATA_ENTRIES && i < FIRST_CODE_ENTRY)
        fault(&chip.x, "an entry of no use is set:", MMU + 4 * i);
    else
        chip.entry[i] = value;
}

/* ---- devices -------------------------------------------------------------------------- */

static bool has_input(void)
{
    if (chip.next < 0)
        chip.next = getchar();
    return chip.next >= 0;
}

static bool read_register(uint32_t address, uint32_t *v)
{
    switch (address) {
    case UART_STATUS:
        *v = has_input();
        if (*v == 0 && ++chip.idle > 1000)
            stop(0);
        return true;
    case UART_FIFO:
        *v = (uint8_t)chip.next;
        chip.next = -1;
        return true;
    case CACHE_CTRL: *v = chip.cache_ctrl; return true;
    case CACHE_CTRL1: *v = chip.cache_ctrl1; return true;
    default: return false;
    }
}

static bool write_register(uint32_t address, uint32_t v)
{
    switch (address) {
    case UART_FIFO: putchar((int)(v & 0xff)); return true;
    case CACHE_CTRL:
        chip.cache_ctrl = v & CACHE_FLUSH ? v | CACHE_FLUSHED : v & ~(uint32_t)CACHE_FLUSHED;
        show_all();
        return true;
    case CACHE_CTRL1:
        chip.cache_ctrl1 = v;
        show_all();
        return true;
    case RTC_OPTIONS: chip.restarted = chip.x.stopped = v >> 31; return true;
    case 0x3FF4808C: /* watchdogs, and what locks them */
    case 0x3FF480A4:
    case 0x3FF5F048:
    case 0x3FF5F064: return true;
    default: return false;
    }
}

static bool device(struct xtensa *x, uint32_t address, uint32_t *value, bool is_write)
{
    (void)x;
    if (address >= MMU && address < MMU + 4 * N_ENTRIES) {
        if (is_write)
            set_entry((address - MMU) / 4, *value);
        else
            *value = chip.entry[(address - MMU) / 4];
        return true;
    }
    return is_write ? write_register(address, *value) : read_register(address, value);
}

/* ---- power on --------------------------------------------------------------------------- */

/* As the ROM does it: what it would refuse is refused. Returns the entry point, or 0. */
static uint32_t load_first_image(void)
{
    const uint8_t *h = chip.flash + IMAGE_AT;
    uint32_t at = 24, entry;
    uint8_t sum = 0xEF;
    if (h[0] != 0xE9 || h[1] == 0 || h[1] > MAX_SEGMENTS || (h[12] | h[13] << 8) != 0) {
        fprintf(stderr, "esp32: invalid header at flash offset 0x1000\n");
        return 0;
    }
    for (int i = 0; i < h[1]; i++) {
        uint32_t address, bytes;
        memcpy(&address, h + at, 4);
        memcpy(&bytes, h + at + 4, 4);
        if (address % 4 || bytes % 4 || IMAGE_AT + at + 8 + bytes > TABLE_AT) {
            fprintf(stderr, "esp32: invalid segment at %08x\n", address);
            return 0;
        }
        for (uint32_t j = 0; j < bytes; j++) {
            uint8_t *page = chip.x.page[(address + j) >> XTENSA_PAGE_BITS];
            if (!page || page < chip.ram || page >= chip.ram + sizeof chip.ram) {
                fprintf(stderr, "esp32: a segment goes to %08x\n", address + j);
                return 0;
            }
            page[(address + j) & (PAGE - 1)] = h[at + 8 + j];
            sum ^= h[at + 8 + j];
        }
        at += 8 + bytes;
    }
    if (h[at / 16 * 16 + 15] != sum) {
        fprintf(stderr, "esp32: checksum failure\n");
        return 0;
    }
    memcpy(&entry, h + 4, 4);
    return entry;
}

static void map_ram(uint32_t address, uint32_t first, uint32_t n, uint8_t kind)
{
    for (uint32_t i = 0; i < n; i++) {
        chip.x.page[(address >> XTENSA_PAGE_BITS) + i] = chip.ram + (size_t)(first + i) * PAGE;
        chip.x.kind[(address >> XTENSA_PAGE_BITS) + i] = kind;
    }
}

static void power_on(void)
{
    chip.restarted = chip.x.stopped = false;
    chip.cache_ctrl = 0;
    chip.cache_ctrl1 = MASKS_AT_RESET;
    for (uint32_t i = 0; i < N_ENTRIES; i++)
        chip.entry[i] = INVALID;
    show_all();
    map_ram(0x3FFB0000, 0, 5, XTENSA_DATA);
    map_ram(0x40070000, 5, 3, XTENSA_CODE); /* its first half is a cache */
    chip.x.special[XTENSA_PS] = PS_OF_ROM;
    chip.x.special[XTENSA_WINDOWBASE] = 3;
    chip.x.special[XTENSA_WINDOWSTART] = 1 << 3 | 1;
}

/* Every restart is a power-on, but for the input. */
static void run(uint64_t limit)
{
    do {
        power_on();
        chip.x.pc = load_first_image();
        if (chip.x.pc == 0) {
            chip.status = EXIT_FAULT;
            return;
        }
        xtensa_run(&chip.x, limit);
    } while (chip.restarted && !chip.ended);
}

static void read_flash(const char *path)
{
    FILE *f = fopen(path, "rb");
    chip.flash = malloc(16 << 20);
    if (f && chip.flash)
        chip.flash_bytes = (uint32_t)fread(chip.flash, 1, 16 << 20, f);
    if (!f || chip.flash_bytes < PAGE) {
        fprintf(stderr, "esp32: %s: no flash image of 64 KB to 16 MB\n", path);
        exit(EXIT_FAULT);
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    uint64_t limit = UINT64_MAX;
    if (argc < 2) {
        fprintf(stderr, "usage: esp32 FLASH.bin [--limit MILLIONS]\n");
        return EXIT_FAULT;
    }
    if (argc > 3 && !strcmp(argv[2], "--limit"))
        limit = strtoull(argv[3], NULL, 10) * 1000000;
    chip.next = -1;
    chip.x.device = device;
    chip.x.simcall = simcall;
    chip.x.fault = fault;
    read_flash(argv[1]);
    run(limit);
    fflush(stdout);
    fprintf(stderr, "esp32: %llu instructions\n", (unsigned long long)chip.x.n);
    return chip.status;
}
