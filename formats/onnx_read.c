/* An ONNX file as a directory: its tensors of floats under the names and in the shapes that they
 * have in the file. What else it holds (integers, operators) is counted in the metadata.
 */
#include <string.h>

#include "formats/onnx_tensor.h"

enum { MAX_VIEW_DIMS = 4 };

/* Dimensions beyond four are folded into the first. */
static void shape(struct ruvm_view *v, const struct ruvm_onnx_tensor *t)
{
    uint32_t folded = t->n_dims > MAX_VIEW_DIMS ? t->n_dims - MAX_VIEW_DIMS : 0;
    v->n_dims = t->n_dims ? t->n_dims - folded : 1;
    v->dims[0] = 1;
    for (uint32_t i = 0; i <= folded && i < t->n_dims; i++)
        v->dims[0] *= t->dims[i];
    for (uint32_t i = 1; i < v->n_dims; i++)
        v->dims[i] = t->dims[folded + i];
}

static bool add_numbers(struct ruvm_tensors *out, struct ruvm_arena *arena,
                        const struct ruvm_onnx *o, uint32_t n_others)
{
    return ruvm_tensors_meta(out, arena, "ir_version", (double)o->ir_version) &&
           ruvm_tensors_meta(out, arena, "opset", (double)o->opset) &&
           ruvm_tensors_meta(out, arena, "nodes", o->n_nodes) &&
           ruvm_tensors_meta(out, arena, "tensors_not_float", n_others);
}

int ruvm_onnx_list(struct ruvm_tensors *out, struct ruvm_arena *arena, const struct ruvm_onnx *o,
                   struct ruvm_error *err)
{
    uint32_t n_others = 0;
    bool ok = true;
    *out = (struct ruvm_tensors){.format = "ONNX model"};
    for (uint32_t i = 0; ok && i < o->n_initializers; i++) {
        const struct ruvm_onnx_tensor *t = &o->tensors[i];
        struct ruvm_view v = {0};
        if (!ruvm_onnx_view(t, &v)) {
            n_others++;
            continue;
        }
        shape(&v, t);
        v.name = ruvm_arena_text(arena, t->name.at, t->name.size);
        ok = v.name && ruvm_tensors_add(out, arena, &v);
    }
    if (!ok || !add_numbers(out, arena, o, n_others))
        return ruvm_fail(err, RUVM_ERR_MEMORY, "no memory for the list of tensors");
    return RUVM_OK;
}

int ruvm_onnx_read(struct ruvm_tensors *out, struct ruvm_arena *arena, const uint8_t *data,
                   size_t size, struct ruvm_error *err)
{
    struct ruvm_onnx o;
    int rc = ruvm_onnx_parse(&o, arena, data, size, err);
    if (rc != RUVM_OK)
        return rc;
    for (uint32_t i = 0; i < o.n_tensors; i++)
        if (o.tensors[i].is_external)
            return ruvm_fail(err, RUVM_ERR_UNSUPPORTED,
                             "tensor %.*s: its data is in another file, which can only be found "
                             "from the path of this one",
                             ruvm_onnx_tensor_shown(o.tensors[i].name), o.tensors[i].name.at);
    return ruvm_onnx_list(out, arena, &o, err);
}
