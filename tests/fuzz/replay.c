/* Runs a fuzz target over files, and over damaged copies of them, without libFuzzer.
 *
 *     replay_<name> FILE...
 *
 * So the corpora are tests with every compiler. Each input stands in memory of
 * its exact size, for the sanitizers. The damage (cuts, flipped bits, extreme
 * bytes) comes from a fixed seed: the same in each run. A crash names its input
 * first, on standard error.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    DAMAGED_COPIES = 200, /* of each file; fewer when they are slow */
    SECONDS_A_FILE = 2,
};

static uint64_t state = 1;

/* xorshift64*; below n. */
static size_t draw(size_t n)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return n ? (size_t)(state * 2685821657736338717u >> 33) % n : 0;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size + !size);
    if (!exact)
        exit(2);
    if (size)
        memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

/* Headers are at the start: half of the damage goes there. */
static size_t draw_place(size_t size)
{
    return draw(draw(2) && size > 64 ? 64 : size);
}

static void run_damaged(const uint8_t *data, uint8_t *copy, size_t size)
{
    static const uint8_t extremes[] = {0, 1, 0x7f, 0x80, 0xff};
    memcpy(copy, data, size);
    switch (draw(3)) {
    case 0: size = draw_place(size + 1); break;
    case 1: copy[draw_place(size)] ^= (uint8_t)(1u << draw(8)); break;
    default:
        for (size_t n = 1 + draw(4); n; n--)
            copy[draw_place(size)] = extremes[draw(sizeof extremes)];
    }
    run(copy, size);
}

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        perror(path);
        exit(2);
    }
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, f) != *size) {
        perror(path);
        exit(2);
    }
    fclose(f);
    return data;
}

int main(int argc, char **argv)
{
    unsigned long inputs = 0;
    for (int i = 1; i < argc; i++) {
        size_t size;
        uint8_t *data = read_file(argv[i], &size);
        uint8_t *copy = malloc(size + 1);
        if (!copy)
            return 2;
        fprintf(stderr, "%s\n", argv[i]);
        run(data, size);
        inputs++;
        double end = now() + SECONDS_A_FILE;
        for (int n = 0; size && n < DAMAGED_COPIES && now() < end; n++, inputs++)
            run_damaged(data, copy, size);
        free(copy);
        free(data);
    }
    printf("%d files, %lu inputs\n", argc - 1, inputs);
    return inputs ? 0 : 2;
}
