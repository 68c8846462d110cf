/* The firmware: a model in flash that talks over the console.
 *
 * At boot it looks for the model, replays its golden vectors and then takes commands,
 * one a line. Every answer ends with a line that begins "ok" or "error", so that a
 * program can hold the other end; `help` lists what a person may say. */
#include "lib/device/console.h"
#include "lib/device/model.h"
#include "lib/device/paint.h"
#include "lib/device/port.h"
#include "lib/device/query.h"
#include "lib/device/request.h"
#include "lib/device/settings.h"
#include "lib/device/trap.h"
#include "lib/ruvm.h"

enum { MAX_LINE = 512 };

struct device {
    struct ruvm_device_model model;
    const char *wrong; /* why no model runs, or NULL */
    bool verified;
    char line[MAX_LINE];
};

static void answer_error(const char *what)
{
    ruvm_console_text("error ");
    ruvm_console_text(what);
    ruvm_console_text("\n");
}

static void end_line(void)
{
    ruvm_console_text("\n");
}

/* ---- generate -------------------------------------------------------------- */

/* The prompt in place, as many bytes as are returned: that of the line, or without one that of
 * the pack's settings. -1: it has an escape that is none. */
static int32_t take_prompt(const struct ruvm_device_model *m, char *text, size_t cap)
{
    int32_t n = -1;
    if (*text == 0)
        n = ruvm_device_setting_text(m->settings, m->settings_bytes, "prompt", text, cap);
    return n < 0 ? ruvm_console_quoted(text) : n;
}

static void show_token(const struct device *d, const struct ruvm_device_request *r,
                       uint16_t previous, uint16_t id)
{
    size_t n;
    if (r->shows_ids) {
        ruvm_port_put(' ');
        ruvm_console_number(id);
        return;
    }
    const uint8_t *text = ruvm_decode(&d->model.tokenizer, previous, id, &n);
    ruvm_console_escaped(text, n);
}

static uint16_t next_token(struct device *d, struct ruvm_device_request *r, size_t n_ids)
{
    struct ruvm_device_model *m = &d->model;
    int32_t *logits = ruvm_engine_take_logits(m->engine);
    return ruvm_sample(&r->sampler, logits, m->info.vocab, m->ids, n_ids);
}

/* Tokens as they come, behind the n_ids of the prompt; returns how many, and why it ended. */
static uint32_t generate(struct device *d, struct ruvm_device_request *r, size_t n_ids,
                         const char **end)
{
    struct ruvm_device_model *m = &d->model;
    uint32_t n = 0;
    for (*end = "limit"; n < r->n_tokens;) {
        uint16_t id = next_token(d, r, n_ids);
        if (!r->ignore_end && ruvm_is_end(&m->tokenizer, id)) {
            *end = "end";
            break;
        }
        show_token(d, r, n_ids ? m->ids[n_ids - 1] : RUVM_NO_PREVIOUS, id);
        m->ids[n_ids++] = id;
        n++;
        if (n < r->n_tokens && ruvm_engine_eval(m->engine, &id, 1, NULL) != RUVM_OK) {
            *end = "context";
            break;
        }
    }
    return n;
}

static void report(uint32_t n_prompt, uint32_t n, const char *end, uint32_t prompt_cycles,
                   uint32_t cycles)
{
    ruvm_console_text("\nok");
    ruvm_console_field("prompt", n_prompt);
    ruvm_console_field("tokens", n);
    ruvm_console_text(" end=");
    ruvm_console_text(end);
    ruvm_console_field("prompt_cycles", prompt_cycles);
    ruvm_console_field("cycles", cycles);
    end_line();
}

static void cmd_generate(struct device *d, char *rest)
{
    struct ruvm_device_model *m = &d->model;
    struct ruvm_device_request r;
    const char *wrong = d->wrong ? d->wrong : ruvm_device_request(&r, m, &rest), *end;
    if (wrong) {
        answer_error(wrong);
        return;
    }
    int32_t n_bytes = take_prompt(m, rest, sizeof d->line - (size_t)(rest - d->line));
    if (n_bytes < 0) {
        answer_error("the prompt has an escape that is none of \\n \\r \\t \\\\ \\\" \\xHH");
        return;
    }
    int n_ids = ruvm_encode(&m->tokenizer, m->ids, m->max_ids, rest, (size_t)n_bytes, 0);
    uint32_t begin = ruvm_port_cycles();
    int rc = n_ids < 0 ? n_ids : ruvm_engine_rewind(m->engine, 0);
    if (rc == RUVM_OK)
        rc = ruvm_engine_eval(m->engine, m->ids, (size_t)n_ids, NULL);
    if (rc != RUVM_OK) {
        answer_error(ruvm_status_text(rc));
        return;
    }
    uint32_t middle = ruvm_port_cycles();
    ruvm_console_text(r.shows_ids ? "ids" : "text ");
    uint32_t n = generate(d, &r, (size_t)n_ids, &end);
    report((uint32_t)n_ids, n, end, middle - begin, ruvm_port_cycles() - middle);
}

/* ---- the other commands ------------------------------------------------------ */

/* Words of the stack that something was written to. */
static size_t used_stack(const struct ruvm_port_memory *memory)
{
    size_t n_words = memory->stack_bytes / sizeof *memory->stack, i = 0;
    while (i < n_words && memory->stack[i] == RUVM_PAINT)
        i++;
    return (n_words - i) * sizeof *memory->stack;
}

static void cmd_query(struct device *d, char *rest)
{
    ruvm_device_query(&d->model, rest);
}

static void cmd_stats(struct device *d, char *rest)
{
    const struct ruvm_device_model *m = &d->model;
    struct ruvm_port_memory memory = ruvm_port_memory();
    (void)rest;
    ruvm_console_text("ok chip=");
    ruvm_console_text(ruvm_port.chip);
    ruvm_console_field("verified", d->verified);
    ruvm_console_field("context", m->context);
    ruvm_console_field("position", m->engine ? ruvm_engine_position(m->engine) : 0);
    ruvm_console_field("engine_bytes", (uint32_t)m->engine_bytes);
    ruvm_console_field("buffer_bytes",
                       (uint32_t)(m->memory_bytes - m->engine_bytes - m->index_bytes));
    ruvm_console_field("index_bytes", (uint32_t)m->index_bytes);
    ruvm_console_field("static_bytes", (uint32_t)memory.static_bytes);
    ruvm_console_field("stack_bytes", (uint32_t)memory.stack_bytes);
    ruvm_console_field("stack_used", (uint32_t)used_stack(&memory));
    ruvm_console_field("free_bytes", (uint32_t)(memory.free_bytes - m->memory_bytes));
    end_line();
}

static void cmd_verify(struct device *d, char *rest)
{
    struct ruvm_verify_result v = {0};
    (void)rest;
    if (d->wrong) {
        answer_error(d->wrong);
        return;
    }
    uint32_t begin = ruvm_port_cycles();
    int rc = ruvm_engine_rewind(d->model.engine, 0);
    if (rc == RUVM_OK)
        rc = ruvm_engine_verify(d->model.engine, &v);
    d->verified = rc == RUVM_OK;
    if (rc != RUVM_OK) {
        answer_error(rc == RUVM_ERR_MISMATCH ? "the golden vectors differ: write the flash again"
                     : rc == RUVM_ERR_UNSUPPORTED ? "the image has no golden vectors"
                                                  : ruvm_status_text(rc));
        return;
    }
    ruvm_console_text("ok verified");
    ruvm_console_field("tokens", v.n_tokens);
    ruvm_console_text(" crc=");
    ruvm_console_hex(v.crc_found);
    ruvm_console_field("cycles", ruvm_port_cycles() - begin);
    end_line();
}

/* Context 0: that of the pack's settings, or the longest that fits. */
static void start(struct device *d, uint32_t context)
{
    char number[RUVM_DEVICE_NUMBER_CHARS];
    const struct ruvm_device_model *m = &d->model;
    const char *text = ruvm_device_setting(m->settings, m->settings_bytes, "context", number);
    if (context == 0 && text && ruvm_console_parse(text, &context) && context > m->info.context)
        context = m->info.context;
    d->verified = false;
    d->wrong = ruvm_device_model_start(&d->model, context, MAX_LINE);
}

static void cmd_context(struct device *d, char *rest)
{
    uint32_t context = 0;
    const char *word = ruvm_console_word(&rest);
    if (!d->model.info.vocab) {
        answer_error(d->wrong);
        return;
    }
    if (*word && !ruvm_console_parse(word, &context)) {
        answer_error("the context is a number of tokens; without one, the longest that fits");
        return;
    }
    start(d, context);
    if (d->wrong)
        answer_error(d->wrong);
    else
        cmd_stats(d, rest);
}

static void cmd_restart(struct device *d, char *rest)
{
    (void)d;
    (void)rest;
    ruvm_console_text("ok\n");
    ruvm_port_restart();
}

#ifdef RUVM_DEVICE_EXIT
static void cmd_exit(struct device *d, char *rest)
{
    uint32_t status = 0;
    (void)d;
    ruvm_console_parse(ruvm_console_word(&rest), &status);
    ruvm_port_exit(status);
}
#endif

static void cmd_help(struct device *d, char *rest);

struct command {
    const char *name, *help;
    void (*run)(struct device *d, char *rest);
};

static const struct command commands[] = {
    {"generate",
     "generate [n=N] [temp=X] [top-k=N] [top-p=X] [min-p=X] [repeat=X] [last=N] [seed=N]"
     " [ids=1] [ignore-end=1] \"PROMPT\"",
     cmd_generate},
    {"query", "query [k=N] \"QUESTION\"", cmd_query},
    {"stats", "stats", cmd_stats},
    {"verify", "verify", cmd_verify},
    {"context", "context [N]", cmd_context},
    {"restart", "restart", cmd_restart},
#ifdef RUVM_DEVICE_EXIT
    {"exit", "exit [STATUS]", cmd_exit},
#endif
    {"help", "help", cmd_help},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void cmd_help(struct device *d, char *rest)
{
    (void)d;
    (void)rest;
    for (uint32_t i = 0; i < N_COMMANDS; i++) {
        ruvm_console_text("  ");
        ruvm_console_text(commands[i].help);
        end_line();
    }
    ruvm_console_text("ok\n");
}

static void obey(struct device *d)
{
    char *rest = d->line;
    const char *name = ruvm_console_word(&rest);
    for (uint32_t i = 0; i < N_COMMANDS; i++)
        if (ruvm_console_same(name, commands[i].name)) {
            commands[i].run(d, rest);
            return;
        }
    answer_error("there is no such command: say help");
}

static void greet(struct device *d)
{
    ruvm_console_text("\nruvm " RUVM_VERSION_TEXT " on ");
    ruvm_console_text(ruvm_port.chip);
    end_line();
    if (d->wrong) {
        answer_error(d->wrong);
        return;
    }
    cmd_verify(d, d->line);
}

_Noreturn void ruvm_device_main(void)
{
    static struct device d;
    ruvm_port_init();
    d.wrong = ruvm_device_model_find(&d.model);
    if (!d.wrong)
        start(&d, 0);
    greet(&d);
    for (;;) {
        ruvm_console_text("> ");
        if (ruvm_console_line(d.line, sizeof d.line))
            obey(&d);
        else
            answer_error("the line is too long: at most 511 bytes");
    }
}
