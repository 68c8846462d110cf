/* ESP32-C3: one RV32IMC processor without floats, 400 KB of RAM.
 *
 * Flash is mapped by the chip's own registers, no function of the ROM is called: so all
 * memory is ours, that of the ROM too. What works on the mapping lies in RAM, because
 * while it does nothing can be read from flash. */
#include "lib/device/port.h"

#include "kernels/variants.h"
#include "lib/device/esp32c3/soc.h"
#include "lib/device/riscv.h"
#include "lib/device/window.h"

#define IN_RAM __attribute__((section(".ram_text"), noinline))

enum { FIFO_BYTES = 120 }; /* of 128 */

#define WINDOW ((SOC_MMU_ENTRIES - SOC_FIRST_MAPPED) * RUVM_PORT_PAGE)
const struct ruvm_port ruvm_port = {.chip = "esp32c3", .window_bytes = WINDOW, .chip_id = 5};

static inline volatile uint32_t *reg(uint32_t address)
{
    return ruvm_riscv_reg(address);
}

void ruvm_port_init(void)
{
    ruvm_riscv_write_locked(SOC_RTC_WDT_PROTECT, SOC_WDT_KEY, SOC_RTC_WDT_CONFIG, 0);
    ruvm_riscv_write_locked(SOC_TIMG0_WDT_PROTECT, SOC_WDT_KEY, SOC_TIMG0_WDT_CONFIG, 0);
    ruvm_riscv_write_locked(SOC_SWD_PROTECT, SOC_SWD_KEY, SOC_SWD_CONFIG,
                            *reg(SOC_SWD_CONFIG) | 1u << 31);
    ruvm_riscv_count();
}

void ruvm_port_put(uint8_t byte)
{
    while ((*reg(SOC_UART_STATUS) >> 16 & 0x3ff) >= FIFO_BYTES)
        continue;
    *reg(SOC_UART_FIFO) = byte;
}

int ruvm_port_get(void)
{
    return *reg(SOC_UART_STATUS) & 0x3ff ? (int)(*reg(SOC_UART_FIFO) & 0xff) : -1;
}

uint32_t ruvm_port_cycles(void)
{
    return ruvm_riscv_cycles();
}

/* Entries from `entry` on show n pages of flash. */
static IN_RAM void set_entries(uint32_t entry, uint32_t page, uint32_t n)
{
    *reg(SOC_CACHE_CTRL) &= ~1u;
    for (uint32_t i = 0; i < n; i++)
        *reg(SOC_MMU_TABLE + 4 * (entry + i)) = page + i;
    *reg(SOC_CACHE_CTRL1) &= ~3u;
    *reg(SOC_CACHE_SYNC) |= 1u;
    while (!(*reg(SOC_CACHE_SYNC) & 2u))
        continue;
    *reg(SOC_CACHE_CTRL) |= 1u;
}

const uint8_t *ruvm_port_map(uint32_t off, uint32_t bytes)
{
    const uint32_t reach = SOC_MMU_INVALID * RUVM_PORT_PAGE;
    if (!ruvm_window_fits(off, bytes, WINDOW, reach))
        return NULL;
    set_entries(SOC_FIRST_MAPPED, off / RUVM_PORT_PAGE, ruvm_window_pages(off, bytes));
    return (const uint8_t *)(SOC_DATA + SOC_FIRST_MAPPED * RUVM_PORT_PAGE + off % RUVM_PORT_PAGE);
}

_Noreturn void ruvm_port_restart(void)
{
    *reg(SOC_RTC_OPTIONS) = 1u << 31;
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
    return ruvm_window_holds(SOC_RAM_DATA, SOC_LOADABLE_BYTES, address, bytes) ||
           ruvm_window_holds(SOC_RAM_CODE, SOC_LOADABLE_BYTES, address, bytes);
}

bool ruvm_port_is_flash(uint32_t address, uint32_t bytes)
{
    const uint32_t size = SOC_FIRST_MAPPED * RUVM_PORT_PAGE;
    return ruvm_window_holds(SOC_DATA, size, address, bytes) ||
           ruvm_window_holds(SOC_CODE, size, address, bytes);
}

void ruvm_port_show(uint32_t address, uint32_t off, uint32_t bytes)
{
    uint32_t entry = (address & 0xffffff) / RUVM_PORT_PAGE;
    set_entries(entry, off / RUVM_PORT_PAGE, ruvm_window_pages(off, bytes));
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
