/* Does a model fit a chip, and how fast could it be there?
 *
 * Bytes: what the engine itself says it needs, the size of the file, and what the firmware
 * reserves. Speed: a roofline. A token costs its products times the instructions of a product
 * and its weights over the rate of flash; whichever takes longer binds. It leaves out
 * everything else, so it is a bound and not a forecast; beside published results it shows
 * by how much.
 */
#include <string.h>

#include "formats/mlp_read.h"
#include "formats/pack_read.h"
#include "formats/ruvm_diagnose.h"
#include "lib/base/bytes.h"
#include "lib/base/error.h"
#include "lib/core/engine.h"
#include "lib/measure/devices.h"
#include "lib/quant/scheme.h"
#include "lib/ruvm_tool.h"
#include "lib/vector/ask.h"

/* Bytes a token are file bytes, or those that its authors say are read. Rates as in the table
 * of chips; the last column of the table is filled by ruvm_fit(). */
#define PUBLISHED(name, where, from, bytes, rate, measured, whose)                                 \
    {                                                                                              \
        .system = (name), .chip = (where), .memory = (from), .source = (whose),                    \
        .bytes_token = (bytes), .tokens_per_s = (measured),                                        \
        .modelled_tokens_per_s = (rate)*1e6 / (bytes)                                              \
    }
static const struct ruvm_fit_published published[] = {
    PUBLISHED("esp32-llm, 260K, fp32", "ESP32-S3", "quad PSRAM", 1.04e6, 29.9, 19.13,
              "DaveBben/esp32-llm, README"),
    PUBLISHED("15M, int4", "ESP32-S3", "flash", 9.5e6, 29.9, 1.4, "harmansingh4163, README"),
    PUBLISHED("MimiModel, 45M, 2 bits, prefill", "ESP32-S3", "flash", 13.7e6, 29.9, 2.11,
              "MimiModel, README"),
    PUBLISHED("MimiModel, 45M, 2 bits, decode", "ESP32-S3", "flash", 13.7e6, 29.9, 1.73,
              "MimiModel, README"),
    PUBLISHED("HardwareOne, 7.3M, int8", "ESP32-S3", "octal PSRAM", 7.3e6, 84, 4,
              "HardwareOne, README"),
};

struct job {
    const struct ruvm_fit_options *o;
    struct ruvm_fit_result *r;
    struct ruvm_error *err;
    struct ruvm_file file;
    struct ruvm_image img;
    uint64_t knowledge_bytes, index_bytes; /* index: memory to search in it */
};

/* ---- the model ---------------------------------------------------------------------- */

static void take_knowledge(struct job *j, const struct ruvm_pack_section *s)
{
    struct ruvm_rag rag;
    j->knowledge_bytes = s->size;
    if (ruvm_rag_open(&rag, s->data, s->size, NULL) == RUVM_OK)
        j->index_bytes =
            ruvm_align_up(ruvm_ask_bytes(&rag, RUVM_DEVICES_ANSWERS), RUVM_DEVICES_ALIGN);
}

/* Of a classifier the tensors and the numbers of the header are all that is asked for. */
static int open_image(struct job *j, struct ruvm_image_fault *fault)
{
    struct ruvm_mlp_image m;
    j->r->is_classifier = ruvm_mlp_image_probe(j->file.data, j->file.size);
    if (!j->r->is_classifier)
        return ruvm_image_open(&j->img, j->file.data, j->file.size, fault);
    int rc = ruvm_mlp_image_open(&m, j->file.data, j->file.size, fault);
    j->img = m.img;
    return rc;
}

static int open_model(struct job *j)
{
    struct ruvm_image_fault fault;
    struct ruvm_pack pack;
    struct ruvm_pack_section s;
    int rc = ruvm_file_open(&j->file, j->o->input, j->err);
    if (rc != RUVM_OK)
        return rc;
    if (j->file.size < 4 || memcmp(j->file.data, RUVM_MAGIC, 4) != 0)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: whether it fits is known of an image: make one with ruvm quantize",
                         j->file.name);
    rc = open_image(j, &fault);
    if (rc != RUVM_OK)
        return ruvm_diagnose_fail(j->err, rc, j->file.name, &fault);
    if (j->img.version == RUVM_VERSION_V0)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: is the bare RUVM layout v0, which no chip can run: make an image "
                         "of it with ruvm quantize",
                         j->file.name);
    if (j->file.pack && ruvm_pack_open(&pack, j->file.pack, j->file.pack_size, NULL) == RUVM_OK &&
        ruvm_pack_find(&pack, RUVM_PACK_KNOWLEDGE, &s))
        take_knowledge(j, &s);
    return RUVM_OK;
}

/* The embedding and positions are looked up, a row a token. */
static bool is_multiplied(const struct ruvm_image *img, const struct ruvm_tensor *t)
{
    return t->kind == RUVM_TENSOR_EMBED ? img->tied : t->kind != RUVM_TENSOR_POSITION;
}

static bool is_of_layer(const struct ruvm_tensor *t)
{
    return t->kind != RUVM_TENSOR_EMBED && t->kind != RUVM_TENSOR_POSITION &&
           t->kind != RUVM_TENSOR_HEAD;
}

/* What a tensor takes: as it is, or of the type that was asked about. */
static uint64_t bytes_of(const struct ruvm_tensor *t, const struct ruvm_scheme *what_if)
{
    if (!what_if || !is_of_layer(t))
        return (uint64_t)t->data_bytes + t->scale_bytes;
    return ruvm_scheme_data_bytes(*what_if, t->rows, t->cols) +
           ruvm_scheme_scale_bytes(*what_if, t->rows, t->cols);
}

static int count_work(struct job *j)
{
    const struct ruvm_image *img = &j->img;
    struct ruvm_fit_result *r = j->r;
    struct ruvm_scheme scheme;
    if (j->o->type && ruvm_scheme_parse(&scheme, j->o->type, j->err) != RUVM_OK)
        return RUVM_ERR_ARG;
    r->is_estimate = j->o->type != NULL;
    r->image_bytes = j->file.size;
    for (unsigned i = 0; i < img->n_tensors; i++) {
        struct ruvm_tensor t = ruvm_image_tensor(img, i);
        uint64_t bytes = bytes_of(&t, j->o->type ? &scheme : NULL);
        r->image_bytes = r->image_bytes + bytes - bytes_of(&t, NULL);
        if (!is_multiplied(img, &t))
            continue;
        r->macs_token += (uint64_t)t.rows * t.cols;
        r->bytes_token += bytes;
    }
    /* Scores and mixing, in the middle of the context. */
    r->macs_token += (uint64_t)img->n_layers * img->n_heads * img->head_dim * r->context;
    return RUVM_OK;
}

/* ---- memory ------------------------------------------------------------------------- */

enum { REGION_ALIGN = 16 }; /* of the engine's */

/* The engine's own struct and rows begin its memory; their pointers are smaller on a chip. */
static uint64_t structs(size_t engine, size_t row, uint32_t context)
{
    uint32_t block = context < RUVM_DEVICES_BLOCK ? context : (uint32_t)RUVM_DEVICES_BLOCK;
    return ruvm_align_up(engine, REGION_ALIGN) + ruvm_align_up(block * row, REGION_ALIGN);
}

static uint64_t engine_bytes(const struct job *j, uint32_t context)
{
    size_t bytes = 0;
    uint64_t here = structs(sizeof(struct ruvm_engine), sizeof(struct ruvm_block_row), context);
    uint64_t there = structs(RUVM_ENGINE_BYTES_32, RUVM_BLOCK_ROW_BYTES_32, context);
    const struct ruvm_engine_options o = {.context = context, .block = RUVM_DEVICES_BLOCK};
    if (j->r->is_classifier) {
        int rc = ruvm_mlp_bytes(j->file.data, j->file.size, &bytes);
        return rc == RUVM_OK ? bytes : UINT64_MAX;
    }
    int rc = ruvm_engine_bytes(j->file.data, j->file.size, &o, &bytes);
    return rc == RUVM_OK ? bytes - here + there : UINT64_MAX;
}

static uint64_t cached_bytes(unsigned bits, unsigned head_dim)
{
    return bits == 4 ? (head_dim + 1u) / 2u : head_dim;
}

static uint64_t cache_bytes(const struct ruvm_image *img, uint32_t context)
{
    return (uint64_t)img->n_layers * context * img->n_kv_heads *
           (cached_bytes(img->k_bits, img->head_dim) + cached_bytes(img->v_bits, img->head_dim));
}

/* What stands behind the engine: up to the next aligned byte, and the buffers. */
static uint64_t buffer_bytes(uint64_t engine, uint32_t context)
{
    return ruvm_align_up(engine, RUVM_DEVICES_ALIGN) - engine + ruvm_devices_buffer_bytes(context);
}

static bool has_room(const struct job *j, const struct ruvm_device *d, uint32_t context)
{
    uint64_t engine = engine_bytes(j, context);
    return engine <= d->memory_bytes && engine + buffer_bytes(engine, context) + j->index_bytes +
                                                d->static_bytes + d->stack_bytes <=
                                            d->memory_bytes;
}

/* Memory only grows with the context. */
static uint32_t largest_context(const struct job *j, const struct ruvm_device *d)
{
    uint32_t low = 0, high = j->img.context;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (has_room(j, d, middle))
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static int fit_memory(struct job *j, struct ruvm_fit_chip *c, const struct ruvm_device *d)
{
    uint64_t engine = engine_bytes(j, j->r->context);
    if (engine == UINT64_MAX)
        return ruvm_fail(j->err, RUVM_ERR_UNSUPPORTED,
                         "%s: no engine can be made for a context of %u", j->file.name,
                         j->r->context);
    c->context = j->r->context;
    c->memory_bytes = d->memory_bytes;
    c->kv_cache_bytes = cache_bytes(&j->img, c->context);
    c->state_bytes = engine - c->kv_cache_bytes;
    c->static_bytes = d->static_bytes;
    c->stack_bytes = d->stack_bytes;
    c->buffer_bytes = buffer_bytes(engine, c->context);
    c->index_bytes = j->index_bytes;
    c->memory_left_bytes =
        (int64_t)d->memory_bytes -
        (int64_t)(engine + c->buffer_bytes + c->index_bytes + c->static_bytes + c->stack_bytes);
    c->wifi_bytes = (uint64_t)d->wifi_bytes.value;
    c->fits_memory = c->memory_left_bytes >= 0;
    c->fits_wifi = c->memory_left_bytes >= (int64_t)c->wifi_bytes;
    c->largest_context = largest_context(j, d);
    return RUVM_OK;
}

/* ---- flash and speed ------------------------------------------------------------------ */

static void fit_flash(const struct job *j, struct ruvm_fit_chip *c, const struct ruvm_device *d)
{
    uint64_t pack =
        (j->file.pack ? j->file.pack_size : j->file.size) + j->r->image_bytes - j->file.size;
    c->flash_bytes = j->o->flash_bytes ? j->o->flash_bytes : RUVM_DEVICES_FLASH_BYTES;
    c->window_bytes = d->has_firmware ? d->pack_window_bytes : ruvm_devices_window(d);
    c->model_bytes = pack - j->knowledge_bytes;
    c->knowledge_bytes = j->knowledge_bytes;
    c->firmware_bytes =
        RUVM_DEVICES_FIRMWARE_BYTES + (j->knowledge_bytes ? RUVM_DEVICES_SEARCH_BYTES : 0u);
    c->flash_left_bytes = (int64_t)c->flash_bytes - (int64_t)(pack + c->firmware_bytes);
    c->fits_flash = c->flash_left_bytes >= 0;
    uint64_t program = d->has_firmware ? 0 : RUVM_DEVICES_PAGE_BYTES; /* in the same window */
    c->fits_window = pack + program <= c->window_bytes;
}

static void bound_speed(const struct job *j, struct ruvm_fit_chip *c, const struct ruvm_device *d)
{
    c->clock_mhz = d->clock_mhz.value;
    c->instructions_mac = d->instructions_mac.value;
    c->flash_mb_s = d->flash_mb_s.value;
    c->instructions_source = ruvm_devices_source(d->instructions_mac.source);
    c->flash_source = ruvm_devices_source(d->flash_mb_s.source);
    c->compute_s = (double)j->r->macs_token * c->instructions_mac / (c->clock_mhz * 1e6);
    c->memory_s = (double)j->r->bytes_token / (c->flash_mb_s * 1e6);
    c->binding = c->compute_s >= c->memory_s ? "compute" : "flash";
    c->tokens_per_s = 1 / (c->compute_s >= c->memory_s ? c->compute_s : c->memory_s);
}

static int fit_chip(struct job *j, const struct ruvm_device *d)
{
    struct ruvm_fit_chip *c = &j->r->chips[j->r->n_chips++];
    *c = (struct ruvm_fit_chip){.name = d->name,
                                .family = d->family,
                                .core = d->core,
                                .vector = d->vector,
                                .psram = d->psram};
    int rc = fit_memory(j, c, d);
    fit_flash(j, c, d);
    bound_speed(j, c, d);
    c->fits = c->fits_flash && c->fits_window && c->fits_memory;
    return rc;
}

static int fit_all(struct job *j)
{
    const struct ruvm_device *d;
    int rc = RUVM_OK;
    if (strcmp(j->o->chip, "all") != 0) {
        rc = ruvm_devices_find(&d, j->o->chip, j->err);
        return rc == RUVM_OK ? fit_chip(j, d) : rc;
    }
    for (unsigned i = 0; (d = ruvm_devices_at(i)) && rc == RUVM_OK; i++)
        rc = fit_chip(j, d);
    return rc;
}

static int work(struct job *j)
{
    int rc = open_model(j);
    if (rc != RUVM_OK)
        return rc;
    j->r->context = j->o->context ? j->o->context : j->img.context;
    if (j->r->context > j->img.context)
        return ruvm_fail(j->err, RUVM_ERR_ARG,
                         "%s: a context of %u is more than the %u positions that the model was "
                         "made for",
                         j->file.name, j->r->context, j->img.context);
    rc = count_work(j);
    return rc == RUVM_OK ? fit_all(j) : rc;
}

int ruvm_fit(const struct ruvm_fit_options *o, struct ruvm_fit_result *r, struct ruvm_error *err)
{
    struct job j = {.o = o, .r = r, .err = err};
    *r = (struct ruvm_fit_result){.published = published,
                                  .n_published = sizeof published / sizeof *published};
    int rc = work(&j);
    ruvm_file_close(&j.file);
    return rc;
}
