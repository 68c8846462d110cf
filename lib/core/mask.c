/* The predicate of each mask, and how it is imposed on a row of scores.
 *
 * A hidden score is replaced by one that is seen, so that the largest one stays what it is, and
 * its weight is taken out of the sum. All of it is exact: the result is that of a loop over the
 * seen positions. It costs time and saves none; what a window saves is memory.
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

static bool is_drawn(uint32_t query, uint32_t key, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if ((uint32_t)((uint64_t)drawn(query, i) * (query + 1u) >> 32) == key)
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

/* The newest position up to `newest` that belongs into a slot, which has had one. What is there
 * may be a later one, of this block or taken back; then this one is behind the window. */
static uint32_t position_in(const struct ruvm_engine *e, uint32_t slot, uint32_t newest)
{
    uint32_t sinks = e->mask.n[1];
    if (newest < e->slots || slot < sinks)
        return slot;
    return newest - (newest - slot) % ring_of(e);
}

bool ruvm_mask_can_rewind(const struct ruvm_engine *e, uint32_t n)
{
    if (!ruvm_mask_is_ring(e) || e->written <= e->slots || n <= e->mask.n[1])
        return true;
    return ring_of(e) + n + 1 >= e->mask.n[0] + e->written;
}

/* ---- weights ------------------------------------------------------------------ */

uint32_t ruvm_mask_weights(struct ruvm_engine *e, uint32_t first, uint32_t n, uint32_t position,
                           uint32_t oldest, struct ruvm_ratio r)
{
    if (RUVM_CORE_SMALL || e->mask.kind == RUVM_MASK_NONE)
        return e->k->weights(e->weights, e->scores, n, r.mult, r.shift);
    int32_t own = e->scores[ruvm_mask_slot(e, position) - first];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = position_in(e, first + i, position);
        if (key < oldest || !ruvm_mask_sees(&e->mask, position, key))
            e->scores[i] = own;
    }
    uint32_t total = e->k->weights(e->weights, e->scores, n, r.mult, r.shift);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = position_in(e, first + i, position);
        if (key >= oldest && ruvm_mask_sees(&e->mask, position, key))
            continue;
        total -= e->weights[i];
        e->weights[i] = 0;
    }
    return total;
}
