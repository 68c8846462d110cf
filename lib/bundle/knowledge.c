/* Asking a knowledge blob, on a workstation: what a chip does, with memory from here.
 *
 * The blob is mapped and checked once. A question is looked up by its words and by its vector,
 * some tens of candidates each, and the two lists are joined as the blob says.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/bundle/knowledge_weigh.h"
#include "lib/bundle/pack_open.h"
#include "lib/bundle/rag_build.h"
#include "lib/bundle/rag_embed.h"
#include "lib/bundle/rag_names.h"
#include "lib/vector/ask.h"
#include "lib/vector/blend.h"
#include "lib/vector/distance.h"

enum { DEFAULT_K = 3, MAX_K = 1000 };

struct ruvm_knowledge {
    struct ruvm_map map;
    const uint8_t *blob; /* in the file, which may be a pack */
    size_t bytes;
    struct ruvm_rag rag;
    struct ruvm_recipe recipe;
    struct ruvm_bm25 words;
    bool has_words;
    struct ruvm_vectors set;
    struct ruvm_states *states; /* of the model that the vectors are of, or NULL */
};

static int fail(const char *path, int rc, const struct ruvm_rag_fault *fault,
                struct ruvm_error *err)
{
    return ruvm_fail(err, rc, "%s: byte %u%s%s: %s: make the blob anew with ruvm rag-add", path,
                     fault->off, fault->section[0] ? ", section " : "", fault->section,
                     fault->what ? fault->what : "is wrong");
}

static int open_parts(struct ruvm_knowledge *k, const char *path, struct ruvm_error *err)
{
    const struct ruvm_rag_part *words = &k->rag.part[RUVM_RAG_BM25];
    int rc = ruvm_recipe_of(&k->recipe, &k->rag);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "%s: section RCPE: is damaged, or of a newer version", path);
    bool has_angles = k->set.metric == RUVM_METRIC_COSINE || k->set.metric == RUVM_METRIC_HAMMING;
    if (k->recipe.kind != RUVM_RECIPE_NONE && !has_angles)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: section RCPE: text becomes no vectors of the blob's metric", path);
    if (k->recipe.kind == RUVM_RECIPE_STATES &&
        k->recipe.n_buckets != ruvm_rag_embed_recipe_bytes(k->rag.dims))
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: section RCPE: is damaged", path);
    if (!words->data)
        return RUVM_OK;
    rc = ruvm_bm25_open(&k->words, words->data, words->bytes, k->rag.n);
    k->has_words = rc == RUVM_OK;
    return rc == RUVM_OK ? rc : ruvm_fail(err, rc, "%s: section BM25: is damaged", path);
}

static int open_blob(struct ruvm_knowledge *k, const char *path, struct ruvm_error *err)
{
    struct ruvm_rag_fault fault = {0};
    int rc = ruvm_file_map(&k->map, path, err);
    k->blob = k->map.data;
    k->bytes = k->map.size;
    if (rc == RUVM_OK)
        rc = ruvm_pack_open_knowledge(&k->blob, &k->bytes, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_rag_open(&k->rag, k->blob, k->bytes, &fault);
    if (rc == RUVM_OK)
        rc = ruvm_rag_check(&k->rag, &fault);
    if (rc != RUVM_OK)
        return fail(path, rc, &fault, err);
    k->set = ruvm_rag_set(&k->rag);
    return open_parts(k, path, err);
}

int ruvm_knowledge_open(struct ruvm_knowledge **knowledge, const char *path, struct ruvm_error *err)
{
    struct ruvm_knowledge *k = calloc(1, sizeof *k);
    *knowledge = NULL;
    if (!k)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", path);
    int rc = open_blob(k, path, err);
    if (rc == RUVM_OK)
        *knowledge = k;
    else
        ruvm_knowledge_close(k);
    return rc;
}

void ruvm_knowledge_close(struct ruvm_knowledge *k)
{
    if (!k)
        return;
    ruvm_file_unmap(&k->map);
    ruvm_states_close(k->states);
    free(k);
}

int ruvm_knowledge_use_model(struct ruvm_knowledge *k, const char *model, struct ruvm_error *err)
{
    const uint8_t *known = k->recipe.weights;
    if (k->recipe.kind != RUVM_RECIPE_STATES || k->states)
        return RUVM_OK;
    int rc = ruvm_states_open(&k->states, model, err);
    if (rc != RUVM_OK)
        return rc;
    if (ruvm_states_dims(k->states) == k->rag.dims &&
        ruvm_states_crc(k->states) == ruvm_load_u32(known) &&
        ruvm_states_bytes(k->states) == ruvm_load_u32(known + 4))
        return RUVM_OK;
    ruvm_states_close(k->states);
    k->states = NULL;
    return ruvm_fail(err, RUVM_ERR_MISMATCH,
                     "%s: is not the model that the blob's vectors are states of (its image has "
                     "%u bytes and CRC-32 %08x)",
                     model, ruvm_load_u32(known + 4), ruvm_load_u32(known));
}

int ruvm_knowledge_read_vector(float **v, uint32_t *n, const char *path, struct ruvm_error *err)
{
    struct ruvm_given g;
    *v = NULL;
    int rc = ruvm_given_read(&g, path, err);
    if (rc == RUVM_OK && g.n != 1)
        rc = ruvm_fail(err, RUVM_ERR_ARG, "%s: has %u vectors: a question has one", path, g.n);
    if (rc != RUVM_OK) {
        ruvm_given_free(&g);
        return rc;
    }
    *v = g.v;
    *n = g.dims;
    return RUVM_OK;
}

/* Whether vectors are made of text, now. */
static bool reads(const struct ruvm_knowledge *k)
{
    return ruvm_recipe_reads(&k->recipe) || k->states;
}

struct ruvm_knowledge_info ruvm_knowledge_info(const struct ruvm_knowledge *k)
{
    static const char *const embeds[RUVM_N_RECIPES] = {[RUVM_RECIPE_NONE] = "vectors",
                                                       [RUVM_RECIPE_HASHED] = "words",
                                                       [RUVM_RECIPE_STATES] = "model",
                                                       [RUVM_RECIPE_NEXT] = "next",
                                                       [RUVM_RECIPE_TABLE] = "table"};
    return (struct ruvm_knowledge_info){.n_chunks = k->rag.n,
                                        .n_sources = k->rag.n_sources,
                                        .dims = k->rag.dims,
                                        .type = ruvm_rag_type_names[k->rag.type],
                                        .rank = ruvm_rag_rank_names[k->recipe.rank],
                                        .floor = k->recipe.floor / 255.0,
                                        .file_bytes = k->bytes,
                                        .query_bytes = k->rag.query_bytes,
                                        .has_words = k->has_words,
                                        .has_recipe = reads(k),
                                        .embed = embeds[k->recipe.kind]};
}

struct ruvm_knowledge_source ruvm_knowledge_source(const struct ruvm_knowledge *k, uint32_t i)
{
    struct ruvm_source s = ruvm_rag_source(&k->rag, i);
    struct ruvm_knowledge_source out = {.name = s.name.text ? s.name.text : "",
                                        .n_name = s.name.bytes,
                                        .meta = s.meta.text,
                                        .n_meta = s.meta.bytes,
                                        .bytes = s.bytes,
                                        .crc32 = s.crc};
    for (uint32_t id = 0; id < k->rag.n; id++)
        out.n_chunks +=
            ruvm_rag_chunk(&k->rag, id).source == i && !ruvm_rag_is_deleted(&k->rag, id);
    return out;
}

/* ---- a question ----------------------------------------------------------------------------- */

/* What answering one question takes. */
struct asking {
    struct ruvm_knowledge *k;
    const struct ruvm_knowledge_ask *ask;
    uint32_t n, now; /* candidates of each kind */
    uint8_t rank;
    bool has_vector; /* a question without words has none */
    bool is_tree;    /* a taxonomy: the vector is that of the node its words name */
    struct ruvm_context context;
    double anchor; /* of a taxonomy: confidence of that node */
    struct ruvm_rag_query query;
    struct ruvm_bm25_question question;
    struct ruvm_hit *words, *vectors;
    int32_t *cosines;
    void *memory;
    size_t bytes;
    uint32_t n_words, n_vectors;
};

/* How like the question a chunk is, / 65536: the cosine, or in a taxonomy 1 / (1 + distance). */
static int32_t cosine_of(void *context, uint32_t id)
{
    const struct asking *a = context;
    if (!a->has_vector)
        return 0;
    if (!a->is_tree)
        return ruvm_distance_cosine_q16(&a->k->set, &a->query.q, id);
    return (int32_t)(((int64_t)1 << 32) / (65536 + ruvm_distance_q16(&a->k->set, &a->query.q, id)));
}

static bool is_fresh(void *context, uint32_t id)
{
    const struct asking *a = context;
    uint32_t expires = ruvm_rag_chunk(&a->k->rag, id).expires;
    return expires == 0 || expires > a->now;
}

static struct ruvm_search search_of(const struct asking *a, const struct ruvm_filter *fresh)
{
    return (struct ruvm_search){.k = a->n,
                                .ef = a->k->rag.ef > a->n ? a->k->rag.ef : a->n,
                                .deleted = a->k->rag.part[RUVM_RAG_DEAD].data,
                                .filter = fresh};
}

static bool make_room(struct asking *a)
{
    const struct ruvm_filter fresh = {.accepts = is_fresh, .context = a};
    const struct ruvm_search s = search_of(a, &fresh);
    a->bytes = ruvm_search_bytes(&s, a->k->rag.n);
    a->memory = malloc(a->bytes);
    a->words = calloc(a->n, sizeof *a->words);
    a->vectors = calloc(a->n, sizeof *a->vectors);
    a->cosines = calloc(a->n, sizeof *a->cosines);
    return a->memory && a->words && a->vectors && a->cosines;
}

static int look(struct asking *a, struct ruvm_error *err)
{
    const struct ruvm_rag *rag = &a->k->rag;
    const struct ruvm_filter fresh = {.accepts = is_fresh, .context = a};
    struct ruvm_search s = search_of(a, &fresh);
    int n = 0;
    if (a->rank != RUVM_RANK_VECTORS || a->is_tree)
        n = ruvm_bm25_search(&a->question, &s, a->memory, a->bytes, a->words);
    a->n_words = n > 0 ? (uint32_t)n : 0;
    ruvm_bm25_prefer_forms(&a->question, rag, a->words, a->n_words);
    if (a->is_tree && a->n_words) {
        ruvm_vectors_query_row(&a->query.q, &a->k->set, a->words[0].id);
        a->has_vector = true;
    }
    if (n >= 0 && a->rank != RUVM_RANK_WORDS && a->has_vector) {
        bool scan = a->ask->exact || rag->n_levels == 0;
        n = scan ? ruvm_search_scan(&a->k->set, &a->query.q, &s, a->memory, a->bytes, a->vectors)
                 : ruvm_search_graph(rag, &a->k->set, &a->query.q, &s, a->memory, a->bytes,
                                     a->vectors);
        a->n_vectors = n > 0 ? (uint32_t)n : 0;
    }
    for (uint32_t i = 0; i < a->n_vectors; i++)
        a->cosines[i] = cosine_of(a, a->vectors[i].id);
    return n < 0 ? ruvm_fail(err, n, "the blob cannot be searched") : RUVM_OK;
}

bool ruvm_knowledge_chunk(const struct ruvm_knowledge *k, uint32_t i,
                          struct ruvm_knowledge_hit *hit)
{
    struct ruvm_chunk c = ruvm_rag_chunk(&k->rag, i);
    struct ruvm_source s = ruvm_rag_source(&k->rag, c.source);
    *hit = (struct ruvm_knowledge_hit){.chunk = i,
                                       .text = c.text.text ? c.text.text : "",
                                       .n_text = c.text.bytes,
                                       .source = s.name.text ? s.name.text : "",
                                       .n_source = s.name.bytes,
                                       .meta = c.meta.text,
                                       .n_meta = c.meta.bytes};
    return !ruvm_rag_is_deleted(&k->rag, i);
}

/* How much of the question the node has that its words name best. */
static double anchor_of(const struct asking *a)
{
    if (!a->is_tree || a->n_words == 0)
        return 0;
    struct ruvm_chunk c = ruvm_rag_chunk(&a->k->rag, a->words[0].id);
    const char *text = c.text.text ? c.text.text : "";
    return ruvm_bm25_cover_q16(&a->question, text, c.text.bytes) / 65536.0;
}

static double confidence_of(struct asking *a, uint32_t id, const struct ruvm_knowledge_hit *hit)
{
    uint32_t cover = ruvm_bm25_cover_q16(&a->question, hit->text, hit->n_text);
    int32_t cosine = a->has_vector ? cosine_of(a, id) : 0;
    bool by_words = a->k->has_words && a->rank != RUVM_RANK_VECTORS;
    double kin = cosine / 65536.0 * a->anchor;
    if (!a->is_tree)
        return ruvm_recipe_confidence_q16(&a->k->recipe, by_words, cover, cosine) / 65536.0;
    /* kin of what was found are found, too, the less the farther */
    return cover / 65536.0 > kin ? cover / 65536.0 : kin;
}

static void fill(struct asking *a, const struct ruvm_found *found, struct ruvm_knowledge_hit *hit)
{
    ruvm_knowledge_chunk(a->k, found->id, hit);
    hit->score = found->score_q16 / 65536.0;
    hit->weight = ruvm_knowledge_weight_q16(&a->k->rag, found->id, &a->context) / 65536.0;
    hit->confidence = confidence_of(a, found->id, hit);
}

static int blend(struct asking *a, uint32_t k, struct ruvm_knowledge_hit *hits,
                 struct ruvm_error *err)
{
    const struct ruvm_blend b = {.rank = a->rank,
                                 .share = a->k->recipe.share,
                                 .words = a->words,
                                 .vectors = a->vectors,
                                 .cosines_q16 = a->cosines,
                                 .n_words = a->n_words,
                                 .n_vectors = a->n_vectors,
                                 .whole = a->question.idf_sum,
                                 .cosine_q16 = cosine_of,
                                 .context = a};
    struct ruvm_found *found = calloc(a->n, sizeof *found);
    if (!found)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %u hits", k);
    a->anchor = anchor_of(a);
    uint32_t n = ruvm_blend(&b, found, a->n);
    n = ruvm_knowledge_weigh(&a->k->rag, &a->context, found, n);
    n = n < k ? n : k;
    for (uint32_t i = 0; i < n; i++)
        fill(a, &found[i], &hits[i]);
    free(found);
    return (int)n;
}

/* The rank wanted, or what the blob can do of it. */
static int choose_rank(struct asking *a, struct ruvm_error *err)
{
    a->rank = a->k->recipe.rank;
    int rc = ruvm_rag_name_find(&a->rank, ruvm_rag_rank_names, a->ask->rank, "rank", err);
    a->is_tree = a->k->recipe.kind == RUVM_RECIPE_NONE && a->k->has_words &&
                 a->k->set.metric >= RUVM_METRIC_POINCARE;
    bool has_vectors = reads(a->k) || a->is_tree || a->ask->vector;
    if (rc != RUVM_OK)
        return rc;
    if (a->k->recipe.kind == RUVM_RECIPE_NEXT)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "the blob has states of a language model, for run --knn: there is no "
                         "text to be found in it");
    if (a->ask->vector && (a->is_tree || a->ask->n_vector != a->k->rag.dims))
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "a vector of %u dimensions for a blob %s %u: it takes no such question",
                         a->ask->n_vector, a->is_tree ? "of a tree, of" : "of", a->k->rag.dims);
    if (!a->k->has_words && !has_vectors && a->k->recipe.kind == RUVM_RECIPE_STATES)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "the blob's vectors are states of a language model: name it with --embed "
                         "model:MODEL");
    if (!a->k->has_words && !has_vectors)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "the blob's vectors were given and it has no words (BM25): ask it with a "
                         "vector (--query-vector)");
    if (a->ask->vector && a->ask->n_bytes == 0)
        a->rank = RUVM_RANK_VECTORS;
    if (!a->k->has_words && (a->rank == RUVM_RANK_WORDS || !has_vectors))
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "the blob has no words (BM25) to look for");
    if (!has_vectors && a->rank == RUVM_RANK_VECTORS)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "the blob does not say how text becomes a vector");
    if (!a->k->has_words)
        a->rank = RUVM_RANK_VECTORS;
    if (!has_vectors)
        a->rank = RUVM_RANK_WORDS;
    return RUVM_OK;
}

/* The vector of the question, before it is rounded. */
static int embed_question(struct asking *a, const char *text, struct ruvm_error *err)
{
    const struct ruvm_knowledge *k = a->k;
    int rc = RUVM_OK;
    if (a->ask->vector) {
        ruvm_given_scale(a->query.x, a->ask->vector, k->rag.dims);
    } else if (k->states) {
        rc = ruvm_states_embed(k->states, a->query.x, text, a->ask->n_bytes, err);
        ruvm_rag_embed_centre(a->query.x, k->rag.dims, k->recipe.weights);
    } else {
        ruvm_recipe_embed(&k->recipe, a->query.x, k->rag.dims, text, a->ask->n_bytes);
    }
    return rc;
}

static int read_question(struct asking *a, struct ruvm_error *err)
{
    const char *text = a->ask->n_bytes ? a->ask->question : "";
    if (a->k->has_words)
        ruvm_bm25_ask(&a->question, &a->k->words, text, a->ask->n_bytes);
    if (!reads(a->k) && !a->ask->vector)
        return RUVM_OK;
    int rc = embed_question(a, text, err);
    ruvm_rag_query_of(&a->query, &a->k->set);
    for (uint32_t i = 0; i < a->k->set.dims; i++)
        a->has_vector = a->has_vector || a->query.x[i] != 0;
    return rc;
}

int ruvm_knowledge_ask(struct ruvm_knowledge *k, const struct ruvm_knowledge_ask *ask,
                       struct ruvm_knowledge_hit *hits, struct ruvm_error *err)
{
    uint32_t wanted = ask->k ? ask->k : DEFAULT_K;
    struct asking a = {.k = k, .ask = ask, .now = ask->now_s ? ask->now_s : (uint32_t)time(NULL)};
    if (wanted > MAX_K)
        return ruvm_fail(err, RUVM_ERR_ARG, "%u hits: at most %d", wanted, MAX_K);
    a.n = ruvm_ask_candidates(wanted);
    int rc = choose_rank(&a, err);
    if (rc == RUVM_OK)
        rc = ruvm_knowledge_context(&a.context, ask, a.now, err);
    if (rc != RUVM_OK)
        return rc;
    rc = read_question(&a, err);
    if (rc != RUVM_OK)
        return rc;
    rc = make_room(&a) ? look(&a, err) : ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a search");
    if (rc == RUVM_OK)
        rc = blend(&a, wanted, hits, err);
    free(a.memory);
    free(a.words);
    free(a.vectors);
    free(a.cosines);
    return rc;
}
