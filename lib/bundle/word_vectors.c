/* Word vectors: lines or records in, rows of floats out.
 *
 * A table of a gigabyte has two million words of which a blob takes some thousands: of all others
 * no number is read, only how many there are.
 */
#include "lib/bundle/word_vectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/rag_layout.h"
#include "formats/ragtext_layout.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/bundle/slots.h"
#include "lib/ruvm_tool.h"
#include "lib/vector/words.h"

enum { MAX_NUMBER = 63, MAX_ENTRY = 4096, LOOK = 4096, REPORT_BYTES = 16 << 20 };
enum { MIN_DIMS = RUVM_RAG_MIN_DIMS, MAX_DIMS = RUVM_RAG_MAX_DIMS };

struct reading {
    struct ruvm_word_vectors *t;
    const struct ruvm_word_vectors_wanted *wanted;
    const char *name;
    size_t line;            /* or the number of the word, in a binary file */
    uint32_t cap;           /* rows */
    uint32_t n_first;       /* words that were among the first */
    struct ruvm_slots seen; /* by a row's hash: entries that have it */
    size_t reported;
    struct ruvm_error *err;
};

void ruvm_word_vectors_free(struct ruvm_word_vectors *t)
{
    free(t->hashes);
    free(t->v);
    *t = (struct ruvm_word_vectors){0};
}

static int fail_memory(const struct reading *r)
{
    return ruvm_fail(r->err, RUVM_ERR_MEMORY, "%s: no memory for its words", r->name);
}

/* ---- rows ------------------------------------------------------------------------------ */

static int make_room(struct reading *r)
{
    struct ruvm_word_vectors *t = r->t;
    if (t->n < r->cap)
        return RUVM_OK;
    r->cap = r->cap ? 2 * r->cap : 1024;
    void *v = realloc(t->v, (size_t)r->cap * t->dims * sizeof *t->v);
    t->v = v ? v : t->v;
    void *hashes = realloc(t->hashes, (size_t)r->cap * sizeof *t->hashes);
    t->hashes = hashes ? hashes : t->hashes;
    return v && hashes ? RUVM_OK : fail_memory(r);
}

/* Whether an entry is one word, all of it, and no longer than words are. */
static bool is_word(const uint8_t *entry, size_t n, uint32_t *hash)
{
    if (n > RUVM_WORDS_MAX)
        return false;
    for (uint32_t at = 0, size; at < n; at += size) {
        size = ruvm_utf8_bytes(entry + at, entry + n);
        if (size == 0)
            return false;
    }
    struct ruvm_words w = ruvm_words_over(entry, n);
    if (!ruvm_words_next(&w) || w.start != 0 || w.at != n)
        return false;
    *hash = ruvm_words_hash(RUVM_WORD_SEED, w.word, w.n_word);
    return true;
}

/* Where the numbers of an entry go; NULL: it is not wanted, or memory ran short. The row counts
 * when all of them are there. */
static float *row_for(struct reading *r, const char *entry, size_t n, int *rc)
{
    struct ruvm_word_vectors *t = r->t;
    uint32_t hash;
    t->n_entries++;
    if (!is_word((const uint8_t *)entry, n, &hash)) {
        t->n_others++;
        return NULL;
    }
    bool is_first = r->n_first < r->wanted->first;
    if (!is_first && !(r->wanted->wants && r->wanted->wants(r->wanted->context, hash)))
        return NULL;
    *rc = make_room(r);
    if (*rc != RUVM_OK)
        return NULL;
    struct ruvm_slot *slot = ruvm_slots_take(&r->seen, hash);
    if (!slot) {
        *rc = fail_memory(r);
        return NULL;
    }
    if (slot->n++ > 0) {
        t->n_twice++;
        return NULL;
    }
    r->n_first += is_first;
    t->hashes[t->n] = hash;
    return t->v + (size_t)t->n * t->dims;
}

static int check_dims(const struct reading *r, uint64_t dims)
{
    if (dims >= MIN_DIMS && dims <= MAX_DIMS)
        return RUVM_OK;
    return ruvm_fail(r->err, RUVM_ERR_UNSUPPORTED,
                     "%s: line 1: vectors of %llu dimensions: a blob's have %d to %d; a table of "
                     "word vectors has a word and its numbers in each line",
                     r->name, (unsigned long long)dims, MIN_DIMS, MAX_DIMS);
}

/* What was read may leave memory. */
static int report(struct reading *r, size_t done, size_t size)
{
    const struct ruvm_progress *p = r->wanted->progress;
    if (done - r->reported < REPORT_BYTES)
        return RUVM_OK;
    if (r->wanted->map)
        ruvm_file_release(r->wanted->map, r->reported, done - 1);
    r->reported = done;
    if (p && p->report && p->report(p->user, "table", done, size))
        return ruvm_fail(r->err, RUVM_ERR_IO, "interrupted");
    return RUVM_OK;
}

/* ---- text ------------------------------------------------------------------------------ */

struct line {
    const char *p, *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next column; n 0: there is none. */
static const char *next_column(struct line *l, size_t *n)
{
    while (l->p < l->end && is_blank(*l->p))
        l->p++;
    const char *start = l->p;
    while (l->p < l->end && !is_blank(*l->p))
        l->p++;
    *n = (size_t)(l->p - start);
    return start;
}

static size_t count_columns(struct line l)
{
    size_t columns = 0, n;
    for (next_column(&l, &n); n; next_column(&l, &n))
        columns++;
    return columns;
}

static bool read_number(const char *text, size_t n, double *value)
{
    char copy[MAX_NUMBER + 1], *end;
    if (n == 0 || n > MAX_NUMBER)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    *value = strtod(copy, &end);
    return end == copy + n;
}

/* A first line of two whole numbers says how many words there are, and their dimensions. */
static bool read_head(struct line l, uint64_t *n_words, uint64_t *dims)
{
    double count, width;
    size_t n[3];
    const char *first = next_column(&l, &n[0]), *second = next_column(&l, &n[1]);
    next_column(&l, &n[2]);
    if (n[2] || !read_number(first, n[0], &count) || !read_number(second, n[1], &width) ||
        !(count >= 0 && count < 0x1p53 && width >= 0 && width < 0x1p31) || count != floor(count) ||
        width != floor(width))
        return false;
    *n_words = (uint64_t)count;
    *dims = (uint64_t)width;
    return true;
}

static int take_numbers(struct reading *r, float *row, struct line numbers)
{
    for (uint32_t d = 0; d < r->t->dims; d++) {
        size_t n;
        double value = (double)NAN;
        const char *text = next_column(&numbers, &n);
        bool ok = read_number(text, n, &value);
        row[d] = (float)value;
        if (!ok || !isfinite((double)row[d]))
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                             "%s: line %zu: %.*s is no finite number: each line has a word and %u "
                             "numbers",
                             r->name, r->line, (int)(n < MAX_NUMBER ? n : MAX_NUMBER), text,
                             r->t->dims);
    }
    r->t->n++;
    return RUVM_OK;
}

/* Entries with blanks in them have more columns; they are phrases, if what follows is no number. */
static bool is_phrase(struct line rest)
{
    size_t n;
    double value;
    const char *second = next_column(&rest, &n);
    return !read_number(second, n, &value);
}

static int take_line(struct reading *r, struct line l)
{
    size_t n_word, columns = count_columns(l);
    int rc = RUVM_OK;
    if (columns == 0)
        return RUVM_OK;
    if (is_blank(*l.p))
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                         "%s: line %zu: begins with a blank: its word is missing", r->name,
                         r->line);
    const char *word = next_column(&l, &n_word);
    if (columns > r->t->dims + 1 && is_phrase(l)) {
        r->t->n_entries++;
        r->t->n_others++;
        return RUVM_OK;
    }
    if (columns != r->t->dims + 1)
        return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                         "%s: line %zu: has %zu numbers, and vectors of %u dimensions are in the "
                         "table: is it whole?",
                         r->name, r->line, columns - 1, r->t->dims);
    float *row = row_for(r, word, n_word, &rc);
    return row ? take_numbers(r, row, l) : rc;
}

static struct line line_at(const char *p, const char *end)
{
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    return (struct line){p, newline ? newline : end};
}

static int read_text(struct reading *r, const char *data, const char *p, const char *end)
{
    int rc = RUVM_OK;
    while (rc == RUVM_OK && p < end) {
        struct line l = line_at(p, end);
        r->line++;
        rc = take_line(r, l);
        p = l.end + 1;
        if (rc == RUVM_OK)
            rc = report(r, (size_t)((p < end ? p : end) - data), (size_t)(end - data));
    }
    return rc;
}

/* ---- binary ---------------------------------------------------------------------------- */

/* Floats have bytes that no text has, if not in the first word then in some after it. */
static bool is_binary(const char *p, const char *end)
{
    const char *stop = end - p > LOOK ? p + LOOK : end;
    for (; p < stop; p++)
        if ((uint8_t)*p < ' ' && *p != '\t' && *p != '\n' && *p != '\r')
            return true;
    return false;
}

static int take_floats(struct reading *r, float *row, const char *p)
{
    for (uint32_t d = 0; d < r->t->dims; d++) {
        uint32_t bits = ruvm_load_u32((const uint8_t *)p + (size_t)d * sizeof bits);
        memcpy(&row[d], &bits, sizeof bits);
        if (!isfinite((double)row[d]))
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                             "%s: word %zu: number %u of its vector is not finite", r->name,
                             r->line, d + 1);
    }
    r->t->n++;
    return RUVM_OK;
}

static int read_binary(struct reading *r, const char *data, const char *p, const char *end)
{
    size_t row_bytes = r->t->dims * sizeof(float);
    int rc = RUVM_OK;
    while (rc == RUVM_OK) {
        while (p < end && *p == '\n')
            p++;
        if (p == end)
            break;
        r->line++;
        size_t left = (size_t)(end - p);
        const char *blank = memchr(p, ' ', left < MAX_ENTRY ? left : MAX_ENTRY);
        if (!blank || (size_t)(end - blank) - 1 < row_bytes)
            return ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                             "%s: word %zu: byte %zu: a word, a blank and %u floats are not there: "
                             "is the file whole?",
                             r->name, r->line, (size_t)(p - data), r->t->dims);
        float *row = row_for(r, p, (size_t)(blank - p), &rc);
        if (row)
            rc = take_floats(r, row, blank + 1);
        p = blank + 1 + row_bytes;
        if (rc == RUVM_OK)
            rc = report(r, (size_t)(p - data), (size_t)(end - data));
    }
    return rc;
}

/* ---- the whole -------------------------------------------------------------------------- */

static int read_any(struct reading *r, const char *data, size_t size)
{
    const char *end = data + size;
    struct line first = line_at(data, end);
    uint64_t n_words = 0, dims = 0;
    bool has_head = read_head(first, &n_words, &dims);
    const char *p = has_head && first.end < end ? first.end + 1 : has_head ? end : data;
    if (!has_head)
        dims = count_columns(first) ? count_columns(first) - 1 : 0;
    int rc = check_dims(r, dims);
    if (rc != RUVM_OK)
        return rc;
    r->t->dims = (uint32_t)dims;
    bool binary = has_head && is_binary(p, end);
    r->line = has_head && !binary ? 1 : 0;
    rc = binary ? read_binary(r, data, p, end) : read_text(r, data, p, end);
    if (rc == RUVM_OK && has_head && r->t->n_entries != n_words)
        rc = ruvm_fail(r->err, RUVM_ERR_CORRUPT,
                       "%s: line 1: says that %llu words follow, but %llu do: is the file whole?",
                       r->name, (unsigned long long)n_words, (unsigned long long)r->t->n_entries);
    return rc;
}

int ruvm_word_vectors_parse(struct ruvm_word_vectors *t, const char *name, const uint8_t *data,
                            size_t size, const struct ruvm_word_vectors_wanted *wanted,
                            struct ruvm_error *err)
{
    struct reading r = {.t = t, .wanted = wanted, .name = name, .err = err};
    *t = (struct ruvm_word_vectors){0};
    int rc =
        size ? read_any(&r, (const char *)data, size)
             : ruvm_fail(err, RUVM_ERR_CORRUPT, "%s: is empty: no word vectors are in it", name);
    if (rc == RUVM_OK && t->n == 0)
        rc = ruvm_fail(err, RUVM_ERR_CORRUPT,
                       "%s: none of its %llu entries is a word that is wanted: are they words?",
                       name, (unsigned long long)t->n_entries);
    ruvm_slots_free(&r.seen);
    if (rc != RUVM_OK)
        ruvm_word_vectors_free(t);
    return rc;
}
