/* From the file to a float model ready to be quantized: opened, pruned, its moments seen.
 *
 * What surely fails is refused before any text is drawn, which may take minutes.
 */
#include <math.h>
#include <stdlib.h>

#include "lib/convert/quantize_job.h"
#include "lib/convert/tokenizer_build.h"
#include "lib/prune/prune.h"
#include "lib/ruvm.h"

enum {
    MOMENTS_TOKENS_MAX = 32768,
    PRUNE_TOKENS_MAX = 16384,
    VOCAB_TOKENS = 100000, /* a token that a model writes less often than once in so many ... */
    TEXT_TOKENS_MAX = 1 << 20,
    CHECK_WEIGHTS = 1 << 18, /* looked at between two reports of the progress */
};
#define MOMENTS_SEED 0x8CB92BA72F3D8DD7u
#define PRUNE_SEED 0x2545F4914F6CDD1Du
#define PRUNE_EVAL_SEED 0x9FB21C651E98DF25u

/* ---- texts ------------------------------------------------------------------- */

/* The tokenizer reads its section in place in an image, so one is made of the smallest kind. */
static int open_tokenizer(struct ruvm_quantize_job *j, struct ruvm_tokenizer *tok)
{
    int rc = ruvm_quantize_image(j, true);
    if (rc == RUVM_OK && ruvm_tokenizer_init(tok, j->image.data, j->image.size) != RUVM_OK)
        rc = ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED, "the image made has no tokenizer");
    return rc;
}

int ruvm_quantize_read_text(struct ruvm_quantize_job *j, struct ruvm_text *text, const char *path,
                            uint64_t max_positions)
{
    struct ruvm_tokenizer tok;
    struct ruvm_text_options o = {
        .tokenizer = &tok, .context = ruvm_quantize_window(j), .max_positions = max_positions};
    int rc = j->image.size ? ruvm_tokenizer_init(&tok, j->image.data, j->image.size)
                           : open_tokenizer(j, &tok);
    if (rc != RUVM_OK)
        return rc;
    return ruvm_text_read(text, &j->source.arena, path, &o, j->err);
}

static int draw(struct ruvm_quantize_job *j, struct ruvm_text *text, uint64_t n, uint64_t seed)
{
    struct ruvm_samples_options o = ruvm_quantize_samples(j, "sample", n, seed);
    return ruvm_samples_draw(text, &j->source.arena, j->reference, j->source.model.vocab, &o,
                             j->err);
}

/* More tokens than an image holds. */
static bool is_large(const struct ruvm_quantize_job *j)
{
    return j->source.model.vocab > RUVM_NO_TOKEN;
}

static int read_calibration(struct ruvm_quantize_job *j)
{
    if (!j->o->calib_text || j->o->dry_run)
        return RUVM_OK;
    struct ruvm_text *text = ruvm_arena_alloc(&j->source.arena, 1, sizeof *text);
    if (!text)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a text");
    j->calibration = text;
    if (!is_large(j))
        return ruvm_quantize_read_text(j, text, j->o->calib_text, TEXT_TOKENS_MAX);
    const struct ruvm_text_options o = {.context = j->source.model.context,
                                        .max_positions = TEXT_TOKENS_MAX};
    return ruvm_text_read_source(text, &j->source.arena, j->o->calib_text, &j->source.vocab, &o,
                                 j->err);
}

/* ---- the source ---------------------------------------------------------------- */

static int open_reference(struct ruvm_quantize_job *j)
{
    if (j->o->dry_run)
        return RUVM_OK;
    return ruvm_quantize_reference(j, &j->reference, &j->source.arena, &j->source.model);
}

/* A large model is worth threads of its own, and GPTQ has to be asked for. */
static int prepare_for_size(struct ruvm_quantize_job *j)
{
    if (!ruvm_reference_is_large(&j->source.model))
        return RUVM_OK;
    if (j->method == RUVM_METHOD_AUTO)
        j->method = RUVM_METHOD_AUTO_LARGE;
    return ruvm_pool_open(&j->pool, j->o->threads, j->err);
}

static int open_source(struct ruvm_quantize_job *j)
{
    struct ruvm_source_options o = {.path = j->o->input,
                                    .tokenizer = j->o->tokenizer,
                                    .context = j->o->context,
                                    .v0_scale = j->o->v0_scale};
    int rc = ruvm_weights_method(&j->method, j->o->method, j->err);
    if (rc == RUVM_OK)
        rc = ruvm_source_open(&j->source, &o, j->err);
    if (rc == RUVM_OK)
        j->model = j->source.model;
    return rc == RUVM_OK ? prepare_for_size(j) : rc;
}

static int list_tensors(struct ruvm_quantize_job *j)
{
    struct ruvm_arena *arena = &j->source.arena;
    uint32_t most = ruvm_image_build_most(&j->model);
    j->tensors = ruvm_arena_alloc(arena, most, sizeof *j->tensors);
    j->schemes = ruvm_arena_alloc(arena, most, sizeof *j->schemes);
    j->losses = ruvm_arena_alloc(arena, most, sizeof *j->losses);
    if (!j->tensors || !j->schemes || !j->losses)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the list of tensors");
    j->n_tensors = ruvm_image_build_tensors(j->tensors, &j->model);
    return RUVM_OK;
}

static int choose_types(struct ruvm_quantize_job *j)
{
    struct ruvm_scheme_rules rules = {.type = j->o->type,
                                      .embed_type = j->o->embed_type,
                                      .head_type = j->o->head_type,
                                      .tied = j->model.tied,
                                      .tensor_types = j->o->tensor_types,
                                      .n_tensor_types = j->o->n_tensor_types};
    return ruvm_scheme_choose(j->schemes, j->tensors, j->n_tensors, &rules, j->err);
}

static void count_zero_rows(struct ruvm_quant_loss *loss, const float *w, uint32_t first,
                            uint32_t n, uint32_t cols)
{
    for (uint32_t r = 0; r < n; r++, w += cols) {
        uint32_t c = 0;
        while (c < cols && fpclassify(w[c]) == FP_ZERO)
            c++;
        if (c == cols && loss->zero_rows++ == 0)
            loss->first_zero_row = first + r;
    }
}

/* *done counts the weights of all matrices. */
static int check_tensor(struct ruvm_quantize_job *j, float *w, uint32_t i, uint64_t *done)
{
    const struct ruvm_scheme_tensor *t = &j->tensors[i];
    uint64_t total = ruvm_model_parameters(&j->model);
    uint32_t rows = CHECK_WEIGHTS / t->cols ? CHECK_WEIGHTS / t->cols : 1;
    int rc = RUVM_OK;
    char name[48];
    const struct ruvm_view *view = ruvm_model_tensor(&j->model, t->kind, t->layer, name);
    for (uint32_t first = 0; first < t->rows && rc == RUVM_OK; first += rows) {
        uint32_t n = t->rows - first < rows ? t->rows - first : rows;
        rc = ruvm_quant_weights_rows(w, view, first, n, name, j->err);
        if (rc == RUVM_OK)
            count_zero_rows(&j->losses[i].snr, w, first, n, t->cols);
        *done += (uint64_t)n * t->cols;
        if (rc == RUVM_OK)
            rc = ruvm_quantize_tell(j, "check", *done < total ? *done : total, total);
    }
    return rc;
}

/* A weight that is no number is named before anything is computed with it. Rows of zeros are
 * counted here for the report of a dry run, which does not quantize; without it, sizes are
 * told without a look at the weights. */
static int check_weights(struct ruvm_quantize_job *j)
{
    struct ruvm_arena arena = {0};
    uint64_t done = 0;
    uint32_t widest = j->model.hidden > j->model.dim ? j->model.hidden : j->model.dim;
    uint32_t q_dim = j->model.n_heads * j->model.head_dim;
    widest = widest > q_dim ? widest : q_dim;
    if (j->o->dry_run && !j->o->tensor_losses)
        return RUVM_OK;
    float *w = ruvm_arena_alloc(&arena, CHECK_WEIGHTS + (size_t)widest, sizeof *w);
    int rc = w ? RUVM_OK : ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a row");
    for (uint32_t i = 0; i < j->n_tensors && rc == RUVM_OK; i++)
        rc = ruvm_quantize_blame(j, check_tensor(j, w, i, &done));
    ruvm_arena_free(&arena);
    return rc;
}

/* ---- pruning ------------------------------------------------------------------- */

static bool is_pruned(const struct ruvm_quantize_options *o)
{
    return o->prune_heads || o->prune_ffn || o->n_drop_layers || o->vocab_prune;
}

static int refuse_size(struct ruvm_quantize_job *j, uint32_t n)
{
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "%s: %u tokens are left after pruning, but an image holds at most %d: give a "
                     "shorter or simpler text (--calib)",
                     j->o->input, n, RUVM_NO_TOKEN);
}

/* What the text alone wants is known before any samples are drawn. */
static int check_wanted(struct ruvm_quantize_job *j, const struct ruvm_text *text)
{
    uint32_t n = 0, vocab = j->source.model.vocab;
    bool *seen = calloc(vocab, sizeof *seen);
    if (!seen)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for %u tokens", vocab);
    for (uint32_t i = 0; i < text->first[text->n_windows]; i++) {
        n += !seen[text->tokens[i]];
        seen[text->tokens[i]] = true;
    }
    free(seen);
    return n > RUVM_NO_TOKEN ? refuse_size(j, n) : RUVM_OK;
}

/* Before any work, and of what pruning left. */
static int check_size(struct ruvm_quantize_job *j)
{
    bool pruned = j->r->n_prunes > 0;
    if (!is_large(j) || (j->o->vocab_prune && !pruned))
        return RUVM_OK;
    if (pruned)
        return refuse_size(j, j->source.model.vocab);
    return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                     "%s: has %u tokens, but an image holds at most %d: keep those that a text of "
                     "yours needs (--vocab-prune, with --calib FILE)",
                     j->o->input, j->source.model.vocab, RUVM_NO_TOKEN);
}

/* A text can be read when a tokenizer was given or came with the model. */
static int check_texts(struct ruvm_quantize_job *j)
{
    const char *text = j->o->calib_text ? j->o->calib_text : j->o->eval_text;
    if (!text || j->source.has_vocab)
        return RUVM_OK;
    return ruvm_fail(j->err, RUVM_ERR_ARG,
                     "%s: a text needs a tokenizer to be read, and %s brings none; give it with "
                     "--tokenizer",
                     text, j->o->input);
}

/* What is asked of the model, which needs no text to be refused. */
static int check_pruning(struct ruvm_quantize_job *j)
{
    const struct ruvm_quantize_options *o = j->o;
    const struct ruvm_prune_subject s = {.model = j->source.model,
                                         .has_vocab = j->source.has_vocab};
    const struct ruvm_prune_options all = {.drop_layers = o->drop_layers,
                                           .n_drop_layers = o->n_drop_layers,
                                           .heads = o->prune_heads,
                                           .ffn = o->prune_ffn,
                                           .vocab = o->vocab_prune};
    return ruvm_prune_check(&s, &all, j->err);
}

static int prune_once(struct ruvm_quantize_job *j, struct ruvm_prune_subject *s,
                      const struct ruvm_prune_options *o)
{
    struct ruvm_prune_report report;
    int rc = ruvm_prune(&report, s, &j->source.arena, o, j->err);
    for (uint32_t i = 0; i < report.n_steps && rc == RUVM_OK; i++)
        j->r->prunes[j->r->n_prunes++] = report.steps[i];
    return rc;
}

static int find_prune_texts(struct ruvm_quantize_job *j, struct ruvm_prune_subject *s)
{
    uint64_t n = ruvm_quantize_positions(j, &j->source.model, PRUNE_TOKENS_MAX);
    uint64_t seed = ruvm_quantize_seed(j);
    int rc = RUVM_OK;
    if (j->calibration)
        s->calibration = *j->calibration;
    else
        rc = draw(j, &s->calibration, j->o->vocab_prune ? VOCAB_TOKENS : n, seed ^ PRUNE_SEED);
    if (rc == RUVM_OK && j->o->vocab_prune)
        rc = check_wanted(j, &s->calibration);
    return rc == RUVM_OK ? draw(j, &s->eval, n, seed ^ PRUNE_EVAL_SEED) : rc;
}

/* A text that is given may be of any length; which tokens it holds was seen on all of it. */
static int shorten(struct ruvm_quantize_job *j, struct ruvm_text *text)
{
    struct ruvm_text whole = *text;
    return ruvm_text_spread(text, &j->source.arena, &whole,
                            ruvm_quantize_positions(j, &j->source.model, PRUNE_TOKENS_MAX), j->err);
}

/* Tokens first: the model without them is then what all else is compared with. */
static int prune(struct ruvm_quantize_job *j)
{
    const struct ruvm_quantize_options *o = j->o;
    struct ruvm_prune_subject s = {
        .model = j->source.model, .has_vocab = j->source.has_vocab, .vocab = j->source.vocab};
    struct ruvm_prune_options vocab = {.vocab = true, .progress = o->progress};
    struct ruvm_prune_options parts = {.drop_layers = o->drop_layers,
                                       .n_drop_layers = o->n_drop_layers,
                                       .heads = o->prune_heads,
                                       .ffn = o->prune_ffn,
                                       .progress = o->progress};
    j->r->prunes = calloc(2 * RUVM_PRUNE_KINDS, sizeof *j->r->prunes);
    if (!j->r->prunes)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for the report");
    int rc = find_prune_texts(j, &s);
    if (rc == RUVM_OK && o->vocab_prune)
        rc = prune_once(j, &s, &vocab);
    if (rc == RUVM_OK && o->vocab_prune) {
        j->source.model = s.model;
        j->source.vocab = s.vocab;
        if (j->calibration)
            *j->calibration = s.calibration;
        rc = open_reference(j);
    }
    bool has_parts = o->prune_heads || o->prune_ffn || o->n_drop_layers;
    if (rc == RUVM_OK && has_parts)
        rc = shorten(j, &s.calibration);
    if (rc == RUVM_OK && has_parts)
        rc = prune_once(j, &s, &parts);
    j->model = s.model;
    return rc;
}

/* ---- what the matrices meet ---------------------------------------------------- */

static bool rounds_by_moments(const struct ruvm_quantize_job *j)
{
    if (j->o->max_bytes || j->o->max_kl != 0.0 || j->o->target)
        return true;
    for (uint32_t i = 0; i < j->n_tensors; i++)
        if (ruvm_weights_uses_moments(j->method, j->schemes[i].type))
            return true;
    return false;
}

static int open_moments(struct ruvm_quantize_job *j, uint32_t n_positions)
{
    struct ruvm_text *text = ruvm_arena_alloc(&j->source.arena, 1, sizeof *text);
    uint64_t seed = ruvm_quantize_seed(j) ^ MOMENTS_SEED;
    struct ruvm_moments_options o = {
        .text = text, .seed = seed, .threads = j->o->threads, .progress = j->o->progress};
    if (!text)
        return ruvm_fail(j->err, RUVM_ERR_MEMORY, "memory is short for a text");
    int rc = j->calibration
                 ? ruvm_text_spread(text, &j->source.arena, j->calibration, n_positions, j->err)
                 : draw(j, text, n_positions, seed);
    return rc == RUVM_OK ? ruvm_moments_open(&j->moments, &j->model, &o, j->err) : rc;
}

/* They round the weights, and they tell each tensor's share of the loss. */
int ruvm_quantize_moments(struct ruvm_quantize_job *j)
{
    if (j->o->dry_run)
        return RUVM_OK;
    if (rounds_by_moments(j))
        return open_moments(j, ruvm_quantize_positions(j, &j->model, MOMENTS_TOKENS_MAX));
    uint32_t n = j->o->tensor_losses ? ruvm_quantize_share_positions(j) : 0;
    j->r->losses_left_out = j->o->tensor_losses && n == 0;
    return n ? open_moments(j, n) : RUVM_OK;
}

int ruvm_quantize_open(struct ruvm_quantize_job *j)
{
    int rc = open_source(j);
    if (rc == RUVM_OK)
        rc = check_size(j);
    if (rc == RUVM_OK)
        rc = check_texts(j);
    if (rc == RUVM_OK)
        rc = check_pruning(j);
    if (rc == RUVM_OK)
        rc = list_tensors(j);
    if (rc == RUVM_OK)
        rc = choose_types(j);
    if (rc == RUVM_OK)
        rc = check_weights(j);
    if (rc == RUVM_OK)
        rc = read_calibration(j);
    if (rc == RUVM_OK)
        rc = open_reference(j);
    if (rc == RUVM_OK && is_pruned(j->o)) {
        rc = prune(j);
        if (rc == RUVM_OK)
            rc = check_size(j);
        if (rc == RUVM_OK)
            rc = list_tensors(j);
        if (rc == RUVM_OK)
            rc = choose_types(j);
    }
    return rc;
}
