/* What of a vocabulary a text can need, and a vocabulary of only that.
 *
 * The encoder finds a piece, or makes it by a merge, only where its text stands: so pieces
 * that do not occur can go, with the merges that make them, and no other choice changes.
 * Only spaces may be elsewhere than in the text: one is put before it, and some vocabularies
 * make runs of them one. So a piece is looked for without its leading spaces, both in the
 * text as it is and with spaces as such a vocabulary sees them.
 */
#include "lib/prune/vocab_part.h"

#include <stdlib.h>
#include <string.h>

/* ---- taking ---------------------------------------------------------------- */

static uint32_t renumbered(const struct ruvm_vocab_part *p, uint32_t n_old, uint32_t id)
{
    return id < n_old ? p->now[id] : RUVM_VOCAB_NONE;
}

/* Those merges whose three tokens are still there, in their order. */
static void take_merges(struct ruvm_vocab_part *p, struct ruvm_merge *merges,
                        const struct ruvm_vocab *v, const bool *keep)
{
    p->vocab.merges = merges;
    p->vocab.n_merges = 0;
    for (uint32_t i = 0; i < v->n_merges; i++) {
        const struct ruvm_merge *m = &v->merges[i];
        if (keep[m->left] && keep[m->right] && keep[m->result])
            merges[p->vocab.n_merges++] =
                (struct ruvm_merge){p->now[m->left], p->now[m->right], p->now[m->result]};
    }
}

static void take_ends(struct ruvm_vocab_part *p, const struct ruvm_vocab *v)
{
    p->vocab.bos = renumbered(p, v->n_pieces, v->bos);
    p->vocab.eos = renumbered(p, v->n_pieces, v->eos);
    p->vocab.unk = renumbered(p, v->n_pieces, v->unk);
    p->vocab.n_ends = 0;
    for (uint32_t i = 0; i < v->n_ends; i++) {
        uint32_t id = renumbered(p, v->n_pieces, v->ends[i]);
        if (id != RUVM_VOCAB_NONE)
            p->vocab.ends[p->vocab.n_ends++] = id;
    }
}

int ruvm_vocab_part_take(struct ruvm_vocab_part *p, struct ruvm_arena *arena,
                         const struct ruvm_vocab *v, const bool *keep, struct ruvm_error *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->n_pieces; i++)
        n += keep[i];
    *p = (struct ruvm_vocab_part){.vocab = *v};
    struct ruvm_piece *pieces = ruvm_arena_alloc(arena, n, sizeof *pieces);
    struct ruvm_merge *merges = ruvm_arena_alloc(arena, v->n_merges + 1u, sizeof *merges);
    p->old = ruvm_arena_alloc(arena, n, sizeof *p->old);
    p->now = ruvm_arena_alloc(arena, v->n_pieces, sizeof *p->now);
    if (!pieces || !merges || !p->old || !p->now)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u tokens", v->n_pieces);
    p->vocab.pieces = pieces;
    p->vocab.n_pieces = 0;
    for (uint32_t i = 0; i < v->n_pieces; i++) {
        p->now[i] = keep[i] ? p->vocab.n_pieces : RUVM_VOCAB_NONE;
        if (!keep[i])
            continue;
        p->old[p->vocab.n_pieces] = i;
        pieces[p->vocab.n_pieces++] = v->pieces[i];
    }
    take_merges(p, merges, v, keep);
    take_ends(p, v);
    return RUVM_OK;
}

/* ---- finding --------------------------------------------------------------- */

/* A piece without its leading spaces. */
struct wanted {
    const uint8_t *text;
    uint32_t n, id;
};

struct finder {
    bool *keep;
    struct wanted *list; /* [n] by bytes, none empty */
    uint32_t n;
    uint32_t first[257]; /* those that begin with byte b are first[b] .. first[b + 1] - 1 */
};

static int by_bytes(const void *pa, const void *pb)
{
    const struct wanted *a = pa, *b = pb;
    uint32_t n = a->n < b->n ? a->n : b->n;
    int order = memcmp(a->text, b->text, n);
    return order != 0 ? order : (a->n > b->n) - (a->n < b->n);
}

static int open_finder(struct finder *f, const struct ruvm_vocab *v, struct ruvm_arena *work,
                       struct ruvm_error *err)
{
    f->list = ruvm_arena_alloc(work, v->n_pieces, sizeof *f->list);
    if (!f->list)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u pieces", v->n_pieces);
    for (uint32_t i = 0; i < v->n_pieces; i++) {
        struct wanted w = {v->pieces[i].text, v->pieces[i].n_bytes, i};
        for (; w.n > 0 && *w.text == ' '; w.n--)
            w.text++;
        if (w.n > 0)
            f->list[f->n++] = w;
        else
            f->keep[i] = v->pieces[i].n_bytes > 0;
    }
    qsort(f->list, f->n, sizeof *f->list, by_bytes);
    for (uint32_t i = 0; i < f->n; i++)
        f->first[f->list[i].text[0] + 1] = i + 1;
    for (int byte = 0; byte < 256; byte++)
        if (f->first[byte + 1] < f->first[byte])
            f->first[byte + 1] = f->first[byte];
    return RUVM_OK;
}

/* The first of low .. high - 1, alike in `at` bytes and longer than that, whose next byte is
 * at least `byte`, which may be 256. */
static uint32_t bound(const struct finder *f, uint32_t low, uint32_t high, size_t at, unsigned byte)
{
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (f->list[mid].text[at] < byte)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Keeps the pieces that stand at the beginning of a text. */
static void find_here(struct finder *f, const uint8_t *text, size_t n)
{
    uint32_t low = f->first[text[0]], high = f->first[text[0] + 1];
    for (size_t at = 1; low < high; at++) {
        for (; low < high && f->list[low].n == at; low++)
            f->keep[f->list[low].id] = true;
        if (at == n)
            return;
        low = bound(f, low, high, at, text[at]);
        high = bound(f, low, high, at, text[at] + 1u);
    }
}

static void find_all(struct finder *f, const uint8_t *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        find_here(f, text + i, n - i);
}

/* ---- the text as the vocabulary sees it ---------------------------------------- */

/* Bytes of the space that a text begins with in one of its spellings, or 0. */
static size_t space_at(const uint8_t *text, size_t n, unsigned options)
{
    static const uint8_t metaspace[] = {0xE2, 0x96, 0x81};
    uint8_t c = text[0];
    bool line = c == '\t' || c == '\n' || c == '\f' || c == '\r';
    if (c == ' ' || (line && (options & RUVM_TOKN_LINE_SPACES)))
        return 1;
    bool meta = (options & RUVM_TOKN_METASPACE) && n >= sizeof metaspace &&
                memcmp(text, metaspace, sizeof metaspace) == 0;
    return meta ? sizeof metaspace : 0;
}

/* Writes it to out, which has room for n; returns its length. */
static size_t see(uint8_t *out, const uint8_t *text, size_t n, unsigned options)
{
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        size_t space = space_at(text + i, n - i, options);
        bool again = space && (options & RUVM_TOKN_FEW_SPACES) && used && out[used - 1] == ' ';
        if (!again)
            out[used++] = space ? ' ' : text[i];
        i += space ? space : 1;
    }
    return used;
}

static int find_seen(struct finder *f, const uint8_t *text, size_t n, unsigned options,
                     struct ruvm_arena *work, struct ruvm_error *err)
{
    const unsigned spaces = RUVM_TOKN_METASPACE | RUVM_TOKN_LINE_SPACES | RUVM_TOKN_FEW_SPACES;
    if (!(options & spaces))
        return RUVM_OK;
    uint8_t *seen = ruvm_arena_alloc(work, n + 1, 1);
    if (!seen)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %zu bytes of text", n);
    find_all(f, seen, see(seen, text, n, options));
    return RUVM_OK;
}

/* ---- what is needed in any text -------------------------------------------------- */

/* Single bytes, the tokens with a role, and of a Unigram model the lowest score, which says
 * what an unknown character costs. */
static void keep_needed(bool *keep, const struct ruvm_vocab *v)
{
    uint32_t lowest = RUVM_VOCAB_NONE;
    const uint32_t roles[] = {v->bos, v->eos, v->unk};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (roles[i] < v->n_pieces)
            keep[roles[i]] = true;
    for (uint32_t i = 0; i < v->n_pieces; i++) {
        const struct ruvm_piece *p = &v->pieces[i];
        bool findable = p->kind == RUVM_PIECE_NORMAL && p->n_bytes > 0;
        if (p->n_bytes == 1)
            keep[i] = true;
        if (findable && (lowest == RUVM_VOCAB_NONE || p->score < v->pieces[lowest].score))
            lowest = i;
    }
    if (v->kind == RUVM_TOKN_UNIGRAM && lowest != RUVM_VOCAB_NONE)
        keep[lowest] = true;
}

int ruvm_vocab_part_of_text(bool *keep, const struct ruvm_vocab *v, const char *text, size_t n,
                            struct ruvm_arena *work, struct ruvm_error *err)
{
    struct finder f = {.keep = keep};
    const uint8_t *bytes = (const uint8_t *)text;
    int rc = open_finder(&f, v, work, err);
    if (rc != RUVM_OK)
        return rc;
    keep_needed(keep, v);
    find_all(&f, bytes, n);
    return find_seen(&f, bytes, n, v->options, work, err);
}
