/* The verb on the six networks, from Hugging Face directories: what looks at gradients (gptq,
 * the search for types, distillation) does for each of them what it does for a Llama. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "formats/ruvm_read.h"
#include "lib/base/file.h"
#include "lib/ruvm_tool.h"
#include "tests/support/container_files.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_models.h"

static struct ruvm_error err;
static struct ruvm_quantize_result r;

static struct ruvm_quantize_options options_of(int n)
{
    struct ruvm_arena arena = {0};
    struct ruvm_tensors t = tiny_models_make(&arena, n, TINY_HUGGING_FACE, 1);
    const char *folder = container_folder();
    container_text(folder, "config.json", tiny_network_config(n));
    container_safetensors(folder, "model.safetensors", t.views, t.n_views);
    ruvm_arena_free(&arena);
    return (struct ruvm_quantize_options){.input = folder, .eval_tokens = 4096, .threads = 2};
}

static void work(const struct ruvm_quantize_options *o, const char *what)
{
    ruvm_quantize_free(&r);
    cr_assert_eq(ruvm_quantize(o, &r, &err), RUVM_OK, "%s: %s", what, err.text);
}

/* ---- gptq ------------------------------------------------------------------ */

Test(quantize_networks, gptq_loses_less_than_mse)
{
    double gptq = 0, mse = 0;
    for (int n = 0; n < TINY_NETWORKS; n++) {
        struct ruvm_quantize_options o = options_of(n);
        o.type = "int4";
        o.tensor_types = (const char *const[]){"positions=int4"};
        o.n_tensor_types = n == TINY_GPT2 || n == TINY_GPT_NEO;
        work(&o, tiny_network_name(n));
        cr_assert_str_eq(r.method, "gptq");
        double kl = r.quality.kl_mean;
        o.method = "mse";
        work(&o, tiny_network_name(n));
        cr_expect_lt(kl, r.quality.kl_mean, "%s: %g, mse %g", tiny_network_name(n), kl,
                     r.quality.kl_mean);
        gptq += kl;
        mse += r.quality.kl_mean;
    }
    cr_assert_lt(gptq, 0.8 * mse, "%g, mse %g", gptq, mse);
}

Test(quantize_networks, shares_of_the_loss_are_told)
{
    for (int n = 0; n < TINY_NETWORKS; n++) {
        struct ruvm_quantize_options o = options_of(n);
        double sum = 0;
        o.tensor_losses = true;
        work(&o, tiny_network_name(n));
        for (uint32_t i = 0; i < r.n_tensors; i++) {
            cr_assert(r.tensors[i].kl_estimate > 0, "%s %s", tiny_network_name(n),
                      r.tensors[i].name);
            sum += r.tensors[i].kl_estimate;
        }
        cr_assert(sum < 4 * r.quality.kl_mean, "%g, measured %g", sum, r.quality.kl_mean);
    }
}

/* ---- search ---------------------------------------------------------------- */

Test(quantize_networks, types_are_chosen_for_a_limit)
{
    for (int n = 0; n < TINY_NETWORKS; n++) {
        struct ruvm_quantize_options o = options_of(n);
        work(&o, tiny_network_name(n));
        o.max_bytes = r.image_bytes * 7 / 10;
        work(&o, tiny_network_name(n));
        cr_assert(r.image_bytes <= o.max_bytes && r.n_choices > 10);
        if (n != TINY_GPT_NEO)
            continue;
        o.max_bytes = 0;
        o.max_kl = 0.1;
        work(&o, tiny_network_name(n));
        cr_assert_lt(r.quality.kl_mean, 0.11);
    }
}

/* ---- distillation ---------------------------------------------------------- */

/* Numbers of the biases that differ between two images of one network. */
static uint32_t different_biases(const char *a, const char *b)
{
    struct ruvm_map map_a, map_b;
    struct ruvm_image x, y;
    struct ruvm_image_fault fault;
    uint32_t n = 0;
    cr_assert_eq(ruvm_file_map(&map_a, a, &err), RUVM_OK);
    cr_assert_eq(ruvm_file_map(&map_b, b, &err), RUVM_OK);
    cr_assert_eq(ruvm_image_open(&x, map_a.data, map_a.size, &fault), RUVM_OK);
    cr_assert_eq(ruvm_image_open(&y, map_b.data, map_b.size, &fault), RUVM_OK);
    cr_assert_eq(x.bias_kinds, y.bias_kinds);
    for (int kind = 0; kind < RUVM_N_BIASES; kind++) {
        if (!(x.bias_kinds >> kind & 1))
            continue;
        struct ruvm_bias c = ruvm_image_bias(&x, (enum ruvm_bias_kind)kind, 0);
        struct ruvm_bias d = ruvm_image_bias(&y, (enum ruvm_bias_kind)kind, 0);
        n += memcmp(c.m, d.m, TINY_DIM / 3 * sizeof *c.m) != 0;
    }
    ruvm_file_unmap(&map_a);
    ruvm_file_unmap(&map_b);
    return n;
}

static uint32_t count_bits(uint32_t x)
{
    uint32_t n = 0;
    for (; x; x &= x - 1)
        n++;
    return n;
}

Test(quantize_networks, distillation_lowers_the_loss)
{
    static const uint32_t bias_kinds[TINY_NETWORKS] = {
        [TINY_QWEN2] = 0x007, [TINY_GPT2] = 0x3df, [TINY_GPT_NEO] = 0x3d8, [TINY_GPT_NEOX] = 0x3df};
    for (int n = TINY_QWEN2; n < TINY_NETWORKS; n++) {
        struct ruvm_quantize_options o = options_of(n);
        o.type = "int2";
        o.output = tiny_path();
        work(&o, tiny_network_name(n));
        const char *before = o.output;
        o.output = tiny_path();
        o.distill_steps = 160;
        work(&o, tiny_network_name(n));
        cr_expect(r.has_distill && r.distill.kl_after > 0); /* of 12 texts: too few to compare */
        cr_expect_lt(r.quality.kl_mean, 0.8 * r.quality_before.kl_mean, "%s: %g, before %g",
                     tiny_network_name(n), r.quality.kl_mean, r.quality_before.kl_mean);
        cr_expect_eq(different_biases(before, o.output), count_bits(bias_kinds[n]), "%s",
                     tiny_network_name(n));
    }
}

static int stop_at_step_3(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user, (void)total;
    return strcmp(stage, "distill") == 0 && done >= 3;
}

static void compare_files(const char *a, const char *b, const char *what)
{
    struct ruvm_map x, y;
    cr_assert_eq(ruvm_file_map(&x, a, &err), RUVM_OK);
    cr_assert_eq(ruvm_file_map(&y, b, &err), RUVM_OK);
    cr_expect(x.size == y.size && memcmp(x.data, y.data, x.size) == 0, "%s", what);
    ruvm_file_unmap(&x);
    ruvm_file_unmap(&y);
}

Test(quantize_networks, an_interrupted_distillation_ends_as_one_in_a_piece)
{
    for (int n = TINY_QWEN2; n < TINY_NETWORKS; n += 2) {
        struct ruvm_quantize_options o = options_of(n);
        o.type = "int4";
        o.distill_steps = 6;
        o.output = tiny_path();
        o.no_quality = true;
        work(&o, tiny_network_name(n));
        const char *whole = o.output;
        o.output = tiny_path();
        o.checkpoint = tiny_path();
        o.threads = 1;
        o.progress.report = stop_at_step_3;
        ruvm_quantize_free(&r);
        cr_assert_eq(ruvm_quantize(&o, &r, &err), RUVM_ERR_IO, "%s", err.text);
        err = (struct ruvm_error){0};
        cr_assert_eq(access(o.checkpoint, F_OK), 0);
        o.progress.report = NULL;
        work(&o, tiny_network_name(n));
        cr_expect_eq(r.distill.first_step, 3);
        compare_files(whole, o.output, tiny_network_name(n));
        remove(o.checkpoint);
    }
}
