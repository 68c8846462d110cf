/* A part of a vocabulary for a text: the encoder gives the very same tokens; and texts in the
 * ids of a source with more tokens than an image holds. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lib/convert/text.h"
#include "lib/prune/vocab_part.h"
#include "tests/prune/random_vocab.h"
#include "tests/support/tiny_model.h"

static struct ruvm_arena arena;

static void free_arena(void)
{
    ruvm_arena_free(&arena);
}

TestSuite(vocab_part, .fini = free_arena);

/* ---- the same tokens ----------------------------------------------------------- */

static struct ruvm_vocab_part part_of(const struct ruvm_vocab *v, const char *text, size_t n)
{
    struct ruvm_arena work = {0};
    struct ruvm_vocab_part part;
    bool *keep = ruvm_arena_alloc(&arena, v->n_pieces, sizeof *keep);
    cr_assert_eq(ruvm_vocab_part_of_text(keep, v, text, n, &work, NULL), RUVM_OK);
    ruvm_arena_free(&work);
    cr_assert_eq(ruvm_vocab_part_take(&part, &arena, v, keep, NULL), RUVM_OK);
    return part;
}

/* Spaces of every spelling, some in rows, some at the ends. */
static size_t spoil_spaces(char *out, const char *text, size_t n, uint64_t *rng)
{
    static const char *const spaces[] = {" ", "  ", "\t", "\n ", "\xE2\x96\x81"};
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const char *c = text[i] == ' ' ? spaces[tiny_random(rng) % 5] : NULL;
        size_t n_c = c ? strlen(c) : 1;
        memcpy(out + used, c ? c : text + i, n_c);
        used += n_c;
    }
    return used;
}

static void vary(struct ruvm_vocab *v, uint64_t *rng)
{
    static const uint16_t options[] = {RUVM_TOKN_METASPACE,    RUVM_TOKN_FIRST_PREFIX,
                                       RUVM_TOKN_SPARE_PREFIX, RUVM_TOKN_FEW_SPACES,
                                       RUVM_TOKN_LINE_SPACES,  RUVM_TOKN_FUSE_UNKNOWN};
    for (size_t i = 0; i < 6 && !(v->options & RUVM_TOKN_BYTE_LEVEL); i++)
        v->options |= tiny_random(rng) % 2 ? options[i] : 0;
    if (v->options & RUVM_TOKN_BYTE_LEVEL && tiny_random(rng) % 2)
        v->options |= RUVM_TOKN_WHOLE_WORDS;
    v->specials = true;
    if (tiny_random(rng) % 2)
        v->pieces[30].kind = RUVM_PIECE_ADDED;
}

/* Returns how many pieces could go. */
static uint32_t check(uint64_t *rng)
{
    struct ruvm_vocab v = random_vocab(&arena, rng);
    char plain[RANDOM_VOCAB_TEXT], text[3 * RANDOM_VOCAB_TEXT];
    uint16_t all_ids[300], ids[300];
    vary(&v, rng);
    size_t n_plain = random_vocab_text(plain, rng, 1 + tiny_random(rng) % 20);
    size_t n_text = spoil_spaces(text, plain, n_plain, rng);
    struct ruvm_vocab_part part = part_of(&v, text, n_text);
    struct random_vocab_encoder all = random_vocab_encoder(&v);
    struct random_vocab_encoder less = random_vocab_encoder(&part.vocab);
    int n = ruvm_encode(&all.t, all_ids, 300, text, n_text, 0);
    cr_assert_eq(ruvm_encode(&less.t, ids, 300, text, n_text, 0), n);
    for (int i = 0; i < n; i++)
        cr_assert_eq(part.old[ids[i]], all_ids[i], "token %d of \"%.*s\"", i, (int)n_text, text);
    ruvm_buffer_free(&all.section);
    ruvm_buffer_free(&less.section);
    return v.n_pieces - part.vocab.n_pieces;
}

Test(vocab_part, the_encoder_gives_the_same_tokens)
{
    uint64_t rng = 21, n_gone = 0;
    for (int i = 0; i < 3000; i++) {
        n_gone += check(&rng);
        ruvm_arena_free(&arena);
    }
    cr_assert_gt(n_gone, 3000 * 10, "what cannot be met goes");
}

Test(vocab_part, tokens_with_a_role_follow)
{
    uint64_t rng = 4;
    struct ruvm_vocab v = random_vocab(&arena, &rng);
    bool keep[RANDOM_VOCAB_PIECES] = {false};
    struct ruvm_vocab_part part;
    v.bos = 40, v.eos = 50, v.unk = RUVM_VOCAB_NONE;
    v.n_ends = 2, v.ends[0] = 45, v.ends[1] = 3;
    keep[3] = keep[40] = keep[50] = true;
    cr_assert_eq(ruvm_vocab_part_take(&part, &arena, &v, keep, NULL), RUVM_OK);
    cr_assert(part.vocab.n_pieces == 3 && part.vocab.bos == 1 && part.vocab.eos == 2);
    cr_assert_eq(part.vocab.unk, RUVM_VOCAB_NONE);
    cr_assert(part.vocab.n_ends == 1 && part.vocab.ends[0] == 0, "one was not kept");
    cr_assert(part.now[40] == 1 && part.now[41] == RUVM_VOCAB_NONE && part.old[2] == 50);
}

/* ---- a large vocabulary ---------------------------------------------------------- */

enum {
    N_LETTERS = 42,
    FIRST_LETTER = 'A',
    FIRST_PAIR = 4 + N_LETTERS,
    FIRST_TRIPLE = FIRST_PAIR + N_LETTERS * N_LETTERS,
    N_TRIPLES = N_LETTERS * N_LETTERS * N_LETTERS,
    N_LARGE = FIRST_TRIPLE + N_TRIPLES
};

static struct ruvm_piece piece(const char *text, uint32_t n, int score)
{
    char *copy = ruvm_arena_alloc(&arena, 4, 1);
    memcpy(copy, text, n);
    return (struct ruvm_piece){.text = (const uint8_t *)copy, .n_bytes = n, .score = (float)score};
}

/* Unknown, BOS and EOS, a line end, letters, all pairs of them, all triples. */
static struct ruvm_vocab large_vocab(void)
{
    struct ruvm_piece *p = ruvm_arena_alloc(&arena, N_LARGE, sizeof *p);
    uint32_t n = 3;
    for (uint32_t i = 0; i < n; i++)
        p[i] = (struct ruvm_piece){.text = (const uint8_t *)"", .kind = RUVM_PIECE_CONTROL};
    p[n++] = piece("\n", 1, -9);
    for (uint32_t length = 1, count = N_LETTERS; length <= 3; length++, count *= N_LETTERS)
        for (uint32_t i = 0; i < count; i++) {
            char text[3];
            for (uint32_t k = length, rest = i; k-- > 0; rest /= N_LETTERS)
                text[k] = (char)(FIRST_LETTER + (int)(rest % N_LETTERS));
            p[n++] = piece(text, length, -(int)length);
        }
    return (struct ruvm_vocab){.pieces = p,
                               .n_pieces = n,
                               .bos = 1,
                               .eos = 2,
                               .unk = 0,
                               .add_bos = true,
                               .kind = RUVM_TOKN_SCORES};
}

/* Every triple, a line each. */
static const char *triples(const struct ruvm_vocab *v)
{
    struct ruvm_buffer b = {0};
    for (uint32_t i = FIRST_TRIPLE; i < v->n_pieces; i++) {
        ruvm_buffer_bytes(&b, v->pieces[i].text, 3);
        ruvm_buffer_u8(&b, '\n');
    }
    const char *path = tiny_file(b.data, b.size);
    ruvm_buffer_free(&b);
    return path;
}

Test(vocab_part, a_text_that_needs_more_tokens_than_an_image_holds)
{
    struct ruvm_vocab v = large_vocab();
    const char *path = triples(&v);
    struct ruvm_text_options o = {.context = 100};
    struct ruvm_error err = {0};
    struct ruvm_text t;
    cr_assert_gt(v.n_pieces, 65535 + 5000);
    cr_assert_eq(ruvm_text_read_source(&t, &arena, path, &v, &o, &err), RUVM_OK, "%s", err.text);
    cr_assert_eq(t.n_positions, 2u * N_TRIPLES);
    uint32_t next = FIRST_TRIPLE;
    for (uint32_t w = 0; w < t.n_windows; w++) {
        cr_assert(t.tokens[t.first[w]] == 1 && t.first[w + 1] - t.first[w] <= 101);
        for (uint32_t i = t.first[w] + 1; i < t.first[w + 1]; i++)
            if (t.tokens[i] != 3)
                cr_assert_eq(t.tokens[i], next++);
    }
    cr_assert_eq(next, v.n_pieces);
    remove(path);
}

Test(vocab_part, a_text_of_a_source_is_read_as_far_as_asked)
{
    struct ruvm_vocab v = large_vocab();
    const char *path = triples(&v), *empty = tiny_file("", 0);
    struct ruvm_text_options o = {.context = 100, .max_positions = 1000};
    struct ruvm_error err = {0};
    struct ruvm_text t;
    cr_assert_eq(ruvm_text_read_source(&t, &arena, path, &v, &o, &err), RUVM_OK, "%s", err.text);
    cr_assert(t.n_positions == 1000 && t.n_windows == 10);
    cr_assert_eq(ruvm_text_read_source(&t, &arena, empty, &v, &o, &err), RUVM_ERR_CORRUPT);
    err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_text_read_source(&t, &arena, "/nonexistent", &v, &o, &err), RUVM_ERR_IO);
    v.unk = RUVM_VOCAB_NONE;
    v.specials = true; /* no unknown token a byte, as an image without what is behind it */
    const char *strange = tiny_file("ABC\nAB~\n", 8);
    err = (struct ruvm_error){0};
    cr_assert_eq(ruvm_text_read_source(&t, &arena, strange, &v, &o, &err), RUVM_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "text at line 1"), "%s", err.text);
    remove(path);
    remove(empty);
    remove(strange);
}
