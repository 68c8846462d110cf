/* inspect: what a model file holds, what it asks for, and where it is damaged. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

enum { NO_TOKEN = 0xFFFF };

static const struct ruvm_args_option options[] = {
    {"ctx", 0, RUVM_ARGS_COUNT, "N",
     .help = "context to count the engine's memory for; default: the image's", .min = 1,
     .max = 65535},
    {"tensor", 0, RUVM_ARGS_TEXT, "NAME", .help = "show only this tensor"},
    {"hist", 0, RUVM_ARGS_FLAG, .help = "add the histogram of its values; needs --tensor"},
    {"no-tensors", 0, RUVM_ARGS_FLAG, .help = "leave out the list of tensors"},
    RUVM_ARGS_JSON,
    RUVM_ARGS_HELP,
    {0},
};

static bool is_shown(const struct ruvm_args *args, const struct ruvm_inspect_tensor *t)
{
    const char *only = ruvm_args_text(args, "tensor");
    if (only)
        return strcmp(only, t->name) == 0;
    return !ruvm_args_given(args, "no-tensors");
}

/* ---- people -------------------------------------------------------------- */

/* A text from the file, on its own or as a table's cell. */
static void visible_cell(struct ruvm_table *t, const char *text)
{
    char *visible = ruvm_output_visible(text, strlen(text));
    ruvm_table_cell(t, "%s", visible);
    free(visible);
}

/* The published values of the header's byte. */
static const char *quantization(uint32_t type)
{
    static const char *const names[] = {"int8", "int4", "binary", "ternary"};
    if (type < sizeof names / sizeof *names)
        return names[type];
    return type == 255 ? "mixed" : "unknown";
}

static void print_header(const char *path, const struct ruvm_inspect_result *r)
{
    printf("%s: %s, %s bytes\n", path, r->format, ruvm_output_grouped(r->file_bytes));
    if (r->is_image)
        printf("  header      version %u, quantization %u (%s), CRC-32 %08x\n", r->version,
               r->quant_type, quantization(r->quant_type), r->header_crc32);
    if (r->is_v0)
        printf(
            "  header      the published one, quantization %u (%s), no checksum\n"
            "  note        weights only, without scales, norms and tokenizer: it cannot run as\n"
            "              it is; ruvm quantize --v0-scale makes an image of it\n",
            r->quant_type, quantization(r->quant_type));
    printf(
        "  shape       vocab %u, dim %u, hidden %u, %u layers, %u heads of %u, %u kv heads, "
        "context %u\n",
        r->vocab, r->dim, r->hidden, r->n_layers, r->n_heads, r->head_dim, r->n_kv_heads,
        r->context);
    if (!r->is_v0)
        printf("  network     norm eps %.3g, RoPE theta %.6g, output head %s\n", r->norm_eps,
               r->rope_theta, r->tied ? "tied to the embedding" : "of its own");
    printf("  parameters  %s\n", ruvm_output_grouped(r->parameters));
}

static void print_token(const char *name, uint16_t id)
{
    if (id == NO_TOKEN)
        printf(", no %s", name);
    else
        printf(", %s %u", name, id);
}

static void print_parts(const struct ruvm_args *args, const struct ruvm_inspect_result *r)
{
    if (r->has_tokenizer) {
        printf("  tokenizer   %u pieces", r->n_pieces);
        print_token("BOS", r->bos);
        print_token("EOS", r->eos);
        print_token("unknown", r->unk);
        putchar('\n');
    } else if (r->is_image) {
        puts("  tokenizer   none");
    }
    if (r->n_golden_tokens)
        printf("  golden      %u tokens after a prompt of %u\n", r->n_golden_tokens,
               r->n_golden_prompt);
    if (r->is_image)
        printf(
            "  engine      %s bytes of memory at context %u, of them %s for keys of %u bits and "
            "values of %u\n",
            ruvm_output_grouped(r->engine_bytes), r->engine_context,
            ruvm_output_grouped(r->kv_cache_bytes), r->k_bits, r->v_bits);
    else if (ruvm_args_given(args, "ctx"))
        puts("  engine      its memory is known of an image: make one with ruvm quantize");
}

static void print_meta(const char *meta)
{
    if (!meta)
        return;
    for (const char *line = meta; *line;) {
        size_t n = strcspn(line, "\n");
        char *visible = ruvm_output_visible(line, n);
        printf("  meta        %s\n", visible);
        free(visible);
        line += n + (line[n] == '\n');
    }
}

static void print_sections(const struct ruvm_inspect_result *r)
{
    static const char *const heads[] = {"section", "offset", "bytes", "CRC-32", "kind"};
    struct ruvm_table t = {.heads = heads, .align = "lrrrl", .n_cols = 5};
    if (!r->n_sections)
        return;
    for (uint32_t i = 0; i < r->n_sections; i++) {
        const struct ruvm_inspect_section *s = &r->sections[i];
        visible_cell(&t, s->name);
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(s->off_bytes));
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(s->size_bytes));
        ruvm_table_cell(&t, "%08x", s->crc32);
        ruvm_table_cell(&t, "%s%s", s->required ? "required" : "optional",
                        s->known ? "" : ", unknown to this version");
    }
    putchar('\n');
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    ruvm_table_free(&t);
}

static void shape_cell(struct ruvm_table *t, const struct ruvm_inspect_tensor *x)
{
    char text[96] = "";
    size_t n = 0;
    for (uint32_t d = 0; d < x->n_dims && d < 4; d++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%llu", d ? " x " : "",
                              (unsigned long long)x->dims[d]);
    ruvm_table_cell(t, "%s", text);
}

static void print_tensors(const struct ruvm_args *args, const struct ruvm_inspect_result *r)
{
    static const char *const heads[] = {"tensor", "type", "shape", "offset", "bytes", "min", "max"};
    struct ruvm_table t = {.heads = heads, .align = "llrrrrr", .n_cols = 7};
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_inspect_tensor *x = &r->tensors[i];
        if (!is_shown(args, x))
            continue;
        visible_cell(&t, x->name);
        visible_cell(&t, x->type);
        shape_cell(&t, x);
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(x->off_bytes));
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(x->size_bytes));
        ruvm_table_cell(&t, "%.4g", x->min);
        ruvm_table_cell(&t, "%.4g", x->max);
    }
    if (t.n_cells && !ruvm_args_text(args, "tensor"))
        putchar('\n');
    if (t.n_cells)
        ruvm_table_print(&t, RUVM_TABLE_TEXT);
    ruvm_table_free(&t);
}

static void print_histogram(const struct ruvm_inspect_result *r)
{
    enum { BAR = 50 };
    static const char bar[BAR + 1] = "##################################################";
    uint64_t most = 1;
    for (unsigned i = 0; i < RUVM_INSPECT_BINS; i++)
        most = r->histogram[i] > most ? r->histogram[i] : most;
    double step = (r->histogram_max - r->histogram_min) / RUVM_INSPECT_BINS;
    puts("\n      from          to       count");
    for (unsigned i = 0; i < RUVM_INSPECT_BINS; i++) {
        uint64_t n = r->histogram[i];
        int length = (int)((double)n / (double)most * BAR + (n ? 0.999 : 0));
        printf("%10.4g  %10.4g  %10s%s%.*s\n", r->histogram_min + step * i,
               r->histogram_min + step * (i + 1), ruvm_output_grouped(n), length ? "  " : "",
               length > BAR ? BAR : length, bar);
    }
}

static void print_human(const struct ruvm_args *args, const struct ruvm_inspect_options *o,
                        const struct ruvm_inspect_result *r)
{
    if (!o->tensor) {
        print_header(o->input, r);
        print_parts(args, r);
        print_meta(r->meta);
        print_sections(r);
    }
    print_tensors(args, r);
    if (r->has_histogram && ruvm_args_given(args, "hist"))
        print_histogram(r);
}

/* ---- programs ------------------------------------------------------------ */

static void add_shape(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    ruvm_json_count(object, "vocab", r->vocab);
    ruvm_json_count(object, "dim", r->dim);
    ruvm_json_count(object, "hidden", r->hidden);
    ruvm_json_count(object, "n_layers", r->n_layers);
    ruvm_json_count(object, "n_heads", r->n_heads);
    ruvm_json_count(object, "n_kv_heads", r->n_kv_heads);
    ruvm_json_count(object, "head_dim", r->head_dim);
    ruvm_json_count(object, "context", r->context);
    ruvm_json_count(object, "parameters", r->parameters);
    if (r->is_v0)
        return;
    ruvm_json_bool(object, "tied", r->tied);
    ruvm_json_number(object, "norm_eps", r->norm_eps);
    ruvm_json_number(object, "rope_theta", r->rope_theta);
}

static void add_sections(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    struct cJSON *list = ruvm_json_array(object, "sections");
    for (uint32_t i = 0; i < r->n_sections; i++) {
        const struct ruvm_inspect_section *s = &r->sections[i];
        struct cJSON *x = ruvm_json_object(list, NULL);
        ruvm_json_text(x, "name", s->name);
        ruvm_json_count(x, "off_bytes", s->off_bytes);
        ruvm_json_count(x, "size_bytes", s->size_bytes);
        ruvm_json_count(x, "crc32", s->crc32);
        ruvm_json_bool(x, "required", s->required);
        ruvm_json_bool(x, "known", s->known);
    }
}

static void add_image(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    ruvm_json_count(object, "header_crc32", r->header_crc32);
    ruvm_json_count(object, "engine_context", r->engine_context);
    ruvm_json_count(object, "engine_bytes", r->engine_bytes);
    ruvm_json_count(object, "kv_cache_bytes", r->kv_cache_bytes);
    ruvm_json_count(object, "k_bits", r->k_bits);
    ruvm_json_count(object, "v_bits", r->v_bits);
    ruvm_json_count(object, "golden_prompt_tokens", r->n_golden_prompt);
    ruvm_json_count(object, "golden_tokens", r->n_golden_tokens);
    ruvm_json_text(object, "meta", r->meta ? r->meta : "");
    add_sections(object, r);
}

static void add_token(struct cJSON *object, const char *key, uint16_t id)
{
    if (id != NO_TOKEN)
        ruvm_json_count(object, key, id);
}

static void add_tokenizer(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    ruvm_json_bool(object, "has_tokenizer", r->has_tokenizer);
    if (!r->has_tokenizer)
        return;
    ruvm_json_count(object, "n_pieces", r->n_pieces);
    add_token(object, "bos", r->bos);
    add_token(object, "eos", r->eos);
    add_token(object, "unk", r->unk);
}

static void add_tensors(struct cJSON *object, const struct ruvm_args *args,
                        const struct ruvm_inspect_result *r)
{
    struct cJSON *list = ruvm_json_array(object, "tensors");
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_inspect_tensor *x = &r->tensors[i];
        if (!is_shown(args, x))
            continue;
        struct cJSON *t = ruvm_json_object(list, NULL);
        ruvm_json_text(t, "name", x->name);
        ruvm_json_text(t, "type", x->type);
        struct cJSON *shape = ruvm_json_array(t, "shape");
        for (uint32_t d = 0; d < x->n_dims && d < 4; d++)
            ruvm_json_count(shape, NULL, x->dims[d]);
        ruvm_json_count(t, "off_bytes", x->off_bytes);
        ruvm_json_count(t, "size_bytes", x->size_bytes);
        ruvm_json_number(t, "min", x->min);
        ruvm_json_number(t, "max", x->max);
    }
}

static void add_histogram(struct cJSON *object, const struct ruvm_inspect_result *r)
{
    struct cJSON *h = ruvm_json_object(object, "histogram");
    ruvm_json_number(h, "min", r->histogram_min);
    ruvm_json_number(h, "max", r->histogram_max);
    struct cJSON *counts = ruvm_json_array(h, "counts");
    for (unsigned i = 0; i < RUVM_INSPECT_BINS; i++)
        ruvm_json_count(counts, NULL, r->histogram[i]);
}

static void print_json(const struct ruvm_args *args, const struct ruvm_inspect_options *o,
                       const struct ruvm_inspect_result *r)
{
    struct cJSON *object = ruvm_json_start("inspect");
    ruvm_json_text(object, "file", o->input);
    ruvm_json_text(object, "format", r->format);
    ruvm_json_count(object, "file_bytes", r->file_bytes);
    if (r->is_image || r->is_v0) {
        ruvm_json_count(object, "version", r->version);
        ruvm_json_count(object, "quant_type", r->quant_type);
    }
    add_shape(object, r);
    add_tokenizer(object, r);
    if (r->is_image)
        add_image(object, r);
    add_tensors(object, args, r);
    if (r->has_histogram && ruvm_args_given(args, "hist"))
        add_histogram(object, r);
    ruvm_json_finish(object);
}

static int run(const struct ruvm_args *args)
{
    struct ruvm_error err = {0};
    struct ruvm_inspect_result result = {0};
    struct ruvm_inspect_options o = {
        .input = ruvm_args_operand(args, 0),
        .context = ruvm_args_u32(args, "ctx"),
        .tensor = ruvm_args_text(args, "tensor"),
    };
    if (ruvm_args_given(args, "hist") && !o.tensor)
        return ruvm_args_usage(args, "--hist needs --tensor NAME");
    int rc = ruvm_inspect(&o, &result, &err);
    if (rc != RUVM_OK)
        rc = ruvm_output_failure("inspect", &err);
    else if (ruvm_args_given(args, "json"))
        print_json(args, &o, &result);
    else
        print_human(args, &o, &result);
    ruvm_inspect_free(&result);
    return rc;
}

const struct ruvm_args_command ruvm_cmd_inspect = {
    .name = "inspect",
    .summary = "Show what a model file holds and needs, or where it is damaged.",
    .usage = "FILE [OPTION ...]",
    .examples =
        "  ruvm inspect stories.ruvm\n"
        "  ruvm inspect stories.ruvm --ctx 128 --no-tensors\n"
        "  ruvm inspect stories.ruvm --tensor layers.0.wq --hist\n",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
