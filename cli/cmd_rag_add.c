/* rag-add: documents into a knowledge blob, and what the blob then finds. */
#include "cli/cmd_rag_add.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TREE_DIMS = 256 };

static const struct ruvm_args_option options[] = {
    {"format", 0, RUVM_ARGS_CHOICE, "FORMAT",
     .help = "what the sources are; default: by the ending of the name, else text",
     .choices = "text markdown csv jsonl"},
    {"name", 0, RUVM_ARGS_TEXT, "NAME", .help = "what standard input (SRC -) is called",
     .fallback = "stdin"},
    {"meta", 0, RUVM_ARGS_TEXT, "KEY=VALUE", .help = "kept with each source that is added",
     .repeats = true},
    {"ttl", 0, RUVM_ARGS_COUNT, "SECONDS", .help = "what is added expires after this time",
     .min = 1, .max = UINT32_MAX},
    {"memory", 0, RUVM_ARGS_CHOICE, "TYPE",
     .help = "what is added is a memory of that type, told now; it may fade",
     .choices = "factual episodic procedural preference"},
    {"importance", 0, RUVM_ARGS_COUNT, "N", .help = "of what is added, 0 to 100; else 50",
     .max = 100},
    {"now", 0, RUVM_ARGS_COUNT, "SECONDS",
     .help = "what time it is, since 1970; default: the clock's", .min = 1, .max = UINT32_MAX},
    {"context", 0, RUVM_ARGS_TEXT, "KEY=VALUE",
     .help = "--query prefers what has this in its metadata, e.g. room=kitchen", .repeats = true},
    {"chunk", 0, RUVM_ARGS_COUNT, "BYTES", .help = "largest chunk; default: the blob's, or 600",
     .min = 32, .max = 65535},
    {"overlap", 0, RUVM_ARGS_COUNT, "BYTES",
     .help = "what two neighbours share at most; default: a sixth of a chunk", .min = 0,
     .max = 32767},
    {"split", 0, RUVM_ARGS_CHOICE, "WHERE",
     .help = "where chunks end; default: the blob's, or sentence",
     .choices = "sentence heading size"},
    {"keep-duplicates", 0, RUVM_ARGS_FLAG, .help = "add chunks whose text is there already"},
    {"delete", 0, RUVM_ARGS_TEXT, "SOURCE", .help = "take a source out", .repeats = true},
    {"list", 0, RUVM_ARGS_FLAG, .help = "list the sources"},
    {"query", 0, RUVM_ARGS_TEXT, "TEXT", .help = "show what is found for a text"},
    {"results", 'k', RUVM_ARGS_COUNT, "N", .help = "how many chunks --query shows", .fallback = "3",
     .min = 1, .max = 1000},
    {"exact", 0, RUVM_ARGS_FLAG, .help = "--query looks at all vectors, not along the graph"},
    {"eval", 0, RUVM_ARGS_FILE, "FILE",
     .help = "ask the questions of a JSONL file whose answers are known"},
    {"rank", 0, RUVM_ARGS_CHOICE, "HOW",
     .help = "how words and vectors are joined; default: the blob's, or sum",
     .choices = "sum reciprocal words vectors"},
    {"budget", 0, RUVM_ARGS_COUNT, "BYTES", .help = "choose what fits into a file of this size",
     .min = 256, .max = UINT32_MAX},
    {"type", 0, RUVM_ARGS_CHOICE, "TYPE", .help = "of vectors; default: the blob's, or int8",
     .choices = "int8 binary pq"},
    {"dims", 0, RUVM_ARGS_COUNT, "N", .help = "of vectors; default: the blob's, or 256", .min = 8,
     .max = 1024},
    {"degree", 0, RUVM_ARGS_COUNT, "N",
     .help = "links of a vector in the graph; default: as many as it takes", .min = 2, .max = 64},
    {"no-words", 0, RUVM_ARGS_FLAG, .help = "leave out the index of words (BM25)"},
    {"embed", 0, RUVM_ARGS_TEXT, "HOW",
     .help = "where vectors come from: words, words:FILE (a table of word vectors), vectors:FILE "
             "(.npy or JSONL) or model:MODEL; default: the blob's, or words"},
    {"table-words", 0, RUVM_ARGS_COUNT, "N",
     .help = "of a table so many first words are kept, besides those of the texts; default: 10,000",
     .max = 1000000},
    {"query-vector", 0, RUVM_ARGS_FILE, "FILE",
     .help = "show what is found for a vector, .npy or JSONL; with --query, for both"},
    {"knn-model", 0, RUVM_ARGS_FILE, "MODEL",
     .help = "make the blob of a model's states over the sources, for run --knn"},
    {"documents", 0, RUVM_ARGS_FLAG,
     .help = "with --knn-model: sources hold documents ended by lines <|end|>"},
    {"taxonomy", 0, RUVM_ARGS_FILE, "FILE",
     .help = "make the blob of a tree: a CSV file of parent and child"},
    {"dry-run", 0, RUVM_ARGS_FLAG, .help = "build it, say what it is like, write nothing"},
    RUVM_ARGS_JSON,
    RUVM_ARGS_PROGRESS,
    {"quiet", 'q', RUVM_ARGS_FLAG, .help = "print nothing when it is done"},
    RUVM_ARGS_HELP,
    {0},
};

static bool asks(const struct ruvm_args *args)
{
    return ruvm_args_given(args, "list") || ruvm_args_given(args, "query") ||
           ruvm_args_given(args, "query-vector") || ruvm_args_given(args, "eval");
}

static bool changes(const struct ruvm_args *args)
{
    return ruvm_args_n_operands(args) > 1 || ruvm_args_given(args, "delete") ||
           ruvm_args_given(args, "taxonomy");
}

static int check_table(const struct ruvm_args *args)
{
    static const char words[] = "words:";
    const char *embed = ruvm_args_text(args, "embed");
    bool is_table = embed && strncmp(embed, words, sizeof words - 1) == 0;
    if (ruvm_args_given(args, "table-words") && !is_table)
        return ruvm_args_usage(args, "--table-words is for --embed words:FILE");
    return RUVM_EXIT_DONE;
}

static int check_options(const struct ruvm_args *args)
{
    unsigned n_asked = 0, n_stdin = 0;
    static const char *const questions[] = {"list", "query", "eval"};
    for (unsigned i = 0; i < 3; i++)
        n_asked += ruvm_args_given(args, questions[i]);
    n_asked += ruvm_args_given(args, "query-vector") && !ruvm_args_given(args, "query");
    for (unsigned i = 1; i < ruvm_args_n_operands(args); i++)
        n_stdin += strcmp(ruvm_args_operand(args, i), "/dev/stdin") == 0;
    if (n_asked > 1)
        return ruvm_args_usage(args, "--list, --query and --eval do not go together");
    if (!n_asked && !changes(args))
        return ruvm_args_usage(args,
                               "nothing to do: name a source, or --taxonomy, --delete, --list, "
                               "--query or --eval");
    if (n_stdin > 1)
        return ruvm_args_usage(args, "standard input can be read only once");
    if (n_asked && changes(args) && ruvm_args_given(args, "dry-run"))
        return ruvm_args_usage(args, "--dry-run writes no blob that could be asked");
    if (n_asked && changes(args) && ruvm_args_given(args, "json"))
        return ruvm_args_usage(args, "--json gives one object: add first, then ask");
    if (ruvm_args_given(args, "context") && !ruvm_args_given(args, "query"))
        return ruvm_args_usage(args, "--context is for --query");
    if (ruvm_args_given(args, "embed") && ruvm_args_given(args, "dims"))
        return ruvm_args_usage(args, "--embed and --dims do not go together: the vectors say");
    return check_table(args);
}

/* What is for documents has no meaning for a tree. */
static int check_taxonomy(const struct ruvm_args *args)
{
    static const char *const others[] = {
        "delete", "meta",       "ttl",   "format",          "name",    "budget",
        "memory", "importance", "embed", "keep-duplicates", "overlap", "type",
        "chunk",  "rank",       "split", "no-words",        "degree"};
    uint32_t dims = ruvm_args_u32(args, "dims");
    if (!ruvm_args_given(args, "taxonomy"))
        return RUVM_EXIT_DONE;
    if (ruvm_args_n_operands(args) > 1)
        return ruvm_args_usage(args, "--taxonomy makes a blob of its own: give no other source");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ruvm_args_given(args, others[i]))
            return ruvm_args_usage(args, "--taxonomy and --%s do not go together", others[i]);
    if (dims && dims > MAX_TREE_DIMS)
        return ruvm_args_usage(args, "--dims with --taxonomy: there are 8 to %d", MAX_TREE_DIMS);
    return RUVM_EXIT_DONE;
}

/* What is for chunks of text has no meaning for states. */
static int check_knn(const struct ruvm_args *args)
{
    static const char *const others[] = {
        "delete", "meta",  "ttl",        "format",          "budget",  "memory",   "taxonomy",
        "type",   "chunk", "importance", "keep-duplicates", "overlap", "no-words", "rank",
        "split",  "dims",  "name",       "query",           "eval"};
    if (!ruvm_args_given(args, "knn-model"))
        return ruvm_args_given(args, "documents")
                   ? ruvm_args_usage(args, "--documents needs --knn-model MODEL")
                   : RUVM_EXIT_DONE;
    if (ruvm_args_n_operands(args) < 2)
        return ruvm_args_usage(args, "--knn-model needs a text: name a source");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ruvm_args_given(args, others[i]))
            return ruvm_args_usage(args, "--knn-model and --%s do not go together", others[i]);
    return RUVM_EXIT_DONE;
}

static struct ruvm_rag_add_options options_from(const struct ruvm_args *args, const char **sources)
{
    struct ruvm_rag_add_options o = {
        .blob = ruvm_args_operand(args, 0),
        .sources = sources,
        .n_sources = ruvm_args_n_operands(args) - 1,
        .stdin_name = ruvm_args_text(args, "name"),
        .format = ruvm_args_text(args, "format"),
        .ttl_s = ruvm_args_count(args, "ttl"),
        .now_s = ruvm_args_u32(args, "now"),
        .memory = ruvm_args_text(args, "memory"),
        .has_importance = ruvm_args_given(args, "importance"),
        .importance = ruvm_args_u32(args, "importance"),
        .chunk_bytes = ruvm_args_u32(args, "chunk"),
        .has_overlap = ruvm_args_given(args, "overlap"),
        .overlap_bytes = ruvm_args_u32(args, "overlap"),
        .split = ruvm_args_text(args, "split"),
        .keep_duplicates = ruvm_args_given(args, "keep-duplicates"),
        .type = ruvm_args_text(args, "type"),
        .dims = ruvm_args_u32(args, "dims"),
        .degree = ruvm_args_u32(args, "degree"),
        .no_words = ruvm_args_given(args, "no-words"),
        .rank = ruvm_args_text(args, "rank"),
        .budget_bytes = ruvm_args_count(args, "budget"),
        .dry_run = ruvm_args_given(args, "dry-run"),
        .embed = ruvm_args_text(args, "embed"),
        .has_table_words = ruvm_args_given(args, "table-words"),
        .table_words = ruvm_args_u32(args, "table-words"),
        .knn_model = ruvm_args_text(args, "knn-model"),
        .documents = ruvm_args_given(args, "documents"),
        .taxonomy = ruvm_args_given(args, "taxonomy") ? ruvm_args_input(args, "taxonomy") : NULL,
        .progress = ruvm_output_progress(ruvm_args_text(args, "progress")),
    };
    unsigned n;
    o.deletes = ruvm_args_texts(args, "delete", &n);
    o.n_deletes = n;
    o.metas = ruvm_args_texts(args, "meta", &n);
    o.n_metas = n;
    for (uint32_t i = 0; i < o.n_sources; i++)
        sources[i] = ruvm_args_operand(args, i + 1);
    return o;
}

static int add(const struct ruvm_args *args)
{
    struct ruvm_error err = {0};
    struct ruvm_rag_add_result r;
    const char **sources = ruvm_output_alloc(ruvm_args_n_operands(args), sizeof *sources);
    struct ruvm_rag_add_options o = options_from(args, sources);
    int rc = ruvm_rag_add(&o, &r, &err);
    ruvm_output_progress_end();
    free(sources);
    if (rc != RUVM_OK)
        return ruvm_output_failure("rag-add", &err);
    if (!ruvm_args_given(args, "quiet"))
        ruvm_cmd_rag_add_result(&r, o.blob, o.dry_run, ruvm_args_given(args, "json"));
    return RUVM_EXIT_DONE;
}

static int query(const struct ruvm_args *args, struct ruvm_knowledge *k, struct ruvm_error *err)
{
    const char *text = ruvm_args_given(args, "query") ? ruvm_args_text(args, "query") : "";
    const char *path = ruvm_args_input(args, "query-vector");
    float *vector = NULL;
    uint32_t n_vector = 0;
    unsigned n_contexts;
    int rc = path ? ruvm_knowledge_read_vector(&vector, &n_vector, path, err) : RUVM_OK;
    if (rc != RUVM_OK)
        return rc;
    const char *const *contexts = ruvm_args_texts(args, "context", &n_contexts);
    const struct ruvm_knowledge_ask ask = {.question = text,
                                           .n_bytes = strlen(text),
                                           .k = ruvm_args_u32(args, "results"),
                                           .rank = ruvm_args_text(args, "rank"),
                                           .exact = ruvm_args_given(args, "exact"),
                                           .now_s = ruvm_args_u32(args, "now"),
                                           .contexts = contexts,
                                           .n_contexts = n_contexts,
                                           .vector = vector,
                                           .n_vector = n_vector};
    struct ruvm_knowledge_hit *hits = ruvm_output_alloc(ask.k, sizeof *hits);
    int n = ruvm_knowledge_ask(k, &ask, hits, err);
    if (n >= 0) {
        const struct ruvm_cmd_rag_add_answer a = {.blob = ruvm_args_operand(args, 0),
                                                  .question = text,
                                                  .hits = hits,
                                                  .n_hits = (uint32_t)n,
                                                  .floor = ruvm_knowledge_info(k).floor,
                                                  .has_context = n_contexts > 0,
                                                  .json = ruvm_args_given(args, "json")};
        ruvm_cmd_rag_add_hits(&a);
    }
    free(hits);
    free(vector);
    return n < 0 ? n : RUVM_OK;
}

static int evaluate(const struct ruvm_args *args, struct ruvm_knowledge *k, struct ruvm_error *err)
{
    struct ruvm_knowledge_eval e;
    struct ruvm_progress progress = ruvm_output_progress(ruvm_args_text(args, "progress"));
    int rc = ruvm_knowledge_eval(k, ruvm_args_input(args, "eval"), &progress, &e, err);
    ruvm_output_progress_end();
    if (rc == RUVM_OK)
        ruvm_cmd_rag_add_eval(&e, ruvm_args_operand(args, 0), ruvm_args_given(args, "json"));
    return rc;
}

/* Questions to a blob of a model's states become states of that model. */
static int use_model(const struct ruvm_args *args, struct ruvm_knowledge *k, struct ruvm_error *err)
{
    static const char model[] = "model:";
    const char *embed = ruvm_args_text(args, "embed");
    bool is_model = embed && strncmp(embed, model, sizeof model - 1) == 0;
    return is_model ? ruvm_knowledge_use_model(k, embed + sizeof model - 1, err) : RUVM_OK;
}

static int ask(const struct ruvm_args *args)
{
    struct ruvm_error err = {0};
    struct ruvm_knowledge *k;
    int rc = ruvm_knowledge_open(&k, ruvm_args_operand(args, 0), &err);
    if (rc == RUVM_OK)
        rc = use_model(args, k, &err);
    if (rc != RUVM_OK) {
        ruvm_knowledge_close(k);
        return ruvm_output_failure("rag-add", &err);
    }
    if (ruvm_args_given(args, "list"))
        ruvm_cmd_rag_add_list(k, ruvm_args_operand(args, 0), ruvm_args_given(args, "json"));
    else if (!ruvm_args_given(args, "eval"))
        rc = query(args, k, &err);
    else
        rc = evaluate(args, k, &err);
    ruvm_knowledge_close(k);
    return rc == RUVM_OK ? RUVM_EXIT_DONE : ruvm_output_failure("rag-add", &err);
}

static int run(const struct ruvm_args *args)
{
    int rc = check_options(args);
    if (rc == RUVM_EXIT_DONE)
        rc = check_taxonomy(args);
    if (rc == RUVM_EXIT_DONE)
        rc = check_knn(args);
    if (rc == RUVM_EXIT_DONE && changes(args))
        rc = add(args);
    if (rc == RUVM_EXIT_DONE && asks(args))
        rc = ask(args);
    return rc;
}

const struct ruvm_args_command ruvm_cmd_rag_add = {
    .name = "rag-add",
    .summary = "Put documents into a knowledge blob, and ask it.",
    .usage = "BLOB [SRC ...] [OPTION ...]",
    .examples =
        "  ruvm rag-add home.rag manual.md faq.jsonl devices.csv\n"
        "  ruvm rag-add home.rag --query 'how do I reset the heating?'\n"
        "  ruvm rag-add home.rag notes.txt --budget 64k --ttl 86400\n"
        "  ruvm rag-add home.rag --delete notes.txt\n"
        "  ruvm rag-add home.rag --eval questions.jsonl\n"
        "  ruvm rag-add animals.rag --taxonomy animals.csv --query mammal -k 10\n",
    .options = options,
    .min_operands = 1,
    .max_operands = 65536,
    .run = run,
};
