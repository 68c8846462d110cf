/* Classifiers: what quantize, run, inspect and bench do when the model is one.
 * cmd_classifier_quantize.c makes an image, cmd_classifier.c uses it. */
#ifndef RUVM_CMD_CLASSIFIER_H
#define RUVM_CMD_CLASSIFIER_H

#include "cli/cmd_quantize.h"

/* Refuses options that mean nothing to a classifier: names[], ended by NULL. Returns enum
 * ruvm_cli_exit. */
int ruvm_cmd_classifier_refuse(const struct ruvm_args *args, const char *const *names);
/* The same of those that mean nothing to a language model. */
int ruvm_cmd_classifier_only(const struct ruvm_args *args, const char *const *names);

/* After the options were checked. Each returns enum ruvm_cli_exit. */
int ruvm_cmd_classifier_quantize(const struct ruvm_quantize_call *call);
int ruvm_cmd_classifier_run(const struct ruvm_args *args);
int ruvm_cmd_classifier_inspect(const struct ruvm_args *args);
int ruvm_cmd_classifier_bench(const struct ruvm_args *args);

/* Layers, for people and for programs; snr: they were measured beside the float model. */
void ruvm_cmd_classifier_layers(const struct ruvm_classifier_info *info, bool snr);
void ruvm_cmd_classifier_json(struct cJSON *object, const struct ruvm_classifier_info *info,
                              bool snr);

#endif
