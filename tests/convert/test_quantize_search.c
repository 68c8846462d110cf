/* The search for types: limits of bytes, of loss and of chips, and the curve. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/convert/quantize_tiny.h"

static const struct ruvm_quantize_choice *chosen_of(const struct job *j)
{
    const struct ruvm_quantize_choice *chosen = NULL;
    for (uint32_t i = 0; i < j->r.n_choices; i++) {
        const struct ruvm_quantize_choice *c = &j->r.choices[i];
        cr_assert(i == 0 ||
                  (c->image_bytes >= c[-1].image_bytes && c->kl_estimate < c[-1].kl_estimate));
        cr_assert(!c->chosen || chosen == NULL);
        chosen = c->chosen ? c : chosen;
    }
    cr_assert_not_null(chosen);
    cr_assert_eq(chosen->image_bytes, j->r.image_bytes);
    cr_assert_str_eq(chosen->types, j->r.types);
    cr_assert(chosen->kl_measured > 0.0);
    return chosen;
}

/* The number behind the words in what a refusal says. */
static double number_after(const struct ruvm_quantize_options *o, const char *words)
{
    struct ruvm_quantize_result r;
    struct ruvm_error err = {0};
    cr_assert_eq(ruvm_quantize(o, &r, &err), RUVM_ERR_UNSUPPORTED, "%s", err.text);
    const char *at = strstr(err.text, words);
    cr_assert_not_null(at, "%s", err.text);
    cr_assert_neq(access(o->output, F_OK), 0);
    return strtod(at + strlen(words), NULL);
}

Test(quantize_search, a_limit_of_bytes_is_kept)
{
    struct job j = job_start_with_text(&job_shapes[0], NULL);
    j.o.max_bytes = 1;
    uint64_t smallest = (uint64_t)number_after(&j.o, "the smallest image of this model has ");
    j.o.max_bytes = smallest;
    job_work(&j);
    cr_assert(chosen_of(&j) == j.r.choices && j.r.image_bytes == smallest);
    job_check_golden(&j.map, j.r.n_golden_tokens);
    uint64_t limit = j.r.choices[j.r.n_choices / 2].image_bytes - 1;
    j.o.max_bytes = limit;
    job_work(&j);
    const struct ruvm_quantize_choice *c = chosen_of(&j);
    cr_assert(c->image_bytes <= limit && c[1].image_bytes > limit);
    job_check_tensors(&j);
    job_finish(&j);
}

Test(quantize_search, a_limit_of_bytes_leaves_rules_alone)
{
    static const char *const rules[] = {"wo=int8", "w_down=int4:32"};
    struct job j = job_start_with_text(&job_shapes[0], NULL);
    j.o.embed_type = "int3";
    j.o.tensor_types = rules;
    j.o.n_tensor_types = 2;
    j.o.max_bytes = 4400;
    job_work(&j);
    cr_assert_leq(j.r.image_bytes, 4400);
    cr_assert_leq(chosen_of(&j)->image_bytes, 4400);
    cr_assert_str_eq(j.r.tensors[0].type, "int3 g16");
    cr_assert_str_eq(j.r.tensors[4].type, "int8");
    cr_assert_str_eq(j.r.tensors[7].type, "int4 g32");
    job_finish(&j);
}

Test(quantize_search, a_limit_of_loss_is_kept)
{
    struct job j = job_start_with_text(&job_shapes[0], NULL);
    j.o.max_kl = 0.05;
    job_work(&j);
    const struct ruvm_quantize_choice *c = chosen_of(&j);
    cr_assert_leq(c->kl_measured, 0.05);
    cr_assert_lt(c->image_bytes, j.r.choices[j.r.n_choices - 1].image_bytes);
    cr_assert(c == j.r.choices || !(c[-1].kl_measured > 0.0) || c[-1].kl_measured > 0.05,
              "a smaller one was measured and is good enough");
    job_finish(&j);
}

Test(quantize_search, a_loss_that_cannot_be_reached)
{
    for (uint64_t seed = 6; seed < 8; seed++) { /* 0.0002659 and 0.0002210 */
        struct tiny_shape shape = job_shapes[0];
        shape.seed = seed;
        struct job j = job_start_with_text(&shape, NULL);
        j.o.max_kl = 1e-9;
        j.o.max_kl = number_after(&j.o, "the largest choice of types loses ");
        job_work(&j);
        cr_assert_leq(chosen_of(&j)->kl_measured, j.o.max_kl);
        job_finish(&j);
    }
}

Test(quantize_search, a_chip_is_a_limit)
{
    static const struct tiny_shape far = {.dim = 4,
                                          .hidden = 4,
                                          .layers = 1,
                                          .heads = 1,
                                          .kv_heads = 1,
                                          .vocab = 30,
                                          .context = 20000,
                                          .seed = 12};
    struct job j = job_start_with_text(&job_shapes[0], NULL);
    j.o.target = "esp32c3";
    job_work(&j);
    cr_assert(chosen_of(&j) == &j.r.choices[j.r.n_choices - 1], "all of it fits");
    j.o.output = tiny_path();
    j.o.target = "esp8266";
    job_refused(&j.o, RUVM_ERR_ARG, "esp32c6");
    job_finish(&j);
    j = job_start_with_text(&far, NULL);
    j.o.target = "esp32s2";
    job_refused(&j.o, RUVM_ERR_UNSUPPORTED, "at a context of 20000, the esp32s2 has 94080");
    j.o.context = 300;
    job_work(&j);
    job_finish(&j);
}

Test(quantize_search, the_smaller_limit_holds)
{
    struct job j = job_start_with_text(&job_shapes[0], NULL);
    uint64_t chip = 0x3F0000 - (128 << 10);
    j.o.target = "esp32s2";
    job_work(&j);
    cr_assert_eq(j.r.limit_bytes, chip);
    j.o.max_bytes = 6000;
    job_work(&j);
    cr_assert(j.r.limit_bytes == 6000 && j.r.image_bytes <= 6000);
    j.o.max_bytes = 1 << 28;
    job_work(&j);
    cr_assert_eq(j.r.limit_bytes, chip);
    j.o.target = NULL, j.o.max_bytes = 0, j.o.max_kl = 0.5;
    job_work(&j);
    cr_assert_eq(j.r.limit_bytes, 0);
    job_finish(&j);
}

Test(quantize_search, a_model_that_no_chip_holds)
{
    static const struct tiny_shape large = {.dim = 256,
                                            .hidden = 1536,
                                            .layers = 3,
                                            .heads = 16,
                                            .kv_heads = 1,
                                            .vocab = 600,
                                            .context = 8,
                                            .untied = true,
                                            .seed = 13};
    static const char *const all[] = {".=int8"};
    struct job_files f = job_files(&large);
    struct ruvm_quantize_options o = {.input = f.model,
                                      .output = f.output,
                                      .target = "esp32s2",
                                      .tensor_types = all,
                                      .n_tensor_types = 1};
    job_refused(&o, RUVM_ERR_UNSUPPORTED, "the esp32s2 has 3997696 bytes for an image");
    job_remove(f);
}

static int count_calibrations(void *user, const char *stage, uint64_t done, uint64_t total)
{
    *(int *)user += strcmp(stage, "calibrate") == 0 && done == total;
    return 0;
}

Test(quantize_search, other_choices_are_measured_for_who_looks_at_the_curve)
{
    struct job j = job_start(&job_shapes[0]);
    int n = 0, few;
    j.o.progress = (struct ruvm_progress){count_calibrations, &n};
    j.o.max_bytes = 6000;
    job_work(&j);
    struct ruvm_buffer kept = job_bytes(&j);
    chosen_of(&j);
    cr_assert_eq(n, 1, "the chosen image is built once, not %d times", n);
    few = n;
    j.o.measure_curve = true;
    job_work(&j);
    cr_assert(job_is_same(&j, &kept) && n > 4 * few);
    ruvm_buffer_free(&kept);
    job_finish(&j);
}
