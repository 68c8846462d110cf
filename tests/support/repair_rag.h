/* Recomputes the CRCs of a knowledge blob whose bytes were changed, wherever the section table
 * still points into the file: so that a test, or a fuzzer, gets past them. */
#ifndef TESTS_SUPPORT_REPAIR_RAG_H
#define TESTS_SUPPORT_REPAIR_RAG_H

#include <stddef.h>

#include "formats/rag_layout.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32.h"

static inline void repair_rag(uint8_t *data, size_t size)
{
    if (size < RUVM_RAG_HDR_BYTES)
        return;
    size_t n = ruvm_load_u16(data + RUVM_RAG_N_SECTIONS);
    if (n > (size - RUVM_RAG_HDR_BYTES) / RUVM_RSEC_BYTES)
        return;
    for (size_t i = 0; i < n; i++) {
        uint8_t *entry = data + RUVM_RAG_HDR_BYTES + i * RUVM_RSEC_BYTES;
        size_t off = ruvm_load_u32(entry + RUVM_RSEC_OFF);
        size_t bytes = ruvm_load_u32(entry + RUVM_RSEC_SIZE);
        if (off <= size && bytes <= size - off)
            ruvm_store_u32(entry + RUVM_RSEC_CRC, ruvm_crc32(0, data + off, bytes));
    }
    uint32_t crc = ruvm_crc32(0, data, RUVM_RAG_CRC);
    crc = ruvm_crc32(crc, data + RUVM_RAG_HDR_BYTES, n * RUVM_RSEC_BYTES);
    ruvm_store_u32(data + RUVM_RAG_CRC, crc);
}

#endif
