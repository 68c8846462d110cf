/* Error: records the first failure, for a person to read.
 *
 * Messages quote names out of foreign files. A name may hold anything, so
 * control characters are replaced before they can reach a terminal; line breaks
 * stay, for a report may list several problems.
 */
#include "lib/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void hide_controls(char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < ' ' && c != '\n') || c == 0x7f)
            *text = '?';
    }
}

int ruvm_fail(struct ruvm_error *err, int code, const char *fmt, ...)
{
    if (!err || err->code != RUVM_OK)
        return code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    hide_controls(err->text);
    err->code = code;
    return code;
}

void ruvm_error_prefix(struct ruvm_error *err, const char *prefix)
{
    if (!err || err->code == RUVM_OK)
        return;
    char text[sizeof err->text];
    memcpy(text, err->text, sizeof text);
    int n = snprintf(err->text, sizeof err->text, "%s: ", prefix);
    if (n > 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, "%.*s",
                 (int)(sizeof err->text - (size_t)n) - 1, text);
    hide_controls(err->text);
}
