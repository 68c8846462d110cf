/* The parts of `ruvm run`: cmd_run.c generates once, cmd_run_prompts.c many times,
 * cmd_run_talk.c holds a conversation, cmd_run_check.c looks at tokens and golden vectors,
 * cmd_run_rag.c asks a knowledge
 * blob first, cmd_run_print.c prints what came of it. */
#ifndef RUVM_CMD_RUN_H
#define RUVM_CMD_RUN_H

#include "cli/cli.h"

struct ruvm_run_prompts;

struct ruvm_run_bytes {
    char *data; /* owned */
    size_t size, cap;
};

struct ruvm_run_rag;

/* One call of the verb: what it was asked, and what the callbacks fill. */
struct ruvm_run {
    const struct ruvm_args *args;
    struct ruvm_session *session;
    struct ruvm_run_prompts *prompts;  /* of --prompts, or NULL */
    bool collect;                      /* --json: keep everything, print it at the end */
    bool print_ids;                    /* --ids */
    bool terminal;                     /* standard output is one: no control characters */
    const struct ruvm_run_bytes *echo; /* prompt to print before the first token, or NULL */
    struct ruvm_run_bytes text;
    uint16_t *ids; /* owned; collected for --json */
    size_t n_ids, ids_cap;
    size_t n_printed_ids;
    struct ruvm_run_rag *rag; /* of --rag, or NULL */
};

void ruvm_run_append(struct ruvm_run_bytes *b, const void *data, size_t n);
/* Without its last newline; the exit code, after a message if it is not RUVM_EXIT_DONE. */
int ruvm_run_read_file(struct ruvm_run_bytes *b, const char *path);

/* The prompts of a file: a line each, or a JSON object each. Freed whatever the exit code. */
int ruvm_run_read_prompts(struct ruvm_run_prompts **prompts, const char *path);
void ruvm_run_free_prompts(struct ruvm_run_prompts *p);

/* The options of the library for a prompt, with our callbacks. */
struct ruvm_generate_options ruvm_run_options(struct ruvm_run *r,
                                              const struct ruvm_run_bytes *prompt);
/* The prompt, if it is to be printed ahead of its text, or NULL. */
const struct ruvm_run_bytes *ruvm_run_echo(const struct ruvm_run *r,
                                           const struct ruvm_run_bytes *prompt);
/* Adds what another prompt or turn took. */
void ruvm_run_add(struct ruvm_generate_result *total, const struct ruvm_generate_result *g);
/* Why the prompt cache was not used, if it was not; on standard error. */
void ruvm_run_print_note(const struct ruvm_generate_result *g);
void ruvm_run_print_speed(const struct ruvm_run *r, const struct ruvm_generate_result *g);
struct cJSON *ruvm_run_start_json(const struct ruvm_run *r);
/* All about a prompt's answer; r has its text and ids. */
struct cJSON *ruvm_run_result_json(const struct ruvm_run *r, const struct ruvm_run_bytes *prompt,
                                   const struct ruvm_generate_result *g);

/* What a knowledge blob found for the prompt; zero it. */
struct ruvm_run_rag {
    struct ruvm_knowledge *knowledge; /* NULL: without --rag */
    struct ruvm_knowledge_hit *hits;  /* owned, their texts are in the blob */
    uint32_t n_hits, n_known, n_used; /* known: not below the floor; used: the first of these,
                                       * that went into the prompt */
    double floor;
};
/* The blob to ask: that of --rag, or with --rag-only alone the MODEL, a pack. NULL: none. */
const char *ruvm_run_rag_blob(const struct ruvm_args *args);
void ruvm_run_rag_json(struct cJSON *object, const struct ruvm_run_rag *rag);
void ruvm_run_rag_close(struct ruvm_run_rag *rag);

/* Each returns the exit code. */
int ruvm_run_answer_prompts(struct ruvm_run *r, const struct ruvm_run_prompts *p);
int ruvm_run_rag_open(struct ruvm_run_rag *rag, const struct ruvm_args *args,
                      const struct ruvm_run_bytes *question);
/* The passages instead of a model's answer, or that it does not know. */
int ruvm_run_rag_only(const struct ruvm_run *r, const struct ruvm_run_rag *rag);
/* Puts the passages into the prompt. */
int ruvm_run_rag_prompt(struct ruvm_run *r, struct ruvm_run_rag *rag,
                        struct ruvm_run_bytes *prompt);
int ruvm_run_converse(struct ruvm_run *r, const struct ruvm_run_bytes *first);
int ruvm_run_tokenize(const struct ruvm_run *r, const struct ruvm_run_bytes *prompt);
int ruvm_run_verify(const struct ruvm_run *r);

#endif
