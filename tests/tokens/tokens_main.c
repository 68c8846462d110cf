/* Encodes texts with a tokenizer file, for tests/tokens/conformance.py:
 *
 *     tokens FILE [special] < TEXTS
 *     tokens FILE section TO
 *
 * The second form writes the tokn section of an image.
 *
 * TEXTS are a u32 of their length each and their bytes; a line of ids comes for each, behind
 * "|" the bytes that they decode to, in hexadecimal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "tests/support/tokn.h"

static void print_decoded(const struct ruvm_tokenizer *t, const uint16_t *ids, int n)
{
    uint16_t previous = RUVM_NO_PREVIOUS;
    printf(" |");
    for (int i = 0; i < n; i++) {
        size_t bytes;
        const uint8_t *text = ruvm_decode(t, previous, ids[i], &bytes);
        for (size_t b = 0; b < bytes; b++)
            printf("%02x", text[b]);
        previous = ids[i];
    }
    putchar('\n');
}

static int encode(const struct ruvm_tokenizer *t, size_t n_bytes, unsigned flags)
{
    uint8_t *text = malloc(n_bytes + 1);
    uint16_t *ids = malloc(RUVM_MAX_TOKENS(n_bytes) * sizeof *ids);
    if (!text || !ids || fread(text, 1, n_bytes, stdin) != n_bytes)
        return 1;
    int n = ruvm_encode(t, ids, RUVM_MAX_TOKENS(n_bytes), text, n_bytes, flags);
    for (int i = 0; i < n; i++)
        printf("%s%u", i ? " " : "", ids[i]);
    if (n < 0)
        printf("error %d", n);
    print_decoded(t, ids, n);
    free(text);
    free(ids);
    return 0;
}

static int write_section(const struct tokn *t, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return 1;
    bool ok = fwrite(t->section.data, 1, t->section.size, file) == t->section.size;
    return fclose(file) == 0 && ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    static uint8_t joins[8192];
    struct ruvm_error err = {0};
    struct tokn t;
    uint8_t size[4];
    unsigned flags = argc > 2 && strcmp(argv[2], "special") == 0 ? RUVM_ENCODE_SPECIAL : 0;
    int rc = argc > 1 ? tokn_open(&t, argv[1], &err) : 2;
    if (rc != RUVM_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (argc > 3)
        return write_section(&t, argv[3]);
    if (t.vocab.notes)
        fprintf(stderr, "%s\n", t.vocab.notes);
    ruvm_tokenizer_joins(&t.t, joins);
    while (fread(size, 1, sizeof size, stdin) == sizeof size && rc == 0)
        rc = encode(&t.t, ruvm_load_u32(size), flags);
    tokn_close(&t);
    return rc;
}
