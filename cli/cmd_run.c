/* run: text out of a model.
 *
 * The library hands over text and ids through two callbacks; this file decides
 * where they go: to standard output as they come, or collected into one JSON
 * object. Fractions are turned into Q16 here, once, because everything behind
 * the library's door is integers.
 */
#define _DEFAULT_SOURCE
#include "cli/cmd_run.h"
#include "cli/cmd_classifier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct ruvm_args_option options[] = {
    {"prompt", 'p', RUVM_ARGS_TEXT, "TEXT",
     .help = "text to continue; default: nothing, a new text"},
    {"file", 'f', RUVM_ARGS_FILE, "FILE",
     .help = "read the prompt from a file, without its last newline; - is standard input"},
    {"prompts", 0, RUVM_ARGS_FILE, "FILE",
     .help =
         "answer many prompts, one a line or one {\"prompt\": TEXT} a line; - is standard input"},
    {"input", 0, RUVM_ARGS_FILE, "FILE",
     .help = "rows of numbers for a classifier, CSV or .npy; - is standard input"},
    {"batch", 0, RUVM_ARGS_COUNT, "N", .help = "prompts of --prompts that are computed together",
     .fallback = "1", .min = 1, .max = 64},
    {"tokens", 'n', RUVM_ARGS_COUNT, "N",
     .help = "generate at most N tokens; default: until the text ends or the context is full",
     .min = 1, .max = UINT32_MAX},
    {"temp", 0, RUVM_ARGS_NUMBER, "X", .help = "temperature; 0 always takes the likeliest token",
     .fallback = "0.8", .min = 0, .max = 100},
    {"top-k", 0, RUVM_ARGS_COUNT, "N", .help = "draw from the N likeliest tokens only; 0: off",
     .fallback = "0", .min = 0, .max = 65535},
    {"top-p", 0, RUVM_ARGS_NUMBER, "X",
     .help = "draw from the likeliest tokens that together have this probability; 1: off",
     .fallback = "0.9", .min = 0, .max = 1},
    {"min-p", 0, RUVM_ARGS_NUMBER, "X",
     .help = "leave out tokens less likely than X times the likeliest; 0: off", .fallback = "0",
     .min = 0, .max = 1},
    {"repeat-penalty", 0, RUVM_ARGS_NUMBER, "X",
     .help = "make recent tokens X times less likely to come again; 1: off", .fallback = "1",
     .min = 0.1, .max = 100},
    {"repeat-last", 0, RUVM_ARGS_COUNT, "N", .help = "how many tokens count as recent",
     .fallback = "64", .min = 0, .max = 65535},
    {"seed", 0, RUVM_ARGS_SEED, "N",
     .help = "seed of the drawing; the same seed gives the same text on every machine",
     .fallback = "1"},
    {"stop", 0, RUVM_ARGS_TEXT, "TEXT", .help = "stop before this text", .repeats = true},
    {"ignore-end", 0, RUVM_ARGS_FLAG, .help = "go on after a token that ends the text"},
    {"ctx", 0, RUVM_ARGS_COUNT, "N", .help = "context in tokens; default: the image's", .min = 1,
     .max = 65535},
    {"block", 0, RUVM_ARGS_COUNT, "N", .help = "prompt tokens multiplied together",
     .fallback = "32", .min = 1, .max = 64},
    {"threads", 0, RUVM_ARGS_COUNT, "N",
     .help = "threads that share the work; 0: as many as help here, by measurement",
     .fallback = "0", .min = 0, .max = 64},
    {"kernels", 0, RUVM_ARGS_KERNELS, "NAME",
     .help = "arithmetic to use; default: the fastest that this machine has"},
    {"mask", 0, RUVM_ARGS_TEXT, "KIND:N,..",
     .help = "positions that a token sees; window:N,SINKS, strided, dilated, bigbird or none"},
    {"draft", 0, RUVM_ARGS_FILE, "SOURCE",
     .help = "guess tokens and verify them in a block: ngram, from the text, or a smaller image"},
    {"draft-tokens", 0, RUVM_ARGS_COUNT, "N", .help = "tokens of a guess at most", .fallback = "7",
     .min = 1, .max = 63},
    {"prompt-cache", 0, RUVM_ARGS_FILE, "FILE",
     .help = "keep what the engine knows after the prompt; the next run computes the rest only"},
    {"interactive", 'i', RUVM_ARGS_FLAG, .help = "hold a conversation, a line at a time"},
    {"chat", 0, RUVM_ARGS_FLAG,
     .help = "the prompt, or each line of -i, is a message to a model that was made to talk"},
    {"system", 0, RUVM_ARGS_TEXT, "TEXT", .help = "what the model is told before --chat"},
    {"in-prefix", 0, RUVM_ARGS_TEXT, "TEXT", .help = "put before each line of -i"},
    {"in-suffix", 0, RUVM_ARGS_TEXT, "TEXT", .help = "put after each line of -i"},
    {"rag", 0, RUVM_ARGS_FILE, "BLOB",
     .help = "put what a knowledge blob, or that of a pack, finds for the prompt before it"},
    {"rag-only", 0, RUVM_ARGS_FLAG,
     .help = "answer with what --rag finds, or the MODEL that is a pack, without a model"},
    {"rag-results", 0, RUVM_ARGS_COUNT, "N", .help = "passages of --rag at most", .fallback = "3",
     .min = 1, .max = 100},
    {"rag-floor", 0, RUVM_ARGS_NUMBER, "X",
     .help = "confidence below which --rag does not know; default: the blob's", .min = 0, .max = 1},
    {"rag-form", 0, RUVM_ARGS_TEXT, "TEXT",
     .help = "prompt of --rag: %c is what was found, %q the prompt; default: a line each"},
    {"knn", 0, RUVM_ARGS_FILE, "BLOB",
     .help = "let the nearest states of a blob of rag-add --knn-model vote for each token"},
    RUVM_ARGS_KNN,
    {"tokenize", 0, RUVM_ARGS_FLAG, .help = "show the prompt's tokens and exit"},
    {"ids", 0, RUVM_ARGS_FLAG, .help = "print the ids of the generated tokens, not their text"},
    {"no-prompt", 0, RUVM_ARGS_FLAG, .help = "print the new text only"},
    {"verify", 0, RUVM_ARGS_FLAG,
     .help = "replay the image's golden vectors and exit; 4 when they differ"},
    RUVM_ARGS_JSON,
    {"quiet", 'q', RUVM_ARGS_FLAG, .help = "no line about the speed"},
    RUVM_ARGS_HELP,
    {0},
};

void ruvm_run_append(struct ruvm_run_bytes *b, const void *data, size_t n)
{
    b->data = ruvm_output_grow(b->data, &b->cap, b->size + n, 1);
    if (n)
        memcpy(b->data + b->size, data, n);
    b->size += n;
}

/* ---- the callbacks ------------------------------------------------------- */

/* A model's text must not drive the terminal: what acts there is left out. */
static void print_on_terminal(const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)bytes[i] >= ' ' || bytes[i] == '\n' || bytes[i] == '\t')
            putchar(bytes[i]);
}

static int on_text(void *user, const char *bytes, size_t n)
{
    struct ruvm_run *r = user;
    if (r->collect) {
        ruvm_run_append(&r->text, bytes, n);
    } else if (!r->print_ids) {
        if (r->terminal)
            print_on_terminal(bytes, n);
        else
            fwrite(bytes, 1, n, stdout);
        ruvm_output_flush();
    }
    return ruvm_output_signal() || ferror(stdout);
}

static void keep_id(struct ruvm_run *r, uint16_t id)
{
    r->ids = ruvm_output_grow(r->ids, &r->ids_cap, r->n_ids + 1, sizeof *r->ids);
    r->ids[r->n_ids++] = id;
}

/* The prompt is printed when it is known to fit: a failure leaves no half output. */
static int on_token(void *user, uint16_t id)
{
    struct ruvm_run *r = user;
    if (r->echo)
        on_text(r, r->echo->data, r->echo->size);
    r->echo = NULL;
    if (r->collect)
        keep_id(r, id);
    else if (r->print_ids)
        printf("%s%u", r->n_printed_ids++ ? " " : "", id);
    return ruvm_output_signal() || ferror(stdout);
}

/* ---- options to the library's -------------------------------------------- */

/* A block has room for a token of each text of a batch. */
static uint32_t block_of(const struct ruvm_args *args)
{
    uint32_t block = ruvm_args_u32(args, "block"), batch = ruvm_args_u32(args, "batch");
    return block > batch ? block : batch;
}

static struct ruvm_session_options session_options(const struct ruvm_args *args)
{
    struct ruvm_session_options o = {
        .model = ruvm_args_operand(args, 0),
        .context = ruvm_args_u32(args, "ctx"),
        .block = block_of(args),
        .threads = ruvm_args_u32(args, "threads"),
        .kernels = ruvm_args_text(args, "kernels"),
        .mask = ruvm_args_text(args, "mask"),
        .draft = ruvm_args_text(args, "draft"),
        .draft_tokens = ruvm_args_u32(args, "draft-tokens"),
        .knn = ruvm_args_text(args, "knn"),
        .knn_k = ruvm_args_u32(args, "knn-k"),
        .knn_share_q16 = ruvm_args_q16(args, "knn-share"),
        .knn_spread_q16 = ruvm_args_q16(args, "knn-spread"),
        .sampler =
            {
                .temperature_q16 = ruvm_args_q16(args, "temp"),
                .top_k = ruvm_args_u32(args, "top-k"),
                .top_p_q16 = ruvm_args_q16(args, "top-p"),
                .min_p_q16 = ruvm_args_q16(args, "min-p"),
                .repeat_q16 = ruvm_args_q16(args, "repeat-penalty"),
                .repeat_last = ruvm_args_u32(args, "repeat-last"),
            },
    };
    ruvm_sampler_seed(&o.sampler, ruvm_args_count(args, "seed"));
    return o;
}

struct ruvm_generate_options ruvm_run_options(struct ruvm_run *r,
                                              const struct ruvm_run_bytes *prompt)
{
    unsigned n_stops;
    const char *const *stops = ruvm_args_texts(r->args, "stop", &n_stops);
    return (struct ruvm_generate_options){
        .prompt = prompt->data,
        .n_prompt_bytes = prompt->size,
        .n_tokens = ruvm_args_u32(r->args, "tokens"),
        .stops = stops,
        .n_stops = n_stops,
        .no_crc = !ruvm_args_given(r->args, "json"),
        .ignore_end = ruvm_args_given(r->args, "ignore-end"),
        .prompt_cache = ruvm_args_text(r->args, "prompt-cache"),
        .chat = ruvm_args_given(r->args, "chat"),
        .system = ruvm_args_text(r->args, "system"),
        .text = on_text,
        .token = on_token,
        .user = r,
    };
}

static int cannot_read(const char *path, int error)
{
    int number = ruvm_output_signal();
    if (number)
        ruvm_output_error("run", "interrupted");
    else
        ruvm_output_error("run", "%s: %s", path, strerror(error));
    return number ? 128 + number : RUVM_EXIT_FAILED;
}

int ruvm_run_read_file(struct ruvm_run_bytes *b, const char *path)
{
    char piece[4096];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (!f)
        return cannot_read(path, errno);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        ruvm_run_append(b, piece, n);
    int error = ferror(f) ? errno : 0;
    fclose(f);
    if (error)
        return cannot_read(path, error);
    if (b->size && b->data[b->size - 1] == '\n') /* an editor's, not the text's */
        b->size--;
    return RUVM_EXIT_DONE;
}

static int read_prompt(struct ruvm_run *r, struct ruvm_run_bytes *prompt)
{
    const char *path = ruvm_args_input(r->args, "file");
    const char *text = ruvm_args_text(r->args, "prompt");
    const char *many = ruvm_args_input(r->args, "prompts");
    if (many)
        return ruvm_run_read_prompts(&r->prompts, many);
    if (path)
        return ruvm_run_read_file(prompt, path);
    if (text)
        ruvm_run_append(prompt, text, strlen(text));
    return RUVM_EXIT_DONE;
}

/* Options that do not go together: pairs, and why. */
static int check_options(const struct ruvm_args *args)
{
    static const char *const pairs[][2] = {
        {"prompt", "file"},
        {"verify", "interactive"},
        {"verify", "tokenize"},
        {"verify", "prompt"},
        {"verify", "file"},
        {"tokenize", "interactive"},
        {"interactive", "json"},
        {"interactive", "ids"},
        {"interactive", "file"},
        {"chat", "in-prefix"},
        {"chat", "in-suffix"},
        {"chat", "tokenize"},
        {"chat", "verify"},
        {"draft", "verify"},
        {"draft", "tokenize"},
        {"prompts", "prompt"},
        {"prompts", "file"},
        {"prompts", "interactive"},
        {"prompts", "verify"},
        {"prompts", "tokenize"},
        {"prompts", "prompt-cache"},
        {"mask", "verify"},
        {"mask", "tokenize"},
        {"prompt-cache", "verify"},
        {"prompt-cache", "tokenize"},
        {"batch", "draft"},
        {"rag", "interactive"},
        {"rag", "verify"},
        {"rag", "tokenize"},
        {"rag", "prompts"},
        {"knn", "draft"},
        {"knn", "prompts"},
        {"knn", "prompt-cache"},
        {"knn", "verify"},
        {"knn", "tokenize"},
        {"knn", "rag-only"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (ruvm_args_given(args, pairs[i][0]) && ruvm_args_given(args, pairs[i][1]))
            return ruvm_args_usage(args, "--%s and --%s do not go together", pairs[i][0],
                                   pairs[i][1]);
    if (!ruvm_args_given(args, "interactive") &&
        (ruvm_args_given(args, "in-prefix") || ruvm_args_given(args, "in-suffix")))
        return ruvm_args_usage(args, "--in-prefix and --in-suffix need -i");
    if (ruvm_args_given(args, "draft-tokens") && !ruvm_args_given(args, "draft"))
        return ruvm_args_usage(args, "--draft-tokens needs --draft");
    if (ruvm_args_given(args, "batch") && !ruvm_args_given(args, "prompts"))
        return ruvm_args_usage(args, "--batch needs --prompts");
    int rc = ruvm_args_check_knn(args);
    if (rc != RUVM_EXIT_DONE)
        return rc;
    static const char *const of_rag[] = {"rag-only", "rag-results", "rag-floor", "rag-form"};
    for (size_t i = 0; i < sizeof of_rag / sizeof *of_rag; i++)
        if (ruvm_args_given(args, of_rag[i]) && !ruvm_run_rag_blob(args))
            return ruvm_args_usage(args, "--%s needs --rag BLOB", of_rag[i]);
    if (ruvm_run_rag_blob(args) && !ruvm_args_given(args, "prompt") &&
        !ruvm_args_given(args, "file"))
        return ruvm_args_usage(args, "--rag needs a question: -p TEXT or -f FILE");
    const char *form = ruvm_args_text(args, "rag-form");
    if (form && (!strstr(form, "%c") || !strstr(form, "%q")))
        return ruvm_args_usage(args,
                               "--rag-form needs %%c for the passages and %%q for the prompt");
    if (ruvm_args_given(args, "system") && !ruvm_args_given(args, "chat"))
        return ruvm_args_usage(args, "--system needs --chat");
    unsigned n;
    const char *const *stops = ruvm_args_texts(args, "stop", &n);
    for (unsigned i = 0; i < n; i++)
        if (!*stops[i])
            return ruvm_args_usage(args, "--stop: an empty text would stop at once");
    return RUVM_EXIT_DONE;
}

/* ---- what run does ------------------------------------------------------- */

const struct ruvm_run_bytes *ruvm_run_echo(const struct ruvm_run *r,
                                           const struct ruvm_run_bytes *prompt)
{
    bool wanted = !ruvm_args_given(r->args, "no-prompt") && !ruvm_args_given(r->args, "chat");
    return prompt->size && !r->collect && !r->print_ids && wanted ? prompt : NULL;
}

static int generate_once(struct ruvm_run *r, const struct ruvm_run_bytes *prompt)
{
    struct ruvm_error err = {0};
    struct ruvm_generate_result g = {0};
    struct ruvm_generate_options o = ruvm_run_options(r, prompt);
    r->echo = ruvm_run_echo(r, prompt);
    int rc = ruvm_generate(r->session, &o, &g, &err);
    ruvm_run_print_note(&g);
    if (rc != RUVM_OK)
        return ruvm_output_failure("run", &err);
    if (r->collect) {
        ruvm_json_finish(ruvm_run_result_json(r, prompt, &g));
    } else {
        putchar('\n');
        ruvm_run_print_speed(r, &g);
    }
    return ruvm_output_signal() ? 128 + ruvm_output_signal() : RUVM_EXIT_DONE;
}

/* Without a tokenizer there is no text: only ids can be asked for. */
static bool lacks_text(const struct ruvm_run *r)
{
    return !ruvm_session_tokenizer(r->session) && !r->print_ids && !r->collect;
}

static int act(struct ruvm_run *r, const struct ruvm_run_bytes *prompt)
{
    if (ruvm_args_given(r->args, "verify"))
        return ruvm_run_verify(r);
    if (ruvm_args_given(r->args, "tokenize"))
        return ruvm_run_tokenize(r, prompt);
    if (lacks_text(r)) {
        ruvm_output_error("run",
                          "the image has no tokenizer: ask for --ids, or quantize the model "
                          "with --tokenizer FILE");
        return RUVM_EXIT_FAILED;
    }
    if (ruvm_args_given(r->args, "interactive"))
        return ruvm_run_converse(r, prompt);
    if (r->prompts)
        return ruvm_run_answer_prompts(r, r->prompts);
    return generate_once(r, prompt);
}

static int run_model(struct ruvm_run *r, const struct ruvm_session_options *o,
                     struct ruvm_run_bytes *prompt)
{
    struct ruvm_error err = {0};
    if (ruvm_session_open(&r->session, o, &err) != RUVM_OK)
        return ruvm_output_failure("run", &err);
    int rc = r->rag ? ruvm_run_rag_prompt(r, r->rag, prompt) : RUVM_EXIT_DONE;
    if (rc == RUVM_EXIT_DONE)
        rc = act(r, prompt);
    ruvm_session_close(r->session);
    return rc;
}

/* A model is opened only when there is something to tell it. */
static int run_with_rag(struct ruvm_run *r, const struct ruvm_session_options *o,
                        struct ruvm_run_bytes *prompt)
{
    struct ruvm_run_rag rag = {0};
    int rc = ruvm_run_rag_open(&rag, r->args, prompt);
    r->rag = &rag;
    if (rc == RUVM_EXIT_DONE && (rag.n_known == 0 || ruvm_args_given(r->args, "rag-only")))
        rc = ruvm_run_rag_only(r, &rag);
    else if (rc == RUVM_EXIT_DONE)
        rc = run_model(r, o, prompt);
    ruvm_run_rag_close(&rag);
    return rc;
}

static int run_session(const struct ruvm_args *args)
{
    struct ruvm_run_bytes prompt = {0};
    struct ruvm_run r = {
        .args = args,
        .collect = ruvm_args_given(args, "json"),
        .print_ids = ruvm_args_given(args, "ids"),
        .terminal = isatty(STDOUT_FILENO),
    };
    struct ruvm_session_options o = session_options(args);
    int rc = check_options(args);
    if (rc == RUVM_EXIT_DONE)
        rc = read_prompt(&r, &prompt);
    if (rc == RUVM_EXIT_DONE) {
        if (ruvm_run_rag_blob(args))
            rc = run_with_rag(&r, &o, &prompt);
        else
            rc = run_model(&r, &o, &prompt);
    }
    ruvm_run_free_prompts(r.prompts);
    free(prompt.data);
    free(r.text.data);
    free(r.ids);
    return rc;
}

static int run(const struct ruvm_args *args)
{
    static const char *const of_classifiers[] = {"input", NULL};
    if (ruvm_classifier_probe(ruvm_args_operand(args, 0)) == RUVM_CLASSIFIER_IMAGE)
        return ruvm_cmd_classifier_run(args);
    int rc = ruvm_cmd_classifier_only(args, of_classifiers);
    return rc == RUVM_EXIT_DONE ? run_session(args) : rc;
}

const struct ruvm_args_command ruvm_cmd_run = {
    .name = "run",
    .summary = "Generate text with a model, or classify; without MODEL, the demo model.",
    .usage = "[MODEL] [-p TEXT | -f FILE | --prompts FILE | -i | --input FILE] [OPTION ...]",
    .examples =
        "  ruvm run\n"
        "  ruvm run stories.ruvm -p 'Once upon a time' -n 100 --temp 0\n"
        "  ruvm run stories.ruvm -i --stop .\n"
        "  ruvm run stories.ruvm --verify\n"
        "  ruvm run --rag home.rag --rag-only -p 'how do I reset the heating?'\n"
        "  ruvm run classes.ruvm --input rows.csv\n",
    .options = options,
    .max_operands = 1,
    .run = run,
};
