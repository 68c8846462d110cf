/* Classifiers in ONNX graphs: the same layers however an exporter wrote them; what is no chain of
 * plain layers is refused with everything that is in the way.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/mlp/graph.h"
#include "tests/support/onnx_bytes.h"

static struct ruvm_arena arena;
static struct ruvm_error err;
static struct ruvm_buffer graph;

static void fini(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(graph, .fini = fini);

static const float w1[] = {1, 2, -1, 0.5f, 0.25f, -2}; /* [3, 2] */
static const float w1_turned[] = {1, -1, 0.25f, 2, 0.5f, -2};
static const float b1[] = {0.5f, -1, 2};
static const float w2[] = {1, -1, 2, 0.5f, 3, -2}; /* [2, 3] */
static const float b2[] = {1, -1};

static void weights(void)
{
    onnx_floats(&graph, "w1", SHAPE(3, 2), w1, ONNX_RAW, NULL, NULL);
    onnx_floats(&graph, "w1t", SHAPE(2, 3), w1_turned, ONNX_TYPED, NULL, NULL);
    onnx_floats(&graph, "b1", SHAPE(3), b1, ONNX_RAW, NULL, NULL);
    onnx_floats(&graph, "w2", SHAPE(2, 3), w2, ONNX_RAW, NULL, NULL);
    onnx_floats(&graph, "b2", SHAPE(2), b2, ONNX_RAW, NULL, NULL);
}

static void gemm(const char *in, const char *out)
{
    struct ruvm_buffer a = {0};
    onnx_attribute_int(&a, "transB", 1);
    onnx_node(&graph, "Gemm", in, out, &a);
}

static int read_graph(struct ruvm_layers *l)
{
    struct ruvm_onnx o;
    onnx_end(&graph, 11, "x");
    onnx_end(&graph, 12, "y");
    struct ruvm_buffer file = onnx_model(&graph, NULL);
    err = (struct ruvm_error){0};
    int rc = ruvm_onnx_parse(&o, &arena, file.data, file.size, &err);
    cr_assert(rc == RUVM_OK, "%s", err.text);
    cr_expect(ruvm_graph_is_classifier(&o));
    rc = ruvm_graph_read(l, &arena, &o, &err);
    ruvm_buffer_free(&file);
    return rc;
}

/* The two layers with that activation between them. */
static void check_layers(uint8_t act, double slope)
{
    struct ruvm_layers l;
    cr_assert(read_graph(&l) == RUVM_OK, "%s", err.text);
    cr_assert(l.n == 2 && l.layer[0].rows == 3 && l.layer[0].cols == 2 && l.layer[1].rows == 2);
    for (int i = 0; i < 6; i++)
        cr_assert(l.layer[0].w[i] == w1[i] && l.layer[1].w[i] == w2[i], "weight %d", i);
    for (int i = 0; i < 3; i++)
        cr_assert(l.layer[0].bias[i] == (double)b1[i]);
    cr_assert_eq(l.layer[0].act, act, "activation %u", l.layer[0].act);
    cr_assert(fabs(l.layer[0].slope - slope) < 1e-6);
    cr_assert_eq(l.layer[1].act, RUVM_MLP_ACT_NONE);
}

/* ---- activations ------------------------------------------------------------------------------
 */

static void one_node(const char *op)
{
    weights();
    gemm("x w1 b1", "a");
    onnx_node(&graph, op, "a", "h", NULL);
    gemm("h w2 b2", "y");
}

Test(graph, activations_of_one_node)
{
    static const struct {
        const char *op;
        uint8_t act;
    } cases[] = {{"Identity", RUVM_MLP_ACT_NONE},
                 {"Relu", RUVM_MLP_ACT_RELU},
                 {"LeakyRelu", RUVM_MLP_ACT_LEAKY_RELU},
                 {"Sigmoid", RUVM_MLP_ACT_SIGMOID},
                 {"Tanh", RUVM_MLP_ACT_TANH},
                 {"Gelu", RUVM_MLP_ACT_GELU_ERF}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        one_node(cases[i].op);
        check_layers(cases[i].act, cases[i].act == RUVM_MLP_ACT_LEAKY_RELU ? 0.01 : 0);
    }
}

Test(graph, silu_of_two_nodes)
{
    weights();
    gemm("x w1 b1", "a");
    onnx_node(&graph, "Sigmoid", "a", "s", NULL);
    onnx_node(&graph, "Mul", "a s", "h", NULL);
    gemm("h w2 b2", "y");
    check_layers(RUVM_MLP_ACT_SILU, 0);
}

Test(graph, gelu_of_five_nodes)
{
    weights();
    onnx_constant_float(&graph, "root2", 1.41421354f);
    onnx_constant_float(&graph, "one", 1);
    onnx_constant_float(&graph, "half", 0.5f);
    gemm("x w1 b1", "a");
    onnx_node(&graph, "Div", "a root2", "e1", NULL);
    onnx_node(&graph, "Erf", "e1", "e2", NULL);
    onnx_node(&graph, "Add", "e2 one", "e3", NULL);
    onnx_node(&graph, "Mul", "a e3", "e4", NULL);
    onnx_node(&graph, "Mul", "e4 half", "h", NULL);
    gemm("h w2 b2", "y");
    check_layers(RUVM_MLP_ACT_GELU_ERF, 0);
}

Test(graph, gelu_by_tanh_of_eight_nodes)
{
    weights();
    onnx_constant_float(&graph, "three", 3);
    onnx_constant_float(&graph, "c", 0.044715f);
    onnx_constant_float(&graph, "k", 0.797884583f);
    onnx_constant_float(&graph, "one", 1);
    onnx_constant_float(&graph, "half", 0.5f);
    gemm("x w1 b1", "a");
    onnx_node(&graph, "Mul", "half a", "e0", NULL);
    onnx_node(&graph, "Pow", "a three", "e1", NULL);
    onnx_node(&graph, "Mul", "c e1", "e2", NULL);
    onnx_node(&graph, "Add", "a e2", "e3", NULL);
    onnx_node(&graph, "Mul", "k e3", "e4", NULL);
    onnx_node(&graph, "Tanh", "e4", "e5", NULL);
    onnx_node(&graph, "Add", "one e5", "e6", NULL);
    onnx_node(&graph, "Mul", "e0 e6", "h", NULL);
    gemm("h w2 b2", "y");
    check_layers(RUVM_MLP_ACT_GELU_TANH, 0);
}

/* ---- forms of layers ----------------------------------------------------------------------------
 */

Test(graph, matmul_and_add_with_shapes_around)
{
    const int64_t shape[] = {-1, 2};
    weights();
    onnx_constant_ints(&graph, "s", 2, shape);
    onnx_node(&graph, "Reshape", "x s", "x1", NULL);
    onnx_node(&graph, "Identity", "w1t", "w1i", NULL);
    onnx_node(&graph, "MatMul", "x1 w1i", "m", NULL);
    onnx_node(&graph, "Add", "b1 m", "a", NULL);
    onnx_node(&graph, "Dropout", "a", "d", NULL);
    onnx_node(&graph, "Relu", "d", "r", NULL);
    onnx_node(&graph, "Flatten", "r", "h", NULL);
    gemm("h w2 b2", "y");
    check_layers(RUVM_MLP_ACT_RELU, 0);
}

Test(graph, weights_behind_a_transpose)
{
    weights();
    onnx_node(&graph, "Transpose", "w1", "w1f", NULL);
    onnx_node(&graph, "MatMul", "x w1f", "m", NULL);
    onnx_node(&graph, "Add", "m b1", "a", NULL);
    onnx_node(&graph, "Tanh", "a", "h", NULL);
    gemm("h w2 b2", "y");
    check_layers(RUVM_MLP_ACT_TANH, 0);
}

/* ---- what is folded
 * ------------------------------------------------------------------------------- */

static const float scale[] = {2, -1, 0.5f}, shift[] = {1, 0, -1}, mean[] = {0.5f, 1, -2},
                   variance[] = {4, 1, 0.25f};

static void norm(const char *in, const char *out)
{
    char inputs[64];
    onnx_floats(&graph, "g", SHAPE(3), scale, ONNX_RAW, NULL, NULL);
    onnx_floats(&graph, "h", SHAPE(3), shift, ONNX_RAW, NULL, NULL);
    onnx_floats(&graph, "m", SHAPE(3), mean, ONNX_RAW, NULL, NULL);
    onnx_floats(&graph, "v", SHAPE(3), variance, ONNX_RAW, NULL, NULL);
    snprintf(inputs, sizeof inputs, "%s g h m v", in);
    onnx_node(&graph, "BatchNormalization", inputs, out, NULL);
}

static double relu(double x)
{
    return x > 0 ? x : 0;
}

/* The graph beside the same by hand; `behind`: the norm is behind the activation. */
static void check_norm(bool behind)
{
    struct ruvm_layers l;
    double work[8], y[2];
    cr_assert(read_graph(&l) == RUVM_OK, "%s", err.text);
    for (int k = 0; k < 20; k++) {
        const double x[2] = {0.3 * k - 3, 1.7 - 0.2 * k};
        double h[3];
        ruvm_layers_run(&l, y, x, work);
        for (int i = 0; i < 3; i++) {
            double a = (double)w1[2 * i] * x[0] + (double)w1[2 * i + 1] * x[1] + (double)b1[i];
            double s = (double)scale[i] / sqrt((double)variance[i] + 1e-5);
            a = behind ? relu(a) : a;
            a = s * (a - (double)mean[i]) + (double)shift[i];
            h[i] = behind ? a : relu(a);
        }
        for (int r = 0; r < 2; r++) {
            double sum = (double)b2[r];
            for (int i = 0; i < 3; i++)
                sum += (double)w2[3 * r + i] * h[i];
            cr_assert(fabs(sum - y[r]) < 1e-5, "%g, not %g", y[r], sum);
        }
    }
}

Test(graph, norm_before_the_activation)
{
    weights();
    gemm("x w1 b1", "a");
    norm("a", "n");
    onnx_node(&graph, "Relu", "n", "r", NULL);
    gemm("r w2 b2", "y");
    check_norm(false);
}

Test(graph, norm_behind_the_activation)
{
    weights();
    gemm("x w1 b1", "a");
    onnx_node(&graph, "Relu", "a", "r", NULL);
    norm("r", "n");
    gemm("n w2 b2", "y");
    check_norm(true);
}

Test(graph, normalised_inputs_tell_their_range)
{
    struct ruvm_layers l;
    const float centre[] = {100, -2}, deviation[] = {20, 0.5f};
    weights();
    onnx_floats(&graph, "mu", SHAPE(2), centre, ONNX_RAW, NULL, NULL);
    onnx_floats(&graph, "sd", SHAPE(2), deviation, ONNX_RAW, NULL, NULL);
    onnx_node(&graph, "Sub", "x mu", "x1", NULL);
    onnx_node(&graph, "Div", "x1 sd", "x2", NULL);
    gemm("x2 w1 b1", "a");
    onnx_node(&graph, "Sigmoid", "a", "y", NULL);
    cr_assert(read_graph(&l) == RUVM_OK, "%s", err.text);
    cr_assert(fabs(l.centre[0] - 100) < 1e-9 && fabs(l.range[0] - 80) < 1e-9);
    cr_assert(fabs(l.centre[1] + 2) < 1e-9 && fabs(l.range[1] - 2) < 1e-9);
    cr_assert(fabs((double)l.layer[0].w[0] - 1.0 / 20) < 1e-9);
    cr_assert(fabs(l.layer[0].bias[0] - (0.5 - 100.0 / 20 + 2 * 2 / 0.5)) < 1e-6);
    cr_assert(l.output == RUVM_MLP_OUT_SIGMOID && l.layer[0].act == RUVM_MLP_ACT_NONE);
}

/* ---- ends and refusals
 * ----------------------------------------------------------------------------- */

Test(graph, softmax_is_the_kind_of_the_outputs)
{
    struct ruvm_layers l;
    weights();
    gemm("x w1 b1", "a");
    onnx_node(&graph, "Softmax", "a", "y", NULL);
    cr_assert(read_graph(&l) == RUVM_OK, "%s", err.text);
    cr_assert(l.n == 1 && l.output == RUVM_MLP_OUT_SOFTMAX);
}

static void check_refused(const char *part)
{
    struct ruvm_layers l;
    cr_assert_eq(read_graph(&l), RUVM_ERR_UNSUPPORTED);
    cr_assert(strstr(err.text, part), "%s", err.text);
}

Test(graph, operators_are_refused_together)
{
    weights();
    onnx_node(&graph, "Conv", "x w1", "c1", NULL);
    onnx_node(&graph, "Conv", "c1 w1", "c2", NULL);
    onnx_node(&graph, "MaxPool", "c2", "p", NULL);
    gemm("p w1 b1", "y");
    check_refused("2 Conv (c1, c2); 1 MaxPool (p)");
}

Test(graph, branches_are_refused)
{
    weights();
    gemm("x w2 b2", "a");
    gemm("a w1 b1", "b");
    gemm("a w1 b1", "c");
    onnx_node(&graph, "Add", "b c", "y", NULL);
    check_refused("its input has another use");
}

Test(graph, a_sum_of_layers_is_refused)
{
    weights();
    gemm("x w1 b1", "a");
    gemm("x w1 b1", "b");
    onnx_node(&graph, "Add", "a b", "y", NULL);
    check_refused("node b (Gemm): its input has another use");
}

Test(graph, other_activations_are_refused)
{
    weights();
    gemm("x w1 b1", "a");
    onnx_node(&graph, "Exp", "a", "h", NULL);
    gemm("h w2 b2", "y");
    check_refused("no activation of ReLU");
}

Test(graph, weights_of_another_width_are_refused)
{
    weights();
    gemm("x w1 b1", "a");
    onnx_node(&graph, "Relu", "a", "h", NULL);
    gemm("h w1 b1", "y");
    check_refused("node y (Gemm): its weights have another number of inputs");
}

Test(graph, a_norm_in_training_is_refused)
{
    weights();
    gemm("x w1 b1", "a");
    onnx_node(&graph, "BatchNormalization", "a b1", "n", NULL);
    gemm("n w2 b2", "y");
    check_refused("export after model.eval()");
}
