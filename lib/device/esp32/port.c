/* ESP32: two Xtensa LX6 processors, of which one is used; 520 KB of RAM.
 *
 * The code is of the call0 kind, which Debian's compiler for the smaller LX106 makes: no
 * function of the ROM can be called from it, and none is. What works on the mapping lies
 * in RAM, because while it does nothing can be read from flash. */
#include "lib/device/port.h"

#include "kernels/kernels.h"
#include "lib/device/esp32/soc.h"
#include "lib/device/window.h"

#define IN_RAM __attribute__((section(".ram_text"), noinline))

enum { FIFO_BYTES = 120 }; /* of 128 */

#define WINDOW ((SOC_DATA_ENTRIES - SOC_FIRST_MAPPED) * RUVM_PORT_PAGE)
const struct ruvm_port ruvm_port = {.chip = "esp32", .window_bytes = WINDOW, .chip_id = 0};

static inline volatile uint32_t *reg(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

void ruvm_port_init(void)
{
    *reg(SOC_RTC_WDT_PROTECT) = SOC_WDT_KEY;
    *reg(SOC_RTC_WDT_CONFIG) = 0;
    *reg(SOC_RTC_WDT_PROTECT) = 0;
    *reg(SOC_TIMG0_WDT_PROTECT) = SOC_WDT_KEY;
    *reg(SOC_TIMG0_WDT_CONFIG) = 0;
    *reg(SOC_TIMG0_WDT_PROTECT) = 0;
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
    uint32_t n;
    __asm__ volatile("rsr.ccount %0" : "=r"(n));
    return n;
}

/* Entries from `entry` on show n pages of flash. */
static IN_RAM void set_entries(uint32_t entry, uint32_t page, uint32_t n)
{
    *reg(SOC_CACHE_CTRL) &= ~(1u << 3);
    *reg(SOC_CACHE_CTRL) &= ~(1u << 4);
    *reg(SOC_CACHE_CTRL) |= 1u << 4;
    while (!(*reg(SOC_CACHE_CTRL) & 1u << 5))
        continue;
    *reg(SOC_CACHE_CTRL) &= ~(1u << 4);
    for (uint32_t i = 0; i < n; i++)
        *reg(SOC_MMU_TABLE + 4 * (entry + i)) = page + i;
    *reg(SOC_CACHE_CTRL1) &= ~0x1fu;
    *reg(SOC_CACHE_CTRL) |= 1u << 3;
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
    register uint32_t call __asm__("a2") = 1;
    register uint32_t argument __asm__("a3") = status;
    for (;;)
        __asm__ volatile("simcall" : "+r"(call) : "r"(argument) : "memory");
}
#endif

#ifdef RUVM_DEVICE_BOOT

bool ruvm_port_is_memory(uint32_t address, uint32_t bytes)
{
    return ruvm_window_holds(SOC_RAM_DATA, SOC_RAM_DATA_LOADABLE, address, bytes) ||
           ruvm_window_holds(SOC_RAM_CODE, SOC_RAM_CODE_BYTES, address, bytes);
}

bool ruvm_port_is_flash(uint32_t address, uint32_t bytes)
{
    const uint32_t size = SOC_FIRST_MAPPED * RUVM_PORT_PAGE;
    return ruvm_window_holds(SOC_DATA, size, address, bytes) ||
           ruvm_window_holds(SOC_CODE, size, address, bytes);
}

void ruvm_port_show(uint32_t address, uint32_t off, uint32_t bytes)
{
    uint32_t entry = address >= SOC_CODE ? SOC_CODE_ENTRY + (address - SOC_CODE) / RUVM_PORT_PAGE
                                         : (address - SOC_DATA) / RUVM_PORT_PAGE;
    set_entries(entry, off / RUVM_PORT_PAGE, ruvm_window_pages(off, bytes));
}

_Noreturn void ruvm_port_jump(uint32_t entry)
{
    __asm__ volatile("isync\n jx %0" : : "r"(entry));
    __builtin_unreachable();
}

#else

const struct ruvm_kernels *ruvm_port_kernels(void)
{
    return &ruvm_kernels_scalar;
}

#endif
