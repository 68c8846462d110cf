/* GGUF, versions 2 and 3, little-endian: the numbers of ggml's file format.
 *
 *   "GGUF", u32 version, u64 tensors, u64 pairs;
 *   pairs:   string key, u32 type of the value, value;
 *   tensors: string name, u32 n_dims, u64 dims[n_dims] (innermost first), u32 type, u64 offset;
 *   zeros up to a multiple of the alignment; data, each offset counted from here.
 *
 * A string is a u64 length and its bytes; an array is a u32 type of its elements, a u64
 * count and the elements.
 */
#ifndef RUVM_FORMATS_GGUF_LAYOUT_H
#define RUVM_FORMATS_GGUF_LAYOUT_H

#define RUVM_GGUF_MAGIC "GGUF"

enum {
    RUVM_GGUF_HDR_VERSION = 4,
    RUVM_GGUF_HDR_N_TENSORS = 8,
    RUVM_GGUF_HDR_N_PAIRS = 16,
    RUVM_GGUF_HDR_BYTES = 24,
    RUVM_GGUF_MIN_VERSION = 2,
    RUVM_GGUF_MAX_VERSION = 3,
    RUVM_GGUF_MIN_PAIR_BYTES = 8 + 4 + 1,       /* an empty key and one byte */
    RUVM_GGUF_MIN_TENSOR_BYTES = 8 + 4 + 4 + 8, /* an empty name and no dimension */
    RUVM_GGUF_MAX_DIMS = 4,                     /* of ggml */
    RUVM_GGUF_MAX_NAME_BYTES = 64,              /* of a tensor, by the specification */
    RUVM_GGUF_DEFAULT_ALIGNMENT = 32,
};

/* Types of metadata values. */
enum ruvm_gguf_type {
    RUVM_GGUF_U8,
    RUVM_GGUF_I8,
    RUVM_GGUF_U16,
    RUVM_GGUF_I16,
    RUVM_GGUF_U32,
    RUVM_GGUF_I32,
    RUVM_GGUF_F32,
    RUVM_GGUF_BOOL,
    RUVM_GGUF_STRING,
    RUVM_GGUF_ARRAY,
    RUVM_GGUF_U64,
    RUVM_GGUF_I64,
    RUVM_GGUF_F64,
    RUVM_GGUF_N_TYPES,
};

/* Types of tensors that ruvm reads or writes, by ggml's numbers. */
enum ruvm_gguf_tensor_type {
    RUVM_GGUF_TENSOR_F32 = 0,
    RUVM_GGUF_TENSOR_F16 = 1,
    RUVM_GGUF_TENSOR_Q4_0 = 2,
    RUVM_GGUF_TENSOR_Q4_1 = 3,
    RUVM_GGUF_TENSOR_Q5_0 = 6,
    RUVM_GGUF_TENSOR_Q5_1 = 7,
    RUVM_GGUF_TENSOR_Q8_0 = 8,
    RUVM_GGUF_TENSOR_Q4_K = 12,
    RUVM_GGUF_TENSOR_Q5_K = 13,
    RUVM_GGUF_TENSOR_Q6_K = 14,
    RUVM_GGUF_TENSOR_F64 = 28,
    RUVM_GGUF_TENSOR_BF16 = 30,
};

#endif
