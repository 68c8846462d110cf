/* What `generate` is asked for: its own options, else the pack's settings, else defaults. */
#ifndef RUVM_DEVICE_REQUEST_H
#define RUVM_DEVICE_REQUEST_H

#include "lib/device/model.h"

struct ruvm_device_request {
    struct ruvm_sampler sampler;
    uint32_t n_tokens;   /* at most */
    uint32_t shows_ids;  /* not text */
    uint32_t ignore_end; /* go on after a token that ends the text */
};

/* Takes options off the front of a line, up to the quote that begins the prompt. NULL, or what
 * is wrong. */
const char *ruvm_device_request(struct ruvm_device_request *r, const struct ruvm_device_model *m,
                                char **rest);

#endif
