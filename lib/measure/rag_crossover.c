/* Where a graph begins to pay: isotonic regression by pooling neighbours. */
#include "lib/measure/rag_crossover.h"

#include <math.h>

/* The graph gains on the scan as vectors become more, so that where a size says otherwise it was
 * disturbed: it and those before it share the mean of the logarithm of how much faster the graph
 * is. */
uint32_t ruvm_rag_crossover(const struct ruvm_bench_rag_size *sizes, uint32_t n)
{
    double sum[RUVM_BENCH_RAG_POINTS];
    uint32_t first[RUVM_BENCH_RAG_POINTS + 1], pools = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum[pools] = log(sizes[i].scan_us.median / sizes[i].graph_us.median);
        first[pools++] = i;
        first[pools] = i + 1;
        while (pools > 1 && sum[pools - 2] / (first[pools - 1] - first[pools - 2]) >
                                sum[pools - 1] / (first[pools] - first[pools - 1])) {
            sum[pools - 2] += sum[pools - 1];
            first[pools - 1] = first[pools];
            pools--;
        }
    }
    for (uint32_t p = 0; p < pools; p++)
        if (sum[p] > 0)
            return sizes[first[p]].n;
    return 0;
}
