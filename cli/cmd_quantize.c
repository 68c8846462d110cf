/* quantize: a foreign model in, a RUVM image and its measured loss out. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cmd_quantize.h"
#include "cli/cmd_classifier.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct ruvm_args_option options[] = {
    {"output", 'o', RUVM_ARGS_FILE, "OUT", .help = "image to write; - is standard output"},
    {"tokenizer", 0, RUVM_ARGS_FILE, "FILE",
     .help = "tokenizer to put into the image, of any kind, instead of the model's own; none: "
             "leave it out"},
    {"type", 't', RUVM_ARGS_TEXT, "TYPE",
     .help = "type of the layers' matrices, with a group as in int4:32 or int4:row if wanted",
     .fallback = "int8", .choices = RUVM_QUANTIZE_TYPES},
    {"embed-type", 0, RUVM_ARGS_TEXT, "TYPE", .help = "type of the embedding", .fallback = "int8",
     .choices = RUVM_QUANTIZE_TYPES},
    {"head-type", 0, RUVM_ARGS_TEXT, "TYPE",
     .help = "type of the output head, where it is not the embedding", .fallback = "int8",
     .choices = RUVM_QUANTIZE_TYPES},
    {"tensor-type", 0, RUVM_ARGS_TEXT, "REGEX=TYPE",
     .help = "type of the tensors whose name matches; a later one wins", .repeats = true},
    {"keep", 0, RUVM_ARGS_TEXT, "REGEX",
     .help = "keep matching tensors at int8; wins over --tensor-type", .repeats = true},
    {"method", 0, RUVM_ARGS_CHOICE, "WORD",
     .help = "how to round the weights (unless given: rtn for int8, gptq for the others)",
     .choices = "rtn mse gptq"},
    {"k-bits", 0, RUVM_ARGS_CHOICE, "N", .help = "bits of a cached key", .fallback = "8",
     .choices = "8 4"},
    {"v-bits", 0, RUVM_ARGS_CHOICE, "N", .help = "bits of a cached value", .fallback = "8",
     .choices = "8 4"},
    {"calib", 0, RUVM_ARGS_FILE, "FILE",
     .help = "text to calibrate on; self: samples of the model itself; of a classifier rows of "
             "numbers, CSV or .npy",
     .fallback = "self"},
    {"calib-tokens", 0, RUVM_ARGS_COUNT, "N",
     .help = "positions that the calibration looks at; default: by the model's size", .min = 1,
     .max = 1 << 20},
    {"max-bytes", 0, RUVM_ARGS_COUNT, "N",
     .help = "search the types that lose least in an image of at most N bytes; k and M: 2^10, "
             "2^20",
     .min = 1, .max = UINT32_MAX},
    {"max-kl", 0, RUVM_ARGS_NUMBER, "X",
     .help = "search the smallest image whose measured KL is at most X nats", .min = 1e-6,
     .max = 100},
    {"target", 0, RUVM_ARGS_TEXT, "CHIP",
     .help = "search the types that lose least and fit this chip, at the context of --ctx",
     .choices = "esp32 esp32s2 esp32s3 esp32c3 esp32c6"},
    {"plot", 0, RUVM_ARGS_FILE, "FILE", .help = "draw the curve of the search as SVG"},
    {"prune-heads", 0, RUVM_ARGS_COUNT, "N",
     .help = "take N key/value heads with their queries from every layer", .min = 1, .max = 255},
    {"prune-ffn", 0, RUVM_ARGS_COUNT, "N", .help = "take N units from every feed-forward", .min = 1,
     .max = 65535},
    {"drop-layer", 0, RUVM_ARGS_TEXT, "LIST", .help = "leave out layers, counted from 0; 3 or 1,4"},
    {"vocab-prune", 0, RUVM_ARGS_FLAG,
     .help = "leave out tokens that the calibration text never uses"},
    {"distill", 0, RUVM_ARGS_COUNT, "STEPS",
     .help = "train the quantized weights towards the float model; takes minutes", .min = 1,
     .max = 1 << 24},
    {"checkpoint", 0, RUVM_ARGS_FILE, "FILE",
     .help = "keep the state of --distill there and resume from it"},
    {"threads", 0, RUVM_ARGS_COUNT, "N", .help = "threads to work with; default: all processors",
     .min = 1, .max = 256},
    {"eval", 0, RUVM_ARGS_FILE, "FILE",
     .help = "measure the quality on this text; without it on samples of the model itself"},
    {"eval-tokens", 0, RUVM_ARGS_COUNT, "N",
     .help = "positions to measure the quality at; default: 16384, fewer for a large model",
     .min = 1, .max = 1 << 24},
    {"ctx", 0, RUVM_ARGS_COUNT, "N", .help = "context of the image in tokens; default: the model's",
     .min = 1, .max = 65535},
    {"name", 0, RUVM_ARGS_TEXT, "TEXT", .help = "name of the model, kept in the image"},
    {"labels", 0, RUVM_ARGS_FILE, "FILE",
     .help = "of a classifier: names of its classes, one a line, kept in the image"},
    {"input-range", 0, RUVM_ARGS_NUMBER, "X",
     .help = "of a classifier without --calib: inputs lie within -X and X; default: what its "
             "own normalisation tells, else 8",
     .min = 1e-9, .max = 1e9},
    {"v0-scale", 0, RUVM_ARGS_NUMBER, "X",
     .help = "real value of one step of the weights; needed by RUVM v0 files, which do not say it",
     .min = 1e-9, .max = 1e9},
    {"seed", 0, RUVM_ARGS_SEED, "N", .help = "seed of the samples for calibration and measurement",
     .fallback = "1"},
    {"to", 0, RUVM_ARGS_CHOICE, "FORMAT",
     .help = "export for other programs instead; safetensors makes a folder",
     .choices = "gguf safetensors"},
    {"to-type", 0, RUVM_ARGS_CHOICE, "TYPE", .help = "type of the exported matrices",
     .fallback = "f32", .choices = "f32 f16 bf16 q8_0"},
    {"report", 0, RUVM_ARGS_FLAG,
     .help = "add the table of tensors, the worst of them and what to do, and two continuations"},
    {"no-quality", 0, RUVM_ARGS_FLAG, .help = "skip the measurement of quality"},
    {"dry-run", 0, RUVM_ARGS_FLAG,
     .help = "sizes only; of every type, unless --type is given; nothing is written or measured"},
    RUVM_ARGS_JSON,
    {"quiet", 'q', RUVM_ARGS_FLAG, .help = "print nothing but errors and warnings"},
    RUVM_ARGS_PROGRESS,
    RUVM_ARGS_HELP,
    {0},
};

bool ruvm_cmd_quantize_searches(const struct ruvm_quantize_options *o)
{
    return o->max_bytes || o->max_kl > 0 || o->target;
}

bool ruvm_cmd_quantize_estimated(const struct ruvm_quantize_result *r)
{
    for (uint32_t i = 0; i < r->n_tensors; i++)
        if (r->tensors[i].loss_share > 0)
            return true;
    return false;
}

/* ---- options to the library's -------------------------------------------- */

/* Given, or NULL: the library's own default. */
static const char *text_if_given(const struct ruvm_args *args, const char *name)
{
    return ruvm_args_given(args, name) ? ruvm_args_text(args, name) : NULL;
}

static const char *calibration_file(const struct ruvm_args *args)
{
    const char *file = ruvm_args_input(args, "calib");
    return strcmp(file, "self") == 0 ? NULL : file;
}

static uint32_t bits_of(const struct ruvm_args *args, const char *name)
{
    return *ruvm_args_text(args, name) == '4' ? 4 : 8;
}

static struct ruvm_quantize_options options_from(const struct ruvm_args *args)
{
    bool silent = ruvm_args_given(args, "quiet") && !ruvm_args_given(args, "progress");
    return (struct ruvm_quantize_options){
        .input = ruvm_args_operand(args, 0),
        .output = ruvm_args_text(args, "output"),
        .tokenizer = ruvm_args_input(args, "tokenizer"),
        .type = text_if_given(args, "type"),
        .embed_type = text_if_given(args, "embed-type"),
        .head_type = text_if_given(args, "head-type"),
        .method = ruvm_args_text(args, "method"),
        .k_bits = bits_of(args, "k-bits"),
        .v_bits = bits_of(args, "v-bits"),
        .calib_text = calibration_file(args),
        .eval_text = ruvm_args_input(args, "eval"),
        .eval_tokens = ruvm_args_u32(args, "eval-tokens"),
        .calib_tokens = ruvm_args_u32(args, "calib-tokens"),
        .context = ruvm_args_u32(args, "ctx"),
        .v0_scale = ruvm_args_number(args, "v0-scale"),
        .name = ruvm_args_text(args, "name"),
        .max_bytes = ruvm_args_count(args, "max-bytes"),
        .max_kl = ruvm_args_number(args, "max-kl"),
        .target = ruvm_args_text(args, "target"),
        .prune_heads = ruvm_args_u32(args, "prune-heads"),
        .prune_ffn = ruvm_args_u32(args, "prune-ffn"),
        .vocab_prune = ruvm_args_given(args, "vocab-prune"),
        .distill_steps = ruvm_args_u32(args, "distill"),
        .checkpoint = ruvm_args_text(args, "checkpoint"),
        .threads = ruvm_args_u32(args, "threads"),
        .no_quality = ruvm_args_given(args, "no-quality"),
        .dry_run = ruvm_args_given(args, "dry-run"),
        .tensor_losses = ruvm_args_given(args, "report") || ruvm_args_given(args, "json"),
        .measure_curve = ruvm_args_given(args, "report") || ruvm_args_given(args, "json") ||
                         ruvm_args_given(args, "plot"),
        .seed = ruvm_args_count(args, "seed"),
        .progress = ruvm_output_progress(silent ? "none" : ruvm_args_text(args, "progress")),
    };
}

/* The library wants one list, of which the last match wins: keeps go last. */
static int take_tensor_types(struct ruvm_quantize_call *call)
{
    unsigned n_types, n_keeps;
    const char *const *types = ruvm_args_texts(call->args, "tensor-type", &n_types);
    const char *const *keeps = ruvm_args_texts(call->args, "keep", &n_keeps);
    call->tensor_types = ruvm_output_alloc(n_types + n_keeps, sizeof *call->tensor_types);
    for (unsigned i = 0; i < n_types + n_keeps; i++) {
        const char *from = i < n_types ? types[i] : keeps[i - n_types];
        const char *equals = strrchr(from, '=');
        if (i < n_types && (!equals || equals == from))
            return ruvm_args_usage(call->args, "option '--tensor-type': '%s' is not REGEX=TYPE",
                                   from);
        int rc = i < n_types ? ruvm_cmd_quantize_check_type(call->args, "tensor-type", equals + 1)
                             : RUVM_EXIT_DONE;
        if (rc)
            return rc;
        size_t size = strlen(from) + sizeof "=int8";
        call->tensor_types[i] = ruvm_output_alloc(size, 1);
        snprintf(call->tensor_types[i], size, "%s%s", from, i < n_types ? "" : "=int8");
        call->o.n_tensor_types = i + 1;
    }
    call->o.tensor_types = (const char *const *)call->tensor_types;
    return RUVM_EXIT_DONE;
}

/* "1,4" */
static int take_layers(struct ruvm_quantize_call *call)
{
    const char *list = ruvm_args_text(call->args, "drop-layer");
    enum { MAX_LAYER = 254 }; /* an image has 255 layers at most */
    if (!list)
        return RUVM_EXIT_DONE;
    call->drop_layers = ruvm_output_alloc(strlen(list) + 1, sizeof *call->drop_layers);
    call->o.drop_layers = call->drop_layers;
    for (const char *at = list;; at++) {
        char *end = NULL;
        unsigned long layer = *at >= '0' && *at <= '9' ? strtoul(at, &end, 10) : MAX_LAYER + 1;
        if (layer > MAX_LAYER || (*end && *end != ','))
            return ruvm_args_usage(
                call->args, "option '--drop-layer': '%s' is not a list of layers: 3 or 1,4", list);
        for (uint32_t i = 0; i < call->o.n_drop_layers; i++)
            if (call->drop_layers[i] == layer)
                return ruvm_args_usage(call->args,
                                       "option '--drop-layer': layer %lu is there twice", layer);
        call->drop_layers[call->o.n_drop_layers++] = (uint32_t)layer;
        at = end;
        if (!*at)
            return RUVM_EXIT_DONE;
    }
}

static int take_options(struct ruvm_quantize_call *call)
{
    call->o = options_from(call->args);
    int rc = take_tensor_types(call);
    if (rc == RUVM_EXIT_DONE)
        rc = take_layers(call);
    if (rc == RUVM_EXIT_DONE)
        rc = ruvm_cmd_quantize_check(call);
    return rc;
}

/* ---- the work ------------------------------------------------------------- */

/* A dry run that names no type shows what each would weigh. */
static int find_sizes(struct ruvm_quantize_call *call, struct ruvm_error *err)
{
    static const char *const types[] = {"int8",    "int4",   "int3", "int2",
                                        "ternary", "binary", "xnor"};
    enum { N_TYPES = sizeof types / sizeof *types };
    int rc = RUVM_OK;
    if (!call->o.dry_run || call->o.type)
        return RUVM_OK;
    call->sizes = ruvm_output_alloc(N_TYPES, sizeof *call->sizes);
    for (unsigned i = 0; rc == RUVM_OK && i < N_TYPES; i++) {
        struct ruvm_quantize_options o = call->o;
        struct ruvm_quantize_result r = {0};
        o.type = types[i];
        o.tensor_losses = false; /* sizes need no look at the weights */
        rc = ruvm_quantize(&o, &r, err);
        struct ruvm_quantize_size *size = &call->sizes[i];
        snprintf(size->type, sizeof size->type, "%s", types[i]);
        size->image_bytes = r.image_bytes;
        size->bits_per_weight = r.bits_per_weight;
        call->n_sizes += rc == RUVM_OK;
        ruvm_quantize_free(&r);
    }
    return rc;
}

/* 0 when there is no file to ask. */
static size_t engine_bytes_of(const struct ruvm_quantize_options *o)
{
    struct ruvm_file file;
    size_t bytes = 0;
    if (o->dry_run || !o->output || strcmp(o->output, "-") == 0)
        return 0;
    if (ruvm_file_open(&file, o->output, NULL) != RUVM_OK)
        return 0;
    if (ruvm_engine_bytes(file.data, file.size, NULL, &bytes) != RUVM_OK)
        bytes = 0;
    ruvm_file_close(&file);
    return bytes;
}

void ruvm_cmd_quantize_leave_stdout(const struct ruvm_quantize_options *o)
{
    if (o->output && !o->dry_run && strcmp(o->output, "-") == 0) {
        fflush(stdout);
        dup2(STDERR_FILENO, STDOUT_FILENO);
    }
}

static int draw(void *user, const struct ruvm_quantize_result *r)
{
    struct ruvm_quantize_call *call = user;
    ruvm_output_progress_end();
    call->plot = ruvm_cmd_quantize_plot(&call->o, r, ruvm_args_text(call->args, "plot"));
    return call->plot;
}

static int quantize(struct ruvm_quantize_call *call)
{
    struct ruvm_error err = {0};
    if (ruvm_args_given(call->args, "plot")) {
        call->o.before_write = draw;
        call->o.before_write_user = call;
    }
    int rc = ruvm_quantize(&call->o, &call->r, &err);
    if (rc == RUVM_OK)
        rc = find_sizes(call, &err);
    ruvm_output_progress_end();
    ruvm_cmd_quantize_leave_stdout(&call->o);
    if (call->plot != RUVM_EXIT_DONE)
        return call->plot; /* which said why */
    if (rc != RUVM_OK)
        return ruvm_output_failure("quantize", &err);
    call->engine_bytes = engine_bytes_of(&call->o);
    if (ruvm_args_given(call->args, "json"))
        ruvm_cmd_quantize_json(call);
    else if (!ruvm_args_given(call->args, "quiet"))
        ruvm_cmd_quantize_print(call);
    ruvm_cmd_quantize_warn(&call->r);
    return RUVM_EXIT_DONE;
}

static int quantize_either(struct ruvm_quantize_call *call)
{
    static const char *const of_classifiers[] = {"labels", "input-range", NULL};
    if (ruvm_classifier_probe(call->o.input) == RUVM_CLASSIFIER_SOURCE)
        return ruvm_cmd_classifier_quantize(call);
    int rc = ruvm_cmd_classifier_only(call->args, of_classifiers);
    return rc == RUVM_EXIT_DONE ? quantize(call) : rc;
}

static int run(const struct ruvm_args *args)
{
    if (ruvm_args_given(args, "to"))
        return ruvm_cmd_quantize_export(args);
    struct ruvm_quantize_call call = {.args = args};
    int rc = take_options(&call);
    if (rc == RUVM_EXIT_DONE)
        rc = quantize_either(&call);
    ruvm_quantize_free(&call.r);
    for (uint32_t i = 0; i < call.o.n_tensor_types; i++)
        free(call.tensor_types[i]);
    free(call.tensor_types);
    free(call.drop_layers);
    free(call.sizes);
    return rc;
}

const struct ruvm_args_command ruvm_cmd_quantize = {
    .name = "quantize",
    .summary = "Turn a model into a RUVM image and measure what is lost.",
    .usage = "IN -o OUT [OPTION ...]",
    .examples =
        "  ruvm quantize stories.bin -o stories.ruvm --tokenizer tokenizer.bin\n"
        "  ruvm quantize stories.bin -o stories.ruvm -t int4 --report\n"
        "  ruvm quantize stories.bin -o stories.ruvm -t ternary --distill 2000\n"
        "  ruvm quantize stories.bin -o stories.ruvm --max-bytes 200k --plot curve.svg\n"
        "  ruvm quantize stories.bin --dry-run\n"
        "  ruvm quantize classes.onnx -o classes.ruvm --calib rows.csv --labels names.txt\n"
        "  ruvm quantize stories.ruvm --to gguf -o stories.gguf\n",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
