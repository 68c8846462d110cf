/* Passages in a prompt: as many as the context has room for, the best ones first.
 *
 * A form says where they stand: %c is replaced by the passages, a line each, %q by the
 * question. What does not fit is left out whole, but for the first passage, which is cut after
 * a word: half an answer is better than none.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/buffer.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/run/session.h"

/* A prompt on its way. */
struct prompt {
    struct ruvm_session *s;
    const struct ruvm_passages *p;
    struct ruvm_buffer text;
    uint32_t room; /* tokens */
};

static void put_passages(struct prompt *p, uint32_t n, size_t first_bytes)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct ruvm_knowledge_hit *h = &p->p->hits[i];
        if (i)
            ruvm_buffer_u8(&p->text, '\n');
        ruvm_buffer_bytes(&p->text, h->text, i ? h->n_text : first_bytes);
    }
}

/* The prompt with n passages, the first one cut to first_bytes. */
static void put_form(struct prompt *p, uint32_t n, size_t first_bytes)
{
    const char *form = p->p->form ? p->p->form : "%c\n%q";
    p->text.size = 0;
    for (; *form; form++) {
        if (form[0] == '%' && form[1] == 'c')
            put_passages(p, n, first_bytes);
        else if (form[0] == '%' && form[1] == 'q')
            ruvm_buffer_bytes(&p->text, p->p->question, p->p->n_question);
        else {
            ruvm_buffer_u8(&p->text, (uint8_t)*form);
            continue;
        }
        form++;
    }
}

/* Whether the prompt leaves room; RUVM_ERR_* when it cannot be encoded. */
static int fits(struct prompt *p, struct ruvm_error *err)
{
    size_t max = RUVM_MAX_TOKENS(p->text.size);
    uint16_t *ids = malloc(max * sizeof *ids);
    if (!ids || !ruvm_buffer_ok(&p->text)) {
        free(ids);
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a prompt with passages");
    }
    const void *text = p->text.size ? (const void *)p->text.data : "";
    int n = ruvm_encode(&p->s->tokenizer, ids, max, text, p->text.size, 0);
    free(ids);
    if (n < 0)
        return ruvm_fail(err, n, "the vocabulary cannot express the passages: %s",
                         ruvm_status_text(n));
    return (uint32_t)n <= p->room;
}

/* The place of the last word or character that ends at or before n. */
static size_t cut_at(const struct ruvm_knowledge_hit *h, size_t n)
{
    size_t word = n;
    while (word > n / 2 && h->text[word] != ' ' && h->text[word] != '\n')
        word--;
    if (word > n / 2)
        return word;
    while (n > 0 && ((uint8_t)h->text[n] & 0xC0) == 0x80)
        n--;
    return n;
}

/* The longest start of the first passage that fits, by halving; 0 when none does. */
static int cut_first(struct prompt *p, size_t *bytes, struct ruvm_error *err)
{
    const struct ruvm_knowledge_hit *h = &p->p->hits[0];
    size_t fitting = 0, beyond = h->n_text;
    while (beyond - fitting > 1) {
        size_t middle = fitting + (beyond - fitting) / 2;
        put_form(p, 1, middle);
        int rc = fits(p, err);
        if (rc < 0)
            return rc;
        if (rc)
            fitting = middle;
        else
            beyond = middle;
    }
    *bytes = fitting ? cut_at(h, fitting) : 0;
    return RUVM_OK;
}

static int fill(struct prompt *p, uint32_t *n_used, struct ruvm_error *err)
{
    uint32_t n = 0;
    size_t first = p->p->n_hits ? p->p->hits[0].n_text : 0;
    int rc = 1;
    while (n < p->p->n_hits && rc == 1) {
        put_form(p, n + 1, first);
        rc = fits(p, err);
        n += rc == 1;
    }
    if (rc == 0 && n == 0) {
        rc = cut_first(p, &first, err);
        n = first > 0;
    }
    *n_used = n;
    put_form(p, n, first);
    return rc < 0 ? rc : RUVM_OK;
}

int ruvm_session_passages(struct ruvm_session *s, const struct ruvm_passages *passages,
                          char **prompt, size_t *n_bytes, uint32_t *n_used, struct ruvm_error *err)
{
    struct prompt p = {.s = s, .p = passages};
    uint32_t reserve = s->context / 4;
    if (passages->n_tokens)
        reserve = passages->n_tokens < s->context / 2 ? passages->n_tokens : s->context / 2;
    *prompt = NULL;
    if (!s->has_tokenizer)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         "%s: has no tokenizer, so it cannot read passages", s->file.name);
    p.room = s->context - reserve;
    int rc = fill(&p, n_used, err);
    if (rc == RUVM_OK && !ruvm_buffer_ok(&p.text))
        rc = ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for a prompt with passages");
    if (rc != RUVM_OK) {
        ruvm_buffer_free(&p.text);
        return rc;
    }
    *prompt = (char *)p.text.data;
    *n_bytes = p.text.size;
    return RUVM_OK;
}
