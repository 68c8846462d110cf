/* An ONNX file as a graph: nodes, the values between them, and the tensors that some values are.
 *
 * The graph is gone through twice: once to count, once to fill what was then allocated. A value is
 * a number; names are looked up in a hash table while reading and then only kept for people. The
 * format demands that nodes stand in an order in which they can be computed, and so does this:
 * who walks the graph need not fear a circle.
 */
#include "formats/onnx.h"

#include <string.h>

#include "formats/onnx_tensor.h"
#include "lib/base/bytes.h"

enum model_field {
    IR_VERSION = 1,
    PRODUCER = 2,
    PRODUCER_VERSION = 3,
    MODEL_DOMAIN = 4,
    MODEL_VERSION = 5,
    MODEL_DOC = 6,
    GRAPH = 7,
    OPSET = 8,
    PROPERTY = 14,
    TRAINING = 20,
    FUNCTION = 25,
};
enum graph_field { NODE = 1, INITIALIZER = 5, INPUT = 11, OUTPUT = 12, SPARSE = 15 };
enum node_field { IN = 1, OUT = 2, NODE_NAME = 3, OP = 4, NODE_DOMAIN = 7 };
enum { TENSOR = 5 }; /* of an attribute */
enum { KEY = 1, VALUE = 2, OPSET_DOMAIN = 1, OPSET_VERSION = 2, VALUE_NAME = 1 };

/* A decoder of a hundred layers has some ten thousand nodes; a node needs two bytes of a file but
 * a hundred of memory. */
enum { MAX_ITEMS = 1 << 20, MAX_NAMES = 1 << 22, MAX_IR_VERSION = 32 };
enum { PROBED_FIELDS = 16 };

struct building {
    struct ruvm_onnx *o;
    struct ruvm_arena *arena;
    struct ruvm_error *err;
    const uint8_t *file;
    uint32_t *slots, *args; /* of the hash table of names; [n_names] values of nodes */
    uint32_t n_slots, n_args;
    uint64_t n_nodes, n_initializers, n_names, n_properties;
};

static int fault(const struct building *b, const struct ruvm_protobuf *p)
{
    return ruvm_fail(b->err, RUVM_ERR_CORRUPT, "byte %zu: %s", (size_t)(p->fault_at - b->file),
                     p->fault);
}

static int corrupt(const struct building *b, const char *what, struct ruvm_onnx_text name)
{
    return ruvm_fail(b->err, RUVM_ERR_CORRUPT, "%s %.*s", what, ruvm_onnx_tensor_shown(name),
                     name.size ? name.at : "");
}

/* ---- values by name ---------------------------------------------------------------- */

static uint32_t hash(struct ruvm_onnx_text name)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < name.size; i++)
        h = (h ^ (uint8_t)name.at[i]) * 16777619u;
    return h;
}

static bool same(struct ruvm_onnx_text a, struct ruvm_onnx_text b)
{
    return a.size == b.size && (!a.size || memcmp(a.at, b.at, a.size) == 0);
}

/* The value of a name, made at its first mention; an empty name is none. */
static uint32_t value_of(struct building *b, struct ruvm_onnx_text name)
{
    struct ruvm_onnx *o = b->o;
    if (name.size == 0)
        return RUVM_ONNX_NONE;
    uint32_t at = hash(name) & (b->n_slots - 1);
    for (; b->slots[at]; at = (at + 1) & (b->n_slots - 1))
        if (same(o->values[b->slots[at] - 1].name, name))
            return b->slots[at] - 1;
    o->values[o->n_values] =
        (struct ruvm_onnx_value){.name = name, .maker = RUVM_ONNX_NONE, .tensor = RUVM_ONNX_NONE};
    b->slots[at] = ++o->n_values;
    return o->n_values - 1;
}

/* ---- counting ---------------------------------------------------------------------- */

static int count_node(struct building *b, const struct ruvm_protobuf_field *node)
{
    struct ruvm_protobuf p = ruvm_protobuf_inside(node);
    struct ruvm_protobuf_field f;
    b->n_nodes++;
    while (ruvm_protobuf_next(&p, &f))
        b->n_names += f.type == RUVM_PROTOBUF_BYTES && (f.number == IN || f.number == OUT);
    return p.fault ? fault(b, &p) : RUVM_OK;
}

static int count_graph(struct building *b, struct ruvm_protobuf p)
{
    struct ruvm_protobuf_field f;
    int rc = RUVM_OK;
    while (rc == RUVM_OK && ruvm_protobuf_next(&p, &f)) {
        if (f.type != RUVM_PROTOBUF_BYTES)
            continue;
        if (f.number == NODE)
            rc = count_node(b, &f);
        b->n_initializers += f.number == INITIALIZER;
        b->n_names += f.number == INITIALIZER || f.number == INPUT || f.number == OUTPUT;
        b->o->n_sparse += f.number == SPARSE;
    }
    return rc == RUVM_OK && p.fault ? fault(b, &p) : rc;
}

static int allocate(struct building *b)
{
    struct ruvm_onnx *o = b->o;
    if (b->n_nodes > MAX_ITEMS || b->n_initializers > MAX_ITEMS || b->n_properties > MAX_ITEMS ||
        b->n_names > MAX_NAMES)
        return ruvm_fail(b->err, RUVM_ERR_UNSUPPORTED,
                         "has %llu nodes, %llu initializers and %llu names; ruvm reads graphs of "
                         "at most %d, %d and %d",
                         (unsigned long long)b->n_nodes, (unsigned long long)b->n_initializers,
                         (unsigned long long)b->n_names, MAX_ITEMS, MAX_ITEMS, MAX_NAMES);
    for (b->n_slots = 2; b->n_slots <= 2 * b->n_names; b->n_slots *= 2)
        continue;
    size_t n_tensors = (size_t)(b->n_initializers + b->n_nodes);
    o->nodes = ruvm_arena_alloc(b->arena, (size_t)b->n_nodes, sizeof *o->nodes);
    o->values = ruvm_arena_alloc(b->arena, (size_t)b->n_names, sizeof *o->values);
    o->tensors = ruvm_arena_alloc(b->arena, n_tensors, sizeof *o->tensors);
    o->properties = ruvm_arena_alloc(b->arena, (size_t)b->n_properties, sizeof *o->properties);
    b->slots = ruvm_arena_alloc(b->arena, b->n_slots, sizeof *b->slots);
    b->args = ruvm_arena_alloc(b->arena, (size_t)b->n_names, sizeof *b->args);
    if (!o->nodes || !o->values || !o->tensors || !o->properties || !b->slots || !b->args)
        return ruvm_fail(b->err, RUVM_ERR_MEMORY, "no memory for the graph");
    return RUVM_OK;
}

/* ---- filling ----------------------------------------------------------------------- */

static int add_initializer(struct building *b, const struct ruvm_protobuf_field *f)
{
    struct ruvm_onnx *o = b->o;
    struct ruvm_onnx_tensor *t = &o->tensors[o->n_tensors];
    int rc = ruvm_onnx_tensor_read(t, b->arena, f, b->file, b->err);
    if (rc != RUVM_OK)
        return rc;
    uint32_t value = value_of(b, t->name);
    if (value == RUVM_ONNX_NONE)
        return corrupt(b, "an initializer has no name", t->name);
    if (o->values[value].tensor != RUVM_ONNX_NONE)
        return corrupt(b, "two initializers have the name", t->name);
    o->values[value].tensor = o->n_tensors++;
    o->n_initializers++;
    return RUVM_OK;
}

/* A graph's input or output: only its name matters here. */
static int add_end(struct building *b, const struct ruvm_protobuf_field *info, bool is_input)
{
    struct ruvm_protobuf p = ruvm_protobuf_inside(info);
    struct ruvm_protobuf_field f;
    while (ruvm_protobuf_next(&p, &f)) {
        if (!ruvm_protobuf_is(&f, VALUE_NAME, RUVM_PROTOBUF_BYTES))
            continue;
        uint32_t value = value_of(b, ruvm_onnx_tensor_text(&f));
        if (value != RUVM_ONNX_NONE && is_input)
            b->o->values[value].is_input = true;
        else if (value != RUVM_ONNX_NONE)
            b->o->values[value].is_output = true;
        return RUVM_OK;
    }
    return p.fault ? fault(b, &p) : RUVM_OK;
}

/* Besides a tensor, what a Constant may be. */
static const char *const numbers[] = {"value_float", "value_int", "value_floats", "value_ints"};

static void store_float(uint8_t *to, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    ruvm_store_u32(to, bits);
}

static void store_integer(uint8_t *to, int64_t value)
{
    ruvm_store_u32(to, (uint32_t)value);
    ruvm_store_u32(to + 4, (uint32_t)((uint64_t)value >> 32));
}

/* A Constant of plain numbers as a tensor. */
static int constant_numbers(struct building *b, struct ruvm_onnx_tensor *t, uint32_t kind,
                            const struct ruvm_onnx_attribute *a)
{
    uint32_t n = kind == 3 ? ruvm_onnx_attribute_ints(a, NULL, 0) : 1;
    bool is_float = kind % 2 == 0;
    *t = (struct ruvm_onnx_tensor){.type = is_float ? RUVM_ONNX_FLOAT : RUVM_ONNX_INT64,
                                   .n_values = n};
    if (kind == 2) /* rare: no exporter that ruvm accepts writes it */
        return RUVM_OK;
    t->n_dims = kind == 3;
    t->dims[0] = kind == 3 ? n : 0;
    t->bytes = n * (is_float ? sizeof(float) : sizeof(int64_t));
    int64_t *values = ruvm_arena_alloc(b->arena, n ? n : 1, sizeof *values);
    if (!values)
        return ruvm_fail(b->err, RUVM_ERR_MEMORY, "no memory for the graph");
    values[0] = a->i;
    if (kind == 3)
        ruvm_onnx_attribute_ints(a, values, n);
    for (uint32_t i = 0; !is_float && i < n; i++)
        store_integer((uint8_t *)&values[i], values[i]);
    if (is_float)
        store_float((uint8_t *)values, a->f);
    t->data = (const uint8_t *)values;
    return RUVM_OK;
}

static int add_constant(struct building *b, const struct ruvm_onnx_node *node)
{
    struct ruvm_onnx *o = b->o;
    struct ruvm_onnx_tensor *t = &o->tensors[o->n_tensors];
    struct ruvm_onnx_attribute a;
    int rc = RUVM_OK;
    bool found = ruvm_onnx_attribute(node, "value", &a);
    if (found) {
        struct ruvm_protobuf p = ruvm_protobuf_over(a.bytes, a.size);
        struct ruvm_protobuf_field f, tensor = {0};
        while (ruvm_protobuf_next(&p, &f))
            if (ruvm_protobuf_is(&f, TENSOR, RUVM_PROTOBUF_BYTES))
                tensor = f;
        if (!tensor.bytes)
            return RUVM_OK;
        rc = ruvm_onnx_tensor_read(t, b->arena, &tensor, b->file, b->err);
        t->name = (struct ruvm_onnx_text){0};
    }
    for (uint32_t kind = 0; !found && kind < 4; kind++)
        if ((found = ruvm_onnx_attribute(node, numbers[kind], &a)))
            rc = constant_numbers(b, t, kind, &a);
    if (rc == RUVM_OK && found && node->n_out > 0 && node->out[0] != RUVM_ONNX_NONE)
        o->values[node->out[0]].tensor = o->n_tensors++;
    return rc;
}

/* Values of a node's field (IN or OUT), in the order of the file. */
static uint32_t add_args(struct building *b, struct ruvm_protobuf p, uint32_t field)
{
    struct ruvm_protobuf_field f;
    uint32_t first = b->n_args;
    while (ruvm_protobuf_next(&p, &f))
        if (ruvm_protobuf_is(&f, field, RUVM_PROTOBUF_BYTES))
            b->args[b->n_args++] = value_of(b, ruvm_onnx_tensor_text(&f));
    return b->n_args - first;
}

static int check_order(struct building *b, const struct ruvm_onnx_node *node)
{
    struct ruvm_onnx *o = b->o;
    for (uint32_t i = 0; i < node->n_in; i++) {
        if (node->in[i] == RUVM_ONNX_NONE)
            continue;
        const struct ruvm_onnx_value *v = &o->values[node->in[i]];
        if (v->maker == RUVM_ONNX_NONE && v->tensor == RUVM_ONNX_NONE && !v->is_input)
            return corrupt(b, "nothing before its use makes the value", v->name);
    }
    for (uint32_t i = 0; i < node->n_out; i++) {
        if (node->out[i] == RUVM_ONNX_NONE)
            continue;
        struct ruvm_onnx_value *v = &o->values[node->out[i]];
        if (v->maker != RUVM_ONNX_NONE || v->tensor != RUVM_ONNX_NONE || v->is_input)
            return corrupt(b, "there are two makers of the value", v->name);
        v->maker = o->n_nodes;
    }
    return RUVM_OK;
}

static int add_node(struct building *b, const struct ruvm_protobuf_field *field)
{
    struct ruvm_protobuf p = ruvm_protobuf_inside(field);
    struct ruvm_protobuf_field f;
    struct ruvm_onnx_node *node = &b->o->nodes[b->o->n_nodes];
    node->message = p;
    while (ruvm_protobuf_next(&p, &f)) {
        if (ruvm_protobuf_is(&f, OP, RUVM_PROTOBUF_BYTES))
            node->op = ruvm_onnx_tensor_text(&f);
        if (ruvm_protobuf_is(&f, NODE_NAME, RUVM_PROTOBUF_BYTES))
            node->name = ruvm_onnx_tensor_text(&f);
        if (ruvm_protobuf_is(&f, NODE_DOMAIN, RUVM_PROTOBUF_BYTES))
            node->domain = ruvm_onnx_tensor_text(&f);
    }
    if (ruvm_onnx_is(node->domain, "ai.onnx"))
        node->domain.size = 0;
    node->in = b->args + b->n_args;
    node->n_in = add_args(b, node->message, IN);
    node->out = b->args + b->n_args;
    node->n_out = add_args(b, node->message, OUT);
    int rc = check_order(b, node);
    if (rc == RUVM_OK && node->domain.size == 0 && ruvm_onnx_is(node->op, "Constant"))
        rc = add_constant(b, node);
    b->o->n_nodes++;
    return rc;
}

/* Initializers and inputs may stand after the nodes that use them. */
static int fill_graph(struct building *b, struct ruvm_protobuf graph)
{
    struct ruvm_protobuf p = graph;
    struct ruvm_protobuf_field f;
    int rc = RUVM_OK;
    while (rc == RUVM_OK && ruvm_protobuf_next(&p, &f)) {
        if (ruvm_protobuf_is(&f, INITIALIZER, RUVM_PROTOBUF_BYTES))
            rc = add_initializer(b, &f);
        if (ruvm_protobuf_is(&f, INPUT, RUVM_PROTOBUF_BYTES))
            rc = add_end(b, &f, true);
        if (ruvm_protobuf_is(&f, OUTPUT, RUVM_PROTOBUF_BYTES))
            rc = add_end(b, &f, false);
    }
    p = graph;
    while (rc == RUVM_OK && ruvm_protobuf_next(&p, &f))
        if (ruvm_protobuf_is(&f, NODE, RUVM_PROTOBUF_BYTES))
            rc = add_node(b, &f);
    return rc;
}

/* ---- the model ---------------------------------------------------------------------- */

static void read_opset(struct ruvm_onnx *o, struct ruvm_protobuf p)
{
    struct ruvm_protobuf_field f;
    struct ruvm_onnx_text domain = {0};
    uint64_t version = 0;
    while (ruvm_protobuf_next(&p, &f)) {
        if (ruvm_protobuf_is(&f, OPSET_DOMAIN, RUVM_PROTOBUF_BYTES))
            domain = ruvm_onnx_tensor_text(&f);
        if (ruvm_protobuf_is(&f, OPSET_VERSION, RUVM_PROTOBUF_VARINT))
            version = f.value;
    }
    if (domain.size == 0 || ruvm_onnx_is(domain, "ai.onnx"))
        o->opset = version;
}

static void add_property(struct ruvm_onnx *o, struct ruvm_protobuf p)
{
    struct ruvm_protobuf_field f;
    struct ruvm_onnx_property *property = &o->properties[o->n_properties++];
    while (ruvm_protobuf_next(&p, &f)) {
        if (ruvm_protobuf_is(&f, KEY, RUVM_PROTOBUF_BYTES))
            property->key = ruvm_onnx_tensor_text(&f);
        if (ruvm_protobuf_is(&f, VALUE, RUVM_PROTOBUF_BYTES))
            property->value = ruvm_onnx_tensor_text(&f);
    }
}

static int read_model(struct building *b, struct ruvm_protobuf p, struct ruvm_protobuf_field *graph)
{
    struct ruvm_onnx *o = b->o;
    struct ruvm_protobuf_field f;
    while (ruvm_protobuf_next(&p, &f)) {
        if (ruvm_protobuf_is(&f, IR_VERSION, RUVM_PROTOBUF_VARINT))
            o->ir_version = f.value;
        if (ruvm_protobuf_is(&f, PRODUCER, RUVM_PROTOBUF_BYTES))
            o->producer = ruvm_onnx_tensor_text(&f);
        if (ruvm_protobuf_is(&f, OPSET, RUVM_PROTOBUF_BYTES))
            read_opset(o, ruvm_protobuf_inside(&f));
        b->n_properties += ruvm_protobuf_is(&f, PROPERTY, RUVM_PROTOBUF_BYTES);
        if (!ruvm_protobuf_is(&f, GRAPH, RUVM_PROTOBUF_BYTES))
            continue;
        if (graph->bytes)
            return ruvm_fail(b->err, RUVM_ERR_CORRUPT, "byte %zu: a second graph",
                             (size_t)(f.bytes - b->file));
        *graph = f;
    }
    if (p.fault)
        return ruvm_fail(b->err, RUVM_ERR_CORRUPT, "byte %zu: %s (truncated? fetch it again)",
                         (size_t)(p.fault_at - b->file), p.fault);
    if (!graph->bytes)
        return ruvm_fail(b->err, RUVM_ERR_CORRUPT, "there is no graph in it");
    return RUVM_OK;
}

int ruvm_onnx_parse(struct ruvm_onnx *o, struct ruvm_arena *arena, const uint8_t *data, size_t size,
                    struct ruvm_error *err)
{
    struct building b = {.o = o, .arena = arena, .err = err, .file = data};
    struct ruvm_protobuf_field graph = {0}, f;
    struct ruvm_protobuf model = ruvm_protobuf_over(data, size);
    *o = (struct ruvm_onnx){0};
    int rc = read_model(&b, model, &graph);
    if (rc == RUVM_OK)
        rc = count_graph(&b, ruvm_protobuf_inside(&graph));
    if (rc == RUVM_OK)
        rc = allocate(&b);
    while (rc == RUVM_OK && ruvm_protobuf_next(&model, &f))
        if (ruvm_protobuf_is(&f, PROPERTY, RUVM_PROTOBUF_BYTES))
            add_property(o, ruvm_protobuf_inside(&f));
    return rc == RUVM_OK ? fill_graph(&b, ruvm_protobuf_inside(&graph)) : rc;
}

/* A number of the intermediate representation, then fields that a model has, one of them the
 * graph, the producer or the opsets; what is cut off behind them does not matter. */
bool ruvm_onnx_probe(const uint8_t *data, size_t size)
{
    struct ruvm_protobuf p = ruvm_protobuf_over(data, size);
    struct ruvm_protobuf_field f;
    bool is_typical = false;
    if (!ruvm_protobuf_next(&p, &f) || !ruvm_protobuf_is(&f, IR_VERSION, RUVM_PROTOBUF_VARINT) ||
        f.value < 1 || f.value > MAX_IR_VERSION)
        return false;
    for (int i = 0; i < PROBED_FIELDS && ruvm_protobuf_next(&p, &f); i++) {
        bool is_number = f.number == IR_VERSION || f.number == MODEL_VERSION;
        bool is_text = (f.number >= PRODUCER && f.number <= OPSET) || f.number >= PROPERTY;
        if (f.type != (is_number ? RUVM_PROTOBUF_VARINT : RUVM_PROTOBUF_BYTES) ||
            !(is_number || is_text) || f.number > FUNCTION + 1)
            return false;
        is_typical = is_typical || f.number == PRODUCER || f.number == GRAPH || f.number == OPSET;
    }
    /* cut inside the graph, which nothing but more bytes would have shown */
    bool is_cut = p.fault && size > 3 && (data[2] == 0x12 || data[2] == 0x3a || data[2] == 0x42);
    return is_typical ? true : is_cut;
}
