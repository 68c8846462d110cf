/* ruvm, the workstation side: one function per verb, for the command line and for
 * programs that embed it.
 *
 * Each takes `const struct ruvm_<verb>_options *` (zero-initialised: defaults)
 * and `struct ruvm_error *`, returns RUVM_OK or a negative RUVM_ERR_* with the
 * text in err, and gives results in a struct. The library never prints and never
 * exits; long work reports through struct ruvm_progress.
 *
 * Every measured value in a result is measured in that call, on this machine.
 */
#ifndef RUVM_TOOL_H
#define RUVM_TOOL_H

#include "ruvm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- shared by the verbs --------------------------------------------------- */

/* Called during long work, often; done <= total. Return nonzero to stop: the verb
 * then fails with RUVM_ERR_IO and "interrupted", leaving no file. */
struct ruvm_progress {
    int (*report)(void *user, const char *stage, uint64_t done, uint64_t total);
    void *user;
};

/* A file in memory: a RUVM image mapped, or the built-in demo model. */
struct ruvm_file {
    const uint8_t *data; /* 64-byte aligned */
    size_t size;
    const char *name;    /* for messages */
    void *owned;         /* private */
    const uint8_t *pack; /* the pack in which it lies, or NULL */
    size_t pack_size;
};

/* Maps path; of a pack the model in it. NULL or "demo": the demo model built into the
 * library. */
int ruvm_file_open(struct ruvm_file *file, const char *path, struct ruvm_error *err);
void ruvm_file_close(struct ruvm_file *file);

/* The kernel table of that name (NULL: the best of this machine). RUVM_ERR_ARG with the
 * names that exist. */
int ruvm_kernels_find(const struct ruvm_kernels **kernels, const char *name,
                      struct ruvm_error *err);
const char *ruvm_kernels_name(const struct ruvm_kernels *kernels);
/* Name of table i and whether this machine runs it; NULL past the last. */
const char *ruvm_kernels_list(unsigned i, bool *available);

/* How much worse a quantized model predicts than the float one. */
struct ruvm_quality {
    uint64_t n_positions;   /* predictions compared */
    double kl_mean, kl_p99; /* KL(float || quantized), nats a position */
    double kl_mean_error;   /* standard error of kl_mean as an estimate for other text */
    double perplexity, perplexity_float;
    double top1;          /* share of positions with the same most likely token, 0..1 */
    double top5;          /* share where the float's best is among our best five */
    char text_source[64]; /* "own samples" or the file's name */
};

/* ---- quantize -------------------------------------------------------------- */

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

/* ---- export ----------------------------------------------------------------- */

struct ruvm_export_options {
    const char *input;     /* a RUVM image, "demo", or what ruvm_quantize() reads */
    const char *output;    /* gguf: a file; safetensors: a folder, new, empty or of such a call */
    const char *to;        /* "gguf", "safetensors" */
    const char *type;      /* of the matrices: "f32", "f16", "bf16", gguf also "q8_0"; NULL: f32 */
    const char *tokenizer; /* as for quantize; NULL: the model's or the image's own */
    const char *name;      /* of the model, in GGUF; NULL: the image's own */
    uint32_t context;      /* 0: the source's */
    double v0_scale;       /* as for quantize */
    struct ruvm_progress progress;
};

struct ruvm_export_result {
    char format[16], type[8], architecture[16]; /* "gguf", "f32", "llama" */
    char source_format[64];
    uint64_t parameters, source_bytes; /* source_bytes 0: not a file */
    uint64_t bytes;                    /* of all files; 0: not a file */
    uint32_t n_tensors, n_files;
    bool has_tokenizer;
    char note[1024]; /* for people: what the file cannot say or does otherwise, or "" */
    double seconds;  /* measured */
};

/* Writes the weights as floats, those of an image exactly as it uses them. What the format
 * cannot say is refused. */
int ruvm_export(const struct ruvm_export_options *o, struct ruvm_export_result *r,
                struct ruvm_error *err);

/* ---- pack ------------------------------------------------------------------ */

/* A section by name: "sett" settings (JSON), "MODL" model (a RUVM image), "know" knowledge,
 * "gate", "plug", or four letters or digits of your own. */
struct ruvm_pack_file {
    const char *name, *path;
};

struct ruvm_pack_options {
    const char *input;                  /* a RUVM image, "demo" or a pack; NULL: nothing */
    const struct ruvm_pack_file *files; /* sections that are added or replaced */
    uint32_t n_files;
    const char *const *removed; /* names of sections that are left out */
    uint32_t n_removed;
    const char *sign_key; /* file with an ed25519 private key (PEM or hex), or NULL */
    const char *output;   /* NULL: nothing is written */
};

struct ruvm_pack_entry {
    char name[5];
    const char *kind; /* "model", "settings", ...; static */
    uint32_t off_bytes, size_bytes, align_bytes, crc32;
    char sha256[65];
};

struct ruvm_pack_result {
    uint64_t bytes;
    uint32_t n_sections;
    struct ruvm_pack_entry sections[32];
    bool is_signed;
    char key[65];           /* of the signature, in hex */
    bool signature_dropped; /* the input had one, which changes made worthless */
};

/* Makes a pack, or another one of a pack. Its signature is that of sign_key or, when nothing
 * else changes, stays. */
int ruvm_pack(const struct ruvm_pack_options *o, struct ruvm_pack_result *r,
              struct ruvm_error *err);
/* What a pack holds; all its checksums, SHA-256 included, are checked. */
int ruvm_pack_list(const char *path, struct ruvm_pack_result *r, struct ruvm_error *err);
/* As list, and its signature must hold. key: file with the public key that must have made it
 * (PEM or hex), or NULL: any key. RUVM_ERR_MISMATCH: not signed, by another key, wrong. */
int ruvm_pack_verify(const char *path, const char *key, struct ruvm_pack_result *r,
                     struct ruvm_error *err);
/* Writes the bytes of a section; *bytes is how many. */
int ruvm_pack_extract(const char *path, const char *section, const char *output, uint64_t *bytes,
                      struct ruvm_error *err);
/* Writes a C header of *bytes with the pack as an array `name`. */
int ruvm_pack_emit_c(const char *path, const char *name, const char *output, uint64_t *bytes,
                     struct ruvm_error *err);
/* For transport: a gzip file of a pack or a delta, and the exact bytes again. */
int ruvm_pack_compress(const char *path, const char *output, uint64_t bytes[2],
                       struct ruvm_error *err);
int ruvm_pack_decompress(const char *path, const char *output, uint64_t bytes[2],
                         struct ruvm_error *err);

struct ruvm_pack_delta {
    uint64_t old_bytes, new_bytes, delta_bytes;
    uint32_t n_sectors, n_changed; /* of 4 KiB, of the new pack */
};

/* The sectors of flash in which the pack `path` differs from the pack `old`; and a pack from
 * its predecessor and these. RUVM_ERR_MISMATCH: the delta is not for this one. */
int ruvm_pack_delta_make(const char *path, const char *old, const char *output,
                         struct ruvm_pack_delta *d, struct ruvm_error *err);
int ruvm_pack_delta_apply(const char *delta, const char *old, const char *output,
                          struct ruvm_pack_delta *d, struct ruvm_error *err);

/* ---- flash ----------------------------------------------------------------- */

struct ruvm_monitor;

struct ruvm_flash_options {
    const char *pack;       /* a pack, or a bare RUVM image */
    const char *chip;       /* "esp32c3", ...: ruvm_target_name(); NULL with port: the one there */
    const char *firmware;   /* application: ELF or image; NULL: that of ruvm */
    const char *bootloader; /* second stage, ELF or image; NULL: the ROM loads the firmware, or */
                            /* that of ruvm does when the ROM cannot */
    const char *firmware_dir; /* where the firmware of ruvm is, a folder a chip; NULL: nowhere */
    bool direct_boot;         /* the ROM starts the firmware where it lies in flash */
    const char *partitions;   /* table as CSV or binary; NULL: made for what there is */
    const char *label;        /* of the pack's partition; NULL: "ruvm" */
    const char *dump;         /* a flash's contents, of which only that partition is replaced */
    bool ota;                 /* of a table that is made: two slots for the application */
    uint32_t flash_bytes;     /* 0: 4 MiB */
    uint32_t table_off;       /* 0: 0x8000 */
    uint32_t pack_bytes;      /* of a table that is made: room for the pack; 0: what it takes */
    const char *mode;         /* "qio", "qout", "dio", "dout"; NULL: the images' own, or dio */
    const char *speed;        /* "80m", "40m", "26m", "20m"; NULL: the images' own, or 40m */
    const char *to;           /* "raw", "parts" (output is a folder), "uf2", "hex"; NULL: raw */
    bool trim;                /* raw: end with the last sector that holds something */
    const char *output;       /* NULL: only the plan */
    const char *svg;          /* file for a drawing of the plan, or NULL */
    const char *manifest;     /* file for an ESP Web Tools manifest, or NULL */
    const char *name;         /* in the manifest; NULL: "ruvm" */
    /* The chip that is written: a serial port, or NULL. Without firmware, whole or direct_boot
     * only the pack is, into its partition of the table that the chip has. */
    const char *port;
    bool whole;                         /* the port's chip gets all, with the firmware of ruvm */
    uint32_t baud;                      /* 0: 460800; less when the line does not carry it */
    bool rewrite;                       /* also sectors that are right already */
    const struct ruvm_monitor *monitor; /* runs when the chip was restarted; or NULL */
    struct ruvm_progress progress;
};

/* A part of flash, ascending by offset. */
struct ruvm_flash_region {
    char name[20], kind[36];        /* "ruvm", "data 0x40" */
    uint32_t off_bytes, size_bytes; /* the room */
    uint32_t used_bytes;            /* 0: nothing is written there */
    char file[32];                  /* of its part: "partition-table.bin"; "" when unused */
};

/* What a chip was given over its serial port; all of it measured. */
struct ruvm_flash_written {
    uint32_t n_sectors, n_changed; /* of 4 KiB: that something stands in, and that differed */
    uint64_t sent_bytes;           /* of these, compressed */
    uint32_t baud;                 /* in the end */
    uint32_t n_troubles;           /* lost, late and wrong answers that were overcome */
    double seconds;
};

enum { RUVM_FLASH_REGIONS = 200, RUVM_FLASH_NAME = 1024 };
struct ruvm_flash_result {
    char chip[12], family[12]; /* "esp32c3", "ESP32-C3" */
    uint32_t flash_bytes, table_off;
    uint64_t window_bytes, mapped_bytes; /* what the chip can map as data, and what it must */
    char mode[8], speed[8];              /* of the image that the ROM loads; "" unknown */
    uint32_t n_regions;
    struct ruvm_flash_region regions[RUVM_FLASH_REGIONS];
    char label[17];
    char firmware[RUVM_FLASH_NAME], bootloader[RUVM_FLASH_NAME]; /* files; "" none */
    bool has_knowledge;                                          /* the pack */
    uint64_t bytes;                    /* written: of the file, or of all parts */
    struct ruvm_flash_written written; /* n_sectors 0: no port */
};

/* What goes between a person or a script and the console of a chip. */
struct ruvm_monitor {
    uint32_t baud;  /* 0: 115200 */
    double idle_s;  /* silence after which a script's next line goes, or all ends; 0: 2 */
    bool is_script; /* lines one at a time, the next after an answer: a line "ok" or "error" */
    /* Called first; r is NULL when nothing was flashed. May be NULL. */
    void (*begin)(void *user, const struct ruvm_flash_result *r);
    /* Bytes to send, up to cap: 0 none now, below 0 no more ever. A script gives whole lines. */
    int (*type)(void *user, uint8_t *bytes, size_t cap);
    /* Bytes that came; n is often 0. Nonzero ends the monitor. */
    int (*show)(void *user, const uint8_t *bytes, size_t n);
    void *user;
};

/* The console of the chip at a port, until type or show say that it is enough; of a script
 * until its last line was answered. RUVM_ERR_IO when the port is gone. */
int ruvm_flash_monitor(const char *port, const struct ruvm_monitor *m, struct ruvm_error *err);

/* Lays out a flash and writes it, as a file, to a chip, or both. Everything is checked before a
 * byte is written. */
int ruvm_flash(const struct ruvm_flash_options *o, struct ruvm_flash_result *r,
               struct ruvm_error *err);

/* ---- inspect --------------------------------------------------------------- */

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
    double bytes_token, mb_s;
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

/* ---- run ------------------------------------------------------------------- */

/* A model ready to talk: engine, tokenizer and sampler over one image. */
struct ruvm_session;

/* "window:64,4", "strided:16,8", "dilated:32,2", "bigbird:32,4,3", "none"; numbers as in struct
 * ruvm_mask. RUVM_ERR_ARG with the forms that there are. */
int ruvm_mask_parse(struct ruvm_mask *mask, const char *text, struct ruvm_error *err);

struct ruvm_session_options {
    const char *model;   /* path, NULL: the demo model */
    uint32_t context;    /* 0: the image's */
    uint32_t block;      /* 0: default */
    uint32_t threads;    /* 0: as many as help, which is measured */
    const char *kernels; /* NULL: best */
    const char *mask;    /* of the attention, see ruvm_mask_parse(); NULL: none */
    struct ruvm_sampler sampler;
    /* Speculation: guesses that are verified in a block, to the same tokens. "ngram": from the
     * text; else a path: from a smaller model with the same tokenizer; NULL: none. */
    const char *draft;
    uint32_t draft_tokens; /* a guess has at most, 1..63; 0: 7 */
    /* kNN-LM: a blob of this model's states (ruvm_rag_add_options.knn_model); NULL: none. Not
     * with draft, prompt_cache or many prompts. */
    const char *knn;
    uint32_t knn_k;          /* neighbours, up to 256; 0: 32 */
    uint32_t knn_share_q16;  /* their share of the probability, below 65471 */
    uint32_t knn_spread_q16; /* squared distance at which a vote has sunk to 1/e; 0: 0.05 */
};

int ruvm_session_open(struct ruvm_session **s, const struct ruvm_session_options *o,
                      struct ruvm_error *err);
void ruvm_session_close(struct ruvm_session *s);
const struct ruvm_model_info *ruvm_session_info(const struct ruvm_session *s);
const struct ruvm_tokenizer *ruvm_session_tokenizer(const struct ruvm_session *s); /* or NULL */
struct ruvm_engine *ruvm_session_engine(struct ruvm_session *s);
size_t ruvm_session_engine_bytes(const struct ruvm_session *s); /* a draft model's too */
const char *ruvm_session_kernels(const struct ruvm_session *s);
/* Positions that there is room for, and of how many the keys and values are kept at a time: of
 * fewer with a mask that forgets. */
uint32_t ruvm_session_context(const struct ruvm_session *s);
uint32_t ruvm_session_cached(const struct ruvm_session *s);
/* Threads that share the work. */
uint32_t ruvm_session_threads(const struct ruvm_session *s);
/* Prompt tokens that a thread multiplies together. */
uint32_t ruvm_session_block(const struct ruvm_session *s);

/* Begins the drawing anew, as a session opened with this seed does. */
void ruvm_session_seed(struct ruvm_session *s, uint64_t seed);

struct ruvm_generate_options {
    const void *prompt; /* any bytes; may be NULL when n_prompt_bytes is 0 */
    size_t n_prompt_bytes;
    uint32_t n_tokens;        /* to generate at most; 0: until the context is full */
    const char *const *stops; /* stop strings, not emitted */
    size_t n_stops;
    bool continue_context; /* keep what is in the context: the next turn of a conversation */
    bool keep_prefix;      /* of a prompt that begins as the text before did, compute the rest */
    /* File with what the engine knows after the first turn's prompt: read, and written when the
     * prompt is another. NULL: none. */
    const char *prompt_cache;
    bool no_crc;        /* leave logits_crc32 out: of a large vocabulary it takes long */
    bool ignore_end;    /* go on after BOS or EOS */
    bool chat;          /* the prompt is a message: put it in the image's form of a turn */
    const char *system; /* of a chat's first turn: what the model is told first, or NULL */
    /* Receives text as it comes, whole UTF-8 characters where possible; nonzero stops. */
    int (*text)(void *user, const char *bytes, size_t n_bytes);
    /* Receives each generated id before its text, or NULL. */
    int (*token)(void *user, uint16_t id);
    void *user;
};

struct ruvm_generate_result {
    uint32_t n_prompt_tokens, n_tokens;
    uint32_t n_reused;           /* of the prompt's tokens: known already, not computed */
    double prompt_s, generate_s; /* measured; prompt_s with the reading of a cache */
    uint32_t logits_crc32;       /* over the logits each generated token was drawn from */
    enum ruvm_stop {
        RUVM_STOP_COUNT,
        RUVM_STOP_END,
        RUVM_STOP_STRING,
        RUVM_STOP_CONTEXT,
        RUVM_STOP_CALLER
    } stop;
    bool cache_written;
    char cache_note[256]; /* why a cache was not used, or "" */
    struct ruvm_generate_drafts {
        uint32_t n_rounds;             /* blocks that verified a guess */
        uint32_t n_tokens, n_accepted; /* guessed, and right */
        uint32_t n_switched_off;       /* times that the clock found them slower than none */
    } drafts;
};

/* A prompt that does not fit the context: RUVM_ERR_FULL with both numbers. */
int ruvm_generate(struct ruvm_session *s, const struct ruvm_generate_options *o,
                  struct ruvm_generate_result *r, struct ruvm_error *err);

/* Many prompts, up to `batch` of them (1..64) computed together: each weight is read once for
 * all. Each is answered as if it were the only one, beginning with the random state that the
 * session has. */
struct ruvm_many_options {
    uint32_t batch;
    size_t n_prompts;
    /* What to do with prompt i, as for ruvm_generate(); continue_context, keep_prefix and
     * prompt_cache are not used. What it points to is in use until the prompt's end. */
    struct ruvm_generate_options (*options)(void *user, size_t i);
    /* Prompt i is done: r, or NULL and the error. In the order in which they end; after one
     * that its receiver stopped, no other begins. */
    void (*end)(void *user, size_t i, const struct ruvm_generate_result *r,
                const struct ruvm_error *err);
    void *user;
};

/* Leaves the session empty. RUVM_ERR_ARG, _MEMORY; a prompt that fails does not. */
int ruvm_generate_many(struct ruvm_session *s, const struct ruvm_many_options *o,
                       struct ruvm_error *err);
/* ---- knowledge: rag-add, and asking a blob ----------------------------------- */

struct ruvm_rag_add_options {
    const char *blob;           /* made when it is not there */
    const char *const *sources; /* files; each replaces the source of its name */
    uint32_t n_sources;
    const char *stdin_name;     /* what a source /dev/stdin is called; NULL: "stdin" */
    const char *format;         /* "text", "markdown", "csv", "jsonl"; NULL: by the name's ending */
    const char *const *deletes; /* names of sources to take out, before anything is added */
    uint32_t n_deletes;
    const char *const *metas; /* "KEY=VALUE", kept with each source that is added */
    uint32_t n_metas;
    uint64_t ttl_s;         /* chunks that are added expire after so many seconds; 0: never */
    uint32_t now_s;         /* seconds since 1970, what has expired by then goes; 0: the clock's */
    uint32_t chunk_bytes;   /* 0: the blob's, or 600 */
    bool has_overlap;       /* else the blob's, or a sixth of a chunk */
    uint32_t overlap_bytes; /* at most half of a chunk */
    const char *split;      /* "sentence", "heading", "size"; NULL: the blob's, or sentence */
    bool keep_duplicates;   /* chunks whose text is there already are added all the same */
    const char *type;       /* of vectors: "int8", "binary"; NULL: the blob's, or int8 */
    uint32_t dims;          /* 0: the blob's, or 256 */
    uint32_t degree;        /* links of a vector in the graph; 0: the smallest of 8 to 32
                             * with which a walk finds 98 % of what a scan does */
    bool no_words;          /* without BM25 */
    const char *rank;       /* "sum", "reciprocal", "words", "vectors"; NULL: the blob's */
    uint64_t budget_bytes;  /* of the file: the best that fits; 0: no limit */
    bool dry_run;           /* nothing is written */
    const char *memory;     /* "factual", "episodic", "procedural", "preference": what is added
                             * is a memory of now; NULL: plain text, which lasts */
    bool has_importance;    /* else 50 */
    uint32_t importance;    /* of what is added, 0..100 */
    const char *embed;      /* where vectors come from: "words", hashed; "words:FILE", sums of those
                             * of a table of word vectors; "vectors:FILE", a .npy or JSONL file
                             * with one a text; "model:MODEL", means of a language model's states;
                             * NULL: words, or as the blob has them */
    bool has_table_words;   /* else 10,000 */
    uint32_t table_words;   /* of a table the first so many, besides those of the texts */
    const char *knn_model;  /* image, or "demo": the sources become its states and the tokens that
                             * came next, for ruvm_session_options.knn; alone */
    bool documents;         /* with knn_model: sources hold documents separated by <|end|> lines */
    const char *taxonomy;   /* CSV of parents and children, whose tree becomes the blob; alone */
    struct ruvm_progress progress;
};

/* How much of a tree the distances of an embedding tell; measured on its codes. */
struct ruvm_taxonomy_quality {
    uint32_t dims, vector_bytes; /* vector_bytes: a node, with what stands beside its codes */
    uint32_t n_queries;          /* nodes that were asked for the MAP: all, or 1,000 */
    double map;                  /* mean average precision of parents and children */
    double average_distortion;   /* mean |scaled distance / edges - 1| */
    double worst_distortion;     /* largest distance / edges over the smallest; 0: two nodes
                                  * share a place */
};
struct ruvm_taxonomy_report {
    uint32_t n_nodes, n_levels, max_children; /* n_nodes 0: it was no taxonomy */
    struct ruvm_taxonomy_quality hyperbolic, euclidean;
};

struct ruvm_rag_add_result {
    struct ruvm_taxonomy_report taxonomy;
    uint32_t n_sources, n_chunks;                         /* in the blob now */
    uint32_t n_added, n_removed, n_expired, n_duplicates; /* chunks */
    uint32_t n_empty;                                     /* sources that gave no chunk */
    uint64_t n_bad_bytes;                                 /* of sources, that are no UTF-8: kept */
    uint32_t dims, chunk_bytes, overlap_bytes;
    const char *type, *rank, *split;
    uint32_t degree, ef; /* 0: no graph, every search looks at all */
    uint64_t text_bytes, vector_bytes, graph_bytes, word_bytes, recipe_bytes, table_bytes;
    uint64_t file_bytes;
    uint32_t n_table_words;                 /* in the blob; 0: it has no table of word vectors */
    bool is_old_table;                      /* the one that the blob had */
    uint32_t n_text_words, n_unknown_words; /* different words of the texts, with a table, and those
                                             * that it lacked */
    uint32_t n_queries;               /* that the recalls were measured with; 0: they were not */
    double recall_code, recall_graph; /* at 10: codes against integers before rounding, graph
                                       * against a scan; measured */
    uint32_t distances;               /* that a search computes, their mean; measured */
    double seconds;                   /* measured */
};

/* Adds, replaces, deletes; the file appears whole or stays as it was. RUVM_ERR_IO: another
 * process is at it. */
int ruvm_rag_add(const struct ruvm_rag_add_options *o, struct ruvm_rag_add_result *r,
                 struct ruvm_error *err);

/* An opened blob, or the one in a pack, to be asked. */
struct ruvm_knowledge;
int ruvm_knowledge_open(struct ruvm_knowledge **k, const char *path, struct ruvm_error *err);
void ruvm_knowledge_close(struct ruvm_knowledge *k);

struct ruvm_knowledge_info {
    uint32_t n_chunks, n_sources, dims;
    const char *type, *rank;
    double floor;                     /* confidence below which it does not know */
    uint64_t file_bytes, query_bytes; /* query_bytes: memory that a search works in */
    bool has_words, has_recipe;       /* recipe: text becomes a vector here and now */
    const char *embed; /* "words", "vectors": they were given, "model", "next": for --knn,
                        * "table": of words */
};
struct ruvm_knowledge_info ruvm_knowledge_info(const struct ruvm_knowledge *k);

/* Vectors of the blob that are states of a language model need it to become those of questions:
 * opens it, and refuses another one with RUVM_ERR_MISMATCH. Nothing to do for other blobs. */
int ruvm_knowledge_use_model(struct ruvm_knowledge *k, const char *model, struct ruvm_error *err);

/* The one vector of a file as of ruvm_rag_add_options.embed, to be freed. */
int ruvm_knowledge_read_vector(float **v, uint32_t *n, const char *path, struct ruvm_error *err);

struct ruvm_knowledge_source {
    const char *name, *meta; /* meta: a JSON object, or NULL; neither ends with NUL */
    uint32_t n_name, n_meta;
    uint32_t bytes, crc32, n_chunks;
};
/* Source i < n_sources. */
struct ruvm_knowledge_source ruvm_knowledge_source(const struct ruvm_knowledge *k, uint32_t i);

struct ruvm_knowledge_ask {
    const char *question; /* any bytes */
    size_t n_bytes;
    uint32_t k;                  /* 0: 3; at most 1000 */
    const char *rank;            /* NULL: the blob's */
    bool exact;                  /* compare with all vectors, whatever the graph says */
    uint32_t now_s;              /* chunks that have expired are not found; 0: the clock's */
    const char *const *contexts; /* "KEY=VALUE": chunks that say so in their metadata are worth
                                  * more, those with another value less; at most 8 */
    uint32_t n_contexts;
    const float *vector; /* [n_vector] of the question, in place of what the blob would make of
                          * its words; NULL: none. n_vector is the blob's dims */
    uint32_t n_vector;
};
struct ruvm_knowledge_hit {
    uint32_t chunk;
    double score;      /* compares within one answer; times the weight */
    double weight;     /* of importance, age and context (lib/memory/traits.h); 1 without */
    double confidence; /* share of the question, weighed, whose words are there, 0..1; of a
                        * blob without words, or by vectors alone, the cosine */
    const char *text, *source, *meta; /* in the blob; meta NULL: none; no NUL at their ends */
    uint32_t n_text, n_source, n_meta;
};
/* Chunk i < n_chunks with score and confidence 0; false: it was deleted. */
bool ruvm_knowledge_chunk(const struct ruvm_knowledge *k, uint32_t i,
                          struct ruvm_knowledge_hit *hit);
/* Whether two hits leave open which is meant: the second's score is more than 4/5 of the
 * first's. */
bool ruvm_knowledge_is_ambiguous(const struct ruvm_knowledge_hit *hits, uint32_t n_hits);
/* The hits, best first, at most k; returns their number. RUVM_ERR_ARG: a context is none. */
int ruvm_knowledge_ask(struct ruvm_knowledge *k, const struct ruvm_knowledge_ask *ask,
                       struct ruvm_knowledge_hit *hits, struct ruvm_error *err);

struct ruvm_knowledge_scores {
    const char *name; /* "sum", "words", ...: a rank; "exact": the blob's, without its graph */
    double hit1, hit3, hit10, mrr, ndcg10;
    double seconds_a_question; /* measured */
};
enum { RUVM_KNOWLEDGE_MAX_ROWS = 5 };
struct ruvm_knowledge_eval {
    uint32_t n_questions, n_without; /* without: no chunk of the blob answers them; left out */
    uint32_t n_rows;
    struct ruvm_knowledge_scores row[RUVM_KNOWLEDGE_MAX_ROWS];
};
/* Asks the questions of a JSONL file: "question", and of what answers it at least one of
 * "answer" (text in the chunk), "source" (its name) and "id" (that of its metadata). */
int ruvm_knowledge_eval(struct ruvm_knowledge *k, const char *path,
                        const struct ruvm_progress *progress, struct ruvm_knowledge_eval *e,
                        struct ruvm_error *err);

/* Passages before a question, for ruvm_generate(). */
struct ruvm_passages {
    const struct ruvm_knowledge_hit *hits; /* the best first */
    uint32_t n_hits;
    const char *question;
    size_t n_question;
    const char *form;  /* %c: the passages, %q: the question; NULL: passages, newline, question */
    uint32_t n_tokens; /* room to keep for the answer; 0: a quarter of the context */
};
/* The prompt, malloc'ed, with as many passages as there is room for: n_used. */
int ruvm_session_passages(struct ruvm_session *s, const struct ruvm_passages *p, char **prompt,
                          size_t *n_bytes, uint32_t *n_used, struct ruvm_error *err);

/* ---- bench ----------------------------------------------------------------- */

enum ruvm_tier { RUVM_MEASURED, RUVM_MODELLED, RUVM_PROJECTED };

struct ruvm_spread { /* of repeated measurements */
    double median, min, max;
    uint32_t n;
    double q1, q3; /* quartiles */
};

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

/* ---- bench rag --------------------------------------------------------------- */

enum { RUVM_BENCH_RAG_POINTS = 32 };

/* Searches in vectors: of a knowledge blob, or synthetic ones (ruvm-bench-rag(1) says how they
 * are drawn). One metric and one type a call. */
struct ruvm_bench_rag_options {
    const char *blob;                        /* NULL: synthetic vectors */
    uint32_t n, dims;                        /* of these; 0: 10000, 64 */
    const char *metric;                      /* "cosine"; NULL: the blob's own, or cosine */
    const char *type;                        /* "int8"; NULL: the blob's own, or int8 */
    const char *kernels;                     /* of vector search; NULL: the best */
    uint32_t k;                              /* hits of a query; 0: 10 */
    uint32_t n_queries;                      /* 0: 500 */
    uint32_t repetitions;                    /* 0: 5 */
    uint32_t degree, degree_above, ef_build; /* of the graph; 0: the blob's, or the builder's */
    uint32_t n_points;
    uint32_t ef[RUVM_BENCH_RAG_POINTS]; /* [n_points] ascending */
    double recall;                      /* that scan and graph are compared at; 0: 0.95 */
    bool no_crossover;                  /* leave that out */
    uint64_t seed;                      /* 0: 1 */
    struct ruvm_progress progress;
};

struct ruvm_bench_rag_point { /* searches along the graph with one ef */
    uint32_t ef;
    double recall;    /* of the k that the scan of the codes finds, 0..1 */
    double distances; /* rows compared, mean of the queries */
    uint32_t distances_max;
    uint32_t chip_bytes; /* RAM of such a search: its memory, the query's row and the hits */
    struct ruvm_spread queries_per_s;
};

struct ruvm_bench_rag_size { /* scan and graph of the first n vectors, at options.recall */
    uint32_t n, ef;
    struct ruvm_spread scan_us, graph_us; /* a query */
};

struct ruvm_bench_rag_result {
    char subject[256], metric[16], type[16], kernels[16];
    uint32_t n, dims, k, n_queries;
    uint32_t degree, degree_above, ef_build, levels;
    bool is_own_graph; /* the curve is of the blob's graph; building was measured with another */
    double build_s;    /* graph and what makes every vector reachable */
    double build_vectors_per_s;
    uint64_t vector_bytes, side_bytes, graph_bytes; /* of all vectors */
    uint64_t book_bytes;                            /* of pq, however many vectors */
    uint32_t n_reached; /* vectors that a walk from the entry can reach: all, or it is an error */
    bool has_code_recall;
    double code_recall; /* of the k nearest by floats, found by the scan of the codes */
    uint32_t scan_chip_bytes;
    struct ruvm_spread scan_queries_per_s, scan_gb_per_s;
    char roof[8]; /* "L2": the nearest memory that holds the rows */
    struct ruvm_spread roof_gb_per_s;
    uint32_t n_points;
    struct ruvm_bench_rag_point points[RUVM_BENCH_RAG_POINTS];
    double row_cost;  /* a row compared by a walk over one compared by the scan, in time */
    uint32_t n_sizes; /* 0: not measured */
    struct ruvm_bench_rag_size sizes[RUVM_BENCH_RAG_POINTS];
    uint32_t crossover; /* the first of these n at which the graph is faster; 0: none */
    char machine[256];
};

int ruvm_bench_rag(const struct ruvm_bench_rag_options *o, struct ruvm_bench_rag_result *r,
                   struct ruvm_error *err);
/* Names of metrics and types, in the order of the format; NULL past the last. */
const char *ruvm_bench_rag_metric(unsigned i);
const char *ruvm_bench_rag_type(unsigned i);
/* Whether vectors of that type have that metric. */
bool ruvm_bench_rag_exists(const char *metric, const char *type);

/* ---- classifiers ----------------------------------------------------------- */

/* Networks of plain layers, from a row of numbers to classes (lib/ruvm.h: ruvm_mlp_run). */
enum ruvm_classifier_kind {
    RUVM_CLASSIFIER_NONE,   /* not a classifier, or no file that can be read */
    RUVM_CLASSIFIER_SOURCE, /* an ONNX graph without an embedding */
    RUVM_CLASSIFIER_IMAGE,  /* a RUVM image, or a pack with one */
};
/* What a file is; what is wrong with it, the verbs say. */
enum ruvm_classifier_kind ruvm_classifier_probe(const char *path);

/* An image beside the float model on the same rows: measured. */
struct ruvm_classifier_agreement {
    char data[64]; /* "random inputs", or the file's name */
    bool is_random;
    uint32_t n_rows;
    double top1;                     /* share of rows with the same class, 0..1 */
    double max_logit_error;          /* of any output of any row, before softmax or sigmoid */
    double mean_logit_error;         /* absolute, of all outputs */
    double logit_range;              /* largest minus smallest logit of the float model */
    bool has_classes;                /* the data says the class of each row: */
    double accuracy, accuracy_float; /* of the image, and of the float model, 0..1 */
};

struct ruvm_classifier_layer {
    char name[16];       /* "layers.0" */
    char activation[24]; /* "relu", "leaky_relu 0.01", "none" */
    char type[24];       /* "int8", "int4 g16" */
    uint32_t rows, cols;
    uint64_t bytes;         /* weights and scales in the image */
    double bits_per_weight; /* scales and padding included */
    double snr_db;          /* of the weights; 0 when only an image is at hand */
};

/* Where inputs usually lie, and who says so. */
enum ruvm_classifier_ranges {
    RUVM_RANGES_MEASURED, /* calibration data */
    RUVM_RANGES_GRAPH,    /* what normalises the inputs in the file */
    RUVM_RANGES_ASSUMED,  /* nobody: input_range */
};

struct ruvm_classifier_info {
    char name[64];
    uint16_t n_inputs, n_outputs, n_classes;
    uint8_t n_layers;
    const char *output; /* "logits", "softmax", "sigmoid" */
    bool has_labels;
    uint64_t n_weights; /* multiplications of a run */
    uint64_t image_bytes;
    uint64_t memory_bytes; /* exact: all that a run needs besides the image */
    uint32_t image_crc32;  /* of the header */
    struct ruvm_classifier_layer layers[255];
};

struct ruvm_classifier_quantize_options {
    const char *input, *output;      /* output NULL: measure only */
    const char *type;                /* of all layers; NULL: int8 */
    const char *const *tensor_types; /* "REGEX=TYPE" on names like "layers.0"; a later one wins */
    uint32_t n_tensor_types;
    const char *calib;  /* rows of inputs, CSV or .npy; a column more holds classes. NULL: none */
    const char *labels; /* a file with a name a line; NULL: none */
    const char *name;   /* meta, or NULL */
    double input_range; /* without calibration: inputs lie within +- this; 0: what the file
                         * tells, else 8 */
    uint64_t seed;      /* of random inputs; 0: 1 */
    bool dry_run;       /* nothing written */
};

struct ruvm_classifier_quantize_result {
    struct ruvm_classifier_info info;
    uint64_t source_bytes;
    enum ruvm_classifier_ranges ranges;
    double range_low, range_high; /* of all inputs together */
    uint32_t n_constant_inputs;   /* the same in every row of the data */
    struct ruvm_classifier_agreement agreement;
    double seconds;
};

/* RUVM_ERR_UNSUPPORTED names everything in the graph that is not a plain layer. */
int ruvm_classifier_quantize(const struct ruvm_classifier_quantize_options *o,
                             struct ruvm_classifier_quantize_result *r, struct ruvm_error *err);

/* One row's answer; arrays are in use until the callback returns. */
struct ruvm_classifier_row {
    uint32_t row;
    uint32_t best;              /* class */
    const char *label;          /* of the class, or NULL */
    const struct ruvm_mlp *mlp; /* for ruvm_mlp_label() */
    int32_t truth;              /* the class that the data says, or -1 */
    const int32_t *logits;      /* [n_outputs] Q16 */
    const uint16_t *p;  /* [n_outputs] Q15: softmax or sigmoid of them; of "logits" softmax */
    uint32_t n_clipped; /* inputs beyond four times their range, which saturate */
};

struct ruvm_classifier_run_options {
    const char *model;   /* image */
    const char *input;   /* rows, CSV or .npy */
    const char *kernels; /* NULL: best */
    /* Receives each row; nonzero stops. info: of the model. */
    int (*row)(void *user, const struct ruvm_classifier_info *info,
               const struct ruvm_classifier_row *row);
    void *user;
};

struct ruvm_classifier_run_result {
    struct ruvm_classifier_info info;
    char kernels[16];
    uint32_t n_rows, n_right, n_clipped; /* n_clipped: inputs of all rows */
    bool has_classes;
    uint32_t logits_crc32; /* over all logits: equal on every machine */
    double seconds;        /* measured: of the runs */
};

int ruvm_classifier_run(const struct ruvm_classifier_run_options *o,
                        struct ruvm_classifier_run_result *r, struct ruvm_error *err);

/* Layers, types and memory of an image. */
int ruvm_classifier_describe(struct ruvm_classifier_info *info, const char *path,
                             struct ruvm_error *err);

struct ruvm_classifier_bench_options {
    const char *model, *kernels; /* kernels NULL: best */
    uint32_t repetitions;        /* 0: 9 */
};

struct ruvm_classifier_bench_result {
    struct ruvm_classifier_info info;
    char kernels[16];
    uint32_t runs;                             /* of a repetition */
    struct ruvm_spread runs_per_s, gmac_per_s; /* measured, one thread */
    char machine[256];
};

int ruvm_classifier_bench(const struct ruvm_classifier_bench_options *o,
                          struct ruvm_classifier_bench_result *r, struct ruvm_error *err);

#ifdef __cplusplus
}
#endif

#endif
