/* Few letters, so that a random text finds a random piece often. */
#include "tests/prune/random_vocab.h"

#include <criterion/criterion.h>
#include <string.h>

#include "lib/convert/tokenizer_build.h"
#include "lib/core/tokenizer.h"
#include "tests/support/tiny_model.h"

struct random_vocab_encoder random_vocab_encoder(const struct ruvm_vocab *v)
{
    struct random_vocab_encoder e = {0};
    cr_assert_eq(ruvm_tokenizer_build(&e.section, v, NULL), RUVM_OK);
    ruvm_tokenizer_over(&e.t, e.section.data);
    return e;
}

static const char *const letters[] = {"a", "b", "c", " ", "\xC3\xA9"};

size_t random_vocab_text(char *out, uint64_t *rng, size_t n_letters)
{
    size_t n = 0;
    for (size_t i = 0; i < n_letters; i++) {
        const char *letter = letters[tiny_random(rng) % 5];
        memcpy(out + n, letter, strlen(letter));
        n += strlen(letter);
    }
    return n;
}

static uint32_t find_text(const struct ruvm_vocab *v, const char *text, size_t n)
{
    for (uint32_t i = 3; i < v->n_pieces; i++)
        if (v->pieces[i].kind == RUVM_PIECE_NORMAL && v->pieces[i].n_bytes == n &&
            memcmp(v->pieces[i].text, text, n) == 0)
            return i;
    return RUVM_NO_TOKEN;
}

/* Half of the ways to make a piece of two, in the order of the first parts' scores; of bytes
 * or of characters. */
static void random_merges(struct ruvm_vocab *v, struct ruvm_arena *arena, uint64_t *rng)
{
    enum { MAX_MERGES = 400 };
    char text[64];
    v->options = !v->space_prefix && tiny_random(rng) % 2 ? RUVM_TOKN_BYTE_LEVEL : 0;
    v->merges = ruvm_arena_alloc(arena, MAX_MERGES, sizeof *v->merges);
    for (int order = 0; order > -12; order--)
        for (uint32_t a = 3; a < v->n_pieces; a++)
            for (uint32_t b = 3; b < v->n_pieces; b++) {
                const struct ruvm_piece *x = &v->pieces[a], *y = &v->pieces[b];
                if ((int)x->score != order || x->n_bytes + y->n_bytes > sizeof text ||
                    x->n_bytes == 0 || y->n_bytes == 0 || tiny_random(rng) % 2)
                    continue;
                memcpy(text, x->text, x->n_bytes);
                memcpy(text + x->n_bytes, y->text, y->n_bytes);
                uint32_t result = find_text(v, text, x->n_bytes + y->n_bytes);
                if (result != RUVM_NO_TOKEN && v->n_merges < MAX_MERGES)
                    v->merges[v->n_merges++] = (struct ruvm_merge){a, b, result};
            }
}

struct ruvm_vocab random_vocab(struct ruvm_arena *arena, uint64_t *rng)
{
    static uint8_t bytes[] = {'a', 'b', 'c', ' ', 0xC3, 0xA9};
    struct ruvm_piece *p = ruvm_arena_alloc(arena, RANDOM_VOCAB_PIECES, sizeof *p);
    uint32_t n = 3;
    for (uint32_t i = 0; i < 3; i++)
        p[i] = (struct ruvm_piece){.text = bytes, .kind = RUVM_PIECE_CONTROL};
    for (uint32_t i = 0; i < 6; i++)
        p[n++] =
            (struct ruvm_piece){.text = &bytes[i],
                                .n_bytes = 1,
                                .score = -(float)(tiny_random(rng) % 9),
                                .kind = tiny_random(rng) % 3 ? RUVM_PIECE_BYTE : RUVM_PIECE_NORMAL};
    while (n < 60) {
        const struct ruvm_piece *a = &p[tiny_random(rng) % n], *b = &p[tiny_random(rng) % n];
        char *text = ruvm_arena_alloc(arena, 16, 1);
        size_t n_bytes = a->n_bytes + b->n_bytes;
        if (n > 14 && n_bytes > 0 && n_bytes <= 16) {
            memcpy(text, a->text, a->n_bytes);
            memcpy(text + a->n_bytes, b->text, b->n_bytes);
        } else {
            n_bytes = random_vocab_text(text, rng, n < 20 ? 1 : 1 + tiny_random(rng) % 4);
        }
        p[n++] = (struct ruvm_piece){.text = (const uint8_t *)text,
                                     .n_bytes = (uint32_t)n_bytes,
                                     .score = -(float)(tiny_random(rng) % 12)};
    }
    struct ruvm_vocab v = {.pieces = p,
                           .n_pieces = n,
                           .bos = 1,
                           .eos = 2,
                           .unk = tiny_random(rng) % 2 ? 0 : RUVM_VOCAB_NONE,
                           .add_bos = tiny_random(rng) % 2,
                           .space_prefix = tiny_random(rng) % 2};
    v.kind = (enum ruvm_tokn_kind)(1 + tiny_random(rng) % 3);
    if (v.kind == RUVM_TOKN_MERGES)
        random_merges(&v, arena, rng);
    return v;
}
