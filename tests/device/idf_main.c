/* The table of lib/device/idf/idf_kernels.c for the ESP32-S3, with C in place of its assembly:
 * all products are those of the scalar kernel. That the assembly does the same: pie.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/device/idf/idf_kernels.h"

void ruvm_idf_rows(const int8_t *w, const int8_t *x, int32_t *out, uint32_t n_rows,
                   uint32_t n_blocks, uint32_t row_bytes);

void ruvm_idf_rows(const int8_t *w, const int8_t *x, int32_t *out, uint32_t n_rows,
                   uint32_t n_blocks, uint32_t row_bytes)
{
    for (uint32_t r = 0; r < n_rows; r++, w += row_bytes) {
        out[r] = 0;
        for (uint32_t c = 0; c < 16 * n_blocks; c++)
            out[r] += w[c] * x[c];
    }
}

static void fill(int8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (int8_t)(rand() % 255 - 127);
}

int main(void)
{
    enum { MOST = 1 << 14 };
    static int8_t w[MOST], x[MOST];
    static int32_t out[2][MOST];
    struct ruvm_kernels memory;
    const struct ruvm_kernels *kernels = ruvm_idf_kernels(&memory);
    fill(w, sizeof w);
    fill(x, sizeof x);
    for (uint32_t i = 0; i < 200; i++) {
        struct ruvm_matmul m = {.w = w,
                                .x = x,
                                .n_rows = i % 23,
                                .n_cols = 16 * (1 + i % 7),
                                .row_bytes = 16 * (7 + i % 3),
                                .n_vecs = i % 4};
        m.x_stride = m.n_cols + 16 * (i % 2);
        m.out_stride = m.n_rows + i % 5;
        memset(out, 0x55, sizeof out);
        m.out = out[0];
        kernels->matmul_s8(&m);
        m.out = out[1];
        ruvm_kernels_scalar.matmul_s8(&m);
        if (memcmp(out[0], out[1], sizeof out[0]) != 0) {
            printf("%u rows of %u columns, %u vectors differ\n", m.n_rows, m.n_cols, m.n_vecs);
            return 1;
        }
    }
    if (kernels->scores != ruvm_kernels_scalar.scores || strcmp(kernels->name, "esp32s3") != 0)
        puts("the rest of the table is not the scalar one");
    return 0;
}
