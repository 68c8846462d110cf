/* inspect --fit: does the model fit a chip, and what bounds its speed there? */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd_inspect.h"

/* ---- --what-if ----------------------------------------------------------------------- */

static bool parse_count(uint32_t *value, const char *text)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    unsigned shift = *end == 'k' ? 10 : *end == 'M' ? 20 : 0;
    end += shift != 0;
    if (end == text || *end || errno || *text == '-' || v == 0 || v > UINT32_MAX >> shift)
        return false;
    *value = (uint32_t)(v << shift);
    return true;
}

/* "type=int4,ctx=64,flash=8M" into the options; the copy of the text lives with them. */
static bool parse_what_if(struct ruvm_fit_options *o, char *text)
{
    for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
        if (strncmp(word, "type=", 5) == 0)
            o->type = word + 5;
        else if (strncmp(word, "ctx=", 4) == 0) {
            if (!parse_count(&o->context, word + 4))
                return false;
        } else if (strncmp(word, "flash=", 6) == 0) {
            if (!parse_count(&o->flash_bytes, word + 6))
                return false;
        } else {
            return false;
        }
    }
    return true;
}

/* ---- people ---------------------------------------------------------------------------- */

/* Three digits, but never an exponent; the text lives until the next call. */
static const char *rate(double tokens_per_s)
{
    static char text[32];
    snprintf(text, sizeof text, tokens_per_s < 100 ? "%.3g" : "%.0f", tokens_per_s);
    return tokens_per_s < 1e4 ? text : ruvm_output_grouped((uint64_t)(tokens_per_s + 0.5));
}

static void print_left(const char *where, int64_t left)
{
    if (left >= 0)
        printf("    %-28s %12s\n", where, ruvm_output_grouped((uint64_t)left));
    else
        printf("    %-28s %12s missing\n", where, ruvm_output_grouped((uint64_t)-left));
}

static void print_row(const char *what, uint64_t bytes)
{
    printf("    %-28s %12s\n", what, ruvm_output_grouped(bytes));
}

static void print_memory(const struct ruvm_fit_result *r, const struct ruvm_fit_chip *c)
{
    printf("  memory, bytes of %s\n", ruvm_output_grouped(c->memory_bytes));
    if (r->is_classifier) {
        print_row("vectors of a run", c->state_bytes);
    } else {
        print_row("KV cache", c->kv_cache_bytes);
        print_row("engine without it", c->state_bytes);
        print_row("vector index", c->index_bytes);
    }
    print_row("code in RAM, variables", c->static_bytes);
    print_row("stack", c->stack_bytes);
    print_row("buffers of the console", c->buffer_bytes);
    print_left("left", c->memory_left_bytes);
    printf("    %-28s %12s, %s\n", "Wi-Fi would need", ruvm_output_grouped(c->wifi_bytes),
           c->fits_wifi ? "fits" : "does not fit");
}

static void print_speed(const struct ruvm_fit_result *r, const struct ruvm_fit_chip *c)
{
    const char *unit = r->is_classifier ? "run" : "token";
    printf("  speed       at most %s %ss/s%s, bound by %s; modelled\n", rate(c->tokens_per_s), unit,
           r->is_classifier ? "" : " in the middle of the context", c->binding);
    printf("    %s products a %s at %.3g instructions and %.0f MHz, one core: %.3g ms\n",
           ruvm_output_grouped(r->macs_token), unit, c->instructions_mac, c->clock_mhz,
           c->compute_s * 1e3);
    printf("      %s\n", c->instructions_source);
    printf("    %s bytes a %s at %.3g MB/s: %.3g ms\n", ruvm_output_grouped(r->bytes_token), unit,
           c->flash_mb_s, c->memory_s * 1e3);
    printf("      %s\n", c->flash_source);
}

static void print_context(const struct ruvm_fit_chip *c)
{
    if (c->largest_context)
        printf("  context     %u; at most %u\n", c->context, c->largest_context);
    else
        printf("  context     %u; none fits\n", c->context);
}

static void print_chip(const struct ruvm_fit_result *r, const struct ruvm_fit_chip *c)
{
    printf("%s (%s%s%s): %s\n", c->family, c->core, c->vector ? ", " : "",
           c->vector ? c->vector : "", c->fits ? "fits" : "does not fit");
    printf("  flash, bytes of %s\n", ruvm_output_grouped(c->flash_bytes));
    print_row(r->is_estimate ? "model, estimated" : "model", c->model_bytes);
    print_row("knowledge", c->knowledge_bytes);
    print_row("firmware, reserved", c->firmware_bytes);
    print_left("left", c->flash_left_bytes);
    printf("    %-28s %12s, %s\n", "window of mapped flash", ruvm_output_grouped(c->window_bytes),
           c->fits_window ? "fits" : "does not fit");
    print_memory(r, c);
    if (r->is_classifier)
        puts(
            "  firmware    that of ruvm runs no classifier: a program that links the library does");
    else
        print_context(c);
    print_speed(r, c);
}

static void add_left(struct ruvm_table *t, int64_t left)
{
    ruvm_table_cell(t, "%s%s", left < 0 ? "-" : "",
                    ruvm_output_grouped((uint64_t)(left < 0 ? -left : left)));
}

static void print_chips(const struct ruvm_fit_result *r)
{
    const char *heads[] = {"chip",        "fits",  "flash left", "memory left",
                           "max context", "Wi-Fi", "tokens/s",   "bound by"};
    struct ruvm_table t = {.heads = heads, .align = "llrrrlrl", .n_cols = 8};
    for (uint32_t i = 0; i < r->n_chips; i++) {
        const struct ruvm_fit_chip *c = &r->chips[i];
        ruvm_table_cell(&t, "%s", c->name);
        ruvm_table_cell(&t, "%s", c->fits ? "yes" : "no");
        add_left(&t, c->flash_left_bytes);
        add_left(&t, c->memory_left_bytes);
        ruvm_table_cell(&t, "%s", r->is_classifier ? "-" : ruvm_output_grouped(c->largest_context));
        ruvm_table_cell(&t, "%s", c->fits_wifi ? "yes" : "no");
        ruvm_table_cell(&t, "%s", rate(c->tokens_per_s));
        ruvm_table_cell(&t, "%s", c->binding);
    }
    if (r->is_classifier)
        heads[6] = "runs/s";
    else
        printf("context %u, ", r->context);
    printf("%s bytes%s; %s are modelled upper bounds\n\n", ruvm_output_grouped(r->image_bytes),
           r->is_estimate ? " (estimated)" : "", heads[6]);
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    ruvm_table_free(&t);
}

/* How far the bound is from what others measured: what to expect of it. */
static void print_published(const struct ruvm_fit_result *r)
{
    static const char *const heads[] = {"published result", "chip",  "weights in",
                                        "tokens/s",         "bound", "error"};
    struct ruvm_table t = {.heads = heads, .align = "lllrrr", .n_cols = 6};
    for (uint32_t i = 0; i < r->n_published; i++) {
        const struct ruvm_fit_published *p = &r->published[i];
        ruvm_table_cell(&t, "%s", p->system);
        ruvm_table_cell(&t, "%s", p->chip);
        ruvm_table_cell(&t, "%s", p->memory);
        ruvm_table_cell(&t, "%.3g", p->tokens_per_s);
        ruvm_table_cell(&t, "%.3g", p->modelled_tokens_per_s);
        ruvm_table_cell(&t, "%+.0f %%", (p->modelled_tokens_per_s / p->tokens_per_s - 1) * 100);
    }
    puts("\nThe bound by memory, modelled, beside what others measured:");
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    ruvm_table_free(&t);
}

/* ---- JSON ------------------------------------------------------------------------------- */

static void add_chip(struct cJSON *list, const struct ruvm_fit_chip *c)
{
    struct cJSON *x = ruvm_json_object(list, NULL);
    ruvm_json_text(x, "chip", c->name);
    ruvm_json_bool(x, "fits", c->fits);
    ruvm_json_bool(x, "fits_flash", c->fits_flash);
    ruvm_json_bool(x, "fits_window", c->fits_window);
    ruvm_json_bool(x, "fits_memory", c->fits_memory);
    ruvm_json_bool(x, "fits_wifi", c->fits_wifi);
    ruvm_json_count(x, "flash_bytes", c->flash_bytes);
    ruvm_json_count(x, "window_bytes", c->window_bytes);
    ruvm_json_count(x, "model_bytes", c->model_bytes);
    ruvm_json_count(x, "knowledge_bytes", c->knowledge_bytes);
    ruvm_json_count(x, "firmware_bytes", c->firmware_bytes);
    ruvm_json_signed(x, "flash_left_bytes", c->flash_left_bytes);
    ruvm_json_count(x, "memory_bytes", c->memory_bytes);
    ruvm_json_count(x, "kv_cache_bytes", c->kv_cache_bytes);
    ruvm_json_count(x, "state_bytes", c->state_bytes);
    ruvm_json_count(x, "index_bytes", c->index_bytes);
    ruvm_json_count(x, "static_bytes", c->static_bytes);
    ruvm_json_count(x, "stack_bytes", c->stack_bytes);
    ruvm_json_count(x, "buffer_bytes", c->buffer_bytes);
    ruvm_json_signed(x, "memory_left_bytes", c->memory_left_bytes);
    ruvm_json_count(x, "wifi_bytes", c->wifi_bytes);
    ruvm_json_count(x, "largest_context", c->largest_context);
    ruvm_json_number(x, "compute_s", c->compute_s);
    ruvm_json_number(x, "memory_s", c->memory_s);
    ruvm_json_number(x, "tokens_per_s", c->tokens_per_s);
    ruvm_json_text(x, "binding", c->binding);
    ruvm_json_text(x, "speed_is", "modelled");
}

static void print_json(const struct ruvm_fit_options *o, const struct ruvm_fit_result *r)
{
    struct cJSON *object = ruvm_json_start("inspect-fit");
    ruvm_json_text(object, "file", o->input);
    ruvm_json_text(object, "kind", r->is_classifier ? "classifier" : "language model");
    ruvm_json_count(object, "context", r->context);
    ruvm_json_count(object, "image_bytes", r->image_bytes);
    ruvm_json_bool(object, "estimated", r->is_estimate);
    ruvm_json_count(object, "macs_token", r->macs_token);
    ruvm_json_count(object, "bytes_token", r->bytes_token);
    struct cJSON *list = ruvm_json_array(object, "chips");
    for (uint32_t i = 0; i < r->n_chips; i++)
        add_chip(list, &r->chips[i]);
    list = ruvm_json_array(object, "published");
    for (uint32_t i = 0; i < r->n_published; i++) {
        const struct ruvm_fit_published *p = &r->published[i];
        struct cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_text(x, "system", p->system);
        ruvm_json_text(x, "source", p->source);
        ruvm_json_number(x, "tokens_per_s", p->tokens_per_s);
        ruvm_json_number(x, "modelled_tokens_per_s", p->modelled_tokens_per_s);
    }
    ruvm_json_finish(object);
}

/* ---- the action ---------------------------------------------------------------------------- */

static int verdict(const struct ruvm_fit_result *r)
{
    for (uint32_t i = 0; i < r->n_chips; i++)
        if (r->chips[i].fits)
            return RUVM_EXIT_DONE;
    return RUVM_EXIT_FIT;
}

int ruvm_cmd_inspect_fit(const struct ruvm_args *args)
{
    struct ruvm_error err = {0};
    struct ruvm_fit_result r;
    char what_if[128] = "";
    const char *wish = ruvm_args_text(args, "what-if");
    struct ruvm_fit_options o = {.input = ruvm_args_operand(args, 0),
                                 .chip = ruvm_args_text(args, "fit"),
                                 .context = ruvm_args_u32(args, "ctx")};
    snprintf(what_if, sizeof what_if, "%s", wish ? wish : "");
    if ((wish && strlen(wish) >= sizeof what_if) || !parse_what_if(&o, what_if))
        return ruvm_args_usage(args,
                               "--what-if '%s': give type=TYPE, ctx=N and flash=BYTES, "
                               "separated by commas",
                               wish);
    if (ruvm_fit(&o, &r, &err) != RUVM_OK)
        return ruvm_output_failure("inspect", &err);
    if (ruvm_args_given(args, "json")) {
        print_json(&o, &r);
        return verdict(&r);
    }
    if (r.n_chips == 1)
        print_chip(&r, &r.chips[0]);
    else
        print_chips(&r);
    if (!r.is_classifier)
        print_published(&r);
    return verdict(&r);
}
