/* run --prompts: many prompts from a file, each answered as if it were the only one.
 *
 * The file is read and understood before the model is opened: a mistake in its last line is
 * told at once. Every prompt begins with the seed that was given, so an answer does not depend
 * on the prompts around it. One after the other, what a prompt has in common with the one before
 * is not computed again; with --batch several are computed together, and each answer waits for
 * those of the prompts before it.
 */
#include "cli/cmd_run.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

struct prompt {
    struct ruvm_run_bytes text;
    size_t line; /* in the file, from 1 */
};

struct ruvm_run_prompts {
    struct prompt *list; /* owned */
    size_t n, cap;
};

/* ---- reading --------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_blank(const char *line, size_t n)
{
    while (n > 0 && is_space(line[n - 1]))
        n--;
    return n == 0;
}

static void add(struct ruvm_run_prompts *p, const void *text, size_t n, size_t line)
{
    p->list = ruvm_output_grow(p->list, &p->cap, p->n + 1, sizeof *p->list);
    struct prompt *new = &p->list[p->n++];
    *new = (struct prompt){.line = line};
    ruvm_run_append(&new->text, text, n);
}

/* The text "prompt" of the one JSON object in a line. */
static bool add_json(struct ruvm_run_prompts *p, const char *text, size_t n, size_t line)
{
    const char *end = NULL;
    cJSON *object = cJSON_ParseWithLengthOpts(text, n, &end, 0);
    const char *prompt = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "prompt"));
    bool sound = prompt && is_blank(end, (size_t)(text + n - end));
    if (sound)
        add(p, prompt, strlen(prompt), line);
    cJSON_Delete(object);
    return sound;
}

/* What the file begins with decides: a brace is JSON in every line. */
static bool is_json(const char *text, size_t n)
{
    while (n > 0 && is_space(*text)) {
        text++;
        n--;
    }
    return n > 0 && *text == '{';
}

static bool add_line(struct ruvm_run_prompts *p, const char *text, size_t n, size_t line, bool json)
{
    if (is_blank(text, n))
        return true;
    if (json)
        return add_json(p, text, n, line);
    add(p, text, n - (text[n - 1] == '\r'), line);
    return true;
}

int ruvm_run_read_prompts(struct ruvm_run_prompts **prompts, const char *path)
{
    struct ruvm_run_bytes file = {0};
    int rc = ruvm_run_read_file(&file, path);
    *prompts = ruvm_output_alloc(1, sizeof **prompts);
    const char *at = file.data, *end = at ? at + file.size : NULL;
    bool json = rc == RUVM_EXIT_DONE && is_json(at, file.size);
    for (size_t line = 1; rc == RUVM_EXIT_DONE && at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        if (!add_line(*prompts, at, (size_t)(stop - at), line, json)) {
            ruvm_output_error(
                "run", "%s: line %zu: is not one JSON object with the text \"prompt\"", path, line);
            rc = RUVM_EXIT_FAILED;
        }
        at = stop + 1;
    }
    if (rc == RUVM_EXIT_DONE && (*prompts)->n == 0) {
        ruvm_output_error("run", "%s: holds no prompt: put one into each line", path);
        rc = RUVM_EXIT_FAILED;
    }
    free(file.data);
    return rc;
}

void ruvm_run_free_prompts(struct ruvm_run_prompts *p)
{
    for (size_t i = 0; p && i < p->n; i++)
        free(p->list[i].text.data);
    if (p)
        free(p->list);
    free(p);
}

/* ---- answering ------------------------------------------------------------- */

/* One that cannot be answered takes its place among the results and does not stop the others. */
static void report(struct ruvm_run *r, const struct prompt *p, const struct ruvm_error *err)
{
    ruvm_output_error("run", "%s: line %zu: %s", ruvm_args_input(r->args, "prompts"), p->line,
                      err->text);
    if (!r->collect)
        return;
    struct cJSON *object = ruvm_run_start_json(r);
    ruvm_json_count(object, "line", p->line);
    ruvm_json_bytes(object, "prompt", p->text.data, p->text.size);
    ruvm_json_text(object, "error", err->text);
    ruvm_json_finish_line(object);
}

static void print(struct ruvm_run *r, const struct prompt *p, const struct ruvm_generate_result *g)
{
    if (!r->collect) {
        putchar('\n');
        return;
    }
    struct cJSON *object = ruvm_run_result_json(r, &p->text, g);
    ruvm_json_count(object, "line", p->line);
    ruvm_json_finish_line(object);
}

static int answer(struct ruvm_run *r, const struct prompt *p, struct ruvm_generate_result *total)
{
    struct ruvm_error err = {0};
    struct ruvm_generate_result g = {0};
    struct ruvm_generate_options o = ruvm_run_options(r, &p->text);
    o.keep_prefix = true;
    r->text.size = r->n_ids = r->n_printed_ids = 0;
    r->echo = ruvm_run_echo(r, &p->text);
    ruvm_session_seed(r->session, ruvm_args_count(r->args, "seed"));
    if (ruvm_generate(r->session, &o, &g, &err) != RUVM_OK) {
        report(r, p, &err);
        return RUVM_EXIT_FAILED;
    }
    print(r, p, &g);
    ruvm_run_add(total, &g);
    return RUVM_EXIT_DONE;
}

/* ---- several at a time ------------------------------------------------------- */

/* A prompt of a batch: its answer is collected until those before it are printed. */
struct pending {
    struct ruvm_run run; /* with text and ids of its own */
    const struct prompt *prompt;
    struct ruvm_generate_result result;
    struct ruvm_error err;
    bool has_ended, has_failed;
};

struct batch {
    struct ruvm_run *r;
    struct pending *list; /* [n] */
    size_t n, n_printed;
    struct ruvm_generate_result total;
    int rc;
};

static struct ruvm_generate_options pending_options(void *user, size_t i)
{
    struct batch *b = user;
    struct pending *p = &b->list[i];
    p->run = *b->r;
    p->run.text = (struct ruvm_run_bytes){0};
    p->run.ids = NULL;
    p->run.n_ids = p->run.ids_cap = 0;
    p->run.collect = true;
    return ruvm_run_options(&p->run, &p->prompt->text);
}

/* As if it came now, token by token. */
static void replay(struct ruvm_run *r, const struct pending *p)
{
    const struct ruvm_run_bytes *text = &p->run.text;
    const struct ruvm_generate_options o = ruvm_run_options(r, &p->prompt->text);
    r->n_printed_ids = 0;
    r->echo = ruvm_run_echo(r, &p->prompt->text);
    for (size_t i = 0; i < p->run.n_ids; i++)
        o.token(r, p->run.ids[i]);
    if (text->size)
        o.text(r, text->data, text->size);
}

static void free_pending(struct pending *p)
{
    free(p->run.text.data);
    free(p->run.ids);
}

static void print_pending(struct batch *b, struct pending *p)
{
    struct ruvm_run *r = b->r;
    if (b->n_printed++ > 0 && !r->collect && !r->print_ids)
        putchar('\n');
    if (p->has_failed) {
        report(r, p->prompt, &p->err);
        b->rc = RUVM_EXIT_FAILED;
    } else {
        if (!r->collect)
            replay(r, p);
        print(r->collect ? &p->run : r, p->prompt, &p->result);
        ruvm_run_add(&b->total, &p->result);
    }
    ruvm_output_flush();
}

static void on_end(void *user, size_t i, const struct ruvm_generate_result *g,
                   const struct ruvm_error *err)
{
    struct batch *b = user;
    struct pending *p = &b->list[i];
    p->has_ended = true;
    p->has_failed = !g;
    if (g)
        p->result = *g;
    else
        p->err = *err;
    while (b->n_printed < b->n && b->list[b->n_printed].has_ended)
        print_pending(b, &b->list[b->n_printed]);
}

static int answer_batch(struct ruvm_run *r, const struct ruvm_run_prompts *p,
                        struct ruvm_generate_result *total)
{
    struct ruvm_error err = {0};
    struct batch b = {.r = r, .n = p->n, .rc = RUVM_EXIT_DONE};
    const struct ruvm_many_options o = {
        .batch = ruvm_args_u32(r->args, "batch"),
        .n_prompts = p->n,
        .options = pending_options,
        .end = on_end,
        .user = &b,
    };
    b.list = ruvm_output_alloc(p->n, sizeof *b.list);
    for (size_t i = 0; i < p->n; i++)
        b.list[i].prompt = &p->list[i];
    ruvm_session_seed(r->session, ruvm_args_count(r->args, "seed"));
    if (ruvm_generate_many(r->session, &o, &err) != RUVM_OK)
        b.rc = ruvm_output_failure("run", &err);
    *total = b.total;
    for (size_t i = 0; i < p->n; i++)
        free_pending(&b.list[i]);
    free(b.list);
    return b.rc;
}

/* ---- all ---------------------------------------------------------------------- */

static int answer_in_turn(struct ruvm_run *r, const struct ruvm_run_prompts *p,
                          struct ruvm_generate_result *total)
{
    int rc = RUVM_EXIT_DONE;
    for (size_t i = 0; i < p->n && !ruvm_output_signal() && !ferror(stdout); i++) {
        if (i > 0 && !r->collect && !r->print_ids)
            putchar('\n');
        int one = answer(r, &p->list[i], total);
        rc = one == RUVM_EXIT_DONE ? rc : one;
        ruvm_output_flush();
    }
    return rc;
}

int ruvm_run_answer_prompts(struct ruvm_run *r, const struct ruvm_run_prompts *p)
{
    struct ruvm_generate_result total = {0};
    bool batched = ruvm_args_u32(r->args, "batch") > 1;
    int rc = batched ? answer_batch(r, p, &total) : answer_in_turn(r, p, &total);
    if (!r->collect && total.n_prompt_tokens > 0)
        ruvm_run_print_speed(r, &total);
    return ruvm_output_signal() ? 128 + ruvm_output_signal() : rc;
}
