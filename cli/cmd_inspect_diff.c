/* inspect --diff: two files tensor by tensor; people see what differs, programs all. */
#include <string.h>

#include "cli/cmd_inspect.h"

static const char *const states[] = {"equal", "values", "shape", "only in the first",
                                     "only in the second"};
static const char *const words[] = {"equal", "values", "shape", "only_a", "only_b"};

/* ---- people -------------------------------------------------------------- */

/* Both when they differ. */
static void pair_cell(struct ruvm_table *t, const char *a, const char *b)
{
    char text[240];
    bool both = a[0] && b[0] && strcmp(a, b) != 0;
    snprintf(text, sizeof text, "%s%s%s", a, both ? ", " : "", both || !a[0] ? b : "");
    ruvm_cmd_inspect_cell(t, text);
}

static void add_row(struct ruvm_table *t, const struct ruvm_diff_tensor *d)
{
    char a[96], b[96];
    ruvm_cmd_inspect_shape(a, sizeof a, d->n_dims[0], d->dims[0]);
    ruvm_cmd_inspect_shape(b, sizeof b, d->n_dims[1], d->dims[1]);
    ruvm_cmd_inspect_cell(t, d->name);
    pair_cell(t, d->type[0], d->type[1]);
    pair_cell(t, a, b);
    ruvm_table_cell(t, "%s", states[d->state]);
    if (d->state > RUVM_DIFF_VALUES) {
        ruvm_table_cell(t, "-");
        ruvm_table_cell(t, "-");
        return;
    }
    ruvm_table_cell(t, "%.4g", d->max_abs);
    ruvm_table_cell(t, "%.4g", d->rel_rms);
}

/* Equal ones only when one is asked for. */
static void print_tensors(const struct ruvm_args *args, const struct ruvm_diff_result *r)
{
    static const char *const heads[] = {"tensor",  "type",         "shape",
                                        "differs", "largest diff", "relative RMS"};
    struct ruvm_table t = {.heads = heads, .align = "llllrr", .n_cols = 6};
    bool one = ruvm_args_given(args, "tensor");
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_diff_tensor *d = &r->tensors[i];
        if (ruvm_cmd_inspect_shows(args, d->name) && (one || d->state != RUVM_DIFF_EQUAL))
            add_row(&t, d);
    }
    if (t.n_cells) {
        putchar('\n');
        ruvm_table_print(&t, RUVM_TABLE_TEXT);
    }
    ruvm_table_free(&t);
}

static void print_counts(const struct ruvm_diff_result *r)
{
    static const char *const counted[] = {"equal", "of other values", "of other shape",
                                          "only in the first", "only in the second"};
    const char *comma = "";
    printf("  %-14s  ", "tensors");
    for (unsigned i = 0; i < sizeof counted / sizeof *counted; i++)
        if (r->n[i]) {
            printf("%s%u %s", comma, r->n[i], counted[i]);
            comma = ", ";
        }
    puts(comma[0] ? "" : "none");
}

static void print_human(const struct ruvm_args *args, const struct ruvm_diff_result *r)
{
    for (unsigned i = 0; i < 2; i++)
        printf("%s: %s\n", ruvm_args_operand(args, i), r->format[i]);
    if (!r->by_meaning)
        puts("  by the names in the files: they are not both models that ruvm knows");
    for (uint32_t i = 0; i < r->n_settings; i++)
        printf("  %-14s  %s, %s\n", r->settings[i].name, r->settings[i].value[0],
               r->settings[i].value[1]);
    print_counts(r);
    print_tensors(args, r);
}

/* ---- programs ------------------------------------------------------------ */

static void add_side(struct cJSON *object, const char *key, const struct ruvm_diff_tensor *d,
                     unsigned side)
{
    if (!d->type[side][0])
        return;
    struct cJSON *x = ruvm_json_object(object, key);
    ruvm_json_text(x, "type", d->type[side]);
    struct cJSON *shape = ruvm_json_array(x, "shape");
    for (uint32_t i = 0; i < d->n_dims[side]; i++)
        ruvm_json_count(shape, NULL, d->dims[side][i]);
}

static void add_tensors(struct cJSON *object, const struct ruvm_args *args,
                        const struct ruvm_diff_result *r)
{
    struct cJSON *list = ruvm_json_array(object, "tensors");
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_diff_tensor *d = &r->tensors[i];
        if (!ruvm_cmd_inspect_shows(args, d->name))
            continue;
        struct cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_bytes(x, "name", d->name, strlen(d->name));
        ruvm_json_text(x, "state", words[d->state]);
        add_side(x, "a", d, 0);
        add_side(x, "b", d, 1);
        if (d->state <= RUVM_DIFF_VALUES) {
            ruvm_json_number(x, "max_abs", d->max_abs);
            ruvm_json_number(x, "rel_rms", d->rel_rms);
        }
    }
}

static void print_json(const struct ruvm_args *args, const struct ruvm_diff_result *r)
{
    struct cJSON *object = ruvm_json_start("inspect-diff");
    ruvm_json_text(object, "a", ruvm_args_operand(args, 0));
    ruvm_json_text(object, "b", ruvm_args_operand(args, 1));
    ruvm_json_text(object, "format_a", r->format[0]);
    ruvm_json_text(object, "format_b", r->format[1]);
    ruvm_json_bool(object, "by_meaning", r->by_meaning);
    ruvm_json_bool(object, "differs", r->differs);
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        ruvm_json_count(object, words[i], r->n[i]);
    struct cJSON *settings = ruvm_json_array(object, "settings");
    for (uint32_t i = 0; i < r->n_settings; i++) {
        struct cJSON *x = ruvm_json_object(settings, NULL);
        ruvm_json_text(x, "name", r->settings[i].name);
        ruvm_json_text(x, "a", r->settings[i].value[0]);
        ruvm_json_text(x, "b", r->settings[i].value[1]);
    }
    add_tensors(object, args, r);
    ruvm_json_finish(object);
}

/* ---- the verb -------------------------------------------------------------- */

static bool has_tensor(const struct ruvm_diff_result *r, const char *name)
{
    for (uint32_t i = 0; i < r->n_tensors; i++)
        if (strcmp(r->tensors[i].name, name) == 0)
            return true;
    return false;
}

int ruvm_cmd_inspect_diff(const struct ruvm_args *args)
{
    struct ruvm_error err = {0};
    struct ruvm_diff_result r;
    const char *only = ruvm_args_text(args, "tensor");
    if (ruvm_diff(ruvm_args_operand(args, 0), ruvm_args_operand(args, 1), &r, &err) != RUVM_OK)
        return ruvm_output_failure("inspect", &err);
    int code = r.differs ? RUVM_EXIT_VERIFY : RUVM_EXIT_DONE;
    if (only && !has_tensor(&r, only))
        code = ruvm_args_usage(args, "neither file has a tensor \"%s\"", only);
    else if (ruvm_args_given(args, "json"))
        print_json(args, &r);
    else
        print_human(args, &r);
    ruvm_diff_free(&r);
    return code;
}
