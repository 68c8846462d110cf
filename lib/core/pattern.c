/* The regular expressions of GPT-2, Llama 3 and Qwen2, by hand.
 *
 * Each of them is a list of alternatives, of which the first one that fits is taken:
 *
 *   GPT-2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   Llama 3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
 *             ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *
 * Every character is a letter, a number, a space or none of these, so that one always does,
 * and none needs to be tried twice.
 */
#include "lib/core/pattern.h"

#include <stdbool.h>

#include "formats/ruvm_layout.h"
#include "lib/core/unicode.h"

enum { END = -1 };

struct text {
    const uint8_t *bytes;
    size_t n;
};

/* Class of the character at that byte, END behind the last one. */
static int class_at(struct text s, size_t at, size_t *n_bytes)
{
    *n_bytes = 0;
    if (at >= s.n)
        return END;
    return ruvm_unicode_class(ruvm_unicode_decode(s.bytes + at, s.n - at, n_bytes));
}

/* Where the characters of that class end, `most` of them at most; 0: any number. */
static size_t run_end(struct text s, size_t at, int class, unsigned most)
{
    size_t n;
    for (unsigned count = 0; class_at(s, at, &n) == class && (most == 0 || count < most); count++)
        at += n;
    return at;
}

static bool is_line_end(uint8_t c)
{
    return c == '\r' || c == '\n';
}

static uint8_t folded(uint8_t c, bool fold)
{
    return fold && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

/* Bytes of a contraction, or 0. Case folding makes an s of U+017F, too. */
static size_t contraction(struct text s, bool fold)
{
    if (s.n < 2 || s.bytes[0] != '\'')
        return 0;
    uint8_t a = folded(s.bytes[1], fold), b = s.n > 2 ? folded(s.bytes[2], fold) : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    bool is_long_s = fold && a == 0xC5 && b == 0xBF;
    bool is_pair = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
    return is_long_s || is_pair ? 3 : 0;
}

/* All spaces, but not the last one when something follows that could begin with it. */
static size_t spaces(struct text s)
{
    size_t end = 0, last = 0, n;
    while (class_at(s, end, &n) == RUVM_UNICODE_SPACE) {
        last = end;
        end += n;
    }
    return end == s.n || last == 0 ? end : last;
}

/* Spaces up to the last line end among them, or 0. */
static size_t lines(struct text s)
{
    size_t end = run_end(s, 0, RUVM_UNICODE_SPACE, 0);
    while (end > 0 && !is_line_end(s.bytes[end - 1]))
        end--;
    return end;
}

static size_t gpt2_word(struct text s, unsigned digits)
{
    size_t n, at = s.bytes[0] == ' ' ? 1 : 0, short_form = contraction(s, false);
    if (short_form)
        return short_form;
    int class = class_at(s, at, &n);
    if (class == END || class == RUVM_UNICODE_SPACE)
        return spaces(s);
    return run_end(s, at, class, class == RUVM_UNICODE_NUMBER ? digits : 0);
}

static size_t llama3_word(struct text s, unsigned digits)
{
    size_t n, m, short_form = contraction(s, true);
    if (short_form)
        return short_form;
    int class = class_at(s, 0, &n);
    if (class == RUVM_UNICODE_NUMBER)
        return run_end(s, 0, class, digits);
    if (class == RUVM_UNICODE_LETTER ||
        (!is_line_end(s.bytes[0]) && class_at(s, n, &m) == RUVM_UNICODE_LETTER))
        return run_end(s, class == RUVM_UNICODE_LETTER ? 0 : n, RUVM_UNICODE_LETTER, 0);
    size_t at = s.bytes[0] == ' ' ? 1 : 0;
    if (class_at(s, at, &m) == RUVM_UNICODE_OTHER) {
        at = run_end(s, at, RUVM_UNICODE_OTHER, 0);
        while (at < s.n && is_line_end(s.bytes[at]))
            at++;
        return at;
    }
    size_t end = lines(s);
    return end ? end : spaces(s);
}

/* Cuts off digits, or else what stands before the first digit. */
static size_t split_digits(struct text *s, unsigned digits)
{
    size_t n, at = run_end(*s, 0, RUVM_UNICODE_NUMBER, digits);
    if (at > 0)
        return at;
    int class;
    while ((class = class_at(*s, at, &n)) != END && class != RUVM_UNICODE_NUMBER)
        at += n;
    s->n = at;
    return 0;
}

size_t ruvm_pattern_word(unsigned pattern, const uint8_t *text, size_t n)
{
    struct text s = {text, n};
    unsigned digits = pattern >> RUVM_PATTERN_DIGITS_SHIFT & 3;
    size_t number = pattern & RUVM_PATTERN_SPLIT_DIGITS ? split_digits(&s, digits) : 0;
    if (number)
        return number;
    switch (pattern & RUVM_PATTERN_FAMILY) {
    case RUVM_PATTERN_GPT2: return gpt2_word(s, digits);
    case RUVM_PATTERN_LLAMA3: return llama3_word(s, digits);
    default: return s.n;
    }
}
