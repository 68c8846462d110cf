/* Asks a model a file of questions and compares each answer byte for byte.
 *
 * Perplexity hides bad answers: a model may find every right answer likely and
 * still say the wrong one. An answer is compared as it comes, and the model is
 * stopped at its first wrong byte.
 */
#include "lib/measure/exact_match.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/base/file.h"

/* The answer so far, against the expected one. */
struct answer {
    const char *expected;
    size_t n_expected, n; /* bytes, without white space at the end; bytes that have come */
    bool wrong;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t without_trailing_space(const char *text, size_t n)
{
    while (n > 0 && is_space(text[n - 1]))
        n--;
    return n;
}

static int compare(void *user, const char *bytes, size_t n)
{
    struct answer *a = user;
    for (size_t i = 0; i < n && !a->wrong; i++, a->n++)
        a->wrong = a->n < a->n_expected ? bytes[i] != a->expected[a->n] : !is_space(bytes[i]);
    return a->wrong;
}

static int ask(struct ruvm_exact_match *m, struct ruvm_session *s, const char *prompt,
               const char *expected, struct ruvm_error *err)
{
    struct answer a = {.expected = expected,
                       .n_expected = without_trailing_space(expected, strlen(expected))};
    struct ruvm_generate_result r;
    struct ruvm_generate_options o = {
        .prompt = prompt, .n_prompt_bytes = strlen(prompt), .text = compare, .user = &a};
    int rc = ruvm_generate(s, &o, &r, err);
    m->n_questions++;
    m->n_exact += rc == RUVM_OK && !a.wrong && a.n >= a.n_expected;
    return rc;
}

static const char *text_of(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

/* One line without its newline, not empty. */
static int ask_line(struct ruvm_exact_match *m, struct ruvm_session *s, const char *line, size_t n,
                    struct ruvm_error *err)
{
    const char *end = NULL;
    cJSON *object = cJSON_ParseWithLengthOpts(line, n, &end, 0);
    const char *prompt = text_of(object, "prompt"), *answer = text_of(object, "answer");
    bool whole = object && without_trailing_space(end, (size_t)(line + n - end)) == 0;
    int rc;
    if (whole && prompt && answer)
        rc = ask(m, s, prompt, answer, err);
    else
        rc = ruvm_fail(err, RUVM_ERR_CORRUPT,
                       "is not one JSON object with the texts \"prompt\" and \"answer\"");
    cJSON_Delete(object);
    return rc;
}

static int ask_all(struct ruvm_exact_match *m, struct ruvm_session *s, const struct ruvm_map *file,
                   const struct ruvm_progress *p, struct ruvm_error *err)
{
    const char *text = (const char *)file->data, *end = text + file->size;
    int rc = RUVM_OK;
    for (size_t line = 1; text < end && rc == RUVM_OK; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((newline ? newline : end) - text);
        char place[32];
        snprintf(place, sizeof place, "line %zu", line);
        if (without_trailing_space(text, n) > 0 && (rc = ask_line(m, s, text, n, err)) != RUVM_OK)
            ruvm_error_prefix(err, place);
        text += n + (newline != NULL);
        uint64_t done = file->size - (uint64_t)(end - text);
        if (rc == RUVM_OK && p->report && p->report(p->user, "questions", done, file->size) != 0)
            rc = ruvm_fail(err, RUVM_ERR_IO, "interrupted");
    }
    if (rc == RUVM_OK && m->n_questions == 0)
        rc = ruvm_fail(err, RUVM_ERR_CORRUPT, "holds no questions");
    return rc;
}

int ruvm_exact_match_measure(struct ruvm_exact_match *m, struct ruvm_session *s, const char *path,
                             const struct ruvm_progress *progress, struct ruvm_error *err)
{
    struct ruvm_map file;
    *m = (struct ruvm_exact_match){0};
    int rc = ruvm_file_map(&file, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ask_all(m, s, &file, progress, err);
    if (rc != RUVM_OK)
        ruvm_error_prefix(err, path);
    ruvm_file_unmap(&file);
    return rc;
}
