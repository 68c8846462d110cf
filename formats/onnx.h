/* ONNX: a model as a graph of operators, its tensors in the file or beside it.
 *
 *     struct ruvm_onnx o;
 *     rc = ruvm_onnx_open(&o, &arena, "model.onnx", err);
 *     ... o.nodes, o.values, o.tensors ...
 *     ruvm_onnx_close(&o);
 *
 * This is bytes without meaning: which tensor is which is found by lib/import/onnx_graph.h.
 * Texts and data are views of the mapped files. Everything is counted before memory is taken,
 * subgraphs (of If, Loop, Scan) are left closed.
 */
#ifndef RUVM_FORMATS_ONNX_H
#define RUVM_FORMATS_ONNX_H

#include "formats/protobuf.h"
#include "formats/tensors.h"
#include "lib/base/file.h"

enum { RUVM_ONNX_MAX_DIMS = 8 };
#define RUVM_ONNX_NONE UINT32_MAX

/* TensorProto.DataType; the others have no use here. */
enum ruvm_onnx_type {
    RUVM_ONNX_FLOAT = 1,
    RUVM_ONNX_UINT8 = 2,
    RUVM_ONNX_INT8 = 3,
    RUVM_ONNX_UINT16 = 4,
    RUVM_ONNX_INT16 = 5,
    RUVM_ONNX_INT32 = 6,
    RUVM_ONNX_INT64 = 7,
    RUVM_ONNX_STRING = 8,
    RUVM_ONNX_BOOL = 9,
    RUVM_ONNX_FLOAT16 = 10,
    RUVM_ONNX_DOUBLE = 11,
    RUVM_ONNX_UINT32 = 12,
    RUVM_ONNX_UINT64 = 13,
    RUVM_ONNX_BFLOAT16 = 16,
};

/* In the file, not NUL-terminated; print it with "%.*s". */
struct ruvm_onnx_text {
    const char *at;
    size_t size;
};

struct ruvm_onnx_tensor {
    struct ruvm_onnx_text name; /* empty: of a Constant */
    uint32_t type;              /* enum ruvm_onnx_type, or one that ruvm does not know */
    uint32_t n_dims;            /* 0: a scalar */
    uint64_t dims[RUVM_ONNX_MAX_DIMS];
    uint64_t n_values;
    const uint8_t *data; /* little-endian; NULL: no numbers, or in a file that is not open */
    size_t bytes;
    bool is_external;
    struct ruvm_onnx_text location; /* external: which file, and where in it */
    uint64_t off;
};

/* Whatever has a name in the graph. */
struct ruvm_onnx_value {
    struct ruvm_onnx_text name;
    uint32_t maker;  /* the node that computes it, or RUVM_ONNX_NONE */
    uint32_t tensor; /* that it is always equal to: an initializer or a Constant, or _NONE */
    bool is_input, is_output;
};

struct ruvm_onnx_node {
    struct ruvm_onnx_text op, name, domain; /* the name may be empty */
    const uint32_t *in;                     /* [n_in] values; RUVM_ONNX_NONE: left out */
    const uint32_t *out;                    /* [n_out] */
    uint32_t n_in, n_out;
    struct ruvm_protobuf message; /* the whole, for ruvm_onnx_attribute() */
};

struct ruvm_onnx_property {
    struct ruvm_onnx_text key, value;
};

struct ruvm_onnx_operator {
    struct ruvm_onnx_text op, domain;
    uint32_t n_nodes, first; /* how many, and the first of them */
};

struct ruvm_onnx {
    struct ruvm_onnx_node *nodes; /* in an order in which they can be computed */
    struct ruvm_onnx_value *values;
    struct ruvm_onnx_tensor *tensors;
    struct ruvm_onnx_property *properties; /* metadata_props */
    uint32_t n_nodes, n_values, n_tensors, n_properties;
    uint32_t n_initializers; /* the first of the tensors; the rest are Constants' */
    uint32_t n_sparse;
    uint64_t ir_version, opset; /* of the operators without a domain */
    struct ruvm_onnx_text producer;
    struct ruvm_map file, *others; /* private: owned when opened by path */
    uint32_t n_others;
};

/* One attribute of a node; absent parts are zero. */
struct ruvm_onnx_attribute {
    int64_t i;
    float f;
    struct ruvm_onnx_text text;
    const uint8_t *bytes; /* of the AttributeProto, for ruvm_onnx_attribute_ints() */
    size_t size;
};

bool ruvm_onnx_probe(const uint8_t *data, size_t size);

/* The directory: a view for each initializer of floats, named and shaped as in the file. Data in
 * other files is refused here: only ruvm_onnx_open() knows where they are. */
int ruvm_onnx_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                   size_t size, struct ruvm_error *err);

/* The graph in memory. External tensors have no data. RUVM_ERR_CORRUPT, _UNSUPPORTED, _MEMORY. */
int ruvm_onnx_parse(struct ruvm_onnx *o, struct ruvm_arena *arena, const uint8_t *data, size_t size,
                    struct ruvm_error *err);
/* The graph of a file, with the data that lies in other files of its folder or below: a location
 * outside (absolute, "..", a symbolic link) is refused by name. Messages do not begin with the
 * path. After a failure nothing needs closing; views end with ruvm_onnx_close(). */
int ruvm_onnx_open(struct ruvm_onnx *o, struct ruvm_arena *arena, const char *path,
                   struct ruvm_error *err);
void ruvm_onnx_close(struct ruvm_onnx *o);

/* The directory of an opened graph, as ruvm_onnx_read() has it. */
int ruvm_onnx_list(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct ruvm_onnx *o,
                   struct ruvm_error *err);
/* Which operators there are, in the order of first use; the count, or RUVM_ERR_MEMORY. What
 * comes after some hundred kinds is counted as "(others)". */
int ruvm_onnx_operators(struct ruvm_onnx_operator **operators, struct ruvm_arena *arena,
                        const struct ruvm_onnx *o);

bool ruvm_onnx_is(struct ruvm_onnx_text text, const char *what);
/* false when the node has no attribute of that name. */
bool ruvm_onnx_attribute(const struct ruvm_onnx_node *node, const char *name,
                         struct ruvm_onnx_attribute *a);
/* The numbers of an attribute that lists integers, at most max of them; how many it has. */
uint32_t ruvm_onnx_attribute_ints(const struct ruvm_onnx_attribute *a, int64_t *values,
                                  uint32_t max);

/* Value i < n_values of a tensor of integers (or bools) or of floats; false when it is neither,
 * or has no data. */
bool ruvm_onnx_integer(const struct ruvm_onnx_tensor *t, uint64_t i, int64_t *value);
bool ruvm_onnx_real(const struct ruvm_onnx_tensor *t, uint64_t i, double *value);
/* Fills dtype, data, bytes of a view; false when the values are not floats or have no data. */
bool ruvm_onnx_view(const struct ruvm_onnx_tensor *t, struct ruvm_view *v);

#endif
