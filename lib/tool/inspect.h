/* ruvm_inspect(), ruvm_fit(), ruvm_diff(): what a file holds, whether a chip can run it, and
 * what two files differ in.
 *
 * Part of ruvm_tool.h. */
#ifndef RUVM_TOOL_INSPECT_H
#define RUVM_TOOL_INSPECT_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ruvm_inspect_options {
    const char *input;  /* a file or a folder */
    uint32_t context;   /* for the engine's memory; 0: the image's */
    const char *tensor; /* name whose histogram is wanted, or NULL */
};

struct ruvm_inspect_section {
    char name[5];
    uint32_t off_bytes, size_bytes, crc32;
    bool required, known;
};

struct ruvm_inspect_tensor {
    char name[128];
    char type[24];    /* "int8", "int4 g16", "f32", ... */
    const char *file; /* in which it lies, when there are several; else NULL */
    uint32_t n_dims;
    uint64_t dims[4];
    uint64_t off_bytes, size_bytes;
    double min, max; /* dequantized range */
};

struct ruvm_inspect_operator { /* of an ONNX graph */
    char name[64];
    uint32_t n_nodes;
};

enum { RUVM_INSPECT_BINS = 32 };

struct ruvm_inspect_result {
    const struct ruvm_pack_result *pack; /* in which the model lies, or NULL */
    char format[64]; /* "RUVM v1 image", "RUVM v0 (bare layout)", importer's name */
    uint64_t file_bytes;
    bool is_image; /* RUVM v1: sections, header_crc32, engine_bytes are set */
    bool is_v0;
    bool has_shape; /* the numbers from vocab to context: of a model, and of the bare layout */
    bool has_model; /* the other numbers of a network as well; without it `note` says why */
    uint32_t version, quant_type, header_crc32;
    uint32_t vocab, dim, hidden, n_layers, n_heads, n_kv_heads, head_dim, context;
    uint32_t k_bits, v_bits; /* of a cached key and value; images only */
    bool tied, parallel;
    double norm_eps, rope_theta; /* rope_theta: 0 when not known */
    const char *norm;            /* "rms", "layer" */
    const char *activation;      /* "silu_gated", "gelu_tanh", "gelu", "relu" */
    const char *positions;       /* "rope", "learned" */
    uint32_t rope_dims;          /* leading dimensions of a head that turn */
    uint32_t window;             /* positions a token sees in ... */
    char windowed[256];          /* ... the layers with a '1' here; 0: all see all */
    double score_scale;          /* what scores are multiplied with */
    const char *biases[10];      /* [n_biases] "wq", "attn_norm", ...: what has one */
    uint32_t n_biases;
    uint64_t parameters;
    uint32_t n_sections;
    struct ruvm_inspect_section *sections;
    uint32_t n_tensors;
    struct ruvm_inspect_tensor *tensors;
    uint32_t n_operators;
    struct ruvm_inspect_operator *operators;
    bool has_tokenizer;
    uint32_t n_pieces;
    uint32_t bos, eos, unk; /* UINT32_MAX: none */
    uint32_t n_golden_prompt, n_golden_tokens;
    char *meta;      /* "key=value\n" lines, "" when none */
    char note[1024]; /* for people: why it cannot be quantized, or how; or "" */
    uint32_t engine_context;
    uint64_t engine_bytes, kv_cache_bytes; /* at engine_context */
    bool has_histogram;
    double histogram_min, histogram_max;
    uint64_t histogram[RUVM_INSPECT_BINS];
    void *owned;
};

/* RUVM images (v1, v0) and every importable format; of a file that is no model its tensors are
 * listed. A damaged file fails with where, what was expected and what was found. */
int ruvm_inspect(const struct ruvm_inspect_options *o, struct ruvm_inspect_result *r,
                 struct ruvm_error *err);
void ruvm_inspect_free(struct ruvm_inspect_result *r);

struct ruvm_fit_options {
    const char *input;    /* a RUVM image or a pack */
    const char *chip;     /* ruvm_target_name(), or "all" */
    uint32_t context;     /* 0: the image's */
    uint32_t flash_bytes; /* 0: 4 MiB */
    const char *type;     /* what if the layers' matrices were of this type; NULL: as they are */
};

/* A model on a chip. Bytes are exact but for `type` and what the firmware reserves; everything
 * in seconds is modelled: a bound that the chip cannot beat. */
struct ruvm_fit_chip {
    const char *name, *family, *core, *vector, *psram; /* static; vector, psram: NULL none */
    bool fits, fits_flash, fits_window, fits_memory, fits_wifi;
    /* Flash. */
    uint64_t flash_bytes, window_bytes, model_bytes, knowledge_bytes, firmware_bytes;
    int64_t flash_left_bytes; /* below 0: missing */
    /* Memory. */
    uint64_t memory_bytes, kv_cache_bytes, state_bytes; /* state: the engine without its cache */
    uint64_t static_bytes, stack_bytes, buffer_bytes, index_bytes;
    int64_t memory_left_bytes;
    uint64_t wifi_bytes;               /* that a station needs of what is left */
    uint32_t context, largest_context; /* 0: not even one position */
    /* Speed. */
    double clock_mhz, instructions_mac, flash_mb_s;
    double compute_s, memory_s; /* of a token in the middle of the context */
    double tokens_per_s;        /* at most: of the slower one */
    const char *binding;        /* "compute", "flash" */
    const char *instructions_source, *flash_source;
};

/* The memory term of the same model beside what others published. */
struct ruvm_fit_published {
    const char *system, *chip, *memory, *source;
    double bytes_token;
    double tokens_per_s, modelled_tokens_per_s;
};

struct ruvm_fit_result {
    bool is_classifier;   /* then a token is a run, and there is no context */
    uint32_t context;     /* asked for, or the image's */
    uint64_t macs_token;  /* weights and attention in the middle of the context */
    uint64_t bytes_token; /* read from flash for a token */
    uint64_t image_bytes; /* estimated when `type` was given */
    bool is_estimate;
    uint32_t n_chips;
    struct ruvm_fit_chip chips[8];
    uint32_t n_published;
    const struct ruvm_fit_published *published; /* static */
};

int ruvm_fit(const struct ruvm_fit_options *o, struct ruvm_fit_result *r, struct ruvm_error *err);

struct ruvm_diff_tensor {
    char name[128];
    enum ruvm_diff {
        RUVM_DIFF_EQUAL,
        RUVM_DIFF_VALUES,
        RUVM_DIFF_SHAPE,
        RUVM_ONLY_A,
        RUVM_ONLY_B
    } state;
    char type[2][24]; /* in a and b; "" where it is not */
    uint32_t n_dims[2];
    uint64_t dims[2][4];
    double max_abs; /* largest difference of two values */
    double rel_rms; /* root mean square of the difference, over that of a */
};

struct ruvm_diff_setting { /* a number of the network that differs */
    char name[24];
    char value[2][32];
};

struct ruvm_diff_result {
    char format[2][64];
    bool by_meaning; /* both are models: our own names, rows in our order; else the files' names */
    uint32_t n_tensors, n[RUVM_ONLY_B + 1]; /* n: how many of each state */
    struct ruvm_diff_tensor *tensors;
    uint32_t n_settings;
    struct ruvm_diff_setting settings[24];
    bool differs;
    void *owned;
};

/* Compares two files of any formats tensor by tensor, as dequantized floats. */
int ruvm_diff(const char *a, const char *b, struct ruvm_diff_result *r, struct ruvm_error *err);
void ruvm_diff_free(struct ruvm_diff_result *r);

#ifdef __cplusplus
}
#endif

#endif
