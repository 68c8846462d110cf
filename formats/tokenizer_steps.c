/* The pipeline of a tokenizer.json: normalizer, pre-tokenizer, post-processor, decoder.
 *
 * The file is a program in a small language. The few programs that language models use are
 * recognised by their parts; every part that is not known is told, all at once, since a
 * tokenizer that is almost right makes a model that is almost right.
 */
#include "formats/tokenizer_steps.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "formats/ruvm_layout.h"

#define META "\xE2\x96\x81" /* U+2581, which stands for a space */

void ruvm_tokenizer_line(struct ruvm_tokenizer_lines *l, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (strstr(l->text, line))
        return;
    size_t room = sizeof l->text - l->n;
    int n = snprintf(l->text + l->n, room, "%s%s", l->n ? "\n" : "", line);
    if (n > 0 && (size_t)n < room)
        l->n += (size_t)n;
    else
        l->text[l->n] = '\0';
}

const char *ruvm_tokenizer_text(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

bool ruvm_tokenizer_flag(const cJSON *object, const char *name, bool absent)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : absent;
}

static bool same(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* ---- one part after the other ---------------------------------------------------- */

struct part {
    const char *type;
    void (*read)(struct ruvm_tokenizer_steps *s, const cJSON *part);
};

static void read_part(struct ruvm_tokenizer_steps *s, const struct part *parts, const char *what,
                      const cJSON *part)
{
    const char *type = ruvm_tokenizer_text(part, "type");
    for (; parts->type; parts++)
        if (same(type, parts->type)) {
            if (parts->read)
                parts->read(s, part);
            return;
        }
    ruvm_tokenizer_line(&s->problems, "%s of type %.60s", what, type ? type : "unknown");
}

/* A part, or the parts of a Sequence; one Sequence in another is unknown in practice. */
static void read_parts(struct ruvm_tokenizer_steps *s, const struct part *parts, const char *what,
                       const cJSON *root, const char *list)
{
    const cJSON *first = cJSON_GetObjectItemCaseSensitive(root, what), *part;
    if (!first || cJSON_IsNull(first))
        return;
    if (!same(ruvm_tokenizer_text(first, "type"), "Sequence")) {
        read_part(s, parts, what, first);
        return;
    }
    cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(first, list))
        read_part(s, parts, what, part);
}

/* ---- normalizer ---------------------------------------------------------------------- */

static void read_form(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    ruvm_tokenizer_line(&s->notes, "%s normalisation is not done: a text should have that form",
                        ruvm_tokenizer_text(part, "type"));
}

static void read_charsmap(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    (void)part;
    ruvm_tokenizer_line(&s->notes,
                        "SentencePiece's table of characters (NFKC) is not applied: a text "
                        "should have that form");
    s->options |= RUVM_TOKN_LINE_SPACES;
}

static void read_prepend(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    const char *text = ruvm_tokenizer_text(part, "prepend");
    s->space_prefix = same(text, META) || same(text, " ");
    if (!s->space_prefix)
        ruvm_tokenizer_line(&s->problems, "normalizer Prepend of \"%.40s\"", text ? text : "");
}

static void read_replace(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    const cJSON *pattern = cJSON_GetObjectItemCaseSensitive(part, "pattern");
    const char *string = ruvm_tokenizer_text(pattern, "String");
    const char *regex = ruvm_tokenizer_text(pattern, "Regex");
    const char *content = ruvm_tokenizer_text(part, "content");
    bool to_space = same(content, META) || same(content, " ");
    if (same(string, " ") && same(content, META))
        s->metaspace = true;
    else if (same(regex, " {2,}") && to_space)
        s->options |= RUVM_TOKN_FEW_SPACES;
    else
        ruvm_tokenizer_line(&s->problems, "normalizer Replace of \"%.60s\"",
                            string  ? string
                            : regex ? regex
                                    : "");
}

static void read_strip(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    if (ruvm_tokenizer_flag(part, "strip_left", false) ||
        ruvm_tokenizer_flag(part, "strip_right", false))
        s->options |= RUVM_TOKN_FEW_SPACES;
}

static const struct part normalizers[] = {
    {"NFC", read_form},        {"NFKC", read_form},
    {"Nmt", read_form},        {"Precompiled", read_charsmap},
    {"Prepend", read_prepend}, {"Replace", read_replace},
    {"Strip", read_strip},     {0},
};

/* ---- pre-tokenizer --------------------------------------------------------------------- */

#define CONTRACTIONS "'s|'t|'re|'ve|'m|'ll|'d"
#define GPT2_REST "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_START "(?i:" CONTRACTIONS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA3_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *regex;
    uint8_t pattern;
} patterns[] = {
    {CONTRACTIONS GPT2_REST, RUVM_PATTERN(RUVM_PATTERN_GPT2, 0)},
    {"'(?:[sdmt]|ll|ve|re)" GPT2_REST, RUVM_PATTERN(RUVM_PATTERN_GPT2, 0)},
    {LLAMA3_START "\\p{N}{1,3}" LLAMA3_REST, RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 3)},
    {LLAMA3_START "\\p{N}{1,2}" LLAMA3_REST, RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 2)},
    {LLAMA3_START "\\p{N}" LLAMA3_REST, RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 1)},
    {LLAMA3_START "\\p{N}+" LLAMA3_REST, RUVM_PATTERN(RUVM_PATTERN_LLAMA3, 0)},
};

const char *ruvm_tokenizer_regex(uint8_t pattern)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (patterns[i].pattern == pattern)
            return patterns[i].regex;
    return NULL;
}

static void set_family(struct ruvm_tokenizer_steps *s, uint8_t pattern)
{
    if (s->pattern & RUVM_PATTERN_FAMILY)
        ruvm_tokenizer_line(&s->problems, "two pre_tokenizers that cut words");
    if ((s->pattern & RUVM_PATTERN_SPLIT_DIGITS) && pattern >> RUVM_PATTERN_DIGITS_SHIFT)
        ruvm_tokenizer_line(&s->problems, "two pre_tokenizers that cut digits");
    s->pattern |= pattern;
}

static void read_split(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    const cJSON *pattern = cJSON_GetObjectItemCaseSensitive(part, "pattern");
    const char *regex = ruvm_tokenizer_text(pattern, "Regex");
    bool plain = same(ruvm_tokenizer_text(part, "behavior"), "Isolated") &&
                 !ruvm_tokenizer_flag(part, "invert", false);
    for (size_t i = 0; plain && i < sizeof patterns / sizeof *patterns; i++)
        if (same(regex, patterns[i].regex)) {
            set_family(s, patterns[i].pattern);
            return;
        }
    ruvm_tokenizer_line(&s->problems, "pre_tokenizer Split by %.160s",
                        regex ? regex : "a text that is no Regex");
}

static void read_byte_level(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    s->byte_level = true;
    if (ruvm_tokenizer_flag(part, "add_prefix_space", true))
        ruvm_tokenizer_line(&s->problems, "pre_tokenizer ByteLevel with add_prefix_space");
    if (ruvm_tokenizer_flag(part, "use_regex", true))
        set_family(s, RUVM_PATTERN_GPT2);
}

static void read_digits(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    bool each = ruvm_tokenizer_flag(part, "individual_digits", false);
    if (s->pattern)
        ruvm_tokenizer_line(&s->problems, "pre_tokenizer Digits behind another one");
    s->pattern |= RUVM_PATTERN_SPLIT_DIGITS | (each ? RUVM_PATTERN(0, 1) : 0);
}

/* Where the space is put: older files say whether, newer ones where. */
static void read_metaspace(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    const char *replacement = ruvm_tokenizer_text(part, "replacement");
    const char *scheme = ruvm_tokenizer_text(part, "prepend_scheme");
    bool prefix = ruvm_tokenizer_flag(part, "add_prefix_space", true);
    if (replacement && !same(replacement, META))
        ruvm_tokenizer_line(&s->problems, "pre_tokenizer Metaspace with \"%.40s\"", replacement);
    if (scheme)
        prefix = !same(scheme, "never");
    s->metaspace = true;
    s->space_prefix = s->space_prefix || prefix;
    if (prefix)
        s->options |= RUVM_TOKN_SPARE_PREFIX;
    if (same(scheme, "first"))
        s->options |= RUVM_TOKN_FIRST_PREFIX;
    if (ruvm_tokenizer_flag(part, "split", true))
        set_family(s, RUVM_PATTERN_SPACES);
}

static const struct part pre_tokenizers[] = {
    {"Split", read_split},
    {"ByteLevel", read_byte_level},
    {"Digits", read_digits},
    {"Metaspace", read_metaspace},
    {0},
};

/* ---- post-processor and decoder ----------------------------------------------------------- */

static void read_template(struct ruvm_tokenizer_steps *s, const cJSON *part)
{
    const cJSON *item;
    bool behind = false;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(part, "single"))
    {
        const cJSON *token = cJSON_GetObjectItemCaseSensitive(item, "SpecialToken");
        const char *id = ruvm_tokenizer_text(token, "id");
        if (!token) {
            behind = true;
        } else if (!behind && !s->bos && id) {
            s->bos = id;
            s->add_bos = true;
        } else {
            ruvm_tokenizer_line(&s->notes, "\"%.60s\" is not put %s a text", id ? id : "",
                                behind ? "behind" : "also before");
        }
    }
}

static const struct part post_processors[] = {
    {"TemplateProcessing", read_template}, {"ByteLevel", NULL}, {0}};

/* What is known of them follows from the rest of the file. */
static const struct part decoders[] = {
    {"ByteLevel", NULL},
    {"Metaspace", NULL},
    {"Replace", NULL},
    {"Fuse", NULL},
    {"ByteFallback", NULL},
    {"Strip", NULL},
    {0},
};

void ruvm_tokenizer_steps_read(struct ruvm_tokenizer_steps *s, const cJSON *root)
{
    *s = (struct ruvm_tokenizer_steps){0};
    read_parts(s, normalizers, "normalizer", root, "normalizers");
    read_parts(s, pre_tokenizers, "pre_tokenizer", root, "pretokenizers");
    read_parts(s, post_processors, "post_processor", root, "processors");
    read_parts(s, decoders, "decoder", root, "decoders");
    if (s->byte_level && (s->metaspace || s->space_prefix))
        ruvm_tokenizer_line(&s->problems, "ByteLevel together with Metaspace");
    if (!s->byte_level && (s->pattern & ~RUVM_PATTERN_SPACES))
        ruvm_tokenizer_line(&s->problems, "a Split or Digits without ByteLevel");
    if (s->byte_level && (s->options & RUVM_TOKN_FEW_SPACES))
        ruvm_tokenizer_line(&s->problems, "a normalizer of spaces with ByteLevel");
    if (s->metaspace)
        s->options |= RUVM_TOKN_METASPACE;
    if (s->byte_level)
        s->options |= RUVM_TOKN_BYTE_LEVEL;
}
