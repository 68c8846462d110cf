/* What a node of an ONNX graph says about itself: its attributes, read from the file when they are
 * asked for, and which operators there are.
 */
#include <string.h>

#include "formats/onnx_tensor.h"

enum node_field { ATTRIBUTE = 5 };
enum attribute_field { ATTR_NAME = 1, F = 2, I = 3, S = 4, INTS = 8 };
enum { MAX_OPERATORS = 512 }; /* ONNX has some two hundred */

bool ruvm_onnx_is(struct ruvm_onnx_text text, const char *what)
{
    return text.size == strlen(what) && (!text.size || memcmp(text.at, what, text.size) == 0);
}

static bool same(struct ruvm_onnx_text a, struct ruvm_onnx_text b)
{
    return a.size == b.size && (!a.size || memcmp(a.at, b.at, a.size) == 0);
}

/* ---- attributes ---------------------------------------------------------------------- */

static bool read_attribute(struct ruvm_protobuf p, const char *name, struct ruvm_onnx_attribute *a)
{
    struct ruvm_protobuf_field f;
    struct ruvm_onnx_text is = {0};
    *a = (struct ruvm_onnx_attribute){.bytes = p.at, .size = (size_t)(p.end - p.at)};
    while (ruvm_protobuf_next(&p, &f)) {
        if (ruvm_protobuf_is(&f, ATTR_NAME, RUVM_PROTOBUF_BYTES))
            is = ruvm_onnx_tensor_text(&f);
        if (ruvm_protobuf_is(&f, I, RUVM_PROTOBUF_VARINT))
            a->i = (int64_t)f.value;
        if (ruvm_protobuf_is(&f, F, RUVM_PROTOBUF_FIXED32))
            a->f = ruvm_protobuf_float(&f);
        if (ruvm_protobuf_is(&f, S, RUVM_PROTOBUF_BYTES))
            a->text = ruvm_onnx_tensor_text(&f);
    }
    return ruvm_onnx_is(is, name);
}

bool ruvm_onnx_attribute(const struct ruvm_onnx_node *node, const char *name,
                         struct ruvm_onnx_attribute *a)
{
    struct ruvm_protobuf p = node->message;
    struct ruvm_protobuf_field f;
    while (ruvm_protobuf_next(&p, &f))
        if (ruvm_protobuf_is(&f, ATTRIBUTE, RUVM_PROTOBUF_BYTES) &&
            read_attribute(ruvm_protobuf_inside(&f), name, a))
            return true;
    return false;
}

uint32_t ruvm_onnx_attribute_ints(const struct ruvm_onnx_attribute *a, int64_t *values,
                                  uint32_t max)
{
    struct ruvm_protobuf p = ruvm_protobuf_over(a->bytes, a->size);
    struct ruvm_protobuf_field f;
    uint64_t number;
    uint32_t n = 0;
    while (ruvm_protobuf_next(&p, &f)) {
        if (f.number != INTS)
            continue;
        struct ruvm_protobuf packed = ruvm_protobuf_inside(&f);
        if (f.type == RUVM_PROTOBUF_VARINT && n++ < max)
            values[n - 1] = (int64_t)f.value;
        while (ruvm_protobuf_varint(&packed, &number))
            if (n++ < max)
                values[n - 1] = (int64_t)number;
    }
    return n;
}

/* ---- operators ------------------------------------------------------------------------ */

/* Among the first n; n when it is not there. */
static uint32_t find_operator(const struct ruvm_onnx_operator *list, uint32_t n,
                              const struct ruvm_onnx_node *node)
{
    for (uint32_t i = 0; i < n; i++)
        if (same(list[i].op, node->op) && same(list[i].domain, node->domain))
            return i;
    return n;
}

int ruvm_onnx_operators(struct ruvm_onnx_operator **operators, struct ruvm_arena *arena,
                        const struct ruvm_onnx *o)
{
    static const struct ruvm_onnx_text others = {.at = "(others)", .size = 8};
    struct ruvm_onnx_operator *list = ruvm_arena_alloc(arena, MAX_OPERATORS, sizeof *list);
    uint32_t n = 0;
    *operators = list;
    if (!list)
        return RUVM_ERR_MEMORY;
    for (uint32_t i = 0; i < o->n_nodes; i++) {
        const struct ruvm_onnx_node *node = &o->nodes[i];
        uint32_t at = find_operator(list, n, node);
        if (at == MAX_OPERATORS) {
            at--;
            list[at].op = others;
            list[at].domain = (struct ruvm_onnx_text){0};
        } else if (at == n) {
            list[n++] =
                (struct ruvm_onnx_operator){.op = node->op, .domain = node->domain, .first = i};
        }
        list[at].n_nodes++;
    }
    return (int)n;
}
