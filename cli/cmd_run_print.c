/* What `ruvm run` prints about an answer: lines about its speed, or its JSON object. */
#include "cli/cmd_run.h"

/* " (1,234/s)", or "" when nothing was computed: there is no rate then. */
static const char *rate(char text[static 48], uint32_t n, double seconds, const char *of)
{
    text[0] = '\0';
    if (n && seconds > 0)
        snprintf(text, 48, " (%s/s%s)", ruvm_output_grouped((uint64_t)(n / seconds)), of);
    return text;
}

void ruvm_run_add(struct ruvm_generate_result *total, const struct ruvm_generate_result *g)
{
    total->n_prompt_tokens += g->n_prompt_tokens;
    total->n_tokens += g->n_tokens;
    total->n_reused += g->n_reused;
    total->n_computed += g->n_computed;
    total->n_decoded += g->n_decoded;
    total->prompt_s += g->prompt_s;
    total->generate_s += g->generate_s;
    total->decode_s += g->decode_s;
    total->drafts.n_rounds += g->drafts.n_rounds;
    total->drafts.n_tokens += g->drafts.n_tokens;
    total->drafts.n_accepted += g->drafts.n_accepted;
    total->drafts.n_switched_off += g->drafts.n_switched_off;
}

/* What the guesses of a draft came to. */
static void print_drafts(const struct ruvm_generate_drafts *d)
{
    fprintf(stderr,
            "drafts: %u of %u guessed tokens accepted (%.1f %%), %.2f tokens a verified block; "
            "switched off %u times; measured\n",
            d->n_accepted, d->n_tokens, d->n_tokens ? 100.0 * d->n_accepted / d->n_tokens : 0,
            d->n_rounds ? 1 + (double)d->n_accepted / d->n_rounds : 0, d->n_switched_off);
}

void ruvm_run_print_speed(const struct ruvm_run *r, const struct ruvm_generate_result *g)
{
    char reused[48] = "", threads[32] = "", prompt[48], decode[48];
    uint32_t n_threads = ruvm_session_threads(r->session);
    if (ruvm_args_given(r->args, "quiet"))
        return;
    fflush(stdout);
    if (g->n_reused)
        snprintf(reused, sizeof reused, " (%u of them known)", g->n_reused);
    if (n_threads > 1)
        snprintf(threads, sizeof threads, ", %u threads", n_threads);
    fprintf(stderr, "%s%s in %.3g ms%s, %s in %.3g ms%s; kernels %s%s, engine %s bytes; measured\n",
            ruvm_output_many(g->n_prompt_tokens, "prompt token"), reused, g->prompt_s * 1e3,
            rate(prompt, g->n_computed, g->prompt_s, ""), ruvm_output_many(g->n_tokens, "token"),
            g->generate_s * 1e3, rate(decode, g->n_decoded, g->decode_s, " after the first"),
            ruvm_session_kernels(r->session), threads,
            ruvm_output_grouped(ruvm_session_engine_bytes(r->session)));
    if (ruvm_args_given(r->args, "mask"))
        fprintf(stderr, "mask %s: the caches keep %u of %u positions\n",
                ruvm_args_text(r->args, "mask"), ruvm_session_cached(r->session),
                ruvm_session_context(r->session));
    if (ruvm_args_given(r->args, "draft"))
        print_drafts(&g->drafts);
}

void ruvm_run_print_note(const struct ruvm_generate_result *g)
{
    if (g->cache_note[0])
        ruvm_output_error("run", "note: %s", g->cache_note);
}

struct cJSON *ruvm_run_start_json(const struct ruvm_run *r)
{
    const char *model = ruvm_args_operand(r->args, 0);
    struct cJSON *object = ruvm_json_start("run");
    ruvm_json_text(object, "model", model ? model : "demo");
    ruvm_json_text(object, "kernels", ruvm_session_kernels(r->session));
    ruvm_json_count(object, "threads", ruvm_session_threads(r->session));
    ruvm_json_count(object, "engine_bytes", ruvm_session_engine_bytes(r->session));
    return object;
}

/* Left out when nothing was computed, which is no rate of 0. */
static void add_rate(struct cJSON *object, const char *key, uint32_t n, double seconds)
{
    if (n && seconds > 0)
        ruvm_json_number(object, key, n / seconds);
}

static void add_drafts(struct cJSON *object, const char *source,
                       const struct ruvm_generate_drafts *d)
{
    ruvm_json_text(object, "draft", source);
    ruvm_json_count(object, "draft_rounds", d->n_rounds);
    ruvm_json_count(object, "draft_tokens", d->n_tokens);
    ruvm_json_count(object, "draft_accepted", d->n_accepted);
    ruvm_json_number(object, "draft_acceptance",
                     d->n_tokens ? (double)d->n_accepted / d->n_tokens : 0);
    ruvm_json_count(object, "draft_switched_off", d->n_switched_off);
}

static void add_cache(struct cJSON *object, const char *path, const struct ruvm_generate_result *g)
{
    ruvm_json_text(object, "prompt_cache", path);
    ruvm_json_bool(object, "prompt_cache_written", g->cache_written);
    ruvm_json_text(object, "prompt_cache_note", g->cache_note);
}

struct cJSON *ruvm_run_result_json(const struct ruvm_run *r, const struct ruvm_run_bytes *prompt,
                                   const struct ruvm_generate_result *g)
{
    static const char *const stops[] = {
        [RUVM_STOP_COUNT] = "count",        [RUVM_STOP_END] = "end",
        [RUVM_STOP_STRING] = "string",      [RUVM_STOP_CONTEXT] = "context",
        [RUVM_STOP_CALLER] = "interrupted",
    };
    struct cJSON *object = ruvm_run_start_json(r);
    ruvm_json_count(object, "peak_rss_bytes", ruvm_output_peak_rss_bytes());
    ruvm_json_count(object, "seed", ruvm_args_count(r->args, "seed"));
    ruvm_json_bytes(object, "prompt", prompt->data, prompt->size);
    ruvm_json_bytes(object, "text", r->text.data, r->text.size);
    struct cJSON *ids = ruvm_json_array(object, "ids");
    for (size_t i = 0; i < r->n_ids; i++)
        ruvm_json_count(ids, NULL, r->ids[i]);
    ruvm_json_count(object, "prompt_tokens", g->n_prompt_tokens);
    ruvm_json_count(object, "prompt_tokens_reused", g->n_reused);
    ruvm_json_count(object, "tokens", g->n_tokens);
    ruvm_json_text(object, "stop", stops[g->stop]);
    ruvm_json_count(object, "logits_crc32", g->logits_crc32);
    ruvm_json_number(object, "prompt_s", g->prompt_s);
    ruvm_json_number(object, "generate_s", g->generate_s);
    add_rate(object, "prompt_tokens_per_s", g->n_computed, g->prompt_s);
    add_rate(object, "decode_tokens_per_s", g->n_decoded, g->decode_s);
    if (ruvm_args_given(r->args, "mask"))
        ruvm_json_text(object, "mask", ruvm_args_text(r->args, "mask"));
    ruvm_json_count(object, "context", ruvm_session_context(r->session));
    ruvm_json_count(object, "cached_positions", ruvm_session_cached(r->session));
    if (ruvm_args_given(r->args, "prompt-cache"))
        add_cache(object, ruvm_args_text(r->args, "prompt-cache"), g);
    if (ruvm_args_given(r->args, "draft"))
        add_drafts(object, ruvm_args_text(r->args, "draft"), &g->drafts);
    if (r->rag)
        ruvm_run_rag_json(object, r->rag);
    ruvm_json_text(object, "tier", "measured");
    return object;
}
