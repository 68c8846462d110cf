/* Words: letters and digits, folded; English endings off.
 *
 * Stemming follows the first steps of Porter's algorithm (1980), which do nearly all of its
 * work: plurals, -ed and -ing, a last e, y and a doubled consonant. The steps for long Latin
 * endings would need his measure of a word, and gain little.
 */
#include "lib/vector/words.h"

#include "lib/base/bytes.h"
#include "lib/core/unicode.h"

enum { FOLD_FIRST = 0xC0, FOLD_LAST = 0x17F }; /* Latin-1's letters and Latin Extended-A */
static const char folds[] =
    "aaaaaaaceeeeiiiidnooooo ouuuuytsaaaaaaaceeeeiiiidnooooo ouuuuyty"
    "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkkllllllllll"
    "nnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";
_Static_assert(sizeof folds == FOLD_LAST - FOLD_FIRST + 2, "a letter for each code point");

/* The small letter of a letter; those that are not listed stay as they are. */
static uint32_t fold(uint32_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c + 32;
    if (c >= FOLD_FIRST && c <= FOLD_LAST)
        return (uint32_t)folds[c - FOLD_FIRST];
    if ((c >= 0x391 && c <= 0x3A9) || (c >= 0x410 && c <= 0x42F)) /* Greek, Cyrillic */
        return c + 32;
    if (c >= 0x400 && c <= 0x40F)
        return c + 80;
    return c;
}

static bool is_mark(uint32_t c)
{
    return c >= 0x300 && c <= 0x36F; /* an accent of its own, written behind its letter */
}

/* Kana, ideographs, Hangul, Thai and Lao: no spaces between words, or few. */
static bool is_word_alone(uint32_t c)
{
    return (c >= 0x0E00 && c < 0x0F00) || (c >= 0x3040 && c < 0x3100) ||
           (c >= 0x3400 && c < 0xA000) || (c >= 0xAC00 && c < 0xD7B0) ||
           (c >= 0x20000 && c < 0x32000);
}

static bool is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    int class = ruvm_unicode_class(c);
    return class == RUVM_UNICODE_LETTER || class == RUVM_UNICODE_NUMBER;
}

static void put(struct ruvm_words *w, uint32_t c)
{
    uint32_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    if (w->n_word + size > RUVM_WORDS_MAX)
        return;
    for (uint32_t i = size - 1; i > 0; i--, c >>= 6)
        w->word[w->n_word + i] = (uint8_t)(0x80 | (c & 0x3F));
    w->word[w->n_word] = (uint8_t)(first[size] | c);
    w->n_word += size;
}

/* ---- endings ------------------------------------------------------------------- */

static bool ends(const uint8_t *word, uint32_t n, const char *with, uint32_t n_with)
{
    if (n < n_with)
        return false;
    for (uint32_t i = 0; i < n_with; i++)
        if (word[n - n_with + i] != (uint8_t)with[i])
            return false;
    return true;
}

static bool is_vowel(uint8_t c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y';
}

static bool has_vowel(const uint8_t *word, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (is_vowel(word[i]))
            return true;
    return false;
}

static uint32_t without_plural(const uint8_t *word, uint32_t n)
{
    if (ends(word, n, "sses", 4) || (n > 4 && ends(word, n, "ies", 3)))
        return n - 2;
    if (ends(word, n, "ss", 2) || ends(word, n, "us", 2) || ends(word, n, "is", 2))
        return n;
    return n > 3 && word[n - 1] == 's' ? n - 1 : n;
}

static uint32_t without_participle(const uint8_t *word, uint32_t n)
{
    uint32_t rest = ends(word, n, "ing", 3) ? n - 3 : ends(word, n, "ed", 2) ? n - 2 : n;
    return rest < n && rest > 2 && has_vowel(word, rest) ? rest : n;
}

uint32_t ruvm_words_stem(uint8_t *word, uint32_t n)
{
    if (n < 4 || word[0] < 'a')
        return n; /* short words and numbers */
    n = without_plural(word, n);
    n = without_participle(word, n);
    if (n > 3 && word[n - 1] == 'e')
        n--;
    if (n > 3 && word[n - 1] == word[n - 2] && !is_vowel(word[n - 1]) && word[n - 1] < 0x80)
        n--;
    if (n > 2 && word[n - 1] == 'y' && !is_vowel(word[n - 2]))
        word[n - 1] = 'i';
    return n;
}

/* FNV-1a, then the mixer of MurmurHash3, because every bit of it is used alone. */
uint32_t ruvm_words_hash(uint32_t seed, const void *bytes, uint32_t n)
{
    const uint8_t *p = bytes;
    uint32_t h = 2166136261u ^ seed * 2654435761u;
    for (uint32_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 16777619u;
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    h = (h ^ h >> 13) * 0xC2B2AE35u;
    return h ^ h >> 16;
}

uint32_t ruvm_words_find(const uint8_t *hashes, uint32_t n, uint32_t hash)
{
    uint32_t first = 0, end = n;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        uint32_t found = ruvm_load_u32(hashes + (size_t)middle * 4);
        if (found == hash)
            return middle;
        if (found < hash)
            first = middle + 1;
        else
            end = middle;
    }
    return n;
}

/* ---- the walk ------------------------------------------------------------------- */

struct ruvm_words ruvm_words_over(const void *text, size_t n)
{
    return (struct ruvm_words){.text = text, .n = n};
}

/* Takes the character at `at` when it belongs to the word; false: the word ends before it. */
static bool take(struct ruvm_words *w, bool *alone)
{
    size_t size;
    uint32_t c = ruvm_unicode_decode(w->text + w->at, w->n - w->at, &size);
    if (is_mark(c)) {
        w->at += size;
        return true;
    }
    if (!is_letter(c) || (w->n_word && is_word_alone(c)))
        return false;
    put(w, fold(c));
    w->at += size;
    *alone = is_word_alone(c);
    return !*alone;
}

static void skip_others(struct ruvm_words *w)
{
    size_t size;
    for (; w->at < w->n; w->at += size) {
        uint32_t c = ruvm_unicode_decode(w->text + w->at, w->n - w->at, &size);
        if (is_letter(c))
            return;
    }
}

bool ruvm_words_next(struct ruvm_words *w)
{
    bool alone = false;
    skip_others(w);
    w->n_word = 0;
    w->start = w->at;
    while (w->at < w->n && !alone && take(w, &alone))
        continue;
    if (w->n_word == 0)
        return false;
    uint8_t stem[RUVM_WORDS_MAX];
    for (uint32_t i = 0; i < w->n_word; i++)
        stem[i] = w->word[i];
    w->stem = ruvm_words_hash(0, stem, ruvm_words_stem(stem, w->n_word));
    return true;
}
