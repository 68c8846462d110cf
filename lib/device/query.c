/* `query`: what the knowledge in the pack says to a question.
 *
 * The blob is opened for each question, which takes no time, and searched in memory that was
 * set aside behind the engine. Passages come best first, two lines each. */
#include "lib/device/query.h"

#include "formats/rag_read.h"
#include "lib/device/console.h"
#include "lib/vector/ask.h"

enum { DEFAULT_ANSWERS = 3 };
_Static_assert((int)RUVM_DEVICE_MAX_ANSWERS <= (int)RUVM_ASK_MAX, "answers can be had");

static bool open_knowledge(const struct ruvm_device_model *m, struct ruvm_rag *rag)
{
    return m->knowledge && ruvm_rag_open(rag, m->knowledge, m->knowledge_bytes, NULL) == RUVM_OK;
}

size_t ruvm_device_query_bytes(const struct ruvm_device_model *m)
{
    struct ruvm_rag rag;
    return open_knowledge(m, &rag) ? ruvm_ask_bytes(&rag, RUVM_DEVICE_MAX_ANSWERS) : 0;
}

static void show(const struct ruvm_rag *rag, const struct ruvm_answer *a)
{
    struct ruvm_chunk c = ruvm_rag_chunk(rag, a->id);
    struct ruvm_source s = ruvm_rag_source(rag, c.source);
    ruvm_console_text("passage");
    ruvm_console_field("chunk", a->id);
    ruvm_console_field("score_q16", a->score_q16);
    ruvm_console_field("confidence_q16", a->confidence_q16);
    ruvm_console_text(" source=");
    ruvm_console_escaped((const uint8_t *)s.name.text, s.name.text ? s.name.bytes : 0);
    ruvm_console_text("\ntext ");
    ruvm_console_escaped((const uint8_t *)c.text.text, c.text.text ? c.text.bytes : 0);
    ruvm_console_text("\n");
}

static void answer(const struct ruvm_device_model *m, const struct ruvm_rag *rag, uint32_t k,
                   const char *question, size_t n_bytes)
{
    struct ruvm_answer answers[RUVM_DEVICE_MAX_ANSWERS];
    uint32_t best = 0, begin = ruvm_port_cycles();
    int n = ruvm_ask(rag, k, question, n_bytes, m->index, m->index_bytes, answers);
    uint32_t end = ruvm_port_cycles();
    if (n < 0) {
        ruvm_console_text("error ");
        ruvm_console_text(ruvm_status_text(n));
        ruvm_console_text("\n");
        return;
    }
    for (int i = 0; i < n; i++) {
        show(rag, &answers[i]);
        best = answers[i].confidence_q16 > best ? answers[i].confidence_q16 : best;
    }
    ruvm_console_text("ok");
    ruvm_console_field("passages", (uint32_t)n);
    ruvm_console_field("known", n > 0 && best >= ruvm_ask_floor_q16(rag));
    ruvm_console_field("cycles", end - begin);
    ruvm_console_text("\n");
}

/* NULL, or what is wrong with the line. */
static const char *parse(char **rest, uint32_t *k)
{
    while (**rest == ' ')
        ++*rest;
    if (**rest && **rest != '"') {
        const char *value = ruvm_console_value(ruvm_console_word(rest), "k");
        if (!value || !ruvm_console_parse(value, k) || *k == 0 || *k > RUVM_DEVICE_MAX_ANSWERS)
            return "error say query [k=1 to 8] \"QUESTION\"\n";
        while (**rest == ' ')
            ++*rest;
    }
    return NULL;
}

void ruvm_device_query(const struct ruvm_device_model *m, char *rest)
{
    struct ruvm_rag rag;
    uint32_t k = DEFAULT_ANSWERS;
    const char *wrong = parse(&rest, &k);
    int32_t n_bytes = wrong ? 0 : ruvm_console_quoted(rest);
    if (!wrong && n_bytes < 0)
        wrong = "error the question has an escape that is none of \\n \\r \\t \\\\ \\\" \\xHH\n";
    else if (!wrong && !m->knowledge)
        wrong = "error there is no knowledge: make the pack with --knowledge FILE\n";
    else if (!wrong && (!m->index || !m->index_bytes || !open_knowledge(m, &rag)))
        wrong = "error the knowledge cannot be asked: make it anew with `ruvm rag-add`\n";
    if (wrong)
        ruvm_console_text(wrong);
    else
        answer(m, &rag, k, rest, (size_t)n_bytes);
}
