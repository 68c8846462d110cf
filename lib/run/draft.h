/* Drafts: guesses of the next tokens, cheap enough that wrong ones do little harm.
 *
 *     uint32_t n = ruvm_draft_guess(s->draft, s, most);
 *     ... s->tokens[s->n_tokens .. + n) are guesses, to be verified in one block
 *     ruvm_draft_learn(s->draft, n, accepted);
 *
 * A guess comes from the text itself, where its last tokens stood before (prompt lookup), or
 * from a smaller model of the same vocabulary. The tokens of the text do not depend on it: a
 * guess only says which positions are worth computing together.
 */
#ifndef RUVM_RUN_DRAFT_H
#define RUVM_RUN_DRAFT_H

#include "lib/run/pace.h"
#include "lib/run/session.h"

enum { RUVM_DRAFT_DEFAULT = 7, RUVM_DRAFT_MAX = 63 }; /* 1 + n tokens are a block */

struct ruvm_draft {
    struct ruvm_session *model; /* its tokens are those its engine has computed; NULL: n-grams */
    uint32_t most;              /* tokens of a draft */
    uint32_t length;            /* of the next one */
    int32_t *rows;              /* [most + 1, vocab] logits of a round, the target's */
    struct ruvm_pace pace;
};

/* options: draft, draft_tokens, block, kernels. RUVM_ERR_ARG: a model with other tokens. */
int ruvm_draft_open(struct ruvm_draft **draft, const struct ruvm_session *s,
                    const struct ruvm_session_options *o, struct ruvm_error *err);
void ruvm_draft_close(struct ruvm_draft *d); /* NULL is allowed */

/* Puts at most `most` guesses behind the tokens of s; returns how many. */
uint32_t ruvm_draft_guess(struct ruvm_draft *d, struct ruvm_session *s, uint32_t most);
/* Of n guesses so many were right: long drafts where they are, short ones where not. */
void ruvm_draft_learn(struct ruvm_draft *d, uint32_t n, uint32_t n_right);

#endif
