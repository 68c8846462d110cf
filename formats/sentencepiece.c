/* Reader of SentencePiece's tokenizer.model.
 *
 * The file is a message ModelProto: pieces (1), the trainer's settings (2), the normalizer's
 * (3). Of the settings those count that say how to encode. SentencePiece's tables of
 * characters (nmt_nfkc and the like) are not applied, which is noted.
 */
#include "formats/sentencepiece.h"

#include <math.h>
#include <string.h>

#include "formats/protobuf.h"

enum { MODEL_PIECE = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };
enum { TRAINER_MODEL = 3, TRAINER_SUFFIX = 24, TRAINER_UNK = 40, TRAINER_BOS, TRAINER_EOS };
enum {
    NORMALIZER_NAME = 1,
    NORMALIZER_TABLE = 2,
    NORMALIZER_PREFIX,
    NORMALIZER_FEW,
    NORMALIZER_ESCAPE
};
enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };

struct reader {
    struct ruvm_vocab *v;
    struct ruvm_arena *arena;
    const uint8_t *data;
    uint8_t *room; /* for texts */
    struct ruvm_error *err;
    uint64_t model;
    bool suffix, few_spaces, escape, table, user;
    char table_name[40];
};

static int fault(const struct reader *r, const struct ruvm_protobuf *p)
{
    return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "byte %zu: %s", (size_t)(p->fault_at - r->data),
                     p->fault);
}

/* ---- pieces --------------------------------------------------------------------- */

static int set_kind(struct reader *r, struct ruvm_piece *p, uint64_t type, uint32_t id)
{
    int byte = ruvm_vocab_byte(p->text, p->n_bytes);
    switch (type) {
    case TYPE_NORMAL: p->kind = p->n_bytes ? RUVM_PIECE_NORMAL : RUVM_PIECE_CONTROL; break;
    case TYPE_UNKNOWN: r->v->unk = id; /* fallthrough */
    case TYPE_CONTROL: p->kind = RUVM_PIECE_CONTROL; break;
    case TYPE_USER:
        p->kind = RUVM_PIECE_ADDED;
        r->user = true;
        break;
    case TYPE_UNUSED:
        p->kind = RUVM_PIECE_CONTROL;
        p->n_bytes = 0;
        break;
    case TYPE_BYTE:
        if (byte < 0)
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "piece %u should be a byte, but is \"%.*s\"",
                             id, (int)(p->n_bytes < 80 ? p->n_bytes : 80), (const char *)p->text);
        ruvm_vocab_set_byte(p, byte);
        break;
    default:
        return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED,
                         "piece %u is of type %llu, which is not "
                         "known",
                         id, (unsigned long long)type);
    }
    return RUVM_OK;
}

static int read_piece(struct reader *r, const struct ruvm_protobuf_field *field, uint32_t id)
{
    struct ruvm_protobuf p = ruvm_protobuf_inside(field);
    struct ruvm_protobuf_field f;
    struct ruvm_piece *piece = &r->v->pieces[id];
    uint64_t type = TYPE_NORMAL;
    piece->text = r->room;
    while (ruvm_protobuf_next(&p, &f)) {
        if (ruvm_protobuf_is(&f, PIECE_TEXT, RUVM_PROTOBUF_BYTES))
            piece->n_bytes = ruvm_vocab_spaces(r->room, f.bytes, (uint32_t)f.size);
        else if (ruvm_protobuf_is(&f, PIECE_SCORE, RUVM_PROTOBUF_FIXED32))
            piece->score = ruvm_protobuf_float(&f);
        else if (ruvm_protobuf_is(&f, PIECE_TYPE, RUVM_PROTOBUF_VARINT))
            type = f.value;
    }
    if (p.fault)
        return fault(r, &p);
    if (!isfinite(piece->score))
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "the score of piece %u is not a number", id);
    r->room += piece->n_bytes;
    return set_kind(r, piece, type, id);
}

/* ---- settings ------------------------------------------------------------------------ */

/* -1 switches a token off. */
static uint32_t token_of(uint64_t value)
{
    return (int64_t)value < 0 || value >= RUVM_VOCAB_MAX ? RUVM_VOCAB_NONE : (uint32_t)value;
}

static int read_trainer(struct reader *r, const struct ruvm_protobuf_field *field)
{
    struct ruvm_protobuf p = ruvm_protobuf_inside(field);
    struct ruvm_protobuf_field f;
    while (ruvm_protobuf_next(&p, &f)) {
        if (f.type != RUVM_PROTOBUF_VARINT)
            continue;
        switch (f.number) {
        case TRAINER_MODEL: r->model = f.value; break;
        case TRAINER_SUFFIX: r->suffix = f.value != 0; break;
        case TRAINER_BOS: r->v->bos = token_of(f.value); break;
        case TRAINER_EOS: r->v->eos = token_of(f.value); break;
        default: break;
        }
    }
    return p.fault ? fault(r, &p) : RUVM_OK;
}

static int read_normalizer(struct reader *r, const struct ruvm_protobuf_field *field)
{
    struct ruvm_protobuf p = ruvm_protobuf_inside(field);
    struct ruvm_protobuf_field f;
    while (ruvm_protobuf_next(&p, &f)) {
        if (ruvm_protobuf_is(&f, NORMALIZER_NAME, RUVM_PROTOBUF_BYTES) &&
            f.size < sizeof r->table_name)
            memcpy(r->table_name, f.bytes, f.size);
        else if (ruvm_protobuf_is(&f, NORMALIZER_TABLE, RUVM_PROTOBUF_BYTES))
            r->table = f.size > 0;
        else if (ruvm_protobuf_is(&f, NORMALIZER_PREFIX, RUVM_PROTOBUF_VARINT))
            r->v->space_prefix = f.value != 0;
        else if (ruvm_protobuf_is(&f, NORMALIZER_FEW, RUVM_PROTOBUF_VARINT))
            r->few_spaces = f.value != 0;
        else if (ruvm_protobuf_is(&f, NORMALIZER_ESCAPE, RUVM_PROTOBUF_VARINT))
            r->escape = f.value != 0;
    }
    return p.fault ? fault(r, &p) : RUVM_OK;
}

/* ---- the whole --------------------------------------------------------------------------- */

static int count_pieces(struct reader *r, struct ruvm_protobuf p)
{
    struct ruvm_protobuf_field f;
    uint32_t n = 0;
    size_t size = 0;
    while (ruvm_protobuf_next(&p, &f)) {
        n += ruvm_protobuf_is(&f, MODEL_PIECE, RUVM_PROTOBUF_BYTES);
        size += f.type == RUVM_PROTOBUF_BYTES ? f.size : 0;
        if (n > RUVM_VOCAB_MAX)
            return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED, "more than %d pieces", RUVM_VOCAB_MAX);
    }
    if (p.fault)
        return fault(r, &p);
    if (n == 0)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT, "has no pieces");
    r->v->n_pieces = n;
    r->v->pieces = ruvm_arena_alloc(r->arena, n, sizeof *r->v->pieces);
    r->room = ruvm_arena_alloc(r->arena, size + 1, 1);
    if (!r->v->pieces || !r->room)
        return ruvm_fail(r->err, RUVM_ERR_MEMORY, "no memory for %u pieces", n);
    return RUVM_OK;
}

static int read_fields(struct reader *r, struct ruvm_protobuf p)
{
    struct ruvm_protobuf_field f;
    int rc = RUVM_OK;
    for (uint32_t id = 0; rc == RUVM_OK && ruvm_protobuf_next(&p, &f);) {
        if (f.type != RUVM_PROTOBUF_BYTES)
            continue;
        switch (f.number) {
        case MODEL_PIECE: rc = read_piece(r, &f, id++); break;
        case MODEL_TRAINER: rc = read_trainer(r, &f); break;
        case MODEL_NORMALIZER: rc = read_normalizer(r, &f); break;
        default: break;
        }
    }
    return rc;
}

static uint32_t within(const struct ruvm_vocab *v, uint32_t id)
{
    return id < v->n_pieces ? id : RUVM_VOCAB_NONE;
}

static int settle(struct reader *r)
{
    struct ruvm_vocab *v = r->v;
    if (r->model != MODEL_UNIGRAM && r->model != MODEL_BPE)
        return ruvm_fail(
            r->err, RUVM_ERR_UNSUPPORTED,
            "is a SentencePiece model of kind %llu; only BPE and Unigram are supported",
            (unsigned long long)r->model);
    if (r->suffix || !r->escape)
        return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED, "%s is not supported",
                         r->suffix ? "treat_whitespace_as_suffix"
                                   : "a model without escape_whitespaces");
    if (r->table)
        ruvm_vocab_note(v, r->arena,
                        "SentencePiece's table of characters (%s) is not applied: a text should "
                        "have that form",
                        r->table_name[0] ? r->table_name : "unnamed");
    v->kind = r->model == MODEL_BPE ? RUVM_TOKN_SCORES : RUVM_TOKN_UNIGRAM;
    v->options = RUVM_TOKN_METASPACE | RUVM_TOKN_FUSE_UNKNOWN;
    if (r->few_spaces)
        v->options |= RUVM_TOKN_FEW_SPACES;
    if (r->user) /* these stand within a text, they do not begin one */
        v->options |= RUVM_TOKN_FIRST_PREFIX;
    if (strncmp(r->table_name, "nmt", 3) == 0)
        v->options |= RUVM_TOKN_LINE_SPACES;
    v->bos = within(v, v->bos);
    v->eos = within(v, v->eos);
    v->add_bos = v->bos != RUVM_VOCAB_NONE;
    v->specials = true;
    ruvm_vocab_guess_ends(v);
    return RUVM_OK;
}

/* What a file leaves out has the value that the format's description gives it. */
int ruvm_sentencepiece_read(struct ruvm_vocab *v, struct ruvm_arena *arena, const uint8_t *data,
                            size_t size, struct ruvm_error *err)
{
    struct reader r = {.v = v,
                       .arena = arena,
                       .data = data,
                       .err = err,
                       .model = MODEL_UNIGRAM,
                       .few_spaces = true,
                       .escape = true};
    struct ruvm_protobuf p = ruvm_protobuf_over(data, size);
    *v = (struct ruvm_vocab){.bos = 1, .eos = 2, .unk = RUVM_VOCAB_NONE, .space_prefix = true};
    int rc = count_pieces(&r, p);
    if (rc == RUVM_OK)
        rc = read_fields(&r, p);
    return rc == RUVM_OK ? settle(&r) : rc;
}

/* The first piece: field 1 of bytes, which begins with a text and goes on with a score. */
bool ruvm_sentencepiece_probe(const uint8_t *data, size_t size)
{
    struct ruvm_protobuf p = ruvm_protobuf_over(data, size);
    struct ruvm_protobuf_field f, text, score;
    for (int i = 0; i < 3; i++) {
        if (!ruvm_protobuf_next(&p, &f) || !ruvm_protobuf_is(&f, MODEL_PIECE, RUVM_PROTOBUF_BYTES))
            return false;
        struct ruvm_protobuf piece = ruvm_protobuf_inside(&f);
        if (!ruvm_protobuf_next(&piece, &text) ||
            !ruvm_protobuf_is(&text, PIECE_TEXT, RUVM_PROTOBUF_BYTES) ||
            !ruvm_protobuf_next(&piece, &score) ||
            !ruvm_protobuf_is(&score, PIECE_SCORE, RUVM_PROTOBUF_FIXED32))
            return false;
    }
    return true;
}
