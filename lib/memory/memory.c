/* Memory: a few hundred entries, looked at one by one.
 *
 * A device's memory is small, so that comparing with all of it costs less than any index
 * would, and an entry can go at any time without a trace.
 */
#include "lib/memory/memory.h"

#include "lib/base/bytes.h"
#include "lib/vector/distance.h"

enum { ALIGN = 16, SIDE_BYTES = 2, ONE = 65536 };

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static void copy(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
}

static bool is_sound(const struct ruvm_memory_shape *s)
{
    return s->capacity >= 1 && s->capacity <= RUVM_MEMORY_MAX_ENTRIES &&
           s->dims >= RUVM_RAG_MIN_DIMS && s->dims <= RUVM_RAG_MAX_DIMS;
}

size_t ruvm_memory_bytes(const struct ruvm_memory_shape *s)
{
    if (!is_sound(s))
        return 0;
    return aligned(s->capacity * sizeof(struct ruvm_memory_entry)) +
           aligned((size_t)s->capacity * ruvm_rag_row_bytes(RUVM_VECTOR_INT8, s->dims)) +
           aligned((size_t)s->capacity * SIDE_BYTES) + aligned((size_t)s->capacity * s->text_bytes);
}

int ruvm_memory_init(struct ruvm_memory *m, const struct ruvm_memory_shape *s, void *memory,
                     size_t bytes)
{
    uint8_t *p = memory;
    if (!is_sound(s) || (uintptr_t)memory % ALIGN)
        return RUVM_ERR_ARG;
    if (bytes < ruvm_memory_bytes(s))
        return RUVM_ERR_MEMORY;
    *m = (struct ruvm_memory){.shape = *s, .next_id = 1};
    int rc = ruvm_vectors_shape(&m->vectors, RUVM_VECTOR_INT8, RUVM_METRIC_COSINE, s->dims);
    m->entries = memory;
    p += aligned(s->capacity * sizeof *m->entries);
    m->rows = p;
    p += aligned((size_t)s->capacity * m->vectors.row_bytes);
    m->sides = p;
    p += aligned((size_t)s->capacity * SIDE_BYTES);
    m->texts = (char *)p;
    m->vectors.rows = m->rows;
    m->vectors.side = m->sides;
    m->vectors.n = s->capacity;
    for (uint32_t i = 0; i < s->capacity; i++)
        m->entries[i] = (struct ruvm_memory_entry){0};
    return rc;
}

/* ---- places ----------------------------------------------------------------------------- */

static char *text_of(const struct ruvm_memory *m, uint32_t place)
{
    return m->texts + (size_t)place * m->shape.text_bytes;
}

static bool same_tags(const struct ruvm_traits *a, const struct ruvm_traits *b)
{
    if (a->n_tags != b->n_tags)
        return false;
    for (uint8_t i = 0; i < a->n_tags; i++)
        if (a->tags[i].key != b->tags[i].key || a->tags[i].value != b->tags[i].value)
            return false;
    return true;
}

static bool is_same(const struct ruvm_memory *m, uint32_t place,
                    const struct ruvm_memory_item *item)
{
    const struct ruvm_memory_entry *e = &m->entries[place];
    const char *text = text_of(m, place);
    if (e->id == 0 || e->n_text != item->n_text || !same_tags(&e->traits, &item->traits))
        return false;
    for (size_t i = 0; i < item->n_text; i++)
        if (text[i] != item->text[i])
            return false;
    return true;
}

/* What to give up first: free places, what has expired, what is worth least; of equal ones the
 * oldest. One number, so that comparing is simple. */
static uint64_t rank_of(const struct ruvm_memory_entry *e, uint32_t now)
{
    if (e->id == 0)
        return 0;
    return (uint64_t)ruvm_traits_worth_q16(&e->traits, now) << 32 | e->id;
}

/* Where the item goes; capacity: nowhere. */
static uint32_t place_for(const struct ruvm_memory *m, const struct ruvm_memory_item *item,
                          uint32_t now)
{
    uint32_t least = 0;
    for (uint32_t i = 0; i < m->shape.capacity; i++)
        if (is_same(m, i, item))
            return i;
    for (uint32_t i = 1; i < m->shape.capacity; i++)
        if (rank_of(&m->entries[i], now) < rank_of(&m->entries[least], now))
            least = i;
    const struct ruvm_memory_entry *e = &m->entries[least];
    bool loses =
        e->id && ruvm_traits_worth_q16(&e->traits, now) > ruvm_traits_worth_q16(&item->traits, now);
    return loses ? m->shape.capacity : least;
}

static uint32_t find(const struct ruvm_memory *m, uint32_t id)
{
    uint32_t i = 0;
    while (i < m->shape.capacity && (id == 0 || m->entries[i].id != id))
        i++;
    return i;
}

/* ---- changes ---------------------------------------------------------------------------- */

static void put(struct ruvm_memory *m, uint32_t place, const struct ruvm_memory_item *item)
{
    struct ruvm_memory_entry *e = &m->entries[place];
    uint8_t *row = m->rows + (size_t)place * m->vectors.row_bytes;
    e->traits = item->traits;
    e->n_text = (uint16_t)item->n_text;
    copy(text_of(m, place), item->text, item->n_text);
    for (uint32_t i = 0; i < m->vectors.row_bytes; i++)
        row[i] = i < m->shape.dims ? (uint8_t)item->row[i] : 0;
    ruvm_store_u16(m->sides + (size_t)place * SIDE_BYTES,
                   ruvm_vectors_inverse(ruvm_vectors_norm2(row, m->vectors.row_bytes)));
}

int ruvm_memory_remember(struct ruvm_memory *m, const struct ruvm_memory_item *given, uint32_t now,
                         uint32_t *id)
{
    struct ruvm_memory_item item = *given;
    if (item.n_text > m->shape.text_bytes || ruvm_traits_expired(&item.traits, now) ||
        item.traits.type >= RUVM_MEMORY_N_TYPES || item.traits.n_tags > RUVM_TRAITS_MAX_TAGS)
        return RUVM_ERR_ARG;
    item.traits.time = item.traits.time ? item.traits.time : now;
    uint32_t place = place_for(m, &item, now);
    if (place == m->shape.capacity)
        return RUVM_ERR_FULL;
    struct ruvm_memory_entry *e = &m->entries[place];
    if (!is_same(m, place, &item)) {
        m->n += e->id == 0;
        e->id = m->next_id++;
    }
    put(m, place, &item);
    *id = e->id;
    return RUVM_OK;
}

int ruvm_memory_forget(struct ruvm_memory *m, uint32_t id)
{
    uint32_t place = find(m, id);
    if (place == m->shape.capacity)
        return RUVM_ERR_ARG;
    m->entries[place].id = 0;
    m->n--;
    return RUVM_OK;
}

int ruvm_memory_renew(struct ruvm_memory *m, uint32_t id, uint32_t now)
{
    uint32_t place = find(m, id);
    if (place == m->shape.capacity)
        return RUVM_ERR_ARG;
    m->entries[place].traits.time = now;
    return RUVM_OK;
}

uint32_t ruvm_memory_sweep(struct ruvm_memory *m, uint32_t now)
{
    uint32_t n = m->n;
    for (uint32_t i = 0; i < m->shape.capacity; i++)
        if (m->entries[i].id && ruvm_traits_expired(&m->entries[i].traits, now)) {
            m->entries[i].id = 0;
            m->n--;
        }
    return n - m->n;
}

/* ---- questions -------------------------------------------------------------------------- */

static bool is_before(const struct ruvm_memory_hit *a, const struct ruvm_memory_hit *b)
{
    return a->score_q16 > b->score_q16 || (a->score_q16 == b->score_q16 && a->id < b->id);
}

/* Puts a hit in its place among the n <= k best; returns their number. */
static uint32_t insert(struct ruvm_memory_hit *hits, uint32_t n, uint32_t k,
                       const struct ruvm_memory_hit *hit)
{
    if (n == k && !is_before(hit, &hits[n - 1]))
        return n;
    uint32_t at = n < k ? n++ : k - 1;
    for (; at > 0 && is_before(hit, &hits[at - 1]); at--)
        hits[at] = hits[at - 1];
    hits[at] = *hit;
    return n;
}

uint32_t ruvm_memory_recall(const struct ruvm_memory *m, const int8_t *row,
                            const struct ruvm_context *context, uint32_t k,
                            struct ruvm_memory_hit *hits)
{
    struct ruvm_vector_query q;
    uint32_t n = 0;
    ruvm_vectors_query(&q, &m->vectors, row, NULL);
    for (uint32_t i = 0; k && i < m->shape.capacity; i++) {
        const struct ruvm_memory_entry *e = &m->entries[i];
        uint32_t weight = e->id ? ruvm_traits_weight_q16(&e->traits, context) : 0;
        if (weight == 0)
            continue;
        int64_t cosine = ONE - ruvm_distance_q16(&m->vectors, &q, i);
        if (cosine <= 0)
            continue;
        const struct ruvm_memory_hit hit = {e->id, (uint32_t)((uint64_t)cosine * weight >> 16),
                                            (uint32_t)cosine, e, text_of(m, i)};
        if (hit.score_q16)
            n = insert(hits, n, k, &hit);
    }
    return n;
}

enum ruvm_memory_choice ruvm_memory_choose(const struct ruvm_memory_hit *hits, uint32_t n)
{
    if (n == 0 || hits[0].score_q16 < RUVM_MEMORY_FLOOR_Q16)
        return RUVM_MEMORY_NOTHING;
    if (n > 1 && ruvm_memory_is_close(hits[0].score_q16, hits[1].score_q16))
        return RUVM_MEMORY_AMBIGUOUS;
    return RUVM_MEMORY_CLEAR;
}
