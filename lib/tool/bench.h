/* ruvm_bench(): the speed of a model and of this machine.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_BENCH_H
#define RUVM_TOOL_BENCH_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ruvm_bench_options {
    const char *model; /* NULL: the demo model */
    const char *kernels;
    uint32_t prompt_tokens;   /* 0: 128, or what the context allows */
    uint32_t generate_tokens; /* 0: 128, or what the context allows */
    uint32_t repetitions;     /* 0: 9 */
    uint32_t context, block;
    uint32_t threads;      /* 0: as many as help */
    uint32_t batch;        /* texts that are generated together; 0: 1 */
    const char *mask;      /* of the attention, in all that is measured; NULL: none */
    const char *quality;   /* float source to compare against, or NULL */
    const char *eval_text; /* text for perplexity and quality; NULL: own samples */
    uint32_t eval_tokens;  /* 0: 16384 */
    bool documents;        /* eval_text holds documents separated by <|end|> lines */
    const char *questions; /* JSONL of prompt and answer: exact match, or NULL */
    const char *knn;       /* blob, or NULL: perplexity of eval_text with and without it */
    uint32_t knn_k, knn_share_q16, knn_spread_q16; /* as of a session */
    bool kernel_rates;                             /* measure every kernel table */
    bool profile;                                  /* measure the parts of a token */
    bool no_speed;                                 /* quality, perplexity and answers only */
    uint64_t seed;
    struct ruvm_progress progress;
};

/* What this machine can do at most, measured in the same rounds as its kernels. */
struct ruvm_bench_level { /* of memory, the nearest first; the last one is DRAM */
    char name[8];
    uint64_t bytes;        /* its size; 0 for DRAM */
    uint64_t placed_bytes; /* what is read there again and again: fits well */
    struct ruvm_spread gb_per_s, threads_gb_per_s;
};

struct ruvm_bench_roofs {
    uint32_t n_levels;
    struct ruvm_bench_level levels[4];
    bool sizes_assumed;   /* the system does not say how large its caches are */
    char instruction[48]; /* that multiplies */
    struct ruvm_spread gmac_per_s, threads_gmac_per_s;
    uint32_t n_threads; /* of the rates of all threads together; below 2 there are none */
};

/* One kernel of one table with one shape. Which roof binds: reading its bytes from its
 * level, or multiplying; the share is of the speed that this roof alone would allow. */
struct ruvm_bench_kernel {
    char kernels[16], name[24];
    uint32_t rows, cols, vectors; /* rows 0: a vector of cols values */
    uint32_t level;               /* of roofs.levels, where its weights or its vectors are */
    bool multiplies;              /* else gmac_per_s counts values */
    struct ruvm_spread gmac_per_s, gb_per_s;
    double roof_share; /* 0..1, by the medians */
    bool arithmetic_binds;
};

/* Where the time of one generated token goes. */
enum ruvm_bench_part {
    RUVM_PART_MATRIX,     /* products of the layers' matrices */
    RUVM_PART_SCORES,     /* of queries and keys */
    RUVM_PART_SOFTMAX,    /* their weights */
    RUVM_PART_MIX,        /* of values */
    RUVM_PART_CACHE,      /* RoPE, queries, keys and values to and from the cache */
    RUVM_PART_NORM,       /* norms and quantizing */
    RUVM_PART_SCALE,      /* row scales, biases, the residual stream */
    RUVM_PART_ACTIVATION, /* SwiGLU, GELU, ReLU */
    RUVM_PART_HEAD,       /* logits from the last norm */
    RUVM_PART_SAMPLING,   /* the likeliest token */
    RUVM_PART_OTHER,      /* embedding, RoPE's angles, and what else there is */
    RUVM_N_PARTS,
};

struct ruvm_bench_profile {
    uint32_t tokens, repetitions;
    double token_us;                     /* unwatched, in turn with the watched ones: median */
    double watched_us;                   /* watched, the clock's own cost included: median */
    double clock_us;                     /* of that, what reading the clock cost */
    struct ruvm_spread us[RUVM_N_PARTS]; /* without that cost; the medians' sum is sum_us */
    double sum_us;
};

/* "matrices" and so on. */
const char *ruvm_bench_part_name(enum ruvm_bench_part part);

struct ruvm_bench_result {
    char model[256], kernels[16];
    uint64_t image_bytes, engine_bytes, peak_rss_bytes;
    bool has_mask;
    char mask[40];
    uint32_t cached_positions;          /* of the context: a mask may forget the others */
    uint32_t seen_positions;            /* by the last token of the context, its own among them */
    uint64_t kv_bytes;                  /* of the engine's: keys and values of all layers */
    uint32_t image_crc, context, block; /* context and block: the engine's */
    uint32_t threads;                   /* that shared the work */
    uint32_t batch;                     /* texts together; their tokens are added up */
    uint64_t token_bytes;               /* of weights, scales included, that each token reads */
    double bits_per_weight;             /* of all matrices, scales and padding included */
    char types[64];                     /* "int4 35, int8 1": how many tensors of which type */
    uint32_t prompt_tokens, generate_tokens;
    struct ruvm_spread prompt_tokens_per_s, decode_tokens_per_s;
    bool has_quality;
    struct ruvm_quality quality; /* against options.quality */
    bool has_perplexity;         /* of the image alone on eval_text */
    double perplexity;
    uint64_t perplexity_positions;
    bool has_knn; /* perplexity is then the one without, at the same positions */
    double perplexity_knn;
    uint32_t knn_chunks, knn_k;
    double knn_share, knn_spread;
    double knn_us; /* that looking up and mixing took a token */
    bool has_exact_match;
    double exact_match; /* 0..1 */
    uint32_t n_questions;
    struct ruvm_bench_profile profile; /* repetitions 0: not measured */
    struct ruvm_bench_roofs roofs;     /* n_levels 0: not measured */
    uint32_t n_kernels;
    struct ruvm_bench_kernel *kernel_list;
    char machine[256]; /* processor, cores, compiler */
    void *owned;
};

int ruvm_bench(const struct ruvm_bench_options *o, struct ruvm_bench_result *r,
               struct ruvm_error *err);
/* n measurements of o[0].model that differ in other options. Their speeds are measured in
 * turns, a b c, c b a and so on, so that what disturbs the machine meets all alike; weights
 * and panels are in memory once. o[0] has the repetitions, and says whether kernels are
 * measured: beside the first result. r[i] is of o[i], unless errs[i].code says that it failed,
 * which takes no other one with it. Returns the status of the first that failed. */
int ruvm_bench_each(const struct ruvm_bench_options *o, uint32_t n, struct ruvm_bench_result *r,
                    struct ruvm_error *errs);
void ruvm_bench_free(struct ruvm_bench_result *r);

#ifdef __cplusplus
}
#endif

#endif
