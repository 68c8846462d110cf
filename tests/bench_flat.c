/* Searches that look at all vectors, for bench_flat.sh: one of
 *
 *     flat read N DIMS                the bytes of such a set, read and nothing else
 *     flat scan N DIMS                the 10 nearest of N int8 vectors, by cosine
 *     flat bits N BITS                the bytes of N rows of bits, read and nothing else
 *     flat distances N BITS [FOLDER]  the Hamming distances of such rows, into an array
 *     flat nearest N BITS [FOLDER]    the 10 nearest of them
 *
 * serves lines of standard input, each a number of passes: when they are done, a line "SECONDS
 * SUM": CPU time of a pass, the sum of its distances. In FOLDER it leaves what other programs
 * need.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/roof.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/random.h"
#include "lib/vector/search.h"

enum { K = 10, BLOCK = 1024, ALIGN = 64 };

struct pass {
    struct ruvm_vectors set;
    const struct ruvm_roof *roof;
    uint8_t *query;
    int32_t *out; /* [BLOCK] */
    size_t bytes; /* that one pass reads */
};

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "flat: %s\n", what);
    exit(1);
}

static void *take(size_t n)
{
    void *p = aligned_alloc(ALIGN, ruvm_align_up(n, RUVM_ROOF_CHUNK));
    need(p, "out of memory");
    memset(p, 0, ruvm_align_up(n, RUVM_ROOF_CHUNK));
    return p;
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- data -------------------------------------------------------------------- */

static void make_codes(struct ruvm_vectors *set, uint32_t n, uint64_t *state)
{
    uint8_t *rows = take((size_t)n * set->row_bytes), *side = take((size_t)n * set->side_bytes);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *row = rows + (size_t)i * set->row_bytes;
        for (uint32_t c = 0; c < set->dims; c++)
            row[c] = (uint8_t)((int)(ruvm_random_next(state) % 255) - 127);
        row[i % set->dims] = 127;
        ruvm_store_u16(side + (size_t)i * set->side_bytes,
                       ruvm_vectors_inverse(ruvm_vectors_norm2(row, set->row_bytes)));
    }
    set->rows = rows;
    set->side = side;
    set->n = n;
}

static void make_bits(struct ruvm_vectors *set, uint32_t n, uint64_t *state)
{
    uint8_t *rows = take((size_t)n * set->row_bytes);
    for (size_t i = 0; i < (size_t)n * set->row_bytes; i += 4)
        ruvm_store_u32(rows + i, (uint32_t)(ruvm_random_next(state) >> 32));
    set->rows = rows;
    set->n = n;
}

/* What other programs find: a line "rows bytes", the rows, the query. */
static void save(const struct pass *p, const char *folder)
{
    struct ruvm_error err = {0};
    char path[4096], shape[64];
    int n = snprintf(shape, sizeof shape, "%u %u\n", p->set.n, p->set.row_bytes);
    snprintf(path, sizeof path, "%s/shape", folder);
    need(ruvm_file_write(path, shape, (size_t)n, &err) == RUVM_OK, err.text);
    snprintf(path, sizeof path, "%s/rows", folder);
    need(ruvm_file_write(path, p->set.rows, p->bytes, &err) == RUVM_OK, err.text);
    snprintf(path, sizeof path, "%s/query", folder);
    need(ruvm_file_write(path, p->query, p->set.row_bytes, &err) == RUVM_OK, err.text);
}

/* ---- passes ------------------------------------------------------------------ */

static uint64_t read_all(const struct pass *p)
{
    return p->roof->read(p->set.rows, p->bytes / RUVM_ROOF_CHUNK * RUVM_ROOF_CHUNK);
}

static uint64_t scan(const struct pass *p)
{
    uint64_t memory[K], sum = 0;
    struct ruvm_search search = {.k = K};
    struct ruvm_hit hits[K];
    struct ruvm_vector_query q;
    ruvm_vectors_query(&q, &p->set, p->query, NULL);
    need(ruvm_search_scan(&p->set, &q, &search, memory, sizeof memory, hits) == K, "scan");
    for (int i = 0; i < K; i++)
        sum += hits[i].key;
    return sum;
}

/* Those of the rows from i on, into an array that stays near; returns their number. */
static uint32_t block(const struct pass *p, uint32_t i)
{
    uint32_t n = p->set.n - i < BLOCK ? p->set.n - i : BLOCK;
    p->set.kernels->hamming(
        p->out, &(struct ruvm_vector_job){.query = p->query,
                                          .rows = p->set.rows + (size_t)i * p->set.row_bytes,
                                          .n = n,
                                          .row_bytes = p->set.row_bytes,
                                          .stride = p->set.row_bytes});
    return n;
}

static uint64_t distances(const struct pass *p)
{
    for (uint32_t i = 0; i < p->set.n; i += BLOCK)
        block(p, i);
    return 0;
}

static uint64_t add_distances(const struct pass *p)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->set.n; i += BLOCK) {
        uint32_t n = block(p, i);
        for (uint32_t j = 0; j < n; j++)
            sum += (uint32_t)p->out[j];
    }
    return sum;
}

/* add, where it is given, finds the sum; nobody waits for that. */
static const struct kind {
    const char *name;
    bool bits;
    uint64_t (*run)(const struct pass *), (*add)(const struct pass *);
} kinds[] = {
    {"read", false, read_all, NULL}, {"scan", false, scan, NULL},
    {"bits", true, read_all, NULL},  {"distances", true, distances, add_distances},
    {"nearest", true, scan, NULL},
};

static const struct kind *kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static void serve(const struct pass *p, const struct kind *kind)
{
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        long passes = strtol(line, NULL, 10);
        uint64_t sum = 0;
        double start = cpu_s();
        for (long i = 0; i < passes; i++)
            sum = kind->run(p);
        double seconds = (cpu_s() - start) / (double)passes;
        printf("%.9f %" PRIu64 "\n", seconds, kind->add ? kind->add(p) : sum);
        fflush(stdout);
    }
}

static const struct ruvm_roof *roof_of(const char *kernels)
{
    for (const struct ruvm_roof *const *r = ruvm_roof_all; *r; r++)
        if (strncmp((*r)->kernels, kernels, 4) == 0)
            return *r;
    return &ruvm_roof_scalar;
}

int main(int argc, char **argv)
{
    const struct kind *kind = argc == 4 || argc == 5 ? kind_of(argv[1]) : NULL;
    need(kind, "usage: flat read|scan|bits|distances|nearest N DIMS [FOLDER]");
    uint32_t n = (uint32_t)strtoul(argv[2], NULL, 10), dims = (uint32_t)strtoul(argv[3], NULL, 10);
    struct pass p = {.out = take(BLOCK * sizeof(int32_t))};
    uint64_t state = 1;
    unsigned type = kind->bits ? RUVM_VECTOR_BINARY : RUVM_VECTOR_INT8;
    unsigned metric = kind->bits ? RUVM_METRIC_HAMMING : RUVM_METRIC_COSINE;
    need(n >= K && ruvm_vectors_shape(&p.set, type, metric, dims) == RUVM_OK,
         "there are no such vectors");
    p.set.kernels = ruvm_vector_kernels_select(NULL);
    p.roof = roof_of(p.set.kernels->name);
    (kind->bits ? make_bits : make_codes)(&p.set, n, &state);
    p.bytes = (size_t)n * p.set.row_bytes;
    p.query = take(p.set.row_bytes);
    memcpy(p.query, p.set.rows + (size_t)(n / 2) * p.set.row_bytes, p.set.row_bytes);
    if (argc == 5)
        save(&p, argv[4]);
    serve(&p, kind);
    return 0;
}
