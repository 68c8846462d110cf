/* Inside of the tokenizer: its pieces, and the text that they are looked up in. */
#ifndef RUVM_CORE_PIECES_H
#define RUVM_CORE_PIECES_H

#include "formats/ruvm_layout.h"
#include "lib/base/bytes.h"
#include "lib/ruvm.h"

struct ruvm_span {
    const uint8_t *bytes;
    size_t n;
};

static inline uint16_t ruvm_pieces_u16(const uint8_t *array, size_t i)
{
    return ruvm_load_u16(array + 2 * i);
}

struct ruvm_span ruvm_pieces_text(const struct ruvm_tokenizer *t, uint16_t id);

/* The findable piece whose text is a followed by b: its id, or RUVM_NO_TOKEN. */
uint16_t ruvm_pieces_find(const struct ruvm_tokenizer *t, struct ruvm_span a, struct ruvm_span b);

/* Down a list of ids sorted by text, a byte a step: those that begin with the bytes so far. */
struct ruvm_walk {
    const uint8_t *list;
    uint32_t low, high;
    uint32_t n_bytes; /* so far */
};

/* False when no piece begins so. */
bool ruvm_pieces_step(const struct ruvm_tokenizer *t, struct ruvm_walk *w, uint8_t byte);
/* The first piece that is exactly the bytes so far, or RUVM_NO_TOKEN. */
uint16_t ruvm_pieces_here(const struct ruvm_tokenizer *t, const struct ruvm_walk *w);

/* The longest special token at the start of s, or RUVM_NO_TOKEN; control tokens when asked. */
uint16_t ruvm_pieces_special(const struct ruvm_tokenizer *t, struct ruvm_span s, bool control);

/* A text character by character, as the vocabulary sees its spaces. */
struct ruvm_cursor {
    struct ruvm_span left;
    uint16_t options; /* of the tokenizer */
    bool prefix;      /* a space comes before the rest */
    bool last;        /* spaces at the end are those of the text */
};

enum {
    RUVM_CURSOR_PREFIX = 1, /* a space is put before, where the vocabulary wants one */
    RUVM_CURSOR_FIRST = 2,  /* the text begins here */
    RUVM_CURSOR_LAST = 4,   /* the text ends here */
};

struct ruvm_cursor ruvm_cursor_over(const struct ruvm_tokenizer *t, struct ruvm_span s,
                                    unsigned flags);
/* The next character; n is 0 at the end. Broken UTF-8 is taken as it comes: a byte and the
 * continuation bytes after it, four at most. */
struct ruvm_span ruvm_cursor_next(struct ruvm_cursor *c);

/* Appends byte tokens for a character, or the unknown token; n_ids stand in ids. Returns how
 * many were appended, -1 when it cannot be said. */
int ruvm_pieces_bytes(const struct ruvm_tokenizer *t, uint16_t *ids, size_t n_ids,
                      struct ruvm_span c);

#endif
