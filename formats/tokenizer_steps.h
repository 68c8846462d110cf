/* What a tokenizer.json says is done to a text around the model: recognised by the types and
 * patterns in it. Private to the readers of Hugging Face's files. */
#ifndef RUVM_FORMATS_TOKENIZER_STEPS_H
#define RUVM_FORMATS_TOKENIZER_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cJSON;

/* Lines for a person; what does not fit is left out. */
struct ruvm_tokenizer_lines {
    char text[800];
    size_t n;
};

struct ruvm_tokenizer_steps {
    bool byte_level, metaspace; /* how bytes and spaces are written in the vocabulary */
    bool space_prefix, add_bos;
    uint16_t options;
    uint8_t pattern;
    const char *bos; /* in the JSON, or NULL */
    struct ruvm_tokenizer_lines problems, notes;
};

void ruvm_tokenizer_steps_read(struct ruvm_tokenizer_steps *s, const struct cJSON *root);

/* The expression that a file cuts words by in this way, as RUVM_PATTERN() says it; NULL: there
 * is none. */
const char *ruvm_tokenizer_regex(uint8_t pattern);

void ruvm_tokenizer_line(struct ruvm_tokenizer_lines *lines, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Members of an object: a text or NULL; a bool, or what it is when absent. */
const char *ruvm_tokenizer_text(const struct cJSON *object, const char *name);
bool ruvm_tokenizer_flag(const struct cJSON *object, const char *name, bool absent);

#endif
