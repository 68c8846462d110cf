/* The outlet: what a reader sees of bytes that come in pieces. */
#include <criterion/criterion.h>
#include <string.h>

#include "lib/run/outlet.h"

/* What was passed on, calls separated by '|'. */
struct seen {
    char text[256];
    size_t n;
    int calls, refuse_call; /* the call to refuse, from 1; 0: none */
};

static int keep(void *user, const char *bytes, size_t n)
{
    struct seen *s = user;
    cr_assert_gt(n, 0, "nothing was passed on");
    cr_assert_lt(s->n + n + 1, sizeof s->text);
    memcpy(s->text + s->n, bytes, n);
    s->n += n;
    s->text[s->n++] = '|';
    s->calls++;
    return s->calls == s->refuse_call;
}

struct flow {
    const char *stops[3], *pieces[8]; /* end with NULL */
    const char *want;
    bool stopped;
};

static const struct flow flows[] = {
    {.pieces = {"a", "bc", "d"}, .want = "a|bc|d|"},
    {.pieces = {"\xC3", "\xA9", "x"}, .want = "\xC3\xA9|x|"},
    {.pieces = {"a\xE2\x82", "\xAC"}, .want = "a|\xE2\x82\xAC|"},
    {.pieces = {"\xF0", "\x9F", "\x98", "\x80!"}, .want = "\xF0\x9F\x98\x80!|"},
    {.pieces = {"a\xE2\x82"}, .want = "a|\xE2\x82|"}, /* never completed: at the end */
    {.pieces = {"\xC3", "a"},
     .want = "\xC3"
             "a|"}, /* broken: as it is */
    {.pieces = {"\x80", "\x80\x80\x80\x80"}, .want = "\x80|\x80\x80\x80\x80|"},
    {.stops = {"end"}, .pieces = {"the e", "nd is"}, .want = "the |", .stopped = true},
    {.stops = {"end"}, .pieces = {"the e", "n", "vy"}, .want = "the |envy|"},
    {.stops = {"end"}, .pieces = {"the e", "n"}, .want = "the |en|"},
    {.stops = {"end"}, .pieces = {"end"}, .want = "", .stopped = true},
    {.stops = {"end"}, .pieces = {"enend", "x"}, .want = "en|", .stopped = true},
    {.stops = {"aab"}, .pieces = {"a", "a", "a", "b"}, .want = "a|", .stopped = true},
    {.stops = {"abc", "b"}, .pieces = {"abc"}, .want = "a|", .stopped = true},
    {.stops = {"abc", "b"}, .pieces = {"a", "b", "c"}, .want = "a|", .stopped = true},
    {.stops = {"b", "ab"}, .pieces = {"xab"}, .want = "x|", .stopped = true},
    {.stops = {"ab", "b"}, .pieces = {"xab"}, .want = "x|", .stopped = true},
    {.stops = {"\xA9"}, .pieces = {"x\xC3\xA9"}, .want = "x\xC3|", .stopped = true},
    {.stops = {"\n\n"}, .pieces = {"a\n", "b\n", "\n", "c"}, .want = "a|\nb|", .stopped = true},
    {.stops = {"!x"}, .pieces = {"\xC3", "\xA9!", "y"}, .want = "\xC3\xA9|!y|"},
};

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

static struct ruvm_generate_options options(const struct flow *f, struct seen *seen)
{
    return (struct ruvm_generate_options){
        .stops = f->stops, .n_stops = count(f->stops), .text = keep, .user = seen};
}

Test(outlet, passes_on_whole_characters_and_no_stop_string)
{
    for (size_t i = 0; i < sizeof flows / sizeof *flows; i++) {
        const struct flow *f = &flows[i];
        struct seen seen = {0};
        struct ruvm_error err = {0};
        struct ruvm_outlet out;
        struct ruvm_generate_options o = options(f, &seen);
        cr_assert_eq(ruvm_outlet_open(&out, &o, 8, &err), RUVM_OK);
        for (size_t p = 0; f->pieces[p] && !out.stopped; p++)
            ruvm_outlet_put(&out, (const uint8_t *)f->pieces[p], strlen(f->pieces[p]));
        ruvm_outlet_end(&out);
        cr_assert_str_eq(seen.text, f->want, "flow %zu: %s, expected %s", i, seen.text, f->want);
        cr_assert_eq(out.stopped, f->stopped, "flow %zu", i);
        ruvm_outlet_close(&out);
    }
}

/* The whole text of flow f, its pieces cut into single bytes or not. */
static void flow_text(char *text, const struct flow *f, bool bytes)
{
    struct seen seen = {0};
    struct ruvm_outlet out;
    struct ruvm_generate_options o = options(f, &seen);
    cr_assert_eq(ruvm_outlet_open(&out, &o, 8, NULL), RUVM_OK);
    for (size_t p = 0; f->pieces[p] && !out.stopped; p++) {
        size_t n = strlen(f->pieces[p]), most = bytes ? 1 : n;
        for (size_t i = 0; i < n && !out.stopped; i += most)
            ruvm_outlet_put(&out, (const uint8_t *)f->pieces[p] + i, most);
    }
    ruvm_outlet_end(&out);
    ruvm_outlet_close(&out);
    for (size_t i = 0; i < seen.n; i++)
        if (seen.text[i] != '|')
            *text++ = seen.text[i];
    *text = '\0';
}

Test(outlet, the_text_does_not_depend_on_the_pieces)
{
    for (size_t i = 0; i < sizeof flows / sizeof *flows; i++) {
        char whole[256], bytes[256];
        flow_text(whole, &flows[i], false);
        flow_text(bytes, &flows[i], true);
        cr_assert_str_eq(whole, bytes, "flow %zu", i);
    }
}

Test(outlet, a_refusal_is_the_last_call)
{
    struct seen seen = {.refuse_call = 2};
    struct ruvm_outlet out;
    struct ruvm_generate_options o = {.text = keep, .user = &seen};
    cr_assert_eq(ruvm_outlet_open(&out, &o, 8, NULL), RUVM_OK);
    for (int i = 0; i < 4; i++) {
        ruvm_outlet_put(&out, (const uint8_t *)"ab", 2);
        cr_assert_eq(out.refused, i >= 1);
    }
    ruvm_outlet_end(&out);
    cr_assert_str_eq(seen.text, "ab|ab|");
    ruvm_outlet_close(&out);
}

Test(outlet, an_empty_stop_string_is_refused)
{
    static const char *const stops[] = {"a", ""};
    struct ruvm_error err = {0};
    struct ruvm_outlet out;
    struct ruvm_generate_options o = {.stops = stops, .n_stops = 2};
    cr_assert_eq(ruvm_outlet_open(&out, &o, 8, &err), RUVM_ERR_ARG);
    cr_assert_str_eq(err.text, "a stop string is empty: it would stop at once");
    ruvm_outlet_close(&out);
}
