/* Scripted scenarios: each file of tests/memory/scenarios is a short life of one memory, and
 * says what it must remember. A file is lines of words:
 *
 *     capacity N              an empty memory of N entries; comes first
 *     at SECONDS              what time it is
 *     tell TYPE WORD... : TEXT    remembers; WORD is importance=N, ttl=SECONDS,
 *                             half_life=SECONDS or a tag KEY=VALUE
 *     refused                 the one told last found no room
 *     use TEXT                the entry of that text was of use now
 *     forget TEXT
 *     ask WORD... : TEXT      WORD is type=TYPE or a tag of the context
 *     -> TEXT                 what the question must find first, clearly
 *     -> ambiguous TEXT | TEXT    both are nearly as good, in this order
 *     -> nothing
 *     holds N                 entries that have not expired
 *
 * Texts become vectors by a recipe whose weights are learned from what the file tells.
 * # begins a comment.
 */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bundle/embed.h"
#include "lib/memory/memory.h"

enum { DIMS = 1024, TEXT_BYTES = 96, MAX_LINE = 512, MAX_TOLD = 64, K = 3 };
#define FOLDER "tests/memory/scenarios"

struct scenario {
    const char *file;
    struct ruvm_buffer weights; /* of the recipe */
    struct ruvm_recipe recipe;
    unsigned line;
    void *memory;
    struct ruvm_memory m;
    uint32_t now;
    int told; /* status of the last tell */
    struct ruvm_memory_hit hits[K];
    uint32_t n_hits, n_checks;
};

static void embed(const struct scenario *s, int8_t *row, const char *text)
{
    int32_t x[DIMS];
    ruvm_recipe_embed(&s->recipe, x, DIMS, text, strlen(text));
    ruvm_vectors_quantize(row, x, DIMS, DIMS);
}

static void fail(const struct scenario *s, const char *what, const char *word)
{
    cr_assert_fail("%s: line %u: %s %s", s->file, s->line, what, word);
}

static void begin(struct scenario *s, const char *number)
{
    const struct ruvm_memory_shape shape = {(uint32_t)atoi(number), DIMS, TEXT_BYTES};
    size_t bytes = ruvm_memory_bytes(&shape);
    free(s->memory);
    s->memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (bytes == 0 || ruvm_memory_init(&s->m, &shape, s->memory, bytes) != RUVM_OK)
        fail(s, "no memory of", number);
}

static uint8_t type_of(const struct scenario *s, const char *name)
{
    for (uint8_t i = 0; i < RUVM_MEMORY_N_TYPES; i++)
        if (strcmp(name, ruvm_memory_type_names[i]) == 0)
            return i;
    fail(s, "no type", name);
    return 0;
}

static bool is_key(const char *word, const char *key)
{
    return strncmp(word, key, strlen(key)) == 0 && word[strlen(key)] == '=';
}

static void add_tag(const struct scenario *s, struct ruvm_tag *tags, uint8_t *n, uint8_t max,
                    const char *word)
{
    const char *equals = strchr(word, '=');
    if (!equals || !ruvm_traits_tag(tags, n, max, word, (size_t)(equals - word), equals + 1,
                                    strlen(equals + 1)))
        fail(s, "no tag:", word);
}

/* The text behind " : ", which is cut off the words. */
static char *text_behind(const struct scenario *s, char *words)
{
    char *colon = strstr(words, ": ");
    if (!colon)
        fail(s, "no text:", words);
    *colon = '\0';
    return colon + 2;
}

static void tell(struct scenario *s, char *words)
{
    _Alignas(16) int8_t row[DIMS];
    char *text = text_behind(s, words), *save;
    char *word = strtok_r(words, " ", &save);
    struct ruvm_memory_item item = {.traits = ruvm_traits_plain(), .text = text, .row = row};
    struct ruvm_traits *t = &item.traits;
    uint32_t id;
    t->type = type_of(s, word ? word : "");
    while ((word = strtok_r(NULL, " ", &save)) != NULL) {
        uint32_t number = (uint32_t)strtoul(word + strcspn(word, "0123456789"), NULL, 10);
        if (is_key(word, "importance"))
            t->importance = (uint8_t)number;
        else if (is_key(word, "ttl"))
            t->expires = s->now + number;
        else if (is_key(word, "half_life"))
            t->half_life = number;
        else
            add_tag(s, t->tags, &t->n_tags, RUVM_TRAITS_MAX_TAGS, word);
    }
    item.n_text = strlen(text);
    embed(s, row, text);
    s->told = ruvm_memory_remember(&s->m, &item, s->now, &id);
}

static void ask(struct scenario *s, char *words)
{
    _Alignas(16) int8_t row[DIMS];
    char *text = text_behind(s, words), *save;
    struct ruvm_context c = {.now = s->now};
    for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        if (is_key(word, "type"))
            c.types = (uint8_t)(c.types | 1u << type_of(s, word + 5));
        else
            add_tag(s, c.tags, &c.n_tags, RUVM_CONTEXT_MAX_TAGS, word);
    }
    embed(s, row, text);
    s->n_hits = ruvm_memory_recall(&s->m, row, &c, K, s->hits);
}

static uint32_t id_of(const struct scenario *s, const char *text)
{
    for (uint32_t i = 0; i < s->m.shape.capacity; i++) {
        const struct ruvm_memory_entry *e = &s->m.entries[i];
        const char *own = s->m.texts + (size_t)i * TEXT_BYTES;
        if (e->id && e->n_text == strlen(text) && memcmp(own, text, e->n_text) == 0)
            return e->id;
    }
    fail(s, "is not remembered:", text);
    return 0;
}

/* Hit i as text. */
static const char *hit_text(const struct scenario *s, uint32_t i)
{
    static char texts[K][TEXT_BYTES + 1];
    if (i >= s->n_hits)
        return "(nothing)";
    memcpy(texts[i], s->hits[i].text, s->hits[i].entry->n_text);
    texts[i][s->hits[i].entry->n_text] = '\0';
    return texts[i];
}

static void expect(struct scenario *s, char *words)
{
    static const char *const names[] = {"nothing", "clear", "ambiguous"};
    enum ruvm_memory_choice choice = ruvm_memory_choose(s->hits, s->n_hits), want;
    char *second = strstr(words, " | ");
    want = strcmp(words, "nothing") == 0 ? RUVM_MEMORY_NOTHING
           : second                      ? RUVM_MEMORY_AMBIGUOUS
                                         : RUVM_MEMORY_CLEAR;
    if (second) {
        *second = '\0';
        second += 3;
        words += strlen("ambiguous ");
    }
    s->n_checks++;
    bool right =
        choice == want && (choice == RUVM_MEMORY_NOTHING || strcmp(words, hit_text(s, 0)) == 0);
    right = right && (!second || strcmp(second, hit_text(s, 1)) == 0);
    if (!right)
        cr_assert_fail("%s: line %u: found %s: %s (%u), then %s (%u)", s->file, s->line,
                       names[choice], hit_text(s, 0), s->n_hits ? s->hits[0].score_q16 : 0,
                       hit_text(s, 1), s->n_hits > 1 ? s->hits[1].score_q16 : 0);
}

static void check_number(struct scenario *s, uint32_t found, const char *want)
{
    s->n_checks++;
    if (found != (uint32_t)atoi(want))
        cr_assert_fail("%s: line %u: %u instead of %s", s->file, s->line, found, want);
}

static void run_line(struct scenario *s, char *line)
{
    char *rest = line + strcspn(line, " ");
    if (*rest)
        *rest++ = '\0';
    if (strcmp(line, "capacity") == 0) {
        begin(s, rest);
    } else if (strcmp(line, "at") == 0) {
        s->now = (uint32_t)strtoul(rest, NULL, 10);
    } else if (strcmp(line, "tell") == 0) {
        tell(s, rest);
        if (s->told != RUVM_OK && s->told != RUVM_ERR_FULL)
            fail(s, "cannot be told:", rest);
    } else if (strcmp(line, "refused") == 0) {
        check_number(s, s->told == RUVM_ERR_FULL, "1");
    } else if (strcmp(line, "use") == 0) {
        ruvm_memory_renew(&s->m, id_of(s, rest), s->now);
    } else if (strcmp(line, "forget") == 0) {
        ruvm_memory_forget(&s->m, id_of(s, rest));
    } else if (strcmp(line, "ask") == 0) {
        ask(s, rest);
    } else if (strcmp(line, "->") == 0) {
        expect(s, rest);
    } else if (strcmp(line, "holds") == 0) {
        ruvm_memory_sweep(&s->m, s->now);
        check_number(s, s->m.n, rest);
    } else {
        fail(s, "unknown:", line);
    }
}

/* The texts of all lines that tell. */
struct told {
    char texts[MAX_TOLD][MAX_LINE];
    uint32_t n;
};

static struct ruvm_embed_text told_text(const void *context, uint32_t i)
{
    const struct told *t = context;
    return (struct ruvm_embed_text){t->texts[i], (uint32_t)strlen(t->texts[i])};
}

static void learn(struct scenario *s, FILE *f)
{
    static struct told told;
    char line[MAX_LINE];
    told.n = 0;
    while (told.n < MAX_TOLD && fgets(line, sizeof line, f)) {
        const char *colon = strstr(line, ": ");
        if (strncmp(line, "tell ", 5) == 0 && colon)
            strcpy(told.texts[told.n++], colon + 2);
    }
    rewind(f);
    const struct ruvm_embed_options o = {{.kind = RUVM_RECIPE_HASHED, .gram = 4, .gram_weight = 32},
                                         1 << 12};
    const struct ruvm_embed_texts texts = {told_text, &told, told.n};
    cr_assert_eq(ruvm_embed_learn(&s->weights, &o, &texts, NULL), RUVM_OK);
    cr_assert_eq(ruvm_recipe_open(&s->recipe, s->weights.data, (uint32_t)s->weights.size), RUVM_OK);
}

static void run_file(const char *name)
{
    char path[300], line[MAX_LINE];
    snprintf(path, sizeof path, "%s/%s", FOLDER, name);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s cannot be read", path);
    struct scenario s = {.file = name};
    learn(&s, f);
    while (fgets(line, sizeof line, f)) {
        s.line++;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] && line[0] != '#')
            run_line(&s, line);
    }
    fclose(f);
    free(s.memory);
    ruvm_buffer_free(&s.weights);
    cr_assert_gt(s.n_checks, 0, "%s expects nothing", name);
}

Test(memory, scenarios)
{
    DIR *folder = opendir(FOLDER);
    unsigned n = 0;
    cr_assert_not_null(folder, "no %s: run the tests in the root of the tree", FOLDER);
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        size_t size = strlen(e->d_name);
        if (size > 4 && strcmp(e->d_name + size - 4, ".txt") == 0) {
            run_file(e->d_name);
            n++;
        }
    }
    closedir(folder);
    cr_assert_geq(n, 5, "only %u scenarios", n);
}
