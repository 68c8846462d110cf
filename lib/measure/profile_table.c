/* Watches the kernels of an engine that knows nothing of it.
 *
 * A token is a fixed sequence of kernels, so each call says where in the token the engine
 * is: norms are counted, and a matrix is the first or the second of its half-layer. All
 * time belongs to some part; what lies between two kernels belongs to the work that leads
 * to the next one. The clock is read only where the part changes, because a small model's
 * token takes a few hundred kernels and not much longer than reading a clock as often.
 */
#define _POSIX_C_SOURCE 200809L
#include "lib/measure/profile_table.h"

#include <string.h>
#include <time.h>

#ifdef __x86_64__
#include <x86intrin.h>
uint64_t ruvm_profile_ticks(void)
{
    return __rdtsc();
}
#else
uint64_t ruvm_profile_ticks(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
#endif

static _Thread_local struct ruvm_profile_watch *watch;

/* From now on time belongs to this part. */
static inline void enter(enum ruvm_bench_part part)
{
    struct ruvm_profile_watch *w = watch;
    if (w->part == part)
        return;
    uint64_t now = ruvm_profile_ticks();
    w->ticks[w->part] += now - w->since;
    w->readings[w->part]++;
    w->since = now;
    w->part = part;
}

static inline bool in_head(void)
{
    return watch->stage == RUVM_STAGE_HEAD;
}

/* A kernel that works for `part`, whatever comes before its call included. */
static inline const struct ruvm_kernels *call(enum ruvm_bench_part part)
{
    enter(in_head() ? RUVM_PART_HEAD : part);
    watch->calls[watch->part]++;
    return watch->real;
}

/* ---- matrices ----------------------------------------------------------------- */

/* Any other kernel after the first matrices of a half-layer: they are complete. */
static inline void after_matrices(void)
{
    struct ruvm_profile_watch *w = watch;
    if (w->stage == RUVM_STAGE_NORMED && w->matrices)
        w->stage = w->n_norms % 2 ? RUVM_STAGE_PROJECTED : RUVM_STAGE_HIDDEN;
}

static inline const struct ruvm_kernels *begin_matrix(void)
{
    struct ruvm_profile_watch *w = watch;
    if (w->stage == RUVM_STAGE_FINAL_NORM)
        w->stage = RUVM_STAGE_HEAD;
    else if (w->stage == RUVM_STAGE_NORMED)
        w->matrices++;
    else if (!in_head())
        w->stage = RUVM_STAGE_CLOSED;
    return call(RUVM_PART_MATRIX);
}

static inline void end_matrix(void)
{
    if (!in_head())
        enter(RUVM_PART_SCALE);
}

static void matmul_s8(const struct ruvm_matmul *m)
{
    begin_matrix()->matmul_s8(m);
    end_matrix();
}

#define WATCH_MATMUL(name)                                                                         \
    static void name(const struct ruvm_matmul_codes *m)                                            \
    {                                                                                              \
        begin_matrix()->name(m);                                                                   \
        end_matrix();                                                                              \
    }

WATCH_MATMUL(matmul_int4)
WATCH_MATMUL(matmul_int3)
WATCH_MATMUL(matmul_int2)
WATCH_MATMUL(matmul_binary)
WATCH_MATMUL(matmul_ternary)
WATCH_MATMUL(matmul_xnor)

static void matmul_panels(const struct ruvm_matmul_panels *m)
{
    begin_matrix()->matmul_panels(m);
    end_matrix();
}

/* ---- attention ------------------------------------------------------------------ */

static void scores(int32_t *out, const int16_t *q, const int8_t *k, uint32_t n_pos,
                   uint32_t head_dim, uint32_t stride)
{
    call(RUVM_PART_SCORES)->scores(out, q, k, n_pos, head_dim, stride);
}

static uint32_t weights(uint16_t *e, const int32_t *s, uint32_t n_pos, uint32_t mult,
                        uint32_t shift)
{
    return call(RUVM_PART_SOFTMAX)->weights(e, s, n_pos, mult, shift);
}

static void mix(int32_t *acc, const uint16_t *e, const int8_t *v, uint32_t n_pos, uint32_t head_dim,
                uint32_t stride)
{
    call(RUVM_PART_MIX)->mix(acc, e, v, n_pos, head_dim, stride);
}

/* The last of a head; what follows is the next one's query. */
static void divide(int32_t *out, const int32_t *x, const uint16_t *by, uint32_t n, uint32_t down,
                   uint32_t inverse)
{
    call(RUVM_PART_MIX)->divide(out, x, by, n, down, inverse);
    enter(RUVM_PART_CACHE);
}

/* All of several queries at once, which no single token has. */
static void attend(const struct ruvm_attend *a)
{
    call(RUVM_PART_MIX)->attend(a);
    enter(RUVM_PART_CACHE);
}

static void unpack(int8_t *v, const uint8_t *codes, const uint8_t *m, uint32_t n_pos, uint32_t n)
{
    call(RUVM_PART_CACHE)->unpack(v, codes, m, n_pos, n);
}

static void rotate(struct ruvm_turned *out, int32_t *v, const struct ruvm_turn *t)
{
    call(RUVM_PART_CACHE)->rotate(out, v, t);
}

static void to_cache(int8_t *q, const int32_t *v, uint32_t n, const struct ruvm_to_cache *p)
{
    call(RUVM_PART_CACHE)->to_cache(q, v, n, p);
}

static void narrow(int16_t *q, const int32_t *x, uint32_t n, uint32_t up, uint32_t down,
                   uint32_t mult)
{
    call(RUVM_PART_CACHE)->narrow(q, x, n, up, down, mult);
}

/* ---- vectors -------------------------------------------------------------------- */

static void rescale(int32_t *x, const uint16_t *scale, uint32_t n)
{
    after_matrices();
    call(RUVM_PART_SCALE)->rescale(x, scale, n);
    if (watch->stage == RUVM_STAGE_PROJECTED)
        enter(RUVM_PART_CACHE);
}

/* The largest value is asked for by whoever shrinks next: the inputs of an activation, else
 * quantizing and norms. */
static enum ruvm_bench_part part_of_amax(void)
{
    return watch->stage == RUVM_STAGE_HIDDEN ? RUVM_PART_ACTIVATION : RUVM_PART_NORM;
}

static uint32_t amax(const int32_t *x, uint32_t n)
{
    after_matrices();
    return call(part_of_amax())->amax(x, n);
}

static uint32_t largest(const int32_t *x, uint32_t n)
{
    return call(RUVM_PART_SAMPLING)->largest(x, n);
}

static void quantize(int8_t *q, const int32_t *x, uint32_t n, uint32_t n_padded, uint32_t up,
                     uint32_t down, uint32_t mult)
{
    call(RUVM_PART_NORM)->quantize(q, x, n, n_padded, up, down, mult);
}

static void add_scaled(int32_t *h, int32_t *x, uint32_t n, const struct ruvm_addition *p)
{
    after_matrices();
    call(RUVM_PART_SCALE)->add_scaled(h, x, n, p);
}

static void scale(int32_t *x, uint32_t n, uint32_t mult, uint32_t shift)
{
    after_matrices();
    call(RUVM_PART_SCALE)->scale(x, n, mult, shift);
}

static void add_bias(int32_t *x, const int16_t *bias, uint32_t n, uint32_t mult, uint32_t shift)
{
    after_matrices();
    call(RUVM_PART_SCALE)->add_bias(x, bias, n, mult, shift);
}

/* Norms alternate between the two halves of a layer; the one after all layers is the last. */
static void begin_norm(void)
{
    struct ruvm_profile_watch *w = watch;
    w->n_norms++;
    w->matrices = 0;
    w->stage = w->n_norms > 2 * w->n_layers ? RUVM_STAGE_FINAL_NORM : RUVM_STAGE_NORMED;
}

static uint64_t norm(int32_t *y, const int32_t *h, const int16_t *gain, uint32_t n, uint32_t down)
{
    begin_norm();
    return call(RUVM_PART_NORM)->norm(y, h, gain, n, down);
}

static uint32_t spread(const int32_t *h, uint32_t n, int32_t *mean)
{
    return call(RUVM_PART_NORM)->spread(h, n, mean);
}

static uint64_t layernorm(int32_t *y, const int32_t *h, const int16_t *gain, uint32_t n,
                          const struct ruvm_centre *c)
{
    begin_norm();
    return call(RUVM_PART_NORM)->layernorm(y, h, gain, n, c);
}

/* ---- activations ---------------------------------------------------------------- */

static inline const struct ruvm_kernels *begin_activation(void)
{
    watch->stage = RUVM_STAGE_ACTIVATED;
    return call(RUVM_PART_ACTIVATION);
}

static void swiglu(int32_t *x, const int32_t *up, const int32_t *gate, uint32_t n,
                   const struct ruvm_swiglu *p)
{
    begin_activation()->swiglu(x, up, gate, n, p);
}

static void gelu(int32_t *x, const int32_t *in, uint32_t n, const struct ruvm_gelu *p)
{
    begin_activation()->gelu(x, in, n, p);
}

static void relu(int32_t *x, const int32_t *in, uint32_t n)
{
    begin_activation()->relu(x, in, n);
}

/* ---- the table ------------------------------------------------------------------ */

/* A kernel that is not replaced here is called unwatched, and belongs to the part before.
 * Where a table lacks one, nobody may believe that it has it. */
static void replace(struct ruvm_kernels *t)
{
    t->matmul_s8 = matmul_s8;
    t->matmul_int4 = matmul_int4;
    t->matmul_int3 = matmul_int3;
    t->matmul_int2 = matmul_int2;
    t->matmul_binary = matmul_binary;
    t->matmul_ternary = matmul_ternary;
    t->matmul_xnor = matmul_xnor;
    t->matmul_panels = t->matmul_panels ? matmul_panels : NULL;
    t->scores = scores;
    t->weights = weights;
    t->mix = mix;
    t->attend = t->attend ? attend : NULL;
    t->rotate = rotate;
    t->to_cache = to_cache;
    t->narrow = narrow;
    t->divide = divide;
    t->unpack = unpack;
    t->rescale = rescale;
    t->amax = amax;
    t->largest = largest;
    t->quantize = quantize;
    t->add_scaled = add_scaled;
    t->norm = norm;
    t->swiglu = swiglu;
    t->spread = spread;
    t->layernorm = layernorm;
    t->scale = scale;
    t->add_bias = add_bias;
    t->gelu = gelu;
    t->relu = relu;
}

void ruvm_profile_table_begin(struct ruvm_profile_watch *w, const struct ruvm_kernels *real,
                              uint32_t n_layers)
{
    memset(w, 0, sizeof *w);
    w->table = *real;
    w->real = real;
    w->n_layers = n_layers;
    w->part = RUVM_PART_OTHER;
    replace(&w->table);
    watch = w;
}

void ruvm_profile_token_begin(void)
{
    watch->stage = RUVM_STAGE_EMBED;
    watch->n_norms = watch->matrices = 0;
    watch->part = RUVM_PART_OTHER;
    watch->since = ruvm_profile_ticks();
}

void ruvm_profile_token_choose(void)
{
    enter(RUVM_PART_SAMPLING);
}

/* The time since the last kernel belongs to its part. */
void ruvm_profile_token_end(void)
{
    enter(RUVM_N_PARTS);
}

void ruvm_profile_table_end(void)
{
    watch = NULL;
}
