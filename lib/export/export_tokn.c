/* Arrays for a chip's searches, put back into the order that people's files have them in:
 * ranks become scores, merges stand by rank.
 */
#include "lib/export/export_tokn.h"

#include <math.h>
#include <stdlib.h>

#include "formats/tokn_read.h"
#include "lib/base/bytes.h"

/* Ranks order the merges as the scores did that they came from. */
static float score_of(const struct ruvm_tokn *t, uint32_t id)
{
    switch (t->kind) {
    case RUVM_TOKN_SCORES: return 0.0f - (float)ruvm_load_u16(t->rank + 2 * (size_t)id);
    case RUVM_TOKN_UNIGRAM:
        return (float)ldexp((int32_t)ruvm_load_u32(t->score + 4 * (size_t)id),
                            -RUVM_TOKN_SCORE_BITS);
    default: return 0;
    }
}

static bool read_pieces(struct ruvm_vocab *v, struct ruvm_arena *arena, const struct ruvm_tokn *t)
{
    v->n_pieces = t->n;
    v->pieces = ruvm_arena_alloc(arena, t->n, sizeof *v->pieces);
    for (uint32_t i = 0; v->pieces && i < t->n; i++) {
        const uint8_t *off = t->off + 4 * (size_t)i;
        uint32_t begin = ruvm_load_u32(off);
        v->pieces[i] = (struct ruvm_piece){.text = t->text + begin,
                                           .n_bytes = ruvm_load_u32(off + 4) - begin,
                                           .score = score_of(t, i),
                                           .kind = (enum ruvm_piece_kind)t->piece_kind[i]};
    }
    return v->pieces != NULL;
}

/* ---- what follows the text ------------------------------------------------------ */

struct ranked {
    struct ruvm_merge merge;
    uint16_t rank;
};

static int by_rank(const void *pa, const void *pb)
{
    const struct ranked *a = pa, *b = pb;
    return (a->rank > b->rank) - (a->rank < b->rank);
}

static bool read_merges(struct ruvm_vocab *v, struct ruvm_arena *arena, const struct ruvm_tokn *t)
{
    struct ranked *order = ruvm_arena_alloc(arena, t->n_merges + 1u, sizeof *order);
    v->n_merges = t->n_merges;
    v->merges = ruvm_arena_alloc(arena, t->n_merges + 1u, sizeof *v->merges);
    if (!order || !v->merges)
        return false;
    for (uint32_t i = 0; i < t->n_merges; i++) {
        const uint8_t *m = t->merges + RUVM_MERGE_BYTES * (size_t)i;
        order[i] = (struct ranked){{ruvm_load_u16(m + RUVM_MERGE_LEFT),
                                    ruvm_load_u16(m + RUVM_MERGE_RIGHT),
                                    ruvm_load_u16(m + RUVM_MERGE_RESULT)},
                                   ruvm_load_u16(m + RUVM_MERGE_RANK)};
    }
    qsort(order, t->n_merges, sizeof *order, by_rank);
    for (uint32_t i = 0; i < t->n_merges; i++)
        v->merges[i] = order[i].merge;
    return true;
}

static bool read_more(struct ruvm_vocab *v, struct ruvm_arena *arena, const struct ruvm_tokn *t)
{
    v->specials = true;
    v->pattern = t->pattern;
    v->options = t->options;
    v->n_ends = t->n_ends < RUVM_MAX_ENDS ? t->n_ends : RUVM_MAX_ENDS;
    for (uint32_t i = 0; i < v->n_ends; i++)
        v->ends[i] = ruvm_load_u16(t->end + 2 * (size_t)i);
    if (t->chat_bytes)
        v->chat = ruvm_arena_text(arena, (const char *)t->chat, t->chat_bytes);
    return read_merges(v, arena, t) && (v->chat || !t->chat_bytes);
}

static uint32_t token(const uint8_t *field)
{
    uint16_t id = ruvm_load_u16(field);
    return id == RUVM_NO_TOKEN ? RUVM_VOCAB_NONE : id;
}

int ruvm_export_tokn(struct ruvm_vocab *v, struct ruvm_arena *arena, const uint8_t *section,
                     struct ruvm_error *err)
{
    struct ruvm_tokn t;
    ruvm_tokn_open(&t, section);
    *v = (struct ruvm_vocab){.kind = (enum ruvm_tokn_kind)t.kind,
                             .bos = token(section + RUVM_TOKN_BOS),
                             .eos = token(section + RUVM_TOKN_EOS),
                             .unk = token(section + RUVM_TOKN_UNK),
                             .add_bos = (t.flags & RUVM_TOKN_FLAG_ADD_BOS) != 0,
                             .space_prefix = (t.flags & RUVM_TOKN_FLAG_SPACE_PREFIX) != 0};
    bool good = read_pieces(v, arena, &t);
    if (good && t.more)
        good = read_more(v, arena, &t);
    return good ? RUVM_OK : ruvm_fail(err, RUVM_ERR_MEMORY, "memory is short for %u pieces", t.n);
}
