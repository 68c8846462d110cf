/* The knowledge blob, version 1: every offset and constant, shared by the reader
 * (rag_read.c) and the writer (rag_write.c). man/ruvm-rag.5 says the same in prose;
 * tests/decode_rag.py is written from that page alone.
 *
 *   0        header, 96 bytes          shape, how to search, what was measured
 *   96       section table             n_sections entries of 16 bytes
 *   ...      sections                  ascending, 64-byte aligned, zeros between
 *
 * All numbers are little-endian, there is no float. Vector i belongs to chunk i.
 */
#ifndef RUVM_FORMATS_RAG_LAYOUT_H
#define RUVM_FORMATS_RAG_LAYOUT_H

/* ---- header -------------------------------------------------------------- */
enum {
    RUVM_RAG_MAGIC_OFF = 0,      /* "RRAG" */
    RUVM_RAG_VERSION = 4,        /* u8: 1 */
    RUVM_RAG_METRIC = 5,         /* u8: enum ruvm_metric */
    RUVM_RAG_TYPE = 6,           /* u8: enum ruvm_vector_type */
    RUVM_RAG_FLAGS = 7,          /* u8: no bit is defined; must be 0 */
    RUVM_RAG_N = 8,              /* u32 vectors and chunks, deleted ones included */
    RUVM_RAG_DIMS = 12,          /* u16: 8..1024 */
    RUVM_RAG_N_SECTIONS = 14,    /* u16 */
    RUVM_RAG_ROW_BYTES = 16,     /* u32 distance of two rows, see VECT */
    RUVM_RAG_FILE_BYTES = 20,    /* u32: size of the whole file */
    RUVM_RAG_N_DELETED = 24,     /* u32: bits that are set in DEAD */
    RUVM_RAG_UNIT = 28,          /* u32: a code is worth mantissa * 2^exponent ... */
    RUVM_RAG_UNIT_EXP = 32,      /* i8: ... in the user's numbers (Euclidean, Manhattan, dot) */
    RUVM_RAG_K = 33,             /* u8: results that the figures below are about; 0: none */
    RUVM_RAG_EF = 34,            /* u16: size of the search list to use; 0: scan all */
    RUVM_RAG_EF_BUILD = 36,      /* u16: the one that the graph was built with; 0 without graph */
    RUVM_RAG_N_QUERIES = 38,     /* u16: queries measured; 0: nothing was measured */
    RUVM_RAG_RECALL_CODE = 40,   /* u16 / 65535: exact search of codes against floats */
    RUVM_RAG_RECALL_GRAPH = 42,  /* u16 / 65535: graph against exact search of codes */
    RUVM_RAG_DISTANCES = 44,     /* u32: distances a query computed, mean */
    RUVM_RAG_DISTANCES_MAX = 48, /* u32: and at most */
    RUVM_RAG_QUERY_BYTES = 52,   /* u32: memory that a search with EF and K works in */
    RUVM_RAG_N_SOURCES = 56,     /* u32 */
    RUVM_RAG_GENERATION = 60,    /* u32: changes that made this file */
    RUVM_RAG_RESERVED = 64,      /* zeros */
    RUVM_RAG_CRC = 92,           /* u32: CRC-32 of bytes 0-91 and the section table */
    RUVM_RAG_HDR_BYTES = 96,
};
#define RUVM_RAG_MAGIC "RRAG"
enum { RUVM_RAG_VERSION_1 = 1 };
enum { RUVM_RAG_MIN_DIMS = 8, RUVM_RAG_MAX_DIMS = 1024 };
enum { RUVM_RAG_MAX_VECTORS = 1 << 24 }; /* ids and a flag fit in a word; 24 bits an id */
enum { RUVM_RAG_MIN_EXP = -80, RUVM_RAG_MAX_EXP = 30 };

/* How far apart two vectors are. What ranks them is in lib/vector/vectors.h. */
enum ruvm_metric {
    RUVM_METRIC_COSINE = 0,    /* 1 - cosine of the angle */
    RUVM_METRIC_EUCLIDEAN = 1, /* square root of the sum of squares */
    RUVM_METRIC_DOT = 2,       /* minus the inner product: no metric */
    RUVM_METRIC_MANHATTAN = 3,
    RUVM_METRIC_HAMMING = 4,  /* bits that differ: binary vectors only */
    RUVM_METRIC_POINCARE = 5, /* points of the ball, curvature -1: int8 only */
    RUVM_METRIC_LORENTZ = 6,  /* points of the hyperboloid, curvature -1: int8 only */
    RUVM_N_METRICS,
};
enum ruvm_vector_type {
    RUVM_VECTOR_INT8 = 0,
    RUVM_VECTOR_BINARY = 1, /* a bit a dimension: 1 is +1, 0 is -1 */
    RUVM_VECTOR_PQ = 2,     /* product quantization: a byte for four dimensions, see BOOK */
    RUVM_N_VECTOR_TYPES,
};

/* ---- section table ------------------------------------------------------- */
enum {
    RUVM_RSEC_NAME = 0, /* four letters or digits; upper-case first: required */
    RUVM_RSEC_OFF = 4,  /* u32 from the start of the file */
    RUVM_RSEC_SIZE = 8, /* u32 bytes, without padding */
    RUVM_RSEC_CRC = 12, /* u32 CRC-32 of the section's bytes */
    RUVM_RSEC_BYTES = 16,
};
enum { RUVM_RSEC_ALIGN = 64, RUVM_RAG_MAX_SECTIONS = 32 };
/* The file ends with its last section; gaps before sections are zero. No two sections have
 * the same name. CRC-32 is the one of zlib. */

#define RUVM_RSEC_VECT "VECT" /* the vectors */
#define RUVM_RSEC_SIDE "SIDE" /* what else a vector needs to be compared; some metrics */
#define RUVM_RSEC_GRPH "GRPH" /* neighbours; absent: every search looks at all vectors */
#define RUVM_RSEC_DEAD "DEAD" /* deleted vectors; absent: none */
#define RUVM_RSEC_CHNK "CHNK" /* chunks of text */
#define RUVM_RSEC_TEXT "TEXT" /* the text that they are parts of, any bytes */
#define RUVM_RSEC_SRCE "SRCE" /* where it came from */
#define RUVM_RSEC_STRS "STRS" /* names and metadata */
#define RUVM_RSEC_RCPE "RCPE" /* how a question becomes a vector */
#define RUVM_RSEC_BM25 "BM25" /* words and where they stand; may be absent */
#define RUVM_RSEC_BOOK "BOOK" /* what the bytes of PQ stand for */
#define RUVM_RSEC_WORD "WORD" /* vectors of words, of which questions get theirs */
#define RUVM_RSEC_BITS "bits" /* signs of the vectors, for a first look: optional */

/* ---- VECT: N rows of ROW_BYTES -------------------------------------------- */
/* INT8: a code -127..127 a dimension, zeros up to a multiple of 16.
 * BINARY: dimension i is bit i % 8 of byte i / 8, zero bits up to a multiple of 8 bytes.
 * PQ: a byte for each four dimensions, zeros up to a multiple of 8. */
enum { RUVM_RAG_ALIGN_INT8 = 16, RUVM_RAG_ALIGN_BINARY = 8, RUVM_RAG_ALIGN_PQ = 8 };

/* ---- BOOK: for each four dimensions 256 entries of four codes -127..127 ------ */
/* Byte b of part p of a row stands for the codes at 4 * (256 * p + b). With PQ only, dims is
 * a multiple of four, the metric cosine or Euclidean; SIDE is that of the codes stood for. */
enum { RUVM_RAG_BOOK_DIMS = 4, RUVM_RAG_BOOK_ENTRIES = 256 };

/* ---- SIDE: a record a vector; not with BINARY ------------------------------- */
/*   cosine        u16: ruvm_vectors_inverse of the codes' sum of squares
 *   dot           u16: scale of the row; a code is worth scale * UNIT * 2^UNIT_EXP
 *   Euclidean     u32: sum of the squares of the codes
 *   Poincare, Lorentz
 *                 u32 cosh r in Q18, u32 sinh r / |codes| in Q24; r is the distance from the
 *                 origin, at most 10
 * Manhattan and Hamming have no SIDE. */

/* ---- GRPH ------------------------------------------------------------------ */
enum {
    RUVM_GRPH_ID_BITS = 0,  /* u8: bits of a link, enough for N - 1 */
    RUVM_GRPH_DEGREE_0 = 1, /* u8: links of a vector, 2..64 */
    RUVM_GRPH_DEGREE = 2,   /* u8: links of a node of a level above, 2..64 */
    RUVM_GRPH_LEVELS = 3,   /* u8: 1..RUVM_GRPH_MAX_LEVELS, the level of all vectors included */
    RUVM_GRPH_ENTRY = 4,    /* u32: where searches begin: a place in the top level */
    RUVM_GRPH_ARRAYS = 8,
};
enum { RUVM_GRPH_MAX_LEVELS = 8, RUVM_GRPH_MIN_DEGREE = 2, RUVM_GRPH_MAX_DEGREE = 64 };
enum { RUVM_GRPH_TAIL = 8 };
/* From RUVM_GRPH_ARRAYS on:
 *   u32 n[levels - 1]   nodes of level 1, 2 ...: each at most those of the level below, >= 1
 *   for level 1, 2 ...: u32 id[n]: the vectors that are nodes of it, ascending; all of them
 *                       are nodes of the level below as well
 *   links of level 0:   a list a vector
 *   for level 1, 2 ...: a list a node
 *   RUVM_GRPH_TAIL zero bytes, so that a list can be read in words
 * A list is degree links of id_bits each, the first one in the lowest bits, in
 * ceil(degree * id_bits / 8) bytes. A link is a place in the same level: in level 0 the
 * vector's number, above an index of id[]. The place of the list's owner ends the list
 * early; the links behind it are the owner's as well. */

/* ---- DEAD: bit i % 8 of byte i / 8 is set when vector i is deleted ----------- */

/* ---- CHNK: N records --------------------------------------------------------- */
enum {
    RUVM_CHNK_OFF = 0,      /* u32 in TEXT; chunks may overlap */
    RUVM_CHNK_BYTES = 4,    /* u16 */
    RUVM_CHNK_SOURCE = 6,   /* u16 < N_SOURCES */
    RUVM_CHNK_META = 8,     /* u32 in STRS, or RUVM_RAG_NONE */
    RUVM_CHNK_EXPIRES = 12, /* u32: seconds since 1970 when it stops being true; 0: never */
    RUVM_CHNK_RECORD = 16,
};
enum { RUVM_RAG_MAX_CHUNK = 65535, RUVM_RAG_MAX_SOURCES = 65535 };
#define RUVM_RAG_NONE 0xFFFFFFFFu

/* ---- SRCE: N_SOURCES records -------------------------------------------------- */
enum {
    RUVM_SRCE_NAME = 0,  /* u32 in STRS */
    RUVM_SRCE_META = 4,  /* u32 in STRS, or RUVM_RAG_NONE */
    RUVM_SRCE_BYTES = 8, /* u32: size of the source when it was read */
    RUVM_SRCE_CRC = 12,  /* u32: CRC-32 of it, to know whether it changed */
    RUVM_SRCE_RECORD = 16,
};

/* ---- STRS: strings, any bytes: u16 length, then the bytes, one after the other --- */

/* ---- bits: of each INT8 row its signs (1: not negative), as a BINARY row ---------- */

#endif
