/* Documents and chunks: passages of each format, and what is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lib/bundle/chunk.h"
#include "lib/bundle/document.h"

struct seen {
    char text[2048];
    size_t used;
    uint32_t expires;
};

static int take(void *context, const struct ruvm_passage *p, struct ruvm_error *err)
{
    struct seen *s = context;
    (void)err;
    s->used += (size_t)snprintf(s->text + s->used, sizeof s->text - s->used, "{%.*s|%.*s|%s}",
                                (int)p->n_context, p->n_context ? p->context : "", (int)p->n_text,
                                p->text, p->meta ? p->meta : "");
    s->expires = p->expires;
    return RUVM_OK;
}

static int read_as(struct seen *s, const char *name, const char *text, struct ruvm_error *err)
{
    struct ruvm_document d = {.name = name, .data = text, .size = strlen(text), .now = 1000};
    const struct ruvm_passage_sink sink = {take, s};
    *s = (struct seen){0};
    return ruvm_document_read(&d, &sink, err);
}

static void expect(const char *name, const char *text, const char *passages)
{
    struct seen s;
    struct ruvm_error err = {0};
    cr_assert_eq(read_as(&s, name, text, &err), RUVM_OK, "%s", err.text);
    cr_expect_str_eq(s.text, passages);
}

static void expect_error(const char *name, const char *text, const char *part)
{
    struct seen s;
    struct ruvm_error err = {0};
    cr_assert_lt(read_as(&s, name, text, &err), 0, "%s", text);
    cr_expect(strstr(err.text, part) && strncmp(err.text, name, strlen(name)) == 0, "%s", err.text);
}

Test(documents, text)
{
    expect("a.txt", "one\n\ntwo", "{|one\n\ntwo|}");
    expect("a", "\xEF\xBB\xBFone", "{|one|}");
    expect("a", "", "{||}");
}

Test(documents, markdown)
{
    expect("a.md", "x\n# A\na\n## B #\nb\n# C\nc\n", "{|x\n|}{A|a\n|}{A > B|b\n|}{C|c\n|}");
    expect("a.md", "A\n===\na\n\nB\n---\nb", "{A|a\n\n|}{A > B|b|}");
    expect("a.md", "# A\n```\n# no\n```\nb\n", "{A|```\n# no\n```\nb\n|}");
    expect("a.md", "~~~\n# no\n```\n# no\n~~~\n# A\r\na\r\n",
           "{|~~~\n# no\n```\n# no\n~~~\n|}{A|a\r\n|}");
    expect("a.md", "#no\n####### no\n    # no\n", "{|#no\n####### no\n    # no\n|}");
    expect("a.md", "a\n\n---\nb\n", "{|a\n\n---\nb\n|}"); /* a rule, not a heading */
    expect("a.md", "# A\n\n# B\nb", "{B|b|}");            /* nothing under A */
    expect("a.md", "#\nx", "{|x|}");
}

Test(documents, csv)
{
    expect("a.csv", "n,room\nlamp,hall\n", "{|n: lamp; room: hall|}");
    expect("a.csv", "n;room\r\n\"a;\"\"b\"\"\";\r\n", "{|n: a;\"b\"|}");
    expect("a.csv", "id,Title,text\n7,T,\"two\nlines\"\n", "{T|two\nlines|{\"id\":\"7\"}}");
    expect("a.tsv", "text\tk\nx\t1\n\n", "{|x|{\"k\":\"1\"}}");
    expect("a.csv", "", "");
    expect("a.csv", "only,names", "");
    expect_error("a.csv", "a,b\n1,2\n1,2,3\n", "line 3: has 3 fields");
    expect_error("a.csv", "a,b\n\"1,2\n", "line 2: a quote is not closed");
}

Test(documents, jsonl)
{
    struct seen s;
    expect("a.jsonl", "{\"text\":\"x\"}\n\n {\"content\":\"y\",\"title\":\"T\",\"id\":3}\n",
           "{|x|}{T|y|{\"id\":3}}");
    cr_assert_eq(read_as(&s, "a.jsonl", "{\"text\":\"x\",\"ttl\":5}", NULL), RUVM_OK);
    cr_expect_eq(s.expires, 1005);
    cr_assert_eq(read_as(&s, "a.jsonl", "{\"text\":\"x\",\"expires\":77}", NULL), RUVM_OK);
    cr_expect_eq(s.expires, 77);
    expect_error("a.jsonl", "{\"text\":\"x\"}\n{\"text\":", "line 2: is not JSON");
    expect_error("a.jsonl", "[1]", "line 1:");
    expect_error("a.jsonl", "{\"text\":5}", "has no \"text\"");
    expect_error("a.jsonl", "{\"text\":\"x\",\"ttl\":-5}", "whole numbers");
    expect_error("a.jsonl", "{\"text\":\"x\",\"ttl\":4294967295}", "whole numbers");
}

Test(documents, bytes_that_are_no_utf8_are_kept_and_counted)
{
    struct seen s = {0};
    struct ruvm_document d = {.name = "a", .data = "a\xFF\xC3z\xC3\xA9", .size = 6};
    const struct ruvm_passage_sink sink = {take, &s};
    cr_assert_eq(ruvm_document_read(&d, &sink, NULL), RUVM_OK);
    cr_expect_eq(d.n_bad_bytes, 2);
    cr_expect_str_eq(s.text, "{|a\xFF\xC3z\xC3\xA9|}");
}

Test(documents, what_is_no_text_is_refused)
{
    struct ruvm_error err = {0};
    struct seen s = {0};
    struct ruvm_document d = {.name = "a.md", .data = "\xFF\xFE\x61\x00", .size = 4};
    const struct ruvm_passage_sink sink = {take, &s};
    cr_assert_eq(ruvm_document_read(&d, &sink, &err), RUVM_ERR_UNSUPPORTED);
    cr_expect(strstr(err.text, "UTF-16"), "%s", err.text);
}

/* ---- chunks ------------------------------------------------------------------------ */

static void expect_chunks(const char *text, struct ruvm_chunk_options o, const char *chunks)
{
    char all[1024] = "";
    size_t used = 0;
    struct ruvm_chunker c = ruvm_chunker_over(text, strlen(text), &o);
    while (ruvm_chunker_next(&c)) {
        cr_assert_leq(c.n_chunk, o.bytes);
        used += (size_t)snprintf(all + used, sizeof all - used, "[%.*s]", (int)c.n_chunk, c.chunk);
    }
    cr_expect_str_eq(all, chunks);
}

Test(chunks, end_where_a_reader_would)
{
    const struct ruvm_chunk_options o = {.bytes = 20};
    expect_chunks("", o, "");
    expect_chunks("  \n ", o, "");
    expect_chunks(" short ", o, "[short]");
    expect_chunks("One two. Three four five six.", o, "[One two. Three four][five six.]");
    expect_chunks("One two three. Four five six.", o, "[One two three.][Four five six.]");
    expect_chunks("One two e.g. a four five.", o, "[One two e.g. a four][five.]");
    expect_chunks("One two three\n\nFour. Five six", o, "[One two three][Four. Five six]");
    expect_chunks("abcdefghijklmnopqrstuvwxyz", o, "[abcdefghijklmnopqrst][uvwxyz]");
}

Test(chunks, never_cut_a_character)
{
    const struct ruvm_chunk_options o = {.bytes = 4};
    expect_chunks("\xC3\xA9\xC3\xA9\xC3\xA9", o, "[\xC3\xA9\xC3\xA9][\xC3\xA9]");
    expect_chunks("\xE6\x97\xA5\xE6\x9C\xAC", o, "[\xE6\x97\xA5][\xE6\x9C\xAC]");
}

Test(chunks, overlap_by_sentences_or_words)
{
    expect_chunks("Aa bb. Cc dd. Ee ff. Gg hh.",
                  (struct ruvm_chunk_options){14, 7, RUVM_SPLIT_SENTENCE},
                  "[Aa bb. Cc dd.][Cc dd. Ee ff.][Ee ff. Gg hh.]");
    expect_chunks("aa bb cc dd ee", (struct ruvm_chunk_options){9, 3, RUVM_SPLIT_SIZE},
                  "[aa bb cc][cc dd ee]");
}

/* Every byte but blanks is in some chunk, and chunks go forward, whatever the text. */
Test(chunks, lose_nothing)
{
    uint32_t state = 5;
    for (int round = 0; round < 3000; round++) {
        static const char letters[] = "ab .\n\n!\xC3\xA9\xFF";
        char text[120];
        bool seen[120] = {false};
        size_t n = (size_t)round % sizeof text;
        for (size_t i = 0; i < n; i++)
            text[i] =
                letters[((state = state * 1664525u + 1013904223u) >> 20) % (sizeof letters - 1)];
        struct ruvm_chunk_options o = {5 + state % 40, 0, (uint8_t)(round % RUVM_N_SPLITS)};
        o.overlap = state / 64 % (o.bytes / 2);
        struct ruvm_chunker c = ruvm_chunker_over(text, n, &o);
        const char *before = NULL;
        while (ruvm_chunker_next(&c)) {
            cr_assert(c.n_chunk > 0 && c.n_chunk <= o.bytes && (!before || c.chunk > before));
            before = c.chunk;
            memset(seen + (c.chunk - text), true, c.n_chunk);
        }
        for (size_t i = 0; i < n; i++)
            cr_assert(seen[i] || strchr(" \n", text[i]), "round %d, byte %zu", round, i);
    }
}
