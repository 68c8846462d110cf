/* quantize, before the work: options that contradict themselves, types that do not
 * exist, files that would be overwritten or cannot be written.
 *
 * A search or a distillation takes minutes; what surely fails is said before them.
 */
#include "cli/cmd_quantize.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- types --------------------------------------------------------------- */

static bool is_word_of(const char *list, const char *word, size_t length)
{
    for (const char *c = list; *c; c += strspn(c, " ")) {
        size_t n = strcspn(c, " ");
        if (n == length && memcmp(c, word, n) == 0)
            return true;
        c += n;
    }
    return false;
}

int ruvm_cmd_quantize_check_type(const struct ruvm_args *args, const char *option, const char *type)
{
    static const char grouped[] = "int4 int3 int2 binary";
    size_t length = strcspn(type, ":");
    if (!is_word_of(RUVM_QUANTIZE_TYPES, type, length))
        return ruvm_args_usage(args, "option '--%s': '%s' is none of: %s", option, type,
                               RUVM_QUANTIZE_TYPES);
    if (type[length] == '\0')
        return RUVM_EXIT_DONE;
    const char *group = type + length + 1;
    if (!is_word_of("16 32 64 row", group, strlen(group)))
        return ruvm_args_usage(
            args, "option '--%s': '%s': a group has 16, 32 or 64 columns, or is the row: %.*s:32",
            option, type, (int)length, type);
    if (strcmp(group, "row") != 0 && !is_word_of(grouped, type, length))
        return ruvm_args_usage(args, "option '--%s': '%s': groups go with: %s", option, type,
                               grouped);
    return RUVM_EXIT_DONE;
}

static int check_types(const struct ruvm_args *args)
{
    static const char *const options[] = {"type", "embed-type", "head-type"};
    int rc = RUVM_EXIT_DONE;
    for (unsigned i = 0; rc == 0 && i < sizeof options / sizeof *options; i++)
        if (ruvm_args_given(args, options[i]))
            rc = ruvm_cmd_quantize_check_type(args, options[i], ruvm_args_text(args, options[i]));
    return rc;
}

/* ---- contradictions ------------------------------------------------------- */

/* Options of which the second makes no sense beside the first, and why. */
static const struct contradiction {
    const char *first, *second, *why;
} contradictions[] = {
    {"max-bytes", "max-kl", "one of them is the target, the other the result"},
    {"max-bytes", "type", "the search chooses the types"},
    {"max-kl", "type", "the search chooses the types"},
    {"target", "type", "the search chooses the types"},
    {"max-bytes", "dry-run", "a search measures"},
    {"max-kl", "dry-run", "a search measures"},
    {"target", "dry-run", "a search measures"},
    {"distill", "dry-run", "nothing is trained"},
    {"checkpoint", "dry-run", "nothing is trained"},
    {"method", "dry-run", "nothing is rounded, and no method changes a size"},
    {"calib", "dry-run", "nothing is computed that a text could change"},
    {"calib-tokens", "dry-run", "nothing is calibrated"},
    {"eval", "dry-run", "nothing is measured"},
    {"eval-tokens", "dry-run", "nothing is measured"},
    {"eval", "no-quality", "nothing is measured"},
    {"eval-tokens", "no-quality", "nothing is measured"},
};

/* Options that only add to others, of which one must be there. */
static const struct need {
    const char *option, *of[3], *said;
} needs[] = {
    {"plot", {"max-bytes", "max-kl", "target"}, "--max-bytes, --max-kl or --target"},
    {"checkpoint", {"distill"}, "--distill STEPS"},
    {"to-type", {"to"}, "--to FORMAT"},
};

static int check_options(const struct ruvm_args *args)
{
    for (size_t i = 0; i < sizeof contradictions / sizeof *contradictions; i++) {
        const struct contradiction *c = &contradictions[i];
        if (ruvm_args_given(args, c->first) && ruvm_args_given(args, c->second))
            return ruvm_args_usage(args, "--%s and --%s do not go together: %s", c->first,
                                   c->second, c->why);
    }
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
        bool there = !ruvm_args_given(args, needs[i].option);
        for (unsigned k = 0; k < 3 && needs[i].of[k]; k++)
            there = there || ruvm_args_given(args, needs[i].of[k]);
        if (!there)
            return ruvm_args_usage(args, "--%s needs %s", needs[i].option, needs[i].said);
    }
    return RUVM_EXIT_DONE;
}

/* ---- files ---------------------------------------------------------------- */

static int check_inputs(const struct ruvm_args *args, const char *const *inputs, unsigned n)
{
    unsigned n_stdin = 0;
    for (unsigned i = 0; i < n; i++)
        n_stdin += inputs[i] && strcmp(inputs[i], "/dev/stdin") == 0;
    if (n_stdin > 1)
        return ruvm_args_usage(args, "standard input can be read only once, but - is given twice");
    return RUVM_EXIT_DONE;
}

static int check_output(const struct ruvm_args *args, const struct ruvm_quantize_options *o)
{
    if (!o->output && !o->dry_run)
        return ruvm_args_usage(args, "-o OUT is missing (or --dry-run to see sizes only)");
    if (o->output && strcmp(o->output, "-") == 0 && isatty(STDOUT_FILENO))
        return ruvm_args_usage(args, "-o -: an image is not written to a terminal");
    static const char *const files[] = {"plot", "checkpoint"};
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        if (ruvm_args_given(args, files[i]) && strcmp(ruvm_args_text(args, files[i]), "-") == 0)
            return ruvm_args_usage(args,
                                   "--%s -: name a file; only the image can go to standard "
                                   "output",
                                   files[i]);
    return RUVM_EXIT_DONE;
}

/* Nothing that is written may replace an input or something else that is written. */
static int check_files(const struct ruvm_args *args, const struct ruvm_quantize_options *o)
{
    const char *inputs[] = {o->input, o->tokenizer, o->calib_text, o->eval_text};
    enum { N_INPUTS = sizeof inputs / sizeof *inputs };
    const bool to_stdout = o->output && strcmp(o->output, "-") == 0;
    const struct {
        const char *path, *name;
    } outputs[] = {
        {to_stdout ? NULL : o->output, "OUT"},
        {ruvm_args_text(args, "plot"), "--plot FILE"},
        {o->checkpoint, "--checkpoint FILE"},
    };
    int rc = check_inputs(args, inputs, N_INPUTS);
    for (unsigned i = 0; rc == 0 && i < 3; i++) {
        const char *taken = NULL;
        for (unsigned k = 0; k < N_INPUTS; k++)
            taken = ruvm_places_same(inputs[k], outputs[i].path) ? inputs[k] : taken;
        for (unsigned k = 0; k < i; k++)
            taken = ruvm_places_same(outputs[k].path, outputs[i].path) ? outputs[k].path : taken;
        if (taken)
            rc = ruvm_args_usage(args, "%s would be overwritten: choose another %s", taken,
                                 outputs[i].name);
    }
    for (unsigned i = 0; rc == 0 && i < 3; i++)
        rc = outputs[i].path ? ruvm_places_check("quantize", outputs[i].path) : rc;
    return rc;
}

int ruvm_cmd_quantize_check(const struct ruvm_quantize_call *call)
{
    int rc = check_types(call->args);
    if (rc == RUVM_EXIT_DONE)
        rc = check_options(call->args);
    if (rc == RUVM_EXIT_DONE)
        rc = check_output(call->args, &call->o);
    if (rc == RUVM_EXIT_DONE)
        rc = check_files(call->args, &call->o);
    return rc;
}
