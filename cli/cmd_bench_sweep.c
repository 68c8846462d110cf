/* bench --sweep KEY=a,b,c: the same measurement for each value of one option, a row each.
 * Values take turns round by round, so medians and quartiles say what differs.
 *
 * A key is an option of the same meaning; its row of the verb's table gives the range. To
 * add one: its line in `keys`, and what it sets in the options of the library.
 */
#include "cli/cmd_bench.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* offset: of the number, or of the text, in struct ruvm_bench_options. */
static const struct key {
    const char *name, *option;
    size_t offset;
    bool is_text;
} keys[] = {
    {"ctx", "ctx", offsetof(struct ruvm_bench_options, context), false},
    {"block", "block", offsetof(struct ruvm_bench_options, block), false},
    {"prompt", "prompt-tokens", offsetof(struct ruvm_bench_options, prompt_tokens), false},
    {"tokens", "tokens", offsetof(struct ruvm_bench_options, generate_tokens), false},
    {"batch", "batch", offsetof(struct ruvm_bench_options, batch), false},
    {"threads", "threads", offsetof(struct ruvm_bench_options, threads), false},
    {"kernels", "kernels", offsetof(struct ruvm_bench_options, kernels), true},
    {"mask", "mask", offsetof(struct ruvm_bench_options, mask), true},
};
enum { N_KEYS = sizeof keys / sizeof *keys };

static const struct key *find_key(const char *name)
{
    for (unsigned i = 0; i < N_KEYS; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

/* ---- the text ---------------------------------------------------------------------- */

/* Whole and within the option's range; into *value. */
static bool parse_value(const struct ruvm_args_option *o, const char *text, uint32_t *value)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    double v = (double)strtoull(text, &end, 10);
    *value = (uint32_t)(v <= o->max ? v : 0);
    return *end == '\0' && v >= o->min && v <= o->max;
}

static int check_text(const struct ruvm_args *args, const struct ruvm_bench_sweep *s,
                      const char *text)
{
    const struct ruvm_kernels *k;
    struct ruvm_mask mask;
    struct ruvm_error err = {0};
    int rc = s->is_mask ? ruvm_mask_parse(&mask, text, &err) : ruvm_kernels_find(&k, text, &err);
    return rc == RUVM_OK ? RUVM_EXIT_DONE : ruvm_args_usage(args, "option '--sweep': %s", err.text);
}

static int check_value(const struct ruvm_args *args, const struct ruvm_bench_sweep *s,
                       const struct ruvm_args_option *options, const char *text)
{
    uint32_t value;
    const struct ruvm_args_option *o = options;
    if (!s->is_number)
        return check_text(args, s, text);
    while (strcmp(o->name, find_key(s->key)->option) != 0)
        o++;
    if (parse_value(o, text, &value))
        return RUVM_EXIT_DONE;
    return ruvm_args_usage(args,
                           "option '--sweep': %s: '%s' is not a whole number from %.10g to %.10g",
                           s->key, text, o->min, o->max);
}

/* The comma behind a value, or NULL. Of a mask's own commas a number follows. */
static char *end_of(const struct ruvm_bench_sweep *s, char *value)
{
    char *comma = strchr(value, ',');
    while (s->is_mask && comma && comma[1] >= '0' && comma[1] <= '9')
        comma = strchr(comma + 1, ',');
    return comma;
}

static bool has_dense(const struct ruvm_bench_sweep *s)
{
    struct ruvm_mask mask;
    for (unsigned i = 0; i < s->n; i++)
        if (ruvm_mask_parse(&mask, s->values[i], NULL) == RUVM_OK && mask.kind == RUVM_MASK_NONE)
            return true;
    return false;
}

/* Masks are judged beside none. */
static void add_dense(struct ruvm_bench_sweep *s)
{
    if (!s->is_mask || has_dense(s))
        return;
    memmove(s->values + 1, s->values, s->n * sizeof *s->values);
    s->values[0] = "none";
    s->n++;
}

static int split(const struct ruvm_args *args, struct ruvm_bench_sweep *s,
                 const struct ruvm_args_option *options)
{
    char *value = strchr(s->text, '=') + 1;
    int rc = RUVM_EXIT_DONE;
    while (value && rc == 0) {
        char *comma = end_of(s, value);
        if (comma)
            *comma = '\0';
        if (s->n == RUVM_BENCH_SWEEP_MOST)
            return ruvm_args_usage(args, "option '--sweep': more than %d values",
                                   RUVM_BENCH_SWEEP_MOST);
        rc = check_value(args, s, options, value);
        s->values[s->n++] = value;
        value = comma ? comma + 1 : NULL;
    }
    if (rc == 0)
        add_dense(s);
    return rc;
}

int ruvm_cmd_bench_sweep_open(struct ruvm_bench_sweep *s, const struct ruvm_args *args,
                              const struct ruvm_args_option *options)
{
    const char *text = ruvm_args_text(args, "sweep");
    *s = (struct ruvm_bench_sweep){.n = 0};
    if (!text)
        return RUVM_EXIT_DONE;
    size_t length = strlen(text) + 1;
    s->text = ruvm_output_alloc(length, 1);
    memcpy(s->text, text, length);
    char *equals = strchr(s->text, '=');
    if (equals)
        *equals = '\0';
    const struct key *key = find_key(s->text);
    if (!equals || !key)
        return ruvm_args_usage(args,
                               "option '--sweep': '%s' is not KEY=VALUE,VALUE... with a KEY of: "
                               "ctx block prompt tokens batch threads kernels mask",
                               text);
    *equals = '=';
    s->key = key->name;
    s->is_number = !key->is_text;
    s->is_mask = strcmp(key->name, "mask") == 0;
    if (ruvm_args_given(args, key->option))
        return ruvm_args_usage(args, "--sweep %s and --%s do not go together", key->name,
                               key->option);
    return split(args, s, options);
}

void ruvm_cmd_bench_sweep_set(struct ruvm_bench_options *o, const struct ruvm_bench_sweep *s,
                              unsigned i)
{
    const struct key *key = find_key(s->key);
    uint32_t value = (uint32_t)strtoul(s->values[i], NULL, 10);
    if (key->is_text)
        memcpy((char *)o + key->offset, &s->values[i], sizeof s->values[i]);
    else
        memcpy((char *)o + key->offset, &value, sizeof value);
}

/* ---- the table --------------------------------------------------------------------- */

static void spread_cells(struct ruvm_table *t, const struct ruvm_spread *s)
{
    ruvm_table_cell(t, "%.5g", s->median);
    ruvm_table_cell(t, "%.5g", s->q1);
    ruvm_table_cell(t, "%.5g", s->q3);
}

/* People are told how many threads 0 came to. */
static void value_cell(struct ruvm_table *t, const struct ruvm_bench_sweep *s, unsigned point,
                       const struct ruvm_bench_result *r, enum ruvm_table_style style)
{
    const char *value = s->values[point];
    if (strcmp(s->key, "threads") == 0 && strcmp(value, "0") == 0 && style != RUVM_TABLE_CSV)
        ruvm_table_cell(t, "0: %u", r->threads);
    else
        ruvm_table_cell(t, "%s", value);
}

void ruvm_cmd_bench_sweep_print(const struct ruvm_bench_list *list, enum ruvm_table_style style)
{
    const char *heads[] = {"model",       "kernels",   list->sweep->key,     "prompt, tokens/s",
                           "prompt q1",   "prompt q3", "generate, tokens/s", "generate q1",
                           "generate q3", "n",         "engine, bytes",      "tier",
                           "machine"};
    struct ruvm_table t = {.heads = heads, .align = "lllrrrrrrrrll", .n_cols = 12};
    t.n_cols += style == RUVM_TABLE_CSV;
    for (unsigned i = 0; i < list->n; i++) {
        const struct ruvm_bench_result *r = &list->results[i];
        char *model = ruvm_output_visible(r->model, strlen(r->model));
        ruvm_table_cell(&t, "%s", model);
        free(model);
        ruvm_table_cell(&t, "%s", r->kernels);
        value_cell(&t, list->sweep, list->points[i], r, style);
        spread_cells(&t, &r->prompt_tokens_per_s);
        spread_cells(&t, &r->decode_tokens_per_s);
        ruvm_table_cell(&t, "%u", r->decode_tokens_per_s.n);
        ruvm_table_cell(&t, "%llu", (unsigned long long)r->engine_bytes);
        ruvm_table_cell(&t, "measured");
        if (style == RUVM_TABLE_CSV)
            ruvm_table_cell(&t, "%s", r->machine);
    }
    ruvm_table_print(&t, style);
    ruvm_table_free(&t);
}

void ruvm_cmd_bench_sweep_free(struct ruvm_bench_sweep *s)
{
    free(s->text);
}
