/* The parts of `ruvm bench rag`: cmd_bench_rag.c measures, cmd_bench_rag_print.c shows. */
#ifndef RUVM_CMD_BENCH_RAG_H
#define RUVM_CMD_BENCH_RAG_H

#include "cli/cli.h"

struct ruvm_bench_rag_list {
    struct ruvm_bench_rag_result *results; /* one a metric and type; owned */
    unsigned n;
    double recall; /* that sizes are compared at */
};

/* All need at least one result. */
void ruvm_cmd_bench_rag_tables(const struct ruvm_bench_rag_list *list, enum ruvm_table_style style);
/* One table of everything, a value a row. */
void ruvm_cmd_bench_rag_csv(const struct ruvm_bench_rag_list *list);
void ruvm_cmd_bench_rag_json(const struct ruvm_bench_rag_list *list);
/* Recall against queries/s. Returns enum ruvm_cli_exit. */
int ruvm_cmd_bench_rag_plot(const struct ruvm_bench_rag_list *list, const char *path);

#endif
