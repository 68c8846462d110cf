/* The tokenizer: text to ids and back, in integers, from the image's tokn section.
 *
 * A text is cut at the special tokens in it, what is between them into words where the
 * vocabulary was made so, and each word becomes symbols, bytes or characters, that merge
 * (merge.c); or the best pieces are chosen all at once (unigram.c). The ids array is the
 * only work space.
 */
#include "lib/core/tokenizer.h"

#include "formats/ruvm_read.h"
#include "formats/tokn_read.h"
#include "lib/core/merge.h"
#include "lib/core/pattern.h"
#include "lib/core/unigram.h"

void ruvm_tokenizer_over(struct ruvm_tokenizer *t, const uint8_t *section)
{
    struct ruvm_tokn s;
    ruvm_tokn_open(&s, section);
    *t = (struct ruvm_tokenizer){
        .section = section,
        .n_pieces = (uint16_t)s.n,
        .n_sorted = (uint16_t)s.n_sorted,
        .bos = ruvm_load_u16(section + RUVM_TOKN_BOS),
        .eos = ruvm_load_u16(section + RUVM_TOKN_EOS),
        .unk = ruvm_load_u16(section + RUVM_TOKN_UNK),
        .max_piece = ruvm_load_u16(section + RUVM_TOKN_MAX_PIECE),
        .flags = s.flags,
        .off = s.off,
        .rank = s.rank,
        .sorted = s.sorted,
        .byte_id = s.byte_id,
        .kind = s.piece_kind,
        .text = s.text,
        .method = s.kind,
        .pattern = s.pattern,
        .n_ends = s.n_ends,
        .options = s.options,
        .n_special = (uint16_t)s.n_special,
        .n_merges = (uint16_t)s.n_merges,
        .unk_score = s.unk_score,
        .score = s.score,
        .special = s.special,
        .ends = s.end,
        .merges = s.merges,
        .chat = (const char *)s.chat,
        .chat_bytes = s.chat_bytes,
    };
}

int ruvm_tokenizer_init(struct ruvm_tokenizer *t, const void *image, size_t image_bytes)
{
    struct ruvm_image img;
    int rc = ruvm_image_open(&img, image, image_bytes, NULL);
    if (rc != RUVM_OK)
        return rc;
    if (!img.tokn)
        return RUVM_ERR_UNSUPPORTED;
    ruvm_tokenizer_over(t, img.tokn);
    return RUVM_OK;
}

/* Pairs of neighbouring bytes inside any piece: the places a merge can reach across. */
void ruvm_tokenizer_joins(struct ruvm_tokenizer *t, uint8_t joins[8192])
{
    for (size_t i = 0; i < 8192; i++)
        joins[i] = 0;
    for (uint16_t s = 0; s < t->n_sorted; s++) {
        struct ruvm_span p = ruvm_pieces_text(t, ruvm_pieces_u16(t->sorted, s));
        for (size_t i = 1; i < p.n; i++) {
            unsigned pair = (unsigned)p.bytes[i - 1] << 8 | p.bytes[i];
            joins[pair >> 3] |= (uint8_t)(1u << (pair & 7));
        }
    }
    t->joins = joins;
}

/* ---- characters --------------------------------------------------------------- */

/* Appends the symbols of one character; -1 when it cannot be said. */
static int add_character(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                         struct ruvm_span c)
{
    uint16_t id = ruvm_pieces_find(t, c, (struct ruvm_span){c.bytes, 0});
    if (id == RUVM_NO_TOKEN)
        return ruvm_pieces_bytes(t, ids, n_ids, c);
    ids[n_ids] = id;
    return 1;
}

/* Whether a merge can reach from one character to the next one. */
static bool is_joined(const struct ruvm_tokenizer *t, struct ruvm_span a, struct ruvm_span b)
{
    if (t->pattern == RUVM_PATTERN_SPACES && b.n == 1 && b.bytes[0] == ' ')
        return false;
    if (!t->joins)
        return true;
    unsigned pair = (unsigned)a.bytes[a.n - 1] << 8 | b.bytes[0];
    return (t->joins[pair >> 3] >> (pair & 7) & 1u) != 0;
}

/* Encodes characters behind the n_ids that already stand in ids; merges each stretch that
 * no merge can leave. Returns the number of ids, or an error. */
static int encode_characters(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                             struct ruvm_cursor text)
{
    size_t start = n_ids;
    for (struct ruvm_span c = ruvm_cursor_next(&text), next; c.n > 0; c = next) {
        int added = add_character(t, ids, n_ids, c);
        if (added < 0)
            return RUVM_ERR_UNSUPPORTED;
        n_ids += (size_t)added;
        next = ruvm_cursor_next(&text);
        if (next.n == 0 || !is_joined(t, c, next)) {
            n_ids = start + ruvm_merge_all(t, ids + start, n_ids - start);
            start = n_ids;
        }
    }
    return (int)n_ids;
}

/* ---- bytes ---------------------------------------------------------------------- */

/* Appends the tokens of one word. */
static int encode_word(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                       struct ruvm_span word)
{
    uint16_t id = RUVM_NO_TOKEN;
    if (t->options & RUVM_TOKN_WHOLE_WORDS)
        id = ruvm_pieces_find(t, word, (struct ruvm_span){word.bytes, 0});
    if (id != RUVM_NO_TOKEN) {
        ids[n_ids] = id;
        return (int)(n_ids + 1);
    }
    size_t n = n_ids;
    for (size_t i = 0; i < word.n; i++) {
        int added = ruvm_pieces_bytes(t, ids, n, (struct ruvm_span){word.bytes + i, 1});
        if (added < 0)
            return RUVM_ERR_UNSUPPORTED;
        n += (size_t)added;
    }
    return (int)(n_ids + ruvm_merge_all(t, ids + n_ids, n - n_ids));
}

static int encode_words(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                        struct ruvm_span s)
{
    int n = (int)n_ids;
    while (s.n > 0 && n >= 0) {
        size_t size = ruvm_pattern_word(t->pattern, s.bytes, s.n);
        n = encode_word(t, ids, (size_t)n, (struct ruvm_span){s.bytes, size});
        s.bytes += size;
        s.n -= size;
    }
    return n;
}

/* ---- texts ------------------------------------------------------------------------ */

/* Encodes a text without special tokens behind the n_ids that stand in ids. */
static int encode_plain(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                        struct ruvm_span s, unsigned cursor)
{
    if (t->options & RUVM_TOKN_BYTE_LEVEL)
        return encode_words(t, ids, n_ids, s);
    struct ruvm_cursor text = ruvm_cursor_over(t, s, cursor);
    if (t->method == RUVM_TOKN_UNIGRAM)
        return ruvm_unigram_encode(t, ids, n_ids, text);
    return encode_characters(t, ids, n_ids, text);
}

/* Bytes before the first special token of s; *id is RUVM_NO_TOKEN when there is none. */
static size_t before_special(const struct ruvm_tokenizer *t, struct ruvm_span s, bool control,
                             uint16_t *id)
{
    size_t n = t->n_special ? 0 : s.n;
    *id = RUVM_NO_TOKEN;
    for (; n < s.n; n++) {
        *id = ruvm_pieces_special(t, (struct ruvm_span){s.bytes + n, s.n - n}, control);
        if (*id != RUVM_NO_TOKEN)
            return n;
    }
    return s.n;
}

/* Whether a space is put behind a special token. It costs room for an id, which a special
 * token of one byte does not leave. */
static bool has_prefix_behind(const struct ruvm_tokenizer *t, size_t special_bytes)
{
    return (t->flags & RUVM_TOKN_FLAG_SPACE_PREFIX) && special_bytes > 1 &&
           !(t->options & RUVM_TOKN_FIRST_PREFIX);
}

static int encode_text(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                       struct ruvm_span s, unsigned flags)
{
    bool plain = (flags & RUVM_ENCODE_PLAIN) != 0, first = true;
    bool prefix = (t->flags & RUVM_TOKN_FLAG_SPACE_PREFIX) && !plain;
    int n = (int)n_ids;
    while (s.n > 0 && n >= 0) {
        uint16_t id;
        size_t size = before_special(t, s, (flags & RUVM_ENCODE_SPECIAL) != 0, &id);
        unsigned cursor = (prefix ? RUVM_CURSOR_PREFIX : 0u) |
                          (first && !plain ? RUVM_CURSOR_FIRST : 0u) |
                          (id == RUVM_NO_TOKEN ? RUVM_CURSOR_LAST : 0u);
        n = encode_plain(t, ids, (size_t)n, (struct ruvm_span){s.bytes, size}, cursor);
        if (n < 0 || id == RUVM_NO_TOKEN)
            return n;
        ids[n++] = id;
        size_t special = ruvm_pieces_text(t, id).n;
        prefix = has_prefix_behind(t, special);
        first = false;
        s.bytes += size + special;
        s.n -= size + special;
    }
    return n;
}

int ruvm_encode(const struct ruvm_tokenizer *t, uint16_t *ids, size_t max_ids, const void *text,
                size_t n_bytes, unsigned flags)
{
    if (max_ids < RUVM_MAX_TOKENS(n_bytes) || n_bytes > INT32_MAX - 2)
        return RUVM_ERR_ARG;
    size_t n = 0;
    bool bos = (t->flags & RUVM_TOKN_FLAG_ADD_BOS) && t->bos != RUVM_NO_TOKEN;
    if (bos && !(flags & (RUVM_ENCODE_PLAIN | RUVM_ENCODE_NO_BOS)))
        ids[n++] = t->bos;
    return encode_text(t, ids, n, (struct ruvm_span){text, n_bytes}, flags);
}

const uint8_t *ruvm_decode(const struct ruvm_tokenizer *t, uint16_t previous, uint16_t id,
                           size_t *n_bytes)
{
    *n_bytes = 0;
    if (id >= t->n_pieces || t->kind[id] == RUVM_PIECE_CONTROL)
        return t->text;
    struct ruvm_span p = ruvm_pieces_text(t, id);
    bool first = previous == RUVM_NO_PREVIOUS || previous == t->bos;
    if (first && (t->flags & RUVM_TOKN_FLAG_SPACE_PREFIX) && p.n > 0 && p.bytes[0] == ' ') {
        p.bytes++;
        p.n--;
    }
    *n_bytes = p.n;
    return p.bytes;
}

bool ruvm_is_end(const struct ruvm_tokenizer *t, uint16_t id)
{
    if (id == RUVM_NO_TOKEN)
        return false;
    for (unsigned i = 0; i < t->n_ends; i++)
        if (ruvm_pieces_u16(t->ends, i) == id)
            return true;
    return id == t->bos || id == t->eos;
}
