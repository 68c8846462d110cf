/* The RUVM image, version 1: every offset and constant, shared by the reader
 * (ruvm_read.c) and the writer (ruvm_write.c). man/ruvm-image.5 says the same
 * in prose; tests/decode_ruvm.py is written from that page alone.
 *
 *   0        header, 32 bytes          bytes 0-13 as published, the rest ours
 *   32       section table             n_sections entries of 16 bytes
 *   ...      sections                  ascending, 16-byte aligned (WGTS: 64)
 *
 * All numbers are little-endian. A scale is a u16 mantissa times a power of
 * two kept once a tensor: real = mantissa * 2^exponent. There is no float.
 */
#ifndef RUVM_FORMATS_RUVM_LAYOUT_H
#define RUVM_FORMATS_RUVM_LAYOUT_H

/* ---- header -------------------------------------------------------------- */
enum {
    RUVM_HDR_MAGIC = 0,       /* "RUVM" */
    RUVM_HDR_VOCAB = 4,       /* u16 */
    RUVM_HDR_DIM = 6,         /* u16 embedding dimension */
    RUVM_HDR_HIDDEN = 8,      /* u16 feed-forward dimension */
    RUVM_HDR_LAYERS = 10,     /* u8 */
    RUVM_HDR_HEADS = 11,      /* u8 query heads; 0 (of version 1): a classifier, mlp_layout.h */
    RUVM_HDR_MAX_SEQ = 12,    /* u8: min(context, 255), for readers of v0 */
    RUVM_HDR_QUANT = 13,      /* u8: enum ruvm_quant */
    RUVM_HDR_VERSION = 14,    /* u8: 1; 0 here and to byte 31 is the bare layout v0 */
    RUVM_HDR_KV_HEADS = 15,   /* u8 */
    RUVM_HDR_CONTEXT = 16,    /* u16 positions */
    RUVM_HDR_N_SECTIONS = 18, /* u16 */
    RUVM_HDR_FLAGS = 20,      /* u32: no bit is defined; must be 0 */
    RUVM_HDR_FILE_BYTES = 24, /* u32: size of the whole file */
    RUVM_HDR_CRC = 28,        /* u32: CRC-32 of bytes 0-27 and the section table */
    RUVM_HDR_BYTES = 32,
};
#define RUVM_MAGIC "RUVM"
enum { RUVM_VERSION_V0 = 0, RUVM_VERSION_V1 = 1 };

/* The published quant_type byte; a tensor's own type is in its TENS entry. */
enum ruvm_quant {
    RUVM_QUANT_INT8 = 0,
    RUVM_QUANT_INT4 = 1,
    RUVM_QUANT_BINARY = 2,
    RUVM_QUANT_TERNARY = 3,
    RUVM_QUANT_MIXED = 255,
};

/* ---- section table ------------------------------------------------------- */
enum {
    RUVM_SEC_NAME = 0, /* four letters; upper-case first: required, lower-case: optional */
    RUVM_SEC_OFF = 4,  /* u32 from the start of the file */
    RUVM_SEC_SIZE = 8, /* u32 bytes, without padding */
    RUVM_SEC_CRC = 12, /* u32 CRC-32 of the section's bytes */
    RUVM_SEC_BYTES = 16,
};
enum { RUVM_SEC_ALIGN = 16, RUVM_WGTS_ALIGN = 64, RUVM_MAX_SECTIONS = 64 };
/* The file ends with its last section; gaps before sections are zero. No two sections
 * have the same name. */
/* CRC-32 throughout: the one of zlib (reflected 0xEDB88320, initial and final ~0). */

/* Every exponent is within these: a value outside is damage, not a model. */
enum { RUVM_MIN_EXP = -80, RUVM_MAX_EXP = 30 };

#define RUVM_SEC_ARCH "ARCH"   /* what the network computes */
#define RUVM_SEC_TENS "TENS"   /* tensor directory */
#define RUVM_SEC_SCAL "SCAL"   /* scales of the tensors' rows */
#define RUVM_SEC_NORM "NORM"   /* norm gains */
#define RUVM_SEC_BIAS "BIAS"   /* biases: only where the network has any */
#define RUVM_SEC_ROPE "ROPE"   /* phase increments: only where positions are RoPE */
#define RUVM_SEC_WIND "WIND"   /* layers with a window: only where some have none */
#define RUVM_SEC_MLP "MLPN"    /* what a classifier computes: in place of ARCH; mlp_layout.h */
#define RUVM_SEC_KVSC "KVSC"   /* KV cache scales */
#define RUVM_SEC_WGTS "WGTS"   /* weights, in the published order */
#define RUVM_SEC_TOKN "tokn"   /* tokenizer: optional */
#define RUVM_SEC_META "meta"   /* "key=value\n" lines, UTF-8, sorted by key: optional */
#define RUVM_SEC_GOLD "gold"   /* golden vectors: optional */
#define RUVM_SEC_LABELS "labl" /* names of a classifier's classes: optional */

/* ---- ARCH: 32 bytes ------------------------------------------------------ */
enum {
    RUVM_ARCH_NORM = 0,       /* u8: enum ruvm_norm */
    RUVM_ARCH_ACT = 1,        /* u8: enum ruvm_act */
    RUVM_ARCH_POS = 2,        /* u8: enum ruvm_pos */
    RUVM_ARCH_FLAGS = 3,      /* u8: enum below; other bits 0 */
    RUVM_ARCH_HEAD_DIM = 4,   /* u16, even, >= 2; times n_heads <= 65535 */
    RUVM_ARCH_ROPE_DIMS = 6,  /* u16: leading dimensions of a head that rotate, even, >= 2;
                                 0 when positions are learned */
    RUVM_ARCH_EPS = 8,        /* u32: norm epsilon, mantissa */
    RUVM_ARCH_EPS_EXP = 12,   /* i8 */
    RUVM_ARCH_RESID_EXP = 13, /* i8: unit of the int32 residual stream is 2^this */
    RUVM_ARCH_K_BITS = 14,    /* u8: bits of a cached key; 0 is 8, 4 is 4 */
    RUVM_ARCH_V_BITS = 15,    /* u8: bits of a cached value; the same */
    RUVM_ARCH_WINDOW = 16,    /* u16: positions a token sees, itself included; 0: all */
    RUVM_ARCH_SCORE_EXP = 18, /* i8; 0 when the mantissa is */
    RUVM_ARCH_SCORE = 20,     /* u32: scale of the scores, mantissa; 0: 1 / sqrt(head_dim) */
    RUVM_ARCH_BYTES = 32,     /* the rest is zero */
};
enum {
    RUVM_ARCH_FLAG_TIED = 1,     /* the head is the embedding */
    RUVM_ARCH_FLAG_PARALLEL = 2, /* attention and feed-forward read the same residual */
};
enum ruvm_norm {
    RUVM_NORM_RMS = 0,
    RUVM_NORM_LAYER = 1, /* the mean is taken away first */
    RUVM_N_NORMS,
};
enum ruvm_act {
    RUVM_ACT_SILU_GATED = 0, /* down(silu(gate x) * up x): SwiGLU */
    RUVM_ACT_GELU_TANH = 1,  /* down(gelu(up x)), without gate, as all that follow */
    RUVM_ACT_GELU_ERF = 2,
    RUVM_ACT_RELU = 3,
    RUVM_N_ACTS,
};
enum ruvm_pos {
    RUVM_POS_ROPE = 0,    /* on the pairs (2i, 2i+1) of each head */
    RUVM_POS_LEARNED = 1, /* a row a position, added to the embedding */
    RUVM_N_POS,
};

/* ---- TENS: 32 bytes a tensor, in the published order ---------------------- */
enum {
    RUVM_TENS_KIND = 0,         /* u8: enum ruvm_tensor_kind */
    RUVM_TENS_LAYER = 1,        /* u8: 0 for embedding and head */
    RUVM_TENS_TYPE = 2,         /* u8: enum ruvm_tensor_type; high 4 bits: log2 of the group */
    RUVM_TENS_SCALE_EXP = 3,    /* i8: exponent common to the tensor's scales */
    RUVM_TENS_ROWS = 4,         /* u32 outputs (embedding: tokens) */
    RUVM_TENS_COLS = 8,         /* u32 inputs */
    RUVM_TENS_ROW_BYTES = 12,   /* u32 distance of two rows: see the types below */
    RUVM_TENS_DATA_OFF = 16,    /* u32 from the start of the file, in WGTS, multiple of 16 */
    RUVM_TENS_DATA_BYTES = 20,  /* u32 */
    RUVM_TENS_SCALE_OFF = 24,   /* u32 from the start of the file, in SCAL, even */
    RUVM_TENS_SCALE_BYTES = 28, /* u32 */
    RUVM_TENS_BYTES = 32,
};
/* Published order: embedding; positions (only learned ones); a layer's wq wk wv wo w_up
 * w_gate (only where gated) w_down; head (absent when tied). Data and scales follow each
 * other without gaps in that order and fill WGTS and SCAL. Because wq|wk|wv and
 * w_up|w_gate follow each other with the same width, an engine may multiply each group as
 * one matrix. */
enum ruvm_tensor_kind {
    RUVM_TENSOR_EMBED = 0,
    RUVM_TENSOR_WQ = 1,
    RUVM_TENSOR_WK = 2,
    RUVM_TENSOR_WV = 3,
    RUVM_TENSOR_WO = 4,
    RUVM_TENSOR_W_UP = 5,
    RUVM_TENSOR_W_GATE = 6,
    RUVM_TENSOR_W_DOWN = 7,
    RUVM_TENSOR_HEAD = 8,
    RUVM_TENSOR_POSITION = 9, /* [context, dim] */
    RUVM_TENSOR_LINEAR = 10,  /* a layer of a classifier: [outputs, inputs] */
};
enum { RUVM_TENSORS_PER_LAYER = 7 }; /* at most: one less without a gate */
/* A weight is level * multiplier * scale[row] * 2^scale_exp. Levels, and how a row of
 * them is packed (ruvm_codes.h does both ways):
 *   INT8     -127..127; a byte each, rows padded with zeros to 16 bytes
 *   INT4     2u - 15, INT3 2u - 7, INT2 2u - 3, BINARY 2u - 1: odd levels of b bits.
 *            32-bit words; column 4f + j of a word is the b bits of its byte j from bit
 *            b * f on, so (word >> b * f) & mask holds four columns, a byte each. Rows
 *            are padded with zero bits to 16 columns, BINARY and INT3 to 32. INT3: for
 *            32 columns two INT2 words of the low bits, then a BINARY word of the high
 *   TERNARY  -1, 0, 1; five a byte in ceil(cols / 5) bytes: byte j holds columns j,
 *            n + j, 2n + j ... of a row of n bytes, digits of base 3, the first one
 *            the highest; for the value v of the digits (v * 256 + 242) / 243 is stored
 *   XNOR     as BINARY; the input of the matrix is reduced to its signs as well
 * Multipliers: of INT4, INT3, INT2 and BINARY when the high half of the type byte holds
 * 4, 5 or 6: each row has one of 4 bits (0..15) for each 16, 32 or 64 columns, two a
 * byte, low half first, behind the scales of the tensor in SCAL. Else they are 1.
 * Every tensor has one u16 scale a row. Its data is padded with zeros to 16 bytes, its
 * scales to 2. */
enum ruvm_tensor_type {
    RUVM_TYPE_INT8 = 0,
    RUVM_TYPE_INT4 = 1,
    RUVM_TYPE_INT3 = 2,
    RUVM_TYPE_INT2 = 3,
    RUVM_TYPE_BINARY = 4,
    RUVM_TYPE_TERNARY = 5,
    RUVM_TYPE_XNOR = 6,
    RUVM_N_TYPES,
};
enum { RUVM_TYPE_MASK = 15, RUVM_TYPE_GROUP_SHIFT = 4 };
enum { RUVM_MULT_MAX = 15, RUVM_GROUPED_MAX_COLS = 32768 };
enum { RUVM_ROW_ALIGN = 16 };

/* ---- NORM ---------------------------------------------------------------- */
/* 2 * layers + 1 vectors: attention and feed-forward norm of each layer, then
 * the final one. First an i8 exponent a vector, zero-padded to a multiple of
 * 16; then the vectors, dim i16 gains each: real = gain * 2^exponent. */

/* ---- BIAS ---------------------------------------------------------------- */
/* Which kinds of vectors there are, a bit each (bit = enum value), not 0; all layers have
 * the same. The vectors: of layer 0 those kinds in the order of the bits, of layer 1 and
 * so on; last, if there, that of the final norm. First an i8 exponent a vector in this
 * order, zero-padded to a multiple of 16 from the start of the section; then the vectors,
 * i16: real = number * 2^exponent. A matrix's bias has an entry a row, a norm's dim. */
enum {
    RUVM_BIAS_KINDS = 0, /* u16 */
    RUVM_BIAS_EXPS = 2,  /* i8, one a vector */
};
enum ruvm_bias_kind {
    RUVM_BIAS_WQ = 0, /* of the outputs of each matrix of a layer, in their order */
    RUVM_BIAS_WK = 1,
    RUVM_BIAS_WV = 2,
    RUVM_BIAS_WO = 3,
    RUVM_BIAS_W_UP = 4,
    RUVM_BIAS_W_GATE = 5, /* only where gated */
    RUVM_BIAS_W_DOWN = 6,
    RUVM_BIAS_ATTN_NORM = 7,
    RUVM_BIAS_FFN_NORM = 8,
    RUVM_BIAS_FINAL_NORM = 9, /* not of a layer: one vector */
    RUVM_N_BIASES,
};

/* ---- WIND ---------------------------------------------------------------- */
/* A u8 a layer: 1 where a token sees only the window, 0 where it sees all. Without this
 * section a window holds in all layers. */

/* ---- ROPE ---------------------------------------------------------------- */
/* rope_dims / 2 u32 phase increments: pair i turns by increment * 2^-32 of a
 * full turn each position (wrapping: exact at any position). */

/* ---- KVSC: a record a layer ---------------------------------------------- */
enum {
    RUVM_KVSC_K_EXP = 0,     /* i8: k = (cached + k_zero) * k_scale * 2^exp */
    RUVM_KVSC_K_INV_EXP = 1, /* i8: cached = k * k_inv * 2^exp - k_zero */
    RUVM_KVSC_V_EXP = 2,     /* i8 */
    RUVM_KVSC_V_INV_EXP = 3, /* i8 */
    RUVM_KVSC_ARRAYS = 4,    /* u16 k_scale[kv_dim], k_inv[], v_scale[], v_inv[], i16 k_zero[] */
};
/* kv_dim = kv_heads * head_dim: one scale a channel, for keys after rotation. k_zero
 * centres a lopsided channel: it adds the same to every position's score, which
 * softmax ignores, so an engine only subtracts it before it caches. */
enum { RUVM_KVSC_ZERO_MAX = 16383 };

/* ---- tokn ---------------------------------------------------------------- */
enum {
    RUVM_TOKN_KIND = 0,        /* u8: enum ruvm_tokn_kind */
    RUVM_TOKN_FLAGS = 1,       /* u8: enum below; other bits 0 */
    RUVM_TOKN_N_PIECES = 2,    /* u16 = vocab */
    RUVM_TOKN_BOS = 4,         /* u16, 0xFFFF none */
    RUVM_TOKN_EOS = 6,         /* u16, 0xFFFF none */
    RUVM_TOKN_UNK = 8,         /* u16, 0xFFFF none */
    RUVM_TOKN_MAX_PIECE = 10,  /* u16: bytes of the longest piece */
    RUVM_TOKN_TEXT_BYTES = 12, /* u32: bytes of all pieces */
    RUVM_TOKN_ARRAYS = 16,
};
enum ruvm_tokn_kind {
    RUVM_TOKN_SCORES = 1,  /* neighbours merge by the rank of the piece that they make
                              (SentencePiece BPE, llama2.c) */
    RUVM_TOKN_MERGES = 2,  /* neighbours merge by a list of merges (BPE as in GPT-2) */
    RUVM_TOKN_UNIGRAM = 3, /* the pieces with the best sum of scores (SentencePiece Unigram) */
};
enum {
    RUVM_TOKN_FLAG_ADD_BOS = 1,      /* encoding begins with BOS */
    RUVM_TOKN_FLAG_SPACE_PREFIX = 2, /* text is encoded with a space put before it */
    RUVM_TOKN_FLAG_MORE = 4,         /* the section goes on behind the text; always in kinds 2, 3 */
};
/* Arrays, in this order, n = n_pieces:
 *   u32 off[n + 1]    piece i is text[off[i] .. off[i+1])
 *   kind 1: u16 rank[n]    < n; 0 merges first; equal scores have equal ranks
 *   kind 3: i32 score[n]   natural logarithms in Q20
 *   u16 sorted[n]     ids of the findable pieces (NORMAL and not empty) ordered
 *                     by bytes (equal ones by id), then the others by id; the
 *                     first n_sorted are searched
 *   u16 byte_id[256]  token whose text is that byte and that is neither CONTROL nor ADDED,
 *                     0xFFFF none
 *   u8  kind[n]       enum ruvm_piece_kind
 *   u16 n_sorted      at an even offset (one zero byte before it if needed)
 *   u8  text[text_bytes]   immediately after n_sorted
 */
enum ruvm_piece_kind {
    RUVM_PIECE_NORMAL = 0,  /* text, found by the encoder */
    RUVM_PIECE_BYTE = 1,    /* one byte of fallback; its text is that byte */
    RUVM_PIECE_CONTROL = 2, /* BOS, EOS, unknown: found in text only when asked, prints nothing */
    RUVM_PIECE_ADDED = 3,   /* taken out of a text before anything else (FLAG_MORE) */
};
enum { RUVM_NO_TOKEN = 0xFFFF };
enum { RUVM_TOKN_SCORE_BITS = 20 }; /* Q of the scores of kind 3 */
/* Longest findable piece of kind 3, so that its encoder needs little work space. */
enum { RUVM_TOKN_UNIGRAM_MAX = 127 };

/* With FLAG_MORE, behind the text and zeros up to a multiple of 4 from the section's start: */
enum {
    RUVM_MORE_PATTERN = 0,     /* u8: how text is cut into words before merging, see below */
    RUVM_MORE_N_ENDS = 1,      /* u8: tokens besides BOS and EOS that end a text */
    RUVM_MORE_OPTIONS = 2,     /* u16: enum ruvm_tokn_option; other bits 0 */
    RUVM_MORE_N_SPECIAL = 4,   /* u16 */
    RUVM_MORE_N_MERGES = 6,    /* u16; 0 but in kind 2 */
    RUVM_MORE_UNK_SCORE = 8,   /* i32 Q20: of a character that no piece holds; 0 but in kind 3 */
    RUVM_MORE_CHAT_BYTES = 12, /* u32 */
    RUVM_MORE_ARRAYS = 16,
};
/*   u16 special[n_special]  the CONTROL and ADDED pieces that are not empty, by bytes then id
 *   u16 end[n_ends]
 *   merges[n_merges]        8 bytes each, ascending by left, then right:
 *   u8  chat[chat_bytes]    template of a conversation, UTF-8; the section ends here
 */
enum {
    RUVM_MERGE_LEFT = 0,   /* u16 */
    RUVM_MERGE_RIGHT = 2,  /* u16 */
    RUVM_MERGE_RESULT = 4, /* u16: its text is that of left, then that of right */
    RUVM_MERGE_RANK = 6,   /* u16: the lowest merges first */
    RUVM_MERGE_BYTES = 8,
};
enum ruvm_tokn_option {
    RUVM_TOKN_BYTE_LEVEL = 1,    /* a text begins as bytes, not as characters; kind 2 */
    RUVM_TOKN_METASPACE = 2,     /* U+2581 in a text is a space */
    RUVM_TOKN_FIRST_PREFIX = 4,  /* the space is put before a text, not also behind specials */
    RUVM_TOKN_SPARE_PREFIX = 8,  /* the space is not put before a space */
    RUVM_TOKN_FEW_SPACES = 16,   /* spaces at the ends go, runs of them become one */
    RUVM_TOKN_WHOLE_WORDS = 32,  /* a word that is a piece needs no merges */
    RUVM_TOKN_FUSE_UNKNOWN = 64, /* unknown characters in a row are one token */
    RUVM_TOKN_LINE_SPACES = 128, /* tabs and line ends (bytes 9, 10, 12, 13) are spaces */
    RUVM_TOKN_ALL_OPTIONS = 255,
};
/* A pattern: the family, and what is done about digits (characters of category N). */
enum {
    RUVM_PATTERN_NONE = 0,   /* all of the text is one word */
    RUVM_PATTERN_GPT2 = 1,   /* as GPT-2 cuts */
    RUVM_PATTERN_LLAMA3 = 2, /* as Llama 3 and, with one digit a word, Qwen2 cut */
    RUVM_PATTERN_SPACES = 3, /* a word begins at each space; not with BYTE_LEVEL */
    RUVM_PATTERN_FAMILY = 15,
    RUVM_PATTERN_DIGITS_SHIFT = 4, /* two bits: digits a word holds at most, 0 for any number */
    RUVM_PATTERN_SPLIT_DIGITS =
        64, /* digits are cut off first, then the family looks at the rest */
};
#define RUVM_PATTERN(family, digits) ((family) | (digits) << RUVM_PATTERN_DIGITS_SHIFT)
enum { RUVM_MAX_ENDS = 16 };

/* ---- gold: golden vectors ------------------------------------------------ */
enum {
    RUVM_GOLD_N_PROMPT = 0,   /* u16, >= 1 */
    RUVM_GOLD_N_TOKENS = 2,   /* u16 greedy tokens that follow the prompt, >= 1; the last
                                 is not fed: n_prompt + n_tokens <= context + 1 */
    RUVM_GOLD_LOGITS_CRC = 4, /* u32: CRC-32 over the logits (i32, little-endian, Q16) after
                                 the prompt and after each token but the last, in order */
    RUVM_GOLD_IDS = 8,        /* u16 prompt[n_prompt], tokens[n_tokens] */
};

#endif
