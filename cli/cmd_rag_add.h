/* The parts of rag-add: what it prints, for people and as JSON. */
#ifndef RUVM_CMD_RAG_ADD_H
#define RUVM_CMD_RAG_ADD_H

#include "cli/cli.h"

/* A list of --list. */
void ruvm_cmd_rag_add_list(const struct ruvm_knowledge *k, const char *blob, bool json);
/* Answers of --query. */
struct ruvm_cmd_rag_add_answer {
    const char *blob, *question;
    const struct ruvm_knowledge_hit *hits;
    uint32_t n_hits;
    bool has_context;
    double floor;
    bool json;
};
void ruvm_cmd_rag_add_hits(const struct ruvm_cmd_rag_add_answer *a);
void ruvm_cmd_rag_add_eval(const struct ruvm_knowledge_eval *e, const char *blob, bool json);
void ruvm_cmd_rag_add_result(const struct ruvm_rag_add_result *r, const char *blob, bool dry_run,
                             bool json);

#endif
