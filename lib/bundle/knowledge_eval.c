/* How well a blob answers questions whose answers are known.
 *
 * Every way of ranking that the blob has is asked the same questions, and the default once
 * more without its graph. Gains are 1 for a chunk that answers and 0 else; of several that do
 * the ideal order has all of them first.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/rag_layout.h"
#include "formats/ragtext_layout.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/bundle/rag_names.h"
#include "lib/ruvm_tool.h"

enum { K = 10 };

struct question {
    cJSON *json;                             /* owned */
    const char *text, *answer, *source, *id; /* NULL: not asked for */
    float *vector;                           /* owned; NULL: none */
    uint32_t n_vector, n_relevant;
};

struct evaluation {
    struct ruvm_knowledge *k;
    struct question *questions;
    uint32_t n, cap;
    const char *path;
    struct ruvm_error *err;
};

/* ---- the questions -------------------------------------------------------------------------- */

static const char *text_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* Its array "vector", if it has one. */
static int take_vector(struct evaluation *e, struct question *q, size_t number)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(q->json, "vector"), *item;
    if (!cJSON_IsArray(list))
        return RUVM_OK;
    q->vector = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *q->vector);
    if (!q->vector)
        return ruvm_fail(e->err, RUVM_ERR_MEMORY, "%s: no memory for its questions", e->path);
    cJSON_ArrayForEach(item, list)
    {
        float x = cJSON_IsNumber(item) ? (float)item->valuedouble : NAN;
        if (!isfinite((double)x))
            return ruvm_fail(e->err, RUVM_ERR_CORRUPT,
                             "%s: line %zu: its vector has what is no finite number", e->path,
                             number);
        q->vector[q->n_vector++] = x;
    }
    return RUVM_OK;
}

static int take_line(struct evaluation *e, const char *line, size_t n, size_t number)
{
    struct ruvm_error why = {0};
    if (e->n == e->cap) {
        uint32_t cap = 2 * e->cap + 64;
        void *p = realloc(e->questions, cap * sizeof *e->questions);
        if (!p)
            return ruvm_fail(e->err, RUVM_ERR_MEMORY, "%s: no memory for its questions", e->path);
        e->questions = p;
        e->cap = cap;
    }
    cJSON *json = ruvm_json_parse(line, n, &why);
    if (!json)
        return ruvm_fail(e->err, RUVM_ERR_CORRUPT, "%s: line %zu: %s", e->path, number, why.text);
    struct question q = {.json = json,
                         .text = text_of(json, "question"),
                         .answer = text_of(json, "answer"),
                         .source = text_of(json, "source"),
                         .id = text_of(json, "id")};
    int rc = take_vector(e, &q, number);
    e->questions[e->n++] = q;
    if (rc != RUVM_OK)
        return rc;
    if (!q.text || !(q.answer || q.source || q.id))
        return ruvm_fail(e->err, RUVM_ERR_CORRUPT,
                         "%s: line %zu: needs \"question\", and \"answer\", \"source\" or \"id\"",
                         e->path, number);
    return RUVM_OK;
}

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r')
            return false;
    return true;
}

static int read_questions(struct evaluation *e, const struct ruvm_map *map)
{
    const char *p = (const char *)map->data, *end = p + map->size;
    int rc = RUVM_OK;
    for (size_t number = 1, n; rc == RUVM_OK && p < end; p += n + 1, number++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        n = newline ? (size_t)(newline - p) : (size_t)(end - p);
        if (!is_blank(p, n))
            rc = take_line(e, p, n, number);
        if (!newline)
            break;
    }
    if (rc == RUVM_OK && e->n == 0)
        rc = ruvm_fail(e->err, RUVM_ERR_CORRUPT, "%s: has no questions", e->path);
    return rc;
}

/* ---- what answers one ----------------------------------------------------------------------- */

static bool contains(const char *text, size_t n, const char *part)
{
    size_t m = strlen(part);
    for (size_t i = 0; m && i + m <= n; i++)
        if (text[i] == part[0] && memcmp(text + i, part, m) == 0)
            return true;
    return false;
}

static bool has_id(const struct ruvm_knowledge_hit *h, const char *id)
{
    struct ruvm_error ignored = {0};
    bool is_plain = !strpbrk(id, "\"\\"); /* JSON writes it as it is: look before parsing */
    if (is_plain && !contains(h->meta, h->n_meta, id))
        return false;
    cJSON *meta = h->n_meta ? ruvm_json_parse(h->meta, h->n_meta, &ignored) : NULL;
    const char *found = meta ? text_of(meta, "id") : NULL;
    bool same = found && strcmp(found, id) == 0;
    cJSON_Delete(meta);
    return same;
}

static bool answers(const struct ruvm_knowledge_hit *h, const struct question *q)
{
    if (q->source &&
        (h->n_source != strlen(q->source) || memcmp(h->source, q->source, h->n_source) != 0))
        return false;
    if (q->answer && !contains(h->text, h->n_text, q->answer))
        return false;
    return !q->id || has_id(h, q->id);
}

static void count_relevant(struct evaluation *e, struct question *q)
{
    uint32_t n = ruvm_knowledge_info(e->k).n_chunks;
    struct ruvm_knowledge_hit h;
    for (uint32_t i = 0; i < n; i++)
        if (ruvm_knowledge_chunk(e->k, i, &h))
            q->n_relevant += answers(&h, q);
}

/* ---- scores --------------------------------------------------------------------------------- */

static void add_scores(struct ruvm_knowledge_scores *s, const struct question *q,
                       const struct ruvm_knowledge_hit *hits, int n)
{
    double gain = 0, ideal = 0;
    int first = -1;
    for (int i = 0; i < n; i++)
        if (answers(&hits[i], q)) {
            first = first < 0 ? i : first;
            gain += 1 / log2(i + 2);
        }
    for (uint32_t i = 0; i < q->n_relevant && i < K; i++)
        ideal += 1 / log2(i + 2.0);
    s->hit1 += first == 0;
    s->hit3 += first >= 0 && first < 3;
    s->hit10 += first >= 0;
    s->mrr += first >= 0 ? 1.0 / (first + 1) : 0;
    s->ndcg10 += gain / ideal;
}

static int ask_all(struct evaluation *e, const char *rank, bool exact,
                   struct ruvm_knowledge_scores *s)
{
    uint32_t n_asked = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        const struct question *q = &e->questions[i];
        struct ruvm_knowledge_hit hits[K];
        const struct ruvm_knowledge_ask ask = {.question = q->text,
                                               .n_bytes = strlen(q->text),
                                               .k = K,
                                               .rank = rank,
                                               .exact = exact,
                                               .vector = q->vector,
                                               .n_vector = q->n_vector};
        if (q->n_relevant == 0)
            continue;
        double start = ruvm_clock_s();
        int n = ruvm_knowledge_ask(e->k, &ask, hits, e->err);
        s->seconds_a_question += ruvm_clock_s() - start;
        if (n < 0)
            return n;
        add_scores(s, q, hits, n);
        n_asked++;
    }
    double *const sums[] = {&s->hit1, &s->hit3,   &s->hit10,
                            &s->mrr,  &s->ndcg10, &s->seconds_a_question};
    for (size_t i = 0; n_asked && i < sizeof sums / sizeof *sums; i++)
        *sums[i] /= n_asked;
    return RUVM_OK;
}

/* The blob's default first, then its other ways, at last the default without the graph. */
static int ask_ways(struct evaluation *e, const struct ruvm_progress *progress,
                    struct ruvm_knowledge_eval *out)
{
    struct ruvm_knowledge_info info = ruvm_knowledge_info(e->k);
    const char *ways[RUVM_KNOWLEDGE_MAX_ROWS] = {info.rank};
    uint32_t n = 1;
    bool has_vectors = true;
    for (uint32_t i = 0; i < e->n; i++)
        has_vectors = has_vectors && (info.has_recipe || e->questions[i].vector);
    for (uint32_t i = 0; info.has_words && has_vectors && ruvm_rag_rank_names[i]; i++)
        if (strcmp(ruvm_rag_rank_names[i], info.rank) != 0)
            ways[n++] = ruvm_rag_rank_names[i];
    ways[n++] = "exact";
    for (uint32_t i = 0; i < n; i++) {
        bool exact = i + 1 == n;
        if (progress->report && progress->report(progress->user, "asking", i, n))
            return ruvm_fail(e->err, RUVM_ERR_IO, "interrupted");
        out->row[i].name = ways[i];
        int rc = ask_all(e, exact ? NULL : ways[i], exact, &out->row[i]);
        if (rc != RUVM_OK)
            return rc;
        out->n_rows = i + 1;
    }
    return RUVM_OK;
}

static int evaluate(struct evaluation *e, const struct ruvm_progress *progress,
                    struct ruvm_knowledge_eval *out)
{
    out->n_questions = e->n;
    for (uint32_t i = 0; i < e->n; i++) {
        if (progress->report && progress->report(progress->user, "finding answers", i, e->n))
            return ruvm_fail(e->err, RUVM_ERR_IO, "interrupted");
        count_relevant(e, &e->questions[i]);
        out->n_without += e->questions[i].n_relevant == 0;
    }
    if (out->n_without == e->n)
        return ruvm_fail(e->err, RUVM_ERR_MISMATCH,
                         "%s: no chunk of the blob answers any of its questions: check \"source\", "
                         "\"id\" and \"answer\"",
                         e->path);
    return ask_ways(e, progress, out);
}

int ruvm_knowledge_eval(struct ruvm_knowledge *k, const char *path,
                        const struct ruvm_progress *progress, struct ruvm_knowledge_eval *out,
                        struct ruvm_error *err)
{
    struct evaluation e = {.k = k, .path = path, .err = err};
    struct ruvm_map map;
    *out = (struct ruvm_knowledge_eval){0};
    int rc = ruvm_file_map(&map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = read_questions(&e, &map);
    if (rc == RUVM_OK)
        rc = evaluate(&e, progress, out);
    for (uint32_t i = 0; i < e.n; i++) {
        cJSON_Delete(e.questions[i].json);
        free(e.questions[i].vector);
    }
    free(e.questions);
    ruvm_file_unmap(&map);
    return rc;
}
