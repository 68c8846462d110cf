/* inspect: what a model file holds, what it asks for, and where it is damaged. */
#include "cli/cmd_inspect.h"
#include "cli/cmd_classifier.h"
#include "cli/cmd_pack.h"

#include <stdlib.h>
#include <string.h>

static const struct ruvm_args_option options[] = {
    {"ctx", 0, RUVM_ARGS_COUNT, "N",
     .help = "context to count the engine's memory for; default: the image's", .min = 1,
     .max = 65535},
    {"tensor", 0, RUVM_ARGS_TEXT, "NAME", .help = "show only this tensor"},
    {"hist", 0, RUVM_ARGS_FLAG, .help = "add the histogram of its values; needs --tensor"},
    {"no-tensors", 0, RUVM_ARGS_FLAG, .help = "leave out the list of tensors"},
    {"diff", 0, RUVM_ARGS_FLAG,
     .help = "compare two files tensor by tensor; exit code 4: they differ"},
    {"fit", 0, RUVM_ARGS_CHOICE, "CHIP",
     .help = "whether it fits a chip, and what bounds its speed; exit code 3: it fits none",
     .choices = "esp32 esp32s2 esp32s3 esp32c3 esp32c6 all"},
    {"what-if", 0, RUVM_ARGS_TEXT, "LIST",
     .help = "with --fit: as if type=TYPE, ctx=N, flash=BYTES; separated by commas"},
    RUVM_ARGS_JSON,
    RUVM_ARGS_HELP,
    {0},
};

bool ruvm_cmd_inspect_shows(const struct ruvm_args *args, const char *tensor)
{
    const char *only = ruvm_args_text(args, "tensor");
    if (only)
        return strcmp(only, tensor) == 0;
    return !ruvm_args_given(args, "no-tensors");
}

/* ---- people -------------------------------------------------------------- */

/* A text from the file, on its own or as a table's cell. */
void ruvm_cmd_inspect_cell(struct ruvm_table *t, const char *text)
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

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static unsigned count_windowed(const struct ruvm_inspect_result *r)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < r->n_layers; i++)
        n += r->windowed[i] == '1';
    return n;
}

/* Of a Llama what is its own; of other networks what they have instead. */
static void print_network(const struct ruvm_inspect_result *r)
{
    printf("  network     %s eps %.3g", is(r->norm, "rms") ? "norm" : "LayerNorm", r->norm_eps);
    if (is(r->positions, "learned"))
        printf(", learned positions");
    else
        printf(", RoPE theta %.6g", r->rope_theta);
    if (r->rope_dims && r->rope_dims != r->head_dim)
        printf(" on %u of %u channels", r->rope_dims, r->head_dim);
    if (!is(r->activation, "silu_gated"))
        printf(", %s", is(r->activation, "relu")        ? "ReLU"
                       : is(r->activation, "gelu_tanh") ? "GELU (tanh)"
                                                        : "GELU");
    if (r->parallel)
        printf(", parallel");
    if (r->window)
        printf(", window %u in %u of %s", r->window, count_windowed(r),
               ruvm_output_many(r->n_layers, "layer"));
    if (r->score_scale * r->score_scale * r->head_dim > 1.01 ||
        r->score_scale * r->score_scale * r->head_dim < 0.99)
        printf(", scores times %.4g", r->score_scale);
    printf("%s, output head %s\n", r->n_biases ? ", biases" : "",
           r->tied ? "tied to the embedding" : "of its own");
}

static void print_note(const char *note)
{
    char *visible = note[0] ? ruvm_output_visible(note, strlen(note)) : NULL;
    if (visible)
        printf("  note        %s\n", visible);
    free(visible);
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
    if (r->has_shape)
        printf("  shape       vocab %u, dim %u, hidden %u, %s, %s of %u, %s, context %u\n",
               r->vocab, r->dim, r->hidden, ruvm_output_many(r->n_layers, "layer"),
               ruvm_output_many(r->n_heads, "head"), r->head_dim,
               ruvm_output_many(r->n_kv_heads, "kv head"), r->context);
    if (r->has_model)
        print_network(r);
    printf("  parameters  %s\n", ruvm_output_grouped(r->parameters));
    if (!r->is_v0)
        print_note(r->note);
}

static void print_token(const char *name, uint32_t id)
{
    if (id == RUVM_CMD_NO_TOKEN)
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
        printf("  golden      %s after a prompt of %u\n",
               ruvm_output_many(r->n_golden_tokens, "token"), r->n_golden_prompt);
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
        ruvm_cmd_inspect_cell(&t, s->name);
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

void ruvm_cmd_inspect_shape(char *text, size_t size, uint32_t n_dims, const uint64_t *dims)
{
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t d = 0; d < n_dims && d < 4 && n < size; d++)
        n += (size_t)snprintf(text + n, size - n, "%s%llu", d ? " x " : "",
                              (unsigned long long)dims[d]);
}

/* Offsets in several files say in which. */
static void offset_cell(struct ruvm_table *t, const struct ruvm_inspect_tensor *x)
{
    char text[160];
    snprintf(text, sizeof text, "%s%s%s", x->file ? x->file : "", x->file ? " " : "",
             ruvm_output_grouped(x->off_bytes));
    ruvm_cmd_inspect_cell(t, text);
}

static void print_tensors(const struct ruvm_args *args, const struct ruvm_inspect_result *r)
{
    static const char *const heads[] = {"tensor", "type", "shape", "offset", "bytes", "min", "max"};
    struct ruvm_table t = {.heads = heads, .align = "llrrrrr", .n_cols = 7};
    char shape[96];
    for (uint32_t i = 0; i < r->n_tensors; i++) {
        const struct ruvm_inspect_tensor *x = &r->tensors[i];
        if (!ruvm_cmd_inspect_shows(args, x->name))
            continue;
        ruvm_cmd_inspect_shape(shape, sizeof shape, x->n_dims, x->dims);
        ruvm_cmd_inspect_cell(&t, x->name);
        ruvm_cmd_inspect_cell(&t, x->type);
        ruvm_table_cell(&t, "%s", shape);
        offset_cell(&t, x);
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

static void print_operators(const struct ruvm_inspect_result *r)
{
    static const char *const heads[] = {"operator", "nodes"};
    struct ruvm_table t = {.heads = heads, .align = "lr", .n_cols = 2};
    if (!r->n_operators)
        return;
    for (uint32_t i = 0; i < r->n_operators; i++) {
        ruvm_cmd_inspect_cell(&t, r->operators[i].name);
        ruvm_table_cell(&t, "%u", r->operators[i].n_nodes);
    }
    putchar('\n');
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
        if (r->pack)
            ruvm_cmd_pack_print(o->input, r->pack);
        if (r->pack)
            puts("\nIts model:");
        print_header(o->input, r);
        print_parts(args, r);
        print_meta(r->meta);
        print_sections(r);
        print_operators(r);
    }
    print_tensors(args, r);
    if (r->has_histogram && ruvm_args_given(args, "hist"))
        print_histogram(r);
}

static int describe(const struct ruvm_args *args)
{
    struct ruvm_error err = {0};
    struct ruvm_inspect_result result = {0};
    struct ruvm_inspect_options o = {
        .input = ruvm_args_operand(args, 0),
        .context = ruvm_args_u32(args, "ctx"),
        .tensor = ruvm_args_text(args, "tensor"),
    };
    int rc = ruvm_inspect(&o, &result, &err);
    if (rc != RUVM_OK)
        rc = ruvm_output_failure("inspect", &err);
    else if (ruvm_args_given(args, "json"))
        ruvm_cmd_inspect_json(args, &o, &result);
    else
        print_human(args, &o, &result);
    ruvm_inspect_free(&result);
    return rc;
}

static int run(const struct ruvm_args *args)
{
    bool diff = ruvm_args_given(args, "diff");
    unsigned n = ruvm_args_n_operands(args);
    if (ruvm_args_given(args, "hist") && !ruvm_args_text(args, "tensor"))
        return ruvm_args_usage(args, "--hist needs --tensor NAME");
    if (diff && (ruvm_args_given(args, "hist") || ruvm_args_given(args, "ctx")))
        return ruvm_args_usage(args, "--diff takes neither --hist nor --ctx");
    if (ruvm_args_text(args, "fit") && (diff || ruvm_args_text(args, "tensor")))
        return ruvm_args_usage(args, "--fit takes neither --diff nor --tensor");
    if (ruvm_args_text(args, "what-if") && !ruvm_args_text(args, "fit"))
        return ruvm_args_usage(args, "--what-if needs --fit CHIP");
    if (diff && n != 2)
        return ruvm_args_usage(args, "--diff needs two files");
    if (!diff && n != 1)
        return ruvm_args_usage(args, "unexpected argument '%s'; --diff compares two files",
                               ruvm_args_operand(args, 1));
    if (ruvm_args_text(args, "fit"))
        return ruvm_cmd_inspect_fit(args);
    if (!diff && ruvm_classifier_probe(ruvm_args_operand(args, 0)) == RUVM_CLASSIFIER_IMAGE)
        return ruvm_cmd_classifier_inspect(args);
    return diff ? ruvm_cmd_inspect_diff(args) : describe(args);
}

const struct ruvm_args_command ruvm_cmd_inspect = {
    .name = "inspect",
    .summary = "Show what a model file holds and needs, or where it is damaged.",
    .usage = "FILE [FILE] [OPTION ...]",
    .examples =
        "  ruvm inspect stories.ruvm\n"
        "  ruvm inspect stories.ruvm --ctx 128 --no-tensors\n"
        "  ruvm inspect stories.ruvm --tensor layers.0.wq --hist\n"
        "  ruvm inspect stories.ruvm --fit esp32c3 --what-if type=int4,ctx=64\n"
        "  ruvm inspect --diff stories.ruvm stories.bin\n",
    .options = options,
    .min_operands = 1,
    .max_operands = 2,
    .run = run,
};
