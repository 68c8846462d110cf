/* Not compiled here for any chip: tests/device/idf.sh compiles it for this machine, with a stand-in
 * for the assembly, and runs that in a model of the instructions. */
#include "lib/device/idf/idf_kernels.h"

#include "kernels/variants.h"

#if defined(CONFIG_IDF_TARGET_ESP32S3)

enum { BLOCK = 16 }; /* products of an instruction */

/* out[r] = row r times x, for n_rows rows of n_blocks * BLOCK columns; rows, x and row_bytes
 * are multiples of 16, n_blocks is not 0. rows_esp32s3.S */
void ruvm_idf_rows(const int8_t *w, const int8_t *x, int32_t *out, uint32_t n_rows,
                   uint32_t n_blocks, uint32_t row_bytes);

static void matmul_s8(const struct ruvm_matmul *m)
{
    const int8_t *x = m->x;
    int32_t *out = m->out;
    for (uint32_t v = 0; v < m->n_vecs; v++, x += m->x_stride, out += m->out_stride)
        ruvm_idf_rows(m->w, x, out, m->n_rows, m->n_cols / BLOCK, m->row_bytes);
}

const struct ruvm_kernels *ruvm_idf_kernels(struct ruvm_kernels *memory)
{
    *memory = ruvm_kernels_scalar;
    memory->name = "esp32s3";
    memory->matmul_s8 = matmul_s8;
    return memory;
}

#elif defined(CONFIG_IDF_TARGET_ARCH_RISCV)

const struct ruvm_kernels *ruvm_idf_kernels(struct ruvm_kernels *memory)
{
    (void)memory;
    return &ruvm_kernels_rv32;
}

#else

const struct ruvm_kernels *ruvm_idf_kernels(struct ruvm_kernels *memory)
{
    (void)memory;
    return &ruvm_kernels_scalar;
}

#endif
