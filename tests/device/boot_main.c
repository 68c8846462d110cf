/* An update of the firmware that is cut off anywhere: does the loader still start something?
 *
 *     boot OLD.bin NEW.bin
 *
 * Both are flash images with two slots, as tests/device/make_flash.py --ota lays them out. The
 * application of NEW is written to the slot that is not in use, sector by sector, and then the
 * record that chooses it, as an updater does. Before each step and in the middle of it the
 * power goes: lib/device/boot.c, compiled for this machine over a port of its own, must then
 * start a slot that holds one of the two applications whole, the old one until the record is
 * written and the new one from then on; and the update, begun anew, must succeed. That goes on
 * from slot to slot for some updates. At last the slot in use is written over, as one would over
 * a cable: then the other one must be started. Prints how many cuts were survived. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/device/port.h"
#include "lib/device/trap.h"

enum {
    FLASH = 4 << 20,
    SECTOR = RUVM_PORT_SECTOR,
    SLOTS_AT = 0x10000,
    SLOT = 0x30000,
    N_SLOTS = 2,
    SELECT_AT = 0x9000,
    SELECT_STATE = 24,
    SELECT_CRC = 28,
    SELECT_BYTES = 32,
    N_UPDATES = 4,
    MAX_STEPS = 2 * (SLOT / SECTOR + 1),
    NONE = -1,
};
enum { RAM = 0x3FC80000, RAM_CODE = 0x40380000, RAM_BYTES = 0x60000, LOADABLE = 0x4E710 };
enum { SHOWN_DATA = 0x3C000000, SHOWN_CODE = 0x42000000, SHOWN_BYTES = 16 * RUVM_PORT_PAGE };

/* What flash does at once: becomes 0xFF, or takes the zeros of some bytes. */
struct step {
    uint32_t off;
    const uint8_t *data; /* NULL: erase */
    uint32_t bytes;
};

static uint8_t *flash;
static jmp_buf ended;
static int started; /* slot, or NONE */
static char said[4096];
static size_t n_said;

/* ---- the port of this machine ----------------------------------------------------- */

const struct ruvm_port ruvm_port = {.chip = "esp32c3", .window_bytes = UINT32_MAX, .chip_id = 5};

void ruvm_port_init(void)
{
}

void ruvm_port_put(uint8_t byte)
{
    if (n_said + 1 < sizeof said)
        said[n_said++] = (char)byte;
}

int ruvm_port_get(void)
{
    return -1; /* nobody asks */
}

const uint8_t *ruvm_port_map(uint32_t off, uint32_t bytes)
{
    return off <= FLASH && bytes <= FLASH - off ? flash + off : NULL;
}

static bool is_within(uint32_t address, uint32_t bytes, uint32_t begin, uint32_t size)
{
    return address >= begin && address - begin <= size && bytes <= size - (address - begin);
}

bool ruvm_port_is_memory(uint32_t address, uint32_t bytes)
{
    return is_within(address, bytes, RAM, LOADABLE) ||
           is_within(address, bytes, RAM_CODE, LOADABLE);
}

bool ruvm_port_is_flash(uint32_t address, uint32_t bytes)
{
    return is_within(address, bytes, SHOWN_DATA, SHOWN_BYTES) ||
           is_within(address, bytes, SHOWN_CODE, SHOWN_BYTES);
}

void ruvm_port_show(uint32_t address, uint32_t off, uint32_t bytes)
{
    (void)address, (void)bytes;
    started = (int)((off - SLOTS_AT) / SLOT);
}

_Noreturn void ruvm_port_jump(uint32_t entry)
{
    (void)entry;
    longjmp(ended, 1);
}

_Noreturn void ruvm_port_exit(uint32_t status)
{
    (void)status;
    started = NONE;
    longjmp(ended, 1);
}

/* ---- power on ---------------------------------------------------------------------- */

static int boot(void)
{
    started = NONE;
    n_said = 0;
    if (!setjmp(ended))
        ruvm_device_main();
    said[n_said] = 0;
    return started;
}

static void do_step(const struct step *s, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        flash[s->off + i] = s->data ? flash[s->off + i] & s->data[i] : 0xFF;
}

/* ---- an update ------------------------------------------------------------------------ */

struct update {
    struct step steps[MAX_STEPS];
    uint32_t n;
    uint8_t record[SELECT_BYTES];
    int from, to;             /* slots */
    const uint8_t *old, *new; /* [SLOT] */
};

static void add(struct update *u, uint32_t off, const uint8_t *data, uint32_t bytes)
{
    u->steps[u->n++] = (struct step){off, NULL, SECTOR};
    u->steps[u->n++] = (struct step){off, data, bytes};
}

/* Everything up to the last byte that is not as erased flash is. */
static uint32_t length(const uint8_t *image)
{
    uint32_t n = SLOT;
    while (n > 0 && image[n - 1] == 0xFF)
        n--;
    return n;
}

static void plan(struct update *u, uint32_t sequence)
{
    uint32_t n = length(u->new), to = SLOTS_AT + (uint32_t)u->to * SLOT;
    u->n = 0;
    for (uint32_t i = 0; i < n; i += SECTOR)
        add(u, to + i, u->new + i, SECTOR);
    memset(u->record, 0xFF, sizeof u->record);
    ruvm_store_u32(u->record, sequence);
    ruvm_store_u32(u->record + SELECT_CRC, ruvm_crc32(UINT32_MAX, u->record, 4));
    add(u, SELECT_AT + sequence % 2 * SECTOR, u->record, sizeof u->record);
}

static bool holds(int slot, const uint8_t *image)
{
    return slot != NONE && memcmp(flash + SLOTS_AT + slot * SLOT, image, length(image)) == 0;
}

_Noreturn static void fail(const char *what, uint32_t step, const char *where)
{
    printf("%s after the power went %s step %u; slot %d was started: %s\n", what, where, step,
           started, said);
    exit(1);
}

/* The power goes with so many bytes of step k done, where all before are. */
static void cut(const struct update *u, uint32_t k, uint32_t bytes, const char *where)
{
    static uint8_t before[FLASH];
    memcpy(before, flash, FLASH);
    for (uint32_t i = 0; i < k; i++)
        do_step(&u->steps[i], u->steps[i].bytes);
    if (k < u->n)
        do_step(&u->steps[k], bytes);
    boot();
    bool done = k == u->n;
    if (!holds(started, done ? u->new : u->old) || started != (done ? u->to : u->from))
        fail("not the right application", k, where);
    for (uint32_t i = 0; i < u->n; i++)
        do_step(&u->steps[i], u->steps[i].bytes);
    if (boot() != u->to || !holds(u->to, u->new))
        fail("the update cannot be repeated", k, where);
    memcpy(flash, before, FLASH);
}

/* A record of which only the number stands, not its checksum, is one that was cut. */
static uint32_t update(struct update *u, uint32_t sequence)
{
    uint32_t n = 0;
    plan(u, sequence);
    for (uint32_t k = 0; k <= u->n; k++, n++)
        cut(u, k, 0, "before");
    for (uint32_t k = 0; k < u->n; k++, n++)
        cut(u, k, k + 1 < u->n ? SECTOR / 2 : SELECT_CRC, "within");
    for (uint32_t i = 0; i < u->n; i++)
        do_step(&u->steps[i], u->steps[i].bytes);
    return n;
}

/* The new application over the old one in the slot in use; the other slot holds the old one. */
static uint32_t overwrite(struct update *u)
{
    static uint8_t before[FLASH];
    uint32_t n = 0, bytes = length(u->new);
    u->n = 0;
    for (uint32_t i = 0; i < bytes; i += SECTOR)
        add(u, SLOTS_AT + (uint32_t)u->from * SLOT + i, u->new + i, SECTOR);
    memcpy(flash + SLOTS_AT + u->to * SLOT, u->old, SLOT);
    memcpy(before, flash, FLASH);
    for (uint32_t k = 0; k < u->n; k++, n++) {
        memcpy(flash, before, FLASH);
        for (uint32_t i = 0; i < k; i++)
            do_step(&u->steps[i], u->steps[i].bytes);
        do_step(&u->steps[k], SECTOR / 2);
        boot();
        if (!holds(started, u->old) && !holds(started, u->new))
            fail("no whole application", k, "within");
    }
    return n;
}

/* ---- the whole ------------------------------------------------------------------------- */

static uint8_t *read_image(const char *path)
{
    uint8_t *data = malloc(FLASH);
    FILE *f = fopen(path, "rb");
    if (!f || !data || fread(data, 1, FLASH, f) != FLASH) {
        fprintf(stderr, "boot: %s: no flash image of 4 MB\n", path);
        exit(2);
    }
    fclose(f);
    return data;
}

static void make_memory(uint32_t address)
{
    void *at = (void *)(uintptr_t)address;
    if (mmap(at, RAM_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != at) {
        fprintf(stderr, "boot: memory at %08x cannot be had here\n", address);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: boot OLD.bin NEW.bin\n");
        return 2;
    }
    make_memory(RAM);
    make_memory(RAM_CODE);
    flash = read_image(argv[1]);
    const uint8_t *first = read_image(argv[1]) + SLOTS_AT, *second = read_image(argv[2]) + SLOTS_AT;
    static struct update u;
    uint32_t n = 0;
    for (uint32_t i = 0; i < N_UPDATES; i++) {
        u.from = (int)(i % N_SLOTS);
        u.to = (int)((i + 1) % N_SLOTS);
        u.old = i % 2 ? second : first;
        u.new = i % 2 ? first : second;
        n += update(&u, i + 2);
    }
    u.from = N_UPDATES % N_SLOTS;
    u.to = (N_UPDATES + 1) % N_SLOTS;
    u.old = first;
    u.new = second;
    n += overwrite(&u);
    printf("%u cuts survived in %d updates\n", n, N_UPDATES);
    return 0;
}
