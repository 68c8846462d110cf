/* Pruning and distillation as steps of the verb. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/convert/quantize_tiny.h"

Test(quantize_prune, pruning_is_reported_step_by_step)
{
    static const uint32_t drop[] = {1};
    static const char *const what[] = {"layer 1", "1 of 3 key/value heads", "20 of 52"};
    struct job j = job_start_with_text(&job_small, NULL);
    j.o.prune_heads = 1;
    j.o.prune_ffn = 20;
    j.o.drop_layers = drop;
    j.o.n_drop_layers = 1;
    job_work(&j);
    cr_assert_eq(j.r.n_prunes, 3);
    for (int i = 0; i < 3; i++) {
        const struct ruvm_quantize_prune *p = &j.r.prunes[i];
        cr_assert_not_null(strstr(p->what, what[i]), "%s", p->what);
        cr_assert(p->parameters_after < p->parameters_before && p->kl_mean > 0.0);
        cr_assert(i == 0 || p->parameters_before == p[-1].parameters_after);
        cr_assert(p->perplexity_before > 1.0 && p->perplexity_after > 1.0);
    }
    cr_assert_eq(j.r.parameters, j.r.prunes[2].parameters_after);
    cr_assert(j.img.n_layers == 2 && j.img.n_kv_heads == 2 && j.img.n_heads == 4);
    cr_assert_eq(j.img.hidden, 32);
    job_check_golden(&j.map, j.r.n_golden_tokens);
    cr_assert_gt(j.r.quality.kl_mean, 0.3 * j.r.prunes[2].kl_mean, "compared with the source");
    job_finish(&j);
}

Test(quantize_prune, tokens_that_a_text_never_uses_are_left_out)
{
    struct job j = job_start_with_text(&job_small, "int4");
    j.o.vocab_prune = true;
    job_work(&j);
    cr_assert_eq(j.r.n_prunes, 1);
    cr_assert_not_null(strstr(j.r.prunes[0].what, "of 50 tokens"), "%s", j.r.prunes[0].what);
    cr_assert(j.img.vocab < 50 && j.img.vocab >= 20, "%u", j.img.vocab);
    job_check_golden(&j.map, j.r.n_golden_tokens);
    uint32_t vocab = j.img.vocab;
    j.o.eval_text = j.o.calib_text; /* the new tokenizer spells it */
    j.o.prune_ffn = 4;
    job_work(&j);
    cr_assert(j.r.n_prunes == 2 && j.img.vocab == vocab && j.img.hidden == 48);
    job_finish(&j);
}

static struct job start_lesson(const char *type)
{
    struct job j = job_start_with_text(&job_small, type);
    j.o.distill_steps = 6;
    return j;
}

Test(quantize_prune, distilling_trains_what_is_stored)
{
    struct job j = start_lesson("int2");
    j.o.distill_steps = 60;
    job_work(&j);
    cr_assert_str_eq(j.r.method, "distill");
    cr_assert(j.r.has_distill && j.r.distill.steps == 60 && j.r.distill.first_step == 0);
    cr_assert(j.r.distill.tokens > 0 && j.r.distill.threads > 0);
    cr_assert_lt(j.r.quality.kl_mean, j.r.quality_before.kl_mean);
    cr_assert(j.r.has_quality && j.r.has_quality_before);
    cr_assert_eq(j.r.quality.n_positions, j.r.quality_before.n_positions);
    job_check_golden(&j.map, j.r.n_golden_tokens);
    job_finish(&j);
}

static int stop_at_step_3(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    cr_assert(done <= total);
    return strcmp(stage, "distill") == 0 && done >= 3;
}

Test(quantize_prune, an_interrupted_distillation_ends_as_one_in_a_piece)
{
    struct job j = start_lesson("ternary");
    job_work(&j);
    struct ruvm_buffer kept = job_bytes(&j);
    job_forget(&j);
    remove(j.f.output);
    j.o.checkpoint = tiny_path();
    j.o.progress.report = stop_at_step_3;
    job_refused(&j.o, RUVM_ERR_IO, "interrupted");
    cr_assert_eq(access(j.o.checkpoint, F_OK), 0);
    j.o.progress.report = NULL;
    job_work(&j);
    cr_assert_eq(j.r.distill.first_step, 3);
    cr_assert(job_is_same(&j, &kept));
    j.o.output = tiny_path();
    j.o.type = "int2";
    job_refused(&j.o, RUVM_ERR_MISMATCH, j.o.checkpoint);
    remove(j.o.checkpoint);
    ruvm_buffer_free(&kept);
    job_finish(&j);
}

Test(quantize_prune, what_was_pruned_can_be_distilled)
{
    static const uint32_t drop[] = {0, 2};
    struct job j = start_lesson("int4");
    j.o.drop_layers = drop;
    j.o.n_drop_layers = 2;
    j.o.vocab_prune = true;
    j.o.prune_heads = 2;
    job_work(&j);
    cr_assert(j.img.n_layers == 1 && j.img.n_kv_heads == 1 && j.r.n_prunes == 3);
    cr_assert(j.r.has_distill && j.r.has_quality_before);
    job_check_golden(&j.map, j.r.n_golden_tokens);
    job_finish(&j);
}
