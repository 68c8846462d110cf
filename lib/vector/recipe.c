/* Recipe: signed feature hashing straight to the dimensions, or sums of word vectors.
 *
 * A row of random signs for every feature that exists is a random projection of all of them
 * (Johnson and Lindenstrauss; Achlioptas 2003); drawing the signs from the feature's hash
 * means that no row is stored. Word vectors are looked up where they lie, by the hash of the
 * word, so that a table takes no memory.
 */
#include "lib/vector/recipe.h"

#include "lib/base/bytes.h"
#include "lib/base/status.h"
#include "lib/vector/words.h"

enum { SEED_PIECE = 1, SIGNS_A_DRAW = 32 };
/* Sums of word vectors of texts that have nothing to do with each other have cosines up to 0.6,
 * the best of hundreds of texts; what is below 0.4 says nothing. */
enum { COSINE_NOTHING_Q16 = 26214 };

static bool is_power_of_two(uint32_t n)
{
    return n && !(n & (n - 1));
}

int ruvm_recipe_open(struct ruvm_recipe *r, const uint8_t *data, uint32_t bytes)
{
    if (!data || bytes < RUVM_RCPE_WEIGHTS)
        return RUVM_ERR_CORRUPT;
    *r = (struct ruvm_recipe){
        .kind = data[RUVM_RCPE_KIND],
        .gram = data[RUVM_RCPE_GRAM],
        .gram_weight = data[RUVM_RCPE_GRAM_WEIGHT],
        .rank = data[RUVM_RCPE_RANK],
        .share = data[RUVM_RCPE_SHARE],
        .floor = data[RUVM_RCPE_FLOOR],
        .split = data[RUVM_RCPE_SPLIT],
        .chunk = ruvm_load_u16(data + RUVM_RCPE_CHUNK),
        .overlap = ruvm_load_u16(data + RUVM_RCPE_OVERLAP),
        .n_buckets = ruvm_load_u32(data + RUVM_RCPE_BUCKETS),
        .weights = data + RUVM_RCPE_WEIGHTS,
    };
    if (r->kind >= RUVM_N_RECIPES || r->rank >= RUVM_N_RANKS || r->split >= RUVM_N_SPLITS)
        return RUVM_ERR_UNSUPPORTED;
    if (bytes - RUVM_RCPE_WEIGHTS != r->n_buckets)
        return RUVM_ERR_CORRUPT;
    if (r->kind == RUVM_RECIPE_NONE)
        return r->n_buckets ? RUVM_ERR_CORRUPT : RUVM_OK;
    if (ruvm_recipe_has_model(r))
        return r->n_buckets >= RUVM_RCPE_MODEL_BYTES ? RUVM_OK : RUVM_ERR_CORRUPT;
    if (r->kind == RUVM_RECIPE_TABLE)
        return r->n_buckets ? RUVM_OK : RUVM_ERR_CORRUPT;
    bool sound = r->gram >= RUVM_RCPE_MIN_GRAM && r->gram <= RUVM_RCPE_MAX_GRAM &&
                 is_power_of_two(r->n_buckets) && r->n_buckets <= RUVM_RCPE_MAX_BUCKETS;
    return sound ? RUVM_OK : RUVM_ERR_CORRUPT;
}

/* ---- the table ------------------------------------------------------------------- */

int ruvm_recipe_set_table(struct ruvm_recipe *r, const uint8_t *data, uint32_t bytes, uint32_t dims)
{
    uint64_t record = sizeof(uint32_t) + sizeof(uint16_t) + dims;
    if (!data || bytes != RUVM_WORD_HASHES + r->n_buckets * record ||
        ruvm_load_u32(data + RUVM_WORD_N) != r->n_buckets ||
        ruvm_load_u16(data + RUVM_WORD_DIMS) != dims)
        return RUVM_ERR_CORRUPT;
    r->table = data;
    return RUVM_OK;
}

int ruvm_recipe_of(struct ruvm_recipe *r, const struct ruvm_rag *rag)
{
    const struct ruvm_rag_part *recipe = &rag->part[RUVM_RAG_RCPE];
    const struct ruvm_rag_part *table = &rag->part[RUVM_RAG_WORD];
    int rc = ruvm_recipe_open(r, recipe->data, recipe->bytes);
    if (rc != RUVM_OK || r->kind != RUVM_RECIPE_TABLE)
        return rc;
    return ruvm_recipe_set_table(r, table->data, table->bytes, rag->dims);
}

uint32_t ruvm_recipe_find(const struct ruvm_recipe *r, const uint8_t *word, uint32_t n)
{
    uint32_t hash = ruvm_words_hash(RUVM_WORD_SEED, word, n);
    return ruvm_words_find(r->table + RUVM_WORD_HASHES, r->n_buckets, hash);
}

static void add_word(const struct ruvm_recipe *r, int32_t *x, uint32_t dims, uint32_t i)
{
    const uint8_t *units = r->table + RUVM_WORD_HASHES + (size_t)r->n_buckets * 4;
    const int8_t *codes = (const int8_t *)units + (size_t)r->n_buckets * 2 + (size_t)i * dims;
    int32_t unit = ruvm_load_u16(units + (size_t)i * 2);
    int32_t scale = unit * r->weights[i] >> RUVM_WORD_UNIT_SHIFT;
    for (uint32_t d = 0; d < dims; d++)
        x[d] += codes[d] * scale >> RUVM_WORD_SHIFT;
}

static void add_words(const struct ruvm_recipe *r, int32_t *x, uint32_t dims, const void *text,
                      size_t n)
{
    struct ruvm_words w = ruvm_words_over(text, n);
    while (ruvm_words_next(&w)) {
        uint32_t i = ruvm_recipe_find(r, w.word, w.n_word);
        if (i < r->n_buckets)
            add_word(r, x, dims, i);
    }
}

/* ---- features -------------------------------------------------------------------- */

/* Where a walk over a text is told to. */
struct taker {
    void (*take)(void *context, uint32_t hash, bool is_piece);
    void *context;
};

/* The pieces of "^word$"; of one shorter than a piece, itself. */
static void take_pieces(const struct ruvm_recipe *r, const struct ruvm_words *w,
                        const struct taker *t)
{
    uint8_t marked[RUVM_WORDS_MAX + 2];
    uint32_t n = w->n_word + 2;
    marked[0] = '^';
    for (uint32_t i = 0; i < w->n_word; i++)
        marked[i + 1] = w->word[i];
    marked[n - 1] = '$';
    uint32_t size = n < r->gram ? n : r->gram;
    for (uint32_t i = 0; i + size <= n; i++)
        t->take(t->context, ruvm_words_hash(SEED_PIECE, marked + i, size), true);
}

void ruvm_recipe_features(const struct ruvm_recipe *r, const void *text, size_t n,
                          void (*take)(void *context, uint32_t hash, bool is_piece), void *context)
{
    const struct taker t = {take, context};
    struct ruvm_words w =
        ruvm_words_over(text, n < RUVM_RECIPE_MAX_TEXT ? n : RUVM_RECIPE_MAX_TEXT);
    if (r->kind != RUVM_RECIPE_HASHED)
        return;
    while (ruvm_words_next(&w)) {
        take(context, w.stem, false);
        if (r->gram_weight)
            take_pieces(r, &w, &t);
    }
}

uint32_t ruvm_recipe_weight(const struct ruvm_recipe *r, uint32_t hash, bool is_piece)
{
    uint32_t weight = r->weights[hash & (r->n_buckets - 1)] * 16u;
    return is_piece ? weight * r->gram_weight / 64 : weight;
}

void ruvm_recipe_add(int32_t *x, uint32_t dims, uint32_t hash, int32_t weight)
{
    uint32_t signs = 0;
    for (uint32_t i = 0; i < dims; i++, signs >>= 1) {
        if (i % SIGNS_A_DRAW == 0) {
            signs = (hash ^ (i + 1) * 0x9E3779B9u) * 0x85EBCA6Bu;
            signs = (signs ^ signs >> 15) * 0xC2B2AE35u;
            signs ^= signs >> 16;
        }
        x[i] += signs & 1 ? weight : -weight;
    }
}

struct embedding {
    const struct ruvm_recipe *recipe;
    int32_t *x;
    uint32_t dims;
};

static void add_feature(void *context, uint32_t hash, bool is_piece)
{
    struct embedding *e = context;
    ruvm_recipe_add(e->x, e->dims, hash, (int32_t)ruvm_recipe_weight(e->recipe, hash, is_piece));
}

void ruvm_recipe_embed(const struct ruvm_recipe *r, int32_t *x, uint32_t dims, const void *text,
                       size_t n)
{
    struct embedding e = {r, x, dims};
    for (uint32_t i = 0; i < dims; i++)
        x[i] = 0;
    if (r->kind == RUVM_RECIPE_TABLE && r->table)
        add_words(r, x, dims, text, n < RUVM_RECIPE_MAX_TEXT ? n : RUVM_RECIPE_MAX_TEXT);
    ruvm_recipe_features(r, text, n, add_feature, &e);
}

uint32_t ruvm_recipe_confidence_q16(const struct ruvm_recipe *r, bool by_words, uint32_t cover,
                                    int32_t cosine)
{
    uint32_t alike = cosine > 0 ? (uint32_t)cosine : 0;
    if (r->kind == RUVM_RECIPE_TABLE) {
        alike = alike > COSINE_NOTHING_Q16 ? (alike - COSINE_NOTHING_Q16) * 5 / 3 : 0;
        alike = alike < 65536 ? alike : 65536;
        return by_words && cover > alike ? cover : alike;
    }
    return by_words ? cover : alike;
}
