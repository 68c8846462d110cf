/* A Hugging Face config.json as the metadata of a directory of tensors. */
#ifndef RUVM_IMPORT_HUB_CONFIG_H
#define RUVM_IMPORT_HUB_CONFIG_H

#include "formats/tensors.h"

/* Adds the keys that lib/import/model.c reads (architecture, dim, n_layers ...), of models of
 * type llama, mistral, qwen2, gpt2, gpt_neo and gpt_neox. Where a value is missing, what
 * Hugging Face takes counts. Everything that we cannot follow is in one message, with key and
 * value and what is accepted. A list of end tokens becomes several entries "eos". Keys and
 * texts are in the arena or static. RUVM_ERR_CORRUPT, _UNSUPPORTED, _MEMORY. */
int ruvm_hub_config_read(struct ruvm_tensors *t, struct ruvm_arena *arena, const void *text,
                         size_t n, struct ruvm_error *err);

#endif
