/* The tokenizer on a small vocabulary: merges by rank, fallback, spaces, and that the
 * joins table and long texts change nothing. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ruvm.h"
#include "tests/core/random_image.h"

/* ids from 3 on; the order is the rank: earlier pieces merge first */
static const char *const pieces[] = {
    "he", "ll", "hell", "lo",   "hello",    " hello", " ",    "h",  "e",   "l",  "o",  "w",  "r",
    "d",  "a",  "aa",   "aaaa", "\xC3\xA9", "\xC3",   "\xA9", "or", "wor", " w", "ld", "\n",
};
enum { N_PIECES = sizeof pieces / sizeof *pieces };

static const struct random_shape shape = {.vocab = 40,
                                          .dim = 16,
                                          .hidden = 16,
                                          .context = 8,
                                          .head_dim = 8,
                                          .layers = 1,
                                          .heads = 1,
                                          .kv_heads = 1,
                                          .tied = true,
                                          .seed = 1,
                                          .pieces = pieces,
                                          .n_pieces = N_PIECES};

static uint8_t *image;
static struct ruvm_tokenizer tok;
static uint8_t joins[8192];

static void open_tokenizer(void)
{
    size_t bytes;
    image = random_image(&shape, &bytes);
    cr_assert_eq(ruvm_tokenizer_init(&tok, image, bytes), RUVM_OK);
}

static void close_tokenizer(void)
{
    free(image);
}

TestSuite(tokenizer, .init = open_tokenizer, .fini = close_tokenizer);

/* The merge rule taken literally: the best rank anywhere, leftmost, until none. */
static size_t slow_encode(const char *text, size_t n, uint16_t *ids)
{
    size_t count = 0;
    for (size_t i = 0; i < n;) {
        size_t len = (uint8_t)text[i] == 0xC3 && i + 1 < n && (uint8_t)text[i + 1] == 0xA9 ? 2 : 1;
        ids[count] = 0;
        for (size_t p = 0; p < N_PIECES; p++)
            if (strlen(pieces[p]) == len && memcmp(pieces[p], text + i, len) == 0)
                ids[count] = (uint16_t)(p + 3);
        count++;
        i += len;
    }
    for (;;) {
        size_t best = N_PIECES, at = 0;
        for (size_t i = 1; i < count; i++) {
            if (ids[i - 1] < 3 || ids[i] < 3)
                continue;
            char joined[32];
            strcpy(joined, pieces[ids[i - 1] - 3]);
            strcat(joined, pieces[ids[i] - 3]);
            for (size_t p = 0; p < best; p++)
                if (strcmp(pieces[p], joined) == 0) {
                    best = p;
                    at = i;
                }
        }
        if (best == N_PIECES)
            return count;
        ids[at - 1] = (uint16_t)(best + 3);
        memmove(ids + at, ids + at + 1, (count - at - 1) * sizeof *ids);
        count--;
    }
}

static void expect(const char *text, size_t n)
{
    uint16_t found[600], expected[600], with_joins[600];
    int got = ruvm_encode(&tok, found, 600, text, n, RUVM_ENCODE_PLAIN);
    size_t want = slow_encode(text, n, expected);
    cr_assert_eq((size_t)got, want, "%zu bytes: %d for %zu ids", n, got, want);
    cr_assert(memcmp(found, expected, want * sizeof *found) == 0);
    struct ruvm_tokenizer fast = tok;
    ruvm_tokenizer_joins(&fast, joins);
    cr_assert_eq(ruvm_encode(&fast, with_joins, 600, text, n, RUVM_ENCODE_PLAIN), got);
    cr_assert(memcmp(found, with_joins, want * sizeof *found) == 0);
}

Test(tokenizer, merges_by_rank_leftmost_first)
{
    const char *texts[] = {"",        "hello", "hello hello", "helloworld",          "aaaaaaaaaaa",
                           "hell lo", "lll",   " w or ld",    "\xC3\xA9\xC3\xA9 lo", "h\nello\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect(texts[i], strlen(texts[i]));
}

Test(tokenizer, random_texts_equal_the_literal_rule)
{
    static const char letters[] = "helo wrda\n";
    uint64_t rng = 3;
    for (int i = 0; i < 400; i++) {
        char text[300];
        size_t n = random_next(&rng) % sizeof text;
        for (size_t j = 0; j < n; j++)
            text[j] = letters[random_next(&rng) % (sizeof letters - 1)];
        expect(text, n);
    }
}

Test(tokenizer, bos_and_the_space_before_a_text)
{
    uint16_t ids[16];
    cr_assert_eq(ruvm_encode(&tok, ids, 16, "hello", 5, 0), 2);
    cr_assert_eq(ids[0], 1);
    cr_assert_eq(ids[1], 3 + 5, "\" hello\" is one piece");
    cr_assert_eq(ruvm_encode(&tok, ids, 16, "", 0, 0), 1, "an empty text is BOS alone");
    size_t n;
    const uint8_t *text = ruvm_decode(&tok, 1, 8, &n);
    cr_assert(n == 5 && memcmp(text, "hello", 5) == 0, "the space goes again");
    text = ruvm_decode(&tok, 9, 8, &n);
    cr_assert(n == 6 && memcmp(text, " hello", 6) == 0, "but not within a text");
}

Test(tokenizer, control_tokens_print_nothing_and_end_a_text)
{
    size_t n = 1;
    ruvm_decode(&tok, 5, 1, &n);
    cr_assert_eq(n, 0);
    ruvm_decode(&tok, 5, 60000, &n);
    cr_assert_eq(n, 0, "an id beyond the vocabulary is nothing");
    cr_assert(ruvm_is_end(&tok, 1) && ruvm_is_end(&tok, 2));
    cr_assert(!ruvm_is_end(&tok, 0) && !ruvm_is_end(&tok, 9));
}

Test(tokenizer, unknown_bytes_become_unk_and_small_room_is_refused)
{
    uint16_t ids[16];
    cr_assert_eq(ruvm_encode(&tok, ids, 16, "h\0z", 3, RUVM_ENCODE_PLAIN), 3);
    cr_assert(ids[1] == 0 && ids[2] == 0);
    cr_assert_eq(ruvm_encode(&tok, ids, 6, "hello", 5, 0), RUVM_ERR_ARG);
}
