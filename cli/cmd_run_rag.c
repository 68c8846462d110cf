/* run --rag: what a knowledge blob has to say goes before the question, or is the answer.
 *
 * Sources and scores are told on standard error, so that standard output stays the model's; with
 * --rag-only the passages are the result. Below the confidence asked for nothing is generated:
 * that it does not know is said instead.
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "cli/cmd_run.h"

static void print_visible(FILE *out, const char *bytes, size_t n)
{
    char *visible = ruvm_output_visible(bytes, n);
    fputs(visible, out);
    free(visible);
}

static void print_sources(FILE *out, const struct ruvm_knowledge_hit *hits, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct ruvm_knowledge_hit *h = &hits[i];
        fprintf(out, "[%u] score %.3f, confidence %.2f  ", i + 1, h->score, h->confidence);
        print_visible(out, h->source, h->n_source);
        fprintf(out, ", chunk %u\n", h->chunk);
    }
}

/* Text for people: as it is, but for what acts on a terminal. */
static void print_passage(const struct ruvm_run *r, const struct ruvm_knowledge_hit *h)
{
    for (uint32_t i = 0; i < h->n_text; i++) {
        unsigned char c = (unsigned char)h->text[i];
        if (!r->terminal || c >= ' ' || c == '\n' || c == '\t')
            putchar(c);
    }
    putchar('\n');
}

void ruvm_run_rag_json(struct cJSON *object, const struct ruvm_run_rag *rag)
{
    ruvm_json_bool(object, "known", rag->n_known > 0);
    ruvm_json_number(object, "rag_floor", rag->floor);
    ruvm_json_count(object, "passages_used", rag->n_used);
    struct cJSON *list = ruvm_json_array(object, "passages");
    for (uint32_t i = 0; i < rag->n_hits; i++) {
        const struct ruvm_knowledge_hit *h = &rag->hits[i];
        struct cJSON *hit = ruvm_json_object(list, NULL);
        ruvm_json_bytes(hit, "source", h->source, h->n_source);
        ruvm_json_count(hit, "chunk", h->chunk);
        ruvm_json_number(hit, "score", h->score);
        ruvm_json_number(hit, "confidence", h->confidence);
        ruvm_json_bytes(hit, "text", h->text, h->n_text);
    }
}

/* Copies those that have the confidence asked for; known NULL: counts them only. */
static uint32_t take_known(const struct ruvm_run_rag *rag, struct ruvm_knowledge_hit *known)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rag->n_hits; i++) {
        if (rag->hits[i].confidence < rag->floor)
            continue;
        if (known)
            known[n] = rag->hits[i];
        n++;
    }
    return n;
}

static double best_confidence(const struct ruvm_run_rag *rag)
{
    double best = 0;
    for (uint32_t i = 0; i < rag->n_hits; i++)
        best = rag->hits[i].confidence > best ? rag->hits[i].confidence : best;
    return best;
}

const char *ruvm_run_rag_blob(const struct ruvm_args *args)
{
    const char *blob = ruvm_args_text(args, "rag");
    return !blob && ruvm_args_given(args, "rag-only") ? ruvm_args_operand(args, 0) : blob;
}

int ruvm_run_rag_open(struct ruvm_run_rag *rag, const struct ruvm_args *args,
                      const struct ruvm_run_bytes *question)
{
    struct ruvm_error err = {0};
    const struct ruvm_knowledge_ask ask = {.question = question->data,
                                           .n_bytes = question->size,
                                           .k = ruvm_args_u32(args, "rag-results")};
    if (ruvm_knowledge_open(&rag->knowledge, ruvm_run_rag_blob(args), &err) != RUVM_OK)
        return ruvm_output_failure("run", &err);
    if (strcmp(ruvm_knowledge_info(rag->knowledge).embed, "model") == 0 &&
        ruvm_knowledge_use_model(rag->knowledge, ruvm_args_operand(args, 0), &err) != RUVM_OK)
        return ruvm_output_failure("run", &err);
    rag->hits = ruvm_output_alloc(ask.k, sizeof *rag->hits);
    int n = ruvm_knowledge_ask(rag->knowledge, &ask, rag->hits, &err);
    if (n < 0)
        return ruvm_output_failure("run", &err);
    rag->n_hits = (uint32_t)n;
    rag->floor = ruvm_args_given(args, "rag-floor") ? ruvm_args_number(args, "rag-floor")
                                                    : ruvm_knowledge_info(rag->knowledge).floor;
    rag->n_known = take_known(rag, NULL);
    return RUVM_EXIT_DONE;
}

void ruvm_run_rag_close(struct ruvm_run_rag *rag)
{
    ruvm_knowledge_close(rag->knowledge);
    free(rag->hits);
}

static int print_unknown(const struct ruvm_run *r, const struct ruvm_run_rag *rag)
{
    if (r->collect) {
        struct cJSON *object = ruvm_json_start("run");
        ruvm_run_rag_json(object, rag);
        ruvm_json_finish(object);
    } else {
        printf("I do not know: nothing in %s answers this (confidence %.2f, below %.2f)\n",
               ruvm_run_rag_blob(r->args), best_confidence(rag), rag->floor);
    }
    return RUVM_EXIT_DONE;
}

int ruvm_run_rag_only(const struct ruvm_run *r, const struct ruvm_run_rag *rag)
{
    if (rag->n_known == 0)
        return print_unknown(r, rag);
    if (r->collect) {
        struct cJSON *object = ruvm_json_start("run");
        ruvm_run_rag_json(object, rag);
        ruvm_json_finish(object);
        return RUVM_EXIT_DONE;
    }
    for (uint32_t i = 0; i < rag->n_hits; i++) {
        if (rag->hits[i].confidence < rag->floor)
            continue;
        printf("[%u] score %.3f, confidence %.2f  ", i + 1, rag->hits[i].score,
               rag->hits[i].confidence);
        print_visible(stdout, rag->hits[i].source, rag->hits[i].n_source);
        printf(", chunk %u\n", rag->hits[i].chunk);
        print_passage(r, &rag->hits[i]);
    }
    return RUVM_EXIT_DONE;
}

int ruvm_run_rag_prompt(struct ruvm_run *r, struct ruvm_run_rag *rag, struct ruvm_run_bytes *prompt)
{
    struct ruvm_error err = {0};
    struct ruvm_knowledge_hit *known = ruvm_output_alloc(rag->n_known, sizeof *known);
    take_known(rag, known);
    const struct ruvm_passages p = {.hits = known,
                                    .n_hits = rag->n_known,
                                    .question = prompt->data,
                                    .n_question = prompt->size,
                                    .form = ruvm_args_text(r->args, "rag-form"),
                                    .n_tokens = ruvm_args_u32(r->args, "tokens")};
    char *text;
    size_t n;
    int rc = ruvm_session_passages(r->session, &p, &text, &n, &rag->n_used, &err);
    if (rc == RUVM_OK) {
        prompt->size = 0;
        ruvm_run_append(prompt, text, n);
        free(text);
        if (!ruvm_args_given(r->args, "quiet"))
            print_sources(stderr, known, rag->n_used);
        if (rag->n_used == 0)
            ruvm_output_error("run",
                              "note: the context of %u tokens has no room for a passage beside the "
                              "question and the answer: raise --ctx, or lower -n",
                              ruvm_session_context(r->session));
    }
    free(known);
    return rc == RUVM_OK ? RUVM_EXIT_DONE : ruvm_output_failure("run", &err);
}
