/* The stages of a pace: measure, try, on or off, and back.
 *
 * A sum over a stage is compared, not a single round: a draft that is accepted whole pays
 * for some that are not. The two thresholds differ, so that what is about equal stays as it
 * is.
 */
#include "lib/run/pace.h"

static const double clearly_faster = 0.95;

bool ruvm_pace_wants_draft(const struct ruvm_pace *p)
{
    return p->always || p->stage == RUVM_PACE_TRYING || p->stage == RUVM_PACE_ON;
}

static double per_token(const struct ruvm_pace_side *side)
{
    return side->n_tokens ? side->seconds / side->n_tokens : 0;
}

static void enter(struct ruvm_pace *p, enum ruvm_pace_stage stage)
{
    bool drafts = stage == RUVM_PACE_TRYING || stage == RUVM_PACE_ON;
    struct ruvm_pace_side *side = drafts ? &p->draft : &p->plain;
    p->stage = stage;
    *side = (struct ruvm_pace_side){0};
    p->is_first = stage == RUVM_PACE_TRYING;
}

static void decide(struct ruvm_pace *p)
{
    double limit = per_token(&p->plain) * (p->is_on ? 1 : clearly_faster);
    bool wins = per_token(&p->draft) <= limit;
    if (wins) {
        p->pause = 0;
    } else {
        p->pause = p->pause ? 2 * p->pause : RUVM_PACE_PAUSE;
        p->pause = p->pause < RUVM_PACE_MAX_PAUSE ? p->pause : RUVM_PACE_MAX_PAUSE;
        p->n_off++;
    }
    p->is_on = wins;
    enter(p, wins ? RUVM_PACE_ON : RUVM_PACE_OFF);
}

/* After enough rounds of a stage's own kind the next one begins. */
static void advance(struct ruvm_pace *p)
{
    switch (p->stage) {
    case RUVM_PACE_MEASURING:
        if (p->plain.n_rounds < RUVM_PACE_MEASURE)
            return;
        if (p->is_on)
            decide(p);
        else
            enter(p, RUVM_PACE_TRYING);
        return;
    case RUVM_PACE_TRYING:
        if (p->draft.n_rounds >= RUVM_PACE_TRIAL)
            decide(p);
        return;
    case RUVM_PACE_ON:
        if (p->draft.n_rounds >= RUVM_PACE_CHECK)
            enter(p, RUVM_PACE_MEASURING);
        return;
    case RUVM_PACE_OFF:
        if (p->plain.n_rounds >= p->pause)
            enter(p, RUVM_PACE_TRYING);
        return;
    }
}

void ruvm_pace_note(struct ruvm_pace *p, bool drafted, uint32_t n_tokens, double seconds)
{
    struct ruvm_pace_side *side = drafted ? &p->draft : &p->plain;
    if (p->always)
        return;
    if (drafted && p->is_first) {
        p->is_first = false;
        return;
    }
    side->seconds += seconds;
    side->n_tokens += n_tokens;
    side->n_rounds++;
    advance(p);
}
