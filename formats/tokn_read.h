/* The tokn section of an image: where its arrays stand, and whether they hold together.
 * Freestanding. */
#ifndef RUVM_FORMATS_TOKN_READ_H
#define RUVM_FORMATS_TOKN_READ_H

#include "formats/check_read.h"

/* The arrays of the section, as ruvm_layout.h lists them. */
struct ruvm_tokn {
    uint8_t kind, flags;
    uint32_t n, n_sorted, text_bytes;
    const uint8_t *off, *rank, *score, *sorted, *byte_id, *piece_kind, *n_sorted_at, *text;
    /* behind the text; NULL and 0 without FLAG_MORE */
    const uint8_t *more, *special, *end, *merges, *chat;
    uint8_t pattern, n_ends;
    uint16_t options;
    uint32_t n_special, n_merges, chat_bytes;
    int32_t unk_score;
};

/* The arrays of a section that was checked. */
void ruvm_tokn_open(struct ruvm_tokn *t, const uint8_t *section);

/* Checks the section when there is one, and lets the image point to it. */
bool ruvm_tokn_check(struct ruvm_check *c);

#endif
