/* The predicate of each mask, and how it is imposed on a row of scores.
 *
 * A hidden score is replaced by one that is seen, so that the largest one stays what it is, and
 * its weight is taken out of the sum. All of it is exact: the result is that of a loop over the
 * seen positions. It costs time and saves none; what a window saves is memory. So that it costs
 * little, what a query sees is counted off, and its predicate not asked for every key.
 */
#include "lib/core/mask.h"

#include "lib/core/engine.h"

static bool is_valid(const struct ruvm_mask *m)
{
    switch (m->kind) {
    case RUVM_MASK_NONE: return m->n[0] == 0 && m->n[1] == 0 && m->n[2] == 0;
    case RUVM_MASK_WINDOW: return m->n[0] > 0 && m->n[2] == 0;
    case RUVM_MASK_STRIDED: return m->n[0] > 0 && m->n[1] > 0 && m->n[2] == 0;
    case RUVM_MASK_DILATED: return m->n[0] > 0 && m->n[1] > 0 && m->n[2] == 0;
    case RUVM_MASK_BIGBIRD: return m->n[0] > 0 && m->n[2] <= RUVM_MASK_MAX_DRAWN;
    default: return false;
    }
}

int ruvm_mask_check(const struct ruvm_mask *m)
{
    return is_valid(m) ? RUVM_OK : RUVM_ERR_ARG;
}

/* splitmix64's mixing: number i of those drawn for a query, in 32 bits. */
static uint32_t drawn(uint32_t query, uint32_t i)
{
    uint64_t z = ((uint64_t)query << 32 | (i + 1u)) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

static uint32_t key_drawn(uint32_t query, uint32_t i)
{
    return (uint32_t)((uint64_t)drawn(query, i) * (query + 1u) >> 32);
}

static bool is_drawn(uint32_t query, uint32_t key, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (key_drawn(query, i) == key)
            return true;
    return false;
}

bool ruvm_mask_sees(const struct ruvm_mask *m, uint32_t query, uint32_t key)
{
    if (key > query)
        return false;
    uint32_t back = query - key;
    switch (m->kind) {
    case RUVM_MASK_WINDOW: return back < m->n[0] || key < m->n[1];
    case RUVM_MASK_STRIDED: return back < m->n[0] || back % m->n[1] == 0;
    case RUVM_MASK_DILATED: return back % m->n[1] == 0 && back / m->n[1] < m->n[0];
    case RUVM_MASK_BIGBIRD: return back < m->n[0] || key < m->n[1] || is_drawn(query, key, m->n[2]);
    default: return true;
    }
}

/* ---- where positions are ------------------------------------------------------ */

uint32_t ruvm_mask_slots(const struct ruvm_mask *m, uint32_t context, uint32_t block)
{
    uint32_t slots = (uint32_t)m->n[0] + m->n[1] + block - 1;
    return !RUVM_CORE_SMALL && m->kind == RUVM_MASK_WINDOW && slots < context ? slots : context;
}

/* Slots of the ring; they begin behind the sinks. */
static uint32_t ring_of(const struct ruvm_engine *e)
{
    return e->slots - e->mask.n[1];
}

bool ruvm_mask_is_ring(const struct ruvm_engine *e)
{
    return !RUVM_CORE_SMALL && e->slots < e->context;
}

uint32_t ruvm_mask_slot(const struct ruvm_engine *e, uint32_t position)
{
    if (RUVM_CORE_SMALL || position < e->slots)
        return position;
    return e->mask.n[1] + (position - e->mask.n[1]) % ring_of(e);
}

bool ruvm_mask_can_rewind(const struct ruvm_engine *e, uint32_t n)
{
    if (!ruvm_mask_is_ring(e) || e->written <= e->slots || n <= e->mask.n[1])
        return true;
    return ring_of(e) + n + 1 >= e->mask.n[0] + e->written;
}

/* ---- what a query sees -------------------------------------------------------- */

/* Slots that are flagged at a time, on the stack. */
enum { FLAGS = 1024 };

/* Slots begin .. end, of which [i] tells whether slot begin + i is seen. */
struct seen {
    uint32_t begin, end;
    uint8_t of[FLAGS];
};

/* Flags the keys first .. last, and of these only each step-th back from the last. */
static void flag(struct seen *s, uint32_t first, uint32_t last, uint32_t step)
{
    uint32_t end = last < s->end ? last + 1 : s->end;
    uint32_t key = first < s->begin ? s->begin : first;
    if (key <= last)
        key += (last - key) % step;
    for (; key < end; key += step)
        s->of[key - s->begin] = 1;
}

static void flag_drawn(struct seen *s, uint32_t query, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = key_drawn(query, i);
        if (key >= s->begin && key < s->end)
            s->of[key - s->begin] = 1;
    }
}

/* The first of n keys that are a step apart and end with the query, or the first of all. */
static uint32_t back_by(uint32_t query, uint32_t n, uint32_t step)
{
    uint64_t back = (uint64_t)(n - 1) * step;
    return back < query ? query - (uint32_t)back : 0;
}

/* ruvm_mask_sees() of all positions of s, none of which is newer than the query. */
static void flag_all(struct seen *s, const struct ruvm_mask *m, uint32_t query)
{
    if (m->kind == RUVM_MASK_DILATED)
        flag(s, back_by(query, m->n[0], m->n[1]), query, m->n[1]);
    else
        flag(s, back_by(query, m->n[0], 1), query, 1);
    if (m->kind == RUVM_MASK_STRIDED)
        flag(s, 0, query, m->n[1]);
    else if (m->kind != RUVM_MASK_DILATED && m->n[1])
        flag(s, 0, m->n[1] - 1, 1);
    flag_drawn(s, query, m->n[2]);
}

/* In a ring what lies behind the sinks goes round: the window is one run of slots, or two. */
static void flag_ring(struct seen *s, const struct ruvm_engine *e, uint32_t query, uint32_t oldest)
{
    uint32_t sinks = e->mask.n[1], first = back_by(query, e->mask.n[0], 1);
    if (oldest < sinks)
        flag(s, oldest, query < sinks ? query : sinks - 1, 1);
    first = first < oldest ? oldest : first;
    first = first < sinks ? sinks : first;
    if (first > query)
        return;
    uint32_t slot = ruvm_mask_slot(e, first), n = query - first + 1, room = e->slots - slot;
    flag(s, slot, slot + (n < room ? n : room) - 1, 1);
    if (n > room)
        flag(s, sinks, sinks + n - room - 1, 1);
}

/* Of slots begin .. end as many as fit. */
static void find_seen(struct seen *s, const struct ruvm_engine *e, uint32_t begin, uint32_t end,
                      uint32_t query, uint32_t oldest)
{
    s->begin = begin;
    s->end = end - begin < FLAGS ? end : begin + FLAGS;
    __builtin_memset(s->of, 0, s->end - begin);
    if (ruvm_mask_is_ring(e))
        flag_ring(s, e, query, oldest);
    else /* a slot is a position, and the first one is not below the oldest */
        flag_all(s, &e->mask, query);
}

/* ---- weights ------------------------------------------------------------------ */

static uint32_t weights_of_seen(struct ruvm_engine *e, uint32_t first, uint32_t n, uint32_t query,
                                uint32_t oldest, struct ruvm_ratio r)
{
    struct seen s;
    int32_t own = e->scores[ruvm_mask_slot(e, query) - first];
    for (uint32_t at = first; at < first + n; at = s.end) {
        find_seen(&s, e, at, first + n, query, oldest);
        for (uint32_t i = at; i < s.end; i++)
            e->scores[i - first] = s.of[i - at] ? e->scores[i - first] : own;
    }
    uint32_t total = e->k->weights(e->weights, e->scores, n, r.mult, r.shift);
    for (uint32_t at = first; at < first + n; at = s.end) {
        if (n > FLAGS) /* else they are there still */
            find_seen(&s, e, at, first + n, query, oldest);
        for (uint32_t i = at; i < s.end; i++) {
            total -= s.of[i - at] ? 0 : e->weights[i - first];
            e->weights[i - first] = s.of[i - at] ? e->weights[i - first] : 0;
        }
    }
    return total;
}

uint32_t ruvm_mask_weights(struct ruvm_engine *e, uint32_t first, uint32_t n, uint32_t position,
                           uint32_t oldest, struct ruvm_ratio r)
{
    if (RUVM_CORE_SMALL || e->mask.kind == RUVM_MASK_NONE)
        return e->k->weights(e->weights, e->scores, n, r.mult, r.shift);
    return weights_of_seen(e, first, n, position, oldest, r);
}
