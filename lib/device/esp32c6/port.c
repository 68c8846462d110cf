/* ESP32-C6: one fast RV32IMAC processor without floats, 512 KB of RAM.
 *
 * As on the ESP32-C3 flash is mapped by the chip's own registers and no function of the ROM
 * is called; but code and data share one window, the table of pages is behind two registers,
 * and the cache is told address and size of what it should forget. */
#include "lib/device/port.h"

#include "kernels/variants.h"
#include "lib/device/esp32c6/soc.h"
#include "lib/device/riscv.h"
#include "lib/device/window.h"

#define IN_RAM __attribute__((section(".ram_text"), noinline))

enum { FIFO_BYTES = 120 }; /* of 128 */

#define WINDOW ((SOC_MMU_ENTRIES - SOC_FIRST_MAPPED) * RUVM_PORT_PAGE)
const struct ruvm_port ruvm_port = {.chip = "esp32c6", .window_bytes = WINDOW, .chip_id = 13};

static inline volatile uint32_t *reg(uint32_t address)
{
    return ruvm_riscv_reg(address);
}

void ruvm_port_init(void)
{
    ruvm_riscv_write_locked(SOC_LP_WDT_PROTECT, SOC_WDT_KEY, SOC_LP_WDT_CONFIG, 0);
    ruvm_riscv_write_locked(SOC_TIMG0_WDT_PROTECT, SOC_WDT_KEY, SOC_TIMG0_WDT_CONFIG, 0);
    ruvm_riscv_write_locked(SOC_SWD_PROTECT, SOC_WDT_KEY, SOC_SWD_CONFIG,
                            *reg(SOC_SWD_CONFIG) | 1u << 18);
    ruvm_riscv_count();
#ifdef RUVM_DEVICE_BOOT
    *reg(SOC_MMU_POWER) &= ~SOC_MMU_PAGE_SIZE_MASK;
#endif
}

void ruvm_port_put(uint8_t byte)
{
    while ((*reg(SOC_UART_STATUS) >> 16 & 0xff) >= FIFO_BYTES)
        continue;
    *reg(SOC_UART_FIFO) = byte;
}

int ruvm_port_get(void)
{
    return *reg(SOC_UART_STATUS) & 0xff ? (int)(*reg(SOC_UART_FIFO) & 0xff) : -1;
}

uint32_t ruvm_port_cycles(void)
{
    return ruvm_riscv_cycles();
}

/* What the cache has of n pages from `entry` on; it takes few at once. */
static IN_RAM void forget(uint32_t entry, uint32_t n)
{
    *reg(SOC_CACHE_SYNC_MAP) = SOC_CACHE_SYNC_ALL;
    while (n) {
        uint32_t now = n < SOC_CACHE_SYNC_PAGES ? n : SOC_CACHE_SYNC_PAGES;
        *reg(SOC_CACHE_SYNC_ADDR) = SOC_FLASH + entry * RUVM_PORT_PAGE;
        *reg(SOC_CACHE_SYNC_SIZE) = now * RUVM_PORT_PAGE;
        *reg(SOC_CACHE_SYNC) = 1;
        while (!(*reg(SOC_CACHE_SYNC) & 1u << 4))
            continue;
        entry += now;
        n -= now;
    }
}

/* Entries from `entry` on show n pages of flash. */
static IN_RAM void set_entries(uint32_t entry, uint32_t page, uint32_t n)
{
    *reg(SOC_CACHE_CTRL) |= 3u;
    for (uint32_t i = 0; i < n; i++) {
        *reg(SOC_MMU_INDEX) = entry + i;
        *reg(SOC_MMU_CONTENT) = (page + i) | SOC_MMU_VALID;
    }
    forget(entry, n);
    *reg(SOC_CACHE_CTRL) &= ~3u;
}

const uint8_t *ruvm_port_map(uint32_t off, uint32_t bytes)
{
    const uint32_t reach = SOC_FLASH_PAGES * RUVM_PORT_PAGE;
    if (!ruvm_window_fits(off, bytes, WINDOW, reach))
        return NULL;
    set_entries(SOC_FIRST_MAPPED, off / RUVM_PORT_PAGE, ruvm_window_pages(off, bytes));
    return (const uint8_t *)(SOC_FLASH + SOC_FIRST_MAPPED * RUVM_PORT_PAGE + off % RUVM_PORT_PAGE);
}

_Noreturn void ruvm_port_restart(void)
{
    *reg(SOC_LP_SYS_CONFIG) |= 1u << 31;
    for (;;)
        continue;
}

#ifdef RUVM_DEVICE_EXIT
_Noreturn void ruvm_port_exit(uint32_t status)
{
    ruvm_riscv_exit(status);
}
#endif

#ifdef RUVM_DEVICE_BOOT

bool ruvm_port_is_memory(uint32_t address, uint32_t bytes)
{
    return ruvm_window_holds(SOC_RAM, SOC_LOADABLE_BYTES, address, bytes);
}

bool ruvm_port_is_flash(uint32_t address, uint32_t bytes)
{
    return ruvm_window_holds(SOC_FLASH, SOC_FIRST_MAPPED * RUVM_PORT_PAGE, address, bytes);
}

void ruvm_port_show(uint32_t address, uint32_t off, uint32_t bytes)
{
    set_entries((address - SOC_FLASH) / RUVM_PORT_PAGE, off / RUVM_PORT_PAGE,
                ruvm_window_pages(off, bytes));
}

_Noreturn void ruvm_port_jump(uint32_t entry)
{
    ruvm_riscv_jump(entry);
}

#else

const struct ruvm_kernels *ruvm_port_kernels(void)
{
    return &ruvm_kernels_rv32;
}

#endif
