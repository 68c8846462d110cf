/* Knn: a search, the votes of what it found, and logarithms of the tokens that got any.
 *
 * In units of the likeliest token's weight, which is 2^30, the model gives token i the weight
 * w_i and all tokens S. With V_i of the V votes its new weight, but for a factor that all
 * share, is w_i + share / (1 - share) * S * V_i / V; the logit is the logarithm of that.
 */
#include "lib/vector/knn.h"

#include "lib/base/bytes.h"
#include "lib/base/status.h"
#include "lib/core/fixed.h"
#include "lib/vector/distance.h"

enum { ALIGN = 16, ONE_Q16 = 1 << 16, FLAT_EF = 64 };
enum { MAX_GAP = 1 << 27 }; /* Q16: beyond it a weight is 0 */

int ruvm_knn_open(struct ruvm_knn *knn, const struct ruvm_rag *rag,
                  const struct ruvm_vector_kernels *kernels)
{
    const struct ruvm_rag_part *part = &rag->part[RUVM_RAG_RCPE];
    *knn = (struct ruvm_knn){.rag = rag,
                             .set = ruvm_vectors_of(rag, kernels),
                             .k = RUVM_KNN_DEFAULT_K,
                             .share_q16 = RUVM_KNN_DEFAULT_SHARE,
                             .spread_q16 = RUVM_KNN_DEFAULT_SPREAD};
    int rc = ruvm_recipe_open(&knn->recipe, part->data, part->bytes);
    if (rc != RUVM_OK)
        return rc;
    bool fits = knn->recipe.kind == RUVM_RECIPE_NEXT && rag->metric == RUVM_METRIC_COSINE &&
                rag->type == RUVM_VECTOR_INT8;
    return fits ? RUVM_OK : RUVM_ERR_UNSUPPORTED;
}

static struct ruvm_search search_of(const struct ruvm_knn *knn)
{
    uint32_t ef = knn->rag->ef > FLAT_EF ? knn->rag->ef : FLAT_EF;
    return (struct ruvm_search){.k = knn->k,
                                .ef = ef > knn->k ? ef : knn->k,
                                .deleted = knn->rag->part[RUVM_RAG_DEAD].data};
}

size_t ruvm_knn_bytes(const struct ruvm_knn *knn)
{
    struct ruvm_search s = search_of(knn);
    return ruvm_align_up(knn->k * sizeof(struct ruvm_hit), ALIGN) +
           ruvm_align_up(knn->set.row_bytes, ALIGN) + ruvm_search_bytes(&s, knn->rag->n);
}

/* 2^30 exp(-x / unit), x and unit in Q16. */
static uint32_t weight_of(uint64_t x, uint32_t unit)
{
    uint64_t mult = ((uint64_t)1512775 << 16) / unit; /* log2(e) in Q20 / unit */
    uint64_t t = (x < MAX_GAP ? x : MAX_GAP) * mult >> 21;
    uint64_t n = t >> 15;
    return n > 30 ? 0 : ruvm_fixed_exp2((uint32_t)t & 32767u) >> n;
}

static uint32_t token_of(const struct ruvm_knn *knn, uint32_t id, uint32_t vocab)
{
    struct ruvm_chunk c = ruvm_rag_chunk(knn->rag, id);
    if (!c.text.text || c.text.bytes != sizeof(uint16_t))
        return vocab;
    return ruvm_load_u16((const uint8_t *)c.text.text);
}

/* A hit becomes its token and its vote; the nearest one's is 2^30. Equal tokens are added up
 * in the first of them. Returns how many voted. */
static uint32_t count_votes(const struct ruvm_knn *knn, const struct ruvm_vector_query *q,
                            struct ruvm_hit *hits, uint32_t n, uint32_t vocab, uint64_t *all)
{
    uint32_t voted = 0;
    int64_t nearest = 0;
    *all = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t token = token_of(knn, hits[i].id, vocab);
        int64_t square = 2 * ruvm_distance_q16(&knn->set, q, hits[i].id); /* of unit vectors */
        nearest = i == 0 ? square : nearest;
        uint64_t gap = square > nearest ? (uint64_t)(square - nearest) : 0;
        uint32_t vote = token < vocab ? weight_of(gap, knn->spread_q16) : 0;
        hits[i] = (struct ruvm_hit){vote, token};
        *all += vote;
        voted += vote > 0;
    }
    return voted;
}

/* Sum of the votes for the token of hit i; 0 when an earlier hit has it. */
static uint64_t votes_for(const struct ruvm_hit *hits, uint32_t n, uint32_t i)
{
    uint64_t sum = hits[i].key;
    for (uint32_t j = 0; j < i; j++)
        if (hits[j].id == hits[i].id)
            return 0;
    for (uint32_t j = i + 1; j < n; j++)
        sum += hits[j].id == hits[i].id ? hits[j].key : 0;
    return sum;
}

static int32_t largest(const int32_t *x, uint32_t n)
{
    int32_t most = x[0];
    for (uint32_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

static void mix(const struct ruvm_knn *knn, const struct ruvm_hit *hits, uint32_t n,
                uint64_t all_votes, int32_t *logits, uint32_t vocab)
{
    const int64_t one_q24 = ruvm_real_log(ruvm_real_make((uint64_t)1 << 30, 0));
    int32_t best = largest(logits, vocab);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < vocab; i++)
        sum += weight_of((uint64_t)((int64_t)best - logits[i]), ONE_Q16);
    struct ruvm_real odds = ruvm_real_div(ruvm_real_make(knn->share_q16, 0),
                                          ruvm_real_make(ONE_Q16 - knn->share_q16, 0));
    struct ruvm_real unit =
        ruvm_real_div(ruvm_real_mul(odds, ruvm_real_make(sum, 0)), ruvm_real_make(all_votes, 0));
    for (uint32_t i = 0; i < n; i++) {
        uint64_t votes = votes_for(hits, n, i);
        if (votes == 0)
            continue;
        uint32_t token = hits[i].id;
        uint32_t own = weight_of((uint64_t)((int64_t)best - logits[token]), ONE_Q16);
        struct ruvm_real w =
            ruvm_real_add(ruvm_real_make(own, 0), ruvm_real_mul(unit, ruvm_real_make(votes, 0)));
        int64_t logit = best + ((ruvm_real_log(w) - one_q24) >> 8);
        logits[token] = ruvm_fixed_clamp(logit > logits[token] ? logit : logits[token]);
    }
}

int ruvm_knn_mix(const struct ruvm_knn *knn, const int32_t *state, int32_t *logits, uint32_t vocab,
                 void *memory, size_t bytes)
{
    if (knn->k < 1 || knn->k > RUVM_KNN_MAX_K || knn->share_q16 > RUVM_KNN_MAX_SHARE ||
        knn->spread_q16 == 0 || vocab == 0)
        return RUVM_ERR_ARG;
    if (bytes < ruvm_knn_bytes(knn))
        return RUVM_ERR_MEMORY;
    struct ruvm_search s = search_of(knn);
    size_t hit_bytes = ruvm_align_up(knn->k * sizeof(struct ruvm_hit), ALIGN);
    size_t row_bytes = ruvm_align_up(knn->set.row_bytes, ALIGN);
    struct ruvm_hit *hits = memory;
    uint8_t *row = (uint8_t *)memory + hit_bytes;
    void *rest = row + row_bytes;
    struct ruvm_vector_query q;
    uint64_t all;
    bytes -= hit_bytes + row_bytes;
    ruvm_vectors_quantize((int8_t *)row, state, knn->set.dims, knn->set.row_bytes);
    ruvm_vectors_query(&q, &knn->set, row, NULL);
    int n = knn->exact ? ruvm_search_scan(&knn->set, &q, &s, rest, bytes, hits)
                       : ruvm_search_graph(knn->rag, &knn->set, &q, &s, rest, bytes, hits);
    if (n <= 0)
        return n;
    uint32_t voted = count_votes(knn, &q, hits, (uint32_t)n, vocab, &all);
    if (voted && knn->share_q16)
        mix(knn, hits, (uint32_t)n, all, logits, vocab);
    return (int)voted;
}
