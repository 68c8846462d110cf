/* Any bytes as a message of protocol buffers, and each of its fields as a message too. */
#include <stdlib.h>

#include "formats/protobuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_DEPTH = 8 };

static void walk(struct ruvm_protobuf p, int depth, const uint8_t *data, size_t size)
{
    struct ruvm_protobuf_field f;
    struct ruvm_protobuf numbers;
    volatile uint64_t sum = 0;
    uint64_t value;
    while (ruvm_protobuf_next(&p, &f)) {
        for (size_t i = 0; i < f.size; i++)
            sum = sum + f.bytes[i];
        numbers = ruvm_protobuf_inside(&f);
        while (ruvm_protobuf_varint(&numbers, &value))
            sum = sum + value;
        if (depth < MAX_DEPTH)
            walk(ruvm_protobuf_inside(&f), depth + 1, data, size);
    }
    if (p.fault && (p.fault_at < data || p.fault_at > data + size))
        abort();
    if (p.at != p.end)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk(ruvm_protobuf_over(data, size), 0, data, size);
    return 0;
}
