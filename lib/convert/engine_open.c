/* The engine asks its caller for memory; on a workstation that is one allocation. */
#include "lib/convert/engine_open.h"

#include "kernels/kernels.h"

int ruvm_engine_open(struct ruvm_engine **e, struct ruvm_arena *arena, const void *image,
                     size_t image_bytes, const struct ruvm_engine_options *options,
                     struct ruvm_error *err)
{
    struct ruvm_engine_options o = options ? *options : (struct ruvm_engine_options){0};
    size_t bytes = 0;
    if (!o.kernels)
        o.kernels = ruvm_kernels_select(NULL);
    int rc = ruvm_engine_bytes(image, image_bytes, &o, &bytes);
    if (rc != RUVM_OK)
        return ruvm_fail(err, rc, "the image does not run: %s", ruvm_status_text(rc));
    void *memory = ruvm_arena_alloc(arena, bytes, 1);
    if (!memory)
        return ruvm_fail(err, RUVM_ERR_MEMORY,
                         "the engine needs %zu bytes: ask for a smaller "
                         "context",
                         bytes);
    rc = ruvm_engine_init(e, memory, bytes, image, image_bytes, &o);
    return rc == RUVM_OK ? rc
                         : ruvm_fail(err, rc, "the image does not run: %s", ruvm_status_text(rc));
}
