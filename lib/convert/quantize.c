/* The verb quantize: a foreign float model becomes a RUVM image, and says what it lost.
 *
 * One command's life, top to bottom: open the source, prune it, choose a type for each
 * matrix, quantize the weights and perhaps train them further, watch the model write
 * samples (calibration), compose the image, let it compute its own golden vectors,
 * measure it against the float model on other samples, and only then write the file.
 * Nothing is written after a failure.
 */
#define _POSIX_C_SOURCE 200809L /* access */
#include "lib/ruvm_tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/convert/greedy.h"
#include "lib/convert/quantize_job.h"
#include "lib/convert/target.h"
#include "lib/measure/quality.h"
#include "lib/train/checkpoint.h"

enum {
    /* More than these teach nothing new; a large model gets fewer, for the time it takes. */
    CALIBRATION_TOKENS_MIN = 2048,
    DEFAULT_EVAL_TOKENS = 16384,
    EXP_WEIGHTS = 32,   /* an exponential takes the time of so many weights */
    SAMPLE_TOKENS = 96, /* of the texts shown side by side */
    /* Of a model that stays in its file, where a position takes a tenth of a second or so. */
    CALIBRATION_TOKENS_LARGE = 256,
    EVAL_TOKENS_LARGE = 512,
    SAMPLE_WINDOW = 32,     /* positions of each text written side by side, at least */
    WINDOW_LARGE = 1024,    /* of texts that are read */
    CACHE_BYTES = 40 << 20, /* keys and values of all texts being written */
    PIECE_BYTES = 16 << 20, /* of the image, between two reports */
};
#define CALIBRATION_WORK ((uint64_t)1 << 36)
#define EVAL_WORK ((uint64_t)1 << 36)

/* Turns the seed of the calibration into an unrelated one for the measurement. */
#define EVAL_SEED 0xD1B54A32D192ED03u

/* ---- options --------------------------------------------------------------- */

static int check_name(const char *name, struct ruvm_error *err)
{
    const uint8_t *c = (const uint8_t *)name, *end = c ? c + strlen(name) : c;
    for (uint32_t n; c < end; c += n) {
        n = ruvm_utf8_bytes(c, end);
        if (n == 0 || *c < ' ' || *c == 0x7F)
            return ruvm_fail(err, RUVM_ERR_ARG,
                             "the name of the model holds a control character or is not UTF-8; "
                             "use text of one line");
    }
    return RUVM_OK;
}

static int check_text(const char *text, struct ruvm_error *err)
{
    if (text && access(text, R_OK) != 0) /* not after minutes of work */
        return ruvm_fail(err, RUVM_ERR_IO, "%s: cannot read: %s", text, strerror(errno));
    return RUVM_OK;
}

static int check_bits(uint32_t bits, const char *what, struct ruvm_error *err)
{
    if (bits != 0 && bits != 4 && bits != 8)
        return ruvm_fail(err, RUVM_ERR_ARG, "a cached %s has 8 or 4 bits, not %u", what, bits);
    return RUVM_OK;
}

static bool is_search(const struct ruvm_quantize_options *o)
{
    return o->max_bytes != 0 || o->max_kl != 0.0 || o->target != NULL;
}

static int check_search(const struct ruvm_quantize_options *o, struct ruvm_error *err)
{
    bool search = is_search(o);
    if (o->dry_run &&
        (search || o->prune_heads || o->prune_ffn || o->n_drop_layers || o->vocab_prune))
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "a dry run computes nothing, so it neither chooses types nor prunes: "
                         "its sizes would be those of another image");
    if (search && o->type)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "a limit chooses the types itself: leave out the type %s (types of "
                         "single tensors may be given)",
                         o->type);
    if (!(o->max_kl >= 0.0) || (o->max_kl != 0.0 && (o->max_bytes != 0 || o->target)))
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "give a limit of size or a limit of loss above 0, not both");
    const struct ruvm_device *target;
    return o->target ? ruvm_devices_find(&target, o->target, err) : RUVM_OK;
}

static int check_options(const struct ruvm_quantize_options *o, struct ruvm_error *err)
{
    if (!o->input)
        return ruvm_fail(err, RUVM_ERR_ARG, "no model file is given");
    int rc = check_text(o->eval_text, err);
    if (rc == RUVM_OK)
        rc = check_text(o->calib_text, err);
    if (rc == RUVM_OK)
        rc = check_bits(o->k_bits, "key", err);
    if (rc == RUVM_OK)
        rc = check_bits(o->v_bits, "value", err);
    if (rc == RUVM_OK)
        rc = check_search(o, err);
    if (rc == RUVM_OK && o->checkpoint && o->distill_steps)
        rc = ruvm_checkpoint_probe(o->checkpoint, err);
    return rc == RUVM_OK ? check_name(o->name, err) : rc;
}

/* ---- what the steps share -------------------------------------------------- */

uint64_t ruvm_quantize_seed(const struct ruvm_quantize_job *j)
{
    return j->o->seed ? j->o->seed : 1;
}

int ruvm_quantize_tell(const struct ruvm_quantize_job *j, const char *stage, uint64_t done,
                       uint64_t total)
{
    const struct ruvm_progress *p = &j->o->progress;
    if (p->report && p->report(p->user, stage, done, total) != 0)
        return ruvm_fail(j->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

int ruvm_quantize_blame(const struct ruvm_quantize_job *j, int rc)
{
    if (rc == RUVM_ERR_CORRUPT || rc == RUVM_ERR_UNSUPPORTED)
        ruvm_error_prefix(j->err, j->o->input);
    return rc;
}

struct ruvm_samples_options ruvm_quantize_samples(const struct ruvm_quantize_job *j,
                                                  const char *stage, uint64_t n, uint64_t seed)
{
    return (struct ruvm_samples_options){
        .n_positions = n,
        .seed = seed,
        .start = ruvm_source_start(&j->source),
        .end = j->source.has_vocab ? j->source.vocab.eos : RUVM_VOCAB_NONE,
        .context = j->reference ? ruvm_reference_context(j->reference) : j->source.model.context,
        .progress = j->o->progress,
        .stage = stage,
    };
}

/* So many multiply-adds of a model's weights, at least a few positions, and at most as many as
 * still teach something. */
static uint32_t positions_of(const struct ruvm_model *m, uint64_t work, uint32_t least,
                             uint32_t most)
{
    uint64_t weights = (uint64_t)m->n_layers * m->dim * (m->hidden + (uint64_t)m->dim);
    if (m->vocab > RUVM_NO_TOKEN) /* then most of the time goes into choosing a token */
        weights += (uint64_t)m->vocab * (m->dim + EXP_WEIGHTS);
    uint64_t n = work / (weights + 1);
    return n < least ? least : n > most ? most : (uint32_t)n;
}

uint32_t ruvm_quantize_positions(const struct ruvm_quantize_job *j, const struct ruvm_model *m,
                                 uint32_t most)
{
    if (j->o->calib_tokens)
        return j->o->calib_tokens;
    uint32_t least =
        positions_of(m, CALIBRATION_WORK, CALIBRATION_TOKENS_LARGE, CALIBRATION_TOKENS_MIN);
    return positions_of(m, (uint64_t)1 << 32, least, most);
}

static uint32_t default_eval_tokens(const struct ruvm_model *m)
{
    if (!ruvm_reference_is_large(m))
        return DEFAULT_EVAL_TOKENS;
    return positions_of(m, EVAL_WORK, EVAL_TOKENS_LARGE, DEFAULT_EVAL_TOKENS);
}

/* ---- the float model -------------------------------------------------------- */

uint32_t ruvm_quantize_window(const struct ruvm_quantize_job *j)
{
    const struct ruvm_model *m = &j->source.model;
    return j->pool && m->context > WINDOW_LARGE ? WINDOW_LARGE : m->context;
}

int ruvm_quantize_reference(struct ruvm_quantize_job *j, struct ruvm_reference **r,
                            struct ruvm_arena *arena, const struct ruvm_model *m)
{
    struct ruvm_reference_options o = {.context = m->context};
    if (j->pool) {
        size_t positions = CACHE_BYTES / ruvm_reference_position_bytes(m);
        size_t n = positions / SAMPLE_WINDOW;
        o.n_sequences = n < 1 ? 1 : n > RUVM_REFERENCE_BLOCK ? RUVM_REFERENCE_BLOCK : (uint32_t)n;
        positions /= o.n_sequences;
        positions = positions < SAMPLE_WINDOW ? SAMPLE_WINDOW : positions;
        o.context = positions < m->context ? (uint32_t)positions : m->context;
        o.window = ruvm_quantize_window(j);
        o.pool = j->pool;
        o.share = j->reference; /* which writes its texts before or after */
    }
    return ruvm_reference_open_with(r, arena, m, &o, j->err);
}

/* ---- steps ----------------------------------------------------------------- */

/* One text for all measurements of a call. */
static int find_text(struct ruvm_quantize_job *j, struct ruvm_text *text)
{
    uint64_t n = j->o->eval_tokens ? j->o->eval_tokens : default_eval_tokens(&j->source.model);
    if (j->o->eval_text)
        return ruvm_quantize_read_text(j, text, j->o->eval_text, n);
    struct ruvm_samples_options o =
        ruvm_quantize_samples(j, "sample", n, ruvm_quantize_seed(j) ^ EVAL_SEED);
    return ruvm_samples_draw(text, &j->source.arena, j->reference, j->source.model.vocab, &o,
                             j->err);
}

static int measure(struct ruvm_quantize_job *j, const struct ruvm_text *text,
                   struct ruvm_quality *quality, bool *measured)
{
    struct ruvm_quality_options o = {.image = j->image.data,
                                     .image_bytes = j->image.size,
                                     .text = text,
                                     .reference = j->reference,
                                     .progress = j->o->progress};
    int rc = ruvm_quality_measure(quality, &o, j->err);
    *measured = rc == RUVM_OK;
    return rc;
}

/* The same prompt continued by both, for a person to compare. */
static int show_samples(struct ruvm_quantize_job *j)
{
    uint16_t ids[SAMPLE_TOKENS];
    struct ruvm_tokenizer tok;
    uint32_t context = ruvm_reference_context(j->reference), vocab = j->source.model.vocab;
    struct ruvm_greedy g = {.ids = ids,
                            .n_ids = context + 1 < SAMPLE_TOKENS ? context + 1 : SAMPLE_TOKENS};
    if (ruvm_tokenizer_init(&tok, j->image.data, j->image.size) != RUVM_OK)
        return RUVM_OK;
    g.n_prompt = ruvm_greedy_prompt(ids, g.n_ids - 1, &tok, vocab);
    ruvm_greedy_reference(&g, j->reference, vocab);
    ruvm_greedy_text(j->r->sample_float, sizeof j->r->sample_float, &tok, &g);
    int rc = ruvm_greedy_image(&g, j->image.data, j->image.size, j->err);
    if (rc == RUVM_OK)
        ruvm_greedy_text(j->r->sample_image, sizeof j->r->sample_image, &tok, &g);
    return rc;
}

/* ---- the verb --------------------------------------------------------------- */

/* Measured before, trained, composed again. */
static int distill(struct ruvm_quantize_job *j, const struct ruvm_text *text)
{
    struct ruvm_quantize_result *r = j->r;
    int rc = text ? measure(j, text, &r->quality_before, &r->has_quality_before) : RUVM_OK;
    if (rc == RUVM_OK)
        rc = ruvm_quantize_distill(j);
    return rc == RUVM_OK ? ruvm_quantize_compose(j, false) : rc;
}

static int build(struct ruvm_quantize_job *j)
{
    if (is_search(j->o))
        return ruvm_quantize_search(j);
    int rc = ruvm_quantize_moments(j);
    return rc == RUVM_OK ? ruvm_quantize_image(j, j->o->dry_run) : rc;
}

static int make_image(struct ruvm_quantize_job *j, struct ruvm_text *text, bool measured)
{
    int rc = ruvm_quantize_open(j);
    if (rc == RUVM_OK)
        rc = build(j);
    if (rc == RUVM_OK && measured)
        rc = find_text(j, text);
    if (rc == RUVM_OK && j->o->distill_steps && !j->o->dry_run)
        rc = distill(j, measured ? text : NULL);
    return rc == RUVM_OK ? ruvm_quantize_golden(j) : rc;
}

/* In pieces, for the progress and for who interrupts. */
static int write_pieces(struct ruvm_quantize_job *j, struct ruvm_file_output *out)
{
    size_t left, n = j->image.size;
    int rc = RUVM_OK;
    for (size_t at = 0; at < n && rc == RUVM_OK; at += PIECE_BYTES) {
        left = n - at;
        rc = ruvm_file_append(out, j->image.data + at, left < PIECE_BYTES ? left : PIECE_BYTES,
                              j->err);
        if (rc == RUVM_OK && left > PIECE_BYTES)
            rc = ruvm_quantize_tell(j, "write", at + PIECE_BYTES, n);
    }
    return rc;
}

static int write_file(struct ruvm_quantize_job *j)
{
    struct ruvm_file_output out;
    int rc = ruvm_file_create(&out, j->o->output, j->err);
    if (rc == RUVM_OK)
        rc = write_pieces(j, &out);
    if (rc == RUVM_OK)
        rc = ruvm_file_commit(&out, j->err);
    ruvm_file_abandon(&out);
    return rc;
}

/* Asks once more: an image that appears after it was stopped would surprise. */
static int write_image(struct ruvm_quantize_job *j)
{
    const struct ruvm_quantize_options *o = j->o;
    int rc = ruvm_quantize_tell(j, "write", 0, 1);
    if (rc == RUVM_OK && o->before_write && o->before_write(o->before_write_user, j->r) != 0)
        rc = ruvm_fail(j->err, RUVM_ERR_IO, "stopped before the image was written");
    return rc == RUVM_OK ? write_file(j) : rc;
}

static int run(struct ruvm_quantize_job *j)
{
    bool measured = !j->o->dry_run && !j->o->no_quality;
    struct ruvm_text text;
    int rc = make_image(j, &text, measured);
    if (rc == RUVM_OK && measured)
        rc = measure(j, &text, &j->r->quality, &j->r->has_quality);
    if (rc == RUVM_OK && measured)
        rc = show_samples(j);
    if (rc == RUVM_OK)
        rc = ruvm_quantize_report(j);
    if (rc == RUVM_OK && !j->o->dry_run && j->o->output)
        rc = write_image(j);
    return rc;
}

int ruvm_quantize(const struct ruvm_quantize_options *o, struct ruvm_quantize_result *r,
                  struct ruvm_error *err)
{
    struct ruvm_quantize_job j = {.o = o, .r = r, .err = err};
    double start = ruvm_clock_s();
    *r = (struct ruvm_quantize_result){0};
    int rc = check_options(o, err);
    if (rc != RUVM_OK)
        return rc;
    rc = run(&j);
    r->seconds = ruvm_clock_s() - start;
    ruvm_image_build_close(&j.build);
    ruvm_moments_close(j.moments);
    ruvm_pool_close(j.pool);
    ruvm_arena_free(&j.work);
    ruvm_source_close(&j.source);
    if (rc != RUVM_OK)
        ruvm_quantize_free(r);
    return rc;
}

void ruvm_quantize_free(struct ruvm_quantize_result *r)
{
    free(r->tensors);
    free(r->choices);
    free(r->prunes);
    *r = (struct ruvm_quantize_result){0};
}
