/* Opens a model's bytes: a file mapped as it is, the model in a pack, or the demo model that
 * is part of the library. All are read in place; only a pack is looked into here.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/bundle/pack_open.h"
#include "lib/run/session.h"

int ruvm_file_open(struct ruvm_file *file, const char *path, struct ruvm_error *err)
{
    *file = (struct ruvm_file){0};
    if (!path || strcmp(path, "demo") == 0) {
        file->data = ruvm_demo_start;
        file->size = (size_t)(ruvm_demo_end - ruvm_demo_start);
        file->name = "demo";
        return RUVM_OK;
    }
    struct ruvm_map *map = malloc(sizeof *map);
    if (!map)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", path);
    int rc = ruvm_file_map(map, path, err);
    if (rc != RUVM_OK) {
        free(map);
        return rc;
    }
    *file = (struct ruvm_file){.data = map->data, .size = map->size, .name = path, .owned = map};
    rc = ruvm_pack_open_model(file, err);
    if (rc != RUVM_OK)
        ruvm_file_close(file);
    return rc;
}

void ruvm_file_close(struct ruvm_file *file)
{
    if (file->owned) {
        ruvm_file_unmap(file->owned);
        free(file->owned);
    }
    *file = (struct ruvm_file){0};
}
