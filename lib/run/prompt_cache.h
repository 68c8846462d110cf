/* The prompt cache of a session: a file with what its engine knew after a prompt. */
#ifndef RUVM_RUN_PROMPT_CACHE_H
#define RUVM_RUN_PROMPT_CACHE_H

#include "lib/run/session.h"

/* Gives the session the tokens and the engine the state of the file. A file that is missing,
 * empty, damaged or of another model or other settings is no failure: the engine is at position
 * 0 then, and note says why, or is empty where there is nothing to say. RUVM_ERR_IO: the file
 * cannot be read; RUVM_ERR_ARG: it is something else, which nobody wants to have overwritten. */
int ruvm_prompt_cache_load(struct ruvm_session *s, const char *path, char *note, size_t note_size,
                           struct ruvm_error *err);
/* Writes the session's tokens, all of which the engine has computed, and its state. */
int ruvm_prompt_cache_save(const struct ruvm_session *s, const char *path, struct ruvm_error *err);

#endif
