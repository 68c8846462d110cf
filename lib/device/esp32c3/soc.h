/* ESP32-C3: the registers and addresses that the firmware touches, and no others. */
#ifndef RUVM_DEVICE_ESP32C3_SOC_H
#define RUVM_DEVICE_ESP32C3_SOC_H

#define SOC_UART_FIFO 0x60000000
#define SOC_UART_STATUS 0x6000001C /* bytes received 0-9, waiting to be sent 16-25 */
#define SOC_RTC_OPTIONS 0x60008000 /* bit 31: reset of the whole chip */
#define SOC_RTC_WDT_CONFIG 0x60008090
#define SOC_RTC_WDT_PROTECT 0x600080A8
#define SOC_SWD_CONFIG 0x600080AC /* bit 31: feeds itself */
#define SOC_SWD_PROTECT 0x600080B0
#define SOC_TIMG0_WDT_CONFIG 0x6001F048
#define SOC_TIMG0_WDT_PROTECT 0x6001F064
#define SOC_CACHE_CTRL 0x600C4000  /* bit 0: on */
#define SOC_CACHE_CTRL1 0x600C4004 /* bits 0 and 1: not for code, not for data */
#define SOC_CACHE_SYNC 0x600C4028  /* bit 0: forget all; bit 1: done */
#define SOC_MMU_TABLE 0x600C5000
#define SOC_WDT_KEY 0x50D83AA1
#define SOC_SWD_KEY 0x8F1D312A

/* One table for both buses: entry i is a page at SOC_CODE + i pages and SOC_DATA + i pages. */
#define SOC_CODE 0x42000000
#define SOC_DATA 0x3C000000
#define SOC_MMU_ENTRIES 128
#define SOC_MMU_INVALID 0x100 /* numbers of pages of flash have 8 bits */
/* Entries below belong to the application, from here on to ruvm_port_map(). */
#define SOC_FIRST_MAPPED 16

/* One memory on two buses; its first 16 KB on the code bus are the cache. */
#define SOC_RAM_DATA 0x3FC80000
#define SOC_RAM_CODE 0x40380000
/* What loads an application lies above these, in the official loader as in ours. */
#define SOC_LOADABLE_BYTES 0x4E710

#endif
