/* The console's bytes as lines, words and numbers. */
#include "lib/device/console.h"

#include "lib/device/port.h"

static const char digits[] = "0123456789abcdef";

void ruvm_console_text(const char *s)
{
    while (*s)
        ruvm_port_put((uint8_t)*s++);
}

void ruvm_console_number(uint32_t x)
{
    char text[11];
    size_t i = sizeof text - 1;
    text[i] = 0;
    do {
        text[--i] = digits[x % 10];
        x /= 10;
    } while (x);
    ruvm_console_text(text + i);
}

void ruvm_console_hex(uint32_t x)
{
    for (int shift = 28; shift >= 0; shift -= 4)
        ruvm_port_put((uint8_t)digits[(x >> shift) & 15]);
}

void ruvm_console_field(const char *name, uint32_t x)
{
    ruvm_port_put(' ');
    ruvm_console_text(name);
    ruvm_port_put('=');
    ruvm_console_number(x);
}

/* ---- escapes --------------------------------------------------------------- */

/* Letters and the bytes they stand for. */
static const char escapes[] = "n\nr\rt\t\\\\";

static void put_escaped(uint8_t byte)
{
    for (const char *e = escapes; *e; e += 2)
        if ((uint8_t)e[1] == byte) {
            ruvm_port_put('\\');
            ruvm_port_put((uint8_t)e[0]);
            return;
        }
    if (byte >= ' ' && byte != 0x7f) {
        ruvm_port_put(byte);
        return;
    }
    ruvm_console_text("\\x");
    ruvm_port_put((uint8_t)digits[byte >> 4]);
    ruvm_port_put((uint8_t)digits[byte & 15]);
}

void ruvm_console_escaped(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_escaped(bytes[i]);
}

static int32_t digit(char c)
{
    for (int32_t i = 0; i < 16; i++)
        if (digits[i] == (c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c))
            return i;
    return -1;
}

/* The byte that stands behind a backslash; *s goes on behind it. -1: none. */
static int32_t escape(const char **s)
{
    char letter = *(*s)++;
    for (const char *e = escapes; *e; e += 2)
        if (e[0] == letter)
            return e[1];
    if (letter != 'x')
        return letter == '"' ? letter : -1;
    int32_t high = digit(**s);
    int32_t low = high < 0 ? -1 : digit((*s)[1]);
    *s += 2;
    return low < 0 ? -1 : high * 16 + low;
}

int32_t ruvm_console_unescape(char *text)
{
    const char *s = text;
    int32_t n = 0;
    while (*s) {
        int32_t byte = (uint8_t)*s++;
        if (byte == '\\')
            byte = escape(&s);
        if (byte < 0)
            return -1;
        text[n++] = (char)byte;
    }
    return n;
}

int32_t ruvm_console_quoted(char *text)
{
    if (*text == '"')
        for (char *c = text; (*c = c[1]) != 0; c++)
            continue;
    char *end = text;
    while (*end)
        end++;
    bool escaped = false;
    for (char *c = end - 1; c > text && c[-1] == '\\'; c--)
        escaped = !escaped;
    if (end > text && end[-1] == '"' && !escaped)
        end[-1] = 0;
    return ruvm_console_unescape(text);
}

/* ---- lines and words ------------------------------------------------------- */

static int wait_for_byte(void)
{
    int byte;
    do
        byte = ruvm_port_get();
    while (byte < 0);
    return byte;
}

/* A terminal may end lines with either or both; empty lines are none. */
static bool is_end(int byte)
{
    return byte == '\n' || byte == '\r';
}

bool ruvm_console_line(char *line, size_t cap)
{
    size_t n = 0;
    int byte;
    do
        byte = wait_for_byte();
    while (is_end(byte));
    for (; !is_end(byte); byte = wait_for_byte()) {
        if (n < cap)
            line[n] = (char)byte;
        n++;
    }
    line[n < cap ? n : 0] = 0;
    return n < cap;
}

char *ruvm_console_word(char **rest)
{
    char *word = *rest;
    while (*word == ' ')
        word++;
    char *end = word;
    while (*end && *end != ' ')
        end++;
    *rest = *end ? end + 1 : end;
    *end = 0;
    return word;
}

bool ruvm_console_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const char *ruvm_console_value(const char *option, const char *name)
{
    while (*name && *name == *option) {
        name++;
        option++;
    }
    return *name || *option != '=' ? NULL : option + 1;
}

/* ---- numbers --------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool ruvm_console_parse(const char *s, uint32_t *x)
{
    uint32_t n = 0;
    if (!is_digit(*s))
        return false;
    for (; is_digit(*s); s++) {
        uint32_t d = (uint32_t)(*s - '0');
        if (n > (UINT32_MAX - d) / 10)
            return false;
        n = n * 10 + d;
    }
    *x = n;
    return *s == 0;
}

/* Up to six digits of a fraction, to the nearest 1/65536 as the workstation rounds. */
static bool parse_fraction(const char *s, uint32_t *x)
{
    uint32_t n = 0, unit = 1;
    for (; is_digit(*s) && unit < 1000000; s++, unit *= 10)
        n = n * 10 + (uint32_t)(*s - '0');
    *x = (uint32_t)((((uint64_t)n << 16) + unit / 2) / unit);
    return *s == 0 && unit > 1;
}

bool ruvm_console_parse_q16(const char *s, uint32_t *x)
{
    uint32_t whole = 0, fraction = 0;
    for (; is_digit(*s) && whole < 10000; s++)
        whole = whole * 10 + (uint32_t)(*s - '0');
    if (*s == '.' ? !parse_fraction(s + 1, &fraction) : *s != 0)
        return false;
    *x = (whole << 16) + fraction;
    return whole < 32768;
}
