/* Console: lines in, text and lines out, over the port's bytes.
 *
 * Text of users goes through escapes in both directions, so that a line stays a line
 * whatever a model writes: \n \r \t \\ and \xHH, all else is itself. Users may also say \".
 */
#ifndef RUVM_DEVICE_CONSOLE_H
#define RUVM_DEVICE_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void ruvm_console_text(const char *s);
void ruvm_console_number(uint32_t x);
void ruvm_console_hex(uint32_t x); /* eight digits */
/* " name=x" */
void ruvm_console_field(const char *name, uint32_t x);
/* Bytes as text with escapes. */
void ruvm_console_escaped(const uint8_t *bytes, size_t n);

/* One line into room for cap bytes, NUL-terminated, without its end. Waits for it;
 * false: it was too long, and is gone. */
bool ruvm_console_line(char *line, size_t cap);
/* Takes escapes back in place; returns the bytes, or -1 for an escape that is none. */
int32_t ruvm_console_unescape(char *s);

/* The same of the text between a quote and the end of the line, whose last quote may be left
 * out; without quotes, of all of it. */
int32_t ruvm_console_quoted(char *text);

/* The next word of a line, NUL-terminated in place; *rest goes on behind it. */
char *ruvm_console_word(char **rest);
bool ruvm_console_same(const char *a, const char *b);
/* Behind "name=" of an option; NULL when it is another one. */
const char *ruvm_console_value(const char *option, const char *name);
/* A whole number, or one with a fraction in Q16; false: it is none, or too large. */
bool ruvm_console_parse(const char *s, uint32_t *x);
bool ruvm_console_parse_q16(const char *s, uint32_t *x);

#endif
