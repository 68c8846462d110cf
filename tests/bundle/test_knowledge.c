/* rag-add and what its blobs answer, on files. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/rag_read.h"
#include "lib/base/buffer.h"
#include "lib/base/crc32.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/bundle/hnsw.h"
#include "lib/ruvm_tool.h"
#include "lib/vector/ask.h"
#include "lib/vector/bm25.h"
#include "tests/support/container_files.h"

static const char *blob, *source;

static void start(void)
{
    const char *folder = container_folder();
    blob = container_path(folder, "test.rag");
    source = container_path(folder, "source.jsonl");
    unlink(blob);
}

static void write_source(const char *text)
{
    cr_assert_eq(ruvm_file_write(source, text, strlen(text), NULL), RUVM_OK);
}

static struct ruvm_rag_add_result add(struct ruvm_rag_add_options o)
{
    struct ruvm_rag_add_result r;
    struct ruvm_error err = {0};
    o.blob = blob;
    o.sources = &source;
    o.n_sources = 1;
    o.now_s = o.now_s ? o.now_s : 1000;
    cr_assert_eq(ruvm_rag_add(&o, &r, &err), RUVM_OK, "%s", err.text);
    return r;
}

static int ask(const struct ruvm_knowledge_ask *a, struct ruvm_knowledge_hit *hits, char *text,
               size_t room)
{
    struct ruvm_knowledge *k;
    struct ruvm_error err = {0};
    struct ruvm_knowledge_ask copy = *a;
    copy.n_bytes = strlen(a->question);
    cr_assert_eq(ruvm_knowledge_open(&k, blob, &err), RUVM_OK, "%s", err.text);
    int n = ruvm_knowledge_ask(k, &copy, hits, &err);
    cr_assert_geq(n, 0, "%s", err.text);
    text[0] = '\0';
    if (n)
        snprintf(text, room, "%.*s", (int)hits[0].n_text, hits[0].text);
    ruvm_knowledge_close(k);
    return n;
}

/* Passages about rooms, each with a number of its own. */
static void write_rooms(uint32_t n)
{
    static const char *const things[] = {"pump", "lamp", "fan", "door", "boiler", "window", "tap"};
    static const char *const rooms[] = {"attic", "cellar", "hall", "kitchen", "garage"};
    struct ruvm_buffer b = {0};
    for (uint32_t i = 0; i < n; i++)
        ruvm_buffer_printf(&b, "{\"text\":\"The %s in the %s has number n%u and code c%u.\"}\n",
                           things[i % 7], rooms[i % 5], i, i * 7919 % 10007);
    cr_assert_eq(ruvm_file_write(source, b.data, b.size, NULL), RUVM_OK);
    ruvm_buffer_free(&b);
}

Test(knowledge, each_rank_finds_what_was_put_in)
{
    static const char *const ranks[] = {"sum", "reciprocal", "words", "vectors"};
    static const char *const types[] = {"int8", "binary"};
    struct ruvm_knowledge_hit hits[3];
    char text[256];
    start();
    write_rooms(300);
    for (unsigned t = 0; t < 2; t++) {
        add((struct ruvm_rag_add_options){.type = types[t]});
        for (unsigned r = 0; r < 4; r++) {
            const struct ruvm_knowledge_ask a = {.question = "lamp number n141", .rank = ranks[r]};
            cr_assert_eq(ask(&a, hits, text, sizeof text), 3);
            cr_expect(strstr(text, "n141 "), "%s %s: %s", types[t], ranks[r], text);
            cr_expect(hits[0].score >= hits[1].score && hits[1].score >= hits[2].score);
        }
    }
}

Test(knowledge, confidence_is_the_share_of_the_question)
{
    struct ruvm_knowledge_hit hits[3];
    char text[256];
    start();
    write_rooms(50);
    add((struct ruvm_rag_add_options){0});
    const struct ruvm_knowledge_ask all = {.question = "pump in the attic has number n0"};
    const struct ruvm_knowledge_ask some = {.question = "pump xylophone zeppelin quokka"};
    const struct ruvm_knowledge_ask none = {.question = "xylophone zeppelin quokka"};
    ask(&all, hits, text, sizeof text);
    cr_expect_float_eq(hits[0].confidence, 1, 1e-4);
    ask(&some, hits, text, sizeof text);
    cr_expect(hits[0].confidence > 0 && hits[0].confidence < 0.45, "%g", hits[0].confidence);
    if (ask(&none, hits, text, sizeof text) > 0)
        cr_expect_eq(hits[0].confidence, 0);
}

Test(knowledge, nothing_is_found_after_its_time)
{
    struct ruvm_knowledge_hit hits[3];
    char text[256];
    start();
    write_source("{\"text\":\"short lived pump\",\"ttl\":10}\n{\"text\":\"pump of ages\"}\n");
    add((struct ruvm_rag_add_options){.ttl_s = 100});
    struct ruvm_knowledge_ask a = {.question = "pump", .now_s = 1009};
    cr_expect_eq(ask(&a, hits, text, sizeof text), 2);
    a.now_s = 1010;
    cr_expect_eq(ask(&a, hits, text, sizeof text), 1);
    cr_expect_str_eq(text, "pump of ages");
    a.now_s = 1100;
    cr_expect_eq(ask(&a, hits, text, sizeof text), 0);
}

static uint32_t crc_of_blob(void)
{
    struct ruvm_map m;
    cr_assert_eq(ruvm_file_map(&m, blob, NULL), RUVM_OK);
    uint32_t crc = ruvm_crc32(0, m.data, m.size);
    ruvm_file_unmap(&m);
    return crc;
}

/* Whatever time it is, and however often the file is made. */
Test(knowledge, same_input_same_bytes)
{
    start();
    write_rooms(2500);
    add((struct ruvm_rag_add_options){.dims = 64});
    uint32_t crc = crc_of_blob();
    unlink(blob);
    add((struct ruvm_rag_add_options){.dims = 64, .now_s = 999999});
    cr_expect_eq(crc_of_blob(), crc);
}

/* The smallest degree and ef that meet the goal are in the file, with what was measured. */
Test(knowledge, figures_are_in_the_header)
{
    struct ruvm_rag rag;
    struct ruvm_map m;
    start();
    write_rooms(4000);
    struct ruvm_rag_add_result r = add((struct ruvm_rag_add_options){.dims = 64});
    cr_assert_eq(ruvm_file_map(&m, blob, NULL), RUVM_OK);
    cr_assert_eq(ruvm_rag_open(&rag, m.data, m.size, NULL), RUVM_OK);
    cr_expect_eq(r.file_bytes, m.size);
    cr_expect_eq(r.n_chunks, rag.n);
    cr_expect_eq(rag.ef, r.ef);
    cr_expect_gt(rag.query_bytes, 0);
    if (r.degree) {
        cr_expect_geq(r.recall_graph, r.ef < 512 ? 0.98 : 0.5);
        cr_expect_leq(3 * r.distances, rag.n);
        cr_expect_eq(ruvm_hnsw_validate(&rag, NULL, NULL), RUVM_OK);
    }
    cr_expect_geq(r.recall_code, 0.9);
    ruvm_file_unmap(&m);
}

/* More vectors than are kept as they were before rounding: both losses are measured still. */
Test(knowledge, a_large_blob_is_measured_as_well)
{
    start();
    write_rooms(16600);
    struct ruvm_rag_add_result r = add((struct ruvm_rag_add_options){
        .dims = 1024, .degree = 4, .type = "binary", .no_words = true});
    cr_assert_eq(r.n_chunks, 16600);
    cr_expect_eq(r.n_queries, 100);
    cr_expect(r.recall_code > 0.3 && r.recall_code < 1, "%g", r.recall_code);
    cr_expect(r.recall_graph > 0, "%g", r.recall_graph);
    cr_expect_gt(r.distances, 0);
}

/* Four forms of a stem in texts that are alike: each finds its own first, with the score that all
 * have without this, and the others with three quarters of it; a chip finds the same. */
static void ask_for_form(const struct ruvm_rag *rag, const char *form)
{
    enum { FORMS = 4, BYTES = 1 << 16 };
    static _Alignas(16) uint8_t memory[BYTES];
    const struct ruvm_rag_part *part = &rag->part[RUVM_RAG_BM25];
    struct ruvm_search s = {.k = FORMS};
    struct ruvm_bm25_question q;
    struct ruvm_bm25 b;
    struct ruvm_hit hits[FORMS];
    struct ruvm_answer answer;
    cr_assert_eq(ruvm_bm25_open(&b, part->data, part->bytes, rag->n), RUVM_OK);
    ruvm_bm25_ask(&q, &b, form, strlen(form));
    cr_assert_eq(ruvm_bm25_search(&q, &s, memory, sizeof memory, hits), FORMS);
    uint32_t score = ruvm_bm25_score(&hits[0]);
    cr_expect_eq(ruvm_bm25_score(&hits[FORMS - 1]), score);
    ruvm_bm25_prefer_forms(&q, rag, hits, FORMS);
    struct ruvm_rag_text text = ruvm_rag_chunk(rag, hits[0].id).text;
    cr_expect(text.bytes == 4 + strlen(form) && memcmp(text.text + 4, form, strlen(form)) == 0,
              "%s: %.*s", form, (int)text.bytes, text.text);
    cr_expect_eq(ruvm_bm25_score(&hits[0]), score);
    for (int i = 1; i < FORMS; i++)
        cr_expect_eq(ruvm_bm25_score(&hits[i]), score * 3 / 4);
    cr_assert_leq(ruvm_ask_bytes(rag, 1), sizeof memory);
    cr_assert_eq(ruvm_ask(rag, 1, form, strlen(form), memory, sizeof memory, &answer), 1);
    cr_expect_eq(answer.id, hits[0].id);
}

Test(knowledge, prefers_the_form_of_the_question)
{
    struct ruvm_rag rag;
    struct ruvm_map m;
    start();
    write_source(
        "{\"text\":\"the lists\"}\n{\"text\":\"the listing\"}\n"
        "{\"text\":\"the listed\"}\n{\"text\":\"the list\"}\n");
    add((struct ruvm_rag_add_options){.dims = 32, .rank = "words"});
    cr_assert_eq(ruvm_file_map(&m, blob, NULL), RUVM_OK);
    cr_assert_eq(ruvm_rag_open(&rag, m.data, m.size, NULL), RUVM_OK);
    ask_for_form(&rag, "list");
    ask_for_form(&rag, "lists");
    ask_for_form(&rag, "listing");
    ask_for_form(&rag, "listed");
    ruvm_file_unmap(&m);
}

Test(knowledge, budget_is_kept)
{
    static const uint32_t budgets[] = {24 << 10, 32 << 10, 48 << 10, 96 << 10, 192 << 10};
    uint64_t last = 0;
    start();
    write_rooms(300);
    for (unsigned i = 0; i < 5; i++) {
        unlink(blob);
        struct ruvm_rag_add_result r =
            add((struct ruvm_rag_add_options){.budget_bytes = budgets[i]});
        cr_expect_leq(r.file_bytes, budgets[i]);
        cr_expect_geq(r.vector_bytes, last);
        last = r.vector_bytes;
    }
    struct ruvm_rag_add_result r;
    struct ruvm_error err = {0};
    uint32_t crc = crc_of_blob();
    const struct ruvm_rag_add_options o = {
        .blob = blob, .sources = &source, .n_sources = 1, .budget_bytes = 5000};
    cr_expect_eq(ruvm_rag_add(&o, &r, &err), RUVM_ERR_UNSUPPORTED);
    cr_expect(strstr(err.text, "5000 bytes do not hold 300 chunks"), "%s", err.text);
    cr_expect_eq(crc_of_blob(), crc);
}

static int stop_at(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return strcmp(stage, user) == 0;
}

/* Wherever it is interrupted, the old blob is whole and no other file is left. */
Test(knowledge, interrupted_leaves_the_old_blob)
{
    static const char *const stages[] = {"reading", "learning", "vectors", "graph", "measuring"};
    start();
    write_rooms(10);
    add((struct ruvm_rag_add_options){.dims = 32});
    uint32_t crc = crc_of_blob();
    write_rooms(2500);
    for (unsigned i = 0; i < 5; i++) {
        struct ruvm_rag_add_result r;
        struct ruvm_error err = {0};
        const struct ruvm_rag_add_options o = {
            .blob = blob,
            .sources = &source,
            .n_sources = 1,
            .progress = {.report = stop_at, .user = (void *)(uintptr_t)stages[i]}};
        cr_expect_lt(ruvm_rag_add(&o, &r, &err), 0, "%s", stages[i]);
        cr_expect(strstr(err.text, "interrupted"), "%s: %s", stages[i], err.text);
        cr_expect_eq(crc_of_blob(), crc);
    }
    char lock[1024];
    snprintf(lock, sizeof lock, "%s.lock", blob);
    cr_expect_neq(access(lock, F_OK), 0);
}

Test(knowledge, wrong_options_are_refused)
{
    const struct {
        struct ruvm_rag_add_options o;
        const char *said;
    } wrong[] = {
        {{.dims = 12}, "multiple of 8"},
        {{.chunk_bytes = 31}, "chunks of 31 bytes"},
        {{.has_overlap = true, .overlap_bytes = 40000}, "overlap"},
        {{.chunk_bytes = 100, .has_overlap = true, .overlap_bytes = 51}, "at most, here 50"},
        {{.rank = "best"}, "rank"},
        {{.type = "float"}, "type of vectors"},
        {{.split = "word"}, "split"},
        {{.format = "pdf"}, "format of documents"},
        {{.degree = 65}, "links of a vector are 65"},
        {{.ttl_s = UINT32_MAX}, "time to live"},
    };
    start();
    write_rooms(2001);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct ruvm_rag_add_options w = wrong[i].o;
        struct ruvm_rag_add_result r;
        struct ruvm_error err = {0};
        w.blob = blob;
        w.sources = &source;
        w.n_sources = 1;
        cr_expect_lt(ruvm_rag_add(&w, &r, &err), 0, "%zu", i);
        cr_expect(strstr(err.text, wrong[i].said), "%zu: %s", i, err.text);
        cr_expect_neq(access(blob, F_OK), 0);
    }
}
