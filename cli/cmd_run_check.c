/* run --tokenize and --verify: looking at a model instead of running it. */
#include "cli/cmd_run.h"

#include <stdlib.h>

/* The prompt's ids, to be freed; NULL after a message. */
static uint16_t *encode(const struct ruvm_tokenizer *t, const struct ruvm_run_bytes *prompt,
                        size_t *n_ids)
{
    if (!t) {
        ruvm_output_error("run", "the image has no tokenizer: quantize it with --tokenizer FILE");
        return NULL;
    }
    size_t max_ids = RUVM_MAX_TOKENS(prompt->size);
    uint16_t *ids = ruvm_output_alloc(max_ids, sizeof *ids);
    int n = ruvm_encode(t, ids, max_ids, prompt->data ? prompt->data : "", prompt->size, 0);
    if (n < 0) {
        ruvm_output_error("run", "the vocabulary cannot express this text: %s",
                          ruvm_status_text(n));
        free(ids);
        return NULL;
    }
    *n_ids = (size_t)n;
    return ids;
}

static void print_tokens(const struct ruvm_tokenizer *t, const uint16_t *ids, size_t n)
{
    static const char *const heads[] = {"id", "text"};
    struct ruvm_table table = {.heads = heads, .align = "rl", .n_cols = 2};
    for (size_t i = 0; i < n; i++) {
        size_t size;
        const uint8_t *piece = ruvm_decode(t, i ? ids[i - 1] : RUVM_NO_PREVIOUS, ids[i], &size);
        char *visible = ruvm_output_visible(piece, size);
        ruvm_table_cell(&table, "%u", ids[i]);
        ruvm_table_cell(&table, "|%s|", visible);
        free(visible);
    }
    ruvm_table_print(&table, RUVM_TABLE_TEXT);
    ruvm_table_free(&table);
}

static void print_tokens_json(const struct ruvm_run *r, const struct ruvm_tokenizer *t,
                              const uint16_t *ids, size_t n)
{
    struct cJSON *object = ruvm_run_start_json(r);
    struct cJSON *list = ruvm_json_array(object, "prompt_ids");
    struct cJSON *texts = ruvm_json_array(object, "prompt_pieces");
    struct ruvm_run_bytes whole = {0};
    for (size_t i = 0; i < n; i++) {
        size_t size;
        const uint8_t *piece = ruvm_decode(t, i ? ids[i - 1] : RUVM_NO_PREVIOUS, ids[i], &size);
        ruvm_json_count(list, NULL, ids[i]);
        ruvm_json_bytes(texts, NULL, piece, size);
        ruvm_run_append(&whole, piece, size);
    }
    ruvm_json_bytes(object, "decoded", whole.data, whole.size);
    ruvm_json_finish(object);
    free(whole.data);
}

int ruvm_run_tokenize(const struct ruvm_run *r, const struct ruvm_run_bytes *prompt)
{
    size_t n;
    const struct ruvm_tokenizer *t = ruvm_session_tokenizer(r->session);
    uint16_t *ids = encode(t, prompt, &n);
    if (!ids)
        return RUVM_EXIT_FAILED;
    if (r->collect)
        print_tokens_json(r, t, ids, n);
    else
        print_tokens(t, ids, n);
    free(ids);
    return RUVM_EXIT_DONE;
}

/* ---- golden vectors ------------------------------------------------------ */

static const char *why_not(int status)
{
    if (status == RUVM_ERR_UNSUPPORTED)
        return "the image carries no golden vectors";
    if (status == RUVM_ERR_FULL)
        return "the golden vectors need a larger --ctx";
    return ruvm_status_text(status);
}

static void print_verified(const struct ruvm_run *r, const struct ruvm_verify_result *v, bool ok)
{
    if (!r->collect) {
        if (ok)
            printf("verified: %s after a prompt of %u, logits CRC-32 %08x, kernels %s\n",
                   ruvm_output_many(v->n_tokens, "token"), v->n_prompt, v->crc_found,
                   ruvm_session_kernels(r->session));
        return;
    }
    struct cJSON *object = ruvm_run_start_json(r);
    ruvm_json_bool(object, "verified", ok);
    ruvm_json_count(object, "prompt_tokens", v->n_prompt);
    ruvm_json_count(object, "tokens", v->n_tokens);
    ruvm_json_count(object, "first_wrong", v->first_wrong);
    ruvm_json_count(object, "crc_expected", v->crc_expected);
    ruvm_json_count(object, "crc_found", v->crc_found);
    ruvm_json_finish(object);
}

int ruvm_run_verify(const struct ruvm_run *r)
{
    struct ruvm_verify_result v = {0};
    int status = ruvm_engine_verify(ruvm_session_engine(r->session), &v);
    if (status != RUVM_OK && status != RUVM_ERR_MISMATCH) {
        ruvm_output_error("run", "--verify: %s", why_not(status));
        return RUVM_EXIT_FAILED;
    }
    print_verified(r, &v, status == RUVM_OK);
    if (status == RUVM_OK)
        return RUVM_EXIT_DONE;
    ruvm_output_error("run",
                      "verification failed: %u of %u tokens agree, logits CRC-32 %08x, "
                      "expected %08x: the image or this build is damaged, or another "
                      "version made the image",
                      v.first_wrong, v.n_tokens, v.crc_found, v.crc_expected);
    return RUVM_EXIT_VERIFY;
}
