/* From the partition table to an engine in the memory that is free.
 *
 * The partition holds a pack or a bare RUVM image; both are used where flash is mapped,
 * nothing is copied. What the engine needs is known exactly before it starts, so there is
 * no guess: either it fits, or it is said which context would. */
#include "lib/device/model.h"

#include "formats/pack_read.h"
#include "lib/base/bytes.h"
#include "lib/device/partition.h"
#include "lib/device/query.h"

/* Prompt tokens that go together: more of them read flash less often, but each takes memory,
 * 1.9 KB with a hidden size of 172. */
enum { ALIGN = 64, BLOCK = 3, CONTEXT_STEP = 16 };

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* A bare image tells itself how long it is; the partition is longer. */
static void take_bare(struct ruvm_device_model *m, const uint8_t *data, uint32_t bytes)
{
    uint32_t size = ruvm_load_u32(data + RUVM_HDR_FILE_BYTES);
    m->image = data;
    m->image_bytes = size < bytes ? size : bytes;
}

/* The model's image in a mapped partition. */
static const char *take_image(struct ruvm_device_model *m, const uint8_t *data, uint32_t bytes)
{
    struct ruvm_pack pack;
    m->in_pack = ruvm_pack_probe(data, bytes);
    if (!m->in_pack) {
        take_bare(m, data, bytes);
        return NULL;
    }
    struct ruvm_pack_section model;
    if (ruvm_pack_open(&pack, data, bytes, NULL) != RUVM_OK)
        return "the pack is damaged: write it again";
    if (!ruvm_pack_find(&pack, RUVM_PACK_MODEL, &model))
        return "the pack has no model: make it with `ruvm pack FILE`";
    m->image = model.data;
    m->image_bytes = model.size;
    struct ruvm_pack_section s;
    if (ruvm_pack_find(&pack, RUVM_PACK_KNOWLEDGE, &s)) {
        m->knowledge = s.data;
        m->knowledge_bytes = s.size;
    }
    if (ruvm_pack_find(&pack, RUVM_PACK_SETTINGS, &s)) {
        m->settings = (const char *)s.data;
        m->settings_bytes = s.size;
    }
    return NULL;
}

static const char *check_image(struct ruvm_device_model *m)
{
    switch (ruvm_model_info(&m->info, m->image, m->image_bytes)) {
    case RUVM_OK: break;
    case RUVM_ERR_UNSUPPORTED: return "the image is of another version: quantize the model again";
    default: return "the partition holds no sound image: write it again";
    }
    if (ruvm_tokenizer_init(&m->tokenizer, m->image, m->image_bytes) != RUVM_OK)
        return "the image has no tokenizer: quantize with --tokenizer FILE";
    return NULL;
}

const char *ruvm_device_model_find(struct ruvm_device_model *m)
{
    struct ruvm_partition p;
    const uint8_t *page = ruvm_port_map(0, RUVM_PORT_PAGE);
    *m = (struct ruvm_device_model){0};
    if (!page || !ruvm_partition_find(page + RUVM_PORT_TABLE_AT, RUVM_PARTITION_DATA,
                                      RUVM_PARTITION_PACK, &p))
        return "no partition of type data, subtype 0x40 in the table at 0x8000: flash one";
    p.bytes = ruvm_port_visible(p.bytes);
    const uint8_t *data = ruvm_port_map(p.off, p.bytes);
    if (!data || p.off % RUVM_PORT_PAGE != 0)
        return "the partition cannot be mapped: begin it at a multiple of 64 KB, within the window";
    const char *wrong = take_image(m, data, p.bytes);
    if (!wrong)
        wrong = check_image(m);
    m->index_bytes = aligned(ruvm_device_query_bytes(m));
    return wrong;
}

/* Bytes of everything at a context, or 0 when they cannot be counted. */
static size_t bytes_at(struct ruvm_device_model *m, uint32_t context, size_t max_line)
{
    const struct ruvm_engine_options o = {
        .context = context, .block = BLOCK, .kernels = ruvm_port_kernels()};
    size_t work = RUVM_MAX_TOKENS(max_line);
    if (ruvm_engine_bytes(m->image, m->image_bytes, &o, &m->engine_bytes) != RUVM_OK)
        return 0;
    m->context = context;
    m->max_ids = context + work;
    return aligned(m->engine_bytes) + aligned(m->max_ids * sizeof *m->ids) + m->index_bytes;
}

/* The longest context that fits. Memory grows with it as a straight line, but for the
 * rounding of regions: so two points tell about where, and a few steps the rest. */
static size_t longest(struct ruvm_device_model *m, size_t room, size_t max_line)
{
    uint32_t most = m->info.context, least = most < CONTEXT_STEP ? most : CONTEXT_STEP;
    size_t high = bytes_at(m, most, max_line), low;
    if (high <= room)
        return high;
    low = bytes_at(m, least, max_line);
    if (low > room || low == 0)
        return low;
    uint32_t fits = least + (uint32_t)((uint64_t)(room - low) * (most - least) / (high - low));
    size_t bytes = bytes_at(m, fits, max_line);
    while (bytes <= room && fits < most)
        bytes = bytes_at(m, ++fits, max_line);
    while (bytes > room && fits > least)
        bytes = bytes_at(m, --fits, max_line);
    return bytes;
}

const char *ruvm_device_model_start(struct ruvm_device_model *m, uint32_t context, size_t max_line)
{
    struct ruvm_port_memory memory = ruvm_port_memory();
    m->engine = NULL;
    m->block = BLOCK;
    if (context > m->info.context)
        return "the context is longer than the image's";
    size_t bytes =
        context ? bytes_at(m, context, max_line) : longest(m, memory.free_bytes, max_line);
    if (bytes == 0)
        return "the engine cannot run this image: see `ruvm inspect`";
    if (bytes > memory.free_bytes)
        return "too little memory: a shorter context or a smaller model is needed";
    m->memory_bytes = bytes;
    m->ids = (uint16_t *)(void *)(memory.free + aligned(m->engine_bytes));
    m->index = memory.free + bytes - m->index_bytes;
    const struct ruvm_engine_options o = {
        .context = m->context, .block = BLOCK, .kernels = ruvm_port_kernels()};
    int rc =
        ruvm_engine_init(&m->engine, memory.free, m->engine_bytes, m->image, m->image_bytes, &o);
    return rc == RUVM_OK ? NULL : ruvm_status_text(rc);
}
