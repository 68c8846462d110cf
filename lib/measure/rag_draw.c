/* Draw: synthetic vectors that are as unevenly spread as those of texts.
 *
 * Clusters of very different sizes, in a few directions much wider than in the others, turned
 * at random so that no coordinate knows of it. Sums, products, quotients and square roots are
 * all that is used: IEEE 754 defines these to the bit.
 */
#include <math.h>
#include <stdlib.h>

#include "lib/base/random.h"
#include "lib/measure/rag_subject.h"

enum { CLUSTERS = 256, MOST_LATENT = 64 };

struct draw {
    uint64_t state;
    uint32_t dims, latent;
    double *turn;             /* [dims, latent] */
    double *centres;          /* [CLUSTERS, latent] */
    double weights[CLUSTERS]; /* sums from the first on */
};

/* Nearly normal, of variance 1: eight uniform numbers of 16 bits added up. */
static double normal(struct draw *d)
{
    enum { MEAN = 8 * 65535 / 2 };
    int32_t sum = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t w = ruvm_random_next(&d->state);
        sum += (int32_t)((w & 65535) + (w >> 16 & 65535) + (w >> 32 & 65535) + (w >> 48));
    }
    return (sum - MEAN) / (65536 * sqrt(8 / 12.0));
}

static void start(struct draw *d)
{
    double sum = 0;
    for (uint32_t i = 0; i < d->dims * d->latent; i++)
        d->turn[i] = normal(d);
    for (uint32_t i = 0; i < CLUSTERS * d->latent; i++)
        d->centres[i] = normal(d) / sqrt(i % d->latent + 1);
    for (uint32_t i = 0; i < CLUSTERS; i++)
        d->weights[i] = sum += 1.0 / (i + 1);
}

static void draw_one(struct draw *d, float *x)
{
    double z[MOST_LATENT], at = ruvm_random_unit(&d->state) * d->weights[CLUSTERS - 1];
    uint32_t c = 0;
    while (c + 1 < CLUSTERS && d->weights[c] <= at)
        c++;
    for (uint32_t j = 0; j < d->latent; j++) {
        double width = 0.6 / (sqrt(j + 1) * sqrt(sqrt(j + 1)));
        z[j] = d->centres[c * d->latent + j] + width * normal(d);
    }
    for (uint32_t i = 0; i < d->dims; i++) {
        double sum = 0;
        for (uint32_t j = 0; j < d->latent; j++)
            sum += d->turn[i * d->latent + j] * z[j];
        x[i] = (float)sum;
    }
}

bool ruvm_rag_subject_draw(float *x, size_t n, uint32_t dims, uint64_t seed)
{
    struct draw d = {
        .state = seed, .dims = dims, .latent = dims < MOST_LATENT ? dims : MOST_LATENT};
    d.turn = malloc((size_t)d.dims * d.latent * sizeof *d.turn);
    d.centres = malloc((size_t)CLUSTERS * d.latent * sizeof *d.centres);
    bool ok = d.turn && d.centres;
    if (ok)
        start(&d);
    for (size_t i = 0; ok && i < n; i++)
        draw_one(&d, x + i * dims);
    free(d.turn);
    free(d.centres);
    return ok;
}
