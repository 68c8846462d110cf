/* Which method a tensor gets, and that it is that one. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/convert/weights.h"
#include "lib/quant/gptq.h"
#include "lib/quant/steps.h"
#include "tests/support/tiny_model.h"

enum { ROWS = 5, COLS = 40, N = ROWS * COLS };

static const enum ruvm_method methods[] = {RUVM_METHOD_AUTO, RUVM_METHOD_RTN, RUVM_METHOD_MSE,
                                           RUVM_METHOD_GPTQ};

Test(weights, methods_by_name)
{
    static const char *const names[] = {NULL, "rtn", "mse", "gptq"};
    enum ruvm_method m;
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(ruvm_weights_method(&m, names[i], NULL), RUVM_OK);
        cr_assert_eq(m, methods[i]);
    }
    static const char *const wrong[] = {"", "RTN", "gptq ", "awq"};
    for (int i = 0; i < 4; i++) {
        struct ruvm_error err = {0};
        cr_assert_eq(ruvm_weights_method(&m, wrong[i], &err), RUVM_ERR_ARG);
        cr_assert_not_null(strstr(err.text, "rtn, mse or gptq"), "%s", err.text);
    }
}

Test(weights, who_needs_moments)
{
    for (int type = 0; type < RUVM_N_TYPES; type++) {
        bool has = type != RUVM_TYPE_XNOR; /* its input is not the one that was seen */
        cr_assert_eq(ruvm_weights_uses_moments(RUVM_METHOD_GPTQ, type), has);
        cr_assert_eq(ruvm_weights_uses_moments(RUVM_METHOD_AUTO, type),
                     has && type != RUVM_TYPE_INT8);
        cr_assert_not(ruvm_weights_uses_moments(RUVM_METHOD_MSE, type));
        cr_assert_not(ruvm_weights_uses_moments(RUVM_METHOD_RTN, type));
    }
}

/* ---- one matrix ------------------------------------------------------------------ */

struct fixture {
    struct ruvm_arena arena;
    float w[N];
    double inputs[COLS * COLS], outputs[ROWS * ROWS];
    struct ruvm_moments_tensor moments;
};

static void make(struct fixture *f)
{
    uint64_t rng = 1;
    *f = (struct fixture){0};
    for (int i = 0; i < N; i++)
        f->w[i] = (float)(tiny_random(&rng) % 2001) / 1000.0f - 1.0f;
    for (int i = 0; i < COLS * COLS; i++) /* all inputs have much in common */
        f->inputs[i] = 1.0 + (i / COLS == i % COLS ? 0.2 + 0.1 * (i % COLS) : 0.0);
    for (int i = 0; i < ROWS * ROWS; i++)
        f->outputs[i] = 0.1 + (i / ROWS == i % ROWS ? 0.1 : 0.0);
    f->moments = (struct ruvm_moments_tensor){
        .rows = ROWS, .cols = COLS, .inputs = f->inputs, .multiplied = {.inputs = f->inputs}};
}

static struct ruvm_quant_matrix quantize(struct fixture *f, uint8_t type, enum ruvm_method method,
                                         const struct ruvm_moments_tensor *t)
{
    struct ruvm_quant_matrix q;
    struct ruvm_scheme s = {type, ruvm_codes_has_groups(type) ? 16 : 0};
    cr_assert(ruvm_quant_matrix_open(&q, &f->arena, s, ROWS, COLS));
    cr_assert_eq(ruvm_weights_matrix(&q, f->w, method, t, NULL), RUVM_OK);
    return q;
}

static bool is_same(const struct ruvm_quant_matrix *a, const struct ruvm_quant_matrix *b)
{
    return memcmp(a->level, b->level, N) == 0 &&
           memcmp(a->mult, b->mult, (size_t)ROWS * a->n_groups) == 0 &&
           memcmp(a->scale, b->scale, ROWS * sizeof *a->scale) == 0 && a->scale_exp == b->scale_exp;
}

/* What a rule of steps.h and rounding to nearest give. */
static struct ruvm_quant_matrix nearest(struct fixture *f, uint8_t type, enum ruvm_steps_rule rule)
{
    struct ruvm_quant_matrix q;
    struct ruvm_scheme s = {type, ruvm_codes_has_groups(type) ? 16 : 0};
    cr_assert(ruvm_quant_matrix_open(&q, &f->arena, s, ROWS, COLS));
    cr_assert_eq(ruvm_steps_choose(&q, f->w, rule, NULL, NULL), RUVM_OK);
    ruvm_steps_round(&q, f->w);
    return q;
}

Test(weights, every_type_by_every_method)
{
    for (uint8_t type = 0; type < RUVM_N_TYPES; type++)
        for (int i = 0; i < 4; i++) {
            struct fixture f;
            make(&f);
            struct ruvm_quant_matrix q = quantize(&f, type, methods[i], &f.moments);
            struct ruvm_quant_matrix largest = nearest(&f, type, RUVM_STEPS_MAX);
            struct ruvm_quant_matrix least = nearest(&f, type, RUVM_STEPS_MSE);
            bool moments = ruvm_weights_uses_moments(methods[i], type);
            bool rtn = methods[i] == RUVM_METHOD_RTN ||
                       (methods[i] == RUVM_METHOD_AUTO && type == RUVM_TYPE_INT8);
            cr_assert_eq(is_same(&q, rtn ? &largest : &least), !moments, "type %d, method %d", type,
                         methods[i]);
            ruvm_arena_free(&f.arena);
        }
}

Test(weights, without_moments_gptq_rounds_to_nearest)
{
    struct fixture f;
    make(&f);
    struct ruvm_quant_matrix q = quantize(&f, RUVM_TYPE_INT4, RUVM_METHOD_GPTQ, NULL);
    struct ruvm_quant_matrix least = nearest(&f, RUVM_TYPE_INT4, RUVM_STEPS_MSE);
    cr_assert(is_same(&q, &least));
    ruvm_arena_free(&f.arena);
}

/* The outputs polish a product; a lookup has none, and an embedding that is both is left
 * alone. */
Test(weights, rows_meet_in_a_product_only)
{
    struct fixture f;
    make(&f);
    struct ruvm_quant_matrix alone = quantize(&f, RUVM_TYPE_INT3, RUVM_METHOD_GPTQ, &f.moments);
    f.moments.multiplied.outputs = f.outputs;
    struct ruvm_quant_matrix polished = quantize(&f, RUVM_TYPE_INT3, RUVM_METHOD_GPTQ, &f.moments);
    f.moments.looked_up.inputs = f.inputs;
    struct ruvm_quant_matrix both = quantize(&f, RUVM_TYPE_INT3, RUVM_METHOD_GPTQ, &f.moments);
    cr_assert_not(is_same(&alone, &polished));
    cr_assert(is_same(&alone, &both));
    ruvm_arena_free(&f.arena);
}
