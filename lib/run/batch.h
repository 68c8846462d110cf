/* A batch: engines like a session's, for several texts that are computed together.
 *
 *     rc = ruvm_batch_open(&batch, session, n, err);
 *     ruvm_engine_eval_rows(batch.engines[0], rows, n_rows);
 *     ruvm_batch_close(&batch);
 */
#ifndef RUVM_RUN_BATCH_H
#define RUVM_RUN_BATCH_H

#include "lib/run/session.h"

enum { RUVM_BATCH_MOST = 64 }; /* rows of a block, beyond which no weight is shared */

struct ruvm_batch {
    struct ruvm_engine *engines[RUVM_BATCH_MOST]; /* the first is the session's */
    uint32_t n;
    void *memory; /* of the others, owned */
};

/* All are empty. RUVM_ERR_ARG: n is not 1..RUVM_BATCH_MOST, _MEMORY. */
int ruvm_batch_open(struct ruvm_batch *b, struct ruvm_session *s, uint32_t n,
                    struct ruvm_error *err);
void ruvm_batch_close(struct ruvm_batch *b);

#endif
