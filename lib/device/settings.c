/* A walk over the pairs of a flat object. What is not as `ruvm pack` writes it ends the walk:
 * then the setting is not there. */
#include "lib/device/settings.h"

#include <stdbool.h>

struct walk {
    const char *at, *end;
};

/* Behind the text whose first quote is at w->at; false: it has no end. */
static bool skip_text(struct walk *w)
{
    for (w->at++; w->at < w->end; w->at++) {
        if (*w->at == '"') {
            w->at++;
            return true;
        }
        if (*w->at == '\\')
            w->at++;
    }
    return false;
}

static bool skip_value(struct walk *w)
{
    if (w->at < w->end && *w->at == '"')
        return skip_text(w);
    while (w->at < w->end && *w->at != ',' && *w->at != '}')
        w->at++;
    return w->at < w->end;
}

static bool is_key(const char *from, const char *to, const char *key)
{
    while (from < to && *key && *from == *key) {
        from++;
        key++;
    }
    return from == to && !*key;
}

/* Where the value begins and ends; false: there is no such key. */
static bool find(struct walk w, const char *key, struct walk *value)
{
    while (w.at < w.end && (*w.at == '{' || *w.at == ',')) {
        const char *name = ++w.at + 1;
        if (w.at == w.end || *w.at != '"' || !skip_text(&w))
            return false;
        bool found = is_key(name, w.at - 1, key);
        if (w.at == w.end || *w.at++ != ':')
            return false;
        value->at = w.at;
        if (!skip_value(&w))
            return false;
        value->end = w.at;
        if (found)
            return true;
    }
    return false;
}

const char *ruvm_device_setting(const char *json, size_t n, const char *key,
                                char number[RUVM_DEVICE_NUMBER_CHARS])
{
    struct walk value;
    size_t i = 0;
    if (!json || !find((struct walk){json, json + n}, key, &value))
        return NULL;
    for (; value.at < value.end && i + 1 < RUVM_DEVICE_NUMBER_CHARS; i++)
        number[i] = *value.at++;
    number[i] = 0;
    return value.at == value.end ? number : NULL;
}

static int32_t hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The character behind a backslash: itself, or control ones as \u00XX. */
static int32_t escaped(struct walk *w)
{
    if (w->at == w->end)
        return -1;
    if (*w->at != 'u')
        return (uint8_t)*w->at++;
    if (w->end - w->at < 5)
        return -1;
    int32_t high = hex(w->at[3]), low = hex(w->at[4]);
    w->at += 5;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

int32_t ruvm_device_setting_text(const char *json, size_t n, const char *key, char *text,
                                 size_t cap)
{
    struct walk w;
    size_t i = 0;
    if (!json || !find((struct walk){json, json + n}, key, &w) || *w.at++ != '"')
        return -1;
    w.end--;
    while (w.at < w.end) {
        int32_t byte = (uint8_t)*w.at++;
        if (byte == '\\')
            byte = escaped(&w);
        if (byte < 0 || i == cap)
            return -1;
        text[i++] = (char)byte;
    }
    return (int32_t)i;
}
