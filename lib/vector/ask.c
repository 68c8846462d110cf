/* Ask: the two searches of a question, one after the other in the same memory.
 *
 * Each finds some tens of candidates, more than are wanted, because what is second to one may
 * be first to both.
 */
#include "lib/vector/ask.h"

#include "lib/base/bytes.h"
#include "lib/vector/blend.h"
#include "lib/vector/distance.h"
#include "lib/vector/recipe.h"

enum { MIN_CANDIDATES = 50, CANDIDATES_AN_ANSWER = 4, ALIGN = 16 };
enum { OWN_BYTES = 272 }; /* of struct asking, on every machine the same */

struct asking {
    const struct ruvm_rag *rag;
    struct ruvm_recipe recipe;
    struct ruvm_bm25 words;
    bool has_words, has_vector; /* vector: of this question */
    uint8_t rank;
    struct ruvm_vectors set;
    struct ruvm_vector_query query;
    uint32_t n; /* candidates of each kind */
    /* regions of the caller's memory */
    struct ruvm_bm25_question *question;
    uint8_t *row; /* [query bytes of the set] */
    int32_t *x;   /* [set.dims] */
    struct ruvm_found *found;
    struct ruvm_hit *by_words, *by_vector; /* [n] */
    int32_t *cosines;                      /* [n] */
    uint64_t *memory;                      /* of a search */
    size_t bytes;
    uint32_t n_words, n_vectors;
};

_Static_assert(sizeof(struct asking) <= OWN_BYTES, "there is room for it");

uint32_t ruvm_ask_candidates(uint32_t k)
{
    return CANDIDATES_AN_ANSWER * k > MIN_CANDIDATES ? CANDIDATES_AN_ANSWER * k : MIN_CANDIDATES;
}

static struct ruvm_search search_of(const struct asking *a)
{
    return (struct ruvm_search){.k = a->n,
                                .ef = a->rag->ef > a->n ? a->rag->ef : a->n,
                                .deleted = a->rag->part[RUVM_RAG_DEAD].data};
}

/* Hands out the next region; with memory NULL it only counts. */
static void *carve(uint8_t *memory, size_t *used, size_t bytes)
{
    void *p = memory ? memory + *used : NULL;
    *used += ruvm_align_up(bytes, ALIGN);
    return p;
}

/* The one description of the memory: ruvm_ask_bytes() counts by it, too. */
static size_t carve_all(struct asking *a, uint8_t *memory, uint32_t k)
{
    size_t used = 0;
    struct ruvm_search s = search_of(a);
    a->question = carve(memory, &used, sizeof *a->question);
    a->row = carve(memory, &used, ruvm_vectors_query_bytes(&a->set));
    a->x = carve(memory, &used, a->set.dims * sizeof *a->x);
    a->found = carve(memory, &used, k * sizeof *a->found);
    a->by_words = carve(memory, &used, a->n * sizeof *a->by_words);
    a->by_vector = carve(memory, &used, a->n * sizeof *a->by_vector);
    a->cosines = carve(memory, &used, a->n * sizeof *a->cosines);
    a->bytes = ruvm_search_bytes(&s, a->rag->n);
    a->memory = carve(memory, &used, a->bytes);
    return used;
}

/* The blob's parts, and which rank they allow. */
static int open_parts(struct asking *a)
{
    const struct ruvm_rag_part *part = a->rag->part;
    int rc = ruvm_recipe_of(&a->recipe, a->rag);
    a->has_words = part[RUVM_RAG_BM25].data != NULL;
    if (rc == RUVM_OK && a->has_words)
        rc = ruvm_bm25_open(&a->words, part[RUVM_RAG_BM25].data, part[RUVM_RAG_BM25].bytes,
                            a->rag->n);
    if (rc != RUVM_OK)
        return rc;
    a->set = ruvm_vectors_of(a->rag, NULL);
    a->rank = a->recipe.rank;
    if (!ruvm_recipe_reads(&a->recipe))
        a->rank = RUVM_RANK_WORDS;
    else if (!a->has_words)
        a->rank = RUVM_RANK_VECTORS;
    return a->rank == RUVM_RANK_WORDS && !a->has_words ? RUVM_ERR_UNSUPPORTED : RUVM_OK;
}

static void read_question(struct asking *a, const void *question, size_t n)
{
    a->question->n_words = a->question->idf_sum = 0;
    a->has_vector = false;
    if (a->has_words)
        ruvm_bm25_ask(a->question, &a->words, question, n);
    if (!ruvm_recipe_reads(&a->recipe))
        return;
    ruvm_recipe_embed(&a->recipe, a->x, a->set.dims, question, n);
    if (a->set.type == RUVM_VECTOR_BINARY)
        ruvm_vectors_signs(a->row, a->x, a->set.dims, a->set.row_bytes);
    else
        ruvm_vectors_quantize((int8_t *)a->row, a->x, a->set.dims,
                              ruvm_vectors_query_bytes(&a->set));
    ruvm_vectors_query(&a->query, &a->set, a->row, NULL);
    for (uint32_t i = 0; i < a->set.dims; i++)
        a->has_vector = a->has_vector || a->x[i] != 0;
}

static int32_t cosine_of(void *context, uint32_t id)
{
    const struct asking *a = context;
    if (!a->has_vector)
        return 0;
    return ruvm_distance_cosine_q16(&a->set, &a->query, id);
}

/* Both lists of candidates. */
static int look(struct asking *a)
{
    struct ruvm_search s = search_of(a);
    int n = 0;
    if (a->rank != RUVM_RANK_VECTORS)
        n = ruvm_bm25_search(a->question, &s, a->memory, a->bytes, a->by_words);
    a->n_words = n > 0 ? (uint32_t)n : 0;
    ruvm_bm25_prefer_forms(a->question, a->rag, a->by_words, a->n_words);
    a->n_vectors = 0;
    if (n >= 0 && a->rank != RUVM_RANK_WORDS && a->has_vector) {
        n = ruvm_search_graph(a->rag, &a->set, &a->query, &s, a->memory, a->bytes, a->by_vector);
        a->n_vectors = n > 0 ? (uint32_t)n : 0;
    }
    for (uint32_t i = 0; i < a->n_vectors; i++)
        a->cosines[i] = cosine_of(a, a->by_vector[i].id);
    return n < 0 ? n : RUVM_OK;
}

static uint32_t confidence_of(struct asking *a, uint32_t id)
{
    struct ruvm_chunk c = ruvm_rag_chunk(a->rag, id);
    bool by_words = a->has_words && a->rank != RUVM_RANK_VECTORS;
    uint32_t cover = 0;
    if (by_words && c.text.text)
        cover = ruvm_bm25_cover_q16(a->question, c.text.text, c.text.bytes);
    return ruvm_recipe_confidence_q16(&a->recipe, by_words, cover, cosine_of(a, id));
}

static int blend(struct asking *a, uint32_t k, struct ruvm_answer *answers)
{
    const struct ruvm_blend b = {.rank = a->rank,
                                 .share = a->recipe.share,
                                 .words = a->by_words,
                                 .vectors = a->by_vector,
                                 .cosines_q16 = a->cosines,
                                 .n_words = a->n_words,
                                 .n_vectors = a->n_vectors,
                                 .whole = a->question->idf_sum,
                                 .cosine_q16 = cosine_of,
                                 .context = a};
    uint32_t n = ruvm_blend(&b, a->found, k);
    for (uint32_t i = 0; i < n; i++)
        answers[i] = (struct ruvm_answer){a->found[i].id, a->found[i].score_q16,
                                          confidence_of(a, a->found[i].id)};
    return (int)n;
}

/* What is asked comes first in the memory, its regions behind. */
static int begin(struct asking *a, const struct ruvm_rag *rag, uint32_t k)
{
    a->rag = rag;
    a->n = ruvm_ask_candidates(k);
    return k == 0 || k > RUVM_ASK_MAX ? RUVM_ERR_ARG : open_parts(a);
}

size_t ruvm_ask_bytes(const struct ruvm_rag *rag, uint32_t k)
{
    struct asking a;
    return begin(&a, rag, k) == RUVM_OK ? OWN_BYTES + carve_all(&a, NULL, k) : 0;
}

int ruvm_ask(const struct ruvm_rag *rag, uint32_t k, const void *question, size_t n, void *memory,
             size_t bytes, struct ruvm_answer *answers)
{
    struct asking *a = memory;
    if (bytes < OWN_BYTES)
        return RUVM_ERR_MEMORY;
    int rc = begin(a, rag, k);
    if (rc != RUVM_OK)
        return rc;
    if (OWN_BYTES + carve_all(a, NULL, k) > bytes)
        return RUVM_ERR_MEMORY;
    carve_all(a, (uint8_t *)memory + OWN_BYTES, k);
    read_question(a, question, n);
    rc = look(a);
    return rc == RUVM_OK ? blend(a, k, answers) : rc;
}

uint32_t ruvm_ask_floor_q16(const struct ruvm_rag *rag)
{
    struct ruvm_recipe r;
    const struct ruvm_rag_part *part = &rag->part[RUVM_RAG_RCPE];
    if (ruvm_recipe_open(&r, part->data, part->bytes) != RUVM_OK)
        return 0;
    return ((uint32_t)r.floor << 16) / 255;
}
