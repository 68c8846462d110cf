/* quantize, of a classifier: an ONNX graph in, an image and what it lost out. */
#include <string.h>

#include "cli/cmd_classifier.h"

static const char *const not_for_classifiers[] = {
    "tokenizer",    "embed-type",  "head-type",   "method",   "k-bits",     "v-bits",
    "calib-tokens", "max-bytes",   "max-kl",      "target",   "plot",       "prune-heads",
    "prune-ffn",    "drop-layer",  "vocab-prune", "distill",  "checkpoint", "threads",
    "eval",         "eval-tokens", "ctx",         "v0-scale", "no-quality", NULL};

static const char *const range_sources[] = {
    [RUVM_RANGES_MEASURED] = "measured",
    [RUVM_RANGES_GRAPH] = "from the graph",
    [RUVM_RANGES_ASSUMED] = "assumed",
};

/* ---- people ------------------------------------------------------------------------- */

static void print_ranges(const struct ruvm_classifier_quantize_result *r)
{
    printf("  inputs      %u, usually %.4g to %.4g, %s", r->info.n_inputs, r->range_low,
           r->range_high, range_sources[r->ranges]);
    if (r->n_constant_inputs)
        printf("; %u never change in the data", r->n_constant_inputs);
    putchar('\n');
    if (r->ranges == RUVM_RANGES_ASSUMED)
        puts(
            "              nobody said where they lie: values beyond four times that are "
            "clipped;\n"
            "              give rows of data with --calib, or --input-range");
}

static void print_agreement(const struct ruvm_classifier_agreement *a)
{
    printf("  agreement   %.2f %% of %s rows of %s have the float model's class; measured\n",
           100 * a->top1, ruvm_output_grouped(a->n_rows), a->data);
    printf("              logits are off by %.4g at most, %.3g on average, of a range of %.4g\n",
           a->max_logit_error, a->mean_logit_error, a->logit_range);
    if (a->is_random)
        puts("              random inputs are no data: real rows, with --calib, tell more");
    if (a->has_classes)
        printf("  accuracy    %.2f %%, float %.2f %%; measured on the same rows\n",
               100 * a->accuracy, 100 * a->accuracy_float);
}

static void print(const struct ruvm_quantize_call *call,
                  const struct ruvm_classifier_quantize_result *r)
{
    const struct ruvm_quantize_options *o = &call->o;
    const struct ruvm_classifier_info *info = &r->info;
    printf("%s (ONNX classifier)%s%s\n", o->input, o->dry_run ? ", nothing written" : " -> ",
           o->dry_run ? "" : o->output);
    printf("  network     %u inputs, %u layers, %u outputs (%s)%s\n", info->n_inputs,
           info->n_layers, info->n_outputs, info->output,
           info->has_labels ? ", with names of classes" : "");
    printf("  size        %s -> %s bytes, %s weights\n", ruvm_output_grouped(r->source_bytes),
           ruvm_output_grouped(info->image_bytes), ruvm_output_grouped(info->n_weights));
    printf("  memory      %s bytes besides the image\n", ruvm_output_grouped(info->memory_bytes));
    print_ranges(r);
    print_agreement(&r->agreement);
    if (!o->dry_run)
        printf("  time        %.1f s\n", r->seconds);
    if (ruvm_args_given(call->args, "report"))
        ruvm_cmd_classifier_layers(info, true);
}

/* ---- JSON ----------------------------------------------------------------------------- */

static void print_json(const struct ruvm_quantize_call *call,
                       const struct ruvm_classifier_quantize_result *r)
{
    struct cJSON *object = ruvm_json_start("quantize-classifier");
    ruvm_json_text(object, "input", call->o.input);
    ruvm_json_text(object, "output", call->o.dry_run ? "" : call->o.output);
    ruvm_json_count(object, "source_bytes", r->source_bytes);
    ruvm_cmd_classifier_json(object, &r->info, true);
    ruvm_json_text(object, "input_ranges", range_sources[r->ranges]);
    ruvm_json_number(object, "input_low", r->range_low);
    ruvm_json_number(object, "input_high", r->range_high);
    ruvm_json_count(object, "n_constant_inputs", r->n_constant_inputs);
    const struct ruvm_classifier_agreement *a = &r->agreement;
    struct cJSON *x = ruvm_json_object(object, "agreement");
    ruvm_json_text(x, "is", "measured");
    ruvm_json_text(x, "data", a->data);
    ruvm_json_bool(x, "random", a->is_random);
    ruvm_json_count(x, "n_rows", a->n_rows);
    ruvm_json_number(x, "top1", a->top1);
    ruvm_json_number(x, "max_logit_error", a->max_logit_error);
    ruvm_json_number(x, "mean_logit_error", a->mean_logit_error);
    ruvm_json_number(x, "logit_range", a->logit_range);
    if (a->has_classes) {
        ruvm_json_number(x, "accuracy", a->accuracy);
        ruvm_json_number(x, "accuracy_float", a->accuracy_float);
    }
    ruvm_json_number(object, "seconds", r->seconds);
    ruvm_json_finish(object);
}

/* ---- the action -------------------------------------------------------------------------- */

int ruvm_cmd_classifier_quantize(const struct ruvm_quantize_call *call)
{
    static struct ruvm_classifier_quantize_result r; /* a record for each of 255 layers */
    struct ruvm_error err = {0};
    const struct ruvm_quantize_options *q = &call->o;
    const struct ruvm_classifier_quantize_options o = {
        .input = q->input,
        .output = q->output,
        .type = q->type,
        .tensor_types = q->tensor_types,
        .n_tensor_types = q->n_tensor_types,
        .calib = q->calib_text,
        .labels = ruvm_args_input(call->args, "labels"),
        .name = q->name,
        .input_range = ruvm_args_number(call->args, "input-range"),
        .seed = q->seed,
        .dry_run = q->dry_run,
    };
    int rc = ruvm_cmd_classifier_refuse(call->args, not_for_classifiers);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    if (o.calib && o.input_range > 0)
        return ruvm_args_usage(call->args, "--calib measures what --input-range assumes");
    rc = ruvm_classifier_quantize(&o, &r, &err);
    ruvm_cmd_quantize_leave_stdout(q);
    if (rc != RUVM_OK)
        return ruvm_output_failure("quantize", &err);
    if (ruvm_args_given(call->args, "json"))
        print_json(call, &r);
    else if (!ruvm_args_given(call->args, "quiet"))
        print(call, &r);
    return RUVM_EXIT_DONE;
}
