/* Byte-pair encoding: of all neighbours that may merge, the pair of the lowest rank does,
 * the leftmost of equals, until no pair may.
 *
 * Two ways to say which pairs may: any two whose joined text is a piece, by that piece's
 * rank, as SentencePiece does; or a list of merges in order, as GPT-2 does. The ids are
 * merged where they stand, so that no other work space is needed.
 */
#include "lib/core/merge.h"

enum { NO_RANK = 0x10000 };

/* What two neighbours become. */
struct merge {
    uint32_t rank; /* NO_RANK: they stay apart */
    uint16_t id;
};

static const struct merge none = {NO_RANK, RUVM_NO_TOKEN};

/* Only pieces found as text merge: a byte of fallback stays alone. */
static struct merge by_text(const struct ruvm_tokenizer *t, uint16_t left, uint16_t right)
{
    if (t->kind[left] != RUVM_PIECE_NORMAL || t->kind[right] != RUVM_PIECE_NORMAL)
        return none;
    uint16_t id = ruvm_pieces_find(t, ruvm_pieces_text(t, left), ruvm_pieces_text(t, right));
    return id == RUVM_NO_TOKEN ? none : (struct merge){ruvm_pieces_u16(t->rank, id), id};
}

static uint32_t key_of(const uint8_t *merge)
{
    return (uint32_t)ruvm_load_u16(merge + RUVM_MERGE_LEFT) << 16 |
           ruvm_load_u16(merge + RUVM_MERGE_RIGHT);
}

static struct merge by_list(const struct ruvm_tokenizer *t, uint16_t left, uint16_t right)
{
    uint32_t key = (uint32_t)left << 16 | right, low = 0, high = t->n_merges;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (key_of(t->merges + RUVM_MERGE_BYTES * (size_t)mid) < key)
            low = mid + 1;
        else
            high = mid;
    }
    const uint8_t *m = t->merges + RUVM_MERGE_BYTES * (size_t)low;
    if (low == t->n_merges || key_of(m) != key)
        return none;
    return (struct merge){ruvm_load_u16(m + RUVM_MERGE_RANK), ruvm_load_u16(m + RUVM_MERGE_RESULT)};
}

static struct merge merge_of(const struct ruvm_tokenizer *t, uint16_t left, uint16_t right)
{
    return t->method == RUVM_TOKN_MERGES ? by_list(t, left, right) : by_text(t, left, right);
}

static uint32_t rank_of(const struct ruvm_tokenizer *t, uint16_t left, uint16_t right)
{
    return merge_of(t, left, right).rank;
}

static uint32_t best_rank(const struct ruvm_tokenizer *t, const uint16_t *ids, size_t n)
{
    uint32_t best = NO_RANK;
    for (size_t i = 1; i < n; i++) {
        uint32_t rank = rank_of(t, ids[i - 1], ids[i]);
        best = rank < best ? rank : best;
    }
    return best;
}

/* Merges every pair of rank `best` from left to right. Stops early when a merge made a pair
 * that comes before the ones still to the right; returns the new length. */
static size_t merge_pass(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n, uint32_t best)
{
    size_t out = 0, in = 0;
    bool stop = false;
    while (in < n) {
        struct merge m = none;
        if (!stop && in + 1 < n)
            m = merge_of(t, ids[in], ids[in + 1]);
        if (m.rank != best) {
            ids[out++] = ids[in++];
            continue;
        }
        in += 2;
        ids[out++] = m.id;
        uint32_t left = out > 1 ? rank_of(t, ids[out - 2], m.id) : NO_RANK;
        uint32_t right = in < n ? rank_of(t, m.id, ids[in]) : NO_RANK;
        stop = left <= best || right < best;
        if (!stop && right == best) {
            ids[--in] = m.id; /* the new piece takes part in the next, equal merge */
            out--;
        }
    }
    return out;
}

size_t ruvm_merge_all(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n)
{
    for (;;) {
        uint32_t best = best_rank(t, ids, n);
        if (best == NO_RANK)
            return n;
        n = merge_pass(t, ids, n, best);
    }
}
