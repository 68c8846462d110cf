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

/* The largest weight is 2^TOP_BIT. Bins are on the stack of a chip. */
enum { BIN_BITS = 6, N_BINS = 1 << BIN_BITS, TOP_BIT = 5 * BIN_BITS };

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

/* What top-k and top-p limit, a number of tokens or the sum of their weights, of the weights in
 * bins 2^shift wide from low on. */
struct bins {
    uint64_t amount[N_BINS];
};
static struct bins sort(const int32_t *weights, uint32_t vocab, bool is_sum, uint32_t low,
                        uint32_t shift)
{
    struct bins b = {0};
    for (uint32_t i = 0; i < vocab; i++) {
        uint32_t w = (uint32_t)weights[i], bin = (w - low) >> shift;
        if (bin < N_BINS)
            b.amount[bin] += is_sum ? w : 1;
    }
    return b;
}

/* Sets the weight of every token outside the kept set to 0. */
static void drop_others(int32_t *weights, uint32_t vocab, struct kept k)
{
    for (uint32_t i = 0; i < vocab; i++) {
        uint32_t w = (uint32_t)weights[i];
        bool is_equal = w == k.above && k.n_equal > 0;
        k.n_equal -= is_equal;
        weights[i] = w > k.above || is_equal ? weights[i] : 0;
    }
}

/* Finds the largest weight w for which {weight >= w} reaches the limit, some of its bits at a
 * time. What stays is everything above w and as many equal to w as reach the limit. */
static void keep_best(int32_t *weights, uint32_t vocab, bool is_sum, uint64_t limit)
{
    uint32_t low = 0;
    for (int shift = TOP_BIT; shift >= 0; shift -= BIN_BITS) {
        struct bins b = sort(weights, vocab, is_sum, low, (uint32_t)shift);
        uint32_t bin = N_BINS - 1;
        for (; bin > 0 && b.amount[bin] < limit; bin--)
            limit -= b.amount[bin];
        low += bin << shift;
        if (!RUVM_CORE_SMALL && is_sum && b.amount[bin] >> 1 < low) { /* of a single weight */
            low = (uint32_t)b.amount[bin];
            break;
        }
    }
    uint32_t each = is_sum ? low : 1;
    drop_others(weights, vocab, (struct kept){low, (uint32_t)((limit - 1) / each + 1)});
}

static void filter(const struct ruvm_sampler *s, int32_t *weights, uint32_t vocab)
{
    if (s->top_k > 0 && s->top_k < vocab)
        keep_best(weights, vocab, false, s->top_k);
    if (s->min_p_q16 > 0) {
        uint32_t best = (uint32_t)weights[largest(s, weights, vocab)];
        uint32_t share = s->min_p_q16 < ONE_Q16 ? s->min_p_q16 : ONE_Q16;
        uint32_t least = (uint32_t)(((uint64_t)best * share) >> 16);
        drop_others(weights, vocab, (struct kept){least ? least - 1 : 0, 0});
    }
    if (s->top_p_q16 > 0 && s->top_p_q16 < ONE_Q16) {
        uint64_t wanted = (sum_of(weights, vocab) * s->top_p_q16) >> 16;
        keep_best(weights, vocab, true, wanted ? wanted : 1);
    }
}

static uint16_t draw(struct ruvm_sampler *s, const int32_t *weights, uint32_t vocab)
{
    uint64_t total = sum_of(weights, vocab);
    uint64_t r = next_random(s) % total; /* total < 2^46: the bias is below 2^-18 */
    uint32_t i = 0;
    while (r >= (uint32_t)weights[i])
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
    filter(s, logits, vocab);
    return draw(s, logits, vocab);
}
