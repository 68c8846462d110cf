/* BM25: a cursor a word, and the lowest chunk first.
 *
 * Document at a time: every cursor stands on a chunk, the lowest of them is scored by the
 * cursors that stand on it, and those move on. A term at a time would need a sum a chunk.
 */
#include "lib/vector/bm25.h"

#include "lib/base/bytes.h"
#include "lib/vector/nearest.h"
#include "lib/vector/words.h"

enum { K1_PLUS_1_Q5 = 70 };                 /* 2.2 */
enum { SHORTEST_WORD = 3, SHORT_WORD = 5 }; /* bytes */

/* ---- the section ---------------------------------------------------------------- */

int ruvm_bm25_open(struct ruvm_bm25 *b, const uint8_t *data, uint32_t bytes, uint32_t n_chunks)
{
    if (!data || bytes < RUVM_BM25_HASHES)
        return RUVM_ERR_CORRUPT;
    uint32_t n_terms = ruvm_load_u32(data + RUVM_BM25_TERMS);
    uint32_t postings = ruvm_load_u32(data + RUVM_BM25_POSTINGS);
    uint64_t before = RUVM_BM25_HASHES + 8ull * n_terms + ((n_chunks + 3ull) & ~3ull);
    if (ruvm_load_u32(data + RUVM_BM25_CHUNKS) != n_chunks || before != postings ||
        postings > bytes)
        return RUVM_ERR_CORRUPT;
    *b = (struct ruvm_bm25){
        .n_terms = n_terms,
        .n_chunks = n_chunks,
        .n_live = ruvm_load_u32(data + RUVM_BM25_LIVE),
        .hashes = data + RUVM_BM25_HASHES,
        .ends = data + RUVM_BM25_HASHES + 4 * (size_t)n_terms,
        .norms = data + RUVM_BM25_HASHES + 8 * (size_t)n_terms,
        .postings = data + postings,
        .n_postings = bytes - postings,
    };
    return b->n_live && b->n_live <= RUVM_RAG_MAX_VECTORS ? RUVM_OK : RUVM_ERR_CORRUPT;
}

/* A number of the postings; false at their end, or when it is none of 32 bits. */
static bool next_number(const struct ruvm_bm25 *b, struct ruvm_bm25_word *w, uint32_t *number)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 32 && w->at < w->end; shift += 7) {
        uint8_t byte = b->postings[w->at++];
        value |= (uint32_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *number = value;
            return true;
        }
    }
    return false;
}

/* To the next chunk of the word; the first time chunk is RUVM_RAG_NONE, which is -1. */
static void move_on(const struct ruvm_bm25 *b, struct ruvm_bm25_word *w)
{
    uint32_t step = 0, count = 1;
    w->ended = !next_number(b, w, &step);
    if (!w->ended && step & 1)
        w->ended = !next_number(b, w, &count);
    uint64_t chunk = (uint64_t)(w->chunk + 1) + (w->ended ? 0 : step >> 1);
    w->chunk = (uint32_t)chunk - 1;
    w->count = count;
    if (step < 2 || chunk > b->n_chunks)
        w->ended = true;
}

/* ---- numbers ---------------------------------------------------------------------- */

uint32_t ruvm_bm25_log2_q10(uint32_t x)
{
    uint32_t whole = 0;
    for (uint32_t rest = x; rest > 1; rest >>= 1)
        whole++;
    uint64_t mantissa = (uint64_t)x << (31 - whole); /* 1.0 is 2^31 */
    uint32_t log2 = whole;
    for (unsigned i = 0; i < 10; i++) {
        mantissa = mantissa * mantissa >> 31;
        log2 = log2 << 1 | (uint32_t)(mantissa >> 32);
        mantissa >>= mantissa >> 32;
    }
    return log2;
}

/* log2((live + 1) / (chunks + 1/2)); damaged counts give 0, not a huge number. */
uint32_t ruvm_bm25_idf(uint32_t live, uint32_t chunks)
{
    if (chunks > live)
        chunks = live;
    return ruvm_bm25_log2_q10(2 * live + 2) - ruvm_bm25_log2_q10(2 * chunks + 1);
}

/* idf * count * 2.2 / (count + norm) */
static uint32_t score_of(uint32_t idf, uint32_t count, uint32_t norm)
{
    if (count > 0xFFFF)
        count = 0xFFFF;
    uint32_t above = count * K1_PLUS_1_Q5, below = (count << RUVM_BM25_NORM_BITS) + norm;
    return (uint32_t)((uint64_t)idf * above / (below ? below : 1));
}

/* ---- a question ------------------------------------------------------------------- */

static uint32_t form_of(const struct ruvm_words *words)
{
    return ruvm_words_hash(0, words->word, words->n_word);
}

static struct ruvm_bm25_word *word_of(struct ruvm_bm25_question *q, uint32_t stem)
{
    for (uint32_t i = 0; i < q->n_words; i++)
        if (q->word[i].stem == stem)
            return &q->word[i];
    return NULL;
}

/* What a word that no chunk has adds to the weight of the question. Short ones are mostly the
 * "how do I" of it, whatever the language; characters that are words alone are not short. */
static uint32_t idf_of_unknown(const struct ruvm_bm25 *b, const struct ruvm_words *words)
{
    uint32_t idf = ruvm_bm25_idf(b->n_live, 0);
    if (words->n_word > SHORT_WORD || words->word[0] >= 0xE0)
        return idf;
    return words->n_word > SHORTEST_WORD ? idf / 2 : 0;
}

static void look_up(const struct ruvm_bm25 *b, const struct ruvm_words *words,
                    struct ruvm_bm25_word *w)
{
    uint32_t term = ruvm_words_find(b->hashes, b->n_terms, w->stem), chunks = 0;
    w->idf = idf_of_unknown(b, words);
    if (term == b->n_terms)
        return;
    w->at = term ? ruvm_load_u32(b->ends + 4 * (size_t)(term - 1)) : 0;
    w->end = ruvm_load_u32(b->ends + 4 * (size_t)term);
    if (w->at > w->end || w->end > b->n_postings)
        w->at = w->end = 0;
    if (next_number(b, w, &chunks))
        w->idf = ruvm_bm25_idf(b->n_live, chunks);
}

/* The place for one more word: a new one, or that of the commonest when it is rarer. */
static struct ruvm_bm25_word *place_for(struct ruvm_bm25_question *q, uint32_t idf)
{
    if (q->n_words < RUVM_BM25_MAX_WORDS)
        return &q->word[q->n_words++];
    struct ruvm_bm25_word *commonest = &q->word[0];
    for (uint32_t i = 1; i < q->n_words; i++)
        if (q->word[i].idf < commonest->idf)
            commonest = &q->word[i];
    return idf > commonest->idf ? commonest : NULL;
}

void ruvm_bm25_ask(struct ruvm_bm25_question *q, const struct ruvm_bm25 *b, const void *text,
                   size_t n)
{
    struct ruvm_words words = ruvm_words_over(text, n);
    q->index = b;
    q->n_words = q->idf_sum = 0;
    while (ruvm_words_next(&words)) {
        struct ruvm_bm25_word *known = word_of(q, words.stem);
        struct ruvm_bm25_word new = {.stem = words.stem, .form = form_of(&words), .times = 1};
        if (known) {
            known->times = (uint8_t)(known->times + (known->times < 255));
            continue;
        }
        look_up(b, &words, &new);
        struct ruvm_bm25_word *place = place_for(q, new.idf);
        if (place)
            *place = new;
    }
    for (uint32_t i = 0; i < q->n_words; i++) {
        q->word[i].idf *= q->word[i].times;
        q->idf_sum += q->word[i].idf;
    }
}

/* ---- the search ------------------------------------------------------------------- */

static bool accepts(const struct ruvm_search *s, uint32_t id)
{
    const struct ruvm_filter *f = s->filter;
    if (s->deleted && s->deleted[id / 8] >> id % 8 & 1)
        return false;
    if (f && f->allowed && !(f->allowed[id / 8] >> id % 8 & 1))
        return false;
    return !f || !f->accepts || f->accepts(f->context, id);
}

static uint32_t lowest_chunk(const struct ruvm_bm25_question *q)
{
    uint32_t lowest = RUVM_RAG_NONE;
    for (uint32_t i = 0; i < q->n_words; i++)
        if (!q->word[i].ended && q->word[i].chunk < lowest)
            lowest = q->word[i].chunk;
    return lowest;
}

/* The score of the chunk, and all cursors that stand on it move on. */
static uint32_t take_chunk(struct ruvm_bm25_question *q, uint32_t chunk)
{
    uint32_t score = 0;
    for (uint32_t i = 0; i < q->n_words; i++) {
        struct ruvm_bm25_word *w = &q->word[i];
        if (w->ended || w->chunk != chunk)
            continue;
        score += score_of(w->idf, w->count, q->index->norms[chunk]);
        move_on(q->index, w);
    }
    return score;
}

/* The search works on a copy of the cursors, so that a question can be asked again. */
static void rewind_words(struct ruvm_bm25_question *q)
{
    for (uint32_t i = 0; i < q->n_words; i++) {
        q->word[i].chunk = RUVM_RAG_NONE;
        q->word[i].ended = false;
        move_on(q->index, &q->word[i]);
    }
}

int ruvm_bm25_search(struct ruvm_bm25_question *question, struct ruvm_search *s, void *memory,
                     size_t bytes, struct ruvm_hit *hits)
{
    if (s->k == 0 || s->k > RUVM_SEARCH_MAX_EF)
        return RUVM_ERR_ARG;
    if (bytes < s->k * sizeof(uint64_t))
        return RUVM_ERR_MEMORY;
    struct ruvm_bm25_question q = *question;
    struct ruvm_nearest best = {memory, 0, s->k};
    s->n_distances = 0;
    rewind_words(&q);
    for (uint32_t chunk; (chunk = lowest_chunk(&q)) != RUVM_RAG_NONE;) {
        uint64_t entry = ruvm_nearest_entry(~take_chunk(&q, chunk), chunk);
        s->n_distances++;
        if (ruvm_nearest_wants(&best, entry) && accepts(s, chunk))
            ruvm_nearest_insert(&best, entry);
    }
    return (int)ruvm_nearest_hits(&best, s->k, hits);
}

/* ---- the texts of hits ------------------------------------------------------------ */

/* Stems find "listings" for "list", and lose that "list" is nearer to "list". Both forms would
 * need more postings; the best chunks' texts are there. The idf of the stem serves for the form. */
static uint32_t score_by_forms(const struct ruvm_bm25_question *q, uint32_t chunk,
                               struct ruvm_rag_text text)
{
    struct ruvm_words words = ruvm_words_over(text.text, text.text ? text.bytes : 0);
    uint16_t counts[RUVM_BM25_MAX_WORDS] = {0};
    uint32_t score = 0;
    while (ruvm_words_next(&words))
        for (uint32_t i = 0; i < q->n_words; i++)
            if (q->word[i].stem == words.stem && q->word[i].form == form_of(&words))
                counts[i] = (uint16_t)(counts[i] + (counts[i] < UINT16_MAX));
    for (uint32_t i = 0; i < q->n_words; i++)
        score += score_of(q->word[i].idf, counts[i], q->index->norms[chunk]);
    return score;
}

static bool is_before(struct ruvm_hit a, struct ruvm_hit b)
{
    return a.key < b.key || (a.key == b.key && a.id < b.id);
}

void ruvm_bm25_prefer_forms(const struct ruvm_bm25_question *q, const struct ruvm_rag *rag,
                            struct ruvm_hit *hits, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct ruvm_hit hit = hits[i];
        uint64_t by_forms = score_by_forms(q, hit.id, ruvm_rag_chunk(rag, hit.id).text);
        uint32_t place = i;
        hit.key = ~(uint32_t)((3 * (uint64_t)ruvm_bm25_score(&hit) + by_forms) / 4);
        for (; place > 0 && is_before(hit, hits[place - 1]); place--)
            hits[place] = hits[place - 1];
        hits[place] = hit;
    }
}

uint32_t ruvm_bm25_cover_q16(const struct ruvm_bm25_question *q, const void *text, size_t n)
{
    struct ruvm_words words = ruvm_words_over(text, n);
    uint32_t found = 0; /* a bit a word of the question */
    uint64_t sum = 0;
    _Static_assert(RUVM_BM25_MAX_WORDS <= 32, "a bit a word");
    while (ruvm_words_next(&words))
        for (uint32_t i = 0; i < q->n_words; i++)
            if (q->word[i].stem == words.stem)
                found |= 1u << i;
    for (uint32_t i = 0; i < q->n_words; i++)
        sum += found >> i & 1 ? q->word[i].idf : 0;
    return q->idf_sum ? (uint32_t)((sum << 16) / q->idf_sum) : 0;
}
