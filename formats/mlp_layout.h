/* A classifier in a RUVM image: layers of weights, each with a bias and an activation.
 *
 * The frame, TENS, SCAL and WGTS are those of every image (ruvm_layout.h). In the header
 * vocab is the number of outputs, dim that of inputs, hidden the widest layer but the last
 * (0 when there is one layer); heads, kv_heads, context and max_seq are 0. TENS has a tensor
 * LINEAR a layer. MLPN takes the place of ARCH, NORM and KVSC:
 *
 *   0        what the outputs are, 16 bytes
 *   16       a record of 8 bytes a layer
 *   ...      a record of 8 bytes an input
 *   ...      i16 biases: of the first layer's outputs, of the second's ...
 */
#ifndef RUVM_FORMATS_MLP_LAYOUT_H
#define RUVM_FORMATS_MLP_LAYOUT_H

#include "formats/ruvm_layout.h"

enum {
    RUVM_MLP_OUTPUT = 0,  /* u8: enum ruvm_mlp_output; bytes 1-15 are zero */
    RUVM_MLP_LAYERS = 16, /* the records begin */
};
enum ruvm_mlp_output {
    RUVM_MLP_OUT_LOGITS = 0,  /* numbers; the class is the largest one */
    RUVM_MLP_OUT_SOFTMAX = 1, /* probabilities of classes of which one holds */
    RUVM_MLP_OUT_SIGMOID = 2, /* probabilities, each for itself; one output: yes or no */
    RUVM_MLP_N_OUTPUTS,
};

enum {
    RUVM_MLP_LAYER_ACT = 0,      /* u8: enum ruvm_mlp_act */
    RUVM_MLP_LAYER_BIAS_EXP = 1, /* i8: bias = number * 2^this */
    RUVM_MLP_LAYER_SLOPE = 2,    /* u16: of LEAKY_RELU, times 2^-16; else 0 */
    RUVM_MLP_LAYER_WIDTH = 4,    /* u16: outputs, >= 1 */
    RUVM_MLP_LAYER_BYTES = 8,    /* the rest is zero */
};
enum ruvm_mlp_act {
    RUVM_MLP_ACT_NONE = 0,
    RUVM_MLP_ACT_RELU = 1,
    RUVM_MLP_ACT_LEAKY_RELU = 2,
    RUVM_MLP_ACT_SIGMOID = 3,
    RUVM_MLP_ACT_TANH = 4,
    RUVM_MLP_ACT_SILU = 5,
    RUVM_MLP_ACT_GELU_TANH = 6,
    RUVM_MLP_ACT_GELU_ERF = 7,
    RUVM_MLP_N_ACTS,
};

/* An input comes as a whole number, steps of 2^exp. The network sees
 * ((x - centre) * mult + 2^(shift-1)) >> shift, in 64 bits and within +-32767, as steps of
 * 2^-RUVM_MLP_INPUT_BITS of the range that the input usually has; so rare values up to four
 * times the range are no trouble. */
enum {
    RUVM_MLP_INPUT_CENTRE = 0, /* i32 */
    RUVM_MLP_INPUT_MULT = 4,   /* u16, >= 1 */
    RUVM_MLP_INPUT_SHIFT = 6,  /* u8, 1..47 */
    RUVM_MLP_INPUT_EXP = 7,    /* i8 */
    RUVM_MLP_INPUT_BYTES = 8,
};
enum { RUVM_MLP_INPUT_BITS = 13, RUVM_MLP_MAX_SHIFT = 47 };

/* labl: a line "name\n" a class in their order, UTF-8 without control characters, no name
 * empty. One output has two classes: no, yes. */

#endif
