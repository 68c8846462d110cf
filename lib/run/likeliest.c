/* The largest of many numbers: lanes that do not wait for each other, and then the place. */
#include "lib/run/likeliest.h"

enum { LANES = 16 };

uint32_t ruvm_likeliest_find(const int32_t *logits, uint32_t n)
{
    int32_t lanes[LANES], most = logits[0];
    for (uint32_t j = 0; j < LANES; j++)
        lanes[j] = most;
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (uint32_t j = 0; j < LANES; j++)
            lanes[j] = logits[i + j] > lanes[j] ? logits[i + j] : lanes[j];
    for (uint32_t j = 0; j < LANES; j++)
        most = lanes[j] > most ? lanes[j] : most;
    for (; i < n; i++)
        most = logits[i] > most ? logits[i] : most;
    for (i = 0; logits[i] != most; i++)
        ;
    return i;
}
