/* Follows the encoder's merges to find the pieces that others are made of. (Of Unigram, which
 * has no merges, the characters of a piece are kept: without them a character would be
 * unknown, which is another way to say it.)
 *
 * No merge reaches across the ends of a token that is still there when the text is done, so
 * within it the encoder went the way it goes when that token's text stands alone: best
 * score first, leftmost of equals. The pieces on that one way are all that a token
 * needs; with fewer pieces around there are fewer other pairs, never a better one.
 */
#define _GNU_SOURCE /* memmem */
#include "lib/prune/prune_vocab.h"

#include <stdlib.h>
#include <string.h>

enum { NO_PIECE = -1 };

/* A stretch of the text being merged. */
struct symbol {
    uint32_t begin, end;
    int64_t id; /* NO_PIECE: a byte that no piece expresses */
};

/* A merge by its pair; rank: its place in the list. */
struct ranked {
    uint32_t left, right, rank;
};

struct follower {
    const struct ruvm_vocab *v;
    bool *keep;
    const struct ruvm_piece **sorted; /* [n_sorted] those that the encoder finds, by bytes */
    uint32_t n_sorted;
    struct ranked *merges;  /* [n_merges of the vocabulary] by pair, then rank */
    int64_t bytes[256];     /* the piece of each byte, or NO_PIECE */
    struct symbol *symbols; /* room for the longest piece */
};

static int compare_bytes(const uint8_t *a, uint32_t n_a, const uint8_t *b, uint32_t n_b)
{
    uint32_t n = n_a < n_b ? n_a : n_b;
    int order = n ? memcmp(a, b, n) : 0;
    return order != 0 ? order : (n_a > n_b) - (n_a < n_b);
}

/* By bytes; of equal ones the first id, which stands first in memory, comes first. */
static int by_bytes(const void *pa, const void *pb)
{
    const struct ruvm_piece *a = *(const struct ruvm_piece *const *)pa;
    const struct ruvm_piece *b = *(const struct ruvm_piece *const *)pb;
    int order = compare_bytes(a->text, a->n_bytes, b->text, b->n_bytes);
    return order != 0 ? order : (a > b) - (a < b);
}

static int64_t find(const struct follower *f, const uint8_t *text, uint32_t n)
{
    uint32_t low = 0, high = f->n_sorted;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        const struct ruvm_piece *p = f->sorted[mid];
        if (compare_bytes(p->text, p->n_bytes, text, n) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == f->n_sorted)
        return NO_PIECE;
    const struct ruvm_piece *p = f->sorted[low];
    bool same = compare_bytes(p->text, p->n_bytes, text, n) == 0;
    return same ? p - f->v->pieces : NO_PIECE;
}

static void keep(struct follower *f, int64_t id)
{
    if (id >= 0 && id < f->v->n_pieces) /* RUVM_VOCAB_NONE never is */
        f->keep[id] = true;
}

static bool is_byte_level(const struct ruvm_vocab *v)
{
    return (v->options & RUVM_TOKN_BYTE_LEVEL) != 0;
}

/* ---- one piece ----------------------------------------------------------- */

/* A byte and the continuation bytes after it, four at most: as the encoder cuts. */
static uint32_t character(const uint8_t *text, uint32_t left)
{
    uint32_t n = 1;
    while (n < left && n < 4 && (text[n] & 0xC0u) == 0x80u)
        n++;
    return n;
}

static uint32_t split(struct follower *f, const uint8_t *text, uint32_t n_bytes)
{
    uint32_t n = 0;
    for (uint32_t at = 0, bytes; at < n_bytes; at += bytes) {
        bytes = is_byte_level(f->v) ? 1 : character(text + at, n_bytes - at);
        int64_t id = is_byte_level(f->v) ? f->bytes[text[at]] : find(f, text + at, bytes);
        if (id != NO_PIECE) {
            f->symbols[n++] = (struct symbol){at, at + bytes, id};
            continue;
        }
        for (uint32_t i = at; i < at + bytes; i++)
            f->symbols[n++] = (struct symbol){i, i + 1, f->bytes[text[i]]};
    }
    return n;
}

static bool can_merge(const struct follower *f, const struct symbol *s)
{
    return s->id != NO_PIECE && f->v->pieces[s->id].kind == RUVM_PIECE_NORMAL;
}

/* A pair that may merge: what it becomes, and what is best first. */
struct pair {
    int64_t id; /* NO_PIECE: it may not */
    double order;
};

static struct pair by_score(const struct follower *f, const uint8_t *text, const struct symbol *s)
{
    if (!can_merge(f, s) || !can_merge(f, s + 1))
        return (struct pair){NO_PIECE, 0};
    int64_t id = find(f, text + s->begin, s[1].end - s->begin);
    return (struct pair){id, id == NO_PIECE ? 0 : -(double)f->v->pieces[id].score};
}

static int by_parts(const void *pa, const void *pb)
{
    const struct ranked *a = pa, *b = pb;
    if (a->left != b->left)
        return a->left < b->left ? -1 : 1;
    return a->right != b->right ? (a->right < b->right ? -1 : 1) : 0;
}

static struct pair by_list(const struct follower *f, const struct symbol *s)
{
    if (s[0].id == NO_PIECE || s[1].id == NO_PIECE)
        return (struct pair){NO_PIECE, 0};
    const struct ranked key = {.left = (uint32_t)s[0].id, .right = (uint32_t)s[1].id};
    const struct ranked *m =
        f->v->n_merges ? bsearch(&key, f->merges, f->v->n_merges, sizeof key, by_parts) : NULL;
    return m ? (struct pair){f->v->merges[m->rank].result, m->rank} : (struct pair){NO_PIECE, 0};
}

/* The place of the left one of the pair to merge next, and what it becomes; or n. */
static uint32_t best_pair(const struct follower *f, const uint8_t *text, uint32_t n, int64_t *id)
{
    uint32_t best = n;
    double order = 0;
    for (uint32_t i = 0; i + 1 < n; i++) {
        const struct symbol *s = &f->symbols[i];
        struct pair p = f->v->kind == RUVM_TOKN_MERGES ? by_list(f, s) : by_score(f, text, s);
        if (p.id == NO_PIECE || (best < n && p.order >= order))
            continue;
        best = i;
        order = p.order;
        *id = p.id;
    }
    return best;
}

/* Keeps all that comes up while the text of the piece is encoded. */
static void follow(struct follower *f, const struct ruvm_piece *p)
{
    uint32_t n = split(f, p->text, p->n_bytes);
    for (uint32_t i = 0; i < n; i++)
        keep(f, f->symbols[i].id);
    if (f->v->kind == RUVM_TOKN_UNIGRAM) /* which has no merges */
        return;
    int64_t id = NO_PIECE;
    for (uint32_t i; (i = best_pair(f, p->text, n, &id)) < n; n--) {
        struct symbol *s = &f->symbols[i];
        keep(f, id);
        *s = (struct symbol){s->begin, s[1].end, id};
        memmove(s + 1, s + 2, (n - i - 2) * sizeof *s);
    }
}

/* ---- all of them --------------------------------------------------------- */

/* As ruvm_tokenizer_build() chooses: a byte's own piece before a text of one byte, of
 * equals the first. */
static void find_bytes(struct follower *f)
{
    for (int byte = 0; byte < 256; byte++)
        f->bytes[byte] = NO_PIECE;
    for (int kind = RUVM_PIECE_BYTE; kind >= RUVM_PIECE_NORMAL; kind--)
        for (uint32_t i = 0; i < f->v->n_pieces; i++) {
            const struct ruvm_piece *p = &f->v->pieces[i];
            bool fits = p->n_bytes == 1 && (int)p->kind == kind;
            if (fits && f->bytes[p->text[0]] == NO_PIECE)
                f->bytes[p->text[0]] = i;
        }
}

static bool open_follower(struct follower *f, struct ruvm_arena *work)
{
    uint32_t longest = 1;
    f->sorted = ruvm_arena_alloc(work, f->v->n_pieces, sizeof *f->sorted);
    for (uint32_t i = 0; f->sorted && i < f->v->n_pieces; i++) {
        const struct ruvm_piece *p = &f->v->pieces[i];
        longest = p->n_bytes > longest ? p->n_bytes : longest;
        if (p->kind == RUVM_PIECE_NORMAL && p->n_bytes > 0)
            f->sorted[f->n_sorted++] = p;
    }
    f->symbols = ruvm_arena_alloc(work, longest, sizeof *f->symbols);
    f->merges = ruvm_arena_alloc(work, f->v->n_merges + 1u, sizeof *f->merges);
    if (!f->sorted || !f->symbols || !f->merges)
        return false;
    for (uint32_t i = 0; i < f->v->n_merges; i++)
        f->merges[i] = (struct ranked){f->v->merges[i].left, f->v->merges[i].right, i};
    qsort(f->merges, f->v->n_merges, sizeof *f->merges, by_parts);
    qsort(f->sorted, f->n_sorted, sizeof *f->sorted, by_bytes);
    find_bytes(f);
    return true;
}

/* What an unknown character costs depends on the lowest score. */
static void keep_lowest(struct follower *f)
{
    const struct ruvm_piece *lowest = NULL;
    for (uint32_t i = 0; i < f->n_sorted; i++)
        if (!lowest || f->sorted[i]->score < lowest->score)
            lowest = f->sorted[i];
    keep(f, lowest ? lowest - f->v->pieces : NO_PIECE);
}

/* A conversation is written with special tokens: those that its template names. */
static void keep_of_chat(struct follower *f)
{
    const char *chat = f->v->chat;
    size_t n = chat ? strlen(chat) : 0;
    for (uint32_t i = 0; n && i < f->v->n_pieces; i++) {
        const struct ruvm_piece *p = &f->v->pieces[i];
        if (p->kind >= RUVM_PIECE_CONTROL && p->n_bytes > 0 && memmem(chat, n, p->text, p->n_bytes))
            keep(f, i);
    }
}

int ruvm_prune_vocab(bool *kept, const struct ruvm_vocab *v, struct ruvm_arena *work,
                     struct ruvm_error *err)
{
    struct follower f = {.v = v, .keep = kept};
    if (!open_follower(&f, work))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u pieces", v->n_pieces);
    keep(&f, v->bos);
    keep(&f, v->eos);
    keep(&f, v->unk);
    for (uint32_t i = 0; i < v->n_ends; i++)
        keep(&f, v->ends[i]);
    for (unsigned byte = 0; byte < 256; byte++)
        keep(&f, f.bytes[byte]);
    keep_of_chat(&f);
    if (v->kind == RUVM_TOKN_UNIGRAM)
        keep_lowest(&f);
    if (v->space_prefix)
        keep(&f, find(&f, (const uint8_t *)" ", 1));
    for (uint32_t i = 0; i < v->n_pieces; i++)
        if (kept[i] && v->pieces[i].kind == RUVM_PIECE_NORMAL)
            follow(&f, &v->pieces[i]);
    return RUVM_OK;
}
