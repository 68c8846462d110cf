/* The sampler: from logits to one token, in integers and without memory of its own.
 *
 * Logits become weights in place: exp2 in 30 bits, the most likely token having
 * the largest. Top-k, min-p and top-p then only raise a threshold on the weight;
 * tokens of equal weight are taken by lower id first, so the kept set never
 * depends on a sorting order. One 64-bit random number draws from what is left.
 */
#include "lib/core/engine.h"
#include "lib/core/fixed.h"

enum { ONE_Q16 = 65536, MAX_DISTANCE = 1 << 27 };

/* The largest weight is 2^30. Bins are on the stack of a chip. */
enum { WEIGHT_BITS = 31, BIN_BITS = 5, N_BINS = 1 << BIN_BITS };

/* The kept tokens: every weight above `above`, and the first n_equal equal to it. */
struct kept {
    uint32_t above, n_equal;
};

void ruvm_sampler_seed(struct ruvm_sampler *s, uint64_t seed)
{
    s->state = seed;
}

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t next_random(struct ruvm_sampler *s)
{
    s->state += 0x9E3779B97F4A7C15u;
    uint64_t z = s->state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint16_t largest(const struct ruvm_sampler *s, const int32_t *x, uint32_t n)
{
    if (!RUVM_CORE_SMALL && s->kernels && s->kernels->largest)
        return (uint16_t)s->kernels->largest(x, n);
    uint32_t best = 0;
    int32_t most = x[0]; /* not x[best], whose address would have to be waited for */
    for (uint32_t i = 1; i < n; i++)
        if (x[i] > most) {
            most = x[i];
            best = i;
        }
    return (uint16_t)best;
}

static int32_t clamp_i32(int64_t x)
{
    return x > INT32_MAX ? INT32_MAX : x < -INT32_MAX ? -INT32_MAX : (int32_t)x;
}

static bool seen_before(const uint16_t *recent, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (recent[j] == recent[i])
            return true;
    return false;
}

/* Each token of the last repeat_last once: a positive logit is divided, a negative one
 * multiplied (the CTRL paper's penalty, arXiv 1909.05858). */
static void penalise(const struct ruvm_sampler *s, int32_t *logits, uint32_t vocab,
                     const uint16_t *recent, size_t n_recent)
{
    if (s->repeat_q16 == 0 || s->repeat_q16 == ONE_Q16)
        return;
    size_t n = n_recent < s->repeat_last ? n_recent : s->repeat_last;
    recent += n_recent - n;
    for (size_t i = 0; i < n; i++) {
        if (recent[i] >= vocab || seen_before(recent, i))
            continue;
        int64_t l = logits[recent[i]];
        l = l > 0 ? l * ONE_Q16 / s->repeat_q16 : l * (int64_t)s->repeat_q16 / ONE_Q16;
        logits[recent[i]] = clamp_i32(l);
    }
}

/* weight = 2^30 * exp((logit - best) / temperature), in place; the best has 2^30. */
static void to_weights(const struct ruvm_sampler *s, int32_t *logits, uint32_t vocab)
{
    int32_t best = logits[largest(s, logits, vocab)];
    uint64_t mult = ((uint64_t)1512775 << 16) / s->temperature_q16; /* log2(e) in Q20 / T */
    for (uint32_t i = 0; i < vocab; i++) {
        uint64_t distance = (uint64_t)((int64_t)best - logits[i]); /* Q16 */
        if (distance > MAX_DISTANCE)
            distance = MAX_DISTANCE;
        uint64_t t = (distance * mult) >> 21; /* Q16 * Q20 to Q15 */
        uint64_t n = t >> 15;
        logits[i] = n > 30 ? 0 : (int32_t)(ruvm_fixed_exp2((uint32_t)t & 32767u) >> n);
    }
}

static uint64_t sum_of(const int32_t *weights, uint32_t vocab)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < vocab; i++)
        sum += (uint32_t)weights[i];
    return sum;
}

/* What top-k and top-p limit: a number of tokens, or the sum of their weights. */
struct limit {
    bool is_sum;
    uint64_t amount;
};

/* Amounts of the weights in [low, low + 2^left), in bins 2^shift wide. */
struct bins {
    uint64_t amount[N_BINS];
};
static struct bins sort(const int32_t *weights, uint32_t vocab, bool sum, uint32_t low,
                        uint32_t left)
{
    struct bins b = {0};
    uint32_t shift = left > BIN_BITS ? left - BIN_BITS : 0;
    for (uint32_t i = 0; i < vocab; i++) {
        uint32_t w = (uint32_t)weights[i];
        if ((w - low) >> left == 0)
            b.amount[(w - low) >> shift] += sum ? w : 1;
    }
    return b;
}

/* The largest weight w for which {weight >= w} reaches the limit: some of its bits at a time. The
 * kept set is everything above w and as many equal to w as reach the limit. */
static struct kept narrow(const int32_t *weights, uint32_t vocab, struct limit l)
{
    uint32_t low = 0, left = WEIGHT_BITS; /* w is in [low, low + 2^left) */
    while (left > 0) {
        struct bins b = sort(weights, vocab, l.is_sum, low, left);
        uint32_t bin = N_BINS - 1;
        for (; bin > 0 && b.amount[bin] < l.amount; bin--)
            l.amount -= b.amount[bin];
        left = left > BIN_BITS ? left - BIN_BITS : 0;
        low += bin << left;
        if (l.is_sum && b.amount[bin] >> 1 < low) { /* of a single weight */
            low = (uint32_t)b.amount[bin];
            left = 0;
        }
    }
    uint32_t each = l.is_sum ? low : 1;
    return (struct kept){low, (uint32_t)((l.amount - 1) / each + 1)};
}

/* Sets the weight of every token outside the kept set to 0; returns the sum of the others. */
static uint64_t drop_others(int32_t *weights, uint32_t vocab, struct kept k)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        uint32_t w = (uint32_t)weights[i];
        uint32_t least = k.above + (k.n_equal == 0); /* that stays */
        k.n_equal -= w == k.above && k.n_equal > 0;
        w = w >= least ? w : 0;
        weights[i] = (int32_t)w;
        sum += w;
    }
    return sum;
}

/* Returns the sum of the weights that stay. */
static uint64_t filter(const struct ruvm_sampler *s, int32_t *weights, uint32_t vocab)
{
    uint64_t sum = 0; /* not known yet */
    if (s->top_k > 0 && s->top_k < vocab)
        sum = drop_others(weights, vocab, narrow(weights, vocab, (struct limit){false, s->top_k}));
    if (s->min_p_q16 > 0) {
        uint32_t best = (uint32_t)weights[largest(s, weights, vocab)];
        uint32_t share = s->min_p_q16 < ONE_Q16 ? s->min_p_q16 : ONE_Q16;
        uint32_t least = (uint32_t)(((uint64_t)best * share) >> 16);
        sum = drop_others(weights, vocab, (struct kept){least ? least - 1 : 0, 0});
    }
    sum = sum ? sum : sum_of(weights, vocab);
    if (s->top_p_q16 > 0 && s->top_p_q16 < ONE_Q16) {
        uint64_t wanted = (sum * s->top_p_q16) >> 16;
        const struct limit l = {true, wanted ? wanted : 1}; /* not above the sum */
        sum = drop_others(weights, vocab, narrow(weights, vocab, l));
    }
    return sum;
}

/* total: of all weights, below 2^46, so that the bias is below 2^-18. */
static uint16_t draw(struct ruvm_sampler *s, const int32_t *weights, uint32_t vocab, uint64_t total)
{
    uint64_t r = next_random(s) % total;
    uint32_t i = 0;
    while (i + 1 < vocab && r >= (uint32_t)weights[i])
        r -= (uint32_t)weights[i++];
    return (uint16_t)i;
}

uint16_t ruvm_sample(struct ruvm_sampler *s, int32_t *logits, uint32_t vocab,
                     const uint16_t *recent, size_t n_recent)
{
    penalise(s, logits, vocab, recent, n_recent);
    if (s->temperature_q16 == 0)
        return largest(s, logits, vocab);
    to_weights(s, logits, vocab);
    return draw(s, logits, vocab, filter(s, logits, vocab));
}
