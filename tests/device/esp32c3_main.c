/* An emulated ESP32-C3, or with -DESP32C6 an ESP32-C6, on libunicorn: a flash image in, its
 * console out.
 *
 *     esp32c3 FLASH.bin [--profile SYMBOLS] [--limit N] < commands
 *
 * The mask ROM is modelled: it takes the image at flash offset 0, checks it and copies its
 * segments to RAM; or, on the C3, maps a program for direct boot. From there on every instruction
 * is the firmware's own, on the memories and registers that it touches; a touch of any other
 * address ends the run with a message. Standard input is what the UART receives. The run ends when
 * the firmware asks for it by semihosting (with its status), or waits for input after the last byte
 * (status 0).
 *
 * SYMBOLS is what nm prints: then instructions are counted by function, and the products of
 * the kernels from their arguments. --limit is of millions of instructions.
 *
 * Not modelled: time (a cycle is an instruction), the cache's contents, interrupts. The
 * linker scripts hold what this cannot show. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unicorn/unicorn.h>

enum {
    PAGE = 0x10000,
    FLASH_CODE = 0x42000000,
    DEVICES = 0x60000000,
    DEVICES_BYTES = 0x100000,
    UART_FIFO = 0x60000000,
    UART_STATUS = 0x6000001C,
    SHUT = 3,         /* bits that keep code and data from the cache */
    EXIT_FAULT = 120, /* our own, apart from the firmware's */
};

#ifdef ESP32C6
#define NAME "esp32c6"
enum {
    CHIP_ID = 13,
    N_PAGES = 256,
    INVALID = 0,
    VALID = 0x200, /* of an entry of the table of pages */
    RAM = 0x40800000,
    RAM_CODE = RAM, /* one memory, one window */
    FLASH_DATA = FLASH_CODE,
    RAM_BYTES = 0x80000,
    RESTART = 0x600B1034,
    CACHE_SHUT = 0x600C8004, /* and off, as there is no other switch */
    CACHE_SYNC = 0x600C8098,
    CACHE_SYNC_MAP = 0x600C809C,
    CACHE_SYNC_ADDR = 0x600C80A0,
    CACHE_SYNC_SIZE = 0x600C80A4,
    SYNC_MOST = 4 << 20,
    SYNC_DONE = 1 << 4,
    MMU_CONTENT = 0x6000237C,
    MMU_INDEX = 0x60002380,
    MMU_POWER = 0x60002384,
};
static const uint32_t watchdogs[] = {0x60008048, 0x60008064, 0x600B1C00,
                                     0x600B1C18, 0x600B1C1C, 0x600B1C20};
#else
#define NAME "esp32c3"
enum {
    CHIP_ID = 5,
    N_PAGES = 128,
    INVALID = 0x100,
    VALID = 0,
    RAM = 0x3FC80000,
    RAM_CODE = 0x40380000,
    FLASH_DATA = 0x3C000000,
    RAM_BYTES = 0x60000,
    RESTART = 0x60008000,
    CACHE_CTRL = 0x600C4000,
    CACHE_SHUT = 0x600C4004,
    CACHE_SYNC = 0x600C4028,
    SYNC_DONE = 1 << 1,
    MMU = 0x600C5000,
};
static const uint32_t watchdogs[] = {0x60008090, 0x600080A8, 0x600080AC,
                                     0x600080B0, 0x6001F048, 0x6001F064};
#endif

struct block { /* instructions of a piece of code, counted when first seen */
    uint32_t pc, n;
    int function;
};

struct function {
    uint32_t address;
    char name[64];
    uint64_t n, products, calls;
};

static struct {
    uc_engine *uc;
    uint8_t *flash;
    uint32_t flash_bytes;
    uint8_t *window; /* [N_PAGES * PAGE], on both buses */
    uint8_t ram[RAM_BYTES];
    uint32_t entry[N_PAGES], cache_ctrl, cache_shut, mmu_index, sync_addr, sync_size;
    bool stale[N_PAGES]; /* pages that the cache may hold as they were before */

    uint64_t n, limit;
    bool ended, restarted;
    int status;
    int next; /* byte of input, or -1 */
    uint32_t idle;
    struct block blocks[1 << 16];
    struct function *functions;
    int n_functions;
} chip;

static void stop(int status)
{
    chip.ended = true;
    chip.status = status;
    uc_emu_stop(chip.uc);
}

static void fault(const char *what, uint32_t address)
{
    uint32_t pc = 0;
    uc_reg_read(chip.uc, UC_RISCV_REG_PC, &pc);
    fflush(stdout);
    fprintf(stderr, NAME ": %s %08x at pc %08x\n", what, address, pc);
    stop(EXIT_FAULT);
}

/* ---- devices ----------------------------------------------------------------- */

static bool is_valid(uint32_t entry)
{
    return (entry & (VALID | INVALID)) == VALID;
}

static void show_page(uint32_t i, uint32_t value)
{
    uint8_t *page = chip.window + (size_t)i * PAGE;
    chip.entry[i] = value;
    if (is_valid(value) && ((value & 0xff) + 1ull) * PAGE <= chip.flash_bytes)
        memcpy(page, chip.flash + (size_t)(value & 0xff) * PAGE, PAGE);
    else
        memset(page, 0xA5, PAGE); /* neither flash nor what was there before */
    uc_ctl_remove_cache(chip.uc, FLASH_CODE + (uint64_t)i * PAGE, FLASH_CODE + (i + 1ull) * PAGE);
}

static bool has_input(void)
{
    if (chip.next < 0)
        chip.next = getchar();
    return chip.next >= 0;
}

static uint64_t device_read(uc_engine *uc, uint64_t offset, unsigned size, void *user)
{
    (void)uc, (void)user;
    uint32_t address = DEVICES + (uint32_t)offset;
    if (size != 4)
        fault("a register is read by bytes:", address);
    switch (address) {
    case UART_STATUS:
        if (has_input())
            return 1;
        if (++chip.idle > 1000)
            stop(0);
        return 0;
    case UART_FIFO: {
        int byte = chip.next;
        chip.next = -1;
        return (uint64_t)(uint8_t)byte;
    }
    case CACHE_SHUT: return chip.cache_shut;
    case CACHE_SYNC: return SYNC_DONE;
#ifndef ESP32C6
    case CACHE_CTRL: return chip.cache_ctrl;
#endif
    default: return 0;
    }
}

static bool is_on(void)
{
#ifdef ESP32C6
    return (chip.cache_shut & SHUT) != SHUT;
#else
    return chip.cache_ctrl & 1;
#endif
}

/* Who can read flash now; data by its own bus where there is one. */
static void open_and_shut(void)
{
    for (uint32_t i = 0; i < N_PAGES && is_on(); i++)
        if (chip.stale[i])
            fault("the cache may hold what was before in page", i);
#ifndef ESP32C6
    bool data = is_on() && !(chip.cache_shut & 2);
    uc_mem_protect(chip.uc, FLASH_DATA, (uint64_t)N_PAGES * PAGE,
                   data ? UC_PROT_READ : UC_PROT_NONE);
#endif
}

static void write_entry(uint32_t i, uint32_t value)
{
    if (is_on())
        fault("the mapping changes while the cache is on: entry", i);
    if (i >= N_PAGES) {
        fault("there is no entry", i);
        return;
    }
    show_page(i, value);
    chip.stale[i] = true;
}

static void forget(uint32_t address, uint32_t bytes)
{
    for (uint32_t i = 0; i < N_PAGES; i++)
        if (FLASH_CODE + i * PAGE >= address && FLASH_CODE + (i + 1) * PAGE <= address + bytes)
            chip.stale[i] = false;
}

/* What the chip has of its own; false: it has no such register. */
static bool write_own(uint32_t address, uint32_t v)
{
#ifdef ESP32C6
    switch (address) {
    case MMU_INDEX: chip.mmu_index = v; return true;
    case MMU_CONTENT: write_entry(chip.mmu_index, v); return true;
    case MMU_POWER:
        if (v & 3 << 3)
            fault("pages are no longer of 64 KB:", v);
        return true;
    case CACHE_SYNC_MAP: return true;
    case CACHE_SYNC_ADDR: chip.sync_addr = v; return true;
    case CACHE_SYNC_SIZE: chip.sync_size = v; return true;
    case CACHE_SYNC:
        if (v != 1 || chip.sync_size == 0 || chip.sync_size > SYNC_MOST ||
            chip.sync_addr < FLASH_CODE || chip.sync_addr % PAGE)
            fault("the cache cannot forget", chip.sync_addr);
        forget(chip.sync_addr, chip.sync_size);
        return true;
    }
#else
    if (address >= MMU && address < MMU + 4 * N_PAGES) {
        write_entry((address - MMU) / 4, v);
        return true;
    }
    if (address == CACHE_SYNC) {
        forget(FLASH_CODE, N_PAGES * PAGE);
        return true;
    }
    if (address == CACHE_CTRL) {
        chip.cache_ctrl = v;
        open_and_shut();
        return true;
    }
#endif
    for (size_t i = 0; i < sizeof watchdogs / sizeof *watchdogs; i++)
        if (watchdogs[i] == address)
            return true;
    return false;
}

static void device_write(uc_engine *uc, uint64_t offset, unsigned size, uint64_t value, void *user)
{
    (void)uc, (void)user;
    uint32_t address = DEVICES + (uint32_t)offset, v = (uint32_t)value;
    if (size != 4)
        fault("a register is written by bytes:", address);
    if (address == UART_FIFO)
        putchar((int)(v & 0xff));
    else if (address == CACHE_SHUT) {
        chip.cache_shut = v & SHUT;
        open_and_shut();
    } else if (address == RESTART && v >> 31) {
        chip.restarted = true;
        uc_emu_stop(chip.uc);
    } else if (address != RESTART && !write_own(address, v))
        fault("nothing is known of register", address);
}

/* ---- the processor ------------------------------------------------------------ */

static uint32_t reg(int r)
{
    uint32_t v = 0;
    uc_reg_read(chip.uc, UC_RISCV_REG_X0 + r, &v);
    return v;
}

static uint32_t load(uint32_t address)
{
    uint32_t v = 0;
    uc_mem_read(chip.uc, address, &v, 4);
    return v;
}

/* The three instructions that ask a debugger for something, at the processor's pc or around
 * it; what is asked for is the end. */
static bool asks_for_the_end(void)
{
    uint32_t pc = 0;
    uc_reg_read(chip.uc, UC_RISCV_REG_PC, &pc);
    for (uint32_t at = pc - 8; at <= pc; at += 4)
        if (load(at) == 0x01f01013 && load(at + 4) == 0x00100073 && load(at + 8) == 0x40705013)
            return reg(10) == 0x20;
    return false;
}

/* The counter in CSRs 0x7E0 to 0x7E2 that the chip has of its own. */
static void on_exception(uc_engine *uc, uint32_t cause, void *user)
{
    (void)user;
    uint32_t pc = 0, value = (uint32_t)chip.n;
    uc_reg_read(uc, UC_RISCV_REG_PC, &pc);
    uint32_t opcode = load(pc - 4), csr = opcode >> 20;
    if (cause == 2 && (opcode & 0x7f) == 0x73 && csr >= 0x7E0 && csr <= 0x7E2) {
        if (opcode >> 7 & 31)
            uc_reg_write(uc, UC_RISCV_REG_X0 + (int)(opcode >> 7 & 31), &value);
        return;
    }
    fault("exception", cause);
}

static bool on_bad_memory(uc_engine *uc, uc_mem_type type, uint64_t address, int size,
                          int64_t value, void *user)
{
    (void)uc, (void)type, (void)size, (void)value, (void)user;
    fault(type == UC_MEM_WRITE_PROT ? "flash is written at" : "there is no memory at",
          (uint32_t)address);
    return false;
}

static uint32_t count_instructions(const uint8_t *code, uint32_t bytes)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < bytes; n++)
        i += (code[i] & 3) == 3 ? 4 : 2;
    return n;
}

static int function_at(uint32_t pc)
{
    int low = -1, high = chip.n_functions;
    while (high - low > 1) {
        int mid = (low + high) / 2;
        if (chip.functions[mid].address <= pc)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* Products of a call of a kernel that multiplies a matrix, from struct ruvm_matmul or, when
 * it has packed weights, struct ruvm_matmul_codes as this processor lays them out. */
static void count_products(struct function *f)
{
    uint32_t m = reg(10);
    f->calls++;
    if (strstr(f->name, "matmul_s8"))
        f->products += (uint64_t)load(m + 12) * load(m + 16) * load(m + 24);
    else if (strstr(f->name, "codes_") || strstr(f->name, "matmul_int4"))
        f->products += (uint64_t)load(m + 16) * load(m + 24) * load(m + 40);
    else if (!strcmp(f->name, "scores") || !strcmp(f->name, "mix"))
        f->products += (uint64_t)reg(13) * reg(14);
}

static void on_block(uc_engine *uc, uint64_t address, uint32_t bytes, void *user)
{
    (void)user;
    uint32_t pc = (uint32_t)address;
    struct block *b = &chip.blocks[pc >> 1 & 0xffff];
    if (b->pc != pc || bytes == 0) {
        uint8_t code[4096];
        bytes = bytes < sizeof code ? bytes : (uint32_t)sizeof code;
        uc_mem_read(uc, pc, code, bytes);
        *b = (struct block){pc, count_instructions(code, bytes), function_at(pc)};
    }
    chip.n += b->n;
    if (b->function >= 0) {
        struct function *f = &chip.functions[b->function];
        f->n += b->n;
        if (f->address == pc)
            count_products(f);
    }
    bool from_flash = pc >= FLASH_CODE && pc < FLASH_CODE + N_PAGES * PAGE;
    if (from_flash &&
        (!is_on() || chip.cache_shut & 1 || !is_valid(chip.entry[(pc - FLASH_CODE) / PAGE])))
        fault("code runs from flash that is not mapped:", pc);
    if (chip.n > chip.limit)
        fault("too many instructions; the last was at", pc);
}

/* ---- power on ------------------------------------------------------------------ */

/* As the ROM does it: what it would refuse is refused. Returns the entry point, or 0. */
static uint32_t load_first_image(void)
{
    const uint8_t *h = chip.flash;
    uint8_t sum = 0xEF;
    uint32_t at = 24;
    if (h[0] != 0xE9 || h[1] == 0 || h[1] > 16 || (h[12] | h[13] << 8) != CHIP_ID) {
        fprintf(stderr, NAME ": invalid header at flash offset 0\n");
        return 0;
    }
    for (int i = 0; i < h[1]; i++) {
        uint32_t address, bytes;
        memcpy(&address, h + at, 4);
        memcpy(&bytes, h + at + 4, 4);
        uint32_t to = address - (address >= RAM_CODE ? RAM_CODE : RAM);
        if (bytes % 4 || to >= RAM_BYTES || bytes > RAM_BYTES - to || at + 8 + bytes > 0x8000) {
            fprintf(stderr, NAME ": invalid segment at %08x\n", address);
            return 0;
        }
        memcpy(chip.ram + to, h + at + 8, bytes);
        for (uint32_t j = 0; j < bytes; j++)
            sum ^= h[at + 8 + j];
        at += 8 + bytes;
    }
    if (h[at / 16 * 16 + 15] != sum) {
        fprintf(stderr, NAME ": checksum failure\n");
        return 0;
    }
    uint32_t entry;
    memcpy(&entry, h + 4, 4);
    return entry;
}

#ifndef ESP32C6
/* What begins so is not loaded: it is mapped from the beginning on and runs where it lies. */
static bool map_for_direct_boot(void)
{
    static const uint32_t magic[2] = {0xAEDB041D, 0xAEDB041D};
    if (memcmp(chip.flash, magic, sizeof magic) != 0)
        return false;
    for (uint32_t i = 0; i < N_PAGES; i++)
        show_page(i, i);
    chip.cache_shut = 2;
    chip.cache_ctrl = 1;
    return true;
}
#endif

static uint32_t boot(void)
{
#ifndef ESP32C6
    if (map_for_direct_boot())
        return FLASH_CODE + 8;
#endif
    return load_first_image();
}

static void must(uc_err err, const char *what)
{
    if (err == UC_ERR_OK)
        return;
    fprintf(stderr, NAME ": %s: %s\n", what, uc_strerror(err));
    exit(EXIT_FAULT);
}

static void build_chip(void)
{
    uc_hook hook;
    chip.window = aligned_alloc(PAGE, (size_t)N_PAGES * PAGE);
    must(uc_open(UC_ARCH_RISCV, UC_MODE_RISCV32, &chip.uc), "open");
    uc_engine *uc = chip.uc;
#ifndef ESP32C6
    must(uc_mem_map_ptr(uc, RAM, RAM_BYTES, UC_PROT_READ | UC_PROT_WRITE, chip.ram), "RAM");
#endif
    must(uc_mem_map_ptr(uc, RAM_CODE, RAM_BYTES, UC_PROT_ALL, chip.ram), "RAM");
    size_t window = (size_t)N_PAGES * PAGE;
#ifndef ESP32C6
    must(uc_mem_map_ptr(uc, FLASH_DATA, window, UC_PROT_READ, chip.window), "flash");
#endif
    must(uc_mem_map_ptr(uc, FLASH_CODE, window, UC_PROT_READ | UC_PROT_EXEC, chip.window), "flash");
    must(uc_mmio_map(uc, DEVICES, DEVICES_BYTES, device_read, NULL, device_write, NULL), "devices");
    must(uc_hook_add(uc, &hook, UC_HOOK_INTR, (void *)on_exception, NULL, 1, 0), "hook");
    must(uc_hook_add(uc, &hook, UC_HOOK_BLOCK, (void *)on_block, NULL, 1, 0), "hook");
    must(uc_hook_add(uc, &hook, UC_HOOK_MEM_INVALID, (void *)on_bad_memory, NULL, 1, 0), "hook");
}

/* Every restart is a power-on, but for the input. */
static void run(void)
{
    do {
        chip.restarted = false;
        chip.cache_ctrl = 0;
        chip.cache_shut = SHUT;
        memset(chip.stale, 0, sizeof chip.stale);
        for (uint32_t i = 0; i < N_PAGES; i++)
            show_page(i, INVALID);
        uint32_t entry = boot();
        open_and_shut();
        if (!entry) {
            chip.status = EXIT_FAULT;
            return;
        }
        uc_ctl_remove_cache(chip.uc, RAM_CODE, RAM_CODE + RAM_BYTES);
        uc_err err = uc_emu_start(chip.uc, entry, 0, 0, 0);
        if (chip.ended || err == UC_ERR_OK)
            continue;
        if (asks_for_the_end())
            stop((int)(load(reg(11) + 4) & 0xff));
        else
            fault(uc_strerror(err), 0);
    } while (chip.restarted && !chip.ended);
}

static int by_count(const void *a, const void *b)
{
    uint64_t x = ((const struct function *)a)->n, y = ((const struct function *)b)->n;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void show_profile(void)
{
    qsort(chip.functions, (size_t)chip.n_functions, sizeof *chip.functions, by_count);
    for (int i = 0; i < chip.n_functions && chip.functions[i].n > chip.n / 1000; i++) {
        const struct function *f = &chip.functions[i];
        fprintf(stderr, "profile %12llu %-28s", (unsigned long long)f->n, f->name);
        if (f->products)
            fprintf(stderr, " products %llu each %.3f", (unsigned long long)f->products,
                    (double)f->n / (double)f->products);
        fprintf(stderr, "\n");
    }
    fprintf(stderr, "profile %12llu all\n", (unsigned long long)chip.n);
}

/* Lines of `nm -n`: address, kind, name. */
static void read_symbols(const char *path)
{
    FILE *f = fopen(path, "r");
    unsigned address;
    char kind, name[64];
    if (!f) {
        fprintf(stderr, NAME ": %s: cannot be read\n", path);
        exit(EXIT_FAULT);
    }
    chip.functions = calloc(4096, sizeof *chip.functions);
    while (chip.n_functions < 4096 && fscanf(f, "%x %c %63s", &address, &kind, name) == 3) {
        if (kind != 't' && kind != 'T' && kind != 'W')
            continue;
        struct function *to = &chip.functions[chip.n_functions++];
        to->address = address;
        strcpy(to->name, name);
    }
    fclose(f);
}

static void read_flash(const char *path)
{
    FILE *f = fopen(path, "rb");
    chip.flash = malloc(16 << 20);
    if (f)
        chip.flash_bytes = (uint32_t)fread(chip.flash, 1, 16 << 20, f);
    if (!f || chip.flash_bytes < 0x10000) {
        fprintf(stderr, NAME ": %s: no flash image of 64 KB to 16 MB\n", path);
        exit(EXIT_FAULT);
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    chip.limit = UINT64_MAX;
    chip.next = -1;
    if (argc < 2) {
        fprintf(stderr, "usage: esp32c3 FLASH.bin [--profile SYMBOLS] [--limit MILLIONS]\n");
        return EXIT_FAULT;
    }
    read_flash(argv[1]);
    for (int i = 2; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--profile"))
            read_symbols(argv[i + 1]);
        else
            chip.limit = strtoull(argv[i + 1], NULL, 10) * 1000000;
    }
    build_chip();
    run();
    fflush(stdout);
    if (chip.functions)
        show_profile();
    return chip.status;
}
