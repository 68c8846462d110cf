/* The engine: lays out the caller's memory, then turns tokens into logits.
 *
 * eval() takes tokens in blocks: embedding into the residual stream, each
 * layer's attention and feed-forward for the whole block, and logits only where
 * somebody wants them. The tokens of a block may belong to several texts, each with an
 * engine of its own: only attention and positions tell them apart. There is no allocation
 * and no hidden state: everything lives in struct ruvm_engine and the regions carved
 * behind it.
 */
#include "lib/core/engine.h"

#include "formats/ruvm_codes.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/core/parallel.h"

/* Hands out consecutive regions; with base NULL it only counts. */
struct carver {
    uint8_t *base;
    uint64_t used; /* may exceed what a small machine can address: then only counted */
};

enum { REGION_ALIGN = 16 };

static void *carve(struct carver *c, uint64_t count, size_t size)
{
    void *p = c->base ? c->base + c->used : NULL;
    c->used += (count * size + REGION_ALIGN - 1) & ~(uint64_t)(REGION_ALIGN - 1);
    return p;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void carve_cache(struct carver *c, struct ruvm_cache *cache, uint64_t heads)
{
    uint64_t vectors = heads * cache->context;
    cache->data = carve(c, vectors, cache->head_dim * (size_t)cache->bits / 8);
    if (cache->bits == 4)
        cache->m = carve(c, vectors, 1);
}

/* What both caches unpack into, one after the other. */
static void carve_room(struct carver *c, struct ruvm_engine *e)
{
    uint32_t n = e->slots < RUVM_UNPACK_BLOCK ? e->slots : RUVM_UNPACK_BLOCK;
    if (e->keys.bits == 4 || e->values.bits == 4)
        e->keys.room = e->values.room = carve(c, n, e->img.head_dim);
}

/* Whether what is read row by row, not multiplied, has to be unpacked. */
static bool has_packed_rows(const struct ruvm_image *img)
{
    return ruvm_image_find(img, RUVM_TENSOR_EMBED, 0).type != RUVM_TYPE_INT8 ||
           (img->pos == RUVM_POS_LEARNED &&
            ruvm_image_find(img, RUVM_TENSOR_POSITION, 0).type != RUVM_TYPE_INT8);
}

/* What a thread needs for one token. */
static void carve_thread(struct carver *c, struct ruvm_engine *e)
{
    const struct ruvm_image *img = &e->img;
    e->vector = carve(c, max_u32(img->dim, img->hidden), sizeof *e->vector);
    e->levels = carve(c, has_packed_rows(img) ? img->dim : 0, sizeof *e->levels);
    e->query = carve(c, img->head_dim, sizeof *e->query);
    e->mixed = carve(c, img->head_dim, sizeof *e->mixed);
    e->mixed_sum = carve(c, img->head_dim, sizeof *e->mixed_sum);
    e->scores = carve(c, e->slots, sizeof *e->scores);
    e->weights = carve(c, e->slots, sizeof *e->weights);
    carve_room(c, e);
}

/* The calling thread's view is the engine. */
static void carve_views(struct carver *c, struct ruvm_engine *e)
{
    uint32_t n = ruvm_engine_parallel(e) ? e->parallel->n_parts - 1 : 0;
    struct ruvm_engine view = *e;
    e->views = carve(c, n, sizeof *e->views);
    for (uint32_t i = 0; i < n; i++) {
        carve_thread(c, &view);
        if (c->base)
            e->views[i] = view;
    }
}

/* The one description of the memory: ruvm_engine_bytes() and ruvm_engine_init() both
 * run it, so they cannot disagree. The caches come last: a full context touches the
 * last byte. */
static uint64_t carve_regions(struct ruvm_engine *e, void *memory)
{
    const struct ruvm_image *img = &e->img;
    struct carver c = {.base = memory};
    carve(&c, 1, sizeof *e);
    e->rows = carve(&c, e->block, sizeof *e->rows);
    e->residual = carve(&c, (size_t)e->block * img->dim, sizeof *e->residual);
    e->layer_input = e->residual;
    if (img->parallel)
        e->layer_input = carve(&c, (size_t)e->block * img->dim, sizeof *e->layer_input);
    e->work = carve(&c, e->work_ints, sizeof *e->work);
    e->x = carve(&c, e->block, e->x_stride);
    e->x_unit = carve(&c, (size_t)e->block * RUVM_MAX_GROUPS, sizeof *e->x_unit);
    e->signs = carve(&c, e->block, e->sign_stride);
    e->sign_unit = carve(&c, e->sign_stride ? e->block : 0, sizeof *e->sign_unit);
    e->rope = carve(&c, (size_t)e->block * img->rope_dims, sizeof *e->rope);
    e->logits = carve(&c, img->vocab, sizeof *e->logits);
    carve_thread(&c, e);
    carve_views(&c, e);
    carve_cache(&c, &e->keys, (uint64_t)img->n_layers * img->n_kv_heads);
    carve_cache(&c, &e->values, (uint64_t)img->n_layers * img->n_kv_heads);
    return c.used;
}

static bool has_type(const struct ruvm_image *img, int type)
{
    for (unsigned i = 0; i < img->n_tensors; i++)
        if (ruvm_image_tensor(img, i).type == type)
            return true;
    return false;
}

/* Widths of vectors and of their groups. */
static void set_widths(struct ruvm_engine *e)
{
    const struct ruvm_image *img = &e->img;
    struct ruvm_tensor head = ruvm_image_find(img, RUVM_TENSOR_HEAD, 0);
    uint32_t widest = max_u32(max_u32(img->dim, img->hidden), e->q_dim);
    uint32_t ffn_rows = (img->act == RUVM_ACT_SILU_GATED ? 2u : 1u) * img->hidden;
    uint32_t rows = max_u32(e->q_dim + 2 * e->kv_dim, ffn_rows);
    uint32_t share = (img->hidden + RUVM_MAX_GROUPS - 1u) / RUVM_MAX_GROUPS;
    e->x_stride = ruvm_vector_padded(widest);
    if (has_type(img, RUVM_TYPE_XNOR))
        e->sign_stride = (uint32_t)ruvm_align_up(e->x_stride / 8, REGION_ALIGN);
    e->group = max_u32(ruvm_vector_padded(share), RUVM_MIN_GROUP);
    e->head_group = ruvm_vector_group(
        e, &head, img->dim <= RUVM_NARROW_DIM ? (uint32_t)RUVM_HEAD_GROUP : e->x_stride);
    e->work_ints = e->block * max_u32(max_u32(rows, img->dim), RUVM_PANEL_ROWS);
}

/* log2(e) times the scale of the scores, for weights are powers of two. */
static struct ruvm_real score_unit(const struct ruvm_image *img)
{
    struct ruvm_real scale = img->score_mantissa
                                 ? ruvm_real_make(img->score_mantissa, img->score_exp)
                                 : ruvm_real_rsqrt(ruvm_real_make(img->head_dim, 0));
    return ruvm_real_mul(scale, (struct ruvm_real){0xB8AA3B29u, -31}); /* 1.442695... */
}

/* A block for each thread. A mask that forgets keeps its block, on which depends what of a text
 * the engine knows. */
static uint32_t block_of_all(const struct ruvm_engine *e)
{
    uint32_t n = ruvm_engine_parallel(e) ? e->parallel->n_parts : 1;
    n = e->mask.kind == RUVM_MASK_WINDOW ? 1 : n;
    return e->block * n < RUVM_MAX_BLOCK ? e->block * n : RUVM_MAX_BLOCK;
}

static int set_shape(struct ruvm_engine *e, const struct ruvm_engine_options *o)
{
    const struct ruvm_image *img = &e->img;
    if (img->version == RUVM_VERSION_V0 || img->head_dim > RUVM_MAX_HEAD_DIM)
        return RUVM_ERR_UNSUPPORTED;
    e->context = o && o->context ? o->context : img->context;
    e->block = o && o->block ? o->block : RUVM_DEFAULT_BLOCK;
    e->k = o && o->kernels ? o->kernels : &ruvm_kernels_scalar;
    e->panels = o ? o->panels : NULL;
    e->parallel = o && o->parallel && o->parallel->n_parts > 1 ? o->parallel : NULL;
    if (e->context > img->context || e->block > RUVM_MAX_BLOCK ||
        (e->parallel && e->parallel->n_parts > RUVM_MAX_PARTS))
        return RUVM_ERR_ARG;
    e->mask = o ? o->mask : (struct ruvm_mask){0};
    e->block = block_of_all(e);
    e->block = e->block < e->context ? e->block : e->context;
    if (RUVM_CORE_SMALL && (e->panels || e->parallel || e->mask.kind != RUVM_MASK_NONE))
        return RUVM_ERR_UNSUPPORTED;
    if (ruvm_mask_check(&e->mask) != RUVM_OK)
        return RUVM_ERR_ARG;
    e->slots = ruvm_mask_slots(&e->mask, e->context, e->block);
    e->q_dim = (uint32_t)img->n_heads * img->head_dim;
    e->kv_dim = (uint32_t)img->n_kv_heads * img->head_dim;
    e->keys = (struct ruvm_cache){
        .k = e->k, .bits = img->k_bits, .context = e->slots, .head_dim = img->head_dim};
    e->values = e->keys;
    e->values.bits = img->v_bits;
    set_widths(e);
    e->inv_dim = ruvm_real_make(((uint64_t)1 << 48) / img->dim, -48);
    e->score_unit = score_unit(img);
    return RUVM_OK;
}

static int open_image(struct ruvm_engine *e, const void *image, size_t image_bytes,
                      const struct ruvm_engine_options *options)
{
    int rc = ruvm_image_open(&e->img, image, image_bytes, NULL);
    return rc == RUVM_OK ? set_shape(e, options) : rc;
}

int ruvm_engine_bytes(const void *image, size_t image_bytes,
                      const struct ruvm_engine_options *options, size_t *bytes)
{
    struct ruvm_engine e = {0};
    int rc = open_image(&e, image, image_bytes, options);
    if (rc != RUVM_OK)
        return rc;
    uint64_t need = carve_regions(&e, NULL);
    *bytes = (size_t)need;
    return need > SIZE_MAX / 2 ? RUVM_ERR_MEMORY : RUVM_OK;
}

/* Puts e and its regions into the caller's memory. */
static int place(struct ruvm_engine **engine, struct ruvm_engine *e, void *memory,
                 size_t memory_bytes)
{
    if (((uintptr_t)memory & (REGION_ALIGN - 1)) != 0)
        return RUVM_ERR_ARG;
    if (carve_regions(e, NULL) > memory_bytes)
        return RUVM_ERR_MEMORY;
    carve_regions(e, memory);
    *engine = memory;
    **engine = *e;
    return RUVM_OK;
}

int ruvm_engine_init(struct ruvm_engine **engine, void *memory, size_t memory_bytes,
                     const void *image, size_t image_bytes,
                     const struct ruvm_engine_options *options)
{
    struct ruvm_engine e = {0};
    int rc = open_image(&e, image, image_bytes, options);
    return rc == RUVM_OK ? place(engine, &e, memory, memory_bytes) : rc;
}

int ruvm_engine_init_like(struct ruvm_engine **engine, void *memory, size_t memory_bytes,
                          const struct ruvm_engine *other)
{
    struct ruvm_engine e = *other;
    e.position = e.written = 0;
    return place(engine, &e, memory, memory_bytes);
}

/* Levels of a row of the embedding, or of the positions. */
static const int8_t *levels_of(const struct ruvm_engine *e, const struct ruvm_tensor *w,
                               uint32_t row)
{
    const int8_t *data = w->data + (size_t)row * w->row_bytes;
    if (w->type == RUVM_TYPE_INT8)
        return data;
    ruvm_codes_unpack(w->type, e->levels, (const uint8_t *)data, w->cols);
    return e->levels;
}

/* Adds a row to h, from a level times its multipliers to the stream's unit. */
static void add_row(const struct ruvm_engine *e, const struct ruvm_tensor *w, uint32_t row,
                    int32_t *h)
{
    struct ruvm_real unit = ruvm_real_make(1, w->scale_exp - e->img.resid_exp);
    struct ruvm_ratio r = ruvm_real_ratio(unit);
    const int8_t *levels = levels_of(e, w, row);
    int32_t scale = w->scales[row];
    for (uint32_t i = 0; i < w->cols; i++) {
        int32_t level = levels[i] * (int32_t)ruvm_image_multiplier(w, row, i);
        int64_t sum = (int64_t)h[i] + ruvm_fixed_scale(level * scale, r, INT32_MAX);
        h[i] = ruvm_fixed_clamp(sum);
    }
}

struct embedding {
    struct ruvm_tensor w, positions;
    bool is_learned; /* positions */
};

static void embed_tokens(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct embedding *m = job;
    for (uint32_t t = first; t < end; t++) {
        const struct ruvm_block_row *row = &e->rows[t];
        int32_t *h = e->residual + (size_t)t * e->img.dim;
        for (uint32_t i = 0; i < e->img.dim; i++)
            h[i] = 0;
        add_row(e, &m->w, row->token, h);
        if (m->is_learned)
            add_row(e, &m->positions, row->position, h);
    }
}

/* residual = row of the embedding, plus that of the position where those are learned. */
static void embed(struct ruvm_engine *e, uint32_t n_tokens)
{
    struct embedding m = {.w = ruvm_image_find(&e->img, RUVM_TENSOR_EMBED, 0),
                          .is_learned = e->img.pos == RUVM_POS_LEARNED};
    if (m.is_learned)
        m.positions = ruvm_image_find(&e->img, RUVM_TENSOR_POSITION, 0);
    ruvm_parallel_tokens(e, n_tokens, e->img.dim, embed_tokens, &m);
}

/* ---- logits --------------------------------------------------------------- */

/* The head's rows are taken in pieces, each with its part of the work area. */
struct head {
    struct ruvm_tensor w;
    uint32_t n_tokens;
    uint32_t piece_rows; /* a multiple of RUVM_PANEL_ROWS */
    int32_t *work;       /* [n_tokens, piece_rows] a piece */
    uint32_t n_pieces;   /* of the work area */
};

enum { LOGIT_EXP = -16 };

/* Adds what one group of x contributes to the logits of the rows of w, which begin at `row`. */
static void add_to_logits(struct ruvm_engine *e, const struct head *head,
                          const struct ruvm_tensor *w, uint32_t row, uint32_t g, int32_t *work)
{
    const struct ruvm_part p = {.row = row,
                                .col = g * e->head_group,
                                .n_cols = e->head_group,
                                .n_tokens = head->n_tokens,
                                .out = work,
                                .out_stride = w->rows};
    ruvm_vector_matmul_part(e, w, &p);
    for (uint32_t t = 0; t < head->n_tokens; t++, work += w->rows) {
        const struct ruvm_sums s = {
            .v = work, .token = t, .group = g, .exp = LOGIT_EXP, .is_first = g == 0};
        ruvm_vector_add(e, w, &s, e->rows[t].logits + row);
    }
}

/* Items are parts of the work area; each takes its share of the rows. */
static void head_rows(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct head *head = job;
    uint32_t panels = (head->w.rows + RUVM_PANEL_ROWS - 1) / RUVM_PANEL_ROWS;
    uint32_t begin = (uint32_t)((uint64_t)panels * first / head->n_pieces) * RUVM_PANEL_ROWS;
    uint32_t stop = (uint32_t)((uint64_t)panels * end / head->n_pieces) * RUVM_PANEL_ROWS;
    int32_t *work = head->work + (size_t)first * head->n_tokens * head->piece_rows;
    stop = stop < head->w.rows ? stop : head->w.rows;
    for (uint32_t row = begin, n; row < stop; row += n) {
        n = stop - row < head->piece_rows ? stop - row : head->piece_rows;
        struct ruvm_tensor part = ruvm_vector_rows(&head->w, row, n);
        for (uint32_t g = 0; g * e->head_group < part.cols; g++)
            add_to_logits(e, head, &part, row, g, work);
    }
}

/* Each part of the logits is walked over three times, so it fits the nearest cache. */
enum { HEAD_INTS = 2048 };

/* Logits of x, as many tokens as have room for a panel each. */
static void head(struct ruvm_engine *e, uint32_t n_tokens)
{
    struct head h = {.w = ruvm_image_find(&e->img, RUVM_TENSOR_HEAD, 0),
                     .n_tokens = n_tokens,
                     .work = e->work,
                     .n_pieces = 1};
    uint32_t room = e->work_ints / n_tokens;
    if (ruvm_engine_parallel(e) && room / e->parallel->n_parts >= RUVM_PANEL_ROWS)
        h.n_pieces = e->parallel->n_parts;
    room /= h.n_pieces;
    room = room < HEAD_INTS / n_tokens ? room : HEAD_INTS / n_tokens;
    h.piece_rows = max_u32(room & ~(RUVM_PANEL_ROWS - 1u), RUVM_PANEL_ROWS);
    ruvm_parallel_for(e, h.n_pieces, (uint64_t)h.w.rows * h.w.cols * n_tokens, head_rows, &h);
}

static void copy(int32_t *to, const int32_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = from[i];
}

/* The two halves of a parallel layer read the same input, though the first has already
 * added its output to the residual when the second reads it. */
static void begin_layer(struct ruvm_engine *e, uint32_t n_tokens)
{
    if (e->layer_input != e->residual)
        copy(e->layer_input, e->residual, (size_t)n_tokens * e->img.dim);
}

/* Moves the rows whose logits are wanted to the front; returns how many they are. */
static uint32_t keep_wanted(struct ruvm_engine *e, uint32_t n_tokens)
{
    uint32_t n = 0, dim = e->img.dim;
    for (uint32_t t = 0; t < n_tokens; t++) {
        if (!e->rows[t].logits)
            continue;
        if (n < t)
            copy(e->residual + (size_t)n * dim, e->residual + (size_t)t * dim, dim);
        e->rows[n++] = e->rows[t];
    }
    return n;
}

/* From where the keys of one layer are cached to where those of the next one are: up to there
 * no token needs another one. Stage 0 begins with the embedding, the last one ends the block. */
static void run_stage(struct ruvm_engine *e, uint32_t stage, uint32_t n_tokens)
{
    if (stage == 0) {
        embed(e, n_tokens);
        ruvm_attention_rope(e, n_tokens);
    } else {
        ruvm_attention_run(e, stage - 1, n_tokens);
        ruvm_feed_forward_run(e, stage - 1, n_tokens);
    }
    if (stage == e->img.n_layers)
        return;
    begin_layer(e, n_tokens);
    ruvm_attention_prepare(e, stage, n_tokens);
}

/* A thread with enough tokens keeps them: what it computed of them need not come from another
 * processor's cache, and nobody waits but once a layer. The price is that every thread reads
 * all weights: from memory, that takes as long as so many tokens for each byte of a weight. */
enum { FEW_TOKENS = 4, MANY_TOKENS = 32 };

static bool splits_by_tokens(const struct ruvm_engine *e, uint32_t n_tokens)
{
    if (!ruvm_engine_parallel(e) || e->parallel->min_work == UINT64_MAX)
        return false;
    uint32_t least = FEW_TOKENS;
    if (ruvm_engine_is_far(e)) {
        struct ruvm_tensor w = ruvm_image_find(&e->img, RUVM_TENSOR_W_DOWN, 0);
        least = max_u32(least, MANY_TOKENS * w.row_bytes / w.cols);
    }
    return n_tokens / e->parallel->n_parts >= least;
}

/* A token late in the text looks at more of it. So a block is cut into two pieces a thread, and
 * every second piece changes places with the one as far from the block's end as it is from its
 * begin: all threads get as many early tokens as late ones. Tokens that attention takes together
 * stay together. */
static void deal_tokens(struct ruvm_engine *e, uint32_t n_tokens)
{
    uint32_t pieces = 2 * e->parallel->n_parts, n = n_tokens / pieces;
    n -= n % RUVM_ATTEND_QUERIES;
    for (uint32_t piece = 1; piece < pieces / 2; piece += 2) {
        struct ruvm_block_row *a = e->rows + (size_t)piece * n;
        struct ruvm_block_row *b = e->rows + (size_t)(pieces - piece) * n;
        for (uint32_t i = 0; i < n; i++) {
            struct ruvm_block_row row = a[i];
            a[i] = b[i];
            b[i] = row;
        }
    }
}

struct tokens {
    uint32_t stage, n;
};

/* Items are as many tokens as a kernel takes together. */
static void run_stage_of(struct ruvm_engine *e, void *job, uint32_t first, uint32_t end)
{
    const struct tokens *all = job;
    struct ruvm_engine own = *e;
    first *= RUVM_PARALLEL_TOKENS;
    end *= RUVM_PARALLEL_TOKENS;
    end = end < all->n ? end : all->n;
    ruvm_parallel_narrow(&own, first, end - first);
    run_stage(&own, all->stage, end - first);
}

static void run_block(struct ruvm_engine *e, uint32_t n_tokens)
{
    for (uint32_t stage = 0; stage <= e->img.n_layers; stage++) {
        struct tokens all = {stage, n_tokens};
        if (splits_by_tokens(e, n_tokens))
            ruvm_parallel_split(e, (n_tokens + RUVM_PARALLEL_TOKENS - 1) / RUVM_PARALLEL_TOKENS,
                                run_stage_of, &all);
        else
            run_stage(e, stage, n_tokens);
    }
}

/* Multiplications of the matrices; of a block mostly one token's logits are wanted. */
static uint64_t work_of_block(const struct ruvm_engine *e, uint32_t n_tokens)
{
    uint64_t rows = 2 * e->q_dim + 2 * e->kv_dim + 3u * e->img.hidden;
    return (rows * e->img.n_layers * n_tokens + e->img.vocab) * e->img.dim;
}

/* The n tokens of e->rows, at most a block, by those who are in e->parallel. */
static void compute_block(struct ruvm_engine *e, uint32_t n_tokens)
{
    ruvm_parallel_refresh(e);
    if (ruvm_engine_parallel(e))
        deal_tokens(e, n_tokens);
    run_block(e, n_tokens);
    n_tokens = keep_wanted(e, n_tokens);
    if (n_tokens == 0)
        return;
    begin_layer(e, n_tokens);
    ruvm_vector_norm(e, 2u * e->img.n_layers, e->head_group, n_tokens);
    head(e, n_tokens);
}

static void eval_block(struct ruvm_engine *e, uint32_t n_tokens)
{
    const struct ruvm_parallel *all = e->parallel;
    if (ruvm_engine_parallel(e) && work_of_block(e, n_tokens) < all->min_block)
        e->parallel = NULL;
    compute_block(e, n_tokens);
    e->parallel = all;
}

/* The next token of a text. */
static struct ruvm_block_row next_row(struct ruvm_engine *of, uint16_t token, int32_t *logits)
{
    struct ruvm_block_row row = {
        .of = of, .position = of->position++, .token = token, .logits = logits};
    of->written = max_u32(of->written, of->position);
    return row;
}

int ruvm_engine_eval(struct ruvm_engine *e, const uint16_t *tokens, size_t n, int32_t *all_logits)
{
    if (n == 0)
        return RUVM_ERR_ARG;
    if (n > e->context - e->position)
        return RUVM_ERR_FULL;
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= e->img.vocab)
            return RUVM_ERR_ARG;
    uint32_t vocab = e->img.vocab, in_block = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t *logits = all_logits ? all_logits + i * vocab : i + 1 == n ? e->logits : NULL;
        e->rows[in_block++] = next_row(e, tokens[i], logits);
        if (in_block < e->block && i + 1 < n)
            continue;
        eval_block(e, in_block);
        in_block = 0;
    }
    if (all_logits)
        copy(e->logits, all_logits + (n - 1) * vocab, vocab);
    return RUVM_OK;
}

/* ---- several texts --------------------------------------------------------- */

static bool is_alike(const struct ruvm_engine *a, const struct ruvm_engine *b)
{
    return a->img.data == b->img.data && a->context == b->context && a->block == b->block &&
           a->slots == b->slots && a->mask.kind == b->mask.kind && a->mask.n[0] == b->mask.n[0] &&
           a->mask.n[1] == b->mask.n[1] && a->mask.n[2] == b->mask.n[2];
}

/* Positions are counted while it goes and given back: nobody has seen them. */
static int check_rows(const struct ruvm_engine *e, const struct ruvm_row *rows, size_t n)
{
    int rc = RUVM_OK;
    size_t counted = 0;
    for (size_t i = 0; i < n && rc == RUVM_OK; i++) {
        struct ruvm_engine *of = rows[i].engine;
        if (rows[i].token >= e->img.vocab || !is_alike(e, of))
            rc = RUVM_ERR_ARG;
        else if (of->position == of->context)
            rc = RUVM_ERR_FULL;
        else
            of->end = ++of->position;
        counted += rc == RUVM_OK;
    }
    while (counted > 0)
        rows[--counted].engine->position--;
    return n ? rc : RUVM_ERR_ARG;
}

int ruvm_engine_eval_rows(struct ruvm_engine *e, const struct ruvm_row *rows, size_t n)
{
    uint32_t in_block = 0;
    int rc = check_rows(e, rows, n);
    for (size_t i = 0; rc == RUVM_OK && i < n; i++) {
        struct ruvm_engine *of = rows[i].engine;
        int32_t *logits = of->position + 1 == of->end ? of->logits : NULL;
        e->rows[in_block++] = next_row(of, rows[i].token, logits);
        if (in_block < e->block && i + 1 < n)
            continue;
        eval_block(e, in_block);
        in_block = 0;
    }
    return rc;
}

const int32_t *ruvm_engine_logits(const struct ruvm_engine *e)
{
    return e->logits;
}

int32_t *ruvm_engine_take_logits(struct ruvm_engine *e)
{
    return e->logits;
}

uint32_t ruvm_engine_position(const struct ruvm_engine *e)
{
    return e->position;
}

int ruvm_engine_rewind(struct ruvm_engine *e, uint32_t n)
{
    if (n > e->position)
        return RUVM_ERR_ARG;
    if (!ruvm_mask_can_rewind(e, n))
        return RUVM_ERR_UNSUPPORTED;
    e->position = n;
    if (n <= e->mask.n[1]) /* sinks, or nothing: the ring is empty */
        e->written = n;
    return RUVM_OK;
}

int ruvm_model_info(struct ruvm_model_info *info, const void *image, size_t image_bytes)
{
    struct ruvm_image img;
    int rc = ruvm_image_open(&img, image, image_bytes, NULL);
    if (rc != RUVM_OK)
        return rc;
    if (img.version == RUVM_VERSION_V0)
        return RUVM_ERR_UNSUPPORTED;
    *info = (struct ruvm_model_info){
        .vocab = img.vocab,
        .dim = img.dim,
        .hidden = img.hidden,
        .context = img.context,
        .n_layers = img.n_layers,
        .n_heads = img.n_heads,
        .n_kv_heads = img.n_kv_heads,
        .head_dim = img.head_dim,
        .has_tokenizer = img.tokn != NULL,
    };
    return RUVM_OK;
}

uint32_t ruvm_logits_crc(uint32_t crc, const int32_t *logits, size_t n)
{
    return ruvm_crc32(crc, logits, n * sizeof *logits); /* every target is little-endian */
}
