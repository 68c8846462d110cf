/* Any bytes as a RUVM image, as they are and with their checksums made right, which lets
 * a fuzzer get to the checks behind. What opens is walked to its last byte, tokenizes,
 * and runs, when an engine for it is small. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "formats/ruvm_diagnose.h"
#include "lib/ruvm.h"
#include "tests/support/repair_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SMALL_ENGINE = 1 << 20, N_TOKENS = 3 };

static void check(int holds)
{
    if (!holds)
        abort();
}

static void *aligned(size_t size)
{
    void *p;
    check(posix_memalign(&p, 64, size + !size) == 0);
    return p;
}

/* Touches every byte. */
static void read_bytes(const void *data, size_t n)
{
    ruvm_crc32(0, data, n);
}

static void walk_biases(const struct ruvm_image *img)
{
    for (unsigned l = 0; l < img->n_layers; l++) {
        for (int kind = 0; kind < RUVM_N_BIASES; kind++) {
            struct ruvm_bias b = ruvm_image_bias(img, (enum ruvm_bias_kind)kind, l);
            check((b.m != NULL) == (img->bias_kinds >> kind & 1));
            if (b.m)
                read_bytes(b.m, b.n * sizeof *b.m);
        }
        check(ruvm_image_window(img, l) <= img->window);
    }
}

static void walk(const struct ruvm_image *img)
{
    uint32_t norms = 2u * img->n_layers + 1;
    for (unsigned i = 0; i < img->n_sections; i++) {
        struct ruvm_section s = ruvm_image_section(img, i);
        read_bytes(s.data, s.size);
    }
    for (unsigned i = 0; i < img->n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(img, i);
        check(ruvm_image_find(img, t.kind, t.layer).data == t.data);
        read_bytes(t.data, t.data_bytes);
        read_bytes(t.scales, t.scale_bytes);
        if (t.mult)
            read_bytes(t.mult, (size_t)t.rows * t.mult_bytes);
        check(t.rows < 1 || ruvm_image_multiplier(&t, t.rows - 1, t.cols - 1) <= RUVM_MULT_MAX);
    }
    read_bytes(img->norm_exp, norms);
    read_bytes(img->norm_gain, (size_t)norms * img->dim * sizeof *img->norm_gain);
    read_bytes(img->rope_inc, img->rope_dims / 2u * sizeof *img->rope_inc);
    walk_biases(img);
    read_bytes(img->kvsc, (size_t)img->n_layers * img->kvsc_bytes);
}

/* Text to tokens and back. */
static void speak(const uint8_t *image, size_t size)
{
    static const char text[] = "hello w\xc3\xb6rld\n\x80!";
    struct ruvm_tokenizer t;
    uint16_t ids[RUVM_MAX_TOKENS(sizeof text)];
    uint8_t joins[8192];
    if (ruvm_tokenizer_init(&t, image, size) != RUVM_OK)
        return;
    ruvm_tokenizer_joins(&t, joins);
    int n = ruvm_encode(&t, ids, RUVM_MAX_TOKENS(sizeof text), text, sizeof text, 0);
    uint16_t previous = RUVM_NO_PREVIOUS;
    for (int i = 0; i < n; i++) {
        size_t n_bytes;
        const uint8_t *bytes = ruvm_decode(&t, previous, ids[i], &n_bytes);
        read_bytes(bytes, n_bytes);
        previous = ids[i];
    }
}

static void run(const uint8_t *image, size_t size)
{
    const struct ruvm_engine_options options = {.context = N_TOKENS, .block = 2};
    const uint16_t ids[N_TOKENS] = {0};
    struct ruvm_engine *engine;
    size_t bytes;
    if (ruvm_engine_bytes(image, size, &options, &bytes) != RUVM_OK || bytes > SMALL_ENGINE)
        return;
    void *memory = aligned(bytes);
    check(ruvm_engine_init(&engine, memory, bytes, image, size, &options) == RUVM_OK);
    check(ruvm_engine_eval(engine, ids, N_TOKENS, NULL) == RUVM_OK);
    free(memory);
}

static void open_image(const uint8_t *image, size_t size)
{
    struct ruvm_image img;
    struct ruvm_image_fault fault;
    struct ruvm_error err = {0};
    int rc = ruvm_image_open(&img, image, size, &fault);
    check((rc == RUVM_OK) == (ruvm_image_open(&img, image, size, NULL) == RUVM_OK));
    if (rc != RUVM_OK) {
        ruvm_diagnose_fail(&err, rc, "input", &fault);
        check(strlen(err.text) > 20);
        return;
    }
    if (img.version == RUVM_VERSION_V0)
        return;
    walk(&img);
    speak(image, size);
    run(image, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *image = aligned(size);
    if (size)
        memcpy(image, data, size);
    open_image(image, size);
    if (size >= RUVM_HDR_BYTES && size <= UINT32_MAX) {
        ruvm_store_u32(image + RUVM_HDR_FILE_BYTES, (uint32_t)size);
        repair_image(image, size);
        open_image(image, size);
    }
    free(image);
    return 0;
}
