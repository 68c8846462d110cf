/* A classifier as a whole program: image in, a checksum of logits out.
 *
 *     mlp_main IMAGE KERNELS
 *
 * Runs inputs drawn from all 32 bits, and prints "crc HHHHHHHH". The same source runs here, on
 * rv32imc without a C library and on AArch64, under emulators.
 */
#include "tests/device/port.h"

#include "kernels/kernels.h"
#include "lib/ruvm.h"

enum { MAX_IMAGE = 1 << 20, MAX_MEMORY = 1 << 20, MAX_WIDTH = 4096, ROWS = 64 };

static uint8_t image[MAX_IMAGE] __attribute__((aligned(64)));
static uint8_t memory[MAX_MEMORY] __attribute__((aligned(64)));
static int32_t inputs[MAX_WIDTH], logits[MAX_WIDTH];
static uint16_t p[MAX_WIDTH];

static void put_hex(uint32_t x)
{
    for (int shift = 28; shift >= 0; shift -= 4)
        port_write(&"0123456789abcdef"[(x >> shift) & 15u], 1);
}

/* Of every size: most are small beside their range, some saturate. */
static int32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (int32_t)*state >> (*state % 23 + 4);
}

int port_main(int argc, char **argv)
{
    struct ruvm_mlp_info info;
    struct ruvm_mlp *m;
    uint32_t state = 1, crc = 0;
    size_t size = argc == 3 ? port_read(argv[1], image, sizeof image) : 0;
    const struct ruvm_kernels *k = argc == 3 ? port_kernels(argv[2]) : NULL;
    if (!size || !k || ruvm_mlp_info(&info, image, size) != RUVM_OK || info.n_inputs > MAX_WIDTH ||
        info.n_outputs > MAX_WIDTH ||
        ruvm_mlp_init(&m, memory, sizeof memory, image, size, k) != RUVM_OK)
        return 1;
    for (int row = 0; row < ROWS; row++) {
        for (uint32_t i = 0; i < info.n_inputs; i++)
            inputs[i] = draw(&state);
        ruvm_mlp_run(m, inputs, logits);
        crc = ruvm_logits_crc(crc, logits, info.n_outputs);
        ruvm_mlp_probabilities(m, logits, p);
        for (uint32_t i = 0; i < info.n_outputs; i++)
            logits[i] = p[i];
        logits[0] ^= (int32_t)(ruvm_mlp_best(m, logits) << 16);
        crc = ruvm_logits_crc(crc, logits, info.n_outputs);
    }
    port_write("crc ", 4);
    put_hex(crc);
    port_write("\n", 1);
    return 0;
}
