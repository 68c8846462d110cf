/* The model that a chip runs: found in flash, checked, and ready to generate. */
#ifndef RUVM_DEVICE_MODEL_H
#define RUVM_DEVICE_MODEL_H

#include "lib/device/port.h"
#include "lib/ruvm.h"

struct ruvm_device_model {
    const uint8_t *image; /* in place in mapped flash */
    uint32_t image_bytes;
    bool in_pack;
    const uint8_t *knowledge; /* of the pack, or NULL */
    uint32_t knowledge_bytes;
    const char *settings; /* of the pack, or NULL */
    uint32_t settings_bytes;
    struct ruvm_model_info info;
    struct ruvm_tokenizer tokenizer;
    struct ruvm_engine *engine; /* NULL: there is none */
    uint32_t context, block;
    size_t engine_bytes;
    uint16_t *ids; /* [max_ids] of the text so far, and room for the tokenizer's work */
    size_t max_ids;
    uint8_t *index; /* [index_bytes] for questions to the knowledge */
    size_t index_bytes;
    size_t memory_bytes; /* of all of these */
};

/* Why there is no model: NULL, or what is wrong and what to do. */
const char *ruvm_device_model_find(struct ruvm_device_model *m);

/* Lays the engine and its buffers out in the memory that is free; context 0: the image's,
 * or the longest there is room for. max_line: bytes of a prompt. */
const char *ruvm_device_model_start(struct ruvm_device_model *m, uint32_t context, size_t max_line);

#endif
