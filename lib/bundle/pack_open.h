/* Opens packs on a workstation: mapped, checked to the last byte, and said what is wrong. */
#ifndef RUVM_BUNDLE_PACK_OPEN_H
#define RUVM_BUNDLE_PACK_OPEN_H

#include "formats/pack_read.h"
#include "lib/base/file.h"
#include "lib/ruvm_tool.h"

/* A pack in a file. */
struct ruvm_pack_input {
    struct ruvm_map map;
    struct ruvm_pack pack;
};

/* All checksums, SHA-256 included; the file is the pack and nothing more. After a failure
 * nothing needs closing. */
int ruvm_pack_open_file(struct ruvm_pack_input *in, const char *path, struct ruvm_error *err);
void ruvm_pack_close_file(struct ruvm_pack_input *in);
/* The same checks of a pack in memory. */
int ruvm_pack_open_bytes(struct ruvm_pack *pack, const char *name, const void *data, size_t size,
                         struct ruvm_error *err);

/* When the file is a pack, it becomes the model in it; any other file stays as it is. */
int ruvm_pack_open_model(struct ruvm_file *file, struct ruvm_error *err);

/* When data is a pack, it becomes the knowledge in it; anything else stays as it is. */
int ruvm_pack_open_knowledge(const uint8_t **data, size_t *size, const char *path,
                             struct ruvm_error *err);

/* What the pack holds, for people. */
void ruvm_pack_describe(struct ruvm_pack_result *r, const struct ruvm_pack *pack);

#endif
