/* The difference of two packs in sectors of flash: offsets and constants. ruvm-pack(5) says
 * the same in prose.
 *
 *   0     header, 96 bytes
 *   96    runs, 8 bytes each: which sectors change
 *   ...   the sectors' new contents, 4096 bytes each, in the order of the runs
 *
 * A last sector that a pack does not fill is filled with 0xFF. Sectors behind those of the
 * old pack are always in the runs.
 */
#ifndef RUVM_FORMATS_DELTA_LAYOUT_H
#define RUVM_FORMATS_DELTA_LAYOUT_H

enum {
    RUVM_DELTA_MAGIC_AT = 0,    /* "RPKD" */
    RUVM_DELTA_VERSION_AT = 4,  /* u32: 1 */
    RUVM_DELTA_OLD_BYTES = 8,   /* u32 */
    RUVM_DELTA_NEW_BYTES = 12,  /* u32 */
    RUVM_DELTA_N_RUNS = 16,     /* u32 */
    RUVM_DELTA_RESERVED = 20,   /* zero, 8 bytes */
    RUVM_DELTA_CRC = 28,        /* u32: CRC-32 of bytes 0-27 and of all from byte 32 on */
    RUVM_DELTA_OLD_SHA256 = 32, /* of the old pack */
    RUVM_DELTA_NEW_SHA256 = 64,
    RUVM_DELTA_RUNS = 96,
};
#define RUVM_DELTA_MAGIC "RPKD"
enum { RUVM_DELTA_VERSION = 1 };
enum {
    RUVM_DELTA_RUN_FIRST = 0,   /* u32: number of its first sector; runs ascend */
    RUVM_DELTA_RUN_SECTORS = 4, /* u32, not 0 */
    RUVM_DELTA_RUN_BYTES = 8,
    RUVM_DELTA_SECTOR_BYTES = 4096,
};

#endif
