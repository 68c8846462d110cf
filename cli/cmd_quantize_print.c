/* quantize, for people: what was made, what it lost, what the search chose from. */
#include "cli/cmd_quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double percent_more(double after, double before)
{
    return 100 * (after / before - 1);
}

/* ---- the image ------------------------------------------------------------ */

static void print_types(const struct ruvm_quantize_result *r)
{
    if (*r->types)
        printf("  types       %s%s%s\n", r->types, *r->method ? "; method " : "", r->method);
    if ((r->k_bits && r->k_bits != 8) || (r->v_bits && r->v_bits != 8))
        printf("  cache       keys %u bits, values %u bits\n", r->k_bits, r->v_bits);
}

/* The command is to be pasted: a name with spaces is quoted. */
static void print_golden(const struct ruvm_quantize_result *r,
                         const struct ruvm_quantize_options *o)
{
    printf("  golden      %s stored; check with: ruvm run --verify ",
           ruvm_output_many(r->n_golden_tokens, "token"));
    ruvm_output_word(o->output ? o->output : "OUT");
    putchar('\n');
}

static void print_summary(const struct ruvm_quantize_call *call)
{
    const struct ruvm_quantize_options *o = &call->o;
    const struct ruvm_quantize_result *r = &call->r;
    printf("%s (%s)%s%s\n", o->input, r->source_format, o->dry_run ? "" : " -> ",
           o->dry_run ? ", nothing written" : o->output);
    printf("  parameters  %s\n", ruvm_output_grouped(r->parameters));
    printf("  size        %s -> %s bytes, %.2f times smaller, %.3f bits per weight with scales\n",
           ruvm_output_grouped(r->source_bytes), ruvm_output_grouped(r->image_bytes),
           (double)r->source_bytes / (double)r->image_bytes, r->bits_per_weight);
    print_types(r);
    for (const char *line = r->tokenizer_notes; *line; line += strcspn(line, "\n")) {
        line += *line == '\n';
        if (*line)
            printf("  tokenizer   %.*s\n", (int)strcspn(line, "\n"), line);
    }
    if (call->engine_bytes)
        printf("  engine      %s bytes of memory besides the image\n",
               ruvm_output_grouped(call->engine_bytes));
    if (r->n_golden_tokens && !o->dry_run)
        print_golden(r, o);
    if (!o->dry_run)
        printf("  time        %.1f s\n", r->seconds);
}

static void print_sizes(const struct ruvm_quantize_call *call)
{
    static const char *const heads[] = {"--type", "image bytes", "bits/weight"};
    struct ruvm_table t = {.heads = heads, .align = "lrr", .n_cols = 3};
    for (unsigned i = 0; i < call->n_sizes; i++) {
        ruvm_table_cell(&t, "%s", call->sizes[i].type);
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(call->sizes[i].image_bytes));
        ruvm_table_cell(&t, "%.3f", call->sizes[i].bits_per_weight);
    }
    if (call->n_sizes) {
        putchar('\n');
        ruvm_table_print(&t, RUVM_TABLE_TEXT);
    }
    ruvm_table_free(&t);
}

/* ---- pruning and distillation ---------------------------------------------- */

static void print_prunes(const struct ruvm_quantize_result *r)
{
    static const char *const heads[] = {"left out", "parameters", "KL mean", "perplexity",
                                        "change %"};
    struct ruvm_table t = {.heads = heads, .align = "lrrrr", .n_cols = 5};
    for (uint32_t i = 0; i < r->n_prunes; i++) {
        const struct ruvm_quantize_prune *p = &r->prunes[i];
        ruvm_table_cell(&t, "%s", p->what);
        ruvm_table_cell(&t, "%s -> %s", ruvm_output_grouped(p->parameters_before),
                        ruvm_output_grouped(p->parameters_after));
        if (p->perplexity_before > 0) {
            ruvm_table_cell(&t, "%.5f", p->kl_mean);
            ruvm_table_cell(&t, "%.5g -> %.5g", p->perplexity_before, p->perplexity_after);
            ruvm_table_cell(&t, "%+.2f", percent_more(p->perplexity_after, p->perplexity_before));
        } else { /* no text is left that the model without those tokens can read */
            ruvm_table_cell(&t, "-");
            ruvm_table_cell(&t, "not measured");
            ruvm_table_cell(&t, "-");
        }
    }
    if (r->n_prunes) {
        puts("\nPruning: the pruned float model against the source, measured");
        ruvm_table_print(&t, RUVM_TABLE_TEXT);
    }
    ruvm_table_free(&t);
}

static void print_distill(const struct ruvm_quantize_result *r)
{
    const struct ruvm_quantize_distill *d = &r->distill;
    if (!r->has_distill)
        return;
    printf("\nDistillation: %s steps", ruvm_output_grouped(d->steps));
    if (d->first_step)
        printf(", the first %s of an earlier run", ruvm_output_grouped(d->first_step));
    printf("; %s tokens; %.1f s on %u thread%s, measured\n", ruvm_output_grouped(d->tokens),
           d->seconds, d->threads, d->threads == 1 ? "" : "s");
    printf(
        "  training text: KL %.5f -> %.5f nats (means of the first and last 2 %% of the steps)\n",
        d->kl_before, d->kl_after);
}

/* ---- the search ------------------------------------------------------------- */

/* More would be a list to scroll through; --json has all of them, --plot draws them. */
enum { FEW_CHOICES = 16, NEIGHBOURS = 2 };

static uint32_t chosen_of(const struct ruvm_quantize_result *r)
{
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < r->n_choices; i++)
        chosen = r->choices[i].chosen ? i : chosen;
    return chosen;
}

/* All that say something, and evenly some of the others. */
static bool is_shown(const struct ruvm_quantize_result *r, uint32_t i, uint32_t chosen)
{
    uint32_t stride = 1 + (r->n_choices - 1) / FEW_CHOICES;
    bool near = i + NEIGHBOURS >= chosen && i <= chosen + NEIGHBOURS;
    return near || !isnan(r->choices[i].kl_measured) || i % stride == 0 || i + 1 == r->n_choices;
}

static void choice_row(struct ruvm_table *t, const struct ruvm_quantize_choice *c)
{
    ruvm_table_cell(t, "%s", c->chosen ? "*" : "");
    ruvm_table_cell(t, "%s", ruvm_output_grouped(c->image_bytes));
    ruvm_table_cell(t, "%.3f", c->bits_per_weight);
    ruvm_table_cell(t, "%.5f", c->kl_estimate);
    if (!isnan(c->kl_measured))
        ruvm_table_cell(t, "%.5f", c->kl_measured);
    else
        ruvm_table_cell(t, "-");
    ruvm_table_cell(t, "%s", c->types);
}

static void print_choices(const struct ruvm_quantize_result *r)
{
    static const char *const heads[] = {
        "", "image bytes", "bits/weight", "KL modelled", "KL measured", "types"};
    struct ruvm_table t = {.heads = heads, .align = "lrrrrl", .n_cols = 6};
    uint32_t n = 0, chosen = chosen_of(r);
    for (uint32_t i = 0; i < r->n_choices; i++)
        if (is_shown(r, i, chosen)) {
            choice_row(&t, &r->choices[i]);
            n++;
        }
    if (n) {
        puts("\nSearch: types that no others beat in both bytes and modelled loss; * the chosen");
        ruvm_table_print(&t, RUVM_TABLE_TEXT);
    }
    if (n < r->n_choices)
        printf("(%u of %u; --json has all of them, --plot draws them)\n", n, r->n_choices);
    ruvm_table_free(&t);
}

/* ---- quality ---------------------------------------------------------------- */

/* A uniform image loses about ln(vocabulary) where the float model is sure of itself. */
static bool is_chance(const struct ruvm_quality *q, uint32_t vocab)
{
    enum { FEW_POSITIONS = 64 }; /* none of them need agree by accident */
    return q->kl_mean >= 0.9 * log(vocab) ||
           (q->n_positions >= FEW_POSITIONS && q->top1 * vocab <= 1);
}

static void warn_of_image(const struct ruvm_quality *q, uint32_t vocab)
{
    ruvm_output_error(
        "quantize",
        "warning: the image predicts no better than chance: KL %.3g nats of "
        "ln(%u) = %.3g, top-1 %.2f %%, perplexity %.5g, float %.5g; where --type int8 "
        "does the same the model's weights or norms are out of the range of sound "
        "ones (compare ruvm inspect), else use more bits, --keep or --distill",
        q->kl_mean, vocab, log(vocab), 100 * q->top1, q->perplexity, q->perplexity_float);
}

void ruvm_cmd_quantize_warn(const struct ruvm_quantize_result *r)
{
    const struct ruvm_quality *q = &r->quality;
    uint32_t vocab = r->n_tensors ? r->tensors[0].rows : 0; /* of the embedding */
    if (!r->has_quality || vocab < 2)
        return;
    if (fabs(q->perplexity_float / vocab - 1) < 0.001) /* uniform; other text may go beyond */
        ruvm_output_error("quantize",
                          "warning: the float model itself predicts no better than chance: "
                          "perplexity %.5g of %u tokens, image %.5g; its weights are damaged, of "
                          "another architecture, or not trained",
                          q->perplexity_float, vocab, q->perplexity);
    else if (is_chance(q, vocab))
        warn_of_image(q, vocab);
}

static void print_one_quality(const struct ruvm_quality *q)
{
    printf("  perplexity  %.5g, float %.5g (%+.3f %%)\n", q->perplexity, q->perplexity_float,
           percent_more(q->perplexity, q->perplexity_float));
    printf("  KL          mean %.5f +- %.5f nats, 99th percentile %.5f\n", q->kl_mean,
           q->kl_mean_error, q->kl_p99);
    printf("  agreement   top-1 %.2f %%, top-5 %.2f %%\n", 100 * q->top1, 100 * q->top5);
}

static void print_quality(const struct ruvm_quantize_result *r)
{
    const struct ruvm_quality *q = &r->quality;
    char *source = ruvm_output_visible(q->text_source, strlen(q->text_source));
    printf("\nQuality against the float model, measured at %s positions of: %s\n",
           ruvm_output_grouped(q->n_positions), source);
    if (r->has_quality_before) {
        puts(" before distillation");
        print_one_quality(&r->quality_before);
        puts(" after distillation");
    }
    print_one_quality(q);
    free(source);
}

static void print_samples(const struct ruvm_quantize_result *r)
{
    if (!*r->sample_float && !*r->sample_image)
        return;
    char *from_float = ruvm_output_visible(r->sample_float, strlen(r->sample_float));
    char *from_image = ruvm_output_visible(r->sample_image, strlen(r->sample_image));
    printf("\nGreedy continuations (%s):\n  float  %s\n  image  %s\n",
           strcmp(from_float, from_image) == 0 ? "equal" : "they differ", from_float, from_image);
    free(from_float);
    free(from_image);
}

void ruvm_cmd_quantize_print(const struct ruvm_quantize_call *call)
{
    bool report = ruvm_args_given(call->args, "report");
    print_summary(call);
    print_sizes(call);
    print_prunes(&call->r);
    print_choices(&call->r);
    print_distill(&call->r);
    if (report)
        ruvm_cmd_quantize_report(call);
    if (call->r.has_quality)
        print_quality(&call->r);
    if (report)
        print_samples(&call->r);
}
