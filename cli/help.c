/* Help: what `ruvm VERB --help` shows, printed from the verb's table.
 *
 * argtable2's own printers break words in the middle or not at all, so the
 * glossary is ours: names on the left, text wrapped at the terminal's width on
 * the right.
 */
#define _DEFAULT_SOURCE
#include "cli/cli.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    WIDTH = 80,     /* when standard output is no terminal */
    MIN_WIDTH = 40, /* a narrower terminal is taken for this */
    TEXT_COLUMN = 26,
};

static unsigned terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return WIDTH;
    return size.ws_col < MIN_WIDTH ? MIN_WIDTH : size.ws_col;
}

/* Prints words from `column` on, going on at `indent` in the next lines. */
static void print_wrapped(const char *text, unsigned column, unsigned indent, unsigned width)
{
    bool first = true;
    while (*text) {
        unsigned length = (unsigned)strcspn(text, " ");
        if (!first && column + 1 + length > width) {
            printf("\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)length, text);
        column += length;
        first = false;
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_option(const struct ruvm_args_option *o, unsigned width)
{
    char text[512];
    char letter[5] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    int column =
        printf("  %s--%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
    if (column + 2 > TEXT_COLUMN) {
        putchar('\n');
        column = 0;
    }
    printf("%*s", TEXT_COLUMN - column, "");
    int n = snprintf(text, sizeof text, "%s", o->help);
    if (o->choices)
        n += snprintf(text + n, sizeof text - (size_t)n, ": %s", o->choices);
    if (o->repeats)
        n += snprintf(text + n, sizeof text - (size_t)n, " (may be repeated)");
    if (o->fallback)
        snprintf(text + n, sizeof text - (size_t)n, " [%s]", o->fallback);
    print_wrapped(text, TEXT_COLUMN, TEXT_COLUMN, width);
}

static void print_usage(const char *verb, const char *usage, unsigned width)
{
    int column = printf("usage: ruvm %s%s", verb, *verb ? " " : "");
    print_wrapped(usage, (unsigned)column, (unsigned)column, width);
}

static void print_options(const struct ruvm_args_command *command, unsigned width)
{
    puts("\nOptions:");
    for (const struct ruvm_args_option *o = command->options; o->name; o++)
        print_option(o, width);
}

void ruvm_help_command(const struct ruvm_args_command *command)
{
    unsigned width = terminal_width();
    print_usage(command->name, command->usage, width);
    putchar('\n');
    print_wrapped(command->summary, 0, 0, width);
    print_options(command, width);
    printf("\nExamples:\n%s\nThe whole story: man ruvm-%s\n", command->examples, command->name);
}

void ruvm_help_verbs(const struct ruvm_args_command *ruvm,
                     const struct ruvm_args_command *const *verbs)
{
    unsigned width = terminal_width();
    print_usage(ruvm->name, ruvm->usage, width);
    putchar('\n');
    print_wrapped(ruvm->summary, 0, 0, width);
    puts("\nVerbs:");
    for (; *verbs; verbs++) {
        int column = printf("  %-10s", (*verbs)->name);
        print_wrapped((*verbs)->summary, (unsigned)column, (unsigned)column, width);
    }
    print_options(ruvm, width);
    printf("\nExamples:\n%s\nOf one verb: ruvm VERB --help, or man ruvm-VERB.\n", ruvm->examples);
}
