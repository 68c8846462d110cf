/* kNN-LM in a session: the blob is mapped, checked once, and asked for each token. */
#include "lib/run/knn.h"

#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/crc32.h"
#include "lib/base/error.h"
#include "lib/run/session.h"

enum { ALIGN = 64 };

static int open_blob(struct ruvm_run_knn *k, const char *path, struct ruvm_error *err)
{
    struct ruvm_rag_fault fault = {0};
    int rc = ruvm_file_map(&k->map, path, err);
    if (rc != RUVM_OK)
        return rc;
    rc = ruvm_rag_open(&k->rag, k->map.data, k->map.size, &fault);
    if (rc == RUVM_OK)
        rc = ruvm_rag_check(&k->rag, &fault);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "%s: byte %u%s%s: %s: make the blob anew with ruvm rag-add", path,
                         fault.off, fault.section[0] ? ", section " : "", fault.section,
                         fault.what ? fault.what : "is wrong");
    rc = ruvm_knn_open(&k->knn, &k->rag, ruvm_vector_kernels_select(NULL));
    return rc == RUVM_OK ? rc
                         : ruvm_fail(err, rc,
                                     "%s: is no blob for --knn: make one with ruvm rag-add "
                                     "--knn-model",
                                     path);
}

static int check_model(const struct ruvm_run_knn *k, const struct ruvm_session *s, const char *path,
                       struct ruvm_error *err)
{
    const uint8_t *model = k->knn.recipe.weights;
    bool same = ruvm_load_u32(model) == ruvm_crc32(0, s->file.data, s->file.size) &&
                ruvm_load_u32(model + 4) == (uint32_t)s->file.size && k->rag.dims == s->info.dim;
    return same ? RUVM_OK
                : ruvm_fail(err, RUVM_ERR_MISMATCH,
                            "%s: has the states of another model than %s: make it anew with ruvm "
                            "rag-add --knn-model %s",
                            path, s->file.name, s->file.name);
}

static int set_up(struct ruvm_run_knn *k, const struct ruvm_session *s,
                  const struct ruvm_session_options *o, struct ruvm_error *err)
{
    int rc = open_blob(k, o->knn, err);
    if (rc == RUVM_OK)
        rc = check_model(k, s, o->knn, err);
    if (rc != RUVM_OK)
        return rc;
    if (o->knn_k > RUVM_KNN_MAX_K || o->knn_share_q16 > RUVM_KNN_MAX_SHARE)
        return ruvm_fail(err, RUVM_ERR_ARG,
                         "%u neighbours with a share of %.3f: there are up to %d, and shares up to "
                         "0.999",
                         o->knn_k, o->knn_share_q16 / 65536.0, RUVM_KNN_MAX_K);
    k->knn.k = o->knn_k ? o->knn_k : RUVM_KNN_DEFAULT_K;
    k->knn.share_q16 = o->knn_share_q16;
    k->knn.spread_q16 = o->knn_spread_q16 ? o->knn_spread_q16 : RUVM_KNN_DEFAULT_SPREAD;
    k->bytes = ruvm_knn_bytes(&k->knn);
    k->memory = aligned_alloc(ALIGN, ruvm_align_up(k->bytes, ALIGN));
    k->state = calloc(k->rag.dims, sizeof *k->state);
    return k->memory && k->state ? RUVM_OK
                                 : ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", o->knn);
}

int ruvm_run_knn_open(struct ruvm_run_knn **knn, const struct ruvm_session *s,
                      const struct ruvm_session_options *o, struct ruvm_error *err)
{
    *knn = NULL;
    if (!o->knn)
        return RUVM_OK;
    struct ruvm_run_knn *k = calloc(1, sizeof *k);
    int rc =
        k ? set_up(k, s, o, err) : ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", o->knn);
    if (rc == RUVM_OK)
        *knn = k;
    else
        ruvm_run_knn_close(k);
    return rc;
}

void ruvm_run_knn_close(struct ruvm_run_knn *k)
{
    if (!k)
        return;
    ruvm_file_unmap(&k->map);
    free(k->memory);
    free(k->state);
    free(k);
}

/* Memory and numbers were checked when it was opened, so mixing does not fail. */
void ruvm_run_knn_mix(struct ruvm_run_knn *k, struct ruvm_engine *e, int32_t *logits,
                      uint32_t vocab)
{
    ruvm_engine_hidden(e, k->state);
    ruvm_knn_mix(&k->knn, k->state, logits, vocab, k->memory, k->bytes);
}
