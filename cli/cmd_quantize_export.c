/* quantize --to: a model in, a file for other programs out. Nothing is quantized or measured,
 * so options that are about that are refused rather than ignored.
 */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <unistd.h>

#include "cli/cmd_quantize.h"

static bool goes_with_to(const char *option)
{
    static const char *const names[] = {"to",       "to-type", "output", "tokenizer", "ctx", "name",
                                        "v0-scale", "json",    "quiet",  "progress",  "help"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(option, names[i]) == 0)
            return true;
    return false;
}

static int check(const struct ruvm_args *args, const struct ruvm_export_options *o)
{
    bool to_stdout = o->output && strcmp(o->output, "-") == 0;
    for (const struct ruvm_args_option *row = ruvm_cmd_quantize.options; row->name; row++)
        if (ruvm_args_given(args, row->name) && !goes_with_to(row->name))
            return ruvm_args_usage(args,
                                   "--to and --%s do not go together: weights are exported as "
                                   "they are",
                                   row->name);
    if (!o->output)
        return ruvm_args_usage(args, "-o OUT is missing");
    if (to_stdout && strcmp(o->to, "safetensors") == 0)
        return ruvm_args_usage(args, "-o -: safetensors are written as a folder of several files");
    if (to_stdout && isatty(STDOUT_FILENO))
        return ruvm_args_usage(args, "-o -: a model is not written to a terminal");
    if (strcmp(o->to, "safetensors") == 0 && o->type && strcmp(o->type, "q8_0") == 0)
        return ruvm_args_usage(args,
                               "--to-type q8_0 is a type of gguf; safetensors have f32, f16 "
                               "and bf16");
    return RUVM_EXIT_DONE;
}

/* The folder of safetensors is looked at by the library. */
static int check_files(const struct ruvm_args *args, const struct ruvm_export_options *o)
{
    struct ruvm_quantize_call call = {.args = args};
    if (strcmp(o->to, "safetensors") == 0)
        return RUVM_EXIT_DONE;
    call.o = (struct ruvm_quantize_options){
        .input = o->input, .output = o->output, .tokenizer = o->tokenizer};
    return ruvm_cmd_quantize_check(&call);
}

static void print(FILE *to, const struct ruvm_export_options *o, const struct ruvm_export_result *r)
{
    fprintf(to, "%s (%s) -> %s (%s)\n", o->input, r->source_format, o->output, r->format);
    fprintf(to, "  network     %s, %s parameters in %u tensors, %s\n", r->architecture,
            ruvm_output_grouped(r->parameters), r->n_tensors, r->type);
    if (r->bytes)
        fprintf(to, "  size        %s bytes in %u file%s\n", ruvm_output_grouped(r->bytes),
                r->n_files, r->n_files == 1 ? "" : "s");
    fprintf(to, "  tokenizer   %s\n", r->has_tokenizer ? "written" : "none");
    if (*r->note)
        fprintf(to, "  note        %s\n", r->note);
    fprintf(to, "  time        %.2f s\n", r->seconds);
}

static void print_json(const struct ruvm_export_options *o, const struct ruvm_export_result *r)
{
    struct cJSON *object = ruvm_json_start("quantize");
    ruvm_json_text(object, "input", o->input);
    ruvm_json_text(object, "output", o->output);
    ruvm_json_text(object, "source_format", r->source_format);
    ruvm_json_text(object, "to", r->format);
    ruvm_json_text(object, "to_type", r->type);
    ruvm_json_text(object, "architecture", r->architecture);
    ruvm_json_count(object, "parameters", r->parameters);
    ruvm_json_count(object, "tensors", r->n_tensors);
    ruvm_json_count(object, "files", r->n_files);
    if (r->source_bytes)
        ruvm_json_count(object, "source_bytes", r->source_bytes);
    if (r->bytes)
        ruvm_json_count(object, "bytes", r->bytes);
    ruvm_json_bool(object, "tokenizer", r->has_tokenizer);
    if (*r->note)
        ruvm_json_text(object, "note", r->note);
    ruvm_json_number(object, "seconds", r->seconds);
    ruvm_json_finish(object);
}

int ruvm_cmd_quantize_export(const struct ruvm_args *args)
{
    bool silent = ruvm_args_given(args, "quiet") && !ruvm_args_given(args, "progress");
    struct ruvm_export_options o = {
        .input = ruvm_args_operand(args, 0),
        .output = ruvm_args_text(args, "output"),
        .to = ruvm_args_text(args, "to"),
        .type = ruvm_args_given(args, "to-type") ? ruvm_args_text(args, "to-type") : NULL,
        .tokenizer = ruvm_args_input(args, "tokenizer"),
        .name = ruvm_args_text(args, "name"),
        .context = ruvm_args_u32(args, "ctx"),
        .v0_scale = ruvm_args_number(args, "v0-scale"),
        .progress = ruvm_output_progress(silent ? "none" : ruvm_args_text(args, "progress")),
    };
    struct ruvm_export_result r;
    struct ruvm_error err = {0};
    int rc = check(args, &o);
    if (rc == RUVM_EXIT_DONE)
        rc = check_files(args, &o);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    rc = ruvm_export(&o, &r, &err);
    ruvm_output_progress_end();
    if (rc != RUVM_OK)
        return ruvm_output_failure("quantize", &err);
    bool to_stdout = strcmp(o.output, "-") == 0;
    if (to_stdout)
        dup2(STDERR_FILENO, STDOUT_FILENO); /* the model's; what we say goes to the other */
    if (ruvm_args_given(args, "json"))
        print_json(&o, &r);
    else if (!ruvm_args_given(args, "quiet"))
        print(stdout, &o, &r);
    return RUVM_EXIT_DONE;
}
