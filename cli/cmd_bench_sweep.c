/* bench --sweep KEY=a,b,c: the same measurement for each value of one option, a row each.
 *
 * A key is an option of the same meaning; its row of the verb's table gives the range. To
 * add one: its line in `keys`, and what it sets in the options of the library.
 */
#include "cli/cmd_bench.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* offset: of the number in struct ruvm_bench_options; 0: the name of kernels. */
static const struct key {
    const char *name, *option;
    size_t offset;
} keys[] = {
    {"ctx", "ctx", offsetof(struct ruvm_bench_options, context)},
    {"block", "block", offsetof(struct ruvm_bench_options, block)},
    {"prompt", "prompt-tokens", offsetof(struct ruvm_bench_options, prompt_tokens)},
    {"tokens", "tokens", offsetof(struct ruvm_bench_options, generate_tokens)},
    {"batch", "batch", offsetof(struct ruvm_bench_options, batch)},
    {"threads", "threads", offsetof(struct ruvm_bench_options, threads)},
    {"kernels", "kernels", 0},
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

static int check_value(const struct ruvm_args *args, const struct ruvm_bench_sweep *s,
                       const struct ruvm_args_option *options, const char *text)
{
    uint32_t value;
    const struct ruvm_args_option *o = options;
    const char *option = find_key(s->key)->option;
    while (strcmp(o->name, option) != 0)
        o++;
    if (o->kind == RUVM_ARGS_KERNELS) {
        const struct ruvm_kernels *k;
        struct ruvm_error err = {0};
        return ruvm_kernels_find(&k, text, &err) == RUVM_OK
                   ? RUVM_EXIT_DONE
                   : ruvm_args_usage(args, "option '--sweep': %s", err.text);
    }
    if (parse_value(o, text, &value))
        return RUVM_EXIT_DONE;
    return ruvm_args_usage(args,
                           "option '--sweep': %s: '%s' is not a whole number from %.10g to %.10g",
                           s->key, text, o->min, o->max);
}

static int split(const struct ruvm_args *args, struct ruvm_bench_sweep *s,
                 const struct ruvm_args_option *options)
{
    char *value = strchr(s->text, '=') + 1;
    int rc = RUVM_EXIT_DONE;
    while (value && rc == 0) {
        char *comma = strchr(value, ',');
        if (comma)
            *comma = '\0';
        if (s->n == RUVM_BENCH_SWEEP_MOST)
            return ruvm_args_usage(args, "option '--sweep': more than %d values",
                                   RUVM_BENCH_SWEEP_MOST);
        rc = check_value(args, s, options, value);
        s->values[s->n++] = value;
        value = comma ? comma + 1 : NULL;
    }
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
                               "ctx block prompt tokens batch threads kernels",
                               text);
    *equals = '=';
    s->key = key->name;
    s->is_number = key->offset != 0;
    if (ruvm_args_given(args, key->option))
        return ruvm_args_usage(args, "--sweep %s and --%s do not go together", key->name,
                               key->option);
    return split(args, s, options);
}

void ruvm_cmd_bench_sweep_set(struct ruvm_bench_options *o, const struct ruvm_bench_sweep *s,
                              unsigned i)
{
    const struct key *key = find_key(s->key);
    if (!key->offset) {
        o->kernels = s->values[i];
        return;
    }
    uint32_t value = (uint32_t)strtoul(s->values[i], NULL, 10);
    memcpy((char *)o + key->offset, &value, sizeof value);
}

/* ---- the table --------------------------------------------------------------------- */

static void spread_cells(struct ruvm_table *t, const struct ruvm_spread *s)
{
    ruvm_table_cell(t, "%.5g", s->median);
    ruvm_table_cell(t, "%.5g", s->min);
    ruvm_table_cell(t, "%.5g", s->max);
}

void ruvm_cmd_bench_sweep_print(const struct ruvm_bench_list *list, enum ruvm_table_style style)
{
    const char *heads[] = {"model",  "kernels", list->sweep->key,     "prompt, tokens/s",
                           "min",    "max",     "generate, tokens/s", "min",
                           "max",    "n",       "engine, bytes",      "tier",
                           "machine"};
    struct ruvm_table t = {.heads = heads, .align = "lllrrrrrrrrll", .n_cols = 12};
    t.n_cols += style == RUVM_TABLE_CSV;
    for (unsigned i = 0; i < list->n; i++) {
        const struct ruvm_bench_result *r = &list->results[i];
        char *model = ruvm_output_visible(r->model, strlen(r->model));
        ruvm_table_cell(&t, "%s", model);
        free(model);
        ruvm_table_cell(&t, "%s", r->kernels);
        ruvm_table_cell(&t, "%s", list->sweep->values[list->points[i]]);
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
