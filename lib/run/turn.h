/* A turn of generation, between the files that make it: prompt.c turns what was asked into
 * tokens of the session, generate.c computes and answers. */
#ifndef RUVM_RUN_TURN_H
#define RUVM_RUN_TURN_H

#include "lib/run/outlet.h"
#include "lib/run/session.h"

struct ruvm_turn {
    struct ruvm_session *s;
    const struct ruvm_generate_options *o;
    struct ruvm_generate_result *r;
    struct ruvm_error *err;
    struct ruvm_outlet outlet;
    uint32_t known; /* tokens of the session that the engine knows, though the text begins anew */
    uint16_t last;  /* the token before the next one, for its text */
    double first_s; /* of generate_s: for the first token */
};

/* Puts the prompt's tokens behind those of the conversation, or begins anew. RUVM_ERR_FULL,
 * RUVM_ERR_UNSUPPORTED: it cannot be said in tokens. */
int ruvm_prompt_take(struct ruvm_turn *t);
/* Opens the outlet, which the caller closes in any case. */
int ruvm_turn_begin(struct ruvm_turn *t);
/* Draws a token from logits, keeps and says it. True when it is the last one, with the reason. */
bool ruvm_turn_step(struct ruvm_turn *t, const int32_t *logits, enum ruvm_stop *stop);

#endif
