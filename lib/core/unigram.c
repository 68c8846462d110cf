/* SentencePiece's Unigram: the best sum of scores over all ways to cut a text (Viterbi).
 *
 * A place is a byte of the text as the cursor reads it. The ids array keeps, for each place,
 * the piece that the best way there ends with; from these the way is found back. Of the
 * sums only as many are needed as a piece is long. A character that no piece holds costs
 * more than any piece, and is its bytes, or unknown: both are noted a byte at a time.
 */
#include "lib/core/unigram.h"

enum { RING = RUVM_TOKN_UNIGRAM_MAX + 1 };
_Static_assert((RING & (RING - 1)) == 0, "a place of the ring is a mask away");
static const int64_t no_way = INT64_MIN;

struct lattice {
    const struct ruvm_tokenizer *t;
    uint16_t *back; /* [place - 1]: the last piece of the best way to a place */
    size_t place;   /* looked at */
    int64_t sum[RING];
    bool failed; /* a character can not be said */
};

static int64_t *sum_at(struct lattice *l, size_t place)
{
    return &l->sum[place & (RING - 1)];
}

/* Of equal ways the one whose last piece begins first stays. */
static bool offer(struct lattice *l, size_t n, int32_t score, uint16_t id)
{
    int64_t *to = sum_at(l, l->place + n), sum = *sum_at(l, l->place) + score;
    if (sum <= *to)
        return false;
    *to = sum;
    l->back[l->place + n - 1] = id;
    return true;
}

/* No way ends within a character, so its places are free for its bytes. */
static void offer_unknown(struct lattice *l, struct ruvm_span c)
{
    uint16_t ids[4] = {RUVM_NO_TOKEN};
    int n = ruvm_pieces_bytes(l->t, ids, 0, c);
    if (!offer(l, c.n, l->t->unk_score, l->t->unk))
        return;
    l->failed = l->failed || n < 0;
    for (size_t i = 0; i < c.n; i++)
        l->back[l->place + i] = (size_t)n == c.n ? ids[i] : l->t->unk;
}

/* Whether a word ends before that character. */
static bool is_new_word(const struct ruvm_tokenizer *t, struct ruvm_span s)
{
    return t->pattern == RUVM_PATTERN_SPACES && s.n == 1 && s.bytes[0] == ' ';
}

/* Offers every piece that begins here; returns whether one is the first character alone. */
static bool offer_pieces(struct lattice *l, struct ruvm_cursor c, size_t first)
{
    const struct ruvm_tokenizer *t = l->t;
    struct ruvm_walk w = {.list = t->sorted, .high = t->n_sorted};
    bool has_first = false;
    for (;;) {
        struct ruvm_span s = ruvm_cursor_next(&c);
        if (s.n == 0 || (w.n_bytes > 0 && is_new_word(t, s)))
            return has_first;
        for (size_t i = 0; i < s.n; i++)
            if (!ruvm_pieces_step(t, &w, s.bytes[i]))
                return has_first;
        uint16_t id = ruvm_pieces_here(t, &w);
        if (id == RUVM_NO_TOKEN)
            continue;
        has_first = has_first || w.n_bytes == first;
        offer(l, w.n_bytes, (int32_t)ruvm_load_u32(t->score + 4 * (size_t)id), id);
    }
}

/* Notes the best way to every place; l->place is the number of bytes then. */
static void walk(struct lattice *l, struct ruvm_cursor c)
{
    for (int i = 0; i < RING; i++)
        l->sum[i] = no_way;
    *sum_at(l, 0) = 0;
    for (;;) {
        struct ruvm_cursor here = c;
        struct ruvm_span s = ruvm_cursor_next(&c);
        if (s.n == 0)
            return;
        if (!offer_pieces(l, here, s.n))
            offer_unknown(l, s);
        for (size_t i = 0; i < s.n; i++)
            *sum_at(l, l->place++) = no_way; /* room for places further on */
    }
}

/* Bytes of the text that an id stands for: unknown is noted a byte at a time. */
static size_t length_of(const struct lattice *l, uint16_t id)
{
    return id == l->t->unk ? 1 : ruvm_pieces_text(l->t, id).n;
}

/* Puts the pieces of the best way behind each other; returns how many there are. Unknown
 * ones in a row are one. The way is read and written from its end on, reading first. */
static size_t gather(const struct lattice *l)
{
    size_t at = l->place, first = at;
    while (at > 0) {
        uint16_t id = l->back[at - 1];
        at -= length_of(l, id);
        if (id != l->t->unk || first == l->place || l->back[first] != id)
            l->back[--first] = id;
    }
    for (size_t i = first; i < l->place; i++)
        l->back[i - first] = l->back[i];
    return l->place - first;
}

int ruvm_unigram_encode(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                        struct ruvm_cursor text)
{
    struct lattice l = {.t = t, .back = ids + n_ids};
    walk(&l, text);
    if (l.failed)
        return RUVM_ERR_UNSUPPORTED;
    return (int)(n_ids + gather(&l));
}
