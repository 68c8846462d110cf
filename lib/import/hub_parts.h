/* What the files of lib/import/hub*.c share: a directory while it is being opened. */
#ifndef RUVM_IMPORT_HUB_PARTS_H
#define RUVM_IMPORT_HUB_PARTS_H

#include "lib/import/hub.h"

struct cJSON;

struct ruvm_hub_opening {
    struct ruvm_hub *hub;
    const char *folder; /* ends with a slash, or is empty */
    struct ruvm_error *err;
};

/* hub.c; the folder's name for people. */
const char *ruvm_hub_folder(const struct ruvm_hub_opening *o);
int ruvm_hub_no_memory(struct ruvm_hub_opening *o);

/* folder and name together, or NULL when memory is short. */
const char *ruvm_hub_join(struct ruvm_arena *arena, const char *folder, const char *name);
/* The path of a file of the directory, or NULL when there is none. */
const char *ruvm_hub_find(struct ruvm_hub_opening *o, const char *name);
/* A JSON file as a tree; messages begin with the path. */
int ruvm_hub_json(struct cJSON **json, const char *path, struct ruvm_error *err);

/* hub_weights.c; fills hub->files and hub->tensors. file: the one that was named instead of
 * the folder, or NULL. */
int ruvm_hub_weights(struct ruvm_hub_opening *o, const char *file);

#endif
