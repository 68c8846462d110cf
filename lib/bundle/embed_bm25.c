/* BM25's section: all words of all chunks, sorted by their hash and then by chunk, written
 * as postings.
 */
#include <stdlib.h>

#include "lib/base/error.h"
#include "lib/bundle/embed.h"
#include "lib/vector/words.h"

struct posting {
    uint32_t stem, chunk, count;
};

struct postings {
    struct posting *p;
    size_t n, cap;
    uint32_t *lengths; /* [chunks] words of each */
    uint64_t n_words;
};

static bool append(struct postings *all, uint32_t stem, uint32_t chunk)
{
    if (all->n == all->cap) {
        size_t cap = 2 * all->cap + 4096;
        void *p = realloc(all->p, cap * sizeof *all->p);
        if (!p)
            return false;
        all->p = p;
        all->cap = cap;
    }
    all->p[all->n++] = (struct posting){stem, chunk, 1};
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct posting *x = a, *y = b;
    if (x->stem != y->stem)
        return x->stem < y->stem ? -1 : 1;
    return x->chunk < y->chunk ? -1 : x->chunk > y->chunk;
}

/* Sorts from `first` on, and joins what is the same. */
static void join(struct postings *all, size_t first)
{
    size_t kept = first;
    if (all->n > first)
        qsort(all->p + first, all->n - first, sizeof *all->p, compare);
    for (size_t i = first; i < all->n; i++) {
        struct posting *last = kept > first ? &all->p[kept - 1] : NULL;
        if (last && last->stem == all->p[i].stem && last->chunk == all->p[i].chunk)
            last->count += all->p[i].count;
        else
            all->p[kept++] = all->p[i];
    }
    all->n = kept;
}

static bool gather(struct postings *all, const struct ruvm_embed_texts *texts)
{
    for (uint32_t i = 0; i < texts->n; i++) {
        struct ruvm_embed_text t = texts->text(texts->context, i);
        struct ruvm_words w = ruvm_words_over(t.text, t.n);
        size_t first = all->n;
        while (ruvm_words_next(&w)) {
            if (!append(all, w.stem, i))
                return false;
            all->lengths[i]++;
        }
        all->n_words += all->lengths[i];
        join(all, first);
    }
    join(all, 0);
    return true;
}

/* ---- writing ----------------------------------------------------------------------------- */

static void put_number(struct ruvm_buffer *out, uint32_t n)
{
    for (; n > 0x7F; n >>= 7)
        ruvm_buffer_u8(out, (uint8_t)(n | 0x80));
    ruvm_buffer_u8(out, (uint8_t)n);
}

/* The postings of one term, from p on; returns how many. */
static size_t put_term(struct ruvm_buffer *out, const struct posting *p, const struct posting *end)
{
    size_t n = 0;
    uint32_t before = UINT32_MAX;
    while (p + n < end && p[n].stem == p->stem)
        n++;
    put_number(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        put_number(out, (p[i].chunk - before) << 1 | (p[i].count > 1));
        if (p[i].count > 1)
            put_number(out, p[i].count);
        before = p[i].chunk;
    }
    return n;
}

/* 1.2 * (0.25 + 0.75 * length / mean), / 32: at most 255. */
static uint8_t norm_of(uint32_t length, uint64_t n_words, uint32_t n_chunks)
{
    uint64_t mean_q8 = n_words ? (n_words << 8) / n_chunks : 256;
    uint64_t share_q5 = ((uint64_t)length << 13) / (mean_q8 ? mean_q8 : 1);
    uint64_t norm = (96 + 9 * share_q5 + 5) / 10; /* 0.3 and 0.9 */
    return (uint8_t)(norm > 255 ? 255 : norm);
}

struct parts {
    struct ruvm_buffer hashes, ends, postings;
};

static void put_terms(struct parts *parts, const struct postings *all)
{
    for (size_t i = 0; i < all->n;) {
        ruvm_buffer_u32(&parts->hashes, all->p[i].stem);
        i += put_term(&parts->postings, all->p + i, all->p + all->n);
        ruvm_buffer_u32(&parts->ends, (uint32_t)parts->postings.size);
    }
}

static void put_section(struct ruvm_buffer *out, const struct parts *parts,
                        const struct postings *all, uint32_t n_chunks)
{
    uint32_t n_terms = (uint32_t)(parts->hashes.size / 4);
    size_t start = out->size;
    ruvm_buffer_u32(out, n_terms);
    ruvm_buffer_u32(out, n_chunks);
    ruvm_buffer_u32(out, n_chunks ? n_chunks : 1);
    ruvm_buffer_u32(out, RUVM_BM25_HASHES + 8 * n_terms + ((n_chunks + 3) & ~3u));
    ruvm_buffer_bytes(out, parts->hashes.data, parts->hashes.size);
    ruvm_buffer_bytes(out, parts->ends.data, parts->ends.size);
    for (uint32_t i = 0; i < n_chunks; i++)
        ruvm_buffer_u8(out, norm_of(all->lengths[i], all->n_words, n_chunks));
    while ((out->size - start) % 4)
        ruvm_buffer_u8(out, 0);
    ruvm_buffer_bytes(out, parts->postings.data, parts->postings.size);
}

int ruvm_embed_bm25(struct ruvm_buffer *out, const struct ruvm_embed_texts *texts,
                    struct ruvm_error *err)
{
    struct parts parts = {0};
    struct postings all = {.lengths = calloc(texts->n + 1u, sizeof *all.lengths)};
    bool ok = all.lengths && gather(&all, texts);
    if (ok) {
        put_terms(&parts, &all);
        put_section(out, &parts, &all, texts->n);
        ok = ruvm_buffer_ok(&parts.hashes) && ruvm_buffer_ok(&parts.ends) &&
             ruvm_buffer_ok(&parts.postings) && ruvm_buffer_ok(out);
    }
    bool large = parts.postings.size > UINT32_MAX;
    ruvm_buffer_free(&parts.hashes);
    ruvm_buffer_free(&parts.ends);
    ruvm_buffer_free(&parts.postings);
    free(all.p);
    free(all.lengths);
    if (large)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "more than 4 GiB of words: use several blobs");
    return ok ? RUVM_OK
              : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the words of %u chunks", texts->n);
}
