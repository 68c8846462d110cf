/* Reads what an image may lack: the golden vectors, the description (the tokenizer has a
 * file of its own, tokn_read.c).
 *
 * A section that is there is checked as strictly as the network: verification reads it in
 * place and checks nothing again.
 */
#include "formats/optional_read.h"

#include "lib/base/bytes.h"

bool ruvm_optional_gold(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_SECTION_GOLD].data;
    uint32_t size = c->part[RUVM_SECTION_GOLD].size;
    c->section = ruvm_check_names[RUVM_SECTION_GOLD];
    if (!s)
        return true;
    if (!ruvm_check_at_least(c, s, "size of the section", RUVM_GOLD_IDS, size))
        return false;
    uint32_t prompt = ruvm_load_u16(s + RUVM_GOLD_N_PROMPT);
    uint32_t tokens = ruvm_load_u16(s + RUVM_GOLD_N_TOKENS);
    if (!ruvm_check_at_least(c, s + RUVM_GOLD_N_PROMPT, "tokens of the prompt", 1, prompt) ||
        !ruvm_check_at_least(c, s + RUVM_GOLD_N_TOKENS, "golden tokens", 1, tokens) ||
        !ruvm_check_at_most(c, s, "prompt and golden tokens", c->img->context + 1u,
                            prompt + tokens) ||
        !ruvm_check_enter(c, RUVM_SECTION_GOLD, RUVM_GOLD_IDS + 2 * ((uint64_t)prompt + tokens)))
        return false;
    for (const uint8_t *id = s + RUVM_GOLD_IDS; id < s + size; id += 2)
        if (!ruvm_check_at_most(c, id, "golden token", c->img->vocab - 1u, ruvm_load_u16(id)))
            return false;
    c->img->gold = s;
    c->img->gold_bytes = size;
    return true;
}

/* Checks the line at p and moves *next past it. *key_end: where its '=' stands. */
static bool check_line(struct ruvm_check *c, const uint8_t *p, const uint8_t *end,
                       const uint8_t **key_end, const uint8_t **next)
{
    *key_end = NULL;
    const uint8_t *at = p;
    while (at < end && *at != '\n') {
        uint32_t n = ruvm_check_utf8(c, at, end);
        if (n == 0 ||
            !ruvm_check_holds(c, at, "text has a control character", *at >= ' ' && *at != 0x7F))
            return false;
        if (*at == '=' && !*key_end)
            *key_end = at;
        at += n;
    }
    *next = at + 1;
    return ruvm_check_holds(c, p, "last line has no end", at < end) &&
           ruvm_check_holds(c, p, "line is not key=value", *key_end && *key_end > p);
}

/* Whether the bytes [a, a_end) come strictly before [b, b_end). */
static bool is_key_before(const uint8_t *a, const uint8_t *a_end, const uint8_t *b,
                          const uint8_t *b_end)
{
    while (a < a_end && b < b_end && *a == *b) {
        a++;
        b++;
    }
    return b < b_end && (a == a_end || *a < *b);
}

bool ruvm_optional_meta(struct ruvm_check *c)
{
    const uint8_t *s = c->part[RUVM_SECTION_META].data;
    uint32_t size = c->part[RUVM_SECTION_META].size;
    const uint8_t *before = s, *before_end = s;
    c->section = ruvm_check_names[RUVM_SECTION_META];
    if (!s)
        return true;
    for (const uint8_t *p = s, *key_end, *next; p < s + size; p = next) {
        if (!check_line(c, p, s + size, &key_end, &next) ||
            !ruvm_check_holds(c, p, "keys are not in order",
                              is_key_before(before, before_end, p, key_end)))
            return false;
        before = p;
        before_end = key_end;
    }
    c->img->meta = s;
    c->img->meta_bytes = size;
    return true;
}
