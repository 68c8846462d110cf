/* Tables of word vectors: what is read of each layout, what is refused with which words, and blobs
 * that find what is said in other words. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buffer.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/bundle/word_table.h"
#include "lib/ruvm_tool.h"
#include "lib/vector/ask.h"
#include "lib/vector/words.h"
#include "tests/support/container_files.h"
#include "tests/support/repair_rag.h"

enum { DIMS = 8 };

static int parse(struct ruvm_word_vectors *t, const void *data, size_t n, uint32_t first,
                 struct ruvm_error *err)
{
    const struct ruvm_word_vectors_wanted wanted = {.first = first};
    *err = (struct ruvm_error){0};
    return ruvm_word_vectors_parse(t, "table", data, n, &wanted, err);
}

static uint32_t hash_of(const char *word)
{
    return ruvm_words_hash(RUVM_WORD_SEED, word, (uint32_t)strlen(word));
}

/* ---- layouts ------------------------------------------------------------------------ */

static const char three[] =
    "the 1 2 3 4 5 6 7 8\n"
    "Lamp -1 -2.5 3e0 4 5 6 7 8\n"
    "\xC3\x89lan 0 0 0 0 0 0 0 1\n";

static void expect_three(const struct ruvm_word_vectors *t)
{
    cr_assert(t->n == 3 && t->dims == DIMS && t->n_entries == 3);
    cr_expect(t->hashes[0] == hash_of("the") && t->hashes[1] == hash_of("lamp") &&
              t->hashes[2] == hash_of("elan"));
    cr_expect(t->v[0] == 1 && t->v[DIMS + 1] == -2.5f && t->v[DIMS + 2] == 3 &&
              t->v[3 * DIMS - 1] == 1);
}

Test(word_vectors, are_read_as_text_with_and_without_a_head)
{
    static const char *const heads[] = {"", "3 8\n", "3\t8 \r\n"};
    struct ruvm_word_vectors t;
    struct ruvm_error err;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char text[256];
        int n = snprintf(text, sizeof text, "%s%s", heads[i], three);
        cr_assert_eq(parse(&t, text, (size_t)n, 100, &err), RUVM_OK, "%s", err.text);
        expect_three(&t);
        ruvm_word_vectors_free(&t);
        cr_assert_eq(parse(&t, text, (size_t)n - 1, 100, &err), RUVM_OK, "without a last newline");
        expect_three(&t);
        ruvm_word_vectors_free(&t);
    }
}

static void put_word(struct ruvm_buffer *b, const char *word, const float *v, const char *end)
{
    ruvm_buffer_bytes(b, word, strlen(word));
    ruvm_buffer_u8(b, ' ');
    for (int d = 0; d < DIMS; d++) {
        uint32_t bits;
        memcpy(&bits, &v[d], sizeof bits);
        ruvm_buffer_u32(b, bits);
    }
    ruvm_buffer_bytes(b, end, strlen(end));
}

Test(word_vectors, are_read_as_floats)
{
    static const float rows[3][DIMS] = {
        {1, 2, 3, 4, 5, 6, 7, 8}, {-1, -2.5f, 3, 4, 5, 6, 7, 8}, {0, 0, 0, 0, 0, 0, 0, 1}};
    static const char *const words[] = {"the", "Lamp", "\xC3\x89lan"};
    struct ruvm_word_vectors t;
    struct ruvm_error err;
    for (int newlines = 0; newlines < 2; newlines++) {
        struct ruvm_buffer b = {0};
        ruvm_buffer_bytes(&b, "3 8\n", 4);
        for (int i = 0; i < 3; i++)
            put_word(&b, words[i], rows[i], newlines ? "\n" : "");
        cr_assert_eq(parse(&t, b.data, b.size, 100, &err), RUVM_OK, "%s", err.text);
        expect_three(&t);
        ruvm_word_vectors_free(&t);
        cr_expect_eq(parse(&t, b.data, b.size - 5, 100, &err), RUVM_ERR_CORRUPT);
        cr_expect(strstr(err.text, "table: word 3: byte ") && strstr(err.text, "whole"), "%s",
                  err.text);
        static const float infinite[DIMS] = {0, INFINITY};
        put_word(&b, "no", infinite, "");
        b.data[0] = '4';
        cr_expect_eq(parse(&t, b.data, b.size, 100, &err), RUVM_ERR_CORRUPT);
        cr_expect(strstr(err.text, "word 4: number 2 of its vector is not finite"), "%s", err.text);
        ruvm_buffer_free(&b);
    }
}

Test(word_vectors, keep_what_is_wanted)
{
    static const char text[] =
        "the 1 2 3 4 5 6 7 8\n"
        "The 2 2 3 4 5 6 7 8\n"
        "new_york 1 2 3 4 5 6 7 8\n"
        ". . . 1 2 3 4 5 6 7 8\n"
        "caf\xE9 1 2 3 4 5 6 7 8\n"
        "lamp 1 2 3 4 5 6 7 8\n"
        "fan not a number in words that nobody wants\n";
    struct ruvm_word_vectors t;
    struct ruvm_error err;
    cr_assert_eq(parse(&t, text, sizeof text - 1, 2, &err), RUVM_OK, "%s", err.text);
    cr_expect(t.n == 2 && t.hashes[0] == hash_of("the") && t.hashes[1] == hash_of("lamp"));
    cr_expect_eq(t.v[0], 1, "the first of equal words counts");
    cr_expect(t.n_entries == 7 && t.n_others == 3 && t.n_twice == 1);
    ruvm_word_vectors_free(&t);
    cr_expect_eq(parse(&t, text, sizeof text - 1, 3, &err), RUVM_ERR_CORRUPT);
    cr_expect(strstr(err.text, "line 7: not is no finite number"), "%s", err.text);
}

Test(word_vectors, say_what_is_wrong)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "is empty"},
        {"\n\n", "line 1: vectors of 0 dimensions"},
        {"no table of words\n", "line 1: vectors of 3 dimensions"},
        {"2 2000\na 1\n", "vectors of 2000 dimensions"},
        {"a 1 2 3 4 5 6 7 8\nb 1 2 3\n", "line 2: has 3 numbers, and vectors of 8"},
        {"a 1 2 3 4 5 6 7 8\nb 1 2 3 4 5 6 7 8 9\n", "line 2: has 9 numbers"},
        {"a 1 2 3 4 5 6 7 8\nb 1 2 nan 4 5 6 7 8\n", "line 2: nan is no finite number"},
        {"a 1 2 3 4 5 6 7 1e99\n", "line 1: 1e99 is no finite number"},
        {"a 1 2 3 4 5 6 7 0x\n", "line 1: 0x is no finite number"},
        {"a 1 2 3 4 5 6 7 8\n 1 2 3 4 5 6 7 8 9\n", "line 2: begins with a blank"},
        {"3 8\na 1 2 3 4 5 6 7 8\n", "says that 3 words follow, but 1 do"},
        {"1 8\n", "says that 1 words follow, but 0 do"},
        {"., 1 2 3 4 5 6 7 8\n", "none of its 1 entries is a word"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ruvm_word_vectors t;
        struct ruvm_error err;
        cr_expect_neq(parse(&t, bad[i].text, strlen(bad[i].text), 9, &err), RUVM_OK, "%s",
                      bad[i].text);
        cr_expect(strstr(err.text, bad[i].says) && strstr(err.text, "table: "), "%s says %s",
                  bad[i].text, err.text);
    }
}

/* ---- blobs of them ------------------------------------------------------------------ */

enum { N_TOPICS = 12, N_SAYINGS = 3, MANY = 16 };

/* Word s of topic t; words of a topic are synonyms that share no piece. */
static const char *saying(int t, int s)
{
    static char text[8][16];
    static unsigned at;
    char *p = text[at++ % 8];
    snprintf(p, 16, "%c%c%c%c", "bdf"[s], "aeiou"[(t + s) % 5], "lmnprst"[(t + 2 * s) % 7],
             "aeiou"[t / 5 + s]);
    return p;
}

static double noise(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) / 16777216.0 - 0.5;
}

/* Vectors of a topic's words are near to its axis, all are shifted by the same. */
static void write_table(const char *path, int n_sayings)
{
    struct ruvm_buffer b = {0};
    unsigned state = 7;
    for (int s = 0; s < n_sayings; s++)
        for (int t = 0; t < N_TOPICS; t++) {
            ruvm_buffer_printf(&b, "%s", saying(t, s));
            for (int d = 0; d < MANY; d++)
                ruvm_buffer_printf(&b, " %.4f", (d == t) + 0.3 * noise(&state) + 2);
            ruvm_buffer_printf(&b, "\n");
        }
    cr_assert_eq(ruvm_file_write(path, b.data, b.size, NULL), RUVM_OK);
    ruvm_buffer_free(&b);
}

/* A text for each two topics, in their first words. */
static void write_texts(const char *path, int first, int n)
{
    struct ruvm_buffer b = {0};
    for (int i = first; i < first + n; i++)
        ruvm_buffer_printf(&b, "{\"text\":\"%s and %s\",\"id\":\"%d\"}\n", saying(i % N_TOPICS, 0),
                           saying((i + 1 + i / N_TOPICS) % N_TOPICS, 0), i);
    cr_assert_eq(ruvm_file_write(path, b.data, b.size, NULL), RUVM_OK);
    ruvm_buffer_free(&b);
}

static const char *blob, *source, *table;
static char embed[600];

static void start(void)
{
    const char *folder = container_folder();
    blob = container_path(folder, "t.rag");
    source = container_path(folder, "a.jsonl");
    table = container_path(folder, "words.txt");
    snprintf(embed, sizeof embed, "words:%s", table);
    write_table(table, N_SAYINGS);
    write_texts(source, 0, N_TOPICS);
}

static int add(const char *how, const char *type, uint64_t budget, struct ruvm_rag_add_result *r,
               struct ruvm_error *err)
{
    const struct ruvm_rag_add_options o = {.blob = blob,
                                           .sources = &source,
                                           .n_sources = 1,
                                           .now_s = 1000,
                                           .embed = how,
                                           .type = type,
                                           .budget_bytes = budget};
    *err = (struct ruvm_error){0};
    return ruvm_rag_add(&o, r, err);
}

/* How many of the questions in other words find their text first, and say that they know it. */
static int count_found(int n)
{
    struct ruvm_error err = {0};
    struct ruvm_knowledge *k;
    int found = 0;
    cr_assert_eq(ruvm_knowledge_open(&k, blob, &err), RUVM_OK, "%s", err.text);
    for (int i = 0; i < n; i++) {
        char question[64];
        struct ruvm_knowledge_hit hit;
        snprintf(question, sizeof question, "%s %s", saying(i % N_TOPICS, 1),
                 saying((i + 1 + i / N_TOPICS) % N_TOPICS, 2));
        const struct ruvm_knowledge_ask ask = {
            .question = question, .n_bytes = strlen(question), .k = 1, .now_s = 1000};
        int n_hits = ruvm_knowledge_ask(k, &ask, &hit, &err);
        found += n_hits == 1 && hit.chunk == (uint32_t)i &&
                 hit.confidence > ruvm_knowledge_info(k).floor;
    }
    ruvm_knowledge_close(k);
    return found;
}

Test(word_table, finds_synonyms, .init = start)
{
    struct ruvm_rag_add_result r;
    struct ruvm_error err;
    cr_assert_eq(add(NULL, NULL, 0, &r, &err), RUVM_OK, "%s", err.text);
    cr_expect_eq(count_found(N_TOPICS), 0, "they share no word with what they ask for");
    remove(blob);
    cr_assert_eq(add(embed, NULL, 0, &r, &err), RUVM_OK, "%s", err.text);
    cr_expect(r.dims == MANY && r.n_table_words == N_TOPICS * N_SAYINGS &&
              r.table_bytes == 8 + r.n_table_words * (6 + MANY) && r.n_text_words == N_TOPICS + 1 &&
              r.n_unknown_words == 1);
    cr_expect_eq(count_found(N_TOPICS), N_TOPICS);
}

/* A blob's bytes, opened. */
static struct ruvm_map open_rag(struct ruvm_rag *rag)
{
    struct ruvm_map map;
    struct ruvm_rag_fault fault;
    cr_assert_eq(ruvm_file_map(&map, blob, NULL), RUVM_OK);
    cr_assert_eq(ruvm_rag_open(rag, map.data, map.size, &fault), RUVM_OK, "%s", fault.what);
    cr_assert_eq(ruvm_rag_check(rag, &fault), RUVM_OK, "%s", fault.what);
    return map;
}

Test(word_table, gives_sums_of_its_rows, .init = start)
{
    struct ruvm_rag_add_result r;
    struct ruvm_error err;
    struct ruvm_rag rag;
    struct ruvm_recipe recipe;
    int32_t x[MANY], twice[MANY], one[MANY], none[MANY];
    cr_assert_eq(add(embed, NULL, 0, &r, &err), RUVM_OK, "%s", err.text);
    struct ruvm_map map = open_rag(&rag);
    cr_assert_eq(ruvm_recipe_of(&recipe, &rag), RUVM_OK);
    uint32_t n = recipe.n_buckets;
    const uint8_t *units = recipe.table + 8 + 4 * n;
    for (int t = 0; t < N_TOPICS; t++) {
        const char *word = saying(t, 1);
        uint32_t i = ruvm_recipe_find(&recipe, (const uint8_t *)word, (uint32_t)strlen(word));
        cr_assert_lt(i, n);
        ruvm_recipe_embed(&recipe, one, MANY, word, strlen(word));
        int32_t scale = ruvm_load_u16(units + 2 * i) * recipe.weights[i] / 256;
        double most = 0;
        for (int d = 0; d < MANY; d++) {
            int code = ((const int8_t *)units)[2 * n + i * MANY + (uint32_t)d];
            cr_expect_eq(one[d], (int32_t)floor(code * scale / 128.0));
            most = fmax(most, abs(code));
        }
        cr_expect_eq(most, 127);
        char text[64];
        snprintf(text, sizeof text, "%s, UNKNOWN %s!", word, saying(0, 0));
        ruvm_recipe_embed(&recipe, twice, MANY, text, strlen(text));
        ruvm_recipe_embed(&recipe, x, MANY, saying(0, 0), 4);
        for (int d = 0; d < MANY; d++)
            cr_expect_eq(twice[d], one[d] + x[d]);
    }
    ruvm_recipe_embed(&recipe, none, MANY, "unknown", 7);
    for (int d = 0; d < MANY; d++)
        cr_expect_eq(none[d], 0);
    ruvm_file_unmap(&map);
}

/* What the long check says of a table with byte `at` changed and checksums made right. */
static const char *check_with(uint32_t at, uint8_t value, int *rc)
{
    static struct ruvm_rag_fault fault;
    static _Alignas(16) uint8_t copy[1 << 14];
    struct ruvm_rag rag;
    struct ruvm_map map = open_rag(&rag);
    cr_assert_leq(map.size, sizeof copy);
    memcpy(copy, map.data, map.size);
    copy[rag.part[RUVM_RAG_WORD].data - map.data + at] = value;
    repair_rag(copy, map.size);
    *rc = ruvm_rag_open(&rag, copy, map.size, &fault);
    if (*rc == RUVM_OK)
        *rc = ruvm_rag_check(&rag, &fault);
    ruvm_file_unmap(&map);
    return fault.what;
}

Test(word_table, is_looked_at_by_the_long_check, .init = start)
{
    static const struct {
        uint32_t at;
        uint8_t value;
        const char *says;
    } damage[] = {
        {0, 1, "size of the section"},
        {4, 15, "dimensions"},
        {6, 1, "reserved byte is not 0"},
        {8 + 3, 0xFF, "hashes of words do not ascend"},
        {8 + 6 * N_TOPICS * N_SAYINGS, 0x80, "code is -128"},
    };
    struct ruvm_rag_add_result r;
    struct ruvm_error err;
    int rc;
    cr_assert_eq(add(embed, NULL, 0, &r, &err), RUVM_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        const char *says = check_with(damage[i].at, damage[i].value, &rc);
        cr_expect_eq(rc, RUVM_ERR_CORRUPT);
        cr_expect_str_eq(says, damage[i].says);
    }
}

/* The longest text of the heaviest word does not overflow. */
Test(word_table, holds_the_longest_text)
{
    enum { N = 32768 };
    static uint8_t section[8 + 6 + DIMS], rcpe[16 + 1];
    static char text[2 * N];
    struct ruvm_recipe r;
    int32_t x[DIMS];
    rcpe[RUVM_RCPE_KIND] = RUVM_RECIPE_TABLE;
    ruvm_store_u32(rcpe + RUVM_RCPE_BUCKETS, 1);
    rcpe[16] = 255;
    ruvm_store_u32(section, 1);
    ruvm_store_u16(section + 4, DIMS);
    ruvm_store_u32(section + 8, hash_of("a"));
    ruvm_store_u16(section + 12, 65535);
    memset(section + 14, 0x80, DIMS / 2); /* more than a sound table has */
    memset(section + 14 + DIMS / 2, 127, DIMS / 2);
    for (int i = 0; i < N; i++)
        memcpy(text + 2 * i, "a ", 2);
    cr_assert_eq(ruvm_recipe_open(&r, rcpe, sizeof rcpe), RUVM_OK);
    cr_expect_not(ruvm_recipe_reads(&r), "not before it has its table");
    cr_expect_eq(ruvm_recipe_set_table(&r, section, sizeof section - 1, DIMS), RUVM_ERR_CORRUPT);
    cr_expect_eq(ruvm_recipe_set_table(&r, section, sizeof section, DIMS + 1), RUVM_ERR_CORRUPT);
    cr_expect_eq(ruvm_recipe_set_table(&r, NULL, 0, DIMS), RUVM_ERR_CORRUPT);
    cr_assert_eq(ruvm_recipe_set_table(&r, section, sizeof section, DIMS), RUVM_OK);
    ruvm_recipe_embed(&r, x, DIMS, text, sizeof text);
    cr_expect_eq(x[0], -65279 * N);
    cr_expect_eq(x[DIMS - 1], (65279 * 127 >> 7) * N);
}

/* What a chip answers is what the workstation does. */
Test(word_table, chip_and_workstation_agree, .init = start)
{
    static const char *const types[] = {"int8", "binary"};
    static _Alignas(16) uint8_t memory[1 << 16];
    struct ruvm_rag_add_result r;
    struct ruvm_error err;
    for (int type = 0; type < 2; type++) {
        struct ruvm_knowledge *k;
        struct ruvm_rag rag;
        remove(blob);
        cr_assert_eq(add(embed, types[type], 0, &r, &err), RUVM_OK, "%s", err.text);
        struct ruvm_map map = open_rag(&rag);
        cr_assert_eq(ruvm_knowledge_open(&k, blob, &err), RUVM_OK, "%s", err.text);
        for (int i = 0; i < N_TOPICS * N_SAYINGS; i++) {
            struct ruvm_answer answers[4];
            struct ruvm_knowledge_hit hits[4];
            const char *question = saying(i % N_TOPICS, i / N_TOPICS);
            const struct ruvm_knowledge_ask ask = {
                .question = question, .n_bytes = 4, .k = 4, .now_s = 1000};
            int n = ruvm_ask(&rag, 4, question, 4, memory, sizeof memory, answers);
            cr_assert(n > 0 && n == ruvm_knowledge_ask(k, &ask, hits, &err));
            for (int j = 0; j < n; j++) {
                cr_expect_eq(answers[j].id, hits[j].chunk);
                cr_expect_eq(answers[j].score_q16, (uint32_t)lround(hits[j].score * 65536));
                cr_expect_eq(answers[j].confidence_q16,
                             (uint32_t)lround(hits[j].confidence * 65536));
            }
        }
        ruvm_knowledge_close(k);
        ruvm_file_unmap(&map);
    }
}

Test(word_table, grows_without_its_file, .init = start)
{
    struct ruvm_rag_add_result r;
    struct ruvm_error err;
    write_table(table, 1);
    cr_assert_eq(add(embed, NULL, 0, &r, &err), RUVM_OK, "%s", err.text);
    uint32_t n = r.n_table_words;
    source = container_path(container_folder(), "b.jsonl");
    write_texts(source, N_TOPICS, N_TOPICS);
    remove(table);
    cr_assert_eq(add(NULL, NULL, 0, &r, &err), RUVM_OK, "%s", err.text);
    cr_expect(r.is_old_table && r.n_table_words == n && r.n_chunks == 2 * N_TOPICS);
    cr_expect_eq(count_found(2 * N_TOPICS), 0, "the table has no other words");
    write_table(table, N_SAYINGS);
    cr_assert_eq(add(embed, NULL, 0, &r, &err), RUVM_OK, "%s", err.text);
    cr_expect(!r.is_old_table && r.n_table_words == N_SAYINGS * n);
    cr_expect_geq(count_found(2 * N_TOPICS), 2 * N_TOPICS - 2);
    cr_expect_eq(add("words", NULL, 0, &r, &err), RUVM_ERR_UNSUPPORTED);
    cr_expect(strstr(err.text, "made of a table of words"), "%s", err.text);
}

Test(word_table, stays_the_same_when_it_is_written_again, .init = start)
{
    struct ruvm_rag_add_result r;
    struct ruvm_error err;
    struct ruvm_rag rag;
    static uint8_t before[1 << 12];
    cr_assert_eq(add(embed, NULL, 0, &r, &err), RUVM_OK, "%s", err.text);
    struct ruvm_map map = open_rag(&rag);
    uint32_t bytes = rag.part[RUVM_RAG_WORD].bytes;
    cr_assert_leq(bytes, sizeof before);
    memcpy(before, rag.part[RUVM_RAG_WORD].data, bytes);
    ruvm_file_unmap(&map);
    cr_assert_eq(add(NULL, NULL, 0, &r, &err), RUVM_OK, "%s", err.text);
    map = open_rag(&rag);
    cr_assert_eq(rag.part[RUVM_RAG_WORD].bytes, bytes);
    cr_expect_arr_eq(rag.part[RUVM_RAG_WORD].data, before, bytes);
    ruvm_file_unmap(&map);
}

Test(word_table, gives_way_to_a_budget, .init = start)
{
    struct ruvm_rag_add_result r;
    struct ruvm_error err;
    struct ruvm_buffer b = {0};
    for (int i = 0; i < 3000; i++)
        ruvm_buffer_printf(&b, "w%d 1 2 3 4 5 6 7 %d\n", i, i);
    cr_assert_eq(ruvm_file_write(table, b.data, b.size, NULL), RUVM_OK);
    ruvm_buffer_free(&b);
    cr_assert_eq(add(embed, NULL, 30000, &r, &err), RUVM_OK, "%s", err.text);
    cr_expect(r.file_bytes <= 30000 && r.n_table_words == 1024, "%u words", r.n_table_words);
    cr_expect_eq(add(embed, NULL, 2000, &r, &err), RUVM_ERR_UNSUPPORTED);
    cr_expect(strstr(err.text, "the least is"), "%s", err.text);
}
