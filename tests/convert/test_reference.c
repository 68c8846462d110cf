/* The float reference against an independent forward pass (tests/golden/make_tiny.py, in
 * Python), against what the real stories260K is known to say, and against itself. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "lib/base/crc32.h"
#include "lib/base/file.h"
#include "lib/base/pool.h"
#include "lib/convert/reference.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct loaded {
    struct ruvm_map map;
    struct ruvm_arena arena;
    struct ruvm_tensors tensors;
    struct ruvm_model model;
    struct ruvm_reference *reference;
};

static void load(struct loaded *l, const char *path, uint32_t context)
{
    struct ruvm_error err = {0};
    *l = (struct loaded){0};
    cr_assert_eq(ruvm_file_map(&l->map, path, &err), RUVM_OK, "%s", err.text);
    const struct ruvm_format *f = ruvm_formats_probe(l->map.data, l->map.size);
    cr_assert_not_null(f);
    cr_assert_eq(f->read(&l->tensors, &l->arena, l->map.data, l->map.size, &err), RUVM_OK, "%s",
                 err.text);
    cr_assert_eq(ruvm_model_from_tensors(&l->model, &l->arena, &l->tensors, &err), RUVM_OK, "%s",
                 err.text);
    cr_assert_eq(ruvm_reference_open(&l->reference, &l->arena, &l->model, context, &err), RUVM_OK,
                 "%s", err.text);
}

static void unload(struct loaded *l)
{
    ruvm_arena_free(&l->arena);
    ruvm_file_unmap(&l->map);
}

/* ---- against Python ------------------------------------------------------ */

static unsigned read_unsigned(FILE *f)
{
    unsigned x;
    cr_assert_eq(fscanf(f, "%u", &x), 1);
    return x;
}

/* Compares with one line of expected logits; returns the largest difference. */
static double compare(FILE *f, const float *logits, unsigned vocab)
{
    double worst = 0;
    for (unsigned i = 0; i < vocab; i++) {
        double expected, difference;
        cr_assert_eq(fscanf(f, "%lf", &expected), 1);
        difference = fabs(expected - (double)logits[i]);
        worst = difference > worst ? difference : worst;
    }
    return worst;
}

static void check_model(FILE *f, const char *name)
{
    char path[96];
    struct loaded l;
    unsigned n = read_unsigned(f), vocab = read_unsigned(f);
    uint16_t tokens[16];
    cr_assert_leq(n, COUNT(tokens));
    for (unsigned i = 0; i < n; i++)
        tokens[i] = (uint16_t)read_unsigned(f);
    snprintf(path, sizeof path, "tests/golden/%s.bin", name);
    load(&l, path, n);
    cr_assert_eq(l.model.vocab, vocab);
    for (unsigned i = 0; i < n; i++) {
        const float *logits = ruvm_reference_step(l.reference, tokens[i]);
        if (i + 2 >= n) {
            double worst = compare(f, logits, vocab);
            cr_expect(worst < 1e-4, "%s: token %u is off by %g", name, i, worst);
        }
    }
    unload(&l);
}

Test(reference, agrees_with_an_independent_forward_pass)
{
    char name[64];
    unsigned n_models = 0;
    FILE *f = fopen("tests/golden/tiny-logits.txt", "r");
    cr_assert_not_null(f);
    for (; fscanf(f, "%63s", name) == 1; n_models++)
        check_model(f, name);
    cr_assert_eq(n_models, 6);
    fclose(f);
}

/* ---- the same on every machine ------------------------------------------- */

Test(reference, gives_the_same_bits_everywhere)
{
    static const struct {
        const char *path;
        uint32_t crc;
    } models[] = {
        {"tests/golden/tiny-legacy-untied.bin", 0xf246e886},
        {"tests/golden/tiny-v2.bin", 0x2bccf588},
    };
    for (size_t i = 0; i < COUNT(models); i++) {
        struct loaded l;
        uint32_t crc = 0;
        load(&l, models[i].path, 20);
        for (uint16_t t = 0; t < 20; t++) {
            const float *logits = ruvm_reference_step(l.reference, (uint16_t)(t * 7 % 40));
            crc = ruvm_crc32(crc, logits, l.model.vocab * sizeof *logits);
        }
        cr_expect_eq(crc, models[i].crc, "%s: %08x", models[i].path, crc);
        unload(&l);
    }
}

Test(reference, a_reset_forgets_everything)
{
    struct loaded l;
    float first[40];
    load(&l, "tests/golden/tiny-v1.bin", 8);
    for (int round = 0; round < 2; round++) {
        const float *logits = NULL;
        for (uint16_t t = 1; t <= 8; t++)
            logits = ruvm_reference_step(l.reference, t);
        if (round == 0)
            memcpy(first, logits, sizeof first);
        else
            cr_assert(memcmp(first, logits, sizeof first) == 0);
        ruvm_reference_reset(l.reference);
    }
    unload(&l);
}

/* ---- every way gives the same bits ----------------------------------------- */

static const char *const ways_models[] = {
    "tests/golden/tiny-legacy-untied.bin",
    "tests/golden/tiny-v1.bin",
    "tests/golden/tiny-v2.bin",
};
enum { WAYS_TOKENS = 20, WAYS_VOCAB = 40 /* of the logits that are compared */ };

static uint16_t way_token(uint32_t i)
{
    return (uint16_t)(i * 7 % WAYS_VOCAB);
}

static struct ruvm_reference *open_way(struct loaded *l, enum ruvm_reference_weights weights,
                                       uint32_t n_sequences, struct ruvm_pool *pool)
{
    const struct ruvm_reference_options o = {.context = WAYS_TOKENS,
                                             .n_sequences = n_sequences,
                                             .window = WAYS_TOKENS,
                                             .weights = weights,
                                             .pool = pool};
    struct ruvm_reference *r;
    cr_assert_eq(ruvm_reference_open_with(&r, &l->arena, &l->model, &o, NULL), RUVM_OK);
    return r;
}

/* Logits of all positions, one step after the other, with the weights in memory. */
static void expect_logits(float (*out)[WAYS_VOCAB], struct loaded *l)
{
    struct ruvm_reference *r = open_way(l, RUVM_REFERENCE_TILED, 1, NULL);
    for (uint32_t i = 0; i < WAYS_TOKENS; i++)
        memcpy(out[i], ruvm_reference_step(r, way_token(i)), sizeof out[i]);
}

static void check_steps(struct loaded *l, float (*want)[WAYS_VOCAB], uint32_t threads)
{
    struct ruvm_pool *pool = NULL;
    if (threads)
        cr_assert_eq(ruvm_pool_open(&pool, threads, NULL), RUVM_OK);
    struct ruvm_reference *r = open_way(l, RUVM_REFERENCE_IN_PLACE, 1, pool);
    for (uint32_t i = 0; i < WAYS_TOKENS; i++)
        cr_assert(memcmp(want[i], ruvm_reference_step(r, way_token(i)), sizeof want[i]) == 0);
    ruvm_pool_close(pool);
}

/* Six sequences, of which sequence s began s steps late, in both ways of keeping weights. */
static void check_side_by_side(struct loaded *l, float (*want)[WAYS_VOCAB],
                               enum ruvm_reference_weights weights)
{
    enum { N = 6 };
    struct ruvm_reference *r = open_way(l, weights, N, NULL);
    for (uint32_t t = 0; t < WAYS_TOKENS; t++) {
        uint32_t tokens[N];
        for (uint32_t s = 0; s < N; s++) {
            tokens[s] = way_token(t < s ? t : t - s);
            if (t == s)
                ruvm_reference_restart(r, s);
        }
        const float *logits = ruvm_reference_step_each(r, tokens, N);
        for (uint32_t s = 0; s < N; s++, logits += ruvm_reference_logits_step(r))
            cr_assert(memcmp(want[t < s ? t : t - s], logits, sizeof want[0]) == 0);
    }
}

struct reading {
    float (*want)[WAYS_VOCAB];
    uint32_t next, done;
};

static int see_logits(void *user, uint32_t first, uint32_t n, const float *logits, size_t step)
{
    struct reading *s = user;
    cr_assert_eq(first, s->next);
    for (uint32_t i = 0; i < n; i++)
        cr_assert(memcmp(s->want[first + i], logits + i * step, sizeof s->want[0]) == 0);
    s->next += n;
    return 0;
}

static int see_progress(void *user, uint32_t done)
{
    struct reading *s = user;
    cr_assert(done >= s->done && done <= WAYS_TOKENS);
    s->done = done;
    return 0;
}

/* Between two steps, which must not notice. */
static void check_reading(struct loaded *l, float (*want)[WAYS_VOCAB],
                          enum ruvm_reference_weights weights)
{
    struct ruvm_reference *r = open_way(l, weights, 1, NULL);
    struct reading seen = {.want = want};
    const struct ruvm_reference_reader reader = {
        .user = &seen, .logits = see_logits, .progress = see_progress};
    uint32_t tokens[WAYS_TOKENS];
    for (uint32_t i = 0; i < WAYS_TOKENS; i++)
        tokens[i] = way_token(i);
    ruvm_reference_step(r, tokens[0]);
    cr_assert_eq(ruvm_reference_read(r, tokens, WAYS_TOKENS, &reader, NULL), RUVM_OK);
    cr_assert_eq(seen.next, WAYS_TOKENS);
    cr_assert_eq(seen.done, WAYS_TOKENS);
    cr_assert(memcmp(want[1], ruvm_reference_step(r, tokens[1]), sizeof want[1]) == 0);
}

Test(reference, in_place_side_by_side_and_at_once_are_the_same_bits)
{
    for (size_t i = 0; i < COUNT(ways_models); i++) {
        struct loaded l;
        float want[WAYS_TOKENS][WAYS_VOCAB];
        load(&l, ways_models[i], WAYS_TOKENS);
        cr_assert_geq(l.model.vocab, WAYS_VOCAB);
        expect_logits(want, &l);
        check_steps(&l, want, 0);
        check_steps(&l, want, 3);
        check_side_by_side(&l, want, RUVM_REFERENCE_TILED);
        check_side_by_side(&l, want, RUVM_REFERENCE_IN_PLACE);
        check_reading(&l, want, RUVM_REFERENCE_TILED);
        check_reading(&l, want, RUVM_REFERENCE_IN_PLACE);
        unload(&l);
    }
}

static int stop_at_once(void *user, uint32_t done)
{
    (void)user;
    return done > 2 ? RUVM_ERR_IO : 0;
}

Test(reference, a_reading_stops_when_it_is_told)
{
    struct loaded l;
    const uint32_t tokens[WAYS_TOKENS] = {1};
    const struct ruvm_reference_reader reader = {.progress = stop_at_once};
    load(&l, "tests/golden/tiny-v1.bin", WAYS_TOKENS);
    cr_assert_eq(ruvm_reference_read(l.reference, tokens, WAYS_TOKENS, &reader, NULL), RUVM_ERR_IO);
    unload(&l);
}

/* ---- observing ----------------------------------------------------------- */

struct seen {
    const struct ruvm_model *m;
    unsigned n_kv, n_residual;
    float k[64], v[64], first_h[64];
};

static void see_kv(void *user, unsigned layer, const float *k, const float *v)
{
    struct seen *s = user;
    size_t kv_bytes = s->m->n_kv_heads * s->m->head_dim * sizeof *k;
    cr_assert_eq(layer, s->n_kv % s->m->n_layers);
    s->n_kv++;
    memcpy(s->k, k, kv_bytes);
    memcpy(s->v, v, kv_bytes);
}

static void see_residual(void *user, const float *h)
{
    struct seen *s = user;
    if (s->n_residual++ == 0)
        memcpy(s->first_h, h, s->m->dim * sizeof *h);
}

static double norm_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* The residual is seen after the embedding and after each half of a layer. A token seen
 * again at another position: same values, keys turned but as long. */
Test(reference, an_observer_sees_keys_values_and_the_residual_stream)
{
    struct loaded l;
    float row[16], k[64], v[64];
    load(&l, "tests/golden/tiny-v1.bin", 3);
    struct seen seen = {.m = &l.model};
    ruvm_reference_observe(l.reference, &(struct ruvm_observer){
                                            .user = &seen, .kv = see_kv, .residual = see_residual});
    ruvm_reference_step(l.reference, 5);
    cr_assert_eq(seen.n_kv, 1);
    cr_assert_eq(seen.n_residual, 3);
    ruvm_view_row(l.model.embed, 5, row);
    cr_assert(memcmp(row, seen.first_h, sizeof row) == 0);
    memcpy(k, seen.k, sizeof k);
    memcpy(v, seen.v, sizeof v);
    ruvm_reference_step(l.reference, 5);
    cr_assert(memcmp(v, seen.v, 8 * sizeof *v) == 0);
    cr_assert(memcmp(k, seen.k, 8 * sizeof *k) != 0);
    cr_assert_float_eq(norm_of(k, 8), norm_of(seen.k, 8), 1e-5);
    ruvm_reference_observe(l.reference, &(struct ruvm_observer){0});
    ruvm_reference_step(l.reference, 5);
    cr_assert_eq(seen.n_kv, 2);
    unload(&l);
}

/* The inputs of one layer's matrices and of the head, in the order they come. */
struct inputs {
    const struct ruvm_model *m;
    unsigned n, n_residual;
    int kinds[8];
    double x[8][64];
    double v[64], h[8][64];
};

static void take(double *to, const float *from, uint32_t n)
{
    cr_assert_leq(n, 64);
    for (uint32_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

static void see_input(void *user, int kind, unsigned layer, const float *x)
{
    struct inputs *s = user;
    cr_assert(layer == 0 && s->n < COUNT(s->kinds));
    uint32_t n = kind == RUVM_TENSOR_WO       ? s->m->n_heads * s->m->head_dim
                 : kind == RUVM_TENSOR_W_DOWN ? s->m->hidden
                                              : s->m->dim;
    take(s->x[s->n], x, n);
    s->kinds[s->n++] = kind;
}

static void take_kv(void *user, unsigned layer, const float *k, const float *v)
{
    struct inputs *s = user;
    cr_assert(k && layer == 0);
    take(s->v, v, s->m->n_kv_heads * s->m->head_dim);
}

static void take_residual(void *user, const float *h)
{
    struct inputs *s = user;
    take(s->h[s->n_residual++], h, s->m->dim);
}

static double row_times(const struct ruvm_view *w, uint32_t row, const double *x)
{
    float weights[64];
    double sum = 0;
    ruvm_view_row(w, row, weights);
    for (uint64_t i = 0; i < w->dims[1]; i++)
        sum += (double)weights[i] * x[i];
    return sum;
}

/* Each input, multiplied here, gives what is known to come of it. */
Test(reference, an_observer_sees_what_each_matrix_multiplies)
{
    static const int expected[] = {RUVM_TENSOR_WQ, RUVM_TENSOR_WO, RUVM_TENSOR_W_UP,
                                   RUVM_TENSOR_W_DOWN, RUVM_TENSOR_HEAD};
    struct loaded l;
    load(&l, "tests/golden/tiny-v1.bin", 3);
    const struct ruvm_layer *layer = &l.model.layers[0];
    struct inputs s = {.m = &l.model};
    ruvm_reference_step(l.reference, 7);
    ruvm_reference_observe(
        l.reference, &(struct ruvm_observer){
                         .user = &s, .kv = take_kv, .residual = take_residual, .input = see_input});
    const float *logits = ruvm_reference_step(l.reference, 5);
    cr_assert(s.n == COUNT(expected) && memcmp(s.kinds, expected, sizeof expected) == 0);
    for (uint32_t i = 0; i < l.model.n_kv_heads * l.model.head_dim; i++)
        cr_assert_float_eq(row_times(layer->wv, i, s.x[0]), s.v[i], 1e-5);
    for (uint32_t i = 0; i < l.model.dim; i++) {
        cr_assert_float_eq(row_times(layer->wo, i, s.x[1]), s.h[1][i] - s.h[0][i], 1e-5);
        cr_assert_float_eq(row_times(layer->w_down, i, s.x[3]), s.h[2][i] - s.h[1][i], 1e-5);
    }
    for (uint32_t i = 0; i < l.model.hidden; i++) {
        double gate = row_times(layer->w_gate, i, s.x[2]), up = row_times(layer->w_up, i, s.x[2]);
        cr_assert_float_eq(gate / (1 + exp(-gate)) * up, s.x[3][i], 1e-5);
    }
    for (uint32_t i = 0; i < l.model.vocab; i++)
        cr_assert_float_eq(row_times(l.model.head, i, s.x[4]), (double)logits[i], 1e-4);
    unload(&l);
}

/* ---- the real model ------------------------------------------------------ */

static const char story[] =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the "
    "park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.";
static const char prompt[] = "Once upon a time";

static int find_piece(const struct ruvm_vocab *v, const char *text, size_t n)
{
    for (uint32_t i = 3; i < v->n_pieces; i++)
        if (v->pieces[i].n_bytes == n && memcmp(v->pieces[i].text, text, n) == 0)
            return (int)i;
    return -1;
}

/* The best-scored join of two neighbours, repeated until there is none: llama2.c's rule. */
static size_t encode(const struct ruvm_vocab *v, const char *text, uint16_t *ids)
{
    size_t n = 0;
    for (; text[n]; n++)
        ids[n] = (uint16_t)find_piece(v, text + n, 1);
    for (;;) {
        size_t at = 0;
        int best = -1;
        for (size_t i = 0; i + 1 < n; i++) {
            const struct ruvm_piece *a = &v->pieces[ids[i]], *b = &v->pieces[ids[i + 1]];
            char joined[64];
            memcpy(joined, a->text, a->n_bytes);
            memcpy(joined + a->n_bytes, b->text, b->n_bytes);
            int id = find_piece(v, joined, a->n_bytes + b->n_bytes);
            if (id >= 0 && (best < 0 || v->pieces[id].score > v->pieces[best].score)) {
                best = id;
                at = i;
            }
        }
        if (best < 0)
            return n;
        ids[at] = (uint16_t)best;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

static uint16_t most_likely(const float *logits, uint32_t vocab)
{
    uint16_t best = 0;
    for (uint16_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static void tell(struct loaded *l, const struct ruvm_vocab *v, char *text, size_t room)
{
    uint16_t ids[64];
    ids[0] = (uint16_t)v->bos;
    char spaced[64] = " ";
    strcat(spaced, prompt);
    size_t n = 1 + encode(v, spaced, ids + 1), n_text = strlen(prompt);
    const float *logits = NULL;
    for (size_t i = 0; i < n; i++)
        logits = ruvm_reference_step(l->reference, ids[i]);
    strcpy(text, prompt);
    while (n_text + 16 < room) {
        uint16_t id = most_likely(logits, v->n_pieces);
        const struct ruvm_piece *p = &v->pieces[id];
        cr_assert(p->n_bytes < 16);
        memcpy(text + n_text, p->text, p->n_bytes);
        n_text += p->n_bytes;
        logits = ruvm_reference_step(l->reference, id);
    }
    text[n_text] = '\0';
}

Test(reference, stories260k_tells_the_known_story)
{
    const char *folder = getenv("RUVM_SHARED_MODELS");
    if (!folder) {
        fprintf(stderr, "skipped: reference on stories260K: RUVM_SHARED_MODELS is not set\n");
        return;
    }
    char path[512], text[sizeof story + 16];
    struct loaded l;
    struct ruvm_map map;
    struct ruvm_vocab vocab;
    struct ruvm_error err = {0};
    snprintf(path, sizeof path, "%s/tok512.bin", folder);
    cr_assert_eq(ruvm_file_map(&map, path, &err), RUVM_OK, "%s", err.text);
    snprintf(path, sizeof path, "%s/stories260K.bin", folder);
    load(&l, path, 128);
    cr_assert_eq(ruvm_vocab_read(&vocab, &l.arena, map.data, map.size, &err), RUVM_OK, "%s",
                 err.text);
    cr_assert_eq(ruvm_model_check_vocab(&l.model, &vocab, &err), RUVM_OK, "%s", err.text);
    tell(&l, &vocab, text, sizeof text);
    cr_assert(strncmp(text, story, strlen(story)) == 0, "%s", text);
    ruvm_file_unmap(&map);
    unload(&l);
}
