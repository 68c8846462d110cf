/* run -i: a conversation, a line at a time.
 *
 * What was said stays in the context, so each line is a continuation of it. When
 * the context is full there is no honest way but to begin anew, and to say so.
 */
#define _DEFAULT_SOURCE
#include "cli/cmd_run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* One turn; a full context is emptied and said so, since the alternative is to end. */
static int take_turn(struct ruvm_run *r, const struct ruvm_run_bytes *line, bool *fresh,
                     struct ruvm_generate_result *total)
{
    struct ruvm_error err = {0};
    struct ruvm_generate_result g = {0};
    struct ruvm_generate_options o = ruvm_run_options(r, line);
    o.continue_context = !*fresh;
    int rc = ruvm_generate(r->session, &o, &g, &err);
    ruvm_run_print_note(&g);
    if (rc == RUVM_ERR_FULL && !*fresh) {
        fputs("(the context is full: it begins anew)\n", stderr);
        err = (struct ruvm_error){0};
        o.continue_context = false;
        rc = ruvm_generate(r->session, &o, &g, &err);
    }
    if (rc == RUVM_ERR_FULL) { /* this line alone is too long: a shorter one may do */
        ruvm_output_error("run", "%s", err.text);
        return RUVM_EXIT_DONE;
    }
    if (rc != RUVM_OK)
        return ruvm_output_failure("run", &err);
    putchar('\n');
    *fresh = g.stop == RUVM_STOP_CONTEXT;
    if (*fresh)
        fputs("(the context is full: the next line begins anew)\n", stderr);
    ruvm_run_add(total, &g);
    return RUVM_EXIT_DONE;
}

/* What the model gets of a line: between prefix and suffix, on a line of its own. */
static void frame_line(struct ruvm_run_bytes *out, const struct ruvm_run *r, bool fresh,
                       const char *line, size_t n)
{
    const char *prefix = ruvm_args_text(r->args, "in-prefix");
    const char *suffix = ruvm_args_text(r->args, "in-suffix");
    out->size = 0;
    if (!fresh && !ruvm_args_given(r->args, "chat")) /* whose form ends the line before */
        ruvm_run_append(out, "\n", 1);
    if (prefix)
        ruvm_run_append(out, prefix, strlen(prefix));
    ruvm_run_append(out, line, n);
    if (suffix)
        ruvm_run_append(out, suffix, strlen(suffix));
}

/* Reads a line without its newline; false at the end of the input or after a signal. */
static bool read_line(char **line, size_t *cap, size_t *n)
{
    bool person = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (person)
        fputs("> ", stdout);
    fflush(stdout);
    ssize_t got = ruvm_output_signal() ? -1 : getline(line, cap, stdin);
    if (got < 0) {
        if (person)
            putchar('\n'); /* behind the "> " */
        return false;
    }
    *n = (size_t)got - ((*line)[got - 1] == '\n');
    (*line)[*n] = '\0';
    return true;
}

int ruvm_run_converse(struct ruvm_run *r, const struct ruvm_run_bytes *first)
{
    struct ruvm_generate_result total = {0};
    struct ruvm_run_bytes framed = {0};
    char *line = NULL;
    size_t cap = 0, n;
    bool fresh = true;
    int rc = RUVM_EXIT_DONE;
    if (first->size)
        rc = take_turn(r, first, &fresh, &total);
    while (rc == RUVM_EXIT_DONE && !ferror(stdout) && read_line(&line, &cap, &n)) {
        if (strcmp(line, "/quit") == 0)
            break;
        if (strcmp(line, "/reset") == 0) {
            fresh = true;
            continue;
        }
        if (n == 0)
            continue;
        frame_line(&framed, r, fresh, line, n);
        rc = take_turn(r, &framed, &fresh, &total);
    }
    free(line);
    free(framed.data);
    ruvm_run_print_speed(r, &total);
    return ruvm_output_signal() ? 128 + ruvm_output_signal() : rc;
}
