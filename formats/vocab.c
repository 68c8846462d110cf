/* Reader of llama2.c's tokenizer.bin: the pieces of a SentencePiece vocabulary with
 * their scores.
 *
 * The file says neither how many pieces it holds nor what they are for. A first
 * walk checks every length and counts, a second one fills the array; the meaning
 * follows llama2.c's conventions: ids 0, 1, 2 are unknown, BOS and EOS, and a
 * piece spelled "<0x41>" stands for that byte.
 */
#include "formats/vocab.h"

#include <string.h>

#include "formats/formats.h"
#include "lib/base/bytes.h"

enum {
    MIN_PIECES = 3,         /* unknown, BOS, EOS */
    PIECE_HEADER_BYTES = 8, /* score and length */
};

/* Reads one piece, its kind still open. */
static int read_piece(struct ruvm_piece *piece, struct ruvm_reader *r, size_t id, uint32_t longest,
                      struct ruvm_error *err)
{
    size_t start = r->off, left = r->size - r->off;
    if (left < PIECE_HEADER_BYTES)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "byte %zu: %zu bytes are too few for piece %zu",
                         start, left, id);
    piece->score = ruvm_tensors_f32(ruvm_reader_take(r, 4));
    piece->n_bytes = ruvm_reader_u32(r);
    piece->text = ruvm_reader_take(r, piece->n_bytes);
    if (!piece->text)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "byte %zu: piece %zu has %u bytes, but only %zu are left", start, id,
                         piece->n_bytes, left - PIECE_HEADER_BYTES);
    if (piece->n_bytes > longest)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "byte %zu: piece %zu has %u bytes, but by byte 0 the longest has %u",
                         start, id, piece->n_bytes, longest);
    if (piece->score != piece->score)
        return ruvm_fail(err, RUVM_ERR_CORRUPT, "byte %zu: the score of piece %zu is not a number",
                         start, id);
    return RUVM_OK;
}

/* Walks the whole file once; nothing is allocated before every length is known good. */
static int count_pieces(size_t *count, struct ruvm_reader r, uint32_t longest,
                        struct ruvm_error *err)
{
    struct ruvm_piece piece;
    size_t n = 0;
    for (; r.off < r.size; n++) {
        int rc = read_piece(&piece, &r, n, longest, err);
        if (rc != RUVM_OK)
            return rc;
    }
    if (n < MIN_PIECES)
        return ruvm_fail(err, RUVM_ERR_CORRUPT,
                         "only %zu pieces, but unknown, BOS and EOS alone are %d", n, MIN_PIECES);
    if (n > RUVM_VOCAB_MAX)
        return ruvm_fail(err, RUVM_ERR_UNSUPPORTED, "%zu pieces, expected up to %d", n,
                         RUVM_VOCAB_MAX);
    *count = n;
    return RUVM_OK;
}

/* A piece without text can never be found in any: it is as silent as a control piece. */
static void classify(struct ruvm_piece *piece, size_t id)
{
    int byte = ruvm_vocab_byte(piece->text, piece->n_bytes);
    piece->kind = RUVM_PIECE_NORMAL;
    if (id < MIN_PIECES || piece->n_bytes == 0) {
        piece->kind = RUVM_PIECE_CONTROL;
    } else if (byte >= 0) {
        ruvm_vocab_set_byte(piece, byte);
    }
}

static int fill(struct ruvm_vocab *vocab, struct ruvm_arena *arena, struct ruvm_reader r, size_t n,
                struct ruvm_error *err)
{
    struct ruvm_piece *pieces = ruvm_arena_alloc(arena, n, sizeof *pieces);
    if (!pieces)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for %zu pieces", n);
    for (size_t id = 0; id < n; id++) {
        read_piece(&pieces[id], &r, id, UINT32_MAX, NULL);
        classify(&pieces[id], id);
    }
    *vocab = (struct ruvm_vocab){.pieces = pieces,
                                 .n_pieces = (uint32_t)n,
                                 .unk = 0,
                                 .bos = 1,
                                 .eos = 2,
                                 .add_bos = true,
                                 .space_prefix = true};
    return RUVM_OK;
}

/* A damaged tokenizer needs its place only; another file needs its name. */
static int refuse(const uint8_t *data, size_t size, int rc, const struct ruvm_error *why,
                  struct ruvm_error *err)
{
    static const char expected[] = "a llama2.c tokenizer.bin";
    const char *found = ruvm_formats_guess(data, size);
    if (strcmp(found, expected) == 0)
        return ruvm_fail(err, rc, "%s", why->text);
    return ruvm_fail(err, rc, "%s (expected %s, this looks like %s)", why->text, expected, found);
}

int ruvm_vocab_read(struct ruvm_vocab *vocab, struct ruvm_arena *arena, const uint8_t *data,
                    size_t size, struct ruvm_error *err)
{
    struct ruvm_error why = {0};
    struct ruvm_reader r = ruvm_reader_over(data, size);
    uint32_t longest = ruvm_reader_u32(&r);
    size_t n = 0;
    int rc = count_pieces(&n, r, longest, &why);
    if (rc != RUVM_OK)
        return refuse(data, size, rc, &why, err);
    return fill(vocab, arena, r, n, err);
}
