/* Shapes and networks, chosen by hand and drawn. */
#include "tests/core/any_shape.h"

#include "formats/ruvm_codes.h"
#include "formats/ruvm_layout.h"

static const struct random_shape shapes[] = {
    {.vocab = 40,
     .dim = 16,
     .hidden = 20,
     .context = 24,
     .head_dim = 8,
     .layers = 1,
     .heads = 2,
     .kv_heads = 1,
     .tied = true,
     .seed = 1},
    {.vocab = 97,
     .dim = 64,
     .hidden = 172,
     .context = 40,
     .head_dim = 8,
     .layers = 3,
     .heads = 8,
     .kv_heads = 4,
     .tied = true,
     .seed = 2},
    {.vocab = 33,
     .dim = 36,
     .hidden = 50,
     .context = 17,
     .head_dim = 6,
     .layers = 2,
     .heads = 6,
     .kv_heads = 6,
     .tied = false,
     .seed = 3},
    {.vocab = 300,
     .dim = 48,
     .hidden = 64,
     .context = 70,
     .head_dim = 48,
     .layers = 2,
     .heads = 1,
     .kv_heads = 1,
     .tied = false,
     .seed = 4},
    {.vocab = 64,
     .dim = 30,
     .hidden = 7,
     .context = 1200,
     .head_dim = 2,
     .layers = 1,
     .heads = 3,
     .kv_heads = 1,
     .tied = true,
     .seed = 5},
    /* part of a head rotates; heads do not make up dim; three query heads to a key head */
    {.vocab = 50,
     .dim = 70,
     .hidden = 90,
     .context = 30,
     .head_dim = 12,
     .rope_dims = 4,
     .layers = 2,
     .heads = 6,
     .kv_heads = 2,
     .tied = false,
     .seed = 6},
    /* the least of everything */
    {.vocab = 1,
     .dim = 1,
     .hidden = 1,
     .context = 1,
     .head_dim = 2,
     .layers = 1,
     .heads = 1,
     .kv_heads = 1,
     .tied = true,
     .seed = 7},
    /* the widest head; fewer rows than a register has lanes */
    {.vocab = 5,
     .dim = 9,
     .hidden = 3,
     .context = 19,
     .head_dim = 2048,
     .layers = 1,
     .heads = 2,
     .kv_heads = 1,
     .tied = true,
     .seed = 8},
    /* blocks of queries on both sides of what kernels mix in one call */
    {.vocab = 24,
     .dim = 24,
     .hidden = 16,
     .context = 1060,
     .head_dim = 8,
     .layers = 1,
     .heads = 2,
     .kv_heads = 1,
     .tied = true,
     .seed = 9},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* Images of packed weights: each type alone, then drawn shapes of drawn types; last, each
 * combination of what networks may be made of, with drawn shapes, biases and windows. */
enum { N_DRAWN = 24, N_PACKED = RUVM_N_TYPES - 1 + N_DRAWN };
enum { N_NETWORKS = 2 * RUVM_N_NORMS * RUVM_N_ACTS * RUVM_N_POS * 3 };
enum { MAX_TENSORS = 32 };

static uint32_t draw(uint64_t *rng, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(random_next(rng) % (high - low + 1));
}

/* Three images of four have no XNOR, which a tolerance must be wide for. */
static uint8_t draw_type(uint64_t *rng, uint64_t seed)
{
    uint32_t most = seed % 4 ? RUVM_TYPE_TERNARY : RUVM_TYPE_XNOR;
    uint32_t type = draw(rng, RUVM_TYPE_INT8, most);
    uint32_t log2 = ruvm_codes_has_groups((int)type) ? draw(rng, 3, 6) : 3;
    return (uint8_t)(type | (log2 > 3 ? log2 : 0) << RUVM_TYPE_GROUP_SHIFT);
}

/* Odd sizes, more than one group of everything, heads whose half is odd, vocabularies
 * that come in parts. */
static struct random_shape draw_shape(uint64_t seed, uint8_t types[MAX_TENSORS])
{
    uint64_t rng = seed;
    struct random_shape s = {.seed = seed, .types = types, .n_types = MAX_TENSORS};
    s.vocab = (uint16_t)draw(&rng, 20, 400);
    s.dim = (uint16_t)draw(&rng, 10, 150);
    s.hidden = (uint16_t)draw(&rng, 5, seed % 2 ? 600 : 60);
    s.context = (uint16_t)draw(&rng, 10, 80);
    s.head_dim = (uint16_t)(2 * draw(&rng, 1, 13));
    s.layers = (uint8_t)draw(&rng, 1, 2);
    s.kv_heads = (uint8_t)draw(&rng, 1, 3);
    s.heads = (uint8_t)(s.kv_heads * draw(&rng, 1, 3));
    s.tied = draw(&rng, 0, 1);
    s.k_bits = (uint8_t)(4 * draw(&rng, 0, 1));
    s.v_bits = (uint8_t)(4 * draw(&rng, 0, 1));
    for (size_t i = 0; i < MAX_TENSORS; i++)
        types[i] = draw_type(&rng, seed);
    return s;
}

/* Network i of N_NETWORKS, without XNOR. */
static struct random_shape draw_network(uint32_t i, uint8_t types[MAX_TENSORS])
{
    static const char *const local[] = {NULL, "10", "01"};
    uint64_t rng = i;
    struct random_shape s = draw_shape(1001 + 4 * (uint64_t)i, types);
    s.norm = (uint8_t)(i % RUVM_N_NORMS);
    s.act = (uint8_t)(i / RUVM_N_NORMS % RUVM_N_ACTS);
    s.pos = (uint8_t)(i / (RUVM_N_NORMS * RUVM_N_ACTS) % RUVM_N_POS);
    s.parallel = i / (RUVM_N_NORMS * RUVM_N_ACTS * RUVM_N_POS) % 2;
    s.window = (uint16_t)(i % 3 ? draw(&rng, 1, 30) : 0);
    s.local = s.window ? local[draw(&rng, 0, 2)] : NULL;
    s.rope_dims = (uint16_t)(s.head_dim - 2 * draw(&rng, 0, s.head_dim / 2u - 1));
    s.score = draw(&rng, 0, 1) ? draw(&rng, 1, 9) : 0;
    s.score_exp = s.score ? -4 : 0;
    s.biases = (uint16_t)draw(&rng, 0, (1u << RUVM_N_BIASES) - 1);
    if (s.act != RUVM_ACT_SILU_GATED)
        s.biases &= (uint16_t) ~(1u << RUVM_BIAS_W_GATE);
    if (draw(&rng, 0, 3)) { /* most have no other errors than those of eight bits */
        s.k_bits = s.v_bits = 0;
        s.types = NULL, s.n_types = 0;
    }
    return s;
}

struct random_shape any_shape(int i)
{
    static uint8_t types[MAX_TENSORS];
    if (i < N_SHAPES)
        return shapes[i];
    if (i >= N_SHAPES + N_PACKED)
        return draw_network((uint32_t)(i - N_SHAPES - N_PACKED), types);
    struct random_shape s = draw_shape((uint64_t)i, types);
    for (size_t k = 0; k < MAX_TENSORS && i < N_SHAPES + RUVM_N_TYPES - 1; k++)
        types[k] = (uint8_t)(RUVM_TYPE_INT4 + i - N_SHAPES);
    return s;
}

const int n_any_shapes = N_SHAPES + N_PACKED + N_NETWORKS;
