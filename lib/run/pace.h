/* Whether drafts pay: decided by the clock, again and again.
 *
 *     while (tokens are wanted) {
 *         bool drafted = ruvm_pace_wants_draft(&p) && there is a draft;
 *         ... a round, with the draft or without
 *         ruvm_pace_note(&p, drafted, tokens it gave, seconds it took);
 *     }
 *
 * Rounds without drafts are timed first, then rounds with them. They stay on while a token
 * costs less with them; when they lose they are off for a while, each time twice as long as
 * the last time, and have to be clearly faster in a trial to come back. No clock is read
 * here, and no choice changes a token.
 */
#ifndef RUVM_RUN_PACE_H
#define RUVM_RUN_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    RUVM_PACE_MEASURE = 4, /* rounds without drafts that begin, and that a check takes */
    RUVM_PACE_TRIAL = 8,   /* rounds with drafts that decide */
    RUVM_PACE_CHECK = 64,  /* rounds with drafts until the next check */
    RUVM_PACE_PAUSE = 64,  /* rounds without after the first loss */
    RUVM_PACE_MAX_PAUSE = 1024,
};

struct ruvm_pace_side { /* of rounds with drafts, or without */
    double seconds;
    uint32_t n_rounds, n_tokens;
};

/* Zeros begin. */
struct ruvm_pace {
    enum ruvm_pace_stage {
        RUVM_PACE_MEASURING, /* without drafts, to know what a token costs */
        RUVM_PACE_TRYING,
        RUVM_PACE_ON,
        RUVM_PACE_OFF
    } stage;
    bool always;   /* on whatever the clock says */
    bool is_on;    /* drafts won the last decision */
    bool is_first; /* of a trial: a draft model that was off catches up, which is not counted */
    struct ruvm_pace_side plain, draft; /* of this stage and the one it is compared with */
    uint32_t pause;                     /* rounds that drafts were off the last time */
    uint32_t n_off;                     /* times they were switched off */
};

bool ruvm_pace_wants_draft(const struct ruvm_pace *p);
void ruvm_pace_note(struct ruvm_pace *p, bool drafted, uint32_t n_tokens, double seconds);

#endif
