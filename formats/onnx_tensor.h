/* One TensorProto of an ONNX file: shared by the readers of its graph and of other files. */
#ifndef RUVM_FORMATS_ONNX_TENSOR_H
#define RUVM_FORMATS_ONNX_TENSOR_H

#include "formats/onnx.h"

/* Reads a TensorProto that lies in the file of `file`: shape, type, and where its values are. */
int ruvm_onnx_tensor_read(struct ruvm_onnx_tensor *t, struct ruvm_arena *arena,
                          const struct ruvm_protobuf_field *message, const uint8_t *file,
                          struct ruvm_error *err);
/* Bytes of one value; 0: a type that ruvm does not know. */
size_t ruvm_onnx_tensor_value_bytes(uint32_t type);

/* A field of bytes as a text. */
struct ruvm_onnx_text ruvm_onnx_tensor_text(const struct ruvm_protobuf_field *f);
/* For "%.*s": as much of a text as a message should show. */
int ruvm_onnx_tensor_shown(struct ruvm_onnx_text text);

#endif
