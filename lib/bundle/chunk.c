/* Chunks: look for the best place to cut, from the end of what fits towards its middle. */
#include "lib/bundle/chunk.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

struct ruvm_chunker ruvm_chunker_over(const char *text, size_t n,
                                      const struct ruvm_chunk_options *o)
{
    while (n && is_space(text[n - 1]))
        n--;
    return (struct ruvm_chunker){.text = text, .n = n, .o = *o};
}

/* Whether a paragraph ends before place i: a line that is empty. */
static bool ends_paragraph(const struct ruvm_chunker *c, size_t i)
{
    size_t newlines = 0;
    while (i > 0 && is_space(c->text[i - 1]))
        newlines += c->text[--i] == '\n';
    return newlines > 1;
}

/* Whether a sentence ends before place i: a full stop, perhaps a quote, blanks, and no small
 * letter, which would tell of an abbreviation. */
static bool ends_sentence(const struct ruvm_chunker *c, size_t i)
{
    size_t end = i;
    if (i < c->n && is_lower(c->text[i]))
        return false;
    while (end > 0 && is_space(c->text[end - 1]))
        end--;
    if (end == i)
        return end >= 3 && (memcmp(c->text + end - 3, "\xE3\x80\x82", 3) == 0 ||
                            memcmp(c->text + end - 3, "\xEF\xBC\x81", 3) == 0 ||
                            memcmp(c->text + end - 3, "\xEF\xBC\x9F", 3) == 0);
    while (end > 0 && strchr("\"')]", c->text[end - 1]))
        end--;
    return end > 0 && strchr(".!?", c->text[end - 1]) != NULL;
}

static bool is_word_start(const struct ruvm_chunker *c, size_t i)
{
    return i == c->n || (!is_space(c->text[i]) && is_space(c->text[i - 1]));
}

static bool is_character_start(const struct ruvm_chunker *c, size_t i)
{
    return i == c->n || ((uint8_t)c->text[i] & 0xC0) != 0x80;
}

/* The last place in (from, to] where a text may be cut in that way, or 0. */
static size_t last_cut(const struct ruvm_chunker *c, size_t from, size_t to,
                       bool (*fits)(const struct ruvm_chunker *c, size_t i))
{
    for (size_t i = to; i > from; i--)
        if (is_character_start(c, i) && fits(c, i))
            return i;
    return 0;
}

static size_t end_of_chunk(const struct ruvm_chunker *c, size_t start)
{
    size_t to = start + c->o.bytes, middle = start + c->o.bytes / 2, cut = 0;
    if (c->n <= to)
        return c->n;
    if (c->o.split != RUVM_SPLIT_SIZE) {
        cut = last_cut(c, middle, to, ends_paragraph);
        if (!cut)
            cut = last_cut(c, middle, to, ends_sentence);
    }
    if (!cut)
        cut = last_cut(c, middle, to, is_word_start);
    if (!cut)
        cut = last_cut(c, start, to, is_character_start);
    return cut ? cut : to; /* bytes that are no UTF-8 may be cut anywhere */
}

/* Where the next chunk begins: the first sentence, else word, of the overlap. */
static size_t next_start(const struct ruvm_chunker *c, size_t start, size_t end)
{
    size_t from = c->o.overlap < end - start ? end - c->o.overlap : start + 1;
    if (c->o.overlap == 0 || end == c->n)
        return end;
    for (size_t i = from; c->o.split != RUVM_SPLIT_SIZE && i < end; i++)
        if (i > start && is_word_start(c, i) && ends_sentence(c, i))
            return i;
    for (size_t i = from; i < end; i++)
        if (i > start && is_word_start(c, i))
            return i;
    return end;
}

bool ruvm_chunker_next(struct ruvm_chunker *c)
{
    while (c->at < c->n && is_space(c->text[c->at]))
        c->at++;
    if (c->at >= c->n)
        return false;
    size_t start = c->at, end = end_of_chunk(c, start);
    c->at = next_start(c, start, end);
    while (end > start && is_space(c->text[end - 1]))
        end--;
    c->chunk = c->text + start;
    c->n_chunk = end - start;
    return true;
}
