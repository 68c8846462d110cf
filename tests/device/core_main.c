/* The freestanding core as a whole program: image and prompt in, token ids out.
 *
 *     core_main IMAGE KERNELS PROMPT N TEMPERATURE_Q16 SEED BLOCK
 *
 * Prints the generated ids on one line and "crc HHHHHHHH engine_bytes N" on the
 * next, exactly what `ruvm run --ids` generates with the same settings. The
 * same source runs on rv32imc without a C library (port_rv32.c) and on AArch64
 * (port_libc.c), under emulators.
 */
#include "tests/device/port.h"

#include "kernels/kernels.h"
#include "lib/ruvm.h"

enum { MAX_IMAGE = 4 << 20, MAX_ENGINE = 4 << 20, MAX_IDS = 4096, MAX_VOCAB = 65536 };

static uint8_t image[MAX_IMAGE] __attribute__((aligned(64)));
static uint8_t memory[MAX_ENGINE] __attribute__((aligned(64)));
static uint16_t ids[MAX_IDS];
static int32_t scratch[MAX_VOCAB];

static void put_text(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    port_write(s, n);
}

static void put_number(uint32_t x)
{
    char text[11];
    size_t i = sizeof text;
    do {
        text[--i] = (char)('0' + x % 10);
        x /= 10;
    } while (x);
    port_write(text + i, sizeof text - i);
}

static void put_hex(uint32_t x)
{
    for (int shift = 28; shift >= 0; shift -= 4)
        port_write(&"0123456789abcdef"[(x >> shift) & 15u], 1);
}

static uint32_t number(const char *s)
{
    uint32_t x = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        x = x * 10 + (uint32_t)(*s - '0');
    return x;
}

static size_t length(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

static int fail(const char *what, int rc)
{
    put_text("failed: ");
    put_text(what);
    put_text(": ");
    put_text(ruvm_status_text(rc));
    put_text("\n");
    return 1;
}

/* Generates up to n ids, printing them; returns the CRC of the logits they came from. */
static uint32_t generate(struct ruvm_engine *e, struct ruvm_sampler *s, uint32_t vocab,
                         size_t n_ids, uint32_t n)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < n && n_ids < MAX_IDS; i++) {
        const int32_t *logits = ruvm_engine_logits(e);
        crc = ruvm_logits_crc(crc, logits, vocab);
        for (uint32_t j = 0; j < vocab; j++)
            scratch[j] = logits[j];
        uint16_t id = ruvm_sample(s, scratch, vocab, ids, n_ids);
        put_text(i ? " " : "");
        put_number(id);
        ids[n_ids++] = id;
        if (i + 1 < n && ruvm_engine_eval(e, &id, 1, NULL) != RUVM_OK)
            break;
    }
    put_text("\n");
    return crc;
}

int port_main(int argc, char **argv)
{
    if (argc != 8)
        return fail("usage", RUVM_ERR_ARG);
    size_t n_bytes = port_read(argv[1], image, MAX_IMAGE);
    struct ruvm_model_info info;
    int rc = ruvm_model_info(&info, image, n_bytes);
    if (rc != RUVM_OK)
        return fail("image", rc);
    struct ruvm_engine_options o = {.block = number(argv[7]), .kernels = port_kernels(argv[2])};
    size_t bytes = 0;
    struct ruvm_engine *e;
    rc = ruvm_engine_bytes(image, n_bytes, &o, &bytes);
    if (rc == RUVM_OK && bytes <= MAX_ENGINE)
        rc = ruvm_engine_init(&e, memory, bytes, image, n_bytes, &o);
    struct ruvm_tokenizer t;
    if (rc == RUVM_OK)
        rc = ruvm_tokenizer_init(&t, image, n_bytes);
    int n_ids = rc == RUVM_OK ? ruvm_encode(&t, ids, MAX_IDS, argv[3], length(argv[3]), 0) : rc;
    if (n_ids < 0)
        return fail("set-up", n_ids);
    rc = ruvm_engine_eval(e, ids, (size_t)n_ids, NULL);
    if (rc != RUVM_OK)
        return fail("prompt", rc);
    struct ruvm_sampler s = {.temperature_q16 = number(argv[5])};
    ruvm_sampler_seed(&s, number(argv[6]));
    uint32_t crc = generate(e, &s, info.vocab, (size_t)n_ids, number(argv[4]));
    put_text("crc ");
    put_hex(crc);
    put_text(" engine_bytes ");
    put_number((uint32_t)bytes);
    put_text("\n");
    return 0;
}
