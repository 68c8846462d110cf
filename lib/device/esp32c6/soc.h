/* ESP32-C6: the registers and addresses that the firmware touches, and no others. */
#ifndef RUVM_DEVICE_ESP32C6_SOC_H
#define RUVM_DEVICE_ESP32C6_SOC_H

#define SOC_UART_FIFO 0x60000000
#define SOC_UART_STATUS 0x6000001C /* bytes received 0-7, waiting to be sent 16-23 */
#define SOC_TIMG0_WDT_CONFIG 0x60008048
#define SOC_TIMG0_WDT_PROTECT 0x60008064
#define SOC_LP_SYS_CONFIG 0x600B1034 /* bit 31: reset of the system of the fast processor */
#define SOC_LP_WDT_CONFIG 0x600B1C00
#define SOC_LP_WDT_PROTECT 0x600B1C18
#define SOC_SWD_CONFIG 0x600B1C1C /* bit 18: feeds itself */
#define SOC_SWD_PROTECT 0x600B1C20
#define SOC_WDT_KEY 0x50D83AA1 /* of all three */

#define SOC_CACHE_CTRL 0x600C8004      /* bits 0 and 1: not for code, not for data */
#define SOC_CACHE_SYNC 0x600C8098      /* bit 0: forget a range; bit 4: done */
#define SOC_CACHE_SYNC_MAP 0x600C809C  /* which caches: */
#define SOC_CACHE_SYNC_ALL 0x3F        /* all that there are, one */
#define SOC_CACHE_SYNC_ADDR 0x600C80A0 /* the range */
#define SOC_CACHE_SYNC_SIZE 0x600C80A4
#define SOC_CACHE_SYNC_PAGES 64 /* at most at once: 4 MB */

/* The table of pages is behind two registers: a number, and the entry of that number. */
#define SOC_MMU_CONTENT 0x6000237C
#define SOC_MMU_INDEX 0x60002380
#define SOC_MMU_POWER 0x60002384         /* bits 3 and 4: size of a page, */
#define SOC_MMU_PAGE_SIZE_MASK (3u << 3) /* 0 is 64 KB */
#define SOC_MMU_VALID 0x200              /* of an entry; its page of flash has 8 bits */
#define SOC_FLASH_PAGES 256

/* One window for code and data: entry i is a page at SOC_FLASH + i pages. */
#define SOC_FLASH 0x42000000
#define SOC_MMU_ENTRIES 256
/* Entries below belong to the application, from here on to ruvm_port_map(). */
#define SOC_FIRST_MAPPED 16

/* One memory for code and data; the cache has its own. */
#define SOC_RAM 0x40800000
/* What loads an application lies above these, in the official loader as in ours. */
#define SOC_LOADABLE_BYTES 0x6E000

#endif
