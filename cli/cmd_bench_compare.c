/* bench --compare: the rates of this call over those of an older one.
 *
 * Two speeds may be compared only when nothing but the program differs: the same image,
 * kernels, lengths and processor. Everything else is refused, with what differs, rather
 * than turned into a ratio that means something else.
 */
#include "cli/cmd_bench.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 26 };

static int fail(const struct ruvm_bench_comparison *c, const char *text)
{
    ruvm_output_error("bench", "%s: %s", c->path, text);
    return RUVM_EXIT_FAILED;
}

/* ---- the older call -------------------------------------------------------------- */

static const char *text_of(const struct cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text ? text : "";
}

/* -1 when there is none. */
static double number_of(const struct cJSON *object, const char *key)
{
    const struct cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : -1;
}

/* Older programs had one thread and one text. */
static double count_of(const struct cJSON *object, const char *key)
{
    double n = number_of(object, key);
    return n < 0 && (strcmp(key, "threads") == 0 || strcmp(key, "batch") == 0) ? 1 : n;
}

static int check_old(struct ruvm_bench_comparison *c)
{
    const char *schema = text_of(c->old, "schema");
    c->machine = text_of(c->old, "machine");
    if (strcmp(schema, "ruvm-bench/1") != 0)
        return fail(c, "is no output of ruvm bench --json");
    if (!*c->machine)
        return fail(c, "machine: is not there, so nothing can be compared");
    return RUVM_EXIT_DONE;
}

static int read_old(struct ruvm_bench_comparison *c)
{
    struct ruvm_error err = {0};
    struct ruvm_file file;
    if (ruvm_file_open(&file, c->path, &err) != RUVM_OK)
        return ruvm_output_failure("bench", &err);
    if (file.size <= MOST_BYTES)
        c->old = cJSON_ParseWithLength((const char *)file.data, file.size);
    ruvm_file_close(&file);
    return c->old ? check_old(c) : fail(c, "is no JSON: give the output of ruvm bench --json");
}

/* "-3%" or "-3": at most 3 % slower. */
static int read_bound(struct ruvm_bench_comparison *c, const struct ruvm_args *args)
{
    const char *text = ruvm_args_text(args, "fail-if");
    char *end;
    if (!text)
        return RUVM_EXIT_DONE;
    double percent = strtod(text, &end);
    bool is_number = end != text;
    end += *end == '%';
    if (!is_number || *end || !(percent <= 0 && percent > -100))
        return ruvm_args_usage(args,
                               "option '--fail-if': '%s' is no loss above -100%% and up to 0%%, "
                               "such as -3%%",
                               text);
    c->bound = 1 + percent / 100;
    return RUVM_EXIT_DONE;
}

int ruvm_cmd_bench_compare_open(struct ruvm_bench_comparison *c, const struct ruvm_args *args)
{
    *c = (struct ruvm_bench_comparison){.path = ruvm_args_input(args, "compare")};
    if (!c->path)
        return ruvm_args_given(args, "fail-if")
                   ? ruvm_args_usage(args, "--fail-if needs --compare FILE")
                   : RUVM_EXIT_DONE;
    int rc = read_bound(c, args);
    return rc ? rc : read_old(c);
}

/* ---- what may be compared --------------------------------------------------------- */

/* Processor, architecture and how many there are: up to the compiler. */
static bool is_same_machine(const char *a, const char *b)
{
    size_t n = strcspn(a, ";");
    return n == strcspn(b, ";") && memcmp(a, b, n) == 0;
}

/* Older programs had none. */
static const char *mask_of(const struct cJSON *item)
{
    const char *mask = text_of(item, "mask");
    return *mask ? mask : "none";
}

static bool is_same_mask(const struct cJSON *item, const struct ruvm_bench_result *r)
{
    return strcmp(mask_of(item), r->mask) == 0;
}

/* The older result of this image and kernels, or NULL. */
static const struct cJSON *find_result(const struct ruvm_bench_comparison *c,
                                       const struct ruvm_bench_result *r)
{
    const struct cJSON *item, *models = cJSON_GetObjectItemCaseSensitive(c->old, "models");
    const struct cJSON *found = NULL;
    cJSON_ArrayForEach(item, models)
    {
        bool same_settings = is_same_mask(item, r) && number_of(item, "context") == r->context &&
                             number_of(item, "block") == r->block &&
                             count_of(item, "threads") == r->threads &&
                             count_of(item, "batch") == r->batch &&
                             number_of(item, "prompt_tokens") == r->prompt_tokens &&
                             number_of(item, "generate_tokens") == r->generate_tokens;
        if (number_of(item, "image_crc") == r->image_crc &&
            strcmp(text_of(item, "kernels"), r->kernels) == 0 && (!found || same_settings))
            found = item;
    }
    return found;
}

/* Names the first setting that differs. */
static int check_settings(const struct ruvm_bench_comparison *c, const struct cJSON *old,
                          const struct ruvm_bench_result *r)
{
    const struct {
        const char *key, *option;
        uint32_t now;
    } settings[] = {{"context", "--ctx", r->context},
                    {"block", "--block", r->block},
                    {"threads", "--threads", r->threads},
                    {"batch", "--batch", r->batch},
                    {"prompt_tokens", "--prompt-tokens", r->prompt_tokens},
                    {"generate_tokens", "--tokens", r->generate_tokens}};
    if (!is_same_mask(old, r)) {
        ruvm_output_error("bench", "%s: mask: %s there, %s here: measure both with the same --mask",
                          c->path, mask_of(old), r->mask);
        return RUVM_EXIT_FAILED;
    }
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        double then = count_of(old, settings[i].key);
        if (then == settings[i].now)
            continue;
        if (then < 0) {
            ruvm_output_error("bench", "%s: %s of %s: is not there", c->path, settings[i].key,
                              r->model);
            return RUVM_EXIT_FAILED;
        }
        ruvm_output_error("bench", "%s: %s: %.0f there, %u here: measure both with the same %s",
                          c->path, settings[i].key, then, settings[i].now, settings[i].option);
        return RUVM_EXIT_FAILED;
    }
    return RUVM_EXIT_DONE;
}

/* ---- rates -------------------------------------------------------------------------- */

static struct ruvm_spread spread_of(const struct cJSON *object, const char *key)
{
    char min[64], max[64];
    snprintf(min, sizeof min, "%s_min", key);
    snprintf(max, sizeof max, "%s_max", key);
    return (struct ruvm_spread){
        .median = number_of(object, key),
        .min = number_of(object, min),
        .max = number_of(object, max),
    };
}

static int add_rate(struct ruvm_bench_comparison *c, const struct ruvm_bench_rate *rate)
{
    struct ruvm_bench_rate *r = &c->rates[c->n];
    if (!(rate->then.min > 0 && rate->then.min <= rate->then.median &&
          rate->then.median <= rate->then.max && isfinite(rate->then.max))) {
        ruvm_output_error("bench", "%s: %s of %s: is no rate with its least and largest", c->path,
                          rate->what, rate->model);
        return RUVM_EXIT_FAILED;
    }
    *r = *rate;
    r->ratio = r->now.median / r->then.median;
    r->ratio_min = r->now.min / r->then.max;
    r->ratio_max = r->now.max / r->then.min;
    r->slower = r->ratio < c->bound;
    c->n_slower += r->slower;
    c->n++;
    return RUVM_EXIT_DONE;
}

static int add_speeds(struct ruvm_bench_comparison *c, const struct cJSON *old,
                      const struct ruvm_bench_result *r)
{
    struct ruvm_bench_rate prompt = {r->model, r->kernels, .now = r->prompt_tokens_per_s,
                                     .then = spread_of(old, "prompt_tokens_per_s")};
    struct ruvm_bench_rate decode = {r->model, r->kernels, .now = r->decode_tokens_per_s,
                                     .then = spread_of(old, "decode_tokens_per_s")};
    snprintf(prompt.what, sizeof prompt.what, "prompt of %u, tokens/s", r->prompt_tokens);
    snprintf(decode.what, sizeof decode.what, "generate %u, tokens/s", r->generate_tokens);
    int rc = check_settings(c, old, r);
    rc = rc ? rc : add_rate(c, &prompt);
    return rc ? rc : add_rate(c, &decode);
}

static const struct cJSON *find_kernel(const struct cJSON *list, const struct ruvm_bench_kernel *k,
                                       const char *level)
{
    const struct cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        double rows = number_of(item, "rows");
        if (strcmp(text_of(item, "kernels"), k->kernels) == 0 &&
            strcmp(text_of(item, "kernel"), k->name) == 0 &&
            strcmp(text_of(item, "level"), level) == 0 && number_of(item, "cols") == k->cols &&
            number_of(item, "vectors") == k->vectors && (rows < 0 ? 0 : rows) == k->rows)
            return item;
    }
    return NULL;
}

/* Those that both calls measured: a program may have other kernels than an older one. */
static int add_kernels(struct ruvm_bench_comparison *c, const struct cJSON *list,
                       const struct ruvm_bench_result *r)
{
    int rc = RUVM_EXIT_DONE;
    for (uint32_t i = 0; i < r->n_kernels && rc == 0; i++) {
        const struct ruvm_bench_kernel *k = &r->kernel_list[i];
        const char *key = k->multiplies ? "gmac_per_s" : "gvalues_per_s";
        const struct cJSON *old = find_kernel(list, k, r->roofs.levels[k->level].name);
        struct ruvm_bench_rate rate = {"-", k->kernels, .now = k->gmac_per_s,
                                       .then = spread_of(old, key)};
        ruvm_cmd_bench_kernel_name(rate.what, sizeof rate.what, k, &r->roofs);
        rc = old ? add_rate(c, &rate) : rc;
    }
    return rc;
}

static int compare_result(struct ruvm_bench_comparison *c, const struct ruvm_bench_list *list,
                          const struct ruvm_bench_result *r)
{
    const struct cJSON *old = find_result(c, r), *item;
    if (!list->no_speed && !old) {
        ruvm_output_error("bench", "%s: has no measurement of %s (CRC-32 %08x) with kernels %s",
                          c->path, r->model, r->image_crc, r->kernels);
        return RUVM_EXIT_FAILED;
    }
    int rc = list->no_speed ? RUVM_EXIT_DONE : add_speeds(c, old, r);
    /* kernels are the machine's, whichever model they were measured beside */
    const struct cJSON *kernels = NULL,
                       *models = cJSON_GetObjectItemCaseSensitive(c->old, "models");
    cJSON_ArrayForEach(item, models)
    {
        const struct cJSON *rates = cJSON_GetObjectItemCaseSensitive(item, "kernel_rates");
        kernels = rates && !kernels ? rates : kernels;
    }
    return rc ? rc : add_kernels(c, kernels, r);
}

int ruvm_cmd_bench_compare(struct ruvm_bench_comparison *c, const struct ruvm_bench_list *list)
{
    int rc = RUVM_EXIT_DONE;
    size_t most = 0;
    for (unsigned i = 0; i < list->n; i++)
        most += 2 + list->results[i].n_kernels;
    c->rates = ruvm_output_alloc(most ? most : 1, sizeof *c->rates);
    if (list->n && !is_same_machine(c->machine, list->results[0].machine)) {
        ruvm_output_error("bench", "%s: is of another machine: %s; this is: %s", c->path,
                          c->machine, list->results[0].machine);
        return RUVM_EXIT_FAILED;
    }
    for (unsigned i = 0; i < list->n && rc == 0; i++)
        rc = compare_result(c, list, &list->results[i]);
    if (rc == 0 && c->n == 0 && list->n)
        rc = fail(c, "has no rate that was measured here as well");
    return rc ? rc : c->n_slower ? RUVM_EXIT_SLOWER : RUVM_EXIT_DONE;
}

/* ---- output --------------------------------------------------------------------------- */

void ruvm_cmd_bench_compare_print(const struct ruvm_bench_comparison *c,
                                  enum ruvm_table_style style)
{
    static const char *const heads[] = {"model", "kernels", "rate",    "then",  "now",
                                        "ratio", "least",   "largest", "bound", "tier"};
    struct ruvm_table t = {.heads = heads, .align = "lllrrrrrll", .n_cols = 10};
    char *path = ruvm_output_visible(c->path, strlen(c->path));
    char *machine = ruvm_output_visible(c->machine, strlen(c->machine));
    printf("\nCompared with %s, measured on: %s\n\n", path, machine);
    free(path);
    free(machine);
    for (unsigned i = 0; i < c->n; i++) {
        const struct ruvm_bench_rate *r = &c->rates[i];
        char *model = ruvm_output_visible(r->model, strlen(r->model));
        ruvm_table_cell(&t, "%s", model);
        free(model);
        ruvm_table_cell(&t, "%s", r->kernels);
        ruvm_table_cell(&t, "%s", r->what);
        ruvm_table_cell(&t, "%.5g", r->then.median);
        ruvm_table_cell(&t, "%.5g", r->now.median);
        ruvm_table_cell(&t, "%.3f", r->ratio);
        ruvm_table_cell(&t, "%.3f", r->ratio_min);
        ruvm_table_cell(&t, "%.3f", r->ratio_max);
        ruvm_table_cell(&t, "%s", c->bound <= 0 ? "-" : r->slower ? "slower" : "kept");
        ruvm_table_cell(&t, "measured");
    }
    ruvm_table_print(&t, style);
    ruvm_table_free(&t);
}

void ruvm_cmd_bench_compare_json(struct cJSON *object, const struct ruvm_bench_comparison *c)
{
    struct cJSON *x = ruvm_json_object(object, "comparison");
    ruvm_json_text(x, "file", c->path);
    ruvm_json_text(x, "machine", c->machine);
    if (c->bound > 0)
        ruvm_json_number(x, "fail_if_percent", 100 * (c->bound - 1));
    ruvm_json_count(x, "slower", c->n_slower);
    ruvm_json_text(x, "tier", "measured");
    struct cJSON *rates = ruvm_json_array(x, "rates");
    for (unsigned i = 0; i < c->n; i++) {
        const struct ruvm_bench_rate *r = &c->rates[i];
        struct cJSON *rate = ruvm_json_object(rates, NULL);
        ruvm_json_text(rate, "model", r->model);
        ruvm_json_text(rate, "kernels", r->kernels);
        ruvm_json_text(rate, "rate", r->what);
        ruvm_json_number(rate, "then", r->then.median);
        ruvm_json_number(rate, "now", r->now.median);
        ruvm_json_number(rate, "ratio", r->ratio);
        ruvm_json_number(rate, "ratio_min", r->ratio_min);
        ruvm_json_number(rate, "ratio_max", r->ratio_max);
        ruvm_json_bool(rate, "slower", r->slower);
    }
}

void ruvm_cmd_bench_compare_free(struct ruvm_bench_comparison *c)
{
    cJSON_Delete(c->old);
    free(c->rates);
}
