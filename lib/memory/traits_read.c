/* Traits in metadata: a flat look at a JSON object, in place, on a chip.
 *
 * Only the members of the object itself are looked at; values that are objects or lists are
 * stepped over. Text is taken as it is written but for the backslash of an escape, which is
 * enough to compare it with itself.
 */
#include "lib/base/status.h"
#include "lib/memory/traits.h"

enum { MAX_WORD = 64, MAX_DEPTH = 32 };

struct reader {
    const char *p, *end;
    bool bad;
};

struct word {
    char text[MAX_WORD]; /* of longer ones the beginning */
    size_t n;
    bool is_text; /* it stood in quotes */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next character that is no blank, not taken; 0 at the end. */
static char peek(struct reader *r)
{
    while (r->p < r->end && is_blank(*r->p))
        r->p++;
    return r->p < r->end ? *r->p : '\0';
}

static bool take(struct reader *r, char c)
{
    if (peek(r) != c || r->p == r->end)
        return false;
    r->p++;
    return true;
}

static void add(struct word *w, char c)
{
    if (w->n < MAX_WORD)
        w->text[w->n++] = c;
}

static void read_text(struct reader *r, struct word *w)
{
    *w = (struct word){.is_text = true};
    r->bad = r->bad || !take(r, '"');
    while (!r->bad && r->p < r->end && *r->p != '"') {
        r->p += *r->p == '\\' && r->end - r->p > 1;
        add(w, *r->p++);
    }
    r->bad = r->bad || r->p == r->end;
    r->p += !r->bad;
}

/* Over an object or a list, to behind its end. */
static void skip_nested(struct reader *r)
{
    struct word ignored;
    unsigned depth = 0;
    do {
        char c = peek(r);
        if (c == '"') {
            read_text(r, &ignored);
            continue;
        }
        if (r->p == r->end || depth == MAX_DEPTH) {
            r->bad = true;
            return;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        r->p++;
    } while (depth && !r->bad);
}

static void read_value(struct reader *r, struct word *w)
{
    char c = peek(r);
    *w = (struct word){0};
    if (c == '"') {
        read_text(r, w);
    } else if (c == '{' || c == '[') {
        skip_nested(r);
    } else {
        for (; r->p < r->end && *r->p != ',' && *r->p != '}' && !is_blank(*r->p); r->p++)
            add(w, *r->p);
        r->bad = r->bad || w->n == 0;
    }
}

/* ---- meaning ------------------------------------------------------------------------ */

static bool equals(const struct word *w, const char *s)
{
    size_t i = 0;
    while (i < w->n && s[i] && w->text[i] == s[i])
        i++;
    return i == w->n && s[i] == '\0';
}

/* A whole number up to max. */
static bool number_of(const struct word *w, uint32_t max, uint32_t *value)
{
    uint64_t x = 0;
    for (size_t i = 0; i < w->n; i++) {
        if (w->text[i] < '0' || w->text[i] > '9' || x > max)
            return false;
        x = 10 * x + (uint64_t)(w->text[i] - '0');
    }
    if (w->n == 0 || x > max)
        return false;
    *value = (uint32_t)x;
    return true;
}

static bool read_type(struct ruvm_traits *t, const struct word *value)
{
    for (uint8_t i = 0; i < RUVM_MEMORY_N_TYPES; i++)
        if (equals(value, ruvm_memory_type_names[i])) {
            t->type = i;
            return true;
        }
    return false;
}

static bool read_importance(struct ruvm_traits *t, const struct word *value)
{
    uint32_t importance;
    bool ok = number_of(value, 100, &importance);
    if (ok)
        t->importance = (uint8_t)importance;
    return ok;
}

static void apply(struct ruvm_traits *t, const struct word *key, const struct word *value)
{
    bool done = (equals(key, "memory") && read_type(t, value)) ||
                (equals(key, "importance") && read_importance(t, value)) ||
                (equals(key, "time") && number_of(value, UINT32_MAX, &t->time)) ||
                (equals(key, "half_life") && number_of(value, UINT32_MAX, &t->half_life));
    if (!done && value->is_text)
        ruvm_traits_tag(t->tags, &t->n_tags, RUVM_TRAITS_MAX_TAGS, key->text, key->n, value->text,
                        value->n);
}

int ruvm_traits_read(struct ruvm_traits *t, const char *json, size_t n)
{
    struct reader r = {json, json + n, false};
    struct ruvm_traits out = *t;
    struct word key, value;
    bool ok = take(&r, '{'), more = ok && peek(&r) != '}';
    while (ok && more) {
        read_text(&r, &key);
        r.bad = r.bad || !take(&r, ':');
        if (!r.bad)
            read_value(&r, &value);
        ok = !r.bad;
        if (ok)
            apply(&out, &key, &value);
        more = ok && take(&r, ',');
    }
    if (!ok || !take(&r, '}') || peek(&r) != '\0' || r.p != r.end)
        return RUVM_ERR_CORRUPT;
    *t = out;
    return RUVM_OK;
}
