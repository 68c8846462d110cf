/* Lists of merges: from the texts in a file to ids, and to scores when these say the same.
 *
 * SentencePiece merges any two neighbours that make a piece, the best piece first; whoever
 * writes its vocabulary down as a list of merges writes every way to make each piece,
 * piece by piece. Such a list is recognised, and the order of the pieces is kept alone,
 * which takes a chip less room.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/vocab.h"

/* The findable pieces by text, of equal ones the first id first. */
struct index {
    const struct ruvm_vocab *v;
    const struct ruvm_piece **sorted;
    uint32_t n;
};

static int compare(const uint8_t *a, uint32_t n_a, const uint8_t *b, uint32_t n_b)
{
    uint32_t n = n_a < n_b ? n_a : n_b;
    int order = n ? memcmp(a, b, n) : 0;
    return order != 0 ? order : (n_a > n_b) - (n_a < n_b);
}

static int by_text(const void *pa, const void *pb)
{
    const struct ruvm_piece *a = *(const struct ruvm_piece *const *)pa;
    const struct ruvm_piece *b = *(const struct ruvm_piece *const *)pb;
    int order = compare(a->text, a->n_bytes, b->text, b->n_bytes);
    return order != 0 ? order : (a > b) - (a < b);
}

static int open_index(struct index *x, const struct ruvm_vocab *v, struct ruvm_error *err)
{
    *x = (struct index){.v = v, .sorted = malloc((v->n_pieces + 1u) * sizeof *x->sorted)};
    if (!x->sorted)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u pieces", v->n_pieces);
    for (uint32_t i = 0; i < v->n_pieces; i++)
        if (v->pieces[i].kind == RUVM_PIECE_NORMAL && v->pieces[i].n_bytes > 0)
            x->sorted[x->n++] = &v->pieces[i];
    qsort(x->sorted, x->n, sizeof *x->sorted, by_text);
    return RUVM_OK;
}

static uint32_t find(const struct index *x, const uint8_t *text, uint32_t n)
{
    uint32_t low = 0, high = x->n;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (compare(x->sorted[mid]->text, x->sorted[mid]->n_bytes, text, n) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == x->n || compare(x->sorted[low]->text, x->sorted[low]->n_bytes, text, n) != 0)
        return UINT32_MAX;
    return (uint32_t)(x->sorted[low] - x->v->pieces);
}

/* ---- from texts to ids ------------------------------------------------------------ */

static uint32_t find_joined(const struct index *x, const struct ruvm_vocab_text *parts,
                            uint8_t *room)
{
    memcpy(room, parts[0].text, parts[0].n);
    memcpy(room + parts[0].n, parts[1].text, parts[1].n);
    return find(x, room, parts[0].n + parts[1].n);
}

static int set_merge(struct ruvm_merge *m, const struct index *x,
                     const struct ruvm_vocab_text *parts, uint32_t i, struct ruvm_error *err)
{
    uint8_t room[1 << 17];
    if (parts[0].n > sizeof room / 2 || parts[1].n > sizeof room / 2)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "merge %u: texts of %u and %u bytes", i,
                         parts[0].n, parts[1].n);
    m->left = find(x, parts[0].text, parts[0].n);
    m->right = find(x, parts[1].text, parts[1].n);
    m->result = find_joined(x, parts, room);
    const struct ruvm_vocab_text *missing = m->left == UINT32_MAX ? &parts[0] : &parts[1];
    if (m->left == UINT32_MAX || m->right == UINT32_MAX)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "merge %u: \"%.*s\" is not in the vocabulary", i,
                         (int)(missing->n < 80 ? missing->n : 80), (const char *)missing->text);
    if (m->result == UINT32_MAX)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "merge %u: what \"%.*s\" and \"%.*s\" make is not in the vocabulary", i,
                         (int)(parts[0].n < 80 ? parts[0].n : 80), (const char *)parts[0].text,
                         (int)(parts[1].n < 80 ? parts[1].n : 80), (const char *)parts[1].text);
    return RUVM_OK;
}

int ruvm_vocab_set_merges(struct ruvm_vocab *v, struct ruvm_arena *arena,
                          const struct ruvm_vocab_text *parts, uint32_t n_merges,
                          struct ruvm_error *err)
{
    struct index x;
    int rc = open_index(&x, v, err);
    if (rc != RUVM_OK)
        return rc;
    v->merges = ruvm_arena_alloc(arena, n_merges + 1u, sizeof *v->merges);
    v->n_merges = n_merges;
    if (!v->merges)
        rc = ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u merges", n_merges);
    for (uint32_t i = 0; rc == RUVM_OK && i < n_merges; i++)
        rc = set_merge(&v->merges[i], &x, parts + 2 * (size_t)i, i, err);
    free(x.sorted);
    return rc;
}

/* ---- from merges to scores ---------------------------------------------------------- */

/* Whether the merges make the pieces in the order of their ids. */
static bool is_in_order(const struct ruvm_vocab *v)
{
    for (uint32_t i = 1; i < v->n_merges; i++) {
        const struct ruvm_merge *a = &v->merges[i - 1], *b = &v->merges[i];
        bool again = a->left == b->left && a->right == b->right;
        if (b->result < a->result || again)
            return false;
    }
    return true;
}

/* Ways to make the pieces of two others. */
static uint64_t count_ways(const struct index *x)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        const struct ruvm_piece *p = x->sorted[i];
        if (i > 0 &&
            compare(p->text, p->n_bytes, x->sorted[i - 1]->text, x->sorted[i - 1]->n_bytes) == 0)
            continue;
        for (uint32_t at = 1; at < p->n_bytes; at++)
            n += find(x, p->text, at) != UINT32_MAX &&
                 find(x, p->text + at, p->n_bytes - at) != UINT32_MAX;
    }
    return n;
}

/* As SentencePiece gives them: 0 for the first piece and what is none, then one less each. */
static void set_scores(struct ruvm_vocab *v)
{
    uint32_t first = 0;
    while (first < v->n_pieces && v->pieces[first].kind != RUVM_PIECE_NORMAL)
        first++;
    for (uint32_t i = 0; i < v->n_pieces; i++)
        v->pieces[i].score = v->pieces[i].kind == RUVM_PIECE_NORMAL ? -(float)(i - first) : 0;
}

int ruvm_vocab_simplify(struct ruvm_vocab *v, struct ruvm_error *err)
{
    struct index x;
    bool whole = (v->options & (RUVM_TOKN_BYTE_LEVEL | RUVM_TOKN_WHOLE_WORDS)) == 0;
    if (v->kind != RUVM_TOKN_MERGES || !whole || !is_in_order(v))
        return RUVM_OK;
    int rc = open_index(&x, v, err);
    if (rc != RUVM_OK)
        return rc;
    if (count_ways(&x) == v->n_merges) {
        v->kind = RUVM_TOKN_SCORES;
        v->n_merges = 0;
        set_scores(v);
    }
    free(x.sorted);
    return RUVM_OK;
}
