/* ruvm_quantize(): from a model file to an image.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_QUANTIZE_H
#define RUVM_TOOL_QUANTIZE_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ruvm_quantize_result;

/* Types of weights are named "int8", "int4", "int3", "int2", "ternary", "binary", "xnor", and
 * with a group "int4:32" (16, 32, 64 columns or "row" for none); without one int4, int3,
 * int2 and binary have groups of 16. */
struct ruvm_quantize_options {
    const char *input;                  /* foreign model file */
    const char *output;                 /* NULL: measure only */
    const char *tokenizer;              /* file of any kind; "none"; NULL: the model's own */
    const char *type;                   /* of the layers' matrices; NULL: int8 */
    const char *embed_type, *head_type; /* NULL: int8 (head: as the embedding when tied) */
    /* "REGEX=TYPE": POSIX extended, matched anywhere in names like "layers.0.w_down"; a later
     * one wins; one that matches no tensor is refused. */
    const char *const *tensor_types;
    uint32_t n_tensor_types;
    const char *method;      /* "rtn", "mse", "gptq"; NULL: rtn for int8, else gptq,
                              * or mse for a large model */
    uint32_t k_bits, v_bits; /* of the cache: 8 or 4; 0: 8 */
    const char *calib_text;  /* file for calibration; NULL: own samples */
    const char *eval_text;   /* file for the quality measure; NULL: own samples */
    uint32_t eval_tokens;    /* positions to measure; 0: 16384, fewer for a large model */
    uint32_t calib_tokens;   /* positions of calibration; 0: by the model's size */
    uint32_t context;        /* 0: the source's */
    double v0_scale;         /* RUVM v0 input only: real value of one step; 0: refused */
    const char *name;        /* meta: name of the model, NULL: none */
    /* Search: the type of each tensor is chosen so that the least is lost. At most one of
     * max_bytes and max_kl; target adds its own limit of bytes. type must be NULL. */
    uint64_t max_bytes; /* of the image; 0: no limit */
    double max_kl;      /* nats: the smallest image whose measured KL is not above; 0: off */
    const char *target; /* chip whose flash and memory it must fit at `context`, or NULL */
    /* Pruning, before anything else. */
    uint32_t prune_heads;        /* key/value heads to take from every layer, with their queries */
    uint32_t prune_ffn;          /* units to take from every feed-forward */
    const uint32_t *drop_layers; /* layers to leave out, counted from 0 */
    uint32_t n_drop_layers;
    /* leave out tokens that the calibration text never uses; needed by models of more than
     * 65,535 */
    bool vocab_prune;
    /* Distillation. */
    uint32_t distill_steps; /* 0: none */
    const char *checkpoint; /* file to resume from and to keep the state in, or NULL */
    uint32_t threads;       /* 0: all processors */
    bool no_quality;        /* skip the measurement */
    bool dry_run;           /* sizes only, nothing written or measured */
    bool tensor_losses; /* estimate each tensor's share of the loss, if that takes not too long */
    bool measure_curve; /* search: measure some other choices, too, not only the chosen */
    uint64_t seed;      /* of calibration and evaluation samples; 0: 1 */
    struct ruvm_progress progress;
    /* Called when all is known but for `seconds`, before the image is written; nonzero: it is
     * not written, and the verb fails with RUVM_ERR_IO. May be NULL. */
    int (*before_write)(void *user, const struct ruvm_quantize_result *r);
    void *before_write_user;
};

/* Name of chip i that `target` knows; NULL past the last. */
const char *ruvm_target_name(unsigned i);

struct ruvm_quantize_tensor {
    char name[48];
    char type[24]; /* "int4 g16", "ternary" */
    uint32_t rows, cols;
    uint64_t source_bytes, bytes; /* bytes: data and scales in the image */
    uint64_t bytes_int8;          /* what it would take as int8 */
    double bits_per_weight;       /* scales and padding included */
    double snr_db;                /* signal to quantization noise, whole tensor; not in a dry run */
    double worst_row_snr_db;
    uint32_t worst_row;
    uint32_t zero_rows;      /* rows that are all zero in the source */
    uint32_t first_zero_row; /* meaningless when zero_rows is 0 */
    double loss_share;       /* of the estimated loss of all weights, 0..1; 0 when not estimated */
    double
        kl_estimate; /* modelled: nats lost by this tensor alone, second order; 0: not estimated */
};

/* A choice of types that no other one beats in both bytes and estimated loss. */
struct ruvm_quantize_choice {
    uint64_t image_bytes;
    double bits_per_weight;
    double kl_estimate; /* modelled: sum of the tensors' second-order estimates */
    double kl_measured; /* NaN when this choice was not measured */
    bool chosen;
    char types[64]; /* for people: "int4 14, int3 21, int8 1" */
};

/* What a step of pruning cost: the pruned float model against the source, measured. The
 * perplexities are 0, and kl_mean says nothing, when there was no text left to measure on. */
struct ruvm_quantize_prune {
    char what[64]; /* "2 of 4 key/value heads", "layer 4", "103 of 512 tokens" */
    uint64_t parameters_before, parameters_after;
    double kl_mean, perplexity_before, perplexity_after;
};

struct ruvm_quantize_distill {
    uint32_t steps, first_step; /* first_step > 0: resumed there */
    uint64_t tokens;            /* trained on, in this run and those before */
    double seconds;             /* of this run, measured */
    uint32_t threads;
    double kl_before, kl_after; /* training loss: mean of the first 1/50 of
                                 * the run with all weights rounded, and of the last */
};

struct ruvm_quantize_result {
    uint32_t n_tensors;
    struct ruvm_quantize_tensor *tensors; /* owned by the result */
    uint64_t parameters, source_bytes, image_bytes;
    double bits_per_weight;
    char types[64];  /* "int4 35, int8 1": how many tensors of which type */
    char method[48]; /* "rtn", "mse", "gptq" or "distill"; "" in a dry run */
    uint32_t k_bits, v_bits;
    char tokenizer_notes[512]; /* what its texts will have otherwise than at the source, a line
                                * each, or that there is none; "" nothing */
    bool has_quality;
    struct ruvm_quality quality;
    bool has_quality_before; /* distilled: the same measure before it */
    struct ruvm_quality quality_before;
    char sample_float[512], sample_image[512]; /* greedy continuations, "" without tokenizer */
    uint32_t n_golden_tokens;
    char source_format[64];
    bool losses_left_out; /* tensor_losses would have taken too long, or too much memory */
    uint64_t limit_bytes; /* of a search: the smaller one of max_bytes and the chip's; 0: none */
    uint32_t n_choices;   /* of the search, ascending by bytes; 0: no search */
    struct ruvm_quantize_choice *choices;
    uint32_t n_prunes;
    struct ruvm_quantize_prune *prunes;
    bool has_distill;
    struct ruvm_quantize_distill distill;
    double seconds; /* of the whole verb, measured */
    void *owned;
};

int ruvm_quantize(const struct ruvm_quantize_options *o, struct ruvm_quantize_result *r,
                  struct ruvm_error *err);
void ruvm_quantize_free(struct ruvm_quantize_result *r);

#ifdef __cplusplus
}
#endif

#endif
