/* Conversations: the common forms, recognised by what stands in the image's template.
 *
 * A template is a program in Jinja, and running it would take more code than the model. The
 * few forms in use are known by a mark each. A form is written down with its special tokens
 * as text; in it %s is the message, %y the system's part, %b and %e BOS and EOS. Only what
 * stands here may become a special token: a message is encoded as plain text, so that nobody
 * can speak for someone else by spelling one.
 */
#define _GNU_SOURCE /* memmem */
#include "lib/run/chat.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/core/pieces.h"

struct form {
    const char *mark;
    const char *system; /* the system's part */
    const char *user;   /* a turn */
    const char *again;  /* what ends the answer before, ahead of another turn */
};

static const struct form forms[] = {
    /* Llama 3 */
    {"<|start_header_id|>", "<|start_header_id|>system<|end_header_id|>\n\n%s<|eot_id|>",
     "%y<|start_header_id|>user<|end_header_id|>\n\n%s<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n",
     "<|eot_id|>"},
    /* ChatML */
    {"<|im_start|>", "<|im_start|>system\n%s<|im_end|>\n",
     "%y<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"},
    /* Llama 2 */
    {"[INST]", "<<SYS>>\n%s\n<</SYS>>\n\n", "[INST] %y%s [/INST]", " %e%b"},
    /* Zephyr */
    {"<|user|>", "<|system|>\n%s%e\n", "%y<|user|>\n%s%e\n<|assistant|>\n", "%e\n"},
};

struct writer {
    const struct ruvm_tokenizer *t;
    uint16_t *ids;
    size_t n_ids, max_ids;
    uint8_t *text; /* plain, not yet encoded */
    size_t n_text;
    enum { FIRST, WITHIN, BEHIND } place; /* of the text: see flush() */
    int rc;
};

static const struct form *form_of(const struct ruvm_tokenizer *t)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (t->chat_bytes && memmem(t->chat, t->chat_bytes, forms[i].mark, strlen(forms[i].mark)))
            return &forms[i];
    return NULL;
}

/* Encodes the text so far: what is between two special tokens, as one. A space is put before
 * the first text, and behind special tokens where the vocabulary has it so, but not where a
 * turn goes on from the answer before. */
static void flush(struct writer *w)
{
    bool plain =
        w->place == WITHIN || (w->place == BEHIND && (w->t->options & RUVM_TOKN_FIRST_PREFIX));
    unsigned flags = plain ? RUVM_ENCODE_PLAIN : RUVM_ENCODE_NO_BOS;
    if (w->rc < 0 || w->n_text == 0)
        return;
    w->rc = ruvm_encode(w->t, w->ids + w->n_ids, w->max_ids - w->n_ids, w->text, w->n_text, flags);
    if (w->rc > 0)
        w->n_ids += (size_t)w->rc;
    w->n_text = 0;
    w->place = BEHIND;
}

static void put_text(struct writer *w, const void *text, size_t n)
{
    if (n)
        memcpy(w->text + w->n_text, text, n);
    w->n_text += n;
}

static void put_special(struct writer *w, uint16_t id)
{
    flush(w);
    if (id != RUVM_NO_TOKEN)
        w->ids[w->n_ids++] = id;
    w->place = BEHIND;
}

/* A special token at p, if one is; returns how many characters it takes. */
static size_t put_literal(struct writer *w, const char *p)
{
    struct ruvm_span rest = {(const uint8_t *)p, strlen(p)};
    uint16_t id = ruvm_pieces_special(w->t, rest, true);
    if (id == RUVM_NO_TOKEN) {
        put_text(w, p, 1);
        return 1;
    }
    put_special(w, id);
    return ruvm_pieces_text(w->t, id).n;
}

/* Writes a form, without the parts of others in it. */
static void put_part(struct writer *w, const char *form, const void *message, size_t n)
{
    for (const char *p = form; *p;) {
        if (*p != '%') {
            p += put_literal(w, p);
            continue;
        }
        if (p[1] == 's')
            put_text(w, message, n);
        else
            put_special(w, p[1] == 'b' ? w->t->bos : w->t->eos);
        p += 2;
    }
}

/* A turn: the system's part goes where the form has it. */
static void put_turn(struct writer *w, const struct form *form, const struct ruvm_chat_turn *turn)
{
    const char *place = strstr(form->user, "%y");
    char before[64] = "";
    if (turn->first && (w->t->flags & RUVM_TOKN_FLAG_ADD_BOS) && w->t->bos != RUVM_NO_TOKEN)
        w->ids[w->n_ids++] = w->t->bos;
    if (!turn->first)
        put_part(w, form->again, NULL, 0);
    memcpy(before, form->user, (size_t)(place - form->user));
    put_part(w, before, NULL, 0);
    if (turn->first && turn->system)
        put_part(w, form->system, turn->system, strlen(turn->system));
    put_part(w, place + 2, turn->message, turn->n_bytes);
    flush(w);
}

/* A byte of text is an id at most; the rest is for BOS, and a space behind each special. */
static size_t room_of(const struct form *form, const struct ruvm_chat_turn *turn)
{
    return 2 * (strlen(form->system) + strlen(form->user) + strlen(form->again)) + turn->n_bytes +
           (turn->system ? strlen(turn->system) : 0) + 8;
}

int ruvm_chat_encode(uint16_t **ids, size_t *n_ids, const struct ruvm_tokenizer *t,
                     const struct ruvm_chat_turn *turn, struct ruvm_error *err)
{
    const struct form *form = form_of(t);
    *ids = NULL;
    if (!form)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                         t->chat_bytes ? "the image's template of a conversation is none of Llama "
                                         "2, Llama 3, ChatML and Zephyr: put what it wants around "
                                         "a prompt by hand"
                                       : "the image has no template of a conversation: it was "
                                         "made from a model that is not for talking");
    size_t room = room_of(form, turn);
    struct writer w = {.t = t, .max_ids = room, .place = turn->first ? FIRST : WITHIN};
    w.ids = malloc(room * sizeof *w.ids);
    w.text = malloc(room);
    if (!w.ids || !w.text)
        w.rc = RUVM_ERR_MEMORY;
    else
        put_turn(&w, form, turn);
    free(w.text);
    *ids = w.ids;
    *n_ids = w.n_ids;
    if (w.rc < 0)
        return ruvm_fail(err, w.rc, "the vocabulary cannot express the message: %s",
                         ruvm_status_text(w.rc));
    return RUVM_OK;
}
