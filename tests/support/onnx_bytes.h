/* ONNX files for tests, written field by field; and a small Llama as PyTorch exports it. */
#ifndef TESTS_SUPPORT_ONNX_BYTES_H
#define TESTS_SUPPORT_ONNX_BYTES_H

#include <stdbool.h>

#include "lib/base/buffer.h"

/* ---- protocol buffers ------------------------------------------------------------ */

void pb_varint(struct ruvm_buffer *b, uint64_t value);
void pb_number(struct ruvm_buffer *b, unsigned field, uint64_t value);
void pb_bytes(struct ruvm_buffer *b, unsigned field, const void *data, size_t n);
void pb_text(struct ruvm_buffer *b, unsigned field, const char *text);
void pb_float(struct ruvm_buffer *b, unsigned field, float value);
/* Appends `part` as a field and frees it. */
void pb_message(struct ruvm_buffer *b, unsigned field, struct ruvm_buffer *part);

/* ---- parts of a graph ------------------------------------------------------------- */

enum onnx_storage { ONNX_RAW, ONNX_TYPED, ONNX_UNPACKED, ONNX_HALF, ONNX_EXTERNAL };

struct onnx_shape {
    unsigned n_dims;
    uint64_t dims[4];
};
#define SHAPE(...)                                                                                 \
    (struct onnx_shape)                                                                            \
    {                                                                                              \
        sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),                                      \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* A TensorProto without its values: name (NULL: none), type, dims. */
struct ruvm_buffer onnx_tensor(const char *name, unsigned type, struct onnx_shape shape);
/* An initializer of floats in a graph. External: appended to `external`, at `location`. */
void onnx_floats(struct ruvm_buffer *graph, const char *name, struct onnx_shape shape,
                 const float *values, enum onnx_storage storage, struct ruvm_buffer *external,
                 const char *location);
/* in and out: names, separated by blanks. attributes: NULL, or the fields, which are freed. */
void onnx_node(struct ruvm_buffer *graph, const char *op, const char *in, const char *out,
               struct ruvm_buffer *attributes);
void onnx_attribute_int(struct ruvm_buffer *attributes, const char *name, int64_t value);
void onnx_attribute_ints(struct ruvm_buffer *attributes, const char *name, unsigned n,
                         const int64_t *values);
/* A Constant node: integers (n of them; scalar when n is 0), or one float. */
void onnx_constant_ints(struct ruvm_buffer *graph, const char *out, unsigned n,
                        const int64_t *values);
void onnx_constant_float(struct ruvm_buffer *graph, const char *out, float value);
void onnx_end(struct ruvm_buffer *graph, unsigned field, const char *name);
/* The whole file around a graph, which is freed. properties: NULL, or fields 14 of the model. */
struct ruvm_buffer onnx_model(struct ruvm_buffer *graph, struct ruvm_buffer *properties);
void onnx_property(struct ruvm_buffer *properties, const char *key, const char *value);

/* ---- a Llama ------------------------------------------------------------------------ */

/* What is odd about it: each must be refused, or seen. */
enum onnx_oddity {
    ONNX_SOUND,
    ONNX_GELU,            /* Erf where SiLU belongs */
    ONNX_QK_NORM,         /* q is normalised */
    ONNX_PARALLEL,        /* the feed-forward reads the layer's input */
    ONNX_SCALED_EMBED,    /* the embedding is multiplied */
    ONNX_LAYER_NORM,      /* x - mean(x) */
    ONNX_NO_ROPE,         /* q and k are not turned */
    ONNX_K_NOT_TURNED,    /* k is not */
    ONNX_SCALED_ROPE,     /* frequencies that are no powers of one base */
    ONNX_OTHER_EPS,       /* of the last norm */
    ONNX_SCORES_UNSCALED, /* scores are not divided: seen */
    ONNX_HEAD_BIAS,
    ONNX_EXTRA_LINEAR,
    ONNX_V_SQUARED, /* v times v */
};

struct onnx_llama {
    unsigned vocab, dim, hidden, n_layers, n_heads, n_kv_heads, head_dim, context;
    float theta, eps;
    bool unfolded;    /* weights keep their names, behind Transpose nodes */
    bool gemm;        /* Gemm with transB */
    bool tied;        /* the head is the embedding (unfolded) or a copy of it */
    bool biased;      /* q, k, v */
    bool interleaved; /* pairs (2i, 2i + 1), as llama2.c */
    bool tables;      /* of cosines and sines */
    bool repeated;    /* all norms share one tensor through Identity */
    bool last_only;   /* logits of the last position */
    bool swapped;     /* operands of Add and Mul the other way round, v before q */
    enum onnx_storage storage;
    enum onnx_oddity odd;
    struct ruvm_buffer *external; /* for ONNX_EXTERNAL */
    const char *location, *property, *property_value;
};

/* Two layers, everything else off. */
struct onnx_llama onnx_llama_usual(void);
/* free() its data. */
struct ruvm_buffer onnx_llama_write(const struct onnx_llama *l);
/* What a tensor of that name has at a place; exact in half precision. */
float onnx_llama_weight(const struct onnx_llama *l, const char *name, unsigned row, unsigned col);

#endif
