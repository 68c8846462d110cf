/* ESP32: the registers and addresses that the firmware touches, and no others. */
#ifndef RUVM_DEVICE_ESP32_SOC_H
#define RUVM_DEVICE_ESP32_SOC_H

#define SOC_UART_FIFO 0x3FF40000
#define SOC_UART_STATUS 0x3FF4001C /* bytes received 0-7, waiting to be sent 16-23 */
#define SOC_RTC_OPTIONS 0x3FF48000 /* bit 31: reset of the whole chip */
#define SOC_RTC_WDT_CONFIG 0x3FF4808C
#define SOC_RTC_WDT_PROTECT 0x3FF480A4
#define SOC_TIMG0_WDT_CONFIG 0x3FF5F048
#define SOC_TIMG0_WDT_PROTECT 0x3FF5F064
#define SOC_CACHE_CTRL 0x3FF00040  /* bit 3: on; 4: forget all; 5: done */
#define SOC_CACHE_CTRL1 0x3FF00044 /* bits 0-4: which parts of the address space are not cached */
#define SOC_MMU_TABLE 0x3FF10000
#define SOC_WDT_KEY 0x50D83AA1

/* Entries of the table: data from the first on, code from another. */
#define SOC_DATA 0x3F400000
#define SOC_DATA_ENTRIES 64
#define SOC_CODE 0x400D0000
#define SOC_CODE_ENTRY 77
#define SOC_MMU_INVALID 0x100 /* numbers of pages of flash have 8 bits */
/* Entries of data below belong to the application, from here on to ruvm_port_map(). */
#define SOC_FIRST_MAPPED 16

/* Memory of applications; data and code have memories of their own. */
#define SOC_RAM_DATA 0x3FFB0000
#define SOC_RAM_DATA_LOADABLE 0x2C200
#define SOC_RAM_CODE 0x40080000
#define SOC_RAM_CODE_BYTES 0x20000

#endif
