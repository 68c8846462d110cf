/* The pack, version 1: what an application puts into a chip's flash, as one file. Shared by
 * the reader (pack_read.c) and the writer (pack_write.c). man/ruvm-pack.5 says the same in
 * prose; tests/decode_pack.py is written from that page alone.
 *
 *   0        header, 32 bytes
 *   32       public key and signature, 96 bytes, zero when there is none
 *   128      section table, n_sections entries of 64 bytes
 *   ...      sections, ascending, each on its own alignment
 *
 * Sections stand in the pack as they are used: a flash partition that holds the pack and is
 * mapped needs no copy. Large ones begin on a sector of flash, so that replacing one leaves
 * the sectors of the others as they are. All numbers are little-endian.
 */
#ifndef RUVM_FORMATS_PACK_LAYOUT_H
#define RUVM_FORMATS_PACK_LAYOUT_H

/* ---- header -------------------------------------------------------------- */
enum {
    RUVM_PACK_MAGIC_AT = 0,    /* "RPAK" */
    RUVM_PACK_VERSION_AT = 4,  /* u16: 1 */
    RUVM_PACK_N_SECTIONS = 6,  /* u16: 1 to RUVM_PACK_MAX_SECTIONS */
    RUVM_PACK_FLAGS = 8,       /* u32: enum below; other bits 0 */
    RUVM_PACK_FILE_BYTES = 12, /* u32: size of the pack: end of its last section */
    RUVM_PACK_RESERVED = 16,   /* zero, 12 bytes */
    RUVM_PACK_CRC = 28,        /* u32: CRC-32 of bytes 0-27 and the section table */
    RUVM_PACK_HDR_BYTES = 32,
    RUVM_PACK_KEY = 32,       /* ed25519 public key, 32 bytes */
    RUVM_PACK_SIGNATURE = 64, /* ed25519 signature, 64 bytes: of bytes 0-31 and the table */
    RUVM_PACK_TABLE = 128,
};
#define RUVM_PACK_MAGIC "RPAK"
enum { RUVM_PACK_VERSION = 1 };
enum { RUVM_PACK_FLAG_SIGNED = 1 };
enum { RUVM_PACK_KEY_BYTES = 32 };

/* ---- section table ------------------------------------------------------- */
enum {
    RUVM_PACK_SEC_NAME = 0,    /* four letters or digits, a letter first; upper-case: required,
                                  lower-case: optional */
    RUVM_PACK_SEC_OFF = 4,     /* u32 from the start of the pack */
    RUVM_PACK_SEC_SIZE = 8,    /* u32 bytes, without padding; not 0 */
    RUVM_PACK_SEC_CRC = 12,    /* u32 CRC-32 of the section's bytes */
    RUVM_PACK_SEC_ALIGN = 16,  /* u8: log2 of the alignment, RUVM_PACK_MIN_ALIGN_LOG2 to _MAX_ */
    RUVM_PACK_SEC_ZERO = 17,   /* zero, 15 bytes */
    RUVM_PACK_SEC_SHA256 = 32, /* of the section's bytes, 32 bytes */
    RUVM_PACK_SEC_BYTES = 64,
};
/* No two sections have the same name. Gaps before sections are 0xFF, as erased flash is. */
enum {
    RUVM_PACK_MAX_SECTIONS = 32,
    RUVM_PACK_MIN_ALIGN_LOG2 = 4,
    RUVM_PACK_MAX_ALIGN_LOG2 = 16, /* a page of the chip's flash mapping */
    RUVM_PACK_SECTOR_LOG2 = 12,    /* what flash erases at once */
    RUVM_PACK_GAP = 0xFF,
    RUVM_PACK_SHA256_BYTES = 32,
};

#define RUVM_PACK_SETTINGS "sett"  /* settings: a flat JSON object in its canonical form */
#define RUVM_PACK_MODEL "MODL"     /* a RUVM image: see ruvm_layout.h */
#define RUVM_PACK_KNOWLEDGE "know" /* knowledge blob */
#define RUVM_PACK_GATE "gate"      /* settings of a gate */
#define RUVM_PACK_PLUGIN "plug"    /* a plugin; further ones are plg1, plg2, ... */

#endif
