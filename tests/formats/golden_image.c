/* Weights run through a fixed sequence, scales and gains rise in steps, and the tokenizer
 * knows just enough to say "hello world". The golden vectors are the engine's own. */
#define _POSIX_C_SOURCE 200809L
#include "tests/formats/golden_image.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_codes.h"
#include "lib/base/bytes.h"
#include "lib/convert/tokenizer_build.h"
#include "lib/ruvm.h"

enum {
    VOCAB = 24,
    DIM = 16,
    HEADS = 2,
    KV_HEADS = 1,
    HEAD_DIM = 8,
    CONTEXT = 32,
    N_TOKENS = 8, /* golden ones */
};

#define GROUPED(type, log2) ((type) | (log2) << RUVM_TYPE_GROUP_SHIFT)

static const struct golden_types int8_everywhere = {.hidden = 20};

/* Hidden is odd, so that two tensors have bytes to fill behind their multipliers. */
const struct golden_types golden_packed = {
    .tensor = {[RUVM_TENSOR_EMBED] = GROUPED(RUVM_TYPE_INT4, 4),
               [RUVM_TENSOR_WQ] = GROUPED(RUVM_TYPE_INT3, 5),
               [RUVM_TENSOR_WK] = RUVM_TYPE_INT8,
               [RUVM_TENSOR_WV] = RUVM_TYPE_INT4,
               [RUVM_TENSOR_WO] = RUVM_TYPE_TERNARY,
               [RUVM_TENSOR_W_UP] = RUVM_TYPE_XNOR,
               [RUVM_TENSOR_W_GATE] = GROUPED(RUVM_TYPE_INT2, 6),
               [RUVM_TENSOR_W_DOWN] = GROUPED(RUVM_TYPE_INT3, 4),
               [RUVM_TENSOR_HEAD] = GROUPED(RUVM_TYPE_BINARY, 4)},
    .quant = RUVM_QUANT_MIXED,
    .k_bits = 4,
    .v_bits = 4,
    .hidden = 21,
};

static const char *const names[GOLDEN_PARTS] = {
    RUVM_SEC_ARCH, RUVM_SEC_TENS, RUVM_SEC_SCAL, RUVM_SEC_NORM, RUVM_SEC_ROPE,
    RUVM_SEC_KVSC, RUVM_SEC_WGTS, RUVM_SEC_TOKN, RUVM_SEC_META, RUVM_SEC_GOLD,
};

/* ---- the network ---------------------------------------------------------- */

static void make_arch(struct ruvm_buffer *b, bool tied, const struct golden_types *types)
{
    ruvm_buffer_u8(b, 0);
    ruvm_buffer_u8(b, 0);
    ruvm_buffer_u8(b, 0);
    ruvm_buffer_u8(b, tied ? RUVM_ARCH_FLAG_TIED : 0);
    ruvm_buffer_u16(b, HEAD_DIM);
    ruvm_buffer_u16(b, HEAD_DIM);
    ruvm_buffer_u32(b, 1407374884); /* times 2^-47: 1e-5 */
    ruvm_buffer_u8(b, (uint8_t)-47);
    ruvm_buffer_u8(b, (uint8_t)-20);
    ruvm_buffer_u8(b, types->k_bits);
    ruvm_buffer_u8(b, types->v_bits);
    ruvm_buffer_zeros(b, RUVM_ARCH_BYTES - b->size);
}

/* Each row takes another part of the same sequence, in the levels of its type. */
static int8_t level(int type, uint32_t kind, uint32_t r, uint32_t c)
{
    uint32_t sequence = (kind * 1009 + r * 101 + c * 37 + r * c * 11) % 255;
    int max = ruvm_codes_max_level(type);
    if (type == RUVM_TYPE_INT8)
        return (int8_t)(sequence - 127);
    if (type == RUVM_TYPE_TERNARY)
        return (int8_t)((int)(sequence % 3) - 1);
    return (int8_t)(2 * ((int)sequence * (max + 1) / 255) - max);
}

static void make_row(struct golden *g, int type, uint32_t kind, uint32_t r, uint32_t cols)
{
    int8_t levels[64];
    for (uint32_t c = 0; c < cols; c++)
        levels[c] = level(type, kind, r, c);
    uint8_t *row = ruvm_buffer_zeros(&g->data[GOLDEN_WGTS], ruvm_codes_row_bytes(type, cols));
    ruvm_codes_pack(type, row, levels, cols);
    ruvm_buffer_u16(&g->data[GOLDEN_SCAL], (uint16_t)(32768 + 1000 * r));
}

/* They run through 0 to 15. */
static void make_multipliers(struct golden *g, uint32_t rows, uint32_t n_groups)
{
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t i = 0; i < n_groups; i += 2)
            ruvm_buffer_u8(&g->data[GOLDEN_SCAL],
                           (uint8_t)(r * 3 % 16 | (i + 1 < n_groups ? r * 5 % 16 : 0) << 4));
    ruvm_buffer_align(&g->data[GOLDEN_SCAL], 2);
}

/* An entry whose offsets count from the start of WGTS and SCAL for now. */
static void make_tensor(struct golden *g, uint8_t byte, uint8_t kind, uint32_t rows, uint32_t cols)
{
    struct ruvm_buffer *weights = &g->data[GOLDEN_WGTS], *scales = &g->data[GOLDEN_SCAL];
    int type = byte & RUVM_TYPE_MASK;
    uint32_t group = 1u << (byte >> RUVM_TYPE_GROUP_SHIFT);
    struct ruvm_write_tensor t = {
        .kind = kind,
        .type = byte,
        .scale_exp = -23,
        .rows = rows,
        .cols = cols,
        .row_bytes = ruvm_codes_row_bytes(type, cols),
        .data_off = (uint32_t)weights->size,
        .scale_off = (uint32_t)scales->size,
    };
    for (uint32_t r = 0; r < rows; r++)
        make_row(g, type, kind, r, cols);
    ruvm_buffer_align(weights, 16);
    make_multipliers(g, rows, group > 1 ? (cols + group - 1) / group : 0);
    t.data_bytes = (uint32_t)weights->size - t.data_off;
    t.scale_bytes = (uint32_t)scales->size - t.scale_off;
    ruvm_write_tensor(ruvm_buffer_zeros(&g->data[GOLDEN_TENS], RUVM_TENS_BYTES), &t);
}

static void make_tensors(struct golden *g, bool tied, const struct golden_types *types)
{
    const uint32_t shapes[][2] = {
        {VOCAB, DIM},
        {HEADS * HEAD_DIM, DIM},
        {KV_HEADS * HEAD_DIM, DIM},
        {KV_HEADS * HEAD_DIM, DIM},
        {DIM, HEADS * HEAD_DIM},
        {types->hidden, DIM},
        {types->hidden, DIM},
        {DIM, types->hidden},
        {VOCAB, DIM},
    };
    for (uint8_t kind = RUVM_TENSOR_EMBED; kind <= RUVM_TENSOR_HEAD - tied; kind++)
        make_tensor(g, types->tensor[kind], kind, shapes[kind][0], shapes[kind][1]);
}

static void make_norms(struct ruvm_buffer *b)
{
    enum { NORMS = 3 };
    for (int i = 0; i < NORMS; i++)
        ruvm_buffer_u8(b, (uint8_t)-14);
    ruvm_buffer_align(b, 16);
    for (int i = 0; i < NORMS * DIM; i++)
        ruvm_buffer_u16(b, (uint16_t)(16384 + 64 * (i % DIM))); /* from 1.0 up */
}

/* theta 10000: a position turns pair i by 10000^(-i/4) radians. */
static void make_rope(struct ruvm_buffer *b)
{
    ruvm_buffer_u32(b, 683565276);
    ruvm_buffer_u32(b, 68356528);
    ruvm_buffer_u32(b, 6835653);
    ruvm_buffer_u32(b, 683565);
}

static void make_kv(struct ruvm_buffer *b)
{
    ruvm_buffer_u8(b, (uint8_t)-21);
    ruvm_buffer_u8(b, (uint8_t)-10);
    ruvm_buffer_u8(b, (uint8_t)-21);
    ruvm_buffer_u8(b, (uint8_t)-10);
    for (int keys_then_values = 0; keys_then_values < 2; keys_then_values++) {
        for (uint32_t i = 0; i < KV_HEADS * HEAD_DIM; i++)
            ruvm_buffer_u16(b, (uint16_t)(33000 + 500 * i));
        for (uint32_t i = 0; i < KV_HEADS * HEAD_DIM; i++)
            ruvm_buffer_u16(b, (uint16_t)(0x80000000u / (33000 + 500 * i)));
    }
    for (int i = 0; i < KV_HEADS * HEAD_DIM; i++)
        ruvm_buffer_u16(b, (uint16_t)(4 * i - 12)); /* zeros of the keys */
}

/* ---- the optional sections ------------------------------------------------ */

static void make_tokenizer(struct ruvm_buffer *b)
{
    static const char *const texts[VOCAB] = {
        "<unk>", "<s>", "</s>", "\n", "!",    " ",      "d",      "e",
        "h",     "l",   "o",    "r",  "w",    "he",     "ll",     "hell",
        "hello", " w",  "or",   "ld", " wor", " world", " hello", "\xc3\xa9",
    };
    struct ruvm_piece pieces[VOCAB];
    for (uint32_t i = 0; i < VOCAB; i++) {
        bool is_merged = i >= 13 && i <= 22;
        pieces[i] = (struct ruvm_piece){
            .text = (const uint8_t *)texts[i],
            .n_bytes = (uint32_t)strlen(texts[i]),
            .score = is_merged ? -(float)(i - 13) : -100.0f,
            .kind = i < 3   ? RUVM_PIECE_CONTROL
                    : i < 5 ? RUVM_PIECE_BYTE
                            : RUVM_PIECE_NORMAL,
        };
    }
    const struct ruvm_vocab vocab = {.pieces = pieces,
                                     .n_pieces = VOCAB,
                                     .unk = 0,
                                     .bos = 1,
                                     .eos = 2,
                                     .add_bos = true,
                                     .space_prefix = true};
    int rc = ruvm_tokenizer_build(b, &vocab, NULL);
    assert(rc == RUVM_OK);
    (void)rc;
}

static uint16_t greedy(const int32_t *logits)
{
    uint16_t best = 0;
    for (uint16_t i = 1; i < VOCAB; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static void make_golden_vectors(struct ruvm_buffer *b, const uint8_t *image, size_t size)
{
    static const char prompt[] = "hello world";
    struct ruvm_tokenizer tok;
    struct ruvm_engine *engine;
    uint16_t ids[RUVM_MAX_TOKENS(sizeof prompt) + N_TOKENS];
    size_t bytes = 0;
    uint32_t crc = 0;
    int rc = ruvm_tokenizer_init(&tok, image, size);
    assert(rc == RUVM_OK);
    int n = ruvm_encode(&tok, ids, RUVM_MAX_TOKENS(sizeof prompt), prompt, sizeof prompt - 1, 0);
    assert(n > 0);
    rc = ruvm_engine_bytes(image, size, NULL, &bytes);
    assert(rc == RUVM_OK);
    void *memory = aligned_alloc(64, ruvm_align_up(bytes, 64));
    rc = ruvm_engine_init(&engine, memory, bytes, image, size, NULL);
    assert(rc == RUVM_OK);
    (void)rc;
    ruvm_engine_eval(engine, ids, (size_t)n, NULL);
    for (int i = n; i < n + N_TOKENS; i++) {
        crc = ruvm_logits_crc(crc, ruvm_engine_logits(engine), VOCAB);
        ids[i] = greedy(ruvm_engine_logits(engine));
        ruvm_engine_eval(engine, &ids[i], 1, NULL);
    }
    free(memory);
    ruvm_buffer_u16(b, (uint16_t)n);
    ruvm_buffer_u16(b, N_TOKENS);
    ruvm_buffer_u32(b, crc);
    for (int i = 0; i < n + N_TOKENS; i++)
        ruvm_buffer_u16(b, ids[i]);
}

/* ---- the whole ------------------------------------------------------------- */

static void name_parts(struct golden *g)
{
    for (int i = 0; i < GOLDEN_PARTS; i++)
        g->part[i] = (struct ruvm_write_section){names[i], g->data[i].data, g->data[i].size};
}

static void move_tensors(struct golden *g)
{
    size_t off[GOLDEN_PARTS];
    ruvm_write_layout(g->part, GOLDEN_PARTS, off);
    uint8_t *end = g->data[GOLDEN_TENS].data + g->data[GOLDEN_TENS].size;
    for (uint8_t *e = g->data[GOLDEN_TENS].data; e < end; e += RUVM_TENS_BYTES) {
        uint8_t *data = e + RUVM_TENS_DATA_OFF, *scales = e + RUVM_TENS_SCALE_OFF;
        ruvm_store_u32(data, ruvm_load_u32(data) + (uint32_t)off[GOLDEN_WGTS]);
        ruvm_store_u32(scales, ruvm_load_u32(scales) + (uint32_t)off[GOLDEN_SCAL]);
    }
}

/* gold is the last section: with a makeshift one all others already stand where they
 * will in the end. */
static void add_golden_vectors(struct golden *g)
{
    static const uint8_t makeshift[] = {1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    size_t size;
    ruvm_buffer_bytes(&g->data[GOLDEN_GOLD], makeshift, sizeof makeshift);
    name_parts(g);
    move_tensors(g);
    uint8_t *image = golden_write(g, g->part, GOLDEN_PARTS, &size);
    ruvm_buffer_free(&g->data[GOLDEN_GOLD]);
    make_golden_vectors(&g->data[GOLDEN_GOLD], image, size);
    free(image);
}

static void make(struct golden *g, bool tied, const struct golden_types *types)
{
    *g = (struct golden){.header = {.vocab = VOCAB,
                                    .dim = DIM,
                                    .hidden = types->hidden,
                                    .context = CONTEXT,
                                    .n_layers = 1,
                                    .n_heads = HEADS,
                                    .n_kv_heads = KV_HEADS,
                                    .quant = types->quant}};
    make_arch(&g->data[GOLDEN_ARCH], tied, types);
    make_tensors(g, tied, types);
    make_norms(&g->data[GOLDEN_NORM]);
    make_rope(&g->data[GOLDEN_ROPE]);
    make_kv(&g->data[GOLDEN_KVSC]);
    make_tokenizer(&g->data[GOLDEN_TOKN]);
    ruvm_buffer_printf(&g->data[GOLDEN_META], "license=MIT\nname=golden\n");
    add_golden_vectors(g);
    name_parts(g);
}

void golden_make(struct golden *g, bool tied)
{
    make(g, tied, &int8_everywhere);
}

void golden_make_of(struct golden *g, const struct golden_types *types)
{
    make(g, false, types);
}

uint8_t *golden_write(const struct golden *g, const struct ruvm_write_section *part, unsigned n,
                      size_t *size)
{
    struct ruvm_buffer out = {0};
    int rc = ruvm_write_image(&out, &g->header, part, n);
    assert(rc == RUVM_OK);
    (void)rc;
    void *image; /* of the exact size, for the sanitizers */
    rc = posix_memalign(&image, 64, out.size);
    assert(rc == 0);
    memcpy(image, out.data, out.size);
    *size = out.size;
    ruvm_buffer_free(&out);
    return image;
}

void golden_free(struct golden *g)
{
    for (int i = 0; i < GOLDEN_PARTS; i++)
        ruvm_buffer_free(&g->data[i]);
}
