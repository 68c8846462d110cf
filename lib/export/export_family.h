/* Families: which network of Hugging Face and of llama.cpp a model is.
 *
 * An image says what a network computes, not what people call it: so the family is found by
 * what the model has. It decides names, order and what must be there.
 */
#ifndef RUVM_EXPORT_EXPORT_FAMILY_H
#define RUVM_EXPORT_EXPORT_FAMILY_H

#include "lib/import/model.h"

struct ruvm_export_family {
    const char *name;       /* model_type of Hugging Face: "gpt_neox" */
    const char *class_name; /* "GPTNeoXForCausalLM" */
    const char *dialect;    /* of lib/import/names.c */
    const char *gguf;       /* general.architecture; NULL: llama.cpp has none */
    bool gated;             /* RMSNorm, SiLU-gated, key/value heads of their own number */
    uint8_t pos;            /* enum ruvm_pos */
    unsigned always, may;   /* bits of enum ruvm_bias_kind: there in every one; allowed besides */
    enum { RUVM_EXPORT_NO_WINDOW, RUVM_EXPORT_ONE_WINDOW, RUVM_EXPORT_LAYER_WINDOWS } windows;
    bool usual_score, plain_score; /* scores may be scaled by 1 / sqrt(head_dim); by 1 */
    bool fused;                    /* q, k and v are one tensor, in GGUF as well */
    bool halves; /* GGUF has RoPE pairs as Hugging Face has them; else as we have them */
};

/* The family that `hint` names when the model is one of it, else the first that it is one of.
 * hint may be NULL. RUVM_ERR_UNSUPPORTED says of the nearest families what they have not. */
int ruvm_export_family_find(const struct ruvm_export_family **family, const struct ruvm_model *m,
                            const char *hint, struct ruvm_error *err);

/* Whether GGUF can say it, too; RUVM_ERR_UNSUPPORTED lists what it cannot. */
int ruvm_export_family_check_gguf(const struct ruvm_export_family *family,
                                  const struct ruvm_model *m, struct ruvm_error *err);

/* Bits of enum ruvm_bias_kind that any layer has. */
unsigned ruvm_export_family_biases(const struct ruvm_model *m);
/* Whether the factors of RoPE are one for all pairs; without factors it is 1. */
bool ruvm_export_family_linear(const struct ruvm_model *m, float *factor);

#endif
