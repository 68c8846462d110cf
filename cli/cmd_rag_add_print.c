/* What rag-add prints. Text of documents is shown on one line, without what would act on a
 * terminal. */
#include "cli/cmd_rag_add.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

enum { SHOWN_BYTES = 300 };
#define LEAST_SHOWN 1e-4 /* what weighs 1 need not be said */

static void print_visible(const char *bytes, size_t n)
{
    char *visible = ruvm_output_visible(bytes, n);
    fputs(visible, stdout);
    free(visible);
}

/* Newlines and runs of blanks become one blank; what is long is cut at a character. */
static void print_excerpt(const char *text, size_t n)
{
    char line[SHOWN_BYTES + 4];
    size_t used = 0;
    bool blank = false;
    for (size_t i = 0; i < n;) {
        size_t size = ruvm_output_utf8((const uint8_t *)text + i, n - i);
        size = size ? size : 1;
        bool is_space = strchr(" \t\r\n", text[i]) != NULL;
        if (used + size + 1 > SHOWN_BYTES)
            break;
        if (is_space)
            blank = used > 0;
        if (!is_space && blank)
            line[used++] = ' ';
        if (!is_space) {
            memcpy(line + used, text + i, size);
            used += size;
            blank = false;
        }
        i += size;
    }
    print_visible(line, used);
}

/* ---- --list ------------------------------------------------------------------------- */

static void put_name(struct ruvm_table *t, const char *bytes, size_t n)
{
    char *visible = ruvm_output_visible(bytes, n);
    ruvm_table_cell(t, "%s", visible);
    free(visible);
}

static void print_list(const struct ruvm_knowledge *k, const char *blob)
{
    static const char *const heads[] = {"source", "bytes", "CRC-32", "chunks", "metadata"};
    struct ruvm_table t = {.heads = heads, .align = "lrrrl", .n_cols = 5};
    struct ruvm_knowledge_info info = ruvm_knowledge_info(k);
    for (uint32_t i = 0; i < info.n_sources; i++) {
        struct ruvm_knowledge_source s = ruvm_knowledge_source(k, i);
        put_name(&t, s.name, s.n_name);
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(s.bytes));
        ruvm_table_cell(&t, "%08x", s.crc32);
        ruvm_table_cell(&t, "%s", ruvm_output_grouped(s.n_chunks));
        put_name(&t, s.meta ? s.meta : "", s.n_meta);
    }
    printf("%s: %s bytes, %s of %s; vectors %s of %u dimensions (%s), %s; rank %s\n\n", blob,
           ruvm_output_grouped(info.file_bytes), ruvm_output_many(info.n_chunks, "chunk"),
           ruvm_output_many(info.n_sources, "source"), info.type, info.dims, info.embed,
           info.has_words ? "with words" : "without words", info.rank);
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    ruvm_table_free(&t);
}

static void print_list_json(const struct ruvm_knowledge *k, const char *blob)
{
    struct ruvm_knowledge_info info = ruvm_knowledge_info(k);
    struct cJSON *object = ruvm_json_start("rag-add");
    ruvm_json_text(object, "blob", blob);
    ruvm_json_count(object, "file_bytes", info.file_bytes);
    ruvm_json_count(object, "chunks", info.n_chunks);
    ruvm_json_count(object, "dims", info.dims);
    ruvm_json_text(object, "type", info.type);
    ruvm_json_text(object, "embed", info.embed);
    ruvm_json_text(object, "rank", info.rank);
    ruvm_json_bool(object, "words", info.has_words);
    ruvm_json_count(object, "query_bytes", info.query_bytes);
    struct cJSON *sources = ruvm_json_array(object, "sources");
    for (uint32_t i = 0; i < info.n_sources; i++) {
        struct ruvm_knowledge_source s = ruvm_knowledge_source(k, i);
        struct cJSON *source = ruvm_json_object(sources, NULL);
        ruvm_json_bytes(source, "name", s.name, s.n_name);
        ruvm_json_count(source, "bytes", s.bytes);
        ruvm_json_count(source, "crc32", s.crc32);
        ruvm_json_count(source, "chunks", s.n_chunks);
        if (s.meta)
            ruvm_json_bytes(source, "meta", s.meta, s.n_meta);
    }
    ruvm_json_finish(object);
}

void ruvm_cmd_rag_add_list(const struct ruvm_knowledge *k, const char *blob, bool json)
{
    if (json)
        print_list_json(k, blob);
    else
        print_list(k, blob);
}

/* ---- --query ------------------------------------------------------------------------ */

static void print_hits_json(const struct ruvm_cmd_rag_add_answer *a)
{
    struct cJSON *object = ruvm_json_start("rag-add");
    ruvm_json_text(object, "blob", a->blob);
    ruvm_json_bytes(object, "question", a->question, strlen(a->question));
    ruvm_json_number(object, "floor", a->floor);
    ruvm_json_bool(object, "ambiguous", ruvm_knowledge_is_ambiguous(a->hits, a->n_hits));
    struct cJSON *hits = ruvm_json_array(object, "hits");
    for (uint32_t i = 0; i < a->n_hits; i++) {
        const struct ruvm_knowledge_hit *h = &a->hits[i];
        struct cJSON *hit = ruvm_json_object(hits, NULL);
        ruvm_json_count(hit, "chunk", h->chunk);
        ruvm_json_number(hit, "score", h->score);
        ruvm_json_number(hit, "confidence", h->confidence);
        ruvm_json_number(hit, "weight", h->weight);
        ruvm_json_bytes(hit, "source", h->source, h->n_source);
        if (h->meta)
            ruvm_json_bytes(hit, "meta", h->meta, h->n_meta);
        ruvm_json_bytes(hit, "text", h->text, h->n_text);
    }
    ruvm_json_finish(object);
}

void ruvm_cmd_rag_add_hits(const struct ruvm_cmd_rag_add_answer *a)
{
    if (a->json) {
        print_hits_json(a);
        return;
    }
    if (a->n_hits == 0)
        puts("nothing found");
    for (uint32_t i = 0; i < a->n_hits; i++) {
        const struct ruvm_knowledge_hit *h = &a->hits[i];
        printf("%u. score %.3f, confidence %.2f%s", i + 1, h->score, h->confidence,
               h->confidence < a->floor ? " (below the floor)" : "");
        if (fabs(h->weight - 1) > LEAST_SHOWN)
            printf(", weight %.3g", h->weight);
        fputs("  ", stdout);
        print_visible(h->source, h->n_source);
        printf(", chunk %u", h->chunk);
        if (h->meta) {
            fputs("  ", stdout);
            print_visible(h->meta, h->n_meta);
        }
        fputs("\n   ", stdout);
        print_excerpt(h->text, h->n_text);
        putchar('\n');
    }
    if (a->has_context && ruvm_knowledge_is_ambiguous(a->hits, a->n_hits))
        puts("ambiguous: 1 and 2 are nearly as good; ask which is meant");
}

/* ---- --eval ------------------------------------------------------------------------- */

static void print_eval(const struct ruvm_knowledge_eval *e, const char *blob)
{
    static const char *const heads[] = {"rank", "hit@1",   "hit@3",        "hit@10",
                                        "MRR",  "nDCG@10", "ms a question"};
    struct ruvm_table t = {.heads = heads, .align = "lrrrrrr", .n_cols = 7};
    for (uint32_t i = 0; i < e->n_rows; i++) {
        const struct ruvm_knowledge_scores *s = &e->row[i];
        bool exact = strcmp(s->name, "exact") == 0;
        ruvm_table_cell(&t, "%s%s", s->name, exact ? " (all vectors)" : i == 0 ? " (default)" : "");
        const double values[] = {s->hit1, s->hit3, s->hit10, s->mrr, s->ndcg10};
        for (unsigned j = 0; j < 5; j++)
            ruvm_table_cell(&t, "%.4f", values[j]);
        ruvm_table_cell(&t, "%.3g", s->seconds_a_question * 1e3);
    }
    printf("%s: %s", blob, ruvm_output_many(e->n_questions - e->n_without, "question"));
    if (e->n_without)
        printf(", and %u left out that no chunk answers", e->n_without);
    puts("; measured\n");
    ruvm_table_print(&t, RUVM_TABLE_TEXT);
    ruvm_table_free(&t);
}

static void print_eval_json(const struct ruvm_knowledge_eval *e, const char *blob)
{
    struct cJSON *object = ruvm_json_start("rag-add");
    ruvm_json_text(object, "blob", blob);
    ruvm_json_count(object, "questions", e->n_questions);
    ruvm_json_count(object, "questions_without_answer", e->n_without);
    struct cJSON *rows = ruvm_json_array(object, "eval");
    for (uint32_t i = 0; i < e->n_rows; i++) {
        const struct ruvm_knowledge_scores *s = &e->row[i];
        struct cJSON *row = ruvm_json_object(rows, NULL);
        ruvm_json_text(row, "rank", s->name);
        ruvm_json_number(row, "hit1", s->hit1);
        ruvm_json_number(row, "hit3", s->hit3);
        ruvm_json_number(row, "hit10", s->hit10);
        ruvm_json_number(row, "mrr", s->mrr);
        ruvm_json_number(row, "ndcg10", s->ndcg10);
        ruvm_json_number(row, "question_s", s->seconds_a_question);
    }
    ruvm_json_text(object, "tier", "measured");
    ruvm_json_finish(object);
}

void ruvm_cmd_rag_add_eval(const struct ruvm_knowledge_eval *e, const char *blob, bool json)
{
    if (json)
        print_eval_json(e, blob);
    else
        print_eval(e, blob);
}

/* ---- a taxonomy ----------------------------------------------------------------------- */

static void put_quality(struct ruvm_table *t, const char *name,
                        const struct ruvm_taxonomy_quality *q)
{
    ruvm_table_cell(t, "%s", name);
    ruvm_table_cell(t, "%u", q->dims);
    ruvm_table_cell(t, "%u", q->vector_bytes);
    ruvm_table_cell(t, "%.4f", q->map);
    ruvm_table_cell(t, "%.4f", q->average_distortion);
    if (q->worst_distortion > 0)
        ruvm_table_cell(t, "%.3g", q->worst_distortion);
    else
        ruvm_table_cell(t, "two share a place");
}

static void print_taxonomy(const struct ruvm_rag_add_result *r, const char *blob, bool dry_run)
{
    static const char *const heads[] = {"space", "dimensions",         "bytes",
                                        "MAP",   "average distortion", "worst distortion"};
    const struct ruvm_taxonomy_report *t = &r->taxonomy;
    struct ruvm_table table = {.heads = heads, .align = "lrrrrr", .n_cols = 6};
    printf("%s: %s bytes%s; %s in %s, up to %s %s\n\n", blob, ruvm_output_grouped(r->file_bytes),
           dry_run ? "; not written" : "", ruvm_output_many(t->n_nodes, "node"),
           ruvm_output_many(t->n_levels, "level"), ruvm_output_grouped(t->max_children),
           t->max_children == 1 ? "child" : "children");
    put_quality(&table, "hyperbolic (in the blob)", &t->hyperbolic);
    put_quality(&table, "Euclidean, to compare", &t->euclidean);
    ruvm_table_print(&table, RUVM_TABLE_TEXT);
    ruvm_table_free(&table);
    if (t->hyperbolic.map < t->euclidean.map)
        puts("\nof this tree the Euclidean embedding keeps more");
    printf("\nint8 codes; MAP asked %s; done in %.3g s; measured\n",
           ruvm_output_many(t->hyperbolic.n_queries, "node"), r->seconds);
}

static void put_quality_json(struct cJSON *parent, const char *name,
                             const struct ruvm_taxonomy_quality *q)
{
    struct cJSON *object = ruvm_json_object(parent, name);
    ruvm_json_count(object, "dims", q->dims);
    ruvm_json_count(object, "vector_bytes", q->vector_bytes);
    ruvm_json_count(object, "queries", q->n_queries);
    ruvm_json_number(object, "map", q->map);
    ruvm_json_number(object, "average_distortion", q->average_distortion);
    ruvm_json_number(object, "worst_distortion", q->worst_distortion);
}

static void put_taxonomy_json(struct cJSON *parent, const struct ruvm_taxonomy_report *t)
{
    struct cJSON *object = ruvm_json_object(parent, "taxonomy");
    ruvm_json_count(object, "nodes", t->n_nodes);
    ruvm_json_count(object, "levels", t->n_levels);
    ruvm_json_count(object, "max_children", t->max_children);
    put_quality_json(object, "hyperbolic", &t->hyperbolic);
    put_quality_json(object, "euclidean", &t->euclidean);
}

/* ---- what was added ----------------------------------------------------------------- */

static void print_changes(const struct ruvm_rag_add_result *r)
{
    printf("  chunks      %s", ruvm_output_grouped(r->n_chunks));
    printf(" of %s: %s added", ruvm_output_many(r->n_sources, "source"),
           ruvm_output_grouped(r->n_added));
    if (r->n_removed)
        printf(", %s removed", ruvm_output_grouped(r->n_removed));
    if (r->n_expired)
        printf(", %s expired", ruvm_output_grouped(r->n_expired));
    if (r->n_duplicates)
        printf(", %s left out that were there", ruvm_output_grouped(r->n_duplicates));
    putchar('\n');
    if (r->n_empty)
        printf("  note        %u of the sources added gave no chunk\n", r->n_empty);
    if (r->n_bad_bytes)
        printf("  note        not UTF-8, but kept: %s\n", ruvm_output_many(r->n_bad_bytes, "byte"));
}

static void print_table(const struct ruvm_rag_add_result *r)
{
    if (r->n_table_words == 0)
        return;
    printf("  table       %s, %s bytes", ruvm_output_many(r->n_table_words, "word"),
           ruvm_output_grouped(r->table_bytes));
    printf("; of %s different words of the texts %s are not in it\n",
           ruvm_output_grouped(r->n_text_words), ruvm_output_grouped(r->n_unknown_words));
    if (r->is_old_table && r->n_added && r->n_unknown_words)
        puts(
            "  note        the table is the one of the blob: for words that it lacks give --embed "
            "words:FILE again");
}

static void print_result(const struct ruvm_rag_add_result *r, const char *blob, bool dry_run)
{
    printf("%s: %s bytes%s\n", blob, ruvm_output_grouped(r->file_bytes),
           dry_run ? "; not written" : "");
    print_changes(r);
    printf("  bytes       text %s, vectors %s, graph %s, words %s, weights %s\n",
           ruvm_output_grouped(r->text_bytes), ruvm_output_grouped(r->vector_bytes),
           ruvm_output_grouped(r->graph_bytes), ruvm_output_grouped(r->word_bytes),
           ruvm_output_grouped(r->recipe_bytes));
    print_table(r);
    printf("  vectors     %s, %u dimensions, ", r->type, r->dims);
    if (r->degree)
        printf("%s each, ef %u: a search looks at %s\n", ruvm_output_many(r->degree, "link"), r->ef,
               ruvm_output_grouped(r->distances));
    else
        puts("no graph: a search looks at all");
    if (r->n_queries)
        printf("  recall@10   %.3f of the codes", r->recall_code);
    if (r->n_queries && r->degree)
        printf(", %.3f of the graph", r->recall_graph);
    if (r->n_queries)
        printf("; measured with %s\n", ruvm_output_many(r->n_queries, "question"));
    printf("  done in     %.3g s; measured\n", r->seconds);
}

static void print_result_json(const struct ruvm_rag_add_result *r, const char *blob, bool dry_run)
{
    struct cJSON *object = ruvm_json_start("rag-add");
    ruvm_json_text(object, "blob", blob);
    ruvm_json_bool(object, "written", !dry_run);
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"sources", r->n_sources},
        {"chunks", r->n_chunks},
        {"added", r->n_added},
        {"removed", r->n_removed},
        {"expired", r->n_expired},
        {"duplicates", r->n_duplicates},
        {"empty_sources", r->n_empty},
        {"bad_bytes", r->n_bad_bytes},
        {"dims", r->dims},
        {"chunk_bytes", r->chunk_bytes},
        {"overlap_bytes", r->overlap_bytes},
        {"degree", r->degree},
        {"ef", r->ef},
        {"text_bytes", r->text_bytes},
        {"vector_bytes", r->vector_bytes},
        {"graph_bytes", r->graph_bytes},
        {"word_bytes", r->word_bytes},
        {"recipe_bytes", r->recipe_bytes},
        {"table_bytes", r->table_bytes},
        {"table_words", r->n_table_words},
        {"text_words", r->n_text_words},
        {"unknown_words", r->n_unknown_words},
        {"file_bytes", r->file_bytes},
        {"recall_queries", r->n_queries},
        {"distances", r->distances},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        ruvm_json_count(object, counts[i].key, counts[i].value);
    ruvm_json_text(object, "type", r->type);
    ruvm_json_text(object, "rank", r->rank);
    ruvm_json_text(object, "split", r->split);
    ruvm_json_number(object, "recall_code", r->recall_code);
    ruvm_json_number(object, "recall_graph", r->recall_graph);
    ruvm_json_number(object, "seconds", r->seconds);
    if (r->taxonomy.n_nodes)
        put_taxonomy_json(object, &r->taxonomy);
    ruvm_json_text(object, "tier", "measured");
    ruvm_json_finish(object);
}

void ruvm_cmd_rag_add_result(const struct ruvm_rag_add_result *r, const char *blob, bool dry_run,
                             bool json)
{
    if (json)
        print_result_json(r, blob, dry_run);
    else if (r->taxonomy.n_nodes)
        print_taxonomy(r, blob, dry_run);
    else
        print_result(r, blob, dry_run);
}
